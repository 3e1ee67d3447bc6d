"""Adam for tables of which a step meets a few rows: only those are touched."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class RowAdam:
    """Adam (Kingma and Ba 2015) without the mean of past gradients, for gradients that are rows.

    Each ``tables`` (N, H) takes part in losses through ``functional.embedding(..., sparse=True)``. A row
    moves by its gradient over the root of the running mean of its squares, which forgets at ``decay`` in
    the steps that meet the row; the mean is corrected for the steps taken in all, as torch's SparseAdam
    does, whose steps these are when its first beta is 0.
    """

    def __init__(self, tables: Sequence[nn.Parameter], *, decay: float) -> None:
        self._tables = [(table, torch.zeros_like(table)) for table in tables]
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the rows that have a gradient, and drop the gradient."""
        self._steps += 1
        correction = 1 - self._decay**self._steps
        for table, squares in self._tables:
            if table.grad is None:
                continue
            rows, gradient = _summed(table.grad)
            table.grad = None
            square = squares[rows].mul_(self._decay).addcmul_(gradient, gradient, value=1 - self._decay)
            squares[rows] = square
            length = square.div_(correction).sqrt_().add_(EPSILON)
            table.index_add_(0, rows, gradient.div_(length), alpha=-rate)


def _summed(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) the rows of a sparse gradient, each once, and (R, H) the sums of what it holds of them."""
    found, place = torch.unique(gradient._indices()[0], return_inverse=True)
    values = gradient._values()
    return found, values.new_zeros(len(found), values.shape[1]).index_add_(0, place, values)
