"""Times become buckets."""

import torch

from models.features import N_GAPS, gap_bucket, hour_bucket, weekday_bucket

HOUR_MS = 3_600_000


def test_gaps_double_from_bucket_to_bucket() -> None:
    """A bound belongs to the bucket it begins; what is longer than the last stays in the last."""
    gaps = torch.tensor([0, 999, 1000, 1999, 2000, 4000, 10**15])
    assert gap_bucket(gaps).tolist() == [0, 0, 1, 1, 2, 3, N_GAPS - 1]


def test_hours_and_weekdays_are_those_of_utc() -> None:
    """1 January 1970 was a Thursday; the moment before it was Wednesday's last hour."""
    times = torch.tensor([0, HOUR_MS - 1, HOUR_MS, 24 * HOUR_MS, -1])
    assert hour_bucket(times).tolist() == [0, 0, 1, 0, 23]
    assert weekday_bucket(times).tolist() == [3, 3, 3, 4, 2]


def test_a_known_date_has_its_weekday() -> None:
    """24 November 2017, 17:21:10 UTC, the first event of the Taobao file, was a Friday."""
    time_ms = torch.tensor([1_511_544_070_000])
    assert (hour_bucket(time_ms).item(), weekday_bucket(time_ms).item()) == (17, 4)
