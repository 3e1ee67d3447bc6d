"""Resident bytes per user of a worker's state: 100,000 users with segments of 20 events.

Run it as ``python -m tests.bench.bench_memory`` (``make bench``). Events go through the worker's
own core, with a network of 100 units, into the worker's own store, in a process of its own; what
is measured is the growth of that process's resident memory, so everything counts: records, keys,
dictionaries and what the allocator could not give back. No broker is needed.
"""

import argparse
import ctypes
import gc
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import faust
import numpy as np
import torch

from models.behavior import Behavior
from models.networks import Network, NetworkConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary
from stream.lists import Lists
from stream.records import Records
from stream.rules import Rules
from stream.serving import Serving
from stream.state import decode_state
from stream.step import Batch, process
from stream.store import PartitionStore
from tests.bench.environment import environment
from tests.bench.workload import FIRST_MS, PARTITIONS

SEGMENT_EVENTS = 20
VISIT_EVENTS = 5
UNITS = 100
ITEMS = 2_000
CATEGORIES = 100
BATCH_USERS = 1_000
WARM_UP_USERS = 2_000
GAP_MS = 60_000
OFFSETS_A_VISIT = 1_000_000
LIMIT_BYTES = 1_536


def recommender() -> Recommender:
    """Return an untrained network: its states take the room of any other's."""
    torch.manual_seed(1)
    vocabulary = Vocabulary(
        item_ids=("", *(f"item-{row:07d}" for row in range(1, ITEMS))),
        category_ids=("", *(f"category-{row:04d}" for row in range(1, CATEGORIES))),
        item_category=np.r_[0, 1 + np.arange(ITEMS - 1) % (CATEGORIES - 1)].astype(np.int32),
    )
    network = Network(
        NetworkConfig(units=UNITS), torch.from_numpy(vocabulary.item_category.copy()), n_categories=CATEGORIES
    )
    popularity = np.ones(ITEMS, np.float32)
    return Recommender("bench", network, vocabulary, SegmentRule(), popularity, FIRST_MS)


class Click(NamedTuple):
    """A Kafka record as the core reads it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes


def records(users: Sequence[int], visit: int, partition: int) -> list[tuple[int, Click]]:
    """Return the events of a batch: one visit of each user, the users' events interleaved."""
    batch = []
    for turn in range(visit * VISIT_EVENTS, (visit + 1) * VISIT_EVENTS):
        for user in users:
            row = 1 + (user * 7 + turn * 31) % (ITEMS - 1)
            time_ms = FIRST_MS + turn * GAP_MS
            category = 1 + (row - 1) % (CATEGORIES - 1)
            value = (
                f'{{"user_id":"user-{user:07d}","item_id":"item-{row:07d}","timestamp":{time_ms},'
                f'"event_id":"e-{user:08d}-{turn:02d}","category_id":"category-{category:04d}"}}'
            )
            # An offset above all earlier ones of the partition, or it would be a redelivery.
            offset = visit * OFFSETS_A_VISIT + len(batch)
            click = Click(partition, offset, FIRST_MS, b"user-%07d" % user, value.encode())
            batch.append((int(Behavior.CLICK), click))
    return batch


def fill(store: PartitionStore, lists: Lists, users: range) -> None:
    """Let every user come four times, five events a time, each time in another order of users.

    Records are written anew and grow between the visits, as they do live: that is what tears
    holes into a heap, and a state written once would hide it.
    """
    mixed = random.Random(1)
    for visit in range(SEGMENT_EVENTS // VISIT_EVENTS):
        order = list(users)
        mixed.shuffle(order)
        for number in range(PARTITIONS):
            own = [user for user in order if user % PARTITIONS == number]
            for start in range(0, len(own), BATCH_USERS):
                apply(
                    store.partition(number),
                    number,
                    lists,
                    records(own[start : start + BATCH_USERS], visit, number),
                )


def apply(partition: Records, number: int, lists: Lists, incoming: list[tuple[int, Click]]) -> None:
    """Run one batch through the core and keep the records, as the worker does."""
    batch = Batch(partition.get, partition=number, lists=lists, now_ms=FIRST_MS + SEGMENT_EVENTS * GAP_MS)
    effects = process(batch, incoming, partition_of=lambda _key: number)
    if effects.outcomes.total() != effects.outcomes[Behavior.CLICK, "applied"]:
        raise SystemExit(f"bench_memory: not every event was applied: {dict(effects.outcomes)}")
    partition.put(effects.states)


def resident_bytes() -> int:
    """Return the process's resident memory after a collection, free heap given back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(users: int) -> dict[str, float]:
    """Return the growth of resident memory for ``users`` users and what their records come to."""
    torch.set_num_threads(1)
    app = faust.App("bench-memory", store="memory://")
    store = PartitionStore("memory://", app, app.Table("users", key_type=bytes, value_type=bytes))
    # One list a user and batch: 20 lists each would only make the benchmark longer.
    lists = Lists(Rules(list_interval_ms=1), Serving(recommender()), ("events.click",) * len(Behavior))
    fill(store, lists, range(10_000_000 - WARM_UP_USERS, 10_000_000))
    before = resident_bytes()
    fill(store, lists, range(users))
    grown = resident_bytes() - before
    sizes = [len(value) for number in store.partitions() for _, value in store.partition(number).items()]
    sample = decode_state(store.partition(0).get(b"user-%07d" % 0) or b"")
    if store.users() != users + WARM_UP_USERS or len(sample.segment_items()) != SEGMENT_EVENTS:
        raise SystemExit("bench_memory: the store does not hold what was put in")
    if len(sample.hidden) != UNITS * 4:
        raise SystemExit("bench_memory: the records hold no state of the network")
    return {
        "users": users,
        "segment_events": SEGMENT_EVENTS,
        "visits": SEGMENT_EVENTS // VISIT_EVENTS,
        "units": UNITS,
        "resident_bytes_per_user": grown / users,
        "record_bytes_mean": sum(sizes) / len(sizes),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when a user takes no more than the limit."""
    parser = argparse.ArgumentParser(prog="bench_memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    figures = measure(chosen.users)
    print(
        f"{figures['resident_bytes_per_user']:,.0f} resident bytes per user (at most {LIMIT_BYTES:,}), "
        f"{figures['record_bytes_mean']:,.0f} of them the record; {chosen.users:,} users, "
        f"segments of {SEGMENT_EVENTS}, {UNITS} units"
    )
    if chosen.report is not None:
        report = {"benchmark": "memory", **environment(), "limit_bytes": LIMIT_BYTES, "results": figures}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if figures["resident_bytes_per_user"] <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
