"""User CF: its three similarities beside SciPy's, and its neighbours and predictions by hand."""

import math

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.spatial import distance

from models.events import EventLog
from models.user_neighbours import SIMILARITIES, Profiles, UserNeighbours, item_vectors, similarity


def _log(*events: tuple[int, int, int]) -> EventLog:
    """Events (user, item, time)."""
    user, item, time_ms = np.array(events, np.int64).reshape(-1, 3).T
    nothing = np.zeros(len(user), np.int32)
    return EventLog.sorted(user, item.astype(np.int32), nothing, nothing.astype(np.int8), time_ms)


def _scipy(name: str, one: np.ndarray, other: np.ndarray, item_mean: np.ndarray) -> float:
    """What SciPy makes of two vectors over the known items."""
    if name == "pearson":
        return stats.pearsonr(one[1:], other[1:]).statistic
    if name == "adjusted-cosine":
        one, other = one - item_mean, other - item_mean
    return 1 - distance.cosine(one[1:], other[1:])


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("seed", range(3))
def test_similarity_equals_scipys(name: str, seed: int) -> None:
    """On random matrices with many zeros, each similarity is SciPy's to twelve digits."""
    rng = np.random.default_rng(seed)
    matrices = [rng.random((n, 15)) * (rng.random((n, 15)) < 0.4) for n in (6, 8)]
    for matrix in matrices:
        matrix[:, 0] = 0
        matrix[:, 1] += 0.1  # no user without an item
    one, other = matrices
    item_mean = other.mean(axis=0)
    left, right = (places.ravel() for places in np.indices((6, 8)))
    found = similarity(
        name,
        Profiles.of(sparse.csr_array(one), item_mean),
        Profiles.of(sparse.csr_array(other), item_mean),
        (left, right),
        (one @ other.T).ravel(),
    )
    expected = [_scipy(name, one[a], other[b], item_mean) for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_similarity_to_a_user_with_nothing_left_is_none() -> None:
    """Whoever had every item differs from the own mean nowhere; there is no correlation then."""
    everything = sparse.csr_array(np.array([[0.0, 1.0, 1.0, 1.0]]))
    one = Profiles.of(everything, np.array([0, 1.0, 1.0, 1.0]))
    pair = (np.array([0]), np.array([0]))
    assert similarity("pearson", one, one, pair, np.array([3.0])).tolist() == [0]
    assert similarity("adjusted-cosine", one, one, pair, np.array([3.0])).tolist() == [0]
    assert similarity("cosine", one, one, pair, np.array([3.0])) == pytest.approx([1])


SHOP = ((1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 3, 5), (2, 4, 6), (3, 5, 0))


def test_prediction_by_hand() -> None:
    """Someone with items 1 and 2 is nearest to user 1 {1, 2}, then to user 2 {1, 3, 4}, and not to user 3."""
    neighbours = UserNeighbours.fit(_log(*SHOP), n_items=6)
    scores = neighbours.scores(np.array([[1, 2]], np.int32), similar="cosine", k=5, decay=1.0)[0]
    to_first = (1 * 1 + 1 * 1) / (math.sqrt(2) * math.sqrt(2))
    to_second = (1 * 1) / (math.sqrt(2) * math.sqrt(3))
    assert scores[1:5] == pytest.approx([to_first + to_second, to_first, to_second, to_second])
    assert scores[[0, 5]].tolist() == [-math.inf] * 2


def test_only_the_k_nearest_predict() -> None:
    """With K = 1 the second nearest user's items are not scored."""
    neighbours = UserNeighbours.fit(_log(*SHOP), n_items=6)
    scores = neighbours.scores(np.array([[1, 2]], np.int32), similar="cosine", k=1, decay=1.0)[0]
    assert np.flatnonzero(scores > -math.inf).tolist() == [1, 2]


def test_correlation_below_zero_is_no_neighbour() -> None:
    """{1, 2, 3, 4} and {1, 5, 6} of six items share less than chance would: such users do not predict."""
    neighbours = UserNeighbours.fit(_log(*((1, item, item) for item in (1, 5, 6))), n_items=7)
    items = np.array([[1, 2, 3, 4]], np.int32)
    assert np.all(neighbours.scores(items, similar="pearson", decay=1.0) == -math.inf)
    assert np.any(neighbours.scores(items, similar="cosine", decay=1.0) > -math.inf)


def test_vector_decays_from_the_newest_item() -> None:
    """The newest place of an item counts; unknown items are left out."""
    vectors = item_vectors(np.array([[3, 0, 1, 3]], np.int32), 4, decay=0.5)
    assert vectors.toarray().tolist() == [[0, 0.5**2, 0, 0.5**0]]


def test_popular_item_speaks_for_its_newest_users() -> None:
    """With at most two users an item, the one whose last event is oldest is not found through it."""
    log = _log((1, 1, 9), (1, 2, 9), (2, 1, 0), (2, 3, 1), (3, 1, 0), (3, 4, 5))
    neighbours = UserNeighbours.fit(log, n_items=5, item_users=2)
    scores = neighbours.scores(np.array([[1]], np.int32), similar="cosine")[0]
    assert np.flatnonzero(scores > -math.inf).tolist() == [1, 2, 4]


def test_no_events_make_no_neighbours() -> None:
    """An empty log gives a user CF that scores nothing."""
    scores = UserNeighbours.fit(_log(), n_items=3).scores(np.array([[1, 2]], np.int32))
    assert np.all(scores == -math.inf)
