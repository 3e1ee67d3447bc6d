"""Events of a file in the order of their event time, whatever the file's order, in bounded memory.

What fits in memory is sorted there. A larger file is written as sorted runs to a temporary
folder, and read back one span of time after another, each taken from all the runs.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

ROW = "row"
"""Column that is added: the event's number in the order in which the frames came, from 1."""

# Some 100 bytes an event with its ids: about 200 MB, and as much again while it is sorted.
MEMORY_ROWS = 2_000_000
RUN_GROUP_ROWS = 50_000
_ORDER = ("timestamp", ROW)


def in_time_order(
    frames: Iterable[pl.DataFrame], *, memory_rows: int = MEMORY_ROWS
) -> Iterator[pl.DataFrame]:
    """All the events of ``frames`` by timestamp, with ``ROW``; events of one time stay as they came.

    At most about ``memory_rows`` events are held, unless more of them share one timestamp.
    Everything is read before the first frame is given.
    """
    with TemporaryDirectory(prefix="freshet-order-") as folder:
        runs: list[Path] = []
        held: list[pl.DataFrame] = []
        count = held_rows = 0
        for frame in frames:
            held.append(frame.with_row_index(ROW, offset=count + 1))
            count += frame.height
            held_rows += frame.height
            if held_rows >= memory_rows:
                runs.append(Path(folder, f"{len(runs)}.parquet"))
                _sorted(held).write_parquet(runs[-1], row_group_size=RUN_GROUP_ROWS)
                held, held_rows = [], 0
        last = _sorted(held) if held else None
        if not runs:
            if last is not None:
                yield last
            return
        if last is not None:
            runs.append(Path(folder, f"{len(runs)}.parquet"))
            last.write_parquet(runs[-1], row_group_size=RUN_GROUP_ROWS)
        yield from _merged(runs, memory_rows)


def _sorted(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames).sort(_ORDER)


def _merged(runs: list[Path], memory_rows: int) -> Iterator[pl.DataFrame]:
    """Read the runs back by spans of time that hold about ``memory_rows`` events each."""
    table = pl.scan_parquet(runs)
    stride = max(1, memory_rows // 100)
    marks = pl.concat(
        [pl.scan_parquet(run).select(pl.col("timestamp").gather_every(stride)).collect() for run in runs]
    )["timestamp"].sort()
    edges = marks.gather_every(max(1, memory_rows // stride)).unique().sort().to_list()
    for begin, end in pairwise([*edges, None]):
        within = pl.col("timestamp") >= begin
        if end is not None:
            within &= pl.col("timestamp") < end
        yield table.filter(within).collect().sort(_ORDER)
