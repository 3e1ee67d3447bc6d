"""The retraining job: what is announced, what is not, and what a kill leaves."""

import asyncio
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from models import artifact
from models.fitting import train_from_frame
from models.gate import Standing, Verdict
from models.succession import Challenge, newest_ms
from stream import retrain_job
from stream.errors import ArtifactRefused, FreshetError
from stream.model_store import ModelStore, Origin
from stream.retrain_clock import Clock
from stream.retraining import first_origin, stored, train_source
from stream.settings import Settings
from tests.support.kafka_broker import PROJECT
from tests.support.retrain_process import BEGIN_MS, CONFIG, Shop, circling

NEW_MS = BEGIN_MS + 100_000


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop without a model."""
    return Shop(tmp_path, retrain_keep=1)


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reasons of the verdicts to come, in order; challengers are trained quickly, from nothing."""
    reasons: list[str] = []

    def challenge(champion, frame, *, kind, trained_at_ms, config, **_):
        past = frame.filter(frame["timestamp"] < NEW_MS + 4000)
        fitted = train_from_frame(
            past,
            trained_at_ms=trained_at_ms,
            rule=champion.recommender.rule,
            network=config.network,
            # A seed of its own for each: within a second, equal weights are one version.
            training=replace(config.training, epochs=1, seed=10 + len(reasons), validation_share=0.0),
        )
        verdict = Verdict(
            reasons.pop(0),
            Standing(0.2, 0.4, 1.0, 0.0, 0.001),
            Standing(0.3, 0.5, 0.9, 0.1, 0.002),
            0.1,
            0.05,
            99,
            30,
        )
        return Challenge(kind, fitted, newest_ms(past), verdict)

    monkeypatch.setattr(retrain_job, "challenge", challenge)
    return reasons


async def version(shop: Shop) -> str | None:
    """The version in force."""
    manifest = await shop.announced()
    return None if manifest is None else manifest.version


async def test_the_first_weights_are_announced_as_they_are(shop: Shop) -> None:
    """There is nothing to be better than; the artifact says what it was made of."""
    done = await shop.job().run()
    assert (done.outcome, done.kind) == ("promoted", "full")
    assert done.version == await version(shop)
    store = ModelStore(shop.settings)
    assert store.versions() == [done.version]
    origin = Origin.of(store.manifest(done.version))
    assert replace(origin, settings={}) == Origin(
        "full",
        done.version,
        until_ms=BEGIN_MS + 7000,
        source="topics",
        offsets={"events.click": [1]},
    )
    assert origin.settings == {
        name: value
        for name, value in shop.settings.model_dump().items()
        if name.split("_")[0] in {"segment", "suspicious", "retrain"}
    }
    assert origin.settings["retrain_keep"] == 1
    assert shop.counted("promoted") == 1
    assert shop.registry.get_sample_value("freshet_retrain_duration_seconds_count") == 1
    assert shop.registry.get_sample_value("freshet_retrain_last_success_timestamp_seconds") > 1.7e9


async def test_too_few_events_are_no_data(shop: Shop) -> None:
    """Before the first model and after it; nothing is announced."""
    everything, shop.events = shop.events, shop.events.head(10)
    assert (await shop.job().run()).outcome == "no_data"
    shop.events = everything
    await shop.job().run()
    before = await version(shop)
    done = await shop.job().run()
    assert done.outcome == "no_data"
    assert done.reason == "0 events are newer than the model in force; 50 are needed"
    assert await version(shop) == before
    assert (shop.counted("no_data"), shop.counted("promoted")) == (2, 1)


async def test_a_challenger_of_its_own_is_judged(shop: Shop) -> None:
    """Nothing is replaced here: a warm update of the champion, held back events, the gate."""
    await shop.job().run()
    shop.come(circling(NEW_MS, step=5))
    done = await shop.job().run()
    assert done.kind == "warm"
    assert done.verdict is not None
    assert (done.verdict.targets, done.verdict.users) == (120, 30)
    assert (done.outcome == "promoted") == done.verdict.promoted == (done.version is not None)


