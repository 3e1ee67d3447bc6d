"""What training minimises: how far the next item's score is from where it should be.

Axes: M targets, H units, N items, K negatives. ``hidden`` (M, H) is what meets the items' vectors,
``vectors`` are those of the items compared, ``bias`` theirs. Every loss is a mean over the targets.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.sampled_softmax import IMPOSSIBLE, SampledSoftmax
from models.vocabulary import UNKNOWN_ROW


def full_cross_entropy(
    hidden: Tensor, vectors: Tensor, bias: Tensor, target: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of the softmax over all N items; ``vectors`` (N, H), ``bias`` (N,), ``target`` (M,) rows.

    The unknown item takes no part. With ``smoothing`` that share of the probability to be reached is
    spread over all items alike, the target among them (Szegedy et al. 2016).
    """
    first = UNKNOWN_ROW + 1
    scores = functional.linear(hidden, vectors[first:], bias[first:])  # (M, N - 1)
    return functional.cross_entropy(scores, target - first, label_smoothing=smoothing)


def sampled_cross_entropy(
    hidden: Tensor,
    vectors: Tensor,
    bias: Tensor,
    target: Tensor,
    negative: Tensor,
    *,
    log_q: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy over each target and K negatives that the whole batch shares.

    ``vectors`` (M + K, H) and ``bias`` (M + K,) are those of the targets, then of the negatives;
    ``target`` (M,) and ``negative`` (K,) are their rows, and ``log_q`` (N,) the logarithm of the
    probability with which a row is drawn. A negative's score is lowered by log(K q), the logarithm
    of how often it is expected among the K; so the loss estimates the full cross-entropy (Bengio and
    Senecal 2008) and does not punish what is popular. A negative that is the target itself is left out.
    With ``smoothing`` that share of the probability to be reached is spread over the negatives as they
    were drawn.
    """
    if smoothing:
        return sampled_cross_entropy_plain(
            hidden, vectors, bias, target, negative, log_q=log_q, smoothing=smoothing
        )
    expected = log_q[negative] + math.log(len(negative))
    corrected = torch.cat((bias[: len(target)], bias[len(target) :] - expected))
    loss: Tensor = SampledSoftmax.apply(hidden, vectors, corrected, target, negative)  # type: ignore[no-untyped-call]  # torch's
    return loss


def sampled_cross_entropy_plain(
    hidden: Tensor,
    vectors: Tensor,
    bias: Tensor,
    target: Tensor,
    negative: Tensor,
    *,
    log_q: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """What `sampled_cross_entropy` promises, operation by operation."""
    right, plain = _scores(hidden, vectors, bias, target)
    wrong = plain - (log_q[negative] + math.log(len(negative)))
    wrong = wrong.masked_fill(target[:, None] == negative, IMPOSSIBLE)
    reached = right if not smoothing else torch.lerp(right, plain.mean(1), smoothing)
    return (torch.logsumexp(torch.cat((right[:, None], wrong), 1), 1) - reached).mean()


def bpr_max(
    hidden: Tensor, vectors: Tensor, bias: Tensor, target: Tensor, negative: Tensor, *, regularization: float
) -> Tensor:
    """BPR-max of Hidasi and Karatzoglou 2018, equation 10: the pairwise loss weighted to the best negatives.

    Arguments as for ``sampled_cross_entropy``; ``regularization`` weighs the negatives' squared scores.
    """
    right, wrong = _scores(hidden, vectors, bias, target)
    weight = torch.softmax(wrong.masked_fill(target[:, None] == negative, IMPOSSIBLE), 1)  # (M, K)
    ahead = (weight * torch.sigmoid(right[:, None] - wrong)).sum(1)
    return (regularization * (weight * wrong.square()).sum(1) - torch.log(ahead + 1e-24)).mean()


def top1_max(hidden: Tensor, vectors: Tensor, bias: Tensor, target: Tensor, negative: Tensor) -> Tensor:
    """TOP1-max of Hidasi and Karatzoglou 2018, equation 9: TOP1 weighted to the best negatives.

    Arguments as for ``sampled_cross_entropy``. TOP1 of a negative is how likely it is ahead of the
    target, and its squared score, both through the logistic function.
    """
    right, wrong = _scores(hidden, vectors, bias, target)
    weight = torch.softmax(wrong.masked_fill(target[:, None] == negative, IMPOSSIBLE), 1)  # (M, K)
    lost = torch.sigmoid(wrong - right[:, None]) + torch.sigmoid(wrong.square())
    return (weight * lost).sum(1).mean()


def _scores(hidden: Tensor, vectors: Tensor, bias: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) the scores of the targets and (M, K) those of the negatives."""
    n_targets = len(target)
    right = (hidden * vectors[:n_targets]).sum(1) + bias[:n_targets]
    return right, functional.linear(hidden, vectors[n_targets:], bias[n_targets:])


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws item rows with probability proportional to popularity to some power.

    ``log_q`` (N,) is the logarithm of each row's probability, -inf where it is never drawn;
    ``cumulative`` (N,) float64 the running sum of the probabilities.
    """

    log_q: Tensor
    cumulative: Tensor

    @classmethod
    def of_counts(cls, counts: Tensor, power: float) -> "Sampler":
        """The sampler for items that occurred ``counts`` (N,) times; the unknown item is never drawn."""
        weight = torch.where(counts > 0, counts.double().pow(power), 0.0)
        weight[UNKNOWN_ROW] = 0.0
        probability = weight / weight.sum()
        return cls(probability.log().float(), probability.cumsum(0))

    def draw(self, n: int) -> Tensor:
        """(n,) rows, independently, from torch's generator."""
        place = torch.rand(n, dtype=torch.double) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, place, right=True).clamp_(max=len(self.cumulative) - 1)
