"""What a blend adds to a score, and how it comes to its weights."""

import math

import numpy as np
import polars as pl
import pytest

from models import blend_fitting
from models.blend import RANGES, VOICES, Blend
from models.blend_fitting import HALF_LIVES_MS, BlendConfig, fit_blend, learn_parts
from models.events import EventLog
from models.lead_fitting import Sought
from models.likelihood import Examples, most_likely
from models.memory import Memories
from models.neighbours import ItemNeighbours
from models.networks import NetworkConfig
from models.segment import SegmentRule
from models.training import TrainingConfig, train
from models.vocabulary import Vocabulary
from tests.support.recommenders import small_recommender, small_vocabulary

# Item 1 is near to 2 (.4) and 3 (.2), item 2 to 3 (.1).
NEIGHBOURS = ItemNeighbours(
    np.array([0, 0, 2, 3, 3]), np.array([2, 3, 3], np.int32), np.array([0.4, 0.2, 0.1], np.float32)
)
# Item 3 comes after item 1 in .25 of the cases.
SUCCESSORS = ItemNeighbours(np.array([0, 0, 1, 1, 1]), np.array([3], np.int32), np.array([0.25], np.float32))
# Item 2 comes directly after item 1 in .6 of the cases, item 3 after item 2 in .5.
DIRECT = ItemNeighbours(
    np.array([0, 0, 1, 2, 2]), np.array([2, 3], np.int32), np.array([0.6, 0.5], np.float32)
)
NOTHING = np.zeros((2, RANGES), np.float32)


def blend(**parts: np.ndarray) -> Blend:
    """A blend of the neighbours above that adds nothing but the ``parts``."""
    plain = {
        "prior": np.zeros(4, np.float32),
        "new": np.zeros(1, np.float32),
        "near": np.zeros(4, np.float32),
        "had": NOTHING,
    }
    return Blend(NEIGHBOURS, SUCCESSORS, DIRECT, **plain | parts)


def added(made: Blend, history: list[int], segment: list[int]) -> list[float]:
    """What it adds to the scores of one user."""
    scores = np.zeros((1, 4), np.float32)
    made.add(scores, Memories.of([history], [segment], [0]))
    return scores[0].tolist()


def test_the_newest_item_counts_in_full_and_the_one_before_by_half() -> None:
    """A user had 1, then 2: item 3 is near 2 by .1 and near 1 by .2; item 2 near 1 by .4."""
    near = np.array([1, 0, 0, 0], np.float32)
    of_two, of_three = math.log(1 + 0.5 * 0.4 / 1e-3), math.log(1 + (0.1 + 0.5 * 0.2) / 1e-3)
    assert added(blend(near=near), [1, 2], [1, 2]) == pytest.approx([0, 0, of_two, of_three], rel=1e-5)


def test_the_second_sum_falls_off_slowly() -> None:
    """There an item weighs .9 of the one after it, and the weights of the sums are multiplied in."""
    near = np.array([0, 2, 0, 0], np.float32)
    of_two, of_three = math.log(1 + 0.9 * 0.4 / 1e-3), math.log(1 + (0.1 + 0.9 * 0.2) / 1e-3)
    assert added(blend(near=near), [1, 2], [2]) == pytest.approx([0, 0, 2 * of_two, 2 * of_three], rel=1e-5)


def test_the_third_sum_is_of_what_comes_after() -> None:
    """A user had 1, then 2: item 3 comes after 1, the last but one, by half of .25."""
    near = np.array([0, 0, 1, 0], np.float32)
    by_hand = math.log(1 + 0.5 * 0.25 / 1e-3)
    assert added(blend(near=near), [1, 2], [2]) == pytest.approx([0, 0, 0, by_hand], rel=1e-5)


def test_the_fourth_sum_is_of_what_comes_directly_after_the_last_item() -> None:
    """A user had 1, then 2: item 3 comes next by .5; what comes next after 1 does not matter."""
    near = np.array([0, 0, 0, 1], np.float32)
    assert added(blend(near=near), [1, 2], [2]) == pytest.approx(
        [0, 0, 0, math.log(1 + 0.5 / 1e-3)], rel=1e-5
    )


def test_arrays_from_before_the_direct_successors_say_nothing_of_them() -> None:
    """They are read, and add what they did."""
    near = np.array([1, 2, 3, 0], np.float32)
    made = blend(near=near)
    kept = {name: array for name, array in made.arrays.items() if not name.startswith("direct")}
    old = Blend.from_arrays(kept | {"near": near[:3]})
    assert old.direct.rows.size == 0
    assert added(old, [1, 2], [2]) == added(made, [1, 2], [2])


def test_having_had_an_item_counts_by_its_place_and_apart_before_the_segment() -> None:
    """Of 3, 1, 2 the last two are the segment's: places 0 and 1 fresh, place 2 (of range 2) earlier."""
    had = NOTHING.copy()
    had[0, :2], had[1, 2] = (5, 6), 7
    assert added(blend(had=had), [3, 1, 2], [1, 2]) == [0, 6, 5, 7]


def test_arrays_of_another_shape_are_refused() -> None:
    """What is no blend of these neighbours says so."""
    with pytest.raises(ValueError, match="the blend's near has shape"):
        blend(near=np.zeros(2, np.float32))


