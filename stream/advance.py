"""Hidden states of a batch: every user's steps in order, all users' steps together.

A user's events form a line of operations; the first operations of all lines are one call of
the network, the second ones another, and so on. An operation is a step from the state before,
or a replay from zero where the segment began anew, changed in the middle, or was last advanced
under other weights.
"""

from typing import NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from stream.placement import Entry
from stream.serving import Serving
from stream.state import UserState

Floats = npt.NDArray[np.float32]


Step: TypeAlias = tuple[int, int, int, int, int]
"""One event: row, category row, behaviour, milliseconds since the event before it, event time in ms."""


class Replay(NamedTuple):
    """A whole segment from zero: rows, category rows, behaviours, event times."""

    items: list[int]
    categories: list[int]
    behaviors: list[int]
    times_ms: list[int]


class Line:
    """One user's operations of a batch, and the hidden state they lead to."""

    __slots__ = ("hidden", "operations", "results", "serving")

    def __init__(self, hidden: bytes, serving: Serving) -> None:
        """Begin with the hidden state of the record (float32 bytes; empty: none) and the user's weights."""
        self.hidden = hidden
        self.serving = serving
        self.operations: list[Step | Replay] = []
        self.results: list[Floats] = []


def step(entry: Entry, gap_ms: int, serving: Serving) -> Step:
    """Return the operation that takes in an event, ``gap_ms`` after the one before it in its segment."""
    item = serving.item_row(entry.item_id)
    category = serving.category_row(item, entry.category_key)
    return item, category, entry.behavior, gap_ms, entry.time_ms


def replay(state: UserState, serving: Serving) -> Replay:
    """Return the operation that computes the segment's hidden state from zero."""
    items = [serving.item_row(item_id) for item_id in state.segment_items()]
    keys = state.category_keys()[state.start :]
    categories = [serving.category_row(row, key) for row, key in zip(items, keys, strict=True)]
    return Replay(items, categories, list(state.behaviors[state.start :]), state.segment_times_ms())


def run(lines: list[Line], serving: Serving) -> None:
    """Fill each line's ``results``, one hidden state (S,) an operation, and its last ``hidden``.

    All lines are of users who are served by these weights.
    """
    level = 0
    active = [line for line in lines if line.operations]
    while active:
        steps = [line for line in active if not isinstance(line.operations[level], Replay)]
        replays = [line for line in active if isinstance(line.operations[level], Replay)]
        if steps:
            _take(steps, _advanced(steps, level, serving))
        if replays:
            _take(replays, _replayed(replays, level, serving))
        level += 1
        active = [line for line in active if len(line.operations) > level]
    for line in lines:
        if line.results:
            line.hidden = line.results[-1].tobytes()


def _advanced(lines: list[Line], level: int, serving: Serving) -> Floats:
    if level == 0:
        states = np.frombuffer(b"".join(line.hidden for line in lines), np.float32).reshape(len(lines), -1)
    else:
        states = np.stack([line.results[-1] for line in lines])
    columns = np.array([line.operations[level] for line in lines], dtype=np.int64)  # (B, 5)
    item, category, behavior, gap_ms, time_ms = np.ascontiguousarray(columns.T)
    return serving.recommender.advance(states, item, category, behavior, gap_ms, time_ms)


def _replayed(lines: list[Line], level: int, serving: Serving) -> Floats:
    sequences = []
    for line in lines:
        segment = cast(Replay, line.operations[level])
        sequences.append(
            (
                np.array(segment.items, np.int64),
                np.array(segment.categories, np.int64),
                np.array(segment.behaviors, np.int64),
                np.array(segment.times_ms, np.int64),
            )
        )
    return serving.recommender.replay(sequences)


def _take(lines: list[Line], states: Floats) -> None:
    for line, state in zip(lines, states, strict=True):
        line.results.append(state)
