"""From a worker's start after kill -9 to its first list, beside a bare read of the same changelog.

Run it as ``python -m tests.bench.bench_recovery`` (``make bench-recovery``). A worker with the network on
builds the users' state on a real broker, changelog included. Then, round after round, it is killed
with -9, and in turns a bare reader (``tests.bench.bare_read``) and, with an event waiting for it, a
new worker start, each as a process of its own. A worker's time has three parts, by the clock that its
log and the benchmark share:

- ``start``: from the process's start until the group has given it its partitions: imports, the check of
  the topics, weights, the join. The worker has a lasting name (``FRESHET_GROUP_INSTANCE_ID``); without
  one the group first waits for the killed worker to have been silent for the session timeout;
- ``restore``: from there, claims on the partitions included, until the state is all in memory;
- ``list``: from there until a consumer has the list of the event that waited.

The headline is ``restore`` and ``list`` together beside the read from the consumer's start to the last
record: what the changelog costs. The whole times stand beside it, process start to list and process
start to the reader's end. Each round checks how many users were restored, and that the list is that of
the pure core over the user's events.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from models.fitting import Figures, Fitted
from models.training import TrainingConfig
from stream.messages import RecommendationList, decode_list
from stream.retraining import announce_fitted
from stream.serving import Serving
from tests.bench.bench_lists import recommender
from tests.bench.environment import environment
from tests.bench.workload import WrongAnswer
from tests.support.deployment import Deployment, Sent, event, partition_of
from tests.support.kafka_broker import BrokerError, KafkaBroker, kafka_home, why_absent
from tests.support.partitions import CLICK, Partition, lists_of
from tests.support.worker_process import WorkerProcess, eventually

USERS = 100_000
EVENTS_PER_USER = 5
ITEMS = 2_000
ITEM_STEP = 997  # prime to the number of items
VISIT_MS = 30 * 60_000
SENT_AT_ONCE = 50_000
PARTITIONS = 8
FILL_LIMIT_S = 900.0
LIST_LIMIT_S = 120.0
LOOK_S = 1.0
MOST_RATIO = 2.0
SCORE_TOLERANCE = 1e-4
PARTS = ("start_s", "restore_s", "list_s", "headline_s", "whole_s")
LOGGED = re.compile(
    r"^(\S+Z) INFO stream\.\w+: (partitions are assigned|the state is restored)", re.MULTILINE
)


class Recovery(NamedTuple):
    """The parts of one worker's way to its first list, in seconds."""

    start_s: float
    restore_s: float
    list_s: float

    @property
    def headline_s(self) -> float:
        """From the assignment to the list."""
        return self.restore_s + self.list_s

    @property
    def whole_s(self) -> float:
        """From the process's start to the list."""
        return sum(self)


class Reading(NamedTuple):
    """A bare read, from its consumer's start and from its process's, in seconds."""

    read_s: float
    whole_s: float
    records: int
    size_bytes: int


