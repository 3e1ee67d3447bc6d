"""What a list costs as the catalogue grows, with the network alone and with the blend; no broker is needed.

Events with histories of 20 go through the worker's own core, in turns with the bare loop of
``bench_lists`` over as many items and with the calibration. Each size has a process of its own,
whose growth while it makes the weights is what they take of memory.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from models.blend import RANGES, VOICES, Blend
from models.neighbours import ItemNeighbours
from models.ranking import top_n
from models.recommender import Recommender
from stream.lists import Lists
from stream.rules import Rules
from stream.step import Batch, process
from tests.bench.bench_lists import (
    BATCH,
    CHECKED_LISTS,
    PARTITION,
    TOPICS,
    UNITS,
    Event,
    Product,
    bare_loop,
    events_of,
    processor_s,
    recommender,
)
from tests.bench.bench_memory import resident_bytes
from tests.bench.calibration import Calibration
from tests.bench.workload import FIRST_MS, LIST_ITEMS, SPAN_MS, Workload

SIZES: Final = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
USERS: Final = 512
HISTORY: Final = 20
"""Events of a user before the lists are measured."""
MOST_SCORES: Final = 128_000_000
"""Of a batch, 512 MB of them: with a million items 128 lists are ranked together."""
PARTS_ROUNDS: Final = 3
TABLES: Final = (200, 100, 20)
"""Neighbours, successors and direct successors of an item: the most that a blend keeps of the first
two, and as many direct ones as an item can have that was looked at twenty times."""


def blend_of(n_items: int) -> Blend:
    """Return a blend with full tables, alike for every item: none is popular, so no line is in a cache."""
    drawn = np.random.default_rng(1)
    tables = [_table(drawn, n_items, min(entries, n_items // 4)) for entries in TABLES]
    weights = (drawn.random(count, np.float32) for count in (n_items, 1, len(VOICES), 2 * RANGES))
    prior, new, near, had = weights
    return Blend(*tables, prior=prior, new=new, near=near, had=had.reshape(2, RANGES))


def _table(drawn: np.random.Generator, n_items: int, entries: int) -> ItemNeighbours:
    """Return so many entries an item, one in each of as many parts of the catalogue, hence ascending."""
    part = n_items // entries
    rows = drawn.integers(0, part, (n_items, entries), np.int32)
    rows += part * np.arange(entries, dtype=np.int32)
    begins = np.arange(n_items + 1, dtype=np.int64) * entries
    return ItemNeighbours(begins, rows.ravel(), drawn.random(rows.size, np.float32))


def weights(n_items: int, *, blend: bool) -> Recommender:
    """Return an untrained network, with or without a blend."""
    network = recommender(n_items)
    return replace(network, blend=blend_of(n_items)) if blend else network


def measure(n_items: int, *, blend: bool, rounds: int) -> dict[str, Any]:
    """Return microseconds of processor time a list, and what the weights take, of one size."""
    torch.set_num_threads(1)
    calibration, batch = Calibration(), min(BATCH, MOST_SCORES // n_items)
    lists_a_round = max(2 * batch, min(4_096, 64_000_000 // n_items))
    events = events_of(
        Workload(USERS * HISTORY + lists_a_round * (rounds + 1), users=USERS, items=n_items - 1)
    )
    begins = range(USERS * HISTORY, len(events) + 1, lists_a_round)
    _Warm(weights(100, blend=blend), batch).run(events[:batch])  # whatever is loaded only once
    before = resident_bytes()
    product = _Warm(weights(n_items, blend=blend), batch)
    product.remember(events[: begins[0]])
    product.run(events[begins[0] : begins[1]])
    weights_bytes = resident_bytes() - before
    bare = bare_loop(n_items, batch)
    bare(batch)
    found: dict[str, list[float]] = {"list_us": [], "bare_us": []}
    for begin, end in pairwise(begins[1:]):
        calibration.take()
        took_s = processor_s(lambda part=events[begin:end]: product.run(part))
        found["list_us"].append(1e6 * took_s / lists_a_round)
        found["bare_us"].append(1e6 * processor_s(lambda: bare(lists_a_round)) / lists_a_round)
    product.check(max(2, min(CHECKED_LISTS, 200_000 // n_items)))
    return {
        "items": n_items,
        "weights": "blend" if blend else "network",
        **found,
        **calibration.figures(),
        "lists_together": batch,
        "weights_bytes": weights_bytes,
        **_parts_ns(n_items, batch),
    }


def _parts_ns(n_items: int, batch: int) -> dict[str, float]:
    """Return nanoseconds of a list and item: the product into new room and into kept room, the best 20."""
    states, items, kept = torch.randn(batch, UNITS), torch.randn(n_items, UNITS), torch.empty(batch, n_items)
    works = {
        "product_ns": lambda: torch.mm(states, items.T),
        "product_into_kept_ns": lambda: torch.mm(states, items.T, out=kept),
        "top_n_ns": lambda: top_n(kept.numpy(), LIST_ITEMS),
    }
    cells = batch * n_items
    return {
        name: 1e9 * median(processor_s(work) for _ in range(PARTS_ROUNDS)) / cells
        for name, work in works.items()
    }


def _parts(found: list[list[Event]], size: int) -> Iterator[list[list[Event]]]:
    return (found[begin : begin + size] for begin in range(0, len(found), size))


class _Warm(Product):
    """The worker's core over users who have had something."""

    def remember(self, events: Sequence[Event]) -> None:
        """Apply the events with one list a user: more of them would only make the benchmark longer."""
        of_user: dict[bytes, list[Event]] = defaultdict(list)
        for event in events:
            of_user[event.key].append(event)
        lists = Lists(Rules(list_interval_ms=1), self.serving, TOPICS)
        for some in _parts(list(of_user.values()), self.batch):
            batch = Batch(self.records.get, partition=PARTITION, lists=lists, now_ms=FIRST_MS + SPAN_MS)
            together = [(0, event) for event in chain.from_iterable(some)]
            self.records.put(process(batch, together, partition_of=lambda _: PARTITION).states)
