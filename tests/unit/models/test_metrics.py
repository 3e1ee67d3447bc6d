"""Every figure, worked by hand."""

import math

import numpy as np
import pytest

from models.metrics import (
    Ratio,
    catalogue_coverage,
    category_lists,
    discounted_gains,
    f1,
    hits,
    mean_by_user,
    overlap,
    places,
    reciprocal_ranks,
)

LISTS = np.array([[5, 3, 8], [2, 5, -1], [7, 6, 5]], np.int32)
TARGETS = np.array([3, 9, 5], np.int32)


def test_place_of_each_target() -> None:
    """Places count from 1; 0 is a miss."""
    assert places(LISTS, TARGETS).tolist() == [2, 0, 3]


def test_padding_is_no_hit() -> None:
    """A list that has ended holds nothing, an unknown target (row 0) included."""
    assert places(np.array([[-1, -1]], np.int32), np.array([0])).tolist() == [0]


def test_figures_of_next_events() -> None:
    """Hits at places 2 and 3, and one miss."""
    found = places(LISTS, TARGETS)
    assert hits(found).tolist() == [1, 0, 1]
    assert reciprocal_ranks(found).tolist() == [1 / 2, 0, 1 / 3]
    assert discounted_gains(found).tolist() == [1 / math.log2(3), 0, 1 / math.log2(4)]


def test_mean_is_kept_as_sums_of_each_user() -> None:
    """User 0 has two targets and user 2 one; user 1 has none, which changes no mean."""
    mean = mean_by_user(np.array([1.0, 0.5, 0.25]), np.array([0, 0, 2]), 3)
    assert mean.above.tolist() == [1 + 0.5, 0, 0.25]
    assert mean.below.tolist() == [2, 0, 1]
    assert mean.value == pytest.approx((1 + 0.5 + 0.25) / 3)


def test_figures_of_nothing_are_no_number() -> None:
    """Without a target there is no mean, and without lists no share."""
    assert math.isnan(Ratio(np.zeros(2), np.zeros(2)).value)
    assert math.isnan(Ratio(np.zeros(0), np.zeros(0)).value)


def test_f1_is_the_harmonic_mean() -> None:
    """Half and a quarter give a third; nothing right is nothing."""
    assert f1(1 / 2, 1 / 4) == pytest.approx(2 / (2 + 4))
    assert f1(0, 0) == 0
    assert math.isnan(f1(math.nan, 0))


def test_accuracy_and_recall_are_micro_averages() -> None:
    """User 0 lists 3 and did {3, 5}; user 1 lists 2 and did {9, 10, 11, 12}; repeats count once."""
    user = np.array([0, 0, 0, 1, 1, 1, 1])
    done = np.array([3, 5, 3, 9, 10, 11, 12])
    common = overlap(LISTS[:2], user, done)
    assert [side.tolist() for side in common] == [[2, 0], [3, 2], [2, 4]]
    assert common.precision.value == pytest.approx((2 + 0) / (3 + 2))
    assert common.recall.value == pytest.approx((2 + 0) / (2 + 4))


def test_same_item_of_another_user_is_not_shared() -> None:
    """Sums are over users: what one was shown does not help another."""
    lists = np.array([[1], [2]], np.int32)
    assert overlap(lists, np.array([0, 1]), np.array([2, 1])).shared.tolist() == [0, 0]


def test_categories_stand_once_in_order_of_first_appearance() -> None:
    """Items 1 and 3 share category 7, item 2 has none and item 4 is of category 6."""
    item_category = np.array([0, 7, 0, 7, 6], np.int32)
    lists = np.array([[3, 2, 1, 4], [4, -1, -1, -1]], np.int32)
    assert category_lists(lists, item_category).tolist() == [[7, 6, -1, -1], [6, -1, -1, -1]]


def test_catalogue_coverage_counts_items_once() -> None:
    """Six of ten candidates are listed, one of them three times."""
    assert catalogue_coverage(LISTS, 10) == pytest.approx(len({5, 3, 8, 2, 7, 6}) / 10)
