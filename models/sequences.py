"""Events as sequences the network can be shown: cut into segments, padded into batches."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoder import Inputs
from models.events import EventLog
from models.segment import SegmentRule, windows
from models.vocabulary import UNKNOWN_ROW

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segments:
    """Where each segment lies in an event log, and which of its events are targets.

    Segment s has the targets ``target[s] .. end[s] - 1``, each predicted from the state after the
    event before it; from a zero state the network is shown the events ``start[s] .. end[s] - 2``.
    Segments overlap, their targets do not: the events a new segment begins with were predicted in
    the old one, and so was the event whose arrival began it.
    """

    start: Positions
    target: Positions
    end: Positions

    def __len__(self) -> int:
        """How many segments there are."""
        return len(self.start)

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> "Segments":
        """The segments chosen by a slice, a mask or positions."""
        return Segments(self.start[chosen], self.target[chosen], self.end[chosen])

    @property
    def lengths(self) -> Positions:
        """How many events each segment shows the network."""
        return self.end - self.start - 1

    @property
    def n_targets(self) -> int:
        """How many targets all of them have."""
        return int((self.end - self.target).sum())

    def split(self, log: EventLog, cut_ms: int) -> tuple["Segments", "Segments"]:
        """The segments with only the targets before ``cut_ms``, and with only those from it on.

        What the first are shown lies before the cut as well; nothing of the later targets reaches it.
        """
        earlier = np.concatenate(([0], np.cumsum(log.time_ms < cut_ms)))
        cut = self.start + earlier[self.end] - earlier[self.start]  # the times of a segment ascend
        before = Segments(self.start, self.target, np.minimum(self.end, cut))
        after = Segments(self.start, np.maximum(self.target, cut), self.end)
        return before[before.end > before.target], after[after.end > after.target]


def cut(log: EventLog, rule: SegmentRule) -> Segments:
    """Every user's events cut as serving cuts them; segments without a target are left out."""
    bounds = zip(log.starts[:-1].tolist(), log.starts[1:].tolist(), strict=True)
    parts = [segment for start, end in bounds for segment in _cut_user(log.time_ms, start, end, rule)]
    table = np.asarray(parts, np.int64).reshape(-1, 3)
    return Segments(*(np.ascontiguousarray(column) for column in table.T))


def _cut_user(
    time_ms: NDArray[np.int64], start: int, end: int, rule: SegmentRule
) -> list[tuple[int, int, int]]:
    """(start, target, end) of the segments of the user whose events lie at start .. end - 1."""
    n_events = end - start
    if n_events <= rule.max_events and time_ms[end - 1] - time_ms[start] <= rule.longest_ms:
        return [(start, start + 1, end)] if n_events > 1 else []
    in_force = windows(time_ms[start:end].tolist(), rule)
    cuts = sorted({window.cut for window in in_force})
    segments = []
    for first, after in zip(cuts, [*cuts[1:], n_events], strict=True):
        # The states after events first .. after - 1 are this segment's; each predicts the event after it.
        last = min(after + 1, n_events)
        if last > first + 1:
            segments.append((start + in_force[first].start, start + first + 1, start + last))
    return segments


def padded(log: EventLog, start: Positions, end: Positions) -> Inputs:
    """The (B, T) inputs of the events ``start .. end - 1`` of B sequences; padding repeats the last event."""
    positions = start[:, None] + np.arange(int((end - start).max()))
    np.minimum(positions, end[:, None] - 1, out=positions)  # (B, T)
    time_ms = log.time_ms[positions]
    gap_ms = np.zeros_like(time_ms)
    np.subtract(time_ms[:, 1:], time_ms[:, :-1], out=gap_ms[:, 1:])
    rows = (column[positions] for column in (log.item, log.category, log.behavior))
    return Inputs(
        *(torch.from_numpy(column.astype(np.int64, copy=False)) for column in (*rows, gap_ms, time_ms))
    )


def targets(log: EventLog, segments: Segments) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the targets of known items lie in the flattened (B * T,) padded inputs, and their item rows.

    The place of a target is that of the event before it, whose state it is predicted from.
    """
    positions = segments.start[:, None] + 1 + np.arange(int(segments.lengths.max()))  # (B, T)
    inside = (positions >= segments.target[:, None]) & (positions < segments.end[:, None])
    places = np.flatnonzero(inside)
    items = log.item[positions.ravel()[places]]
    known = items != UNKNOWN_ROW
    return torch.from_numpy(places[known]), torch.from_numpy(items[known].astype(np.int64))


def with_targets(log: EventLog, segments: Segments) -> Segments:
    """The segments with at least one target of a known item."""
    known = np.concatenate(([0], np.cumsum(log.item != UNKNOWN_ROW)))
    return segments[known[segments.end] > known[segments.target]]


def batched(segments: Segments, n_targets: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Batches of segments of like length, each of about ``n_targets`` targets, in random order.

    Segments of the same length fall together differently each time; padding is next to none.
    """
    order = np.lexsort((rng.random(len(segments)), segments.lengths))
    total = np.cumsum((segments.end - segments.target)[order])
    batches = np.split(order, np.flatnonzero(np.diff((total - 1) // n_targets)) + 1)
    return [batches[place] for place in rng.permutation(len(batches))]
