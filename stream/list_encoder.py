"""Lists whose scores follow from the place alone, written faster than one by one.

``stream.messages.encode`` needs an object for each place; at 100,000 lists a second those are
a third of what a list costs. Here the text of each length is prepared and the ids are filled in.
"""

from collections.abc import Sequence

import msgspec

from stream.messages import ListKind

MAX_QUOTED = 1_000_000
"""Ids whose JSON text is kept; the memory of a large catalogue, some 100 MB at most."""


class _Quoted(dict[str, bytes]):
    """The JSON text of each text, made when first asked for."""

    def __missing__(self, text: str) -> bytes:
        """Make it, and forget the others when there are too many."""
        if len(self) >= MAX_QUOTED:
            self.clear()
        quoted = self[text] = msgspec.json.encode(text)
        return quoted


class ListEncoder:
    """Writes lists of one kind and one version, with ``scores[place]`` for each place.

    The bytes are those that ``encode`` makes of the same ``RecommendationList``.
    """

    def __init__(
        self, scores: Sequence[float], *, kind: ListKind, model_version: str, topics: Sequence[str]
    ) -> None:
        """Prepare the text of every length; ``topics`` are the event topics by their number."""
        places = [b'{"item_id":%b,"score":' + msgspec.json.encode(score) + b"}" for score in scores]
        self._items = [b",".join(places[:length]) for length in range(len(places) + 1)]
        self._heads = [
            b'],"kind":%b,"model_version":%b,"event":{"topic":%b,"partition":'
            % (msgspec.json.encode(kind), msgspec.json.encode(model_version), msgspec.json.encode(topic))
            for topic in topics
        ]
        self._quoted = _Quoted()

    def encode(
        self,
        user_id: str,
        item_ids: Sequence[str],
        *,
        source: int,
        partition: int,
        offset: int,
        timestamp_ms: int,
        generated_at_ms: int,
    ) -> bytes:
        """Write one list, best first; at most as many items as there are scores."""
        return b'{"user_id":%b,"items":[%b%b%d,"offset":%d,"timestamp":%d},"generated_at":%d}' % (
            msgspec.json.encode(user_id),
            self._items[len(item_ids)] % tuple(map(self._quoted.__getitem__, item_ids)),
            self._heads[source],
            partition,
            offset,
            timestamp_ms,
            generated_at_ms,
        )
