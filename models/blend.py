"""The blend that serves by default: network, windowed item CF, popularity and the user's own items.

The score of item j for a user is the network's, plus a weight times each of

- log(1 + c_j / S), for sums c_j over the user's last items: two of their similarities to j
  (equation 1, neighbours within the window of equation 4), of which one falls off quickly from the
  newest item on and one hardly does; one of how often j came after them (`transitions`); and how
  often j came directly after the last one;
- the logarithm of how often j was had, over all of the training and lately;
- whether the user had j before: a weight for each range of places in the user's memory, apart for
  the items of the segment and for those from before it.

With ``leads`` the best item of the category the user was last in comes first (`lead`).

`blend_fitting` learns the weights. They are negative where people do not come back to what they
had, as with news, and great where they do, as with supplies.

Axes: B users, N items, R places of a memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.compiled import kernels
from models.memory import PLACES, Memories
from models.neighbours import ItemNeighbours
from models.ranking import UNKNOWN_ROW, Scores
from models.room import Zeros

Matrix = sparse.csr_array[np.float32, tuple[int, int]]
Tables = tuple[Matrix, Matrix, Matrix]
Weights = NDArray[np.float32]


class Voice(NamedTuple):
    """A sum: over which table, over how many of the last items, each weighing how much of the next one."""

    table: int  # 0: similarities, 1: successors, 2: direct successors
    depth: int
    decay: float


VOICES = (Voice(0, 10, 0.5), Voice(0, 20, 0.9), Voice(1, 10, 0.5), Voice(2, 1, 1.0))
KINDS = ("neighbour", "successor", "direct")  # the tables, as an artifact names them
SMALLEST = 1e-3  # S, the similarity from which on the logarithm tells one from another

# Places 0, 1, 2-3, 4-7, ... of a memory, the last range from 128 on.
RANGES = 9
_RANGE_OF_PLACE = np.minimum(np.ceil(np.log2(np.arange(PLACES) + 1)).astype(np.int64), RANGES - 1)


@dataclass(frozen=True, eq=False)
class Blend:
    """What is added to a network's scores.

    ``successors`` are what came some steps after an item, ``direct`` what came next.
    ``prior`` (N,) is what popularity adds to each item and ``new`` (1,) what it adds to one that
    nobody had; ``near`` (4,) the weights of the sums, ``had`` (2, RANGES) those of having had an item, in
    the segment and before it. ``tallies`` are the weights the prior was made with, so that newer
    events can make it anew; None where they were not kept. ``leads`` says whether lists have a lead,
    ``leads_grown`` whether they have one where items that nobody had are in the catalogue.
    """

    neighbours: ItemNeighbours
    successors: ItemNeighbours
    direct: ItemNeighbours
    prior: Weights
    new: Weights
    near: Weights
    had: Weights
    tallies: Weights | None = None
    leads: bool = False
    leads_grown: bool = False
    _tables: Tables = field(init=False, repr=False)
    _zeros: Zeros = field(init=False, repr=False, default_factory=Zeros)

    def __post_init__(self) -> None:
        """Lay neighbours and successors out as matrices; refuse arrays that do not belong together."""
        for name, array, shape in (
            ("prior", self.prior, (self.neighbours.n_items,)),
            ("new", self.new, (1,)),
            ("near", self.near, (len(VOICES),)),
            ("had", self.had, (2, RANGES)),
        ):
            if array.shape != shape:
                raise ValueError(f"the blend's {name} has shape {array.shape} and should have {shape}")
        object.__setattr__(self, "_tables", tables_of(*self.counted))

    @property
    def counted(self) -> tuple[ItemNeighbours, ItemNeighbours, ItemNeighbours]:
        """The tables in the order of ``KINDS``."""
        return self.neighbours, self.successors, self.direct

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Self:
        """The blend whose ``arrays`` these are; raises KeyError or ValueError where they are none.

        Artifacts from before the direct successors are read as saying nothing of them, and those from
        before the lead as having none.
        """
        if "direct_begins" not in arrays:
            arrays = arrays | {
                "direct_begins": np.zeros_like(arrays["neighbour_begins"]),
                "direct_rows": np.zeros(0, np.int32),
                "direct_weights": np.zeros(0, np.float32),
                "near": np.append(arrays["near"], np.float32(0)),
            }
        neighbours, successors, direct = (
            ItemNeighbours.checked(*(arrays[f"{kind}_{part}"] for part in ("begins", "rows", "weights")))
            for kind in KINDS
        )
        names = ("prior", "new", "near", "had")
        tables = {name: arrays[name].astype(np.float32) for name in names}
        if "tallies" in arrays:
            tables["tallies"] = arrays["tallies"].astype(np.float32)
        leads, grown = arrays.get("leads", np.zeros(2)).astype(np.bool_).tolist()
        return cls(neighbours, successors, direct, **tables, leads=leads, leads_grown=grown)

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What an artifact keeps of it."""
        kinds = dict(zip(KINDS, self.counted, strict=True))
        kept = {} if self.tallies is None else {"tallies": self.tallies}
        return {
            **kept,
            **{f"{kind}_begins": table.begins for kind, table in kinds.items()},
            **{f"{kind}_rows": table.rows for kind, table in kinds.items()},
            **{f"{kind}_weights": table.weights for kind, table in kinds.items()},
            "prior": self.prior,
            "new": self.new,
            "near": self.near,
            "had": self.had,
            "leads": np.array([self.leads, self.leads_grown], np.float32),
        }

    def grown(self, n_items: int) -> Self:
        """The same for a catalogue with more items at its end, which nobody had."""
        more = n_items - self.neighbours.n_items
        neighbours, successors, direct = (
            ItemNeighbours(
                np.concatenate((table.begins, np.repeat(table.begins[-1:], more))), table.rows, table.weights
            )
            for table in self.counted
        )
        prior = np.concatenate((self.prior, np.repeat(self.new, more)))
        return replace(
            self,
            neighbours=neighbours,
            successors=successors,
            direct=direct,
            prior=prior,
            leads=self.leads_grown if more else self.leads,
        )

    def add(self, scores: Scores, memories: Memories) -> None:
        """Add what the memories say to the ``scores`` (B, N) of the network and the prior."""
        if not scores.flags.c_contiguous:
            raise ValueError("scores must be contiguous, or what is added would go to a copy")
        loops = kernels()
        if loops is not None:
            self._add_by_loops(loops, scores, memories)
            return
        cells = scores.reshape(-1)  # two indices for each cell cost half as much again
        for lines, items, values in self.said(memories):
            cells[lines * scores.shape[1] + items] += values

    def _add_by_loops(self, loops: ModuleType, scores: Scores, memories: Memories) -> None:
        """What ``add`` does, by `kernels.add_sums` and `kernels.add_had`."""
        had = np.ascontiguousarray(memories.rows, np.int32)
        sums = self._zeros.of(scores.shape[1])
        for weight, (table, depth, decay) in zip(self.near, VOICES, strict=True):
            of = self.counted[table]
            loops.add_sums(
                scores, had, of.begins, of.rows, of.weights, depth, decay, weight, np.float32(SMALLEST), sums
            )
        fresh = np.ascontiguousarray(memories.fresh)
        loops.add_had(scores, had, fresh, self.had, _RANGE_OF_PLACE)

    def said(self, memories: Memories) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], Weights]]:
        """What the memories say, part by part: users, items, and what is added to their scores, (E,) each.

        No part names an item twice for the same user.
        """
        for weight, near in zip(self.near, nearness(self._tables, memories), strict=True):
            yield np.repeat(np.arange(near.shape[0]), np.diff(near.indptr)), near.indices, weight * near.data
        lines, items, kinds = belongings(memories)
        yield lines, items, self.had.ravel()[kinds]


