"""Training learns what can be learnt, the same way each time, and nothing of what is held back."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models import artifact
from models import training as training_module
from models.cleaning import CleaningRule
from models.errors import TrainingError
from models.events import EventLog
from models.fitting import save_fitted, train_from_frame
from models.networks import CellName, NetworkConfig
from models.segment import SegmentRule
from models.sequences import cut
from models.training import Epoch, LossName, Part, TrainingConfig, hold_back, next_item_quality, train
from models.vocabulary import Vocabulary

N_ITEMS = 30
QUICK = TrainingConfig(epochs=6, validation_share=0.0, negatives=64)
SMALL = NetworkConfig(units=16, input_dropout=0.1, state_dropout=0.1)


def round_trips(n_users: int = 200, length: int = 8) -> pl.DataFrame:
    """Users who walk the items in a circle, each from a place of their own, one step a minute."""
    rng = np.random.default_rng(0)
    place = (rng.integers(0, N_ITEMS, n_users)[:, None] + np.arange(length)) % N_ITEMS
    time_ms = rng.integers(0, 86_400_000, n_users)[:, None] + 60_000 * np.arange(length)
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), length).astype(str),
            "item_id": place.ravel().astype(str),
            "category_id": pl.Series([None] * place.size, dtype=pl.String),
            "behavior": np.zeros(place.size, np.int8),
            "timestamp": time_ms.ravel(),
        }
    )


def learnt(frame: pl.DataFrame) -> tuple[EventLog, Vocabulary]:
    """The log and the vocabulary of a frame."""
    vocabulary = Vocabulary.from_frame(frame)
    return EventLog.from_frame(frame, vocabulary), vocabulary


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_a_certain_successor_is_learnt(cell: CellName, loss: LossName) -> None:
    """Where each item has one successor, that is what comes first in nearly every list."""
    log, vocabulary = learnt(round_trips())
    trained = train(
        log,
        vocabulary,
        rule=SegmentRule(),
        network=replace(SMALL, cell=cell),
        training=replace(QUICK, loss=loss),
    )
    _, mrr = next_item_quality(trained.network, log, cut(log, SegmentRule()), 10**6)
    assert mrr > 0.9


@pytest.mark.parametrize("loss", ["bpr_max", "top1_max"])
def test_pairwise_losses_learn_too(loss: LossName) -> None:
    """They find the successors as well."""
    log, vocabulary = learnt(round_trips())
    training = replace(QUICK, loss=loss, epochs=10)
    trained = train(log, vocabulary, rule=SegmentRule(), network=SMALL, training=training)
    _, mrr = next_item_quality(trained.network, log, cut(log, SegmentRule()), 10**6)
    assert mrr > 0.8


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(loss: LossName) -> None:
    """Weights are a function of the arguments, whatever was drawn before."""
    log, vocabulary = learnt(round_trips(n_users=40))

    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.rand(seed + 3)  # somebody else draws from the global generator
        training = replace(QUICK, epochs=2, seed=seed, loss=loss, validation_share=0.2)
        return train(
            log, vocabulary, rule=SegmentRule(), network=SMALL, training=training
        ).network.state_dict()

    one, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["item"], other["item"])


def test_one_thread_and_two_give_the_same_weights() -> None:
    """Weights are the same bit for bit, and whoever trains has as many threads afterwards as before."""
    log, vocabulary = learnt(round_trips(n_users=40))

    network = replace(SMALL, units=64)

    def weights(threads: int) -> dict[str, torch.Tensor]:
        torch.set_num_threads(threads)
        training = replace(QUICK, epochs=2, loss="sampled", validation_share=0.2)
        trained = train(log, vocabulary, rule=SegmentRule(), network=network, training=training)
        assert torch.get_num_threads() == threads
        return trained.network.state_dict()

    before = torch.get_num_threads()
    try:
        one, two = weights(1), weights(2)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(weight, two[name]) for name, weight in one.items())


def test_training_leaves_the_global_generator_alone() -> None:
    """Whoever draws after a training draws what they would have drawn without it."""
    log, vocabulary = learnt(round_trips(n_users=20))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(log, vocabulary, rule=SegmentRule(), network=SMALL, training=replace(QUICK, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_nothing_after_the_cut_reaches_the_weights_before_the_second_training() -> None:
    """What is held back can be anything: the weights learnt from the rest stay the same, bit for bit."""
    frame = round_trips(n_users=60)
    log, vocabulary = learnt(frame)
    cut_ms = int(np.sort(log.time_ms)[len(log) - int(len(log) * 0.2)])
    shuffled = replace(
        log, item=np.where(log.time_ms >= cut_ms, 1 + log.item % N_ITEMS, log.item).astype(np.int32)
    )
    # One epoch: with more, what is held back rightly decides which epoch is kept.
    training = replace(QUICK, epochs=1, validation_share=0.2, refit=False)
    one, other = (
        train(each, vocabulary, rule=SegmentRule(), network=SMALL, training=training).network.state_dict()
        for each in (log, shuffled)
    )
    assert not np.array_equal(log.item, shuffled.item)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_held_back_targets_are_the_newest_and_nobodys_twice() -> None:
    """The slice splits the targets by time, all of them, each once."""
    log, _ = learnt(round_trips())
    segments = cut(log, SegmentRule())
    old, new = hold_back(log, segments, 0.1)

    def times(part: object) -> list[int]:
        return [
            int(log.time_ms[t])
            for first, end in zip(part.target, part.end, strict=True)
            for t in range(first, end)
        ]

    assert max(times(old)) < min(times(new))
    assert sorted(times(old) + times(new)) == sorted(times(segments))
    assert len(hold_back(log, segments, 0.0)[1]) == 0


def test_early_stop_keeps_the_best_epoch_and_trains_again_for_as_many() -> None:
    """Once nothing improves, training stops; the second one runs on everything for the best's number."""
    log, vocabulary = learnt(round_trips())
    told: list[Epoch | Part] = []
    training = replace(QUICK, epochs=30, learning_rate=0.03, validation_share=0.2, patience=1)
    trained = train(
        log, vocabulary, rule=SegmentRule(), network=SMALL, training=training, progress=told.append
    )
    begun, *rest = told
    again = next(place for place, one in enumerate(rest) if isinstance(one, Part))
    first, second = ([one for one in part if isinstance(one, Epoch)] for part in (rest[:again], rest[again:]))
    assert begun == Part("training 1 of 2, on the older events", 30)
    assert rest[again] == Part("training 2 of 2, on all events", trained.best.number)
    assert len(first) < 30
    assert trained.best.mrr == max(epoch.mrr for epoch in first)
    assert first[-1].number == trained.best.number + 1
    assert [epoch.number for epoch in second] == list(range(1, trained.best.number + 1))
    assert trained.epochs == (*first, *second)


