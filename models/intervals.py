"""How sure a difference between systems is: a paired bootstrap that draws users, not events.

A user's events are alike, so drawing events would make intervals too narrow. The same draws are made
for every system, which is what makes a difference paired. (Efron and Tibshirani 1993, chapters 6 and
13; clusters: Field and Welsh 2007.)
"""

from collections.abc import Hashable, Mapping
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.metrics import Ratio

RESAMPLES: Final = 1000
SEED: Final = 1
SURE: Final = 0.95

_DRAWN_AT_ONCE = 1 << 22  # users drawn at a time: 32 MiB

Estimates = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)


class Interval(NamedTuple):
    """The middle 95 % of a difference over all draws."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is not just the choice of users."""
        return self.low > 0 or self.high < 0


def resampled(
    ratios: Mapping[Key, Ratio], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[Key, Estimates]:
    """Each figure (R,) over ``resamples`` draws of as many users with replacement.

    Equal numbers of users, resamples and seeds make the same draws. A draw in which nothing was there to
    be measured is NaN, and so is every one of a single user.
    """
    if not ratios:
        return {}
    if len(next(iter(ratios.values())).above) < 2:  # one user drawn again and again would look certain
        return {key: np.full(resamples, np.nan) for key in ratios}
    sides = [side for ratio in ratios.values() for side in (ratio.above, ratio.below)]
    columns = np.stack(sides, axis=1)  # (U, 2F)
    n_users = len(columns)
    rng = np.random.default_rng(seed)
    size = max(1, _DRAWN_AT_ONCE // max(1, n_users))
    sums = []
    for first in range(0, resamples, size):
        count = min(size, resamples - first)
        drawn = rng.integers(n_users, size=(count, n_users)) + n_users * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * n_users).reshape(count, n_users)
        sums.append(times.astype(np.float64) @ columns)
    above, below = np.concatenate(sums).reshape(resamples, -1, 2).transpose(2, 1, 0)  # (F, R) each
    with np.errstate(invalid="ignore", divide="ignore"):
        return dict(zip(ratios, np.where(below > 0, above / below, np.nan), strict=True))


def interval_of(differences: Estimates) -> Interval:
    """The middle 95 % of differences (R,); NaN of none."""
    known = differences[np.isfinite(differences)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - SURE) / 2, (1 + SURE) / 2])
    return Interval(float(low), float(high))
