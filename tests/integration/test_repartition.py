"""Everything moved to topics of another partition count: no event, state or list is lost on the way."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import polars as pl
import pytest

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.state import UserState, decode_state
from tests.support.deployment import Deployment, Sent, event, partition_of
from tests.support.kafka_broker import KafkaBroker
from tests.support.offline import same_items

EVENTS = 1_500
#: The events that the old workers have done, that wait when they stop, and that come to the old topics later.
PARTS = (slice(0, 900), slice(900, 1_100), slice(1_100, 1_300), slice(1_300, EVENTS))
OLD, NEW = 4, 7
ERASED = "an-erased-user"


def sent(deployment: Deployment, frame: pl.DataFrame) -> list[Sent]:
    """Return events as a producer sends them, all of a user to one topic, where they stay in order.

    A backlog of several topics comes in no fixed order, and which events are late goes by that.
    """
    topics = deployment.topics.events
    return [
        Sent(topics[crc32(user.encode()) % len(topics)], user.encode(), event(user, item, at_ms))
        for user, item, at_ms in frame.select("user_id", "item_id", "timestamp").iter_rows()
    ]


#: Fields that name topics and places of one deployment, and those in which near ties of scores show.
THEIR_OWN = {"offsets", "listed_for", "listed", "hidden"}


def differences(one: UserState, other: UserState) -> dict[str, object]:
    """Return the fields in which two records of a user differ; hidden states may in their last digits."""
    found = {
        field: (getattr(one, field), getattr(other, field))
        for field in one.__struct_fields__
        if field not in THEIR_OWN and getattr(one, field) != getattr(other, field)
    }
    states = [np.frombuffer(state.hidden, np.float32) for state in (one, other)]
    if not np.allclose(*states, atol=1e-5):
        found["hidden"] = states
    return found


class Move:
    """A deployment in use, and the one that it is moved to."""

    def __init__(self, kafka: KafkaBroker, folder: Path, shop: Simulation, fitted: Fitted) -> None:
        """Let the old one do the first part of the shop's events, and stop it before it does the second."""
        self.old = Deployment(kafka, folder / "old", partitions=OLD)
        given = self.old.given
        there = {"topic_prefix": f"{given['topic_prefix']}v2.", "group_id": f"{given['group_id']}.v2"}
        self.new = Deployment(
            kafka, folder / "new", partitions=NEW, model_store=given["model_store"], **there
        )
        self.to = ["--to-prefix", there["topic_prefix"], "--to-group", there["group_id"]]
        self.events = shop.events.sort("timestamp", maintain_order=True).head(EVENTS)
        self.old.make_topics()
        asyncio.run(announce_fitted(self.old.settings, fitted))
        self.worker = self.old.start().wait_ready()
        self.send(self.old, 0)
        self.old.send_events(self.old.topics.click, (ERASED, "i00001", self.events["timestamp"][0]))
        self.old.wait_served(self.worker)
        assert self.old.command("forget", ERASED).returncode == 0

    def send(self, deployment: Deployment, part: int) -> None:
        """Send a part of the events."""
        deployment.send(sent(deployment, self.events[PARTS[part]]))

    def command(self, *options: str):
        """Move, or try to."""
        return self.old.command("topics", "--repartition", str(NEW), *(options or self.to))


@pytest.fixture
def move(kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path) -> Iterator[Move]:
    """A deployment whose worker is in use."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    made = Move(kafka, tmp_path, shop, fitted)
    with made.old, made.new:
        yield made


def test_nothing_is_lost_on_the_way(move: Move, kafka: KafkaBroker, fitted: Fitted, tmp_path: Path):
    """Lists and states end as those of a deployment that had so many partitions from the beginning."""
    done = move.command()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the workers of group {move.old.settings.group_id} still run" in done.stderr
    assert move.worker.terminate() == 0
    done = move.command("--to-prefix", move.old.settings.topic_prefix, "--to-group", "another")
    assert "would be moved to itself" in done.stderr

    move.send(move.old, 1)
    done = move.command()
    assert done.returncode == 0, done.stderr
    assert f"events moved: {PARTS[1].stop + 1:,}" in done.stdout
    worker = move.new.start().wait_ready()
    move.send(move.old, 2)
    done = move.command()
    assert f"events moved: {PARTS[2].stop - PARTS[2].start:,}" in done.stdout
    assert "records moved: 0" in done.stdout
    move.new.wait_served(worker)
    move.send(move.new, 3)
    move.new.wait_served(worker)
    assert worker.events() == EVENTS - PARTS[0].stop
    assert worker.terminate() == 0

    (tmp_path / "undisturbed").mkdir()
    with Deployment(kafka, tmp_path / "undisturbed", partitions=NEW) as undisturbed:
        undisturbed.make_topics()
        asyncio.run(announce_fitted(undisturbed.settings, fitted))
        worker = undisturbed.start().wait_ready()
        undisturbed.send(sent(undisturbed, move.events))
        undisturbed.wait_served(worker)
        assert worker.terminate() == 0
        records, last = undisturbed.records(), undisturbed.last_lists()
    moved = move.new.records()
    assert moved.keys() == records.keys()
    assert ERASED.encode() not in moved
    found = {key: differences(decode_state(moved[key]), decode_state(records[key])) for key in records}
    assert {key: fields for key, fields in found.items() if fields} == {}
    lists = move.new.last_lists()
    assert lists.keys() == last.keys()
    assert all(same_items(lists[user].items, last[user].items) for user in last)
    for topic in (move.new.topics.changelog, *move.new.topics.events):
        assert all(one.partition == partition_of(one.key, NEW) for one in move.new.read(topic))
    assert sum(len(move.new.read(topic)) for topic in move.new.topics.events) == EVENTS + 1


def test_topics_that_are_in_use_are_not_moved_to(move: Move):
    """What stands there may be newer than what would be moved; the line names them."""
    assert move.worker.terminate() == 0
    move.new.make_topics()
    move.send(move.new, 1)
    done = move.command()
    assert done.returncode == 1
    assert f"{move.new.topics.click}" in done.stderr
    assert "already have records" in done.stderr
    assert move.new.records() == {}
