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
from stream.serving import Floats, Serving
from stream.state import UserState, decode_state
from stream.step import Batch

#: So many of the user's items are named that are tied to a listed one, the strongest ties first.
LINKS_NAMED = 3


class SegmentEvent(msgspec.Struct, frozen=True):
    """One event of the segment; the category is empty where none is known."""

    item_id: str
    category_id: str
    behavior: str
    time_ms: int


class Link(msgspec.Struct, frozen=True):
    """An item of the user's, and how strongly a table of the blend ties the listed item to it."""

    item_id: str
    weight: float


class ListedItem(msgspec.Struct, frozen=True):
    """An item of the list and why it is there.

    ``parts`` are those of the score, named and in order as ``models.explanation.PARTS``; ``lost`` is what
    the score loses without each event of the segment. ``neighbours`` are the items of the user's that have
    it among their neighbours, ``successors`` those it usually comes after. All are empty in a list that no
    weights made for the user: one of what is popular.
    """

    item_id: str
    category_id: str
    score: float
    parts: list[float] = []
    lost: list[float] = []
    neighbours: list[Link] = []
    successors: list[Link] = []


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
        items=_items(made, state, lists),
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


def _items(made: RecommendationList, state: UserState, lists: Lists) -> list[ListedItem]:
    """Name the items of the list, and explain them where weights made it for this user."""
    serving = lists.serving
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
    found = explain(
        serving.recommender,
        _columns(segment),
        serving.history(state).items,
        rows,
        available=serving.available,
        exclude=lists.excluded(state, serving),
    )
    return [
        _explained(place, item, category, found, vocabulary.item_ids)
        for place, (item, category) in enumerate(zip(made.items, categories, strict=True))
    ]


def _explained(
    place: int, item: ListItem, category_id: str, found: Explanation, item_ids: Sequence[str]
) -> ListedItem:
    """Put an item beside what was found of it."""
    return ListedItem(
        item.item_id,
        category_id,
        item.score,
        parts=found.parts[:, place].tolist(),
        lost=found.lost[:, place].tolist(),
        neighbours=_strongest(found.near[:, place], found, item_ids),
        successors=_strongest(found.after[:, place], found, item_ids),
    )


def _strongest(weights: Floats, found: Explanation, item_ids: Sequence[str]) -> list[Link]:
    """Name the user's items that have the greatest of the ``weights`` (V,), those of 0 left out."""
    best = np.argsort(-weights, kind="stable")[:LINKS_NAMED]
    return [
        Link(item_ids[found.voices[voice]], float(weights[voice])) for voice in best if weights[voice] > 0
    ]


def _columns(segment: Replay) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the segment as a recommender takes it."""
    item, category, behavior, time_ms = (np.array(column, np.int64) for column in segment)
    return item, category, behavior, time_ms
