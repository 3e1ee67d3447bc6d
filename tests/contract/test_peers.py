"""What other projects' systems promise in our evaluation, where they are installed; their names say which."""

import numpy as np
import polars as pl
import pytest

from models.evaluation import next_event_lists
from models.learning import Learning
from models.popularity import popularity
from models.segment import SegmentRule
from models.splits import Split, split_as_given
from models.systems import System
from stream.peers.lineup import PEERS, absence

N_ITEMS = 12


def _frame(prefix: str, n_users: int, length: int, seed: int) -> pl.DataFrame:
    """Users who walk through the even items or the odd ones, two on at each second."""
    begin = np.random.default_rng(seed).integers(N_ITEMS, size=n_users)
    items = (begin[:, None] + 2 * np.arange(length)) % N_ITEMS
    return pl.DataFrame(
        {
            "user_id": [f"{prefix}{user}" for user in range(n_users) for _ in range(length)],
            "item_id": [str(item) for item in items.ravel()],
            "category_id": ["even" if item % 2 == 0 else "odd" for item in items.ravel()],
            "behavior": pl.Series([0] * items.size, dtype=pl.Int8),
            "timestamp": (1000 * (1 + np.arange(length)) + np.zeros((n_users, 1), np.int64)).ravel(),
        }
    )


@pytest.fixture(scope="module")
def split() -> Split:
    """Sixty users to learn from, eight to foretell; the last item of a test user is a new one."""
    test = _frame("test", 8, 25, 2)
    return split_as_given(
        _frame("train", 60, 6, 1), pl.concat([test, test[-1:].with_columns(item_id=pl.lit("new"))])
    )


@pytest.fixture(scope="module", params=[*PEERS, "implicit-bm25 of three"])
def system(request: pytest.FixtureRequest, split: Split) -> System:
    """Each peer, learnt from the same events."""
    name, _, recent = request.param.partition(" ")
    if (reason := absence(name)) is not None:
        pytest.skip(f"{reason}; pip install 'freshet[peers]'")
    settings = {"batch_size": 8, "learning_rate": 0.01, "max_events": 6} | ({"recent": 3} if recent else {})
    popular = popularity(split.train, split.vocabulary.n_items)
    learning = Learning(
        split.train, split.vocabulary, SegmentRule(), popular, epochs=20, units=16, settings=settings
    )
    return PEERS[name].learn(learning, lambda _: None)


def test_first_of_each_list_is_of_the_users_colour(system: System, split: Split) -> None:
    """A user of the even items is listed an even item first, from the second event on."""
    popular = popularity(split.train, split.vocabulary.n_items)
    lists = next_event_lists(system, split, 4, popularity=popular)
    own = np.repeat(split.log.category[split.first], split.end - split.begin)
    assert lists.personal.all()
    assert np.mean(split.vocabulary.item_category[lists.rows[:, 0]] == own) > 0.95


def test_following_from_later_on_gives_the_same_scores(system: System, split: Split) -> None:
    """A history taken at once leads where event by event leads, a new item included."""
    log = split.log
    stepped = system.follow(log, split.first, split.first)
    for position in range(int((split.end - split.first).min())):
        stepped.advance(split.first + position)
        at_once = system.follow(log, split.first, split.first + position + 1)
        one, other = stepped.scores(len(split.first)), at_once.scores(len(split.first))
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_allclose(one[0], other[0], rtol=1e-4, atol=1e-4)


def test_nothing_known_is_not_personal(system: System, split: Split) -> None:
    """Before the first event no system has scores for a user."""
    scores, personal = system.follow(split.log, split.first, split.first).scores(3)
    assert (len(scores), personal.tolist()) == (0, [False] * 3)