async def test_a_better_challenger_is_announced(shop: Shop, verdicts: list[str]) -> None:
    """Its artifact names its parent; the figures of both are shown."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    verdicts.append("better")
    done = await shop.job().run()
    assert (done.outcome, done.kind, done.champion) == ("promoted", "warm", first)
    assert await version(shop) == done.version != first
    origin = Origin.of(ModelStore(shop.settings).manifest(done.version))
    assert (origin.network, origin.before, origin.since_full) == (done.version, first, 1)
    assert (origin.parent, origin.source, origin.offsets) == (first, "topics", {"events.click": [2]})
    assert origin.until_ms == NEW_MS + 3000
    assert origin.held_back == 4 * 30
    assert origin.settings["retrain_keep"] == 1
    assert not origin.refused
    assert origin.verdict["champion"] == Standing(0.2, 0.4, 1.0, 0.0, 0.001)._asdict()
    assert origin.verdict["challenger"] == Standing(0.3, 0.5, 0.9, 0.1, 0.002)._asdict()
    for role, mrr in (("champion", 0.2), ("challenger", 0.3)):
        labels = {"role": role, "metric": "mrr"}
        assert shop.registry.get_sample_value("freshet_model_quality", labels) == mrr


@pytest.mark.parametrize("reason", ["not better", "too few users", "covers too little"])
async def test_a_challenger_that_does_not_pass_is_refused(
    shop: Shop, verdicts: list[str], reason: str
) -> None:
    """The weights in force go on; the run says why, with the figures."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    verdicts.append(reason)
    done = await shop.job().run()
    assert (done.outcome, done.version) == ("refused", None)
    assert done.reason.startswith(f"{reason}: MRR 0.3000 against 0.2000")
    assert await version(shop) == first
    store = ModelStore(shop.settings)
    assert store.versions() == [first, done.refused]
    artifact.load(store.folder / done.refused)
    origin = Origin.of(store.manifest(done.refused))
    assert origin.refused
    assert (origin.verdict["reason"], origin.verdict["challenger"]["mrr"]) == (reason, 0.3)
    assert shop.counted("refused") == 1


@pytest.mark.parametrize(("keep", "refusals"), [(0, 2), (2, 3)])
async def test_the_newest_refused_are_kept(
    tmp_path: Path, verdicts: list[str], keep: int, refusals: int
) -> None:
    """So many of them; the one in force is needed though only one artifact is kept otherwise."""
    shop = Shop(tmp_path, retrain_keep=1, retrain_keep_refused=keep)
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    verdicts += ["not better"] * refusals
    kept = [(await shop.job().run()).refused for _ in range(refusals)]
    newest = kept[refusals - keep :]
    assert kept == [None] * 2 if keep == 0 else None not in kept
    assert ModelStore(shop.settings).versions() == [first, *newest]


async def test_a_rollback_without_a_known_parent_passes_what_was_refused_over(
    shop: Shop, verdicts: list[str]
) -> None:
    """`freshet train` knows of no weights before its own; what stood in force last is the one to go to."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    verdicts.append("not better")
    await shop.job().run()
    store, material = ModelStore(shop.settings), await shop.read()
    training = replace(CONFIG.training, seed=99)
    fitted = train_source(shop.settings, material, network=CONFIG.network, training=training)
    trained = stored(shop.settings, fitted, origin=first_origin(fitted, material))
    assert len(store.versions()) == 3
    assert store.before(trained) == first


async def test_every_so_many_retrainings_one_is_full(tmp_path: Path, verdicts: list[str]) -> None:
    """With 3: full, warm, warm, full; what is in force says how many there were, so a restart keeps count."""
    shop = Shop(tmp_path, retrain_full_every=3)
    kinds = [(await shop.job().run()).kind]
    shop.come(circling(NEW_MS))
    verdicts += ["better"] * 3
    kinds += [(await shop.job().run()).kind for _ in range(3)]
    assert kinds == ["full", "warm", "warm", "full"]


async def test_a_light_refresh_announces_the_same_network(shop: Shop) -> None:
    """New items and counts, no training, no retraining counted; without anything new it does nothing."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS, n_items=14))
    done = await shop.job().run("light")
    assert (done.outcome, done.kind) == ("promoted", "light")
    store = ModelStore(shop.settings)
    origin = Origin.of(store.manifest(done.version))
    assert (origin.kind, origin.network, origin.until_ms) == ("light", first, BEGIN_MS + 7000)
    assert (origin.parent, origin.offsets) == (first, {"events.click": [2]})
    recommender = artifact.load(store.folder / done.version)
    assert recommender.vocabulary.item_row("i13") == 14
    assert (await shop.job().run("light")).outcome == "no_data"
    assert shop.counted("promoted") == 1


async def test_a_light_refresh_after_a_challenger_counts_what_was_held_back(
    shop: Shop, verdicts: list[str]
) -> None:
    """Nothing came meanwhile, but the challenger knows nothing of its newest events and their items."""
    await shop.job().run()
    shop.come(pl.concat([circling(NEW_MS), circling(NEW_MS + 4000, n_items=14)]))
    verdicts.append("better")
    challenger = (await shop.job().run()).version
    done = await shop.job().run("light")
    assert done.outcome == "promoted"
    origin = Origin.of(ModelStore(shop.settings).manifest(done.version))
    assert (origin.parent, origin.network) == (challenger, challenger)
    assert (origin.held_back, origin.verdict) == (0, None)
    assert (await shop.job().run("light")).outcome == "no_data"


@pytest.mark.parametrize(
    ("said", "parent"),
    [
        ({}, ""),
        ({"kind": "warm", "network": "w", "before": "b", "offsets": {}}, "b"),
        ({"kind": "light", "network": "w", "before": "b", "of a later freshet": 1}, "w"),
    ],
)
async def test_what_an_older_manifest_does_not_say_is_made_of_what_it_does(
    shop: Shop, said: dict[str, object], parent: str
) -> None:
    """Where it came from, as far as that can be known; the rest is empty."""
    first = (await shop.job().run()).version
    manifest = replace(ModelStore(shop.settings).manifest(first), origin=said)
    origin = Origin.of(manifest)
    assert (origin.parent, origin.source, origin.held_back, origin.verdict) == (parent, "", 0, None)
    assert not origin.refused
    assert origin.until_ms == manifest.trained_at_ms


