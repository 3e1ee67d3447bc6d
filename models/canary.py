"""A challenger served to a share of the users: who they are, and when enough was seen to decide.

The decision is looked at again and again, so the test has to be valid under continuous looking. It
is one by betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"; the capital is an average over a grid of bets). Users come in pairs, one of each role, and
the difference d of their mean reciprocal ranks lies between -1 and 1. Who bets the share b of a
capital of 1 that the challenger is better has prod(1 + b d) after some pairs; where the challenger is
no better, that ever exceeds 1 / level with probability ``level`` at most (Ville 1939), whenever one
looks. Another bets that it is worse.

A user counts once, by the first few events that met a list: who was put into which role stays as it
is, so that later events of the same users would tell of the draw and not of the weights. Both of a
pair are of one partition: so the pairs are the same in whatever order partitions are read, and the
capital after all of them is a product.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from models.canary_config import CanaryConfig

Role = Literal["champion", "challenger"]
Decision = Literal["go on", "promote", "roll back"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

# The bets; 1 would be ruined by one pair that goes the other way.
BETS = np.geomspace(0.01, 0.75, 12)

CONTROLS: Final = 2
"""So many of the champion's users are looked at for each of the challenger's; the rest would only wait."""


def draw(user_id: str, config: CanaryConfig) -> int:
    """Return a user's lot, 64 bits: always the same for the same salt, in every process."""
    digest = blake2b(user_id.encode(), digest_size=8, key=config.salt.encode()[:64]).digest()
    return int.from_bytes(digest, "little")


def role_of(user_id: str, config: CanaryConfig) -> Role:
    """Whose lists a user gets."""
    return "challenger" if draw(user_id, config) < config.share * 2**64 else "champion"


class Capital:
    """What a bettor has who began with 1 and bets that the mean of what is observed is above 0."""

    def __init__(self, logs: Iterable[float] | None = None) -> None:
        """Spread 1 over the bets, or go on from what ``logs`` told."""
        begun = np.full(len(BETS), -np.log(len(BETS)))
        self._logs: NDArray[np.float64] = begun if logs is None else np.array(list(logs), np.float64)

    def observe(self, difference: float) -> None:
        """Win or lose by a difference between -1 and 1."""
        self._logs += np.log1p(BETS * difference)

    @property
    def log(self) -> float:
        """The natural logarithm of all of it."""
        return float(np.logaddexp.reduce(self._logs))

    @property
    def logs(self) -> list[float]:
        """The same of each bet's part."""
        return [float(part) for part in self._logs]


class Worth(NamedTuple):
    """What a role's lists were worth so far: how many events met one, the MRR, how often it held the item."""

    events: int = 0
    mrr: float = 0.0
    hit_rate: float = 0.0

    def with_event(self, reciprocal_rank: float) -> "Worth":
        """Return the same with one more event."""
        events = self.events + 1
        return Worth(
            events,
            self.mrr + (reciprocal_rank - self.mrr) / events,
            self.hit_rate + ((reciprocal_rank > 0) - self.hit_rate) / events,
        )


class Canary:
    """One challenger's trial; told of each event that met a list, it says what to do when asked.

    Users are known to it by their lots alone.
    """

    def __init__(self, config: CanaryConfig) -> None:
        """Begin with nothing observed."""
        self.config = config
        self.decision: Decision = "go on"
        self.pairs = 0
        self.worth: dict[Role, Worth] = dict.fromkeys(ROLES, Worth())
        self._better, self._worse = Capital(), Capital()
        #: The reciprocal ranks of users who have not counted yet, by lot; None for those who have.
        self._of_user: dict[int, list[float] | None] = {}
        #: What users of each role are worth who have no partner yet, by partition.
        self._waiting: dict[tuple[int, Role], deque[float]] = {}

    def wants(self, user_id: str) -> bool:
        """Whether another event of the user would be looked at."""
        lot = draw(user_id, self.config)
        return self._role(lot) is not None and self._of_user.get(lot, ()) is not None

    def observe(self, user_id: str, reciprocal_rank: float, *, partition: int = 0) -> None:
        """Take in what the list before an event of the user, who is of ``partition``, was worth.

        The champion has more users than are needed. They wait for a partner, and the oldest are let go,
        so that both of a pair are of about the same time.
        """
        lot = draw(user_id, self.config)
        role = self._role(lot)
        seen = self._of_user.setdefault(lot, []) if role is not None else None
        if role is None or seen is None:
            return
        self.worth[role] = self.worth[role].with_event(reciprocal_rank)
        seen.append(reciprocal_rank)
        if len(seen) == self.config.events:
            self._of_user[lot] = None
            self._waiting_in(partition, role).append(sum(seen) / len(seen))
            self._pair(partition)

    def decide(self) -> Decision:
        """Look at what was observed so far; a decision, once made, stands."""
        if self.decision == "go on":
            if self._better.log >= -np.log(self.config.level):
                self.decision = "promote"
            elif self.worse or self.pairs >= self.config.most_pairs:
                self.decision = "roll back"
        return self.decision

    @property
    def worse(self) -> bool:
        """Whether the challenger is shown to be worse, and not only not better."""
        return bool(self._worse.log >= -np.log(self.config.alarm))

    def _role(self, lot: int) -> Role | None:
        """The role of a user who is looked at; None for the rest of the champion's."""
        place = lot / 2**64
        if place < self.config.share:
            return "challenger"
        return "champion" if place < (1 + CONTROLS) * self.config.share else None

    def _waiting_in(self, partition: int, role: Role) -> deque[float]:
        return self._waiting.setdefault((partition, role), deque())

    def _pair(self, partition: int) -> None:
        """Let a pair bet, if there is one: the newest of the champion's users, whom others waited behind."""
        champions, challengers = (self._waiting_in(partition, role) for role in ROLES)
        if not (champions and challengers):
            return
        difference = challengers.popleft() - champions.pop()
        champions.clear()
        self.pairs += 1
        self._better.observe(difference)
        self._worse.observe(-difference)

    def as_mapping(self) -> dict[str, Any]:
        """What was observed, in a form that JSON can hold; without the config and the decision."""
        return {
            "pairs": self.pairs,
            "better": self._better.logs,
            "worse": self._worse.logs,
            "worth": {role: list(worth) for role, worth in self.worth.items()},
            "users": [[lot, seen] for lot, seen in self._of_user.items()],
            "waiting": [[*place, list(values)] for place, values in sorted(self._waiting.items()) if values],
        }

    @classmethod
    def of(cls, config: CanaryConfig, said: Mapping[str, Any]) -> Self:
        """Go on from what ``as_mapping`` told. Raises KeyError, TypeError or ValueError for anything else."""
        canary = cls(config)
        canary.pairs = int(said["pairs"])
        canary._better, canary._worse = Capital(said["better"]), Capital(said["worse"])
        canary.worth = {role: Worth(*said["worth"][role]) for role in ROLES}
        canary._of_user = {int(lot): seen for lot, seen in said["users"]}
        canary._waiting = {(partition, role): deque(values) for partition, role, values in said["waiting"]}
        return canary
