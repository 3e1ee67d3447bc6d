"""From producing an event to reading its list, in both modes, beside a bare aiokafka echo of the same load.

Run it as ``python -m tests.bench.bench_latency`` (``make bench-latency``). Events go out at a fixed
rate; each carries the moment at which it was due to go out, so a generator that falls behind, or a
contestant that holds it up, counts as latency (no coordinated omission). A consumer of its own
reads the answers, committed ones only. The rates are shares of ``--capacity``, the events per second that
``make bench`` measured for the worker; the echo and the worker, with the default guarantee and with
``exactly_once``, take turns at each. One round before them does not count: a broker that has just started
compiles itself under the first load, for which whoever came first would pay.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.environment import environment
from tests.bench.peer import Peer, PeerFailed, Run, end
from tests.bench.peers import aiokafka_batch, worker
from tests.bench.workload import PARTITIONS
from tests.support.kafka_broker import BrokerError, KafkaBroker, kafka_home, why_absent

PEERS = {"worker": worker.PEER, "exactly_once": worker.EXACTLY_ONCE, "echo": aiokafka_batch.PEER}
SHARES = (0.1, 0.5, 0.8)
CAPACITY_EVENTS_PER_S = 40_000
USERS = 20_000
ITEMS = 50_000
WARM_UP_S = 5.0
TICK_S = 0.002
SETTLE_LIMIT_S = 60.0
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Answer(msgspec.Struct):
    """What is read of an answer: the echo's own time, or that of the list's event."""

    timestamp: int | None = None
    event: "Place | None" = None


class Place(msgspec.Struct):
    """The event of a list."""

    timestamp: int


class Latencies(NamedTuple):
    """The quantiles of one run in milliseconds, and how many answers they are of."""

    quantiles_ms: dict[str, float]
    answers: int


def value(number: int, due_ms: int) -> bytes:
    """Return event ``number`` of the run, due at a moment."""
    user, item = number * 7_919 % USERS, number * 9_973 % ITEMS
    return b'{"user_id":"u%d","item_id":"i%d","timestamp":%d,"event_id":"e-%d-%d"}' % (
        user,
        item,
        due_ms,
        due_ms,
        number,
    )


def send(bootstrap: str, topic: str, rate: float, duration_s: float) -> int:
    """Send events at ``rate`` for ``duration_s``; return how many."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 1, "log_level": 3}
    )
    began_s = time.time()
    number = 0
    while (passed_s := time.time() - began_s) < duration_s:
        while number < passed_s * rate:
            due_ms = int((began_s + number / rate) * 1000)
            producer.produce(topic, key=f"u{number * 7_919 % USERS}", value=value(number, due_ms))
            number += 1
        producer.poll(0)
        time.sleep(TICK_S)
    if producer.flush(SETTLE_LIMIT_S):
        raise PeerFailed("the events could not all be sent")
    return number


class Reader(threading.Thread):
    """Reads the answers as they come and notes how long after its due moment each is there."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Begin at the beginning of a topic, where nothing is yet."""
        super().__init__(daemon=True)
        self.latencies_ms: list[float] = []
        self._ends = threading.Event()
        self._decode = msgspec.json.Decoder(Answer).decode
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "reader", "fetch.wait.max.ms": 5, "log_level": 3}
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

    def run(self) -> None:
        """Read until ended."""
        while not self._ends.is_set():
            messages = self._consumer.consume(1_000, timeout=0.005)
            now_ms = time.time() * 1000
            for message in messages:
                answer = self._decode(message.value())
                due_ms = answer.timestamp if answer.event is None else answer.event.timestamp
                self.latencies_ms.append(now_ms - (due_ms or 0))
        self._consumer.close()

    def wait(self, answers: int) -> None:
        """Return when so many answers are there; raises PeerFailed when none comes any more."""
        limit_s = time.monotonic() + SETTLE_LIMIT_S
        while len(self.latencies_ms) < answers:
            if time.monotonic() > limit_s:
                raise PeerFailed(f"{len(self.latencies_ms)} answers to {answers} events")
            time.sleep(TICK_S)

    def end(self) -> None:
        """Stop reading."""
        self._ends.set()
        self.join()


