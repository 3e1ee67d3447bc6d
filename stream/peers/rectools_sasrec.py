"""SASRec of RecTools (github.com/MobileTeleSystems/RecTools): its training as it comes, its scores by event.

RecTools learns from the last ``max_events`` events of each user, in order, with the full softmax. Its
own `recommend` ranks for the end of a user's history; the walk asks for the scores after each event,
which are taken from the same trained network, for the last ``max_events`` items so far.
"""

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models.nn.transformers.sasrec import SASRecModel

from models.events import EventLog
from models.learning import Learning, Progress
from models.ranking import UNKNOWN_ROW, Scores
from models.systems import Flags, Follower, Positions
from models.training import Epoch

_AT_ONCE = 256  # sequences encoded together


@dataclass(frozen=True)
class SasRecConfig:
    """RecTools' own values but for the width (256 there), the length (100) and the epochs (3).

    Every sequence is padded to ``max_events``, which costs time; 0 is what 95 % of the users have, from
    10 to 100.
    """

    units: int = 128
    blocks: int = 2
    heads: int = 4
    dropout: float = 0.2
    learning_rate: float = 0.001
    batch_size: int = 128
    max_events: int = 0
    epochs: int = 5
    seed: int = 1


def fit_sasrec(learning: Learning, progress: Progress) -> "SasRecSystem":
    """Train RecTools' network."""
    config = learning.configured(SasRecConfig())
    log = learning.train[learning.train.item != UNKNOWN_ROW]
    interactions = pd.DataFrame(
        {
            Columns.User: log.user,
            Columns.Item: log.item,
            Columns.Weight: 1.0,
            # Equal times are told apart by their place in the log, which RecTools would not keep.
            Columns.Datetime: pd.to_datetime(log.time_ms * 1_000_000 + np.arange(len(log)) % 1_000_000),
        }
    )
    max_events = config.max_events or int(np.clip(np.quantile(np.diff(log.starts), 0.95), 10, 100))
    model = SASRecModel(
        n_blocks=config.blocks,
        n_heads=config.heads,
        n_factors=config.units,
        dropout_rate=config.dropout,
        session_max_len=max_events,
        lr=config.learning_rate,
        batch_size=config.batch_size,
        get_trainer_func=lambda **_: _trainer(config.epochs, progress),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are advice on data loaders
        logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
        torch.manual_seed(config.seed)
        np_state = np.random.get_state()
        np.random.seed(config.seed)  # RecTools draws from the global generator
        model.fit(Dataset.construct(interactions))
        np.random.set_state(np_state)
    return SasRecSystem(model, learning.vocabulary.n_items, max_events)


def _trainer(epochs: int, progress: Progress) -> lightning.Trainer:
    """A trainer that says nothing but how far it is."""

    class Told(lightning.Callback):  # type: ignore[misc]  # the library need not be installed
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            """Tell of an epoch."""
            loss = trainer.callback_metrics.get("train_loss", torch.tensor(float("nan")))
            progress(Epoch(trainer.current_epoch + 1, float(loss), float("nan"), float("nan")))

    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Told()],
    )


class SasRecSystem:
    """RecTools' trained network, asked after each event."""

    name = "rectools-sasrec"

    def __init__(self, model: SASRecModel, n_items: int, max_events: int) -> None:
        self.max_events = max_events
        self._network = model.torch_model.eval()
        ids = model.data_preparator.item_id_map.get_external_sorted_by_internal()
        extra = model.data_preparator.n_item_extra_tokens
        self._rows = np.array(ids[extra:], np.int64)  # (M,) the item row of each item RecTools knows
        self.inner = np.zeros(n_items, np.int64)  # its number by row; 0 pads
        self.inner[self._rows] = np.arange(extra, extra + len(self._rows))
        self._n_items, self._extra = n_items, extra
        with torch.inference_mode():
            self._embeddings = self._network.item_model.get_all_embeddings()

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Begin with the last items of each history."""
        follower = _Sequences(self, log, len(first))
        for user, (start, stop) in enumerate(zip(first.tolist(), end.tolist(), strict=True)):
            known = self.inner[log.item[start:stop]]
            known = known[known > 0][-self.max_events :]
            follower.items[user, self.max_events - len(known) :] = known
        return follower

    @torch.inference_mode()
    def scores(self, items: Positions) -> Scores:
        """(B, N) what the network says comes after sequences (B, L), padded in front."""
        scores = np.full((len(items), self._n_items), -np.inf, np.float32)
        for first in range(0, len(items), _AT_ONCE):
            part = torch.from_numpy(items[first : first + _AT_ONCE])
            states = self._network.encode_sessions({"x": part}, self._embeddings)[:, -1]  # (b, H)
            found = states @ self._embeddings[self._extra :].T  # (b, M)
            scores[first : first + _AT_ONCE, self._rows] = found.numpy()
        return scores


class _Sequences:
    """The last items (B, L) of each user in RecTools' numbers, padded in front."""

    def __init__(self, system: SasRecSystem, log: EventLog, n_users: int) -> None:
        self._system, self._log = system, log
        self.items = np.zeros((n_users, system.max_events), np.int64)

    def advance(self, positions: Positions) -> None:
        """Append each new item; one that RecTools does not know is passed over."""
        inner = self._system.inner[self._log.item[positions]]
        known = np.flatnonzero(inner)
        self.items[known, :-1] = self.items[known, 1:]
        self.items[known, -1] = inner[known]

    def scores(self, count: int) -> tuple[Scores, Flags]:
        """Ask the network, for those of whom an item is known."""
        personal: Flags = self.items[:count, -1] > 0
        return self._system.scores(self.items[:count][personal]), personal
