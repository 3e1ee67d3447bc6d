"""Short forms of the loads of `tests/stress/test_limits.py`: the same bounds, fewer events."""

from pathlib import Path

import pytest

from models.fitting import Fitted
from models.segment import SegmentRule
from stream.simulation import Simulation
from tests.support.bounds import check_burst, check_served, check_skewed, check_slowed
from tests.support.kafka_broker import KafkaBroker
from tests.support.limits import burst, serve, slow_broker
from tests.support.proxied_broker import ProxiedBroker
from tests.support.skew import CLOCKS, clock_skew


@pytest.fixture(scope="module")
def items(shop: Simulation) -> list[str]:
    """The items of the shop."""
    return shop.items["item_id"].to_list()


def test_a_hot_users_record_ends_with_the_segment(
    kafka: KafkaBroker, items: list[str], fitted: Fitted, tmp_path: Path
) -> None:
    """However many events one user has, no more are kept than two segments of them."""
    events = 2_000
    served = serve(kafka, tmp_path, fitted, items, events=events, users=1)
    check_served(served, events=events, users=1, segment_events=SegmentRule().max_events)


def test_a_slow_broker_fills_no_memory(
    proxied: ProxiedBroker, items: list[str], fitted: Fitted, tmp_path: Path
) -> None:
    """While the way to the broker is slow events wait in Kafka; afterwards none is missing."""
    slowed = slow_broker(proxied, tmp_path, fitted, items, events=20_000, slow_s=10, bytes_per_s=100_000)
    check_slowed(slowed)


def test_a_burst_after_an_hours_stop(
    kafka: KafkaBroker, items: list[str], fitted: Fitted, tmp_path: Path
) -> None:
    """An hour's events wait for the worker; it works them off, and every list is right."""
    done = burst(kafka, tmp_path, fitted, items, events=2_000, users=40)
    check_burst(done, events=2_000, users=40)


def test_wrong_clocks(kafka: KafkaBroker, items: list[str], fitted: Fitted, tmp_path: Path) -> None:
    """Users ahead of the worker's clock, behind it, and jumping back, ten of each kind."""
    check_skewed(clock_skew(kafka, tmp_path, fitted, items, users=10 * len(CLOCKS)))
