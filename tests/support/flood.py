"""Floods of events from a seed: many users or one, spread over a time that ends now."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.support.deployment import Sent, event, partition_of

#: Of a hundred events: 88 clicks, 5 favourites, 5 carts, 2 purchases.
BEHAVIORS = (0,) * 88 + (1,) * 5 + (2,) * 5 + (3,) * 2
CLICKS = (0,)
#: Both halves of the rule on robots off: every event of a flood is taken in.
NO_ROBOTS = {"suspicious_clicks_per_day": 0, "suspicious_burst_clicks": 0}


@dataclass(frozen=True)
class Flood:
    """``events`` events of ``users`` users on ``items``, evenly over ``span_ms`` up to ``until_ms``.

    Each is produced at its event time, and no two of them at the same time. What a running worker
    is sent must be of one of the ``behaviors``: several topics have no order but that of arrival.
    """

    events: int
    users: int
    items: Sequence[str]
    span_ms: int
    until_ms: int
    partitions: int
    seed: int = 1
    behaviors: Sequence[int] = BEHAVIORS

    def records(self, topics: Sequence[str]) -> Iterator[Sent]:
        """Give the records in the order of their times; the topics are those of the behaviours."""
        drawn = random.Random(self.seed)
        places = {}
        for number in range(self.events):
            user = f"u{drawn.randrange(self.users)}"
            item, behavior = drawn.choice(self.items), drawn.choice(self.behaviors)
            time_ms = self.until_ms - self.span_ms + (number + 1) * self.span_ms // self.events
            key = user.encode()
            if key not in places:
                places[key] = partition_of(key, self.partitions)
            yield Sent(topics[behavior], key, event(user, item, time_ms), places[key], timestamp_ms=time_ms)


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
