"""Dropout leaves out the share it is told, and keeps the mean."""

import pytest
import torch

from models.dropout import dropped


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_the_share_is_left_out_and_the_rest_is_scaled(share: float) -> None:
    """Of 100,001 ones, within five standard deviations; every number is 0 or 1 / (1 - share)."""
    torch.manual_seed(1)
    count = 100_001
    found = dropped(torch.ones(count), share)
    left_out = (found == 0).double().mean().item()
    assert left_out == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)
    torch.testing.assert_close(
        found[found > 0], torch.full(((found > 0).sum(),), 1 / (1 - share)), rtol=1e-4, atol=0
    )


def test_every_place_of_the_drawn_bits_is_as_likely() -> None:
    """Four numbers are drawn at once; none of the four places is favoured."""
    torch.manual_seed(1)
    found = dropped(torch.ones(50_000, 4), 0.5) == 0
    assert found.double().mean(0).tolist() == pytest.approx([0.5] * 4, abs=0.012)


def test_gradients_pass_where_numbers_passed() -> None:
    """The gradient is that of the scaled numbers."""
    torch.manual_seed(1)
    values = torch.randn(7, 3, requires_grad=True)
    found = dropped(values, 0.5)
    found.sum().backward()
    torch.testing.assert_close(values.grad, torch.where(found == 0, 0.0, 2.0))


def test_nothing_is_left_out_while_serving() -> None:
    """The very values come back."""
    values = torch.randn(5)
    assert dropped(values, 0.5, training=False) is values
    assert dropped(values, 0.0) is values
