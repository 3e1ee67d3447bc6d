"""The sampled cross-entropy in few passes over its scores, its gradients written out.

The scores of 512 targets and 1,024 negatives are half a million numbers, and passing over them costs
as much as a product. `losses.sampled_cross_entropy_plain` is the plain form: a dozen passes where here
there are three, the products aside, which takes three fifths of the time.

Axes: M targets, K negatives, H units.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

IMPOSSIBLE = -1e9  # a score that gets no probability; an infinity would make gradients NaN
_LEAST = 1e-38  # a probability whose logarithm is still a number


class SampledSoftmax(Function):
    """The mean of -log of each target's share beside the negatives."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes them by place
        ctx: Any, hidden: Tensor, vectors: Tensor, bias: Tensor, target: Tensor, negative: Tensor
    ) -> Tensor:
        """() the loss of ``hidden`` (M, H); ``vectors`` (M + K, H) and ``bias`` of targets, then negatives.

        ``target`` (M,) and ``negative`` (K,) are their rows: a negative that is the target is left out.
        """
        n_targets, n_negatives = len(target), len(negative)
        shares = hidden.new_empty(n_targets, 1 + n_negatives)
        shares[:, 0] = (hidden * vectors[:n_targets]).sum(1) + bias[:n_targets]
        torch.addmm(bias[n_targets:], hidden, vectors[n_targets:].t(), out=shares[:, 1:])
        line, column = same(target, negative)
        shares[line, 1 + column] = IMPOSSIBLE
        torch.softmax(shares, 1, out=shares)
        ctx.save_for_backward(hidden, vectors, shares)
        return -shares[:, 0].clamp_min(_LEAST).log().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients of states, vectors and biases."""
        hidden, vectors, shares = ctx.saved_tensors
        n_targets = len(hidden)
        scale = grad / n_targets
        right, wrong = (shares[:, :1] - 1) * scale, shares[:, 1:]
        of_hidden = torch.addcmul(wrong @ (vectors[n_targets:] * scale), right, vectors[:n_targets])
        of_vectors = torch.empty_like(vectors)
        torch.mul(hidden, right, out=of_vectors[:n_targets])
        # This way round, as (H, K), the product takes four fifths of the time of (K, H).
        of_vectors[n_targets:] = ((hidden * scale).t() @ wrong).t()
        of_bias = torch.cat((right[:, 0], wrong.sum(0) * scale))
        return of_hidden, of_vectors, of_bias, None, None


def same(target: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Where target i is negative j: all such i, and their j."""
    ordered, place = negative.sort()
    first = torch.searchsorted(ordered, target)
    count = torch.searchsorted(ordered, target, right=True) - first
    line = torch.repeat_interleave(count)
    within = torch.arange(len(line)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    return line, place[first[line] + within]
