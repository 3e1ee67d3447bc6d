"""Lists whose scores follow from the place alone, written faster than one by one.

``stream.messages.encode`` needs an object for each place; at 100,000 lists a second those are
a third of what a list costs. Here the text of each length is prepared and the ids are filled in.
"""

from collections.abc import Collection, Sequence

import msgspec

from stream.messages import ListKind

_encode = msgspec.json.Encoder().encode


class ListEncoder:
    """Writes lists of one kind and one version, with ``scores[place]`` for each place.

    The bytes are those that ``encode`` makes of the same ``RecommendationList``.
    """

    def __init__(
        self, scores: Sequence[float], *, kind: ListKind, model_version: str, topics: Sequence[str]
    ) -> None:
        """Prepare the text of every length; ``topics`` are the event topics by their number."""
        places = [b'{"item_id":"%b","score":' + msgspec.json.encode(score) + b"}" for score in scores]
        self._items = [b",".join(places[:length]) for length in range(len(places) + 1)]
        self._heads = [
            b'],"kind":%b,"model_version":%b,"event":{"topic":%b,"partition":'
            % (msgspec.json.encode(kind), msgspec.json.encode(model_version), msgspec.json.encode(topic))
            for topic in topics
        ]

    def encode(
        self, user_id: str, id_texts: Collection[bytes], ref: tuple[int, int, int, int], generated_at_ms: int
    ) -> bytes:
        """Write one list, best first; at most as many items as there are scores.

        ``id_texts`` are the items' ids as ``stream.state.id_text`` writes them; ``ref`` is the event's
        source, partition, offset and event time.
        """
        source, partition, offset, timestamp_ms = ref
        return b'{"user_id":%b,"items":[%b%b%d,"offset":%d,"timestamp":%d},"generated_at":%d}' % (
            _encode(user_id),
            self._items[len(id_texts)] % tuple(id_texts),
            self._heads[source],
            partition,
            offset,
            timestamp_ms,
            generated_at_ms,
        )
