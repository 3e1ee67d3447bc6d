"""One partition of a worker without Kafka: the pure core with a dictionary for a store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from models.recommender import Recommender
from models.segment import SegmentRule
from stream.effects import Effects
from stream.lists import Lists, OnTrial
from stream.messages import RecommendationList, decode_list
from stream.rules import Rules
from stream.serving import Serving
from stream.state import UserState, decode_state
from stream.step import FORGET, Batch, process, release
from tests.support.recommenders import small_recommender

TOPICS = ("events.click", "events.favorite", "events.cart", "events.purchase", "users.forget")
CLICK, FAVORITE, CART, PURCHASE = range(4)
NUMBER = 3

#: A Wednesday afternoon; events of tests lie a little before it.
NOW_MS = 1_700_000_000_000
EARLIER_MS = NOW_MS - 600_000

SEGMENT = SegmentRule(span_ms=10_000, max_events=8)
RULES = Rules(segment=SEGMENT, list_size=5)
INTERVAL = replace(RULES, list_interval_ms=1_000)


class Sent(NamedTuple):
    """A record as the core sees it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


Sourced = tuple[int, Sent]


def event_value(user_id: str, item_id: str, time_ms: int, **fields: object) -> bytes:
    """The JSON of an event; ``time_ms`` counts from ``EARLIER_MS``."""
    message = {"user_id": user_id, "item_id": item_id, "timestamp": EARLIER_MS + time_ms, **fields}
    return msgspec.json.encode(message)


def serving_of(recommender: Recommender | None = None, withdrawn: Iterable[str] = ()) -> Serving:
    """What serves a small recommender."""
    return Serving(recommender or small_recommender(), withdrawn)


@dataclass
class Partition:
    """Partition ``NUMBER`` of the sources; ``run`` applies a batch as a worker does."""

    serving: Serving | None = None
    rules: Rules = RULES
    fallback: Sequence[tuple[str, float]] = ()
    now_ms: int = NOW_MS
    trial: OnTrial | None = None
    records: dict[bytes, bytes] = field(default_factory=dict)
    #: The next offset of each source.
    offsets: list[int] = field(default_factory=lambda: [0] * len(TOPICS))

    def event(
        self,
        user_id: str,
        item_id: str,
        time_ms: int = 0,
        *,
        behavior: int = CLICK,
        **fields: object,
    ) -> Sourced:
        """Produce an event with the user's key; returns it with its source."""
        return self.raw(user_id.encode(), event_value(user_id, item_id, time_ms, **fields), source=behavior)

    def raw(self, key: bytes | None, value: bytes | None, *, source: int = CLICK) -> Sourced:
        """Produce any bytes; returns the record with its source."""
        offset = self.offsets[source]
        self.offsets[source] += 1
        return source, Sent(NUMBER, offset, self.now_ms - 5, key, value)

    def forget(self, user_id: str, at_ms: int | None = None) -> Sourced:
        """Ask for a user to be erased, at a time from ``EARLIER_MS`` on; by default before all events."""
        source, sent = self.raw(user_id.encode(), None, source=FORGET)
        return source, sent._replace(timestamp=0 if at_ms is None else EARLIER_MS + at_ms)

    def batch(self) -> Batch:
        """Begin a batch over the records as they stand."""
        lists = Lists(self.rules, self.serving, TOPICS, self.fallback, self.trial)
        return Batch(self.records.get, partition=NUMBER, lists=lists, now_ms=self.now_ms)

    def run(self, *records: Sourced, partition_of: int = NUMBER) -> Effects:
        """Process a batch and store what it changed; every key belongs to ``partition_of``."""
        return self._stored(process(self.batch(), records, partition_of=lambda key: partition_of))

    def release(self, *user_ids: str) -> Effects:
        """Let the held lists of users go."""
        return self._stored(release(self.batch(), [user_id.encode() for user_id in user_ids]))

    def _stored(self, effects: Effects) -> Effects:
        for key, value in effects.states.items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
        return effects

    def state(self, user_id: str) -> UserState:
        """The user's record."""
        return decode_state(self.records[user_id.encode()])


def lists_of(effects: Effects) -> list[RecommendationList]:
    """The lists of a batch, erasures left out."""
    return [decode_list(value) for _, value in effects.lists if value is not None]


def item_ids(made: RecommendationList) -> list[str]:
    """The items of a list, best first."""
    return [item.item_id for item in made.items]


def outcomes(effects: Effects) -> dict[str, int]:
    """How many events had each outcome, whatever their behaviour."""
    counts: dict[str, int] = {}
    for (_, outcome), count in effects.outcomes.items():
        counts[outcome] = counts.get(outcome, 0) + count
    return counts


def hidden_of(partition: Partition, user_id: str) -> npt.NDArray[np.float32]:
    """The hidden state in the user's record."""
    return np.frombuffer(partition.state(user_id).hidden, np.float32)
