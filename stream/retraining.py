"""Training for a running shop: from a file or the topics to an announced artifact."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from models.fitting import Fitted, save_fitted, train_from_frame
from models.networks import NetworkConfig
from models.training import Progress, TrainingConfig
from stream.datasets import load_events, read_items
from stream.history import read_history
from stream.messages import ModelManifest
from stream.settings import Settings
from stream.weights import announce, manifest_sha256


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


def load_source(source: Source) -> Material:
    """Read a file; raises ``DatasetError`` naming it."""
    events = load_events(source.events, columns=source.columns, time_unit=source.time_unit)
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
    progress: Progress | None = None,
) -> Fitted:
    """Train under the segment and cleaning rules of the settings. Raises ``TrainingError``."""
    return train_from_frame(
        material.events,
        trained_at_ms=time.time_ns() // 1_000_000,
        items=material.items,
        rule=settings.segment_rule,
        network=network,
        training=training,
        cleaning=settings.rules.cleaning,
        progress=progress,
    )


async def announce_fitted(settings: Settings, fitted: Fitted, *, announced: bool = True) -> ModelManifest:
    """Save a recommender in the model store, and announce it unless told not to."""
    place, written = save_fitted(fitted, Path(settings.model_store_url) / settings.model_name)
    manifest = ModelManifest(
        name=settings.model_name,
        version=written.version,
        url=f"{settings.model_name}/{written.version}",
        sha256=manifest_sha256(place),
        trained_at=written.trained_at_ms,
        announced_at=time.time_ns() // 1_000_000,
        metrics={
            name: float(value)
            for name, value in written.metrics.items()
            # A figure that could not be measured is NaN, which JSON does not know.
            if isinstance(value, int | float) and not math.isnan(value)
        },
    )
    if announced:
        await announce(settings, manifest)
    return manifest
