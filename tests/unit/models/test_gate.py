"""The gate between a challenger and the weights in force."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.blend import RANGES, Blend
from models.gate import HeldBack, Looked, Standing, Verdict, judge, lowest_gain
from models.gate_config import GateConfig
from models.metrics import Ratio
from models.neighbours import ItemNeighbours
from models.recommender import Recommender
from models.vocabulary import Vocabulary
from tests.support.recommenders import small_recommender, small_vocabulary

N_USERS, LENGTH = 60, 10
CUT_MS = 5 * 1000


def circling(n_users: int = N_USERS) -> pl.DataFrame:
    """Users who walk eleven items in a circle, an event a second, each from another item on."""
    walks = [(user, step, (user + step) % 11 + 1) for user in range(n_users) for step in range(LENGTH)]
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in walks],
            "item_id": [f"i{item}" for _, _, item in walks],
            "category_id": pl.Series([None] * len(walks), dtype=pl.String),
            "behavior": [0] * len(walks),
            "timestamp": [1000 * step for _, step, _ in walks],
        }
    )


def knowing(step: int, vocabulary: Vocabulary) -> Recommender:
    """A recommender that is sure of the item ``step`` places on in the circle."""
    items = np.arange(11)
    begins = np.concatenate(([0, 0], items + 1)).astype(np.int64)
    neighbours = ItemNeighbours(begins, ((items + step) % 11 + 1).astype(np.int32), np.ones(11, np.float32))
    nothing = np.zeros(12, np.float32)
    near, had = np.array([50, 0, 0, 0], np.float32), np.zeros((2, RANGES), np.float32)
    blend = Blend(neighbours, neighbours, neighbours, nothing, nothing[:1], near, had)
    return replace(small_recommender(vocabulary=vocabulary), blend=blend)


@pytest.fixture
def vocabulary() -> Vocabulary:
    """The eleven items."""
    return small_vocabulary()


@pytest.fixture
def held_back(vocabulary: Vocabulary) -> HeldBack:
    """The second half of every walk."""
    return HeldBack.of(circling(), vocabulary, CUT_MS)


def test_a_better_challenger_passes(vocabulary: Vocabulary, held_back: HeldBack) -> None:
    """The one that knows the circle is better than the one that is three items ahead of it."""
    verdict = judge(knowing(3, vocabulary), knowing(1, vocabulary), held_back, GateConfig())
    assert verdict.promoted
    assert verdict.challenger.mrr == 1
    assert verdict.champion.mrr < 0.6
    assert 0 < verdict.gain_low <= verdict.gain
    assert (verdict.targets, verdict.users) == (N_USERS * 5, N_USERS)


def test_a_worse_challenger_does_not_pass(vocabulary: Vocabulary, held_back: HeldBack) -> None:
    """The same two, the other way round."""
    verdict = judge(knowing(1, vocabulary), knowing(3, vocabulary), held_back, GateConfig())
    assert verdict.reason == "not better"
    assert verdict.gain_low < verdict.gain < 0


def test_an_equal_challenger_does_not_pass(vocabulary: Vocabulary, held_back: HeldBack) -> None:
    """No gain is not a gain."""
    one = knowing(1, vocabulary)
    assert judge(one, one, held_back, GateConfig()).reason == "not better"


def test_a_gain_below_the_least_does_not_pass(vocabulary: Vocabulary, held_back: HeldBack) -> None:
    """What is asked for on top is a share of the champion's MRR."""
    config = GateConfig(least_gain=20.0)
    assert judge(knowing(3, vocabulary), knowing(1, vocabulary), held_back, config).reason == "not better"


def test_few_users_prove_nothing(vocabulary: Vocabulary) -> None:
    """However great the gain."""
    few = HeldBack.of(circling(20), vocabulary, CUT_MS)
    verdict = judge(knowing(3, vocabulary), knowing(1, vocabulary), few, GateConfig())
    assert verdict.reason == "too few users"


def test_a_challenger_that_lists_little_does_not_pass(vocabulary: Vocabulary) -> None:
    """Better for most, by what is popular; but the catalogue is hardly listed any more."""
    walks = circling().with_columns(pl.lit("i5").alias("item_id"))
    held_back = HeldBack.of(walks, vocabulary, CUT_MS)
    champion = knowing(3, vocabulary)
    liking_i5 = np.where(np.arange(12) == 5, 100, 0).astype(np.float32)
    always = replace(champion, blend=replace(knowing(0, vocabulary).blend, prior=liking_i5))
    config = GateConfig(cutoff=1, least_coverage=1.5)
    assert judge(champion, always, held_back, config).reason == "covers too little"


