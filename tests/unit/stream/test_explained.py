"""A user's segment and list side by side: what is shown is what is served."""

from dataclasses import replace

import pytest

from models.explanation import PARTS
from stream.explained import Explained, explained
from stream.lists import Lists
from stream.messages import decode_list
from stream.rules import Rules
from tests.support.partitions import (
    CART,
    EARLIER_MS,
    NOW_MS,
    SEGMENT,
    TOPICS,
    Partition,
    item_ids,
    serving_of,
)
from tests.support.recommenders import small_recommender

RULES = Rules(segment=SEGMENT, list_size=5)


@pytest.fixture
def partition() -> Partition:
    """A partition in which u clicked i1 and put i2 into the cart; weights with a blend are in force."""
    partition = Partition(serving_of(small_recommender(blended=True)), RULES)
    partition.run(partition.event("u", "i1", 0), partition.event("u", "i2", 500, behavior=CART))
    return partition


def shown(partition: Partition, user_id: str = "u") -> Explained:
    """What a page would show of a user."""
    key = user_id.encode()
    lists = Lists(partition.rules, partition.serving, TOPICS, partition.fallback)
    found = explained(key, partition.records[key], lists, now_ms=NOW_MS)
    assert found is not None
    return found


def test_the_list_is_the_one_that_is_served(partition: Partition) -> None:
    """Item for item and score for score what the HTTP port answers."""
    value = partition.batch().show(b"u")
    served = decode_list(value)
    found = shown(partition)
    assert [(item.item_id, item.score) for item in found.items] == [
        (item.item_id, item.score) for item in served.items
    ]
    assert (found.user_id, found.kind, found.model_version) == ("u", served.kind, served.model_version)
    assert len(item_ids(served)) == 5


def test_the_segment_is_shown_with_categories_and_behaviours(partition: Partition) -> None:
    """Oldest first, in event time."""
    first, second = shown(partition).segment
    assert (first.item_id, first.category_id, first.behavior, first.time_ms) == (
        "i1",
        "c2",
        "click",
        EARLIER_MS,
    )
    assert (second.item_id, second.behavior, second.time_ms) == ("i2", "cart", EARLIER_MS + 500)


def test_the_reasons_add_up_and_name_each_event(partition: Partition) -> None:
    """The parts sum to the score that was sent; each event of the segment has its loss."""
    for item in shown(partition).items:
        assert len(item.parts) == len(PARTS)
        assert sum(item.parts) == pytest.approx(item.score, abs=1e-3)
        assert len(item.lost) == 2
    near = {item.item_id: [one.item_id for one in item.neighbours] for item in shown(partition).items}
    # Each item is near itself and the two after it.
    assert all(set(near.get(f"i{number}", [])) <= {"i1", "i2"} for number in range(1, 12))
    assert any(near.values())


def test_neighbours_are_the_nearest_first(partition: Partition) -> None:
    """Those of i3 are i1 and i2."""
    partition.rules = replace(RULES, list_size=11)
    (third,) = [item for item in shown(partition).items if item.item_id == "i3"]
    similarities = [one.weight for one in third.neighbours]
    assert {one.item_id for one in third.neighbours} == {"i1", "i2"}
    assert {one.item_id for one in third.successors} == {"i1", "i2"}
    assert similarities == sorted(similarities, reverse=True)
    assert min(similarities) > 0


def test_looking_changes_nothing(partition: Partition) -> None:
    """A page may ask as often as it likes."""
    before = dict(partition.records)
    shown(partition)
    assert partition.records == before


def test_a_popular_list_is_shown_without_reasons(partition: Partition) -> None:
    """The weights know nothing of this user."""
    partition.run(partition.event("v", "new", 0))
    found = shown(partition, "v")
    assert found.kind == "popular"
    assert found.items
    assert all(item.category_id for item in found.items)
    assert not any(item.parts or item.lost or item.neighbours or item.successors for item in found.items)
    assert [event.category_id for event in found.segment] == [""]


def test_a_list_from_before_the_first_weights_is_shown(partition: Partition) -> None:
    """What this worker has seen most, and the segment beside it."""
    waiting = Partition(None, RULES, fallback=[("i7", 0.5), ("i8", 0.25)])
    waiting.run(waiting.event("u", "i1", 0))
    found = shown(waiting)
    assert (found.kind, found.model_version) == ("popular", "none")
    assert [item.item_id for item in found.items] == ["i7", "i8"]
    assert [event.item_id for event in found.segment] == ["i1"]


def test_a_user_without_a_list_has_nothing_to_explain() -> None:
    """Held back or not sent yet: there is nothing to show."""
    waiting = Partition(None, RULES)
    waiting.run(waiting.event("u", "i1", 0))
    lists = Lists(RULES, None, TOPICS)
    assert explained(b"u", waiting.records[b"u"], lists, now_ms=NOW_MS) is None
