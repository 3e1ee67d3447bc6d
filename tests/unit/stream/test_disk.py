"""Copies on disk: what outlives a process, what is gone on with, and what is thrown away."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from stream.changelog import Extent
from stream.disk import KEPT_S, Disk, why_useless
from stream.disk_records import MARK_KEY, DiskRecords, Mark
from stream.errors import StoreError, StoreInUse
from tests.support.logged import Logged

EXTENT = Extent("cluster/topic/id", first=0, end=1_000)
USERS = {b"user-%05d" % number: os.urandom(300) for number in range(3_000)}
NOW_S = 1_700_000_000.0


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The time it is."""
    return Clock()


@pytest.fixture
def disk(tmp_path: Path, clock: Clock) -> Iterator[Disk]:
    """A folder of its own."""
    disk = Disk(tmp_path / "users", memory_mb=8, now=clock)
    disk.lock()
    yield disk
    disk.unlock()


def filled(disk: Disk) -> None:
    """Write users up to offset 41 and one more at 42, as a worker that owns the partition; close."""
    records = disk.open(3, EXTENT)
    records.complete()
    records.put(USERS)
    records.keep(41)
    records._database.flush()
    records.put({b"last": b"x"})
    records.keep(42)
    records.close()


def test_copy_goes_on_where_it_was(disk: Disk) -> None:
    """Records, count and offset, those of another partition apart."""
    filled(disk)
    records = disk.open(3, EXTENT)
    assert dict(records.items()) == USERS | {b"last": b"x"}
    assert (records.applied, len(records)) == (42, len(USERS) + 1)
    assert disk.open(4, EXTENT).applied is None


def test_what_was_not_acknowledged_is_not_on_disk(disk: Disk) -> None:
    """The offset and the records are those of the last batch that was kept."""
    records = disk.open(3, EXTENT)
    records.put({b"u": b"1", b"v": b"1"})
    records.keep(5)
    records.put({b"u": b"2", b"v": None, b"w": b"2"})
    records.close()
    again = disk.open(3, EXTENT)
    assert dict(again.items()) == {b"u": b"1", b"v": b"1"}
    assert (again.applied, len(again)) == (5, 2)


