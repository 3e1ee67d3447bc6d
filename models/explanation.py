"""Why items stand in a user's list: what each part of the score gave, and what each event carried.

Two exact answers, and no estimate of a third kind. The score of the blend is a sum, so its parts add up
to it. And what an event carried is what the score loses where everything is computed again as if the
event had not come: the network's replay of the segment, and the memory the blend looks at. What two
events say alike is lost with neither alone, so these losses need not add up to the score.

Axes: T events of the segment, N items of the catalogue, L items of the list, V voices of the blend.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.blend import VOICES, Blend, nearness, tables_of
from models.memory import Memories
from models.ranking import UNKNOWN_ROW, Rows
from models.recommender import Floats, Integers, Recommender, UserSequence

PARTS = ("network", "neighbours", "successors", "popularity", "own", "category")
"""The parts of a score: the network's, that of items like the user's last ones, that of what usually comes
after these, popularity's, that of having had the item, and what lifts the best item of the category the
user was last in to the first place."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the items of a list have their scores.

    ``scores`` (L,); ``parts`` (6, L) in the order of ``PARTS``, their sum is the score; ``lost`` (T, L) is
    what the score loses without that event, negative where the event speaks against the item.
    ``voices`` (V,) are the user's last items, newest first; ``near`` (V, L) is the similarity by which each
    has the item among its neighbours and ``after`` (V, L) how often the item came after it, as in the
    blend's tables, 0 where they do not hold it. Without a blend V is 0.
    """

    scores: Floats
    parts: Floats
    lost: Floats
    voices: Rows
    near: Floats
    after: Floats


def explain(
    recommender: Recommender,
    sequence: UserSequence,
    history: Sequence[int],
    rows: Rows,
    *,
    available: NDArray[np.bool_] | None = None,
    exclude: Rows | None = None,
) -> Explanation:
    """Explain the scores of the items ``rows`` (L,) for one user.

    ``sequence`` is the user's segment as ``Recommender.replay`` takes it, ``history`` all item rows the
    user is remembered by, oldest first, of which the last T are the segment's. ``available`` (N,) and
    ``exclude`` say what the list may not hold, as for `ranking.top_n`.
    """
    count = len(sequence[0])
    sequences = [sequence, *(_without(sequence, event) for event in range(count))]
    states = recommender.replay(sequences)
    memories = _memories(history, [category for _, category, _, _ in sequences])
    left_out = None if exclude is None else [exclude] * len(sequences)
    whole = recommender.scores(states, memories, available=available, exclude=left_out)
    scores = whole[:, rows]  # (T + 1, L)
    blend = recommender.blend
    last = memories.rows[0, : max(voice.depth for voice in VOICES) if blend else 0]
    voices = last[last != UNKNOWN_ROW]
    near, after = _said(blend, voices, rows)
    return Explanation(
        scores=scores[0],
        parts=_parts(recommender, states[:1], memories[:1], rows, scores[0]),
        lost=scores[0] - scores[1:],
        voices=voices,
        near=near,
        after=after,
    )


def _without(sequence: UserSequence, event: int) -> UserSequence:
    item, category, behavior, time_ms = (np.delete(column, event) for column in sequence)
    return item, category, behavior, time_ms


def _memories(history: Sequence[int], categories: Sequence[Integers]) -> Memories:
    """The user's memory, and that without each event of the segment: (T + 1, R).

    ``categories`` (T + 1,) are those of the events of each of these segments.
    """
    begin = len(history) - len(categories) + 1
    histories = [list(history)]
    histories += [[*history[:event], *history[event + 1 :]] for event in range(begin, len(history))]
    last = [int(some[-1]) if len(some) else UNKNOWN_ROW for some in categories]
    return Memories.of(histories, [had[begin:] for had in histories], last)


def _parts(recommender: Recommender, state: Floats, memory: Memories, rows: Rows, scores: Floats) -> Floats:
    """(6, L) the parts of one user's ``scores`` (L,)."""
    network = recommender.scores(state)[0, rows]  # with the prior, which needs no memory
    sums = np.zeros((2, len(rows)), np.float32)  # of similarities, of successors, the direct ones among them
    blend = recommender.blend
    if blend is None:
        nothing = np.zeros_like(network)
        return np.stack((network, *sums, nothing, nothing, nothing))
    added = np.zeros((1, recommender.vocabulary.n_items), np.float32)
    blend.add(added, memory)
    found = nearness(tables_of(*blend.counted), memory)
    for weight, voice, near in zip(blend.near, VOICES, found, strict=True):
        sums[min(voice.table, 1)] += weight * near.toarray()[0, rows]
    prior = blend.prior[rows]
    lifted = scores - recommender.summed(state, memory)[0, rows]
    return np.stack((network - prior, *sums, prior, added[0, rows] - sums.sum(0), lifted))


def _said(blend: Blend | None, voices: Rows, rows: Rows) -> tuple[Floats, Floats]:
    """Twice (V, L): what the tables of neighbours and of successors hold of the items after the voices."""
    if blend is None or not len(voices):
        nothing = np.zeros((len(voices), len(rows)), np.float32)
        return nothing, nothing
    similar, after, _ = tables_of(*blend.counted)
    return similar[voices].toarray()[:, rows], after[voices].toarray()[:, rows]
