"""Files of shop behaviour as frames of events: the published formats and any table with its columns named.

- Tianchi mobile: ``user_id,item_id,behavior_type,user_geohash,item_category,time`` with
  behaviours 1 to 4 and whole hours, and its item table ``item_id,item_geohash,item_category``;
- Taobao UserBehavior: user, item, category, pv/fav/cart/buy, unix seconds;
- any CSV, TSV or Parquet whose columns are named by the caller, or are called as ours.

The first two with or without a header; text plain, in gzip or in xz. Files are read in blocks,
so memory does not grow with the file. A fault is one ``DatasetError`` that names the file and
the row, the header counted as row 1; the rows before it may already have been given.
"""

import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from stream import columns as convert
from stream.columns import EARLIEST_MS, EVENT_SCHEMA, ITEM_SCHEMA, LATEST_MS, UNIT_NAMES, TimeUnit
from stream.compression import PARQUET_MAGIC, open_data
from stream.delimited import ROW, Table, read_opening, read_rows
from stream.errors import DatasetError
from stream.layouts import CARRIED_COLUMNS, EVENT_COLUMNS, ITEM_COLUMNS, Layout, table_layout, text_layout

logger = logging.getLogger(__name__)

DEFAULT_BLOCK_BYTES = 4 << 20
# A Parquet row of the columns we want is some 40 bytes of text: about the same memory as a block.
PARQUET_ROW_BYTES = 40


def read_events(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    time_unit: TimeUnit | None = None,
    separator: str | None = None,
    block_bytes: int = DEFAULT_BLOCK_BYTES,
) -> Iterator[pl.DataFrame]:
    """The file's events in file order, as frames of ``EVENT_SCHEMA``.

    ``columns`` maps user_id, item_id, timestamp and where present category_id, behavior and
    session_id to the file's column names; a column not mapped is looked for under our own
    name. Without a behaviour column every event is a click; ``"=purchase"`` as the source of
    behavior makes every event a purchase. ``time_unit`` is told by the first number if not
    given. ``separator`` is told by the first line.
    """
    file = Path(path)
    unit = time_unit
    empty = True
    for layout, frame in _raw_frames(file, columns, separator, block_bytes, EVENT_COLUMNS):
        if frame.is_empty():
            continue
        empty = False
        times = _source(layout, frame, "timestamp")
        unit = unit or _told_unit(file, frame, times)
        events = _events(file, layout, frame, unit if convert.is_number(times) else None)
        if not events.is_empty():
            yield events
    if empty:
        raise DatasetError(f"{file}: holds a header and no events")


def load_events(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    time_unit: TimeUnit | None = None,
    separator: str | None = None,
) -> pl.DataFrame:
    """All of the file's events in one frame, for the uses that need the whole of it."""
    return pl.concat(read_events(path, columns=columns, time_unit=time_unit, separator=separator))


def read_items(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    block_bytes: int = DEFAULT_BLOCK_BYTES,
) -> pl.DataFrame:
    """The file's items with their categories: a frame of ``ITEM_SCHEMA``, in the order they first occur.

    It reads Tianchi's item table, any table with item_id and category_id, and the items
    named by a file of events. An item that occurs with two categories has the first.
    """
    file = Path(path)
    items = pl.DataFrame(schema=ITEM_SCHEMA)
    for layout, frame in _raw_frames(file, columns, separator, block_bytes, ITEM_COLUMNS):
        found = pl.DataFrame([_ids(file, layout, frame, "item_id"), _optional(layout, frame, "category_id")])
        items = pl.concat([items, found]).unique("item_id", keep="first", maintain_order=True)
    if items.is_empty():
        raise DatasetError(f"{file}: holds a header and no items")
    return items


def _raw_frames(
    path: Path,
    columns: Mapping[str, str] | None,
    separator: str | None,
    block_bytes: int,
    required: tuple[str, ...],
) -> Iterator[tuple[Layout, pl.DataFrame]]:
    """The file's own columns in frames with ``ROW``, each with the layout that explains them."""
    with open_data(path) as stream:
        if not stream.peek(len(PARQUET_MAGIC)).startswith(PARQUET_MAGIC):
            opening = read_opening(path, stream, separator=separator)
            layout = text_layout(path, opening, columns, required)
            table = Table(path, opening.separator, layout.names, layout.has_header)
            for frame in read_rows(stream, table, opening=opening, block_bytes=block_bytes):
                yield layout, frame
            return
        if not isinstance(stream, io.BufferedReader):
            raise DatasetError(f"{path}: is Parquet packed once more; unpack it")
    yield from _parquet_frames(path, columns, block_bytes, required)


