"""Networks that carry nothing from event to event, as systems: the segment is computed anew each time."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from models.convolution import ConvolutionConfig
from models.encoder import Encoder
from models.events import EventLog
from models.learning import Learning, Progress
from models.ranking import UNKNOWN_ROW, Scores
from models.segment import SegmentRule
from models.sequences import padded
from models.space import Range, Space
from models.systems import Flags, Follower, Positions
from models.training import Built, Shape, TrainingConfig, train
from models.transformer import TransformerConfig
from models.walk import Cuts

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class SegmentSystem:
    """Lists from the state that the whole segment leads to."""

    network: Encoder
    rule: SegmentRule
    name: str

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the last event of each history."""
        known = np.concatenate(([0], np.cumsum((log.item | log.category) != UNKNOWN_ROW)))
        begins = Cuts.of(log, self.rule).begins
        return _Segments(self, log, begins, known, np.where(end > first, end - 1, NOWHERE))


@dataclass(frozen=True, eq=False)
class _Segments:
    """The position (B,) in the log of each user's last event, -1 where there is none.

    ``begins`` (E,) is where the segment begins that an event ends, ``known`` (E + 1,) how many events
    before a position have a known item or category.
    """

    system: SegmentSystem
    log: EventLog
    begins: Positions
    known: Positions
    last: Positions

    def advance(self, positions: Positions) -> None:
        """Move the first users on."""
        self.last[: len(positions)] = positions

    @torch.inference_mode()
    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The network's scores, for those whose segment holds a known item or category."""
        last = self.last[:count]
        begin = self.begins[last]  # that of another event where there is none, which is masked
        personal: Flags = (last != NOWHERE) & (self.known[last + 1] > self.known[begin])
        network = self.system.network
        if not personal.any():
            return np.zeros((0, len(network.bias)), np.float32), personal
        begin, end = begin[personal], last[personal] + 1
        states = network.unroll(padded(self.log, begin, end))
        ends = states[torch.arange(len(end)), torch.from_numpy(end - begin - 1)]
        return network.scores(ends).numpy(), personal


TRANSFORMER_SPACE: Final[Space] = {
    "units": Range(32, 256, log=True),
    "learning_rate": Range(0.0003, 0.01, log=True),
    "layers": Range(1, 4),
    "layer_dropout": Range(0.0, 0.5),
}
CONVOLUTION_SPACE: Final[Space] = {
    "units": Range(32, 256, log=True),
    "learning_rate": Range(0.001, 0.03, log=True),
    "width": Range(2, 5),
}


def fit_transformer(learning: Learning, progress: Progress) -> SegmentSystem:
    """Train a Transformer, at a rate at which attention learns."""
    shape = learning.configured(TransformerConfig(positions=learning.rule.max_events))
    return _fit("transformer", shape, TrainingConfig(learning_rate=0.002), learning, progress)


def fit_convolution(learning: Learning, progress: Progress) -> SegmentSystem:
    """Train a GRU behind a convolution."""
    shape = learning.configured(ConvolutionConfig())
    return _fit("cnn-gru", shape, TrainingConfig(), learning, progress)


def _fit(
    name: str, shape: Shape[Built], training: TrainingConfig, learning: Learning, progress: Progress
) -> SegmentSystem:
    """Train one network."""
    trained = train(
        learning.train,
        learning.vocabulary,
        rule=learning.rule,
        network=shape,
        training=learning.configured(training),
        progress=progress,
    )
    return SegmentSystem(trained.network, learning.rule, name)
