"""How the blend comes to its weights: by what people did next while nothing of it had been seen.

The weights are those under which the next items are most likely among the items that come into
question, over the newest part of the training events, and alike the next categories, as a choice of
any item of them: where most of what people take next is an item that nobody had yet, the items alone
say nothing of it. The network, the neighbours and the popularity used for it know only what came
before, so the items that came up since stand for those that will come up later: what is new has a
weight as well. It is learnt last, with the others fixed, because which of the old items comes next
must not depend on how many new ones there happened to be. What is served has the same weights, and
learnt the rest from everything. Whether a list has a lead is decided by the same events, see `lead_fitting`.

Axes: N items, E examples (a target and an item that came into question for it), F features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.blend import RANGES, VOICES, Blend, Tables, belongings, nearness, tables_of
from models.events import EventLog
from models.features import DAY_MS, HOUR_MS
from models.lead import Shelves
from models.lead_fitting import Leads, Sought
from models.likelihood import Examples, most_likely, weight_of_some
from models.memory import Memories
from models.neighbours import NEIGHBOURS, ItemNeighbours
from models.networks import Network
from models.ranking import NO_ROW, UNKNOWN_ROW, Rows, Scores, top_n
from models.recommender import Recommender
from models.segment import SegmentRule
from models.similarity import Matrix
from models.training import Part, Progress, Trained, untold
from models.transitions import successors
from models.vocabulary import Vocabulary
from models.walk import Walk

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]

# Events of the last hours, days and weeks each tell of another kind of fashion.
HALF_LIVES_MS = (6 * HOUR_MS, 2 * DAY_MS, 14 * DAY_MS)
_PER_EVENT = 10  # an event that has lost nine tenths of its weight still counts as one
_N_TALLIES = 2 + len(HALF_LIVES_MS)
_FEWEST_USERS = 16  # share the targets: one user's habits are not all, and a single user's steps are slow
_NEW = 1  # the feature that says of an item that nobody had it: the first tally, after the network
LEARNING_THE_BLEND = Part("learning the blend")
_CELLS_AT_ONCE = 1 << 23  # users side by side times items: 32 MiB for each feature


@dataclass(frozen=True)
class BlendConfig:
    """How a blend is made.

    ``neighbours`` is the K of equation 2, ``window_ms`` the m of equation 4 (None: no limit). An item
    is followed by the ``steps`` events after it; ``successors`` of it are kept.
    ``targets`` of the newest part teach the weights, at most, of users chosen with ``seed``, a sixteenth
    of so many of one user, the newest; for each of them the best ``candidates`` of every part come into
    question, and everything the user had.
    ``penalty`` is the weight of the squared weights, of features divided by their deviation.
    """

    seed: int = 1
    neighbours: int = NEIGHBOURS
    window_ms: int | None = DAY_MS
    steps: int = 10
    successors: int = 100
    targets: int = 8000
    candidates: int = 50
    penalty: float = 1.0


class Evidence(NamedTuple):
    """What the events up to a point in time say of the items, beside the network."""

    neighbours: ItemNeighbours
    successors: ItemNeighbours
    direct: ItemNeighbours
    tallies: Floats  # (N, 2 + half-lives) whether each item was never had; logarithms of how often

    @classmethod
    def of(cls, log: EventLog, n_items: int, config: BlendConfig) -> "Evidence":
        """Count the events of ``log``; ages are those at its newest event."""
        neighbours = ItemNeighbours.fit(log, n_items=n_items, k=config.neighbours, window_ms=config.window_ms)
        age_ms = log.time_ms.max() - log.time_ms
        lately = [
            np.bincount(log.item, weights=np.exp2(-age_ms / half_life_ms), minlength=n_items)
            for half_life_ms in HALF_LIVES_MS
        ]
        counts = np.bincount(log.item, minlength=n_items)
        often = np.log1p(np.stack((counts, *(_PER_EVENT * tally for tally in lately)), 1))
        known = log[log.item != UNKNOWN_ROW]
        follows, direct = (
            _as_neighbours(successors(known, n_items, steps, config.successors))
            for steps in (config.steps, 1)
        )
        return cls(neighbours, follows, direct, np.column_stack((counts == 0, often)).astype(np.float32))


def _as_neighbours(table: Matrix) -> ItemNeighbours:
    """A table (N, N) as a blend keeps it."""
    return ItemNeighbours(
        table.indptr.astype(np.int64), table.indices.astype(np.int32), table.data.astype(np.float32)
    )


class Parts(NamedTuple):
    """The weights of the network, the tallies, the sums of similarities and what a user had; see `Blend`."""

    network: float
    tallies: Floats
    near: Floats
    had: Floats
    leads: Leads

    def blend(self, evidence: Evidence) -> Blend:
        """The blend with these weights, on the scale of the network's scores."""
        near, had, tallies = (
            (part / self.network).astype(np.float32) for part in (self.near, self.had, self.tallies)
        )
        return Blend(
            evidence.neighbours,
            evidence.successors,
            evidence.direct,
            prior=(evidence.tallies @ tallies).astype(np.float32),
            new=tallies[:1],  # of the first tally alone: nobody had it
            near=near,
            had=had,
            tallies=tallies,
            leads=self.leads.known,
            leads_grown=self.leads.grown,
        )

    @classmethod
    def of(cls, blend: Blend) -> "Parts | None":
        """The weights a blend was made with; None where it does not hold those of the tallies."""
        if blend.tallies is None or len(blend.tallies) != _N_TALLIES:
            return None
        return cls(1.0, blend.tallies, blend.near, blend.had, Leads(blend.leads, blend.leads_grown))


