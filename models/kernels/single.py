"""One event alone: the state after it, and its scores."""

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiling import MATRIX, POSITIONS, VECTOR, compiled

Floats = NDArray[np.float32]

_BLOCK = 256  # scores that are summed up together: they stay in the processor's first cache


@compiled(f"void({MATRIX}, {VECTOR}, float32, float32, float32[::1])", loosely=True)
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


@compiled(f"void({MATRIX}, {POSITIONS}, {MATRIX}, {VECTOR}, {VECTOR}, float32[::1])", loosely=True)
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
