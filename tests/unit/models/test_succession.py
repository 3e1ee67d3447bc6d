"""Warm updates, light refreshes, and what a challenger may know."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from models import warm
from models.blend_fitting import learn_parts
from models.errors import TrainingError
from models.fitting import Fitted, train_from_frame
from models.gate_config import GateConfig
from models.networks import NetworkConfig
from models.segment import SegmentRule
from models.sequences import Segments
from models.succession import (
    Champion,
    SuccessionConfig,
    TooFewEvents,
    challenge,
    held_back_from_ms,
    newest_ms,
)
from models.training import Epoch, Part, TrainingConfig
from models.warm import WarmConfig, grown, joined, light_refresh, rehearsed, warm_update

NETWORK = NetworkConfig(units=8)
RULE = SegmentRule(span_ms=3_600_000, max_events=16)
QUICK = TrainingConfig(epochs=2, batch_targets=64)
CONFIG = SuccessionConfig(
    network=NETWORK,
    training=QUICK,
    warm=WarmConfig(TrainingConfig(epochs=1, learning_rate=0.01, validation_share=0.0, refit=False)),
    gate=GateConfig(hold_back=100, least_events=50, least_users=10, resamples=200),
)


def circling(first_ms: int, *, step: int = 1, n_users: int = 30, n_items: int = 12) -> pl.DataFrame:
    """Users who walk the items in a circle, eight events of a second each, in three categories."""
    walks = [(user, at, (user + step * at) % n_items) for at in range(8) for user in range(n_users)]
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in walks],
            "item_id": [f"i{item}" for _, _, item in walks],
            "category_id": [f"c{item % 3}" for _, _, item in walks],
            "behavior": [0] * len(walks),
            "timestamp": [first_ms + 1000 * at for _, at, _ in walks],
        }
    )


OLD, NEW = circling(1_700_000_000_000), circling(1_700_000_100_000, step=5, n_items=14)
BOTH = pl.concat([OLD, NEW])


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """A recommender with a blend, trained on the old events."""
    return train_from_frame(OLD, trained_at_ms=1, rule=RULE, network=NETWORK, training=QUICK)


@pytest.fixture(scope="module")
def champion(fitted: Fitted) -> Champion:
    """The same, in force."""
    return Champion(fitted.recommender, newest_ms(OLD))


def test_a_grown_network_says_of_old_items_what_it_said_before(fitted: Fitted) -> None:
    """New rows lie after the old ones, which are not moved."""
    before = fitted.recommender
    network = grown(before, before.vocabulary.extended(NEW))
    states = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    scores = network.scores(_tensor(states)).detach().numpy()
    assert scores.shape == (3, 15)
    np.testing.assert_array_equal(scores[:, :13], before.network.scores(_tensor(states)).numpy())


def test_a_new_item_speaks_through_its_category(fitted: Fitted) -> None:
    """It is the unknown item of its category; without a category it has the lowest bias."""
    before = fitted.recommender
    vocabulary = before.vocabulary.grow(["of c1", "of none"], ["c1", None])
    network = grown(before, vocabulary)
    vector = before.network.item[0] + before.network.category[vocabulary.category_row("c1")]
    np.testing.assert_allclose(network.item_vectors()[13].detach(), vector / vector.norm(), rtol=1e-6)
    assert network.bias[13] == before.network.bias[0]
    assert network.bias[14] == before.network.bias[1:].min()


def test_a_light_refresh_counts_anew_and_leaves_the_network(fitted: Fitted) -> None:
    """What is popular and what is near follow the events; what was trained, and when, does not."""
    before = fitted.recommender
    after = light_refresh(before, BOTH, refreshed_at_ms=5000)
    assert after.vocabulary.item_ids[:13] == before.vocabulary.item_ids
    assert after.vocabulary.item_row("i13") == 14
    assert np.isfinite(after.popularity[13:]).all()
    assert after.trained_at_ms == before.trained_at_ms
    assert after.version.startswith("19700101T000005Z-")
    assert after.network.weight_hh.equal(before.network.weight_hh)
    near = after.blend.neighbours
    row = after.vocabulary.item_row("i0")
    assert after.vocabulary.item_row("i5") in near.rows[near.begins[row] : near.begins[row + 1]]
    following = after.blend.direct
    assert (
        after.vocabulary.item_row("i5") in following.rows[following.begins[row] : following.begins[row + 1]]
    )
    assert not np.array_equal(after.blend.prior[:13], before.blend.prior)
    np.testing.assert_array_equal(after.blend.near, before.blend.near)


def test_a_light_refresh_with_the_same_events_changes_nothing(fitted: Fitted) -> None:
    """The weights of the tallies are kept in the blend, so what popularity adds can be made again."""
    before = fitted.recommender
    after = light_refresh(before, OLD, refreshed_at_ms=5000)
    np.testing.assert_allclose(after.blend.prior, before.blend.prior, rtol=1e-5)
    np.testing.assert_array_equal(after.popularity, before.popularity)


def test_an_announced_item_is_there_after_a_light_refresh(fitted: Fitted) -> None:
    """Without an event of it; the items topic says that it exists."""
    items = pl.DataFrame({"item_id": ["fresh"], "category_id": ["c1"]})
    after = light_refresh(fitted.recommender, OLD, refreshed_at_ms=5000, items=items)
    row = after.vocabulary.item_row("fresh")
    assert row == 13
    assert np.isfinite(after.scores(np.ones((1, 8), np.float32))[0, row])


def test_a_warm_update_learns_what_is_new(champion: Champion) -> None:
    """The loss on the new events falls; rows stay where they were; the same seed gives the same weights."""
    config = WarmConfig(TrainingConfig(epochs=6, learning_rate=0.02, validation_share=0.0, refit=False))
    told: list[Part | Epoch] = []
    updated = warm_update(
        champion.recommender,
        BOTH,
        until_ms=champion.until_ms,
        trained_at_ms=9000,
        config=config,
        progress=told.append,
    )
    assert [one for one in told if isinstance(one, Part)] == [Part("update, with the newest events", 6)]
    losses = [one.loss for one in told if isinstance(one, Epoch)]
    assert losses[-1] < losses[0]
    after = updated.recommender
    assert after.vocabulary.item_ids[:13] == champion.recommender.vocabulary.item_ids
    assert after.trained_at_ms == 9000
    again = warm_update(
        champion.recommender, BOTH, until_ms=champion.until_ms, trained_at_ms=9000, config=config
    )
    assert again.recommender.version == after.version


class Lesson:
    """What the blend's weights were learnt from: by whom, and from when on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look on while they are."""
        self.since: list[int] = []
        self.networks: list[dict[str, torch.Tensor]] = []
        monkeypatch.setattr(warm, "learn_parts", self.learn)

    def learn(self, recommender, log, since_ms, config):
        """As it would be."""
        self.since.append(since_ms)
        self.networks.append(recommender.network.state_dict())
        return learn_parts(recommender, log, since_ms, config)


