"""Records of a changelog without Kafka."""

from typing import NamedTuple


class Logged(NamedTuple):
    """A record as a store reads it back."""

    offset: int
    key: bytes | None
    value: bytes | None
