"""What every network has: how an event is shown to it, and how its state meets the items.

Axes: B users, T steps, H units, S state, N items.

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
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.behavior import Behavior
from models.dropout import dropped
from models.features import N_GAPS, N_HOURS, N_WEEKDAYS, gap_bucket, hour_bucket, weekday_bucket
from models.vocabulary import UNKNOWN_ROW

# A state well below this length meets the items as it is and not as a direction. At the beginning of
# training states are short, and dividing by their length made gradients under which long sequences
# were not learnt at all: on a quarter of Online Retail's users recall at 20 stayed at .05, beside .35.
SHORT = 1.0
# A vector of zeros, as an item without a category has before training, has no direction.
SHORTEST = 1e-6


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """How large vectors are, how they meet, and what is left out at random while a network learns.

    ``units`` is H, and the length of an item's vector. The dropouts are shares of the input's
    numbers, of the state's numbers as they meet the items, and of the items that are shown as unknown
    at the input or met by their category alone at the output, which is how the network learns what
    to make of an item it was not trained on. ``scale`` multiplies the cosine of state and item; 0
    stands for their plain product. ``tied``: one table holds the items' vectors of input and output.

    100 units is the size the literature compares at. The rest was chosen on the last tenth of the
    training file of rsc15_100k (recall and MRR at 20, the others learnt from, GRU, seed 1). Plain
    products gave .675/.348; scales of 10, 12 and 14 .684/.357, .684/.359 and .682/.359. Dropouts of
    inputs and state, at scale 12: .3/.2 .678/.356, .4/.4 .684/.359, .5/.3 .684/.356, .5/.5 .681/.357.
    """

    units: int = 100
    input_dropout: float = 0.4
    state_dropout: float = 0.4
    item_dropout: float = 0.05
    scale: float = 12.0
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
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


class Encoder(nn.Module, ABC):
    """A network for a catalogue of N items, whose ``item_category`` (N,) names their category rows."""

    item_category: Tensor

    def __init__(self, config: EncoderConfig, item_category: Tensor, *, n_categories: int) -> None:
        super().__init__()
        self.shape = config
        # Gradients of the items' vectors as rows instead of a table of zeros: for sampled losses.
        self.sparse_items = False
        units, n_items = config.units, len(item_category)
        self.register_buffer("item_category", item_category.long(), persistent=False)
        self.item = nn.Parameter(torch.empty(n_items, units))
        self.category = nn.Parameter(torch.empty(n_categories, units))
        self.behavior = nn.Parameter(torch.zeros(len(Behavior), units))
        self.gap = nn.Parameter(torch.zeros(N_GAPS, units))
        self.hour = nn.Parameter(torch.zeros(N_HOURS, units))
        self.weekday = nn.Parameter(torch.zeros(N_WEEKDAYS, units))
        self.bias = nn.Parameter(torch.zeros(n_items))
        if not config.tied:
            self.item_out = nn.Parameter(torch.empty(n_items, units))
            self.category_out = nn.Parameter(torch.empty(n_categories, units))
        for table in (*self.item_tables, *self.category_tables):
            drawn(table, units)
            table.data[UNKNOWN_ROW] = 0  # nothing is said of the unknown

    @abstractmethod
    def unroll(self, inputs: Inputs) -> Tensor:
        """(B, T, S) the states after each event from zero; past a row's last event they mean nothing."""

    @property
    def item_tables(self) -> tuple[nn.Parameter, ...]:
        """The items' own vectors: of the input, and of the output where that has others."""
        return (self.item,) if self.shape.tied else (self.item, self.item_out)

    @property
    def category_tables(self) -> tuple[nn.Parameter, ...]:
        """The categories' vectors, like ``item_tables``."""
        return (self.category,) if self.shape.tied else (self.category, self.category_out)

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
        return self._met(vectors)

    def _met(self, vectors: Tensor) -> Tensor:
        """Items' vectors (..., H) as they meet the state: of length 1 where scores are cosines."""
        if not self.shape.scale:
            return vectors
        return vectors * (vectors.square().sum(-1, keepdim=True) + SHORTEST**2).rsqrt()

    def compared(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(K, H) and (K,) the vectors and biases of the items ``rows`` as training compares them.

        Some are met as the unknown item of their category, at random and where they have one; so the
        category learns to speak for an item that was never trained on, beside the unknown row's own
        vector and bias, which such an item has.
        """
        share = self.shape.item_dropout
        if not (self.training and share):
            return self.item_vectors(rows), self.bias[rows]
        item, category = self.item_tables[-1], self.category_tables[-1]
        of_category = self.item_category[rows]
        shown = rows * ((torch.rand(rows.shape) >= share) | (of_category == UNKNOWN_ROW))
        own = functional.embedding(shown, item, sparse=self.sparse_items)
        return self._met(own + functional.embedding(of_category, category)), self.bias[shown]

    @torch.no_grad()
    def forget(self, never: Tensor) -> None:
        """Make the items (N,) that were never trained on the unknown item of their category.

        Without a category there is nothing to be said for them: they get the lowest bias.
        """
        never = never.clone()
        never[UNKNOWN_ROW] = False
        for table in self.item_tables:
            table[never] = table[UNKNOWN_ROW].clone()
        trained = ~never
        trained[UNKNOWN_ROW] = False
        lowest = self.bias[trained].min() if trained.any() else self.bias[UNKNOWN_ROW]
        bare = self.item_category[never] == UNKNOWN_ROW
        self.bias[never] = torch.where(bare, lowest, self.bias[UNKNOWN_ROW])

    def embedded(self, inputs: Inputs) -> Tensor:
        """(..., H) what the network is shown of each event; in training some of it is left out."""
        item = inputs.item
        if self.training and self.shape.item_dropout:
            item = item * (torch.rand(item.shape) >= self.shape.item_dropout)
        seen = (
            functional.embedding(item, self.item, sparse=self.sparse_items)
            + functional.embedding(inputs.category, self.category)
            + functional.embedding(inputs.behavior, self.behavior)
            + functional.embedding(gap_bucket(inputs.gap_ms), self.gap)
            + functional.embedding(hour_bucket(inputs.time_ms), self.hour)
            + functional.embedding(weekday_bucket(inputs.time_ms), self.weekday)
        )  # (..., H)
        return dropped(seen, self.shape.input_dropout, self.training)

    def output(self, state: Tensor) -> Tensor:
        """(..., H) what of a state (..., S) meets the items: all of it, or the h of an LSTM, scaled."""
        hidden = state[..., : self.shape.units]
        if not self.shape.scale:
            return hidden
        return hidden * (self.shape.scale * (hidden.square().sum(-1, keepdim=True) + SHORT**2).rsqrt())

    def scores(self, state: Tensor) -> Tensor:
        """(B, N) a score for each item, bias included; the unknown item's is -inf."""
        scores = functional.linear(self.output(state), self.item_vectors(), self.bias)
        scores[:, UNKNOWN_ROW] = -math.inf
        return scores


@torch.no_grad()
def drawn(weight: Tensor, units: int) -> None:
    """Draw a weight uniformly within 1/sqrt(H), torch's own bound for recurrent networks."""
    bound = 1 / math.sqrt(units)
    weight.uniform_(-bound, bound)
