"""A worker that stands still past the session timeout, beside one that nothing happened to."""

import asyncio
import time
from typing import NamedTuple

import pytest

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from tests.support.aftermath import Outcome, check_last_lists, check_lists, check_records, outcome
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import eventually

#: Batches so small that the worker is seconds from done when it stands still.
SETTINGS = {"batch_max_events": 10, "session_timeout_s": 6}
STOPPED_AFTER_EVENTS = 500
SPREAD_MS = 60_000


class Runs(NamedTuple):
    """The two runs, what they promise, and how the paused worker ended (None: not) and what it said."""

    guarantee: str
    disturbed: Outcome
    undisturbed: Outcome
    status: int | None
    errors: str


@pytest.fixture(scope="module", params=["at_least_once", "exactly_once"])
def runs(
    request: pytest.FixtureRequest,
    kafka: KafkaBroker,
    shop: Simulation,
    fitted: Fitted,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """The same events through two workers, one of which stands still meanwhile, and through one."""
    began_ms = time.time_ns() // 1_000_000 - SPREAD_MS
    rows = shop.events.select("user_id", "item_id", "behavior", "timestamp").rows()
    settings = {**SETTINGS, "processing_guarantee": request.param}
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
        paused, other = disturbed.start(), undisturbed.start()
        paused.wait_ready()
        eventually(lambda: paused.events() >= STOPPED_AFTER_EVENTS, "the worker is in the middle")
        paused.pause()
        assert disturbed.backlog() > 0, "the worker was done before it stood still"
        successor = disturbed.start().wait_ready()
        disturbed.wait_served(successor)
        paused.resume()
        # It is ended by what it finds, or takes part again; either way it has nothing left to send.
        eventually(lambda: not paused.running or paused.get("/readyz").status == 200, "it has come to itself")
        disturbed.wait_served(successor)
        status, errors = paused.status, paused.errors()
        undisturbed.wait_served(other.wait_ready())
        return Runs(request.param, outcome(disturbed), outcome(undisturbed), status, errors)


def test_lists_are_those_of_the_undisturbed_run(runs: Runs) -> None:
    """None is missing, and a repeat is equal to what it repeats."""
    check_lists(runs.disturbed, runs.undisturbed)
    if runs.guarantee == "exactly_once":
        assert all(len(made) == 1 for made in runs.disturbed.lists.values())


def test_no_list_of_the_past_follows_a_newer_one(runs: Runs) -> None:
    """The last list of each user is not overwritten by what the paused worker still had in hand."""
    check_last_lists(runs.disturbed, runs.undisturbed)


def test_records_are_not_overwritten(runs: Runs) -> None:
    """The changelog ends with what the successor wrote."""
    check_records(runs.disturbed, runs.undisturbed)


def test_the_worker_says_why_it_ends(runs: Runs) -> None:
    """One line that names the cause, and no traceback."""
    assert runs.status in (None, 1)
    if runs.status == 1:
        assert runs.errors.splitlines()[-1].startswith("freshet: another worker has taken over partition")
        assert "Traceback" not in runs.errors
