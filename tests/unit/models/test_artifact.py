"""A recommender saved and loaded is the same; anything else is refused with the file's name."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import artifact
from models.errors import ArtifactError
from models.memory import Memories
from models.networks import CellName
from tests.support.kafka_broker import PROJECT
from tests.support.recommenders import small_recommender


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved artifact."""
    place = tmp_path / "store" / "gru-0"
    artifact.save(place, small_recommender(), training={"seed": 7}, metrics={"recall": float("nan")})
    return place


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_loaded_recommender_serves_as_the_saved_one(tmp_path: Path, cell: CellName) -> None:
    """States, scores, vocabulary, popularity, rule and key are bit for bit the saved ones."""
    saved = small_recommender(cell)
    artifact.save(tmp_path / "a", saved)
    loaded = artifact.load(tmp_path / "a")
    states = np.random.default_rng(0).normal(size=(4, saved.state_size)).astype(np.float32)
    columns = [np.arange(4)] * 5
    assert np.array_equal(loaded.advance(states, *columns), saved.advance(states, *columns))
    assert np.array_equal(loaded.scores(states), saved.scores(states))
    assert loaded.vocabulary.item_ids == saved.vocabulary.item_ids
    assert loaded.vocabulary.category_ids == saved.vocabulary.category_ids
    assert np.array_equal(loaded.vocabulary.item_category, saved.vocabulary.item_category)
    assert np.array_equal(loaded.popularity, saved.popularity)
    assert (loaded.rule, loaded.key, loaded.trained_at_ms) == (saved.rule, saved.key, saved.trained_at_ms)


def test_a_blend_travels_with_the_artifact(tmp_path: Path) -> None:
    """Its arrays come back bit for bit, and so do its scores."""
    saved = small_recommender(blended=True)
    artifact.save(tmp_path / "a", saved)
    loaded = artifact.load(tmp_path / "a")
    assert saved.blend is not None
    assert loaded.blend is not None
    for name, array in saved.blend.arrays.items():
        assert np.array_equal(loaded.blend.arrays[name], array), name
    states = np.random.default_rng(0).normal(size=(1, saved.state_size)).astype(np.float32)
    memories = Memories.of([[1, 5, 3]], [[3]], [1])
    assert np.array_equal(loaded.scores(states, memories), saved.scores(states, memories))
    assert not np.array_equal(loaded.scores(states, memories), loaded.scores(states, Memories.empty(1)))


def test_an_artifact_from_before_cosines_and_blends_scores_as_it_did(tmp_path: Path) -> None:
    """A manifest that does not say how state and item meet means their plain product."""
    artifact.save(tmp_path / "a", small_recommender(scale=0.0))
    manifest = tmp_path / "a" / artifact.MANIFEST
    said = json.loads(manifest.read_text())
    for name in ("scale", "tied", "memoryless"):
        del said["network"][name]
    manifest.write_text(json.dumps(said))
    loaded, states = artifact.load(tmp_path / "a"), np.ones((1, 8), np.float32)
    assert loaded.blend is None
    assert np.array_equal(loaded.scores(states), small_recommender(scale=0.0).scores(states))


def test_ids_of_any_script_and_quote_survive(tmp_path: Path) -> None:
    """Item ids are text, whatever is in it."""
    saved = small_recommender()
    odd = ["naïve", "商品", '"quoted"', "tab\tand\nline", "\x00"]
    grown = saved.vocabulary.grow(odd, [None] * len(odd))
    vocabulary = replace(saved.vocabulary, item_ids=saved.vocabulary.item_ids[:-5] + grown.item_ids[-5:])
    artifact.save(tmp_path / "a", replace(saved, vocabulary=vocabulary))
    assert artifact.load(tmp_path / "a").vocabulary.item_ids == vocabulary.item_ids


def test_the_manifest_says_how_the_weights_were_made(folder: Path) -> None:
    """Version, training and metrics can be read without loading; NaN becomes null, which JSON knows."""
    manifest = artifact.read_manifest(folder)
    assert (manifest.version, manifest.trained_at_ms) == ("gru-0", 1_700_000_000_000)
    assert (manifest.training, manifest.metrics) == ({"seed": 7}, {"recall": None})
    assert manifest.network == small_recommender().network.config
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {artifact.MANIFEST}


def test_saving_the_same_version_again_changes_nothing(folder: Path) -> None:
    """A second save finds the artifact there; another version is refused and the first stays."""
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    artifact.save(folder, small_recommender())
    with pytest.raises(ArtifactError, match="holds the artifact gru-0"):
        artifact.save(folder, small_recommender(seed=1))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder appears complete or not at all, and no draft stays."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "_write", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        artifact.save(tmp_path / "a", small_recommender())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [artifact.WEIGHTS, artifact.TABLES, artifact.VOCABULARY, artifact.MANIFEST])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """Each file is needed, and the message says which is not there and what to do."""
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing; .*freshet train"):
        artifact.load(folder)


@pytest.mark.parametrize("name", [artifact.WEIGHTS, artifact.TABLES, artifact.VOCABULARY])
def test_one_changed_byte_is_found(folder: Path, name: str) -> None:
    """A digest that is not the manifest's is damage, and the file is named."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} is damaged"):
        artifact.load(folder)


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    """A place without a manifest is said to lack it."""
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        artifact.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "of format 99 and this freshet reads 1"),
        ({"network": {"cell": "cnn"}}, "cannot be understood"),
        ({"surplus": 1}, "cannot be understood"),
        ({"network": {"cell": "gru", "units": 9}}, "does not hold what its manifest says"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(folder: Path, change: dict[str, object], said: str) -> None:
    """Another format, an unknown field or a shape the weights do not have is one line, not a traceback."""
    path = folder / artifact.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtifactError, match=said) as refused:
        artifact.load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\xff"])
def test_a_manifest_that_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    """Whatever stands in the file, the answer names it."""
    (folder / artifact.MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"manifest\.json cannot be understood"):
        artifact.load(folder)


def test_an_artifact_of_an_earlier_version_serves_as_it_did() -> None:
    """Workers that are upgraded load what stands in the store, and score with it as those before them."""
    golden = Path(__file__).parents[2] / "golden" / "artifact"
    loaded = artifact.load(golden)
    states = np.linspace(-1, 1, 2 * loaded.state_size, dtype=np.float32).reshape(2, -1)
    memories = Memories.of([[1, 5, 3], [2]], [[3], []], [1, 2])
    scores = json.loads((golden.parent / "artifact-scores.golden").read_text())
    np.testing.assert_allclose(loaded.scores(states, memories), scores, atol=1e-5)


def test_loading_takes_no_more_memory_than_what_is_loaded(tmp_path: Path) -> None:
    """Beside the weights in force there is then never more than the new ones."""
    command = [sys.executable, "-m", "tests.support.large_artifact", str(tmp_path / "large"), "200000"]
    subprocess.run(command, cwd=PROJECT, check=True)
    told = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    _, second, peak = map(int, told.split())
    assert second > 200_000 * 100 * 4
    assert peak < 1.3 * second
