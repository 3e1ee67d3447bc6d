"""The lists a file of events leads to, computed by the pure core alone: no Kafka, no batches of a worker."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from models.recommender import Recommender
from stream.lists import Lists
from stream.messages import Event, ListItem, RecommendationList, decode_list, encode
from stream.serving import Serving
from stream.settings import Settings
from stream.step import Batch, process

TOGETHER = 500

#: What float32 leaves open between a product over one row and the same over many: of scores of about 10,
#: and of larger ones in proportion.
SCORE_TOLERANCE = 1e-4
USUAL_SCORE = 10.0


class _Record(NamedTuple):
    """A record as the pure core reads it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes


def last_lists(
    events: pl.DataFrame, recommender: Recommender, settings: Settings, *, now_ms: int
) -> dict[str, RecommendationList]:
    """Return each user's list after their last event, the events being in order of event time."""
    lists = Lists(settings.rules, Serving(recommender), settings.topics.events)
    states: dict[bytes, bytes] = {}
    newest: dict[str, RecommendationList] = {}
    sourced = [(behavior, record) for behavior, record in _records(events)]
    for begin in range(0, len(sourced), TOGETHER):
        batch = Batch(states.get, partition=0, lists=lists, now_ms=now_ms)
        effects = process(batch, sourced[begin : begin + TOGETHER], partition_of=lambda _: 0)
        states.update((key, value) for key, value in effects.states.items() if value is not None)
        newest.update((key.decode(), decode_list(value)) for key, value in effects.lists)
    return newest


def _records(events: pl.DataFrame) -> Iterable[tuple[int, _Record]]:
    columns = events.select("user_id", "item_id", "category_id", "behavior", "timestamp")
    for offset, (user_id, item_id, category_id, behavior, timestamp) in enumerate(columns.iter_rows()):
        value = encode(Event(user_id=user_id, item_id=item_id, category_id=category_id, timestamp=timestamp))
        yield behavior, _Record(0, offset, timestamp, user_id.encode(), value)


def same_items(one: Sequence[ListItem], other: Sequence[ListItem]) -> bool:
    """Whether two lists hold the same items at the same places, with scores to ``SCORE_TOLERANCE``.

    Two neighbours whose scores are closer than that tolerance may have changed places.
    """
    if len(one) != len(other):
        return False
    largest = max((abs(item.score) for item in other), default=0.0)
    tolerance = SCORE_TOLERANCE * max(1.0, largest / USUAL_SCORE)
    if any(abs(a.score - b.score) > tolerance for a, b in zip(one, other, strict=True)):
        return False
    moved = [(a, b) for a, b in zip(one, other, strict=True) if a.item_id != b.item_id]
    there = {item.item_id: item.score for item in other}
    worst = other[-1].score if other else 0.0
    return all(abs(there.get(a.item_id, worst) - a.score) <= tolerance for a, _ in moved)
