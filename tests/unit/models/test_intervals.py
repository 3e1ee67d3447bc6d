"""Intervals: draws of users, paired between systems."""

import numpy as np
import pytest

from models.intervals import interval_of, resampled
from models.metrics import Ratio


def _ratio(values: np.ndarray, *, each: int = 1) -> Ratio:
    """A mean over users with so many targets of equal value each."""
    return Ratio(values * each, np.full(len(values), float(each)))


def test_draws_scatter_as_the_standard_error() -> None:
    """A mean of 400 users with a deviation of 1 scatters with about 1 / sqrt(400)."""
    values = np.random.default_rng(3).normal(size=400)
    drawn = resampled({"x": _ratio(values)}, resamples=2000)["x"]
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.005)
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.08)


def test_users_are_drawn_and_not_events() -> None:
    """A hundred equal events of each user tell no more than one of each."""
    values = np.random.default_rng(4).normal(size=50)
    one, hundred = (resampled({"x": _ratio(values, each=each)})["x"] for each in (1, 100))
    np.testing.assert_allclose(one, hundred)


def test_draws_are_the_same_for_every_system() -> None:
    """A system that is better by a constant for every user is better by it in every draw."""
    values = np.random.default_rng(5).normal(size=50)
    first, second = (resampled({"x": _ratio(system)})["x"] for system in (values, values + 0.25))
    np.testing.assert_allclose(second - first, 0.25)
    interval = interval_of(second - first)
    assert interval == pytest.approx((0.25, 0.25))
    assert interval.excludes_zero


def test_draws_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few users at a time or all: the same draws."""
    ratios = {"x": _ratio(np.arange(20.0)), "y": Ratio(np.arange(20.0), np.arange(20.0) + 1)}
    whole = resampled(ratios, resamples=40)
    monkeypatch.setattr("models.intervals._DRAWN_AT_ONCE", 60)
    parts = resampled(ratios, resamples=40)
    for name, drawn in whole.items():
        np.testing.assert_allclose(parts[name], drawn)


def test_interval_is_the_middle_of_the_draws() -> None:
    """Of 0, 1 .. 1000 the middle 95 % goes from 25 to 975; an interval around 0 does not exclude it."""
    assert interval_of(np.arange(1001.0)) == pytest.approx((25, 975))
    assert not interval_of(np.arange(1001.0) - 500).excludes_zero


def test_nothing_measured_has_no_interval() -> None:
    """Draws in which nothing was measured are left out; if all are, there is no interval."""
    drawn = resampled({"x": Ratio(np.zeros(3), np.zeros(3))}, resamples=5)["x"]
    assert np.isnan(drawn).all()
    interval = interval_of(drawn)
    assert np.isnan(interval).all()
    assert not interval.excludes_zero


def test_one_user_says_nothing_of_others() -> None:
    """There is no interval, where drawing the one user again and again would give one without width."""
    assert np.isnan(resampled({"x": _ratio(np.ones(1), each=9)})["x"]).all()
