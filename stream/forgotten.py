"""Who was forgotten, and when: what comes later about the time before that is of nobody.

Every worker reads all of `users.forget`, since a late event can come to another partition than the
request did. This is held in memory only; what the topic no longer keeps is forgotten itself, so it must be
kept for longer than an event can be late.
"""

from typing import TYPE_CHECKING

from stream.clock import now_ms
from stream.errors import Rejected
from stream.messages import decode_forget

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord


class Forgotten(dict[bytes, int]):
    """The time of each user's last request, in milliseconds since the epoch, by the user's key."""

    def note(self, key: bytes, at_ms: int) -> None:
        """Remember a request, unless a later one of the user is known."""
        self[key] = max(at_ms, self.get(key, at_ms))

    async def handle(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Take one record of users.forget; a bad one is refused where the requests are carried out."""
        try:
            key = decode_forget(record.key).encode()
        except Rejected:
            return
        self.note(key, min(record.timestamp, now_ms()))
