"""The one ranking, on scores small enough to rank by eye and large enough to be cut into chunks."""

import numpy as np
import pytest

from models import ranking
from models.compiled import kernels
from models.ranking import CHUNK, FEW_COLUMNS, LOOP_PLACES, times_before, top_n, top_n_plain


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test ranks both ways: by the compiled loop, and as where numba is not installed."""
    if request.param == "numpy":
        monkeypatch.setattr(ranking, "kernels", lambda: None)
    elif kernels() is None:
        pytest.skip("numba is not installed (extra `compiled`)")
    return str(request.param)


def _scores(*lines: list[float]) -> np.ndarray:
    return np.array(lines, np.float32)


def test_best_first_and_never_the_unknown_row() -> None:
    """The highest score leads, and row 0 is not listed however high it scores."""
    rows, scores = top_n(_scores([9.0, 1.0, 3.0, 2.0]), 2)
    assert rows.tolist() == [[2, 3]]
    assert scores.tolist() == [[3.0, 2.0]]
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)


def test_equal_scores_put_the_lower_row_first() -> None:
    """Ties go by row, also at the last place of the list, and minus zero ties with zero."""
    assert top_n(_scores([0, 5, 7, 5, 7, 5]), 4)[0].tolist() == [[2, 4, 1, 3]]
    assert top_n(_scores([0, 0.0, -0.0, 0.0]), 3)[0].tolist() == [[1, 2, 3]]
    assert top_n(_scores([0, -0.0, 0.0, -0.0]), 2)[0].tolist() == [[1, 2]]


def test_ties_across_chunks_put_the_lower_row_first() -> None:
    """With every score equal over many chunks the list is the first rows."""
    rows, _ = top_n(np.zeros((3, 40 * CHUNK + 7), np.float32), 5)
    assert rows.tolist() == [[1, 2, 3, 4, 5]] * 3


def test_zeros_tie_across_chunks_whatever_their_sign() -> None:
    """A chunk of minus zeros comes before the chunks of zeros behind it."""
    scores = np.zeros((2, 40 * CHUNK), np.float32)
    scores[:, :CHUNK] = -0.0
    assert top_n(scores, 5)[0].tolist() == [[1, 2, 3, 4, 5]] * 2


def test_few_above_a_tie_over_chunks_leave_room_for_its_first_rows() -> None:
    """Rows above the tie lead, wherever they stand; the lowest rows of the tie fill the list."""
    scores = np.zeros((6, 40 * CHUNK), np.float32)
    scores[:, [3, 20 * CHUNK, 30 * CHUNK + 5]] = [1, 3, 2]
    scores[:, 1] = -1
    scores[5, 2 : 35 * CHUNK] = -1
    rows, _ = top_n(scores, 6)
    assert rows[:5].tolist() == [[20 * CHUNK, 30 * CHUNK + 5, 3, 2, 4, 5]] * 5
    assert rows[5].tolist() == [35 * CHUNK + place for place in range(6)]


def test_one_long_line_is_ranked_as_by_sorting() -> None:
    """A catalogue too large for the way of few lines, ties among its scores."""
    scores = np.random.default_rng(1).integers(0, 5_000, (1, FEW_COLUMNS + 100)).astype(np.float32)
    rows, best = top_n(scores, 20)
    plain_rows, plain_best = top_n_plain(scores, 20)
    assert rows.tolist() == plain_rows.tolist()
    assert best.tolist() == plain_best.tolist()


def test_list_ends_in_padding_where_fewer_are_left() -> None:
    """Places without a row hold row -1 and score -inf, also when n exceeds the catalogue."""
    rows, scores = top_n(_scores([0, 1, -np.inf, 2]), 5)
    assert rows.tolist() == [[3, 1, -1, -1, -1]]
    assert scores.tolist() == [[2, 1, -np.inf, -np.inf, -np.inf]]


def test_withdrawn_items_are_not_listed() -> None:
    """Only rows marked available come up."""
    available = np.array([True, True, False, True])
    assert top_n(_scores([0, 1, 3, 2]), 3, available=available)[0].tolist() == [[3, 1, -1]]


def test_exclusions_hold_for_their_own_line_only() -> None:
    """What one list leaves out another may hold."""
    rows, _ = top_n(_scores([0, 1, 3, 2], [0, 1, 3, 2]), 2, exclude=[np.array([2]), np.array([], np.int32)])
    assert rows.tolist() == [[3, 1], [2, 3]]


def test_cap_keeps_the_best_of_each_category() -> None:
    """At most so many of a category; places go to the next best of the others."""
    categories = np.array([0, 1, 1, 1, 2, 2], np.int32)
    rows, scores = top_n(_scores([0, 9, 8, 7, 6, 5]), 4, categories=categories, max_per_category=1)
    assert rows.tolist() == [[1, 4, -1, -1]]
    assert scores.tolist() == [[9, 6, -np.inf, -np.inf]]
    rows, _ = top_n(_scores([0, 9, 8, 7, 6, 5]), 4, categories=categories, max_per_category=2)
    assert rows.tolist() == [[1, 2, 4, 5]]


def test_items_without_a_category_are_not_capped() -> None:
    """Category 0 means none, and two items without one have nothing in common."""
    categories = np.array([0, 0, 0, 1, 1], np.int32)
    rows, _ = top_n(_scores([0, 4, 3, 2, 1]), 4, categories=categories, max_per_category=1)
    assert rows.tolist() == [[1, 2, 3, -1]]


def test_cap_looks_as_deep_as_it_must() -> None:
    """One category filling the top 500 places does not leave a list short."""
    scores = np.arange(700, 0, -1, dtype=np.float32)[None, :]
    categories = np.where(np.arange(700) < 500, 1, 2).astype(np.int32)
    rows, _ = top_n(scores, 4, categories=categories, max_per_category=2)
    assert rows.tolist() == [[1, 2, 500, 501]]


def test_many_lines_equal_one_at_a_time() -> None:
    """How many lists are ranked together changes none of them."""
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 50, (700, 900)).astype(np.float32)
    together = top_n(scores, 10)
    alone = [top_n(line[None, :], 10) for line in scores]
    np.testing.assert_array_equal(together[0], np.concatenate([rows for rows, _ in alone]))
    np.testing.assert_array_equal(together[0], top_n_plain(scores, 10)[0])


def test_caller_keeps_the_scores() -> None:
    """The array given is read only."""
    scores = _scores([5, 1, 2])
    scores.flags.writeable = False
    top_n(scores, 1, available=np.array([True, False, True]), exclude=[np.array([2])])
    assert scores.tolist() == [[5, 1, 2]]


def test_score_that_is_no_number_is_refused() -> None:
    """Broken weights stop the ranking instead of filling lists."""
    with pytest.raises(ValueError, match="not a number"):
        top_n(_scores([0, 1, np.nan]), 1)


def test_empty_input_gives_empty_lists() -> None:
    """No users, or no places, is no error."""
    assert top_n(np.zeros((0, 9), np.float32), 3)[0].shape == (0, 3)
    assert top_n(np.zeros((2, 9), np.float32), 0)[0].shape == (2, 0)


def test_times_before_counts_earlier_equals() -> None:
    """Each place tells how often its value came before it."""
    assert times_before(np.array([[3, 5, 3, 3, 5]])).tolist() == [[0, 0, 1, 2, 1]]


def test_lines_may_have_categories_of_their_own():
    """Each line is ranked as alone, with the categories of its own columns."""
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((6, 150)).astype(np.float32)
    categories = rng.integers(0, 4, (6, 150)).astype(np.int32)
    together = top_n(scores, 9, categories=categories, max_per_category=2)
    for line in range(6):
        alone = top_n_plain(scores[line : line + 1], 9, categories=categories[line], max_per_category=2)
        for ours, plain in zip(together, alone, strict=True):
            np.testing.assert_array_equal(ours[line : line + 1], plain)


SCORES = np.array([0.0, -0.0, 1e-40, -1e-40, np.inf, -np.inf, 3, -3, np.finfo(np.float32).min], np.float32)


@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 700, 1300, 5000])
@pytest.mark.parametrize("n", [1, 20, LOOP_PLACES, LOOP_PLACES + 1])
def test_lists_are_those_of_sorting_everything(width: int, n: int):
    """For numbers of all kinds, with and without ties, whatever may not be listed."""
    rng = np.random.default_rng(width + n)
    drawn = rng.standard_normal((4, width)).astype(np.float32)
    for scores in (drawn, np.round(drawn), rng.choice(SCORES, (4, width))):
        available = rng.random(width) < 0.8
        exclude = [rng.integers(0, width, rng.integers(0, 9)) for _ in range(4)]
        for told in ({}, {"available": available}, {"exclude": exclude, "available": available}):
            rows, best = top_n(scores, n, **told)
            plain_rows, plain_best = top_n_plain(scores, n, **told)
            np.testing.assert_array_equal(rows, plain_rows)
            np.testing.assert_array_equal(best, plain_best)
            assert not np.signbit(best[best == 0]).any()


@pytest.mark.parametrize("wrong", [np.nan, -np.float32(np.nan)])
def test_what_is_no_number_is_refused_wherever_it_stands(wrong: float):
    """In a whole chunk and behind the last one, with either sign; not where it may not be listed."""
    for column in (1, CHUNK + 1, 3 * CHUNK + 5):
        scores = np.zeros((2, 3 * CHUNK + 6), np.float32)
        scores[1, column] = wrong
        with pytest.raises(ValueError, match="not a number"):
            top_n(scores, 3)
        barred = [np.array([], np.int32), np.array([column])]
        assert top_n(scores, 3, exclude=barred)[0].shape == (2, 3)


def test_one_line_told_for_all_is_not_copied_for_all(monkeypatch: pytest.MonkeyPatch):
    """Lines that are one in memory are ranked a few at a time, each without what is excluded from it."""
    monkeypatch.setattr(ranking, "_BLOCK_CELLS", 3 * CHUNK)
    scores = np.arange(CHUNK, dtype=np.float32)
    exclude = [np.array([CHUNK - 1 - line]) for line in range(8)]
    rows, _ = top_n(np.broadcast_to(scores, (8, CHUNK)), 2, exclude=exclude)
    np.testing.assert_array_equal(rows, top_n_plain(np.tile(scores, (8, 1)), 2, exclude=exclude)[0])


def test_rows_outside_of_the_scores_are_refused():
    """Nothing is read or barred that is not there."""
    scores = np.ones((2, 10), np.float32)
    for exclude in ([np.array([10]), np.array([1])], [np.array([1])]):
        with pytest.raises((IndexError, ValueError)):
            top_n(scores, 3, exclude=exclude)
    with pytest.raises(IndexError):
        top_n(scores, 3, available=np.zeros(11, np.bool_))