def test_much_to_learn_from_is_shown_fewer_times() -> None:
    """As many epochs as show the most targets there may be, at most those asked for, at least three."""
    log, _ = learnt(round_trips(n_users=10, length=6))
    segments = cut(log, SegmentRule())  # 10 users of 5 targets each

    def epochs(most_targets: int) -> int:
        return TrainingConfig(epochs=10, most_targets=most_targets).epochs_of(segments)

    assert [epochs(most) for most in (1, 4 * 50, 9 * 50 + 49, 10 * 50, 10**6)] == [3, 4, 9, 10, 10]


def test_items_without_an_event_are_left_to_their_category() -> None:
    """An item that only the items' table lists is the unknown item of its category."""
    items = pl.DataFrame({"item_id": ["cold", "bare"], "category_id": ["k", None]})
    fitted = train_from_frame(
        round_trips(n_users=30),
        trained_at_ms=0,
        items=items,
        network=SMALL,
        training=replace(QUICK, epochs=1),
    )
    network, vocabulary = fitted.recommender.network, fitted.recommender.vocabulary
    cold, bare = vocabulary.item_row("cold"), vocabulary.item_row("bare")
    assert torch.equal(network.item[[cold, bare]], network.item[[0, 0]])
    assert network.bias[cold] == network.bias[0]
    assert network.bias[bare] == network.bias[1:].min()
    assert fitted.recommender.popularity[cold] == -np.inf


