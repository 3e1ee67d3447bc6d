"""Rows move as torch's own optimizer moves them, and no others do."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.row_adam import RowAdam

RATE = 0.05


def table_of(rows: int = 9) -> nn.Parameter:
    """A small table of weights."""
    torch.manual_seed(2)
    return nn.Parameter(torch.randn(rows, 3))


def loss_of(table: Tensor, rows: Tensor) -> Tensor:
    """Something that rows have a part in, repeated ones twice."""
    return functional.embedding(rows, table, sparse=True).square().sum() + table.shape[1]


def test_steps_are_those_of_torchs_sparse_adam_without_the_mean_of_gradients() -> None:
    """Over steps that meet rows again, late, and several times at once."""
    ours, theirs = table_of(), table_of()
    optimizer = RowAdam([ours], decay=0.9)
    trusted = torch.optim.SparseAdam([theirs], RATE, betas=(0.0, 0.9))
    for rows in ([1, 2, 2], [2, 5], [8, 8, 8, 1], [3]):
        loss_of(ours, torch.tensor(rows)).backward()
        optimizer.step(RATE)
        trusted.zero_grad()
        loss_of(theirs, torch.tensor(rows)).backward()
        trusted.step()
        torch.testing.assert_close(ours.data, theirs.data, atol=1e-6, rtol=0)


def test_rows_that_no_loss_met_stay_where_they_are() -> None:
    """Also those that an earlier step had met."""
    table = table_of()
    optimizer = RowAdam([table], decay=0.9)
    loss_of(table, torch.tensor([4])).backward()
    optimizer.step(RATE)
    before = table.detach().clone()
    loss_of(table, torch.tensor([6])).backward()
    optimizer.step(RATE)
    moved = (table.detach() != before).any(1)
    assert moved.nonzero().flatten().tolist() == [6]


def test_a_table_that_no_loss_met_is_passed_over() -> None:
    """A step without a gradient is no step of that table."""
    table = table_of()
    RowAdam([table], decay=0.9).step(RATE)
    torch.testing.assert_close(table.data, table_of().data)
