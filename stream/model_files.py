"""The model store's files: in a folder of this machine, or in an object store that fsspec knows by its URL.

An object store has no renaming and no hidden draft; what is written there in one request appears
whole. So an artifact is there once its manifest is, which is written last and deleted first.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from models.artifact import Folder
from models.errors import ModelsError
from stream.errors import FreshetError, SettingsError, StoreUnreachable
from stream.settings import Settings, variable


def model_files(settings: Settings) -> Folder:
    """Return where the model store is; it need not exist yet.

    Raises ``SettingsError`` for an URL of a kind that nothing installed knows.
    """
    url = settings.model_store_url
    if "://" not in url:
        return Path(url)
    try:
        # Others write there too, so what was listed before says nothing.
        place = UPath(url, use_listings_cache=False)
        local = isinstance(place.fs, LocalFileSystem)  # asking for it needs the library of the store's kind
    except (ImportError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{variable('model_store')} is '{url}': {_line(error)}; give a folder, or install what this kind "
            "of store needs (for s3:// it is freshet[s3])"
        ) from error
    return Path(place.path) if local else place


@contextmanager
def reaching(place: Folder) -> Iterator[None]:
    """Raise ``StoreUnreachable`` for whatever an object store's library raises of its own.

    Errors of a folder, and of a store that answers (nothing there, not allowed), are OSError and stay so.
    """
    try:
        yield
    except (OSError, FreshetError, ModelsError):
        raise
    except Exception as error:
        if isinstance(place, Path):
            raise
        raise StoreUnreachable(
            f"the model store {place} cannot be reached: {_line(error)}; set {variable('model_store')}, and "
            "what its library takes addresses and credentials from (for s3:// AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
        ) from error


def write_whole(file: Folder, content: bytes) -> None:
    """Write a file that appears whole, in place of one that may be there. Raises OSError."""
    if isinstance(file, Path):
        draft = file.with_name(f".{file.name.lstrip('.')}-{os.getpid()}")
        draft.write_bytes(content)
        draft.replace(file)
    else:
        file.write_bytes(content)


def write_first(file: Folder, content: bytes) -> None:
    """Write a file that appears whole, unless one is there already. Raises OSError."""
    with suppress(FileExistsError):
        if isinstance(file, Path):
            opened, draft = tempfile.mkstemp(dir=file.parent, prefix=".first-")
            try:
                with os.fdopen(opened, "wb") as written:
                    written.write(content)
                os.link(draft, file)
            finally:
                Path(draft).unlink()
        else:
            with file.open("xb") as written:
                written.write(content)


def delete_artifact(folder: Folder, manifest: str) -> None:
    """Delete an artifact's folder; whoever reads meanwhile finds all of it or nothing. Raises OSError."""
    if isinstance(folder, Path):
        gone = folder.with_name(f".{folder.name}-gone")
        folder.rename(gone)
        shutil.rmtree(gone)
    else:
        (folder / manifest).unlink()
        folder.fs.rm(folder.path, recursive=True)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
