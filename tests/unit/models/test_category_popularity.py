"""Popularity within the category, worked by hand."""

import numpy as np
import pytest

from models.category_popularity import fit_category_popularity
from models.events import EventLog
from models.learning import Learning
from models.segment import SegmentRule
from models.vocabulary import Vocabulary

# Items 1 and 2 are shoes, 3 is a hat, 4 has no category, 5 is a hat that no event names.
VOCABULARY = Vocabulary(("", "a", "b", "h", "x", "new"), ("", "shoes", "hats"), np.array([0, 1, 1, 2, 0, 2]))


def _log(*items: int) -> EventLog:
    """One user's events of these items, a second apart."""
    rows = np.array(items, np.int32)
    category = VOCABULARY.item_category[rows]
    time_ms = 1000 * np.arange(len(rows), dtype=np.int64)
    return EventLog(np.zeros(len(rows), np.int64), rows, category, np.zeros(len(rows), np.int8), time_ms)


def _scores(*history: int) -> tuple[np.ndarray, np.ndarray]:
    learning = Learning(_log(1, 1, 1, 2, 3, 4), VOCABULARY, SegmentRule(), np.zeros(6, np.float32))
    log = _log(*history)
    follower = fit_category_popularity(learning, lambda _: None).follow(
        log, np.array([0]), np.array([len(history)])
    )
    return follower.scores(1)


def test_item_has_its_share_of_its_category() -> None:
    """After a hat: the hat with one event and the new one with none, each counted half an event more."""
    scores, personal = _scores(3)
    assert personal.tolist() == [True]
    assert scores[0].tolist() == pytest.approx([-np.inf, -np.inf, -np.inf, 1.5 / 2, -np.inf, 0.5 / 2])


def test_category_weighs_by_how_lately_it_was_looked_at() -> None:
    """A shoe, then a hat: the hats weigh 1 and the shoes, one event before, half of it."""
    scores, _ = _scores(1, 3)
    assert scores[0, 1:4].tolist() == pytest.approx([0.5 * 3.5 / 5, 0.5 * 1.5 / 5, 1.5 / 2])


def test_without_a_category_there_is_nothing_to_say() -> None:
    """An item of no category makes no list personal."""
    scores, personal = _scores(4)
    assert (len(scores), personal.tolist()) == (0, [False])
