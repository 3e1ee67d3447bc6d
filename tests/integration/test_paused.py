"""A worker that stands still past the session timeout, beside one that nothing happened to."""

import pytest

from models.fitting import Fitted
from stream.simulation import Simulation
from tests.support.aftermath import check_last_lists, check_lists, check_records
from tests.support.kafka_broker import KafkaBroker
from tests.support.pauses import Runs, check_end, run

STOPPED_AFTER_EVENTS = 500


@pytest.fixture(scope="module", params=["at_least_once", "exactly_once"])
def runs(
    request: pytest.FixtureRequest,
    kafka: KafkaBroker,
    shop: Simulation,
    fitted: Fitted,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """The same events through two workers, one of which stands still meanwhile, and through one."""
    folders = [tmp_path_factory.mktemp(name) for name in ("disturbed", "undisturbed")]
    return run(
        kafka, shop, fitted, folders, guarantee=request.param, pauses=1, paused_after=STOPPED_AFTER_EVENTS
    )


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
    [one] = runs.ended
    check_end(one)
