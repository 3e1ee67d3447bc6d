"""From a frame of events to a recommender: cleaning, vocabulary, training, fallback, version.

The one way by which `train`, `retrain` and `demo` come to a recommender.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from models.artifact import Folder, Manifest, save
from models.blend import Blend
from models.blend_fitting import BlendConfig, fit_blend
from models.cleaning import CleaningRule, suspicious_users
from models.errors import TrainingError
from models.events import EventLog
from models.networks import Network, NetworkConfig
from models.popularity import fallback
from models.recommender import Recommender
from models.segment import SegmentRule
from models.training import Progress, Trained, TrainingConfig, train, untold
from models.vocabulary import Vocabulary


@dataclass(frozen=True)
class Figures:
    """What is known of a training besides its weights; recall and MRR are at 20, on the newest targets.

    ``recall`` and ``mrr`` are NaN when nothing was held back.
    """

    events: int
    users: int
    suspicious_users: int
    items: int
    targets: int
    epochs: int
    loss: float
    recall: float
    mrr: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A recommender ready to serve or to save, how it was made, and how it went."""

    recommender: Recommender
    training: TrainingConfig
    figures: Figures


@dataclass(frozen=True, eq=False)
class Prepared:
    """What training makes of a frame before it begins, after which it asks nothing more of the frame.

    ``n_suspicious`` users were left out of the log.
    """

    log: EventLog
    vocabulary: Vocabulary
    n_suspicious: int


def train_from_frame(
    frame: pl.DataFrame,
    *,
    trained_at_ms: int,
    items: pl.DataFrame | None = None,
    rule: SegmentRule | None = None,
    network: NetworkConfig | None = None,
    training: TrainingConfig | None = None,
    cleaning: CleaningRule | None = None,
    vocabulary: Vocabulary | None = None,
    progress: Progress = untold,
) -> Fitted:
    """Train on a frame's events and items as ``prepare`` takes them; see there and ``train_prepared``."""
    return train_prepared(
        prepare(frame, items=items, cleaning=cleaning, vocabulary=vocabulary),
        trained_at_ms=trained_at_ms,
        rule=rule,
        network=network,
        training=training,
        progress=progress,
    )


def prepare(
    frame: pl.DataFrame,
    *,
    items: pl.DataFrame | None = None,
    cleaning: CleaningRule | None = None,
    vocabulary: Vocabulary | None = None,
) -> Prepared:
    """A frame's events (columns as in ``EventLog.from_frame``) and items (item_id, category_id) as a log.

    Users that ``cleaning`` finds suspicious are left out; without a rule all are kept. A
    ``vocabulary`` given is extended, so that its rows keep their meaning. Raises TrainingError when
    no event is left.
    """
    if frame.is_empty():
        raise TrainingError("there are no events to train on")
    vocabulary = (vocabulary or Vocabulary.empty()).extended(frame, items)
    log, n_suspicious = clean_log(frame, vocabulary, cleaning)
    return Prepared(log, vocabulary, n_suspicious)


def train_prepared(
    prepared: Prepared,
    *,
    trained_at_ms: int,
    rule: SegmentRule | None = None,
    network: NetworkConfig | None = None,
    training: TrainingConfig | None = None,
    progress: Progress = untold,
) -> Fitted:
    """Train on what was prepared. Raises TrainingError when the events cannot train a model."""
    rule, training = rule or SegmentRule(), training or TrainingConfig()
    log, vocabulary = prepared.log, prepared.vocabulary
    trained = train(
        log, vocabulary, rule=rule, network=network or NetworkConfig(), training=training, progress=progress
    )
    popular = fallback(log, vocabulary.n_items)
    blend = fit_blend(
        trained, log, vocabulary, rule=rule, config=BlendConfig(seed=training.seed), progress=progress
    )
    recommender = Recommender(
        version=version_of(trained.network, vocabulary, trained_at_ms, blend=blend),
        network=trained.network,
        vocabulary=vocabulary,
        rule=rule,
        popularity=popular,
        trained_at_ms=trained_at_ms,
        blend=blend,
    )
    return Fitted(recommender, training, _figures(log, trained, prepared.n_suspicious))


def clean_log(
    frame: pl.DataFrame, vocabulary: Vocabulary, cleaning: CleaningRule | None
) -> tuple[EventLog, int]:
    """The frame's events without suspicious users, and how many those were. Raises TrainingError if all."""
    log = EventLog.from_frame(frame, vocabulary)
    suspicious = np.empty(0, np.int64) if cleaning is None else suspicious_users(log, cleaning)
    log = log[~np.isin(log.user, suspicious)]
    if not len(log):
        raise TrainingError("every user of these events is suspicious; see the FRESHET_SUSPICIOUS_ settings")
    return log, len(suspicious)


def save_fitted(
    fitted: Fitted, folder: Folder, *, origin: Mapping[str, Any] | None = None
) -> tuple[Folder, Manifest]:
    """Save a fitted recommender as ``folder/<version>``; returns that place and the manifest."""
    place = folder / fitted.recommender.version
    manifest = save(
        place,
        fitted.recommender,
        training=asdict(fitted.training),
        metrics=asdict(fitted.figures),
        origin=origin,
    )
    return place, manifest


def version_of(
    network: Network, vocabulary: Vocabulary, trained_at_ms: int, *, blend: Blend | None = None
) -> str:
    """A name for these weights: when they were trained (UTC), and a digest of what they are.

    Sorts by time; equal weights trained at the same time have the same name.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.numpy().tobytes())
    for name, array in sorted(({} if blend is None else blend.arrays).items()):
        digest.update(name.encode())
        digest.update(array.tobytes())
    digest.update("\0".join(vocabulary.item_ids).encode())
    trained_at = datetime.fromtimestamp(trained_at_ms / 1000, UTC)
    return f"{trained_at:%Y%m%dT%H%M%SZ}-{digest.hexdigest()[:8]}"


def _figures(log: EventLog, trained: Trained[Network], n_suspicious: int) -> Figures:
    """The figures of a training that has ended."""
    return Figures(
        events=len(log),
        users=len(log.starts) - 1,
        suspicious_users=n_suspicious,
        items=len(np.unique(log.item)),
        targets=trained.n_targets,
        epochs=trained.best.number,
        loss=trained.epochs[-1].loss,
        recall=trained.best.recall,
        mrr=trained.best.mrr,
    )