def walks(*, again: bool) -> pl.DataFrame:
    """Users who draw from 40 items at random: half of the time ``again`` one of their own, or else never."""
    rng = np.random.default_rng(1)
    items: list[int] = []
    for _ in range(120):
        own: list[int] = []
        for _ in range(12):
            fresh = [item for item in range(40) if item not in own]
            back = again and own and rng.random() < 0.5
            own.append(int(rng.choice(own if back else fresh)))
        items += own
    time_ms = np.arange(12) * 3_600_000 * 5 + rng.integers(0, 10**7, 120)[:, None]
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(120), 12).astype(str),
            "item_id": [str(item) for item in items],
            "category_id": pl.Series([None] * len(items), dtype=pl.String),
            "behavior": pl.Series([0] * len(items), dtype=pl.Int8),
            "timestamp": time_ms.ravel(),
        }
    )


@pytest.mark.parametrize("again", [True, False])
def test_repeats_and_novelty_are_learnt(again: bool) -> None:
    """Where people come back to what they had it counts for an item, where they never do against it."""
    frame = walks(again=again)
    vocabulary = Vocabulary.from_frame(frame)
    log = EventLog.from_frame(frame, vocabulary)
    trained = train(
        log,
        vocabulary,
        rule=SegmentRule(),
        network=NetworkConfig(units=8),
        training=TrainingConfig(epochs=2, validation_share=0.2),
    )
    made = [
        fit_blend(trained, log, vocabulary, rule=SegmentRule(), config=BlendConfig(targets=200))
        for _ in range(2)
    ]
    assert made[0] is not None
    assert made[1] is not None
    had = made[0].had[0, 1:3]  # of the segment: the last but one, and the two before
    assert (had > 0).all() if again else (had < 0).all()
    assert all(np.array_equal(array, made[1].arrays[name]) for name, array in made[0].arrays.items())


def test_one_user_teaches_a_sixteenth_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user alone with hundreds of new events the newest 160 / 16 are looked at."""
    items = [str(item) for item in np.random.default_rng(3).integers(0, 6, 1000)]
    frame = pl.DataFrame(
        {
            "user_id": ["long"] * 1000,
            "item_id": items,
            "category_id": pl.Series([None] * 1000, dtype=pl.String),
            "behavior": pl.Series([0] * 1000, dtype=pl.Int8),
            "timestamp": np.arange(1000) * 60_000,
        }
    )
    vocabulary = Vocabulary.from_frame(frame)
    log = EventLog.from_frame(frame, vocabulary)
    training = TrainingConfig(epochs=1, validation_share=0.5)
    trained = train(log, vocabulary, rule=SegmentRule(), network=NetworkConfig(units=4), training=training)
    looked_at = []

    def noted(examples: Examples, penalty: float) -> np.ndarray:
        looked_at.append(len(examples.begins))
        return most_likely(examples, penalty)

    monkeypatch.setattr("models.blend_fitting.most_likely", noted)
    config = BlendConfig(targets=160)
    assert fit_blend(trained, log, vocabulary, rule=SegmentRule(), config=config) is not None
    assert looked_at == [10]


def test_without_a_rehearsal_there_is_no_blend() -> None:
    """Weights are learnt from what nothing had seen, or not at all."""
    frame = walks(again=True)
    vocabulary = Vocabulary.from_frame(frame)
    log = EventLog.from_frame(frame, vocabulary)
    training = TrainingConfig(epochs=1, validation_share=0.0)
    network = NetworkConfig(units=4)
    trained = train(log, vocabulary, rule=SegmentRule(), network=network, training=training)
    assert trained.rehearsal is None
    assert fit_blend(trained, log, vocabulary, rule=SegmentRule(), config=BlendConfig()) is None


def test_what_is_new_gets_its_weight_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three items an old one and the new one are near; the new one takes half, the near old one 3/8.

    Among the old ones nearness weighs log 3, whatever the new one took; the three then have e^w 3, 3
    and 1, and the new one half of that if e^w is 4/3.
    """
    tallies = 2 + len(HALF_LIVES_MS)
    features = np.zeros((8, 3, 1 + tallies + len(VOICES) + 2 * RANGES), np.float32)
    features[:, 0, 1] = 1  # nobody had it
    features[:, :2, 1 + tallies] = 1  # near
    right = np.zeros((8, 3), np.bool_)
    right[np.arange(8), [0, 0, 0, 0, 1, 1, 1, 2]] = True
    count = 500
    examples = Examples(
        np.tile(features.reshape(24, -1), (count, 1)),
        np.tile(right.ravel(), count),
        np.zeros(24 * count, np.bool_),
        np.arange(0, 24 * count, 3),
    )
    nobody = np.zeros(8 * count, np.int64)
    sought = Sought(np.tile([1, 2, 3], 8 * count), examples.begins, nobody, nobody, nobody)
    monkeypatch.setattr(blend_fitting, "_examples", lambda *_: iter([(examples, sought)]))
    log = EventLog.from_frame(walks(again=True), Vocabulary.from_frame(walks(again=True)))
    parts = learn_parts(small_recommender(vocabulary=small_vocabulary(50)), log, 10**15, BlendConfig())
    assert parts.near[0] == pytest.approx(math.log(3), abs=1e-2)
    assert parts.tallies[0] == pytest.approx(math.log(4 / 3), abs=1e-2)


def test_scores_that_are_no_whole_are_refused() -> None:
    """What is added to a part of a wider array would go to a copy of it."""
    made = blend()
    wide = np.zeros((1, 2 * made.neighbours.n_items), np.float32)
    with pytest.raises(ValueError, match="contiguous"):
        made.add(wide[:, ::2], Memories.empty(1))


def test_tables_are_kept_once() -> None:
    """The matrices of the sums hold the arrays of the tables, not copies of them."""
    made = blend()
    for matrix, table in zip(made._tables, made.counted, strict=True):
        assert np.shares_memory(matrix.indices, table.rows)
        assert np.shares_memory(matrix.data, table.weights)
