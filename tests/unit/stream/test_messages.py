"""Wire types: what is read, what is refused and with which word, what is written."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream import messages
from stream.errors import Rejected
from stream.messages import (
    ERROR_WORDS,
    MAX_ID_LENGTH,
    MAX_TIMESTAMP_MS,
    Event,
    EventRef,
    Item,
    ListItem,
    RecommendationList,
    dead_letter_headers,
    decode_event,
    decode_forget,
    decode_item,
    decode_list,
    decode_manifest,
    decode_trial,
    encode,
    parse_timestamp,
)

# Both limits are of wall-clock time, which says nothing about the code on a machine with other work.
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

GOLDEN = Path(__file__).parents[2] / "golden"
NOW_MS = 1_511_544_070_123
AHEAD_MS = 300_000


def read(value: bytes | None, *, key: bytes | None = None) -> Event:
    """Decode with the clock at ``NOW_MS``."""
    return decode_event(key, value, now_ms=NOW_MS, max_future_ms=AHEAD_MS)


def event(**fields: object) -> bytes:
    """Write an event with some fields changed."""
    return json.dumps({"user_id": "u1", "item_id": "i1", "timestamp": NOW_MS} | fields).encode()


def with_timestamp(text: str) -> bytes:
    """Write an event whose timestamp is any text of JSON, or none."""
    return b'{"user_id":"u1","item_id":"i1","timestamp":%b}' % text.encode()


DECODERS = {
    "event": read,
    "item": lambda value: decode_item(None, value),
    "recommendation-list": decode_list,
    "model-manifest": decode_manifest,
    "canary-trial": decode_trial,
}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_messages_still_decode(path):
    """A message that was once written in good faith is read for ever."""
    DECODERS[path.name.split(".")[0]](path.read_bytes())


def test_every_message_has_golden_examples():
    """No kind of message is without an example."""
    assert {path.name.split(".")[0] for path in GOLDEN.glob("*.json")} == set(DECODERS)


def test_event_is_read_with_all_its_fields():
    """Each field comes out as it went in."""
    read_event = read(event(event_id="e1", category_id="c1", session_id="s1"), key=b"u1")
    assert read_event == Event(
        user_id="u1", item_id="i1", timestamp=NOW_MS, event_id="e1", category_id="c1", session_id="s1"
    )


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2017-11-24T17:21:10.123Z", NOW_MS),
        ("2017-11-24T18:21:10.123+01:00", NOW_MS),
        ("2017-11-24t17:21:10.123z", NOW_MS),
        ("2017-11-24T17:21:10.1239Z", NOW_MS),
        ("2017-11-24T17:21:10Z", NOW_MS - 123),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", MAX_TIMESTAMP_MS),
    ],
)
def test_rfc_3339_text_is_cut_to_the_millisecond(text, milliseconds):
    """A text with Z or an offset gives the milliseconds since the epoch."""
    assert parse_timestamp(text) == milliseconds


def test_text_timestamp_is_read_like_a_number():
    """The two forms of a timestamp give the same event, the other fields kept."""
    number = read(event(event_id="e1", category_id="c1", session_id="s1"))
    text = read(event(event_id="e1", category_id="c1", session_id="s1", timestamp="2017-11-24T17:21:10.123Z"))
    assert text == number


LONG = "x" * (MAX_ID_LENGTH + 1)
REFUSED = {
    "null value": (None, "no-value"),
    "zero bytes": (b"", "no-value"),
    "json null": (b"null", "wrong-type"),
    "array": (b"[]", "wrong-type"),
    "number": (b"5", "wrong-type"),
    "text": (b'"u1"', "wrong-type"),
    "blank": (b"  ", "not-json"),
    "cut short": (event()[:-1], "not-json"),
    "two documents": (event() + event(), "not-json"),
    "byte order mark": (b"\xef\xbb\xbf" + event(), "not-json"),
    "not text": (b"\xff\xfe\x00", "not-utf8"),
    "id not utf-8": (b'{"user_id":"\xff","item_id":"i1","timestamp":1}', "not-utf8"),
    "latin-1 after json": (event() + b"\xe9", "not-utf8"),
    "lone surrogate": (b'{"user_id":"\\ud800","item_id":"i1","timestamp":1}', "not-json"),
    "nested too deep": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too-deep"),
    "no user": (b'{"item_id":"i1","timestamp":1}', "missing-field"),
    "no item": (b'{"user_id":"u1","timestamp":1}', "missing-field"),
    "no timestamp": (b'{"user_id":"u1","item_id":"i1"}', "missing-field"),
    "user a number": (event(user_id=1), "wrong-type"),
    "user null": (event(user_id=None), "wrong-type"),
    "item an object": (event(item_id={}), "wrong-type"),
    "category a number": (event(category_id=3), "wrong-type"),
    "user empty": (event(user_id=""), "empty-field"),
    "event id empty": (event(event_id=""), "empty-field"),
    "user too long": (event(user_id=LONG), "too-long"),
    "item too long": (event(item_id=LONG), "too-long"),
    "session too long": (event(session_id=LONG), "too-long"),
    "timestamp null": (with_timestamp("null"), "wrong-type"),
    "timestamp true": (with_timestamp("true"), "wrong-type"),
    "timestamp a fraction": (with_timestamp("1511544070.123"), "wrong-type"),
    "timestamp NaN": (with_timestamp("NaN"), "not-json"),
    "timestamp infinite": (with_timestamp("Infinity"), "not-json"),
    "timestamp huge": (with_timestamp("1e400"), "timestamp-out-of-range"),
    "timestamp past int64": (with_timestamp("9" * 30), "timestamp-out-of-range"),
    "timestamp negative": (with_timestamp("-1"), "timestamp-out-of-range"),
    "timestamp past 9999": (with_timestamp(str(MAX_TIMESTAMP_MS + 1)), "timestamp-out-of-range"),
    "timestamp text before 1970": (with_timestamp('"1969-12-31T23:59:59Z"'), "timestamp-out-of-range"),
    "timestamp text without zone": (with_timestamp('"2017-11-24T17:21:10"'), "bad-timestamp"),
    "timestamp text a date": (with_timestamp('"2017-11-24"'), "bad-timestamp"),
    "timestamp text digits": (with_timestamp('"1511544070123"'), "bad-timestamp"),
    "timestamp text empty": (with_timestamp('""'), "bad-timestamp"),
    "timestamp text no such day": (with_timestamp('"2017-02-30T00:00:00Z"'), "bad-timestamp"),
    "timestamp in the future": (event(timestamp=NOW_MS + AHEAD_MS + 1), "timestamp-in-future"),
    "timestamp text in the future": (event(timestamp="2017-11-24T18:21:10Z"), "timestamp-in-future"),
}


@pytest.mark.parametrize(("value", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_event_is_refused_with_the_word_for_it(value, word):
    """Each kind of bad value has its word, of the fixed list, and a one-line message."""
    with pytest.raises(Rejected) as refused:
        read(value)
    assert refused.value.error == word
    assert word in ERROR_WORDS
    assert refused.value.message
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (b"u2", "key-mismatch"),
        (b"", "key-mismatch"),
        (b"\xff", "key-not-utf8"),
        (b"k" * 10_000, "key-mismatch"),
    ],
    ids=["other", "empty", "not utf-8", "long"],
)
def test_key_that_contradicts_the_user_is_refused(key, word):
    """The key and user_id must say the same, and the message stays short whatever the key."""
    with pytest.raises(Rejected) as refused:
        read(event(), key=key)
    assert refused.value.error == word
    assert len(refused.value.message) < 500


def test_absent_key_is_filled_from_the_user():
    """A record without a key is the user's whom its value names."""
    assert read(event(user_id="é"), key=None).user_id == "é"
    assert read(event(user_id="é"), key="é".encode()).user_id == "é"


