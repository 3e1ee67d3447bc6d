"""Lists for the events of a batch: who gets which kind, ranked together, encoded, counted."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from models.canary import role_of
from models.canary_config import CanaryConfig
from stream.advance import Line
from stream.effects import Effects
from stream.list_encoder import ListEncoder, Places, scored_items
from stream.messages import ListItem, ListKind, encode
from stream.own_items import OwnLists, newest_texts
from stream.rules import Rules
from stream.serving import Floats, History, Rows, Serving
from stream.state import UserState, pack_rows, place_of

#: Hidden states ranked in one matrix product: bounds the scores held at once (rows by catalogue).
RANKED_TOGETHER = 1024

#: What ``model_version`` says of lists that no weights made.
NO_MODEL = "none"
RECENT = "recent"


class Due(msgspec.Struct):
    """An applied event: for whom, the list it is owed, and what that must leave out."""

    key: bytes
    user_id: str
    #: The row of the event's item, which the list sent before is measured by; None where nothing is measured.
    row: int | None
    #: Source, partition, offset and event time of the event.
    ref: tuple[int, int, int, int]
    produced_ms: int
    #: False where the list is held back or a later one of the same batch replaces it.
    send: bool
    #: The user's line and the operation in it whose result is ranked; None: no personal list.
    line: Line | None
    operation: int
    exclude: Rows | None
    #: The same as item ids, where there are no weights.
    barred: set[str] | None
    #: The texts of the user's own last items, newest first, where lists are made of those.
    recent: Collection[bytes] | None
    #: What the user had, where scores need it.
    history: History | None = None
    #: The weights that serve the user; None: there are none yet.
    serving: Serving | None = None


class OnTrial(NamedTuple):
    """A challenger's weights, and the terms that say whom they serve."""

    serving: Serving
    terms: CanaryConfig


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """What stands in a list: rows of the vocabulary (none without weights), and its items as bytes."""

    rows: bytes
    items: bytes
    kind: ListKind
    model_version: str


_NO_ROWS = np.empty(0, np.int32)


Weighted = TypeVar("Weighted")