def _parquet_frames(
    path: Path, columns: Mapping[str, str] | None, block_bytes: int, required: tuple[str, ...]
) -> Iterator[tuple[Layout, pl.DataFrame]]:
    chunk_rows = max(1, block_bytes // PARQUET_ROW_BYTES)
    try:
        table = pl.scan_parquet(path, glob=False)
        layout = table_layout(path, tuple(table.collect_schema().names()), columns, required)
        wanted = list(dict.fromkeys(layout.sources.values()))
        for start in range(0, table.select(pl.len()).collect().item(), chunk_rows):
            frame = table.select(wanted).slice(start, chunk_rows).collect()
            yield layout, frame.with_row_index(ROW, offset=start + 1)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as fault:
        # Of a damaged page polars' reader panics.
        raise DatasetError(f"{path}: not a whole Parquet file ({str(fault).splitlines()[0]})") from None


def _events(path: Path, layout: Layout, frame: pl.DataFrame, unit: TimeUnit | None) -> pl.DataFrame:
    """One frame of the file as events; a value that cannot be understood is a ``DatasetError``."""
    users, items = (_ids(path, layout, frame, ours) for ours in ("user_id", "item_id"))
    times = _source(layout, frame, "timestamp")
    times_ms = convert.times_ms(times, unit=unit).alias("timestamp")
    what = "an unknown date-time" if unit is None else "not a number"
    _refuse_null(path, layout, frame=frame, converted=times_ms, what=what)
    possible = times_ms.is_between(EARLIEST_MS, LATEST_MS, closed="left")
    strays = frame.height - int(possible.sum())
    if strays > layout.stray_share * frame.height:
        raise _impossible_time(path, frame.filter(~possible), times=times.filter(~possible), unit=unit)
    columns = [
        users,
        items,
        _optional(layout, frame, "category_id"),
        _behaviors(path, layout, frame),
        times_ms,
    ]
    columns += [_optional(layout, frame, ours) for ours in CARRIED_COLUMNS if ours in layout.sources]
    events = pl.DataFrame(columns)
    if strays:
        logger.warning("left out events whose time cannot be", extra={"file": str(path), "events": strays})
        events = events.filter(possible)
    return events


def _source(layout: Layout, frame: pl.DataFrame, ours: str) -> pl.Series:
    return frame[layout.sources[ours]]


def _ids(path: Path, layout: Layout, frame: pl.DataFrame, ours: str) -> pl.Series:
    found = convert.ids(_source(layout, frame, ours)).alias(ours)
    _refuse_null(path, layout, frame=frame, converted=found, what="no usable id")
    return found


def _optional(layout: Layout, frame: pl.DataFrame, ours: str) -> pl.Series:
    if ours not in layout.sources:
        return pl.Series(ours, [None] * frame.height, dtype=pl.String)
    return convert.ids(_source(layout, frame, ours)).alias(ours)


def _behaviors(path: Path, layout: Layout, frame: pl.DataFrame) -> pl.Series:
    if "behavior" not in layout.sources:
        return pl.repeat(layout.constant, frame.height, dtype=EVENT_SCHEMA["behavior"], eager=True).alias(
            "behavior"
        )
    found = convert.behaviors(_source(layout, frame, "behavior")).alias("behavior")
    _refuse_null(path, layout, frame=frame, converted=found, what="no behaviour we know")
    return found


def _refuse_null(path: Path, layout: Layout, *, frame: pl.DataFrame, converted: pl.Series, what: str) -> None:
    """Name the first row whose value could not be understood, if there is one."""
    if not converted.null_count():
        return
    bad = frame.filter(converted.is_null()).head(1)
    value = _source(layout, bad, converted.name)[0]
    shown = "is missing" if value is None else f"is {_shown(value)}, {what}"
    raise DatasetError(f"{path}: row {bad[ROW][0]}: {converted.name} {shown}")


def _told_unit(path: Path, frame: pl.DataFrame, times: pl.Series) -> TimeUnit | None:
    unit = convert.told_unit(times)
    if unit is None and convert.is_number(times):
        raise DatasetError(
            f"{path}: row {frame[ROW][0]}: timestamp {_shown(times.drop_nulls()[0])} is neither seconds nor "
            "milliseconds of a time between 1980 and 2100"
        )
    return unit


def _impossible_time(
    path: Path, frame: pl.DataFrame, *, times: pl.Series, unit: TimeUnit | None
) -> DatasetError:
    """Say which time cannot be and, where the number tells it, the unit that it is in."""
    where = f"{path}: row {frame[ROW][0]}: timestamp {_shown(times[0])}"
    if unit is None:
        return DatasetError(f"{where} is not between 1980 and 2100")
    told = convert.told_unit(times.head(1))
    remedy = (
        f"; it looks like {UNIT_NAMES[told]}: give the time unit {told} (--time-unit {told})" if told else ""
    )
    return DatasetError(f"{where} read as {UNIT_NAMES[unit]} is not between 1980 and 2100{remedy}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
