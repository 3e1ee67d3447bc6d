"""What the worker asks of its users' records, of those in memory and of those on disk alike."""

from pathlib import Path
from types import SimpleNamespace

import faust
import pytest
from faust.types import TP
from yarl import URL

from stream.changelog import Extent
from stream.disk import Disk
from stream.records import PIECE_BYTES, Records
from stream.store import PartitionStore
from tests.support.logged import Logged

CHANGELOG = "freshet-users-changelog"
PARTITIONS = 6
EXTENT = Extent("cluster/topic/id", first=0, end=1_000)


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    """An empty store whose partitions are open; its app is never started."""
    app = faust.App("test", broker="kafka://localhost:1", store="memory://", web_enabled=False)
    table = app.Table("users", key_type=bytes, value_type=bytes)
    store = PartitionStore(URL("memory://"), app, table, table_name="users")
    if request.param == "rocksdb":
        store.disk = Disk(tmp_path / "users", memory_mb=8)
        store.lock()
        store.open(dict.fromkeys(range(PARTITIONS), EXTENT))
    yield store
    store.close()


@pytest.fixture
def records(store: PartitionStore) -> Records:
    """One partition of it."""
    return store.partition(0)


def content(records: Records) -> dict[bytes, bytes]:
    """Everything that is held, which must be as many users as are counted."""
    found = dict(records.items())
    assert len(found) == len(records)
    assert all(records.get(key) == value for key, value in found.items())
    return found


def test_records_of_partitions_are_apart(store: PartitionStore) -> None:
    """The same key in two partitions is two records; users are counted over all, or over some."""
    store.partition(0).put({b"u": b"a"})
    store.partition(5).put({b"u": b"b", b"v": b"c"})
    assert content(store.partition(0)) == {b"u": b"a"}
    assert {0, 5} <= {*store.partitions()}
    assert store.users() == 3
    assert store.users({5, 7}) == 2
    assert store.find(5, b"v") == b"c"
    assert store.find(0, b"v") is None
    assert store.find(17, b"v") is None


@pytest.mark.parametrize("length", [1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 5 * PIECE_BYTES + 7])
def test_records_of_any_length_come_back_as_they_were(records: Records, length: int) -> None:
    """Before they are kept and after; how they are held nobody sees."""
    record = bytes(number % 251 for number in range(length))
    records.put({b"u": record})
    assert content(records) == {b"u": record}
    records.keep(0)
    assert content(records) == {b"u": record}
    records.put({b"u": None})
    assert content(records) == {}


def test_what_is_put_is_there_before_it_is_kept_and_after(records: Records) -> None:
    """The next batch finds it although the changelog has not acknowledged it; erased users are gone."""
    records.put({b"u": b"1", b"v": b"1"})
    records.put({b"u": b"2", b"v": None, b"w": b"2"})
    assert content(records) == {b"u": b"2", b"w": b"2"}
    records.keep(1)
    assert content(records) == {b"u": b"2", b"w": b"2"}
    records.put({b"w": b"3"})
    records.keep(4)
    records.keep(5)
    assert content(records) == {b"u": b"2", b"w": b"3"}
    assert records.applied == 5


def test_offset_moves_only_when_changes_are_kept(records: Records) -> None:
    """A batch without changes (-1) moves nothing back."""
    assert records.applied is None
    records.put({b"u": b"1"})
    assert records.applied is None
    records.keep(7)
    assert records.applied == 7
    records.put({})
    records.keep(-1)
    assert records.applied == 7


def test_what_is_prepared_is_as_it_stands(records: Records) -> None:
    """Kept, changed and absent users alike, and no longer than up to the next change."""
    records.put({b"kept": b"1", b"changed": b"1"})
    records.keep(0)
    records.put({b"changed": b"2"})
    records.prepare([b"kept", b"changed", b"absent"])
    assert [records.get(key) for key in (b"kept", b"changed", b"absent")] == [b"1", b"2", None]
    records.put({b"kept": b"3", b"absent": b"3"})
    assert [records.get(key) for key in (b"kept", b"changed", b"absent")] == [b"3", b"2", b"3"]
    records.keep(1)
    records.keep(2)
    assert content(records) == {b"kept": b"3", b"changed": b"2", b"absent": b"3"}


