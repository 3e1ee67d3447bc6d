"""The walk through the targets, with systems whose lists are known in advance."""

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from models.evaluation import Lists, lists_at_cut, next_event_lists
from models.events import EventLog
from models.quality import CATEGORY, COLD, ITEM, Quality, next_day_figures, qualities
from models.splits import Candidates, Split, split_as_given, split_by_time

POPULARITY = np.array([-np.inf, 1, 2, 3, 4, 5], np.float32)


def _frame(*events: tuple[str, str, int], categories: dict[str, str] | None = None) -> pl.DataFrame:
    """Events (user, item, second), all clicks."""
    users, items, seconds = zip(*events, strict=True)
    return pl.DataFrame(
        {
            "user_id": users,
            "item_id": items,
            "category_id": pl.Series([(categories or {}).get(item) for item in items], dtype=pl.String),
            "behavior": pl.Series([0] * len(users), dtype=pl.Int8),
            "timestamp": [second * 1000 for second in seconds],
        }
    )


TRAIN = _frame(*[("t", f"i{number}", number) for number in range(1, 6)])  # item "iN" has row N


@dataclass
class Echo:
    """Lists what was seen last, then the item after it; knows nothing of users without events."""

    name: str = "echo"
    followed: list[tuple[list[int], list[int]]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def follow(self, log: EventLog, first: np.ndarray, end: np.ndarray) -> "_Echoes":
        self.followed.append((first.tolist(), end.tolist()))
        last = [
            int(log.item[stop - 1]) if stop > start else 0 for start, stop in zip(first, end, strict=True)
        ]
        return _Echoes(self, log, last)


@dataclass
class _Echoes:
    system: Echo
    log: EventLog
    last: list[int]

    def advance(self, positions: np.ndarray) -> None:
        self.system.taken.extend(positions.tolist())
        for user, position in enumerate(positions.tolist()):
            self.last[user] = int(self.log.item[position])

    def scores(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.full((count, 6), -np.inf, np.float32)
        for user, item in enumerate(self.last[:count]):
            scores[user, item] = 2
            scores[user, item % 5 + 1] = 1
        personal = np.array(self.last[:count]) > 0
        return scores[personal], personal


@dataclass
class Fixed:
    """The same scores for everyone, whatever happens."""

    values: tuple[float, ...]
    name: str = "fixed"

    def follow(self, log: EventLog, first: np.ndarray, end: np.ndarray) -> "Fixed":
        return self

    def advance(self, positions: np.ndarray) -> None:
        pass

    def scores(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.tile(np.array(self.values, np.float32), (count, 1)), np.ones(count, np.bool_)


def _given(*events: tuple[str, str, int]) -> Split:
    return split_as_given(TRAIN, _frame(*events))


def test_each_list_is_made_from_the_events_before_its_target() -> None:
    """The list before an event echoes the event before that one, for users of different lengths."""
    split = _given(
        ("a", "i1", 1), ("a", "i4", 2), ("b", "i2", 1), ("b", "i3", 2), ("b", "i3", 3), ("b", "i5", 4)
    )
    lists = next_event_lists(Echo(), split, 3, popularity=POPULARITY)
    assert lists.rows.tolist() == [[1, 2, -1], [2, 3, -1], [3, 4, -1], [3, 4, -1]]
    assert lists.personal.all()


def test_system_is_told_of_no_event_too_early() -> None:
    """When the list before a target is made, only earlier positions of its user were taken in."""
    split = _given(*[("a", f"i{number}", number) for number in (1, 2, 3, 4)])
    system = Echo()
    next_event_lists(system, split, 1, popularity=POPULARITY)
    assert system.followed == [([0], [1])]
    assert system.taken == [1, 2, 3]


def test_user_without_history_gets_the_popular_list() -> None:
    """Before the first event a list is the fallback, and not personal; after it, it is the user's own."""
    frame = pl.concat([TRAIN, _frame(("new", "i3", 7), ("new", "i4", 8))])
    split = split_by_time(frame, train_share=5 / 7)
    lists = next_event_lists(Echo(), split, 2, popularity=POPULARITY)
    assert lists.rows.tolist() == [[5, 4], [3, 4]]
    assert lists.personal.tolist() == [False, True]
    assert qualities(lists, split, [2])[0].user_coverage == 0


def test_groups_of_users_change_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walking users one after another gives what walking them side by side gives."""
    rng = np.random.default_rng(2)
    events = [(f"u{rng.integers(9)}", f"i{rng.integers(1, 6)}", second) for second in range(80)]
    split = _given(*events)
    together = next_event_lists(Echo(), split, 2, popularity=POPULARITY)
    monkeypatch.setattr("models.evaluation._SCORES_AT_ONCE", 1)
    np.testing.assert_array_equal(
        next_event_lists(Echo(), split, 2, popularity=POPULARITY).rows, together.rows
    )


def test_progress_counts_every_target() -> None:
    """What is told adds up to the number of targets."""
    done: list[int] = []
    split = _given(("a", "i1", 1), ("a", "i4", 2), ("b", "i2", 1), ("b", "i3", 2), ("b", "i3", 3))
    next_event_lists(Echo(), split, 1, popularity=POPULARITY, progress=done.append)
    assert sum(done) == split.n_targets == 3


def test_figures_of_a_walk_by_hand() -> None:
    """User a: lists [1 2], [2 3] before 2, 4; user b: list [5 1] before 5."""
    split = _given(("a", "i1", 1), ("a", "i2", 2), ("a", "i4", 3), ("b", "i5", 1), ("b", "i5", 2))
    lists = next_event_lists(Echo(), split, 2, popularity=POPULARITY)
    (quality,) = qualities(lists, split, [2])
    assert (quality.level, quality.cutoff) == (ITEM, 2)
    assert quality.prediction_accuracy == pytest.approx((1 + 0 + 1) / 3)
    assert quality.mrr == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert quality.ndcg == pytest.approx((1 / math.log2(3) + 0 + 1) / 3)
    assert quality.accuracy == pytest.approx((1 + 1) / (2 + 2))  # at the cut: [1 2] and [5 1]
    assert quality.recall == pytest.approx((1 + 1) / (2 + 1))  # a did {2, 4}, b did {5}
    assert quality.user_coverage == 1
    assert quality.catalogue_coverage == pytest.approx(len({1, 2, 3, 5}) / 5)


def test_shorter_cutoff_looks_at_the_head_of_the_same_list() -> None:
    """At N = 1 only the first place counts."""
    split = _given(("a", "i1", 1), ("a", "i2", 2), ("a", "i2", 3))
    lists = next_event_lists(Echo(), split, 2, popularity=POPULARITY)
    one, two = qualities(lists, split, [1, 2])
    assert (one.prediction_accuracy, two.prediction_accuracy) == (1 / 2, 1)
    assert one.accuracy == 0 / 1


def test_unknown_items_are_misses_and_stay_wanted() -> None:
    """Two different items never trained on count as two in recall, and are hits nowhere."""
    split = _given(("a", "i1", 1), ("a", "new", 2), ("a", "newer", 3), ("a", "i2", 4))
    lists = next_event_lists(Echo(), split, 2, popularity=POPULARITY)
    assert lists.rows.tolist() == [[1, 2], [5, 4], [5, 4]]  # of the new items the echo knows nothing
    (quality,) = qualities(lists, split, [2])  # none for new items: no list can hold one
    assert quality.prediction_accuracy == 0 / 3
    assert quality.recall == pytest.approx(1 / 3)  # {1, 2} of {new, newer, 2}


def test_category_level_has_rows_of_its_own() -> None:
    """An item of the right category is a hit there, also where the item itself is new."""
    categories = {"i1": "c1", "i2": "c1", "i3": "c2", "i4": "c2", "i5": "c3", "new": "c2"}
    train = _frame(*[("t", f"i{number}", number) for number in range(1, 6)], categories=categories)
    test = _frame(("a", "i2", 1), ("a", "new", 2), ("a", "i1", 3), categories=categories)
    split = split_as_given(train, test)
    lists = Lists(np.array([[2, 3], [4, 5]], np.int32), np.array([True, True]), np.zeros((2, 2), np.bool_))
    item, category = qualities(lists, split, [2])
    assert (item.level, category.level) == (ITEM, CATEGORY)
    assert item.prediction_accuracy == 0
    assert category.prediction_accuracy == pytest.approx((1 + 0) / 2)
    assert category.mrr == pytest.approx((1 / 2 + 0) / 2)  # categories of [2 3]: c1, c2
    assert category.accuracy == category.recall == pytest.approx(2 / 2)  # {c1, c2} of {c2, c1}
    assert category.catalogue_coverage == pytest.approx(3 / 3)


def test_tied_cutoffs_are_counted() -> None:
    """Scores 3 2 2 1 1: a list of two cuts a tie, lists of one, three and five do not, one of four does."""
    split = _given(("a", "i1", 1), ("a", "i2", 2), ("a", "i3", 3))
    lists = next_event_lists(Fixed((9, 3, 2, 2, 1, 1)), split, 5, popularity=POPULARITY)
    assert lists.rows.tolist() == [[1, 2, 3, 4, 5]] * 2
    found = [quality.tied_cutoffs for quality in qualities(lists, split, [1, 2, 3, 4, 5])]
    assert found == [0, 2, 0, 2, 0]


def test_equal_scores_of_what_may_not_be_listed_are_no_tie() -> None:
    """Two items are listed and three have a score of -inf: the list has ended, nothing was cut."""
    split = _given(("a", "i1", 1), ("a", "i2", 2))
    system = Fixed((0, 1, 1, -np.inf, -np.inf, -np.inf))
    lists = next_event_lists(system, split, 4, popularity=POPULARITY)
    assert lists.tied.tolist() == [[True, False, False, False]]


def _announced() -> Split:
    """Five items trained on, then two that were announced: "newa" and "newb", rows 6 and 7."""
    events = [("a", "i1", 7), ("a", "newb", 8), ("a", "newa", 9), ("a", "i2", 10)]
    frame = pl.concat([TRAIN, _frame(*events)])
    return split_by_time(frame, train_share=5 / 9, candidates=Candidates(announced=True))


def test_new_items_that_were_announced_can_be_hit() -> None:
    """Of four targets two are cold; a list of rows 1, 6 and 7 holds both and one other."""
    split = _announced()
    lists = next_event_lists(Fixed((0, 3, 0, 0, 0, 0, 2, 1)), split, 3, popularity=np.zeros(8, np.float32))
    item, cold = qualities(lists, split, [3])
    assert cold.level == COLD
    assert item.prediction_accuracy == pytest.approx(3 / 4)
    assert item.cold_share == pytest.approx(2 / 3)
    assert cold.prediction_accuracy == pytest.approx(2 / 2)
    assert cold.mrr == pytest.approx((1 / 3 + 1 / 2) / 2)  # newb stands third and newa second
    assert math.isnan(cold.recall)


def test_next_day_compares_all_lists_at_the_cut_with_what_was_bought_within_a_day() -> None:
    """Three users have a history; of the lists of two, one pair of the two bought the day after is right."""
    day_s = 86_400
    past = _frame(("a", "i1", 1), ("b", "i2", 2), ("c", "i3", 3))
    bought = _frame(("a", "i1", 10), ("new", "i2", 11), ("b", "i3", 10 + day_s)).with_columns(
        behavior=pl.lit(3, pl.Int8)
    )
    clicked = _frame(("c", "i3", 12))
    split = split_by_time(pl.concat([past, bought, clicked]), train_share=3 / 7)
    system = Fixed((0, 2, 1, 0.5))
    users, lists = lists_at_cut(system, split, 2, popularity=np.zeros(4, np.float32))
    assert (users.tolist(), lists.rows.tolist()) == ([0, 1, 2], [[1, 2]] * 3)
    figures = next_day_figures(users, lists, split, 2)
    assert figures["next_day_precision"] == pytest.approx(1 / 6)
    assert figures["next_day_recall"] == pytest.approx(1 / 2)
    assert figures["next_day_f1"] == pytest.approx(2 * (1 / 6) * (1 / 2) / (1 / 6 + 1 / 2))


def test_figure_that_was_not_measured_is_no_number() -> None:
    """A quality of which only the level is known holds nothing but NaN."""
    values = list(Quality(ITEM, 5).as_report().values())[2:]
    assert all(math.isnan(value) for value in values)
