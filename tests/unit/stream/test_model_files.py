"""The model store in a folder and in an object store: the same promises, kept by other means."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem
from upath import UPath

from models import artifact
from models.artifact import Folder
from models.errors import ArtifactError
from stream.errors import ArtifactRefused, FreshetError, SettingsError, StoreUnreachable
from stream.exclusion import KEY, KEY_BYTES, LIST, Exclusions
from stream.model_files import delete_artifact, model_files, reaching, write_first, write_whole
from stream.model_store import TRIAL, ModelStore
from stream.retraining import Material, first_origin, stored, train_source
from stream.settings import Settings
from stream.weights import load_announced
from tests.support.object_store import ObjectStore
from tests.support.retrain_process import CONFIG, Shop, circling

NEW_MS = 1_700_000_100_000


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    """A server that speaks S3."""
    with ObjectStore() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a model store is: one of the two kinds."""
    if request.param == "folder":
        return str(tmp_path / "kept")
    server: ObjectStore = request.getfixturevalue("object_store")
    return f"{server.bucket()}/shops/one"


@pytest.fixture
def shop(store: str, tmp_path: Path) -> Shop:
    """A shop whose models are there; of those made one is kept beside what is in force."""
    return Shop(tmp_path, model_store=store, retrain_keep=1, retrain_least_users=10)


@pytest.fixture
def place(store: str) -> Folder:
    """The store's own place."""
    found = model_files(Settings.load(model_store=store))
    if isinstance(found, Path):
        found.mkdir(parents=True)
    return found


def kept(settings: Settings) -> str:
    """Train and save, with nothing announced; returns the version."""
    material = Material("old", circling(), None)
    fitted = train_source(settings, material, network=CONFIG.network, training=CONFIG.training)
    return stored(settings, fitted, origin=first_origin(fitted, material)).version


async def test_a_job_makes_keeps_and_deletes_artifacts(shop: Shop) -> None:
    """Three counts in a row: what workers load is there, and what is done with is gone."""
    made = [await shop.job().run()]
    for _ in range(3):
        shop.come(circling(NEW_MS))
        made.append(await shop.job().run("light"))
    store = ModelStore(shop.settings)
    assert store.versions() == [made[-1].version]
    announced = await shop.announced()
    assert announced is not None
    assert load_announced(shop.settings, announced).version == made[-1].version
    names = {path.name for path in store.folder.iterdir()}
    assert names == set(store.versions())


async def test_what_a_trial_came_to_stands_beside_the_artifact(shop: Shop) -> None:
    """It is read again, and of what is not there nothing is said."""
    done = await shop.job().run()
    store = ModelStore(shop.settings)
    assert done.version is not None
    assert store.trial(done.version) is None
    store.note_trial(done.version, {"outcome": "refused"})
    assert store.trial(done.version) == {"outcome": "refused"}
    assert store.failed_trial(done.version)
    store.note_trial("nothing", {"outcome": "refused"})
    assert not (store.folder / "nothing").exists()
    assert (store.folder / done.version / TRIAL).exists()


def test_what_is_missing_damaged_or_too_large_is_refused(shop: Shop) -> None:
    """The line names the place."""
    version = kept(shop.settings)
    store = ModelStore(shop.settings)
    announced = store.announcement(version, announced_at_ms=1)
    folder = store.folder / version
    (folder / "weights.safetensors").write_bytes(b"?")
    with pytest.raises(ArtifactRefused, match=r"weights\.safetensors is damaged"):
        load_announced(shop.settings, announced)
    (folder / "more").write_bytes(bytes(1_100_000))
    small = Settings.load(**shop.settings.model_dump(exclude_unset=True) | {"model_max_mb": 1})
    with pytest.raises(ArtifactRefused, match="FRESHET_MODEL_MAX_MB"):
        load_announced(small, announced)
    (folder / artifact.MANIFEST).unlink()
    with pytest.raises(ArtifactRefused, match="cannot be read"):
        load_announced(shop.settings, announced)
    assert store.versions() == []
    with pytest.raises(FreshetError, match="there is no model"):
        store.require(version)
    with pytest.raises(ArtifactError, match="missing"):
        store.manifest(version)


