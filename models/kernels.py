"""Loops that numba compiles: a ranking, and one event's step and scores, for which calls would cost more.

Imported through `models.compiled` alone, since numba need not be installed. Each function has a plain
form, named in its docstring, which stands where numba is missing and is the tests' oracle. They trust their
callers: no index is checked. Compiled as this module is imported, which takes some seconds, or read from
numba's cache where one can be kept.

Scores are compared as integers, which a processor does many at a time without asking for those that are no
numbers. ``key`` of a float's bits keeps the order of floats: those of negative numbers, of which greater
bits mean less, are turned round. It is its own inverse.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bits = NDArray[np.int32]

Loop = TypeVar("Loop", bound=Callable[..., Any])

CHUNK = 64  # columns under one maximum
_BLOCK = 256  # scores that are summed up together: they stay in the processor's first cache

_MAGNITUDE = np.int32(0x7FFFFFFF)
_INFINITE = np.int32(0x7F800000)  # the bits of infinity; the magnitude of what is no number is above it
_NOWHERE = np.int32(-0x80000000)  # below every key
_NEVER = np.int32(0x7F800000 ^ -1)  # the key of -inf
_SIGN = np.int32(31)
_MINUS_ZERO = np.int32(-1)  # its key; plus zero's is 0

# Arrays that are only read may be read-only ones.
_BITS, _BITS_OF_LINES = "Array(int32, 1, 'C', readonly=True)", "Array(int32, 2, 'C', readonly=True)"
_FLAGS, _POSITIONS = "Array(uint8, 1, 'C', readonly=True)", "Array(int64, 1, 'C', readonly=True)"
_VECTOR, _MATRIX = "Array(float32, 1, 'C', readonly=True)", "Array(float32, 2, 'C', readonly=True)"


def _compiled(signature: str, *, loosely: bool = False) -> Callable[[Loop], Loop]:
    """Compile a function for one ``signature``; ``loosely``: sums may be made in any order."""

    def compiled(loop: Loop) -> Loop:
        freely: bool | set[str] = {"reassoc", "contract", "nsz"} if loosely else False
        try:
            made: Any = numba.njit(signature, boundscheck=False, fastmath=freely, cache=True)(loop)
        except RuntimeError:  # numba's word for having no folder to write to
            made = numba.njit(signature, boundscheck=False, fastmath=freely)(loop)
        return cast(Loop, made)

    return compiled


@_compiled(f"int32({_BITS}, int32[::1], int32[::1])")
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


@_compiled("int32(int32[::1], int32[::1])")
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


@_compiled(f"int64({_BITS}, int32[::1], int32[::1], int32, int32[::1], int32[::1])")
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


@_compiled(f"int64({_BITS_OF_LINES}, {_FLAGS}, {_POSITIONS}, {_POSITIONS}, int32[:, ::1], int32[:, ::1])")
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


@_compiled(f"void({_MATRIX}, {_VECTOR}, float32, float32, float32[::1])", loosely=True)
def scores_of_one(vectors: Floats, hidden: Floats, scale: float, short: float, scores: Floats) -> None:
    """Write the ``scores`` (N,) of a ``hidden`` state (D - 1,) with the columns of ``vectors`` (D, N).

    Plainly `inference.Frozen.scores`; ``scale`` of 0: the state meets the vectors as it is.
    """
    size, count = vectors.shape
    query = np.ones(size, np.float32)
    if scale:
        squares = short * short
        for unit in range(size - 1):
            squares += hidden[unit] * hidden[unit]
        factor = scale / np.sqrt(squares)
    else:
        factor = np.float32(1)
    for unit in range(size - 1):
        query[unit] = factor * hidden[unit]
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        sums = scores[begin:end]
        sums[:] = np.float32(0)
        at = 0
        while at + 4 <= size:
            one, two, three, four = query[at], query[at + 1], query[at + 2], query[at + 3]
            first, second = vectors[at, begin:end], vectors[at + 1, begin:end]
            third, fourth = vectors[at + 2, begin:end], vectors[at + 3, begin:end]
            for column in range(end - begin):
                sums[column] += (
                    one * first[column] + two * second[column] + three * third[column] + four * fourth[column]
                )
            at += 4
        while at < size:
            one, first = query[at], vectors[at, begin:end]
            for column in range(end - begin):
                sums[column] += one * first[column]
            at += 1


@_compiled(f"void({_MATRIX}, {_POSITIONS}, {_MATRIX}, {_VECTOR}, {_VECTOR}, float32[::1])", loosely=True)
def gru_of_one(  # noqa: PLR0917
    table: Floats, shown: NDArray[np.int64], w_hh: Floats, b_hh: Floats, state: Floats, after: Floats
) -> None:
    """Write the state (H,) ``after`` one event, shown as the rows ``shown`` of ``table`` (R, 3H), into it.

    Plainly `inference.Frozen.gates` and `networks.gru_step`.
    """
    units = len(state)
    gates = np.empty(3 * units, np.float32)
    gates[:] = table[shown[0]]
    for which in range(1, len(shown)):
        gates += table[shown[which]]
    for unit in range(units):
        reset_row, update_row, new_row = w_hh[unit], w_hh[units + unit], w_hh[2 * units + unit]
        reset, update, new = b_hh[unit], b_hh[units + unit], b_hh[2 * units + unit]
        for at in range(units):
            reset += reset_row[at] * state[at]
        for at in range(units):
            update += update_row[at] * state[at]
        for at in range(units):
            new += new_row[at] * state[at]
        one = np.float32(1)
        reset = one / (one + np.exp(-(gates[unit] + reset)))
        update = one / (one + np.exp(-(gates[units + unit] + update)))
        new = np.tanh(gates[2 * units + unit] + reset * new)
        after[unit] = new + update * (state[unit] - new)
