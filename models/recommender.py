"""What serving holds: the network and all it needs, numpy in and numpy out.

Axes: B users, S state, N items.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.blend import Blend
from models.inference import Frozen
from models.item_index import ItemIndex
from models.lead import Shelves, put_first
from models.memory import Memories
from models.networks import Network
from models.ranking import Rows, joined, nothing, top_n
from models.room import Room
from models.segment import SegmentRule
from models.shortlist import Shortlist
from models.vocabulary import Vocabulary

Floats = NDArray[np.float32]
Integers = NDArray[np.integer]
UserSequence = tuple[Integers, Integers, Integers, Integers]  # item, category, behavior, time_ms, each (T,)

# Sequences of like length are replayed together, at most so many padded events at a time: some
# 10 MB of gates at 100 units, whatever the number of users.
REPLAY_EVENTS = 8192

# So many scores are held at once (128 MiB): a thousand users of a million items would take 4 GB.
SCORES_AT_ONCE = 1 << 25


def key_of(version: str) -> int:
    """The unsigned 64-bit number that stands for a version in users' records."""
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class Recommender:
    """A trained network with its vocabulary, its segment rule and the fallback.

    ``popularity`` (N,) scores the items for users without a history. With a ``blend`` scores are the
    network's and the blend's together. ``trained_at_ms`` is since the epoch. With an ``index`` lists are
    the best of the items that it finds, see `shortlist`. Nothing here changes after construction, so threads
    may share it.
    """

    version: str
    network: Network
    vocabulary: Vocabulary
    rule: SegmentRule
    popularity: Floats
    trained_at_ms: int
    blend: Blend | None = None
    index: ItemIndex | None = None
    key: int = field(init=False)
    _frozen: Frozen = field(init=False, repr=False)
    _room: Room = field(init=False, repr=False, default_factory=Room)
    _shelves: Shelves = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Freeze the network and sum up once what every scoring needs."""
        n_items = self.vocabulary.n_items
        for name, table in (
            ("popularity scores", self.popularity),
            ("items in the network", self.network.bias),
        ):
            if len(table) != n_items:
                raise ValueError(f"{len(table)} {name} for a vocabulary of {n_items} items")
        self.network.eval().requires_grad_(False)
        prior = None if self.blend is None else torch.from_numpy(self.blend.prior)
        object.__setattr__(self, "_frozen", Frozen(self.network, prior))
        object.__setattr__(self, "_shelves", Shelves.of(self.vocabulary.item_category))
        object.__setattr__(self, "key", key_of(self.version))

    @property
    def state_size(self) -> int:
        """S, in float32 numbers."""
        return self.network.state_size

    def announced(self, category_of: Mapping[str, str | None]) -> Self:
        """The same with more items: those it does not know, but the category of which it does.

        ``category_of`` maps item ids to category ids. Such an item scores as an unknown one of its
        category, at the input as at the output; rows, states and the version stay what they were.
        """
        known = self.vocabulary
        new = [
            (item_id, category_id)
            for item_id, category_id in category_of.items()
            if known.category_row(category_id) and not known.item_row(item_id)
        ]
        if not new:
            return self
        vocabulary = known.grow(*zip(*new, strict=True))
        never = np.full(len(new), -np.inf, np.float32)
        return replace(
            self,
            vocabulary=vocabulary,
            network=self.network.grown(torch.from_numpy(vocabulary.item_category.astype(np.int64))),
            popularity=np.concatenate((self.popularity, never)),
            blend=None if self.blend is None else self.blend.grown(vocabulary.n_items),
        )

    def indexed(self) -> Self:
        """The same with an index of its items; takes seconds for a million. Raises as ``ItemIndex`` does."""
        made = copy.copy(self)  # and not `replace`, which would lay out the network once more
        object.__setattr__(made, "index", ItemIndex(self._frozen.vectors))
        return made

    def initial(self, batch: int) -> Floats:
        """(B, S) the states of users without an event."""
        return np.zeros((batch, self.state_size), np.float32)

    def advance(  # noqa: PLR0917 - the five columns of an event, always in this order
        self,
        states: Floats,
        item: Integers,
        category: Integers,
        behavior: Integers,
        gap_ms: Integers,
        time_ms: Integers,
    ) -> Floats:
        """(B, S) the states after one more event each; ``states`` is (B, S), the rest (B,).

        ``gap_ms`` is the time since the previous event of the user's segment, 0 for its first.
        """
        return self._frozen.advance(states, item, category, behavior, gap_ms, time_ms)

    @torch.inference_mode()
    def replay(self, sequences: Sequence[UserSequence]) -> Floats:
        """(B, S) the states after whole segments, from zero; an empty one leaves zeros.

        Each sequence is (item, category, behavior, time_ms), in order, each (T,).
        """
        states = self.initial(len(sequences))
        lengths = np.array([len(sequence[0]) for sequence in sequences], np.int64)
        order = np.argsort(lengths, kind="stable")
        order = order[np.searchsorted(lengths[order], 1) :]
        while len(order):
            # From the longest down, so that the first of a group fixes its padding.
            group = order[-max(1, REPLAY_EVENTS // int(lengths[order[-1]])) :]
            order = order[: -len(group)]
            columns = _padded([sequences[row] for row in group], int(lengths[group[-1]]))
            last = torch.from_numpy(lengths[group] - 1)
            states[group] = self.network.steps(self._frozen.gates(*columns))[
                torch.arange(len(group)), last
            ].numpy()
        return states

    def scores(
        self,
        states: Floats,
        memories: Memories | None = None,
        *,
        available: NDArray[np.bool_] | None = None,
        exclude: Sequence[Integers] | None = None,
    ) -> Floats:
        """(B, N) a score for each item; the unknown item's is -inf.

        ``memories`` are those of the same B users; only a recommender with a blend looks at them. No item
        that `ranking.top_n` would leave out with the same ``available`` and ``exclude`` leads a list.
        """
        return self._led(self.summed(states, memories), memories, available, exclude)

    def _led(
        self,
        scores: Floats,
        memories: Memories | None,
        available: NDArray[np.bool_] | None,
        exclude: Sequence[Integers] | None,
    ) -> Floats:
        """The scores of ``summed``, in place with what leads each list."""
        if self.blend is not None and memories is not None and self.blend.leads:
            best = self._shelves.best(scores, memories.category, available=available, exclude=exclude)
            put_first(scores, best)
        return scores

    def best(
        self,
        states: Floats,
        n: int,
        memories: Memories | None = None,
        *,
        available: NDArray[np.bool_] | None = None,
        exclude: Sequence[Integers] | None = None,
        max_per_category: int = 0,
    ) -> tuple[Rows, Floats]:
        """The best ``n`` rows for each of the ``states`` (B, S), and their scores; both (B, n).

        What `ranking.top_n` gives of ``scores``, with the same ``memories``, ``available`` and ``exclude``.
        With an ``index`` an item may be missing that it did not find; scores are no less exact, and no list
        is shorter.
        """
        if self.index is None:
            return self._best_of_all(states, n, memories, available, exclude, max_per_category)
        rows, best = nothing(len(states), n)
        shortlist = Shortlist(
            self.index, self._frozen.vectors, self.blend, self._shelves, self.vocabulary.item_category
        )
        waiting = shortlist.fill(
            rows,
            best,
            torch.from_numpy(self._frozen.queries(states)),
            memories,
            available=available,
            exclude=exclude,
            max_per_category=max_per_category,
        )
        if len(waiting):
            rows[waiting], best[waiting] = self._best_of_all(
                states[waiting],
                n,
                None if memories is None else memories[waiting],
                available,
                None if exclude is None else [exclude[line] for line in waiting.tolist()],
                max_per_category,
            )
        return rows, best

    def _best_of_all(  # noqa: PLR0917 - those of ``best``
        self,
        states: Floats,
        n: int,
        memories: Memories | None,
        available: NDArray[np.bool_] | None,
        exclude: Sequence[Integers] | None,
        max_per_category: int,
    ) -> tuple[Rows, Floats]:
        """What ``best`` promises, every item being scored."""
        at_once = max(1, SCORES_AT_ONCE // self.vocabulary.n_items)
        found = []
        for begin in range(0, max(1, len(states)), at_once):
            some = slice(begin, begin + at_once)
            barred = None if exclude is None else exclude[some]
            known = None if memories is None else memories[some]
            room = self._room.of(len(states[some]), self.vocabulary.n_items)
            found.append(
                top_n(
                    self._led(self.summed(states[some], known, room), known, available, barred),
                    n,
                    available=available,
                    exclude=barred,
                    categories=self.vocabulary.item_category,
                    max_per_category=max_per_category,
                )
            )
        return joined(found)

    def summed(self, states: Floats, memories: Memories | None = None, room: Floats | None = None) -> Floats:
        """(B, N) the network's scores and what the blend adds to them, before any item leads.

        They are written into ``room``, if given.
        """
        scores = self._frozen.scores(states, room)
        if self.blend is not None and memories is not None:
            self.blend.add(scores, memories)
        return scores


def _padded(sequences: Sequence[UserSequence], length: int) -> NDArray[np.int64]:
    """(5, B, T) the columns of sequences of at most ``length`` events; padding is zeros after the end."""
    columns = np.zeros((5, len(sequences), length), np.int64)
    for row, (item, category, behavior, time_ms) in enumerate(sequences):
        end = len(item)
        columns[0, row, :end] = item
        columns[1, row, :end] = category
        columns[2, row, :end] = behavior
        columns[3, row, 1:end] = np.diff(time_ms)
        columns[4, row, :end] = time_ms
    return columns
