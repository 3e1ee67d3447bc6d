"""A retraining job over a file instead of Kafka, in this process or in one of its own.

``python -m tests.support.retrain_process FOLDER KILL`` runs once and kills itself with SIGKILL when
it comes to KILL: ``manifest`` (the last file of the artifact is being written) or ``announce``.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
from prometheus_client import CollectorRegistry

from models.gate_config import GateConfig
from models.networks import NetworkConfig
from models.succession import SuccessionConfig
from models.training import TrainingConfig
from models.warm import WarmConfig
from stream.hearing import Hearing
from stream.kept_models import Chooser
from stream.messages import CanaryTrial, ModelManifest, decode_manifest, decode_trial, encode
from stream.models_topic import ModelsTopic, Standing
from stream.retrain_job import RetrainJob, Ties
from stream.retraining import Material, announce_fitted, first_origin, train_source
from stream.settings import Settings
from stream.telemetry import RetrainTelemetry

BEGIN_MS = 1_700_000_000_000
CONFIG = SuccessionConfig(
    network=NetworkConfig(units=8),
    training=TrainingConfig(epochs=2, batch_targets=64, refit=False),
    warm=WarmConfig(TrainingConfig(epochs=1, validation_share=0.0, refit=False)),
    gate=GateConfig(hold_back=100, least_events=50, least_users=10, resamples=200),
)


def circling(
    first_ms: int = BEGIN_MS, *, step: int = 1, n_users: int = 30, n_items: int = 12
) -> pl.DataFrame:
    """Users who walk the items in a circle, eight events of a second each, in three categories."""
    n_users = 30
    walks = [(user, at, (user + step * at) % n_items) for at in range(8) for user in range(n_users)]
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in walks],
            "item_id": [f"i{item}" for _, _, item in walks],
            "category_id": [f"c{item % 3}" for _, _, item in walks],
            "behavior": [0] * len(walks),
            "timestamp": [first_ms + 1000 * at for _, at, _ in walks],
        }
    )


def trained(settings: Settings, *, seed: int = 1) -> str:
    """Train on the first events and announce it, as `freshet train` does; returns the version."""
    material = Material("old", circling(), None)
    training = replace(CONFIG.training, seed=seed)
    fitted = train_source(settings, material, network=CONFIG.network, training=training)
    return asyncio.run(announce_fitted(settings, fitted, origin=first_origin(fitted, material))).version


class Shop:
    """Events in memory, and the models topic as a file that a record replaces."""

    def __init__(self, folder: Path, **settings: object) -> None:
        """Begin with the old events and nothing announced."""
        self.topic = folder / "models-topic"
        self.trial_topic = folder / "models-topic-canary"
        self.settings = Settings.load(
            **{"model_store": str(folder / "store"), "model_name": "shop", **settings}
        )
        self.registry = CollectorRegistry()
        self.telemetry = RetrainTelemetry(self.registry)
        self.events = circling()
        self.end = 1

    def job(self) -> RetrainJob:
        """Return a job over them."""
        ties = Ties(self.read, FileTopic(self), hear=self.hear)
        return RetrainJob(self.settings, ties, config=CONFIG, telemetry=self.telemetry)

    def hear(self, settings: Settings, trial: CanaryTrial) -> Hearing:
        """Return what listens to a trial; of this shop nobody's lists are read."""
        raise NotImplementedError

    def chooser(self) -> Chooser:
        """Return what a person chooses models with."""
        return Chooser(self.settings, FileTopic(self))

    async def read(self) -> Material:
        """Return everything there is."""
        return Material("topics", self.events, None, offsets={"events.click": [self.end]})

    def come(self, events: pl.DataFrame) -> None:
        """Let more events come."""
        self.events = pl.concat([self.events, events])
        self.end += 1

    async def announced(self) -> ModelManifest | None:
        """Return what is in force."""
        return decode_manifest(self.topic.read_bytes()) if self.topic.exists() else None

    async def announce(self, manifest: ModelManifest) -> None:
        """Put a manifest in force."""
        self.topic.write_bytes(encode(manifest))

    async def on_trial(self) -> CanaryTrial | None:
        """Return what is on trial."""
        return decode_trial(self.trial_topic.read_bytes()) if self.trial_topic.exists() else None

    async def try_out(self, trial: CanaryTrial | None) -> None:
        """Put a challenger on trial, or end that."""
        if trial is None:
            self.trial_topic.unlink(missing_ok=True)
        else:
            self.trial_topic.write_bytes(encode(trial))

    def counted(self, outcome: str) -> float | None:
        """Return how many runs ended so."""
        return self.registry.get_sample_value("freshet_retrain_runs_total", {"outcome": outcome})


class FileTopic(ModelsTopic):
    """The models topic of a shop."""

    def __init__(self, shop: Shop) -> None:
        """Take the shop, whose methods a test may change."""
        self._shop = shop

    async def standing(self) -> Standing:
        """Return what is announced."""
        return Standing(await self._shop.announced(), await self._shop.on_trial())

    async def announce(self, manifest: ModelManifest) -> None:
        """Put weights in force."""
        await self._shop.announce(manifest)

    async def try_out(self, trial: CanaryTrial | None) -> None:
        """Put a challenger on trial, or end that."""
        await self._shop.try_out(trial)

    async def ends(self) -> dict[str, list[int]]:
        """Return where the topics of two partitions end."""
        return {name: [7, 5] for name in ("recommendations", *self._shop.settings.topics.events)}


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, point: str) -> None:
    """Run once and come to an end at ``point``."""
    shop = Shop(Path(folder))
    if point == "announce":
        shop.announce = _die  # type: ignore[method-assign,assignment]  # it never returns
    else:
        write = Path.write_text

        def text(path: Path, *arguments: object, **options: object) -> int:
            if path.name == "manifest.json":
                write(path, "{")
                _die()
            return write(path, *arguments, **options)

        Path.write_text = text  # type: ignore[method-assign,assignment]  # as a kill would, in the middle
    asyncio.run(shop.job().run())


if __name__ == "__main__":
    main(*sys.argv[1:])
