"""Events of a file by the share of its users and by time."""

from pathlib import Path

import polars as pl

from stream.cli.options import parse_columns
from stream.datasets import load_events


def sampled(path: Path, columns: str | None, share: float) -> pl.DataFrame:
    """The events of a share of the users, by a hash of their ids, in order of time."""
    events = load_events(path, columns=parse_columns(columns), time_unit="ms").sort("timestamp")
    return events.filter(pl.col("user_id").hash(seed=1) % 10_000 < round(share * 10_000))


def before(events: pl.DataFrame, end_ms: int) -> pl.DataFrame:
    """What happened before a time."""
    return events.filter(pl.col("timestamp") < end_ms)
