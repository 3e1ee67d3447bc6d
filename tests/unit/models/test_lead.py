"""The best item of the category a user was last in comes first, where that is worth it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.blend import Blend
from models.lead import Shelves, put_first
from models.lead_fitting import Sought, pays
from models.memory import Memories
from models.ranking import NO_ROW, top_n
from models.recommender import Recommender
from tests.support.recommenders import small_recommender

# Of six items 1 and 3 are of one category, 2 and 5 of another.
CATEGORY = np.array([0, 1, 2, 1, 0, 2], np.int32)
SHELVES = Shelves.of(CATEGORY)
SCORES = np.array([[-np.inf, 3, 9, 4, 20, 8]], np.float32)


def best(category: int, **barred: object) -> int:
    """The best item of one category in SCORES."""
    return int(SHELVES.best(SCORES.copy(), np.array([category]), **barred)[0])  # type: ignore[arg-type]


def test_the_best_of_a_category_is_that_of_its_items() -> None:
    """An item without a category stands on no shelf, and no category has no best item."""
    assert (best(1), best(2), best(0)) == (3, 2, NO_ROW)


def test_what_may_not_be_listed_is_not_the_best() -> None:
    """The next one of the category takes its place, if there is one."""
    available = np.array([True, True, False, True, True, True])
    assert best(2, available=available) == 5
    assert best(1, exclude=[np.array([3, 4])]) == 1
    assert best(1, exclude=[np.array([3, 1])]) == NO_ROW
    assert best(2, available=available, exclude=[np.array([5])]) == NO_ROW


def test_a_category_that_came_later_has_no_best() -> None:
    """One that the items know nothing of, as after weights were changed."""
    assert best(7) == NO_ROW


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.sets(st.integers(0, 5)),
    st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=4, max_size=4),
)
def test_each_user_is_looked_at_alone(
    values: list[list[int]], category: list[int], withdrawn: set[int], excluded: list[list[int]]
) -> None:
    """Beside the plain way: walk over the items, keep the first of the greatest."""
    scores = np.array(values, np.float32)
    available = np.array([item not in withdrawn for item in range(6)])
    exclude = [np.array(rows, np.int32) for rows in excluded[: len(scores)]]
    found = SHELVES.best(scores, np.array(category[: len(scores)]), available=available, exclude=exclude)
    for line, row in enumerate(found.tolist()):
        shelf = [
            item
            for item in range(1, 6)
            if CATEGORY[item] == category[line] != 0 and item not in withdrawn and item not in excluded[line]
        ]
        assert row == max(shelf, key=lambda item: (values[line][item], -item), default=NO_ROW)


def test_the_first_is_first_and_the_others_keep_their_order() -> None:
    """It stands above all others by as little as a float allows; a line without one is as it was."""
    scores = np.repeat(SCORES, 2, 0)
    put_first(scores, np.array([3, NO_ROW], np.int32))
    assert top_n(scores, 5)[0].tolist() == [[3, 4, 2, 5, 1], [4, 2, 5, 3, 1]]
    assert scores[0, 3] == pytest.approx(20, abs=1e-5)
    assert scores[1].tolist() == SCORES[0].tolist()


# A recommender.


@pytest.fixture
def recommender() -> Recommender:
    """One with a blend that leads."""
    return small_recommender(blended=True)


def first(recommender: Recommender, category: int, **barred: object) -> int:
    """The first item of a list of someone who had 4 and was last in this category."""
    memories = Memories.of([[4]], [[4]], [category])
    states = np.ones((1, recommender.state_size), np.float32)
    scores = recommender.scores(states, memories, **barred)  # type: ignore[arg-type]
    return int(top_n(scores, 1, **barred)[0][0, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize("category", [1, 2, 3])
def test_a_list_begins_with_the_last_category(recommender: Recommender, category: int) -> None:
    """Also where its best item may not be listed."""
    of = recommender.vocabulary.item_category
    row = first(recommender, category)
    assert of[row] == category
    other = first(recommender, category, exclude=[np.array([row])])
    assert of[other] == category
    assert other != row
    available = np.ones(len(of), np.bool_)
    available[row] = False
    assert first(recommender, category, available=available) == other


def test_without_a_lead_the_scores_decide(recommender: Recommender) -> None:
    """And a blend that leads lifts nothing where the category is not known."""
    assert recommender.blend is not None
    plain = replace(recommender, blend=replace(recommender.blend, leads=False))
    assert len({first(plain, category) for category in range(4)}) == 1
    assert first(recommender, 0) == first(plain, 0)


def test_new_items_have_a_flag_of_their_own(recommender: Recommender) -> None:
    """Whether a list leads once there are items that nobody had is a flag of its own."""
    assert recommender.blend is not None
    assert first(recommender.announced({"new": "c2"}), 2) == first(
        replace(recommender, blend=replace(recommender.blend, leads=False)), 2
    )
    grown = replace(recommender, blend=replace(recommender.blend, leads=False, leads_grown=True))
    after = grown.announced({"new": "c2"})
    category = after.vocabulary.category_row("c2")
    assert after.vocabulary.item_category[first(after, category)] == category


def test_arrays_keep_both_flags(recommender: Recommender) -> None:
    """Those from before there was a lead have none."""
    assert recommender.blend is not None
    for leads, grown in ((True, False), (False, True)):
        made = Blend.from_arrays(replace(recommender.blend, leads=leads, leads_grown=grown).arrays)
        assert (made.leads, made.leads_grown) == (leads, grown)
    old = {name: array for name, array in recommender.blend.arrays.items() if name != "leads"}
    assert not Blend.from_arrays(old).leads


# Whether it is worth it.


def sought(target: int, last: int) -> Sought:
    """Two users, of whom both then took ``target`` after an event of category ``last``."""
    items = np.tile(np.arange(1, 6), 2)
    two = np.array([target, target])
    return Sought(items, np.array([0, 5]), two, CATEGORY[two], np.array([last, last]))


def judged(target: int, last: int) -> bool:
    """By SCORES, under which the order is 4, 2, 5, 3, 1."""
    return pays(np.tile(SCORES[0, 1:], 2), sought(target, last), CATEGORY)


def test_a_lead_pays_where_people_stay_in_their_category() -> None:
    """Item 3 moves from the fourth place to the first, its category from the second to the first."""
    assert judged(3, last=1)


def test_a_lead_does_not_pay_where_people_move_on() -> None:
    """What they take next moves a place down."""
    assert not judged(2, last=1)


def test_what_items_lose_is_weighed_against_what_categories_gain() -> None:
    """Item 1 stays at the fifth place; its category comes to the first one with item 3."""
    assert judged(1, last=1)


def test_without_categories_nothing_leads() -> None:
    """There is nothing to gain."""
    assert not pays(np.tile(SCORES[0, 1:], 2), sought(3, 0), np.zeros(6, np.int32))


def test_joined_and_chosen_targets_are_those_they_were() -> None:
    """Parts are put one after another, and what is left out takes targets with it that have nothing left."""
    both = Sought.joined([sought(3, 1), sought(2, 2)])
    assert both.begins.tolist() == [0, 5, 10, 15]
    chosen = np.repeat([False, True, True, False], 5) & (both.items != 4)
    left = both.among(chosen)
    assert left.items.tolist() == [1, 2, 3, 5] * 2
    assert (left.begins.tolist(), left.target.tolist(), left.last.tolist()) == ([0, 4], [3, 2], [1, 2])