def fit_blend(
    trained: Trained[Network],
    log: EventLog,
    vocabulary: Vocabulary,
    *,
    rule: SegmentRule,
    config: BlendConfig,
    progress: Progress = untold,
) -> Blend | None:
    """The blend that goes with a trained network; None where nothing was held back to learn it from."""
    if trained.rehearsal is None:
        return None
    progress(LEARNING_THE_BLEND)
    network, since_ms = trained.rehearsal
    nothing = np.zeros(vocabulary.n_items, np.float32)
    rehearsed = Recommender("rehearsal", network, vocabulary, rule, nothing, 0)
    parts = learn_parts(rehearsed, log, since_ms, config)
    return parts.blend(Evidence.of(log, vocabulary.n_items, config))


def learn_parts(recommender: Recommender, log: EventLog, since_ms: int, config: BlendConfig) -> Parts:
    """Learn the weights from what the users of ``log`` did from ``since_ms`` on.

    ``recommender`` holds the network alone, and knows nothing from then on. Where nobody did
    anything that could have been foretold, the network's weight is 1 and all others are 0.
    """
    n_items = recommender.vocabulary.n_items
    past = log[log.time_ms < since_ms]
    evidence = Evidence.of(past, n_items, config)
    del past  # of millions of events it is as large as what is learnt from
    found = _joined(_examples(recommender, log, since_ms, evidence, config))
    if found is None:
        return _parts(np.eye(1, _features())[0], Leads(known=False, grown=False))
    examples, sought = found
    new = examples.features[:, _NEW] > 0
    old = examples.among(~new)
    weights = most_likely(old, config.penalty) if len(old.begins) else np.eye(1, _features())[0]
    del old
    weights[_NEW] = weight_of_some(examples.features @ weights, examples, new, config.penalty)
    scores = examples.features @ weights
    leads = Leads.of(scores, ~new, sought, recommender.vocabulary.item_category)
    return _parts(weights, leads)


def _joined(found: Iterator[tuple[Examples, Sought]]) -> tuple[Examples, Sought] | None:
    """All of them, one part after another; None where there is none."""
    parts = list(found)
    if not parts:
        return None
    examples, sought = zip(*parts, strict=True)
    return Examples.joined(examples), Sought.joined(sought)


def _features() -> int:
    """F: the network, the tallies, the sums of similarities, what a user had."""
    return 1 + _N_TALLIES + len(VOICES) + 2 * RANGES


def _parts(weights: NDArray[np.float64], leads: Leads) -> Parts:
    """The weights (F,) by what they belong to."""
    near = len(weights) - 2 * RANGES
    tallies = near - len(VOICES)
    values = weights.astype(np.float32)
    had = values[near:].reshape(2, RANGES)
    return Parts(float(values[0]), values[1:tallies], values[tallies:near], had, leads)


