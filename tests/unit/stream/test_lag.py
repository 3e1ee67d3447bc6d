"""The lag of a partition, from what the broker says of its offsets."""

from stream.consumer_thread import lag


def test_lag_is_what_follows_the_committed_offset():
    """Offsets 7, 8 and 9 of ten records wait."""
    assert lag(10, first=0, committed=7) == 10 - 7


def test_lag_of_what_nobody_committed_is_all_that_is_kept():
    """A new group begins at the oldest record."""
    assert lag(10, first=4, committed=None) == 10 - 4


def test_records_deleted_before_they_were_read_are_no_lag():
    """Retention was faster than the worker: 3 to 5 are gone, 6 to 9 wait."""
    assert lag(10, first=6, committed=3) == 10 - 6


def test_lag_is_never_negative():
    """The committed offset is asked for a moment before the end, and a topic can be made anew."""
    assert lag(10, first=0, committed=12) == 0
    assert lag(10, first=10, committed=10) == 0
