"""Training of dynamic collaborative filtering, and its walk as a system."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.dynamic import Clock, DynamicConfig, DynamicNetwork, Seen
from models.errors import TrainingError
from models.events import EventLog
from models.histories import NOWHERE, NewestEvents
from models.learning import Learning, Progress
from models.losses import Sampler, full_cross_entropy, sampled_cross_entropy
from models.ranking import UNKNOWN_ROW, Scores
from models.space import Range, Space
from models.systems import Flags, Follower, Positions
from models.training import BETAS, FEWEST_STEPS, SMALLEST_BATCH, Epoch


@dataclass(frozen=True)
class DynamicTrainingConfig:
    """Adam's rate falls along a line to zero; few events make smaller batches.

    Above ``full_max_items`` items the softmax is sampled.
    """

    seed: int = 1
    epochs: int = 6
    learning_rate: float = 0.01
    batch: int = 512
    negatives: int = 1024
    negative_power: float = 0.5
    full_max_items: int = 2000


DYNAMIC_SPACE: Final[Space] = {
    "units": Range(32, 256, log=True),
    "bins": Range(1, 50, log=True),
    "near": Range(3, 10),
    "dropout": Range(0.0, 0.7),
    "epochs": Range(2, 20),
    "learning_rate": Range(0.001, 0.02, log=True),
}


def seen(newest: NewestEvents, count: int) -> Seen:
    """The newest events of the first ``count`` users as the network is shown them."""
    log, positions = newest.log, newest.positions[:count]
    there = positions != NOWHERE

    def of(column: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.where(there, column[positions], 0).astype(np.int64))

    return Seen(of(log.item), of(log.category), of(log.behavior), of(log.time_ms), torch.from_numpy(there))


def train_dynamic(
    learning: Learning, network: DynamicConfig, training: DynamicTrainingConfig, progress: Progress
) -> DynamicNetwork:
    """Learn to foretell each event of a known item from those of its user before it.

    The same arguments give the same weights. Raises TrainingError when no event follows another.
    """
    log, vocabulary = learning.train, learning.vocabulary
    first = np.repeat(log.starts[:-1], np.diff(log.starts))
    targets = np.flatnonzero((np.arange(len(log)) > first) & (log.item != UNKNOWN_ROW))
    if not len(targets):
        raise TrainingError("no event of a known item follows another event of its user; give more events")
    clock = Clock(int(log.time_ms.min()), int(log.time_ms.max()), network.bins)
    category = torch.from_numpy(vocabulary.item_category.copy())
    counts = torch.from_numpy(np.bincount(log.item, minlength=vocabulary.n_items))
    sampler = Sampler.of_counts(counts, training.negative_power)
    rng = np.random.default_rng(training.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = DynamicNetwork(network, category, n_categories=vocabulary.n_categories, clock=clock)
        optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate, betas=BETAS, fused=True)
        size = max(SMALLEST_BATCH, min(training.batch, len(targets) // FEWEST_STEPS))
        n_steps = training.epochs * -(-len(targets) // size)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=n_steps)
        for number in range(1, training.epochs + 1):
            total = 0.0
            for part in _batches(targets, size, rng):
                newest = NewestEvents.of(log, first[part], part, network.history)
                target = torch.from_numpy(log.item[part].astype(np.int64))
                loss = _loss(model, seen(newest, len(part)), target, sampler, training)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(part)
            progress(Epoch(number, total / len(targets), math.nan, math.nan))
    return model.requires_grad_(False).eval()


def _batches(targets: Positions, size: int, rng: np.random.Generator) -> Iterator[Positions]:
    """The targets in random order, so many at a time."""
    shuffled = rng.permutation(targets)
    for begin in range(0, len(shuffled), size):
        yield shuffled[begin : begin + size]


def _loss(
    model: DynamicNetwork, shown: Seen, target: Tensor, sampler: Sampler, training: DynamicTrainingConfig
) -> Tensor:
    """The softmax loss over all items, or over the targets' and those drawn."""
    hidden = model(shown)
    if len(model.bias) <= training.full_max_items:
        return full_cross_entropy(hidden, *model.items(), target)
    negative = sampler.draw(training.negatives)
    vectors, bias = model.items(torch.cat((target, negative)))
    return sampled_cross_entropy(hidden, vectors, bias, target, negative, log_q=sampler.log_q)


@dataclass(frozen=True, eq=False)
class DynamicSystem:
    """Dynamic CF; personal where one of the newest events has a known item or category."""

    network: DynamicNetwork
    name: str = "dynamic"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the newest events of each history."""
        return _Newest(self, NewestEvents.of(log, first, end, self.network.config.history))


@dataclass(frozen=True, eq=False)
class _Newest:
    """The newest events of each user."""

    system: DynamicSystem
    newest: NewestEvents

    def advance(self, positions: Positions) -> None:
        """Put each new event in front."""
        self.newest.advance(positions)

    @torch.inference_mode()
    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The network's scores."""
        shown = seen(self.newest, count)
        means_something = (shown.item != UNKNOWN_ROW) | (shown.category != UNKNOWN_ROW)
        personal = means_something.any(1)
        found: NDArray[np.float32] = self.system.network.scores(
            Seen(*(column[personal] for column in shown))
        ).numpy()
        return found, personal.numpy()


def fit_dynamic(learning: Learning, progress: Progress) -> DynamicSystem:
    """Train the network."""
    network = learning.configured(DynamicConfig())
    training = learning.configured(DynamicTrainingConfig())
    return DynamicSystem(train_dynamic(learning, network, training, progress))
