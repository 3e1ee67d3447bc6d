"""Weights made from weights: a light refresh of what is counted, and a warm update of what is learnt.

Both know the items that came up since, on rows of their own after the old ones. The light refresh
counts the neighbours and the popularity anew and leaves the network alone. The warm update goes on
training the network, on the targets it has not seen and on some it has, so that the new does not
push out the old (rehearsal: Robins 1995), and learns the blend's weights while the network before
the update does not know the targets yet.

Axes: N items.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from models.blend import Blend
from models.blend_fitting import BlendConfig, Evidence, Parts, learn_parts
from models.cleaning import CleaningRule
from models.errors import TrainingError
from models.events import EventLog
from models.fitting import Figures, Fitted, clean_log, version_of
from models.networks import Network
from models.popularity import fallback
from models.recommender import Recommender
from models.sequences import Segments, cut, with_targets
from models.training import Progress, TrainingConfig, newest_part_ms, refine
from models.vocabulary import UNKNOWN_ROW, Vocabulary

WARM = TrainingConfig(epochs=2, learning_rate=0.003, last_rate=0.0003, validation_share=0.0, refit=False)


@dataclass(frozen=True)
class WarmConfig:
    """How a warm update learns.

    For every target the network has not seen, ``replay`` that it has are learnt from again, drawn
    with the seed of ``training``. The blend's weights are learnt anew from ``blend_targets`` unseen
    targets or more; of fewer they would be noise, and stay as they are. Only the newest ``blend_share``
    of the events is looked at for them, since they are learnt with what was counted before it: counts
    of a day ago would teach to distrust counts, which serve some minutes old.
    """

    training: TrainingConfig = WARM
    replay: float = 1.0
    blend_targets: int = 1000
    blend_share: float = 0.1


def light_refresh(
    recommender: Recommender,
    frame: pl.DataFrame,
    *,
    refreshed_at_ms: int,
    items: pl.DataFrame | None = None,
    cleaning: CleaningRule | None = None,
) -> Recommender:
    """The recommender with the neighbours, popularity and items of a frame's events, its network as it is.

    An item the network was never trained on speaks through its category. Without the weights of
    the tallies, which artifacts did not always keep, what popularity adds stays as it was.
    ``trained_at_ms`` stays: nothing was trained.
    """
    vocabulary = recommender.vocabulary.extended(frame, items)
    log, _ = clean_log(frame, vocabulary, cleaning)
    network = grown(recommender, vocabulary)
    parts = None if recommender.blend is None else Parts.of(recommender.blend)
    blend = _blend(recommender.blend, parts, log, vocabulary)
    return Recommender(
        version=version_of(network, vocabulary, refreshed_at_ms, blend=blend),
        network=network,
        vocabulary=vocabulary,
        rule=recommender.rule,
        popularity=fallback(log, vocabulary.n_items),
        trained_at_ms=recommender.trained_at_ms,
        blend=blend,
    )


def warm_update(
    recommender: Recommender,
    frame: pl.DataFrame,
    *,
    until_ms: int,
    trained_at_ms: int,
    items: pl.DataFrame | None = None,
    cleaning: CleaningRule | None = None,
    config: WarmConfig | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Go on from a recommender that was trained on events up to ``until_ms`` with those after it.

    ``frame`` holds the older events too, as far as they are remembered. Raises TrainingError where
    nothing new is to be learnt.
    """
    config = config or WarmConfig()
    training, rule = config.training, recommender.rule
    vocabulary = recommender.vocabulary.extended(frame, items)
    log, n_suspicious = clean_log(frame, vocabulary, cleaning)
    old, new = (with_targets(log, part) for part in cut(log, rule).split(log, until_ms + 1))
    if not len(new):
        raise TrainingError("no event since the last training follows another of its user; wait for more")
    known = np.arange(vocabulary.n_items) < recommender.vocabulary.n_items
    chosen = joined(rehearsed(old, round(config.replay * new.n_targets), training.seed), new)
    network = grown(recommender, vocabulary, seed=training.seed)
    last = refine(network, log, chosen, learnt=known, training=training, progress=progress)
    _hush_categories(network, log, recommender.vocabulary.n_categories)
    parts = None if recommender.blend is None else Parts.of(recommender.blend)
    since_ms = max(until_ms + 1, newest_part_ms(log, config.blend_share))
    newest = with_targets(log, new.split(log, since_ms)[1])
    if newest.n_targets >= config.blend_targets and recommender.blend is not None:
        parts = _parts(recommender, vocabulary, log, since_ms=since_ms, config=config)
    blend = _blend(recommender.blend, parts, log, vocabulary)
    updated = Recommender(
        version=version_of(network, vocabulary, trained_at_ms, blend=blend),
        network=network.requires_grad_(False).eval(),
        vocabulary=vocabulary,
        rule=rule,
        popularity=fallback(log, vocabulary.n_items),
        trained_at_ms=trained_at_ms,
        blend=blend,
    )
    figures = Figures(
        events=len(log),
        users=len(log.starts) - 1,
        suspicious_users=n_suspicious,
        items=len(np.unique(log.item)),
        targets=chosen.n_targets,
        epochs=last.number,
        loss=last.loss,
        recall=last.recall,
        mrr=last.mrr,
    )
    return Fitted(updated, training, figures)


