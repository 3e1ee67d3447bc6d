"""The arithmetic of the page on sizing, by hand, and its tables as they are made."""

import pytest

from docs.capacity import CELL, MACHINE, TEN, Deployment, Figures, at
from docs.scale import TOLERANCE, Check, checks, kept_report
from docs.sizing import PAGE, page
from models.inference import PROJECTED_NUMBERS
from models.recommender import SCORES_AT_ONCE
from stream.lists import RANKED_TOGETHER
from stream.messages import EventRef, ListItem, RecommendationList, encode
from tests.bench.workload import Workload

FIGURES = Figures(
    plain_us=1.0,
    arithmetic_us=50.0,
    kafka_us=2.0,
    event_us=10.0,
    record_us=8.0,
    network_us=((10_000, 100.0), (100_000, 1_000.0)),
    blend_us=((10_000, 200.0), (100_000, 2_000.0), (200_000, 6_000.0)),
    worker_mb=240,
    loops_mb=50,
    weights_fixed_mb=10,
    item_bytes=1_000,
    projected_bytes=500,
    projected_items=50_000,
    ranked_together=10,
    scores_at_once=800_000,
    user_in_memory_bytes=1_500,
    record_bytes=1_000,
    event_bytes=100,
    list_bytes=900,
)


def test_tables_are_those_that_are_made():
    """After a change of the figures, run ``python -m docs.sizing``."""
    text = PAGE.read_text(encoding="utf-8")
    report = kept_report()
    assert page(text, Figures(), report) == text
    assert page(text, FIGURES, report) != text


def test_page_without_a_mark_is_an_error():
    """A table cannot be lost in silence."""
    with pytest.raises(ValueError, match="0 tables with the mark catalogue"):
        page("", FIGURES, kept_report())


@pytest.mark.parametrize(
    ("items", "us"),
    [(10_000, 220), (100_000, 2_020), (55_000, 20 + 1_100), (150_000, 20 + 4_000), (300_000, 20 + 10_000)],
)
def test_time_of_an_event_is_on_the_lines_between_the_measurements(items: int, us: float):
    """At each of them, between two, and beyond the last; the record is written once for each event."""
    assert FIGURES.us(items) == pytest.approx(us)


def test_line_needs_two_points():
    """One measurement says nothing of what grows."""
    with pytest.raises(ValueError, match="two points"):
        at(((10_000, 1.0),), 10_000)


def test_worker_holds_weights_and_the_scores_of_lists_ranked_together():
    """Rows that are multiplied beforehand, as long as there are few; ten lines of scores, up to so many."""
    assert FIGURES.empty_worker_mb(50_000) == pytest.approx(290 + 10 + 50 * 1.5 + 10 * 0.05 * 4)
    assert FIGURES.empty_worker_mb(100_000) == pytest.approx(290 + 10 + 100 * 1.0 + 0.8 * 4)


def test_bounds_are_those_of_the_code():
    """Lists ranked together, and rows that are multiplied beforehand, for three gates of 100 units."""
    assert (Figures().ranked_together, Figures().scores_at_once) == (RANKED_TOGETHER, SCORES_AT_ONCE)
    assert Figures().projected_items == pytest.approx(PROJECTED_NUMBERS / 300, rel=0.01)


@pytest.mark.parametrize("one", checks(Figures(), kept_report()), ids=lambda one: one.name)
def test_model_is_near_what_was_measured(one: Check):
    """Every figure of the kept report, within the tolerance that the page promises."""
    assert one.near, str(one)


def test_kept_report_has_every_part():
    """From a thousand to a million users and items, one and two workers on up to 16 partitions."""
    report = kept_report()
    assert [one["users"] for one in report["users"]] == [1_000, 10_000, 100_000, 1_000_000]
    assert {one["items"] for one in report["items"]} >= {1_000, 10_000, 100_000, 1_000_000}
    layouts = {(one["workers"], one["partitions"]) for one in report["workers"]["layouts"]}
    assert layouts == {(workers, partitions) for workers in (1, 2) for partitions in (4, 8, 16)}
    assert report["machine"]["cpu"]


@pytest.mark.parametrize(
    ("measured", "near"), [(100, True), (81, True), (79, False), (133, True), (134, False)]
)
def test_tolerance_is_a_share_of_what_was_measured(measured: float, near: bool):
    """A model of 100 may be a quarter above or below."""
    assert TOLERANCE == 0.25
    one = Check(name="a figure", unit="us", model=100, measured=measured)
    assert one.near == near
    assert ("more than 25%" in str(one)) != near


def test_times_are_carried_over_by_the_calibration():
    """Where a loop takes twice as long its times may: the plain one an event's, the arithmetic a list's."""
    found = {"plain_us": 2.0, "arithmetic_us": 25.0}
    report = {
        "users": [{**found, "users": 5, "event_us": [28.0], "records_an_event": 0.5, "bytes_a_user": 3_000}],
        "items": [{**found, "items": 10_000, "weights": "network", "list_us": [50.0]}],
    }
    event, user, made = checks(FIGURES, report)
    assert (event.model, event.measured) == (2 * (10 + 0.5 * 8), 28)
    assert (user.model, user.measured, user.near) == (1_500, 3_000, False)
    assert (made.model, made.measured) == (100 / 2, 50)


def test_deployment_bears_and_needs():
    """Events by half a core each, users by what memory is left, bytes by the copies."""
    two = Deployment(name="two", workers=2, worker_gb=1, copies=3, load=0.5)
    assert two.partitions == 8
    assert two.events_per_s(FIGURES, 10_000) == pytest.approx(2 * 0.5 * 1e6 / 220)
    assert two.users_in_memory(FIGURES, 100_000) == pytest.approx(2 * (1_000 - 300 - 100 - 3.2) * 1e6 / 1_500)
    assert two.written_mb_per_s(FIGURES, 10_000) == pytest.approx(1e6 / 220 * (100 + 900 + 1_000) * 3 / 1e6)
    assert two.kept_gb(FIGURES, 1e6) == pytest.approx(1e6 * 1_900 * 3 / 1e9)


def test_standbys_take_room_and_weights_can_take_all_of_it():
    """A copy is as large as what it is of; no users are left where the weights do not fit."""
    alone = Deployment(name="alone", workers=4, worker_gb=2, copies=1)
    doubled = Deployment(name="doubled", workers=4, worker_gb=2, copies=1, standbys=1)
    assert doubled.users_in_memory(FIGURES, 10_000) == alone.users_in_memory(FIGURES, 10_000) / 2
    assert alone.users_in_memory(FIGURES, 3_000_000) == 0


def test_partitions_are_what_the_setting_allows():
    """Four for each worker, as long as there are so many; every worker has as many as the others."""
    assert Deployment(name="too many", workers=5_000, worker_gb=4, copies=3).partitions == 10_000
    assert all(one.partitions % one.workers == 0 for one in (MACHINE, TEN, CELL))


def test_sizes_of_messages_are_those_that_are_sent():
    """A list of twenty with ids of eight characters, and an event of the benchmark's workload."""
    made = RecommendationList(
        user_id="u1234567",
        items=[ListItem(f"i{1_234_567 + place}", 3.2123456 - place * 0.0123) for place in range(20)],
        kind="personalized",
        model_version="20171124T170000Z-1f3a0c2d",
        event=EventRef("events.click", 3, 123_456, 1_511_544_070_123),
        generated_at=1_511_544_070_150,
    )
    assert len(encode(made)) == pytest.approx(Figures().list_bytes, rel=0.02)
    _, value = next(Workload(1_000_000).records())
    assert len(value) == pytest.approx(Figures().event_bytes, rel=0.1)
