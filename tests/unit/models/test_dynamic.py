"""Dynamic CF: its formula worked out by hand, its bins of time, and what it learns."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.dynamic import Clock, DynamicConfig, DynamicNetwork, Seen
from models.dynamic_training import DynamicTrainingConfig, train_dynamic
from models.errors import TrainingError
from models.events import EventLog
from models.learning import Learning
from models.popularity import popularity
from models.segment import SegmentRule
from models.vocabulary import Vocabulary

MINUTE_MS = 60_000
CATEGORY = torch.tensor([0, 1, 1, 2])


def _network(**config: float) -> DynamicNetwork:
    """Two factors, three bins of ten minutes, nothing read by the CNN and the MLP."""
    settings = {"units": 2, "bins": 3, "history": 4, "near": 3, "dropout": 0.0, "event_dropout": 0.0}
    clock = Clock(0, 30 * MINUTE_MS - 1, 3)
    torch.manual_seed(0)
    return DynamicNetwork(
        DynamicConfig(**{**settings, **config}), CATEGORY, n_categories=3, clock=clock
    ).eval()


def _seen(*newest: tuple[int, int], depth: int = 4) -> Seen:
    """One user's newest events (item, minute), newest first."""
    none = [0] * (depth - len(newest))
    item = torch.tensor([[item for item, _ in newest] + none])
    time_ms = torch.tensor([[minute * MINUTE_MS for _, minute in newest] + none])
    there = torch.tensor([[True] * len(newest) + [False] * len(none)])
    return Seen(item, CATEGORY[item], torch.zeros_like(item), time_ms, there)


def _softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@torch.no_grad()
def test_formula_by_hand() -> None:
    """Biases, the bin's bias, and factors that fade with the minutes since each event."""
    network = _network()
    network.join.weight.zero_()
    network.join.bias.zero_()
    network.bias.copy_(torch.tensor([0.0, 0.1, 0.2, 0.3]))
    network.bias_of_bin.copy_(torch.arange(12.0).reshape(4, 3))
    scores = network.scores(_seen((1, 25), (3, 22)))[0]
    q, c, theta = (table.detach().tolist() for table in (network.item, network.category, network.fading))
    p = [
        ((q[1][k] + c[1][k]) + (q[3][k] + c[2][k]) * (1 + 3) ** -_softplus(theta[k])) / math.sqrt(2)
        for k in range(2)
    ]
    for item, category in ((1, 1), (2, 1), (3, 2)):
        match = sum(p[k] * (q[item][k] + c[category][k]) for k in range(2))
        third_bin = 3 * item + 2
        assert float(scores[item]) == pytest.approx(0.1 * item + third_bin + match, rel=1e-5)
    assert scores[0] == -math.inf


def test_bins_divide_the_time_that_was_learnt_from() -> None:
    """What is earlier or later belongs to the first and the last bin."""
    clock = Clock(100, 399, 3)
    assert clock.bin(torch.tensor([0, 100, 199, 200, 300, 399, 10**9])).tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert Clock(5, 5, 4).bin(torch.tensor([5, 9])).tolist() == [0, 3]


@pytest.mark.parametrize("part", ["filters", "moment"])
@torch.no_grad()
def test_cnn_and_mlp_take_part(part: str) -> None:
    """What they read changes the scores: the order of two events of one time, and when it was."""
    network = _network()
    first, second = {
        "filters": (_seen((1, 5), (3, 5)), _seen((3, 5), (1, 5))),
        "moment": (_seen((1, 5)), _seen((1, 5 + 24 * 60))),
    }[part]
    if part == "moment":
        network.bias_of_bin.zero_()
    assert not torch.allclose(network(first)[:, :2], network(second)[:, :2])


@torch.no_grad()
def test_what_is_not_there_says_nothing() -> None:
    """Neither item nor time of a place without an event reaches the scores."""
    network = _network()
    seen = _seen((1, 25), (3, 22))
    other = seen._replace(item=_filled(seen.item, 2), time_ms=_filled(seen.time_ms, 7))
    torch.testing.assert_close(network.scores(seen), network.scores(other))


def _filled(values: Tensor, value: int) -> Tensor:
    return torch.cat((values[:, :2], torch.full_like(values[:, 2:], value)), 1)


def _learning(items: list[int], users: list[int]) -> Learning:
    vocabulary = Vocabulary.empty().grow([str(item) for item in range(1, 7)], [None] * 6)
    nothing = np.zeros(len(items), np.int32)
    log = EventLog.sorted(
        np.array(users, np.int64),
        np.array(items, np.int32),
        nothing,
        nothing.astype(np.int8),
        np.arange(len(items)) * 1000,
    )
    return Learning(log, vocabulary, SegmentRule(), popularity(log, 7))


@pytest.mark.parametrize("full_max_items", [2000, 0])
def test_learns_what_follows(full_max_items: int) -> None:
    """After 1 comes 2, after 3 comes 4, after 5 comes 6; with the full softmax and with the sampled one."""
    learning = _learning([1, 2, 3, 4, 5, 6] * 40, [user for user in range(120) for _ in range(2)])
    network = train_dynamic(
        learning,
        DynamicConfig(units=8, history=4, near=3),
        DynamicTrainingConfig(epochs=30, batch=16, negatives=16, full_max_items=full_max_items),
        lambda _: None,
    )
    newest = Seen(
        item=torch.tensor([[1, 0, 0, 0], [3, 0, 0, 0], [5, 0, 0, 0]]),
        category=torch.zeros(3, 4, dtype=torch.long),
        behavior=torch.zeros(3, 4, dtype=torch.long),
        time_ms=torch.zeros(3, 4, dtype=torch.long),
        there=torch.tensor([[True, False, False, False]] * 3),
    )
    assert network.scores(newest).argmax(1).tolist() == [2, 4, 6]


def test_nothing_to_learn_from_is_an_error() -> None:
    """Users of one event each foretell nothing."""
    with pytest.raises(TrainingError, match="no event of a known item follows another"):
        train_dynamic(
            _learning([1, 2], [1, 2]), DynamicConfig(units=2), DynamicTrainingConfig(), lambda _: None
        )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"units": 0}, "units and bins"),
        ({"near": 2}, "near is 2; it must be at least 3"),
        ({"near": 9, "history": 8}, "at most history, 8"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_impossible_network_is_refused(config: dict[str, float], words: str) -> None:
    """By name and with what is allowed."""
    with pytest.raises(ValueError, match=words):
        DynamicConfig(**config)