@torch.no_grad()
def grown(recommender: Recommender, vocabulary: Vocabulary, *, seed: int | None = None) -> Network:
    """A copy of the network for a vocabulary that goes on where the recommender's ends.

    A new item is the unknown item of its category, and a new category says nothing. With a ``seed``
    their vectors are drawn as at the beginning of a training, to be trained.
    """
    old, n_items = recommender.network, recommender.vocabulary.n_items
    category = torch.from_numpy(vocabulary.item_category.astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        network = old.config.build(category, vocabulary.n_categories)
    before = dict(old.named_parameters())
    for name, weight in network.named_parameters():
        if seed is None:
            weight[len(before[name]) :] = 0.0
        weight[: len(before[name])] = before[name]
    network.bias[n_items:] = old.bias[UNKNOWN_ROW]
    if seed is None:
        network.forget(torch.arange(vocabulary.n_items) >= n_items)
    return network


@torch.no_grad()
def _hush_categories(network: Network, log: EventLog, known: int) -> None:
    """Let categories after the first ``known`` say nothing where no event was of them."""
    unseen = np.bincount(log.category, minlength=len(network.category)) == 0
    unseen[:known] = False
    for table in network.category_tables:
        table[torch.from_numpy(unseen)] = 0.0


def rehearsed(segments: Segments, targets: int, seed: int) -> Segments:
    """Segments drawn from those given until they hold about so many targets."""
    order = np.random.default_rng(seed).permutation(len(segments))
    total = np.cumsum((segments.end - segments.target)[order])
    return segments[np.sort(order[: np.searchsorted(total, targets)])]


def joined(first: Segments, second: Segments) -> Segments:
    """The segments of both."""
    columns = ((first.start, second.start), (first.target, second.target), (first.end, second.end))
    return Segments(*(np.concatenate(column) for column in columns))


def _parts(
    recommender: Recommender,
    vocabulary: Vocabulary,
    log: EventLog,
    *,
    since_ms: int,
    config: WarmConfig,
) -> Parts:
    """The blend's weights, learnt with the network that knows nothing from ``since_ms`` on."""
    nothing = np.zeros(vocabulary.n_items, np.float32)
    network = grown(recommender, vocabulary)
    rehearsal = Recommender("rehearsal", network, vocabulary, recommender.rule, nothing, 0)
    return learn_parts(rehearsal, log, since_ms, BlendConfig(seed=config.training.seed))


def _blend(before: Blend | None, parts: Parts | None, log: EventLog, vocabulary: Vocabulary) -> Blend | None:
    """The blend with these weights and what the log's events say; None where there was none before."""
    if before is None:
        return None
    evidence = Evidence.of(log, vocabulary.n_items, BlendConfig())
    if parts is not None:
        return parts.blend(evidence)
    return replace(
        before.grown(vocabulary.n_items),
        neighbours=evidence.neighbours,
        successors=evidence.successors,
        direct=evidence.direct,
    )
