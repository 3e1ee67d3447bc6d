"""Announced weights: taken in force, or refused while what was in force goes on."""

import hashlib
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from models import artifact
from models.canary_config import CanaryConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from stream.errors import ArtifactRefused, SettingsError, StoreUnreachable
from stream.messages import CanaryTrial, ModelManifest, encode, trial_key
from stream.settings import Settings
from stream.telemetry import Telemetry
from stream.weights import Weights, artifact_folder, load_announced, manifest_sha256
from tests.support.recommenders import small_recommender

RULE = SegmentRule(span_ms=3_600_000, max_events=32)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a store of their own and the segments of RULE."""
    return Settings.load(
        model_store=str(tmp_path / "store"),
        model_name="shop",
        model_max_mb=1,
        segment_span_s=3_600,
        segment_max_events=32,
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the counters stand."""
    return CollectorRegistry()


class Taken(list[Recommender]):
    """The recommenders that were swapped in; ``tried`` is what went on trial, and None for each end."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.tried: list[tuple[str, CanaryConfig] | None] = []

    def try_out(self, recommender: Recommender | None, terms: CanaryConfig | None) -> None:
        """Note what is on trial now."""
        self.tried.append(None if recommender is None else (recommender.version, terms))

    @property
    def versions(self) -> list[str]:
        """Their versions, in order."""
        return [recommender.version for recommender in self]


@pytest.fixture
def taken() -> Taken:
    """None yet."""
    return Taken()


@pytest.fixture
def weights(settings: Settings, registry: CollectorRegistry, taken: Taken) -> Weights:
    """What a worker feeds with the models topic."""
    return Weights(settings, telemetry=Telemetry(registry), swap=taken.append, try_out=taken.try_out)


def saved(settings: Settings, *, seed: int = 0, rule: SegmentRule = RULE) -> ModelManifest:
    """Save an artifact in the store; returns its announcement."""
    recommender = replace(small_recommender(seed=seed), rule=rule)
    url = f"shop/{recommender.version}"
    folder = artifact_folder(settings, url)
    artifact.save(folder, recommender)
    return ModelManifest(
        name="shop",
        version=recommender.version,
        url=url,
        sha256=manifest_sha256(folder),
        trained_at=recommender.trained_at_ms,
        announced_at=recommender.trained_at_ms + 1,
    )


def announced(manifest: ModelManifest | None, *, key: bytes = b"shop") -> SimpleNamespace:
    """A record of the models topic."""
    return SimpleNamespace(key=key, value=None if manifest is None else encode(manifest))


def swaps(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    """How many announcements were taken, and how many refused."""
    return tuple(
        registry.get_sample_value("freshet_model_swaps_total", {"outcome": outcome})
        for outcome in ("swapped", "refused")
    )


async def test_announced_weights_are_taken_in_force(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry
) -> None:
    """The swap gets the artifact's recommender; metrics tell its version and age."""
    await weights.handle(announced(saved(settings)))
    assert taken.versions == ["gru-0"]
    assert weights.version == "gru-0"
    assert swaps(registry) == (1, 0)
    assert registry.get_sample_value("freshet_model_info", {"version": "gru-0"}) == 1
    assert registry.get_sample_value("freshet_model_trained_timestamp_seconds") == 1_700_000_000


async def test_newer_weights_replace_older_ones(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry
) -> None:
    """And only their version is told."""
    await weights.handle(announced(saved(settings)))
    await weights.handle(announced(saved(settings, seed=1)))
    assert taken.versions == ["gru-0", "gru-1"]
    assert registry.get_sample_value("freshet_model_info", {"version": "gru-0"}) is None


async def test_the_version_in_force_is_not_loaded_again(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry
) -> None:
    """A repeated announcement costs nothing."""
    manifest = saved(settings)
    await weights.handle(announced(manifest))
    await weights.handle(announced(manifest))
    assert taken.versions == ["gru-0"]
    assert swaps(registry) == (1, 0)


