"""From a data file's own columns to the common ones: ids, behaviours and times.

The common columns are those of ``EVENT_SCHEMA``. Each function takes one column as the file
has it and returns one with null where a value cannot be understood; ``datasets`` turns the
first of these into an error that names the row.

Times without a zone are UTC, in every format. The Tianchi data has whole hours of an unnamed
zone; taken as UTC they keep their order and their hour of the day.
"""

from datetime import UTC, datetime
from typing import Literal, TypeAlias

import polars as pl

from models.behavior import Behavior
from stream.messages import MAX_ID_LENGTH

TimeUnit: TypeAlias = Literal["s", "ms"]

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "category_id": pl.String(),
    "behavior": pl.Int8(),
    "timestamp": pl.Int64(),
}
"""Columns of every frame of events; ``category_id`` may be null, ``timestamp`` is milliseconds.

``session_id`` and ``event_id`` (string, may be null) follow when the file has them.
"""

ITEM_SCHEMA: dict[str, pl.DataType] = {"item_id": pl.String(), "category_id": pl.String()}

# What the published data sets and common trackers call the four behaviours.
BEHAVIOR_WORDS: dict[str, Behavior] = {
    **dict.fromkeys(("1", "pv", "click", "view", "clicks"), Behavior.CLICK),
    **dict.fromkeys(("2", "fav", "favorite", "favourite"), Behavior.FAVORITE),
    **dict.fromkeys(("3", "cart", "addtocart", "add_to_cart"), Behavior.CART),
    **dict.fromkeys(("4", "buy", "purchase", "transaction", "order"), Behavior.PURCHASE),
}

EARLIEST_MS = int(datetime(1980, 1, 1, tzinfo=UTC).timestamp()) * 1000
LATEST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1000
"""Outside of these a time is not one of a shop's log, but a number read in the wrong unit.

Read the wrong way, seconds give 1970 and milliseconds a year past 10,000: the two ranges are
disjoint, so a number also tells its own unit.
"""

UNIT_MS: dict[TimeUnit, int] = {"s": 1000, "ms": 1}
UNIT_NAMES: dict[TimeUnit, str] = {"s": "seconds", "ms": "milliseconds"}

# Text that tools write for a missing value.
_MISSING = ("", "nan", "null")
_DATE_TIME = "%Y-%m-%d %H:%M:%S%.f"


def ids(column: pl.Series) -> pl.Series:
    """Ids as text; null where the value is empty, blank, NaN, the word null, or too long for a message.

    Whole numbers lose the point that a column with missing values gave them: 17.0 is "17".
    """
    text = _text(column)
    missing = text.str.strip_chars().str.to_lowercase().is_in(_MISSING)
    unusable = missing | (text.str.len_chars() > MAX_ID_LENGTH)
    return text.set(unusable.fill_null(False), None)


def behaviors(column: pl.Series) -> pl.Series:
    """Behaviours as ``Behavior`` numbers from the words or the Tianchi codes 1 to 4."""
    words = _text(column).str.strip_chars().str.to_lowercase()
    return words.replace_strict(BEHAVIOR_WORDS, default=None, return_dtype=pl.Int8)


def times_ms(column: pl.Series, *, unit: TimeUnit | None) -> pl.Series:
    """Times in milliseconds since the epoch, from numbers in ``unit`` or from date-times.

    A date-time is "2014-12-06 02", with or without minutes, seconds and their fraction, with
    a space or a T, with or without a zone. ``unit`` is needed for numbers only.
    """
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return column.cast(pl.Datetime("ms", getattr(column.dtype, "time_zone", None))).cast(pl.Int64)
    if unit is None:
        return _date_times(column.cast(pl.String))
    numbers = column.cast(pl.Float64, strict=False)
    if column.dtype.is_integer():
        return column.cast(pl.Int64, strict=False) * UNIT_MS[unit]
    milliseconds = (numbers * UNIT_MS[unit]).round()
    return milliseconds.set(~milliseconds.is_finite().fill_null(False), None).cast(pl.Int64, strict=False)


def told_unit(column: pl.Series) -> TimeUnit | None:
    """The unit that the first value tells by its size; None for date-times and for nothing known."""
    if column.dtype.is_temporal():
        return None
    first = column.drop_nulls().head(1).cast(pl.Float64, strict=False).drop_nulls()
    for unit, milliseconds in UNIT_MS.items():
        if first.len() and EARLIEST_MS <= first[0] * milliseconds < LATEST_MS:
            return unit
    return None


def is_number(column: pl.Series) -> bool:
    """Whether the first value is a number."""
    first = column.drop_nulls().head(1)
    return not column.dtype.is_temporal() and first.cast(pl.Float64, strict=False).drop_nulls().len() == 1


def _text(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        return whole.set((whole.cast(pl.Float64) != column).fill_null(True), None).cast(pl.String)
    return column.cast(pl.String)


def _date_times(text: pl.Series) -> pl.Series:
    """Each form is first completed to a date, a time with seconds and a zone."""
    plain = text.str.strip_chars().str.replace("T", " ", literal=True).str.replace("(Z|z)$", "+00:00")
    zone = plain.str.extract(r" .*([+-]\d{2}:?\d{2})$", 1).fill_null("+00:00")
    bare = plain.str.replace(r"( .*?) ?[+-]\d{2}:?\d{2}$", "$1")
    full = (
        bare.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "$1 00")
        .str.replace(r"^(\S+ \d{2})$", "$1:00")
        .str.replace(r"^(\S+ \d{2}:\d{2})$", "$1:00")
    )
    parsed = (full + zone).str.to_datetime(_DATE_TIME + "%z", time_unit="ms", time_zone="UTC", strict=False)
    return parsed.cast(pl.Int64)
