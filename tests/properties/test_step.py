"""What the pure core promises whatever the batches, repeats, lateness and weights."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cleaning import CleaningRule
from models.networks import CellName
from models.segment import SegmentRule
from stream.messages import RecommendationList
from stream.rules import Rules
from stream.state import SOURCES, UserState, decode_state, encode_state, id_text, pack_gaps
from tests.support.partitions import Partition, Sourced, lists_of, outcomes, serving_of
from tests.support.recommenders import small_recommender

CELLS: tuple[CellName, ...] = ("rnn", "lstm", "gru")
SERVING = {cell: serving_of(small_recommender(cell)) for cell in CELLS}
RETRAINED = {cell: serving_of(small_recommender(cell, seed=1)) for cell in CELLS}

#: Short segments and few items, so that cuts, repeats and late events are common.
RULES = Rules(
    segment=SegmentRule(span_ms=2_000, max_events=5),
    list_size=4,
    exclude_bought_ms=3_000,
    cleaning=CleaningRule(max_burst_clicks=8, burst_ms=5_000, quarantine_ms=2_000),
)
#: Lists of the whole catalogue and no robots, where orders are compared.
PLAIN = replace(RULES, list_size=11, cleaning=CleaningRule(max_burst_clicks=0))


@dataclass(frozen=True)
class Step:
    """One event of a test."""

    user: str
    item: str
    behavior: int
    time_ms: int
    event_id: str | None
    category: str | None


STEPS = st.builds(
    Step,
    user=st.sampled_from("uvw"),
    item=st.sampled_from(["i1", "i2", "i3", "i4", "i5", "unknown"]),
    behavior=st.integers(0, 3),
    time_ms=st.integers(0, 9_000),
    event_id=st.one_of(st.none(), st.none(), st.sampled_from("ab")),
    category=st.sampled_from([None, "c1", "unheard of"]),
)
HISTORY = st.lists(STEPS, max_size=25)


def produced(partition: Partition, steps: Iterable[Step]) -> list[Sourced]:
    """The records of events, at the next offsets of the partition."""
    return [
        partition.event(
            step.user,
            step.item,
            step.time_ms,
            behavior=step.behavior,
            **({"event_id": step.event_id} if step.event_id else {}),
            **({"category_id": step.category} if step.category else {}),
        )
        for step in steps
    ]


def parted(records: list[Sourced], cuts: list[int]) -> list[list[Sourced]]:
    """The records in batches that end at ``cuts``."""
    places = sorted({min(cut, len(records)) for cut in cuts} | {0, len(records)})
    return [records[begin:end] for begin, end in pairwise(places)]


def same_state(one: UserState, other: UserState) -> None:
    """Records are equal; hidden states to 1e-5, as those advanced in other company are."""
    np.testing.assert_allclose(
        np.frombuffer(one.hidden, np.float32), np.frombuffer(other.hidden, np.float32), atol=1e-5, rtol=0
    )
    data = decode_state(encode_state(one))
    data.hidden = other.hidden
    assert data == other


def same_partition(one: Partition, other: Partition) -> None:
    """Two partitions hold the same records of the same users."""
    assert one.records.keys() == other.records.keys()
    for key in one.records:
        same_state(decode_state(one.records[key]), decode_state(other.records[key]))


def same_list(one: RecommendationList, other: RecommendationList) -> None:
    """Items, kind, weights and identity are equal, scores to 1e-4."""
    scores = [item.score for item in other.items]
    np.testing.assert_allclose([item.score for item in one.items], scores, atol=1e-4)
    assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
    assert replace_items(one) == replace_items(other)


def replace_items(made: RecommendationList) -> RecommendationList:
    """The list without what is compared apart."""
    return RecommendationList(
        user_id=made.user_id,
        items=[],
        kind=made.kind,
        model_version=made.model_version,
        event=made.event,
        generated_at=made.generated_at,
    )


def by_user(lists: list[RecommendationList]) -> dict[str, list[RecommendationList]]:
    """Each user's lists in their order; a batch may mix those of several users."""
    found: dict[str, list[RecommendationList]] = {}
    for one in lists:
        found.setdefault(one.user_id, []).append(one)
    return found


