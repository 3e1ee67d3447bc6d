"""Small untrained recommenders for tests: random weights, a few items and categories."""

import numpy as np
import torch

from models.blend import RANGES, Blend
from models.neighbours import ItemNeighbours
from models.networks import CellName, Network, NetworkConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary

RULE = SegmentRule(span_ms=1000, max_events=16)


def small_vocabulary(n_items: int = 12, n_categories: int = 4) -> Vocabulary:
    """Items i1, i2, … spread over categories c1, c2, …."""
    items = [f"i{row}" for row in range(1, n_items)]
    categories = [f"c{row % (n_categories - 1) + 1}" for row in range(1, n_items)]
    return Vocabulary.empty().grow(items, categories)


def small_recommender(
    cell: CellName = "gru",
    *,
    units: int = 8,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
    scale: float = 12.0,
    blended: bool = False,
    rule: SegmentRule = RULE,
) -> Recommender:
    """A recommender whose random weights make every input matter."""
    vocabulary = vocabulary or small_vocabulary()
    category = torch.from_numpy(vocabulary.item_category.astype(np.int64))
    config = NetworkConfig(cell=cell, units=units, scale=scale)
    network = Network(config, category, n_categories=vocabulary.n_categories)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.4, generator=generator)
    return Recommender(
        version=f"{cell}-{seed}",
        network=network,
        vocabulary=vocabulary,
        rule=rule,
        popularity=np.arange(vocabulary.n_items, dtype=np.float32),
        trained_at_ms=1_700_000_000_000,
        blend=small_blend(vocabulary.n_items, seed) if blended else None,
    )


def small_blend(n_items: int, seed: int = 0) -> Blend:
    """A blend in which each item is near the two after it, with random weights."""
    rng = np.random.default_rng(seed)
    items = np.arange(1, n_items)
    near = np.sort(np.stack((items, items % (n_items - 1) + 1, (items + 1) % (n_items - 1) + 1), 1), 1)
    begins = np.concatenate(([0, 0], 3 * items))
    weights = rng.uniform(0.1, 1, near.size).astype(np.float32)
    neighbours = ItemNeighbours(begins.astype(np.int64), near.ravel().astype(np.int32), weights)
    return Blend(
        neighbours,
        ItemNeighbours(neighbours.begins, neighbours.rows, weights[::-1].copy()),
        ItemNeighbours(neighbours.begins, neighbours.rows, np.roll(weights, 1)),
        rng.normal(size=n_items).astype(np.float32),
        rng.normal(size=1).astype(np.float32),
        rng.uniform(0.1, 1, 4).astype(np.float32),
        rng.normal(size=(2, RANGES)).astype(np.float32),
        leads=True,
    )
