"""Whom training leaves out: keyed hashes of the users who were erased, with the time of the request.

A file in the model store, so that it lasts longer than the request in Kafka does and holds for training
from a file as well. BLAKE2b with a key of its own: without the key a hash says nothing of a user's id.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from stream.errors import FreshetError
from stream.model_files import model_files, reaching, write_first, write_whole
from stream.settings import Settings

LIST: Final = "forgotten.json"
KEY: Final = "forgotten.key"
KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 16


class Exclusions:
    """The users that were erased, by hash."""

    def __init__(self, settings: Settings) -> None:
        """Name the files; neither need exist yet."""
        self._folder = model_files(settings)
        self._keyfile = settings.forget_keyfile or self._folder / KEY

    def add(self, requests: Mapping[str, int]) -> None:
        """Write down users with the times of their requests (ms); of two times the later one stays.

        Raises FreshetError where that cannot be written.
        """
        if not requests:
            return
        try:
            with reaching(self._folder):
                if isinstance(self._folder, Path):
                    self._folder.mkdir(parents=True, exist_ok=True)
                key = self._key()
                known = self.read()
                added = {digest(key, user_id): at_ms for user_id, at_ms in requests.items()}
                later = {name: max(at_ms, known.get(name, at_ms)) for name, at_ms in added.items()}
                if not later.items() <= known.items():
                    write_whole(self._folder / LIST, json.dumps(known | later).encode())
        except OSError as error:
            raise self._fault("write", error) from error

    def read(self) -> dict[str, int]:
        """Return the time (ms) of each user's request, by hash. Raises FreshetError for a damaged file."""
        file = self._folder / LIST
        try:
            with reaching(file):
                found = json.loads(file.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._fault("read", error) from error
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(type(at_ms) is int for at_ms in found.values()):
            raise FreshetError(f"{file} is damaged: whom to leave out is not known; put back a copy of it")
        return found

    def hash_of(self, user_id: str) -> str:
        """Return what stands for a user. Raises FreshetError where there is no key and none can be made."""
        try:
            with reaching(self._folder):
                return digest(self._key(), user_id)
        except OSError as error:
            raise self._fault("read", error) from error

    def without(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the events but those of erased users up to their requests."""
        known = self.read()
        if not known or events.is_empty():
            return events
        users = events["user_id"].unique()
        hashes = [self.hash_of(user_id) for user_id in users] if len(users) else []
        until = pl.DataFrame(
            {"user_id": users, "_until": [known.get(name) for name in hashes]},
            schema_overrides={"_until": pl.Int64},
        ).drop_nulls()
        if until.is_empty():
            return events
        told = events.join(until, on="user_id", how="left", maintain_order="left")
        return told.filter(pl.col("_until").is_null() | (pl.col("timestamp") > pl.col("_until"))).drop(
            "_until"
        )

    def _key(self) -> bytes:
        """Return the key, made where there is none; whoever comes second takes the first one's."""
        if not self._keyfile.exists():
            write_first(self._keyfile, secrets.token_bytes(KEY_BYTES))
        return self._keyfile.read_bytes()[:64]

    def _fault(self, verb: str, error: OSError) -> FreshetError:
        return FreshetError(
            f"cannot {verb} whom to leave out of training ({error.filename}): {error.strerror or error}; "
            "set FRESHET_MODEL_STORE and FRESHET_FORGET_KEYFILE to where this process may"
        )


def digest(key: bytes, user_id: str) -> str:
    """Return the hash of a user's id under a key."""
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=DIGEST_BYTES).hexdigest()