def test_users_are_counted_whether_prepared_or_not(records: Records) -> None:
    """New, changed and erased ones, and the erasure of nobody."""
    records.put({b"u": b"1", b"v": b"1"})
    records.keep(0)
    records.put({b"u": b"2", b"v": None, b"nobody": None})
    records.prepare([b"w"])
    records.put({b"w": b"1", b"v": b"3"})
    assert len(records) == 3
    records.keep(1)
    records.keep(2)
    assert content(records) == {b"u": b"2", b"w": b"1", b"v": b"3"}


def test_changelog_records_are_applied_in_order(records: Records) -> None:
    """The last value stands, null erases, and an erasure of nobody is no error."""
    records.restore([Logged(0, b"u", b"a"), Logged(1, b"v", b"b"), Logged(2, b"u", b"c")])
    records.restore([Logged(3, b"v", None), Logged(4, b"nobody", None)])
    assert content(records) == {b"u": b"c"}
    assert records.applied == 4


def test_a_changelog_record_that_was_applied_is_not_applied_again(records: Records) -> None:
    """What is held may be ahead of what is read again after a rebalance."""
    records.restore([Logged(7, b"u", b"new")])
    records.restore([Logged(6, b"u", b"old"), Logged(7, b"u", b"same offset")])
    assert content(records) == {b"u": b"new"}
    records.put({b"u": b"mine"})
    records.keep(9)
    records.restore([Logged(9, b"u", b"mine, older"), Logged(10, b"v", b"another's")])
    assert content(records) == {b"u": b"mine", b"v": b"another's"}
    assert records.applied == 10


def test_reading_past_offsets_without_records_counts(records: Records) -> None:
    """A transaction's marker or a record that was compacted away stands at the end."""
    records.restore([Logged(7, b"u", b"new")])
    records.reach(12)
    records.reach(3)
    assert records.applied == 12


def test_store_tells_faust_how_far_each_partition_is(store: PartitionStore) -> None:
    """Nothing of one that it does not hold."""
    store.restore(1, [Logged(3, b"u", b"a"), Logged(4, b"v", b"a")])
    assert store.persisted_offset(TP(CHANGELOG, 1)) == 4
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
    assert store.persisted_offset(TP(CHANGELOG, 17)) is None


async def test_after_recovery_only_followed_partitions_are_held(store: PartitionStore) -> None:
    """Active and standby ones stay; the rest belongs to other workers now."""
    for number in range(4):
        store.restore(number, [Logged(0, b"u", b"a")])
    store.partition(4).reach(41)
    await store.on_recovery_completed({TP(CHANGELOG, 1)}, {TP(CHANGELOG, 3)})
    assert [*store.partitions()] == [1, 3]
    assert store.users() == 2
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
    assert store.persisted_offset(TP(CHANGELOG, 4)) is None


def test_fausts_own_batches_change_nothing(store: PartitionStore) -> None:
    """The transport applies a fetch itself; the messages it then gives Faust hold no record."""
    store.restore(2, [Logged(5, b"u", b"a")])
    message = SimpleNamespace(message=SimpleNamespace(partition=2, offset=6, key=b"", value=None))
    store.apply_changelog_batch([message], to_key=bytes, to_value=bytes)
    assert content(store.partition(2)) == {b"u": b"a"}
    assert store.persisted_offset(TP(CHANGELOG, 2)) == 5


def test_clearing_lets_go_of_every_partition(store: PartitionStore) -> None:
    """Faust asks for it when a table is reset."""
    store.restore(0, [Logged(3, b"u", b"a")])
    store.clear()
    assert store.users() == 0
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
