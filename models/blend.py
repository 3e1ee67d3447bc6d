"""The blend that serves by default: network, windowed item CF, popularity and the user's own items.

The score of item j for a user is the network's, plus a weight times each of

- log(1 + c_j / S), for two sums c_j of the similarities (equation 1, neighbours within the window of
  equation 4) of j to the user's last items: one that falls off quickly from the newest item on,
  one that hardly does;
- the logarithm of how often j was had, over all of the training and lately;
- whether the user had j before: a weight for each range of places in the user's memory, apart for
  the items of the segment and for those from before it.

`blend_fitting` learns the weights. They are negative where people do not come back to what they
had, as with news, and great where they do, as with supplies.

Axes: B users, N items, R places of a memory.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.memory import PLACES, Memories
from models.neighbours import ItemNeighbours
from models.ranking import UNKNOWN_ROW, Scores

Matrix = sparse.csr_array[np.float32, tuple[int, int]]
Weights = NDArray[np.float32]

# How many of the last items speak for a user, and how much an item weighs of the one after it.
VOICES = ((10, 0.5), (20, 0.9))
SMALLEST = 1e-3  # S, the similarity from which on the logarithm tells one from another

# Places 0, 1, 2-3, 4-7, ... of a memory, the last range from 128 on.
RANGES = 9
_RANGE_OF_PLACE = np.minimum(np.ceil(np.log2(np.arange(PLACES) + 1)).astype(np.int64), RANGES - 1)


@dataclass(frozen=True, eq=False)
class Blend:
    """What is added to a network's scores.

    ``prior`` (N,) is what popularity adds to each item and ``new`` (1,) what it adds to one that
    nobody had; ``near`` (2,) the weights of the two sums of similarities, ``had`` (2, RANGES) those of
    having had an item, in the segment and before it. ``tallies`` are
    the weights the prior was made with, so that newer events can make it anew; None where they were
    not kept.
    """

    neighbours: ItemNeighbours
    prior: Weights
    new: Weights
    near: Weights
    had: Weights
    tallies: Weights | None = None
    _matrix: Matrix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the neighbours out as a matrix; refuse arrays that do not belong together."""
        for name, array, shape in (
            ("prior", self.prior, (self.neighbours.n_items,)),
            ("new", self.new, (1,)),
            ("near", self.near, (len(VOICES),)),
            ("had", self.had, (2, RANGES)),
        ):
            if array.shape != shape:
                raise ValueError(f"the blend's {name} has shape {array.shape} and should have {shape}")
        object.__setattr__(self, "_matrix", matrix_of(self.neighbours))

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Self:
        """The blend whose ``arrays`` these are; raises KeyError or ValueError where they are none."""
        neighbours = ItemNeighbours(
            arrays["begins"].astype(np.int64),
            arrays["rows"].astype(np.int32),
            arrays["weights"].astype(np.float32),
        )
        names = ("prior", "new", "near", "had")
        tables = {name: arrays[name].astype(np.float32) for name in names}
        if "tallies" in arrays:
            tables["tallies"] = arrays["tallies"].astype(np.float32)
        return cls(neighbours, **tables)

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What an artifact keeps of it."""
        neighbours = self.neighbours
        kept = {} if self.tallies is None else {"tallies": self.tallies}
        return {
            **kept,
            "begins": neighbours.begins,
            "rows": neighbours.rows,
            "weights": neighbours.weights,
            "prior": self.prior,
            "new": self.new,
            "near": self.near,
            "had": self.had,
        }

    def grown(self, n_items: int) -> Self:
        """The same for a catalogue with more items at its end, which nobody had."""
        neighbours, more = self.neighbours, n_items - self.neighbours.n_items
        begins = np.concatenate((neighbours.begins, np.repeat(neighbours.begins[-1:], more)))
        prior = np.concatenate((self.prior, np.repeat(self.new, more)))
        return replace(
            self, neighbours=ItemNeighbours(begins, neighbours.rows, neighbours.weights), prior=prior
        )

    def add(self, scores: Scores, memories: Memories) -> None:
        """Add what the memories say to the ``scores`` (B, N) of the network and the prior."""
        for weight, near in zip(self.near, nearness(self._matrix, memories), strict=True):
            lines = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
            scores[lines, near.indices] += weight * near.data
        lines, items, kinds = belongings(memories)
        scores[lines, items] += self.had.ravel()[kinds]


def matrix_of(neighbours: ItemNeighbours) -> Matrix:
    """The similarities as a sparse matrix (N, N)."""
    shape = (neighbours.n_items, neighbours.n_items)
    return sparse.csr_array((neighbours.weights, neighbours.rows, neighbours.begins), shape=shape)


def nearness(matrix: Matrix, memories: Memories) -> list[Matrix]:
    """(B, N) log(1 + c / S) for each of the two sums c of similarities."""
    found = []
    for depth, decay in VOICES:
        items = memories.rows[:, :depth]
        shown = items > UNKNOWN_ROW
        weights = np.broadcast_to(np.float32(decay) ** np.arange(depth, dtype=np.float32), items.shape)
        begins = np.concatenate(([0], np.cumsum(shown.sum(1))))
        voices = sparse.csr_array((weights[shown], items[shown], begins), shape=(len(items), matrix.shape[0]))
        near: Matrix = voices @ matrix
        near.data = np.log1p(near.data / np.float32(SMALLEST))
        found.append(near)
    return found


def belongings(memories: Memories) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Who had what, and of what kind that is: (E,) users, items, and places in the flattened ``had``."""
    lines, places = np.nonzero(memories.rows)
    earlier = places >= memories.fresh[lines]
    return lines, memories.rows[lines, places], earlier * RANGES + _RANGE_OF_PLACE[places]
