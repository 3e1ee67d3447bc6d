"""Scores to lists: the one ranking, used by serving, evaluation and everything that ranks.

Shapes: ``B`` lists, ``N`` rows of the catalogue, ``n`` places of a list. Best first; of equal
scores the lower row comes first, so a list depends on the scores alone and not on how many were
ranked together. A full sort is not needed: the catalogue is cut into chunks, and the best n rows
lie in the n chunks with the highest maxima (a chunk that is not among those has n rows before
any of its own, the rule for ties included, because chunks are contiguous).
"""

from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from models.compiled import kernels

Scores = NDArray[np.float32]
Rows = NDArray[np.int32]

NO_ROW = -1
UNKNOWN_ROW = 0

CHUNK = 64  # columns under one maximum; near sqrt(N / n) for the catalogues of design.md
NARROWEST = 4  # columns under one maximum where there are few; below, as many maxima as columns
_BLOCK_CELLS = 1 << 19  # 2 MiB of scores at a time stay in the processor's cache
LOOP_PLACES = 128  # up to here a compiled loop is used, which inserts what it finds into the list so far
FEW_LINES, FEW_COLUMNS = 4, 1 << 15  # up to here the calls cost more than the work; above, chunks are faster
NO_NUMBER = "a score is not a number; the weights that made it are broken"
_NONE, _ALL = np.empty(0, np.int64), np.empty(0, np.uint8)
_LOWEST: np.float32 = np.finfo(np.float32).min  # -inf is below it and never listed


def top_n(
    scores: Scores,
    n: int,
    *,
    available: NDArray[np.bool_] | None = None,
    exclude: Sequence[NDArray[np.integer]] | None = None,
    categories: Rows | None = None,
    max_per_category: int = 0,
) -> tuple[Rows, Scores]:
    """The best n rows of each line of ``scores`` (B, N), and their scores; both (B, n).

    Never listed: row 0 (unknown), a score of -inf, a row that is not ``available`` (N,), and the
    rows that ``exclude`` names for that line. With ``max_per_category`` above 0 no category of
    ``categories`` (N,), or of each line (B, N), stands more often than that in a list; category 0
    means none and is not limited. Where fewer are left, the list ends in row -1 with score -inf.

    Raises ValueError for a score that is not a number, and IndexError for rows that are none of ``scores``.
    """
    if n < 1 or 0 in scores.shape:
        return nothing(len(scores), n)
    if available is not None and len(available) != scores.shape[1]:
        raise IndexError(f"{len(available)} rows are told available or not, of {scores.shape[1]}")
    if exclude is not None and len(exclude) != len(scores):
        raise IndexError(f"rows are excluded from {len(exclude)} lists, of {len(scores)}")
    limited = categories if max_per_category > 0 else None
    if limited is None and n <= LOOP_PLACES and (loops := kernels()) is not None:
        return _best_by_loops(loops, scores, n, available, exclude)
    found = []
    for block, candidates in _blocks(scores, available, exclude):
        if limited is not None:
            of_lines = np.broadcast_to(limited, scores.shape)[block]
            found.append(_best_spread(candidates, n, of_lines, max_per_category))
        else:
            found.append(_best(candidates, n))
    return joined(found)


def top_n_plain(
    scores: Scores,
    n: int,
    *,
    available: NDArray[np.bool_] | None = None,
    exclude: Sequence[NDArray[np.integer]] | None = None,
    categories: Rows | None = None,
    max_per_category: int = 0,
) -> tuple[Rows, Scores]:
    """What `top_n` promises, by sorting everything and walking down: the tests' oracle."""
    rows, best = nothing(len(scores), n)
    for line, values in enumerate(scores.tolist()):
        barred = set() if exclude is None else set(np.asarray(exclude[line]).tolist())
        taken: dict[int, int] = {}
        place = 0
        for row in sorted(range(len(values)), key=lambda row: (-values[row], row)):
            if row == UNKNOWN_ROW or row in barred or values[row] == -np.inf or place == n:
                continue
            if available is not None and not available[row]:
                continue
            category = 0 if categories is None else int(categories[row])
            if max_per_category > 0 and category > 0 and taken.get(category, 0) == max_per_category:
                continue
            taken[category] = taken.get(category, 0) + 1
            rows[line, place], best[line, place] = row, values[row]
            place += 1
    return rows, best


def nothing(count: int, n: int) -> tuple[Rows, Scores]:
    """Lists without a row, both (count, n)."""
    return np.full((count, n), NO_ROW, np.int32), np.full((count, n), -np.inf, np.float32)


