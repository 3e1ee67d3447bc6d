"""Users' records by partition, and how far each partition is current."""

from types import SimpleNamespace

import faust
import pytest
from faust.types import TP
from yarl import URL

from stream.store import PIECE_BYTES, PartitionStore

CHANGELOG = "freshet-users-changelog"


@pytest.fixture
def store() -> PartitionStore:
    """An empty store; its app is never started."""
    app = faust.App("test", broker="kafka://localhost:1", store="memory://", web_enabled=False)
    table = app.Table("users", key_type=bytes, value_type=bytes)
    return PartitionStore(URL("memory://"), app, table, table_name="users")


def test_records_of_partitions_are_apart(store: PartitionStore) -> None:
    """The same key in two partitions is two records; users are counted over all, or over some."""
    store.partition(0)[b"u"] = b"a"
    store.partition(5)[b"u"] = b"b"
    store.partition(5)[b"v"] = b"c"
    assert store.partition(0) == {b"u": b"a"}
    assert list(store.partitions()) == [0, 5]
    assert store.users() == 3
    assert store.users({5, 7}) == 2


@pytest.mark.parametrize("length", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 5 * PIECE_BYTES + 7])
def test_records_of_any_length_come_back_as_they_were(store: PartitionStore, length: int) -> None:
    """Long ones are kept in pieces, which nobody sees."""
    records = store.partition(0)
    record = bytes(number % 251 for number in range(length))
    records[b"u"] = record
    assert records[b"u"] == records.get(b"u") == record
    assert dict(records) == {b"u": record}
    assert records.pop(b"u") == record
    assert records.get(b"u") is None
    assert len(records) == 0


def test_changelog_records_are_applied_in_order(store: PartitionStore) -> None:
    """The last value stands, null erases, and an erasure of nobody is no error."""
    store.apply(0, 0, b"u", b"a")
    store.apply(0, 1, b"v", b"b")
    store.apply(0, 2, b"u", b"c")
    store.apply(0, 3, b"v", None)
    store.apply(0, 4, b"nobody", None)
    assert store.partition(0) == {b"u": b"c"}
    assert store.persisted_offset(TP(CHANGELOG, 0)) == 4


def test_a_changelog_record_that_was_applied_is_not_applied_again(store: PartitionStore) -> None:
    """Memory may be ahead of what is read again after a rebalance."""
    store.apply(0, 7, b"u", b"new")
    store.apply(0, 6, b"u", b"old")
    store.apply(0, 7, b"u", b"same offset")
    assert store.partition(0) == {b"u": b"new"}


def test_the_workers_own_writes_count_as_applied(store: PartitionStore) -> None:
    """What was acknowledged is in memory already; a batch without records (-1) moves nothing back."""
    store.partition(0)[b"u"] = b"mine"
    store.written(0, 9)
    store.written(0, -1)
    store.apply(0, 9, b"u", b"mine, older")
    assert store.partition(0) == {b"u": b"mine"}
    assert store.persisted_offset(TP(CHANGELOG, 0)) == 9
    assert store.persisted_offset(TP(CHANGELOG, 1)) is None


def test_a_dropped_partition_is_read_from_its_beginning(store: PartitionStore) -> None:
    """Records and offset go together, or the next restore would miss what was dropped."""
    store.apply(0, 3, b"u", b"a")
    store.apply(1, 3, b"u", b"b")
    store.drop(0)
    store.drop(17)
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
    assert store.partition(0) == {}
    assert store.partition(1) == {b"u": b"b"}


async def test_after_recovery_only_followed_partitions_are_kept(store: PartitionStore) -> None:
    """Active and standby ones stay; the rest belongs to other workers now."""
    for number in range(4):
        store.apply(number, 0, b"u", b"a")
    await store.on_recovery_completed({TP(CHANGELOG, 1)}, {TP(CHANGELOG, 3)})
    assert list(store.partitions()) == [1, 3]
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None


async def test_a_partition_of_which_nothing_is_held_forgets_how_far_it_was(store: PartitionStore) -> None:
    """All its users were erased and it goes to another worker: what that one writes must be read again."""
    store.written(2, 41)
    await store.on_recovery_completed({TP(CHANGELOG, 1)}, set())
    assert store.persisted_offset(TP(CHANGELOG, 2)) is None


def test_fausts_batches_are_applied_once(store: PartitionStore) -> None:
    """The transport applies a fetch itself; its last record comes again by Faust's way."""
    store.apply(2, 5, b"u", b"a")
    messages = [
        SimpleNamespace(message=SimpleNamespace(partition=2, offset=offset, key=b"u", value=value))
        for offset, value in ((4, b"old"), (5, b"again"), (6, b"b"))
    ]
    store.apply_changelog_batch(messages[:2], to_key=bytes, to_value=bytes)
    assert store.partition(2) == {b"u": b"a"}
    store.apply_changelog_batch(messages, to_key=bytes, to_value=bytes)
    assert store.partition(2) == {b"u": b"b"}


def test_clearing_forgets_records_and_offsets(store: PartitionStore) -> None:
    """Faust asks for it when a table is reset."""
    store.apply(0, 3, b"u", b"a")
    store.clear()
    assert store.users() == 0
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
