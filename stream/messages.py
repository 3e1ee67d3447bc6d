"""The wire types: what stands in the topics, and what is refused and why.

Keys are UTF-8 text, values UTF-8 JSON; unknown fields are ignored, whatever they hold. The
JSON Schemas beside this module (``stream/schemas``) are generated from the Structs here by
``stream.schemas``, so the limits below are the published ones.

Decoding is on the hot path, one call an event: a typed msgspec decoder reads the common form
and everything that fails is read a second time, slowly, to find the word for it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, NoReturn, Protocol, TypeVar

import msgspec
from msgspec import Meta

from stream.errors import Rejected

MAX_ID_LENGTH: Final = 256
"""Longest user, item, event, category or session id, in Unicode characters."""

MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999; RFC 3339 cannot write a later one."""

MAX_ATTRIBUTE_LENGTH: Final = 4_096
"""Longest text of an item's attribute, in Unicode characters."""

ERROR_WORDS: Final[Mapping[str, str]] = {
    "no-value": "the record has no value (null or zero bytes) where one is needed",
    "not-utf8": "a text of the value is not UTF-8",
    "not-json": "the value is not one JSON document",
    "too-deep": "the value nests deeper than can be read",
    "wrong-type": "the value is no object, or a field is of another type than it must be",
    "missing-field": "a field that is needed is absent",
    "empty-field": "an id is the empty text",
    "too-long": f"an id is longer than {MAX_ID_LENGTH} characters (an attribute: {MAX_ATTRIBUTE_LENGTH})",
    "bad-timestamp": "the timestamp is a text, and not an RFC 3339 one with Z or an offset",
    "timestamp-out-of-range": "the timestamp is negative or after the year 9999",
    "timestamp-in-future": "the timestamp is further ahead of the clock than the setting allows",
    "missing-key": "the record has no key where it alone names the user or item",
    "key-not-utf8": "the key is not UTF-8 text",
    "key-mismatch": "the key names another user or item than the value",
    "processing-failed": "the record was well formed, and applying it failed after retries",
}
"""Every word the ``error`` header of a dead letter can hold, with what it means."""

HEADER_ERROR: Final = "error"
HEADER_MESSAGE: Final = "message"
HEADER_TOPIC: Final = "source-topic"
HEADER_PARTITION: Final = "source-partition"
HEADER_OFFSET: Final = "source-offset"

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
TimestampMs = Annotated[
    int, Meta(ge=0, le=MAX_TIMESTAMP_MS, description="Milliseconds since 1970-01-01T00:00:00Z.")
]
TimestampText = Annotated[
    str,
    Meta(
        description="RFC 3339, with Z or an offset; digits past the millisecond are cut off.",
        extra_json_schema={"format": "date-time"},
    ),
]
AttributeName = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
AttributeText = Annotated[str, Meta(max_length=MAX_ATTRIBUTE_LENGTH)]
ListKind = Literal["personalized", "popular"]


class EventFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields of an event other than its time; the topic names the behaviour."""

    user_id: Annotated[Id, Meta(description="Who did it; the record's key, where it has one, is the same.")]
    item_id: Annotated[Id, Meta(description="What it was done to.")]
    event_id: (
        Annotated[Id, Meta(description="The producer's own name of the event; tells duplicates.")] | None
    ) = None
    category_id: Annotated[Id, Meta(description="The item's category, for items not yet known.")] | None = (
        None
    )
    session_id: Annotated[Id, Meta(description="The producer's session.")] | None = None


class Event(EventFields, frozen=True, kw_only=True, gc=False):
    """What a user did, with its event time in milliseconds since the epoch."""

    timestamp: TimestampMs


class EventMessage(EventFields, frozen=True, kw_only=True, gc=False):
    """One behaviour of a user towards an item; the topic says which behaviour."""

    timestamp: TimestampMs | TimestampText


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item that can be recommended; a record without a value withdraws the item of its key."""

    item_id: Annotated[Id, Meta(description="The item; the record's key, where it has one, is the same.")]
    category_id: Annotated[Id, Meta(description="The category the item is in.")] | None = None
    available: Annotated[bool, Meta(description="Whether lists may hold the item.")] = True
    attributes: dict[AttributeName, AttributeText] | None = None


class ListItem(msgspec.Struct, frozen=True, gc=False):
    """One place of a list; a higher score is a better place."""

    item_id: Annotated[Id, Meta(description="The item.")]
    score: Annotated[float, Meta(description="Comparable within this list only.")]


