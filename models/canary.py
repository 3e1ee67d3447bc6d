"""A challenger served to a share of the users: who they are, and when enough was seen to decide.

The decision is looked at after every event, so the test has to be valid under continuous looking. It
is one by betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"; the capital is an average over a grid of bets). Users come in pairs, one of each role, and
the difference d of their mean reciprocal ranks lies between -1 and 1. Who bets the share b of a
capital of 1 that the challenger is better has prod(1 + b d) after some pairs; where the challenger is
no better, that ever exceeds 1 / level with probability ``level`` at most (Ville 1939), whenever one
looks. Another bets that it is worse.

A user counts once, by the first few events that met a list: who was put into which role stays as it
is, so that later events of the same users would tell of the draw and not of the weights.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["champion", "challenger"]
Decision = Literal["go on", "promote", "roll back"]

# The bets; 1 would be ruined by one pair that goes the other way.
BETS = np.geomspace(0.01, 0.75, 12)


@dataclass(frozen=True)
class CanaryConfig:
    """How many users meet the challenger, and how sure a decision is.

    ``share`` of the users are served by it, chosen by a hash of their ids with ``salt``, another for
    each challenger. ``level`` is the most that an equal challenger is promoted with, ``alarm`` the most
    that an equal one is rolled back with as worse. A user counts by the first ``events`` that met a
    list. After ``most_pairs`` without a decision the challenger is rolled back: it is not better by
    as much as could be seen.
    """

    salt: str
    share: float = 0.1
    level: float = 0.05
    alarm: float = 0.05
    events: int = 5
    most_pairs: int = 20_000

    def __post_init__(self) -> None:
        """Refuse a canary that could decide nothing."""
        for name in ("share", "level", "alarm"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("events", "most_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def role_of(user_id: str, config: CanaryConfig) -> Role:
    """Whose lists a user gets: always the same for the same salt, in every process."""
    digest = blake2b(user_id.encode(), digest_size=8, key=config.salt.encode()[:64]).digest()
    return "challenger" if int.from_bytes(digest, "little") < config.share * 2**64 else "champion"


class Capital:
    """What a bettor has who began with 1 and bets that the mean of what is observed is above 0."""

    def __init__(self) -> None:
        """Spread 1 over the bets."""
        self._logs: NDArray[np.float64] = np.full(len(BETS), -np.log(len(BETS)))

    def observe(self, difference: float) -> None:
        """Win or lose by a difference between -1 and 1."""
        self._logs += np.log1p(BETS * difference)

    @property
    def log(self) -> float:
        """The natural logarithm of all of it."""
        return float(np.logaddexp.reduce(self._logs))


@dataclass
class Canary:
    """One challenger's trial; told of each event that met a list, it says what to do."""

    config: CanaryConfig
    decision: Decision = "go on"
    pairs: int = 0
    _better: Capital = field(default_factory=Capital)
    _worse: Capital = field(default_factory=Capital)
    #: The reciprocal ranks of users who have not counted yet; None for those who have.
    _of_user: dict[str, list[float] | None] = field(default_factory=dict)
    _waiting: Mapping[Role, deque[float]] = field(
        default_factory=lambda: {"champion": deque(), "challenger": deque()}
    )

    def observe(self, user_id: str, reciprocal_rank: float) -> Decision:
        """Take in what the list before an event of the user was worth; a decision, once made, stands.

        The champion has more users than are needed. They wait for a partner, and the oldest are let go,
        so that both of a pair are of about the same time.
        """
        seen = self._of_user.setdefault(user_id, [])
        if self.decision != "go on" or seen is None:
            return self.decision
        seen.append(reciprocal_rank)
        if len(seen) == self.config.events:
            self._of_user[user_id] = None
            self._waiting[role_of(user_id, self.config)].append(sum(seen) / len(seen))
            self._pair()
        return self.decision

    def _pair(self) -> None:
        """Let a pair bet, if there is one: the newest of the champion's users, whom others waited behind."""
        champions, challengers = self._waiting["champion"], self._waiting["challenger"]
        if not (champions and challengers):
            return
        difference = challengers.popleft() - champions.pop()
        champions.clear()
        self.pairs += 1
        self._better.observe(difference)
        self._worse.observe(-difference)
        self._decide()

    def _decide(self) -> None:
        """Promote or roll back where a bettor has won enough, or nothing is to be seen."""
        if self._better.log >= -np.log(self.config.level):
            self.decision = "promote"
        elif self._worse.log >= -np.log(self.config.alarm) or self.pairs >= self.config.most_pairs:
            self.decision = "roll back"
