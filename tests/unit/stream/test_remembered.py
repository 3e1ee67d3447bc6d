"""What a blend needs of a user beside the hidden state: kept in the record, the same as in evaluation."""

import numpy as np
import polars as pl

from models.events import EventLog
from models.memory import PLACES
from models.ranking import top_n
from models.recurrent import NetworkSystem
from stream.rules import Rules
from stream.serving import Serving
from stream.state import ITEM_KEY_BYTES, item_key, remembered
from tests.support.partitions import EARLIER_MS, SEGMENT, Partition, item_ids, lists_of, serving_of
from tests.support.recommenders import small_recommender, small_vocabulary

RECOMMENDER = small_recommender(blended=True, vocabulary=small_vocabulary(30), rule=SEGMENT)


def test_what_is_let_go_is_remembered_once_at_the_place_of_its_last_time() -> None:
    """The newest stand last; what comes again moves behind the others."""
    past = remembered(b"", [b"a", b"b", b"a", b"c"])
    assert past == item_key(b"b") + item_key(b"a") + item_key(b"c")
    assert remembered(past, [b"b"]) == item_key(b"a") + item_key(b"c") + item_key(b"b")


def test_no_more_is_remembered_than_a_memory_holds() -> None:
    """Of more than PLACES items the oldest are forgotten."""
    past = remembered(b"", [b"i%d" % number for number in range(PLACES + 5)])
    assert len(past) == PLACES * ITEM_KEY_BYTES
    assert past.startswith(item_key(b"i5"))


def test_nothing_is_remembered_beside_the_retained_events_until_some_are_let_go() -> None:
    """A short history costs no byte more."""
    partition = Partition(serving_of(RECOMMENDER))
    partition.run(*(partition.event("u", f"i{number}", number) for number in range(1, 6)))
    assert partition.state("u").past == b""


def test_served_lists_are_those_of_evaluation() -> None:
    """A blend's list after each of 60 events, cut into many segments, is the one the walk makes."""
    rng = np.random.default_rng(4)
    items = rng.integers(1, 30, 60)
    times_ms = np.cumsum(rng.integers(1, 4_000, 60)) - 200_000
    partition = Partition(serving_of(RECOMMENDER), Rules(segment=SEGMENT, list_size=5))
    served = []
    for begin in range(0, 60, 7):
        pairs = zip(items[begin : begin + 7].tolist(), times_ms[begin : begin + 7].tolist(), strict=True)
        events = [partition.event("u", f"i{item}", time_ms) for item, time_ms in pairs]
        served += lists_of(partition.run(*events))
    assert len(partition.state("u").past) > 5 * ITEM_KEY_BYTES
    frame = pl.DataFrame(
        {
            "user_id": "u",
            "item_id": [f"i{item}" for item in items],
            "category_id": pl.Series([None] * 60, dtype=pl.String),
            "behavior": pl.Series([0] * 60, dtype=pl.Int8),
            "timestamp": EARLIER_MS + times_ms,
        }
    )
    log = EventLog.from_frame(frame, RECOMMENDER.vocabulary)
    follower = NetworkSystem(RECOMMENDER, "blend").follow(log, np.array([0]), np.array([0]))
    for position, made in enumerate(served):
        follower.advance(np.array([position]))
        rows, scores = top_n(follower.scores(1)[0], 5)
        assert item_ids(made) == [RECOMMENDER.vocabulary.item_ids[row] for row in rows[0]], position
        np.testing.assert_allclose([item.score for item in made.items], scores[0], atol=1e-4)


def test_an_announced_item_can_be_in_a_list_at_once() -> None:
    """A user of its category is listed it after the announcement, and not once it is withdrawn."""
    plain = serving_of(RECOMMENDER)
    grown = plain.announced({"new": "c2", "odd": "nowhere"})
    assert plain.announced({"i1": "c1"}) is plain
    rules = Rules(segment=SEGMENT, list_size=30)

    def listed(serving: Serving) -> list[str]:
        partition = Partition(serving, rules)
        return item_ids(lists_of(partition.run(partition.event("u", "i1", 1)))[0])

    assert "new" not in listed(plain)
    assert "new" in listed(grown)
    assert "odd" not in listed(grown)
    assert "new" not in listed(plain.announced({"new": "c2"}, withdrawn=["new"]))


def test_weights_that_grow_keep_states_and_measure_on() -> None:
    """After an announcement the next event is a step, and the list sent before is still understood."""
    partition = Partition(serving_of(RECOMMENDER))
    partition.run(partition.event("u", "i1", 1))
    partition.serving = partition.serving.announced({"new": "c2"})
    effects = partition.run(partition.event("u", "i2", 2))
    assert not effects.rebuilds
    assert effects.quality.events == 1
