"""Signed artifacts: what was tampered with is refused and counted, and the old weights go on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from prometheus_client import CollectorRegistry

from models import artifact
from models.artifact import MANIFEST, WEIGHTS
from stream import signature
from stream.errors import ArtifactRefused, SettingsError
from stream.messages import ModelManifest, encode
from stream.settings import Settings
from stream.signature import SIGNATURE, private_key, public_key, sign
from stream.telemetry import Telemetry
from stream.weights import Weights, artifact_folder, load_announced, manifest_of
from tests.support.recommenders import small_recommender
from tests.support.retrain_process import BEGIN_MS, Shop, circling

PEM = serialization.Encoding.PEM


def key_files(folder: Path, name: str) -> dict[str, str]:
    """Write a pair of keys; returns the settings that name them."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return {"model_private_keyfile": str(private), "model_public_keyfile": str(public)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store, and the keys of both sides."""
    return Settings.load(
        model_store=str(tmp_path / "store"), model_name="shop", **key_files(tmp_path, "ours")
    )


def saved(settings: Settings, seed: int) -> ModelManifest:
    """Save and sign an artifact; returns its announcement."""
    recommender = replace(small_recommender(seed=seed), rule=settings.segment_rule)
    url = f"shop/{recommender.version}"
    folder = artifact_folder(settings, url)
    written = artifact.save(folder, recommender)
    sign(settings, folder)
    return manifest_of(folder, written, url=url, announced_at_ms=1)


def tamper(folder: Path) -> None:
    """Put other weights in, and their digest into the manifest, as who knows the format would."""
    manifest = artifact.read_manifest(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    digests = {**manifest.files, WEIGHTS: hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(replace(manifest, files=digests).to_json(), encoding="utf-8")


def sign_with_another(folder: Path) -> None:
    """Sign with a key that is not ours."""
    sign(Settings.load(**key_files(folder.parent, "theirs")), folder)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "tampered": tamper,
    "unsigned": lambda folder: (folder / SIGNATURE).unlink(),
    "empty": lambda folder: (folder / SIGNATURE).write_bytes(b""),
    "another-key": sign_with_another,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_artifact_that_is_not_as_signed_is_refused_and_the_old_one_goes_on(
    settings: Settings, damage: Callable[[Path], object]
):
    """Also where its announcement fits it: whoever changed it can announce too."""
    registry = CollectorRegistry()
    taken: list[str] = []
    weights = Weights(
        settings,
        telemetry=Telemetry(registry),
        swap=lambda recommender: taken.append(recommender.version),
        try_out=lambda recommender, terms: None,
    )
    before, after = saved(settings, 0), saved(settings, 1)
    folder = artifact_folder(settings, after.url)
    damage(folder)
    forged = manifest_of(folder, artifact.read_manifest(folder), url=after.url, announced_at_ms=2)
    for announced in (before, forged):
        await weights.handle(SimpleNamespace(key=b"shop", value=encode(announced)))
    assert taken == [before.version]
    assert weights.version == before.version
    assert registry.get_sample_value("freshet_model_swaps_total", {"outcome": "refused"}) == 1
    with pytest.raises(ArtifactRefused, match="FRESHET_MODEL_PUBLIC_KEYFILE"):
        load_announced(settings, forged)


def test_files_that_change_behind_the_check_are_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """What is loaded is what the checked manifest says, whatever stands in its place by then."""
    manifest = saved(settings, 0)
    folder = artifact_folder(settings, manifest.url)
    monkeypatch.setattr(signature, "check", lambda *_: tamper(folder))
    with pytest.raises(ArtifactRefused, match="is damaged"):
        load_announced(settings, manifest)


async def test_retraining_signs_whatever_it_announces(tmp_path: Path):
    """The first weights and a light refresh; it checks them as a worker would before it announces them."""
    shop = Shop(tmp_path, **key_files(tmp_path, "ours"))
    for kind in (None, "light"):
        assert (await shop.job().run(kind)).outcome == "promoted"
        manifest = await shop.announced()
        assert manifest is not None
        assert (artifact_folder(shop.settings, manifest.url) / SIGNATURE).exists()
        shop.come(circling(BEGIN_MS + 3_600_000))


def test_signature_is_not_asked_for_without_the_public_key(settings: Settings):
    """Who sets no key takes what is announced, as before."""
    manifest = saved(settings, 0)
    tamper(artifact_folder(settings, manifest.url))
    folder = artifact_folder(settings, manifest.url)
    forged = manifest_of(folder, artifact.read_manifest(folder), url=manifest.url, announced_at_ms=2)
    trusting = settings.model_copy(update={"model_public_keyfile": None})
    assert load_announced(trusting, forged).version == manifest.version


def test_nothing_is_signed_without_the_private_key(settings: Settings):
    """And no file of it appears."""
    manifest = saved(settings.model_copy(update={"model_private_keyfile": None}), 0)
    assert not (artifact_folder(settings, manifest.url) / SIGNATURE).exists()


@pytest.mark.parametrize("content", [None, b"", b"no key", "ec"])
def test_key_that_cannot_be_used_is_told(tmp_path: Path, content: bytes | str | None):
    """The setting, the file and what it must be; before any training."""
    file = tmp_path / "key.pem"
    if content == "ec":
        other = ec.generate_private_key(ec.SECP256R1())
        content = other.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if content is not None:
        file.write_bytes(content)
    for name, read in (("private", private_key), ("public", public_key)):
        with pytest.raises(SettingsError, match=rf"^FRESHET_MODEL_{name.upper()}_KEYFILE is '{file}'"):
            read(Settings.load(**{f"model_{name}_keyfile": str(file)}))
