"""Weights under which what people did next is most likely: a conditional logit (McFadden 1974).

Axes: E examples (a target and an item that came into question for it), F features.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Positions = NDArray[np.intp]

_LEAST = 1e-300  # no share is taken as less, so that each has a logarithm
_FARTHEST = 500.0  # no weight is farther from 0
_LINES_AT_ONCE = 1 << 16  # of features, in float64


class Examples(NamedTuple):
    """The items that came into question, target after target."""

    features: Floats  # (E, F)
    right: Flags  # (E,) which of them was the target; at most one of each target's
    kin: Flags  # (E,) which of them are of the target's category
    begins: Positions  # where each target's begin

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many items came into question for each target."""
        return np.diff(self.begins, append=len(self.right))

    def among(self, chosen: Flags) -> "Examples":
        """Without the items that are not ``chosen`` (E,), and without targets of which none is left."""
        begins, _ = begins_among(chosen, self.begins)
        return Examples(self.features[chosen], self.right[chosen], self.kin[chosen], begins)

    @classmethod
    def joined(cls, parts: Sequence["Examples"]) -> "Examples":
        """All of them, one part after another."""
        *columns, begins = zip(*parts, strict=True)
        features, right, kin = (np.concatenate(column) for column in columns)
        return cls(features, right, kin, joined_begins(begins, [len(part.right) for part in parts]))


def joined_begins(begins: Sequence[Positions], sizes: Sequence[int]) -> Positions:
    """Where each target's examples begin once parts of so many examples stand one after another."""
    before = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([part + size for part, size in zip(begins, before, strict=True)])


def begins_among(chosen: Flags, begins: Positions) -> tuple[Positions, Flags]:
    """Where they begin among the ``chosen`` (E,) alone, and which targets have any of these left (T,)."""
    left = np.add.reduceat(chosen, begins, dtype=np.intp)
    some = left > 0
    return (np.cumsum(left) - left)[some], some


def most_likely(examples: Examples, penalty: float) -> NDArray[np.float64]:
    """(F,) the weights under which the targets and their categories are most likely, alike in weight.

    That of the first feature is above 0. A target that is not among its items tells of its category
    alone, and one without a category of itself.
    """
    deviation = _deviation(examples.features) + 1e-6
    features = np.empty_like(examples.features)
    for part in _parts(len(features)):
        features[part] = examples.features[part] / deviation
    begins, sizes = examples.begins, examples.sizes
    wanted = [(one, np.logical_or.reduceat(one, begins)) for one in (examples.right, examples.kin)]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = (features @ weights.astype(np.float32)).astype(np.float64)  # (E,)
        share = np.exp(scores - np.repeat(np.maximum.reduceat(scores, begins), sizes))
        total = np.add.reduceat(share, begins)
        lost, slope = 0.0, np.zeros_like(share)
        for one, some in wanted:
            meant = share * one
            inside = np.maximum(np.add.reduceat(meant, begins), _LEAST)
            lost += float(np.log(total[some] / inside[some]).sum())
            slope += share * np.repeat(some / total, sizes) - meant * np.repeat(some / inside, sizes)
        towards = (slope.astype(np.float32) @ features).astype(np.float64)
        return lost + penalty * float(weights @ weights) / 2, towards + penalty * weights

    bounds = [(1e-3, None), *((None, None) for _ in deviation[1:])]
    begin = np.eye(1, len(deviation))[0]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x
    weights: NDArray[np.float64] = found / deviation
    return weights


def _deviation(features: Floats) -> NDArray[np.float64]:
    """(F,) the standard deviation of each feature; numpy's own takes twice the room of the features."""
    mean = features.mean(0, dtype=np.float64)
    total = np.zeros_like(mean)
    for part in _parts(len(features)):
        squares = np.square(features[part] - mean)
        squares[0] += total  # so that all are added up in their order, however many at a time
        total = squares.sum(0)
    deviation: NDArray[np.float64] = np.sqrt(total / len(features))
    return deviation


def _parts(count: int) -> Iterator[slice]:
    """So many lines, some at a time."""
    for begin in range(0, count, _LINES_AT_ONCE):
        yield slice(begin, begin + _LINES_AT_ONCE)


def weight_of_some(scores: NDArray[np.float64], examples: Examples, chosen: Flags, penalty: float) -> float:
    """What added to the ``scores`` (E,) of the ``chosen`` items makes the targets most likely."""
    begins = examples.begins
    share = np.exp(scores - np.repeat(np.maximum.reduceat(scores, begins), examples.sizes))
    some = np.logical_or.reduceat(examples.right, begins)
    inside = np.add.reduceat(share * chosen, begins)[some]
    outside = np.add.reduceat(share * ~chosen, begins)[some]
    taken = np.count_nonzero(examples.right & chosen)

    def slope(weight: float) -> float:
        odds = inside * np.exp(weight)
        return float((odds / (odds + outside)).sum() - taken + penalty * weight)

    return float(brentq(slope, -_FARTHEST, _FARTHEST))
