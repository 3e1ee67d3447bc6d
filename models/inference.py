"""A trained network laid out for serving: the same steps and scores, in fewer operations.

Everything an event is shown as is a sum of rows of tables, so the tables lie in one and the sum is
one operation. Axes as in `networks`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.encoder import Inputs
from models.features import gap_bucket, hour_bucket, weekday_bucket
from models.networks import Network
from models.vocabulary import UNKNOWN_ROW

# Up to so many numbers (200 MB) the rows are multiplied with the input weights beforehand, which
# halves the work of a step.
PROJECTED_NUMBERS = 50_000_000

BLOCK_ITEMS = 1 << 15


class Frozen:
    """What serving computes of a network that no longer changes."""

    def __init__(self, network: Network, prior: Tensor | None = None) -> None:
        """Lay out the tables; ``network`` is not kept in step with later changes.

        ``prior`` (N,) is added to every score.
        """
        self._network = network
        with torch.inference_mode():
            tables: list[Tensor] = [
                network.item,
                network.category,
                network.behavior,
                network.gap,
                network.hour,
                network.weekday,
            ]
            sizes = torch.tensor([0, *(len(table) for table in tables[:-1])])
            self._offsets = sizes.cumsum(0)  # (6,) where each table begins
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
            self.vectors = torch.empty(len(bias), units + 1)
            self.vectors[:, units] = bias
            # Some at a time: sums of all would for a moment take as much memory again, beside old weights.
            for begin in range(0, len(bias), BLOCK_ITEMS):
                rows = torch.arange(begin, min(begin + BLOCK_ITEMS, len(bias)))
                self.vectors[rows, :units] = network.item_vectors(rows)

    def gates(self, inputs: Inputs) -> Tensor:
        """(..., G*H) what ``Network.gates`` gives."""
        rows = torch.stack(
            (
                inputs.item,
                inputs.category,
                inputs.behavior,
                gap_bucket(inputs.gap_ms),
                hour_bucket(inputs.time_ms),
                weekday_bucket(inputs.time_ms),
            ),
            -1,
        )  # (..., 6)
        shape = rows.shape[:-1]
        rows += self._offsets
        seen = functional.embedding_bag(rows.view(-1, rows.shape[-1]), self._table, mode="sum")
        if not self._projected:
            seen = functional.linear(seen, self._network.weight_ih, self._network.bias_ih)
        return seen.view(*shape, -1)

    def queries(self, state: Tensor) -> Tensor:
        """(B, H + 1) what of each state meets ``vectors``: its hidden state, and a one for the bias."""
        hidden = self._network.output(state)
        return torch.cat((hidden, hidden.new_ones(len(hidden), 1)), 1)

    def scores(self, state: Tensor) -> Tensor:
        """(B, N) what ``Network.scores`` gives, and the prior."""
        # With the bias as one more column the result is written once, not first with the bias.
        scores = torch.mm(self.queries(state), self.vectors.T)
        scores[:, UNKNOWN_ROW] = -torch.inf
        return scores