class Shop:
    """So many users with a few events each, half an hour apart, and what their next lists hold."""

    def __init__(self, deployment: Deployment, users: int, events_per_user: int) -> None:
        """Put weights in force; nothing has been sent yet."""
        self.deployment = deployment
        self.users = users
        self.events_per_user = events_per_user
        self.recommender = recommender(ITEMS)
        self._first_ms = time.time_ns() // 1_000_000 - (events_per_user + 1) * VISIT_MS
        nothing = Figures(0, users, 0, ITEMS, 0, 0, 0.0, float("nan"), float("nan"))
        asyncio.run(announce_fitted(deployment.settings, Fitted(self.recommender, TrainingConfig(), nothing)))

    def event(self, user: int, number: int) -> Sent:
        """Return a user's event of a number, counted from 0."""
        item = f"i{(7 * user + number * ITEM_STEP) % (ITEMS - 1)}"
        made = event(f"u{user}", item, self._first_ms + number * VISIT_MS + user)
        return Sent(self.deployment.topics.events[CLICK], f"u{user}".encode(), made)

    def fill(self, worker: WorkerProcess) -> None:
        """Send every user's events, one each in turns, and return when they are applied and committed."""
        events = (
            self.event(user, number) for number in range(self.events_per_user) for user in range(self.users)
        )
        while part := list(islice(events, SENT_AT_ONCE)):
            self.deployment.send(part, within_s=FILL_LIMIT_S)
        limit_s = time.monotonic() + FILL_LIMIT_S
        while worker.events(outcome="applied") < self.users * self.events_per_user:
            if time.monotonic() > limit_s:
                raise WrongAnswer(f"only {worker.events(outcome='applied')} events applied")
            time.sleep(LOOK_S)
        self.deployment.wait_served(worker)

    def due(self, user: int) -> RecommendationList:
        """Return the list that is due after the user's next event, by the pure core alone."""
        partition = Partition(Serving(self.recommender), self.deployment.settings.rules, now_ms=_now_ms())
        sent = [self.event(user, number) for number in range(self.events_per_user + 1)]
        return lists_of(partition.run(*(partition.raw(one.key, one.value) for one in sent)))[-1]

    def check(self, made: RecommendationList, user: int) -> None:
        """Raise WrongAnswer unless a list is the one that is due; near ties may change places."""
        due = self.due(user)
        same = [item.item_id for item in made.items] == [item.item_id for item in due.items]
        scores = ([item.score for item in one.items] for one in (made, due))
        if not same and not np.allclose(*scores, atol=SCORE_TOLERANCE):
            raise WrongAnswer(f"the list of u{user} is {made.items}, not {due.items}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def recover(shop: Shop, user: int) -> tuple[WorkerProcess, Recovery]:
    """Start a worker for whom a user's next event waits; returns it with its times once the list is there."""
    deployment = shop.deployment
    key = f"u{user}".encode()
    place = TopicPartition(deployment.topics.recommendations, partition_of(key, PARTITIONS))
    consumer = Consumer(
        {"bootstrap.servers": deployment.kafka.bootstrap, "group.id": "first-list", "fetch.wait.max.ms": 5}
    )
    try:
        place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
        consumer.assign([place])
        deployment.send([shop.event(user, shop.events_per_user)])
        began_s = time.time()
        worker = deployment.start()
        made, seen_s = _first_list(consumer, key, worker)
    finally:
        consumer.close()
    shop.check(made, user)
    worker.wait_ready()
    eventually(
        lambda: worker.metrics().total("freshet_state_users") == shop.users,
        f"{shop.users} users are restored",
    )
    assigned_s, restored_s = moments(worker.errors())
    return worker, Recovery(assigned_s - began_s, restored_s - assigned_s, seen_s - restored_s)


def _first_list(consumer: Consumer, key: bytes, worker: WorkerProcess) -> tuple[RecommendationList, float]:
    """Return the first list that comes, which must be the user's, and when it came."""
    limit_s = time.monotonic() + LIST_LIMIT_S
    while time.monotonic() < limit_s and worker.running:
        message = consumer.poll(0.01)
        if message is not None and message.error() is None:
            seen_s = time.time()
            if message.key() != key:
                raise WrongAnswer(f"the first list is of {message.key()!r}, not {key!r}")
            return decode_list(message.value() or b""), seen_s
    raise WrongAnswer(f"no list within {LIST_LIMIT_S:.0f} s:\n{worker.errors()}")


def moments(log: str) -> tuple[float, float]:
    """Return when a worker's partitions were assigned and its state restored, in seconds of the clock."""
    said = {words: datetime.fromisoformat(at).timestamp() for at, words in LOGGED.findall(log)}
    return said["partitions are assigned"], said["the state is restored"]


def read_bare(deployment: Deployment) -> Reading:
    """Let a bare reader read the changelog in a process of its own."""
    began_s = time.perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.bare_read"),
            *(deployment.kafka.bootstrap, deployment.topics.changelog),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    whole_s = time.perf_counter() - began_s
    found = json.loads(done.stdout)
    return Reading(found["duration_s"], whole_s, found["records"], found["bytes"])


def measure(
    broker: KafkaBroker, folder: Path, *, users: int, events_per_user: int, rounds: int
) -> tuple[list[Recovery], list[Reading]]:
    """Fill the state, then let a bare reader and a worker that was killed take turns."""
    recoveries, readings = [], []
    with Deployment(broker, folder, partitions=PARTITIONS, group_instance_id="bench") as deployment:
        deployment.make_topics()
        shop = Shop(deployment, users, events_per_user)
        worker = deployment.start().wait_ready()
        began_s = time.perf_counter()
        shop.fill(worker)
        print(f"{users:,} users filled in {time.perf_counter() - began_s:.0f} s", flush=True)
        for number in range(rounds):
            worker.kill()
            readings.append(read_bare(deployment))
            worker, recovery = recover(shop, user=number * (users // rounds))
            recoveries.append(recovery)
            print(f"round {number + 1}: {_words(recovery, readings[-1])}", flush=True)
            deployment.wait_served(worker)
    return recoveries, readings


def _words(recovery: Recovery, reading: Reading) -> str:
    return (
        f"start {recovery.start_s:.2f} s, restore {recovery.restore_s:.2f} s, list {recovery.list_s:.2f} s; "
        f"bare read {reading.read_s:.2f} s of {reading.whole_s:.2f} s "
        f"({reading.records:,} records, {reading.size_bytes / 1e6:.0f} MB)"
    )


def figures(recoveries: Sequence[Recovery], readings: Sequence[Reading]) -> dict[str, float]:
    """Return the medians of the rounds in seconds, and of how many times the round's bare read each took."""
    found = {
        **{name: median(getattr(one, name) for one in recoveries) for name in PARTS},
        "bare_read_s": median(one.read_s for one in readings),
        "bare_whole_s": median(one.whole_s for one in readings),
        "records": readings[-1].records,
        "bytes": readings[-1].size_bytes,
    }
    # A round's two lie next to each other in time, so that a slow spell of the machine meets both.
    rounds = list(zip(recoveries, readings, strict=True))
    found["ratio"] = median(ours.headline_s / bare.read_s for ours, bare in rounds)
    found["whole_ratio"] = median(ours.whole_s / bare.whole_s for ours, bare in rounds)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when the answers are right and the headline is low enough."""
    parser = argparse.ArgumentParser(prog="bench_recovery", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--events-per-user", type=int, default=EVENTS_PER_USER)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    home, reason = kafka_home(), why_absent()
    if home is None or reason is not None:
        print(reason, file=sys.stderr)
        return 1
    settings = {
        "rounds": chosen.rounds,
        "users": chosen.users,
        "events_per_user": chosen.events_per_user,
    }
    with tempfile.TemporaryDirectory(prefix="freshet-recovery-") as folder:
        try:
            with KafkaBroker(home, Path(folder) / "kafka") as broker:
                found = figures(*measure(broker, Path(folder), **settings))
        except (BrokerError, WrongAnswer, AssertionError, subprocess.CalledProcessError) as error:
            print(f"bench_recovery: {error}", file=sys.stderr)
            return 1
    print(
        f"from the assignment to the first list {found['headline_s']:.2f} s, bare read "
        f"{found['bare_read_s']:.2f} s: {found['ratio']:.2f} times (at most {MOST_RATIO:g}); from the "
        f"process's start {found['whole_s']:.2f} s, the bare reader's {found['bare_whole_s']:.2f} s: "
        f"{found['whole_ratio']:.2f} times"
    )
    if chosen.report is not None:
        report = {"benchmark": "recovery", **environment(), "settings": settings, "figures": found}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if found["ratio"] <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
