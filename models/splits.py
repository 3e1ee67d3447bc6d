"""Events cut into what may be learnt from and what is to be foretold.

Two ways: one cut in time through all events, or two files that are the split. Either gives a
`Split`, which holds the events to walk through under the vocabulary of the training events, and
beside them what really happened, where items never trained on are told apart.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.cleaning import CleaningRule, suspicious_users
from models.errors import EvaluationError
from models.events import EventLog
from models.ranking import Rows
from models.vocabulary import Vocabulary

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """What is learnt from, and the events of ``U`` users to be foretold one after another.

    User u has done ``log`` events ``first[u] .. begin[u] - 1`` before; the events
    ``begin[u] .. end[u] - 1`` are the targets, each foretold from those before it. ``item`` and
    ``category`` (E,) are what the log's events really are: rows that agree with the vocabulary
    where it knows them and go on past its end where it does not. ``candidates`` counts the items
    that can be listed. ``words`` says how the cut was made.
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

    @property
    def candidates(self) -> int:
        """How many items can be listed: every item of the training events."""
        return self.vocabulary.n_items - 1

    @property
    def n_targets(self) -> int:
        """How many events are foretold."""
        return int((self.end - self.begin).sum())


def split_by_time(
    frame: pl.DataFrame,
    *,
    train_share: float,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
) -> Split:
    """Cut all events at one point in time: the first ``train_share`` of them are learnt from.

    Every event from the cut on is a target, a user's first one included; a user's events before the
    cut are the history the first list is made from. Raises EvaluationError when a side is empty.
    """
    if not 0 < train_share < 1:
        raise EvaluationError(f"the training share is {train_share:g}; it must lie between 0 and 1")
    clean, suspicious = _cleaned(frame, cleaning)
    if clean.is_empty():
        raise EvaluationError("there are no events to cut; every user was left out or the file holds none")
    times = clean["timestamp"].sort()
    cut_ms = int(times[int(len(times) * train_share)])
    past = clean.filter(pl.col("timestamp") < cut_ms)
    if past.is_empty():
        raise EvaluationError("no event lies before the cut in time; give a greater training share")
    vocabulary = Vocabulary.from_frame(past)
    known = pl.col("item_id").is_in(pl.Series(vocabulary.item_ids).implode())
    kept = clean.filter((pl.col("timestamp") < cut_ms) | known) if known_items_only else clean
    log, item, category = _walked(kept, vocabulary)
    first, end = log.starts[:-1].astype(np.int64), log.starts[1:].astype(np.int64)
    past_before = np.concatenate(([0], np.cumsum(log.time_ms < cut_ms)))
    begin = first + past_before[end] - past_before[first]
    return _checked(
        Split(
            vocabulary,
            EventLog.from_frame(past, vocabulary),
            log,
            item,
            category,
            *_with_targets(first, begin, end),
            f"one cut in time after {train_share:.0%} of the events",
            suspicious,
            clean.height - kept.height,
        )
    )


def split_as_given(
    train: pl.DataFrame,
    test: pl.DataFrame,
    *,
    known_items_only: bool = False,
    cleaning: CleaningRule | None = None,
) -> Split:
    """Take two frames as the split: the test's sequences, keyed by user_id, are walked from their start.

    Each event of a sequence but its first is a target. Sequences of one event, after items never
    trained on were dropped where asked for, foretell nothing and are left out. A user's training
    events are no part of the user's test sequence. Raises EvaluationError when a side is empty.
    """
    (past, suspicious), (future, suspicious_too) = _cleaned(train, cleaning), _cleaned(test, cleaning)
    if past.is_empty():
        raise EvaluationError("the training events are empty, or every user of theirs was left out")
    vocabulary = Vocabulary.from_frame(past)
    known = pl.col("item_id").is_in(pl.Series(vocabulary.item_ids).implode())
    kept = future.filter(known) if known_items_only else future
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


def _cleaned(frame: pl.DataFrame, rule: CleaningRule | None) -> tuple[pl.DataFrame, int]:
    """The frame without its suspicious users, and how many they were."""
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
    """The log under the training vocabulary; the rows its events have when all ids are known."""
    log = EventLog.from_frame(frame, vocabulary)
    every = Vocabulary.from_frame(frame)
    new = [row for row in range(1, every.n_items) if not vocabulary.item_row(every.item_ids[row])]
    category_ids = [every.category_ids[category] or None for category in every.item_category[new].tolist()]
    grown = vocabulary.grow([every.item_ids[row] for row in new], category_ids)
    truth = EventLog.from_frame(frame, grown)  # the same order: it does not depend on the items
    return log, truth.item, truth.category


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
