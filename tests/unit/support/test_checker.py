"""The checker finds nothing wrong with a run that is right, and each fault in one that is not."""

from collections.abc import Callable
from dataclasses import asdict

import msgspec
import pytest

from stream.lists import Lists
from stream.messages import dead_letter_headers, decode_list, encode
from stream.rules import Rules
from stream.serving import Serving
from stream.step import Batch, process
from tests.support.checker import Came, Report, Topics, check
from tests.support.partitions import EARLIER_MS, NOW_MS, SEGMENT, TOPICS, event_value
from tests.support.recommenders import small_recommender

EVENTS = 60
USERS = 4
BAD = 5
RULES = Rules(segment=SEGMENT, list_size=5)
RECOMMENDER = small_recommender()


def records() -> list[Came]:
    """Events of a few users in two topics of one partition, some bad ones and one repeat among them."""
    offsets = [0, 0]
    made = []
    for number in range(EVENTS):
        user, source = f"u{number % USERS}", number % 2
        value: bytes = event_value(user, f"i{1 + number * 7 % 11}", number * 40, event_id=f"e{number}")
        if number % (EVENTS // BAD) == 3:
            value = b"not json"
        if number == 50:
            value = event_value(user, "i1", 0, event_id=f"e{number - USERS}")
        made.append(Came(TOPICS[source], 0, offsets[source], EARLIER_MS + number, user.encode(), value))
        offsets[source] += 1
    return made


def run(came: list[Came]) -> Topics:
    """What a right worker leaves in the topics, batch by batch."""
    topics = Topics(TOPICS, events=list(came))
    states: dict[bytes, bytes] = {}
    lists = Lists(RULES, Serving(RECOMMENDER), TOPICS)
    for begin in range(0, len(came), 7):
        part = [(TOPICS.index(one.topic), one) for one in came[begin : begin + 7]]
        effects = process(
            Batch(states.get, partition=0, lists=lists, now_ms=NOW_MS), part, partition_of=lambda key: 0
        )
        for key, value in effects.lists:
            topics.lists.append(Came("l", 0, len(topics.lists), NOW_MS, key, value))
        for refused in effects.dead_letters:
            record = refused.record
            headers = dead_letter_headers(
                refused.reason, topic=record.topic, partition=0, offset=record.offset
            )
            letter = Came("d", 0, len(topics.dead_letters), NOW_MS, record.key, record.value, headers)
            topics.dead_letters.append(letter)
        for key, value in effects.states.items():
            states[key] = value
            topics.changelog.append(Came("c", 0, len(topics.changelog), NOW_MS, key, value))
    topics.committed = {(topic, 0): EVENTS // 2 for topic in TOPICS[:2]}
    return topics


def report_of(topics: Topics) -> Report:
    """The checker's counts."""
    return check(topics, [RECOMMENDER], RULES, now_ms=NOW_MS)


def test_a_right_run_has_no_fault() -> None:
    """Every event is counted: applied, refused or a repeat."""
    report = report_of(run(records()))
    assert report.faults == 0, report
    assert (report.events_in, report.refused, report.lists_repeated) == (EVENTS, BAD, 0)
    assert report.applied_once == EVENTS - BAD - 1


def test_a_repeat_of_a_list_is_no_fault() -> None:
    """The same list with the same identity is what at least once means."""
    topics = run(records())
    topics.lists.insert(10, topics.lists[9])
    report = report_of(topics)
    assert (report.faults, report.lists_repeated) == (0, 1)


def lose_an_event(topics: Topics) -> None:
    """A worker that never saw one of the newest events."""
    came = [one for one in topics.events if one.place != ("events.click", 0, EVENTS // 2 - 1)]
    worked = run(came)
    topics.changelog, topics.lists = worked.changelog, worked.lists


def apply_twice(topics: Topics) -> None:
    """A worker that forgot that it had applied an event."""
    late = topics.events[-1]
    again = late._replace(offset=late.offset + 1, timestamp=late.timestamp + 1, value=_unnamed(late))
    worked = run([*topics.events[:-1], late._replace(value=_unnamed(late)), again])
    topics.changelog = worked.changelog


def _unnamed(came: Came) -> bytes:
    value = msgspec.json.decode(came.value or b"")
    return msgspec.json.encode({name: value[name] for name in ("user_id", "item_id", "timestamp")})


def go_stale(topics: Topics) -> None:
    """A worker that slept and then wrote what it had in hand."""
    newest = topics.changelog[-1]
    older = next(one for one in topics.changelog if one.key == newest.key)
    topics.changelog.append(older._replace(offset=len(topics.changelog)))


def drop_a_list(topics: Topics) -> None:
    """A list that was never sent although its event is committed."""
    del topics.lists[20]


def change_a_list(topics: Topics) -> None:
    """The same identity with other items."""
    came = topics.lists[20]
    said = decode_list(came.value or b"")
    other = msgspec.structs.replace(said, items=said.items[1:])
    topics.lists.insert(21, came._replace(value=encode(other)))


def send_an_old_list_last(topics: Topics) -> None:
    """A list of the past behind a newer one of the same user."""
    topics.lists.append(topics.lists[0])


def invent_a_list(topics: Topics) -> None:
    """A list for an event that is due none."""
    came = topics.lists[0]
    said = decode_list(came.value or b"")
    other = msgspec.structs.replace(said, event=msgspec.structs.replace(said.event, offset=9_999))
    topics.lists.insert(0, came._replace(value=encode(other)))


def forget_a_dead_letter(topics: Topics) -> None:
    """A refused record that is nowhere."""
    del topics.dead_letters[0]


def change_a_dead_letter(topics: Topics) -> None:
    """A refused record that is not what came."""
    topics.dead_letters[0] = topics.dead_letters[0]._replace(value=b"not json?")


def commit_too_far(topics: Topics) -> None:
    """Offsets behind the end of the topic."""
    topics.committed["events.click", 0] += 3


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lose_an_event, {"lost", "states_differing", "lists_missing", "offsets_ahead"}),
        (apply_twice, {"applied_twice", "states_differing"}),
        (go_stale, {"lost", "states_differing"}),
        (drop_a_list, {"lists_missing", "offsets_ahead"}),
        (change_a_list, {"lists_contradicting"}),
        (send_an_old_list_last, {"lists_overwritten"}),
        (invent_a_list, {"lists_unexpected"}),
        (forget_a_dead_letter, {"dead_letters_missing", "offsets_ahead"}),
        (change_a_dead_letter, {"dead_letters_missing", "offsets_ahead"}),
        (commit_too_far, {"offsets_ahead"}),
    ],
)
def test_each_fault_is_found(spoil: Callable[[Topics], None], found: set[str]) -> None:
    """Every fault that a worker could have moves the counts that name it."""
    topics = run(records())
    spoil(topics)
    report = report_of(topics)
    counted = {name for name, count in asdict(report).items() if count}
    assert found <= counted - {"events_in", "applied_once", "refused", "lists_repeated"}, report
