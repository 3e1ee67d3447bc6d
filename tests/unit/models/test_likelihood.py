"""Weights under which what was seen is most likely, worked by hand."""

import math

import numpy as np
import pytest

from models.likelihood import Examples, most_likely, weight_of_some

# Of two items, one marked, the marked one was taken 3 times in 4.
TARGETS = 400
MARKED = np.tile(np.array([[0, 1], [0, 0]], np.float32), (TARGETS, 1))
TAKEN = np.tile(np.array([True, False, True, False, True, False, False, True]), TARGETS // 4)
NONE = np.zeros(2 * TARGETS, np.bool_)
BEGINS = np.arange(0, 2 * TARGETS, 2)


def test_the_most_likely_weights_give_the_shares_that_were_seen() -> None:
    """The odds of the marked item are 3 to 1, so its weight is log 3."""
    weights = most_likely(Examples(MARKED, TAKEN, NONE, BEGINS), penalty=0.0)
    assert weights[1] == pytest.approx(math.log(3), abs=1e-2)


def test_a_category_is_as_likely_as_its_items_together() -> None:
    """Two marked items are of a category that was taken 4 times in 5: 2 e^w = 4, and each weighs log 2."""
    features = np.tile(np.array([[0, 1], [0, 1], [0, 0]], np.float32), (100, 1))
    kin = np.tile(np.array([[True, True, False]] * 4 + [[False, False, True]]), (20, 1)).ravel()
    examples = Examples(features, np.zeros(300, np.bool_), kin, np.arange(0, 300, 3))
    assert most_likely(examples, penalty=0.0)[1] == pytest.approx(math.log(2), abs=1e-2)


def test_items_and_categories_teach_alike() -> None:
    """Taken 3 times in 4 as an item and 1 in 4 as a category, a mark says nothing."""
    weights = most_likely(Examples(MARKED, TAKEN, ~TAKEN, BEGINS), penalty=0.0)
    assert weights[1] == pytest.approx(0, abs=1e-2)


def test_what_is_not_among_the_items_teaches_nothing() -> None:
    """With the marked items gone one is left of each pair: whatever its weight, it is the one."""
    left = Examples(MARKED, TAKEN, NONE, BEGINS).among(MARKED[:, 1] == 0)
    assert left.begins.tolist() == list(range(TARGETS))
    assert left.right.sum() == TARGETS // 4
    assert most_likely(left, penalty=1.0)[1] == pytest.approx(0, abs=1e-6)


def test_targets_of_which_no_item_is_left_are_gone() -> None:
    """Three targets of two, one and two items: without the third item there is no second target."""
    some = Examples(MARKED[:5], TAKEN[:5], NONE[:5], np.array([0, 2, 3]))
    left = some.among(np.array([True, True, False, True, True]))
    assert left.begins.tolist() == [0, 2]
    assert left.sizes.tolist() == [2, 2]


def test_features_of_any_scale_teach_alike_however_many_are_taken_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The penalty is on features divided by their deviation, which is added up some lines at a time."""
    plain = most_likely(Examples(MARKED, TAKEN, NONE, BEGINS), penalty=1.0)
    monkeypatch.setattr("models.likelihood._LINES_AT_ONCE", 7)
    few = most_likely(Examples(MARKED, TAKEN, NONE, BEGINS), penalty=1.0)
    np.testing.assert_array_equal(few, plain)
    large = most_likely(Examples(MARKED * np.float32(8), TAKEN, NONE, BEGINS), penalty=1.0)
    assert large[1] == pytest.approx(plain[1] / 8, rel=1e-3)


def test_one_weight_is_found_with_the_others_fixed() -> None:
    """Scores already give the marked item odds of 2; log 1.5 more makes them the 3 that were seen."""
    examples = Examples(MARKED, TAKEN, NONE, BEGINS)
    scores = math.log(2) * MARKED[:, 1].astype(np.float64)
    found = weight_of_some(scores, examples, MARKED[:, 1] > 0, penalty=1e-6)
    assert found == pytest.approx(math.log(1.5), abs=1e-4)


def test_parts_are_joined_one_after_another() -> None:
    """The targets of the second part begin where the first ends."""
    one = Examples(MARKED[:4], TAKEN[:4], NONE[:4], np.array([0, 2]))
    both = Examples.joined([one, one])
    assert both.begins.tolist() == [0, 2, 4, 6]
    assert both.right.tolist() == [*TAKEN[:4], *TAKEN[:4]]
