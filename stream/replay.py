"""A file's events to Kafka, in event-time order, at a multiple of the pace they happened at.

Events go out in slices: all that is due is sent and acknowledged before the next slice begins.
So a topic with few events never lags another by more than a slice, and after a failure it is
known how many events are safe.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from stream.delivery import Delivery
from stream.ordering import in_time_order

# Large enough that the wait for the acknowledgement costs little, small enough that the four
# topics stay together: some tens of milliseconds at full speed.
SLICE_EVENTS = 5_000

LONGEST_WAIT_S = 10.0
"""A longer gap at the chosen pace is shortened to this: published files begin with stray events that are
months too early, and whoever replays one wants to see events."""


@dataclass(frozen=True)
class Replayed:
    """What was sent and acknowledged.

    ``behind_s`` is by how much the latest event came after its time at the chosen pace, 0 when
    there was no pace to keep. The event times are None when nothing was sent.
    """

    events: int
    duration_s: float
    behind_s: float
    first_event_ms: int | None
    last_event_ms: int | None

    @property
    def events_per_s(self) -> float:
        """Acknowledged events over the whole duration, reading and sorting the file included."""
        return self.events / self.duration_s if self.duration_s > 0 else 0.0


class Pace:
    """When each event is due: at ``speed`` times the data's own pace from the first on, or at once (0).

    No gap between two events takes longer than ``LONGEST_WAIT_S``.
    """

    def __init__(
        self,
        speed: float,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep_s: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """The clock may begin anywhere; ``sleep_s`` waits for a number of seconds of it."""
        self.behind_s = 0.0
        self._speed = speed
        self._clock_s = clock_s
        self._sleep_s = sleep_s
        self._origin: tuple[float, int] | None = None

    async def slices(self, events: pl.DataFrame) -> AsyncIterator[pl.DataFrame]:
        """The events, which are in time order, in pieces of which none is given before its time."""
        times_ms = events["timestamp"].to_numpy()
        done = 0
        while done < events.height:
            end = min(done + SLICE_EVENTS, events.height)
            if self._speed > 0:
                now_ms = self._event_time_ms(int(times_ms[done]))
                ahead_s = (int(times_ms[done]) - now_ms) / 1000 / self._speed
                if ahead_s > LONGEST_WAIT_S:
                    ahead_s = LONGEST_WAIT_S
                    self._origin = (self._clock_s() + ahead_s, int(times_ms[done]))
                if ahead_s > 0:
                    await self._sleep_s(ahead_s)
                    continue
                self.behind_s = max(self.behind_s, -ahead_s)
                end = min(end, int(np.searchsorted(times_ms, now_ms, side="right")))
            yield events[done:end]
            done = end

    def _event_time_ms(self, first_ms: int) -> float:
        """The event time that it is by now; the first call makes it ``first_ms``."""
        now_s = self._clock_s()
        if self._origin is None:
            self._origin = (now_s, first_ms)
        begun_s, begun_ms = self._origin
        return begun_ms + (now_s - begun_s) * 1000 * self._speed


async def replay(
    frames: Iterable[pl.DataFrame],
    delivery: Delivery,
    *,
    pace: Pace,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> Replayed:
    """Send the first ``limit`` events of ``frames`` in event-time order, or all of them.

    ``progress`` is called with the size of each acknowledged slice. Errors are those of
    reading the frames and of ``Delivery.send``.
    """
    begun_s = clock_s()
    first_ms = last_ms = None
    left = limit
    ordered = iter(in_time_order(frames))
    # Reading and sorting block; in a thread they hold up nothing else that runs in this loop.
    while left != 0 and (events := await asyncio.to_thread(next, ordered, None)) is not None:
        due = events if left is None else events.head(left)
        async for part in pace.slices(due):
            await delivery.send(part)
            first_ms = part["timestamp"][0] if first_ms is None else first_ms
            last_ms = part["timestamp"][-1]
            if progress is not None:
                progress(part.height)
        left = None if left is None else left - due.height
    return Replayed(delivery.delivered, clock_s() - begun_s, pace.behind_s, first_ms, last_ms)