def same_lists(ones: list[RecommendationList], others: list[RecommendationList]) -> None:
    """The same lists, each user's in the same order."""
    theirs, ours = by_user(others), by_user(ones)
    assert {user: len(lists) for user, lists in ours.items()} == {
        user: len(lists) for user, lists in theirs.items()
    }
    for user, lists in ours.items():
        for one, other in zip(lists, theirs[user], strict=True):
            same_list(one, other)


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=40)
@given(steps=HISTORY, cuts=st.lists(st.integers(0, 25), max_size=6))
def test_batches_change_nothing(cell: CellName, steps: list[Step], cuts: list[int]) -> None:
    """However events are cut into batches, records, lists and counts are those of one at a time."""
    alone, together = (Partition(SERVING[cell], RULES) for _ in range(2))
    single = [alone.run(record) for record in produced(alone, steps)]
    batches = [together.run(*batch) for batch in parted(produced(together, steps), cuts)]
    same_partition(together, alone)
    same_lists(
        [made for effects in batches for made in lists_of(effects)],
        [made for effects in single for made in lists_of(effects)],
    )
    for name in ("outcomes", "kinds", "rebuilds"):
        totals = [sum((getattr(one, name) for one in effects), type(single[0].kinds)()) if effects else {}
                  for effects in (single, batches)] if single else [{}, {}]  # fmt: skip
        assert totals[0] == totals[1]
    assert sum(one.quality.events for one in single) == sum(one.quality.events for one in batches)


@settings(deadline=None, max_examples=150)
@given(steps=HISTORY, cuts=st.lists(st.integers(0, 25), max_size=6), size=st.integers(1, 7))
def test_own_items_are_those_of_the_record_after_each_event(
    steps: list[Step], cuts: list[int], size: int
) -> None:
    """However events are cut into batches: late ones, repeats and new segments among them."""
    rules = replace(RULES, recent=True, list_size=size)
    alone, together = (Partition(None, rules) for _ in range(2))
    made = []
    for record in produced(alone, steps):
        for one in lists_of(alone.run(record)):
            made.append(one)
            assert [item.item_id for item in one.items] == list(
                dict.fromkeys(reversed(alone.state(one.user_id).items))
            )[:size]
    batches = parted(produced(together, steps), cuts)
    same_lists([one for batch in batches for one in lists_of(together.run(*batch))], made)
    same_partition(together, alone)


@settings(deadline=None, max_examples=60)
@given(steps=HISTORY, data=st.data())
def test_redelivered_records_change_nothing_and_bring_no_list(steps: list[Step], data: st.DataObject) -> None:
    """Any records again in any batches, each topic's in order as Kafka has them: all are duplicates."""
    partition = Partition(SERVING["gru"], RULES)
    records = produced(partition, steps)
    partition.run(*records)
    before = dict(partition.records)
    again = data.draw(st.lists(st.sampled_from(records), max_size=10)) if records else []
    effects = partition.run(*again)
    assert outcomes(effects) == ({"duplicate": len(again)} if again else {})
    assert not effects.lists
    assert effects.quality.events == 0
    assert partition.records == before


@settings(deadline=None, max_examples=60)
@given(steps=HISTORY, back=st.integers(0, 25), cuts=st.lists(st.integers(0, 25), max_size=4))
def test_going_back_to_earlier_offsets_ends_in_the_same_place(
    steps: list[Step], back: int, cuts: list[int]
) -> None:
    """After a crash the last records come again before the next ones."""
    undisturbed, disturbed = (Partition(SERVING["gru"], RULES) for _ in range(2))
    expected = undisturbed.run(*produced(undisturbed, steps))
    records = produced(disturbed, steps)
    crash = max(cuts, default=0)
    lists = []
    for batch in [*parted(records[:crash], cuts), *parted(records[max(0, crash - back) :], cuts)]:
        lists += lists_of(disturbed.run(*batch))
    same_partition(disturbed, undisturbed)
    same_lists(lists, lists_of(expected))


