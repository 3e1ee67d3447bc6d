"""Workers and partitions on a real broker: speed, processor time of each process, bytes on disk.

A backlog is written while the workers stand still (SIGSTOP), so that both of two begin at once on partitions
that they have shared out before. Speed is seen from outside, from there to the last list; where workers,
broker and whatever else the machine runs share few cores it says less than the processor time of an event,
by each process, which is what a deployment of more machines is reckoned from.
"""

import asyncio
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from models.fitting import Figures, Fitted
from models.training import TrainingConfig
from stream.messages import decode_list
from stream.retraining import announce_fitted
from stream.serving import Serving
from tests.bench.bench_lists import check_list
from tests.bench.calibration import Calibration
from tests.bench.scale_items import weights
from tests.bench.workload import LIST_ITEMS, Workload, WrongAnswer, read_all
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.memory import cpu_s, resident_bytes
from tests.support.worker_process import eventually

LAYOUTS: Final = tuple((workers, partitions) for partitions in (4, 8, 16) for workers in (1, 2))
BACKLOG: Final = 150_000
WARM: Final = 50_000

SERVING_ITEMS: Final = 10_000
SERVING_USERS: Final = 1_000
SERVING_BACKLOG: Final = 5_000
SERVING_WARM: Final = 10_000
SERVING_PARTITIONS: Final = 4
CHECKED_USERS: Final = 50

LOOK_S: Final = 0.05
STALL_LIMIT_S: Final = 90.0


class Group:
    """So many workers on topics of so many partitions, who work off one backlog after the other."""

    def __init__(self, deployment: Deployment, workers: int, workload: Workload) -> None:
        """Start them; they have their partitions, as many each, when this returns."""
        self.deployment = deployment
        self.broker = deployment.kafka
        self.workload = workload
        self._events = workload.records()
        self._admin = self.broker.admin()
        self.workers = [deployment.start() for _ in range(workers)]
        for worker in self.workers:
            worker.wait_ready()
        share = deployment.settings.partitions // workers
        eventually(lambda: all(len(one.partitions()) == share for one in self.workers), "shared out")
        self._expected = self._lists()

    def work_off(self, events: int) -> dict[str, float]:
        """Return the speed, and processor microseconds an event, for the next so many of the workload."""
        for worker in self.workers:
            worker.pause()
        topic = self.deployment.topics.events[0]
        self.workload.produce(self.broker.bootstrap, topic, islice(self._events, events))
        self._expected += events
        pids = (self.broker.pid, *(worker.pid for worker in self.workers))
        before_s, began_s = [cpu_s(pid) for pid in pids], time.perf_counter()
        for worker in self.workers:
            worker.resume()
        self._wait()
        took_s = time.perf_counter() - began_s
        self.deployment.wait_served(*self.workers)
        broker_s, *workers_s = (cpu_s(pid) - earlier_s for pid, earlier_s in zip(pids, before_s, strict=True))
        return {
            "events_per_s": events / took_s,
            "worker_us": 1e6 * sum(workers_s) / events,
            "broker_us": 1e6 * broker_s / events,
        }

    def _lists(self) -> int:
        """Return the sum of the end offsets of the lists, asked for at once."""
        topic, partitions = self.deployment.topics.recommendations, self.deployment.settings.partitions
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}
        return sum(one.result(timeout=30).offset for one in self._admin.list_offsets(asked).values())

    def _wait(self) -> None:
        """Return when every event has its list; raises WrongAnswer where none comes for a while."""
        seen, changed_s = 0, time.monotonic()
        while (now := self._lists()) < self._expected:
            if now != seen:
                seen, changed_s = now, time.monotonic()
            if time.monotonic() - changed_s > STALL_LIMIT_S or not all(one.running for one in self.workers):
                raise WrongAnswer(f"{self._expected - seen} lists are missing:\n{self.workers[0].errors()}")
            time.sleep(LOOK_S)

    def record_bytes(self, topic: str) -> float:
        """Return what a record of a topic takes on the broker's disk, key and headers included."""
        segments = (self.broker.directory / "data").glob(f"{topic}-*/*.log")
        return sum(one.stat().st_size for one in segments) / self.broker.record_count(topic)


def measure_layout(
    broker: KafkaBroker, folder: Path, *, workers: int, partitions: int, rounds: int
) -> dict[str, Any]:
    """Return what so many workers come to on so many partitions, with the network off."""
    workload, calibration = Workload(WARM + BACKLOG * rounds), Calibration()
    with _deployment(broker, folder, partitions=partitions, lists="recent") as deployment:
        group = Group(deployment.make_topics(), workers, workload)
        found = _rounds(group, calibration, WARM, BACKLOG, rounds)
        records = broker.record_count(deployment.topics.changelog) / workload.events
        workload.check_lists(
            broker.bootstrap,
            deployment.topics.recommendations,
            lambda value: [item.item_id for item in reversed(decode_list(value).items)],
        )
    return {"workers": workers, "partitions": partitions, **found, "records_an_event": records}


def measure_serving(broker: KafkaBroker, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Return what one worker comes to with the blend, and what its topics take on the broker's disk."""
    workload = Workload(SERVING_WARM + SERVING_BACKLOG * rounds, users=SERVING_USERS, items=SERVING_ITEMS - 1)
    calibration, recommender = Calibration(), weights(SERVING_ITEMS, blend=True)
    nothing = Figures(0, SERVING_USERS, 0, SERVING_ITEMS, 0, 0, 0.0, float("nan"), float("nan"))
    with _deployment(broker, folder, partitions=SERVING_PARTITIONS) as deployment:
        deployment.make_topics()
        asyncio.run(announce_fitted(deployment.settings, Fitted(recommender, TrainingConfig(), nothing)))
        group = Group(deployment, 1, workload)
        found = _rounds(group, calibration, SERVING_WARM, SERVING_BACKLOG, rounds)
        topics = deployment.topics
        _check_serving(deployment, Serving(recommender), workload.events)
        return {
            "items": SERVING_ITEMS,
            "users": SERVING_USERS,
            **found,
            "records_an_event": broker.record_count(topics.changelog) / workload.events,
            "resident_bytes": resident_bytes(group.workers[0].pid),
            "event_bytes": group.record_bytes(topics.events[0]),
            "list_bytes": group.record_bytes(topics.recommendations),
            "record_bytes": group.record_bytes(topics.changelog),
        }


def _deployment(broker: KafkaBroker, folder: Path, **settings: Any) -> Deployment:
    # A worker that stands still while a backlog is written on a busy machine is not gone.
    folder.mkdir()
    return Deployment(broker, folder, list_size=LIST_ITEMS, session_timeout_s=60, **settings)


def _rounds(group: Group, calibration: Calibration, warm: int, backlog: int, rounds: int) -> dict[str, Any]:
    """Let the group work off a backlog a round, the calibration in turns with it."""
    group.work_off(warm)
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        calibration.take()
        for name, value in group.work_off(backlog).items():
            found[name].append(value)
    return {"events": backlog, **found, **calibration.figures()}


def _check_serving(deployment: Deployment, serving: Serving, events: int) -> None:
    """Raise WrongAnswer unless each event has a list, and the last ones are the best of all items."""
    lists = list(read_all(deployment.kafka.bootstrap, deployment.topics.recommendations))
    if len(lists) != events:
        raise WrongAnswer(f"{len(lists)} lists for {events} events")
    records = deployment.records()
    for key, value in list(dict(lists).items())[-CHECKED_USERS:]:
        check_list(serving, records[key], value)
