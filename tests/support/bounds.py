"""What has to hold after each load of ``tests.support.limits``, whatever its size."""

from tests.support.limits import Burst, Served, Slowed
from tests.support.skew import Skewed

MEGABYTE = 1_000_000
#: What a worker may take beyond what it has when it is ready: eleven batches of at most 20,000 events
#: with their lists, and the users' records at no more than so much each.
BUFFERS_BYTES = 400 * MEGABYTE
#: The same with batches as small as the network's pace makes them.
SLOW_BUFFERS_BYTES = 120 * MEGABYTE
USER_BYTES = 4_000
#: A retained event, its item's id and all that goes with it, and the rest of a record.
EVENT_BYTES, RECORD_BYTES = 100, 4_000


def check_served(served: Served, *, events: int, users: int, segment_events: int) -> None:
    """Every event is applied and has its list; record and memory stay within their bounds."""
    assert served.outcomes == {"applied": events}
    assert served.lists == served.lists_in_topic == events
    assert len(served.state.behaviors) <= 2 * segment_events
    assert served.record_bytes <= RECORD_BYTES + 2 * segment_events * EVENT_BYTES
    assert served.peak_bytes - served.ready_bytes <= BUFFERS_BYTES + users * USER_BYTES


def check_slowed(slowed: Slowed) -> None:
    """The worker falls behind without holding more than its buffers, then loses nothing."""
    assert slowed.counted_while_slow < slowed.sent, "the broker was not slow enough to hold the worker up"
    assert slowed.lag_while_slow > 0
    assert slowed.most_bytes_while_slow - slowed.ready_bytes <= SLOW_BUFFERS_BYTES
    assert slowed.peak_bytes - slowed.ready_bytes <= SLOW_BUFFERS_BYTES + slowed.sent // 100 * USER_BYTES
    assert slowed.outcomes == {"applied": slowed.sent}
    assert slowed.lists == slowed.sent
    # A batch whose answer came too late is sent again, and can then stand there twice.
    assert slowed.lists_in_topic >= slowed.sent


def check_burst(done: Burst, *, events: int, users: int) -> None:
    """All that waited is applied and has its right list; memory stays within its bounds."""
    assert done.lag_at_first > 0
    assert done.outcomes == {"applied": events}
    assert done.report.faults == done.report.lists_repeated == 0, str(done.report)
    assert done.report.applied_once == done.report.events_in == events + events // 100
    assert done.peak_bytes - done.ready_bytes <= BUFFERS_BYTES + users * USER_BYTES


def check_skewed(done: Skewed) -> None:
    """Each event ends where its clock says, and those from the future among the dead letters."""
    assert done.outcomes == done.expected
    assert done.refused_as == {"timestamp-in-future": done.expected["invalid"]}
    assert done.report.faults == 0, str(done.report)
