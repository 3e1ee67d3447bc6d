"""An index of items finds those with the greatest products."""

import sys

import numpy as np
import pytest
import torch

from models.errors import IndexUnavailable
from models.item_index import ItemIndex
from models.ranking import NO_ROW


def clustered(n_items: int, size: int = 16) -> tuple[torch.Tensor, np.ndarray]:
    """Items around centres, the last number a bias, and queries near items."""
    rng = np.random.default_rng(3)
    centre = rng.standard_normal((max(1, n_items // 30), size))
    vectors = centre[rng.integers(0, len(centre), n_items)] + 0.7 * rng.standard_normal((n_items, size))
    near = vectors[rng.integers(1, n_items, 200)] + 0.5 * rng.standard_normal((200, size))
    vectors = np.column_stack((vectors, rng.standard_normal(n_items)))
    return torch.from_numpy(vectors.astype(np.float32)), np.column_stack((near, np.ones(200))).astype(
        np.float32
    )


def best(vectors: torch.Tensor, queries: np.ndarray, k: int) -> np.ndarray:
    """The rows with the greatest products, by sorting all."""
    products = queries @ vectors.numpy().T
    products[:, 0] = -np.inf
    return np.argsort(-products, axis=1)[:, :k]


def test_most_of_the_best_are_found():
    """Of the ten best 95 % and more are among forty that are found; in few lists there are fewer."""
    vectors, queries = clustered(5_000)
    right = best(vectors, queries, 10)
    shares = []
    for probed in (0.2, 0.01):
        found = ItemIndex(vectors, probed=probed).search(queries, 40)
        shares.append(np.mean([np.isin(ours, theirs) for ours, theirs in zip(right, found, strict=True)]))
    assert shares[0] >= 0.95 > shares[1]


def test_every_item_but_the_unknown_one_is_found_once():
    """With all lists looked into and as many asked for, the rest is NO_ROW."""
    vectors, queries = clustered(300)
    found = np.sort(ItemIndex(vectors, probed=1).search(queries, 310), axis=1)
    assert (found[:, :11] == NO_ROW).all()
    assert (found[:, 11:] == np.arange(1, 300)).all()


@pytest.mark.parametrize("n_items", [2, 3, 20])
def test_a_catalogue_of_few_items_can_be_indexed(n_items: int):
    """Fewer than there are codes to learn."""
    vectors, queries = clustered(n_items)
    assert set(ItemIndex(vectors, probed=1).search(queries[:1], n_items)[0].tolist()) == {
        NO_ROW,
        *range(1, n_items),
    }


def test_what_is_found_does_not_depend_on_who_else_asks():
    """A user alone is answered as in a batch."""
    vectors, queries = clustered(5_000)
    index = ItemIndex(vectors)
    together = np.sort(index.search(queries, 40), axis=1)
    alone = np.sort(np.concatenate([index.search(query[None], 40) for query in queries]), axis=1)
    assert np.mean(together == alone) > 0.999


def test_a_catalogue_without_items_is_refused():
    """The unknown one alone is none."""
    with pytest.raises(ValueError, match="no item"):
        ItemIndex(torch.zeros(1, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value: float):
    """Weights that went astray are not searched."""
    vectors = torch.ones(50, 4)
    vectors[20, 1] = value
    with pytest.raises(ValueError, match="not a number"):
        ItemIndex(vectors)


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch):
    """With what to install."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(IndexUnavailable, match=r"faiss-cpu.*extra `large`"):
        ItemIndex(torch.zeros(3, 4))
