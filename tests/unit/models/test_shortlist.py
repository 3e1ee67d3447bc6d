"""Lists made of candidates are those of the whole catalogue, as far as the index finds its items."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from models import recommender as recommender_module
from models import shortlist
from models.memory import Memories
from models.networks import Network
from models.ranking import NO_ROW
from models.recommender import Recommender
from tests.support.recommenders import small_recommender, small_vocabulary

N_ITEMS, USERS, LIST = 600, 40, 4


@dataclass(frozen=True)
class Oracle:
    """An index that misses nothing: whatever then differs from exact lists is the shortlist's fault."""

    vectors: torch.Tensor

    @property
    def n_items(self) -> int:
        """How many rows it knows."""
        return len(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The best k, the lower of equal rows first."""
        products = queries @ self.vectors.numpy().T
        products[:, 0] = -np.inf
        return np.argsort(-products, axis=1, kind="stable")[:, :k]


@pytest.fixture(autouse=True)
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small catalogues are searched as well."""
    monkeypatch.setattr(shortlist, "WORTH", 1)


def recommender(*, blended: bool = True, seed: int = 0) -> Recommender:
    """One of N_ITEMS items with an index that misses nothing."""
    vocabulary = small_vocabulary(N_ITEMS, 30)
    return with_oracle(small_recommender(vocabulary=vocabulary, blended=blended, seed=seed))


def with_oracle(exact: Recommender) -> Recommender:
    """The same, found by an oracle of the items it has now."""
    return replace(exact, index=Oracle(exact._frozen.vectors))


def users(one: Recommender, seed: int = 0) -> tuple[np.ndarray, Memories]:
    """Users with states, memories of any length, and categories; one has an unknown one."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((USERS, one.state_size)).astype(np.float32)
    had = [rng.integers(1, N_ITEMS, rng.integers(0, 40)).tolist() for _ in range(USERS)]
    category = rng.integers(0, one.vocabulary.n_categories + 1, USERS)
    return states, Memories.of(had, [rows[-3:] for rows in had], category)


def both(one: Recommender, states: np.ndarray, memories: Memories | None, n: int = LIST, **rules: object):
    """The lists of candidates, which must be those of the whole catalogue; gives them."""
    rows, scores = one.best(states, n, memories, **rules)  # type: ignore[arg-type]
    right, exact = replace(one, index=None).best(states, n, memories, **rules)  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows, right)
    np.testing.assert_allclose(scores, exact, atol=1e-4)
    return rows


def some_rules(seed: int) -> list[dict[str, object]]:
    """No rules, each alone, and all at once."""
    rng = np.random.default_rng(seed)
    rules: dict[str, object] = {
        "available": rng.random(N_ITEMS) < 0.4,
        "exclude": [rng.integers(0, N_ITEMS, rng.integers(0, 200)) for _ in range(USERS)],
        "max_per_category": 1,
    }
    return [{}, *({name: rule} for name, rule in rules.items()), rules]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blended", [False, True])
def test_lists_are_those_of_the_whole_catalogue(blended: bool, seed: int):
    """Under every rule, with a lead for some users and none for others."""
    one = recommender(blended=blended, seed=seed)
    states, memories = users(one, seed)
    for rules in some_rules(seed):
        both(one, states, memories if blended else None, **rules)


def test_a_search_is_enough_for_most_lists(monkeypatch: pytest.MonkeyPatch):
    """Nobody's list needs all scores where nothing is barred."""
    one = recommender(blended=False)
    right = replace(one, index=None).best(users(one)[0], LIST)[0]
    monkeypatch.setattr(Recommender, "scores", None)
    np.testing.assert_array_equal(one.best(users(one)[0], LIST)[0], right)


def test_who_has_had_enough_of_the_best_gets_what_comes_after_them():
    """Where the blend takes from all that a search finds, another is among the best, and is looked for."""
    one = recommender()
    assert one.blend is not None
    one = replace(one, blend=replace(one.blend, had=np.full_like(one.blend.had, -50), leads=False))
    states, _ = users(one)
    best = replace(one, index=None, blend=None).best(states, 20)[0]
    memories = Memories.of([rows.tolist() for rows in best], [[]] * USERS, np.zeros(USERS, np.int64))
    rows = both(one, states, memories)
    assert not (rows[:, :, None] == best[:, None, :]).any()


def test_a_list_is_as_long_as_what_may_be_listed():
    """With six items left, and with none."""
    one = recommender()
    states, memories = users(one)
    left = np.zeros(N_ITEMS, np.bool_)
    left[50:56] = True
    assert (both(one, states, memories, 10, available=left) != NO_ROW).sum(1).tolist() == [6] * USERS
    assert (both(one, states, memories, available=np.zeros(N_ITEMS, np.bool_)) == NO_ROW).all()


def test_of_equal_scores_the_lower_row_comes_first():
    """Items of one category that no training has met are all alike."""
    one = replace(recommender(blended=False), index=None)
    network: Network = one.network
    with torch.no_grad():
        network.item[200:] = 0
        network.bias[200:] = 5
    one = with_oracle(replace(one, network=network))
    rows = both(one, users(one)[0], None, 12)
    assert (rows >= 200).all()
    assert (np.diff(rows, axis=1) > 0).all()


@pytest.mark.parametrize("announced", [3, 300])
def test_an_item_announced_later_is_listed_at_once(announced: int):
    """Whether the index could hold all of them or not; it is not built anew."""
    before = recommender(seed=2)
    after = before.announced({f"new{row}": f"c{row % 29 + 1}" for row in range(announced)})
    assert after.index is before.index
    with torch.no_grad():
        after.network.bias[N_ITEMS:] = 4
    after = replace(after)  # lays the network out with that
    states, memories = users(after)
    best = after.best(states, 30, memories)[0]
    for rules in ({}, {"max_per_category": 1}, {"exclude": list(best)}):
        rows = both(after, states, memories, **rules)
        assert (rows >= N_ITEMS).any() or "exclude" in rules


def test_the_lead_is_looked_for_on_the_whole_shelf():
    """Where a user's last category is far from what the network says, its best item leads nevertheless."""
    one = recommender()
    states, memories = users(one)
    worst = replace(one, index=None, blend=None).best(-states, 1)[0][:, 0]
    category = one.vocabulary.item_category[worst].astype(np.int64)
    rows = both(one, states, replace(memories, category=category))
    assert (one.vocabulary.item_category[rows[:, 0]] == category).all()


def test_a_real_index_finds_what_an_oracle_does():
    """Of users near items nine of ten places, in a catalogue smaller than those that an index is for."""
    vocabulary = small_vocabulary(5_000, 100)
    exact = small_recommender(vocabulary=vocabulary, units=16)
    rng = np.random.default_rng(1)
    near = exact.network.item_vectors(torch.from_numpy(rng.integers(1, 5_000, USERS))).numpy()
    states = 2 * near + 0.3 * rng.standard_normal(near.shape).astype(np.float32)
    indexed = exact.indexed()
    assert exact.index is None
    right, found = (one.best(states, 10)[0] for one in (exact, indexed))
    assert np.mean((right[:, :, None] == found[:, None, :]).any(2)) >= 0.9
    assert (found != NO_ROW).all()


def test_a_few_users_at_a_time_get_the_lists_of_all(monkeypatch: pytest.MonkeyPatch):
    """However few scores are held at once."""
    one = replace(recommender(), index=None)
    states, memories = users(one)
    rules = some_rules(1)[-1]
    right = one.best(states, LIST, memories, **rules)[0]  # type: ignore[arg-type]
    monkeypatch.setattr(recommender_module, "SCORES_AT_ONCE", 7 * N_ITEMS)
    np.testing.assert_array_equal(one.best(states, LIST, memories, **rules)[0], right)  # type: ignore[arg-type]


def test_nobody_gets_no_list():
    """An empty batch is answered, not refused."""
    one = recommender(blended=False)
    assert one.best(one.initial(0), LIST)[0].shape == (0, LIST)
