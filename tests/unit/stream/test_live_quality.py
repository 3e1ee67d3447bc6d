"""Live figures and offline evaluation of the same events, and lists after a light refresh, are the same."""

from dataclasses import replace
from math import fsum

import numpy as np
import polars as pl
import pytest

from models.gate import HeldBack
from models.recommender import Recommender
from models.warm import light_refresh
from stream.effects import cutoffs
from stream.rules import Rules
from stream.serving import Serving
from tests.support.offline import same_items
from tests.support.partitions import EARLIER_MS, SEGMENT, Partition, lists_of
from tests.support.recommenders import small_recommender

#: Nothing is left out of lists for what a user bought, which evaluation knows nothing of.
RULES = Rules(segment=SEGMENT, list_size=7, exclude_bought_ms=0)
N_EVENTS, N_USERS = 500, 25


@pytest.fixture(params=[False, True], ids=["network", "blend"])
def recommender(request: pytest.FixtureRequest) -> Recommender:
    """Random weights, under the segments of the rules."""
    return small_recommender(blended=request.param, rule=SEGMENT)


def wandering(seed: int = 1) -> pl.DataFrame:
    """Users among eleven known items and two that no weights know; several begin many segments."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(1, 14, N_EVENTS)
    # No two events have the same time, so that there is one order of them all.
    time_ms = EARLIER_MS + np.sort(rng.choice(400_000, N_EVENTS, replace=False))
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.geometric(0.15, N_EVENTS) % N_USERS],
            "item_id": [f"i{item}" for item in chosen],
            "category_id": pl.Series([None] * N_EVENTS, dtype=pl.String),
            "behavior": rng.integers(0, 4, N_EVENTS),
            "timestamp": time_ms,
        }
    )


def fed(partition: Partition, events: pl.DataFrame):
    """Run events as one batch."""
    rows = events.select("user_id", "item_id", "timestamp", "behavior").iter_rows()
    return partition.run(
        *(
            partition.event(user, item, time_ms - EARLIER_MS, behavior=behavior)
            for user, item, time_ms, behavior in rows
        )
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_live_counters_equal_offline_evaluation_of_the_same_events(
    recommender: Recommender, seed: int
) -> None:
    """Events, hits at each cut-off and the sum of reciprocal ranks, to the last bit."""
    events = wandering(seed)
    live = fed(Partition(Serving(recommender), RULES), events).quality
    held_back = HeldBack.of(events, recommender.vocabulary, int(events["timestamp"].min()))
    split = held_back.split
    found = held_back.places(recommender, RULES.list_size).places
    in_order = found[np.argsort(split.log.time_ms[split.targets])].tolist()
    assert live.events == split.n_targets == events.height - events["user_id"].n_unique()
    assert live.hits == {
        cutoff: sum(0 < place <= cutoff for place in in_order) for cutoff in cutoffs(RULES.list_size)
    }
    assert live.reciprocal_rank == fsum(1 / place for place in in_order if place)
    assert 0 < live.hits[1] < live.hits[7] < live.events


def test_lists_after_a_light_refresh_are_as_if_it_had_always_been_there(recommender: Recommender) -> None:
    """Also of users whose segments hold items that were unknown when they came."""
    events = wandering()
    old, new = events.head(N_EVENTS - 50), events.tail(50)
    told = old.with_columns(pl.lit("c1").alias("category_id"))
    refreshed = light_refresh(recommender, told, refreshed_at_ms=EARLIER_MS)
    assert refreshed.vocabulary.item_row("i13") > 0
    swapped, always = Partition(Serving(recommender), RULES), Partition(Serving(refreshed), RULES)
    for partition in (swapped, always):
        fed(partition, old)
        partition.serving = Serving(refreshed)
    pairs = zip(*(lists_of(fed(partition, new)) for partition in (swapped, always)), strict=True)
    for one, other in pairs:
        assert one.model_version == other.model_version == refreshed.version
        assert same_items(one.items, other.items)


def test_a_refresh_changes_what_is_popular_at_once(recommender: Recommender) -> None:
    """A user of whom nothing is known gets the list of the new counts."""
    events = wandering().with_columns(pl.lit("i3").alias("item_id"))
    refreshed = light_refresh(recommender, events, refreshed_at_ms=EARLIER_MS)
    partition = Partition(Serving(refreshed), replace(RULES, list_size=1))
    (made,) = lists_of(partition.run(partition.event("nobody", "never heard of")))
    assert (made.kind, made.items[0].item_id) == ("popular", "i3")
