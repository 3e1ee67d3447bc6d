"""The decoders of files, as a fuzzer sees them: artifacts, signatures and data files.

Each input is one file's content, written into a folder of its own among others that are right. Of an
artifact the digests are made to fit, since what is to be seen lies behind them. Parquet is left out: over
some damaged pages polars' reader ends the process.
"""

import gzip
import hashlib
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models import artifact
from models.errors import ArtifactError
from models.memory import Memories
from models.recommender import Recommender
from stream import signature
from stream.datasets import read_events, read_items
from stream.errors import ArtifactRefused, DatasetError
from stream.settings import Settings
from tests.support import mutation
from tests.support.recommenders import small_recommender, small_vocabulary

Row = tuple[
    str, int, tuple[bytes, ...], Callable[..., Any], Callable[..., Any], Any, tuple[type[Exception], ...]
]

ROWS = (
    b"user_id,item_id,category_id,behavior,timestamp\nu1,i1,c1,pv,1511544070\nu2,i2,,buy,1511544071\n",
    b"1,2268318,2520377,pv,1511544070\n1,2333346,2520771,fav,1511561733\n",
    b"user_id,item_id,behavior_type,user_geohash,item_category,time\n1,285259775,1,97l,4076,2014-12-08 18\n",
    b'user_id\titem_id\ttimestamp\nu1\t"a\nb"\t2014-12-06T02:03:04.5+01:00\n',
    b"user_id;item_id;timestamp;session_id;event_id\nu1;i1;1511544070123;s;e\n",
)


def table(folder: Path) -> Iterator[Row]:
    """Give the decoders of files, which write into ``folder``."""
    good = folder / "good"
    recommender = small_recommender(units=2, blended=True, vocabulary=small_vocabulary(4, 3))
    artifact.save(good, recommender, training={"epochs": 1}, metrics={"mrr": 0.5})
    names = (artifact.MANIFEST, artifact.WEIGHTS, artifact.TABLES, artifact.VOCABULARY, artifact.BLEND)
    contents = {name: (good / name).read_bytes() for name in names}
    refused = (ArtifactError,)
    makers = {".json": mutation.of_json, ".safetensors": mutation.of_tensors}
    for name in names:
        read = _artifact_reader(folder / f"changed-{name}", contents, name)
        made = makers[Path(name).suffix]
        yield f"artifact-{name.partition('.')[0]}", 5, (contents[name],), made, read, None, refused
    whole = (b"{}", good.joinpath(artifact.MANIFEST).read_bytes())
    yield "manifest", 30, whole, mutation.of_json, _manifest, _manifest_written, refused
    signed, right = _signed(folder / "signed")
    yield "signature", 10, (right,), mutation.of_bytes, signed, None, (ArtifactRefused,)
    yield "rows", 10, ROWS, mutation.of_rows, _events_reader(folder / "rows.csv"), None, (DatasetError,)
    yield "item-rows", 5, ROWS, mutation.of_rows, _items_reader(folder / "items.csv"), None, (DatasetError,)
    for suffix, packed in (("gz", gzip.compress(ROWS[0], mtime=0)), ("xz", lzma.compress(ROWS[0]))):
        read = _events_reader(folder / f"packed.{suffix}")
        yield f"rows-{suffix}", 10, (packed,), mutation.of_bytes, read, None, (DatasetError,)


def _artifact_reader(folder: Path, contents: dict[str, bytes], changed: str) -> Callable[[bytes], None]:
    """Make a reader of artifacts in which one file is the input and the manifest knows its digest."""
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    told = json.loads(contents[artifact.MANIFEST])

    def read(data: bytes) -> None:
        manifest = data
        if changed != artifact.MANIFEST:
            _put(folder / changed, data)
            told["files"][changed] = hashlib.sha256(data).hexdigest()
            manifest = json.dumps(told).encode()
        _use(artifact.load(folder, manifest))

    return read


def _use(recommender: Recommender) -> None:
    """Do with a recommender what a worker would: what was loaded has to serve."""
    known = recommender.vocabulary
    ids = dict.fromkeys(("new", *known.item_ids[1:]), known.category_ids[-1])
    grown = recommender.announced(ids)
    rows = [min(1, known.n_items - 1)]
    one = np.ones(1, np.int64)
    states = grown.advance(grown.initial(1), np.array(rows), 0 * one, 0 * one, 0 * one, one)
    assert grown.scores(states, Memories.of([rows], [rows], 0 * one)).shape == (1, grown.vocabulary.n_items)


def _put(file: Path, data: bytes) -> None:
    """Write a file anew; some file systems wait for the disk where one that is there becomes shorter."""
    file.unlink(missing_ok=True)
    file.write_bytes(data)


def _manifest(data: bytes) -> artifact.Manifest:
    return artifact.read_manifest(Path("artifact"), data)


def _manifest_written(manifest: artifact.Manifest) -> bytes:
    return manifest.to_json().encode()


def _signed(folder: Path) -> tuple[Callable[[bytes], None], bytes]:
    """Make a check of signatures of one manifest, and the one that is right."""
    folder.mkdir()
    key = Ed25519PrivateKey.generate()
    public = folder / "public.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    settings = Settings(model_public_keyfile=public)

    def read(data: bytes) -> None:
        _put(folder / signature.SIGNATURE, data)
        signature.check(settings, folder, b"{}")

    return read, key.sign(b"{}")


def _events_reader(file: Path) -> Callable[[bytes], list[pl.DataFrame]]:
    def read(data: bytes) -> list[pl.DataFrame]:
        _put(file, data)
        return list(read_events(file, block_bytes=256))

    return read


def _items_reader(file: Path) -> Callable[[bytes], pl.DataFrame]:
    def read(data: bytes) -> pl.DataFrame:
        _put(file, data)
        return read_items(file, block_bytes=256)

    return read
