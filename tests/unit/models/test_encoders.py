"""Networks over whole segments: nothing of the future reaches a state, and what they are made of."""

import pytest
import torch

from models.convolution import ConvolutionConfig
from models.encoder import Encoder, EncoderConfig, Inputs
from models.networks import NetworkConfig
from models.transformer import TransformerConfig

CONFIGS = {
    "transformer": TransformerConfig(units=6, positions=4),
    "cnn-gru": ConvolutionConfig(units=6),
}


def encoder_of(config: NetworkConfig | TransformerConfig) -> Encoder:
    """A network of four items and three categories, drawn with a seed."""
    torch.manual_seed(3)
    return config.build(torch.tensor([0, 1, 2, 1]), 3).eval().requires_grad_(False)


def inputs_of(batch: int, steps: int) -> Inputs:
    """Events drawn at random, (B, T)."""
    torch.manual_seed(4)
    columns = (torch.randint(0, high, (batch, steps)) for high in (4, 3, 4, 10**8, 10**12))
    return Inputs(*columns)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_state_is_that_of_the_events_up_to_it(name: str) -> None:
    """Cutting a sequence after any event leaves the states before as they are; earlier events do not."""
    encoder, inputs = encoder_of(CONFIGS[name]), inputs_of(3, 7)
    whole = encoder.unroll(inputs)
    for length in range(1, 8):
        part = encoder.unroll(Inputs(*(column[:, :length] for column in inputs)))
        torch.testing.assert_close(part, whole[:, :length], atol=1e-5, rtol=0)
    first = inputs.item.clone()
    first[:, 0] = (first[:, 0] + 1) % 4
    assert (encoder.unroll(inputs._replace(item=first))[:, -1] - whole[:, -1]).abs().max() > 1e-6


def test_attention_tells_one_order_from_another() -> None:
    """Two events in the other order lead to another state of the third."""
    encoder, inputs = encoder_of(CONFIGS["transformer"]), inputs_of(1, 3)
    turned = Inputs(*(column[:, [1, 0, 2]] for column in inputs))
    assert (encoder.unroll(inputs)[0, 2] - encoder.unroll(turned)[0, 2]).abs().max() > 1e-4


def test_the_convolution_mixes_as_many_events_as_it_is_wide() -> None:
    """The gates of an event depend on the two before it and on none that is older."""
    network, inputs = encoder_of(ConvolutionConfig(units=6, width=3)), inputs_of(1, 5)
    gates = network.gates(inputs)
    for changed, reaches in ((0, [0, 1, 2]), (2, [2, 3, 4])):
        item = inputs.item.clone()
        item[0, changed] = item[0, changed] % 3 + 1
        apart = (network.gates(inputs._replace(item=item)) - gates)[0].abs().amax(1)
        assert torch.nonzero(apart > 1e-6).flatten().tolist() == reaches


def test_a_kernel_of_zeros_leaves_the_recurrent_network_alone() -> None:
    """Without the convolution's part the states are those of the cell."""
    network, inputs = encoder_of(ConvolutionConfig(units=6)), inputs_of(2, 5)
    network.kernel.zero_()
    plain = NetworkConfig(units=6).build(torch.tensor([0, 1, 2, 1]), 3).eval().requires_grad_(False)
    plain.load_state_dict(network.state_dict(), strict=False)
    torch.testing.assert_close(network.unroll(inputs), plain.unroll(inputs), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (TransformerConfig, "layers", 0),
        (TransformerConfig, "layer_dropout", 1.0),
        (ConvolutionConfig, "width", 0),
    ],
)
def test_impossible_shapes_are_refused(config: type[EncoderConfig], field: str, value: float) -> None:
    """The message names the field and its value."""
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        config(**{field: value})
