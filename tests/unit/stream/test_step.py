"""What a batch of events leads to: outcomes, records, lists, dead letters."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from models.cleaning import CleaningRule
from stream.messages import ERROR_WORDS, decode_list
from stream.state import decode_state
from stream.step import FORGET, process
from tests.support.partitions import (
    CART,
    CLICK,
    EARLIER_MS,
    FAVORITE,
    INTERVAL,
    NOW_MS,
    NUMBER,
    PURCHASE,
    RULES,
    TOPICS,
    Partition,
    event_value,
    hidden_of,
    item_ids,
    lists_of,
    outcomes,
    serving_of,
)
from tests.support.recommenders import small_recommender

# What is sent.


def test_each_applied_event_gets_a_list_with_its_identity(partition: Partition) -> None:
    """A list names its event, its weights and the clock it was made by; a user's lists stand together."""
    effects = partition.run(
        partition.event("u", "i1", 1),
        partition.event("v", "i2", 2),
        partition.event("u", "i3", 3, behavior=CART),
    )
    made = lists_of(effects)
    assert [one.user_id for one in made] == ["u", "u", "v"]
    assert [key for key, _ in effects.lists] == [b"u", b"u", b"v"]
    assert {one.kind for one in made} == {"personalized"}
    assert {one.model_version for one in made} == {"gru-0"}
    assert {one.generated_at for one in made} == {NOW_MS}
    last = made[1].event
    assert (last.topic, last.partition, last.offset) == ("events.cart", NUMBER, 0)
    assert last.timestamp == EARLIER_MS + 3
    assert effects.outcomes == {(CLICK, "applied"): 2, (CART, "applied"): 1}
    assert effects.kinds == {"personalized": 3}
    assert effects.produced_ms == [NOW_MS - 5] * 3


def test_a_list_is_the_ranking_of_the_state_after_its_event(partition: Partition) -> None:
    """Lists of one batch differ from event to event, each from its own state."""
    effects = partition.run(partition.event("u", "i1", 1), partition.event("u", "i5", 700))
    recommender = small_recommender()
    rows, categories = [1, 5], recommender.vocabulary.item_category
    for length, made in enumerate(lists_of(effects), start=1):
        times = np.array([EARLIER_MS + 1, EARLIER_MS + 700][:length])
        segment = (np.array(rows[:length]), categories[rows[:length]], np.zeros(length, np.int64), times)
        scores = recommender.scores(recommender.replay([segment]))[0]
        best = np.argsort(-scores, kind="stable")[:5]
        assert item_ids(made) == [f"i{row}" for row in best]
        np.testing.assert_allclose([item.score for item in made.items], scores[best], atol=1e-4)


def test_a_batch_without_records_has_no_effects(partition: Partition) -> None:
    """Nothing is sent, stored or counted."""
    effects = partition.run()
    assert (effects.lists, effects.states, effects.dead_letters, outcomes(effects)) == ([], {}, [], {})


# Repeats.


def test_a_redelivered_offset_is_a_duplicate_and_changes_nothing(partition: Partition) -> None:
    """Offsets at or below the last applied one of their own topic are skipped."""
    first, second = partition.event("u", "i1", 1), partition.event("u", "i2", 2)
    other = partition.event("u", "i3", 3, behavior=PURCHASE)
    partition.run(first, second, other)
    before = dict(partition.records)
    effects = partition.run(first, second, other)
    assert outcomes(effects) == {"duplicate": 3}
    assert not effects.lists
    assert partition.records == before


def test_offsets_are_kept_for_each_topic_alone(partition: Partition) -> None:
    """Offset 0 of another topic is no repeat of offset 0 of clicks."""
    partition.run(partition.event("u", "i1", 1), partition.event("u", "i2", 2))
    assert outcomes(partition.run(partition.event("u", "i3", 3, behavior=FAVORITE))) == {"applied": 1}
    assert partition.state("u").offsets[:4] == [1, 0, -1, -1]


def test_an_event_id_in_the_segment_is_a_duplicate(partition: Partition) -> None:
    """A producer's repeat has a new offset, which is noted; the segment stays."""
    partition.run(partition.event("u", "i1", 1, event_id="e"))
    effects = partition.run(partition.event("u", "i1", 1, event_id="e"))
    assert outcomes(effects) == {"duplicate": 1}
    assert not effects.lists
    assert partition.state("u").segment_items() == ["i1"]
    assert partition.state("u").offsets[CLICK] == 1


