"""Inputs for decoders: what is right, changed at a few places, by a seed.

A change is to the bytes or to the structure: a token of a JSON text or of a table, a field of a record
in msgpack, the header of a safetensors file. Bytes alone rarely get past the first bracket.
"""

import math
import random
import re
import struct
from collections.abc import Callable, Sequence

import msgspec

Mutate = Callable[[random.Random], bytes]

LONG = b"x" * 257
DEEP = 3_000
"""Deeper than any decoder here can follow, and no more work than needed."""

JSON_VALUES = (
    *(b"null", b"true", b"false", b"0", b"-1", b"-0.0", b"1.5", b"1e400", b"-1e400", b"1e-400", b"NaN"),
    *(b"Infinity", b"9" * 400, b"253402300799999", b"253402300800000", b"9223372036854775807"),
    *(b"9223372036854775808", b"18446744073709551616", b"-9223372036854775809", b"4294967296"),
    *(b'""', b'"x"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b'"\\n"'),
    *(b'"' + LONG + b'"', b'"' + LONG[1:] + b'"', b'"e\xcc\x81"', b'"2017-11-24T18:21:10.123+01:00"'),
    *(b'"2016-12-31T23:59:60Z"', b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"'),
    *(b'"2017-11-24T18:21:10"', b'"2017-02-29T00:00:00Z"', b"[]", b"{}", b"[null]", b'{"a":{"b":[1]}}'),
    *(b"[" * DEEP + b"]" * DEEP, b"[" * 64 + b"]" * 64),
)
JSON_TOKENS = (
    *JSON_VALUES,
    *(b"[" * DEEP, b'{"a":' * DEEP, b",", b":", b"{", b"}", b"[", b"]", b'"'),
    *(b"\x00", b"\xef\xbb\xbf", b"\n", b"/**/", b"\\", b" " * 64),
)
ROW_TOKENS = (
    *(b"", b",", b"\t", b";", b"|", b'"', b'""', b"\n", b"\r", b"\r\n", b"\n\n", b"\x00", b"\xff"),
    *(b"\xef\xbb\xbf", b"1", b"5", b"0", b"-1", b"pv", b"buy", b"fly", b"nan", b"null", b" ", b"1511544070"),
    *(b"1511544070123", b"9" * 40, b"1e30", b"1.5", b"inf", b"2014-12-06 02", b"2014-12-06T02:03:04.5+01:00"),
    *(
        b"2014-02-30 02",
        LONG,
        LONG[1:],
        b'"a\nb"',
        b'"a""b"',
        b"user_id",
        b"item_id",
        b"timestamp",
        b"behavior",
    ),
)
FIELDS: Sequence[object] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31, 2**32, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, math.nan),
    *(b"", b"\x00", b"\xff" * 8, b"\\", b"a\nb", b"\xff\xfe\n", "", "a", "é", [], {}, [None], [-1] * 5),
    *([0] * 6, [2**64 - 1] * 5, ["a"], [1, 2, 3, 4], {"a": 1}, {1: 2}),
    *(msgspec.Raw(b"\xa1\xff"), msgspec.Raw(b"\x91\xa1\xff"), msgspec.Raw(b"\x91" * DEEP)),
    *(msgspec.Raw(b"\xdd\xff\xff\xff\xff"), msgspec.Raw(b"\xc6\xff\xff\xff\xff"), msgspec.Raw(b"\xc1")),
    *(msgspec.Raw(b"\xd6\xff\x00\x00\x00\x00"), msgspec.Raw(b"\xdb\x00\x00\x00\x01\xff")),
)

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|\s+|.', re.DOTALL)
_VALUE = re.compile(rb'["\w]')
_ROW_TOKEN = re.compile(rb"[^,\t;|\r\n\"]+|.", re.DOTALL)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def at_random(rng: random.Random, size: int) -> int:
    """Return a whole number from 0 to before ``size``; some four times as fast as ``randrange``."""
    return int(rng.random() * size)


