"""Results as a page of Markdown: the command, the conditions, and each table."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stream.errors import FreshetError
from stream.results import Table


def page(command: str, conditions: Iterable[str], tables: Iterable[Table], chart: Path | None = None) -> str:
    """Give the page; ``chart`` is linked to from where the page will stand."""
    parts = [f"```\n{command}\n```", "\n".join(f"- {_escaped(text)}" for text in conditions)]
    parts += [f"![the paper's four metrics]({chart.as_posix()})"] if chart is not None else []
    parts += [f"{_escaped(table.title)}:\n\n{grid(table.columns, table.rows)}" for table in tables]
    return "\n\n".join(parts) + "\n"


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay cells out as a table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def write(path: Path, text: str) -> None:
    """Write the page; raises ``FreshetError`` when it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        reason = (failure.strerror or str(failure)).lower()
        raise FreshetError(f"cannot write the page {path}: {reason}; name another with --markdown") from None


def _escaped(text: str) -> str:
    """Keep a bar in a name from ending a cell."""
    return text.replace("|", "\\|")
