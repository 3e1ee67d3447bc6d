"""A Transformer over the segment, after SASRec (Kang and McAuley 2018): the paper's future work.

Each event looks at all events of its segment up to itself, weighed by attention, instead of at a
state that was carried along. So there is nothing to carry: when an event comes the segment is
computed anew, which costs its whole length where a recurrent network costs a step.

Axes: B users, T steps, H units. Departures from SASRec: the inputs and the output are those of all
networks here (`encoder`), and the loss is the cross-entropy over all or sampled items instead of
one negative item.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.encoder import Encoder, EncoderConfig, Inputs, drawn


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(EncoderConfig):
    """``layers`` of attention with up to ``heads`` heads, as many as divide the units.

    ``positions`` of a segment are told apart, counted from its first event. ``layer_dropout`` is the
    share of numbers left out inside the layers.
    """

    input_dropout: float = 0.2
    state_dropout: float = 0.2
    layers: int = 2
    heads: int = 2
    positions: int = 64
    layer_dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        super().__post_init__()
        for name in ("layers", "heads", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.layer_dropout < 1:
            raise ValueError(f"layer_dropout is {self.layer_dropout}; it must be at least 0 and below 1")

    def build(self, item_category: Tensor, n_categories: int) -> "Transformer":
        """A network of this shape, its weights drawn from torch's generator."""
        return Transformer(self, item_category, n_categories=n_categories)


class Transformer(Encoder):
    """Causal self-attention; the state (B, T, H) of an event is what comes out at its place."""

    def __init__(self, config: TransformerConfig, item_category: Tensor, *, n_categories: int) -> None:
        super().__init__(config, item_category, n_categories=n_categories)
        units = config.units
        self.position = nn.Parameter(torch.empty(config.positions, units))
        drawn(self.position, units)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                units,
                math.gcd(units, config.heads),
                dim_feedforward=units,
                dropout=config.layer_dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.last = nn.LayerNorm(units)

    def unroll(self, inputs: Inputs) -> Tensor:
        """(B, T, H) the states after each event; what comes after an event does not reach its state."""
        length = inputs.item.shape[1]
        place = torch.arange(length).clamp_(max=len(self.position) - 1)
        states = self.embedded(inputs) + self.position[place]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for layer in self.layers:
            states = layer(states, src_mask=mask, is_causal=True)
        found: Tensor = self.last(states)
        return found
