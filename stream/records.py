"""The users' records of one partition: what is asked of them, and those held in memory.

Changes are there for whoever reads next as soon as they are put; they are kept, with the changelog
offset that they reach, once the changelog has acknowledged them. Records on disk are in
``stream.disk``.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

Changes = Mapping[bytes, bytes | None]
"""New records by user; None erases the user."""

#: Longest piece of a record: with the header of a bytes object it is the largest block that
#: Python's own allocator manages. Larger ones come from the C library's heap, where records that
#: grow leave holes no other record fits: a third of the memory in ``bench_memory``.
PIECE_BYTES = 512 - sys.getsizeof(b"")


class Logged(Protocol):
    """A record of the changelog as it was read."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def key(self) -> bytes | None:
        """The user."""

    @property
    def value(self) -> bytes | None:
        """The user's record; None erases."""


class Records(Protocol):
    """The users' records of one partition."""

    @property
    def applied(self) -> int | None:
        """The changelog offset up to which they are complete; None where nothing was applied."""

    def __len__(self) -> int:
        """Return how many users there are."""

    def get(self, key: bytes) -> bytes | None:
        """Return a user's record, or None."""

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return every user with the record; they must not be changed meanwhile."""

    def prepare(self, keys: Iterable[bytes]) -> None:
        """Read at once what a batch over these users, some of them several times, will get.

        What was read holds up to the next ``put``.
        """

    def put(self, changes: Changes) -> None:
        """Change records for whoever gets them next; a ``keep`` has to follow each, in order."""

    def keep(self, offset: int) -> None:
        """Keep the oldest changes that are not kept: the changelog has them up to ``offset``.

        An offset of -1 says that there was nothing to write.
        """

    def restore(self, read: Iterable[Logged]) -> None:
        """Apply records of the changelog; what was applied before is passed over."""

    def reach(self, offset: int) -> None:
        """Note that the changelog was read up to ``offset``, where no record need stand."""

    def complete(self) -> None:
        """Note that nobody else writes the changelog and that all of it was read."""

    def close(self) -> None:
        """Let go of what is held; nothing may be asked for afterwards."""


class MemoryRecords:
    """Records in one dictionary, kept in pieces; see ``Records``."""

    def __init__(self) -> None:
        """Begin empty."""
        self._pieces: dict[bytes, bytes | tuple[bytes, ...]] = {}
        self.applied: int | None = None

    def __len__(self) -> int:
        """Return how many users there are."""
        return len(self._pieces)

    def get(self, key: bytes) -> bytes | None:
        """Return a user's record, or None; on the path of every event."""
        pieces = self._pieces.get(key)
        return None if pieces is None else _whole(pieces)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return every user with the record."""
        return ((key, _whole(pieces)) for key, pieces in self._pieces.items())

    def prepare(self, keys: Iterable[bytes]) -> None:
        """Do nothing: they are at hand."""

    def put(self, changes: Changes) -> None:
        """Change records."""
        for key, record in changes.items():
            if record is None:
                self._pieces.pop(key, None)
            elif len(record) > PIECE_BYTES:
                self._pieces[key] = tuple(
                    [record[begin : begin + PIECE_BYTES] for begin in range(0, len(record), PIECE_BYTES)]
                )
            else:
                # A copy, since the bytes of a fetch or an encoder may keep more room than they need.
                self._pieces[key] = bytes(memoryview(record))

    def keep(self, offset: int) -> None:
        """Note how far the changelog has what was put."""
        self.reach(offset)

    def restore(self, read: Iterable[Logged]) -> None:
        """Apply records of the changelog that were not applied before."""
        applied = -1 if self.applied is None else self.applied
        for record in read:
            if record.offset > applied:
                self.put({record.key or b"": record.value})
                applied = self.applied = record.offset

    def reach(self, offset: int) -> None:
        """Note how far the changelog was read."""
        if offset > (-1 if self.applied is None else self.applied):
            self.applied = offset

    def complete(self) -> None:
        """Do nothing: it matters only to a copy that outlives the process."""

    def close(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self.applied = None


def _whole(pieces: bytes | tuple[bytes, ...]) -> bytes:
    return pieces if isinstance(pieces, bytes) else b"".join(pieces)
