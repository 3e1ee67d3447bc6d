"""Which of a file's columns is which of ours: the published formats, and tables named by the caller.

A format is told by what the first two rows hold, not by the file's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.behavior import Behavior
from stream.columns import BEHAVIOR_WORDS
from stream.delimited import Opening
from stream.errors import DatasetError

EVENT_COLUMNS = ("user_id", "item_id", "timestamp")
ITEM_COLUMNS = ("item_id",)
CARRIED_COLUMNS = ("session_id", "event_id")
"""Not looked at by the recommender; they go along into the messages where a file has them."""
OPTIONAL_COLUMNS = ("category_id", "behavior", *CARRIED_COLUMNS)
CONSTANT_MARK = "="
"""``{"behavior": "=purchase"}`` gives every event that behaviour instead of a column's."""

TIANCHI_COLUMNS = ("user_id", "item_id", "behavior_type", "user_geohash", "item_category", "time")
TIANCHI_ITEM_COLUMNS = ("item_id", "item_geohash", "item_category")
TIANCHI_NAMES = {"behavior": "behavior_type", "category_id": "item_category", "timestamp": "time"}
TAOBAO_COLUMNS = ("user_id", "item_id", "category_id", "behavior", "timestamp")

# UserBehavior as published gives a few of its hundred million rows an impossible time. They are
# left out and counted; more than this share of a block is a damaged file or a wrong unit.
TAOBAO_STRAY_SHARE = 0.001


@dataclass(frozen=True)
class Layout:
    """How a file says what we want.

    ``names`` are the file's columns in order and ``sources`` maps our columns to them.
    ``constant`` is the behaviour of every event where no column tells it. Of each block at
    most ``stray_share`` of the rows may have an impossible time; they are left out.
    """

    names: tuple[str, ...]
    has_header: bool
    sources: Mapping[str, str]
    constant: Behavior = Behavior.CLICK
    stray_share: float = 0.0


def text_layout(
    path: Path, opening: Opening, columns: Mapping[str, str] | None, required: tuple[str, ...]
) -> Layout:
    """Recognise a text file; columns named by the caller come before what the file looks like."""
    first = opening.first
    if not columns:
        if _is_taobao(first):
            return _taobao(has_header=False)
        if _is_tianchi(first):
            return _by_name(TIANCHI_COLUMNS, has_header=False)
        if required == ITEM_COLUMNS and _is_tianchi_item(first):
            return _by_name(TIANCHI_ITEM_COLUMNS, has_header=False)
        if _is_taobao(opening.second) and (first == TAOBAO_COLUMNS or not set(first) & set(required)):
            return _taobao(has_header=True)
    return table_layout(path, first, columns, required)


def table_layout(
    path: Path, names: tuple[str, ...], columns: Mapping[str, str] | None, required: tuple[str, ...]
) -> Layout:
    """The layout of a table with named columns; a name that is not there is a ``DatasetError``."""
    named = dict(columns or {})
    _check_ours(path, named)
    constant = Behavior.CLICK
    sources = {**_by_name(names, has_header=True).sources, **named}
    if named.get("behavior", "").startswith(CONSTANT_MARK):
        del sources["behavior"]
        constant = _constant(path, named.pop("behavior")[len(CONSTANT_MARK) :])
    repeated = [name for name in names if name in sources.values() and names.count(name) > 1]
    if repeated:
        raise DatasetError(f"{path}: has more than one column named {repeated[0]!r}")
    for ours in (*required, *named):
        if sources.get(ours, ours) not in names:
            raise DatasetError(
                f"{path}: no column {sources.get(ours, ours)!r} for {ours}; "
                f"the file's columns are {_shown(names)}; name them with {ours}=COLUMN"
            )
    return Layout(_distinct(names), True, sources, constant)


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with a number added to those that stood before; none of these is one we use."""
    return tuple(
        f"{name} ({position})" if name in names[:position] else name for position, name in enumerate(names)
    )


def _check_ours(path: Path, named: Mapping[str, str]) -> None:
    known = (*EVENT_COLUMNS, *OPTIONAL_COLUMNS)
    for ours in named:
        if ours not in known:
            raise DatasetError(f"{path}: cannot map a column to {ours!r}; ours are {', '.join(known)}")


def _constant(path: Path, word: str) -> Behavior:
    if word.lower() not in BEHAVIOR_WORDS:
        raise DatasetError(
            f"{path}: {word!r} is no behaviour; write click, favorite, cart or purchase after the ="
        )
    return BEHAVIOR_WORDS[word.lower()]


def _by_name(names: tuple[str, ...], *, has_header: bool) -> Layout:
    """Take the columns that are called as ours or as in the Tianchi tables."""
    sources = {ours: ours for ours in (*EVENT_COLUMNS, *OPTIONAL_COLUMNS) if ours in names}
    if {"item_id", "item_category"} <= set(names):
        sources |= {ours: theirs for ours, theirs in TIANCHI_NAMES.items() if theirs in names}
    return Layout(names, has_header, sources)


def _taobao(*, has_header: bool) -> Layout:
    sources = {name: name for name in TAOBAO_COLUMNS}
    return Layout(TAOBAO_COLUMNS, has_header, sources, stray_share=TAOBAO_STRAY_SHARE)


def _is_taobao(row: tuple[str, ...]) -> bool:
    return len(row) == len(TAOBAO_COLUMNS) and row[3] in {"pv", "fav", "cart", "buy"}


def _is_tianchi(row: tuple[str, ...]) -> bool:
    return len(row) == len(TIANCHI_COLUMNS) and row[2] in {"1", "2", "3", "4"} and row[0].isdigit()


def _is_tianchi_item(row: tuple[str, ...]) -> bool:
    return len(row) == len(TIANCHI_ITEM_COLUMNS) and row[0].isdigit() and row[2].isdigit()


def _shown(names: tuple[str, ...]) -> str:
    """The names on one line, cut where they are many or long."""
    shown = [name if len(name) <= 40 else name[:40] + "..." for name in names[:12]]
    return ", ".join(repr(name) for name in shown) + (" ..." if len(names) > len(shown) else "")
