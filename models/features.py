"""The buckets that times are shown to the network in; training and serving both come here."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Times = TypeVar("Times", Tensor, NDArray[np.int64])

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0

# Doubling from one second to 97 days: what follows within seconds, within the visit, after a
# night and after weeks are different things, and the exact second never matters.
_GAP_BOUNDS_MS = torch.tensor([1000 << power for power in range(24)])  # (24,)
_GAP_BOUNDS_MS_ARRAY = _GAP_BOUNDS_MS.numpy()

N_GAPS = len(_GAP_BOUNDS_MS) + 1
N_HOURS = 24
N_WEEKDAYS = 7


def gap_bucket(gap_ms: Times) -> Times:
    """Bucket 0 .. N_GAPS - 1 of the time since the previous event, which is int64 milliseconds.

    Compared as integers: a logarithm could fall on either side of a bound from one call to the next.
    """
    if isinstance(gap_ms, Tensor):
        return torch.bucketize(gap_ms.contiguous(), _GAP_BOUNDS_MS, right=True)
    return _GAP_BOUNDS_MS_ARRAY.searchsorted(gap_ms, side="right")


def hour_bucket(time_ms: Times) -> Times:
    """Hour of the day in UTC, 0 .. 23, of an event time in milliseconds since the epoch."""
    return time_ms // HOUR_MS % N_HOURS


def weekday_bucket(time_ms: Times) -> Times:
    """Day of the week in UTC, 0 (Monday) .. 6, of an event time in milliseconds since the epoch."""
    return (time_ms // DAY_MS + EPOCH_WEEKDAY) % N_WEEKDAYS