def test_an_event_id_of_another_user_is_no_duplicate(partition: Partition) -> None:
    """Ids are looked for in the user's own segment."""
    effects = partition.run(
        partition.event("u", "i1", 1, event_id="e"), partition.event("v", "i1", 1, event_id="e")
    )
    assert outcomes(effects) == {"applied": 2}


# Late events.


def test_a_late_event_within_the_segment_is_applied_where_it_belongs(partition: Partition) -> None:
    """It gets a list with its own identity; the state is that of the right order."""
    partition.run(partition.event("u", "i1", 0), partition.event("u", "i3", 2_000))
    effects = partition.run(partition.event("u", "i2", 1_000, behavior=CART))
    assert outcomes(effects) == {"applied": 1}
    assert effects.rebuilds == {"segment": 1}
    assert lists_of(effects)[0].event.timestamp == EARLIER_MS + 1_000
    right = Partition(serving_of())
    right.run(right.event("u", "i1", 0))
    right.run(right.event("u", "i2", 1_000, behavior=CART))
    right.run(right.event("u", "i3", 2_000))
    assert partition.state("u").segment_items() == ["i1", "i2", "i3"]
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(right, "u"), atol=1e-5)


def test_an_event_older_than_the_segment_is_counted_and_gets_no_list(partition: Partition) -> None:
    """Only the offset is noted, so that its redelivery is a duplicate."""
    partition.run(partition.event("u", "i1", 0), partition.event("u", "i2", 100_000))
    before = partition.state("u")
    late = partition.event("u", "i3", 50_000)
    effects = partition.run(late)
    assert outcomes(effects) == {"late": 1}
    assert not effects.lists
    after = partition.state("u")
    assert after.offsets[CLICK] == before.offsets[CLICK] + 1
    before.offsets, before.activity = after.offsets, after.activity
    assert after == before
    assert outcomes(partition.run(late)) == {"duplicate": 1}


def test_a_segment_begins_anew_after_a_long_pause(partition: Partition) -> None:
    """The state is that of a user who only ever had the new event."""
    partition.run(partition.event("u", "i1", 0))
    effects = partition.run(partition.event("u", "i2", 100_000))
    assert effects.rebuilds == {"segment": 1}
    fresh = Partition(serving_of())
    fresh.run(fresh.event("u", "i2", 100_000))
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(fresh, "u"), atol=1e-5)


# Suspicious users.


def test_a_suspicious_users_events_are_counted_and_not_applied() -> None:
    """Four clicks within a minute where three are the most a hand can make."""
    cleaning = CleaningRule(max_burst_clicks=3, quarantine_ms=60_000)
    partition = Partition(serving_of(), replace(RULES, cleaning=cleaning))
    burst = [partition.event("robot", f"i{number}", number) for number in range(1, 5)]
    effects = partition.run(*burst, partition.event("u", "i1", 1))
    assert outcomes(effects) == {"applied": 4, "suspicious": 1}
    assert len(effects.lists) == 4
    assert partition.state("robot").segment_items() == ["i1", "i2", "i3"]
    assert outcomes(partition.run(partition.event("robot", "i5", 30_000, behavior=CART))) == {"suspicious": 1}
    assert outcomes(partition.run(partition.event("robot", "i5", 90_000, behavior=CART))) == {"applied": 1}


def test_what_the_rule_counts_is_in_the_record() -> None:
    """A robot is found across batches, as it is within one."""
    partition = Partition(serving_of(), replace(RULES, cleaning=CleaningRule(max_burst_clicks=3)))
    seen = [outcomes(partition.run(partition.event("robot", "i1", number))) for number in range(1, 5)]
    assert seen == [{"applied": 1}] * 3 + [{"suspicious": 1}]


# Bad input.


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        (b"u", None, "no-value"),
        (None, None, "no-value"),
        (b"u", b"\xff\xfe", "not-utf8"),
        (b"u", b"{", "not-json"),
        (b"u", b'{"x":' + b"[" * 100_000, "too-deep"),
        (b"u", b"[]", "wrong-type"),
        (b"u", b'{"user_id": "u", "item_id": "i1"}', "missing-field"),
        (b"u", event_value("u", "", 0), "empty-field"),
        (b"u", event_value("u", "i" * 257, 0), "too-long"),
        (b"u", b'{"user_id": "u", "item_id": "i1", "timestamp": "yesterday"}', "bad-timestamp"),
        (b"u", b'{"user_id": "u", "item_id": "i1", "timestamp": -1}', "timestamp-out-of-range"),
        (b"u", event_value("u", "i1", 600_000 + 300_001), "timestamp-in-future"),
        (b"v", event_value("u", "i1", 0), "key-mismatch"),
        (b"\xff", event_value("u", "i1", 0), "key-not-utf8"),
    ],
)
def test_a_bad_value_becomes_a_dead_letter_and_the_batch_goes_on(
    partition: Partition, key: bytes | None, value: bytes | None, word: str
) -> None:
    """The record is kept as it came with a word of the fixed list; its neighbours are applied."""
    bad = partition.raw(key, value)
    effects = partition.run(partition.event("u", "i1", 0), bad, partition.event("u", "i2", 1))
    assert outcomes(effects) == {"applied": 2, "invalid": 1}
    (refused,) = effects.dead_letters
    assert (refused.source, refused.record) == bad
    assert refused.reason.error == word
    assert word in ERROR_WORDS
    assert partition.state("u").segment_items() == ["i1", "i2"]


