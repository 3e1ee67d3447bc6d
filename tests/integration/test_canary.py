"""Trials on a real broker: two workers serve a challenger's share, and the retraining job decides."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from models.canary import role_of
from models.fitting import Fitted, train_from_frame
from models.training import TrainingConfig
from stream.cli.main import run
from stream.hearing import NOTES
from stream.messages import CanaryTrial, EventRef, ModelManifest, RecommendationList
from stream.model_store import ModelStore
from stream.models_topic import ModelsTopic, Standing
from stream.retraining import announce_fitted
from stream.settings import Settings
from stream.simulation import DAY_MS, Simulation
from stream.weights import announce_trial, terms_of
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.shop import SMALL
from tests.support.worker_process import FRESHET, WorkerProcess, eventually

AT_ONCE = 1500
#: Little enough that nothing is decided yet.
FIRST = 250
JUDGE = (*FRESHET, "retrain")


@pytest.fixture(scope="module")
def poor(shop: Simulation) -> Fitted:
    """A model of the same shop that learnt from its items thrown together."""
    past = shop.events.head(shop.events.height // 2)
    shuffled = past.with_columns(
        past.select("item_id", "category_id").sample(fraction=1, shuffle=True, seed=1)
    )
    return train_from_frame(
        shuffled,
        trained_at_ms=1_700_000_000_000,
        items=shop.items,
        rule=Settings.load().segment_rule,
        network=SMALL,
        training=TrainingConfig(epochs=1, refit=False),
    )


@dataclass
class Trying:
    """A deployment with two workers, and a shop's events that have not come yet."""

    deployment: Deployment
    workers: list[WorkerProcess]
    coming: Iterator[dict[str, Any]]
    known: set[tuple[str, EventRef]] = field(default_factory=set)

    def standing(self) -> Standing:
        """What is announced."""
        return asyncio.run(ModelsTopic(self.deployment.settings).standing())

    def trial(self) -> CanaryTrial:
        """What is on trial."""
        trial = self.standing().trial
        assert trial is not None
        return trial

    def serve(self, count: int) -> list[tuple[str, RecommendationList]]:
        """Let so many events come; returns their lists once all are out."""
        topics = self.deployment.topics.events
        events = list(islice(self.coming, count))
        assert len(events) == count
        self.deployment.send(
            Sent(
                topics[row["behavior"]],
                row["user_id"].encode(),
                event(row["user_id"], row["item_id"], row["timestamp"], category_id=row["category_id"]),
            )
            for row in events
        )
        self.deployment.wait_served(*self.workers)
        lists = [(user, made) for user, made in self.deployment.lists() if made is not None]
        known, self.known = self.known, {(user, made.event) for user, made in lists}
        return [(user, made) for user, made in lists if (user, made.event) not in known]

    def swapped(self, count: int, *, outcome: str = "swapped") -> None:
        """Return once each worker has taken, or refused, so many announcements."""
        for worker in self.workers:
            eventually(
                lambda worker=worker: (
                    worker.metrics().total("freshet_model_swaps_total", outcome=outcome) == count
                ),
                f"{worker.name} has {outcome} {count}",
            )


@pytest.fixture
def trying(
    kafka: KafkaBroker,
    tmp_path: Path,
    shop: Simulation,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Trying]:
    """Two workers of a shop whose trials decide by few users; nothing is announced."""
    given = {
        "partitions": 2,
        "processing_guarantee": getattr(request, "param", "at_least_once"),
        "canary_share": 0.4,
        "canary_events": 2,
        "canary_level": 0.2,
        "canary_alarm": 0.2,
        "retrain_interval_s": 86_400,
        "retrain_light_interval_s": 0,
    }
    for name in list(os.environ):
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)
    with Deployment(kafka, tmp_path, **given) as deployment:
        for name, value in deployment.environment().items():
            monkeypatch.setenv(name, value)
        assert run(["topics"]) == 0
        workers = [deployment.start(), deployment.start()]
        for worker in workers:
            worker.wait_ready()
        yield Trying(deployment, workers, visits(shop).iter_rows(named=True))


