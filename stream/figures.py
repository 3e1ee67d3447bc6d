"""What the demo has seen so far, and what lists were worth under each version of the weights."""

import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from stream.messages import RecommendationList

SHOWN_LISTS = 6


@dataclass
class Worth:
    """What lists were worth while one version of the weights was in force.

    Counted over the events whose user had a list of this version before, beside what one list of
    popular items would have been worth to them.
    """

    version: str
    measured: int = 0
    hits: int = 0
    reciprocal_rank: float = 0.0
    popular_hits: int = 0
    popular_reciprocal_rank: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the measured events whose item stood in the list sent before."""
        return self.hits / self.measured if self.measured else 0.0

    @property
    def mrr(self) -> float:
        """Mean of one over the item's place in that list; 0 where it did not stand there."""
        return self.reciprocal_rank / self.measured if self.measured else 0.0

    @property
    def popular_hit_rate(self) -> float:
        """The hit rate of the list of the most popular items, over the same events."""
        return self.popular_hits / self.measured if self.measured else 0.0


@dataclass
class Figures:
    """What the demo has seen so far; ``worth`` has a part for each version of the weights, in order.

    ``first_list_s`` is how old the process was when the first list was read; None before.
    """

    fed: int = 0
    due: int = 0
    lists: int = 0
    personalized: int = 0
    worth: list[Worth] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=200_000))
    newest: deque[RecommendationList] = field(default_factory=lambda: deque(maxlen=SHOWN_LISTS))
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    first_list_s: float | None = None

    def worth_of(self, version: str) -> Worth:
        """The part that what comes now counts in, under the weights in force."""
        if not self.worth or self.worth[-1].version != version:
            self.worth.append(Worth(version))
        return self.worth[-1]

    @property
    def duration_s(self) -> float:
        """Seconds since the first event was fed."""
        return (self.ended_s or time.monotonic()) - self.began_s

    @property
    def in_all(self) -> Worth:
        """What all lists were worth."""
        whole = Worth("")
        for part in self.worth:
            whole.measured += part.measured
            whole.hits += part.hits
            whole.reciprocal_rank += part.reciprocal_rank
            whole.popular_hits += part.popular_hits
            whole.popular_reciprocal_rank += part.popular_reciprocal_rank
        return whole

    @property
    def served_share(self) -> float:
        """Lists read over lists due."""
        return self.lists / self.due if self.due else 0.0

    def latency_s(self, quantile: float) -> float:
        """A quantile of the time from an event's production to its list's acknowledgement."""
        return float(np.quantile(np.array(self.latencies_s), quantile)) if self.latencies_s else 0.0
