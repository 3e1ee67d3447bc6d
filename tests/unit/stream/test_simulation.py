"""The generator of shop events: what it promises of their form, and that their order can be learnt."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.behavior import Behavior
from stream.columns import EVENT_SCHEMA, ITEM_SCHEMA
from stream.simulation import HOUR_MS, LIKE_WEIGHTS, Shop, SimulationConfig, open_shop, simulate

SMALL = SimulationConfig(events=5_000, users=200, items=200, categories=10)
CUTOFF = 20


def test_frames_have_the_common_columns():
    """Events and items come as the rest of the program takes them, the events in time order."""
    events, items = simulate(SMALL)
    assert events.schema == pl.Schema(EVENT_SCHEMA)
    assert items.schema == pl.Schema(ITEM_SCHEMA)
    assert events.height == SMALL.events
    assert events["timestamp"].is_sorted()
    assert events["timestamp"][0] >= SMALL.start_ms
    assert not any(column.null_count() for column in events)


def test_seed_reproduces():
    """The same seed gives the same events, another one others."""
    assert simulate(SMALL).events.equals(simulate(SMALL).events)
    assert not simulate(SMALL).events.equals(simulate(replace(SMALL, seed=2)).events)


def test_items_have_one_category_each():
    """Every event's item is of the items frame, in the category that it has there."""
    events, items = simulate(SMALL)
    assert items["item_id"].is_unique().all()
    seen = events.select("item_id", "category_id").unique()
    assert seen.join(items, on=["item_id", "category_id"]).height == seen.height


def test_funnel_narrows():
    """Each step of commitment is rarer, and nothing is bought that did not lie in the cart."""
    events = simulate(SMALL).events
    counts = dict(events["behavior"].value_counts().iter_rows())
    assert counts[Behavior.CLICK] > counts[Behavior.CART] > counts[Behavior.PURCHASE] > 0
    assert counts[Behavior.CLICK] > counts[Behavior.FAVORITE] > 0
    carted = events.filter(behavior=Behavior.CART).select("user_id", "item_id").unique()
    bought = events.filter(behavior=Behavior.PURCHASE).select("user_id", "item_id").unique()
    assert bought.join(carted, on=["user_id", "item_id"]).height == bought.height


def test_evening_is_busier_than_the_night():
    """The hours have the rhythm of a shop."""
    hours = (simulate(SMALL).events["timestamp"] // HOUR_MS % 24).to_numpy()
    assert np.isin(hours, (20, 21, 22)).sum() > 5 * np.isin(hours, (2, 3, 4)).sum()


def test_popularity_is_skewed():
    """A tenth of the items has far more than a tenth of the events."""
    counts = simulate(SMALL).events["item_id"].value_counts(sort=True)["count"]
    assert counts.head(SMALL.items // 10).sum() > 2.5 * SMALL.events / 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("events", 0),
        ("categories", 1),
        ("items", 100),
        ("follow", 1.1),
        ("session_items", 0.5),
        ("cart", -0.1),
    ],
)
def test_impossible_shop_is_refused(name, value):
    """A value from which no shop can be made is named."""
    with pytest.raises(ValueError, match=f"^{name} is {value}"):
        replace(SimulationConfig(), **{name: value})


def test_order_can_be_learnt_and_popularity_is_no_way_to_it():
    """The next event's hit rate at 20 of the true probabilities, of counted successors, of popularity.

    The figures are those of the module's docstring.
    """
    config = SimulationConfig()
    events = simulate(config).events
    cut = config.events * 4 // 5
    truth, counted, popular = _hit_rates(events, open_shop(config, np.random.default_rng(config.seed)), cut)
    assert truth == pytest.approx(0.91, abs=0.02)
    assert counted == pytest.approx(0.75, abs=0.03)
    assert popular == pytest.approx(0.09, abs=0.02)
    assert counted > 6 * popular


def _hit_rates(events: pl.DataFrame, shop: Shop, cut: int) -> tuple[float, float, float]:
    rows = events.select("user_id", "item_id", "behavior").rows()
    popular = [item for item, _ in Counter(item for _, item, _ in rows[:cut]).most_common(CUTOFF)]
    followers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, tuple[str, int]] = {}
    hits = Counter()
    oracle = _Oracle(shop)
    for position, (user, item, behavior) in enumerate(rows):
        before = last.get(user)
        if position < cut and before:
            followers[before[0]][item] += 1
        if position >= cut:
            known = [follower for follower, _ in followers[before[0]].most_common(CUTOFF)] if before else []
            hits["counted"] += item in _filled(known, popular)
            hits["popular"] += item in popular
            hits["truth"] += item in oracle.list_for(user, before)
        last[user] = (item, behavior)
    return tuple(hits[name] / (len(rows) - cut) for name in ("truth", "counted", "popular"))


def _filled(first: list[str], rest: list[str]) -> list[str]:
    return (first + [item for item in rest if item not in first])[:CUTOFF]


class _Oracle:
    """Knows the shop: the item again, what goes with it, then what the user likes best."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._row = {f"i{number:05}": row for row, number in enumerate(shop.number.tolist())}
        self._id = list(self._row)
        self._liked: dict[str, list[str]] = {}

    def list_for(self, user: str, before: tuple[str, int] | None) -> list[str]:
        first = []
        if before:
            item, behavior = before
            successors = self._shop.complements if behavior >= Behavior.CART else self._shop.similar
            first = [item, *(self._id[row] for row in successors[self._row[item]].tolist())]
        return _filled(first, self._liked.setdefault(user, self._likes(user)))

    def _likes(self, user: str) -> list[str]:
        weight = np.zeros(len(self._id))
        for category, share in zip(self._shop.likes[int(user[1:])], LIKE_WEIGHTS, strict=True):
            weight += share * self._shop.popularity * (self._shop.category == category)
        return [self._id[row] for row in np.argsort(-weight)[:CUTOFF].tolist()]
