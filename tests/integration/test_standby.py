"""Standby replicas: a worker that keeps a copy of another's state takes over without reading it first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.state import decode_state
from tests.support.deployment import PARTITIONS, Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess, eventually

AT_MS = 1_511_544_070_123
USERS = [f"user-{number}" for number in range(400)]


class Shop:
    """Two workers of one deployment, and what every user has had so far, oldest first."""

    def __init__(self, deployment: Deployment) -> None:
        """Begin with nothing sent."""
        self.deployment = deployment.make_topics()
        self.items: list[str] = []

    def visit(self, *workers: WorkerProcess) -> None:
        """Let every user have one more item, and wait until these workers have served them."""
        number = len(self.items)
        self.items.append(f"item-{number}")
        events = ((user, self.items[-1], AT_MS + number) for user in USERS)
        self.deployment.send_events(self.deployment.topics.click, *events)
        self.deployment.wait_served(*workers)

    def check(self) -> None:
        """Every user's last list and record hold all they had, each once."""
        last = self.deployment.last_lists()
        assert set(last) == set(USERS)
        for made in last.values():
            assert [item.item_id for item in made.items] == self.items[::-1]
        records = self.deployment.records()
        assert {key.decode() for key in records} == set(USERS)
        assert all(decode_state(record).items == self.items for record in records.values())


def held_by(worker: WorkerProcess) -> int:
    """Return of how many users a worker holds the state, copies included."""
    return int(worker.metrics().total("freshet_state_users"))


def hold_everything(*workers: WorkerProcess) -> bool:
    """Whether each holds its own users and a copy of all others."""
    return all(held_by(worker) == len(USERS) for worker in workers)


def stand_by_for_each_other(*workers: WorkerProcess) -> bool:
    """Whether each has served users, and holds a copy of those it does not serve."""
    return hold_everything(*workers) and all(worker.events() for worker in workers)


def takes_over(survivor: WorkerProcess, victim: WorkerProcess) -> int:
    """Kill one worker; returns how many records of the changelog the other read until it served everybody."""
    before = len(survivor.restored())
    victim.kill()
    after = eventually(lambda: survivor.restored()[before:], "the survivor has the partitions")
    users, read = after[-1]
    assert users == len(USERS)
    return read


@pytest.fixture(params=[("at_least_once", "memory"), ("exactly_once", "rocksdb")], ids="-".join)
def shop(request: pytest.FixtureRequest, kafka: KafkaBroker, tmp_path: Path) -> Iterator[Shop]:
    """A deployment with one standby for each partition, in both modes and on both stores."""
    guarantee, store = request.param
    settings = {
        "lists": "recent",
        "session_timeout_s": 6,
        "processing_guarantee": guarantee,
        "store": store,
        "store_cache_mb": 8,
    }
    with Deployment(kafka, tmp_path, standby_replicas=1, **settings) as deployment:
        yield Shop(deployment)


def test_standby_takes_over_with_what_it_has(shop: Shop):
    """Killed, joined by another, killed again: the one that stays reads next to nothing, and all is exact."""
    first, second = shop.deployment.start().wait_ready(), shop.deployment.start().wait_ready()
    shop.visit(first, second)
    shop.visit(first, second)
    eventually(lambda: stand_by_for_each_other(first, second), "each is the other's standby")
    # At most the last record of each partition is read again, to know where it goes on.
    assert takes_over(first, second) <= PARTITIONS
    shop.visit(first)
    shop.check()
    third = shop.deployment.start().wait_ready()
    eventually(lambda: hold_everything(first, third), "the first keeps what it gave away")
    shop.visit(first, third)
    eventually(lambda: stand_by_for_each_other(first, third), "copies are kept up to date")
    assert takes_over(first, third) <= PARTITIONS
    shop.visit(first)
    shop.check()


def test_without_a_standby_the_changelog_is_read(kafka: KafkaBroker, tmp_path: Path):
    """The setting's default: nobody keeps a copy, and who takes over reads a record for every change."""
    with Deployment(kafka, tmp_path, lists="recent", session_timeout_s=6) as deployment:
        shop = Shop(deployment)
        first, second = shop.deployment.start().wait_ready(), shop.deployment.start().wait_ready()
        shop.visit(first, second)
        eventually(lambda: 0 < held_by(second) == len(USERS) - held_by(first), "they share the users")
        served = held_by(second)
        assert takes_over(first, second) >= served
        shop.visit(first)
        shop.check()
