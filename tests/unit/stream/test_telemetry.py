"""The instruments: the names of the contract, none other, and well formed."""

import shutil
import subprocess

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stream.telemetry import LATENCY_BUCKETS_S, BulkHistogram, Telemetry

CONTRACT = {
    "freshet_events": ("behavior", "outcome"),
    "freshet_recommendations": ("kind",),
    "freshet_event_to_recommendation_seconds": (),
    "freshet_stage_seconds": ("stage",),
    "freshet_consumer_lag": ("topic", "partition"),
    "freshet_dead_letters": ("error",),
    "freshet_prequential_events": (),
    "freshet_prequential_hits": ("cutoff",),
    "freshet_prequential_reciprocal_rank": (),
    "freshet_prequential_unknown": (),
    "freshet_model": ("version",),
    "freshet_model_trained_timestamp_seconds": (),
    "freshet_model_swaps": ("outcome",),
    "freshet_retrain_runs": ("outcome",),
    "freshet_retrain_duration_seconds": (),
    "freshet_retrain_last_success_timestamp_seconds": (),
    "freshet_model_quality": ("role", "metric"),
    "freshet_state_users": (),
    "freshet_state_rebuilds": ("cause",),
    "freshet_recovery_seconds": (),
    "freshet_rebalances": (),
}


@pytest.fixture
def telemetry():
    """Instruments with something in each, as a worker would show them."""
    telemetry = Telemetry(CollectorRegistry())
    telemetry.consumer_lag.labels("events.click", "0").set(3)
    telemetry.prequential_hits.labels("20").inc()
    telemetry.model.info({"version": "v1"})
    telemetry.retraining.model_quality.labels("champion", "hit_rate_at_20").set(0.4)
    telemetry.event_to_recommendation_seconds.observe(0.004)
    return telemetry


def test_instruments_are_those_of_the_contract(telemetry):
    """Every name with its labels, and no name besides."""
    found = {}
    for family in telemetry.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name] = labels
    assert found == {name: set(labels) for name, labels in CONTRACT.items()}


def test_exposition_has_no_series_besides(telemetry):
    """The library's own ``_created`` series are left out."""
    assert b"_created" not in generate_latest(telemetry.registry)
    assert b'freshet_model_info{version="v1"} 1.0' in generate_latest(telemetry.registry)


def test_known_series_begin_at_zero(telemetry):
    """A rate over the first event is right only if the counter was there before it."""
    value = telemetry.registry.get_sample_value
    assert value("freshet_events_total", {"behavior": "purchase", "outcome": "late"}) == 0
    assert value("freshet_dead_letters_total", {"error": "key-mismatch"}) == 0
    assert value("freshet_recommendations_total", {"kind": "popular"}) == 0


def test_two_registries_do_not_meet():
    """Nothing is global: two workers of one test count for themselves."""
    one, other = Telemetry(CollectorRegistry()), Telemetry(CollectorRegistry())
    one.rebalances.inc()
    assert other.registry.get_sample_value("freshet_rebalances_total") == 0


def test_bulk_histogram_counts_as_one_by_one():
    """A batch lands in the buckets that its values would land in; bounds are inclusive."""
    registry = CollectorRegistry()
    histogram = BulkHistogram("t_seconds", "Test.", (0.1, 1.0), registry=registry)
    histogram.observe_many(np.array([0.05, 0.1, 0.5, 1.0, 7.0]))
    histogram.observe(0.2)
    histogram.observe_many(np.array([]))
    value = registry.get_sample_value
    assert [value("t_seconds_bucket", {"le": le}) for le in ("0.1", "1.0", "+Inf")] == [2, 5, 6]
    assert value("t_seconds_count") == 6
    assert value("t_seconds_sum") == pytest.approx(0.05 + 0.1 + 0.5 + 1.0 + 7.0 + 0.2)


def test_latency_buckets_rise():
    """Prometheus needs rising bounds."""
    assert list(LATENCY_BUCKETS_S) == sorted(set(LATENCY_BUCKETS_S))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's prometheus) is absent")
def test_promtool_finds_nothing_to_say(telemetry):
    """Prometheus' own linter is content with names, types and help texts."""
    told = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(telemetry.registry),
        capture_output=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
