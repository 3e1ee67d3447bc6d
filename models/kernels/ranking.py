"""The best columns of lines of scores.

Scores are compared as integers, which a processor does many at a time without asking for those that are no
numbers. The key of a float's bits keeps the order of floats: those of negative numbers, of which greater
bits mean less, are turned round. To turn them round once more gives the bits.
"""

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiling import BITS, BITS_OF_LINES, FLAGS, POSITIONS, compiled

Bits = NDArray[np.int32]

CHUNK = 64  # columns under one maximum
_MAGNITUDE = np.int32(0x7FFFFFFF)
_INFINITE = np.int32(0x7F800000)  # the bits of infinity; the magnitude of what is no number is above it
_NOWHERE = np.int32(-0x80000000)  # below every key
_NEVER = np.int32(0x7F800000 ^ -1)  # the key of -inf
_SIGN = np.int32(31)
_MINUS_ZERO = np.int32(-1)  # its key; plus zero's is 0


@compiled(f"int32({BITS}, int32[::1], int32[::1])")
def _highest(values: Bits, caps: Bits, maxima: Bits) -> np.int32:
    """Write the highest key of each chunk of ``values`` (N,) into ``maxima``; gives the largest magnitude.

    ``caps`` (N,) are the highest keys that columns can have: the lesser of the two is the column's key.
    """
    whole, rest = len(values) // CHUNK, len(values) % CHUNK
    largest = np.int32(0)
    for chunk in range(whole):
        first = chunk * CHUNK
        highest, magnitude = _NOWHERE, _NOWHERE
        # Two loops and a length known beforehand: else neither is done many at a time.
        for at in range(CHUNK):
            bits = values[first + at]
            highest = max(highest, min(caps[first + at], bits ^ ((bits >> _SIGN) & _MAGNITUDE)))
        for at in range(CHUNK):
            magnitude = max(magnitude, min(caps[first + at], values[first + at] & _MAGNITUDE))
        maxima[chunk] = highest
        largest = max(largest, magnitude)
    highest = _NOWHERE
    for at in range(len(values) - rest, len(values)):
        bits = values[at]
        highest = max(highest, min(caps[at], bits ^ ((bits >> _SIGN) & _MAGNITUDE)))
        largest = max(largest, min(caps[at], bits & _MAGNITUDE))
    maxima[whole] = highest
    return largest


@compiled("int32(int32[::1], int32[::1])")
def _reached(maxima: Bits, keys: Bits) -> np.int32:
    """Give a key that n columns reach, the n-th highest of ``maxima``, but above that of -inf.

    ``keys`` (n,) is room to put them in order.
    """
    last = len(keys) - 1
    keys[:] = _NEVER
    for chunk in range(len(maxima)):
        key = maxima[chunk]
        if key > keys[last]:
            place = last
            while place > 0 and keys[place - 1] < key:
                keys[place] = keys[place - 1]
                place -= 1
            keys[place] = key
    reached = max(keys[last], np.int32(_NEVER + 1))
    # The zeros are equal scores.
    return _MINUS_ZERO if reached == 0 else reached


@compiled(f"int64({BITS}, int32[::1], int32[::1], int32, int32[::1], int32[::1])")
def _listed(  # noqa: PLR0917
    values: Bits, caps: Bits, maxima: Bits, reached: np.int32, rows: Bits, keys: Bits
) -> int:
    """Write the best n columns of ``values`` (N,) into ``rows``, their keys into ``keys``; gives how many.

    Those alone that have ``reached`` as much, which n have, or all that may be listed.
    """
    n, full = len(rows), 0
    for chunk in range(len(maxima)):
        if maxima[chunk] < reached:
            continue
        for column in range(chunk * CHUNK, min(chunk * CHUNK + CHUNK, len(values))):
            key = values[column]
            key ^= (key >> _SIGN) & _MAGNITUDE
            if key < reached or caps[column] == _NOWHERE:
                continue
            if key == _MINUS_ZERO:
                key = np.int32(0)
            if full < n:
                place = full
                full += 1
            elif key > keys[n - 1]:
                place = n - 1
            else:
                continue
            while place > 0 and keys[place - 1] < key:  # of equal ones the earlier column stays before
                keys[place], rows[place] = keys[place - 1], rows[place - 1]
                place -= 1
            keys[place], rows[place] = key, column
    return full


@compiled(f"int64({BITS_OF_LINES}, {FLAGS}, {POSITIONS}, {POSITIONS}, int32[:, ::1], int32[:, ::1])")
def best_of_lines(  # noqa: PLR0917
    scores: Bits,
    available: NDArray[np.uint8],
    excluded: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: Bits,
    best: Bits,
) -> int:
    """Write the best n columns of each line of ``scores`` (B, N) and their scores: ``rows``, ``best`` (B, n).

    Plainly `ranking.top_n_plain`. ``scores`` and ``best`` are floats' bits. ``available`` (N,) is empty
    where all are; ``excluded`` are the columns excluded from each line, those of line l up to ``ends[l]``.
    Gives the first line with a score that is no number, -1 where there is none.
    """
    count, width = scores.shape
    maxima = np.empty(width // CHUNK + 1, np.int32)
    caps = np.empty(width, np.int32)
    caps[:] = _MAGNITUDE
    for column in range(len(available)):
        if not available[column]:
            caps[column] = _NOWHERE
    caps[0] = _NOWHERE
    begin = 0
    for line in range(count):
        values, listed, keys = scores[line], rows[line], best[line]
        for at in range(begin, ends[line]):
            caps[excluded[at]] = _NOWHERE
        if _highest(values, caps, maxima) > _INFINITE:
            return line
        full = _listed(values, caps, maxima, _reached(maxima, keys), listed, keys)
        for place in range(full):
            key = keys[place]
            keys[place] = key ^ ((key >> _SIGN) & _MAGNITUDE)
        listed[full:], keys[full:] = np.int32(-1), np.int32(_NEVER ^ _MAGNITUDE)
        for at in range(begin, ends[line]):
            column = excluded[at]
            barred = column == 0 or (len(available) > 0 and not available[column])
            caps[column] = _NOWHERE if barred else _MAGNITUDE
        begin = ends[line]
    return -1
