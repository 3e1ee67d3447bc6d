"""Opening a data file that may be compressed: plain, gzip or xz, told by its first bytes.

What goes wrong while reading becomes a ``DatasetError`` that names the file: not there, a
folder, not allowed, cut off, damaged, or packed in a way that is not read here.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from stream.errors import DatasetError

PlainBytes: TypeAlias = io.BufferedReader | gzip.GzipFile | lzma.LZMAFile
"""A file's bytes as they were before packing; all three can ``peek``, ``read`` and ``readline``."""

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\x00"
PARQUET_MAGIC = b"PAR1"
# Packings people do use for data sets; refused by name, since their bytes read as a strange CSV.
FOREIGN_MAGIC = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"7z\xbc\xaf": "7z"}


@contextmanager
def open_data(path: Path) -> Iterator[PlainBytes]:
    """Open ``path`` for reading its unpacked bytes; any fault of the file is a ``DatasetError``."""
    try:
        with path.open("rb") as raw, _unpacked(path, raw) as stream:
            yield stream
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DatasetError(f"{path}: is a folder; name a file in it") from None
    except EOFError:
        raise DatasetError(f"{path}: the compressed data ends too early; the file is cut off") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as fault:
        raise DatasetError(f"{path}: the compressed data is damaged ({fault})") from fault
    except OSError as fault:
        raise DatasetError(f"{path}: cannot be read ({fault.strerror or fault})") from fault


def _unpacked(path: Path, raw: io.BufferedReader) -> PlainBytes:
    """The bytes of ``raw`` as they were before packing."""
    head = raw.peek(len(XZ_MAGIC))
    if not head:
        raise DatasetError(f"{path}: the file is empty")
    if head.startswith(GZIP_MAGIC):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(XZ_MAGIC):
        return lzma.LZMAFile(raw)
    for magic, name in FOREIGN_MAGIC.items():
        if head.startswith(magic):
            raise DatasetError(f"{path}: is packed with {name}; unpack it, or pack it with gzip or xz")
    if path.suffix in {".gz", ".xz"}:
        raise DatasetError(f"{path}: is not what its name says; its data is not {path.suffix[1:]}")
    return raw
