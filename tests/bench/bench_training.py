"""Training of the GRU on one thread beside a plain torch loop: events a second, and what the lists are worth.

python -m tests.bench.bench_training TRAIN TEST --columns ... --time-unit s [--rounds 5] [--report FILE]

The peer is what the official GRU4Rec (Hidasi and Karatzoglou 2018) does, written plainly: 32 sessions
side by side, a GRU of 100 units that forgets where a session ends, one step of its own gradient at each
event, cross-entropy over the batch's next items and 2,048 negatives drawn by the root of popularity,
Adagrad. One epoch of each in turns, round after round; the ratio is that of the medians. Then both
learn for ``--epochs`` and foretell the test sessions; a faster training with worse lists fails.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.evaluation import next_event_lists
from models.events import EventLog
from models.learning import Learning
from models.metrics import hits, places, reciprocal_ranks
from models.networks import NetworkConfig
from models.popularity import popularity
from models.ranking import Scores
from models.recurrent import fit_gru
from models.segment import SegmentRule
from models.splits import Split, split_as_given
from models.systems import Flags, Follower, Positions
from models.training import TrainingConfig, train
from stream.cli.options import parse_columns
from stream.datasets import load_events
from tests.bench.environment import environment

UNITS, LANES, NEGATIVES, POWER, RATE = 100, 32, 2048, 0.5, 0.07
CUTOFF = 20
LEAST_RATIO = 3.0


class PlainGru(nn.Module):
    """The official network: a GRU over the items' vectors, which meet its state again at the output."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items, UNITS)
        self.bias = nn.Embedding(n_items, 1)
        self.cell = nn.GRUCell(UNITS, UNITS)
        nn.init.uniform_(self.item.weight, -(UNITS**-0.5), UNITS**-0.5)
        nn.init.zeros_(self.bias.weight)


def lanes(log: EventLog) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """(32,) positions of events that have a successor, step by step, and which of them begin a session."""
    bounds = np.stack((log.starts[:-1], log.starts[1:] - 1), 1).astype(np.int64)
    sessions = iter(bounds[bounds[:, 1] > bounds[:, 0]].tolist())
    begun = [next(sessions) for _ in range(LANES)]
    now, end = (np.array(column) for column in zip(*begun, strict=True))
    new = np.ones(LANES, np.bool_)
    while True:
        yield now.copy(), new.copy()
        now += 1
        new = now >= end
        for lane in np.flatnonzero(new).tolist():
            session = next(sessions, None)
            if session is None:
                return
            now[lane], end[lane] = session