def test_an_artifact_is_there_when_its_manifest_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails half-way has no artifact; the next attempt makes it whole."""
    write = type(model_files(shop.settings)).write_bytes

    def failing(path: Folder, content: bytes) -> int:
        if path.name == "vocabulary.json":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(type(model_files(shop.settings)), "write_bytes", failing)
    with pytest.raises(ArtifactError, match=r"cannot write the artifact .*No space left"):
        kept(shop.settings)
    monkeypatch.undo()
    store = ModelStore(shop.settings)
    assert store.versions() == []
    version = kept(shop.settings)
    assert store.versions() == [version]


def test_a_file_is_written_whole_and_over(place: Folder) -> None:
    """The second content is the one that stays, and no draft."""
    write_whole(place / "notes.json", b"one")
    write_whole(place / "notes.json", b"two")
    assert (place / "notes.json").read_bytes() == b"two"
    assert [path.name for path in place.iterdir()] == ["notes.json"]


def test_of_many_who_write_first_one_is(place: Folder) -> None:
    """All of them find the same afterwards."""
    begin = threading.Barrier(8)

    def write(number: int) -> None:
        begin.wait()
        write_first(place / "key", bytes([number]) * KEY_BYTES)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = (place / "key").read_bytes()
    assert len(found) == KEY_BYTES
    assert len(set(found)) == 1
    write_first(place / "key", b"late")
    assert (place / "key").read_bytes() == found
    assert [path.name for path in place.iterdir()] == ["key"]


def test_a_deleted_artifact_leaves_nothing(place: Folder) -> None:
    """Whatever lay in its folder goes with it, and what is beside it stays."""
    for name in ("gone", "kept"):
        folder = place / name
        if isinstance(folder, Path):
            folder.mkdir()
        for file in ("manifest.json", "weights.safetensors", "trial.json"):
            (folder / file).write_bytes(b"{}")
    delete_artifact(place / "gone", "manifest.json")
    assert [path.name for path in place.iterdir()] == ["kept"]


def test_the_erased_are_left_out_wherever_the_store_is(store: str) -> None:
    """The list and its key are in the store; a second process finds both."""
    settings = Settings.load(model_store=store)
    assert Exclusions(settings).read() == {}
    Exclusions(settings).add({"ada": 7, "bob": 9})
    assert set(Exclusions(settings).read().values()) == {7, 9}
    place = model_files(settings)
    assert len((place / KEY).read_bytes()) == KEY_BYTES
    assert Exclusions(settings).hash_of("ada") in json.loads((place / LIST).read_bytes())


def test_an_unknown_kind_of_store_is_said_by_its_name() -> None:
    """Before anything is trained."""
    with pytest.raises(SettingsError, match=r"FRESHET_MODEL_STORE is 'nowhere://x/y': .*nowhere"):
        model_files(Settings.load(model_store="nowhere://x/y"))


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    """With all that a folder can do."""
    place = model_files(Settings.load(model_store=f"file://{tmp_path}/kept"))
    assert isinstance(place, Path)
    place.mkdir()
    write_whole(place / "a", b"1")
    assert (tmp_path / "kept" / "a").read_bytes() == b"1"


def test_a_bucket_that_is_not_there_holds_nothing(object_store: ObjectStore) -> None:
    """Reading finds nothing, and writing says what is wrong."""
    assert object_store
    settings = Settings.load(model_store="s3://nosuchbucket/models")
    assert ModelStore(settings).versions() == []
    with pytest.raises(ArtifactError, match="The specified bucket does not exist"):
        kept(settings)


def test_a_store_that_does_not_answer_is_one_line(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever asks: a list of models, a worker, a trainer."""
    settings = Settings.load(model_store=f"{object_store.bucket()}/models")
    version = kept(settings)
    announced = ModelStore(settings).announcement(version, announced_at_ms=1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    with object_store.away():
        with pytest.raises(StoreUnreachable, match=r"the model store s3://.* cannot be reached: .*127"):
            ModelStore(settings).versions()
        with pytest.raises(StoreUnreachable, match="AWS_ENDPOINT_URL"):
            load_announced(settings, announced)
        with pytest.raises(StoreUnreachable):
            Exclusions(settings).add({"ada": 1})
    assert load_announced(settings, announced).version == version
    S3FileSystem.clear_instance_cache()


def test_errors_that_are_nobodys_pass_through(tmp_path: Path) -> None:
    """A bug is no store that cannot be reached; a folder has no library in between."""
    with pytest.raises(KeyError), reaching(tmp_path):
        raise KeyError("x")
    with pytest.raises(StoreUnreachable, match="KeyError"), reaching(UPath("memory://x")):
        raise KeyError
    with pytest.raises(FileNotFoundError), reaching(UPath("memory://x")):
        raise FileNotFoundError


def test_loading_inside_an_event_loop_works(shop: Shop) -> None:
    """As a worker does: the store's library has a loop of its own."""
    version = kept(shop.settings)
    announced = ModelStore(shop.settings).announcement(version, announced_at_ms=1)

    async def load() -> str:
        return load_announced(shop.settings, announced).version

    assert asyncio.run(load()) == version