def test_event_exactly_as_far_ahead_as_allowed_is_taken():
    """The limit of the future is inclusive."""
    assert read(event(timestamp=NOW_MS + AHEAD_MS)).timestamp == NOW_MS + AHEAD_MS


def test_ids_of_exactly_the_longest_length_are_taken():
    """The limit of ids counts characters, not bytes."""
    longest = "é" * MAX_ID_LENGTH
    assert read(event(user_id=longest, item_id=longest), key=longest.encode()).item_id == longest


def test_unknown_fields_are_ignored_whatever_they_hold():
    """A producer may add fields of its own."""
    assert read(b'{"user_id":"u1","item_id":"i1","timestamp":1,"x":[1,{"y":null}],"z":"\xff"}').timestamp == 1


def word_of(value: bytes, *, key: bytes | None = None) -> str | None:
    """Give the word that a value is refused with, or None where it is read; anything else fails the test."""
    try:
        decoded = read(value, key=key)
    except Rejected as refused:
        return refused.error
    assert 0 <= decoded.timestamp <= NOW_MS + AHEAD_MS
    return None


@on_a_busy_machine
@given(st.binary(max_size=200), st.none() | st.binary(max_size=10))
def test_no_bytes_do_anything_but_decode_or_be_refused(value, key):
    """Whatever comes from the topic, nothing but ``Rejected`` leaves the decoder."""
    assert word_of(value, key=key) in {None, *ERROR_WORDS}


