"""What a shop asks of its lists."""

from dataclasses import replace

import numpy as np
import pytest

from models.segment import SegmentRule
from stream.messages import decode_list
from stream.rules import Rules
from tests.support.partitions import (
    CART,
    EARLIER_MS,
    PURCHASE,
    RULES,
    Partition,
    hidden_of,
    item_ids,
    lists_of,
    outcomes,
    serving_of,
)
from tests.support.recommenders import small_recommender


def test_a_bought_item_stays_out_for_its_period() -> None:
    """It may stand in lists again once the user's newest event is a period after the purchase."""
    partition = Partition(serving_of(), replace(RULES, list_size=11, exclude_bought_ms=5_000))
    partition.run(partition.event("u", "i4", 0, behavior=PURCHASE))
    (within,) = lists_of(partition.run(partition.event("u", "i1", 4_999)))
    (after,) = lists_of(partition.run(partition.event("u", "i2", 5_000)))
    assert "i4" not in item_ids(within)
    assert len(within.items) == 10
    assert "i4" in item_ids(after)
    assert partition.state("u").bought == []


def test_the_list_of_the_purchase_itself_leaves_the_item_out() -> None:
    """Other users' lists of the same batch may hold it."""
    partition = Partition(serving_of(), replace(RULES, list_size=11, exclude_bought_ms=5_000))
    bought, other = lists_of(
        partition.run(partition.event("u", "i4", 0, behavior=PURCHASE), partition.event("v", "i4", 0))
    )
    assert "i4" not in item_ids(bought)
    assert "i4" in item_ids(other)


def test_a_late_event_does_not_bring_back_what_was_bought_long_ago() -> None:
    """The period is counted from the newest event of the user, in whatever order they come."""
    rules = Rules(segment=SegmentRule(span_ms=100_000), list_size=11, exclude_bought_ms=5_000)
    partition = Partition(serving_of(), rules)
    partition.run(partition.event("u", "i1", 10_000))
    (made,) = lists_of(partition.run(partition.event("u", "i4", 2_000, behavior=PURCHASE)))
    assert "i4" in item_ids(made)
    assert partition.state("u").bought == []


def test_without_the_rule_nothing_bought_is_kept(partition: Partition) -> None:
    """0 turns it off, and the record stays small."""
    partition.rules = replace(RULES, list_size=11)
    (made,) = lists_of(partition.run(partition.event("u", "i4", 0, behavior=PURCHASE)))
    assert "i4" in item_ids(made)
    assert partition.state("u").bought == []


# What is listed.


def full(partition: Partition, **rules: object) -> Partition:
    """The partition with lists as long as the catalogue of 11 items, and these rules."""
    partition.rules = replace(partition.rules, list_size=11, **rules)
    return partition


def test_a_list_has_the_size_asked_for_and_no_item_twice(partition: Partition) -> None:
    """Best first; the unknown item is never in it."""
    (made,) = lists_of(partition.run(partition.event("u", "i1", 0)))
    scores = [item.score for item in made.items]
    assert len(made.items) == len(set(item_ids(made))) == 5
    assert scores == sorted(scores, reverse=True)
    assert "" not in item_ids(made)


def test_a_list_is_shorter_where_the_catalogue_is(partition: Partition) -> None:
    """Eleven items are all there are."""
    partition.rules = replace(RULES, list_size=20)
    (made,) = lists_of(partition.run(partition.event("u", "i1", 0)))
    assert sorted(item_ids(made)) == sorted(f"i{number}" for number in range(1, 12))


def test_seen_items_are_listed_unless_the_rule_forbids_them(partition: Partition) -> None:
    """Off, the event's own item may be listed; on, no item of the segment is."""
    events = [partition.event("u", "i1", 0), partition.event("u", "i2", 1)]
    assert {"i1", "i2"} <= set(item_ids(lists_of(full(partition).run(*events))[1]))
    unseen = full(Partition(serving_of(), RULES), exclude_seen=True)
    first, second = lists_of(unseen.run(*events))
    assert set(item_ids(first)) == {f"i{number}" for number in range(2, 12)}
    assert set(item_ids(second)) == {f"i{number}" for number in range(3, 12)}


def test_exclusions_of_one_user_are_not_anothers(partition: Partition) -> None:
    """Users of one batch are ranked together and barred apart."""
    full(partition, exclude_seen=True)
    first, second = lists_of(partition.run(partition.event("u", "i1", 0), partition.event("v", "i2", 0)))
    assert "i2" in item_ids(first)
    assert "i1" in item_ids(second)


