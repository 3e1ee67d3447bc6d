"""Training by back-propagation through time on segments, with early stop on the newest targets.

The events are cut into segments as serving cuts them. The targets of the last part of the time are
held back and scored after each epoch, and training stops when they have not improved for a while.
Then a network is trained afresh on everything, for as many epochs as did best: the newest events
tell most about the next ones, and a few epochs more with them at the end teach less of it (on the
validation slice of rsc15_100k, recall at 20 of .672 against .659).
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.dropout import dropped
from models.encoder import Encoder
from models.errors import TrainingError
from models.events import EventLog
from models.features import DAY_MS
from models.losses import Sampler, bpr_max, full_cross_entropy, sampled_cross_entropy, top1_max
from models.row_adam import RowAdam
from models.segment import SegmentRule
from models.sequences import Segments, batched, cut, padded, targets, with_targets
from models.vocabulary import Vocabulary

Built = TypeVar("Built", bound=Encoder)
Built_co = TypeVar("Built_co", bound=Encoder, covariant=True)
LossName = Literal["auto", "full", "sampled", "bpr_max", "top1_max"]

# Adam's, with a shorter memory of squares than its usual .999: an item is met in few steps of an epoch.
BETAS = (0.9, 0.99)

# A table whose gradients are rows moves a row only in the steps that meet it. Adam's mean of past
# gradients, which would carry a row on between its steps, is of no use there and is left out, and the
# rate is higher instead: recall at 20 on the validation slice of rsc15_100k was .659 with Adam's own
# values, .671 at 4 times the rate, .679 without the mean at 3 times, .672 with the full loss.
ROW_RATE = 3.0

# The weights are taken into their average so often: at every step it would cost as much as the step.
STEPS_PER_AVERAGE = 4

# Below two whole weeks a weekday is the name of one date, and says nothing of the same day next week.
WEEKDAY_SPAN_MS = 14 * DAY_MS
HOUR_SPAN_MS = 2 * DAY_MS

# Few events make smaller batches, since an epoch of a handful of steps teaches next to nothing.
FEWEST_STEPS = 100
FEWEST_EPOCHS = 3
SMALLEST_BATCH = 32

CUTOFF = 20
VALIDATION_BATCH = 512
VALIDATION_SCORES = 200_000_000  # some seconds of one core; 3,000 targets of 65,000 items


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; rates fall along a line from ``learning_rate`` to ``last_rate``.

    ``loss`` "auto" is the full softmax up to ``full_max_items`` items and the sampled one above;
    ``negatives`` are drawn for each batch, by popularity to the power ``negative_power``. A batch has
    about ``batch_targets`` targets. ``validation_share`` of the time is held back, at most about
    ``validation_targets`` of its targets scored; training stops after ``patience`` epochs without a
    better MRR, and with ``refit`` a second one learns from everything. ``label_smoothing`` is for the
    two cross-entropies. The weights kept are a running average over about ``average_steps`` steps (0:
    those of the last step). Where ``epochs`` would show more than ``most_targets`` targets there are
    fewer, but at least 3: that bounds the time of large trainings, a few minutes on one core, and
    none of the figures below is of one so large.

    Chosen on the last tenth of the training file of rsc15_100k, which nothing below was learnt from
    (recall and MRR at 20, 100 GRU units, seed 1). With cosines of scale 12: averages over 0 and 200
    steps .684/.359 and .686/.360; 2,048 negatives .683/.358 and a third slower; negatives by popularity
    to the power .75 .685/.358; rows at twice the rate instead of three times .684/.357; 15 epochs
    .684/.359; batches of 256 .686/.359; the full loss .682/.355, a quarter slower. Before them, with
    plain products: label smoothing of 0 and .05 .674/.347 and .676/.346, which is noise; learning rates
    .002, .004, .01 and .02 gave, with the full loss and 12 or 10 epochs, .549/.256, .645/.335, .663/.346
    and .659/.342; Adagrad .509/.220; BPR-max .650/.334.
    """

    seed: int = 1
    epochs: int = 10
    most_targets: int = 3_000_000
    learning_rate: float = 0.01
    last_rate: float = 0.0005
    batch_targets: int = 512
    loss: LossName = "auto"
    full_max_items: int = 2000
    negatives: int = 1024
    negative_power: float = 0.5
    bpr_regularization: float = 0.3
    validation_share: float = 0.1
    validation_targets: int = 10_000
    patience: int = 2
    refit: bool = True
    label_smoothing: float = 0.0
    average_steps: int = 200

    def __post_init__(self) -> None:
        """Refuse settings under which nothing could be learnt."""
        for name in ("epochs", "batch_targets", "negatives", "validation_targets", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if not 0 <= self.validation_share < 1:
            raise ValueError(
                f"validation_share is {self.validation_share}; it must be at least 0 and below 1"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be at least 0 and below 1")
        if self.average_steps < 0:
            raise ValueError(f"average_steps is {self.average_steps}; it must be 0 (none) or above")

    def epochs_of(self, segments: Segments) -> int:
        """How many epochs of these segments there can be; see ``most_targets``."""
        return min(self.epochs, max(FEWEST_EPOCHS, self.most_targets // max(1, segments.n_targets)))


class Epoch(NamedTuple):
    """What is known after an epoch; recall and MRR at 20 on what is held back, NaN without it."""

    number: int  # 1 .. of this training; the second, on everything, counts anew
    loss: float
    recall: float
    mrr: float


class Part(NamedTuple):
    """A part of the work begins: what a person is told that it is, and how many epochs it has at most.

    ``epochs`` is None for what has none.
    """

    title: str
    epochs: int | None = None


Progress = Callable[[Part | Epoch], None]
"""Told of each part as it begins, and of each epoch as it ends."""


def untold(_: Part | Epoch) -> None:
    """Tell nobody."""


class Shape(Protocol[Built_co]):
    """The config of a kind of network, which builds it."""

    def build(self, item_category: Tensor, n_categories: int) -> Built_co:
        """A network with weights drawn from torch's generator."""


class Rehearsal(NamedTuple, Generic[Built]):
    """The network of the first training, of which nothing from ``since_ms`` on was a target or was shown."""

    network: Built
    since_ms: int


class Trained(NamedTuple, Generic[Built]):
    """A trained network and how it went: every epoch in order, and the one whose weights were kept.

    ``rehearsal`` is None where nothing was held back.
    """

    network: Built
    epochs: tuple[Epoch, ...]
    best: Epoch
    n_targets: int
    rehearsal: "Rehearsal[Built] | None" = None


def train(
    log: EventLog,
    vocabulary: Vocabulary,
    *,
    rule: SegmentRule,
    network: Shape[Built],
    training: TrainingConfig,
    progress: Progress = untold,
) -> Trained[Built]:
    """Train a network on the log's events; the same arguments give the same weights.

    Raises TrainingError when there is nothing to learn from.
    """
    segments = with_targets(log, cut(log, rule))
    if not len(segments):
        raise TrainingError("no event of a known item follows another event of its user; give more events")
    old, new = hold_back(log, segments, training.validation_share)
    epochs: list[Epoch] = []

    def attempt(known: Segments, held_back: Segments, n_epochs: int) -> tuple[Built, Epoch]:
        with torch.random.fork_rng(devices=[]), _one_thread():
            torch.manual_seed(training.seed)
            category = torch.from_numpy(vocabulary.item_category.copy())
            fresh = network.build(category, vocabulary.n_categories)
            learner = _Learner(log, fresh, training)
            return learner.descend(known, held_back, n_epochs, report)

    def report(epoch: Epoch) -> None:
        epochs.append(epoch)
        progress(epoch)

    twice, most = bool(len(new)) and training.refit, training.epochs_of(old)
    progress(Part("training 1 of 2, on the older events" if twice else "training", most))
    first, best = attempt(old, new, most)
    last, rehearsal = first, None
    if len(new):
        rehearsal = Rehearsal(
            first.requires_grad_(False).eval(), newest_part_ms(log, training.validation_share)
        )
        if twice:
            progress(Part("training 2 of 2, on all events", best.number))
            last, _ = attempt(segments, segments[:0], best.number)
    return Trained(last.requires_grad_(False).eval(), tuple(epochs), best, segments.n_targets, rehearsal)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Add up on one thread, since the order of sums, and so the weights, depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def refine(
    network: Encoder,
    log: EventLog,
    segments: Segments,
    *,
    learnt: NDArray[np.bool_],
    training: TrainingConfig,
    progress: Progress = untold,
) -> Epoch:
    """Go on training ``network`` in place with the targets of ``segments``, for all of the epochs.

    ``learnt`` (N,) are the items that the network has learnt before: those keep their vectors also
    where the log has none of their events. Returns the last epoch, of which nothing was held back.
    """
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(training.seed)
        learner = _Learner(log, network, training)
        learner.counts += torch.from_numpy(learnt)
        kept, last = learner.descend(segments, segments[:0], training.epochs, progress)
    network.load_state_dict(kept.state_dict())
    return last


def hold_back(log: EventLog, segments: Segments, share: float) -> tuple[Segments, Segments]:
    """The segments with the older targets, and with those of the last ``share`` of the events' times.

    The second is empty where either would be.
    """
    old, new = (with_targets(log, part) for part in segments.split(log, newest_part_ms(log, share)))
    if len(old) and len(new):
        return old, new
    return segments, segments[:0]


def newest_part_ms(log: EventLog, share: float) -> int:
    """When the last ``share`` of the events begins."""
    times = np.sort(log.time_ms)
    last = len(times) - int(len(times) * share)
    return int(times[last]) if last < len(times) else int(times[-1]) + 1


@torch.inference_mode()
def next_item_quality(
    network: Encoder, log: EventLog, segments: Segments, max_targets: int
) -> tuple[float, float]:
    """Recall and MRR at 20 of the segments' next items, all items ranked; of evenly chosen segments if many.

    A guide for training alone: items with equal scores count as ranked below the target.
    """
    if not len(segments):
        return math.nan, math.nan
    max_targets = max(1, min(max_targets, VALIDATION_SCORES // len(network.bias)))
    segments = segments[:: max(1, segments.n_targets // max_targets)]
    network.eval()
    ranks = []
    for batch in batched(segments, VALIDATION_BATCH, np.random.default_rng(0)):
        part = segments[batch]
        places, target = targets(log, part)
        states = network.unroll(padded(log, part.start, part.end - 1)).flatten(0, 1)[places]
        scores = network.scores(states)  # (M, N)
        ranks.append(1 + (scores > scores.gather(1, target[:, None])).sum(1))
    rank = torch.cat(ranks)
    listed = rank <= CUTOFF
    return listed.double().mean().item(), torch.where(listed, 1 / rank.double(), 0.0).mean().item()


class _Learner(Generic[Built]):
    """A network under training, and what its losses need."""

    def __init__(self, log: EventLog, network: Built, config: TrainingConfig) -> None:
        self.log, self.network, self.config = log, network, config
        self.rng = np.random.default_rng(config.seed)
        n_items = len(network.bias)
        self.full = config.loss == "full" or (config.loss == "auto" and n_items <= config.full_max_items)
        self.counts = torch.from_numpy(np.bincount(log.item, minlength=n_items))
        self.sampler = Sampler.of_counts(self.counts, config.negative_power)
        network.sparse_items = not self.full
        # What is scored and kept: the running average of the weights, which many a detour has left.
        self.kept = copy.deepcopy(network) if config.average_steps else network
        self.steps = 0
        span_ms = int(log.time_ms.max() - log.time_ms.min())
        network.weekday.requires_grad_(span_ms >= WEEKDAY_SPAN_MS)
        network.hour.requires_grad_(span_ms >= HOUR_SPAN_MS)

    def descend(
        self, known: Segments, held_back: Segments, n_epochs: int, report: Callable[[Epoch], None]
    ) -> tuple[Built, Epoch]:
        """Learn from ``known`` until what is held back has not improved for ``patience`` epochs.

        The network has the weights of the epoch returned: the best, or the last with nothing held back.
        """
        config, network = self.config, self.kept
        best, weights = Epoch(0, math.nan, math.nan, -1.0), network.state_dict()
        losses = self.learn(known, n_epochs, config.learning_rate, config.last_rate)
        for number, loss in enumerate(losses, 1):
            quality = next_item_quality(network, self.log, held_back, config.validation_targets)
            now = Epoch(number, loss, *quality)
            report(now)
            if not now.mrr <= best.mrr:  # a NaN, with nothing held back, is always taken
                best, weights = now, copy.deepcopy(network.state_dict())
            elif number - best.number >= config.patience:
                break
        network.load_state_dict(weights)
        network.forget(self.counts == 0)
        return network, best

    def learn(self, segments: Segments, epochs: int, first_rate: float, last_rate: float) -> Iterator[float]:
        """Learn from the segments ``epochs`` times, yielding the mean loss of each.

        The learning rate falls along a line from ``first_rate`` to ``last_rate`` over all of them.
        """
        optimizer, rows = self._optimizers()
        fewest = max(SMALLEST_BATCH, segments.n_targets // FEWEST_STEPS)
        batch_targets = min(self.config.batch_targets, fewest)
        bounds = np.linspace(first_rate, last_rate, epochs + 1)
        for begin, end in itertools.pairwise(bounds.tolist()):
            self.network.train()
            batches = batched(segments, batch_targets, self.rng)
            rates = np.linspace(begin, end, len(batches), endpoint=False).tolist()
            total, count = 0.0, 0
            for batch, rate in zip(batches, rates, strict=True):
                loss, n_targets = self._step(segments[batch], optimizer, rows, rate)
                total += loss * n_targets
                count += n_targets
            if not math.isfinite(total):
                raise TrainingError(f"the loss became {total}; give a learning rate below {first_rate:g}")
            yield total / count

    def _optimizers(self) -> tuple[torch.optim.Optimizer, RowAdam]:
        """Adam; for the items' tables, when their gradients are rows, the form that touches only those."""
        tables = () if self.full else self.network.item_tables
        rows = {id(table) for table in tables}
        dense = [
            weight for weight in self.network.parameters() if weight.requires_grad and id(weight) not in rows
        ]
        adam = torch.optim.Adam(dense, self.config.learning_rate, betas=BETAS, fused=True)
        return adam, RowAdam(tables, decay=BETAS[1])

    def _step(
        self, batch: Segments, optimizer: torch.optim.Optimizer, rows: RowAdam, rate: float
    ) -> tuple[float, int]:
        """One step down the gradient of a batch; its mean loss and number of targets."""
        places, target = targets(self.log, batch)
        states = self.network.unroll(padded(self.log, batch.start, batch.end - 1)).flatten(0, 1)
        output = self.network.output(states.index_select(0, places))
        hidden = dropped(output, self.network.shape.state_dropout)  # (M, H)
        loss = self._loss(hidden, target)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()
        rows.step(rate * ROW_RATE)
        self._average()
        return loss.item(), len(target)

    @torch.no_grad()
    def _average(self) -> None:
        """Take the weights as they are now into their average.

        It forgets at the pace of ``average_steps``, and faster in the beginning, when it holds no more
        than the later half of the steps.
        """
        self.steps += 1
        if self.kept is self.network or self.steps % STEPS_PER_AVERAGE:
            return
        share = STEPS_PER_AVERAGE / max(STEPS_PER_AVERAGE, min(self.config.average_steps, self.steps // 2))
        now = [weight.data for weight in self.network.parameters()]
        torch._foreach_lerp_([weight.data for weight in self.kept.parameters()], now, share)

    def _loss(self, hidden: Tensor, target: Tensor) -> Tensor:
        """The loss in force of states ``hidden`` (M, H) whose next items are ``target`` (M,)."""
        network, config = self.network, self.config
        if self.full:
            smoothing = config.label_smoothing
            return full_cross_entropy(
                hidden, network.item_vectors(), network.bias, target, smoothing=smoothing
            )
        negative = self.sampler.draw(config.negatives)
        vectors, bias = network.compared(torch.cat((target, negative)))
        if config.loss == "bpr_max":
            weight = config.bpr_regularization
            return bpr_max(hidden, vectors, bias, target, negative, regularization=weight)
        if config.loss == "top1_max":
            return top1_max(hidden, vectors, bias, target, negative)
        return sampled_cross_entropy(
            hidden,
            vectors,
            bias,
            target,
            negative,
            log_q=self.sampler.log_q,
            smoothing=config.label_smoothing,
        )