class Lists:
    """Makes lists under one set of rules, each by one set of weights.

    ``topics`` are the names of the sources. ``fallback`` is what is popular while there are no
    weights: item ids with a score, best first. ``trial`` is the challenger that serves a share of the
    users, where one does.
    """

    def __init__(
        self,
        rules: Rules,
        serving: Serving | None,
        topics: Sequence[str],
        fallback: Sequence[tuple[str, float]] = (),
        trial: OnTrial | None = None,
    ) -> None:
        """Take the rules, the weights in force (None: none yet) and what to fall back on."""
        self.rules = rules
        self.serving = serving
        self.trial = trial
        self.topics = topics
        self.fallback = fallback
        self._encoder = ListEncoder(topics)
        self._recent = Places([float(places) for places in range(rules.list_size, 0, -1)])

    def serving_of(self, user_id: str, champion: Serving) -> Serving:
        """Return the weights that serve a user: those in force, ``champion``, or those on trial."""
        trial = self.trial
        if trial is None or role_of(user_id, trial.terms) == "champion":
            return champion
        return trial.serving

    def by_weights(
        self, found: list[Weighted], serving: Callable[[Weighted], Serving | None]
    ) -> list[tuple[Serving, list[Weighted]]]:
        """Return what belongs to the same weights together, in its order; without a trial that is all."""
        if self.serving is None or not found:
            return []
        if self.trial is None:
            return [(self.serving, found)]
        parts = (
            (one, [each for each in found if serving(each) is one])
            for one in (self.serving, self.trial.serving)
        )
        return [(one, part) for one, part in parts if part]

    def due(
        self,
        key: bytes,
        user_id: str,
        state: UserState,
        *,
        item_id: str | None,
        ref: tuple[int, int, int, int],
        produced_ms: int,
        line: Line | None,
        send: bool = True,
    ) -> Due:
        """Note an owed list with all that must be read off the state now."""
        recent = exclude = barred = history = None
        operation = -1
        serving = self.serving if line is None else line.serving
        row = None if serving is None or item_id is None else serving.item_row(item_id)
        if send and self.rules.recent:
            recent = newest_texts(state, self.rules.list_size)
        elif send and serving is None:
            barred = self._barred(state)
        elif send and serving is not None and line is not None:
            exclude = self.excluded(state, serving)
            operation = len(line.operations) - 1
            if not row and not _has_history(state, serving):
                line = None
            elif serving.remembers:
                history = serving.history(state)
        return Due(
            key,
            user_id,
            row,
            ref,
            produced_ms,
            send,
            line,
            operation,
            exclude,
            barred,
            recent,
            history,
            serving,
        )

    def excluded(self, state: UserState, serving: Serving) -> Rows | None:
        """Return the rows a list of this user leaves out."""
        barred = self._barred(state)
        if not barred:
            return None
        rows = [row for row in map(serving.item_row, barred) if row]
        return np.array(rows, np.int32) if rows else None

    def _barred(self, state: UserState) -> set[str] | None:
        """Return the ids of the items a list of this user leaves out; None for none."""
        if not (state.bought or self.rules.exclude_seen):
            return None
        ids = set(state.bought)
        if self.rules.exclude_seen:
            ids.update(state.segment_items())
        return ids

    def make(
        self,
        due: Sequence[Due],
        states: Mapping[bytes, UserState | None],
        effects: Effects,
        *,
        now_ms: int,
    ) -> None:
        """Rank and encode the owed lists in their order; count them and what they were worth."""
        for begin in range(0, len(due), RANKED_TOGETHER):
            together = due[begin : begin + RANKED_TOGETHER]
            for owed, ranked in zip(together, self._ranked(together), strict=True):
                state = states[owed.key]
                if state is None:
                    continue
                self._measure(owed, state, effects)
                if ranked is None or not ranked.items:
                    continue
                message = self._encoder.encode(
                    owed.user_id,
                    ranked.items,
                    owed.ref,
                    now_ms,
                    kind=ranked.kind,
                    model_version=ranked.model_version,
                )
                effects.kinds[ranked.kind] += 1
                state.listed = ranked.rows
                effects.add_list(owed.key, message, owed.produced_ms)
                state.listed_for = owed.ref
                if self.rules.list_interval_ms:
                    state.listed_ms = now_ms

    def _measure(self, owed: Due, state: UserState, effects: Effects) -> None:
        """Look whether the list last sent to the user held the item of the event."""
        if owed.row is not None and state.listed:
            place = place_of(owed.row, state.listed)
            effects.quality.observe(owed.row, place, list_size=self.rules.list_size)

    def _ranked(self, due: Sequence[Due]) -> list[Ranked | None]:
        """Rank the lists of a part of a batch; None where none is sent."""
        ranked: list[Ranked | None] = [None] * len(due)
        personal: list[int] = []
        popular: list[int] = []
        for number, owed in enumerate(due):
            if not owed.send:
                continue
            if owed.recent is not None:
                ranked[number] = Ranked(b"", self._recent.items(owed.recent), "personalized", RECENT)
            elif self.serving is None:
                ranked[number] = self._fallen_back(owed.barred or ())
            else:
                (personal if owed.line is not None else popular).append(number)
        for serving, numbers in self.by_weights(personal, lambda number: due[number].serving):
            self._rank_personal(due, numbers, ranked, serving)
        for serving, numbers in self.by_weights(popular, lambda number: due[number].serving):
            self._rank_popular(due, numbers, ranked, serving)
        return ranked

    def _fallen_back(self, barred: Collection[str]) -> Ranked:
        """Return what is popular while there are no weights."""
        items = [ListItem(item_id, score) for item_id, score in self.fallback if item_id not in barred]
        return Ranked(b"", b",".join(map(encode, items)), "popular", NO_MODEL)

    def _rank_personal(
        self, due: Sequence[Due], numbers: list[int], ranked: list[Ranked | None], serving: Serving
    ) -> None:
        states = np.stack(
            [due[number].line.results[due[number].operation] for number in numbers]  # type: ignore[union-attr]  # personal lists have a line
        )
        rows, scores = serving.rank(
            states,
            self.rules.list_size,
            histories=[history for number in numbers if (history := due[number].history) is not None],
            exclude=_exclusions(due, numbers),
            max_per_category=self.rules.max_per_category,
        )
        _note(ranked, numbers, rows, scores, kind="personalized", serving=serving)

    def _rank_popular(
        self, due: Sequence[Due], numbers: list[int], ranked: list[Ranked | None], serving: Serving
    ) -> None:
        rows, scores = serving.popular(
            len(numbers),
            self.rules.list_size,
            exclude=_exclusions(due, numbers),
            max_per_category=self.rules.max_per_category,
        )
        _note(ranked, numbers, rows, scores, kind="popular", serving=serving)

    def own_lists(self, partition: int, now_ms: int) -> OwnLists:
        """Return what writes the lists of users' own last items, of which the last place scores 1."""
        return OwnLists(self._recent, self._encoder.ending("personalized", RECENT, partition, now_ms))


def _has_history(state: UserState, serving: Serving) -> bool:
    """Whether the network knows anything of the user: an item or a category of the segment."""
    if any(map(serving.item_row, state.segment_items())):
        return True
    return any(serving.category_row(0, key) for key in state.category_keys()[state.start :])


def _exclusions(due: Sequence[Due], numbers: list[int]) -> list[Rows] | None:
    """Return the rows each list leaves out, or None where none leaves out any."""
    excluded = [due[number].exclude for number in numbers]
    if all(rows is None for rows in excluded):
        return None
    return [_NO_ROWS if rows is None else rows for rows in excluded]


def _note(
    ranked: list[Ranked | None],
    numbers: list[int],
    rows: Rows,
    scores: Floats,
    *,
    kind: ListKind,
    serving: Serving,
) -> None:
    """Put the lists with these numbers in their places."""
    texts = scored_items(serving.id_texts, rows, scores)
    for number, listed, items in zip(numbers, pack_rows(rows), texts, strict=True):
        ranked[number] = Ranked(listed, items, kind, serving.version)
