"""Losses against the same arithmetic done plainly."""

import math
from collections.abc import Callable

import pytest
import torch

from models.losses import (
    Sampler,
    bpr_max,
    full_cross_entropy,
    sampled_cross_entropy,
    sampled_cross_entropy_plain,
    top1_max,
)


def setup(n_targets: int = 3, n_items: int = 6, units: int = 4) -> tuple[torch.Tensor, ...]:
    """States (M, H), vectors (N, H), biases (N,) and targets (M,), drawn with a seed."""
    torch.manual_seed(5)
    return (
        torch.randn(n_targets, units),
        torch.randn(n_items, units),
        torch.randn(n_items),
        torch.randint(1, n_items, (n_targets,)),
    )


def test_full_cross_entropy_is_the_softmax_over_all_known_items() -> None:
    """Minus the logarithm of the target's share, the unknown item left out, worked out one by one."""
    hidden, vectors, bias, target = setup()
    by_hand = []
    for row in range(3):
        scores = [math.exp(hidden[row] @ vectors[item] + bias[item]) for item in range(1, 6)]
        by_hand.append(-math.log(scores[int(target[row]) - 1] / sum(scores)))
    assert full_cross_entropy(hidden, vectors, bias, target).item() == pytest.approx(
        sum(by_hand) / 3, abs=1e-5
    )


def test_sampled_cross_entropy_estimates_the_full_one() -> None:
    """With many negatives from an uneven distribution the corrected loss comes near the full loss."""
    hidden, vectors, bias, target = setup()
    sampler = Sampler.of_counts(torch.tensor([9, 1, 8, 1, 20, 3]), 1.0)
    negative = sampler.draw(200_000)
    compared = torch.cat((target, negative))
    sampled = sampled_cross_entropy(
        hidden, vectors[compared], bias[compared], target, negative, log_q=sampler.log_q
    )
    # The target takes part once as itself and never as a negative: exactly the full softmax in the limit.
    assert sampled.item() == pytest.approx(full_cross_entropy(hidden, vectors, bias, target).item(), abs=0.02)


def test_a_negative_that_is_the_target_takes_no_part() -> None:
    """With nothing but the target drawn there is nothing to be mistaken for."""
    hidden, vectors, bias, target = setup(n_targets=1)
    negative = target.repeat(4)
    compared = torch.cat((target, negative))
    log_q = torch.zeros(6)
    loss = sampled_cross_entropy(hidden, vectors[compared], bias[compared], target, negative, log_q=log_q)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_sampled_cross_entropy_and_its_gradients_are_those_of_the_plain_form() -> None:
    """With negatives drawn several times, some of which are a target, and one target that stands twice."""
    torch.manual_seed(6)
    target, negative = torch.tensor([3, 1, 3, 7]), torch.tensor([2, 3, 3, 5, 7, 1, 0, 2])
    log_q = torch.randn(8)
    inputs = (torch.randn(4, 5), torch.randn(12, 5), torch.randn(12))

    def found(loss: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, ...]:
        given = [tensor.double().requires_grad_() for tensor in inputs]
        value = loss(*given, target, negative, log_q=log_q.double())
        return value, *torch.autograd.grad(3 * value, given)

    for fast, plain in zip(found(sampled_cross_entropy), found(sampled_cross_entropy_plain), strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-12, rtol=0)


def test_bpr_max_weighs_pairs_by_the_softmax_of_the_negatives() -> None:
    """The formula of the paper for one target and two negatives, term by term."""
    hidden, vectors, bias, _ = setup(n_targets=1)
    target, negative = torch.tensor([1]), torch.tensor([2, 3])
    compared = torch.cat((target, negative))
    right, *wrong = (float(hidden[0] @ vectors[item] + bias[item]) for item in (1, 2, 3))
    total = sum(math.exp(score) for score in wrong)
    weights = [math.exp(score) / total for score in wrong]
    ahead = sum(w / (1 + math.exp(score - right)) for w, score in zip(weights, wrong, strict=True))
    penalty = 0.5 * sum(w * score**2 for w, score in zip(weights, wrong, strict=True))
    loss = bpr_max(hidden, vectors[compared], bias[compared], target, negative, regularization=0.5)
    assert loss.item() == pytest.approx(-math.log(ahead) + penalty, abs=1e-5)


def test_top1_max_weighs_the_pairs_and_the_squares_by_the_softmax_of_the_negatives() -> None:
    """The formula of the paper for one target and two negatives, term by term."""
    hidden, vectors, bias, _ = setup(n_targets=1)
    target, negative = torch.tensor([1]), torch.tensor([2, 3])
    compared = torch.cat((target, negative))
    right, *wrong = (float(hidden[0] @ vectors[item] + bias[item]) for item in (1, 2, 3))
    total = sum(math.exp(score) for score in wrong)
    by_hand = sum(
        math.exp(score) / total * (1 / (1 + math.exp(right - score)) + 1 / (1 + math.exp(-(score**2))))
        for score in wrong
    )
    loss = top1_max(hidden, vectors[compared], bias[compared], target, negative)
    assert loss.item() == pytest.approx(by_hand, abs=1e-5)


def test_smoothing_mixes_the_loss_with_that_of_any_item() -> None:
    """The full loss with a share e is (1 - e) of the target's and e of the mean over all known items."""
    hidden, vectors, bias, target = setup()
    plain = full_cross_entropy(hidden, vectors, bias, target).item()
    anything = [full_cross_entropy(hidden, vectors, bias, torch.full((3,), item)) for item in range(1, 6)]
    smoothed = full_cross_entropy(hidden, vectors, bias, target, smoothing=0.2).item()
    assert smoothed == pytest.approx(0.8 * plain + 0.2 * float(sum(anything)) / 5, abs=1e-5)


def test_smoothing_a_sampled_loss_wants_something_of_each_negative() -> None:
    """One target and two negatives, drawn evenly: the logarithm of the sum less what is to be reached."""
    hidden, vectors, bias, _ = setup(n_targets=1)
    target, negative = torch.tensor([1]), torch.tensor([2, 3])
    compared = torch.cat((target, negative))
    right, *wrong = (float(hidden[0] @ vectors[item] + bias[item]) for item in (1, 2, 3))
    # Each of the 6 rows is drawn with probability 1/6, so 2 draws expect 2/6 of a row.
    total = math.exp(right) + sum(math.exp(score) / (2 / 6) for score in wrong)
    log_q = torch.full((6,), math.log(1 / 6))
    loss = sampled_cross_entropy(
        hidden, vectors[compared], bias[compared], target, negative, log_q=log_q, smoothing=0.3
    )
    by_hand = math.log(total) - 0.7 * right - 0.3 * sum(wrong) / 2
    assert loss.item() == pytest.approx(by_hand, abs=1e-5)


def test_the_sampler_draws_by_popularity_and_never_the_unknown() -> None:
    """Frequencies follow counts to the power given; rows without a count and row 0 never come."""
    torch.manual_seed(7)
    sampler = Sampler.of_counts(torch.tensor([100, 1, 0, 16, 4]), 0.5)
    share = torch.bincount(sampler.draw(70_000), minlength=5) / 70_000
    assert share[[0, 2]].tolist() == [0, 0]
    assert share[[1, 3, 4]].tolist() == pytest.approx([1 / 7, 4 / 7, 2 / 7], abs=0.01)
    assert sampler.log_q[3].item() == pytest.approx(math.log(4 / 7), abs=1e-6)
