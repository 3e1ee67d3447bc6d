"""What loading an artifact takes of memory, measured in a process of its own.

``python -m tests.support.large_artifact FOLDER ITEMS`` saves an artifact of so many items there, and loads
it twice beside each other, as a worker does when weights are handed over; prints three numbers of bytes:
what the first takes, what the second takes, and what was taken at most while it was loaded.
"""

import gc
import sys
from pathlib import Path

import numpy as np
import torch

from models import artifact
from models.networks import NetworkConfig
from models.recommender import Recommender
from models.segment import SegmentRule
from models.vocabulary import Vocabulary
from stream.serving import Serving
from tests.support.memory import peak_resident_bytes, resident_bytes


def large(n_items: int) -> Recommender:
    """A recommender of so many items, which says nothing in particular."""
    item_category = np.zeros(n_items, np.int32)
    ids = ("", *(f"item-{number}" for number in range(1, n_items)))
    network = NetworkConfig(units=100).build(torch.from_numpy(item_category).long(), 1)
    popularity = np.zeros(n_items, np.float32)
    return Recommender("large", network, Vocabulary(ids, ("",), item_category), SegmentRule(), popularity, 1)


def main(folder: str, n_items: str) -> None:
    """Save, or load and measure."""
    place = Path(folder)
    if not place.exists():
        artifact.save(place, large(int(n_items)))
        return
    pid = "self"
    before = resident_bytes(pid)
    first = Serving(artifact.load(place))
    gc.collect()
    held = resident_bytes(pid)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    second = Serving(artifact.load(place))
    peak = peak_resident_bytes(pid)
    gc.collect()
    print(held - before, resident_bytes(pid) - held, peak - held)
    assert first.version == second.version


if __name__ == "__main__":
    main(*sys.argv[1:])