@dataclass
class PlainLoop:
    """The peer's training, an epoch at a time."""

    network: PlainGru
    log: EventLog

    def __post_init__(self) -> None:
        """Count how popular items are, which negatives are drawn by."""
        counts = np.bincount(self.log.item, minlength=self.network.item.num_embeddings)
        counts[0] = 0
        self.weight = torch.from_numpy(counts.astype(np.float64) ** POWER)
        self.log_q = (self.weight / self.weight.sum()).log().float()
        self.optimizer = torch.optim.Adagrad(self.network.parameters(), RATE)

    def epoch(self) -> int:
        """Learn from every event once; how many there were."""
        hidden, count = torch.zeros(LANES, UNITS), 0
        for now, new in lanes(self.log):
            hidden = hidden.detach() * torch.from_numpy(~new)[:, None]
            item, target = (
                torch.from_numpy(self.log.item[place].astype(np.int64)) for place in (now, now + 1)
            )
            hidden = self.network.cell(self.network.item(item), hidden)
            self.optimizer.zero_grad()
            self.loss(hidden, target).backward()
            self.optimizer.step()
            count += LANES
        return count

    def loss(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy over the targets of the batch and the negatives, less how often each is drawn."""
        drawn = torch.cat((target, torch.multinomial(self.weight, NEGATIVES, replacement=True)))
        scores = hidden @ self.network.item(drawn).T + self.network.bias(drawn)[:, 0] - self.log_q[drawn]
        return functional.cross_entropy(scores, torch.arange(len(target)))


@dataclass
class PlainSystem:
    """The peer as a system, so that both are asked by the same walk."""

    network: PlainGru
    name: str = "plain"

    def follow(self, log: EventLog, first: Positions, end: Positions) -> Follower:
        """Users from the beginning of their session on."""
        follower = _PlainFollower(self.network, log, torch.zeros(len(first), UNITS))
        for step in range(int((end - first).max(initial=0))):
            there = np.flatnonzero(end - first > step)
            follower.take(torch.from_numpy(there), first[there] + step)
        return follower


@dataclass
class _PlainFollower:
    """The states (B, 100) of users."""

    network: PlainGru
    log: EventLog
    hidden: Tensor

    @torch.inference_mode()
    def take(self, users: Tensor, positions: Positions) -> None:
        """One step of some users."""
        item = torch.from_numpy(self.log.item[positions].astype(np.int64))
        self.hidden[users] = self.network.cell(self.network.item(item), self.hidden[users])

    def advance(self, positions: Positions) -> None:
        """One step of the first users."""
        self.take(torch.arange(len(positions)), positions)

    @torch.inference_mode()
    def scores(self, count: int) -> tuple[Scores, Flags]:
        """The plain product with every item."""
        scores = self.hidden[:count] @ self.network.item.weight.T + self.network.bias.weight[:, 0]
        return scores.numpy(), np.ones(count, np.bool_)


def quality(system: Any, split: Split) -> tuple[float, float]:
    """R@20 and MRR@20 of the next events."""
    popular = popularity(split.train, split.vocabulary.n_items)
    lists = next_event_lists(system, split, CUTOFF, popularity=popular)
    found = places(lists.rows, split.item[split.targets])
    return float(hits(found).mean()), float(reciprocal_ranks(found).mean())


def events_per_s(learn: Callable[[], int]) -> float:
    """How many events a second of processor time a training takes in."""
    begun_s = time.process_time()
    return learn() / (time.process_time() - begun_s)


def measured(split: Split, rounds: int, epochs: int) -> dict[str, Any]:
    """Speeds in turns, then what each is worth."""
    torch.manual_seed(1)
    loop = PlainLoop(PlainGru(split.vocabulary.n_items), split.train)
    once = TrainingConfig(epochs=1, validation_share=0.0)

    def ours() -> int:
        return train(
            split.train,
            split.vocabulary,
            rule=SegmentRule(),
            network=NetworkConfig(units=UNITS),
            training=once,
        ).n_targets

    speeds: dict[str, list[float]] = {"freshet": [], "plain": []}
    for _ in range(rounds):
        speeds["freshet"].append(events_per_s(ours))
        speeds["plain"].append(events_per_s(loop.epoch))
    for _ in range(epochs - rounds):
        loop.epoch()
    popular = popularity(split.train, split.vocabulary.n_items)
    learning = Learning(split.train, split.vocabulary, SegmentRule(), popular, epochs=epochs, units=UNITS)
    worth = {
        "freshet": quality(fit_gru(learning, lambda _: None), split),
        "plain": quality(PlainSystem(loop.network), split),
    }
    return {
        "events_per_s": speeds,
        "ratio": median(speeds["freshet"]) / median(speeds["plain"]),
        "recall_and_mrr_at_20": worth,
    }


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--columns")
    parser.add_argument("--time-unit", choices=("s", "ms"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = parse_columns(given.columns)
    frames = [
        load_events(path, columns=columns, time_unit=given.time_unit) for path in (given.train, given.test)
    ]
    found = measured(split_as_given(*frames, known_items_only=True), given.rounds, given.epochs)
    for name, speeds in found["events_per_s"].items():
        recall, mrr = found["recall_and_mrr_at_20"][name]
        spread = f"{min(speeds):,.0f} .. {max(speeds):,.0f}"
        print(f"{name}: {median(speeds):,.0f} events/s ({spread}), R@20 {recall:.4f}, MRR@20 {mrr:.4f}")
    print(f"ratio: {found['ratio']:.2f} (asked {LEAST_RATIO:g})")
    if given.report is not None:
        given.report.write_text(json.dumps({**environment(), **found}, indent=2))
    worth = found["recall_and_mrr_at_20"]
    worse = any(ours < theirs for ours, theirs in zip(worth["freshet"], worth["plain"], strict=True))
    if worse or found["ratio"] < LEAST_RATIO:
        raise SystemExit("missed: the lists are worse, or the training is not fast enough")


if __name__ == "__main__":
    main()