def test_fitting_goes_from_a_frame_to_an_artifact(tmp_path: Path) -> None:
    """The recommender, its figures and its files agree, and the same frame gives the same version."""
    frame = round_trips(n_users=50)
    fitted, again = (
        train_from_frame(frame, trained_at_ms=1_700_000_000_000, network=SMALL, training=QUICK)
        for _ in range(2)
    )
    assert fitted.recommender.version == again.recommender.version
    assert fitted.recommender.version.startswith("20231114T221320Z-")
    assert (fitted.figures.events, fitted.figures.users, fitted.figures.targets) == (400, 50, 350)
    place, manifest = save_fitted(fitted, tmp_path)
    assert place == tmp_path / manifest.version
    assert manifest.training["seed"] == 1
    loaded = artifact.load(place)
    states = np.ones((2, loaded.state_size), np.float32)
    assert np.array_equal(loaded.scores(states), fitted.recommender.scores(states))


def test_a_vocabulary_given_keeps_its_rows() -> None:
    """Training again extends what was known, so that segments made before stay right."""
    before = Vocabulary.empty().grow(["gone", "7"], ["k", None])
    fitted = train_from_frame(
        round_trips(n_users=30),
        trained_at_ms=0,
        vocabulary=before,
        network=SMALL,
        training=replace(QUICK, epochs=1),
    )
    vocabulary = fitted.recommender.vocabulary
    assert (vocabulary.item_row("gone"), vocabulary.item_row("7")) == (1, 2)
    assert vocabulary.n_items == 1 + 1 + N_ITEMS


def test_suspicious_users_teach_nothing() -> None:
    """A robot's items are in the vocabulary, but its events are left out and counted."""
    frame = round_trips(n_users=30)
    robot = frame.head(1).select(
        pl.lit("robot").alias("user_id"),
        pl.lit("spam").alias("item_id"),
        "category_id",
        "behavior",
        "timestamp",
    )
    robot = pl.concat([robot.with_columns(timestamp=pl.col("timestamp") + 7 + step) for step in range(500)])
    rule = CleaningRule(max_burst_clicks=100, burst_ms=60_000)
    fitted = train_from_frame(
        pl.concat([frame, robot]),
        trained_at_ms=0,
        cleaning=rule,
        network=SMALL,
        training=replace(QUICK, epochs=1),
    )
    assert (fitted.figures.suspicious_users, fitted.figures.users) == (1, 30)
    with pytest.raises(TrainingError, match="every user of these events is suspicious"):
        train_from_frame(robot, trained_at_ms=0, cleaning=rule)


def test_events_that_teach_nothing_are_refused() -> None:
    """No event at all, or no event after another of its user, is one line that says so."""
    frame = round_trips(n_users=5, length=1)
    with pytest.raises(TrainingError, match="no event of a known item follows another event of its user"):
        train_from_frame(frame, trained_at_ms=0)
    with pytest.raises(TrainingError, match="there are no events"):
        train_from_frame(frame.head(0), trained_at_ms=0)


def test_a_loss_that_runs_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are no numbers are never handed on."""
    log, vocabulary = learnt(round_trips(n_users=30))
    monkeypatch.setattr(
        training_module, "full_cross_entropy", lambda hidden, *_, **__: hidden.sum() * math.inf
    )
    with pytest.raises(TrainingError, match=r"the loss became .*give a learning rate below 0\.01"):
        train(log, vocabulary, rule=SegmentRule(), network=SMALL, training=QUICK)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("learning_rate", 0.0), ("validation_share", 1.0), ("batch_targets", 0)],
)
def test_settings_that_cannot_train_are_refused(field: str, value: float) -> None:
    """The message names the field and its value."""
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        TrainingConfig(**{field: value})
