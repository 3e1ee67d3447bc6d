"""The recurrent networks: one step over B users, and a whole sequence with the same weights.

The paper's RNN: the input is what was done to which item, and when; the hidden state is made of
the input and the previous state; the output is a score for each item, of which the N highest are
the list. Axes: B users, T steps, H units, S state (H, or 2H for LSTM), N items, G gates of a cell.

Departures from the paper, which leaves these open:
- An item's vector is its own plus its category's, and the same sum is used at the input and at the
  output. So an item never seen in training, but of a known category, is understood and can be
  recommended, and there are half as many weights to learn.
- Behaviour, gap, hour and weekday each add a learnt vector to the input.
- What meets at the output are the directions of state and item, and their cosine is multiplied by a
  scale (NISER, Gupta et al. 2019): the length of an item's vector, which grows with its popularity,
  then says nothing, and the bias alone does. Of a short state the length still counts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.behavior import Behavior
from models.features import N_GAPS, N_HOURS, N_WEEKDAYS, gap_bucket, hour_bucket, weekday_bucket
from models.vocabulary import UNKNOWN_ROW

# A state well below this length meets the items as it is and not as a direction. At the beginning of
# training states are short, and dividing by their length made gradients under which long sequences
# were not learnt at all: on a quarter of Online Retail's users recall at 20 stayed at .05, beside .35.
SHORT = 1.0

CellName = Literal["rnn", "lstm", "gru"]


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a network and what is left out at random while it learns.

    ``units`` is H, and the length of an item's vector. The dropouts are shares of the input's
    numbers, of the state's numbers as they meet the items, and of the items that are shown as unknown
    at the input or met by their category alone at the output, which is how the network learns what
    to make of an item it was not trained on. ``scale`` multiplies
    the cosine of state and item; 0 stands for their plain product. ``tied``: one table holds the items'
    vectors of input and output. ``memoryless``: the state before each event is zero, which leaves a
    network of the same size that knows the last event alone.

    100 units is the size the literature compares at. The rest was chosen on the last tenth of the
    training file of rsc15_100k (recall and MRR at 20, the others learnt from, GRU, seed 1). Plain
    products gave .675/.348; scales of 10, 12 and 14 .684/.357, .684/.359 and .682/.359. Dropouts of
    inputs and state, at scale 12: .3/.2 .678/.356, .4/.4 .684/.359, .5/.3 .684/.356, .5/.5 .681/.357.
    """

    cell: CellName = "gru"
    units: int = 100
    input_dropout: float = 0.4
    state_dropout: float = 0.4
    item_dropout: float = 0.05
    scale: float = 12.0
    tied: bool = True
    memoryless: bool = False

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        if self.cell not in _CELLS:
            raise ValueError(f"cell is {self.cell!r}; it must be one of {', '.join(_CELLS)}")
        if self.units < 1:
            raise ValueError(f"units is {self.units}; it must be at least 1")
        for name in ("input_dropout", "state_dropout", "item_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.scale < 0:
            raise ValueError(f"scale is {self.scale}; it must be above 0, or 0 for plain products")


class Inputs(NamedTuple):
    """What the network is shown of each event; int64 tensors of one shape, (B,) or (B, T)."""

    item: Tensor
    category: Tensor
    behavior: Tensor
    gap_ms: Tensor  # since the previous event of the segment, 0 for its first
    time_ms: Tensor  # event time since the epoch


def _rnn_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
    """The next state is tanh(W x + U h)."""
    return torch.tanh(gates + functional.linear(state, w_hh, b_hh))  # (B, H)


def _gru_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
    """Reset, update and new gates in torch's order; the reset gate acts after the matrix, as there."""
    units = state.shape[1]
    shares = [2 * units, units]
    gate, new_gate = torch.split_with_sizes(gates, shares, 1)  # (B, 2H), (B, H)
    recurrent, new_recurrent = torch.split_with_sizes(functional.linear(state, w_hh, b_hh), shares, 1)
    reset, update = torch.sigmoid(gate + recurrent).chunk(2, 1)
    new = torch.tanh(torch.addcmul(new_gate, reset, new_recurrent))
    return torch.lerp(new, state, update)  # (B, H)


def _lstm_step(gates: Tensor, state: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
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
    "rnn": _Cell(1, 1, _rnn_step),
    "lstm": _Cell(4, 2, _lstm_step),
    "gru": _Cell(3, 1, _gru_step),
}


class Network(nn.Module):
    """A network for a catalogue of N items, whose ``item_category`` (N,) names their category rows.

    Weights of the cell carry torch's names, shapes and gate order.
    """

    item_category: Tensor

    def __init__(self, config: NetworkConfig, item_category: Tensor, *, n_categories: int) -> None:
        super().__init__()
        self.config = config
        self._cell = _CELLS[config.cell]
        # Gradients of the items' vectors as rows instead of a table of zeros: for sampled losses.
        self.sparse_items = False
        units, n_items = config.units, len(item_category)
        self.register_buffer("item_category", item_category.long(), persistent=False)
        self.item = nn.Parameter(torch.empty(n_items, units))
        self.category = nn.Parameter(torch.empty(n_categories, units))
        self.behavior = nn.Parameter(torch.empty(len(Behavior), units))
        self.gap = nn.Parameter(torch.empty(N_GAPS, units))
        self.hour = nn.Parameter(torch.empty(N_HOURS, units))
        self.weekday = nn.Parameter(torch.empty(N_WEEKDAYS, units))
        self.weight_ih = nn.Parameter(torch.empty(self._cell.gates * units, units))
        self.weight_hh = nn.Parameter(torch.empty(self._cell.gates * units, units))
        self.bias_ih = nn.Parameter(torch.empty(self._cell.gates * units))
        self.bias_hh = nn.Parameter(torch.empty(self._cell.gates * units))
        self.bias = nn.Parameter(torch.zeros(n_items))
        if not config.tied:
            self.item_out = nn.Parameter(torch.empty(n_items, units))
            self.category_out = nn.Parameter(torch.empty(n_categories, units))
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Uniform within 1/sqrt(H), torch's own bound; nothing is said of the unknown rows."""
        bound = 1 / math.sqrt(self.config.units)
        for name, weight in self.named_parameters():
            if name != "bias":
                weight.uniform_(-bound, bound)
        for name in ("behavior", "gap", "hour", "weekday"):
            getattr(self, name).zero_()
        for table in (*self.item_tables, *self.category_tables):
            table[UNKNOWN_ROW] = 0

    @property
    def item_tables(self) -> tuple[nn.Parameter, ...]:
        """The items' own vectors: of the input, and of the output where that has others."""
        return (self.item,) if self.config.tied else (self.item, self.item_out)

    @property
    def category_tables(self) -> tuple[nn.Parameter, ...]:
        """The categories' vectors, like ``item_tables``."""
        return (self.category,) if self.config.tied else (self.category, self.category_out)

    @property
    def state_size(self) -> int:
        """S: how many numbers a user's state has."""
        return self._cell.vectors * self.config.units

    def initial(self, batch: int) -> Tensor:
        """(B, S) the state before any event: zeros."""
        return self.item.new_zeros(batch, self.state_size)

    def item_vectors(self, rows: Tensor | None = None) -> Tensor:
        """(N, H) what of each item meets the state; only those of ``rows`` where given.

        An item's own vector plus its category's, of length 1 where scores are cosines.
        """
        item, category = self.item_tables[-1], self.category_tables[-1]
        if rows is None:
            vectors = item + category[self.item_category]
        else:
            own = functional.embedding(rows, item, sparse=self.sparse_items)
            vectors = own + functional.embedding(self.item_category[rows], category)
        return functional.normalize(vectors, dim=-1) if self.config.scale else vectors

    def compared(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(K, H) and (K,) the vectors and biases of the items ``rows`` as training compares them.

        Some are met by their category alone, at random and where they have one; so the category learns
        to speak for an item that was never trained on, and the unknown row's bias to be that of such.
        """
        share = self.config.item_dropout
        if not (self.training and share):
            return self.item_vectors(rows), self.bias[rows]
        item, category = self.item_tables[-1], self.category_tables[-1]
        of_category = self.item_category[rows]
        own = functional.embedding(rows, item, sparse=self.sparse_items)
        kept = (torch.rand(rows.shape) >= share) | (of_category == UNKNOWN_ROW)
        vectors = own * kept[:, None] + functional.embedding(of_category, category)
        if self.config.scale:
            vectors = functional.normalize(vectors, dim=-1)
        return vectors, self.bias[rows * kept]

    def gates(self, inputs: Inputs) -> Tensor:
        """(..., G*H) the part of a step that does not depend on the state."""
        item = inputs.item
        if self.training and self.config.item_dropout:
            item = item * (torch.rand(item.shape) >= self.config.item_dropout)
        seen = (
            functional.embedding(item, self.item, sparse=self.sparse_items)
            + functional.embedding(inputs.category, self.category)
            + functional.embedding(inputs.behavior, self.behavior)
            + functional.embedding(gap_bucket(inputs.gap_ms), self.gap)
            + functional.embedding(hour_bucket(inputs.time_ms), self.hour)
            + functional.embedding(weekday_bucket(inputs.time_ms), self.weekday)
        )  # (..., H)
        seen = functional.dropout(seen, self.config.input_dropout, self.training)
        return functional.linear(seen, self.weight_ih, self.bias_ih)

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

    def output(self, state: Tensor) -> Tensor:
        """(..., H) what of a state (..., S) meets the items: all of it, or the h of an LSTM, scaled."""
        hidden = state[..., : self.config.units]
        if not self.config.scale:
            return hidden
        length = (hidden.square().sum(-1, keepdim=True) + SHORT**2).sqrt()
        return self.config.scale * hidden / length

    def scores(self, state: Tensor) -> Tensor:
        """(B, N) a score for each item, bias included; the unknown item's is -inf."""
        scores = functional.linear(self.output(state), self.item_vectors(), self.bias)
        scores[:, UNKNOWN_ROW] = -math.inf
        return scores
