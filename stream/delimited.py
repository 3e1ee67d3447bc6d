"""Rows of delimited text (CSV, TSV) as frames of strings, in blocks of bounded size.

Text without a quotation mark goes through polars. From the first block that holds one, the
standard library's reader takes over: it keeps line breaks inside quotes and a lone mark
inside a field, on which a parser that works in parallel pieces gives up.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import polars as pl

from stream.compression import PlainBytes
from stream.errors import DatasetError

ROW = "__row__"
"""Column of the row's number in the file, counted from 1, the header included."""

# A line longer than this is no row of a behaviour log, and would have to be held whole.
LINE_LIMIT_BYTES = 1 << 20
QUOTED_CHUNK_ROWS = 50_000
SEPARATORS = "\t,;|"


@dataclass(frozen=True)
class Opening:
    """The first two lines of a file, by which its layout is told."""

    separator: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    lines: tuple[bytes, ...]


def read_opening(path: Path, stream: PlainBytes, *, separator: str | None) -> Opening:
    """Take the first two lines from ``stream``; the separator is told by the first if not given."""
    lines = [_line(path, stream, row) for row in (1, 2)]
    lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    texts = [_decoded(path, line, row).rstrip("\r\n") for row, line in enumerate(lines, start=1)]
    if not texts[0].strip():
        raise DatasetError(f"{path}: row 1 is blank; a header or an event is expected there")
    mark = separator or max(SEPARATORS, key=texts[0].count)
    first, second = (_fields(path, text, mark, row) for row, text in enumerate(texts, start=1))
    return Opening(mark, tuple(name.strip() for name in first), second, tuple(lines))


def _fields(path: Path, text: str, separator: str, row: int) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([text], delimiter=separator), ()))
    except csv.Error as fault:
        raise DatasetError(f"{path}: row {row} cannot be split into fields ({fault})") from None


@dataclass(frozen=True)
class Table:
    """What is known of the rows to read; ``names`` are the columns in order."""

    path: Path
    separator: str
    names: tuple[str, ...]
    has_header: bool


def read_rows(
    stream: PlainBytes, table: Table, *, opening: Opening, block_bytes: int
) -> Iterator[pl.DataFrame]:
    """The rows of the file as frames of the string columns ``table.names`` and ``ROW``.

    Blank rows are left out. A row with too few fields has nulls at its end, one with too many
    is a ``DatasetError``. ``stream`` stands after the opening.
    """
    row = 2 if table.has_header else 1
    pending = b"".join(opening.lines[row - 1 :])
    while block := pending + stream.read(block_bytes):
        pending = b""
        block += _line(table.path, stream, row)
        if b'"' in block:
            yield from _quoted(table, chain(block.splitlines(keepends=True), stream), row=row)
            return
        frame = _parsed(table, block, row=row)
        row += frame.height
        yield _without_blanks(frame)


def _line(path: Path, stream: PlainBytes, row: int) -> bytes:
    line = stream.readline(LINE_LIMIT_BYTES)
    if len(line) == LINE_LIMIT_BYTES:
        raise DatasetError(f"{path}: a line at or after row {row} is longer than {LINE_LIMIT_BYTES} bytes")
    return line


def _decoded(path: Path, line: bytes, row: int) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: row {row} is not UTF-8 text") from None
    if "\0" in text:
        raise DatasetError(f"{path}: row {row} holds a zero byte; this is not a text file in UTF-8")
    return text


def _parsed(table: Table, block: bytes, *, row: int) -> pl.DataFrame:
    """Whole lines without quotation marks as a frame, blank rows included."""
    columns = [str(number) for number in range(len(table.names))]
    try:
        frame = pl.read_csv(
            # A header of our own: without one polars takes the width from the block's first row.
            io.BytesIO(table.separator.join(columns).encode() + b"\n" + block),
            separator=table.separator,
            quote_char=None,
            schema=dict.fromkeys(columns, pl.String),
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as fault:
        _refuse_bad_line(table, block, row=row)
        raise DatasetError(f"{table.path}: after row {row}: {str(fault).splitlines()[0]}") from None
    frame.columns = list(table.names)
    return _numbered(frame, row)


def _refuse_bad_line(table: Table, block: bytes, *, row: int) -> None:
    """Find the line for which polars refused the block, since it names none."""
    for number, line in enumerate(block.split(b"\n"), start=row):
        _refuse_wide(table, _decoded(table.path, line, number).split(table.separator), number)


def _refuse_wide(table: Table, fields: list[str], row: int) -> None:
    if len(fields) > len(table.names):
        raise DatasetError(
            f"{table.path}: row {row} has {len(fields)} fields where {len(table.names)} are expected"
        )


def _quoted(table: Table, lines: Iterable[bytes], *, row: int) -> Iterator[pl.DataFrame]:
    """The rows from ``row`` to the end of the file, read one by one."""
    texts = (_decoded(table.path, line, number) for number, line in enumerate(lines, start=row))
    records = csv.reader(texts, delimiter=table.separator, strict=True)
    first_row = row
    try:
        while chunk := list(islice(records, QUOTED_CHUNK_ROWS)):
            fields = [_padded(table, record, number) for number, record in enumerate(chunk, start=row)]
            frame = pl.DataFrame(fields, schema=dict.fromkeys(table.names, pl.String), orient="row")
            yield _without_blanks(_numbered(frame, row))
            row += len(chunk)
    except csv.Error as fault:
        near = first_row + records.line_num - 1
        raise DatasetError(f"{table.path}: near row {near}: quotation marks do not fit ({fault})") from None


def _padded(table: Table, record: list[str], row: int) -> list[str | None]:
    _refuse_wide(table, record, row)
    return [field or None for field in record] + [None] * (len(table.names) - len(record))


def _numbered(frame: pl.DataFrame, first_row: int) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(first_row, first_row + pl.len(), dtype=pl.Int64).alias(ROW))


def _without_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))
