"""The arithmetic of the page on sizing, by hand, and its tables as they are made."""

import pytest

from docs.sizing import CELL, MACHINE, PAGE, TEN, Deployment, Figures, page
from stream.messages import EventRef, ListItem, RecommendationList, encode
from tests.bench.workload import Workload

FIGURES = Figures(
    event_us=20.0,
    list_us=((10_000, 100.0), (100_000, 1_000.0)),
    blend=2.0,
    worker_mb=300,
    item_bytes=1_000,
    user_in_memory_bytes=1_500,
    record_bytes=1_000,
    event_bytes=100,
    list_bytes=900,
)


def test_tables_are_those_that_are_made():
    """After a change of the figures, run ``python -m docs.sizing``."""
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, Figures()) == text
    assert page(text, FIGURES) != text


def test_page_without_a_mark_is_an_error():
    """A table cannot be lost in silence."""
    with pytest.raises(ValueError, match="0 tables with the mark catalogue"):
        page("", FIGURES)


@pytest.mark.parametrize(
    ("items", "us"), [(10_000, 20 + 2 * 100), (100_000, 20 + 2 * 1_000), (55_000, 20 + 2 * 550)]
)
def test_time_of_an_event_is_on_the_line_of_the_measurements(items: int, us: float):
    """At both of them and between; the list counts as often as the blend says."""
    assert FIGURES.us(items) == pytest.approx(us)


def test_deployment_bears_and_needs():
    """Events by half a core each, users by what memory is left, bytes by the copies."""
    two = Deployment(name="two", workers=2, worker_gb=1, copies=3, load=0.5)
    assert two.partitions == 8
    assert two.events_per_s(FIGURES, 10_000) == pytest.approx(2 * 0.5 * 1e6 / 220)
    assert two.users_in_memory(FIGURES, 100_000) == pytest.approx(2 * (1_000 - 300 - 100) * 1e6 / 1_500)
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