KILLED = """
import os, sys
from pathlib import Path
from stream.changelog import Extent
from stream.disk import Disk
disk = Disk(Path(sys.argv[1]), memory_mb=8)
disk.lock()
records = disk.open(3, Extent("cluster/topic/id", 0, 1000))
for offset in range(100):
    records.put({b"u%d" % offset: b"x" * 100})
    records.keep(offset)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_what_it_kept_and_no_lock(tmp_path: Path) -> None:
    """Nothing is held back in the process."""
    folder = tmp_path / "users"
    done = subprocess.run([sys.executable, "-c", KILLED, folder], check=False, timeout=60)
    assert done.returncode == -9
    disk = Disk(folder, memory_mb=8)
    disk.lock()
    records = disk.open(3, EXTENT)
    assert (records.applied, len(records)) == (99, 100)


@pytest.mark.parametrize(
    ("change", "extent", "said"),
    [
        ({}, {}, None),
        ({}, {"end": 43}, None),
        ({}, {"end": 42}, "ahead"),
        ({}, {"first": 43}, None),
        ({}, {"first": 44}, "deleted"),
        ({}, {"identity": "cluster/topic/another"}, "another changelog"),
        ({"offset": -1}, {"end": 0}, None),
        ({"at_ms": 10_000}, {}, None),
        ({"at_ms": 9_999}, {}, "tombstones"),
    ],
)
def test_copy_is_gone_on_with_only_where_the_changelog_follows(change, extent, said) -> None:
    """Its mark is at offset 42, and tombstones are kept long enough."""
    mark = {"identity": EXTENT.identity, "offset": 42, "users": 1, "at_ms": KEPT_S * 1_000, **change}
    why = why_useless(Mark(**mark), replace(EXTENT, **extent), now_ms=10_000 + KEPT_S * 1_000)
    assert said in why if said else why is None


OF_ANOTHER_FRESHET = Mark(EXTENT.identity, 42, 1, int(NOW_S * 1_000), version=2)


@pytest.mark.parametrize("written", [b"", b"?", msgspec.msgpack.encode(OF_ANOTHER_FRESHET)])
def test_copy_without_a_mark_that_is_known_is_of_no_use(disk: Disk, caplog, written: bytes) -> None:
    """It may be anything."""
    filled(disk)
    records = disk.open(3, EXTENT)
    records._database.put(MARK_KEY, written)
    records._database.close()
    assert disk.open(3, EXTENT).applied is None
    assert "they do not say what they are a copy of" in caplog.text


@pytest.mark.parametrize("extent", [replace(EXTENT, end=10), replace(EXTENT, identity="another")])
def test_a_foreign_copy_is_thrown_away_with_a_line(disk: Disk, caplog, extent: Extent) -> None:
    """What is begun instead is empty and of the changelog as it is."""
    filled(disk)
    records = disk.open(3, extent)
    assert (records.applied, len(records), dict(records.items())) == (None, 0, {})
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("users on disk are thrown away and read from the changelog: they are ")
    records.close()
    assert len(disk.open(3, extent)) == 0


def test_reading_a_part_of_the_changelog_makes_a_copy_no_younger(disk: Disk, clock: Clock) -> None:
    """What was erased between its beginning and the end is not known yet."""
    records = disk.open(3, EXTENT)
    clock.now_s += 10
    records.restore([Logged(5, b"u", b"1")])
    records.close()
    clock.now_s = NOW_S + KEPT_S
    records = disk.open(3, EXTENT)
    assert records.applied == 5
    records.close()
    clock.now_s += 1
    assert disk.open(3, EXTENT).applied is None


def test_owning_the_partition_makes_a_copy_younger(disk: Disk, clock: Clock) -> None:
    """At its last batch, and when it is closed."""
    records = disk.open(3, EXTENT)
    records.complete()
    clock.now_s += 10
    records.put({b"u": b"1"})
    records.keep(5)
    records._database.close()
    clock.now_s = NOW_S + KEPT_S + 10
    records = disk.open(3, EXTENT)
    assert records.applied == 5
    records.complete()
    records.close()
    clock.now_s += KEPT_S
    assert disk.open(3, EXTENT).applied == 5


# Damage.


def tables(place: Path) -> list[Path]:
    """The files that hold records."""
    return sorted(place.glob("*.sst"))


def scratch(path: Path) -> None:
    """Write over the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 64)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a table is cut off": lambda place: os.truncate(tables(place)[0], 100),
    "a table is missing": lambda place: tables(place)[0].unlink(),
    "the manifest is scratched": lambda place: scratch(next(place.glob("MANIFEST*"))),
    "the manifest is missing": lambda place: next(place.glob("MANIFEST*")).unlink(),
    "the current file is missing": lambda place: (place / "CURRENT").unlink(),
    "nothing is left": lambda place: [path.unlink() for path in place.iterdir()],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_copy_is_thrown_away(disk: Disk, tmp_path: Path, caplog, name: str) -> None:
    """It is read anew from the changelog, and a line says so."""
    filled(disk)
    DAMAGES[name](tmp_path / "users" / "3")
    records = disk.open(3, EXTENT)
    assert (records.applied, len(records)) == (None, 0)
    assert "they are damaged" in caplog.text
    records.put({b"u": b"1"})
    records.keep(1)
    records.close()
    assert dict(disk.open(3, EXTENT).items()) == {b"u": b"1"}


def scratched(disk: Disk, tmp_path: Path) -> DiskRecords:
    """A copy whose one table of users is scratched, which opening it does not find out."""
    filled(disk)
    scratch(max(tables(tmp_path / "users" / "3"), key=lambda path: path.stat().st_size))
    return disk.open(3, EXTENT)


@pytest.mark.parametrize(
    "read",
    [
        lambda records: [records.get(key) for key in USERS],
        lambda records: records.prepare(USERS),
        lambda records: records.put(USERS),
        lambda records: [*records.items()],
    ],
    ids=["one by one", "at once", "to count", "in order"],
)
def test_damage_found_by_reading_ends_the_worker_and_is_mended_by_the_next(
    disk: Disk, tmp_path: Path, caplog, read: Callable[[DiskRecords], object]
) -> None:
    """No user is taken for absent: that would begin the user anew, over what the changelog has."""
    records = scratched(disk, tmp_path)
    with pytest.raises(StoreError, match=r"damaged.*start the worker again"):
        read(records)
    records.close()
    again = disk.open(3, EXTENT)
    assert (again.applied, len(again)) == (None, 0)
    assert "they were found damaged" in caplog.text


# One worker a folder.


def test_a_second_worker_is_told_whose_folder_it_is(disk: Disk, tmp_path: Path) -> None:
    """In one line, which names the setting; it may have the folder once the first is gone."""
    second = Disk(tmp_path / "users", memory_mb=8)
    with pytest.raises(StoreInUse, match=r"another worker.*FRESHET_DATA_DIR"):
        second.lock()
    disk.unlock()
    second.lock()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be kept or read: .*file"):
        Disk(tmp_path / "file" / "users", memory_mb=8).lock()