def visits(shop: Simulation) -> pl.DataFrame:
    """What no model has learnt from; who comes on another day is another user, so that there are many."""
    later = shop.events.tail(shop.events.height // 2).sort("timestamp")
    return later.with_columns(pl.format("{}-{}", "user_id", pl.col("timestamp") // DAY_MS).alias("user_id"))


def put_in_store(trying: Trying, fitted: Fitted, *, announced: bool) -> ModelManifest:
    """Save a model, and put it in force or not."""
    return asyncio.run(announce_fitted(trying.deployment.settings, fitted, announced=announced))


def of_their_roles(lists: list[tuple[str, RecommendationList]], trial: CanaryTrial) -> set[str]:
    """Check that each list comes from the weights of its user's role; returns the roles that were met."""
    versions = {"champion": trial.champion, "challenger": trial.challenger.version}
    roles = {user: role_of(user, terms_of(trial)) for user, _ in lists}
    assert [made.model_version for _, made in lists] == [versions[roles[user]] for user, _ in lists]
    return set(roles.values())


both = pytest.mark.parametrize("trying", ["at_least_once", "exactly_once"], indirect=True)


@both
def test_a_better_challenger_is_promoted(
    trying: Trying, poor: Fitted, fitted: Fitted, tmp_path: Path
) -> None:
    """Each user gets the lists of one role until it is decided, and all of them the winner's afterwards."""
    champion = put_in_store(trying, poor, announced=True).version
    challenger = put_in_store(trying, fitted, announced=False).version
    trying.swapped(1)
    assert {made.model_version for _, made in trying.serve(FIRST)} == {champion}
    assert run(["models", "canary", challenger]) == 0
    trying.swapped(2)
    trial = trying.trial()
    assert of_their_roles(trying.serve(100), trial) == {"champion", "challenger"}
    report = tmp_path / "report.json"
    assert run(["retrain", "--once", "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert (figures["outcome"], figures["trial_version"]) == ("trial", challenger)
    assert trying.standing().trial == trial

    of_their_roles(trying.serve(AT_ONCE), trial)
    assert run(["retrain", "--once", "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert (figures["outcome"], figures["version"]) == ("promoted", challenger)
    live = figures["trial"]
    assert live["pairs"] > 0
    assert live["challenger"]["mrr"] > live["champion"]["mrr"]
    standing = trying.standing()
    assert (standing.in_force.version, standing.trial) == (challenger, None)
    trying.swapped(3)
    assert {made.model_version for _, made in trying.serve(FIRST)} == {challenger}


def heard(notes: Path) -> int:
    """How many events a trial has observed, as they are written down; 0 before there are any."""
    if not notes.exists():
        return 0
    return sum(int(events) for events, _, _ in json.loads(notes.read_text())["canary"]["worth"].values())


def test_a_worse_challenger_is_rolled_back_by_a_judge_that_was_killed(
    trying: Trying, poor: Fitted, fitted: Fitted
) -> None:
    """It goes on with what it had observed; a challenger that is damaged meanwhile serves nobody."""
    champion = put_in_store(trying, fitted, announced=True).version
    challenger = put_in_store(trying, poor, announced=False)
    trying.swapped(1)
    settings, store = trying.deployment.settings, ModelStore(trying.deployment.settings)

    assert run(["models", "canary", challenger.version]) == 0
    trying.swapped(2)
    damaged = msgspec.structs.replace(challenger, sha256="0" * 64)
    asyncio.run(announce_trial(settings, msgspec.structs.replace(trying.trial(), challenger=damaged)))
    trying.swapped(1, outcome="refused")
    assert {made.model_version for _, made in trying.serve(100)} == {champion}
    assert run(["models", "canary", "--end"]) == 0

    assert run(["models", "canary", challenger.version]) == 0
    trying.swapped(3)
    trial = trying.trial()
    assert of_their_roles(trying.serve(150), trial) == {"champion", "challenger"}
    notes = store.folder / NOTES
    judge = trying.deployment.start(command=JUDGE).wait_ready()
    observed = eventually(lambda: heard(notes), "something was observed")
    judge.kill()
    assert trying.standing().trial == trial

    of_their_roles(trying.serve(AT_ONCE), trial)
    # Another process of the kind would first wait until the group misses the killed one.
    assert run(["retrain", "--once"]) == 0
    standing = trying.standing()
    assert (standing.in_force.version, standing.trial) == (champion, None)
    ended = store.trial(challenger.version)
    assert ended["outcome"] == "refused"
    assert ended["words"].startswith("worse: ")
    assert ended["challenger"]["events"] + ended["champion"]["events"] > observed
    assert not notes.exists()
    trying.swapped(3)
    after = trying.serve(FIRST)
    assert {made.model_version for _, made in after} == {champion}
