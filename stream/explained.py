"""A user's segment and list side by side, with why each item stands in the list.

Pure: a record as the worker holds it and what makes lists now → what a page shows. The list is the one
that ``/recommendations/USER`` answers.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from models.behavior import Behavior
from models.explanation import Explanation, explain
from stream.advance import Replay, replay
from stream.lists import Lists
from stream.messages import ListItem, RecommendationList, decode_list
from stream.serving import Serving
from stream.state import UserState, decode_state
from stream.step import Batch

#: So many of the user's items are named that have an item among their neighbours, the nearest first.
NEIGHBOURS_NAMED = 3


class SegmentEvent(msgspec.Struct, frozen=True):
    """One event of the segment; the category is empty where none is known."""

    item_id: str
    category_id: str
    behavior: str
    time_ms: int


class Neighbour(msgspec.Struct, frozen=True):
    """An item of the user's, and the similarity (equation 1) by which it has the listed item near it."""

    item_id: str
    similarity: float


class ListedItem(msgspec.Struct, frozen=True):
    """An item of the list and why it is there.

    ``parts`` are those of the score, named and in order as ``models.explanation.PARTS``; ``lost`` is what
    the score loses without each event of the segment. Both are empty in a list that no weights made for
    the user: one of what is popular.
    """

    item_id: str
    category_id: str
    score: float
    parts: list[float] = []
    lost: list[float] = []
    neighbours: list[Neighbour] = []


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A user's segment, oldest event first, and the list as it stands, best item first."""

    user_id: str
    kind: str
    model_version: str
    segment: list[SegmentEvent]
    items: list[ListedItem]


def explained(key: bytes, record: bytes, lists: Lists, *, now_ms: int) -> Explained | None:
    """Explain the list of the user ``key`` from the user's ``record``; None where no list was sent yet."""
    value = Batch(lambda _: record, partition=0, lists=lists, now_ms=now_ms).show(key)
    if value is None:
        return None
    made, state, serving = decode_list(value), decode_state(record), lists.serving
    return Explained(
        user_id=made.user_id,
        kind=made.kind,
        model_version=made.model_version,
        segment=_segment(state, serving),
        items=_items(made, state, serving),
    )


def _segment(state: UserState, serving: Serving | None) -> list[SegmentEvent]:
    """Name the events of the segment."""
    items = state.segment_items()
    categories = [""] * len(items)
    if serving is not None:
        names = serving.recommender.vocabulary.category_ids
        categories = [names[row] for row in replay(state, serving).categories]
    behaviors = [Behavior(behavior).name.lower() for behavior in state.behaviors[state.start :]]
    return list(map(SegmentEvent, items, categories, behaviors, state.segment_times_ms()))


def _items(made: RecommendationList, state: UserState, serving: Serving | None) -> list[ListedItem]:
    """Name the items of the list, and explain them where weights made it for this user."""
    if serving is None or made.model_version != serving.version:
        return [ListedItem(item.item_id, "", item.score) for item in made.items]
    vocabulary = serving.recommender.vocabulary
    rows = vocabulary.item_rows(item.item_id for item in made.items)
    categories = [vocabulary.category_ids[row] for row in vocabulary.item_category[rows]]
    if made.kind != "personalized":
        return [
            ListedItem(item.item_id, category, item.score)
            for item, category in zip(made.items, categories, strict=True)
        ]
    segment = replay(state, serving)
    found = explain(serving.recommender, _columns(segment), serving.history(state).items, rows)
    return [
        _explained(place, item, category, found, vocabulary.item_ids)
        for place, (item, category) in enumerate(zip(made.items, categories, strict=True))
    ]


def _explained(
    place: int, item: ListItem, category_id: str, found: Explanation, item_ids: Sequence[str]
) -> ListedItem:
    """Put an item beside what was found of it."""
    near = found.near[:, place]
    nearest = np.argsort(-near, kind="stable")[:NEIGHBOURS_NAMED]
    return ListedItem(
        item.item_id,
        category_id,
        item.score,
        parts=found.parts[:, place].tolist(),
        lost=found.lost[:, place].tolist(),
        neighbours=[
            Neighbour(item_ids[found.voices[voice]], float(near[voice]))
            for voice in nearest
            if near[voice] > 0
        ],
    )


def _columns(segment: Replay) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the segment as a recommender takes it."""
    item, category, behavior, time_ms = (np.array(column, np.int64) for column in segment)
    return item, category, behavior, time_ms
