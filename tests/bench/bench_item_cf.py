"""Fitting item CF beside `implicit`'s item-item on the same data: seconds, and the same neighbours.

OPENBLAS_NUM_THREADS=1 python -m tests.bench.bench_item_cf [FILE --columns ... --time-unit s] [--report FILE]

Ours goes from the log to the table: distinct items of each user, equation 1 for all pairs, the K best of
each item. The peer is `ItemItemRecommender` with the same K on one thread, given the matrix whose product
with itself is equation 1: an entry is sqrt(1 / log(1 + |N(u)|)) / sqrt(|N(i)|). It is measured from the same
log, with the matrix made by scipy, and by its ``fit`` of the finished matrix alone; the bar is on the first.
They take turns, and the ratios are those of the medians of processor time. Both tables must hold the same
neighbours with the same weights, but for places where equal weights may stand for each other.

Without a FILE it is over ``--events`` events of a generated shop.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from models.events import EventLog
from models.neighbours import NEIGHBOURS, ItemNeighbours
from models.ranking import UNKNOWN_ROW
from models.vocabulary import Vocabulary
from stream.cli.options import parse_columns
from stream.datasets import load_events
from stream.simulation import SimulationConfig, simulate
from tests.bench.bench_lists import processor_s
from tests.bench.environment import environment
from tests.bench.threads import on_one_thread
from tests.bench.workload import WrongAnswer

LEAST_RATIO = 1.0
TOLERANCE = 1e-5  # weights are kept as float32

Table = sparse.csr_array


def log_of(frame: pl.DataFrame) -> tuple[EventLog, Vocabulary]:
    """Return the events as rows, and what the rows stand for."""
    vocabulary = Vocabulary.from_frame(frame)
    return EventLog.from_frame(frame, vocabulary), vocabulary


def ours(log: EventLog, n_items: int) -> Table:
    """Return our table as a matrix (N, N)."""
    fitted = ItemNeighbours.fit(log, n_items=n_items)
    return sparse.csr_array((fitted.weights, fitted.rows, fitted.begins), shape=(n_items, n_items))


def matrix(log: EventLog, n_items: int) -> sparse.csr_matrix:
    """Return the matrix (U, N) whose product with itself is equation 1."""
    known = log[log.item != UNKNOWN_ROW]
    _, user = np.unique(known.user, return_inverse=True)
    had = sparse.csr_matrix(
        (np.ones(len(known)), (user, known.item)), shape=(int(user.max()) + 1, n_items)
    )  # repetitions are summed up
    had.data[:] = 1.0
    of_user = 1 / np.sqrt(np.log(1 + np.diff(had.indptr)))
    of_item = 1 / np.sqrt(np.maximum(np.bincount(had.indices, minlength=n_items), 1))
    had.data = np.repeat(of_user, np.diff(had.indptr)) * of_item[had.indices]
    return had


def theirs(weighted: sparse.csr_matrix) -> Table:
    """Return the peer's table as a matrix (N, N)."""
    from implicit.nearest_neighbours import ItemItemRecommender

    model = ItemItemRecommender(K=NEIGHBOURS, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how it stores its own result
        model.fit(weighted, show_progress=False)
    return sparse.csr_array(model.similarity)


def check(one: Table, other: Table) -> None:
    """Raise WrongAnswer unless both hold the same weights, item by item from the highest down."""
    one.eliminate_zeros()
    other.eliminate_zeros()
    if not np.array_equal(one.indptr, other.indptr):
        raise WrongAnswer("the tables hold different numbers of neighbours")
    for item in range(one.shape[0]):
        begin, end = one.indptr[item], one.indptr[item + 1]
        found, expected = (np.sort(table.data[begin:end]) for table in (one, other))
        if not np.allclose(found, expected, rtol=TOLERANCE):
            raise WrongAnswer(f"item {item}: the weights are {found}, not {expected}")
        lowest = found[0] * (1 + TOLERANCE) if end > begin else 0.0
        above = (set(table.indices[begin:end][table.data[begin:end] > lowest]) for table in (one, other))
        if len(set(map(frozenset, above))) > 1:
            raise WrongAnswer(f"item {item}: other neighbours at the same weights")


def measure(log: EventLog, n_items: int, rounds: int) -> dict[str, list[float]]:
    """Let all take turns; return the processor seconds of each, and compare the tables."""
    weighted = matrix(log, n_items)
    work: dict[str, Callable[[], Any]] = {
        "freshet": lambda: ours(log, n_items),
        "implicit": lambda: theirs(matrix(log, n_items)),
        "implicit, fit alone": lambda: theirs(weighted),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            seconds[name].append(processor_s(one))
    check(ours(log, n_items), theirs(weighted))
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when ours takes no longer."""
    parser = argparse.ArgumentParser(prog="bench_item_cf", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--columns")
    parser.add_argument("--time-unit", choices=("s", "ms"))
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    on_one_thread(parser)
    try:
        import implicit
    except ImportError as error:
        print(f"not run: implicit is not installed ({error})")
        return 0
    if chosen.file is None:
        shop = SimulationConfig(events=chosen.events, users=20_000, items=10_000, categories=200)
        frame = simulate(shop).events
    else:
        frame = load_events(chosen.file, columns=parse_columns(chosen.columns), time_unit=chosen.time_unit)
    log, vocabulary = log_of(frame)
    n_items = vocabulary.n_items
    print(f"{len(log):,} events, {n_items - 1:,} items, {NEIGHBOURS} neighbours of each")
    seconds = measure(log, n_items, chosen.rounds)
    ratios = {name: median(one) / median(seconds["freshet"]) for name, one in seconds.items()}
    for name, one in seconds.items():
        print(
            f"{name:20} {median(one):7.3f} s ({min(one):.3f} .. {max(one):.3f}), "
            f"{ratios[name]:.2f} times ours"
        )
    print(f"implicit takes {ratios['implicit']:.2f} times as long (asked {LEAST_RATIO:g})")
    if chosen.report is not None:
        settings = {"events": len(log), "items": n_items, "neighbours": NEIGHBOURS, "rounds": chosen.rounds}
        report = {"benchmark": "item-cf", **environment(), "implicit": implicit.__version__}
        report |= {"settings": settings, "seconds": seconds, "ratios": ratios}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if ratios["implicit"] >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
