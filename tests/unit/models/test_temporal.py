"""Label features and temporal context, by hand."""

import math

import numpy as np
import pytest

from models.behavior import Behavior
from models.events import EventLog
from models.temporal import TemporalConfig, TemporalContext, label_vectors

CLICK, CART = Behavior.CLICK, Behavior.CART
CATEGORY = np.array([0, 1, 1, 2, 0], np.int32)  # of items 1 to 4; item 4 has none


def _log(*events: tuple[int, int, int, int]) -> EventLog:
    """Events (user, item, second, behaviour)."""
    user, item, second, behavior = np.array(events, np.int64).reshape(-1, 4).T
    return EventLog.sorted(
        user, item.astype(np.int32), CATEGORY[item], behavior.astype(np.int8), second * 1000
    )


def _fitted(*events: tuple[int, int, int, int], **config: float) -> TemporalContext:
    return TemporalContext.fit(_log(*events), CATEGORY, n_categories=3, config=TemporalConfig(**config))


def _scores(context: TemporalContext, *newest: tuple[int, int], stranger: int = 0) -> np.ndarray:
    """The scores of a user with these newest events (item, second), newest first.

    ``stranger`` is the category of events of item 0.
    """
    items, seconds = np.array(newest, np.int64).T
    categories = np.where(items == 0, stranger, CATEGORY[items])
    return context.scores(items[None].astype(np.int32), categories[None], seconds[None] * 1000)[0]


TWO_USERS = ((1, 1, 0, CLICK), (1, 2, 30, CLICK), (1, 3, 120, CART), (2, 2, 0, CLICK), (2, 1, 60, CLICK))


def test_items_are_alike_by_how_close_they_were_had() -> None:
    """Items 1 and 2 were had 30 s apart by user 1 and 60 s by user 2; two users had each of them."""
    near = _fitted(*TWO_USERS, closeness_s=60).near.toarray()
    expected = (1 / (1 + 30 / 60) + 1 / (1 + 60 / 60)) / math.sqrt(2 * 2)
    assert near[1, 2] == near[2, 1] == pytest.approx(expected)
    assert near[3, 1] == pytest.approx(1 / (1 + 120 / 60) / math.sqrt(1 * 2))
    assert near[1, 1] == 0


def test_events_further_apart_than_the_steps_do_not_count() -> None:
    """With one step only successive events make items alike."""
    near = _fitted(*TWO_USERS, steps=1).near.toarray()
    assert near[1, 3] == 0
    assert near[2, 3] > 0


def test_label_vectors_by_hand() -> None:
    """Two of four items are in category 1; both were clicked, item 1 twice; item 3 was put in a cart."""
    vectors = label_vectors(_log(*TWO_USERS), CATEGORY, 3)
    half, quarter = math.log(4 / 2), math.log(4 / 1)
    first = np.array([half, math.log(1 + 2) * half])  # the category, and clicks in it
    third = np.array([quarter, math.log(1 + 1) * quarter])  # the category, and carts in it
    dense = vectors.toarray()
    assert dense[1][dense[1] > 0] == pytest.approx(first / np.linalg.norm(first))
    assert dense[3][dense[3] > 0] == pytest.approx(third / np.linalg.norm(third))
    assert (vectors @ vectors.T).toarray()[1, 2] == pytest.approx(1)  # both were clicked twice
    assert (vectors @ vectors.T).toarray()[1, 3] == 0
    assert not dense[4].any()


def test_preference_fades_with_the_time_passed() -> None:
    """Item 1 was had 90 s before the newest event, so it counts 1 / (1 + 90 / 30) beside it."""
    context = _fitted(*TWO_USERS, closeness_s=60, fading_s=30, label_share=0)
    near = context.near.toarray()
    scores = _scores(context, (3, 100), (1, 10), (0, 0))
    expected = near[3] + near[1] / (1 + 90 / 30)
    assert scores[[1, 2, 3]] == pytest.approx(expected[[1, 2, 3]])
    assert scores[[0, 4]].tolist() == [-math.inf] * 2


def test_labels_reach_an_item_that_nobody_had() -> None:
    """Item 2 has no event; it is scored by the category it shares with item 1, by the share of labels."""
    context = _fitted((1, 1, 0, CLICK), (1, 3, 5, CLICK), label_share=0.25)
    alike = (context.labels @ context.labels.T).toarray()[1, 2]
    scores = _scores(context, (1, 0))
    assert 0 < alike < 1
    assert scores[2] == pytest.approx(0.25 * alike)


def test_unknown_item_speaks_through_its_category() -> None:
    """Twenty seconds ago something new of category 2 was had, which item 3 is the one known item of."""
    context = _fitted(*TWO_USERS, fading_s=20, label_share=0.25)
    category_label = math.log(4 / 1) / math.hypot(math.log(4 / 1), math.log(1 + 1) * math.log(4 / 1))
    scores = _scores(context, (4, 30), (0, 10), stranger=2)
    assert scores[3] == pytest.approx(0.25 * category_label / (1 + 20 / 20))
    assert scores[[1, 2]].tolist() == [-math.inf] * 2


def test_without_categories_time_alone_counts() -> None:
    """Labels are empty, and the scores those of the items' closeness."""
    nothing = np.zeros(5, np.int32)
    context = TemporalContext.fit(
        _log(*TWO_USERS), nothing, n_categories=1, config=TemporalConfig(label_share=0.5)
    )
    assert context.labels.nnz == 0
    scores = _scores(context, (1, 0))
    assert scores[2] == pytest.approx(0.5 * context.near.toarray()[1, 2])


def test_no_events_score_nothing() -> None:
    """An empty log knows no item, and labels alone tell nothing of an unknown one."""
    assert np.all(_scores(_fitted(), (4, 0)) == -math.inf)
