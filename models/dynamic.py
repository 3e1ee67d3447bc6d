"""Dynamic collaborative filtering joined with a CNN and an MLP: the comparator of Deng et al.

Deng Cunbin, Yu Huiqun, Fan Guisheng, "Integrating dynamic collaborative filtering and deep learning
for recommendation", Computer Science 46(8), 2019; reference 7 of the paper. Their rating is that of
timeSVD++ (Koren 2009): biases and the user's factors change with time, and the factors of user and
film take in what a CNN and an MLP read of their attributes. Here, for the next event at time t,

    score(u, i, t) = b_i + b_i,bin(t) + (q_i + c_i) (p_u(t) + W [CNN, MLP])
    p_u(t) = |N|^-1/2 sum over j in N of (1 + (t - t_j) / 1 min)^-theta (q_j + c_j)

with N the user's newest events, c the vector of an item's category, and theta learnt for each factor,
so that some fade within minutes and others hardly. What was changed or left out: t is the time of the
newest event before; p_u is SVD++'s sum over the user's own items, without a vector of each user, since
users are met as they come, and with the items' own q, not a second vector of each (see DynamicConfig);
a user's bias would change no order; the CNN reads the newest events, there being no titles of films,
and the MLP what was last done and when; the loss is the softmax of what came next, in place of a
rating's squared error.

Axes: M examples, R events of each at most, V events of all together, H factors, N items, D bins of time.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.behavior import Behavior
from models.features import N_GAPS, N_HOURS, N_WEEKDAYS, gap_bucket, hour_bucket, weekday_bucket
from models.vocabulary import UNKNOWN_ROW

MINUTE_MS = 60_000.0
WIDTHS = (2, 3)  # events that a filter of the CNN spans


@dataclass(frozen=True)
class DynamicConfig:
    """``units`` is H, ``bins`` D, ``history`` R, of which the CNN reads the newest ``near``.

    On the newest tenth of rsc15_100k's training sessions, R@20/MRR@20 after six epochs were .651/.323
    with one vector of an item for what was had and what is wanted, .593/.290 with two as in SVD++, and
    .610/.291 with dropouts of .4 and .5.
    """

    units: int = 64
    bins: int = 20
    history: int = 20
    near: int = 5
    event_dropout: float = 0.2
    dropout: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        if self.units < 1 or self.bins < 1:
            raise ValueError(f"units and bins are {self.units} and {self.bins}; both must be at least 1")
        if not max(WIDTHS) <= self.near <= self.history:
            raise ValueError(
                f"near is {self.near}; it must be at least {max(WIDTHS)}, which a filter spans, and at most "
                f"history, {self.history}"
            )
        for name in ("dropout", "event_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")


class Clock(NamedTuple):
    """The time that the bins divide evenly; later falls into the last bin, earlier into the first."""

    first_ms: int
    last_ms: int
    bins: int

    def bin(self, time_ms: Tensor) -> Tensor:
        """The bin of each time."""
        width_ms = max(1, -(-(self.last_ms + 1 - self.first_ms) // self.bins))
        return torch.div(time_ms - self.first_ms, width_ms, rounding_mode="floor").clamp(0, self.bins - 1)


class Seen(NamedTuple):
    """The newest events (M, R) of each example, newest first, where ``there``; int64 but for that."""

    item: Tensor
    category: Tensor
    behavior: Tensor
    time_ms: Tensor
    there: Tensor


class DynamicNetwork(nn.Module):
    """The model for a catalogue whose ``item_category`` (N,) names category rows."""

    item_category: Tensor

    def __init__(
        self, config: DynamicConfig, item_category: Tensor, *, n_categories: int, clock: Clock
    ) -> None:
        super().__init__()
        self.config, self.clock = config, clock
        units, n_items = config.units, len(item_category)
        self.register_buffer("item_category", item_category.long(), persistent=False)
        scale = 1 / math.sqrt(units)
        self.item = nn.Parameter(torch.empty(n_items, units).uniform_(-scale, scale))  # q
        self.category = nn.Parameter(torch.empty(n_categories, units).uniform_(-scale, scale))  # c
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.bias_of_bin = nn.Parameter(torch.zeros(n_items, config.bins))
        self.fading = nn.Parameter(torch.linspace(-3, 3, units))  # softplus gives theta
        self.filters = nn.ModuleList(nn.Conv1d(units, units, width) for width in WIDTHS)
        read = sum(config.near - width + 1 for width in WIDTHS) * units
        self.events = nn.Linear(read, units)
        sizes = (len(Behavior), N_GAPS, N_HOURS, N_WEEKDAYS)
        self.moments = nn.ModuleList(nn.Embedding(size, units) for size in sizes)
        self.moment = nn.Sequential(nn.Linear(len(sizes) * units, units), nn.ReLU(), nn.Linear(units, units))
        self.join = nn.Linear(2 * units, units)
        with torch.no_grad():
            for table in (self.item, self.category):
                table[UNKNOWN_ROW] = 0

    def forward(self, seen: Seen) -> Tensor:
        """(M, H + D) the user's side: factors, then a 1 at the bin of the newest event."""
        line, place = seen.there.nonzero(as_tuple=True)  # (V,) the events that there are
        vectors = functional.embedding(seen.item[line, place], self.item) + functional.embedding(
            seen.category[line, place], self.category
        )
        # Whole events are left out while it learns: one number an event is drawn, not one a factor.
        shown = functional.dropout(seen.there.to(vectors.dtype), self.config.event_dropout, self.training)
        vectors = vectors * shown[line, place, None]  # (V, H)
        read = torch.cat((self._convolved(vectors, line, place, len(shown)), self._moment(seen)), 1)
        factors = self.factors(vectors, line, place, seen) + self.join(read)
        factors = functional.dropout(factors, self.config.dropout, self.training)
        now = functional.one_hot(self.clock.bin(seen.time_ms[:, 0]), self.clock.bins)
        return torch.cat((factors, now.to(factors.dtype)), 1)

    def factors(self, vectors: Tensor, line: Tensor, place: Tensor, seen: Seen) -> Tensor:
        """(M, H) p_u(t) of the formula; ``vectors`` (V, H) are those of the events at (line, place)."""
        passed = seen.time_ms[line, 0] - seen.time_ms[line, place]  # (V,) ms
        slower = torch.log1p(passed / MINUTE_MS)[:, None]
        faded = torch.exp(-functional.softplus(self.fading) * slower)  # (V, H)
        number = seen.there.sum(1, keepdim=True).clamp(min=1)
        total = vectors.new_zeros(len(number), vectors.shape[1]).index_add(0, line, vectors * faded)
        return total / number.sqrt()

    def items(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, H + D) the items' side, factors and the biases of the bins, and (n,) the lasting biases."""
        if rows is None:
            vectors = self.item + self.category[self.item_category]
            return torch.cat((vectors, self.bias_of_bin), 1), self.bias
        vectors = functional.embedding(rows, self.item) + functional.embedding(
            self.item_category[rows], self.category
        )
        return torch.cat((vectors, functional.embedding(rows, self.bias_of_bin)), 1), self.bias[rows]

    def scores(self, seen: Seen) -> Tensor:
        """(M, N) the formula's scores; the unknown item's is -inf."""
        vectors, bias = self.items()
        scores = functional.linear(self(seen), vectors, bias)
        scores[:, UNKNOWN_ROW] = -math.inf
        return scores

    def _convolved(self, vectors: Tensor, line: Tensor, place: Tensor, count: int) -> Tensor:
        """(M, H) what the CNN reads of the newest events, zeros where there is none."""
        near = self.config.near
        new = place < near
        newest = vectors.new_zeros(count * near, vectors.shape[1])
        newest = newest.index_copy(0, line[new] * near + place[new], vectors[new])
        newest = newest.view(count, near, vectors.shape[1]).transpose(1, 2)  # (M, H, near)
        found = [torch.relu(convolve(newest)).flatten(1) for convolve in self.filters]
        return self.events(torch.cat(found, 1))  # type: ignore[no-any-return]  # nn.Module's call is untyped

    def _moment(self, seen: Seen) -> Tensor:
        """(M, H) what the MLP reads of the newest event: what was done, how long after the last one, when."""
        time_ms = seen.time_ms[:, 0]
        gap_ms = (time_ms - seen.time_ms[:, 1]) * seen.there[:, 1]
        rows = (seen.behavior[:, 0], gap_bucket(gap_ms), hour_bucket(time_ms), weekday_bucket(time_ms))
        read = [table(row) for table, row in zip(self.moments, rows, strict=True)]
        return self.moment(torch.cat(read, 1))  # type: ignore[no-any-return]  # nn.Module's call is untyped
