"""Where keys belong under another partition count, and what of a record goes along."""

from zlib import crc32

import pytest

from stream.errors import StateError, TopicError
from stream.partitioner import PARTITIONERS, Choose, fitting
from stream.repartition import resettled
from stream.state import NEVER, SOURCES, UserState, decode_state, encode_state
from tests.support.deployment import partition_of

KEYS = [b"user-%d" % number for number in range(50)]


def partitioner_of(keys: list[tuple[bytes, int]], partitions: int) -> Choose:
    """Return the first partitioner under which each key lies in its partition."""
    choices = list(PARTITIONERS.values())
    for key, partition in keys:
        choices = fitting(choices, key, partition, partitions)
    return choices[0]


def test_keys_of_javas_clients_are_known():
    """They lie where murmur2 puts them."""
    choose = partitioner_of([(key, partition_of(key, 4)) for key in KEYS], 4)
    assert [choose(key) % 7 for key in KEYS] == [partition_of(key, 7) for key in KEYS]


def test_keys_of_librdkafka_are_known():
    """They lie where CRC-32 puts them."""
    choose = partitioner_of([(key, crc32(key) % 4) for key in KEYS], 4)
    assert [choose(key) % 7 for key in KEYS] == [crc32(key) % 7 for key in KEYS]


def test_without_keys_it_is_that_of_our_own_producer():
    """Nothing is there to tell it by."""
    assert partitioner_of([], 4) is PARTITIONERS["murmur2"]


def test_keys_of_an_unknown_partitioner_are_refused():
    """Their users would be parted from their state; one such key is named."""
    with pytest.raises(TopicError, match=r"the key b'user-\d+' lies in partition \d of 4, where neither"):
        partitioner_of([(key, sum(key) % 4) for key in KEYS], 4)


def test_a_record_keeps_everything_but_the_offsets():
    """They are of topics that it leaves."""
    state = UserState(base_ms=7, behaviors=b"\x00", gaps=b"\x00", item_texts=b"i", offsets=[9] * SOURCES)
    moved = decode_state(resettled(encode_state(state)))
    assert moved.offsets == [NEVER] * SOURCES
    moved.offsets = state.offsets
    assert moved == state


def test_a_record_that_cannot_be_read_is_not_moved():
    """What it holds is not known, so neither is what would be lost."""
    with pytest.raises(StateError):
        resettled(b"no record of ours")
