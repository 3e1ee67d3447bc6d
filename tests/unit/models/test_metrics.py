"""Every figure, worked by hand."""

import math

import numpy as np
import pytest

from models.metrics import (
    Overlap,
    catalogue_coverage,
    category_lists,
    hit_rate,
    mean_ndcg,
    mean_reciprocal_rank,
    overlap,
    places,
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
    assert hit_rate(found) == pytest.approx(2 / 3)
    assert mean_reciprocal_rank(found) == pytest.approx((1 / 2 + 0 + 1 / 3) / 3)
    assert mean_ndcg(found) == pytest.approx((1 / math.log2(3) + 0 + 1 / math.log2(4)) / 3)


def test_figures_of_nothing_are_no_number() -> None:
    """Without a target there is no mean, and without lists no share."""
    nothing = np.zeros(0, np.int64)
    assert math.isnan(hit_rate(nothing))
    assert math.isnan(Overlap(0, 0, 0).precision)
    assert math.isnan(Overlap(0, 0, 0).recall)


def test_accuracy_and_recall_are_micro_averages() -> None:
    """User 0 lists 3 and did {3, 5}; user 1 lists 2 and did {9, 10, 11, 12}; repeats count once."""
    user = np.array([0, 0, 0, 1, 1, 1, 1])
    done = np.array([3, 5, 3, 9, 10, 11, 12])
    common = overlap(LISTS[:2], user, done)
    assert common == Overlap(shared=2 + 0, listed=3 + 2, wanted=2 + 4)
    assert common.precision == pytest.approx(2 / 5)
    assert common.recall == pytest.approx(2 / 6)


def test_same_item_of_another_user_is_not_shared() -> None:
    """Sums are over users: what one was shown does not help another."""
    lists = np.array([[1], [2]], np.int32)
    assert overlap(lists, np.array([0, 1]), np.array([2, 1])).shared == 0


def test_categories_stand_once_in_order_of_first_appearance() -> None:
    """Items 1 and 3 share category 7, item 2 has none and item 4 is of category 6."""
    item_category = np.array([0, 7, 0, 7, 6], np.int32)
    lists = np.array([[3, 2, 1, 4], [4, -1, -1, -1]], np.int32)
    assert category_lists(lists, item_category).tolist() == [[7, 6, -1, -1], [6, -1, -1, -1]]


def test_catalogue_coverage_counts_items_once() -> None:
    """Six of ten candidates are listed, one of them three times."""
    assert catalogue_coverage(LISTS, 10) == pytest.approx(len({5, 3, 8, 2, 7, 6}) / 10)