@settings(deadline=None, max_examples=60)
@given(steps=HISTORY)
def test_a_producers_repeat_changes_no_list(steps: list[Step]) -> None:
    """An event sent twice under one event_id counts once: what follows is as if it had come once."""
    once, twice = (Partition(SERVING["gru"], PLAIN) for _ in range(2))
    named = [replace(step, event_id=str(number)) for number, step in enumerate(steps)]
    expected = [lists_of(once.run(record)) for record in produced(once, named)]
    for step, made in zip(named, expected, strict=True):
        (first,), (second,) = produced(twice, [step]), produced(twice, [step])
        effects = twice.run(first, second)
        assert [item for one in lists_of(effects) for item in one.items] == [
            item for one in made for item in one.items
        ]
        taken = outcomes(effects)
        assert taken in ({"applied": 1, "duplicate": 1}, {"late": 2})


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), times=st.lists(st.integers(0, 9_000), min_size=1, max_size=16))
def test_late_events_give_the_state_and_the_list_of_the_right_order(
    cell: CellName, data: st.DataObject, times: list[int]
) -> None:
    """Whatever order events come in, the last list and state are those of the order of their times."""
    steps = [
        Step("u", f"i{data.draw(st.integers(1, 6))}", data.draw(st.integers(0, 3)), time_ms, None, None)
        for time_ms in times
    ]
    partition, right = (Partition(SERVING[cell], PLAIN) for _ in range(2))
    taken, last = [], None
    for step, record in zip(steps, produced(partition, steps), strict=True):
        effects = partition.run(record)
        if lists_of(effects):
            taken.append(step)
            (last,) = lists_of(effects)
    in_order = sorted(taken, key=lambda step: (step.time_ms, step.behavior))
    expected = lists_of(right.run(*produced(right, in_order)))[-1]
    state, other = partition.state("u"), right.state("u")
    assert state.segment_items() == other.segment_items()
    assert state.segment_times_ms() == other.segment_times_ms()
    assert state.behaviors[state.start :] == other.behaviors[other.start :]
    np.testing.assert_allclose(
        np.frombuffer(state.hidden, np.float32), np.frombuffer(other.hidden, np.float32), atol=1e-5, rtol=0
    )
    assert sorted(zip(state.bought_ms, state.bought, strict=True)) == sorted(
        zip(other.bought_ms, other.bought, strict=True)
    )
    assert last is not None
    assert {item.item_id: item.score for item in last.items} == pytest.approx(
        {item.item_id: item.score for item in expected.items}, abs=1e-4
    )


@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, max_examples=40)
@given(before=HISTORY, after=HISTORY, cuts=st.lists(st.integers(0, 25), max_size=4))
def test_new_weights_are_as_if_they_had_always_been_there(
    cell: CellName, before: list[Step], after: list[Step], cuts: list[int]
) -> None:
    """Every list made under them, and every record touched, equals that of a user who knew no others."""
    swapped, always = Partition(SERVING[cell], PLAIN), Partition(RETRAINED[cell], PLAIN)
    for partition in (swapped, always):
        partition.run(*produced(partition, before))
    swapped.serving = RETRAINED[cell]
    lists = [
        [
            made
            for batch in parted(produced(partition, after), cuts)
            for made in lists_of(partition.run(*batch))
        ]
        for partition in (swapped, always)
    ]
    same_lists(*lists)
    for key in {made.user_id.encode() for made in lists[0]}:
        same_state(decode_state(swapped.records[key]), decode_state(always.records[key]))


@settings(deadline=None, max_examples=40)
@given(before=HISTORY, after=HISTORY)
def test_weights_of_another_shape_take_over(before: list[Step], after: list[Step]) -> None:
    """From no weights to an RNN to an LSTM in the middle of users' lives."""
    partition, always = Partition(None, PLAIN), Partition(SERVING["lstm"], PLAIN)
    for serving, steps in ((None, before), (SERVING["rnn"], before), (SERVING["lstm"], after)):
        partition.serving = serving
        made = lists_of(partition.run(*produced(partition, steps)))
        expected = lists_of(always.run(*produced(always, steps)))
    same_lists(made, expected)


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(STEPS, min_size=1, max_size=20), data=st.data())
def test_a_list_knows_nothing_of_what_comes_after_its_event(steps: list[Step], data: st.DataObject) -> None:
    """Whatever follows, in the same batch too, the list of an event is the same."""
    at = data.draw(st.integers(0, len(steps) - 1))
    after = data.draw(st.permutations(steps[at + 1 :]))
    one, other, alone = (Partition(SERVING["gru"], RULES) for _ in range(3))
    lists = [
        lists_of(partition.run(*produced(partition, order)))
        for partition, order in ((one, steps), (other, [*steps[: at + 1], *after]), (alone, steps[: at + 1]))
    ]
    for user, known in by_user(lists[2]).items():
        for more in lists[:2]:
            same_lists(by_user(more)[user][: len(known)], known)


