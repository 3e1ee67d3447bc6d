"""A convolution before the recurrent network: the paper's future work, RNN combined with CNN.

What the network is shown of an event is mixed with what it is shown of the events just before, so
that a short run of events is one thing before memory begins. The state of the convolution would be
the last events' inputs; here the segment is computed anew at each event, as for the Transformer.

Axes: B users, T steps, H units, W width, S state, G gates of a cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder import Inputs, drawn
from models.networks import Network, NetworkConfig


@dataclass(frozen=True, kw_only=True)
class ConvolutionConfig(NetworkConfig):
    """``width``: how many events, the newest included, the convolution sees at once."""

    width: int = 3

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1")

    def build(self, item_category: Tensor, n_categories: int) -> "ConvolutionNetwork":
        """A network of this shape, its weights drawn from torch's generator."""
        return ConvolutionNetwork(self, item_category, n_categories=n_categories)


class ConvolutionNetwork(Network):
    """A recurrent network for whole segments, each event's input mixed with those before it."""

    def __init__(self, config: ConvolutionConfig, item_category: Tensor, *, n_categories: int) -> None:
        super().__init__(config, item_category, n_categories=n_categories)
        self.kernel = nn.Parameter(torch.empty(config.units, config.units, config.width))
        self.kernel_bias = nn.Parameter(torch.zeros(config.units))
        drawn(self.kernel, config.units * config.width)

    def gates(self, inputs: Inputs) -> Tensor:
        """(B, T, G*H) the part of a step that does not depend on the state; inputs are (B, T)."""
        seen = self.embedded(inputs)  # (B, T, H)
        before = functional.pad(seen.transpose(1, 2), (self.kernel.shape[2] - 1, 0))  # (B, H, W - 1 + T)
        runs = functional.conv1d(before, self.kernel, self.kernel_bias).transpose(1, 2)  # (B, T, H)
        return functional.linear(seen + torch.relu(runs), self.weight_ih, self.bias_ih)