def taught_by(events: int, *, least: int = 1) -> WarmConfig:
    """An update whose blend learns from so many events."""
    return replace(CONFIG.warm, blend_events=events, blend_targets=least, blend_span_ms=0)


@pytest.mark.parametrize(("least", "learnt_anew"), [(60, 1), (61, 0)])
def test_the_blend_is_learnt_from_the_newest_events(
    champion: Champion, monkeypatch: pytest.MonkeyPatch, least: int, learnt_anew: int
) -> None:
    """What was counted before them is then as fresh as what serves; too few targets teach nothing anew."""
    lesson = Lesson(monkeypatch)
    told: list[Part | Epoch] = []
    updated = warm_update(
        champion.recommender,
        BOTH,
        until_ms=champion.until_ms,
        trained_at_ms=9000,
        config=taught_by(48, least=least),
        progress=told.append,
    ).recommender
    parts = [one.title for one in told if isinstance(one, Part)]
    before = ["update, without the newest events", "learning the blend"]
    assert parts == [*before * learnt_anew, "update, with the newest events"]
    assert lesson.since == [BOTH["timestamp"].sort()[480 - 48]] * learnt_anew
    kept = np.array_equal(updated.blend.tallies, champion.recommender.blend.tallies)
    assert kept != bool(learnt_anew)