@pytest.mark.parametrize("key", [b"another", b"\xff", None])
async def test_announcements_of_other_models_are_not_ours(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry, key: bytes | None
) -> None:
    """The key names the model; the setting says which one is served."""
    await weights.handle(announced(saved(settings), key=key))
    await weights.handle(announced(None))
    assert taken == []
    assert swaps(registry) == (0, 0)


def tampered(settings: Settings, manifest: ModelManifest) -> None:
    """Change a byte of the weights."""
    path = artifact_folder(settings, manifest.url) / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def rewritten(settings: Settings, manifest: ModelManifest) -> None:
    """Change the manifest, and nothing that it says."""
    path = artifact_folder(settings, manifest.url) / artifact.MANIFEST
    path.write_bytes(path.read_bytes() + b"\n")


def removed(settings: Settings, manifest: ModelManifest) -> None:
    """Leave nothing of the artifact."""
    folder = artifact_folder(settings, manifest.url)
    folder.rename(folder.with_name("elsewhere"))


def of_a_later_format(settings: Settings, manifest: ModelManifest) -> ModelManifest:
    """Let a program write it that this one is too old for; the announced digest is that of its manifest."""
    path = artifact_folder(settings, manifest.url) / artifact.MANIFEST
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    return msgspec.structs.replace(manifest, sha256=manifest_sha256(path.parent))


def swollen(settings: Settings, manifest: ModelManifest) -> None:
    """Put more beside it than the settings allow."""
    (artifact_folder(settings, manifest.url) / "more").write_bytes(bytes(1_100_000))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (of_a_later_format, "is of format 9"),
        (swollen, "has 1.1 MB and FRESHET_MODEL_MAX_MB is 1"),
        (tampered, "weights.safetensors"),
        (rewritten, "is not the one that was announced"),
        (removed, "set FRESHET_MODEL_STORE to the trainer's model store"),
    ],
)
async def test_a_spoilt_artifact_is_refused_and_the_weights_in_force_go_on(  # noqa: PLR0917 - fixtures
    settings: Settings,
    weights: Weights,
    taken: Taken,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    spoil,
    named: str,
) -> None:
    """Counted and logged in one line that says what to do; a repaired artifact can be announced again."""
    await weights.handle(announced(saved(settings)))
    newer = saved(settings, seed=1)
    told = spoil(settings, newer) or newer
    await weights.handle(announced(told))
    assert taken.versions == [weights.version] == ["gru-0"]
    assert swaps(registry) == (1, 1)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert named in line
    assert "\n" not in line


async def test_weights_for_other_segments_are_refused(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry, caplog
) -> None:
    """Training and serving must cut alike; the line names the settings that would."""
    await weights.handle(announced(saved(settings, rule=SegmentRule(span_ms=60_000, max_events=8))))
    assert taken == []
    assert swaps(registry) == (0, 1)
    assert "trained on segments of 60 s and 8 events" in caplog.text
    assert "FRESHET_SEGMENT_SPAN_S and FRESHET_SEGMENT_MAX_EVENTS" in caplog.text


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"name": "shop"}'])
async def test_an_announcement_that_cannot_be_read_is_refused(
    weights: Weights, taken: Taken, registry: CollectorRegistry, value: bytes
) -> None:
    """Whatever stands in the topic, the worker goes on."""
    await weights.handle(SimpleNamespace(key=b"shop", value=value))
    assert taken == []
    assert swaps(registry) == (0, 1)


def test_the_store_may_lie_elsewhere_for_the_worker(settings: Settings, tmp_path: Path) -> None:
    """Announcements name the place within the store, and nothing of the trainer's own paths."""
    manifest = saved(settings)
    (tmp_path / "store").rename(tmp_path / "mounted")
    with pytest.raises(ArtifactRefused, match="cannot be read"):
        load_announced(settings, manifest)
    moved = Settings.load(model_store=str(tmp_path / "mounted"), segment_span_s=3_600, segment_max_events=32)
    assert load_announced(moved, manifest).version == "gru-0"


def test_the_announced_digest_is_that_of_the_manifest_file(settings: Settings) -> None:
    """Anyone can check it with sha256sum."""
    manifest = saved(settings)
    data = (artifact_folder(settings, manifest.url) / artifact.MANIFEST).read_bytes()
    assert manifest.sha256 == hashlib.sha256(data).hexdigest()