@settings(deadline=None, max_examples=60)
@given(
    steps=HISTORY,
    cuts=st.lists(st.integers(0, 25), max_size=6),
    pauses_ms=st.lists(st.integers(0, 900), max_size=8),
)
def test_under_an_interval_the_last_list_is_the_one_of_every_event(
    steps: list[Step], cuts: list[int], pauses_ms: list[int]
) -> None:
    """When what was held back has gone out, every user has the list of the newest event; none came early."""
    always, limited = (
        Partition(SERVING["gru"], PLAIN),
        Partition(SERVING["gru"], replace(PLAIN, list_interval_ms=500)),
    )
    expected = {made.user_id: made for made in lists_of(always.run(*produced(always, steps)))}
    last: dict[str, RecommendationList] = {}
    held: dict[bytes, int] = {}
    for batch, pause_ms in zip(parted(produced(limited, steps), cuts), [*pauses_ms, *[0] * 8], strict=False):
        limited.now_ms += pause_ms
        due = [key.decode() for key, due_ms in held.items() if due_ms <= limited.now_ms]
        for effects in (limited.release(*due), limited.run(*batch)):
            for made in lists_of(effects):
                earlier = last.get(made.user_id)
                assert earlier is None or made.generated_at - earlier.generated_at >= 500
                last[made.user_id] = made
            held.update(effects.held)
    limited.now_ms += 500
    last |= {made.user_id: made for made in lists_of(limited.release(*"uvw"))}
    assert last.keys() == expected.keys()
    for user_id, made in last.items():
        assert [item.item_id for item in made.items] == [item.item_id for item in expected[user_id].items]
        assert made.event == expected[user_id].event


@settings(deadline=None, max_examples=60)
@given(before=HISTORY, after=HISTORY)
def test_a_forgotten_user_is_like_one_never_seen(before: list[Step], after: list[Step]) -> None:
    """Within one batch: what comes after the erasure gives the lists and the record of a new user."""
    forgotten, fresh = (Partition(SERVING["gru"], RULES) for _ in range(2))
    fresh.offsets = list(forgotten.offsets)
    records = produced(forgotten, [replace(step, user="u") for step in before])
    fresh.offsets = list(forgotten.offsets)
    later = [replace(step, user="u") for step in after]
    effects = forgotten.run(*records, forgotten.forget("u"), *produced(forgotten, later))
    expected = fresh.run(*produced(fresh, later))
    same_lists(lists_of(effects), lists_of(expected))
    same_partition(forgotten, fresh)


TEXT = st.text(max_size=6)
MOMENT = st.integers(-(2**40), 2**62)
REF = st.one_of(
    st.none(), st.tuples(st.integers(0, 3), st.integers(0, 999), st.integers(0, 2**62), st.integers(0, 2**47))
)


@given(
    st.builds(
        UserState,
        base_ms=MOMENT,
        newest=MOMENT,
        begun=MOMENT,
        item_texts=st.lists(TEXT.map(id_text), max_size=5).map(b"\n".join),
        gaps=st.lists(MOMENT, max_size=5).map(pack_gaps),
        behaviors=st.binary(max_size=8),
        categories=st.binary(max_size=8),
        event_keys=st.binary(max_size=16),
        start=st.integers(0, 64),
        cut=st.integers(0, 64),
        floor=st.integers(0, 64),
        shortened=st.booleans(),
        offsets=st.lists(st.integers(-1, 2**62), min_size=SOURCES, max_size=SOURCES),
        hidden=st.binary(max_size=32),
        weights=st.integers(0, 2**64 - 1),
        activity=st.tuples(*[st.integers(0, 2**62)] * 6),
        bought=st.lists(TEXT, max_size=3),
        bought_ms=st.lists(MOMENT, max_size=3),
        listed=st.binary(max_size=16),
        listed_for=REF,
        listed_ms=MOMENT,
        held=REF,
        held_produced_ms=MOMENT,
    )
)
def test_a_record_comes_back_from_its_bytes(state: UserState) -> None:
    """Whatever stands in it, and the bytes of what came back are the same."""
    data = encode_state(state)
    assert decode_state(data) == state
    assert encode_state(decode_state(data)) == data
