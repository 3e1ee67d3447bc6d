"""A flood of new users through one worker: its memory stays within its setting, and nobody is lost."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from confluent_kafka import Producer
from rocksdict import Options, Rdict

from stream.messages import decode_list
from stream.state import decode_state
from tests.bench.workload import read_all
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.users_on_disk import MARK, partitions_on_disk
from tests.support.worker_process import WorkerProcess

USERS = int(os.environ.get("STRESS_USERS", "10000000"))
#: More of them in memory would say no more, and need a machine for it.
USERS_IN_MEMORY = min(USERS, 1_000_000)
CACHE_MB = 64
#: What a worker takes beside blocks and write buffers, over what it takes at rest: batches on their way,
#: fetches, tables that are being merged, holes in the heap.
BESIDE_MB = 256
LEAST_RATE = 1_000
FIRST_MS = 1_511_544_070_000


class Flood(NamedTuple):
    """What a run took: events a second, and megabytes resident at rest, along the way and at most."""

    rate: float
    at_rest_mb: float
    #: After about each tenth of the users.
    along_mb: list[float]
    most_mb: float


def events(users: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of one event for each user."""
    for number in range(users):
        value = b'{"user_id":"u%d","item_id":"i%d","timestamp":%d}' % (
            number,
            number % 1_000,
            FIRST_MS + number,
        )
        yield b"u%d" % number, value


def produce(deployment: Deployment, users: int) -> None:
    """Send the events."""
    producer = Producer(
        {
            "bootstrap.servers": deployment.kafka.bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
        }
    )
    for key, value in events(users):
        while True:
            try:
                producer.produce(deployment.topics.click, key=key, value=value)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def resident_mb(worker: WorkerProcess) -> tuple[float, float]:
    """Return the resident memory of a worker now and at most so far."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(sizes["VmRSS"].split()[0]) / 1024, int(sizes["VmHWM"].split()[0]) / 1024


def flooded(worker: WorkerProcess, users: int) -> Flood:
    """Wait until a worker has counted everybody."""
    worker.wait_ready()
    at_rest_mb, _ = resident_mb(worker)
    along_mb: list[float] = []
    began_s = time.monotonic()
    while (counted := worker.events(outcome="applied")) < users:
        assert worker.running, worker.errors()
        if counted >= users * (len(along_mb) + 1) / 10:
            along_mb.append(resident_mb(worker)[0])
        assert time.monotonic() - began_s < 120 + users / LEAST_RATE, f"{counted} of {users}"
        time.sleep(1)
    rate = users / (time.monotonic() - began_s)
    at_end_mb, most_mb = resident_mb(worker)
    return Flood(rate, at_rest_mb, [*along_mb, at_end_mb], most_mb)


def seen(pairs: Iterator[tuple[bytes, bytes]], users: int, item_of) -> int:
    """Return how many users come with their item; nobody comes twice or with another."""
    found = np.zeros(users, np.bool_)
    for key, value in pairs:
        number = int(key[1:])
        assert not found[number]
        assert item_of(value) == f"i{number % 1_000}"
        found[number] = True
    return int(found.sum())


def on_disk(data_dir: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and record of every user on the disk of a worker that has ended."""
    for place in partitions_on_disk(data_dir):
        database = Rdict(str(place), Options(raw_mode=True))
        yield from ((key, value) for key, value in database.items() if key != MARK)
        database.close()


def megabytes_in(folder: Path) -> float:
    """Return the bytes of the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / (1 << 20)


def said(name: str, users: int, flood: Flood) -> None:
    """Print the figures."""
    print(
        f"{name}: {users:,} users, {flood.rate:,.0f} events/s, MB resident: {flood.at_rest_mb:,.0f} at rest, "
        f"{', '.join(f'{size:,.0f}' for size in flood.along_mb)} along the way, {flood.most_mb:,.0f} at most",
        flush=True,
    )


@pytest.mark.stress
def test_memory_is_bounded_and_nobody_is_lost(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Each user has the list and the record of their one event, and the worker goes on from its disk."""
    settings = {"lists": "recent", "store_cache_mb": CACHE_MB}
    with Deployment(kafka, tmp_path, **settings) as deployment:
        deployment.make_topics()
        produce(deployment, USERS_IN_MEMORY)
        worker = deployment.start()
        said("memory", USERS_IN_MEMORY, flooded(worker, USERS_IN_MEMORY))
        assert worker.terminate() == 0
    with Deployment(kafka, tmp_path, store="rocksdb", **settings) as deployment:
        deployment.make_topics()
        produce(deployment, USERS)
        data_dir = tmp_path / "disk"
        worker = deployment.start(data_dir=data_dir)
        flood = flooded(worker, USERS)
        said("rocksdb", USERS, flood)
        deployment.wait_served(worker)
        assert worker.terminate() == 0
        print(f"on disk: {megabytes_in(data_dir / 'users'):,.0f} MB", flush=True)
        assert seen(on_disk(data_dir), USERS, lambda value: decode_state(value).items[0]) == USERS
        lists = read_all(kafka.bootstrap, deployment.topics.recommendations)
        assert seen(lists, USERS, lambda value: decode_list(value).items[0].item_id) == USERS
        began_s = time.monotonic()
        again = deployment.start(data_dir=data_dir).wait_ready()
        print(f"ready again from its disk after {time.monotonic() - began_s:.1f} s", flush=True)
        assert again.metrics().total("freshet_state_users") == USERS
        assert flood.most_mb <= flood.at_rest_mb + CACHE_MB + BESIDE_MB
