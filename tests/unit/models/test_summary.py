"""Means over seeds and windows, and who is compared with whom."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from models.quality import ITEM, Quality
from models.summary import Run, differences, mean_of, mean_quality

KEY = (ITEM, 5, "prediction_accuracy")


def _run(
    system: str, seed: int | None, hit: float, *, window: int = 1, draws: Sequence[float] = (0.0,)
) -> Run:
    return Run(system, window, seed, [Quality(ITEM, 5, hit)], {KEY: np.array(draws)}, 0.0, 0.0)


def test_mean_over_windows_and_seeds() -> None:
    """Each seed's figure is its mean over the windows; the deviation is that of the seeds."""
    runs = [
        _run("gru", seed, hit, window=window)
        for seed, window, hit in ((1, 1, 0.2), (1, 2, 0.4), (2, 1, 0.4), (2, 2, 0.6))
    ]
    mean = mean_of(runs, "gru", KEY)
    assert mean.mean == pytest.approx((0.2 + 0.4 + 0.4 + 0.6) / 4)
    assert mean.by_seed == pytest.approx({1: 0.3, 2: 0.5})
    assert mean.deviation == pytest.approx(math.sqrt((0.1**2 + 0.1**2) / 1))
    quality = mean_quality(runs, "gru", ITEM, 5)
    assert quality.prediction_accuracy == pytest.approx(0.4)
    assert math.isnan(quality.mrr)


def test_one_seed_has_no_deviation() -> None:
    """A system of which nothing is drawn is run once."""
    assert math.isnan(mean_of([_run("item-cf", None, 0.5)], "item-cf", KEY).deviation)


def test_each_system_is_beside_the_best_of_the_others() -> None:
    """The best is beside the second, the others are beside the best, draw by draw."""
    runs = [
        _run("a", None, 0.5, draws=[0.5, 0.6]),
        _run("b", 1, 0.3, draws=[0.1, 0.2]),
        _run("b", 2, 0.5, draws=[0.5, 0.6]),
        _run("c", None, 0.1, draws=[0.1, 0.1]),
    ]
    found = {one.system: one for one in differences(runs)}
    assert {name: one.reference for name, one in found.items()} == {"a": "b", "b": "a", "c": "a"}
    assert found["a"].difference == pytest.approx(0.5 - (0.3 + 0.5) / 2)
    assert found["a"].interval == pytest.approx((0.2, 0.2))  # 0.5 - mean(0.1, 0.5) and 0.6 - mean(0.2, 0.6)
    assert found["c"].interval == pytest.approx((-0.4 - 0.975 * 0.1, -0.4 - 0.025 * 0.1))


def test_reference_is_what_the_others_are_beside() -> None:
    """The reference itself is beside nothing."""
    runs = [_run(name, None, hit) for name, hit in (("a", 0.5), ("b", 0.3), ("c", 0.1))]
    assert [(one.system, one.reference) for one in differences(runs, "c")] == [("a", "c"), ("b", "c")]


def test_figure_that_a_system_has_not_is_compared_with_nothing() -> None:
    """Of two systems only one has hit rates, and no other figure was measured."""
    assert list(differences([_run("a", None, 0.5), _run("b", None, math.nan)])) == []
