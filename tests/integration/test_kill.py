"""A worker killed with -9 in the middle and started again, beside one that nothing happened to."""

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from tests.support.aftermath import Outcome, check_last_lists, check_lists, check_records, outcome
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.users_on_disk import users_on_disk
from tests.support.worker_process import eventually

#: Small batches, so that a kill falls between many of them.
SETTINGS = {"batch_max_events": 25}
KILLED_AFTER_EVENTS = 1_500
LOGGED_LEAST = 200
SPREAD_MS = 60_000


class Runs(NamedTuple):
    """The two runs, what they promise, and what the killed worker had counted."""

    guarantee: str
    store: str
    disturbed: Outcome
    undisturbed: Outcome
    sent: int
    counted_before: int
    counted_after: int
    #: Records that stood in the changelog, and how many of them the second worker read.
    logged: int
    restored: int
    #: What is on the second worker's disk once it has ended; empty for users in memory.
    on_disk: dict[bytes, bytes]
    changelog: dict[bytes, bytes]


def _logged(deployment: Deployment) -> int:
    """How many records stand in the changelog."""
    return len(deployment.read(deployment.topics.changelog))


@pytest.fixture(
    scope="module",
    params=[(how, store) for store in ("memory", "rocksdb") for how in ("at_least_once", "exactly_once")],
    ids="-".join,
)
def runs(
    request: pytest.FixtureRequest,
    kafka: KafkaBroker,
    shop: Simulation,
    fitted: Fitted,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runs]:
    """The same events, at the same offsets, through a worker that is killed and one that is not."""
    began_ms = time.time_ns() // 1_000_000 - SPREAD_MS
    rows = shop.events.select("user_id", "item_id", "behavior", "timestamp").rows()
    guarantee, store = request.param
    settings = {**SETTINGS, "processing_guarantee": guarantee, "store": store}
    folders = [tmp_path_factory.mktemp(name) for name in ("disturbed", "undisturbed")]
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
        data_dir = folders[0] / "data"
        first, other = disturbed.start(data_dir=data_dir), undisturbed.start()
        first.wait_ready()
        eventually(lambda: first.events() >= KILLED_AFTER_EVENTS, "the worker is in the middle")
        eventually(lambda: disturbed.backlog() < len(rows), "something is committed")
        eventually(lambda: _logged(disturbed) >= LOGGED_LEAST, "much stands in the changelog")
        counted = first.events()
        first.kill()
        assert disturbed.backlog() > 0, "the worker was done before it was killed"
        logged = _logged(disturbed)
        second = disturbed.start(data_dir=data_dir)
        undisturbed.wait_served(other.wait_ready())
        assert other.terminate() == 0
        disturbed.wait_served(second.wait_ready())
        counted_after = second.events()
        restored = sum(read for _, read in second.restored())
        users = len(disturbed.records())
        # The gauge is set once a second.
        eventually(lambda: second.metrics().total("freshet_state_users") == users, "all users are held")
        assert second.terminate() == 0
        yield Runs(
            guarantee=guarantee,
            store=store,
            disturbed=outcome(disturbed),
            undisturbed=outcome(undisturbed),
            sent=len(rows),
            counted_before=counted,
            counted_after=counted_after,
            logged=logged,
            restored=restored,
            on_disk=users_on_disk(data_dir),
            changelog=disturbed.records(),
        )


def test_the_second_worker_goes_on_where_the_first_was(runs: Runs):
    """It begins at the committed offsets: neither at the beginning nor after events that were lost."""
    assert runs.sent - runs.counted_before <= runs.counted_after < runs.sent


def test_from_its_disk_it_reads_only_the_tail_of_the_changelog(runs: Runs):
    """Of each partition at most a batch, which was not kept yet, and the record at which it stood."""
    if runs.store == "rocksdb":
        assert runs.restored < runs.logged / 2
        assert runs.on_disk == runs.changelog
    else:
        assert runs.restored == runs.logged
        assert not runs.on_disk


def test_no_list_is_missing_and_repeats_are_equal(runs: Runs):
    """Each event has its list; one that was sent twice has the same identity and the same items."""
    check_lists(runs.disturbed, runs.undisturbed)
    if runs.guarantee == "exactly_once":
        assert all(len(made) == 1 for made in runs.disturbed.lists.values())


def test_last_lists_are_those_of_the_undisturbed_run(runs: Runs):
    """What each user was left with is what they would have been left with anyway."""
    check_last_lists(runs.disturbed, runs.undisturbed)


def test_records_are_those_of_the_undisturbed_run(runs: Runs):
    """Segments, offsets and counts in the changelog are equal, and hidden states to 1e-5."""
    check_records(runs.disturbed, runs.undisturbed)
