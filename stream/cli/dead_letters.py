"""`freshet dead-letters`: what was refused and why, and sending it again."""

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.group import Group
from stream.cli.options import Assignments, Brokers, Report, TopicPrefix, load_settings
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.dead_letters import DeadLetter
    from stream.settings import Settings

dead_letters = typer.Typer(
    cls=Group,
    name="dead-letters",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What was refused and why; sends it again.",
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
    _check_word(error)
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


@dead_letters.command("redrive")
def redrive_letters(
    *,
    error: Annotated[
        str | None, typer.Option("--error", metavar="WORD", help="Only those refused for this.")
    ] = None,
    from_oldest: Annotated[
        bool, typer.Option("--from-oldest", help="Begin at the oldest letter, not where the last call ended.")
    ] = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    report: Report = None,
    assignments: Assignments = None,
) -> None:
    """Send refused records again, as they came, to where they were refused.

    A call goes on where the last one ended. What is still wrong is refused again and stands among
    the dead letters anew.
    """
    _check_word(error)
    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix)
    from stream.redrive import redrive

    done = asyncio.run(redrive(settings, error=error, from_oldest=from_oldest))
    for title, counts in (
        ("sent again", done.sent),
        ("passed over, refused for something else", done.other),
        ("passed over, without bytes or place", done.lost),
    ):
        words = ", ".join(f"{count:,} {word or 'without a word'}" for word, count in sorted(counts.items()))
        console.line(f"{title}: {counts.total():,}" + (f" ({words})" if words else ""))
    console.write_report(
        report,
        {
            "redriven": done.sent.total(),
            "redriven_by_error": dict(sorted(done.sent.items())),
            "passed_over": done.other.total(),
            "lost": done.lost.total(),
        },
    )


def _check_word(error: str | None) -> None:
    """Raise ``UsageError`` for a word that no dead letter has."""
    from stream.messages import ERROR_WORDS

    if error is not None and error not in ERROR_WORDS:
        raise UsageError(f"--error is {error!r}; the words are {', '.join(ERROR_WORDS)}")


async def _read(settings: "Settings", error: str | None) -> list["DeadLetter"]:
    """Read the dead letters, those of one word if it is given."""
    from stream.dead_letters import read_dead_letters

    return [letter async for letter in read_dead_letters(settings) if error in (None, letter.error)]
