"""The users' records of a worker on its disk: one RocksDB a partition, under one lock.

What is on disk is a copy of the changelog up to an offset that stands beside the records, written
in one batch with them. So whatever is lost of it (a crash, a damaged file, a wiped disk) is read again
from the changelog, and a copy that cannot be of this changelog is thrown away.

All partitions share one block cache, which write buffers, indexes and filters are counted in too.
"""

import fcntl
import shutil
import time
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Final, TextIO

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBufferManager

from stream.changelog import Extent
from stream.disk_records import DAMAGED, DiskRecords, Mark, is_damage, one_line, read_mark, refused
from stream.errors import StoreInUse

log = getLogger(__name__)

#: A copy that was last complete this long ago is not gone on with: Kafka keeps the tombstones of erased
#: users for a day (delete.retention.ms), so later the changelog may not say who was erased since.
KEPT_S: Final = 12 * 3_600

#: Of the memory, what write buffers may take; the rest holds blocks that were read.
BUFFERS_SHARE: Final = 0.5
MOST_BUFFER_BYTES: Final = 64 << 20
BLOCK_BYTES: Final = 8 << 10
#: An absent key is looked for in vain once in a hundred times, at so many bits a key.
BLOOM_BITS: Final = 10
OPEN_FILES: Final = 128
INFO_LOG_BYTES: Final = 1 << 20
INFO_LOGS: Final = 2


def why_useless(mark: Mark | None, extent: Extent, *, now_ms: int) -> str | None:
    """Return why a copy cannot be gone on with from its mark, or None where it can."""
    if mark is None:
        return "they do not say what they are a copy of"
    if mark.identity != extent.identity:
        return "they are a copy of another changelog: the topic was made anew, or the cluster is another"
    if mark.offset >= extent.end:
        return f"they are ahead of the changelog, at offset {mark.offset}, and it ends at {extent.end}"
    if mark.offset + 1 < extent.first:
        return f"what follows their offset {mark.offset} was deleted; the changelog begins at {extent.first}"
    if now_ms - mark.at_ms > KEPT_S * 1_000:
        return f"they were last complete over {KEPT_S // 3_600} h ago, and tombstones are not kept for ever"
    return None


class Disk:
    """The folder of one worker's copies and the memory that they share."""

    def __init__(self, folder: Path, *, memory_mb: int, now: Callable[[], float] = time.time) -> None:
        """Take the folder, which ``lock`` makes, what blocks and write buffers may take, and a clock."""
        self._folder = folder
        self._now = now
        self._cache = Cache(memory_mb << 20)
        self._buffer_bytes = int((memory_mb << 20) * BUFFERS_SHARE)
        # Without a stall: a write that waits for a flush would hold up the whole worker.
        self._buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            self._buffer_bytes, False, self._cache
        )
        self._lock: TextIO | None = None

    def lock(self) -> None:
        """Keep every other worker out of the folder, for as long as this process lives.

        Raises ``StoreInUse`` where one is in it, and ``StoreError`` where it cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            held = (self._folder / "worker.lock").open("a")
        except OSError as error:
            raise refused(self._folder, error) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            raise StoreInUse(
                f"another worker keeps its users in {self._folder}; "
                "give each worker a folder of its own (FRESHET_DATA_DIR)"
            ) from None
        self._lock = held

    def unlock(self) -> None:
        """Let others into the folder; every partition must be closed."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def open(self, number: int, extent: Extent) -> DiskRecords:
        """Open the copy of a partition, or begin one where there is none that can be gone on with.

        Raises ``StoreError`` where the machine refuses.
        """
        place = self._folder / str(number)
        records = self._found(place, extent) if place.exists() else None
        if records is None:
            records = self._begun(place, extent)
        log.info(
            "the users of a partition are opened",
            extra={"partition": number, "users": len(records), "offset": records.applied, "end": extent.end},
        )
        return records

    def _found(self, place: Path, extent: Extent) -> DiskRecords | None:
        """Return what is on disk; None where it was of no use and is thrown away."""
        why: str | None = "they were found damaged"
        if not (place / DAMAGED).exists():
            try:
                database = Rdict(str(place), self._options(new=False))
                mark = read_mark(database)
            except Exception as error:
                if not is_damage(error):
                    raise refused(place, error) from error
                why = f"they are damaged ({one_line(error)})"
            else:
                why = why_useless(mark, extent, now_ms=int(self._now() * 1_000))
                if mark is not None and why is None:
                    return DiskRecords(database, mark, place=place, now=self._now)
                database.close()
        log.warning(
            "users on disk are thrown away and read from the changelog: %s", why, extra={"place": place}
        )
        self._throw_away(place)
        return None

    def _throw_away(self, place: Path) -> None:
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise refused(place, error) from error

    def _begun(self, place: Path, extent: Extent) -> DiskRecords:
        """Begin an empty copy, which says from the start what it is one of."""
        try:
            database = Rdict(str(place), self._options(new=True))
        except Exception as error:
            raise refused(place, error) from error
        mark = Mark(extent.identity, -1, 0, int(self._now() * 1_000))
        records = DiskRecords(database, mark, place=place, now=self._now)
        records.write_mark()
        return records

    def _options(self, *, new: bool) -> Options:
        """Return how a partition is kept.

        Records are found by their key alone, so blocks are small and filters spare the search for a new
        user. Most bytes of a record are floats, which no compression makes much smaller: LZ4 is enough.
        """
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_bloom_filter(BLOOM_BITS, False)
        blocks.set_block_size(BLOCK_BYTES)
        options = Options(raw_mode=True)
        options.create_if_missing(new)
        options.set_error_if_exists(new)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(min(MOST_BUFFER_BYTES, self._buffer_bytes // 4))
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_max_open_files(OPEN_FILES)
        options.set_max_log_file_size(INFO_LOG_BYTES)
        options.set_keep_log_file_num(INFO_LOGS)
        return options