def test_an_item_seen_before_the_segment_may_be_listed(partition: Partition) -> None:
    """The rule speaks of the segment, not of all that was retained."""
    full(partition, exclude_seen=True)
    (_, made) = lists_of(partition.run(partition.event("u", "i1", 0), partition.event("u", "i2", 100_000)))
    assert partition.state("u").items == ["i1", "i2"]
    assert "i1" in item_ids(made)
    assert "i2" not in item_ids(made)


def test_only_available_items_are_listed(partition: Partition) -> None:
    """A withdrawn item is missing from personal and popular lists until it is back."""
    full(partition)
    partition.serving = serving_of(withdrawn=["i2", "not in the vocabulary"])
    partition.serving.set_available("i3", available=False)
    lists = lists_of(partition.run(partition.event("u", "i1", 0), partition.event("v", "unknown", 0)))
    assert [made.kind for made in lists] == ["personalized", "popular"]
    for made in lists:
        assert {"i2", "i3"}.isdisjoint(item_ids(made))
    partition.serving.set_available("i2", available=True)
    (made,) = lists_of(partition.run(partition.event("u", "i1", 1)))
    assert "i2" in item_ids(made)


def test_a_category_fills_no_more_places_than_allowed(partition: Partition) -> None:
    """Three categories, two places each: six items, personal and popular."""
    full(partition, max_per_category=2)
    category = {f"i{row}": row % 3 for row in range(1, 12)}
    for made in lists_of(partition.run(partition.event("u", "i1", 0), partition.event("v", "unknown", 0))):
        counts = [sum(category[item] == one for item in item_ids(made)) for one in range(3)]
        assert counts == [2, 2, 2]


def test_no_list_is_sent_where_nothing_may_be_listed(partition: Partition) -> None:
    """Everything is withdrawn; the event is applied all the same."""
    partition.serving = serving_of(withdrawn=[f"i{number}" for number in range(1, 12)])
    effects = partition.run(partition.event("u", "i1", 0))
    assert outcomes(effects) == {"applied": 1}
    assert not effects.lists
    assert not effects.kinds
    assert partition.batch().show(b"u") is None


# Unknown items.


def test_an_unknown_item_of_a_known_category_is_a_personal_matter(partition: Partition) -> None:
    """The network is shown the unknown item with the category the event names."""
    effects = partition.run(partition.event("u", "brand new", 0, category_id="c2"))
    (made,) = lists_of(effects)
    recommender = small_recommender()
    row = recommender.vocabulary.category_row("c2")
    one, zero = np.array([1]), np.array([0])
    expected = recommender.advance(recommender.initial(1), zero, row * one, zero, zero, EARLIER_MS * one)
    np.testing.assert_allclose(hidden_of(partition, "u"), expected[0], atol=1e-6)
    assert made.kind == "personalized"
    assert effects.kinds == {"personalized": 1}


def test_a_known_items_own_category_counts_not_the_events(partition: Partition) -> None:
    """Producers may name another; the vocabulary is the one definition."""
    partition.run(partition.event("u", "i1", 0, category_id="c3"), partition.event("v", "i1", 0))
    np.testing.assert_array_equal(hidden_of(partition, "u"), hidden_of(partition, "v"))


@pytest.mark.parametrize("category", [None, "unheard of"])
def test_a_user_of_whom_nothing_is_known_gets_what_is_popular(
    partition: Partition, category: str | None
) -> None:
    """i11 is the most popular of the recommender, i10 the next, and so on."""
    fields = {"category_id": category} if category else {}
    effects = partition.run(partition.event("u", "brand new", 0, **fields))
    (made,) = lists_of(effects)
    assert item_ids(made) == ["i11", "i10", "i9", "i8", "i7"]
    assert (made.kind, made.model_version) == ("popular", "gru-0")
    assert effects.kinds == {"popular": 1}


def test_what_was_popular_long_ago_is_listed_as_well() -> None:
    """Its score is a logarithm, which may be below 0; only an item without an event is never listed."""
    recommender = small_recommender()
    popularity = np.full(12, -np.inf, np.float32)
    popularity[[4, 7]] = -3.5, 0.0
    partition = Partition(serving_of(replace(recommender, popularity=popularity)), RULES)
    (made,) = lists_of(partition.run(partition.event("u", "brand new", 0)))
    assert [(item.item_id, item.score) for item in made.items] == [("i7", 0.0), ("i4", -3.5)]


