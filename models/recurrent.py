"""RNN, LSTM and GRU as systems: walked as they are served, one step for each event."""

from dataclasses import dataclass
from typing import Final

from models.blend import Blend
from models.blend_fitting import BlendConfig, fit_blend
from models.events import EventLog
from models.learning import Learning, Progress
from models.networks import CellName, Network, NetworkConfig
from models.ranking import Scores
from models.recommender import Recommender
from models.space import Choice, Range, Space
from models.systems import Flags, Follower, Positions
from models.training import Trained, TrainingConfig, train
from models.walk import Walk


@dataclass(frozen=True, eq=False)
class NetworkSystem:
    """A recurrent network as it is served: states advanced event by event, segments cut by the same rule."""

    recommender: Recommender
    name: str = "gru"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Replay the segment each user stands in."""
        walk = Walk(self.recommender, log, len(first))
        walk.start(first, end)
        return _Walked(self.recommender, walk)


@dataclass(frozen=True, eq=False)
class _Walked:
    """A walk, and the recommender that makes scores of what it holds."""

    recommender: Recommender
    walk: Walk

    def advance(self, positions: Positions) -> None:
        """One step each."""
        self.walk.advance(positions)

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The recommender's scores, for those whose segment holds a known item or category."""
        personal = self.walk.known[:count]
        memories = self.walk.memories
        told = None if memories is None else memories[:count][personal]
        return self.recommender.scores(self.walk.states[:count][personal], told), personal


RECURRENT_SPACE: Final[Space] = {
    "units": Range(32, 256, log=True),
    "learning_rate": Range(0.001, 0.03, log=True),
    "batch_targets": Choice((128, 256, 512, 1024)),
    "loss": Choice(("full", "sampled", "bpr_max")),
    "negative_power": Range(0.0, 1.0),
}


def fit_rnn(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a plain recurrent network."""
    return _fit("rnn", learning, progress)


def fit_lstm(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train an LSTM."""
    return _fit("lstm", learning, progress)


def fit_gru(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a GRU."""
    return _fit("gru", learning, progress)


def fit_memoryless(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a GRU of the same size that knows the last event alone: what carrying the state is worth."""
    network = learning.configured(NetworkConfig(memoryless=True))
    return _system("memoryless", learning, _trained(network, learning, progress))


def fit_blended(learning: Learning, progress: Progress) -> NetworkSystem:
    """Train a GRU, and learn how to blend it with the neighbours, popularity and the user's own items."""
    trained = _trained(learning.configured(NetworkConfig()), learning, progress)
    config = learning.configured(BlendConfig())
    blend = fit_blend(
        trained, learning.train, learning.vocabulary, rule=learning.rule, config=config, progress=progress
    )
    return _system("blend", learning, trained, blend)


def _fit(cell: CellName, learning: Learning, progress: Progress) -> NetworkSystem:
    """Train the network of one cell."""
    network = learning.configured(NetworkConfig(cell=cell))
    return _system(cell, learning, _trained(network, learning, progress))


def _trained(network: NetworkConfig, learning: Learning, progress: Progress) -> Trained[Network]:
    """Train a network of this shape, unless another system has just done so."""
    training = learning.configured(TrainingConfig())

    def make() -> Trained[Network]:
        return train(
            learning.train,
            learning.vocabulary,
            rule=learning.rule,
            network=network,
            training=training,
            progress=progress,
        )

    return learning.once((network, training), make)


def _system(
    name: str, learning: Learning, trained: Trained[Network], blend: Blend | None = None
) -> NetworkSystem:
    """What walks the events with a trained network."""
    recommender = Recommender(
        name, trained.network, learning.vocabulary, learning.rule, learning.popularity, 0, blend
    )
    return NetworkSystem(recommender, name)
