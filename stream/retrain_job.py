"""The job that makes new weights: reads, trains a challenger, judges it, announces what is better.

Whatever it is stopped in the middle of, workers see either the old weights or the new: an artifact
appears in the store whole or not at all, and is announced after that, to be in force or, where the
settings have a canary, on trial first. Where it reads from and announces to is given, so that a run is
the same over Kafka as in a test.
"""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from logging import getLogger
from typing import Any, Literal, NamedTuple, cast

import polars as pl

from models.fitting import Fitted
from models.gate import Standing, Verdict
from models.gate_config import GateConfig
from models.succession import Challenge, Champion, SuccessionConfig, TooFewEvents, challenge
from models.training import Epoch, Part, Progress, TrainingConfig, untold
from models.warm import light_refresh
from stream.clock import now_ms
from stream.errors import FreshetError
from stream.hearing import Hearing
from stream.messages import CanaryTrial, ModelManifest
from stream.model_store import ModelStore, Origin
from stream.models_topic import ModelsTopic
from stream.retraining import Material, first_origin, settings_said, stored, train_source
from stream.settings import Settings
from stream.signature import private_key, public_key, sign
from stream.telemetry import RetrainTelemetry
from stream.trials import Look, Trials
from stream.weights import load_announced

log = getLogger(__name__)

Kind = Literal["full", "warm", "light"]
Outcome = Literal["promoted", "refused", "failed", "no_data", "trial"]


class Ties(NamedTuple):
    """What a run is tied to: where events come from, what is announced and where to announce, live lists."""

    read: Callable[[], Awaitable[Material]]
    topic: ModelsTopic
    hear: Callable[[Settings, CanaryTrial], Hearing] = Hearing


@dataclass(frozen=True)
class Run:
    """How a run ended; ``reason`` is a line for a person, ``version`` what was announced, if anything.

    ``refused`` is the version of a challenger that was kept though the gate refused it, ``trial`` of one
    that is on trial, or was, and ``live`` what that came to so far.
    """

    outcome: Outcome
    kind: Kind
    reason: str
    version: str | None = None
    champion: str | None = None
    refused: str | None = None
    trial: str | None = None
    live: dict[str, Any] | None = None
    verdict: Verdict | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def succession_config(settings: Settings, training: TrainingConfig) -> SuccessionConfig:
    """How challengers are made and judged under the settings."""
    gate = GateConfig(
        hold_back=settings.retrain_hold_back,
        level=settings.retrain_level,
        least_gain=settings.retrain_least_gain,
        least_users=settings.retrain_least_users,
    )
    return SuccessionConfig(training=training, gate=gate, cleaning=settings.rules.cleaning)


