"""One order across the topics of a partition number, by hand."""

from collections.abc import Callable
from typing import NamedTuple

from stream.merge import Merger, Sourced


class Fetched(NamedTuple):
    """What the merger reads of a record."""

    timestamp: int
    offset: int


def merger_of(*topics: list[int]) -> Merger:
    """A merger that has fetched records of these times from each topic."""
    merger = Merger(len(topics))
    for source, times in enumerate(topics):
        merger.add(source, [Fetched(time, offset) for offset, time in enumerate(times)])
    return merger


def all_but(*behind: int) -> Callable[[int], bool]:
    """Every topic has been read to its end but these."""
    return lambda source: source not in behind


def times(taken: list[Sourced]) -> list[tuple[int, int]]:
    """(source, time) of what was handed on."""
    return [(source, record.timestamp) for source, record in taken]


def test_nothing_fetched_is_nothing_handed_on() -> None:
    """Whatever has been read to its end."""
    assert merger_of([], []).take(all_but(), limit=9) == []
    assert merger_of([], []).take(all_but(0, 1), limit=9) == []


def test_topics_read_to_their_end_are_merged_by_time() -> None:
    """All that waits is handed on."""
    merger = merger_of([1, 4, 6], [2, 5], [], [3])
    assert times(merger.take(all_but(), limit=9)) == [(0, 1), (1, 2), (3, 3), (0, 4), (1, 5), (0, 6)]
    assert merger.take(all_but(), limit=9) == []


def test_a_topic_that_may_bring_an_earlier_record_holds_the_others_back() -> None:
    """Topic 1 has more than its 2 and 3: up to 3 is safe, 4 is not."""
    merger = merger_of([1, 4], [2, 3])
    assert times(merger.take(all_but(1), limit=9)) == [(0, 1), (1, 2), (1, 3)]
    merger.add(1, [Fetched(3, 2)])
    assert times(merger.take(all_but(1), limit=9)) == [(1, 3)]
    assert times(merger.take(all_but(), limit=9)) == [(0, 4)]


def test_a_topic_not_read_to_its_end_of_which_nothing_waits_holds_all_back() -> None:
    """It could bring the earliest record of all."""
    merger = merger_of([1, 2], [])
    assert merger.take(all_but(1), limit=9) == []
    assert len(merger.take(all_but(), limit=9)) == 2


def test_a_topic_alone_is_held_to_what_others_may_bring() -> None:
    """Only topic 0 waits and only topic 0 is behind: its own later records come after."""
    merger = merger_of([1, 2], [])
    assert times(merger.take(all_but(0), limit=9)) == [(0, 1), (0, 2)]


def test_of_equal_times_the_lower_topic_comes_first() -> None:
    """A click, then the purchase of the same millisecond."""
    assert times(merger_of([5, 5], [5], [5]).take(all_but(), limit=9)) == [(0, 5), (0, 5), (1, 5), (2, 5)]


def test_offsets_stay_in_order_where_times_go_back() -> None:
    """A record produced with an earlier time is merged with the one before it, and keeps its own time."""
    merger = merger_of([5, 1, 7], [2, 6])
    taken = merger.take(all_but(), limit=9)
    assert times(taken) == [(1, 2), (0, 5), (0, 1), (1, 6), (0, 7)]
    assert [record.offset for source, record in taken if source == 0] == [0, 1, 2]


def test_times_are_remembered_between_fetches() -> None:
    """The next fetch of a topic begins no earlier than the last one ended."""
    merger = merger_of([5], [])
    merger.take(all_but(), limit=9)
    merger.add(0, [Fetched(1, 1)])
    merger.add(1, [Fetched(4, 0)])
    assert times(merger.take(all_but(), limit=9)) == [(1, 4), (0, 1)]


def test_a_limit_takes_the_first_and_leaves_the_rest() -> None:
    """Going on later gives the same order as taking all at once."""
    merger = merger_of([1, 3, 5], [2, 4])
    assert times(merger.take(all_but(), limit=2)) == [(0, 1), (1, 2)]
    assert (merger.waiting(0), merger.waiting(1)) == (2, 1)
    assert times(merger.take(all_but(), limit=2)) == [(0, 3), (1, 4)]
    assert times(merger.take(all_but(), limit=2)) == [(0, 5)]


def test_a_limit_holds_for_a_topic_alone() -> None:
    """The way of a single waiting topic is another one."""
    merger = merger_of([1, 2, 3], [])
    assert times(merger.take(all_but(), limit=2)) == [(0, 1), (0, 2)]
    assert merger.waiting(0) == 1


def test_one_millisecond_of_several_topics_is_ordered_by_event_time() -> None:
    """Record times are no finer; each topic keeps its own order, and of equal times the lower comes first."""
    event_times = {("click", 0): 30, ("click", 1): 20, ("cart", 0): 10, ("cart", 1): 30}
    merger = Merger(2, lambda record: event_times[record.key, record.offset])
    merger.add(0, [Keyed(100, 0, "click"), Keyed(100, 1, "click")])
    merger.add(1, [Keyed(100, 0, "cart"), Keyed(100, 1, "cart")])
    taken = [(record.key, record.offset) for _, record in merger.take(lambda source: True, limit=9)]
    assert taken == [("cart", 0), ("click", 0), ("click", 1), ("cart", 1)]


class Keyed(NamedTuple):
    """A record that knows its topic."""

    timestamp: int
    offset: int
    key: str
