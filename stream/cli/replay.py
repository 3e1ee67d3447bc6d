"""The command ``freshet replay``: a file's events to Kafka."""

import asyncio
import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Brokers,
    Columns,
    Report,
    TimeUnit,
    TimeUnitOption,
    TopicPrefix,
    load_settings,
    parse_columns,
)
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.replay import Replayed
    from stream.settings import Settings

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Events: Tianchi mobile, Taobao UserBehavior, or any CSV, TSV or Parquet with --columns; "
        "plain, .gz or .xz.",
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        min=0,
        help="Multiple of the data's own pace; 0: as fast as possible. No gap takes longer than 10 s.",
    ),
]
Events = Annotated[
    int | None, typer.Option("--events", min=1, help="Stop after this many, the earliest of the file.")
]
EventIds = Annotated[
    bool,
    typer.Option(
        "--event-ids",
        help="Give each event the id FILE:ROW, so that workers can tell a second replay from new events.",
    ),
]


def replay(
    file: File,
    *,
    speed: Speed = 0.0,
    events: Events = None,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    event_ids: EventIds = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Send a file's events to the event topics, in event-time order, at a multiple of their own pace."""
    if not math.isfinite(speed):
        raise UsageError(f"--speed is {speed}; a number is needed, 0 for as fast as possible")
    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix)
    mapping = parse_columns(columns)
    stem = file.name.partition(".")[0] if event_ids else None
    sent, by_topic = asyncio.run(
        _replay(
            file, settings, mapping=mapping, time_unit=time_unit, speed=speed, events=events, event_ids=stem
        )
    )
    console.line(
        f"sent {sent.events:,} events in {sent.duration_s:.1f} s ({sent.events_per_s:,.0f} events/s): "
        + ", ".join(f"{count:,} to {topic}" for topic, count in by_topic.items())
    )
    console.write_report(report, _figures(file, sent, speed=speed, by_topic=by_topic))


async def _replay(
    file: Path,
    settings: "Settings",
    *,
    mapping: dict[str, str] | None,
    time_unit: TimeUnit | None,
    speed: float,
    events: int | None,
    event_ids: str | None,
) -> "tuple[Replayed, dict[str, int]]":
    from stream.clients import running
    from stream.datasets import read_events
    from stream.delivery import Delivery, delivery_producer, event_partitions
    from stream.replay import Pace, replay

    frames = read_events(file, columns=mapping, time_unit=time_unit)
    first = next(frames)  # a wrong file is told before a broker is asked
    partitions = await event_partitions(settings)
    topics = settings.topics.events
    async with running(delivery_producer(settings), settings) as producer:
        delivery = Delivery(producer, topics, partitions=partitions, event_ids=event_ids)
        with console.progress("replay", total=events, unit="events") as shown:
            sent = await replay(
                chain([first], frames), delivery, pace=Pace(speed), limit=events, progress=shown.advance
            )
    return sent, delivery.by_topic


def _figures(file: Path, sent: "Replayed", *, speed: float, by_topic: dict[str, int]) -> dict[str, object]:
    """The report; its field names are part of the product's surface."""
    return {
        "file": file,
        "speed": speed,
        "events": sent.events,
        "events_by_topic": by_topic,
        "duration_s": sent.duration_s,
        "events_per_s": sent.events_per_s,
        "behind_s": sent.behind_s,
        "first_event_ms": sent.first_event_ms,
        "last_event_ms": sent.last_event_ms,
    }
