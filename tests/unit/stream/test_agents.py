"""The agent's shell, with the app replaced by a stand-in."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from models.canary import ROLES, role_of
from models.canary_config import CanaryConfig
from stream.agents import Recommending
from stream.errors import StoreError
from stream.rules import Rules
from stream.settings import Settings
from stream.step import Batch, process
from stream.telemetry import Telemetry
from tests.support.partitions import CLICK, NOW_MS, NUMBER, Partition, item_ids, lists_of
from tests.support.recommenders import small_recommender


class Unreadable:
    """Records that are there and cannot be read, after so many reads that went well."""

    def __init__(self, reads: int) -> None:
        self._reads = reads

    def prepare(self, keys: set[bytes]) -> None:
        """Say nothing yet."""

    def get(self, key: bytes) -> bytes | None:
        """Give a record that is none, or fail."""
        if self._reads:
            self._reads -= 1
            return b"no record"
        raise StoreError("the users are damaged")


@pytest.mark.parametrize("reads", [0, 1], ids=["in the batch", "one by one"])
def test_events_whose_user_cannot_be_read_are_no_dead_letters(reads: int, caplog) -> None:
    """They are not bad: the worker ends, and they are read again. Its one line says why."""
    settings = Settings.load()
    users = Unreadable(reads)
    records = SimpleNamespace(partition=lambda number: users)
    app = SimpleNamespace(settings=settings, sources=settings.topics.events, crash=None, records=records)
    agent = Recommending(app, rules=Rules(), telemetry=Telemetry(CollectorRegistry()))
    with pytest.raises(StoreError):
        agent._processed(3, [Partition().event("u", "a", behavior=CLICK)])
    assert [record.levelname for record in caplog.records] == ["ERROR"] * reads


def listed(agent: Recommending, *users: str) -> dict[str, tuple[str, set[str]]]:
    """Let users do something; returns the version and the items of each one's list."""
    partition = Partition()
    batch = Batch(lambda _: None, partition=NUMBER, lists=agent.lists(), now_ms=NOW_MS)
    events = [partition.event(user, "i1") for user in users]
    made = lists_of(process(batch, events, partition_of=lambda _: NUMBER))
    return {one.user_id: (one.model_version, set(item_ids(one))) for one in made}


def test_items_are_announced_and_withdrawn_for_both_who_serve() -> None:
    """Before the trial began, while it is on, and across a swap of the weights in force beneath it."""
    settings = Settings.load()
    app = SimpleNamespace(settings=settings, sources=settings.topics.events, crash=None, records=None)
    agent = Recommending(app, rules=Rules(list_size=50), telemetry=Telemetry(CollectorRegistry()))
    terms = CanaryConfig("salt", share=0.5)
    ann, bob = (next(f"u{n}" for n in range(99) if role_of(f"u{n}", terms) == role) for role in ROLES)
    agent.announce("before", "c1", available=True)
    agent.announce("i2", "c2", available=False)
    agent.serve(small_recommender())
    agent.try_out(small_recommender(seed=1), terms)
    agent.announce("during", "c1", available=True)
    agent.announce("i3", "c3", available=False)
    plain = {f"i{row}" for row in range(1, 12)}
    expected = plain - {"i2", "i3"} | {"before", "during"}
    assert listed(agent, ann, bob) == {ann: ("gru-0", expected), bob: ("gru-1", expected)}
    agent.announce("later", "c2", available=True)
    agent.serve(small_recommender(seed=2))
    expected |= {"later"}
    assert listed(agent, ann, bob) == {ann: ("gru-2", expected), bob: ("gru-1", expected)}
    agent.try_out(None, None)
    assert listed(agent, ann, bob) == {ann: ("gru-2", expected), bob: ("gru-2", expected)}
