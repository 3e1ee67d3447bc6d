"""One order for the records of a partition number across the source topics.

A user's clicks, favourites, carts and purchases lie in partitions of the same number of several
topics. Taken topic by topic, a backlog would bring all clicks of an hour before its first
purchase. Here they are merged by the time they were produced, as Kafka Streams merges the
partitions of a task: a record is handed on when no topic can still bring an earlier one.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

#: A record with the position of its topic.
Sourced = tuple[int, Any]


class Merger:
    """Holds the fetched records of one partition number until they can be handed on.

    Times never go back within a topic: a record produced with an earlier time than the one
    before it is merged with that one, so that offsets stay in order.
    """

    def __init__(self, sources: int, event_time_ms: Callable[[Any], int] = lambda record: 0) -> None:
        """Begin with nothing fetched from ``sources`` topics.

        ``event_time_ms`` reads the event time out of a record, 0 where it has none; it is asked only
        for records that several topics brought in one millisecond.
        """
        self._event_time_ms = event_time_ms
        self._times: list[list[int]] = [[] for _ in range(sources)]
        self._records: list[list[Any]] = [[] for _ in range(sources)]
        self._last_ms = [0] * sources

    def add(self, source: int, records: Sequence[Any]) -> None:
        """Take fetched records of a topic, in the order of their offsets."""
        produced = [record.timestamp for record in records]
        times = list(accumulate(produced, max, initial=self._last_ms[source]))
        self._times[source] += times[1:]
        self._records[source] += records
        self._last_ms[source] = times[-1]

    def waiting(self, source: int) -> int:
        """How many records of a topic wait here."""
        return len(self._records[source])

    def take(self, read_to_end: Callable[[int], bool], *, limit: int) -> list[Sourced]:
        """Hand on what is safe, at most ``limit`` records and what else is of the last one's time.

        ``read_to_end`` says whether a topic had nothing more when it was last asked; a topic
        that had, and of which nothing waits here, keeps the others waiting.
        """
        waiting = [source for source, records in enumerate(self._records) if records]
        if not waiting:
            return []
        frontier_ms = None
        for source, times in enumerate(self._times):
            if read_to_end(source):
                continue
            if not times:
                return []
            if frontier_ms is None or times[-1] < frontier_ms:
                frontier_ms = times[-1]
        if len(waiting) == 1:
            return [(waiting[0], record) for record in self._cut(waiting[0], frontier_ms, limit)]
        return self._merged(waiting, frontier_ms, limit)

    def _cut(self, source: int, frontier_ms: int | None, limit: int) -> list[Any]:
        """Take a topic's first records, up to the frontier and the limit."""
        times, records = self._times[source], self._records[source]
        count = len(times) if frontier_ms is None else bisect_right(times, frontier_ms)
        count = min(count, limit)
        taken = records[:count]
        del times[:count], records[:count]
        return taken

    def _merged(self, waiting: Sequence[int], frontier_ms: int | None, limit: int) -> list[Sourced]:
        """Take the first records of several topics, whole milliseconds at a time."""
        first = sorted(time_ms for source in waiting for time_ms in self._times[source][:limit])
        last_ms = first[min(limit, len(first)) - 1]
        if frontier_ms is not None:
            last_ms = min(last_ms, frontier_ms)
        counts = {source: bisect_right(self._times[source], last_ms) for source in waiting}
        heads = sorted(
            (time_ms, source) for source in waiting for time_ms in self._times[source][: counts[source]]
        )
        taken = {source: iter(self._cut(source, None, count)) for source, count in counts.items()}
        merged: list[Sourced] = []
        for _, together in groupby(heads, key=itemgetter(0)):
            merged += self._of_one_time([(source, next(taken[source])) for _, source in together])
        return merged

    def _of_one_time(self, records: list[Sourced]) -> list[Sourced]:
        """Order what several topics brought in one millisecond by event time; each topic keeps its order.

        A backlog that was written at full speed has hours of events in a millisecond. An event that
        is earlier than the one before it in its topic goes with that one; of equal times the lower
        topic comes first.
        """
        if len({source for source, _ in records}) < 2:
            return records
        latest: dict[int, int] = {}
        order = []
        for number, (source, record) in enumerate(records):
            latest[source] = max(latest.get(source, 0), self._event_time_ms(record))
            order.append((latest[source], source, number))
        return [records[number] for _, _, number in sorted(order)]
