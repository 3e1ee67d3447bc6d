"""Real events with duplicates, late and bad ones mixed in, from a seed."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from stream.datasets import read_events

DUPLICATES, LATE, BAD = 0.02, 0.03, 0.01
DUPLICATED_WITHIN = 50
LATEST_MS = 30 * 60_000
FAR_FUTURE_MS = 200_000_000_000_000

GLOBO = "globo_clicks_20171001_05.csv.xz"
TAOBAO = "taobao_userbehavior_100k.csv.xz"
GLOBO_COLUMNS = {"timestamp": "ts_ms"}
KEPT = ("user_id", "item_id", "category_id", "behavior", "timestamp")


class Mixed(NamedTuple):
    """An event to send: its behaviour, key and value."""

    behavior: int
    key: bytes
    value: bytes


def globo(data: Path, count: int) -> pl.DataFrame:
    """The first clicks of the news site; the users are told apart from those of the shop."""
    return _events(data / GLOBO, "g", count, columns=GLOBO_COLUMNS)


def taobao(data: Path, count: int) -> pl.DataFrame:
    """The first events of the shop, in order of time."""
    return _events(data / TAOBAO, "t", 1 << 62).sort("timestamp", maintain_order=True).head(count)


def _events(path: Path, prefix: str, count: int, **reading) -> pl.DataFrame:
    frames, rows = [], 0
    for frame in read_events(path, **reading):
        frames.append(frame.select(KEPT))
        rows += frame.height
        if rows >= count:
            break
    ids = [pl.concat_str(pl.lit(prefix), pl.col(name)).alias(name) for name in ("user_id", "item_id")]
    return pl.concat(frames).head(count).with_columns(ids)


def mixed(events: pl.DataFrame, drawn: random.Random) -> Iterator[Mixed]:
    """Give the events in order; each has an id, by which its duplicate, a little later, is one.

    Late events are stamped up to half an hour before their turn. Bad ones come on top, under
    their user's key.
    """
    again: list[tuple[int, Mixed]] = []
    for number, (user, item, category, behavior, time_ms) in enumerate(events.select(KEPT).iter_rows()):
        late_ms = drawn.randrange(1, LATEST_MS) if drawn.random() < LATE else 0
        fields = {"user_id": user, "item_id": item, "timestamp": time_ms - late_ms, "event_id": f"{number}"}
        if category is not None:
            fields["category_id"] = category
        one = Mixed(behavior, user.encode(), msgspec.json.encode(fields))
        yield one
        if drawn.random() < DUPLICATES:
            again.append((number + drawn.randrange(DUPLICATED_WITHIN), one))
        if drawn.random() < BAD:
            yield one._replace(value=drawn.choice(_spoilt(fields)))
        while again and again[0][0] <= number:
            yield again.pop(0)[1]
    yield from (one for _, one in again)


def _spoilt(fields: dict[str, object]) -> list[bytes]:
    """The ways in which an event can be refused."""
    whole = msgspec.json.encode(fields)
    without = {name: value for name, value in fields.items() if name != "item_id"}
    return [
        b"",
        b"not json",
        b"\xff\xfe" + whole,
        whole[:-1],
        b"[" * 10_000,
        msgspec.json.encode(without),
        *(
            msgspec.json.encode({**fields, **wrong})
            for wrong in (
                {"item_id": 7},
                {"item_id": ""},
                {"item_id": "x" * 300},
                {"timestamp": -1},
                {"timestamp": "yesterday"},
                {"timestamp": FAR_FUTURE_MS},
                {"user_id": "somebody else"},
            )
        ),
    ]
