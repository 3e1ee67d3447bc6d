"""What the demo's page is told: the worker's own figures, moment by moment."""

import numpy as np
import pytest

from models.training import Epoch, Part
from stream import live as live_module
from tests.support.live import METRICS_PORT, Shop
from tests.support.partitions import item_ids, lists_of
from tests.support.recommenders import small_recommender


@pytest.fixture
def shop() -> Shop:
    """A worker that the page watches."""
    shop = Shop()
    shop.begin()
    return shop


def test_before_the_worker_the_page_is_told_of_the_training() -> None:
    """There is nothing to sample yet, and no user to show."""
    live = Shop().live
    live.training(Part("all", 2))
    for number in (1, 2):
        live.training(Epoch(number, 1.0, float("nan"), float("nan")))
    news = live.news(0)
    assert (news.phase, news.part, news.epochs) == ("training", "all", 2)
    assert (news.samples, news.hand_overs) == ([], [])
    live.training(Part("the blend"))
    assert (live.news(0).part, live.news(0).epochs) == ("the blend", 0)
    assert live.user("u") is None


def test_figures_are_those_of_the_instruments(shop: Shop) -> None:
    """Sample by sample what /metrics answers at that moment."""
    best = item_ids(lists_of(shop.run(("u", "i1"), ("v", "i2")))[0])
    shop.run(("u", best[2]), ("v", "unknown"))
    shop.sample()
    (sample,) = shop.live.news(0).samples
    read = shop.registry.get_sample_value
    assert sample.events == read("freshet_events_total", {"behavior": "click", "outcome": "applied"}) == 4
    assert sample.lists == read("freshet_recommendations_total", {"kind": "personalized"}) == 4
    assert sample.measured == read("freshet_prequential_events_total") == 2
    assert sample.hits == read("freshet_prequential_hits_total", {"cutoff": "5"}) == 1
    assert sample.reciprocal_rank == read("freshet_prequential_reciprocal_rank_total") == 1 / 3
    assert read("freshet_prequential_unknown_total") == 1


def test_popularity_is_judged_by_the_same_events(shop: Shop) -> None:
    """The small recommender finds i11 most popular, then i10: places 1 and 2 of that list."""
    shop.run(("u", "i1"), ("v", "i1"), ("w", "i1"))
    shop.run(("u", "i11"), ("v", "i10"), ("w", "i2"))
    shop.sample()
    (sample,) = shop.live.news(0).samples
    assert (sample.measured, sample.popular_hits) == (3, 2)
    assert sample.popular_reciprocal_rank == 1 / 1 + 1 / 2


def test_latencies_are_those_of_the_last_seconds(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones are let go; without any there is no quantile."""
    now = [100.0]
    monkeypatch.setattr(live_module.time, "monotonic", lambda: now[0])
    shop.sample()
    shop.live.acknowledged(np.array([0.010, 0.030]))
    shop.sample()
    now[0] += live_module.LATENCY_WINDOW_S + 1
    shop.live.acknowledged(np.array([0.500]))
    shop.sample()
    none, both, last = shop.live.news(0).samples
    assert (none.p50_ms, none.p99_ms) == (None, None)
    assert both.p50_ms == 20
    assert (last.p50_ms, last.p99_ms) == (500, 500)


def test_only_new_samples_are_told(shop: Shop) -> None:
    """A page says what it has; one that has none gets all that are kept."""
    shop.sample()
    told = shop.live.news(0)
    assert (told.next, len(told.samples)) == (1, 1)
    assert shop.live.news(told.next).samples == []
    shop.sample()
    assert (shop.live.news(1).next, len(shop.live.news(1).samples)) == (2, 1)


def test_a_page_that_comes_late_gets_the_samples_that_are_kept(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are numbered from the first, those that were let go included."""
    for _ in range(live_module.SAMPLES_KEPT + 5):
        shop.live._samples.append(None)  # type: ignore[arg-type]
        shop.live._sampled += 1
    news = shop.live.news(0)
    assert (len(news.samples), news.next) == (live_module.SAMPLES_KEPT, live_module.SAMPLES_KEPT + 5)
    assert len(shop.live.news(news.next - 2).samples) == 2


def test_each_hand_over_is_marked(shop: Shop) -> None:
    """The first weights at 0, others when they came in force; refused ones are counted."""
    shop.sample()
    shop.serve(small_recommender(seed=7, blended=True))
    shop.sample()
    shop.sample()
    first, second = shop.live.news(0).hand_overs
    assert (first.t_s, first.version, second.version) == (0, "gru-0", "gru-7")
    assert second.t_s == shop.live.news(0).samples[1].t_s


def test_popularity_follows_the_weights_in_force(shop: Shop) -> None:
    """Rows may be others after a hand-over, so the list of the most popular items is made anew."""
    shop.run(("u", "i1"))
    swapped = small_recommender(seed=7, blended=True)
    swapped.popularity[:] = swapped.popularity[::-1].copy()
    shop.serve(swapped)
    shop.run(("u", "i2"))
    shop.run(("u", "i1"), ("u", "i2"))
    figures = shop.audience.figures
    assert figures.in_all.popular_hits == 2
    before, after = figures.worth
    assert (before.version, before.measured, before.hits) == ("gru-0", 0, 0)
    assert (after.version, after.measured, after.popular_hits) == ("gru-7", 2, 2)
    assert figures.in_all.measured == before.measured + after.measured
    assert figures.in_all.mrr == after.mrr == after.reciprocal_rank / 2


def test_the_newest_events_stand_beside_their_lists(shop: Shop) -> None:
    """Newest first; of a user's events in one batch the last."""
    lists = lists_of(shop.run(("u", "i1"), ("v", "i2"), ("u", "i3")))
    (u, v) = shop.live.news(0).newest
    assert (u.user_id, u.behavior, u.item_id, u.kind) == ("u", "click", "i3", "personalized")
    assert u.items == item_ids(lists[1])[:3]
    assert (v.user_id, v.item_id) == ("v", "i2")
    assert shop.live.news(0).users == ["u", "v"]


def test_users_are_the_last_that_did_something(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are kept, and who comes again comes first."""
    monkeypatch.setattr(live_module, "USERS_KEPT", 2)
    shop.run(("u", "i1"))
    shop.run(("v", "i1"))
    shop.run(("u", "i2"))
    shop.run(("w", "i2"))
    assert shop.live.news(0).users == ["w", "u"]


def test_an_erased_user_is_no_news(shop: Shop) -> None:
    """The request to erase makes a list without a value."""
    shop.run(("u", "i1"))
    effects = shop.partition.run(shop.partition.forget("u"))
    shop.live.processed(effects)
    assert len(shop.live.news(0).newest) == 1
    assert shop.live.user("u") is None


def test_a_user_is_explained_anew_only_after_a_change(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page asks each second; the answer is kept until the record or the weights change."""
    shop.run(("u", "i1"))
    first = shop.live.user("u")
    assert first is not None
    assert [event.item_id for event in first.segment] == ["i1"]
    assert shop.live.user("u") is first
    shop.run(("u", "i2"))
    second = shop.live.user("u")
    assert second is not None
    assert [event.item_id for event in second.segment] == ["i1", "i2"]
    shop.serve(small_recommender(seed=7, blended=True))
    third = shop.live.user("u")
    assert third is not None
    assert third.model_version == "gru-7"


def test_the_metrics_of_the_worker_are_named(shop: Shop) -> None:
    """The page links to where its figures come from."""
    assert shop.live.news(0).metrics_url == f"http://127.0.0.1:{METRICS_PORT}/metrics"
