"""Which partition a key belongs to: as Java's clients choose, as ours do, and as librdkafka by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from zlib import crc32

from aiokafka.partitioner import murmur2

from stream.errors import TopicError

Choose = Callable[[bytes], int]
"""A key's hash; its remainder by the partition count is the partition."""


def murmur2_hash(key: bytes) -> int:
    """Return the hash by which Java's clients and ours choose."""
    return int(murmur2(key) & 0x7FFFFFFF)


PARTITIONERS: Final[Mapping[str, Choose]] = {"murmur2": murmur2_hash, "crc32": crc32}
"""By name; CRC-32 is what librdkafka takes where it is told nothing."""


def fitting(choices: Sequence[Choose], key: bytes, partition: int, partitions: int) -> Sequence[Choose]:
    """Return those of ``choices`` that put a key into the partition where it lies.

    Raises ``TopicError`` where none does: users would be parted from their state.
    """
    left = [choose for choose in choices if choose(key) % partitions == partition]
    if not left:
        raise TopicError(
            f"the key {key!r} lies in partition {partition} of {partitions}, where neither "
            f"{' nor '.join(PARTITIONERS)} puts it together with the others; their new partition cannot "
            "be told"
        )
    return left
