"""A user's own last items, which are the list where no network ranks one."""

from stream.list_encoder import before
from stream.state import UserState


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
        self._known = newest_texts(state, size)
        self.texts = list(self._known)

    def add(self, text: bytes) -> None:
        """Put the item of an event behind all others in front."""
        texts, known = self.texts, self._known
        if text in known:
            texts.remove(text)
        else:
            known[text] = None
        texts.insert(0, text)
        if len(texts) > self._size:
            del known[texts.pop()]


def newest_texts(state: UserState, size: int) -> dict[bytes, None]:
    """Return the texts of the last ``size`` items as keys, newest first; fewer where there are fewer."""
    texts = state.item_texts.rsplit(b"\n", size)[-size:]
    texts.reverse()
    newest = dict.fromkeys(texts)
    if len(newest) < size and len(texts) == size:
        every = dict.fromkeys(reversed(state.item_texts.split(b"\n")))
        newest = dict.fromkeys(list(every)[:size])
    return newest
