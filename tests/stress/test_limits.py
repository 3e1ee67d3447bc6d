"""What a worker bears: one user's flood, a slow broker, an hour's backlog, clocks that are wrong."""

import os
from pathlib import Path

import pytest

from models.fitting import Fitted
from models.segment import SegmentRule
from stream.simulation import Simulation
from tests.support.bounds import check_burst, check_served, check_skewed, check_slowed
from tests.support.kafka_broker import KafkaBroker
from tests.support.limits import burst, serve, slow_broker
from tests.support.proxied_broker import ProxiedBroker
from tests.support.skew import clock_skew

HOT_EVENTS = int(os.environ.get("STRESS_HOT_EVENTS", "1000000"))
#: A hot user's events are the worse for the network: they can only be taken in one after the other.
HOT_LEAST_RATIO = 0.25
SLOW_EVENTS = int(os.environ.get("STRESS_SLOW_EVENTS", "200000"))
SLOW_S = float(os.environ.get("STRESS_SLOW_S", "120"))
SLOW_BYTES_PER_S = float(os.environ.get("STRESS_SLOW_BYTES_PER_S", "200000"))
BURST_EVENTS = int(os.environ.get("STRESS_BURST_EVENTS", "200000"))
SKEW_USERS = int(os.environ.get("STRESS_SKEW_USERS", "70000"))

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("lists", ["recent", "model"])
def test_a_hot_user_costs_no_memory_and_a_bounded_time(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path, lists: str
) -> None:
    """A million events of one user, beside as many of ten thousand through another worker."""
    items, events = shop.items["item_id"].to_list(), HOT_EVENTS
    speed = {}
    for users in (max(1, events // 100), 1):
        served = serve(kafka, tmp_path / f"{users}", fitted, items, events=events, users=users, lists=lists)
        print(f"{users} users: {served._replace(state=len(served.state.behaviors))}", flush=True)
        check_served(served, events=events, users=users, segment_events=SegmentRule().max_events)
        speed[users] = served.events_per_cpu_s
    ratio = speed.pop(1) / next(iter(speed.values()))
    print(f"hot user: {ratio:.2f} of the events a processor second with many", flush=True)
    assert ratio >= HOT_LEAST_RATIO


def test_a_slow_broker_fills_no_memory(
    proxied: ProxiedBroker, shop: Simulation, fitted: Fitted, tmp_path: Path
) -> None:
    """While the producer is far faster than the worker's way to the broker, events wait in Kafka."""
    slowed = slow_broker(
        proxied,
        tmp_path,
        fitted,
        shop.items["item_id"].to_list(),
        events=SLOW_EVENTS,
        slow_s=SLOW_S,
        bytes_per_s=SLOW_BYTES_PER_S,
    )
    print(slowed)
    check_slowed(slowed)


def test_a_burst_after_an_hours_stop(
    kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path
) -> None:
    """An hour's events wait for the worker; it works them off, and every list is right."""
    items, users = shop.items["item_id"].to_list(), max(1, BURST_EVENTS // 50)
    done = burst(kafka, tmp_path, fitted, items, events=BURST_EVENTS, users=users)
    print(done)
    check_burst(done, events=BURST_EVENTS, users=users)


def test_wrong_clocks(kafka: KafkaBroker, shop: Simulation, fitted: Fitted, tmp_path: Path) -> None:
    """Users ahead of the worker's clock, behind it, and jumping back."""
    done = clock_skew(kafka, tmp_path, fitted, shop.items["item_id"].to_list(), users=SKEW_USERS)
    print(done)
    check_skewed(done)