async def test_an_artifact_is_loaded_off_the_loop(
    settings: Settings, weights: Weights, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events go on being served while its files are read and checked; the swap itself is in the loop."""
    manifest = saved(settings)
    loop, threads = threading.get_ident(), []

    def load(*_: object) -> Recommender:
        threads.append(threading.get_ident())
        return replace(small_recommender(), rule=RULE)

    monkeypatch.setattr(artifact, "load", load)
    await weights.handle(announced(manifest))
    assert taken.versions == ["gru-0"]
    assert len(threads) == 1
    assert loop not in threads


# An index of the catalogue.


def indexing(settings: Settings, taken: Taken, from_items: int) -> Weights:
    """What a worker feeds that searches catalogues of so many items and more; those of the tests have 12."""
    settings = settings.model_copy(update={"index_from_items": from_items})
    return Weights(
        settings, telemetry=Telemetry(CollectorRegistry()), swap=taken.append, try_out=taken.try_out
    )


@pytest.mark.parametrize(("from_items", "indexed"), [(0, False), (12, True), (13, False)])
async def test_a_catalogue_as_large_as_the_setting_says_has_an_index(
    settings: Settings, taken: Taken, from_items: int, indexed: bool
) -> None:
    """In force and on trial; with 0 none has."""
    tried: list[Recommender | None] = []
    weights = indexing(settings, taken, from_items)
    weights._try_out = lambda recommender, _: tried.append(recommender)
    await weights.handle(announced(saved(settings)))
    await weights.handle(on_trial(saved(settings, seed=1)))
    assert [(one is not None and one.index is not None) for one in (taken[0], tried[0])] == [indexed] * 2


async def test_an_index_is_built_off_the_loop(
    settings: Settings, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes half a minute for a million items."""
    threads = []

    def indexed(recommender: Recommender) -> Recommender:
        threads.append(threading.get_ident())
        return recommender

    monkeypatch.setattr(Recommender, "indexed", indexed)
    await indexing(settings, taken, 1).handle(announced(saved(settings)))
    assert taken.versions == ["gru-0"]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_weights_that_cannot_be_indexed_are_refused(
    settings: Settings, taken: Taken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason, as others that cannot serve."""
    broken = replace(small_recommender(), rule=RULE)
    broken.network.bias[3] = float("nan")
    monkeypatch.setattr(artifact, "load", lambda *_: replace(broken))
    await indexing(settings, taken, 1).handle(announced(saved(settings)))
    assert taken == []
    assert "gru-0 cannot be indexed: an item's vector or bias is not a number" in caplog.text


def test_an_index_without_its_package_is_told_at_the_start(
    settings: Settings, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when the first weights come; who asks for none needs none."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    indexing(settings, taken, 0)
    with pytest.raises(SettingsError, match=r"^FRESHET_INDEX_FROM_ITEMS is '5'.*faiss-cpu.*extra `large`"):
        indexing(settings, taken, 5)


# A challenger on trial.

TERMS = CanaryConfig("salt", 0.25, 0.05, 0.01, events=3, most_pairs=99)


def on_trial(manifest: ModelManifest | None, champion: str = "gru-0") -> SimpleNamespace:
    """A record that puts a challenger on trial; None ends the trial."""
    trial = manifest and CanaryTrial(
        challenger=manifest,
        champion=champion,
        salt=TERMS.salt,
        share=TERMS.share,
        level=TERMS.level,
        alarm=TERMS.alarm,
        events=TERMS.events,
        most_pairs=TERMS.most_pairs,
        ends_at=manifest.announced_at + 1000,
        begins={"events.click": [0]},
    )
    return SimpleNamespace(key=trial_key("shop"), value=trial and encode(trial))


async def test_a_challenger_goes_on_trial_beside_the_weights_in_force(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry
) -> None:
    """It is loaded by the same checks; the metrics go on naming what is in force."""
    await weights.handle(announced(saved(settings)))
    await weights.handle(on_trial(saved(settings, seed=1)))
    assert (taken.versions, taken.tried) == (["gru-0"], [("gru-1", TERMS)])
    assert weights.version == "gru-0"
    assert swaps(registry) == (2, 0)
    assert registry.get_sample_value("freshet_model_info", {"version": "gru-0"}) == 1
    await weights.handle(on_trial(None))
    assert (taken.versions, taken.tried) == (["gru-0"], [("gru-1", TERMS), None])


@pytest.mark.parametrize("spoil", [of_a_later_format, swollen, tampered, rewritten, removed])
async def test_a_spoilt_challenger_is_refused_and_the_champion_serves_all(
    settings: Settings, weights: Weights, taken: Taken, registry: CollectorRegistry, spoil
) -> None:
    """Counted as any other; one that was on trial before is on trial no more."""
    await weights.handle(announced(saved(settings)))
    await weights.handle(on_trial(saved(settings, seed=1)))
    newer = saved(settings, seed=2)
    await weights.handle(on_trial(spoil(settings, newer) or newer))
    assert (taken.versions, taken.tried) == (["gru-0"], [("gru-1", TERMS), None])
    assert swaps(registry) == (2, 1)


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b'{"share": 2}'])
async def test_a_trial_that_cannot_be_read_is_refused(
    weights: Weights, taken: Taken, registry: CollectorRegistry, value: bytes
) -> None:
    """Whatever stands in the topic, the worker goes on."""
    await weights.handle(SimpleNamespace(key=trial_key("shop"), value=value))
    assert taken.tried == [None]
    assert swaps(registry) == (0, 1)


async def test_a_promoted_challenger_is_not_loaded_again_and_ends_its_trial(
    settings: Settings, weights: Weights, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there already, whole: the promotion costs a swap."""
    await weights.handle(announced(saved(settings)))
    challenger = saved(settings, seed=1)
    await weights.handle(on_trial(challenger))
    monkeypatch.setattr(artifact, "load", None)
    await weights.handle(announced(challenger))
    assert taken.versions == ["gru-0", "gru-1"]
    assert taken.tried == [("gru-1", TERMS), None]
    await weights.handle(on_trial(None))
    assert taken.versions == ["gru-0", "gru-1"]


async def test_another_artifact_of_the_name_on_trial_is_loaded(
    settings: Settings, weights: Weights, taken: Taken
) -> None:
    """What counts is the digest that was announced."""
    challenger = saved(settings, seed=1)
    await weights.handle(on_trial(challenger))
    removed(settings, challenger)
    await weights.handle(announced(msgspec.structs.replace(challenger, sha256="0" * 64)))
    assert taken.versions == []


async def test_what_is_in_force_is_not_put_on_trial(
    settings: Settings, weights: Weights, taken: Taken
) -> None:
    """It would be compared with itself."""
    await weights.handle(announced(saved(settings)))
    await weights.handle(on_trial(saved(settings)))
    assert taken.tried == [None]


async def test_weights_of_a_store_that_does_not_answer_are_fetched_later(
    settings: Settings,
    weights: Weights,
    taken: Taken,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each attempt that fails is counted; once they are there, nothing is asked for again."""
    away = True

    def fetched(settings: Settings, manifest: ModelManifest) -> Recommender:
        if away:
            raise StoreUnreachable("nobody answers")
        return load_announced(settings, manifest)

    monkeypatch.setattr("stream.weights.load_announced", fetched)
    await weights.handle(announced(saved(settings)))
    await weights.try_again()
    assert swaps(registry) == (0, 2)
    away = False
    await weights.try_again()
    await weights.try_again()
    assert taken.versions == ["gru-0"]
    assert swaps(registry) == (1, 2)


async def test_what_could_not_be_fetched_is_forgotten_when_newer_weights_come(
    settings: Settings, weights: Weights, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older ones never come in force."""

    def absent(*_: object) -> Recommender:
        raise StoreUnreachable("nobody answers")

    with monkeypatch.context() as patched:
        patched.setattr("stream.weights.load_announced", absent)
        await weights.handle(announced(saved(settings)))
    await weights.handle(announced(saved(settings, seed=1)))
    await weights.try_again()
    assert taken.versions == ["gru-1"]
