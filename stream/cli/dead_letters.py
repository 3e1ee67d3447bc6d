"""`freshet dead-letters list`: what was refused, and why."""

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, Report, TopicPrefix, load_settings
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.dead_letters import DeadLetter
    from stream.settings import Settings

dead_letters = typer.Typer(
    name="dead-letters",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What was refused, and why.",
)


@dead_letters.callback()
def group() -> None:
    """Work with the records that were refused."""


@dead_letters.command("list")
def list_letters(
    *,
    error: Annotated[
        str | None, typer.Option("--error", metavar="WORD", help="Only those refused for this.")
    ] = None,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    report: Report = None,
    assignments: Assignments = None,
) -> None:
    """List the refused records: why, where each stood, and its size in bytes (key and value)."""
    from stream.messages import ERROR_WORDS

    if error is not None and error not in ERROR_WORDS:
        raise UsageError(f"--error is {error!r}; the words are {', '.join(ERROR_WORDS)}")
    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix)
    found = asyncio.run(_read(settings, error))
    console.table(
        ("error", "message", "source topic", "partition", "offset", "bytes"),
        [
            (
                letter.error,
                letter.message,
                letter.source_topic,
                letter.source_partition,
                letter.source_offset,
                letter.size_bytes,
            )
            for letter in found
        ],
    )
    counts = Counter(letter.error for letter in found)
    console.note(", ".join(f"{count} {word}" for word, count in counts.most_common()) or "no dead letters")
    console.write_report(
        report,
        {
            "dead_letters": len(found),
            "dead_letters_by_error": dict(counts.most_common()),
            "records": [asdict(letter) for letter in found],
        },
    )


async def _read(settings: "Settings", error: str | None) -> list["DeadLetter"]:
    """Read the dead letters, those of one word if it is given."""
    from stream.dead_letters import read_dead_letters

    return [letter async for letter in read_dead_letters(settings) if error in (None, letter.error)]
