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
from models.recommender import Floats, Recommender, UserSequence

PARTS = ("network", "neighbours", "popularity", "own")
"""The parts of a score: of the network, of item CF and succession, of popularity, of having had the item."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the items of a list have their scores.

    ``scores`` (L,); ``parts`` (4, L) in the order of ``PARTS``, their sum is the score; ``lost`` (T, L) is
    what the score loses without that event, negative where the event speaks against the item.
    ``voices`` (V,) are the user's last items, newest first, and ``near`` (V, L) the similarity by which
    each has the item among its neighbours, 0 where it has not; without a blend V is 0.
    """

    scores: Floats
    parts: Floats
    lost: Floats
    voices: Rows
    near: Floats


def explain(
    recommender: Recommender, sequence: UserSequence, history: Sequence[int], rows: Rows
) -> Explanation:
    """Explain the scores of the items ``rows`` (L,) for one user.

    ``sequence`` is the user's segment as ``Recommender.replay`` takes it, ``history`` all item rows the
    user is remembered by, oldest first, of which the last T are the segment's.
    """
    count = len(sequence[0])
    states = recommender.replay([sequence, *(_without(sequence, event) for event in range(count))])
    memories = _memories(history, count)
    scores = recommender.scores(states, memories)[:, rows]  # (T + 1, L)
    voices = (
        memories.rows[0, : max(voice.depth for voice in VOICES)]
        if recommender.blend
        else memories.rows[0, :0]
    )
    voices = voices[voices != UNKNOWN_ROW]
    return Explanation(
        scores=scores[0],
        parts=_parts(recommender, states[:1], memories[:1], rows),
        lost=scores[0] - scores[1:],
        voices=voices,
        near=_near(recommender.blend, voices, rows),
    )


def _without(sequence: UserSequence, event: int) -> UserSequence:
    item, category, behavior, time_ms = (np.delete(column, event) for column in sequence)
    return item, category, behavior, time_ms


def _memories(history: Sequence[int], count: int) -> Memories:
    """The user's memory, and that without each event of the segment: (T + 1, R)."""
    begin = len(history) - count
    histories = [list(history)]
    histories += [[*history[:event], *history[event + 1 :]] for event in range(begin, len(history))]
    return Memories.of(histories, [had[begin:] for had in histories])


def _parts(recommender: Recommender, state: Floats, memory: Memories, rows: Rows) -> Floats:
    """(4, L) the parts of one user's scores."""
    network = recommender.scores(state)[0, rows]  # with the prior, which needs no memory
    blend = recommender.blend
    if blend is None:
        nothing = np.zeros_like(network)
        return np.stack((network, nothing, nothing, nothing))
    added = np.zeros((1, recommender.vocabulary.n_items), np.float32)
    blend.add(added, memory)
    near = np.zeros_like(network)
    tables = tables_of(blend.neighbours, blend.successors)
    for weight, found in zip(blend.near, nearness(tables, memory), strict=True):
        near += weight * found.toarray()[0, rows]
    prior = blend.prior[rows]
    return np.stack((network - prior, near, prior, added[0, rows] - near))


def _near(blend: Blend | None, voices: Rows, rows: Rows) -> NDArray[np.float32]:
    """(V, L) the similarities of the user's last items to the items of the list."""
    near = np.zeros((len(voices), len(rows)), np.float32)
    if blend is not None and len(voices):
        similar, _ = tables_of(blend.neighbours, blend.successors)
        near[:] = similar[voices].toarray()[:, rows]
    return near
