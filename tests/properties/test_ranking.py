"""The ranking equals its plain form on whatever Hypothesis finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.ranking import CHUNK, FEW_LINES, top_n, top_n_plain

# Few different values, so that most lines are full of ties, or values of which hardly two are equal.
TIED = st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 1.0, 1e-30, 3.0])
APART = st.floats(-1e3, 1e3, width=32)


@st.composite
def _rankings(draw: st.DrawFn) -> tuple[np.ndarray, int, dict]:
    lines, width = draw(st.integers(1, 2 * FEW_LINES)), draw(st.integers(1, 400))
    values = draw(st.sampled_from([TIED, APART]))
    scores = draw(arrays.arrays(np.float32, (lines, width), elements=values, fill=TIED))
    rows = st.lists(st.integers(0, width - 1), max_size=8)
    categories = draw(arrays.arrays(np.int32, width, elements=st.integers(0, 3)))
    return (
        scores,
        draw(st.integers(0, 30)),
        {
            "available": draw(st.none() | arrays.arrays(np.bool_, width)),
            "exclude": draw(
                st.none()
                | st.lists(rows.map(lambda r: np.array(r, np.int64)), min_size=lines, max_size=lines)
            ),
            "categories": draw(st.sampled_from([None, categories])),
            "max_per_category": draw(st.integers(0, 3)),
        },
    )


@settings(max_examples=200, deadline=None)
@given(_rankings())
def test_partial_selection_equals_sorting(ranking: tuple[np.ndarray, int, dict]) -> None:
    """Chunks, keys and caps list exactly what sorting everything lists."""
    scores, n, rules = ranking
    rows, best = top_n(scores, n, **rules)
    plain_rows, plain_best = top_n_plain(scores, n, **rules)
    np.testing.assert_array_equal(rows, plain_rows)
    np.testing.assert_array_equal(best, plain_best)


@st.composite
def _sparse(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Lines of many chunks that hold one score but for a few rows above or below it, or never listed."""
    lines, width = draw(st.integers(1, 2 * FEW_LINES)), draw(st.integers(20 * CHUNK, 40 * CHUNK))
    scores = np.full((lines, width), draw(st.sampled_from([-1.0, 0.0, 3.0])), np.float32)
    rows = st.lists(st.integers(0, width - 1), max_size=40, unique=True)
    for line in scores:
        others = draw(rows)
        values = st.lists(TIED, min_size=len(others), max_size=len(others))
        line[others] = draw(values)
    return scores, draw(st.integers(1, 30))


@settings(max_examples=100, deadline=None)
@given(_sparse())
def test_ties_of_nearly_all_rows_equal_sorting(ranking: tuple[np.ndarray, int]) -> None:
    """Where one score fills many chunks, the few above it come first and then its lowest rows."""
    scores, n = ranking
    rows, best = top_n(scores, n)
    plain_rows, plain_best = top_n_plain(scores, n)
    np.testing.assert_array_equal(rows, plain_rows)
    np.testing.assert_array_equal(best, plain_best)
