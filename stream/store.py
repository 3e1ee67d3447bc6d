"""Where the users' records are held in a worker: by partition, in memory.

Faust's own memory store keeps one dictionary for all partitions and forgets how far it has
read; this one drops a partition as a whole when it is revoked, takes a changelog batch at
once, and knows the offset up to which each partition is current, so that after a rebalance
only what is new is read again. A partition of which the worker is a standby is one like the others:
the same changelog fills it, and taking it over is reading on.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from typing import Any

from faust.stores import base
from faust.types import TP, EventT

#: Longest piece of a record: with the header of a bytes object it is the largest block that
#: Python's own allocator manages. Larger ones come from the C library's heap, where records that
#: grow leave holes no other record fits: a third of the memory in ``bench_memory``.
PIECE_BYTES = 512 - sys.getsizeof(b"")


class Records(MutableMapping[bytes, bytes]):
    """The records of a partition by key, kept in pieces."""

    def __init__(self) -> None:
        """Begin empty."""
        self._pieces: dict[bytes, bytes | tuple[bytes, ...]] = {}

    def __getitem__(self, key: bytes) -> bytes:
        """Return a user's record."""
        return _whole(self._pieces[key])

    def get(self, key: bytes, default: Any = None) -> Any:
        """Return a user's record, or ``default``; on the path of every event."""
        pieces = self._pieces.get(key)
        return default if pieces is None else _whole(pieces)

    def __setitem__(self, key: bytes, record: bytes) -> None:
        """Keep a user's record."""
        if len(record) > PIECE_BYTES:
            self._pieces[key] = tuple(
                [record[begin : begin + PIECE_BYTES] for begin in range(0, len(record), PIECE_BYTES)]
            )
        else:
            # A copy, since the bytes of a fetch or an encoder may keep more room than they need.
            self._pieces[key] = bytes(memoryview(record))

    def __delitem__(self, key: bytes) -> None:
        """Forget a user."""
        del self._pieces[key]

    def __iter__(self) -> Iterator[bytes]:
        """Return the keys."""
        return iter(self._pieces)

    def __len__(self) -> int:
        """Return how many users there are."""
        return len(self._pieces)


def _whole(pieces: bytes | tuple[bytes, ...]) -> bytes:
    return pieces if isinstance(pieces, bytes) else b"".join(pieces)


class PartitionStore(base.Store[bytes, bytes]):
    """Faust's store interface over one dictionary of raw keys and values a partition."""

    def __post_init__(self) -> None:
        """Begin empty."""
        self._partitions: dict[int, Records] = {}
        self._applied: dict[int, int] = {}

    def partition(self, number: int) -> Records:
        """Return the records of a partition, to read and to write."""
        records = self._partitions.get(number)
        if records is None:
            records = self._partitions[number] = Records()
        return records

    def partitions(self) -> Iterator[int]:
        """Return the partitions that hold anything."""
        return iter(list(self._partitions))

    def users(self, numbers: Collection[int] | None = None) -> int:
        """Return how many users the worker holds, of these partitions or of all."""
        held = list(self._partitions.items())
        return sum(len(records) for number, records in held if numbers is None or number in numbers)

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
        for number in {*self._partitions, *self._applied} - kept:
            self.drop(number)

    def reset_state(self) -> None:
        """Nothing is kept on disk."""

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """Nothing is kept on disk; the changelog is the copy."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing is kept on disk; the changelog is the copy."""

    def clear(self) -> None:
        """Forget everything."""
        self._partitions.clear()
        self._applied.clear()
