"""What is learnt from, what is foretold, and that nothing of the second reaches the first."""

import numpy as np
import polars as pl
import pytest

from models.cleaning import CleaningRule
from models.errors import EvaluationError
from models.splits import Candidates, Split, split_as_given, split_by_time, split_into_windows


def _frame(*events: tuple[str, str, int], category: str | None = None) -> pl.DataFrame:
    """Events (user, item, second), all clicks."""
    users, items, seconds = zip(*events, strict=True) if events else ((), (), ())
    return pl.DataFrame(
        {
            "user_id": pl.Series(users, dtype=pl.String),
            "item_id": pl.Series(items, dtype=pl.String),
            "category_id": pl.Series([category] * len(users), dtype=pl.String),
            "behavior": pl.Series([0] * len(users), dtype=pl.Int8),
            "timestamp": pl.Series([second * 1000 + 1 for second in seconds], dtype=pl.Int64),
        }
    )


def _sequences(split: Split) -> list[tuple[int, int]]:
    """Events before, and targets, of each user."""
    return list(zip((split.begin - split.first).tolist(), (split.end - split.begin).tolist(), strict=True))


TEN = _frame(
    *[("a", f"i{number}", number) for number in (0, 1, 2, 9)],
    *[("b", f"i{number}", number) for number in (3, 4, 5, 6)],
    ("c", "new", 8),
    ("c", "i1", 9),
)


def test_cut_in_time_is_the_same_for_everyone() -> None:
    """Eight of ten events lie before the cut; a keeps its history, b has no target, c no history."""
    split = split_by_time(TEN.filter(pl.col("timestamp") > 0), train_share=0.7)
    assert len(split.train) == 7
    assert _sequences(split) == [(3, 1), (0, 2)]
    assert split.n_targets == 3


def test_vocabulary_is_of_the_training_events() -> None:
    """An item that comes up only later is no candidate, and the systems see it as unknown."""
    split = split_by_time(TEN, train_share=0.7)
    assert split.candidates == 7
    assert split.vocabulary.item_row("new") == 0
    targets = [position for b, e in zip(split.begin, split.end, strict=True) for position in range(b, e)]
    assert 0 in split.log.item[targets]
    assert np.all(split.item[targets] > 0)
    assert split.item[targets].max() >= split.vocabulary.n_items


def test_known_items_only_drops_the_rest_and_counts_them() -> None:
    """The two test events of unknown items go; the third stays."""
    split = split_by_time(TEN, train_share=0.7, known_items_only=True)
    assert split.dropped == 2
    assert _sequences(split) == [(0, 1)]


def test_given_split_foretells_all_but_the_first_of_each_sequence() -> None:
    """Sequences of one event foretell nothing, and training events of the same id are not looked at."""
    train = _frame(("s", "x", 0), ("s", "y", 1), ("t", "z", 1))
    test = _frame(("s", "x", 5), ("s", "z", 6), ("u", "x", 5), ("v", "y", 5), ("v", "q", 6), ("v", "z", 7))
    assert _sequences(split_as_given(train, test)) == [(1, 1), (1, 2)]
    split = split_as_given(train, test, known_items_only=True)
    assert (_sequences(split), split.dropped) == ([(1, 1), (1, 1)], 1)


def test_unknown_items_of_known_categories_keep_their_category() -> None:
    """At category level a new item can be foretold, by the row its category has in training."""
    train = _frame(("a", "x", 0), ("a", "y", 1), category="shoes")
    split = split_as_given(train, _frame(("b", "x", 2), ("b", "new", 3), category="shoes"))
    row = split.vocabulary.category_row("shoes")
    assert split.category.tolist() == [row, row]
    assert split.log.category.tolist() == [row, row]
    assert split.log.item.tolist() == [1, 0]


def test_suspicious_users_are_left_out_before_the_cut() -> None:
    """A robot's events are neither learnt from nor foretold."""
    robot = [("robot", "i0", second) for second in range(10)]
    frame = pl.concat([TEN, _frame(*robot)])
    rule = CleaningRule(max_clicks_per_day=9, clicks_per_purchase=1)
    split = split_by_time(frame, train_share=0.7, cleaning=rule)
    assert (split.suspicious, len(split.train), split.n_targets) == (1, 7, 3)


def test_windows_foretell_each_part_from_those_before_it() -> None:
    """Nine events in three parts: two windows of three targets, learnt from three events and from six."""
    nine = _frame(*[("a", f"i{number}", number) for number in range(1, 10)])
    first, second = split_into_windows(nine, windows=2)
    assert [(len(split.train), split.n_targets) for split in (first, second)] == [(3, 3), (6, 3)]
    assert first.log.time_ms.max() < second.cut_ms == second.log.time_ms[6]
    assert first.words.startswith("window 1 of 2")


