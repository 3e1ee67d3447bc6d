"""What an event costs, and what a user takes of memory, as users grow; no broker is needed.

Each size has two processes of its own. Users are put into the worker's store with records that the
worker's core made of one user: for the memory with the network's after each of four visits, in another
order each time, which is how records that grow tear holes into a heap; for the events with
that of the network off. The measured events draw from all users alike, which no shop's do: no
record is in a cache because its user came a moment ago.
"""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import torch

from stream.lists import Lists
from stream.messages import decode_list
from stream.records import MemoryRecords
from stream.rules import Rules
from stream.serving import Serving
from stream.state import decode_state
from stream.step import Batch, process
from stream.worker import spare_collections
from tests.bench import bench_memory
from tests.bench.bench_lists import PARTITION, TOPICS, Event, events_of, processor_s
from tests.bench.calibration import Calibration
from tests.bench.workload import FIRST_MS, LIST_ITEMS, SPAN_MS, Workload, WrongAnswer

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
LEAST_RESIDENT: Final = 10_000
"""Fewer users than that find room in what the process has anyway."""
EVENTS_A_ROUND: Final = 20_000
BATCH: Final = 2_000
PUT_TOGETHER: Final = 1_000
CHECKED_LISTS: Final = 200
GAP_MS: Final = 60_000


def visits() -> list[bytes]:
    """Return a user's record after each of the visits of ``bench_memory``, the network's state within."""
    records = MemoryRecords()
    lists = Lists(Rules(list_interval_ms=1), Serving(bench_memory.recommender()), TOPICS)
    made = []
    for visit in range(bench_memory.SEGMENT_EVENTS // bench_memory.VISIT_EVENTS):
        bench_memory.apply(records, 0, lists, bench_memory.records([0], visit, 0))
        made.append(records.get(b"user-0000000") or b"")
    return made


def earlier(lists: Lists) -> bytes:
    """Return the record, with the network off, of a user who had 20 items before the workload begins."""
    events = [
        Event(
            number,
            FIRST_MS,
            b"u",
            b'{"user_id":"u","item_id":"%b","timestamp":%d,"event_id":"before-%04d","category_id":"c1"}'
            % (item.encode(), FIRST_MS - GAP_MS * (LIST_ITEMS - number), number),
        )
        for number, item in enumerate(_items_before())
    ]
    batch = Batch(lambda _: None, partition=PARTITION, lists=lists, now_ms=FIRST_MS)
    states = process(batch, [(0, event) for event in events], partition_of=lambda _: PARTITION).states
    return states[b"u"] or b""


def _items_before() -> list[str]:
    return [f"b{number:05d}" for number in range(LIST_ITEMS)]


def fill(records: MemoryRecords, keys: list[bytes], made: list[bytes]) -> None:
    """Put the records one after the other for every user, in another order of users each time."""
    mixed = random.Random(1)
    for record in made:
        order = keys.copy()
        mixed.shuffle(order)
        for begin in range(0, len(order), PUT_TOGETHER):
            # The store keeps pieces of a long record and a copy of a short one, so no two users share any.
            records.put(dict.fromkeys(order[begin : begin + PUT_TOGETHER], record))


class Worker:
    """The worker's core with the network off, over users who have had something."""

    def __init__(self, users: int) -> None:
        """Fill the store."""
        self.lists = Lists(Rules(recent=True), None, TOPICS)
        self.records = MemoryRecords()
        fill(self.records, [b"u%d" % user for user in range(users)], [earlier(self.lists)])
        self.written = 0
        self.newest: dict[bytes, bytes] = {}

    def run(self, events: list[Event]) -> None:
        """Apply the events in batches; raises WrongAnswer unless each leads to a list."""
        for begin in range(0, len(events), BATCH):
            part = events[begin : begin + BATCH]
            batch = Batch(self.records.get, partition=PARTITION, lists=self.lists, now_ms=FIRST_MS + SPAN_MS)
            effects = process(batch, [(0, event) for event in part], partition_of=lambda _: PARTITION)
            if len(effects.lists) != len(part):
                raise WrongAnswer(f"{len(effects.lists)} lists for {len(part)} events")
            self.records.put(effects.states)
            self.written += len(effects.states)
            self.newest.update((key, value or b"") for key, value in effects.lists)

    def check(self, workload: Workload, had: Mapping[bytes, int]) -> None:
        """Raise WrongAnswer unless the last lists hold what their users had last."""
        for key in list(self.newest)[-CHECKED_LISTS:]:
            items = [*_items_before(), *workload.last_items(int(key[1:]), had[key] - 1)]
            listed = [item.item_id for item in decode_list(self.newest[key]).items]
            if listed != items[: -LIST_ITEMS - 1 : -1]:
                raise WrongAnswer(f"the list of {key!r} is {listed}, not the last of {items}")

    def read(self, keys: list[bytes]) -> None:
        """Look users up and decode their records, as a batch begins."""
        for key in keys:
            decode_state(self.records.get(key) or b"")


def bytes_a_user(users: int) -> float:
    """Return the growth of resident memory for each of so many users with the network's records."""
    torch.set_num_threads(1)
    made, warm = visits(), MemoryRecords()
    fill(warm, [b"warm-%07d" % user for user in range(bench_memory.WARM_UP_USERS)], made)
    before = bench_memory.resident_bytes()
    records = MemoryRecords()
    fill(records, [b"user-%07d" % user for user in range(users)], made)
    return (bench_memory.resident_bytes() - before) / users


def measure(users: int, *, rounds: int) -> dict[str, Any]:
    """Return microseconds of processor time an event with so many users."""
    torch.set_num_threads(1)
    calibration, workload = Calibration(), Workload(EVENTS_A_ROUND * (rounds + 1), users=users)
    events, worker = events_of(workload, LIST_ITEMS), Worker(users)
    spare_collections()
    parts = [events[begin : begin + EVENTS_A_ROUND] for begin in range(0, len(events), EVENTS_A_ROUND)]
    worker.run(parts[0])  # warm
    worker.written = 0
    drawn = random.Random(2)
    found: dict[str, list[float]] = {"event_us": [], "read_us": []}
    for part in parts[1:]:
        calibration.take()
        found["event_us"].append(1e6 * processor_s(lambda part=part: worker.run(part)) / len(part))
        keys = [b"u%d" % user for user in drawn.choices(range(users), k=len(part))]
        found["read_us"].append(1e6 * processor_s(lambda keys=keys: worker.read(keys)) / len(keys))
    worker.check(workload, Counter(event.key for event in events))
    return {
        "users": users,
        **found,
        **calibration.figures(),
        "records_an_event": worker.written / (EVENTS_A_ROUND * rounds),
    }