def test_events_that_teach_the_blend_span_some_minutes_at_least(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many come in a second, they would teach to trust counts fresher than those that serve."""
    lesson = Lesson(monkeypatch)
    config = replace(taught_by(48), blend_span_ms=4000)
    warm_update(champion.recommender, BOTH, until_ms=champion.until_ms, trained_at_ms=9000, config=config)
    assert lesson.since == [newest_ms(BOTH) - 4000]


def test_the_blend_is_taught_by_a_network_that_knows_all_before_and_nothing_after(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other events from then on, and the network is the same; other events before, and it is another."""
    lesson = Lesson(monkeypatch)
    since_ms = BOTH["timestamp"].sort()[480 - 48]
    other = pl.col("item_id").str.replace("i1", "i2")
    later, newer = pl.col("timestamp") >= since_ms, pl.col("timestamp") > champion.until_ms
    for frame in (
        BOTH,
        BOTH.with_columns(pl.when(later).then(other).otherwise("item_id").alias("item_id")),
        BOTH.with_columns(pl.when(newer & ~later).then(other).otherwise("item_id").alias("item_id")),
    ):
        warm_update(
            champion.recommender,
            frame,
            until_ms=champion.until_ms,
            trained_at_ms=9000,
            config=taught_by(48),
        )
    assert lesson.since == [since_ms] * 3
    first, same, differing = lesson.networks
    n_items = champion.recommender.vocabulary.n_items
    assert all(torch.equal(first[name][:n_items], same[name][:n_items]) for name in first)
    assert not all(torch.equal(first[name][:n_items], differing[name][:n_items]) for name in first)
    old = champion.recommender.network.state_dict()
    assert not all(torch.equal(first[name][:n_items], old[name][:n_items]) for name in old)


def test_rows_are_those_of_the_network_whatever_order_items_come_in(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item announced, and one of the newest events, which the frame has first."""
    made, refined = [], warm._Update.refined

    def noted(update, *arguments):
        made.append(refined(update, *arguments))
        return made[-1]

    monkeypatch.setattr(warm._Update, "refined", noted)
    newest = NEW.tail(60).with_columns(pl.format("new{}", "item_id").alias("item_id"))
    frame = pl.concat([newest, OLD, NEW.head(180).with_columns(pl.col("item_id").str.replace("i", "j"))])
    items = pl.DataFrame({"item_id": ["announced"], "category_id": ["c1"]})
    updated = warm_update(
        champion.recommender,
        frame,
        until_ms=champion.until_ms,
        trained_at_ms=9000,
        items=items,
        config=taught_by(48),
    ).recommender
    assert len(made) == 2
    assert made[-1][0].vocabulary.item_ids == updated.vocabulary.item_ids


def test_a_training_from_nothing_learns_the_newest_events_last(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blend is then taught by the newest of all, as that of a warm update is."""
    lesson = Lesson(monkeypatch)
    config = replace(CONFIG, warm=taught_by(12))
    made = challenge(champion, BOTH, kind="full", trained_at_ms=5, config=config)
    past = BOTH["timestamp"].sort()[: 480 - 120]
    assert made.until_ms == past[-1]
    assert lesson.since == [past[len(past) - round(0.05 * len(past))]]
    assert made.fitted.training == QUICK
    assert made.fitted.figures.events == len(past)
    assert made.fitted.figures.epochs >= 1
    assert not np.isnan(made.fitted.figures.mrr)


def test_a_training_from_nothing_of_few_events_learns_them_all_at_once(
    champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A twentieth of them would teach the blend nothing."""
    lesson = Lesson(monkeypatch)
    config = replace(CONFIG, warm=taught_by(12, least=19))
    made = challenge(champion, BOTH, kind="full", trained_at_ms=5, config=config)
    past = BOTH.filter(pl.col("timestamp") <= made.until_ms)
    alone = train_from_frame(
        past,
        trained_at_ms=5,
        rule=RULE,
        network=NETWORK,
        training=QUICK,
        vocabulary=champion.recommender.vocabulary,
    )
    assert lesson.since == []
    assert made.fitted.recommender.version == alone.recommender.version


def test_a_warm_update_without_anything_new_is_refused(champion: Champion) -> None:
    """There would be nothing to learn."""
    with pytest.raises(TrainingError, match="no event since the last training"):
        warm_update(champion.recommender, OLD, until_ms=champion.until_ms, trained_at_ms=9000)


@pytest.mark.parametrize("kind", ["warm", "full"])
def test_nothing_of_the_held_back_events_reaches_the_challenger(champion: Champion, kind) -> None:
    """Whatever they are, the same challenger is trained; only the verdict may differ."""
    cut_ms = held_back_from_ms(BOTH, champion.until_ms, CONFIG.gate)
    late = pl.col("timestamp") >= cut_ms
    altered = BOTH.with_columns(pl.when(late).then(pl.lit("i3")).otherwise("item_id").alias("item_id"))
    one, other = (
        challenge(champion, frame, kind=kind, trained_at_ms=9000, config=CONFIG) for frame in (BOTH, altered)
    )
    assert one.fitted.recommender.version == other.fitted.recommender.version
    assert one.until_ms == other.until_ms < cut_ms
    assert one.verdict != other.verdict
    assert one.verdict.targets == BOTH.filter(late).height


def test_the_newest_half_at_most_is_held_back(champion: Champion) -> None:
    """240 new events: the newest 100, or half of them; and nothing the champion has learnt from."""
    new = NEW["timestamp"].sort()
    assert held_back_from_ms(BOTH, champion.until_ms, CONFIG.gate) == new[140]
    greedy = GateConfig(hold_back=10_000)
    assert held_back_from_ms(BOTH, champion.until_ms, greedy) == new[120]


def test_little_news_is_no_reason_to_train(champion: Champion) -> None:
    """The line says how many events there are."""
    with pytest.raises(TooFewEvents, match="240 events are newer than the model in force; 1,000 are needed"):
        held_back_from_ms(BOTH, champion.until_ms, GateConfig(least_events=1000))


def test_segments_are_drawn_until_they_hold_enough_targets() -> None:
    """Ten segments of three targets each; seven targets take three of them, all but none take none."""
    starts = np.arange(10) * 4
    segments = Segments(starts, starts + 1, starts + 4)
    assert rehearsed(segments, 7, 1).n_targets == 6
    assert rehearsed(segments, 100, 1).n_targets == 30
    assert joined(segments, rehearsed(segments, 7, 1)).n_targets == 36


def _tensor(array):
    import torch

    return torch.from_numpy(array)