@contextmanager
def running(peer: Peer, broker: KafkaBroker, tag: str, folder: Path) -> Iterator[Run]:
    """Run a contestant over fresh topics."""
    source, sink = peer.topics(tag)
    run = Run(broker=broker, source=source, sink=sink, directory=folder / tag)
    run.directory.mkdir(parents=True)
    if peer.prepare is not None:
        peer.prepare(run)
    else:
        broker.create_topics({source: PARTITIONS, sink: PARTITIONS})
    with (run.directory / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            peer.command(run),
            env={**os.environ, **peer.environment(run)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield run
        finally:
            end(process)


def measure(run: Run, rate: float, duration_s: float) -> Latencies:
    """Send at a rate once the contestant is warm, and return how long the answers took."""
    reader = Reader(run.broker.bootstrap, run.sink)
    reader.start()
    try:
        warm = send(run.broker.bootstrap, run.source, min(rate, 2_000), WARM_UP_S)
        reader.wait(warm)
        sent = send(run.broker.bootstrap, run.source, rate, duration_s)
        reader.wait(warm + sent)
    finally:
        reader.end()
    found = np.array(reader.latencies_ms[warm:])
    return Latencies({name: float(np.quantile(found, q)) for name, q in QUANTILES.items()}, len(found))


def compare(
    broker: KafkaBroker,
    folder: Path,
    *,
    capacity: float,
    shares: Sequence[float],
    rounds: int,
    duration_s: float,
) -> dict[str, Any]:
    """Let all take turns at each rate; return the quantiles and their ratios to the echo's."""
    for name, peer in PEERS.items():
        with running(peer, broker, f"latency-{name}-before", folder) as run:
            measure(run, max(shares) * capacity, duration_s)
    levels = {}
    for share in shares:
        found: dict[str, list[Latencies]] = {name: [] for name in PEERS}
        for number in range(rounds):
            for name, peer in PEERS.items():
                tag = f"latency-{name}-{int(share * 100)}-{number}"
                with running(peer, broker, tag, folder) as run:
                    found[name].append(measure(run, share * capacity, duration_s))
        levels[f"{share:.0%}"] = level = _level(found)
        print(f"{share:>4.0%} of {capacity:,.0f} events/s   " + "   ".join(_words(level)), flush=True)
    return levels


def _level(found: dict[str, list[Latencies]]) -> dict[str, dict[str, float]]:
    """Return the medians of the rounds, and how many times the echo's each of the others' is."""
    level = {
        f"{name}_ms": {quantile: median(one.quantiles_ms[quantile] for one in runs) for quantile in QUANTILES}
        for name, runs in found.items()
    }
    ratios = {
        f"{name}_ratio": {
            quantile: level[f"{name}_ms"][quantile] / level["echo_ms"][quantile] for quantile in QUANTILES
        }
        for name in found
        if name != "echo"
    }
    return level | ratios


def _words(level: dict[str, dict[str, float]]) -> Iterator[str]:
    for quantile in QUANTILES:
        ours = (
            f"{name} {level[f'{name}_ms'][quantile]:.1f} ms ({level[f'{name}_ratio'][quantile]:.1f} times)"
            for name in PEERS
            if name != "echo"
        )
        yield f"{quantile}: {', '.join(ours)}, echo {level['echo_ms'][quantile]:.1f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every event was answered."""
    parser = argparse.ArgumentParser(prog="bench_latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--capacity", type=float, default=CAPACITY_EVENTS_PER_S, help="events/s of a backlog")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=SHARES, help="of the capacity, each a rate"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each rate is held")
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    home, reason = kafka_home(), why_absent()
    if home is None or reason is not None:
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="freshet-latency-") as folder:
        try:
            with KafkaBroker(home, Path(folder) / "kafka") as broker:
                levels = compare(
                    broker,
                    Path(folder),
                    capacity=chosen.capacity,
                    shares=chosen.shares,
                    rounds=chosen.rounds,
                    duration_s=chosen.seconds,
                )
        except (BrokerError, PeerFailed, subprocess.CalledProcessError) as error:
            print(f"bench_latency: {error}", file=sys.stderr)
            return 1
    if chosen.report is not None:
        settings = {
            "capacity_events_per_s": chosen.capacity,
            "shares": list(chosen.shares),
            "rounds": chosen.rounds,
            "seconds": chosen.seconds,
        }
        report = {"benchmark": "latency", **environment(), "settings": settings, "levels": levels}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
