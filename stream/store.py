"""Where the users' records are held in a worker: by partition, in memory.

Faust's own memory store keeps one dictionary for all partitions and forgets how far it has
read; this one drops a partition as a whole when it is revoked, takes a changelog batch at
once, and knows the offset up to which each partition is current, so that after a rebalance
only what is new is read again.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from faust.stores import base
from faust.types import TP, EventT


class PartitionStore(base.Store[bytes, bytes]):
    """Faust's store interface over one dictionary of raw keys and values a partition."""

    def __post_init__(self) -> None:
        """Begin empty."""
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._applied: dict[int, int] = {}

    def partition(self, number: int) -> dict[bytes, bytes]:
        """Return the records of a partition, to read and to write."""
        return self._partitions.setdefault(number, {})

    def partitions(self) -> Iterator[int]:
        """Return the partitions that hold anything."""
        return iter(list(self._partitions))

    def users(self) -> int:
        """Return how many users the worker holds."""
        return sum(map(len, self._partitions.values()))

    def apply(self, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        """Apply one changelog record, unless it or a newer one was applied before."""
        if offset <= self._applied.get(partition, -1):
            return
        if value is None:
            self.partition(partition).pop(key, None)
        else:
            self.partition(partition)[key] = value
        self._applied[partition] = offset

    def written(self, partition: int, offset: int) -> None:
        """Note that this worker's own changelog records up to ``offset`` are acknowledged."""
        if offset > self._applied.get(partition, -1):
            self._applied[partition] = offset

    def drop(self, partition: int) -> None:
        """Forget a partition that another worker has taken over."""
        self._partitions.pop(partition, None)
        self._applied.pop(partition, None)

    # Faust's side of the interface.

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog offset up to which a partition is current."""
        return self._applied.get(tp.partition)

    def apply_changelog_batch(
        self,
        batch: Iterable[EventT[Any]],
        to_key: Callable[[Any], Any],
        to_value: Callable[[Any], Any],
    ) -> None:
        """Apply what the transport has not applied already."""
        for event in batch:
            message = event.message
            self.apply(message.partition, message.offset, message.key or b"", message.value)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Drop the partitions that this worker no longer follows."""
        kept = {tp.partition for tp in active_tps | standby_tps}
        for number in list(self._partitions):
            if number not in kept:
                self.drop(number)

    def reset_state(self) -> None:
        """Nothing is kept on disk."""

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Nothing is kept on disk; the changelog is the copy."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing is kept on disk; the changelog is the copy."""

    def _clear(self) -> None:
        self._partitions.clear()
        self._applied.clear()