class EventRef(msgspec.Struct, frozen=True, gc=False):
    """Where an event stands in Kafka, and its event time."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]
    timestamp: TimestampMs


class RecommendationList(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A user's list, best first, no item twice.

    ``event`` is the last event the list knows of; with ``user_id`` it is the list's identity,
    so a consumer can drop a repeat.
    """

    user_id: Annotated[Id, Meta(description="Whose list it is; also the record's key.")]
    items: Annotated[list[ListItem], Meta(description="Best first, no item twice.")]
    kind: Annotated[ListKind, Meta(description="popular is the fallback where nothing is known of the user.")]
    model_version: Annotated[str, Meta(description="The weights that ranked the list.")]
    event: EventRef
    generated_at: TimestampMs


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which weights are in force for the model of the key, and where they lie."""

    name: Annotated[Id, Meta(description="The model; also the record's key.")]
    version: Annotated[str, Meta(min_length=1, description="The version of the weights.")]
    url: Annotated[str, Meta(min_length=1, description="The artifact's folder in the model store.")]
    sha256: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{64}$", description="Of the artifact's manifest file, which holds the others'."
        ),
    ]
    trained_at: TimestampMs
    announced_at: TimestampMs
    metrics: Annotated[dict[str, float], Meta(description="Figures it was chosen by.")] = {}
    previous_version: (
        Annotated[
            str,
            Meta(min_length=1, description="Where a roll-back goes; of weights a person put in force again."),
        ]
        | None
    ) = None


Offset = Annotated[int, Meta(ge=0)]
Chance = Annotated[float, Meta(gt=0, lt=1)]


class CanaryTrial(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A challenger that serves a share of the users beside the weights in force, and the terms of its trial.

    Its key is the model's name and ``/canary``; a null value ends the trial. Who is served by the
    challenger follows from the user's id, ``salt`` and ``share`` (``models.canary``).
    """

    challenger: Annotated[ModelManifest, Meta(description="The weights on trial, and where they lie.")]
    champion: Annotated[str, Meta(min_length=1, description="The version in force that it is compared with.")]
    salt: Annotated[
        str, Meta(min_length=1, max_length=64, description="Draws the users; new for each trial.")
    ]
    share: Annotated[Chance, Meta(description="Share of the users that the challenger serves.")]
    level: Annotated[Chance, Meta(description="Most that an equal challenger is promoted with.")]
    alarm: Annotated[Chance, Meta(description="Most that an equal challenger is rolled back as worse with.")]
    events: Annotated[int, Meta(ge=1, description="A user counts by so many events that met a list.")]
    most_pairs: Annotated[
        int, Meta(ge=1, description="After so many pairs of users without a decision it is rolled back.")
    ]
    ends_at: Annotated[TimestampMs, Meta(description="When it is rolled back if nothing is decided by then.")]
    begins: Annotated[
        dict[str, list[Offset]],
        Meta(description="Topic to the offset of each partition from which on its lists and events count."),
    ]


class EventTime(msgspec.Struct, frozen=True, gc=False):
    """An event's time alone."""

    timestamp: TimestampMs | TimestampText


class HasValue(Protocol):
    """A Kafka record, as far as its value goes."""

    @property
    def value(self) -> bytes | None:
        """The value as it came."""


_event = msgspec.json.Decoder(Event)
_event_time = msgspec.json.Decoder(EventTime)
_event_message = msgspec.json.Decoder(EventMessage)
_item = msgspec.json.Decoder(Item)
_list = msgspec.json.Decoder(RecommendationList)
_manifest = msgspec.json.Decoder(ModelManifest)
_trial = msgspec.json.Decoder(CanaryTrial)
_encoder = msgspec.json.Encoder()

T = TypeVar("T")


def decode_event(key: bytes | None, value: bytes | None, *, now_ms: int, max_future_ms: int) -> Event:
    """Read an event, or raise ``Rejected`` with the word for what is wrong with it.

    ``now_ms`` is the reader's clock; an event more than ``max_future_ms`` ahead of it is
    refused, since it would end its user's segment for every event that follows.
    """
    try:
        event = _event.decode(value)  # type: ignore[arg-type]  # None raises TypeError, told apart below
    except (ValueError, TypeError, RecursionError):
        event = _event_of_text(value)
    if key is not None and key != event.user_id.encode():
        _reject_key(key, event.user_id, "user_id")
    if event.timestamp > now_ms + max_future_ms:
        ahead_s = (event.timestamp - now_ms) / 1000
        raise Rejected(
            "timestamp-in-future",
            f"timestamp {event.timestamp} is {ahead_s:.0f} s ahead of the clock, "
            f"{max_future_ms / 1000:g} s are allowed",
        )
    return event


def event_time_ms(record: HasValue) -> int:
    """Peek at the event time of a record; 0 where it cannot be read, which decoding it will tell."""
    try:
        timestamp = _event_time.decode(record.value or b"").timestamp
        return parse_timestamp(timestamp) if isinstance(timestamp, str) else timestamp
    except (ValueError, RecursionError, Rejected):
        return 0


def decode_item(key: bytes | None, value: bytes | None) -> tuple[str, Item | None]:
    """Read a record of the items topic: the item's id, and ``None`` where it is withdrawn."""
    if not value:
        return _key_text(key, "item"), None
    item = _decoded(_item, value)
    if key is not None and key != item.item_id.encode():
        _reject_key(key, item.item_id, "item_id")
    return item.item_id, item