def test_one_known_item_makes_the_lists_personal(partition: Partition) -> None:
    """Of a batch, the first list is popular and the second personal, and it stays so within the segment."""
    effects = partition.run(
        partition.event("u", "new", 0), partition.event("u", "i1", 1), partition.event("u", "new", 2)
    )
    assert [made.kind for made in lists_of(effects)] == ["popular", "personalized", "personalized"]


def test_popular_lists_leave_out_what_was_bought(partition: Partition) -> None:
    """The rules hold for the fallback as well: the user bought before and came back for something unknown."""
    partition.rules = replace(RULES, exclude_bought_ms=1_000_000)
    _, made = lists_of(
        partition.run(partition.event("u", "i11", 0, behavior=PURCHASE), partition.event("u", "new", 100_000))
    )
    assert made.kind == "popular"
    assert item_ids(made) == ["i10", "i9", "i8", "i7", "i6"]


# Without weights.


def test_without_weights_lists_are_what_is_popular_so_far() -> None:
    """The worker counts applied events and passes the ranking in."""
    partition = Partition(None, RULES, fallback=[("a", 0.75), ("b", 0.25)])
    effects = partition.run(partition.event("u", "x", 0), partition.event("v", "x", 0))
    made = lists_of(effects)[0]
    assert [(item.item_id, item.score) for item in made.items] == [("a", 0.75), ("b", 0.25)]
    assert (made.kind, made.model_version) == ("popular", "none")
    assert effects.kinds == {"popular": 2}
    assert effects.items == {"x": 2}


def test_without_weights_and_counts_no_list_is_sent() -> None:
    """The very first events have nothing to be listed; they are applied and counted."""
    partition = Partition(None, RULES)
    effects = partition.run(partition.event("u", "x", 0))
    assert not effects.lists
    assert outcomes(effects) == {"applied": 1}
    assert effects.items == {"x": 1}


def test_only_applied_events_count_as_popular() -> None:
    """Repeats and events that are too old do not."""
    partition = Partition(None, RULES)
    first = partition.event("u", "x", 0)
    effects = partition.run(
        first, first, partition.event("u", "y", 100_000), partition.event("u", "z", 50_000)
    )
    assert effects.items == {"x": 1, "y": 1}


def test_without_weights_what_was_bought_stays_out_too() -> None:
    """The rule is the shop's, whoever makes the list."""
    partition = Partition(None, replace(RULES, exclude_bought_ms=1_000), fallback=[("a", 0.75), ("b", 0.25)])
    (made,) = lists_of(partition.run(partition.event("u", "a", 0, behavior=PURCHASE)))
    assert item_ids(made) == ["b"]


# The user's own last items.


def test_recent_lists_are_the_users_own_items_newest_first() -> None:
    """Each once, the score how many places are left, the place itself included."""
    partition = Partition(None, replace(RULES, recent=True, list_size=2))
    items = ["a", "b", "a", "c"]
    effects = partition.run(*(partition.event("u", item, place) for place, item in enumerate(items)))
    lists = lists_of(effects)
    assert [item_ids(made) for made in lists] == [["a"], ["b", "a"], ["a", "b"], ["c", "a"]]
    assert [item.score for item in lists[-1].items] == [2, 1]
    assert {(made.kind, made.model_version) for made in lists} == {("personalized", "recent")}
    assert effects.kinds == {"personalized": 4}
    assert not effects.items


def test_recent_lists_keep_their_identity(partition: Partition) -> None:
    """They name their event like any list, and are shown again as they were."""
    partition = Partition(None, replace(RULES, recent=True))
    ((_, sent),) = partition.run(partition.event("u", 'a "quoted" é %', 0, behavior=CART)).lists
    assert sent is not None
    made = decode_list(sent)
    assert (made.event.topic, made.event.offset) == ("events.cart", 0)
    assert made.event.timestamp == EARLIER_MS
    assert item_ids(made) == ['a "quoted" é %']
    assert partition.batch().show(b"u") == sent


def test_recent_lists_need_no_network_even_where_there_is_one(partition: Partition) -> None:
    """The setting decides."""
    partition.rules = replace(RULES, recent=True)
    (made,) = lists_of(partition.run(partition.event("u", "never heard of", 0)))
    assert item_ids(made) == ["never heard of"]
