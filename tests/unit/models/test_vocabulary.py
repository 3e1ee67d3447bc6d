"""Ids become rows and keep them."""

import numpy as np
import polars as pl
import pytest

from models.vocabulary import Vocabulary


def frame(*rows: tuple[str, str | None]) -> pl.DataFrame:
    """Items and their categories, as events or the items' table name them."""
    return pl.DataFrame(rows, schema={"item_id": pl.String, "category_id": pl.String}, orient="row")


def test_row_zero_is_the_unknown_item() -> None:
    """The empty vocabulary holds the unknown rows and nothing else."""
    empty = Vocabulary.empty()
    assert (empty.n_items, empty.n_categories) == (1, 1)
    assert empty.item_row("a") == 0
    assert empty.category_row(None) == 0


def test_rows_follow_the_order_of_appearance() -> None:
    """Items take rows in the order of the events, then of the items' table."""
    vocabulary = Vocabulary.from_frame(frame(("b", None), ("a", None), ("b", None)), frame(("c", "k")))
    assert vocabulary.item_ids == ("", "b", "a", "c")
    assert vocabulary.item_rows(["c", "never seen", "b"]).tolist() == [3, 0, 1]


def test_category_of_the_item_table_wins_over_the_events() -> None:
    """The items' table names the category; without it the last event that names one does."""
    events = frame(("a", "old"), ("a", "new"), ("a", None), ("b", "of the event"))
    vocabulary = Vocabulary.from_frame(events, frame(("b", "of the table")))
    named = [vocabulary.category_ids[row] for row in vocabulary.item_category]
    assert named == ["", "new", "of the table"]


def test_growing_keeps_every_row() -> None:
    """New items take new rows, old items keep theirs, and the old vocabulary is as it was."""
    old = Vocabulary.from_frame(frame(("a", "k"), ("b", None)))
    grown = old.grow(["c", "b", "a"], ["l", "k", None])
    assert grown.item_ids == ("", "a", "b", "c")
    assert grown.category_ids == ("", "k", "l")
    assert grown.item_category.tolist() == [0, 1, 1, 2]
    assert old.item_category.tolist() == [0, 1, 0]


def test_the_empty_id_stays_unknown() -> None:
    """An item whose id is empty is the unknown item and gets no row or category of its own."""
    vocabulary = Vocabulary.from_frame(frame(("", "k"), ("a", "")))
    assert vocabulary.item_ids == ("", "a")
    assert vocabulary.item_category.tolist() == [0, 0]


def test_item_categories_cannot_be_changed_in_place() -> None:
    """A vocabulary shared by threads is never written to."""
    with pytest.raises(ValueError, match="read-only"):
        Vocabulary.from_frame(frame(("a", "k"))).item_category[1] = 0


@pytest.mark.parametrize(
    ("items", "categories", "of", "said"),
    [
        (("a",), ("",), [0], "row 0 of the item ids"),
        (("", "a", "a"), ("",), [0, 0, 0], "stands twice"),
        (("", "a"), ("",), [0, 1], "not among the categories"),
        (("", "a"), ("",), [0], "shape"),
    ],
)
def test_ambiguous_tables_are_refused(
    items: tuple[str, ...], categories: tuple[str, ...], of: list[int], said: str
) -> None:
    """A table in which a row could mean two things cannot be made."""
    with pytest.raises(ValueError, match=said):
        Vocabulary(items, categories, np.array(of, np.int32))
