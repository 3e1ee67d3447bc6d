"""Events cut into what may be learnt from and what is to be foretold.

Three ways: one cut in time through all events, several such cuts one after another, or two files that
are the split. Each gives a `Split`, which holds the events to walk through under the vocabulary of the
candidates, and beside them what really happened, where items never trained on are told apart.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.behavior import Behavior
from models.cleaning import CleaningRule, suspicious_users
from models.errors import EvaluationError
from models.events import EventLog
from models.features import DAY_MS
from models.ranking import Rows
from models.vocabulary import Vocabulary

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Which items can be listed: those of the training events, and those that were announced besides.

    ``items`` (item_id, category_id) is a catalogue that was known before the cut. With ``announced``
    the items of the later events are taken as announced with their category before the cut, so that
    a system that scores items it was never trained on can list them. New items are put in the order
    of their ids, which tells nothing of when they will be wanted.

    That is a favour to such a system: a shop announces more items than will be asked for, and here
    those alone are candidates that will be. Compare systems by it, and take its level for nothing.
    """

    items: pl.DataFrame | None = None
    announced: bool = False

    def vocabulary(self, past: pl.DataFrame, future: pl.DataFrame) -> Vocabulary:
        """The vocabulary of the candidates."""
        trained = Vocabulary.from_frame(past)
        known = trained if self.items is None else trained.extended(past.clear(), self.items)
        return _grown(known, future) if self.announced else known

    @property
    def words(self) -> str:
        """What tables and reports call it."""
        told = ["every item of the training events"]
        told += ["the items of a catalogue"] if self.items is not None else []
        told += ["the items of the later events, announced before the cut"] if self.announced else []
        return " and ".join(told)


@dataclass(frozen=True, eq=False)
class Split:
    """What is learnt from, and the events of ``U`` users to be foretold one after another.

    User u has done ``log`` events ``first[u] .. begin[u] - 1`` before; the events
    ``begin[u] .. end[u] - 1`` are the targets, each foretold from those before it. ``item`` and
    ``category`` (E,) are what the log's events really are: rows that agree with the vocabulary
    where it knows them and go on past its end where it does not. ``words`` says how the cut was
    made; ``cut_ms`` is its time, None where the split was given.
    """

    vocabulary: Vocabulary
    train: EventLog
    log: EventLog
    item: Rows
    category: Rows
    first: Positions
    begin: Positions
    end: Positions
    words: str
    suspicious: int  # users left out by the cleaning rule
    dropped: int  # target events left out because their item was never trained on
    cut_ms: int | None = None

    @property
    def candidates(self) -> int:
        """How many items can be listed."""
        return self.vocabulary.n_items - 1

    @property
    def n_targets(self) -> int:
        """How many events are foretold."""
        return int((self.end - self.begin).sum())

    @property
    def targets(self) -> Positions:
        """(T,) the positions of the targets in the log, user by user."""
        lengths = self.end - self.begin
        shift: Positions = self.begin - (np.cumsum(lengths) - lengths)
        return np.arange(self.n_targets) + np.repeat(shift, lengths)

    @cached_property
    def cold(self) -> NDArray[np.bool_]:
        """(N,) which candidates no training event names."""
        never: NDArray[np.bool_] = np.bincount(self.train.item, minlength=self.vocabulary.n_items) == 0
        return never

    def is_cold(self, item: Rows) -> NDArray[np.bool_]:
        """Which of these items, candidates or not, no training event names."""
        inside = item < len(self.cold)
        new: NDArray[np.bool_] = ~inside | self.cold[np.where(inside, item, 0)]
        return new

    def of_some_users(self, count: int, seed: int = 1) -> Self:
        """The same with the targets of ``count`` users drawn at random; of all where there are no more."""
        if count >= len(self.begin):
            return self
        drawn = np.sort(np.random.default_rng(seed).choice(len(self.begin), count, replace=False))
        words = f"{self.words}; {count:,} of {len(self.begin):,} users drawn"
        return replace(
            self, first=self.first[drawn], begin=self.begin[drawn], end=self.end[drawn], words=words
        )

    @property
    def at_cut(self) -> Positions:
        """(users of the log,) where each stands at the cut: the position of the first event from then on."""
        assert self.cut_ms is not None, "a split as given has no cut"
        before = np.concatenate(([0], np.cumsum(self.log.time_ms < self.cut_ms)))
        starts = self.log.starts
        return (starts[:-1] + before[starts[1:]] - before[starts[:-1]]).astype(np.int64)

    @cached_property
    def bought_next_day(self) -> Positions:
        """The positions in the log of what was bought within 24 hours from the cut; none without a cut."""
        if self.cut_ms is None:
            return np.zeros(0, np.int64)
        day = (self.log.time_ms >= self.cut_ms) & (self.log.time_ms < self.cut_ms + DAY_MS)
        return np.flatnonzero(day & (self.log.behavior == Behavior.PURCHASE)).astype(np.int64)


