"""What a peer is to the benchmark: a process that reads one topic and writes another."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.bench.workload import PARTITIONS, Workload
from tests.support.kafka_broker import KafkaBroker

POLL_INTERVAL_S = 0.02
STALL_LIMIT_S = 90.0
STOP_LIMIT_S = 20.0


class PeerFailed(Exception):
    """A peer ended or stood still before it had answered every event."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where one run of a peer takes place: its broker, topics and folder."""

    broker: KafkaBroker
    source: str
    sink: str
    directory: Path


Look = Callable[[], int]
"""Says how many events are answered now."""


@contextmanager
def sink_ends(run: Run, *, markers: int = 0) -> Iterator[Look]:
    """Look at the end offsets of the sink; ``markers`` of them are transactions' before the first list."""
    client = Consumer({"bootstrap.servers": run.broker.bootstrap, "group.id": "observer"})
    sink = [TopicPartition(run.sink, partition) for partition in range(PARTITIONS)]
    try:
        yield lambda: max(
            0, sum(client.get_watermark_offsets(part, timeout=30)[1] for part in sink) - markers
        )
    finally:
        client.close()


@contextmanager
def committed(run: Run, *, group: str) -> Iterator[Look]:
    """Look at the offsets a group has committed of the source: where each batch ends in a marker."""
    settings = {"bootstrap.servers": run.broker.bootstrap, "group.id": group}
    # A client that reads what is committed only would wait for the transaction that is open.
    client = Consumer({**settings, "isolation.level": "read_uncommitted"})
    source = [TopicPartition(run.source, partition) for partition in range(PARTITIONS)]
    try:
        yield lambda: sum(max(0, place.offset) for place in client.committed(source, timeout=30))
    finally:
        client.close()


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One contestant.

    ``events`` is how many it is given, so that it works for several seconds. ``command`` names the
    process to start, ``environment`` what to add to its environment. ``check`` raises WrongAnswer
    when the sink does not hold what the workload asks for. ``why_absent`` gives the reason for
    which it cannot run here, or None. ``prepare`` makes what it needs beyond its two topics.
    ``topics`` names source and sink where the peer does not take any name. ``watch`` gives what says how
    far it is.
    """

    name: str
    note: str
    events: int
    command: Callable[[Run], list[str]]
    check: Callable[[Workload, Run], None]
    environment: Callable[[Run], Mapping[str, str]] = lambda _run: {}
    why_absent: Callable[[], str | None] = lambda: None
    prepare: Callable[[Run], None] | None = None
    watch: Callable[[Run], AbstractContextManager[Look]] = sink_ends
    topics: Callable[[str], tuple[str, str]] = field(default=lambda tag: (f"{tag}-source", f"{tag}-sink"))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one run came to."""

    events: int
    measured_events: int
    duration_s: float
    first_list_s: float

    @property
    def events_per_s(self) -> float:
        """Events answered per second, from the first answers seen to the last."""
        return self.measured_events / self.duration_s


def python(module: str, run: Run) -> list[str]:
    """Return the command of a peer that is a module of this folder."""
    return [sys.executable, "-m", module, run.broker.bootstrap, run.source, run.sink]


def measure(peer: Peer, *, broker: KafkaBroker, tag: str, directory: Path, scale: float) -> Measurement:
    """Let ``peer`` work off its events once, check every answer, and return its speed.

    The events are all there before it starts. Speed is seen from outside, by offsets on the broker;
    starting up is not part of it.
    """
    workload = Workload(max(1000, int(peer.events * scale)))
    source, sink = peer.topics(tag)
    run = Run(broker=broker, source=source, sink=sink, directory=directory)
    directory.mkdir(parents=True)
    if peer.prepare is not None:
        peer.prepare(run)
    else:
        broker.create_topics({source: PARTITIONS, sink: PARTITIONS})
    workload.produce(broker.bootstrap, source)
    log_path = directory / "peer.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            peer.command(run),
            env={**os.environ, **peer.environment(run)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            result = _observe(process, peer, run, workload.events)
        except PeerFailed as error:
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-20:])
            raise PeerFailed(f"{peer.name}: {error}\n{tail}") from None
        finally:
            end(process)
    peer.check(workload, run)
    _delete_topics(run, tag)
    return result


def _observe(process: subprocess.Popen[bytes], peer: Peer, run: Run, events: int) -> Measurement:
    """Watch the answers come until there are as many as ``events``."""
    began_s = last_change_s = time.perf_counter()
    first_s, first_count, count = 0.0, 0, 0
    with peer.watch(run) as look:
        while count < events:
            time.sleep(POLL_INTERVAL_S)
            now_count = look()
            now_s = time.perf_counter()
            if now_count != count:
                last_change_s = now_s
                if not count:
                    first_s, first_count = now_s, now_count
                count = now_count
            elif process.poll() is not None:
                raise PeerFailed(f"ended with status {process.returncode} after {count} of {events} lists")
            elif now_s - last_change_s > STALL_LIMIT_S:
                raise PeerFailed(f"stood still for {STALL_LIMIT_S:.0f} s after {count} of {events} lists")
    if first_count >= events:
        raise PeerFailed(f"{events} events were too few to measure: all were answered at first sight")
    return Measurement(
        events=events,
        measured_events=events - first_count,
        duration_s=last_change_s - first_s,
        first_list_s=first_s - began_s,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the peer's whole process group to stop, then insist."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _delete_topics(run: Run, tag: str) -> None:
    """Give the disk back: the topics of this run, changelogs that peers made included."""
    names = run.broker.admin().list_topics(timeout=30).topics
    run.broker.delete_topics(*(name for name in names if tag in name))
