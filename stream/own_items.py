"""A user's own last items, which are the list where no network ranks one."""

from collections.abc import Collection

from stream.list_encoder import Ending, Places, before
from stream.state import UserState


class OwnLists:
    """Writes the lists of a batch that are its users' own last items."""

    __slots__ = ("_ending", "_places")

    def __init__(self, places: Places, ending: Ending) -> None:
        """Take what stands around the items."""
        self._places = places
        self._ending = ending

    def write(
        self, before: bytes, texts: Collection[bytes], source: int, offset: int, timestamp_ms: int
    ) -> bytes:
        """Write a user's list after an event; ``before`` is what `list_encoder.before` writes of the user."""
        return self._places.items(texts, before, self._ending.of(source, offset, timestamp_ms))


class OwnItems:
    """The texts of a user's last items, newest first, none twice, at most ``size``.

    Read off the record once; an event that lengthens the record then moves one item, where reading
    would look at all of them again.
    """

    __slots__ = ("_known", "_size", "before", "texts")

    def __init__(self, user_id: str, state: UserState, size: int) -> None:
        """Read the retained events of ``state``; ``before`` is what the user's lists begin with."""
        self._size = size
        self.before = before(user_id)
        self.texts = newest_texts(state, size)
        self._known = set(self.texts)

    def add(self, text: bytes) -> None:
        """Put the item of an event behind all others in front."""
        texts, known = self.texts, self._known
        if text in known:
            texts.remove(text)
        else:
            known.add(text)
        texts.insert(0, text)
        if len(texts) > self._size:
            known.remove(texts.pop())


def newest_texts(state: UserState, size: int) -> list[bytes]:
    """Return the texts of the last ``size`` items, newest first, none twice; fewer where there are fewer."""
    texts = state.item_texts.rsplit(b"\n", size)[-size:]
    texts.reverse()
    if len(set(texts)) == len(texts):
        return texts
    newest = list(dict.fromkeys(texts))
    if len(newest) < size and len(texts) == size:
        newest = list(dict.fromkeys(reversed(state.item_texts.split(b"\n"))))[:size]
    return newest
