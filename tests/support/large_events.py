"""What reading events and preparing them for training takes of memory, measured in a process of its own.

``python -m tests.support.large_events FILE EVENTS`` writes a Parquet file of so many events; where it
is there it is read as `freshet train` reads it, and two numbers of bytes are printed: what the process
took at most beyond what it took before, and what the log that training keeps takes.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from models.events import EventLog
from models.vocabulary import Vocabulary
from stream.datasets import load_events
from tests.support.memory import peak_resident_bytes, resident_bytes

ITEMS = 2_000
EVENTS_PER_USER = 20


def write(path: Path, count: int) -> None:
    """A file of users and items whose ids are longer than polars keeps without a second place."""
    rng = np.random.default_rng(1)
    numbers = pl.DataFrame(
        {
            "user_id": rng.integers(0, count // EVENTS_PER_USER, count),
            "item_id": rng.integers(0, ITEMS, count),
            "timestamp": 1_511_544_070_000 + np.arange(count),
        }
    )
    numbers.with_columns(
        pl.format("customer-{}", pl.col("user_id") + 10_000_000).alias("user_id"),
        pl.format("product-{}", pl.col("item_id") + 10_000_000).alias("item_id"),
        pl.format("category-{}", pl.col("item_id") % 100).alias("category_id"),
    ).write_parquet(path, row_group_size=100_000)


def main(file: str, count: str) -> None:
    """Write, or read and measure."""
    path = Path(file)
    if not path.exists():
        write(path, int(count))
        return
    before = resident_bytes("self")
    events = load_events(path)
    vocabulary = Vocabulary.from_frame(events)
    log = EventLog.from_frame(events, vocabulary)
    peak = peak_resident_bytes("self")
    held = sum(column.nbytes for column in (log.user, log.item, log.category, log.behavior, log.time_ms))
    print(peak - before, held)
    assert len(log) == int(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