def decode_forget(key: bytes | None) -> str:
    """Name the user to erase: the key of a record of users.forget; its value may be anything."""
    return _key_text(key, "user")


def decode_list(value: bytes | None) -> RecommendationList:
    """Read a list as a consumer of the recommendations topic does."""
    return _decoded(_list, value)


def decode_manifest(value: bytes | None) -> ModelManifest:
    """Read a record of the models topic that says which weights are in force."""
    return _decoded(_manifest, value)


def decode_trial(value: bytes | None) -> CanaryTrial:
    """Read a record of the models topic that says which weights are on trial."""
    return _decoded(_trial, value)


def trial_key(model_name: str) -> bytes:
    """Return the key of a model's trial on the models topic; no model has a slash in its name."""
    return f"{model_name}/canary".encode()


def encode(message: msgspec.Struct) -> bytes:
    """Write any message of this module as JSON."""
    return _encoder.encode(message)


def dead_letter_headers(
    rejected: Rejected, *, topic: str, partition: int, offset: int
) -> list[tuple[str, bytes]]:
    """Say in headers why a record was refused and where it stood; key and value go as they came."""
    return [
        (HEADER_ERROR, rejected.error.encode()),
        (HEADER_MESSAGE, rejected.message.encode(errors="replace")),
        (HEADER_TOPIC, topic.encode()),
        (HEADER_PARTITION, b"%d" % partition),
        (HEADER_OFFSET, b"%d" % offset),
    ]


def parse_timestamp(text: str) -> int:
    """Read an RFC 3339 text with Z or an offset: milliseconds since the epoch, cut to the millisecond.

    Raises ``Rejected`` with ``bad-timestamp`` or ``timestamp-out-of-range``.
    """
    try:
        moment = msgspec.convert(text, _AwareDatetime)
    except msgspec.ValidationError:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise Rejected(
            "bad-timestamp", f"timestamp {shown!r} is not RFC 3339, such as 2017-11-24T17:21:10.123Z"
        ) from None
    since = moment - _EPOCH
    timestamp_ms = (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
    if not 0 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise Rejected("timestamp-out-of-range", f"timestamp {text!r} is before 1970 or after the year 9999")
    return timestamp_ms


_AwareDatetime = Annotated[datetime, Meta(tz=True)]
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _event_of_text(value: bytes | None) -> Event:
    """Go the slow way of ``decode_event``: a timestamp as text, or the reason for refusing."""
    message = _decoded(_event_message, value)
    timestamp = message.timestamp
    return Event(
        user_id=message.user_id,
        item_id=message.item_id,
        timestamp=parse_timestamp(timestamp) if isinstance(timestamp, str) else timestamp,
        event_id=message.event_id,
        category_id=message.category_id,
        session_id=message.session_id,
    )


def _decoded(decoder: msgspec.json.Decoder[T], value: bytes | None) -> T:
    """Decode, or raise ``Rejected`` with the word that fits."""
    if not value:
        raise Rejected("no-value", "the record has no value")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise Rejected(_word_for(str(error)), str(error)) from None
    except msgspec.DecodeError as error:
        _reject_malformed(value, str(error))
    except UnicodeDecodeError as error:
        raise Rejected("not-utf8", f"a text of the value is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise Rejected("too-deep", f"the value ({len(value)} bytes) nests too deeply") from None


def _reject_malformed(value: bytes, reason: str) -> NoReturn:
    """Tell bytes that are no text at all from a text that is no JSON."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise Rejected("not-utf8", f"the value is not UTF-8: byte {error.start}") from None
    raise Rejected("not-json", reason)


def _word_for(reason: str) -> str:
    """Find the word for a validation error from msgspec's text; a test of each word holds it."""
    if "missing required field" in reason:
        return "missing-field"
    if "of length >=" in reason:
        return "empty-field"
    if "of length <=" in reason:
        return "too-long"
    if "`int` >=" in reason or "`int` <=" in reason or "out of range" in reason:
        return "timestamp-out-of-range" if "timestamp" in reason else "wrong-type"
    return "wrong-type"


def _key_text(key: bytes | None, noun: str) -> str:
    """Read the key as an id."""
    if not key:
        raise Rejected("missing-key", f"the record has no key, which names the {noun}")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Rejected("key-not-utf8", "the key is not UTF-8 text") from None
    if len(text) > MAX_ID_LENGTH:
        raise Rejected("too-long", f"the key is longer than {MAX_ID_LENGTH} characters")
    return text


def _reject_key(key: bytes, named: str, field: str) -> NoReturn:
    """Say how a key contradicts its value."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Rejected("key-not-utf8", "the key is not UTF-8 text") from None
    shown = text if len(text) <= MAX_ID_LENGTH else text[:MAX_ID_LENGTH] + "..."
    raise Rejected("key-mismatch", f"the key is {shown!r} and {field} is {named!r}")