def test_some_users_are_drawn_and_said() -> None:
    """One of two users: always the same one, with all its targets, learnt from the same events."""
    split = split_by_time(TEN, train_share=0.7)
    (before, targets), *others = _sequences(split.of_some_users(1))
    assert (before, targets) in _sequences(split)
    assert not others
    assert split.of_some_users(1).words.endswith("; 1 of 2 users drawn")
    assert _sequences(split.of_some_users(1)) == _sequences(split.of_some_users(1))
    assert split.of_some_users(2) is split


def test_announced_items_are_candidates_in_the_order_of_their_ids() -> None:
    """The later items come after those trained on, whatever the order in which they are wanted."""
    frame = _frame(("a", "x", 1), ("a", "y", 2), ("a", "q2", 3), ("a", "q1", 4), category="shoes")
    split = split_by_time(frame, train_share=0.5, candidates=Candidates(announced=True))
    assert split.vocabulary.item_ids == ("", "x", "y", "q1", "q2")
    assert split.cold.tolist() == [True, False, False, True, True]
    assert split.log.item.tolist() == split.item.tolist() == [1, 2, 4, 3]
    assert split.vocabulary.item_category.tolist() == [0, 1, 1, 1, 1]


def test_catalogue_adds_candidates() -> None:
    """An item of a catalogue can be listed though no event names it, and leaves other later items unknown."""
    items = pl.DataFrame({"item_id": ["x", "z"], "category_id": ["shoes", "hats"]})
    frame = _frame(("a", "x", 1), ("a", "y", 2), ("a", "new", 3))
    split = split_by_time(frame, train_share=0.7, candidates=Candidates(items))
    assert split.vocabulary.item_ids == ("", "x", "y", "z")
    assert split.is_cold(split.item).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: split_by_time(TEN, train_share=1.0), "training share"),
        (lambda: split_by_time(_frame(), train_share=0.5), "no events"),
        (lambda: split_by_time(_frame(("a", "x", 1), ("b", "x", 1)), train_share=0.5), "the same time"),
        (lambda: split_by_time(_frame(("a", "x", 1), ("a", "x", 1), ("a", "x", 2)), train_share=0.3), "cut"),
        (
            lambda: split_by_time(
                _frame(("a", "x", 1), ("a", "y", 2)), train_share=0.5, known_items_only=True
            ),
            "known from before",
        ),
        (lambda: split_into_windows(TEN, windows=0), "windows is 0"),
        (lambda: split_into_windows(_frame(("a", "x", 1), ("a", "y", 2)), windows=3), "give fewer"),
        (lambda: split_as_given(_frame(), TEN), "training events are empty"),
        (lambda: split_as_given(TEN, _frame(("a", "i0", 1))), "nothing to foretell"),
        (lambda: split_as_given(TEN, _frame()), "nothing to foretell"),
    ],
)
def test_nothing_to_score_is_said_in_one_line(make: object, words: str) -> None:
    """Each empty side has its own error."""
    with pytest.raises(EvaluationError, match=words) as failure:
        make()  # type: ignore[operator]  # a function of the table above
    assert "\n" not in str(failure.value)


def test_rsc15_has_the_known_count_of_predictions(shared_data: object) -> None:
    """The usual protocol on rsc15_100k makes 10,152 predictions."""
    from stream.datasets import load_events

    columns = {"user_id": "SessionId", "item_id": "ItemId", "timestamp": "Time"}
    train, test = (
        load_events(shared_data / "rsc15_100k" / name, columns=columns, time_unit="s")
        for name in ("train_full.tsv.xz", "test.tsv.xz")
    )
    split = split_as_given(train, test, known_items_only=True, cleaning=CleaningRule())
    assert (split.n_targets, split.candidates, split.suspicious) == (10_152, 2_933, 0)


@pytest.mark.parametrize(
    "name", ["taobao_userbehavior_100k.csv.xz", "tianchi_mobile_2k/sample_user_behavior.csv"]
)
def test_published_files_hold_no_suspicious_user(shared_data: object, name: str) -> None:
    """The default rule takes none of the people of the published samples for a robot."""
    from stream.datasets import load_events

    split = split_by_time(load_events(shared_data / name), train_share=0.8, cleaning=CleaningRule())
    assert split.suspicious == 0