@pytest.mark.parametrize(("key", "word"), [(None, "missing-key"), (b"\xff", "key-not-utf8")])
def test_an_erasure_that_names_nobody_is_a_dead_letter(
    partition: Partition, key: bytes | None, word: str
) -> None:
    """It is no event, so it has no outcome."""
    effects = partition.run(partition.raw(key, b"please", source=FORGET))
    assert [(refused.source, refused.reason.error) for refused in effects.dead_letters] == [(FORGET, word)]
    assert not outcomes(effects)


def test_a_timestamp_as_text_is_the_same_moment(partition: Partition) -> None:
    """RFC 3339 and milliseconds give one record."""
    partition.run(partition.raw(b"u", b'{"user_id":"u","item_id":"i1","timestamp":"2023-11-14T22:03:20Z"}'))
    assert partition.state("u").segment_times_ms() == [EARLIER_MS]


# Records without a key.


def test_a_record_without_a_key_keeps_its_place_among_its_users(partition: Partition) -> None:
    """Taken after the user's later records it would be behind their offsets, and pass for a duplicate."""
    value = event_value("u", "i1", 1)
    effects = partition.run(
        partition.raw(None, value), partition.event("v", "i2"), partition.event("u", "i3", 2)
    )
    assert outcomes(effects) == {"applied": 3}
    assert partition.state("u").items == ["i1", "i3"]


def test_a_record_without_a_key_goes_to_its_users_partition(partition: Partition) -> None:
    """It is handed on as it came with the key filled in, and is counted when it comes back."""
    value = event_value("u", "i1", 0)
    source, record = partition.raw(None, value, source=CART)
    effects = partition.run((source, record), partition_of=NUMBER + 1)
    assert effects.forwards == [(CART, NUMBER + 1, b"u", record)]
    assert (effects.lists, effects.states, outcomes(effects)) == ([], {}, {})


def test_a_record_without_a_key_in_its_users_partition_is_applied(partition: Partition) -> None:
    """The user is the one of the value."""
    effects = partition.run(partition.raw(None, event_value("u", "i1", 0)))
    assert outcomes(effects) == {"applied": 1}
    assert [key for key, _ in effects.lists] == [b"u"]
    assert partition.state("u").segment_items() == ["i1"]


# Erasure.


def test_a_forgotten_user_is_gone(partition: Partition) -> None:
    """The record and the served list are erased; other users stay."""
    partition.run(partition.event("u", "i1", 0), partition.event("v", "i1", 0))
    effects = partition.run(partition.forget("u"))
    assert effects.states == {b"u": None}
    assert effects.lists == [(b"u", None)]
    assert list(partition.records) == [b"v"]
    assert not outcomes(effects)


def test_a_user_forgotten_within_a_batch_gets_no_list_for_what_came_before(partition: Partition) -> None:
    """Only the erasure is sent, and nothing of the user is stored."""
    effects = partition.run(
        partition.event("u", "i1", 0), partition.event("v", "i2", 0), partition.forget("u")
    )
    assert [(key, value is None) for key, value in effects.lists] == [(b"u", True), (b"v", False)]
    assert effects.states[b"u"] is None
    assert outcomes(effects) == {"applied": 2}


def test_an_event_after_the_erasure_begins_a_new_user(partition: Partition) -> None:
    """In the same batch: the erasure, then the list of a user with one event."""
    effects = partition.run(
        partition.event("u", "i1", 0), partition.event("u", "i2", 1), partition.forget("u"),
        partition.event("u", "i3", 2),
    )  # fmt: skip
    assert [(key, value is None) for key, value in effects.lists] == [(b"u", True), (b"u", False)]
    assert partition.state("u").items == ["i3"]
    fresh = Partition(serving_of())
    fresh.run(fresh.event("u", "i3", 2))
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(fresh, "u"), atol=1e-6)