class RetrainJob:
    """Runs over one model, one after another; each announces at most one version."""

    def __init__(
        self,
        settings: Settings,
        ties: Ties,
        *,
        config: SuccessionConfig,
        telemetry: RetrainTelemetry,
        progress: Progress = untold,
    ) -> None:
        """Prepare; nothing is read yet. Raises ``SettingsError`` for keys that cannot be used."""
        private_key(settings)
        public_key(settings)
        self._settings, self._ties, self._config = settings, ties, config
        self._telemetry = telemetry
        self._progress = progress
        self._stopping = threading.Event()
        self._said = settings_said(settings, "retrain")
        self.store = ModelStore(settings)
        self._trials = Trials(settings, ties.topic, telemetry, hear=ties.hear)
        #: Whether a challenger was on trial when that was last seen; None: not looked yet.
        self.trying: bool | None = None
        self.registry = telemetry.registry

    async def run(self, kind: Kind | None = None) -> Run:
        """Make weights of a kind, by default a full training as often as the settings say, else a warm one.

        The first weights of all are announced as they are. While a challenger is on trial nothing is made:
        the run is a look at the trial. Raises what a person can set right (``FreshetError``,
        ``ModelsError``), counted as failed; and whatever else went wrong.
        """
        began_s = time.monotonic()
        try:
            done = await self._run(kind)
        except BaseException as error:
            if isinstance(error, Exception):
                self._telemetry.runs.labels("failed").inc()
            raise
        if done.kind != "light":
            self._tell(done)
            self._telemetry.duration_seconds.observe(time.monotonic() - began_s)
        log.info(
            "a run has ended: %s",
            done.reason,
            extra={"outcome": done.outcome, "kind": done.kind, "version": done.version or done.champion},
        )
        return done

    async def look(self) -> None:
        """Look at the trial that is on, if one is; its end counts as that of a run."""
        looked = await self._trials.look()
        self.trying = looked is not None and looked.outcome == "on"
        if looked is not None and not self.trying:
            self._tell(self._of_trial(looked))

    def stop(self) -> None:
        """Give a training under way up at the end of its epoch; nothing of it has been announced."""
        self._stopping.set()

    def _told(self, so_far: Part | Epoch) -> None:
        if self._stopping.is_set():
            raise FreshetError("the training was given up, since the job was told to stop")
        self._progress(so_far)

    async def _run(self, kind: Kind | None) -> Run:
        looked = await self._trials.look()
        self.trying = looked is not None and looked.outcome == "on"
        if looked is not None:
            done = self._of_trial(looked)
            # Light refreshes are not counted, and those that are not made are not either.
            if kind == "light" and self.trying:
                return replace(done, outcome="no_data", kind="light")
            return done
        manifest = (await self._ties.topic.standing()).in_force
        material = await self._ties.read()
        if manifest is None:
            return await self._first(material)
        recommender = await asyncio.to_thread(load_announced, self._settings, manifest)
        origin = Origin.of(self.store.manifest(manifest.version))
        if kind == "light":
            # Weights that a person put in force again came after others than their manifest says.
            came = replace(origin, before=manifest.previous_version or origin.before)
            return await self._light(Champion(recommender, origin.until_ms), came, material)
        due = origin.since_full + 1 >= self._settings.retrain_full_every
        chosen: Literal["full", "warm"] = kind or ("full" if due else "warm")
        try:
            found = await asyncio.to_thread(
                challenge,
                Champion(recommender, origin.until_ms),
                material.events,
                kind=chosen,
                trained_at_ms=now_ms(),
                items=material.items,
                config=self._config,
                progress=self._told,
            )
        except TooFewEvents as few:
            return Run("no_data", chosen, str(few), champion=manifest.version)
        said = self._origin(found, manifest.version, origin, material)
        return await self._settled(found, manifest, said)

    async def _first(self, material: Material) -> Run:
        """Train from nothing; there is nothing to be better than."""
        if material.events.height < self._config.gate.least_events:
            few = f"{material.events.height:,} events are too few to train on"
            return Run("no_data", "full", few)
        fitted = await asyncio.to_thread(
            train_source,
            self._settings,
            material,
            network=self._config.network,
            training=self._config.training,
            progress=self._told,
        )
        version = await self._announce(fitted, first_origin(fitted, material, settings=self._said))
        return Run("promoted", "full", "the first weights of this model", version, figures=_figures(fitted))

    async def _light(self, champion: Champion, origin: Origin, material: Material) -> Run:
        """Count anew; where the topics hold nothing new there is nothing to count."""
        before = champion.recommender
        if material.offsets and material.offsets == origin.offsets and not origin.held_back:
            return Run("no_data", "light", "nothing came since the weights in force", champion=before.version)
        refreshed = await asyncio.to_thread(
            light_refresh,
            before,
            material.events,
            refreshed_at_ms=now_ms(),
            items=material.items,
            cleaning=self._config.cleaning,
        )
        manifest = self.store.manifest(before.version)
        kept = replace(
            origin,
            kind="light",
            parent=before.version,
            source=material.name,
            offsets=material.offsets,
            held_back=0,
            settings=self._said,
            verdict=None,
        )
        await self._still(before.version)
        version = await self._save(
            refreshed.version,
            lambda: self.store.save(refreshed, manifest, kept),
        )
        return Run("promoted", "light", "counts of the newest events", version, before.version)

    async def _settled(self, found: Challenge, champion: ModelManifest, said: Origin) -> Run:
        """Announce a challenger that passed, keep one that did not; ``said`` has the figures of either."""
        await self._still(champion.version)
        verdict, fitted = found.verdict, found.fitted
        for role, standing in (("champion", verdict.champion), ("challenger", verdict.challenger)):
            self._show(role, standing)
        if verdict.promoted and self._settings.canary_share:
            trial = await self._try(fitted, said, champion)
            reason = f"on trial with {trial.share:g} of the users: {verdict.words}"
            return Run(
                "trial",
                found.kind,
                reason,
                champion=champion.version,
                trial=trial.challenger.version,
                verdict=verdict,
                figures=_figures(fitted),
            )
        outcome: Outcome = "promoted" if verdict.promoted else "refused"
        version = await self._announce(fitted, said) if verdict.promoted else None
        refused = None if verdict.promoted else await self._keep(fitted, said, champion)
        return Run(
            outcome,
            found.kind,
            verdict.words,
            version,
            champion.version,
            refused,
            verdict=verdict,
            figures=_figures(fitted),
        )

    async def _still(self, champion: str) -> None:
        """Raise FreshetError where a person chose or tries out other weights while these were made."""
        standing = await self._ties.topic.standing()
        now = None if standing.in_force is None else standing.in_force.version
        if now != champion or standing.trial is not None:
            tried = (
                f", and {standing.trial.challenger.version} on trial" if standing.trial is not None else ""
            )
            raise FreshetError(
                f"{now or 'nothing'} is in force meanwhile{tried}; "
                f"what was made from {champion} is not announced"
            )

    async def _try(self, fitted: Fitted, said: Origin, champion: ModelManifest) -> CanaryTrial:
        """Save a challenger and let it serve a share of the users."""
        manifest = await self._saved(
            fitted.recommender.version, lambda: stored(self._settings, fitted, origin=said)
        )
        trial = await self._trials.begin(manifest)
        self.trying = True
        await self._collect(champion, manifest.version)
        return trial

    def _of_trial(self, looked: Look) -> Run:
        """A look at a trial as a run."""
        outcomes: dict[str, Outcome] = {"promoted": "promoted", "refused": "refused", "overtaken": "refused"}
        outcome, version = outcomes.get(looked.outcome, "trial"), looked.trial.challenger.version
        kind = Origin.of(self.store.manifest(version)).kind if version in self.store.versions() else "full"
        return Run(
            outcome,
            cast(Kind, kind),
            looked.words,
            version if outcome == "promoted" else None,
            looked.trial.champion,
            trial=version,
            live=looked.figures or None,
        )

    async def _keep(self, fitted: Fitted, said: Origin, champion: ModelManifest) -> str | None:
        """Save a challenger that nobody is told of, for a person to look at; returns its version."""
        if not self._settings.retrain_keep_refused:
            return None
        await asyncio.to_thread(stored, self._settings, fitted, origin=said)
        await self._collect(champion)
        return fitted.recommender.version

    def _origin(self, found: Challenge, champion: str, origin: Origin, material: Material) -> Origin:
        """What is to be said of a challenger; ``origin`` is what the champion says."""
        return Origin(
            found.kind,
            found.fitted.recommender.version,
            before=champion,
            parent=champion,
            until_ms=found.until_ms,
            since_full=0 if found.kind == "full" else origin.since_full + 1,
            source=material.name,
            offsets=material.offsets,
            held_back=material.events.filter(pl.col("timestamp") > found.until_ms).height,
            settings=self._said,
            verdict=found.verdict.as_report(),
        )

    async def _announce(self, fitted: Fitted, origin: Origin) -> str:
        """Save, announce, and delete what is done with."""
        return await self._save(
            fitted.recommender.version, lambda: stored(self._settings, fitted, origin=origin)
        )

    async def _save(self, version: str, save: Callable[[], object]) -> str:
        manifest = await self._saved(version, save)
        await self._ties.topic.announce(manifest)
        await self._collect(manifest)
        return version

    async def _saved(self, version: str, save: Callable[[], object]) -> ModelManifest:
        """Save and sign an artifact; returns what to announce it with."""
        await asyncio.to_thread(save)
        await asyncio.to_thread(sign, self._settings, self.store.folder / version)
        manifest = self.store.announcement(version, announced_at_ms=now_ms())
        # Whether workers would take it is known before they are told.
        await asyncio.to_thread(load_announced, self._settings, manifest)
        return manifest

    async def _collect(self, in_force: ModelManifest, *needed: str) -> None:
        """Delete the artifacts that are done with, but for those that are ``needed`` besides."""
        await asyncio.to_thread(
            self.store.collect,
            keep=self._settings.retrain_keep,
            keep_refused=self._settings.retrain_keep_refused,
            needed={*self.store.needed(in_force), *needed},
        )

    # Metrics.

    def _tell(self, done: Run) -> None:
        telemetry = self._telemetry
        telemetry.runs.labels(done.outcome).inc()
        if done.outcome in {"promoted", "refused", "trial"}:
            telemetry.last_success_timestamp_seconds.set(time.time())

    def _show(self, role: str, standing: Standing) -> None:
        for metric, value in standing._asdict().items():
            self._telemetry.model_quality.labels(role, metric).set(value)


def _figures(fitted: Fitted) -> dict[str, Any]:
    """What is reported of a training; a figure that was not measured is left out."""
    named = vars(fitted.figures)
    return {name: value for name, value in named.items() if not math.isnan(value)}