@on_a_busy_machine
@given(
    st.dictionaries(
        st.sampled_from(["user_id", "item_id", "timestamp", "event_id"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]),
    )
)
def test_no_json_does_anything_but_decode_or_be_refused(fields):
    """Fields of any type and value are read or refused with a word."""
    assert word_of(json.dumps(fields).encode()) in {None, *ERROR_WORDS}


def test_item_is_read_with_defaults():
    """An item is available unless it says otherwise."""
    assert decode_item(b"i1", b'{"item_id":"i1"}') == ("i1", Item(item_id="i1"))
    assert decode_item(None, b'{"item_id":"i1","available":false}')[1] == Item(item_id="i1", available=False)


@pytest.mark.parametrize("value", [None, b""])
def test_item_without_value_is_withdrawn(value):
    """The key alone names the item that is withdrawn."""
    assert decode_item(b"i1", value) == ("i1", None)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        (None, None, "missing-key"),
        (b"", None, "missing-key"),
        (b"\xff", None, "key-not-utf8"),
        (b"x" * 1_025, None, "too-long"),
        (b"i2", b'{"item_id":"i1"}', "key-mismatch"),
        (b"i1", b'{"item_id":"i1","available":"yes"}', "wrong-type"),
        (b"i1", b'{"category_id":"c1"}', "missing-field"),
        (b"i1", b'{"item_id":"i1","attributes":{"a":1}}', "wrong-type"),
        (b"i1", b'{"item_id":"i1","attributes":{"a":"%b"}}' % (b"x" * 5_000), "too-long"),
    ],
)
def test_bad_item_is_refused_with_the_word_for_it(key, value, word):
    """Items are refused with the same words as events."""
    with pytest.raises(Rejected) as refused:
        decode_item(key, value)
    assert refused.value.error == word


def test_forget_is_named_by_the_key_alone():
    """The user to erase is the key; without one there is nobody to erase."""
    assert decode_forget("é".encode()) == "é"
    with pytest.raises(Rejected, match="missing-key"):
        decode_forget(None)


def example_list(item_ids: list[str], scores: list[float], **fields: object) -> RecommendationList:
    """Make a list with some fields changed."""
    items = [ListItem(item_id, score) for item_id, score in zip(item_ids, scores, strict=True)]
    parts = {"user_id": "u1", "kind": "personalized", "model_version": "v1", "generated_at": NOW_MS + 27}
    ref = EventRef("events.click", 3, 42, NOW_MS)
    return RecommendationList(items=items, event=ref, **(parts | fields))


def test_list_is_written_as_the_contract_shows_it():
    """Names, order and types of a list are the published ones."""
    assert json.loads(encode(example_list(["i7"], [3.21]))) == {
        "user_id": "u1",
        "items": [{"item_id": "i7", "score": 3.21}],
        "kind": "personalized",
        "model_version": "v1",
        "event": {"topic": "events.click", "partition": 3, "offset": 42, "timestamp": NOW_MS},
        "generated_at": NOW_MS + 27,
    }


def test_dead_letter_headers_say_why_and_where():
    """The headers of the contract, as UTF-8 text."""
    headers = dead_letter_headers(Rejected("not-json", "é"), topic="events.cart", partition=2, offset=7)
    assert headers == [
        ("error", b"not-json"),
        ("message", "é".encode()),
        ("source-topic", b"events.cart"),
        ("source-partition", b"2"),
        ("source-offset", b"7"),
    ]


def test_each_decoder_refuses_an_absent_value():
    """A list or a manifest without a value is refused, not crashed on."""
    for decoder in (decode_list, decode_manifest, decode_trial):
        with pytest.raises(Rejected, match="no-value"):
            decoder(None)


def test_words_are_headers_that_every_tool_can_print():
    """Words are short, of small letters, digits and hyphens."""
    assert all(word.replace("-", "").isalnum() and word == word.lower() for word in messages.ERROR_WORDS)
