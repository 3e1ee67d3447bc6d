"""The users' records of one partition in RocksDB, beside the changelog offset that they are a copy of."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from rocksdict import Rdict, WriteBatch

from stream.errors import StoreError
from stream.records import Changes, Logged

#: No user has it: an id is never empty.
MARK_KEY: Final = b""
AFTER_MARK: Final = b"\x00"

#: Its presence says that a read found the files damaged, which opening them does not find out.
DAMAGED: Final = "DAMAGED"

_IO_ERROR: Final = "IO error"
_MISSING: Final = "No such file"
_UNKNOWN: Final = object()


#: Of the form of mark and keys; the records have a version of their own.
VERSION: Final = 1


class Mark(msgspec.Struct, frozen=True):
    """What stands beside the records and is written in one batch with them.

    ``identity`` is the changelog's, ``offset`` the one up to which the records are complete (-1: none),
    ``users`` how many there are, ``at_ms`` when they were last known to be all that the changelog had:
    when reading it began, for records that were not complete since.
    """

    identity: str
    offset: int
    users: int
    at_ms: int
    version: int = VERSION


def read_mark(database: Rdict) -> Mark | None:
    """Return the mark of a database; None where there is none, or none that this freshet wrote."""
    try:
        mark = msgspec.msgpack.decode(database.get(MARK_KEY) or b"", type=Mark)
    except msgspec.DecodeError:
        return None
    return mark if mark.version == VERSION else None


def is_damage(error: Exception) -> bool:
    """Whether an error of RocksDB says that files are damaged, and not that the machine refuses."""
    text = str(error)
    return not text.startswith(_IO_ERROR) or _MISSING in text


def one_line(error: Exception) -> str:
    """Return what an error says in one line."""
    return " ".join(str(error).split())


def refused(place: Path, error: Exception) -> StoreError:
    """Say what a person can do about an error of the machine: a full disk, a right, a limit."""
    return StoreError(
        f"the users in {place} cannot be kept or read: {one_line(error)}; make room, or set right what "
        "is said there, and start the worker again: nothing was acknowledged that is not stored"
    )


class DiskRecords:
    """Records in a database that is open; see ``Records``.

    Changes that the changelog has not acknowledged are in memory, and what is got is looked for there
    first, then among what ``prepare`` has read. Raises ``StoreError`` where the database fails.
    """

    def __init__(
        self, database: Rdict, mark: Mark, *, place: Path, now: Callable[[], float] = time.time
    ) -> None:
        """Take an open database, its mark, the folder it is in and a clock in seconds."""
        self._database = database
        self._mark = mark
        self._place = place
        self._now = now
        self._users = mark.users
        self._complete = False
        self._pending: deque[tuple[Changes, int]] = deque()
        self._changed: dict[bytes, bytes | None] = {}
        self._prepared: dict[bytes, bytes | None] = {}

    @property
    def applied(self) -> int | None:
        """The changelog offset up to which the records are complete; None where nothing was applied."""
        return self._mark.offset if self._mark.offset >= 0 else None

    def __len__(self) -> int:
        """Return how many users there are."""
        return self._users

    def get(self, key: bytes) -> bytes | None:
        """Return a user's record, or None; on the path of every event."""
        for known in (self._changed, self._prepared):
            record = known.get(key, _UNKNOWN)
            if record is not _UNKNOWN:
                return record  # type: ignore[return-value]  # mypy does not see the sentinel out
        with self._failing():
            found: bytes | None = self._database.get(key)
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Return every user with the record. Raises ``StoreError`` at the end where some are unreadable."""
        read = 0
        with self._failing():
            for key, record in self._database.items(from_key=AFTER_MARK):
                read += 1
                if key not in self._changed:
                    yield cast(bytes, key), record
        if read != self._mark.users:
            # RocksDB's iterator ends at a damaged block as at the last one.
            raise self._damaged(f"{read} of {self._mark.users} users can be read")
        yield from ((key, record) for key, record in self._changed.items() if record is not None)

    def prepare(self, keys: Iterable[bytes]) -> None:
        """Read at once what a batch over these users will get: half the cost of one by one."""
        wanted = [key for key in set(keys) if key not in self._changed]
        self._prepared = dict(zip(wanted, self._read(wanted), strict=True))

    def put(self, changes: Changes) -> None:
        """Change records, in memory until ``keep``."""
        more = self._more(changes)
        self._users += more
        self._pending.append((changes, more))
        self._changed.update(changes)
        self._prepared = {}

    def keep(self, offset: int) -> None:
        """Write the oldest changes that are not written, with the offset that they reach."""
        changes, more = self._pending.popleft()
        if changes:
            self._write(changes, self._marked(offset, self._mark.users + more))
        for key, record in changes.items():
            if self._changed.get(key, _UNKNOWN) is record:
                del self._changed[key]

    def restore(self, read: Iterable[Logged]) -> None:
        """Apply records of the changelog that were not applied before, as one batch."""
        changes: dict[bytes, bytes | None] = {}
        offset = self._mark.offset
        for record in read:
            if record.offset > offset:
                offset = record.offset
                if record.key:
                    changes[record.key] = record.value
        if offset > self._mark.offset:
            more = self._more(changes)
            self._users += more
            self._write(changes, self._marked(offset, self._mark.users + more))

    def reach(self, offset: int) -> None:
        """Note how far the changelog was read."""
        if offset > self._mark.offset:
            self._write({}, self._marked(offset, self._mark.users))

    def complete(self) -> None:
        """Note that nobody else writes the changelog and that all of it was read."""
        self._complete = True

    def write_mark(self) -> None:
        """Write the mark alone: what the records are a copy of, and when they were complete."""
        self._write({}, self._marked(self._mark.offset, self._mark.users))

    def close(self) -> None:
        """Close the database; what the changelog has not acknowledged is let go."""
        if self._complete:
            with suppress(StoreError):
                self.write_mark()
        with suppress(Exception):  # RocksDB says again what it said before, of a full disk for one
            self._database.close()

    def _more(self, changes: Changes) -> int:
        """Return how many users more there are after these changes than before."""
        known = {**self._prepared, **{key: self._changed[key] for key in changes if key in self._changed}}
        unknown = [key for key in changes if key not in known]
        known.update(zip(unknown, self._read(unknown), strict=True))
        return sum((record is not None) - (known[key] is not None) for key, record in changes.items())

    def _read(self, keys: list[bytes]) -> list[bytes | None]:
        with self._failing():
            return self._database.get(cast(list[Any], keys)) or []

    def _marked(self, offset: int, users: int) -> Mark:
        at_ms = int(self._now() * 1_000) if self._complete else self._mark.at_ms
        return Mark(self._mark.identity, offset, users, at_ms)

    def _write(self, changes: Changes, mark: Mark) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, record in changes.items():
            if record is None:
                batch.delete(key)
            else:
                batch.put(key, record)
        batch.put(MARK_KEY, msgspec.msgpack.encode(mark))
        with self._failing():
            self._database.write(batch)
        self._mark = mark

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn what RocksDB raises, plain exceptions all of them, into a line for a person."""
        try:
            yield
        except Exception as error:
            if type(error) is not Exception:
                raise
            if is_damage(error):
                raise self._damaged(one_line(error)) from error
            raise refused(self._place, error) from error

    def _damaged(self, why: str) -> StoreError:
        """Note the damage for the next start, and say it."""
        with suppress(OSError):
            (self._place / DAMAGED).touch()
        return StoreError(
            f"the users in {self._place} are damaged: {why}; "
            "start the worker again: they are then read from the changelog"
        )