def tables_of(neighbours: ItemNeighbours, successors: ItemNeighbours, direct: ItemNeighbours) -> Tables:
    """The tables as sparse matrices (N, N)."""
    shape = (neighbours.n_items, neighbours.n_items)
    similar, after, following = (
        sparse.csr_array((table.weights, table.rows, _narrow(table.begins)), shape=shape)
        for table in (neighbours, successors, direct)
    )
    return similar, after, following


def _narrow(begins: NDArray[np.int64]) -> NDArray[np.integer]:
    """The same in 32 bits, where they hold it.

    Beside begins of 64 bits scipy keeps the rows in 64 bits as well, a copy as large as the table itself,
    and for a product it copies one factor's rows where the other's have 64 bits.
    """
    return begins.astype(np.int32) if begins[-1] <= np.iinfo(np.int32).max else begins


def nearness(tables: Tables, memories: Memories) -> list[Matrix]:
    """(B, N) log(1 + c / S) for each of the sums c."""
    found = []
    n_items = tables[0].shape[0]
    for table, depth, decay in VOICES:
        items = memories.rows[:, :depth]
        shown = items > UNKNOWN_ROW
        weights = np.broadcast_to(np.float32(decay) ** np.arange(depth, dtype=np.float32), items.shape)
        begins = _narrow(np.concatenate(([0], np.cumsum(shown.sum(1)))))
        voices = sparse.csr_array((weights[shown], items[shown], begins), shape=(len(items), n_items))
        near: Matrix = voices @ tables[table]
        near.data = np.log1p(near.data / np.float32(SMALLEST))
        found.append(near)
    return found


def belongings(memories: Memories) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Who had what, and of what kind that is: (E,) users, items, and places in the flattened ``had``."""
    lines, places = np.nonzero(memories.rows)
    earlier = places >= memories.fresh[lines]
    return lines, memories.rows[lines, places], earlier * RANGES + _RANGE_OF_PLACE[places]
