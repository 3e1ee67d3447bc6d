"""The recurrent networks: one step over B users, and a whole sequence with the same weights.

The paper's RNN: the input is what was done to which item, and when; the hidden state is made of
the input and the previous state; the output is a score for each item, of which the N highest are
the list. Axes: B users, T steps, H units, S state (H, or 2H for LSTM), G gates of a cell.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder import Encoder, EncoderConfig, Inputs, drawn
from models.unrolled import CELLS

CellName = Literal["rnn", "lstm", "gru"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(EncoderConfig):
    """The cell of a recurrent network, beside what every network has.

    ``memoryless``: the state before each event is zero, which leaves a network of the same size that
    knows the last event alone.
    """

    cell: CellName = "gru"
    memoryless: bool = False

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        super().__post_init__()
        if self.cell not in _CELLS:
            raise ValueError(f"cell is {self.cell!r}; it must be one of {', '.join(_CELLS)}")

    def build(self, item_category: Tensor, n_categories: int) -> "Network":
        """A network of this shape, its weights drawn from torch's generator."""
        return Network(self, item_category, n_categories=n_categories)


def rnn_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
    """The next state is tanh(W x + U h)."""
    return torch.tanh(gates + functional.linear(state, w_hh, b_hh))  # (B, H)


def gru_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
    """Reset, update and new gates in torch's order; the reset gate acts after the matrix, as there."""
    units = state.shape[1]
    shares = [2 * units, units]
    gate, new_gate = torch.split_with_sizes(gates, shares, 1)  # (B, 2H), (B, H)
    recurrent, new_recurrent = torch.split_with_sizes(functional.linear(state, w_hh, b_hh), shares, 1)
    reset, update = torch.sigmoid(gate + recurrent).chunk(2, 1)
    new = torch.tanh(torch.addcmul(new_gate, reset, new_recurrent))
    return torch.lerp(new, state, update)  # (B, H)


def lstm_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
    """Input, forget, cell and output gates in torch's order; the state is [h, c]."""
    hidden, memory = state.chunk(2, 1)
    total = gates + functional.linear(hidden, w_hh, b_hh)  # (B, 4H)
    taken, kept, new, shown = total.chunk(4, 1)
    memory = torch.sigmoid(kept) * memory + torch.sigmoid(taken) * torch.tanh(new)
    hidden = torch.sigmoid(shown) * torch.tanh(memory)
    return torch.cat((hidden, memory), 1)  # (B, 2H)


class _Cell(NamedTuple):
    """How many gates and how many vectors of state a cell has, and its step."""

    gates: int
    vectors: int
    step: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


_CELLS: Mapping[str, _Cell] = {
    "rnn": _Cell(1, 1, rnn_step),
    "lstm": _Cell(4, 2, lstm_step),
    "gru": _Cell(3, 1, gru_step),
}


class Network(Encoder):
    """An encoder that carries a state from event to event.

    Weights of the cell carry torch's names, shapes and gate order.
    """

    def __init__(self, config: NetworkConfig, item_category: Tensor, *, n_categories: int) -> None:
        super().__init__(config, item_category, n_categories=n_categories)
        self.config = config
        self._cell = _CELLS[config.cell]
        units, gates = config.units, self._cell.gates * config.units
        self.weight_ih = nn.Parameter(torch.empty(gates, units))
        self.weight_hh = nn.Parameter(torch.empty(gates, units))
        self.bias_ih = nn.Parameter(torch.empty(gates))
        self.bias_hh = nn.Parameter(torch.empty(gates))
        for weight in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh):
            drawn(weight, units)

    @torch.no_grad()
    def grown(self, item_category: Tensor) -> "Network":
        """The same for a catalogue with more items at its end, which were never trained on."""
        known, total = len(self.bias), len(item_category)
        grown = copy.deepcopy(self)
        grown.item_category = item_category.long()
        names = ("item", "bias") if self.shape.tied else ("item", "item_out", "bias")
        for name in names:
            weight = getattr(self, name)
            added = weight.new_zeros(total - known, *weight.shape[1:])
            setattr(grown, name, nn.Parameter(torch.cat((weight, added)), requires_grad=False))
        grown.forget(torch.arange(total) >= known)
        return grown

    @property
    def state_size(self) -> int:
        """S: how many numbers a user's state has."""
        return self._cell.vectors * self.config.units

    def initial(self, batch: int) -> Tensor:
        """(B, S) the state before any event: zeros."""
        return self.item.new_zeros(batch, self.state_size)

    def gates(self, inputs: Inputs) -> Tensor:
        """(..., G*H) the part of a step that does not depend on the state."""
        return functional.linear(self.embedded(inputs), self.weight_ih, self.bias_ih)

    def advance(self, state: Tensor, inputs: Inputs) -> Tensor:
        """(B, S) the states after one more event each; ``state`` is (B, S), the inputs (B,)."""
        return self.step(self.gates(inputs), state)

    def step(self, gates: Tensor, state: Tensor) -> Tensor:
        """(B, S) the next states, of the events' gates (B, G*H) and the states (B, S)."""
        if self.config.memoryless:
            state = torch.zeros_like(state)
        return self._cell.step(gates, state, self.weight_hh, self.bias_hh)

    def unroll(self, inputs: Inputs) -> Tensor:
        """(B, T, S) the states after each event from zero; past a row's last event they mean nothing."""
        return self.steps(self.gates(inputs))

    def steps(self, gates: Tensor) -> Tensor:
        """(B, T, S) the states from zero, of the events' gates (B, T, G*H)."""
        batch, length = gates.shape[:2]
        if self.config.memoryless:
            return self.step(gates.flatten(0, 1), self.initial(batch * length)).view(batch, length, -1)
        if torch.is_grad_enabled():
            return CELLS[self.config.cell](gates, self.weight_hh, self.bias_hh)
        return self.steps_plain(gates)

    def steps_plain(self, gates: Tensor) -> Tensor:
        """(B, T, S) what ``steps`` promises, one ``step`` after the other."""
        state = self.initial(gates.shape[0])
        states = []
        for gates_of_step in gates.unbind(1):
            state = self.step(gates_of_step, state)
            states.append(state)
        return torch.stack(states, 1)

    def sequence(self, inputs: Inputs, lengths: Tensor) -> Tensor:
        """(B, T, S) the states after each event from zero; zeros past a row's ``lengths`` (B,)."""
        states = self.unroll(inputs)
        past = torch.arange(states.shape[1]) >= lengths[:, None]  # (B, T)
        return states.masked_fill(past[:, :, None], 0.0)
