"""Compiled loops do what their plain forms do, and freshet runs without them."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from models import inference
from models.compiled import kernels
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


@pytest.mark.usefixtures("asked_anew")
def test_without_numba_there_are_none(monkeypatch):
    """Which is nothing to speak of."""
    monkeypatch.delitem(sys.modules, "models.kernels", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernels() is None


@pytest.mark.usefixtures("asked_anew")
def test_a_numba_that_cannot_be_used_is_told(monkeypatch, caplog, tmp_path):
    """As one that does not fit the numpy beside it; ranking goes on."""
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs another NumPy')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "models.kernels", raising=False)
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