def changed_bytes(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Return ``data`` with one place changed: a byte, a piece cut out, doubled or put in, or its end."""
    start = at_random(rng, len(data) + 1)
    before, after = data[:start], data[start:]
    some = at_random(rng, 9)
    match at_random(rng, 7):
        case 0:
            after = bytes((at_random(rng, 256),)) + after[1:]
        case 1:
            after = bytes(((after or b"\0")[0] ^ 1 << at_random(rng, 8),)) + after[1:]
        case 2:
            after = after[some:]
        case 3:
            after = after[:some] + after
        case 4:
            after = rng.randbytes(1 + some // 2) + after
        case 5:
            after = b""
        case _:
            other = others[at_random(rng, len(others))]
            after = other[at_random(rng, len(other) + 1) :]
    return before + after


def changed_tokens(tokens: list[bytes], rng: random.Random, put_in: Sequence[bytes]) -> None:
    """Change one token in place: another in its stead or beside it, none, or two that change places."""
    if not tokens:
        tokens.append(b"")
    at, choice = at_random(rng, len(tokens)), at_random(rng, 8)
    if choice <= 3:
        tokens[at] = put_in[at_random(rng, len(put_in))]
    elif choice == 4:
        tokens.insert(at, put_in[at_random(rng, len(put_in))])
    elif choice == 5:
        del tokens[at]
    elif choice == 6:
        tokens[at:at] = tokens[at : at + 1 + at_random(rng, 6)]
    else:
        other = at_random(rng, len(tokens))
        tokens[at], tokens[other] = tokens[other], tokens[at]


def of_bytes(seeds: Sequence[bytes]) -> Mutate:
    """Make inputs by changes of bytes alone."""

    def mutate(rng: random.Random) -> bytes:
        data = seeds[at_random(rng, len(seeds))]
        for _ in range(1 + at_random(rng, 3)):
            data = changed_bytes(data, rng, seeds)
        return data

    return mutate


def of_json(seeds: Sequence[bytes]) -> Mutate:
    """Make inputs from JSON texts."""
    return _of_tokens(seeds, _TOKEN, JSON_TOKENS)


def of_rows(seeds: Sequence[bytes]) -> Mutate:
    """Make inputs from delimited tables."""
    return _of_tokens(seeds, _ROW_TOKEN, ROW_TOKENS)


def of_records(seeds: Sequence[bytes]) -> Mutate:
    """Make inputs from msgpack arrays; a seed that is none is changed by its bytes."""
    fields = [_fields(seed) for seed in seeds]

    def mutate(rng: random.Random) -> bytes:
        chosen = at_random(rng, len(seeds))
        data, record = seeds[chosen], fields[chosen]
        plain = rng.random()
        if record and plain > 0.3:
            changed = list(record)
            for _ in range(1 + at_random(rng, 3)):
                changed[at_random(rng, len(changed))] = FIELDS[at_random(rng, len(FIELDS))]
            data = _pack(changed)
        return changed_bytes(data, rng, seeds) if plain < 0.5 else data

    return mutate


def of_tensors(seeds: Sequence[bytes]) -> Mutate:
    """Make inputs from safetensors files: the header's tokens, mostly with its length put right."""
    parts = [_header_and_data(seed) for seed in seeds]

    def mutate(rng: random.Random) -> bytes:
        header, data = parts[at_random(rng, len(parts))]
        kind = rng.random()
        if kind < 0.2:
            return changed_bytes(seeds[at_random(rng, len(seeds))], rng, seeds)
        tokens = _TOKEN.findall(header)
        for _ in range(1 + at_random(rng, 2)):
            changed_tokens(tokens, rng, JSON_TOKENS)
        header = b"".join(tokens)
        if kind < 0.3:
            data = changed_bytes(data, rng, seeds)
        length = len(header) if kind < 0.9 else at_random(rng, 1 << 20)
        return struct.pack("<Q", length) + header + data

    return mutate


def _of_tokens(seeds: Sequence[bytes], pattern: re.Pattern[bytes], put_in: Sequence[bytes]) -> Mutate:
    split = [pattern.findall(seed) for seed in seeds]
    values = [[at for at, token in enumerate(tokens) if _VALUE.match(token)] for tokens in split]

    def mutate(rng: random.Random) -> bytes:
        chosen = at_random(rng, len(split))
        tokens, places = split[chosen].copy(), values[chosen]
        plain = rng.random()
        if plain > 0.5 and places:
            # What the text says is changed, and it stays one.
            tokens[places[at_random(rng, len(places))]] = JSON_VALUES[at_random(rng, len(JSON_VALUES))]
        if 0.2 < plain < 0.7:
            for _ in range(1 + at_random(rng, 3)):
                changed_tokens(tokens, rng, put_in)
        data = b"".join(tokens)
        return changed_bytes(data, rng, seeds) if plain < 0.4 else data

    return mutate


def _fields(seed: bytes) -> list[object]:
    """Return the fields of a msgpack array."""
    try:
        fields = _unpack(seed)
    except (ValueError, RecursionError):
        return []
    return fields if isinstance(fields, list) else []


def _header_and_data(seed: bytes) -> tuple[bytes, bytes]:
    """Cut a safetensors file after its header."""
    end = 8 + int.from_bytes(seed[:8], "little")
    return seed[8:end], seed[end:]
