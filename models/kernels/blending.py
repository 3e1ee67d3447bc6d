"""What a blend adds to scores, and the item of a category that leads a list."""

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiling import BITS, BITS_OF_LINES, FLAGS, MATRIX, POSITIONS, VECTOR, compiled

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
Positions = NDArray[np.int64]


_SIGNIFICAND_BITS = np.int32(23)
_ROOT_OF_HALF = np.int32(0x3F3504F3)  # its bits
_LOG_2 = np.float32(0.6931471805599453)


@compiled("void(float32[::1], int64)", loosely=True)
def _to_logarithms(values: Floats, count: int) -> None:
    """Replace the first ``count`` values, finite and 1 or more, by their natural logarithms, to 2e-7 of each.

    As in Cephes (Moshier 1989): the value is 2 to a whole power times one between the roots of 1/2 and 2, of
    which a polynomial tells the logarithm. Unlike the library's function it has no branch, so that many
    are done at a time.
    """
    bits = values.view(np.int32)
    for at in range(count):
        power = (bits[at] - _ROOT_OF_HALF) >> _SIGNIFICAND_BITS
        bits[at] -= power << _SIGNIFICAND_BITS
        above = values[at] - np.float32(1)
        tail = np.float32(7.0376836292e-2)
        tail = tail * above - np.float32(1.1514610310e-1)
        tail = tail * above + np.float32(1.1676998740e-1)
        tail = tail * above - np.float32(1.2420140846e-1)
        tail = tail * above + np.float32(1.4249322787e-1)
        tail = tail * above - np.float32(1.6668057665e-1)
        tail = tail * above + np.float32(2.0000714765e-1)
        tail = tail * above - np.float32(2.4999993993e-1)
        tail = tail * above + np.float32(3.3333331174e-1)
        square = above * above
        values[at] = above + (above * square * tail - square / np.float32(2)) + np.float32(power) * _LOG_2


@compiled(
    f"void(float32[:, ::1], {BITS_OF_LINES}, {POSITIONS}, {BITS}, {VECTOR}, "
    "int64, float32, float32, float32, float32[::1])"
)
def add_sums(  # noqa: PLR0917
    scores: Floats,
    had: Rows,
    begins: Positions,
    rows: Rows,
    weights: Floats,
    depth: int,
    decay: float,
    weight: float,
    smallest: float,
    sums: Floats,
) -> None:
    """Add ``weight`` times log(1 + c / ``smallest``) to the ``scores`` (B, N), for one of the blend's sums c.

    Plainly `blend.nearness`. ``had`` (B, R) are users' items, newest first and zeros behind them, of which
    ``depth`` count, each ``decay`` of the one before. The row of item i in the sum's table is ``rows`` and
    ``weights`` from ``begins[i]`` to ``begins[i + 1]``. ``sums`` (N,) is room: zeros, before and after.
    """
    most = 0
    for line in range(len(had)):
        entries = 0
        for place in range(min(depth, had.shape[1])):
            if had[line, place] == 0:
                break
            entries += begins[had[line, place] + 1] - begins[had[line, place]]
        most = max(most, entries)
    found, values = np.empty(most, np.int32), np.empty(most, np.float32)
    for line in range(len(scores)):
        share = np.float32(1)
        for place in range(min(depth, had.shape[1])):
            item = had[line, place]
            if item == 0:
                break
            for at in range(begins[item], begins[item + 1]):
                sums[rows[at]] += share * weights[at]
            share *= decay
        count = 0
        for place in range(min(depth, had.shape[1])):
            item = had[line, place]
            if item == 0:
                break
            for at in range(begins[item], begins[item + 1]):
                row = rows[at]
                # Written in any case, since nobody foresees which rows come again: those are zero by now.
                found[count], values[count] = row, np.float32(1) + sums[row] / smallest
                count += sums[row] != 0
                sums[row] = 0
        _to_logarithms(values, count)
        for at in range(count):
            scores[line, found[at]] += weight * values[at]


@compiled(f"void(float32[:, ::1], {BITS_OF_LINES}, {POSITIONS}, {MATRIX}, {POSITIONS})")
def add_had(scores: Floats, had: Rows, fresh: Positions, weights: Floats, ranges: Positions) -> None:
    """Add to the ``scores`` (B, N) of the items that users ``had`` (B, R) what having had them weighs.

    Plainly `blend.belongings`. The first ``fresh`` (B,) items of a line are of the user's segment: their
    ``weights`` are the first line of (2, G), the others' the second; ``ranges`` (R,) is each place's column.
    """
    for line in range(len(scores)):
        for place in range(had.shape[1]):
            item = had[line, place]
            if item == 0:
                break
            earlier = 1 if place >= fresh[line] else 0
            scores[line, item] += weights[earlier, ranges[place]]


@compiled(
    f"void({MATRIX}, {POSITIONS}, {POSITIONS}, {POSITIONS}, {FLAGS}, {POSITIONS}, {POSITIONS}, int32[::1])"
)
def best_of_shelves(  # noqa: PLR0917
    scores: Floats,
    items: Positions,
    begins: Positions,
    category: Positions,
    available: NDArray[np.uint8],
    excluded: Positions,
    ends: Positions,
    best: Rows,
) -> None:
    """Write the best item of each user's ``category`` (B,) by the ``scores`` (B, N) into ``best`` (B,).

    Plainly `lead.Shelves.best`; -1 where there is none. ``available``, ``excluded`` and ``ends`` are as for
    `ranking.best_of_lines`.
    """
    begin = 0
    for line in range(len(scores)):
        end = ends[line]
        best[line] = -1
        highest = np.float32(-np.inf)
        shelf = category[line] if category[line] < len(begins) - 1 else 0
        for at in range(begins[shelf], begins[shelf + 1]):
            item = items[at]
            if not scores[line, item] > highest or (len(available) > 0 and not available[item]):
                continue
            barred = False
            for which in range(begin, end):
                barred |= excluded[which] == item
            if not barred:
                highest, best[line] = scores[line, item], item
        begin = end
