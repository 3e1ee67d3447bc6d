"""A worker killed with -9 in the middle and started again, beside one that nothing happened to."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from models.fitting import Fitted
from stream.messages import EventRef, RecommendationList
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.state import UserState, decode_state
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.offline import same_items
from tests.support.worker_process import eventually

#: Small batches, so that a kill falls between many of them.
BATCH_EVENTS = 100
KILLED_AFTER_EVENTS = 1_500
SPREAD_MS = 60_000


class Outcome(NamedTuple):
    """What a run left behind: lists by identity, in order, and each user's record."""

    lists: dict[tuple[str, str, int, int], list[RecommendationList]]
    last: dict[str, RecommendationList]
    records: dict[str, UserState]


class Runs(NamedTuple):
    """The two runs, and how many events the killed worker had counted when it was killed."""

    disturbed: Outcome
    undisturbed: Outcome
    sent: int
    counted_before: int
    counted_after: int


def identity(prefix: str, user_id: str, ref: EventRef) -> tuple[str, str, int, int]:
    """Return what names a list, without the deployment's own prefix."""
    return user_id, ref.topic.removeprefix(prefix), ref.partition, ref.offset


def outcome(deployment: Deployment) -> Outcome:
    """Read what a run left in its topics."""
    prefix = deployment.settings.topic_prefix
    by_identity = defaultdict(list)
    last = {}
    for user_id, made in deployment.lists():
        assert made is not None
        by_identity[identity(prefix, user_id, made.event)].append(made)
        last[user_id] = made
    records = {key.decode(): decode_state(value) for key, value in deployment.records().items()}
    return Outcome(dict(by_identity), last, records)


@pytest.fixture(scope="module")
def runs(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The same events, at the same offsets, through a worker that is killed and one that is not."""
    began_ms = time.time_ns() // 1_000_000 - SPREAD_MS
    rows = shop.events.select("user_id", "item_id", "behavior", "timestamp").rows()
    folders = [tmp_path_factory.mktemp(name) for name in ("disturbed", "undisturbed")]
    settings = {"batch_max_events": BATCH_EVENTS}
    with (
        Deployment(kafka, folders[0], **settings) as disturbed,
        Deployment(kafka, folders[1], **settings) as undisturbed,
    ):
        for deployment in (disturbed, undisturbed):
            deployment.make_topics()
            asyncio.run(announce_fitted(deployment.settings, fitted))
            deployment.send(
                Sent(
                    deployment.topics.events[behavior],
                    user.encode(),
                    event(user, item, time_ms),
                    timestamp_ms=began_ms + number * SPREAD_MS // len(rows),
                )
                for number, (user, item, behavior, time_ms) in enumerate(rows)
            )
        first, other = disturbed.start(), undisturbed.start()
        first.wait_ready()
        eventually(lambda: first.events() >= KILLED_AFTER_EVENTS, "the worker is in the middle")
        eventually(lambda: disturbed.backlog() < len(rows), "something is committed")
        counted = first.events()
        first.kill()
        assert disturbed.backlog() > 0, "the worker was done before it was killed"
        second = disturbed.start()
        undisturbed.wait_served(other.wait_ready())
        assert other.terminate() == 0
        disturbed.wait_served(second.wait_ready())
        counted_after = second.events()
        assert second.terminate() == 0
        yield Runs(outcome(disturbed), outcome(undisturbed), len(rows), counted, counted_after)


def test_the_second_worker_goes_on_where_the_first_was(runs: Runs):
    """It begins at the committed offsets: neither at the beginning nor after events that were lost."""
    assert runs.sent - runs.counted_before <= runs.counted_after < runs.sent


def test_no_list_is_missing_and_repeats_are_equal(runs: Runs):
    """Each event has its list; one that was sent twice has the same identity and the same items."""
    assert runs.disturbed.lists.keys() == runs.undisturbed.lists.keys()
    assert all(len(made) == 1 for made in runs.undisturbed.lists.values())
    for name, repeated in runs.disturbed.lists.items():
        expected = runs.undisturbed.lists[name][0]
        for made in repeated:
            assert made.kind == expected.kind
            assert made.event.timestamp == expected.event.timestamp
            assert same_items(made.items, expected.items), name


def test_last_lists_are_those_of_the_undisturbed_run(runs: Runs):
    """What each user was left with is what they would have been left with anyway."""
    assert runs.disturbed.last.keys() == runs.undisturbed.last.keys()
    for user_id, expected in runs.undisturbed.last.items():
        made = runs.disturbed.last[user_id]
        assert (made.event.partition, made.event.offset) == (expected.event.partition, expected.event.offset)
        assert same_items(made.items, expected.items)


def test_records_are_those_of_the_undisturbed_run(runs: Runs):
    """Segments, offsets and counts in the changelog are equal, and hidden states to 1e-5."""
    assert runs.disturbed.records.keys() == runs.undisturbed.records.keys()
    for user_id, expected in runs.undisturbed.records.items():
        record = runs.disturbed.records[user_id]
        hidden, expected_hidden = (np.frombuffer(state.hidden, np.float32) for state in (record, expected))
        assert np.abs(hidden - expected_hidden).max() <= 1e-5
        for field in UserState.__struct_fields__:
            # The rows of the last list can have neighbours of equal score in either order; the
            # lists themselves are compared above.
            if field not in ("hidden", "listed"):
                assert getattr(record, field) == getattr(expected, field), (user_id, field)
