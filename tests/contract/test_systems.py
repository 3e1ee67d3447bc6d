"""What every system promises, on a checkerboard: some users have the even items, others the odd ones."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from models.behavior import Behavior
from models.evaluation import next_event_lists
from models.learning import Learning
from models.lineup import LINEUP
from models.popularity import popular_list, popularity
from models.ranking import top_n
from models.segment import SegmentRule
from models.splits import Split, split_as_given
from models.systems import System, impersonal

N_ITEMS = 12
N = 4
RULE = SegmentRule(span_ms=40_000, max_events=8)  # short, so that test sequences are cut more than once


def _frame(prefix: str, n_users: int, length: int, seed: int) -> pl.DataFrame:
    """Users who walk through the even items or the odd ones, two on at each second."""
    rng = np.random.default_rng(seed)
    begin = rng.integers(N_ITEMS, size=n_users)
    items = (begin[:, None] + 2 * np.arange(length)) % N_ITEMS
    time_ms = rng.integers(10**6, size=n_users)[:, None] + rng.integers(1, 15_000, (n_users, length)).cumsum(
        1
    )
    return pl.DataFrame(
        {
            "user_id": [f"{prefix}{user}" for user in range(n_users) for _ in range(length)],
            "item_id": [str(item) for item in items.ravel()],
            "category_id": ["even" if item % 2 == 0 else "odd" for item in items.ravel()],
            "behavior": pl.Series([Behavior.CLICK] * items.size, dtype=pl.Int8),
            "timestamp": time_ms.ravel(),
        }
    )


@pytest.fixture(scope="module")
def split() -> Split:
    """Sixty users to learn from, eight to foretell."""
    return split_as_given(_frame("train", 60, 6, 1), _frame("test", 8, 25, 2))


NAMES = tuple(LINEUP)
NETWORKS = ("gru", "lstm", "rnn")
EVERYONES = {"popularity", "recent-popularity"}  # the same list for every user
PERSONAL = [name for name in NAMES if name not in EVERYONES]


@pytest.fixture(scope="module")
def systems(split: Split) -> dict[str, System]:
    """Every system, learnt from the same events."""
    popular = popularity(split.train, split.vocabulary.n_items)
    learning = Learning(split.train, split.vocabulary, RULE, popular, epochs=6, units=16)
    return {name: entry.learn(learning, lambda _: None) for name, entry in LINEUP.items()}


def _lists(system: System, split: Split) -> np.ndarray:
    popular = popularity(split.train, split.vocabulary.n_items)
    return next_event_lists(system, split, N, popularity=popular).rows


@pytest.mark.parametrize("name", NAMES)
def test_system_answers_to_its_name(name: str, systems: dict[str, System]) -> None:
    """The name of tables and reports is the one it is asked for by."""
    assert systems[name].name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_list_is_full_and_names_nothing_twice(
    name: str, systems: dict[str, System], split: Split
) -> None:
    """On this catalogue every system fills N places with N different known items."""
    for rows in _lists(systems[name], split).tolist():
        assert len(set(rows)) == N
        assert min(rows) > 0
        assert max(rows) < split.vocabulary.n_items


@pytest.mark.parametrize("name", PERSONAL)
def test_lists_stay_on_the_users_colour(name: str, systems: dict[str, System], split: Split) -> None:
    """A user of the even items is listed even items, from the second event on."""
    category = split.vocabulary.item_category
    lists = _lists(systems[name], split)
    own = np.repeat(split.log.category[split.first], split.end - split.begin)
    assert np.mean(category[lists] == own[:, None]) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_future_changes_no_list(name: str, systems: dict[str, System], split: Split) -> None:
    """With every event from the 10th on replaced by another, the lists before it stay as they were."""
    system, log = systems[name], split.log
    place = np.arange(len(log)) - np.repeat(log.starts[:-1], np.diff(log.starts))
    item = np.where(place >= 10, log.item % N_ITEMS + 1, log.item).astype(np.int32)
    time_ms = np.where(place >= 10, log.time_ms + 10**9, log.time_ms)
    other = type(log)(log.user, item, split.vocabulary.item_category[item], log.behavior, time_ms)
    changed = Split(**{**vars(split), "log": other})
    same = place[place >= 1] <= 10
    np.testing.assert_array_equal(_lists(system, split)[same], _lists(system, changed)[same])


@pytest.mark.parametrize("name", NAMES)
def test_following_from_later_on_gives_the_same_lists(
    name: str, systems: dict[str, System], split: Split
) -> None:
    """A history replayed at once leads where event by event leads: lists equal, scores to 1e-5."""
    system, log = systems[name], split.log
    stepped = system.follow(log, split.first, split.first)
    for position in range(20):
        stepped.advance(split.first + position)
        replayed = system.follow(log, split.first, split.first + position + 1)
        one, other = stepped.scores(len(split.first)), replayed.scores(len(split.first))
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_known_is_not_personal(name: str, systems: dict[str, System], split: Split) -> None:
    """Before the first event no system has scores for a user."""
    scores, personal = systems[name].follow(split.log, split.first, split.first).scores(3)
    assert (len(scores), personal.tolist()) == (0, [False] * 3)


@pytest.mark.parametrize("name", NAMES)
def test_user_without_history_gets_the_popular_list(
    name: str, systems: dict[str, System], split: Split
) -> None:
    """Foretold from the first event on, everyone's first list is the popular one and nobody's own."""
    whole = Split(**{**vars(split), "begin": split.first})
    popular = popularity(split.train, split.vocabulary.n_items)
    lists = next_event_lists(systems[name], whole, N, popularity=popular)
    first = np.cumsum(whole.end - whole.first) - (whole.end - whole.first)
    expected, _ = top_n(impersonal(systems[name], popular)[None, :], N)
    assert lists.rows[first].tolist() == expected.tolist() * len(first)
    assert not lists.personal[first].any()
    if name not in EVERYONES:
        assert expected[0].tolist() == popular_list(popular, N).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_makes_the_same_lists(name: str, systems: dict[str, System], split: Split) -> None:
    """Learnt again from the same events with the same seed, a system gives every list again."""
    popular = popularity(split.train, split.vocabulary.n_items)
    learning = Learning(split.train, split.vocabulary, RULE, popular, epochs=6, units=16)
    again = LINEUP[name].learn(learning, lambda _: None)
    np.testing.assert_array_equal(_lists(again, split), _lists(systems[name], split))


@pytest.mark.parametrize("name", NETWORKS)
def test_walk_equals_serving_one_user(name: str, systems: dict[str, System], split: Split) -> None:
    """Each list of the walk is the top N of the state that the user's segment alone leads to."""
    from models.segment import windows

    system = systems[name]
    recommender, log, lists = system.recommender, split.log, _lists(system, split)
    begin, end = int(split.first[0]), int(split.end[0])
    in_force = windows(log.time_ms[begin:end].tolist(), RULE)
    assert len({window.cut for window in in_force}) > 2
    for target, (before, _) in enumerate(pairwise(range(begin, end))):
        part = slice(begin + in_force[before - begin].start, before + 1)
        state = recommender.replay(
            [(log.item[part], log.category[part], log.behavior[part], log.time_ms[part])]
        )
        rows, _ = top_n(recommender.scores(state), N)
        assert rows[0].tolist() == lists[target].tolist()
