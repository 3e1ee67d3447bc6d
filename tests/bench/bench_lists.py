"""Lists per second of one core with the network on, beside a bare loop that does only the arithmetic.

Run it as ``make bench-lists``. The worker's own core takes the
reference workload's events (decode, late and duplicate handling, state, step, top 20, message,
record); the bare loop is one batched step of torch's own GRU cell, a product with the items and
torch's ``topk`` on batches of the same size. They take turns, round after round, each on one
thread; the ratio is that of the medians. No broker is needed.
"""

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from models.behavior import Behavior
from models.memory import Memories
from models.networks import Network, NetworkConfig
from models.ranking import top_n_plain
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary
from stream.lists import Lists
from stream.messages import decode_list
from stream.records import MemoryRecords
from stream.rules import Rules
from stream.serving import Serving
from stream.state import decode_state
from stream.step import Batch, process
from stream.worker import spare_collections
from tests.bench.environment import environment
from tests.bench.threads import on_one_thread
from tests.bench.workload import FIRST_MS, SPAN_MS, Workload, WrongAnswer

UNITS = 100
CATEGORIES = 300
USERS = 2_000
BATCH = 512
CATALOGUES = {10_000: 8_192, 100_000: 2_048}
"""Items, and the events of a round."""

LEAST_RATIO = 0.8
CHECKED_LISTS = 20
PARTITION = 0
TOPICS = ("events.click",) * len(Behavior)


class Event(NamedTuple):
    """A Kafka record as the core reads it."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[()] = ()


def recommender(n_items: int) -> Recommender:
    """Return an untrained network over the workload's items: it costs what a trained one does."""
    torch.manual_seed(1)
    vocabulary = Vocabulary(
        item_ids=("", *(f"i{row}" for row in range(n_items - 1))),
        category_ids=("", *(f"c{row}" for row in range(CATEGORIES))),
        item_category=np.r_[0, 1 + np.arange(n_items - 1) % CATEGORIES].astype(np.int32),
    )
    category = torch.from_numpy(vocabulary.item_category.copy())
    network = Network(NetworkConfig(units=UNITS), category, n_categories=CATEGORIES + 1)
    return Recommender("bench", network, vocabulary, SegmentRule(), np.ones(n_items, np.float32), FIRST_MS)


class Product:
    """The worker's core over one partition."""

    def __init__(self, recommender: Recommender, batch: int = BATCH) -> None:
        """Begin without users; so many events make a batch."""
        self.recommender = recommender
        self.batch = batch
        self.serving = Serving(recommender)
        self.lists = Lists(Rules(), self.serving, TOPICS)
        self.records = MemoryRecords()
        self.made: deque[list[tuple[bytes, bytes | None]]] = deque(maxlen=CHECKED_LISTS)

    def run(self, events: Sequence[Event]) -> None:
        """Apply the events in batches; raises WrongAnswer unless each leads to a list."""
        for begin in range(0, len(events), self.batch):
            part = events[begin : begin + self.batch]
            batch = Batch(self.records.get, partition=PARTITION, lists=self.lists, now_ms=FIRST_MS + SPAN_MS)
            effects = process(batch, [(0, event) for event in part], partition_of=lambda _: PARTITION)
            if len(effects.lists) != len(part):
                raise WrongAnswer(f"{len(effects.lists)} lists for {len(part)} events")
            self.records.put(effects.states)
            self.made.append(effects.lists)

    def check(self, lists: int = CHECKED_LISTS) -> None:
        """Raise WrongAnswer unless the last lists are those of a full sort over the users' states."""
        newest = {key: value for batch in self.made for key, value in batch}
        for key, value in list(newest.items())[-lists:]:
            check_list(self.serving, self.records.get(key) or b"", value or b"")


def check_list(serving: Serving, record: bytes, value: bytes) -> None:
    """Raise WrongAnswer unless a list is that of a full sort over the user's state."""
    item_ids, made, state = serving.recommender.vocabulary.item_ids, decode_list(value), decode_state(record)
    hidden = np.frombuffer(state.hidden, np.float32)[None]
    had = serving.history(state)
    memories = Memories.of([had.items], [had.segment], [had.category])
    rows, scores = top_n_plain(serving.recommender.scores(hidden, memories), 20)
    same = [item.item_id for item in made.items] == [item_ids[row] for row in rows[0]]
    if not same and not np.allclose([item.score for item in made.items], scores[0], atol=1e-4):
        raise WrongAnswer(f"the list of {made.user_id!r} is not the best 20 of all items")


def bare_loop(n_items: int, batch: int = BATCH) -> Callable[[int], None]:
    """Return what makes so many lists of 20 rows with nothing around the arithmetic."""
    torch.manual_seed(2)
    cell = torch.nn.GRUCell(UNITS, UNITS)
    items = torch.randn(n_items, UNITS)

    @torch.inference_mode()
    def run(count: int) -> None:
        states = torch.zeros(batch, UNITS)
        for _ in range(0, count, batch):
            states = cell(items[torch.randint(n_items, (batch,))], states)
            (states @ items.T).topk(20)

    return run


def events_of(workload: Workload, first_offset: int = 0) -> list[Event]:
    """Return the workload's events as records of one partition."""
    return [
        Event(offset, FIRST_MS, key.encode(), value)
        for offset, (key, value) in enumerate(workload.records(), first_offset)
    ]


def measure(n_items: int, events_a_round: int, rounds: int) -> dict[str, Any]:
    """Let both take turns; return microseconds a list of one core and the ratio of their speeds."""
    product, bare = Product(recommender(n_items)), bare_loop(n_items)
    workload = Workload(events_a_round * (rounds + 1), users=USERS, items=n_items - 1)
    events = events_of(workload)
    product.run(events[:events_a_round])  # warm
    bare(BATCH)
    seconds: dict[str, list[float]] = {"product": [], "bare": []}
    for number in range(1, rounds + 1):
        part = events[number * events_a_round : (number + 1) * events_a_round]
        seconds["product"].append(processor_s(lambda part=part: product.run(part)))
        seconds["bare"].append(processor_s(lambda: bare(events_a_round)))
    product.check()
    us = {name: [1e6 * one / events_a_round for one in found] for name, found in seconds.items()}
    return {
        "items": n_items,
        "product_us": us["product"],
        "bare_us": us["bare"],
        "ratio": median(us["bare"]) / median(us["product"]),
    }


def processor_s(work: Callable[[], Any]) -> float:
    """Return the processor seconds of this process that some work takes."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every ratio is high enough."""
    parser = argparse.ArgumentParser(prog="bench_lists", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    on_one_thread(parser)
    spare_collections()  # as a worker does
    results = []
    for n_items, events_a_round in CATALOGUES.items():
        found = measure(n_items, events_a_round, chosen.rounds)
        results.append(found)
        print(
            f"{n_items:>7,} items: {median(found['product_us']):7.1f} us a list "
            f"({min(found['product_us']):.1f} .. {max(found['product_us']):.1f}), bare loop "
            f"{median(found['bare_us']):7.1f} ({min(found['bare_us']):.1f} .. {max(found['bare_us']):.1f}): "
            f"{found['ratio']:.2f} of its speed (at least {LEAST_RATIO})"
        )
    if chosen.report is not None:
        settings = {"units": UNITS, "batch": BATCH, "rounds": chosen.rounds, "least_ratio": LEAST_RATIO}
        report = {"benchmark": "lists", **environment(), "settings": settings, "results": results}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(found["ratio"] >= LEAST_RATIO for found in results) else 1


if __name__ == "__main__":
    sys.exit(main())
