"""How commands speak: lines, tables, progress, reports and one-line errors.

Results go to standard output, progress and errors to standard error. On a terminal progress
is a bar and tables have lines; in a pipe both are plain text, the table's cells separated by
tabs. ``NO_COLOR`` is honoured.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from stream.errors import FreshetError

if TYPE_CHECKING:
    from rich import progress as rich_progress
    from rich.console import Console

PLAIN_PROGRESS_S: Final = 5.0
"""In a pipe, progress is one line in this time at most."""


class Progress(Protocol):
    """What a command tells about how far it is."""

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""

    def note(self, text: str) -> None:
        """Show a few words beside the progress, such as a rate or a loss."""


class Opener(Protocol):
    """Opens a progress, as `progress` does."""

    def __call__(
        self, title: str, *, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Progress]:
        """Show how far something is while the context lasts."""


def line(text: str) -> None:
    """Print a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print something for the person who waits, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error(text: str) -> None:
    """Print an error: one line on standard error."""
    one_line = " ".join(str(text).split())
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        note(f"\x1b[31mfreshet: {one_line}\x1b[0m")
    else:
        note(f"freshet: {one_line}")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table: drawn on a terminal, a header line and tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        _tabbed(chain([columns], rows))
        return
    from rich.table import Table

    drawn = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*(_escaped(str(cell)) for cell in row))
    rich_console().print(drawn)


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a row a line with no cell cut, so that it can be copied: padded on a terminal, else tabs."""
    every = [[str(cell) for cell in row] for row in (columns, *rows)]
    if not sys.stdout.isatty():
        _tabbed(every)
        return
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    for row in every:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _tabbed(rows: Iterable[Sequence[object]]) -> None:
    """Print rows for a program to read."""
    for row in rows:
        line("\t".join(str(cell) for cell in row))


def rich_console(*, stderr: bool = False) -> "Console":
    """Make the Rich console of a stream, for live displays on a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def json_text(figures: Any) -> None:
    """Print a result as JSON, as a report has it."""
    line(_as_json(figures))


def write_report(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write ``--report``: the figures as JSON, all or nothing. Without a path, do nothing.

    A figure that is not a number (NaN, infinity) is written as null, since JSON has none.
    """
    if path is None:
        return
    text = _as_json(figures) + "\n"
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as failure:
        reason = (failure.strerror or str(failure)).lower()
        raise FreshetError(f"cannot write the report {path}: {reason}; name another with --report") from None


@contextmanager
def progress(title: str, *, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """Show how far something is: a bar on a terminal, a line now and then in a pipe.

    Without a unit nothing is counted, and only the time is told.
    """
    if sys.stderr.isatty():
        with _bar(title, total=total, unit=unit) as shown:
            yield shown
        return
    plain = _PlainProgress(title, total=total, unit=unit)
    if not unit:
        note(f"{title} ...")
    yield plain
    plain.close()


class _PlainProgress:
    """Progress as lines, the last of them always."""

    def __init__(self, title: str, *, total: int | None, unit: str) -> None:
        """Begin at nothing done."""
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0
        self._printed: int | None = None
        self._note = ""
        self._begun_s = self._printed_s = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count some more as done, and print when it is time."""
        self._done += count
        if time.monotonic() - self._printed_s >= PLAIN_PROGRESS_S:
            self._print()

    def note(self, text: str) -> None:
        """Keep the words for the next line."""
        self._note = text

    def close(self) -> None:
        """Print the last line, unless it stands there."""
        if self._printed != self._done:
            self._print()

    def _left(self, took_s: float) -> str:
        """About how long the rest will take at this pace; nothing where that cannot be said."""
        if not self._total or not 0 < self._done < self._total:
            return ""
        return f"(about {took_s / self._done * (self._total - self._done):,.0f} s left)"

    def _print(self) -> None:
        """Print where it stands."""
        self._printed_s, self._printed = time.monotonic(), self._done
        share = f"{self._done:,}" if self._total is None else f"{self._done:,}/{self._total:,}"
        # A system that has no epochs, for one, does not say that it has had none.
        count = (share, self._unit) if self._unit and share != "0" else ()
        took_s = self._printed_s - self._begun_s
        words = (f"{self._title}:", *count, f"in {took_s:.1f} s", self._left(took_s), self._note)
        note(" ".join(word for word in words if word))


@contextmanager
def _bar(title: str, *, total: int | None, unit: str) -> Iterator[Progress]:
    """Show progress as Rich draws it."""
    with _bars() as drawn:
        yield _RichProgress(drawn, _added(drawn, title, total, unit))


@contextmanager
def progresses() -> Iterator[Opener]:
    """Give what opens one `progress` beside others: a bar below theirs until it is done, lines in a pipe."""
    if not sys.stderr.isatty():
        yield progress
        return
    with _bars() as drawn:

        @contextmanager
        def opened(title: str, *, total: int | None = None, unit: str = "") -> Iterator[Progress]:
            task = _added(drawn, title, total, unit)
            yield _RichProgress(drawn, task)
            drawn.remove_task(task)

        yield opened


def _bars() -> "rich_progress.Progress":
    """Make Rich's display of bars."""
    from rich import progress as rich_progress
    from rich.text import Text

    class Count(rich_progress.MofNCompleteColumn):
        """How many are done, where something is counted."""

        def render(self, task: rich_progress.Task) -> Text:
            return super().render(task) if task.fields["unit"] else Text()

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        Count(),
        rich_progress.TextColumn("{task.fields[unit]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[words]}"),
    )
    return rich_progress.Progress(*columns, console=rich_console(stderr=True))


def _added(
    drawn: "rich_progress.Progress", title: str, total: int | None, unit: str
) -> "rich_progress.TaskID":
    """Put one more bar into the display."""
    return drawn.add_task(_escaped(title), total=total, unit=unit, words="")


class _RichProgress:
    """Progress as a bar."""

    def __init__(self, drawn: Any, task: Any) -> None:
        """Hold Rich's bar and its task."""
        self._drawn = drawn
        self._task = task

    def advance(self, count: int = 1) -> None:
        """Move the bar."""
        self._drawn.advance(self._task, count)

    def note(self, text: str) -> None:
        """Set the words at the end of the bar."""
        self._drawn.update(self._task, words=_escaped(text))


def _escaped(text: str) -> str:
    """Keep Rich from reading brackets in data as markup."""
    return text.replace("[", "\\[")


def _as_json(figures: Any) -> str:
    """Figures as JSON; what is not a number (NaN, infinity) is null."""
    return json.dumps(_jsonable(figures), indent=2, allow_nan=False)


def _jsonable(value: Any) -> Any:
    """Make figures of numpy, paths and dataclass-like values plain; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
