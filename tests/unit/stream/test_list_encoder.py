"""Lists written the fast way are what the plain encoder writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.list_encoder import SIGNIFICANT_DIGITS, ListEncoder, Places, scored_items
from stream.messages import EventRef, ListItem, RecommendationList, decode_list, encode
from stream.state import id_text

NOW_MS = 1_700_000_000_000
ENCODER = ListEncoder(["a", "events.click"])
IDS = st.lists(st.text(min_size=1), min_size=1, max_size=6)


def plain(user_id: str, items: list[ListItem], version: str) -> RecommendationList:
    """The list that both ways are to write."""
    return RecommendationList(
        user_id=user_id,
        items=items,
        kind="personalized",
        model_version=version,
        event=EventRef("events.click", 3, 42, NOW_MS),
        generated_at=NOW_MS + 27,
    )


def written(user_id: str, items: bytes, version: str) -> bytes:
    """The same list around items that are written already."""
    ref = (1, 3, 42, NOW_MS)
    return ENCODER.encode(user_id, items, ref, NOW_MS + 27, kind="personalized", model_version=version)


@given(st.text(min_size=1), IDS, st.text())
def test_places_are_written_as_encode_writes_them(user_id: str, item_ids: list[str], version: str) -> None:
    """Byte for byte, whatever the ids hold."""
    scores = [1 / place for place in range(1, 7)]
    items = [ListItem(item_id, score) for item_id, score in zip(item_ids, scores, strict=False)]
    texts = Places(scores).items(list(map(id_text, item_ids)))
    assert written(user_id, texts, version) == encode(plain(user_id, items, version))


@given(IDS, st.data())
def test_scored_items_are_written_as_encode_writes_them(item_ids: list[str], data: st.DataObject) -> None:
    """Byte for byte with the scores to seven digits, for lists that end early and lists that are empty."""
    texts = np.array([b"", *map(id_text, item_ids)], np.object_)
    width = data.draw(st.integers(1, len(item_ids)))
    lengths = data.draw(st.lists(st.integers(0, width), min_size=1, max_size=4))
    scores = np.full((len(lengths), width), -np.inf, np.float32)
    rows = np.full(scores.shape, -1, np.int32)
    for line, length in enumerate(lengths):
        number = st.floats(-1e6, 1e6, width=32)
        scores[line, :length] = data.draw(st.lists(number, min_size=length, max_size=length))
        rows[line, :length] = np.arange(1, length + 1)
    found = scored_items(texts, rows, scores)
    for line, length in enumerate(lengths):
        expected = [
            ListItem(item_id, float(f"{score:.{SIGNIFICANT_DIGITS}g}"))
            for item_id, score in zip(item_ids, scores[line, :length].tolist(), strict=False)
        ]
        made = decode_list(written("u", found[line], "v"))
        assert [item.item_id for item in made.items] == [item.item_id for item in expected]
        assert [item.score for item in made.items] == pytest.approx(
            [item.score for item in expected], rel=2e-7, abs=1e-40
        )


def test_scores_are_short() -> None:
    """A float32 has seven digits; its value as a float64 would be written with seventeen."""
    scores = np.array([[3.2100000381469727, 0.1, -12345.678, 1e-7]], np.float32)
    (items,) = scored_items(
        np.array([b"", b"a", b"b", b"c", b"d"], np.object_), np.array([[1, 2, 3, 4]]), scores
    )
    assert [part.split(b":")[-1] for part in items.split(b"}")[:-1]] == [
        b"3.21",
        b"0.1",
        b"-12345.68",
        b"1e-7",
    ]


def test_no_lists_have_no_items() -> None:
    """A batch in which no list is ranked, and one whose lists have no places."""
    texts = np.array([b""], np.object_)
    assert scored_items(texts, np.empty((0, 5), np.int32), np.empty((0, 5), np.float32)) == []
    assert scored_items(texts, np.empty((2, 0), np.int32), np.empty((2, 0), np.float32)) == [b"", b""]
