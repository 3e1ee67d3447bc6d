"""What the samples of a soak say: how memory goes on, apart from what new users account for."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

HOUR_S = 3_600.0


class Sample(NamedTuple):
    """A worker at a moment: seconds since the first event, its memory, and what its metrics say."""

    at_s: float
    resident_bytes: int
    state_users: int
    lag: int
    sent: int
    counted: int
    lists: int
    swaps: int


def net_bytes(samples: Sequence[Sample], bytes_per_user: float) -> list[float]:
    """Return the resident memory of each sample without that of its users."""
    return [sample.resident_bytes - sample.state_users * bytes_per_user for sample in samples]


def growth_per_hour(samples: Sequence[Sample], bytes_per_user: float) -> float:
    """Return how fast the net memory grew over the second half of the time, in bytes an hour.

    It is the median of the slopes between all pairs of samples (Theil and Sen), which a few samples
    in the middle of a change of weights do not move.
    """
    begin_s = (samples[0].at_s + samples[-1].at_s) / 2
    half = [sample for sample in samples if sample.at_s >= begin_s]
    if len(half) < 2:
        raise ValueError(f"{len(samples)} samples have no trend; take more")
    points = zip((sample.at_s for sample in half), net_bytes(half, bytes_per_user), strict=True)
    slopes = [(to - of) / (later_s - at_s) for (at_s, of), (later_s, to) in combinations(points, 2)]
    return median(slopes) * HOUR_S


def rates(samples: Sequence[Sample]) -> list[float]:
    """Return the events counted a second before each sample but the first."""
    return [
        (after.counted - before.counted) / (after.at_s - before.at_s) for before, after in pairwise(samples)
    ]