def joined(parts: Sequence[tuple[Rows, Scores]]) -> tuple[Rows, Scores]:
    """The lists of one part or more, below each other."""
    if len(parts) == 1:
        return parts[0]
    rows, best = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(best)


def _best_by_loops(
    loops: ModuleType,
    scores: Scores,
    n: int,
    available: NDArray[np.bool_] | None,
    exclude: Sequence[NDArray[np.integer]] | None,
) -> tuple[Rows, Scores]:
    """What `top_n` promises where no category is limited, by `kernels.best_of_lines`."""
    count, width = scores.shape
    rows, best = np.empty((count, n), np.int32), np.empty((count, n), np.float32)
    open_rows = flags_of(available)
    # As they are, or copied some lines at a time: one line may have been told for all.
    at_once = count if scores.flags.c_contiguous else max(1, _BLOCK_CELLS // width)
    for start in range(0, count, at_once):
        block = slice(start, start + at_once)
        bits = np.ascontiguousarray(scores[block], np.float32).view(np.int32)
        barred, ends = excluded(None if exclude is None else exclude[block], len(bits), width)
        wrong = loops.best_of_lines(bits, open_rows, barred, ends, rows[block], best[block].view(np.int32))
        if wrong >= 0:
            raise ValueError(NO_NUMBER)
    return rows, best


def flags_of(available: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """The flags as compiled loops take them; none where all are."""
    return _ALL if available is None else available.view(np.uint8)


def excluded(
    exclude: Sequence[NDArray[np.integer]] | None, count: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows excluded from the lines of (B, N), one line's after the other's, and (B,) where each ends."""
    if exclude is None:
        return _NONE, np.zeros(count, np.int64)
    rows = np.concatenate(exclude).astype(np.int64)
    if len(rows) and not 0 <= rows.min() <= rows.max() < width:
        raise IndexError(f"rows {rows.min()} to {rows.max()} are excluded, of {width}")
    return rows, np.cumsum([len(barred) for barred in exclude])


def _blocks(
    scores: Scores, available: NDArray[np.bool_] | None, exclude: Sequence[NDArray[np.integer]] | None
) -> Iterator[tuple[slice, Scores]]:
    """The scores a few lines at a time, what may not be listed at -inf; the caller's array stays as it is.

    Each block is as wide as whole chunks and is overwritten by the next one.
    """
    count, width = scores.shape
    padded = -(-width // CHUNK) * CHUNK
    lines = max(1, min(count, _BLOCK_CELLS // padded))
    buffer = np.full((lines, padded), -np.inf, np.float32)
    withdrawn = None if available is None else np.flatnonzero(~available)
    for start in range(0, count, lines):
        block = slice(start, min(start + lines, count))
        part = buffer[: block.stop - start]
        np.add(scores[block], 0.0, out=part[:, :width])  # -0.0 + 0.0 is 0.0: equal scores, equal bits
        part[:, UNKNOWN_ROW] = -np.inf
        if withdrawn is not None:
            part[:, withdrawn] = -np.inf
        if exclude is not None:
            barred, ends = excluded(exclude[block], len(part), width)
            part[np.repeat(np.arange(len(part)), np.diff(ends, prepend=0)), barred] = -np.inf
        yield block, part


def _best(scores: Scores, n: int) -> tuple[Rows, Scores]:
    """The best n columns of (B, N), whole chunks, in order, -1 where the score is -inf; both (B, n).

    The n-th highest maximum of a chunk is a score that n columns reach, so only those above it are put
    in order, and of those equal to it the first ones that the list can still hold.
    """
    count, width = scores.shape
    chunk_width = _chunk_width(width, n)
    chunked = scores.reshape(count, width // chunk_width, chunk_width)  # (B, C, W)
    # Not by numpy, which takes three times as long.
    maxima: Scores = torch.from_numpy(chunked).amax(2).numpy()  # (B, C), not a number where one of it is not
    if np.isnan(maxima).any():
        raise ValueError(NO_NUMBER)
    if count <= FEW_LINES and width <= FEW_COLUMNS:
        return _best_of_few(scores, maxima, n)
    reached = np.full(count, _LOWEST, np.float32)
    if maxima.shape[1] > n:
        np.maximum(np.partition(maxima, -n, axis=1)[:, -n], _LOWEST, out=reached)
    chunk_line, chunk = np.nonzero(maxima >= reached[:, None])  # (P,)
    if len(chunk) > count * n:  # only where maxima are equal, as those of a user with few neighbours are
        kept = _within_reach(chunk_line, maxima[chunk_line, chunk], reached, n)
        chunk_line, chunk = chunk_line[kept], chunk[kept]
    values = chunked[chunk_line, chunk]  # (P, W)
    # Flat, since finding the few that are True in two dimensions takes several times as long.
    found = np.flatnonzero(values >= reached[chunk_line, None])  # (M,)
    at, within = found // chunk_width, found % chunk_width
    line, column, value = chunk_line[at], chunk[at] * chunk_width + within, values[at, within]
    if len(line) > 2 * count * n:
        kept = _within_reach(line, value, reached, n)
        line, column, value = line[kept], column[kept], value[kept]
    order = np.lexsort((-value, line))  # stable, so equal scores stay in the order of their columns
    lengths = np.bincount(line, minlength=count)
    place = np.arange(len(line)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    listed = place < n
    order, place = order[listed], place[listed]
    rows, best = nothing(count, n)
    rows[line[order], place] = column[order]
    best[line[order], place] = value[order]
    return rows, best


def _chunk_width(width: int, n: int) -> int:
    """How many of ``width`` columns, whole chunks, stand under one maximum; at most ``CHUNK``.

    Of n chunks or fewer none can be left out, and all columns would be sorted: 263 us a line of 1,000
    columns, where chunks of 32 take 8.
    """
    chunk = CHUNK
    while chunk > NARROWEST and width // chunk <= n:
        chunk //= 2
    return chunk


def _within_reach(line: NDArray[np.intp], value: Scores, reached: Scores, n: int) -> NDArray[np.bool_]:
    """(M,) which entries are above what their line has ``reached`` (B,), or the first equal to it within n.

    ``line`` (M,) ascends, and the entries of a line stand in the order of their columns; none is below
    what its line has ``reached``.
    """
    above = value > reached[line]
    lengths = np.bincount(line, minlength=len(reached))
    room = n - np.bincount(line[above], minlength=len(reached))
    equals = np.cumsum(~above)  # the entries equal to what is reached, up to each
    before = np.concatenate(([0], equals))[np.cumsum(lengths) - lengths]
    within: NDArray[np.bool_] = above | (equals <= (before + room)[line])
    return within


def _best_of_few(scores: Scores, maxima: Scores, n: int) -> tuple[Rows, Scores]:
    """What `_best` promises, line by line in fewer calls; the ``maxima`` (B, C) lose their order."""
    rows, best = nothing(len(scores), n)
    for line, values in enumerate(scores):
        reached, highest = _LOWEST, maxima[line]
        if len(highest) > n:
            highest.partition(len(highest) - n)
            reached = max(reached, highest[-n])
        column = (values >= reached).nonzero()[0]
        value = values[column]
        order = (-value).argsort(kind="stable")[:n]  # equal scores stay in the order of their columns
        rows[line, : len(order)] = column[order]
        best[line, : len(order)] = value[order]
    return rows, best


def _best_spread(scores: Scores, n: int, categories: Rows, limit: int) -> tuple[Rows, Scores]:
    """The best n with at most ``limit`` of a category: take more, drop what is over, and more if too few.

    ``categories`` (B, N) may be a view that repeats a line, which this does not copy.
    """
    count, width = scores.shape
    rows, best = nothing(count, n)
    waiting = np.arange(count)
    depth = min(2 * n, width)
    while len(waiting):
        found, values = _best(scores[waiting], depth)
        category = categories[waiting[:, None], found]
        kept = (found != NO_ROW) & ((category == 0) | (times_before(category) < limit))
        done = (kept.sum(1) >= n) | (found[:, -1] == NO_ROW) | (depth == width)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :n]  # kept ones first, in their order
        keep = np.take_along_axis(kept, order, 1)
        ready = waiting[done]
        rows[ready, : order.shape[1]] = np.where(keep, np.take_along_axis(found, order, 1), NO_ROW)[done]
        best[ready, : order.shape[1]] = np.where(keep, np.take_along_axis(values, order, 1), -np.inf)[done]
        waiting = waiting[~done]
        depth = min(4 * depth, width)
    return rows, best


def times_before(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """(B, n) how often the value at each place of (B, n) stands before it in its line."""
    order = np.argsort(values, axis=1, kind="stable")
    grouped = np.take_along_axis(values, order, 1)
    place = np.arange(values.shape[1])
    begins = np.ones(grouped.shape, np.bool_)
    begins[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    before = np.empty(values.shape, np.int64)
    np.put_along_axis(before, order, place - np.maximum.accumulate(np.where(begins, place, 0), axis=1), 1)
    return before
