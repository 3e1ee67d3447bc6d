"""Why an item stands in a list: parts that add up, and what is lost without each event."""

from dataclasses import replace

import numpy as np
import pytest

from models.explanation import PARTS, Explanation, explain
from models.memory import Memories
from models.recommender import Recommender, UserSequence
from tests.support.recommenders import small_recommender

ROWS = np.array([3, 4, 7, 11], np.int32)
#: Items 9 and 2 from before the segment; item 4 twice in it, and one that is unknown.
SEGMENT = [4, 0, 5, 4]
HISTORY = [9, 2, *SEGMENT]


def sequence(items: list[int], *, left_out: int | None = None) -> UserSequence:
    """A segment of these items, an event every 100 ms, without the one at ``left_out``."""
    kept = [place for place in range(len(items)) if place != left_out]
    columns = (items, [1] * len(items), [0, 1, 2, 3][: len(items)], range(0, 100 * len(items), 100))
    item, category, behavior, time_ms = (np.array([column[place] for place in kept]) for column in columns)
    return item, category, behavior, time_ms


def scores_of(recommender: Recommender, segment: UserSequence, history: list[int]) -> np.ndarray:
    """The scores as serving computes them, of the items in ROWS."""
    items = segment[0].tolist()
    memories = Memories.of([history], [items], [segment[1][-1]])
    return recommender.scores(recommender.replay([segment]), memories)[0, ROWS]


@pytest.fixture
def recommender() -> Recommender:
    """One with a blend."""
    return small_recommender(blended=True)


@pytest.fixture
def explanation(recommender: Recommender) -> Explanation:
    """Of the segment above."""
    return explain(recommender, sequence(SEGMENT), HISTORY, ROWS)


def test_scores_are_those_that_serving_computes(recommender: Recommender, explanation: Explanation) -> None:
    """The list and its reasons speak of the same numbers."""
    np.testing.assert_allclose(
        explanation.scores, scores_of(recommender, sequence(SEGMENT), HISTORY), rtol=1e-5
    )


def test_the_parts_add_up_to_the_score(explanation: Explanation) -> None:
    """Nothing of a score stays without a name, and each part gives something."""
    assert explanation.parts.shape == (len(PARTS), len(ROWS))
    np.testing.assert_allclose(explanation.parts.sum(0), explanation.scores, rtol=1e-5, atol=1e-5)
    assert np.abs(explanation.parts).max(1).min() > 0


def test_each_part_is_the_blends_own(recommender: Recommender, explanation: Explanation) -> None:
    """Popularity is the prior; having had an item counts by when; what is left is the network's."""
    blend = recommender.blend
    assert blend is not None
    np.testing.assert_allclose(explanation.parts[3], blend.prior[ROWS])
    had = explain(recommender, sequence(SEGMENT), HISTORY, np.array([4, 9, 3], np.int32)).parts[4]
    # Item 4 is the newest of the segment; 9 is the fourth of the memory 4, 5, 2, 9, from before it.
    np.testing.assert_allclose(had, [blend.had[0, 0], blend.had[1, 2], 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("event", range(len(SEGMENT)))
def test_what_is_lost_is_the_score_less_that_without_the_event(
    recommender: Recommender, explanation: Explanation, event: int
) -> None:
    """The event is gone from the replay and from the memory, and everything else is as it was."""
    place = len(HISTORY) - len(SEGMENT) + event
    history = [row for at, row in enumerate(HISTORY) if at != place]
    without = scores_of(recommender, sequence(SEGMENT, left_out=event), history)
    np.testing.assert_allclose(explanation.lost[event], explanation.scores - without, rtol=1e-3, atol=1e-5)
    assert np.abs(explanation.lost[event]).min() > 0


def test_neighbours_are_the_users_last_items_newest_first(
    recommender: Recommender, explanation: Explanation
) -> None:
    """In the small blend each item is near itself and the two after it."""
    blend = recommender.blend
    assert blend is not None
    assert explanation.voices.tolist() == [4, 5, 2, 9]
    near = {
        (voice, row)
        for voice, line in zip(explanation.voices.tolist(), explanation.near > 0, strict=True)
        for row in ROWS[line].tolist()
    }
    assert near == {(4, 4), (2, 3), (2, 4), (5, 7), (9, 11)}
    begin = int(blend.neighbours.begins[2])
    assert explanation.near[2, 0] == blend.neighbours.weights[begin + 1]
    assert explanation.after[2, 0] == blend.successors.weights[begin + 1]


def test_neighbours_and_successors_are_parts_of_their_own(recommender: Recommender) -> None:
    """Without the weights of one table its part is nothing, and the other's is what it was."""
    blend = recommender.blend
    assert blend is not None
    both = explain(recommender, sequence(SEGMENT), HISTORY, ROWS).parts
    for part, silenced in ((1, [0, 0, 1, 1]), (2, [1, 1, 0, 0])):
        muted = replace(blend, near=blend.near * np.array(silenced, np.float32))
        parts = explain(replace(recommender, blend=muted), sequence(SEGMENT), HISTORY, ROWS).parts
        assert not parts[part].any()
        np.testing.assert_allclose(parts[3 - part], both[3 - part], rtol=1e-5)


def test_a_segment_of_one_event_is_explained_by_it(recommender: Recommender) -> None:
    """Without it nothing is left but what any user would be told."""
    only = explain(recommender, sequence([4]), [4], ROWS)
    alone = recommender.scores(recommender.initial(1), Memories.empty(1))[0, ROWS]
    np.testing.assert_allclose(only.lost[0], only.scores - alone, rtol=1e-3, atol=1e-5)


def test_without_a_blend_everything_is_the_networks() -> None:
    """Weights from before the blend are explained as well."""
    plain = explain(small_recommender(), sequence(SEGMENT), HISTORY, ROWS)
    np.testing.assert_allclose(plain.parts[0], plain.scores, rtol=1e-5)
    assert not plain.parts[1:].any()
    assert plain.near.shape == (0, len(ROWS))
