"""What serving holds answers in numpy, batch by batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import inference
from models import recommender as recommender_module
from models.memory import Memories
from models.networks import CellName
from models.recommender import UserSequence, key_of
from tests.support.recommenders import small_recommender, small_vocabulary


def sequences_of(lengths: list[int]) -> list[UserSequence]:
    """Sequences of these lengths, drawn with a seed."""
    rng = np.random.default_rng(4)
    return [
        (
            rng.integers(0, 12, length),
            rng.integers(0, 4, length),
            rng.integers(0, 4, length),
            np.sort(rng.integers(0, 10**9, length)),
        )
        for length in lengths
    ]


def test_a_batch_is_each_of_its_rows_alone() -> None:
    """Who else is advanced or scored together changes nothing for a user."""
    recommender = small_recommender("lstm")
    rng = np.random.default_rng(1)
    states = rng.normal(size=(50, recommender.state_size)).astype(np.float32)
    columns = [rng.integers(0, high, 50) for high in (12, 4, 4, 10**7, 10**12)]
    together = recommender.advance(states, *columns)
    assert together.dtype == np.float32
    for row in range(50):
        alone = recommender.advance(states[row : row + 1], *(column[row : row + 1] for column in columns))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5, rtol=0)
        np.testing.assert_allclose(
            recommender.scores(alone)[0], recommender.scores(together)[row], atol=1e-4, rtol=0
        )


def test_advancing_leaves_its_arguments_as_they_were() -> None:
    """States may be views of stored bytes, which are read-only, and are never written to."""
    recommender = small_recommender()
    stored = recommender.initial(2).tobytes()
    states = np.frombuffer(stored, np.float32).reshape(2, -1)
    zeros = np.zeros(2, np.int32)
    advanced = recommender.advance(states, zeros + 1, zeros, zeros, zeros, zeros)
    assert stored == bytes(len(stored))
    assert np.abs(advanced).sum() > 0


def test_replay_answers_in_the_order_asked_whatever_the_lengths() -> None:
    """Grouping by length is invisible; a user without events has the state of zeros."""
    recommender = small_recommender()
    sequences = sequences_of([3, 0, 7, 1, 7, 2])
    together = recommender.replay(sequences)
    assert together[1].tolist() == [0] * 8
    for row, sequence in enumerate(sequences):
        np.testing.assert_allclose(recommender.replay([sequence])[0], together[row], atol=1e-5, rtol=0)


def test_replay_in_small_groups_is_replay_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many events go through the network at once changes memory, not states."""
    recommender, sequences = small_recommender(), sequences_of([5, 1, 4, 4, 9, 2, 3])
    at_once = recommender.replay(sequences)
    monkeypatch.setattr(recommender_module, "REPLAY_EVENTS", 8)
    np.testing.assert_allclose(recommender.replay(sequences), at_once, atol=1e-5, rtol=0)


def test_nobody_to_replay_gives_no_states() -> None:
    """An empty batch is answered, not refused."""
    assert small_recommender().replay([]).shape == (0, 8)


def test_scores_are_the_networks_and_the_unknown_item_is_last() -> None:
    """What is summed up beforehand gives the scores the network gives."""
    recommender = small_recommender("lstm")
    states = np.random.default_rng(2).normal(size=(3, recommender.state_size)).astype(np.float32)
    plain = recommender.network.scores(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(recommender.scores(states), plain, atol=1e-5, rtol=0)
    assert recommender.scores(states)[:, 0].tolist() == [-math.inf] * 3


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_catalogue_too_large_to_multiply_beforehand_is_served_alike(
    monkeypatch: pytest.MonkeyPatch, cell: CellName
) -> None:
    """Whether the rows are multiplied with the weights once or at each step, the states are the same."""
    beforehand = small_recommender(cell)
    monkeypatch.setattr(inference, "PROJECTED_NUMBERS", 0)
    sequences = sequences_of([4, 9])
    np.testing.assert_allclose(
        small_recommender(cell).replay(sequences), beforehand.replay(sequences), atol=1e-5, rtol=0
    )


def test_the_key_of_a_version_never_changes() -> None:
    """Users' records hold the key, so it is the same in every process and release; 64 bits, unsigned."""
    assert key_of("20240101T000000Z-00000000") == 6560389737256411920
    assert small_recommender().key == key_of("gru-0") != key_of("gru-1")
    assert 0 <= key_of("gru-0") < 2**64


def test_tables_that_do_not_fit_are_refused() -> None:
    """A popularity for another catalogue cannot be served."""
    fits = small_recommender()
    with pytest.raises(ValueError, match="12 popularity scores for a vocabulary of 5 items"):
        replace(fits, vocabulary=small_vocabulary(n_items=5))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_an_announced_item_has_a_score_at_once(cell: CellName) -> None:
    """It is the unknown item of its category, at the input as at the output; the others stay as they were."""
    before = small_recommender(cell, blended=True)
    after = before.announced({"new": "c2", "i1": "c3", "odd": "nowhere", "bare": None})
    assert after.vocabulary.item_ids == (*before.vocabulary.item_ids, "new")
    assert (after.version, after.key) == (before.version, before.key)
    states = np.random.default_rng(2).normal(size=(3, before.state_size)).astype(np.float32)
    memories = Memories.of([[1, 5], [2], []], [[5], [2], []], [0, 0, 0])
    scores = after.scores(states, memories)
    np.testing.assert_allclose(scores[:, :-1], before.scores(states, memories), atol=1e-5)
    network, row = before.network, after.vocabulary.item_row("new")
    vector = network.item[0] + network.category[before.vocabulary.category_row("c2")]
    hidden = network.output(torch.from_numpy(states))
    assert before.blend is not None
    expected = hidden @ (vector / vector.norm()) + network.bias[0] + before.blend.new[0]
    np.testing.assert_allclose(scores[:, row], expected.numpy(), atol=1e-4)
    columns = [np.full(3, value) for value in (before.vocabulary.category_row("c2"), 1, 1000, 10**9)]
    unknown, known = (r.advance(states, np.full(3, i), *columns) for r, i in ((before, 0), (after, row)))
    np.testing.assert_allclose(known, unknown, atol=1e-5)


def test_an_announced_item_that_the_user_had_counts_as_had() -> None:
    """It takes its place in the memory, and is no longer like the others of its category."""
    recommender = small_recommender(blended=True).announced({"new": "c2", "newer": "c2"})
    one, other = (recommender.vocabulary.item_row(item) for item in ("new", "newer"))
    states = np.ones((1, recommender.state_size), np.float32)
    scores = recommender.scores(states, Memories.of([[one]], [[one]], [0]))[0]
    assert recommender.blend is not None
    assert scores[one] - scores[other] == pytest.approx(float(recommender.blend.had[0, 0]), abs=1e-5)


def test_nothing_new_announced_changes_nothing() -> None:
    """What is known already, or of no known category, leaves the recommender itself."""
    recommender = small_recommender()
    assert recommender.announced({"i1": "c1", "odd": "nowhere"}) is recommender
