"""The cells are torch's, and a step is a step wherever it is made."""

import math

import pytest
import torch
from torch import nn

from models.encoder import Inputs
from models.features import gap_bucket, hour_bucket, weekday_bucket
from models.networks import CellName, Network, NetworkConfig

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS: tuple[CellName, ...] = ("rnn", "lstm", "gru")


def network_of(cell: CellName, units: int = 7, **options: float) -> Network:
    """A network of four items and three categories whose weights are all large enough to matter."""
    torch.manual_seed(3)
    config = NetworkConfig(cell=cell, units=units, **options)
    net = Network(config, torch.tensor([0, 1, 2, 1]), n_categories=3)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.5)
    return net.eval().requires_grad_(False)


def inputs_of(batch: int, steps: int) -> Inputs:
    """Events drawn at random, (B, T)."""
    shape = (batch, steps)
    return Inputs(
        torch.randint(0, 4, shape),
        torch.randint(0, 3, shape),
        torch.randint(0, 4, shape),
        torch.randint(0, 10**8, shape),
        torch.randint(0, 10**12, shape),
    )


@pytest.mark.parametrize("cell", CELLS)
def test_states_are_those_of_torchs_own_module(cell: CellName) -> None:
    """With the same weights and inputs, torch's module gives the same states."""
    net, inputs = network_of(cell, scale=0.0), inputs_of(5, 9)
    trusted = TORCH[cell](7, 7, batch_first=True).requires_grad_(False)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(trusted, f"{name}_l0").copy_(getattr(net, name))
    seen = (
        net.item[inputs.item]
        + net.category[inputs.category]
        + net.behavior[inputs.behavior]
        + net.gap[gap_bucket(inputs.gap_ms)]
        + net.hour[hour_bucket(inputs.time_ms)]
        + net.weekday[weekday_bucket(inputs.time_ms)]
    )
    expected, _ = trusted(seen)
    states = net.sequence(inputs, torch.full((5,), 9))
    torch.testing.assert_close(net.output(states), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_step_by_step_is_the_whole_sequence(cell: CellName) -> None:
    """Advancing one event at a time gives the states of the whole sequence, memory included."""
    net, inputs = network_of(cell), inputs_of(5, 9)
    whole = net.sequence(inputs, torch.full((5,), 9))
    assert whole.shape == (5, 9, net.state_size)
    state = net.initial(5)
    for step in range(9):
        state = net.advance(state, Inputs(*(column[:, step].contiguous() for column in inputs)))
        torch.testing.assert_close(state, whole[:, step], atol=1e-5, rtol=0)


def test_states_past_the_length_are_zero_and_before_it_do_not_know_of_it() -> None:
    """Padding changes nothing before it."""
    net, inputs = network_of("gru"), inputs_of(2, 6)
    whole = net.sequence(inputs, torch.tensor([6, 6]))
    cut = net.sequence(inputs, torch.tensor([2, 6]))
    assert cut[0, 2:].abs().sum() == 0
    torch.testing.assert_close(cut[0, :2], whole[0, :2], atol=0, rtol=0)
    torch.testing.assert_close(cut[1], whole[1], atol=0, rtol=0)


def test_a_score_is_the_scaled_cosine_of_state_and_item_plus_bias() -> None:
    """The score of item 3, of category 1, is worked out by hand; the unknown item is never listed."""
    net = network_of("lstm", scale=5.0)
    state = torch.randn(2, net.state_size)
    scores = net.scores(state)
    hidden, vector = state[0, :7], net.item[3] + net.category[1]
    length = math.sqrt(float(hidden @ hidden) + 1.0**2)
    by_hand = 5 * (hidden @ vector) / (length * vector.norm()) + net.bias[3]
    assert scores[0, 3].item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert scores[:, 0].tolist() == [-math.inf, -math.inf]


def test_without_a_scale_a_score_is_the_plain_product() -> None:
    """State times item and category, plus bias."""
    net = network_of("lstm", scale=0.0)
    state = torch.randn(2, net.state_size)
    by_hand = (state[0, :7] * (net.item[3] + net.category[1])).sum() + net.bias[3]
    assert net.scores(state)[0, 3].item() == pytest.approx(by_hand.item(), abs=1e-5)


def test_an_output_of_its_own_leaves_the_inputs_table_out_of_the_scores() -> None:
    """Untied, the table of the input moves the states and that of the output the scores."""
    net = network_of("gru", tied=False)
    state, inputs = torch.randn(2, net.state_size), inputs_of(2, 1)
    scores, gates = net.scores(state), net.gates(inputs)
    net.item += 1
    torch.testing.assert_close(net.scores(state), scores, atol=0, rtol=0)
    assert not torch.equal(net.gates(inputs), gates)
    net.item_out[3] *= -1
    assert net.scores(state)[0, 3] != scores[0, 3]


@pytest.mark.parametrize("cell", CELLS)
def test_without_memory_only_the_last_event_tells(cell: CellName) -> None:
    """Two histories that end alike end in one state; with memory they do not."""
    inputs = inputs_of(2, 5)
    alike = Inputs(*(torch.cat((column[:, :4], column[:1, 4:].expand(2, 1)), 1) for column in inputs))
    last = network_of(cell, memoryless=True).unroll(alike)[:, -1]
    torch.testing.assert_close(last[0], last[1], atol=1e-6, rtol=0)
    last = network_of(cell).unroll(alike)[:, -1]
    assert (last[0] - last[1]).abs().max() > 1e-3


@pytest.mark.parametrize("column", range(5))
def test_every_input_matters(column: int) -> None:
    """Changing any one of item, category, behaviour, gap and time changes the state."""
    net = network_of("gru")
    base = Inputs(*(torch.tensor([value]) for value in (1, 1, 1, 5_000, 10**9)))
    changed = list(base)
    changed[column] = torch.tensor([(2, 2, 2, 50_000, 10**9 + 7 * 3_600_000)[column]])
    before, after = net.advance(net.initial(1), base), net.advance(net.initial(1), Inputs(*changed))
    assert (before - after).abs().max() > 1e-3


def test_item_dropout_shows_the_unknown_item_only_while_training() -> None:
    """With nearly all items dropped, training forgets which item it was; serving does not."""
    config = NetworkConfig(units=4, input_dropout=0, item_dropout=0.999999)
    net = Network(config, torch.tensor([0, 0, 0]), n_categories=1)
    one, two = (Inputs(torch.tensor([row]), *(torch.zeros(1, dtype=torch.long),) * 4) for row in (1, 2))
    assert torch.equal(net.train().gates(one), net.gates(two))
    assert not torch.equal(net.eval().gates(one), net.gates(two))


def test_an_item_compared_by_its_category_alone_has_the_unknown_items_bias() -> None:
    """With nearly all identities dropped, items of one category meet the state alike; others do not."""
    config = NetworkConfig(units=4, item_dropout=0.999999)
    net = Network(config, torch.tensor([0, 1, 1, 2, 0]), n_categories=3)
    nn.init.normal_(net.bias)
    vectors, bias = net.train().compared(torch.tensor([1, 2, 3, 4]))
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])
    assert bias[:3].tolist() == [net.bias[0].item()] * 3
    # An item without a category has nothing else to be met by.
    torch.testing.assert_close(vectors[3], net.item[4] / net.item[4].norm())
    assert bias[3] == net.bias[4]
    serving, _ = net.eval().compared(torch.tensor([1, 2]))
    assert not torch.equal(serving[0], serving[1])


def test_impossible_shapes_are_refused() -> None:
    """A config no network can be built from says which field and what is allowed."""
    with pytest.raises(ValueError, match="cell is 'cnn'; it must be one of rnn, lstm, gru"):
        NetworkConfig(cell="cnn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"scale is -1\.0"):
        NetworkConfig(scale=-1.0)
    with pytest.raises(ValueError, match="units is 0"):
        NetworkConfig(units=0)
    with pytest.raises(ValueError, match=r"input_dropout is 1\.0"):
        NetworkConfig(input_dropout=1.0)
