"""The order in which the effects of batches reach Kafka.

For each partition: lists acknowledged, then changelog acknowledged, then, and only then, the
batch counts as delivered and its offsets may be committed. The changelog of a batch waits for
that of the batch before it. So a restored state is never ahead of the lists that were sent,
and what is redelivered after a crash finds the state it was first applied to.
"""

import asyncio
from collections.abc import Awaitable, Callable

Half = Callable[[], Awaitable[None]]


class Pipeline:
    """Runs deliveries side by side, each partition's second halves in order.

    At most ``limit`` are under way; ``failed`` is awaited with the first exception of any, after
    which no second half is run.
    """

    def __init__(self, *, limit: int, failed: Callable[[BaseException], Awaitable[None]]) -> None:
        """Begin with nothing under way."""
        self._slots = asyncio.Semaphore(limit)
        self._failed = failed
        self._tails: dict[int, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.broken = False

    async def submit(self, partition: int, first: Half, then: Half) -> None:
        """Start ``first`` at once and ``then`` after it and after the partition's earlier ``then``.

        Returns as soon as it is under way; waits while too many are.
        """
        await self._slots.acquire()
        before = self._tails.get(partition)
        tail: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tails[partition] = tail
        task = asyncio.create_task(self._deliver(before, tail, first, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, before: asyncio.Future[None] | None, tail: asyncio.Future[None], first: Half, then: Half
    ) -> None:
        try:
            await first()
            if before is not None:
                await before
            if not self.broken:
                await then()
        except Exception as error:  # noqa: BLE001 - it goes to the worker, which ends
            if not self.broken:
                self.broken = True
                await self._failed(error)
        finally:
            tail.set_result(None)
            self._slots.release()

    async def idle(self, partition: int) -> None:
        """Return when nothing of a partition is under way."""
        tail = self._tails.get(partition)
        if tail is not None and not tail.done():
            # Not awaited itself, since a caller that is cancelled would cancel it.
            await asyncio.wait([tail])

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; False where that failed or took longer than ``timeout_s``."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=timeout_s)
            return not pending and not self.broken
        return not self.broken
