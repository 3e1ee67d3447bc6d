"""Compiled loops do what their plain forms do, and freshet runs without them."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from models import blend, inference, lead
from models.blend import RANGES, VOICES, Blend
from models.compiled import kernels
from models.lead import Shelves
from models.memory import Memories
from models.neighbours import ItemNeighbours
from models.recommender import Recommender
from tests.support.recommenders import small_recommender

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="numba is not installed (extra `compiled`)"
)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What was found before does not count, here and afterwards."""
    kernels.cache_clear()
    yield
    kernels.cache_clear()


def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops are imported anew when they are next asked for."""
    for name in [name for name in sys.modules if name.startswith("models.kernels")]:
        monkeypatch.delitem(sys.modules, name)


def plain(recommender: Recommender) -> Recommender:
    """The same where numba is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "kernels", lambda: None)
        return small_recommender(recommender.network.config.cell)


@needs_numba
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_one_event_leads_where_it_leads_without_loops(cell):
    """State and scores after each of some events, from the first on."""
    compiled = small_recommender(cell)
    recommenders = compiled, plain(compiled)
    rng = np.random.default_rng(3)
    columns = [rng.integers(0, high, 40) for high in (12, 4, 4, 10**7, 10**12)]
    states = [one.initial(1) for one in recommenders]
    for event in range(40):
        at = [column[event : event + 1] for column in columns]
        states = [one.advance(state, *at) for one, state in zip(recommenders, states, strict=True)]
        np.testing.assert_allclose(*states, atol=1e-6)
        np.testing.assert_allclose(
            *(one.scores(state) for one, state in zip(recommenders, states, strict=True)), atol=1e-5
        )


@needs_numba
@pytest.mark.parametrize("scale", [0.0, 12.0])
def test_scores_of_one_are_products_with_the_columns(scale):
    """Of any number of columns; columns that are equal score the same to the last bit."""
    loops = kernels()
    assert loops is not None
    rng = np.random.default_rng(4)
    hidden = rng.standard_normal(9).astype(np.float32)
    short = np.float32(0.1)
    factor = scale / np.sqrt(hidden @ hidden + short**2) if scale else 1.0
    for count in (1, 255, 256, 257, 1000):
        vectors = np.repeat(rng.standard_normal((10, 1)).astype(np.float32), count, 1)
        vectors[:, ::3] = rng.standard_normal((10, len(range(0, count, 3))))
        scores = np.full(count, np.nan, np.float32)
        loops.scores_of_one(vectors, hidden, scale, short, scores)
        np.testing.assert_allclose(scores, np.r_[factor * hidden, 1] @ vectors, atol=1e-5)
        assert len({*scores[1::3].tolist(), *scores[2::3].tolist()}) <= 1


TABLES = 3


def drawn_blend(rng: np.random.Generator, n_items: int) -> Blend:
    """Tables with lines of all lengths, some of them with nothing in a line, and weights of either sign."""
    tables = []
    for _ in range(TABLES):
        lengths = rng.integers(0, 12, n_items)
        lengths[0] = 0
        rows = [np.sort(rng.choice(np.arange(1, n_items), length, replace=False)) for length in lengths]
        weights = rng.choice([0.0, 1e-9, 0.01, 0.3, 1.0], lengths.sum()) * rng.random(lengths.sum())
        begins = np.concatenate(([0], np.cumsum(lengths)))
        tables.append(
            ItemNeighbours(begins, np.concatenate(rows).astype(np.int32), weights.astype(np.float32))
        )
    near, had = rng.standard_normal(len(VOICES)), rng.standard_normal((2, RANGES))
    nothing = np.zeros(n_items, np.float32)
    return Blend(*tables, nothing, nothing[:1], near.astype(np.float32), had.astype(np.float32))


def drawn_memories(rng: np.random.Generator, users: int, n_items: int) -> Memories:
    """Of users with nothing, with little and with more than a memory holds."""
    histories = [rng.integers(0, n_items, length).tolist() for length in rng.integers(0, 400, users)]
    histories[0] = []
    segments = [history[len(history) // 2 :] for history in histories]
    return Memories.of(histories, segments, rng.integers(0, 6, users))


@needs_numba
def test_a_blend_adds_what_it_adds_without_loops(monkeypatch):
    """To the scores of several users, and leaves nothing behind for those that come after."""
    rng = np.random.default_rng(6)
    made, memories = drawn_blend(rng, 500), drawn_memories(rng, 20, 500)
    before = rng.standard_normal((20, 500)).astype(np.float32)
    compiled = before.copy()
    made.add(compiled, memories)
    monkeypatch.setattr(blend, "kernels", lambda: None)
    without = before.copy()
    made.add(without, memories)
    assert np.abs(without - before).max() > 1
    np.testing.assert_allclose(compiled, without, atol=2e-5, rtol=0)
    monkeypatch.undo()
    again = before[::-1].copy()
    made.add(again, memories[::-1])
    np.testing.assert_array_equal(again[::-1], compiled)


@needs_numba
def test_logarithms_are_the_librarys():
    """From 1 to what a float holds, and the value behind the last one stays."""
    from models.kernels.blending import _to_logarithms

    values = np.concatenate((np.linspace(1, 4, 9999), np.geomspace(1, 3e38, 9999), [7])).astype(np.float32)
    found = values.copy()
    _to_logarithms(found, len(values) - 1)
    right = np.log(values.astype(np.float64))
    np.testing.assert_allclose(found[:-1], right[:-1], rtol=2e-7, atol=1e-7)
    assert found[-1] == 7


@needs_numba
def test_a_shelfs_best_is_the_one_found_without_loops(monkeypatch):
    """Of equal ones the lowest row; not one that may not be listed; of a category without items none."""
    rng = np.random.default_rng(7)
    shelves = Shelves.of(rng.integers(0, 5, 300))
    scores = rng.integers(-3, 3, (40, 300)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    category = rng.integers(0, 8, 40)
    available = rng.random(300) < 0.5
    exclude = [rng.integers(0, 300, rng.integers(0, 60)) for _ in range(40)]
    compiled = [
        shelves.best(scores, category, available=some, exclude=not_these)
        for some, not_these in ((None, None), (available, None), (available, exclude), (None, exclude))
    ]
    monkeypatch.setattr(lead, "kernels", lambda: None)
    without = [
        shelves.best(scores, category, available=some, exclude=not_these)
        for some, not_these in ((None, None), (available, None), (available, exclude), (None, exclude))
    ]
    np.testing.assert_array_equal(compiled, without)
    assert len(np.unique(compiled)) > 10


@pytest.mark.usefixtures("asked_anew")
def test_without_numba_there_are_none(monkeypatch):
    """Which is nothing to speak of."""
    nothing_loaded(monkeypatch)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernels() is None


@pytest.mark.usefixtures("asked_anew")
def test_a_numba_that_cannot_be_used_is_told(monkeypatch, caplog, tmp_path):
    """As one that does not fit the numpy beside it; ranking goes on."""
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')\n")
    monkeypatch.syspath_prepend(tmp_path)
    nothing_loaded(monkeypatch)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    with caplog.at_level(logging.WARNING, "models.compiled"):
        assert kernels() is None
    assert "Numba needs another NumPy" in caplog.text


@needs_numba
def test_where_nothing_can_be_kept_they_are_compiled_each_time():
    """As in a container that cannot write to its disk."""
    source = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from models.compiled import kernels\n"
        "print(kernels().best_of_lines.stats.cache_misses, kernels().best_of_lines._cache)\n"
    )
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "NullCache" in ran.stdout
