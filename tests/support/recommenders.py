"""Small untrained recommenders for tests: random weights, a few items and categories."""

import numpy as np
import torch

from models.networks import CellName, Network, NetworkConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary


def small_vocabulary(n_items: int = 12, n_categories: int = 4) -> Vocabulary:
    """Items i1, i2, … spread over categories c1, c2, …."""
    items = [f"i{row}" for row in range(1, n_items)]
    categories = [f"c{row % (n_categories - 1) + 1}" for row in range(1, n_items)]
    return Vocabulary.empty().grow(items, categories)


def small_recommender(
    cell: CellName = "gru", *, units: int = 8, seed: int = 0, vocabulary: Vocabulary | None = None
) -> Recommender:
    """A recommender whose random weights make every input matter."""
    vocabulary = vocabulary or small_vocabulary()
    category = torch.from_numpy(vocabulary.item_category.astype(np.int64))
    network = Network(NetworkConfig(cell=cell, units=units), category, n_categories=vocabulary.n_categories)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.4, generator=generator)
    return Recommender(
        version=f"{cell}-{seed}",
        network=network,
        vocabulary=vocabulary,
        rule=SegmentRule(span_ms=1000, max_events=16),
        popularity=np.arange(vocabulary.n_items, dtype=np.float32),
        trained_at_ms=1_700_000_000_000,
    )
