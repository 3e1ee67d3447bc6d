"""Training for a running shop: from a file or the topics to an announced artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl

from models.fitting import Fitted, Prepared, prepare, save_fitted, train_prepared
from models.networks import NetworkConfig
from models.succession import newest_ms
from models.training import Progress, TrainingConfig, untold
from stream.clock import now_ms
from stream.datasets import load_events, read_items
from stream.exclusion import Exclusions
from stream.history import read_history
from stream.messages import ModelManifest
from stream.model_files import model_files, reaching
from stream.model_store import Origin
from stream.settings import Settings
from stream.signature import sign
from stream.weights import announce, artifact_folder, manifest_of


@dataclass(frozen=True)
class Source:
    """A file of events, with a file of items if there is one, and how to read it."""

    events: Path
    items: Path | None = None
    columns: Mapping[str, str] | None = None
    time_unit: Literal["s", "ms"] | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """What is trained on. ``offsets`` (topics only) is the end of each partition that was read."""

    name: str
    events: pl.DataFrame
    items: pl.DataFrame | None
    refused: int = 0
    offsets: Mapping[str, list[int]] = field(default_factory=dict)

    def used(self) -> Self:
        """The same with nothing of the events but their newest time: all that is asked of them in the end."""
        return replace(self, events=self.events.select(pl.col("timestamp").max()), items=None)


def load_source(source: Source, exclusions: Exclusions | None = None) -> Material:
    """Read a file, but for the users who were erased; raises ``DatasetError`` naming it."""
    events = load_events(source.events, columns=source.columns, time_unit=source.time_unit)
    if exclusions is not None:
        events = exclusions.without(events)
    items = None if source.items is None else read_items(source.items)
    return Material(str(source.events), events, items)


async def topics_source(settings: Settings) -> Material:
    """Read what the event topics and the items topic hold now."""
    history = await read_history(settings)
    return Material("topics", history.events, history.items, history.refused, history.offsets)


def train_source(
    settings: Settings,
    material: Material,
    *,
    network: NetworkConfig,
    training: TrainingConfig,
    progress: Progress = untold,
) -> Fitted:
    """Train under the segment and cleaning rules of the settings. Raises ``TrainingError``."""
    prepared = prepare_source(settings, material)
    return train_prepared_source(settings, prepared, network=network, training=training, progress=progress)


def prepare_source(settings: Settings, material: Material) -> Prepared:
    """What training needs of the material under the settings. Raises ``TrainingError``."""
    return prepare(material.events, items=material.items, cleaning=settings.rules.cleaning)


def train_prepared_source(
    settings: Settings,
    prepared: Prepared,
    *,
    network: NetworkConfig,
    training: TrainingConfig,
    progress: Progress = untold,
) -> Fitted:
    """Train on what was prepared, under the segment rule of the settings. Raises ``TrainingError``."""
    return train_prepared(
        prepared,
        trained_at_ms=now_ms(),
        rule=settings.segment_rule,
        network=network,
        training=training,
        progress=progress,
    )


async def announce_fitted(
    settings: Settings, fitted: Fitted, *, announced: bool = True, origin: Origin | None = None
) -> ModelManifest:
    """Save and sign a recommender in the model store, and announce it unless told not to."""
    manifest = stored(settings, fitted, origin=origin)
    sign(settings, artifact_folder(settings, manifest.url))
    if announced:
        await announce(settings, manifest)
    return manifest


def stored(settings: Settings, fitted: Fitted, *, origin: Origin | None = None) -> ModelManifest:
    """Save a recommender in the model store; returns what to announce it with."""
    said = None if origin is None else origin.as_mapping()
    folder = model_files(settings) / settings.model_name
    with reaching(folder):
        place, written = save_fitted(fitted, folder, origin=said)
        url = f"{settings.model_name}/{written.version}"
        return manifest_of(place, written, url=url, announced_at_ms=now_ms())


def first_origin(fitted: Fitted, material: Material, *, settings: Mapping[str, Any] | None = None) -> Origin:
    """What is to be said of a model that was trained on all of the material, under these settings."""
    return Origin(
        "full",
        fitted.recommender.version,
        until_ms=newest_ms(material.events),
        source=material.name,
        offsets=material.offsets,
        settings=settings or {},
    )


def settings_said(settings: Settings, *groups: str) -> dict[str, Any]:
    """The settings that weights depend on, by their names: segments, cleaning, and of other groups."""
    begins = tuple(f"{group}_" for group in ("segment", "suspicious", *groups))
    return {name: value for name, value in settings.model_dump().items() if name.startswith(begins)}
