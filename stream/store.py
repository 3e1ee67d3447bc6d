"""Where the users' records are held in a worker: by partition, in memory or on disk.

Faust's own memory store keeps one dictionary for all partitions and forgets how far it has
read, and its RocksDB store writes every change on its own, before the changelog has it. This one
drops a partition as a whole when it is revoked, takes a changelog fetch at once, and knows the
offset up to which each partition is complete, so that after a rebalance, and on disk after a
restart, only what is new is read. A partition of which the worker is a standby is one like the
others: the same changelog fills it, and taking it over is reading on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from faust.stores import base
from faust.types import TP, EventT

from stream.changelog import Extent
from stream.disk import Disk
from stream.records import Logged, MemoryRecords, Records


class PartitionStore(base.Store[bytes, bytes]):
    """Faust's store interface over the records of each partition."""

    def __post_init__(self) -> None:
        """Begin empty and in memory."""
        self._partitions: dict[int, Records] = {}
        #: Where partitions are opened; None holds them in memory.
        self.disk: Disk | None = None

    def lock(self) -> None:
        """Keep other workers from the same folder, where records are on disk. Raises ``StoreError``."""
        if self.disk is not None:
            self.disk.lock()

    def open(self, extents: Mapping[int, Extent]) -> None:
        """Open partitions on disk, each beside its changelog as it stands. Raises ``StoreError``."""
        assert self.disk is not None
        for number, extent in extents.items():
            self._partitions[number] = self.disk.open(number, extent)

    def partition(self, number: int) -> Records:
        """Return the records of a partition; those on disk must be open."""
        records = self._partitions.get(number)
        if records is None:
            if self.disk is not None:
                raise KeyError(number)
            records = self._partitions[number] = MemoryRecords()
        return records

    def find(self, number: int, key: bytes) -> bytes | None:
        """Return a user's record; None where the worker does not hold it. Any thread may ask."""
        records = self._partitions.get(number)
        return None if records is None else records.get(key)

    def partitions(self) -> Iterator[int]:
        """Return the partitions that are held."""
        return iter(list(self._partitions))

    def users(self, numbers: Collection[int] | None = None) -> int:
        """Return how many users the worker holds, of these partitions or of all."""
        held = list(self._partitions.items())
        return sum(len(records) for number, records in held if numbers is None or number in numbers)

    def restore(self, number: int, read: Iterable[Logged]) -> None:
        """Apply a fetch of a partition of the changelog."""
        self.partition(number).restore(read)

    def drop(self, number: int) -> None:
        """Let go of a partition that another worker has taken over; what is on disk stays there."""
        records = self._partitions.pop(number, None)
        if records is not None:
            records.close()

    def close(self) -> None:
        """Let go of everything, the folder too."""
        self.clear()
        if self.disk is not None:
            self.disk.unlock()

    # Faust's side of the interface.

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog offset up to which a partition is complete."""
        records = self._partitions.get(tp.partition)
        return None if records is None else records.applied

    def apply_changelog_batch(
        self,
        batch: Iterable[EventT[Any]],
        to_key: Callable[[Any], Any],
        to_value: Callable[[Any], Any],
    ) -> None:
        """Do nothing: the transport has applied what was read; its messages only say how far that is."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Drop the partitions that this worker no longer follows; those it owns are complete."""
        kept = {tp.partition for tp in active_tps | standby_tps}
        for number in {*self._partitions} - kept:
            self.drop(number)
        for tp in active_tps:
            if tp.partition in self._partitions:
                self._partitions[tp.partition].complete()

    def reset_state(self) -> None:
        """Do nothing: the changelog is the state."""

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """Do nothing: the changelog is the copy."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Do nothing: the changelog is the copy."""

    def clear(self) -> None:
        """Let go of every partition."""
        for number in self.partitions():
            self.drop(number)
