"""A trained network laid out for serving: the same steps and scores, in fewer operations.

Everything an event is shown as is a sum of rows of tables, so the tables lie in one and the sum is
one operation. Axes as in `networks`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.compiled import kernels
from models.encoder import SHORT
from models.features import gap_bucket, hour_bucket, weekday_bucket
from models.networks import Network
from models.vocabulary import UNKNOWN_ROW

Floats = NDArray[np.float32]
Integers = NDArray[np.integer]

# Up to so many numbers (200 MB) the rows are multiplied with the input weights beforehand, which
# halves the work of a step.
PROJECTED_NUMBERS = 50_000_000

BLOCK_ITEMS = 1 << 15

# Vectors of fewer items are stored by columns: the product then takes a quarter less with one state, and no
# more with many. Of so many, an index may find some, which are fetched row by row.
ROWS_FROM_ITEMS = 1 << 17

# Up to so many items a compiled loop scores them for one state faster than the library does, which gains
# by more rows a block; the loop takes the columns' in turns, and they lie further apart in larger ones.
LOOP_ITEMS = 1 << 15


class Frozen:
    """What serving computes of a network that no longer changes."""

    def __init__(self, network: Network, prior: Tensor | None = None) -> None:
        """Lay out the tables; ``network`` is not kept in step with later changes.

        ``prior`` (N,) is added to every score.
        """
        self._network = network
        self._loops = kernels()
        with torch.inference_mode():
            tables: list[Tensor] = [
                network.item,
                network.category,
                network.behavior,
                network.gap,
                network.hour,
                network.weekday,
            ]
            # (6,) where each table begins
            self._offsets = np.cumsum([0, *(len(table) for table in tables[:-1])])
            table = torch.cat(tables)
            self._projected = len(table) * len(network.weight_ih) <= PROJECTED_NUMBERS
            if self._projected:
                table = functional.linear(table, network.weight_ih)
                begin = int(self._offsets[2])
                table[begin : begin + len(network.behavior)] += (
                    network.bias_ih
                )  # each event has one behaviour
            self._table = table
            bias = network.bias if prior is None else network.bias + prior
            units = network.config.units
            #: (N, H + 1) what of each item meets ``queries``: its vector, and what is added to its score.
            self.vectors = (
                torch.empty(len(bias), units + 1)
                if len(bias) >= ROWS_FROM_ITEMS
                else torch.empty(units + 1, len(bias)).T
            )
            self.vectors[:, units] = bias
            # Some at a time: sums of all would for a moment take as much memory again, beside old weights.
            for begin in range(0, len(bias), BLOCK_ITEMS):
                rows = torch.arange(begin, min(begin + BLOCK_ITEMS, len(bias)))
                self.vectors[rows, :units] = network.item_vectors(rows)
        plain_gru = network.config.cell == "gru" and not network.config.memoryless
        #: The loops, where one of them can make the step of a single state.
        self._step_loops = self._loops if self._projected and plain_gru else None
        self._rows_of_table = self._table.numpy()
        self._recurrent = network.weight_hh.detach().numpy(), network.bias_hh.detach().numpy()

    def advance(  # noqa: PLR0917 - as `Recommender.advance`
        self,
        states: Floats,
        item: Integers,
        category: Integers,
        behavior: Integers,
        gap_ms: Integers,
        time_ms: Integers,
    ) -> Floats:
        """(B, S) what ``Network.advance`` gives; the columns are (B,)."""
        if len(states) == 1 and self._step_loops is not None:
            after = np.empty((1, states.shape[1]), np.float32)
            shown = self._rows(item, category, behavior, gap_ms, time_ms)[0]
            state = np.ascontiguousarray(states[0], np.float32)
            self._step_loops.gru_of_one(self._rows_of_table, shown, *self._recurrent, state, after[0])
            return after
        with torch.inference_mode():
            gates = self.gates(item, category, behavior, gap_ms, time_ms)
            return self._network.step(gates, _float32(states)).numpy()

    def gates(
        self, item: Integers, category: Integers, behavior: Integers, gap_ms: Integers, time_ms: Integers
    ) -> Tensor:
        """(..., G*H) what ``Network.gates`` gives; the columns are of one shape (...)."""
        rows = self._rows(item, category, behavior, gap_ms, time_ms)
        seen = self._summed(rows.reshape(-1, 6))
        if not self._projected:
            seen = functional.linear(seen, self._network.weight_ih, self._network.bias_ih)
        return seen.view(*rows.shape[:-1], -1)

    def _rows(
        self, item: Integers, category: Integers, behavior: Integers, gap_ms: Integers, time_ms: Integers
    ) -> NDArray[np.int64]:
        """(..., 6) the rows of the table that events are shown as."""
        rows = np.empty((*item.shape, 6), np.int64)
        time = np.asarray(time_ms, np.int64)
        rows[..., 0] = item
        rows[..., 1] = category
        rows[..., 2] = behavior
        rows[..., 3] = gap_bucket(np.asarray(gap_ms, np.int64))
        rows[..., 4] = hour_bucket(time)
        rows[..., 5] = weekday_bucket(time)
        rows += self._offsets
        return rows

    def _summed(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, G*H), or (B, H) where they are not projected: the sums of the table's ``rows`` (B, 6)."""
        if len(rows) == 1:  # a third of the time: of a single event the call is what costs
            return torch.from_numpy(self._rows_of_table.take(rows[0], 0).sum(0, keepdims=True))
        return functional.embedding_bag(torch.from_numpy(rows), self._table, mode="sum")

    def queries(self, states: Floats) -> Floats:
        """(B, H + 1) what of states (B, S) meets ``vectors``: ``Network.output``, and a one for the bias."""
        shape = self._network.config
        hidden = states[:, : shape.units]
        queries = np.ones((len(hidden), shape.units + 1), np.float32)
        queries[:, :-1] = hidden
        if shape.scale:
            squares = np.einsum("bh,bh->b", hidden, hidden) + np.float32(SHORT**2)
            queries[:, :-1] *= (np.float32(shape.scale) / np.sqrt(squares))[:, None]
        return queries

    def scores(self, states: Floats, room: Floats | None = None) -> Floats:
        """(B, N) what ``Network.scores`` gives of (B, S), and the prior; written into ``room``, if given."""
        scores = np.empty((len(states), len(self.vectors)), np.float32) if room is None else room
        if len(states) == 1 and len(self.vectors) <= LOOP_ITEMS and self._loops is not None:
            shape = self._network.config
            hidden = np.ascontiguousarray(states[0, : shape.units], np.float32)
            self._loops.scores_of_one(self.vectors.numpy().T, hidden, shape.scale, SHORT, scores[0])
            scores[:, UNKNOWN_ROW] = -np.inf
            return scores
        # With the bias as one more column the result is written once, not first with the bias. By numpy's
        # library: torch's takes 1.1 times as long with 512 states and 10,000 items, and 1.6 with one.
        np.matmul(self.queries(states), self.vectors.numpy().T, out=scores)
        scores[:, UNKNOWN_ROW] = -np.inf
        return scores


def _float32(states: Floats) -> torch.Tensor:
    """States as torch wants them, without copying where they already are."""
    array = np.ascontiguousarray(states, np.float32)
    # A read-only one is copied: torch cannot promise not to write.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
