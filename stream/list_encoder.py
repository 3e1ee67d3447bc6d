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
        self._heads = lru_cache(64)(self._written_heads)
        self.ending = lru_cache(64)(self._ending)

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
        ending = self.ending(kind, model_version, partition, generated_at_ms)
        after = ending.of(source, offset, timestamp_ms)
        # Joined, since a format with a long %b copies what it has so far.
        return b"".join((before(user_id), items, after))

    def _ending(self, kind: ListKind, model_version: str, partition: int, generated_at_ms: int) -> "Ending":
        return Ending(self._heads(kind, model_version, partition), b'},"generated_at":%d}' % generated_at_ms)

    def _written_heads(self, kind: ListKind, model_version: str, partition: int) -> list[bytes]:
        return [
            b'],"kind":%b,"model_version":%b,"event":{"topic":%b,"partition":%d,"offset":'
            % (_encode(kind), _encode(model_version), _encode(topic), partition)
            for topic in self._topics
        ]


class Ending:
    """What stands behind the items of lists that differ in their users and events alone."""

    __slots__ = ("_heads", "_tail")

    def __init__(self, heads: Sequence[bytes], tail: bytes) -> None:
        """Take what stands before the offset of an event of each source, and what stands behind its time."""
        self._heads = heads
        self._tail = tail

    def of(self, source: int, offset: int, timestamp_ms: int) -> bytes:
        """Write it for the list of an event."""
        return b'%b%d,"timestamp":%d%b' % (self._heads[source], offset, timestamp_ms, self._tail)


def before(user_id: str) -> bytes:
    """Write what stands before the items of a user's list."""
    return b'{"user_id":%b,"items":[' % _encode(user_id)


class Places:
    """Items whose score follows from the place alone: ``scores[place]``."""

    def __init__(self, scores: Sequence[float]) -> None:
        """Prepare what stands around the ids of a list of every length."""
        after = [b'","score":' + _encode(score) for score in scores]
        between = b'},{"item_id":"'
        self._pieces: list[list[bytes]] = [[b"", b""]]
        for length in range(1, len(scores) + 1):
            pieces = [b""] * (2 * length + 3)
            pieces[1] = b'{"item_id":"'
            pieces[3:-1:2] = [one + between for one in after[: length - 1]] + [after[length - 1] + b"}"]
            self._pieces.append(pieces)

    def items(self, id_texts: Collection[bytes], before: bytes = b"", after: bytes = b"") -> bytes:
        """Write items, best first; at most as many as there are scores; between ``before`` and ``after``."""
        pieces = self._pieces[len(id_texts)]
        pieces[0], pieces[2:-1:2], pieces[-1] = before, id_texts, after
        return b"".join(pieces)


def scored_items(
    id_texts: npt.NDArray[np.object_], rows: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]
) -> list[bytes]:
    """Write the items of many lists: ``rows`` (B, n) and ``scores`` (B, n), best first, -1 after the end.

    ``id_texts`` (N,) are the texts of the rows' ids. An empty list is the empty text.
    """
    if not rows.size:
        return [b""] * len(rows)
    lengths = (rows > 0).sum(1).tolist()
    ids = id_texts[rows.ravel()].tolist()
    rounded = _rounded(np.where(rows > 0, scores.astype(np.float64), 0.0))
    written = _encode(rounded.ravel().tolist())[1:-1].split(b",")
    places = rows.shape[1]
    whole = [b'},{"item_id":"', b"", b'","score":', b""] * places + [b"}"]
    whole[0] = b'{"item_id":"'
    found = []
    for begin, length in zip(range(0, rows.size, places), lengths, strict=True):
        pieces = whole if length == places else [*whole[: 4 * length], b"}" if length else b""]
        pieces[1::4], pieces[3::4] = ids[begin : begin + length], written[begin : begin + length]
        found.append(b"".join(pieces))
    return found


def _rounded(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scores to ``SIGNIFICANT_DIGITS``, as the numbers with the shortest texts."""
    magnitude = np.floor(np.log10(np.abs(scores), where=scores != 0, out=np.zeros(scores.shape)))
    scale = 10.0 ** (SIGNIFICANT_DIGITS - 1 - magnitude)
    return np.rint(scores * scale) / scale
