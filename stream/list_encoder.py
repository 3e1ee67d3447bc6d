"""Lists as bytes, written faster than one by one from objects.

``stream.messages.encode`` needs an object for each place; at 100,000 lists a second those are
a third of what a list costs. Here the texts of ids are at hand (``stream.state.id_text``), the
scores of many lists are written at once, and a list is the two put together.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from stream.messages import ListKind

SIGNIFICANT_DIGITS = 7
"""Digits of a score that are written: those a float32 has. Its value as a float64 has seventeen."""

_encode = msgspec.json.Encoder().encode


class ListEncoder:
    """Writes lists around their items; ``topics`` are the event topics by their number.

    The bytes are those that ``stream.messages.encode`` makes of the same ``RecommendationList``.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        """Prepare the text between the items and the event's place."""
        self._topics = topics
        self._head = lru_cache(64)(self._written_head)

    def encode(
        self,
        user_id: str,
        items: bytes,
        ref: tuple[int, int, int, int],
        generated_at_ms: int,
        *,
        kind: ListKind,
        model_version: str,
    ) -> bytes:
        """Write one list.

        ``items`` comes from ``Places`` or ``scored_items``; ``ref`` is the event's source, partition,
        offset and event time.
        """
        source, partition, offset, timestamp_ms = ref
        return b'{"user_id":%b,"items":[%b%b%d,"offset":%d,"timestamp":%d},"generated_at":%d}' % (
            _encode(user_id),
            items,
            self._head(kind, model_version, source),
            partition,
            offset,
            timestamp_ms,
            generated_at_ms,
        )

    def _written_head(self, kind: ListKind, model_version: str, source: int) -> bytes:
        return b'],"kind":%b,"model_version":%b,"event":{"topic":%b,"partition":' % (
            _encode(kind),
            _encode(model_version),
            _encode(self._topics[source]),
        )


class Places:
    """Items whose score follows from the place alone: ``scores[place]``."""

    def __init__(self, scores: Sequence[float]) -> None:
        """Prepare the text of every length."""
        places = [b'{"item_id":"%b","score":' + _encode(score) + b"}" for score in scores]
        self._texts = [b",".join(places[:length]) for length in range(len(places) + 1)]

    def items(self, id_texts: Collection[bytes]) -> bytes:
        """Write items, best first; at most as many as there are scores."""
        return self._texts[len(id_texts)] % tuple(id_texts)


def scored_items(
    id_texts: npt.NDArray[np.object_], rows: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]
) -> list[bytes]:
    """Write the items of many lists: ``rows`` (B, n) and ``scores`` (B, n), best first, -1 after the end.

    ``id_texts`` (N,) are the texts of the rows' ids. An empty list is the empty text.
    """
    if not rows.size:
        return [b""] * len(rows)
    lengths = (rows > 0).sum(1).tolist()
    rounded = _rounded(np.where(rows > 0, scores.astype(np.float64), 0.0))
    written = _encode(rounded.tolist())[2:-2].split(b"],[")
    templates = [b",".join([b'{"item_id":"%b","score":%b}'] * length) for length in range(rows.shape[1] + 1)]
    found = []
    for ids, texts, length in zip(id_texts[rows].tolist(), written, lengths, strict=True):
        pairs: list[bytes] = [b""] * (2 * length)
        pairs[::2] = ids[:length]
        pairs[1::2] = texts.split(b",", length)[:length]
        found.append(templates[length] % tuple(pairs))
    return found


@lru_cache(8)
def _templates(places: int) -> list[bytes]:
    """Return what lists of 0 to ``places`` items are filled into: an id and a score for each."""
    return [b",".join([b'{"item_id":"%b","score":%b}'] * length) for length in range(places + 1)]


def _rounded(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scores to ``SIGNIFICANT_DIGITS``, as the numbers with the shortest texts."""
    magnitude = np.floor(np.log10(np.abs(scores), where=scores != 0, out=np.zeros(scores.shape)))
    scale = 10.0 ** (SIGNIFICANT_DIGITS - 1 - magnitude)
    return np.rint(scores * scale) / scale
