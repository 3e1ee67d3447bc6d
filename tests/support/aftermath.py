"""What a run left in its topics, and whether a disturbed run left the same as an undisturbed one."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from stream.messages import EventRef, RecommendationList
from stream.state import UserState, decode_state
from tests.support.deployment import Deployment
from tests.support.offline import same_items


class Outcome(NamedTuple):
    """What a run left behind: lists by identity, in order, and each user's record."""

    lists: dict[tuple[str, str, int, int], list[RecommendationList]]
    last: dict[str, RecommendationList]
    records: dict[str, UserState]


def identity(prefix: str, user_id: str, ref: EventRef) -> tuple[str, str, int, int]:
    """Return what names a list, without the deployment's own prefix."""
    return user_id, ref.topic.removeprefix(prefix), ref.partition, ref.offset


def outcome(deployment: Deployment) -> Outcome:
    """Read what a run left in its topics."""
    prefix = deployment.settings.topic_prefix
    by_identity = defaultdict(list)
    last = {}
    for user_id, made in deployment.lists():
        assert made is not None
        by_identity[identity(prefix, user_id, made.event)].append(made)
        last[user_id] = made
    records = {key.decode(): decode_state(value) for key, value in deployment.records().items()}
    return Outcome(dict(by_identity), last, records)


def check_lists(disturbed: Outcome, undisturbed: Outcome) -> None:
    """Each event has its list; one that was sent twice has the same identity and the same items."""
    assert disturbed.lists.keys() == undisturbed.lists.keys()
    assert all(len(made) == 1 for made in undisturbed.lists.values())
    for name, repeated in disturbed.lists.items():
        expected = undisturbed.lists[name][0]
        for made in repeated:
            assert made.kind == expected.kind
            assert made.event.timestamp == expected.event.timestamp
            assert same_items(made.items, expected.items), name


def check_last_lists(disturbed: Outcome, undisturbed: Outcome) -> None:
    """What each user was left with is what they would have been left with anyway."""
    assert disturbed.last.keys() == undisturbed.last.keys()
    for user_id, expected in undisturbed.last.items():
        made = disturbed.last[user_id]
        assert (made.event.partition, made.event.offset) == (expected.event.partition, expected.event.offset)
        assert same_items(made.items, expected.items)


def check_records(disturbed: Outcome, undisturbed: Outcome) -> None:
    """Segments, offsets and counts in the changelog are equal, and hidden states to 1e-5."""
    assert disturbed.records.keys() == undisturbed.records.keys()
    for user_id, expected in undisturbed.records.items():
        record = disturbed.records[user_id]
        hidden, expected_hidden = (np.frombuffer(state.hidden, np.float32) for state in (record, expected))
        assert np.abs(hidden - expected_hidden).max() <= 1e-5
        for field in UserState.__struct_fields__:
            # The rows of the last list can have neighbours of equal score in either order; the
            # lists themselves are compared on their own.
            if field not in ("hidden", "listed"):
                assert getattr(record, field) == getattr(expected, field), (user_id, field)
