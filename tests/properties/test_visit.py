"""Plain events of a user, taken together, lead to what they lead to one by one, to the last byte."""

from dataclasses import fields, replace
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from models.cleaning import CleaningRule
from models.segment import SegmentRule
from stream.rules import Rules
from stream.step import Batch
from tests.support.partitions import Partition, Sourced

RULES = Rules(
    recent=True,
    list_size=4,
    segment=SegmentRule(span_ms=20_000, max_events=12),
    cleaning=CleaningRule(max_burst_clicks=6, burst_ms=1_000, quarantine_ms=500),
)

Step = tuple[str, str, str, int, int, str | None, str | None]

#: Mostly onwards in time, as a user's events come.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event"] * 20 + ["again", "bad", "forget"]),
        st.sampled_from("uuuv"),
        st.sampled_from(["i1", "i2", "i3", "i4", "i5", "i6", 'a "quoted"', "é", "back\\slash"]),
        st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
        st.sampled_from([1, 1, 1, 7, 90, 0, -3, 30_000]),
        st.sampled_from([None, "new", "new", "old"]),
        st.sampled_from([None, "c1", "c2"]),
    ),
    min_size=1,
    max_size=60,
)


def produced(partition: Partition, steps: list[Step]) -> list[Sourced]:
    """The records of steps, each event so long after the one before it."""
    records: list[Sourced] = []
    now_ms = 0
    for kind, user, item, behavior, after_ms, event_id, category in steps:
        now_ms = max(0, now_ms + after_ms)
        more = {"event_id": event_id + str(len(records)) * (event_id == "new")} if event_id else {}
        more |= {"category_id": category} if category else {}
        if kind == "again" and records:
            records.append(records[-1])
        elif kind == "bad":
            records.append(partition.raw(user.encode(), b"{}"))
        elif kind == "forget":
            records.append(partition.forget(user, now_ms))
        else:
            records.append(partition.event(user, item, now_ms, behavior=behavior, **more))
    return records


@settings(deadline=None, max_examples=300)
@given(
    steps=STEPS,
    with_ids=st.booleans(),
    kept_ms=st.sampled_from([0, 5_000]),
    cut=st.integers(0, 20),
)
def test_plain_events_taken_together_are_like_all_others(
    steps: list[Step], with_ids: bool, kept_ms: int, cut: int
) -> None:
    """Late ones, repeats, bursts, purchases, segments that end and users who are erased among them."""
    if not with_ids:
        steps = [(*step[:5], None, step[6]) for step in steps]
    rules = replace(RULES, exclude_bought_ms=kept_ms)
    together, apart = Partition(None, rules), Partition(None, rules)
    effects = run(together, steps, cut)
    with patch.object(Batch, "_visit", return_value=None):
        expected = run(apart, steps, cut)
    assert effects == expected
    assert together.records == apart.records


def run(partition: Partition, steps: list[Step], cut: int) -> list[object]:
    """All that two batches lead to; of what was refused its place alone, as reasons are not equal."""
    records = produced(partition, steps)
    return [
        (
            *(getattr(effects, field.name) for field in fields(effects) if field.name != "dead_letters"),
            [(refused.source, refused.record) for refused in effects.dead_letters],
        )
        for effects in (partition.run(*part) for part in (records[:cut], records[cut:]))
    ]