def split_by_time(
    frame: pl.DataFrame,
    *,
    train_share: float,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
    candidates: Candidates | None = None,
) -> Split:
    """Cut all events at one point in time: the first ``train_share`` of them are learnt from.

    Every event from the cut on is a target, a user's first one included; a user's events before the
    cut are the history the first list is made from. Raises EvaluationError when a side is empty.
    """
    if not 0 < train_share < 1:
        raise EvaluationError(f"the training share is {train_share:g}; it must lie between 0 and 1")
    clean, suspicious = _cleaned(frame, cleaning)
    (cut_ms,) = _cuts(clean, [train_share])
    split = _split_at(clean, cut_ms, known_items_only, candidates or Candidates())
    return replace(
        split, words=f"one cut in time after {train_share:.0%} of the events", suspicious=suspicious
    )


def training_part(
    frame: pl.DataFrame, *, train_share: float, cleaning: CleaningRule | None = None
) -> pl.DataFrame:
    """The events that `split_by_time` learns from, without suspicious users: all that tuning may look at."""
    clean, _ = _cleaned(frame, cleaning)
    (cut_ms,) = _cuts(clean, [train_share])
    return clean.filter(pl.col("timestamp") < cut_ms)


def split_newest_sequences(
    frame: pl.DataFrame,
    *,
    share: float,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
) -> Split:
    """Hold the newest sequences of a training file back, as its test file's would be: `split_as_given`.

    Those are held back that begin in the last ``share`` of the events; what the others did after that
    time is in neither part.
    """
    clean, suspicious = _cleaned(frame, cleaning)
    (cut_ms,) = _cuts(clean, [1 - share])
    begin_ms = pl.col("timestamp").min().over("user_id")
    past = clean.filter(pl.col("timestamp") < cut_ms)
    split = split_as_given(past, clean.filter(begin_ms >= cut_ms), known_items_only=known_items_only)
    return replace(
        split, words=f"sequences that begin in the last {share:.0%} of the events", suspicious=suspicious
    )


def split_into_windows(
    frame: pl.DataFrame,
    *,
    windows: int,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
    candidates: Candidates | None = None,
) -> list[Split]:
    """Cut all events into ``windows`` + 1 parts of as many events, and foretell each from those before it.

    Split i learns from parts 1 to i and foretells part i + 1, so each event but those of the first
    part is foretold once. Raises EvaluationError when a part is empty.
    """
    if windows < 1:
        raise EvaluationError(f"the number of windows is {windows}; it must be at least 1")
    clean, suspicious = _cleaned(frame, cleaning)
    cuts = _cuts(clean, [part / (windows + 1) for part in range(1, windows + 1)])
    ends = [*cuts[1:], int(clean["timestamp"].cast(pl.Int64).max() or 0) + 1]  # type: ignore[arg-type]
    if any(begin >= end for begin, end in pairwise([*cuts, ends[-1]])):
        raise EvaluationError(f"too many events have the same time for {windows} windows; give fewer")
    return [
        replace(
            _split_at(
                clean.filter(pl.col("timestamp") < end_ms),
                cut_ms,
                known_items_only,
                candidates or Candidates(),
            ),
            words=f"window {number} of {windows}: part {number + 1} of {windows + 1} from those before it",
            suspicious=suspicious,
        )
        for number, (cut_ms, end_ms) in enumerate(zip(cuts, ends, strict=True), 1)
    ]


def split_as_given(
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
    candidates: Candidates | None = None,
) -> Split:
    """Take two frames as the split: the test's sequences, keyed by user_id, are walked from their start.

    Each event of a sequence but its first is a target. Sequences of one event, after items never
    trained on were dropped where asked for, foretell nothing and are left out. A user's training
    events are no part of the user's test sequence. Raises EvaluationError when a side is empty.
    """
    (past, suspicious), (future, suspicious_too) = _cleaned(train, cleaning), _cleaned(test, cleaning)
    if past.is_empty():
        raise EvaluationError("the training events are empty, or every user of theirs was left out")
    kept = _known(future, past) if known_items_only else future
    if kept.is_empty() and not future.is_empty():
        raise EvaluationError(
            "the test events leave nothing to foretell: none of them is of an item of the training events"
        )
    vocabulary = (candidates or Candidates()).vocabulary(past, kept)
    log, item, category = _walked(kept, vocabulary)
    first, end = log.starts[:-1].astype(np.int64), log.starts[1:].astype(np.int64)
    return _checked(
        Split(
            vocabulary,
            EventLog.from_frame(past, vocabulary),
            log,
            item,
            category,
            *_with_targets(first, first + 1, end),
            "as given; next events of test sequences of two or more",
            suspicious + suspicious_too,
            future.height - kept.height,
        )
    )


