"""At most one list a user an interval: what is held back, and what goes out later."""

import numpy as np

from tests.support.partitions import (
    INTERVAL,
    NOW_MS,
    RULES,
    Partition,
    hidden_of,
    item_ids,
    lists_of,
    outcomes,
    serving_of,
)


def test_within_the_interval_lists_are_held_back() -> None:
    """One list at once, the next not before the interval has passed."""
    partition = Partition(serving_of(), INTERVAL)
    assert len(partition.run(partition.event("u", "i1", 0)).lists) == 1
    partition.now_ms += 999
    effects = partition.run(partition.event("u", "i2", 1), partition.event("v", "i2", 1))
    assert [key for key, _ in effects.lists] == [b"v"]
    assert effects.held == {b"u": NOW_MS + 1_000}
    assert outcomes(effects) == {"applied": 2}


def test_a_held_list_is_released_with_all_that_came_meanwhile() -> None:
    """It is the list of the newest event held back, as if it had been sent at once."""
    partition, unlimited = Partition(serving_of(), INTERVAL), Partition(serving_of(), RULES)
    for one in (partition, unlimited):
        one.run(one.event("u", "i1", 0))
        one.run(one.event("u", "i2", 1_000))
        last = one.run(one.event("u", "i3", 2_000))
    partition.now_ms += 1_000
    (released,), (expected,) = lists_of(partition.release("u")), lists_of(last)
    assert item_ids(released) == item_ids(expected)
    assert released.event == expected.event
    assert released.generated_at == NOW_MS + 1_000
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(unlimited, "u"), atol=1e-5)
    assert partition.state("u").held is None
    assert not partition.release("u").lists


def test_after_a_release_the_interval_runs_anew() -> None:
    """The next event is held until an interval after the released list."""
    partition = Partition(serving_of(), INTERVAL)
    partition.run(partition.event("u", "i1", 0))
    partition.run(partition.event("u", "i2", 1))
    partition.now_ms += 1_000
    partition.release("u")
    assert partition.run(partition.event("u", "i3", 2)).held == {b"u": NOW_MS + 2_000}


def test_an_event_after_the_interval_takes_the_held_lists_place() -> None:
    """The newer list knows of the held event, which is owed nothing more."""
    partition = Partition(serving_of(), INTERVAL)
    partition.run(partition.event("u", "i1", 0))
    partition.run(partition.event("u", "i2", 1))
    partition.now_ms += 1_000
    (made,) = lists_of(partition.run(partition.event("u", "i3", 2)))
    assert made.event.offset == 2
    assert not partition.release("u").lists


def test_one_batch_brings_a_user_one_list_under_an_interval() -> None:
    """It is the one of the user's last event of the batch."""
    partition = Partition(serving_of(), INTERVAL)
    effects = partition.run(*(partition.event("u", f"i{number}", number) for number in range(1, 5)))
    (made,) = lists_of(effects)
    assert made.event.offset == 3
    assert effects.held == {}


def test_a_held_lists_latency_counts_from_its_production() -> None:
    """The event's own time may be years ago and says nothing about the delay."""
    partition = Partition(serving_of(), INTERVAL)
    partition.run(partition.event("u", "i1", 0))
    partition.run(partition.event("u", "i2", 1))
    partition.now_ms += 1_000
    assert partition.release("u").produced_ms == [NOW_MS - 5]


def test_releasing_a_user_who_is_owed_nothing_sends_nothing(partition: Partition) -> None:
    """Unknown users too."""
    partition.run(partition.event("u", "i1", 0))
    assert not partition.release("u", "nobody").lists
