"""Weights made from weights: a light refresh of what is counted, and a warm update of what is learnt.

Both know the items that came up since, on rows of their own after the old ones. The light refresh
counts the neighbours and the popularity anew and leaves the network alone. The warm update goes on
training the network, on the targets it has not seen and on some it has, so that the new does not
push out the old (rehearsal: Robins 1995). The blend's weights are learnt on the way, from the newest
events, while the network knows everything before them and nothing of them.

Axes: N items.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
import torch

from models.blend import Blend
from models.blend_fitting import LEARNING_THE_BLEND, BlendConfig, Evidence, Parts, learn_parts
from models.cleaning import CleaningRule
from models.errors import TrainingError
from models.events import EventLog
from models.fitting import Figures, Fitted, clean_log, version_of
from models.networks import Network
from models.popularity import fallback
from models.recommender import Recommender
from models.sequences import Segments, cut, with_targets
from models.training import Epoch, Part, Progress, TrainingConfig, refine, untold
from models.vocabulary import UNKNOWN_ROW, Vocabulary

WARM = TrainingConfig(epochs=4, learning_rate=0.003, last_rate=0.0003, validation_share=0.0, refit=False)


MINUTE_MS = 60_000


@dataclass(frozen=True)
class WarmConfig:
    """How a warm update learns.

    For every target the network has not seen, ``replay`` that it has are learnt from again, drawn
    with the seed of ``training``. The blend's weights are learnt anew from the newest
    ``blend_events`` events, or those of ``blend_span_ms`` where they are more: they are learnt with
    what was known and counted before, and counts of a day ago would teach to distrust counts, which
    serve some minutes old. Of fewer targets than ``blend_targets`` they would be noise, and stay as
    they are.
    """

    training: TrainingConfig = WARM
    replay: float = 0.5
    blend_targets: int = 500
    blend_events: int = 1000
    blend_span_ms: int = 10 * MINUTE_MS


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
    progress: Progress = untold,
) -> Fitted:
    """Go on from a recommender that was trained on events up to ``until_ms`` with those after it.

    ``frame`` holds the older events too, as far as they are remembered. Raises TrainingError where
    nothing new is to be learnt.
    """
    config = config or WarmConfig()
    update = _Update(items, cleaning, config, progress)
    vocabulary = recommender.vocabulary.extended(frame, items)
    log, n_suspicious = clean_log(frame, vocabulary, cleaning)
    since_ms = _taught_from_ms(log, until_ms, config)
    parts = None if recommender.blend is None else Parts.of(recommender.blend)
    base, n_before = recommender, 0
    segments = cut(log, recommender.rule)
    new, newest = (_targets_from(log, segments, begin_ms) for begin_ms in (until_ms + 1, since_ms))
    if recommender.blend is not None and newest >= config.blend_targets:
        if new > newest:
            earlier = frame.filter(pl.col("timestamp") < since_ms)
            title = "update, without the newest events"
            base, n_before, _ = update.refined(recommender, earlier, until_ms, title)
            until_ms = since_ms - 1
            # Its rows are those that the network has; they need not come in the order of the whole frame.
            vocabulary = base.vocabulary.extended(frame, items)
            log, _ = clean_log(frame, vocabulary, cleaning)
        progress(LEARNING_THE_BLEND)
        parts = _parts(base, vocabulary, log, since_ms=since_ms, config=config)
    refined, n_targets, last = update.refined(base, frame, until_ms, "update, with the newest events")
    blend = _blend(recommender.blend, parts, log, vocabulary)
    updated = Recommender(
        version=version_of(refined.network, vocabulary, trained_at_ms, blend=blend),
        network=refined.network,
        vocabulary=vocabulary,
        rule=recommender.rule,
        popularity=fallback(log, vocabulary.n_items),
        trained_at_ms=trained_at_ms,
        blend=blend,
    )
    figures = Figures(
        events=len(log),
        users=len(log.starts) - 1,
        suspicious_users=n_suspicious,
        items=len(np.unique(log.item)),
        targets=n_before + n_targets,
        epochs=last.number,
        loss=last.loss,
        recall=last.recall,
        mrr=last.mrr,
    )
    return Fitted(updated, config.training, figures)


class _Update(NamedTuple):
    """How the networks of one update are refined."""

    items: pl.DataFrame | None
    cleaning: CleaningRule | None
    config: WarmConfig
    progress: Progress

    def refined(
        self, recommender: Recommender, frame: pl.DataFrame, until_ms: int, title: str
    ) -> tuple[Recommender, int, Epoch]:
        """The recommender's network with a frame's targets after ``until_ms`` learnt too, alone.

        Nothing of later events than the frame's reaches it. Beside it how many targets were learnt from,
        and the last epoch. Raises TrainingError where there is no new target.
        """
        config, training = self.config, self.config.training
        vocabulary = recommender.vocabulary.extended(frame, self.items)
        log, _ = clean_log(frame, vocabulary, self.cleaning)
        old, new = (with_targets(log, part) for part in cut(log, recommender.rule).split(log, until_ms + 1))
        if not len(new):
            raise TrainingError("no event since the last training follows another of its user; wait for more")
        chosen = joined(rehearsed(old, round(config.replay * new.n_targets), training.seed), new)
        self.progress(Part(title, training.epochs))
        known = np.arange(vocabulary.n_items) < recommender.vocabulary.n_items
        network = grown(recommender, vocabulary, seed=training.seed)
        last = refine(network, log, chosen, learnt=known, training=training, progress=self.progress)
        _hush_categories(network, log, recommender.vocabulary.n_categories)
        nothing = np.zeros(vocabulary.n_items, np.float32)
        network = network.requires_grad_(False).eval()
        return (
            Recommender("refined", network, vocabulary, recommender.rule, nothing, 0),
            chosen.n_targets,
            last,
        )


def _targets_from(log: EventLog, segments: Segments, since_ms: int) -> int:
    """How many targets there are from a time on."""
    return with_targets(log, segments.split(log, since_ms)[1]).n_targets


def _taught_from_ms(log: EventLog, until_ms: int, config: WarmConfig) -> int:
    """From when on events after ``until_ms`` teach the blend."""
    times = np.sort(log.time_ms[log.time_ms > until_ms])
    if len(times) <= config.blend_events:
        return until_ms + 1
    return max(until_ms + 1, min(int(times[-config.blend_events]), int(times[-1]) - config.blend_span_ms))


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
    taught = BlendConfig(seed=config.training.seed, targets=config.blend_events)
    return learn_parts(rehearsal, log, since_ms, taught)


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