def _examples(
    recommender: Recommender, log: EventLog, since_ms: int, evidence: Evidence, config: BlendConfig
) -> Iterator[tuple[Examples, Sought]]:
    """Walk users through their newest events, and look before each at what comes into question."""
    starts = log.starts.astype(np.int64)
    first, end = starts[:-1], starts[1:]
    past = np.concatenate(([0], np.cumsum(log.time_ms < since_ms)))
    begin = first + past[end] - past[first]
    begin = np.maximum(begin, first + 1)  # there is no state before the first event
    begin = np.maximum(begin, end - -(-config.targets // _FEWEST_USERS))
    users = np.flatnonzero(end > begin)
    users = np.random.default_rng(config.seed).permutation(users)
    users = users[: 1 + np.searchsorted(np.cumsum((end - begin)[users]), config.targets)]
    users = users[np.argsort(begin[users] - end[users], kind="stable")]
    tables = tables_of(evidence.neighbours, evidence.successors, evidence.direct)
    shelves = Shelves.of(recommender.vocabulary.item_category)
    size = max(1, _CELLS_AT_ONCE // len(evidence.tallies))
    for start in range(0, len(users), size):
        together = users[start : start + size]
        walk = Walk(recommender, log, len(together), remember=True)
        walk.start(first[together], begin[together])
        lengths = (end - begin)[together]
        for step in range(int(lengths[0])):
            walking = together[lengths > step]
            target = log.item[begin[walking] + step]
            some = np.flatnonzero((target != UNKNOWN_ROW) & walk.known[: len(walking)])
            if len(some) and walk.memories is not None:
                scores = recommender.scores(walk.states[some])
                memories = walk.memories[some]
                questioned = _Questioned(scores, evidence.tallies, tables, memories, config)
                questioned.ask(shelves.best(scores, memories.category))
                category = log.category[begin[walking] + step]
                yield questioned.examples(target[some], category[some], recommender.vocabulary.item_category)
            walk.advance(begin[walking] + step)


class _Questioned:
    """The items that come into question for B users, and their features."""

    def __init__(
        self, scores: Scores, tallies: Floats, tables: Tables, memories: Memories, config: BlendConfig
    ) -> None:
        self.scores, self.tallies = scores, tallies
        self.near = [part.toarray() for part in nearness(tables, memories)]
        self.had = np.full(scores.shape, -1, np.int8)
        lines, items, kinds = belongings(memories)
        self.had[lines, items] = kinds
        self.asked = self.had >= 0  # (B, N)
        new = np.where(tallies[:, 0] > 0, scores, np.float32(-np.inf))
        for part in (scores, new, *self.near):
            rows, _ = top_n(part, config.candidates)
            found = rows > UNKNOWN_ROW
            self.asked[np.nonzero(found)[0], rows[found]] = True
        popular, _ = top_n(np.ascontiguousarray(tallies[:, 1:].T), config.candidates)
        self.asked[:, popular[popular > UNKNOWN_ROW]] = True
        self.asked &= scores > -np.inf
        self.last = memories.category

    def ask(self, rows: Rows) -> None:
        """Let the item ``rows[b]`` come into question for user b as well, unless it is NO_ROW."""
        lines = np.flatnonzero(rows != NO_ROW)
        self.asked[lines, rows[lines]] = True

    def examples(
        self, target: NDArray[np.integer], category: NDArray[np.integer], item_category: Rows
    ) -> tuple[Examples, Sought]:
        """Those of every user; ``target`` and ``category`` (B,) are what came next."""
        line, item = np.nonzero(self.asked)
        kinds = self.had[line, item]
        had = np.zeros((len(line), 2 * RANGES), np.float32)
        had[np.flatnonzero(kinds >= 0), kinds[kinds >= 0]] = 1
        columns = [self.scores[line, item], *self.tallies[item].T]
        near = [part[line, item] for part in self.near]
        features = np.column_stack((*columns, *near, had)).astype(np.float32, copy=False)
        kin = (item_category[item] == category[line]) & (category[line] != UNKNOWN_ROW)
        begins = np.flatnonzero(np.diff(line, prepend=-1))
        users = line[begins]
        sought = Sought(item, begins, target[users], category[users], self.last[users])
        return Examples(features, item == target[line], kin, begins), sought