def test_a_user_forgotten_within_a_batch_has_no_held_list() -> None:
    """What was held back for the user before the erasure never goes out."""
    partition = Partition(serving_of(), INTERVAL)
    partition.run(partition.event("u", "i1", 0))
    effects = partition.run(partition.event("u", "i2", 1), partition.forget("u"))
    assert effects.held == {}
    assert not partition.release("u").lists


def test_forgetting_someone_unknown_has_no_effects(partition: Partition) -> None:
    """The request stands in every partition; only the user's own has something to erase."""
    effects = partition.run(partition.forget("nobody"))
    assert (effects.lists, effects.states, outcomes(effects)) == ([], {}, {})


def test_a_record_that_cannot_be_read_is_erased(partition: Partition) -> None:
    """What a damaged changelog has of a user goes like any other record."""
    partition.records[b"u"] = b"no record of ours"
    effects = partition.run(partition.forget("u"))
    assert effects.states == {b"u": None}
    assert effects.lists == [(b"u", None)]


def test_an_event_from_before_the_erasure_that_comes_after_it_is_late(partition: Partition) -> None:
    """Up to the time of the request the user is left alone, in the same batch; a later event begins anew."""
    effects = partition.run(
        partition.event("u", "i1", 0), partition.forget("u", at_ms=100),
        partition.event("u", "i2", 100), partition.event("v", "i2", 100), partition.event("u", "i3", 101),
    )  # fmt: skip
    assert outcomes(effects) == {"applied": 3, "late": 1}
    assert partition.state("u").items == ["i3"]
    assert effects.forgotten.keys() == {b"u"}


def test_an_erasure_that_another_partition_told_of_counts(partition: Partition) -> None:
    """Requests that a worker has heard of hold for all of its batches."""
    batch = partition.batch()
    batch.forgotten = {b"u": partition.now_ms}
    effects = process(batch, [partition.event("u", "i1", 0)], partition_of=lambda key: NUMBER)
    assert (outcomes(effects), effects.states) == ({"late": 1}, {})


def test_a_request_of_the_future_holds_until_now(partition: Partition) -> None:
    """A clock that is ahead does not shut a user out."""
    effects = partition.run(partition.forget("u", at_ms=2**50))
    assert effects.forgotten == {b"u": partition.now_ms}


def test_a_redelivered_erasure_is_sent_once(partition: Partition) -> None:
    """The second time there is nothing left to erase."""
    partition.run(partition.event("u", "i1", 0))
    request = partition.forget("u")
    assert len(partition.run(request).lists) == 1
    assert partition.run(request).lists == []


# Showing a list.


def test_a_shown_list_is_the_one_last_sent(partition: Partition) -> None:
    """Same items, same identity; nothing is stored."""
    sent = lists_of(partition.run(partition.event("u", "i1", 0), partition.event("u", "i2", 1)))[-1]
    before = dict(partition.records)
    shown = partition.batch().show(b"u")
    assert shown is not None
    assert shown == partition.batch().show(b"u")
    again = decode_list(shown)
    assert (item_ids(again), again.event, again.kind) == (item_ids(sent), sent.event, "personalized")
    assert partition.records == before


def test_nobody_is_shown_a_list_that_was_never_sent(partition: Partition) -> None:
    """Unknown users, and users who only had their events refused."""
    assert partition.batch().show(b"nobody") is None


# Stages.


def test_each_part_of_the_work_is_timed_once(partition: Partition) -> None:
    """Whoever measures is told of every stage in its order."""
    entered = []

    @contextmanager
    def stage(name):
        entered.append(name)
        yield

    process(partition.batch(), [partition.event("u", "i1")], partition_of=lambda key: NUMBER, stage=stage)
    assert entered == ["apply", "advance", "rank", "encode"]


def test_only_records_that_were_touched_are_written(partition: Partition) -> None:
    """The changelog gets one record for each user of the batch, the last one."""
    partition.run(partition.event("u", "i1", 0), partition.event("v", "i1", 0))
    effects = partition.run(partition.event("u", "i2", 1), partition.event("u", "i3", 2))
    assert list(effects.states) == [b"u"]
    data = effects.states[b"u"]
    assert data is not None
    assert decode_state(data).items == ["i1", "i2", "i3"]


def test_sources_are_the_event_topics_then_erasure() -> None:
    """The number of a source is the behaviour; the one past them asks for erasure."""
    assert TOPICS[FORGET] == "users.forget"
    assert (CLICK, FAVORITE, CART, PURCHASE) == (0, 1, 2, 3)
