"""The written-out gradients of whole sequences are those of the steps, one after the other."""

import pytest
import torch
from torch import Tensor

from models.networks import CellName, Network, NetworkConfig
from models.unrolled import CELLS

BATCH, LENGTH, UNITS = 4, 6, 5


def network_of(cell: CellName) -> Network:
    """A network whose weights are large enough for every gate to matter."""
    torch.manual_seed(4)
    net = NetworkConfig(cell=cell, units=UNITS).build(torch.tensor([0, 1, 1]), 2).double()
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return net


def gates_of(net: Network, length: int = LENGTH) -> Tensor:
    """(B, T, G*H) drawn at random."""
    torch.manual_seed(5)
    return torch.randn(BATCH, length, len(net.weight_hh), dtype=torch.double)


@pytest.mark.parametrize("length", [1, 2, LENGTH])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_states_and_gradients_are_those_of_the_plain_steps(cell: CellName, length: int) -> None:
    """For a loss that every number of every state has its own part in."""
    net = network_of(cell)
    weighed = torch.randn(BATCH, length, net.state_size, dtype=torch.double)

    def found(plain: bool) -> tuple[Tensor, ...]:
        gates = gates_of(net, length).requires_grad_()
        states = net.steps_plain(gates) if plain else net.steps(gates)
        return states, *torch.autograd.grad(
            (states * weighed).sum(), (gates, net.weight_hh, net.bias_hh), allow_unused=True
        )

    for fast, plain in zip(found(plain=False), found(plain=True), strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_are_those_of_small_differences(cell: CellName) -> None:
    """Torch's own numerical check, which knows nothing of the cell."""
    net = network_of(cell)
    gates = gates_of(net, 3).requires_grad_()

    assert torch.autograd.gradcheck(CELLS[cell], (gates, net.weight_hh, net.bias_hh))


def test_without_memory_every_step_begins_from_zero() -> None:
    """A network told to carry nothing gives each event the state of a first event."""
    net = NetworkConfig(units=UNITS, memoryless=True).build(torch.tensor([0, 1, 1]), 2).double()
    gates = gates_of(net)
    torch.testing.assert_close(net.steps(gates), net.steps_plain(gates), atol=1e-12, rtol=0)
    torch.testing.assert_close(
        net.steps(gates)[:, 3], net.step(gates[:, 3], net.initial(BATCH).double()), atol=1e-12, rtol=0
    )
