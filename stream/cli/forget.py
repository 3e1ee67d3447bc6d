"""`freshet forget USER`: erases a user, and says what was erased."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, GroupId, ModelStore, Report, TopicPrefix, load_settings
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.erasure import Receipt

WAIT_S = 30.0


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    *,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, help="Seconds to wait for the workers; 0: only ask."),
    ] = WAIT_S,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    group_id: GroupId = None,
    model_store: ModelStore = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Erase a user: state, list and, for later trainings, every event up to now; prints a receipt.

    Status 1 where no worker answers in time; the request stands all the same.
    """
    from stream.erasure import erase, request_erasure, require_answer
    from stream.messages import MAX_ID_LENGTH

    if not 0 < len(user) <= MAX_ID_LENGTH:
        raise UsageError(f"USER has {len(user)} characters; an id has 1 to {MAX_ID_LENGTH}")
    settings = load_settings(
        assignments, brokers=brokers, topic_prefix=topic_prefix, group_id=group_id, model_store=model_store
    )
    if not wait:
        receipt = asyncio.run(request_erasure(settings, user))
    else:
        with console.progress("erasing", total=settings.partitions, unit="partitions") as shown:
            receipt = asyncio.run(erase(settings, user, wait_s=wait, answered=shown.advance))
    console.write_report(report, receipt.as_report())
    console.line(f"asked the workers to erase user {user!r} (topic {settings.topics.forget})")
    if wait:
        require_answer(receipt, wait_s=wait)
        _print(receipt)


def _print(receipt: "Receipt") -> None:
    """Print what was erased, what is kept and until when."""
    for one in receipt.erased:
        console.line(
            f"erased {_time(one.erased_at_ms)}: {one.what} ({one.topic} {one.partition}, offset {one.offset})"
        )
    if not receipt.erased:
        console.line("the workers held nothing of this user")
    for topic, rule, until_ms in receipt.kept:
        until = f"until {_time(until_ms)}" if until_ms is not None else f"by the topic's {rule}"
        console.line(f"kept in {topic} {until}")
    told = receipt.exclusion_hash or f"by the request, which they read in {receipt.requests[0][0]}"
    console.line(f"trainings leave out the events up to {_time(receipt.requested_at_ms)} ({told})")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
