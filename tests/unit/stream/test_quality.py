"""Live quality: each event is judged by the list sent before it."""

from tests.support.partitions import (
    INTERVAL,
    Partition,
    item_ids,
    lists_of,
    outcomes,
    serving_of,
)


def test_an_event_is_measured_by_the_list_sent_before_it(partition: Partition) -> None:
    """The first event meets no list; the second one's item stood at a known place of the first list."""
    first = partition.run(partition.event("u", "i1", 0))
    assert first.quality.events == 0
    third = item_ids(lists_of(first)[0])[2]
    second = partition.run(partition.event("u", third, 1))
    assert second.quality.events == 1
    assert second.quality.reciprocal_rank == 1 / 3
    assert second.quality.hits == {5: 1}


def test_an_item_that_was_not_listed_is_an_event_without_a_hit(partition: Partition) -> None:
    """Hits over events is the hit rate; items the weights do not know count as misses."""
    partition.run(partition.event("u", "i1", 0))
    effects = partition.run(partition.event("u", "never heard of", 1))
    assert effects.quality.events == 1
    assert effects.quality.reciprocal_rank == 0
    assert not effects.quality.hits


def test_quality_is_measured_within_a_batch_as_between_batches(partition: Partition) -> None:
    """Each event meets the list of the one before, wherever the batch ends."""
    whole, single = Partition(serving_of()), partition
    items = ["i1", "i4", "i7", "i2", "i11"]
    together = whole.run(*(whole.event("u", item, place) for place, item in enumerate(items)))
    alone = [single.run(single.event("u", item, place)) for place, item in enumerate(items)]
    assert together.quality.events == sum(one.quality.events for one in alone) == 4
    assert together.quality.reciprocal_rank == sum(one.quality.reciprocal_rank for one in alone)


def test_duplicates_and_late_events_are_not_measured(partition: Partition) -> None:
    """Only applied events are predictions to be judged."""
    partition.run(partition.event("u", "i2", 0))
    again = partition.event("u", "i1", 100_000)
    partition.run(again)
    effects = partition.run(again, partition.event("u", "i3", 50_000))
    assert outcomes(effects) == {"duplicate": 1, "late": 1}
    assert effects.quality.events == 0


def test_a_held_event_is_measured_once() -> None:
    """When it comes, by the list last sent; its release is no event."""
    partition = Partition(serving_of(), INTERVAL)
    partition.run(partition.event("u", "i1", 0))
    assert partition.run(partition.event("u", "i2", 1)).quality.events == 1
    partition.now_ms += 1_000
    assert partition.release("u").quality.events == 0