def looked(monkeypatch: pytest.MonkeyPatch, **changed: float) -> None:
    """Let the challenger, which is looked at second, be found to differ in this as well."""
    places, found = HeldBack.places, []

    def look(held_back: HeldBack, recommender: Recommender, cutoff: int) -> Looked:
        found.append(places(held_back, recommender, cutoff)._replace(list_s=0.001))
        return found[-1]._replace(**changed) if len(found) == 2 else found[-1]

    monkeypatch.setattr(HeldBack, "places", look)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"list_s": 0.0031}, "too slow"),
        ({"list_s": 0.0029}, "better"),
        ({"unseen_share": 0.51}, "lists too much that is unseen"),
        ({"unseen_share": 0.49}, "better"),
        ({"unseen_share": math.nan}, "better"),
    ],
)
def test_a_better_challenger_that_is_slow_or_guesses_does_not_pass(
    vocabulary: Vocabulary,
    held_back: HeldBack,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, float],
    reason: str,
) -> None:
    """However good its lists are."""
    looked(monkeypatch, **changed)
    verdict = judge(knowing(3, vocabulary), knowing(1, vocabulary), held_back, GateConfig())
    assert verdict.reason == reason


def test_as_many_unseen_items_as_the_champion_lists_are_no_reason(
    vocabulary: Vocabulary, held_back: HeldBack
) -> None:
    """Where most of the catalogue is new, any lists are full of it."""
    only = replace(held_back.split, train=held_back.split.train[:1])
    verdict = judge(knowing(3, vocabulary), knowing(1, vocabulary), HeldBack(only), GateConfig())
    assert verdict.champion.unseen_share > 0.5
    assert verdict.reason == "better"


def test_what_is_listed_is_told_with_what_it_costs(vocabulary: Vocabulary, held_back: HeldBack) -> None:
    """Every item had been had; a list took some time."""
    standing = held_back.places(knowing(1, vocabulary), 20).standing
    assert standing.unseen_share == 0
    assert 0 < standing.list_s < 1


def test_only_events_from_the_cut_on_with_one_before_them_are_targets(vocabulary: Vocabulary) -> None:
    """As live quality counts them: a first event met no list."""
    late = circling(1).filter(pl.col("timestamp") >= CUT_MS).with_columns(pl.lit("late").alias("user_id"))
    held_back = HeldBack.of(pl.concat([circling(1), late]), vocabulary, CUT_MS)
    split = held_back.split
    assert split.log.time_ms[split.targets].tolist() == [5000, 6000, 7000, 8000, 9000, 6000, 7000, 8000, 9000]
    assert held_back.user.tolist() == [0] * 5 + [1] * 4


def test_an_unknown_item_is_a_miss_for_both(vocabulary: Vocabulary) -> None:
    """Nobody could have listed it."""
    walks = circling().with_columns(
        pl.when(pl.col("timestamp") < CUT_MS).then("item_id").otherwise(pl.lit("new")).alias("item_id")
    )
    verdict = judge(
        knowing(3, vocabulary), knowing(1, vocabulary), HeldBack.of(walks, vocabulary, CUT_MS), GateConfig()
    )
    assert verdict.champion.mrr == verdict.challenger.mrr == 0


@pytest.mark.parametrize("low", [0.05, math.nan])
def test_a_verdict_can_be_read_from_its_report(low: float) -> None:
    """The figures have names to any depth; what was not measured is null in a file."""
    verdict = Verdict("better", Standing(0.2, 0.4, 1.0), Standing(0.3, 0.5, 0.9), 0.1, low, 99, 30)
    report = verdict.as_report()
    assert {name: report["challenger"][name] for name in ("mrr", "hit_rate", "coverage")} == {
        "mrr": 0.3,
        "hit_rate": 0.5,
        "coverage": 0.9,
    }
    assert report["promoted"] is True
    unmeasured = report["challenger"] | {"unseen_share": None, "list_s": None}
    read = Verdict.from_report(
        report | {"gain_low": None if math.isnan(low) else low, "challenger": unmeasured}
    )
    assert read.words == verdict.words
    assert read.challenger[:3] == verdict.challenger[:3]
    assert math.isnan(read.challenger.list_s)
    assert read.gain == 0.1


def test_the_low_end_is_lower_where_users_disagree() -> None:
    """The same mean gain of a half is sure where all agree, and not where one user has all of it."""
    counts = np.full(100, 4.0)
    agreed = Ratio(np.full(100, 2.0), counts)
    of_one = Ratio(np.where(np.arange(100) == 0, 200.0, 0.0), counts)
    assert agreed.value == of_one.value == 1 / 2
    assert lowest_gain(agreed, GateConfig()) == 1 / 2
    assert lowest_gain(of_one, GateConfig()) == 0


def test_no_gain_passes_about_as_often_as_the_level_says() -> None:
    """Of 400 draws without a gain, at most as many pass as the level and the luck of the draw allow."""
    rng = np.random.default_rng(7)
    config = GateConfig(resamples=400)
    passed = sum(lowest_gain(Ratio(rng.normal(size=200), np.ones(200)), config) > 0 for _ in range(400))
    assert passed <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 0.5}, {"least_gain": -0.1}, {"least_users": 1}])
def test_a_gate_that_tests_nothing_is_refused(wrong: dict[str, float]) -> None:
    """The line names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GateConfig(**wrong)
