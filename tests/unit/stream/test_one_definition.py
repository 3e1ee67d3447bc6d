"""Segment, step and ranking are defined once: change one, and serving, retraining and evaluation all move."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from torch import Tensor

from models import ranking, segment
from models.evaluation import next_event_lists
from models.gate import HeldBack, Standing, judge
from models.gate_config import GateConfig
from models.networks import Network
from models.recurrent import NetworkSystem
from models.segment import SegmentRule
from models.sequences import cut
from stream.rules import Rules
from stream.serving import Serving
from tests.support.partitions import EARLIER_MS, SEGMENT, Partition, item_ids, lists_of
from tests.support.recommenders import small_recommender

N_EVENTS, N_USERS, SIZE = 120, 6, 5
RECOMMENDER = small_recommender(blended=True, rule=SEGMENT)
RULES = Rules(segment=SEGMENT, list_size=SIZE, exclude_bought_ms=0)


class Seen(NamedTuple):
    """What each of the three makes of the same events."""

    served: list[list[str]]  # the lists of a worker that stood before an event
    evaluated: list[list[str]]  # those of `freshet evaluate`
    gate: Standing  # what retraining thinks of the weights
    segments: int  # and how many it learns from


def wandering() -> pl.DataFrame:
    """Users among eleven items, most of whom begin several segments."""
    rng = np.random.default_rng(5)
    time_ms = EARLIER_MS + np.sort(rng.choice(90_000, N_EVENTS, replace=False))
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, N_USERS, N_EVENTS)],
            "item_id": [f"i{item}" for item in rng.integers(1, 12, N_EVENTS)],
            "category_id": pl.Series([None] * N_EVENTS, dtype=pl.String),
            "behavior": pl.Series([0] * N_EVENTS, dtype=pl.Int8),
            "timestamp": time_ms,
        }
    )


def seen() -> Seen:
    """Run the three."""
    events = wandering()
    held_back = HeldBack.of(events, RECOMMENDER.vocabulary, int(events["timestamp"].min()))
    split = held_back.split
    lists = next_event_lists(NetworkSystem(RECOMMENDER), split, SIZE, popularity=RECOMMENDER.popularity)
    order = np.argsort(split.log.time_ms[split.targets])
    names = RECOMMENDER.vocabulary.item_ids
    return Seen(
        _served(events),
        [[names[row] for row in rows] for rows in lists.rows[order].tolist()],
        judge(RECOMMENDER, RECOMMENDER, held_back, GateConfig(cutoff=SIZE)).champion,
        len(cut(split.log, SEGMENT)),
    )


def _served(events: pl.DataFrame) -> list[list[str]]:
    """The list that stood before each event of a user who had one, in the order of the events."""
    partition = Partition(Serving(RECOMMENDER), RULES)
    stands: dict[str, list[str]] = {}
    before = []
    for user, item, time_ms in events.select("user_id", "item_id", "timestamp").iter_rows():
        if user in stands:
            before.append(stands[user])
        (made,) = lists_of(partition.run(partition.event(user, item, time_ms - EARLIER_MS)))
        stands[user] = item_ids(made)
    return before


@pytest.fixture(scope="module")
def as_defined() -> Seen:
    """With the code as it is."""
    return seen()


def test_serving_and_evaluation_make_the_same_lists(as_defined: Seen) -> None:
    """They are the lists of one program."""
    assert as_defined.served == as_defined.evaluated
    assert len(as_defined.served) == N_EVENTS - N_USERS


def test_two_places_exchanged_in_the_ranking_are_exchanged_in_all_three(
    monkeypatch: pytest.MonkeyPatch, as_defined: Seen
) -> None:
    """The second best item first: each list says so, and so does the gate."""

    def second_first(best: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[..., object]:
        def exchanged(*arguments: object) -> tuple[np.ndarray, np.ndarray]:
            rows, values = best(*arguments)
            return rows[:, [1, 0, *range(2, rows.shape[1])]], values

        return exchanged

    for way in ("_best", "_best_by_loops"):
        monkeypatch.setattr(ranking, way, second_first(getattr(ranking, way)))
    moved = seen()
    exchanged = [[second, first, *rest] for first, second, *rest in as_defined.served]
    assert moved.served == moved.evaluated == exchanged
    assert moved.gate.mrr != as_defined.gate.mrr
    assert moved.gate.hit_rate == as_defined.gate.hit_rate


def test_another_step_is_another_step_for_all_three(
    monkeypatch: pytest.MonkeyPatch, as_defined: Seen
) -> None:
    """A state with its sign changed leads to other lists, the same for serving and evaluation."""
    # The compiled step of a single event is held to this one by tests of its own.
    monkeypatch.setattr(RECOMMENDER._frozen, "_step_loops", None)
    step: Callable[..., Tensor] = Network.step
    monkeypatch.setattr(Network, "step", lambda *arguments: -step(*arguments))
    moved = seen()
    assert moved.served == moved.evaluated != as_defined.served
    assert moved.gate.mrr != as_defined.gate.mrr


def test_another_rule_for_segments_holds_for_all_three(
    monkeypatch: pytest.MonkeyPatch, as_defined: Seen
) -> None:
    """Segments that end two events earlier: more of them to learn from, other states to rank."""

    def goes_on(events: int, age_ms: int, rule: SegmentRule) -> bool:
        return events + 2 < rule.max_events and age_ms <= 2 * rule.span_ms

    monkeypatch.setattr(segment.goes_on, "__code__", goes_on.__code__)
    moved = seen()
    assert moved.served == moved.evaluated != as_defined.served
    assert moved.gate.mrr != as_defined.gate.mrr
    assert moved.segments > as_defined.segments