async def test_a_champion_that_cannot_be_read_fails_the_run(shop: Shop) -> None:
    """Counted; the line names the artifact."""
    first = (await shop.job().run()).version
    (ModelStore(shop.settings).folder / first / "weights.safetensors").write_bytes(b"?")
    with pytest.raises(ArtifactRefused, match=r"weights\.safetensors is damaged"):
        await shop.job().run()
    assert shop.counted("failed") == 1


async def test_weights_that_workers_would_refuse_are_not_announced(tmp_path: Path) -> None:
    """Too large, say: that is known before anyone is told."""
    shop = Shop(tmp_path, model_max_mb=1)
    shop.events = shop.events.with_columns(pl.col("item_id") + "x" * 200_000)
    with pytest.raises(ArtifactRefused, match=r"has 2\.\d MB and FRESHET_MODEL_MAX_MB is 1"):
        await shop.job().run()
    assert await version(shop) is None
    assert shop.counted("failed") == 1


async def test_a_rollback_goes_to_what_was_before_the_network(shop: Shop, verdicts: list[str]) -> None:
    """Past the light refreshes of that network; the artifact it needs was kept, others were not."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    light = (await shop.job().run("light")).version
    verdicts.append("better")
    second = (await shop.job().run()).version
    shop.come(circling(NEW_MS + 50_000))
    refreshed = (await shop.job().run("light")).version
    assert await version(shop) == refreshed
    assert set(ModelStore(shop.settings).versions()) == {light, refreshed}
    done = await shop.chooser().roll_back()
    assert (done.replaced, done.version) == (refreshed, light)
    assert await version(shop) == light
    assert first not in ModelStore(shop.settings).versions()
    assert second != light
    with pytest.raises(FreshetError, match=f"no model to go back to from {light}"):
        await shop.chooser().roll_back()


async def test_a_choice_by_hand_outlives_light_refreshes_and_pruning(shop: Shop, verdicts: list[str]) -> None:
    """A refused challenger is put in force and refreshed: what was in force before is kept to go back to."""
    first = (await shop.job().run()).version
    shop.come(circling(NEW_MS))
    verdicts.append("not better")
    refused = (await shop.job().run()).refused
    await shop.chooser().promote(refused)
    await shop.chooser().promote(first)
    shop.come(circling(NEW_MS + 50_000, n_items=14))
    light = (await shop.job().run("light")).version
    store = ModelStore(shop.settings)
    assert (await version(shop), Origin.of(store.manifest(light)).before) == (light, refused)
    store.collect(keep=1, keep_refused=0, needed=store.needed(await shop.announced()))
    assert set(store.versions()) == {refused, light}
    assert (await shop.chooser().roll_back()).version == refused


async def test_a_job_told_to_stop_gives_its_training_up(shop: Shop) -> None:
    """At the end of an epoch, and nothing is announced."""
    job = shop.job()
    job.stop()
    with pytest.raises(FreshetError, match="told to stop"):
        await job.run()
    assert await version(shop) is None


@pytest.mark.parametrize("point", ["manifest", "announce"])
def test_a_killed_job_leaves_nothing_half_announced(shop: Shop, tmp_path: Path, point: str) -> None:
    """SIGKILL in the middle of the last file, or just before it tells: the next run goes on from there."""
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.retrain_process", str(tmp_path), point],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert asyncio.run(version(shop)) is None
    store = ModelStore(shop.settings)
    for left in store.versions():
        artifact.load(store.folder / left)
    assert len(store.versions()) == (1 if point == "announce" else 0)
    assert any(store.folder.iterdir())
    done = asyncio.run(shop.job().run())
    assert done.version == asyncio.run(version(shop))
    artifact.load(store.folder / done.version)


def test_a_retraining_comes_first_and_then_each_at_its_interval() -> None:
    """3,600 s and 300 s; a run that takes long is not made up for."""
    clock = Clock(Settings.load(), now_s=1000.0)
    assert clock.next(1000.0) == (None, 0)
    clock.began(None, 1000.0)
    assert clock.next(1000.0) == ("light", 300)
    clock.began("light", 1300.0)
    assert clock.next(1350.0) == ("light", 250)
    assert clock.next(9000.0) == (None, 0)
    clock.began(None, 9000.0)
    assert clock.next(9000.0) == ("light", 0)


def test_no_light_refreshes_where_none_are_wanted() -> None:
    """An interval of 0 stands for none."""
    clock = Clock(Settings.load(retrain_light_interval_s=0), now_s=0.0)
    clock.began(None, 0.0)
    kind, wait_s = clock.next(10.0)
    assert (kind, wait_s) == (None, 3590)
    assert not math.isinf(wait_s)
