"""Events of frames in event-time order, in memory and through sorted runs."""

import polars as pl
import pytest

from stream.ordering import ROW, in_time_order


def frames(times: list[int], *, size: int) -> list[pl.DataFrame]:
    """Frames of at most ``size`` events with the given times, numbered as users from 1."""
    users = [str(row) for row in range(1, len(times) + 1)]
    whole = pl.DataFrame(
        {"user_id": users, "timestamp": times}, schema={"user_id": pl.String, "timestamp": pl.Int64}
    )
    return list(whole.iter_slices(size))


@pytest.mark.parametrize("memory_rows", [3, 10, 250, 10_000])
@pytest.mark.parametrize("spread", [1, 7, 900])
def test_order_is_the_same_with_little_memory(memory_rows, spread):
    """By time, then as they came, whether or not the events fit in memory; none lost, none twice."""
    times = [(row * 7919) % 1_009 % spread for row in range(1_000)]
    got = list(in_time_order(frames(times, size=64), memory_rows=memory_rows))
    expected = sorted((time, row) for row, time in enumerate(times, start=1))
    assert pl.concat(got).select("timestamp", ROW).rows() == expected
    assert pl.concat(got)["user_id"].to_list() == [str(row) for _, row in expected]


def test_memory_is_bounded():
    """No frame holds much more than asked when the times differ."""
    times = [(row * 7919) % 1_009 for row in range(1_009)]
    got = list(in_time_order(frames(times, size=50), memory_rows=100))
    assert len(got) > 5
    assert max(frame.height for frame in got) < 300


def test_nothing_gives_nothing():
    """No frames are no error here; the reader of the file has its own word on that."""
    assert list(in_time_order([])) == []