def _cuts(frame: pl.DataFrame, shares: list[float]) -> list[int]:
    """The times (ms) before which these shares of the events lie."""
    if frame.is_empty():
        raise EvaluationError("there are no events to cut; every user was left out or the file holds none")
    times = frame["timestamp"].sort()
    if times[0] == times[-1]:
        raise EvaluationError(
            f"all {len(times):,} events have the same time, so there is no before and after to cut between; "
            "give --train and --test, or a file with times"
        )
    return [int(times[int(len(times) * share)]) for share in shares]


def _split_at(frame: pl.DataFrame, cut_ms: int, known_items_only: bool, candidates: Candidates) -> Split:
    """Cut a frame at one time."""
    before = pl.col("timestamp") < cut_ms
    past, future = frame.filter(before), frame.filter(~before)
    if past.is_empty():
        raise EvaluationError("no event lies before the cut in time; give a greater training share")
    kept = _known(future, past) if known_items_only else future
    if kept.is_empty():
        raise EvaluationError(
            "the events from the cut on leave nothing to foretell: none of them is of an item known "
            "from before"
        )
    vocabulary = candidates.vocabulary(past, kept)
    walked = frame if len(kept) == len(future) else frame.filter(before | _is_of(past))
    log, item, category = _walked(walked, vocabulary)
    first, end = log.starts[:-1].astype(np.int64), log.starts[1:].astype(np.int64)
    train = EventLog.from_frame(past, vocabulary)
    dropped = future.height - kept.height
    split = Split(
        vocabulary, train, log, item, category, first, first, end, "one cut in time", 0, dropped, cut_ms
    )
    first, begin, end = _with_targets(first, split.at_cut, end)
    return _checked(replace(split, first=first, begin=begin, end=end))


def _known(future: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """The later events of items that the earlier ones name."""
    return future.filter(_is_of(past))


def _is_of(past: pl.DataFrame) -> pl.Expr:
    """Whether an event's item is one of these events."""
    return pl.col("item_id").is_in(past["item_id"].unique().implode())


def _cleaned(frame: pl.DataFrame, rule: CleaningRule | None) -> tuple[pl.DataFrame, int]:
    """The frame without its suspicious users, in order of time, and how many they were.

    Events of equal times stay in the order of the file.
    """
    frame = frame.sort("timestamp", maintain_order=True)
    if rule is None or frame.is_empty():
        return frame, 0
    codes = frame.select(pl.col("user_id").rank("dense").cast(pl.Int64) - 1)["user_id"]
    nothing = np.zeros(frame.height, np.int32)
    log = EventLog.sorted(
        codes.to_numpy(), nothing, nothing, frame["behavior"].to_numpy(), frame["timestamp"].to_numpy()
    )
    robots = suspicious_users(log, rule)
    if not len(robots):
        return frame, 0
    return frame.filter(~codes.is_in(pl.Series(robots).implode())), len(robots)


def _walked(frame: pl.DataFrame, vocabulary: Vocabulary) -> tuple[EventLog, Rows, Rows]:
    """The log under the vocabulary; the rows its events have when all ids are known."""
    log = EventLog.from_frame(frame, vocabulary)
    truth = EventLog.from_frame(frame, _grown(vocabulary, frame))  # the order does not depend on the items
    return log, truth.item, truth.category


def _grown(vocabulary: Vocabulary, frame: pl.DataFrame) -> Vocabulary:
    """The vocabulary with the items of a frame that are new to it, in the order of their ids."""
    every = Vocabulary.from_frame(frame)
    new = [row for row in range(1, every.n_items) if not vocabulary.item_row(every.item_ids[row])]
    new.sort(key=lambda row: every.item_ids[row])
    category_ids = [every.category_ids[category] or None for category in every.item_category[new].tolist()]
    return vocabulary.grow([every.item_ids[row] for row in new], category_ids)


def _with_targets(
    first: Positions, begin: Positions, end: Positions
) -> tuple[Positions, Positions, Positions]:
    """The three of the users that have a target."""
    some = end > begin
    return first[some], begin[some], end[some]


def _checked(split: Split) -> Split:
    """The split, unless there is nothing to foretell."""
    if not split.n_targets:
        raise EvaluationError(
            "the test events leave nothing to foretell: no sequence goes on after its first known event"
        )
    return split
