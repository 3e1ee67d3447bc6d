"""Signed artifacts: whoever can write to the model store cannot make weights that workers take.

The signature (Ed25519) is a file beside the manifest, over the manifest's bytes, which hold the
SHA-256 of every other file. Training signs with a private key, workers check with the public one;
both are PEM files named by settings.
"""

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from models import artifact
from models.artifact import Folder
from stream.errors import ArtifactRefused, FreshetError, SettingsError
from stream.model_files import reaching, write_whole
from stream.settings import Settings, variable

SIGNATURE: Final = "manifest.sig"


def private_key(settings: Settings) -> Ed25519PrivateKey | None:
    """Return what artifacts are signed with; None for nothing. Raises ``SettingsError``."""
    content = _content(settings.model_private_keyfile, "model_private_keyfile")
    if content is None:
        return None
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key("model_private_keyfile", settings.model_private_keyfile, "private")
    return key


def public_key(settings: Settings) -> Ed25519PublicKey | None:
    """Return what artifacts are checked with; None for nothing. Raises ``SettingsError``."""
    content = _content(settings.model_public_keyfile, "model_public_keyfile")
    if content is None:
        return None
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("model_public_keyfile", settings.model_public_keyfile, "public")
    return key


def sign(settings: Settings, folder: Folder) -> None:
    """Sign the artifact in ``folder`` if the settings name a key; the file appears whole."""
    key = private_key(settings)
    if key is None:
        return
    try:
        with reaching(folder):
            write_whole(folder / SIGNATURE, key.sign((folder / artifact.MANIFEST).read_bytes()))
    except OSError as error:
        raise FreshetError(f"cannot sign the artifact in {folder}: {error.strerror or error}") from error


def check(settings: Settings, folder: Folder, manifest: bytes) -> None:
    """Raise ``ArtifactRefused`` unless ``manifest`` is what was signed, where the settings name a key."""
    key = public_key(settings)
    if key is None:
        return
    try:
        key.verify((folder / SIGNATURE).read_bytes(), manifest)
    except FileNotFoundError:
        raise ArtifactRefused(
            f"the artifact in {folder} is not signed and {variable('model_public_keyfile')} is set; "
            f"train with {variable('model_private_keyfile')}"
        ) from None
    except InvalidSignature:
        raise ArtifactRefused(
            f"the artifact in {folder} is not as it was signed, or by another key than that of "
            f"{variable('model_public_keyfile')}; train again, and look who can write to the model store"
        ) from None


def _content(file: Path | None, name: str) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{variable(name)} is '{file}': {(error.strerror or str(error)).lower()}"
        ) from None


def _no_key(name: str, file: Path | None, kind: str) -> SettingsError:
    return SettingsError(f"{variable(name)} is '{file}'; it must be an Ed25519 {kind} key (PEM, no password)")
