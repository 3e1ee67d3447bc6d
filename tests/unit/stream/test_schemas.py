"""The shipped schemas: as generated, true of the golden messages, and as strict as the decoder."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stream import asyncapi
from stream.errors import Rejected
from stream.messages import ERROR_WORDS, dead_letter_headers, decode_event
from stream.settings import Settings, Topics

GOLDEN = Path(__file__).parents[2] / "golden"
SHIPPED = files("stream") / "schemas"


def validator(name: str) -> Draft202012Validator:
    """Read a shipped schema."""
    return Draft202012Validator(json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8")))


def test_shipped_files_are_the_generated_ones():
    """After a change of a wire type, run ``python -m stream.asyncapi``."""
    made = asyncapi.files()
    assert {entry.name for entry in SHIPPED.iterdir()} == set(made)
    for name, text in made.items():
        assert (SHIPPED / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", [*asyncapi.MESSAGES, "dead-letter-headers"])
def test_schemas_are_valid_themselves(name):
    """Each shipped schema is one of its dialect."""
    Draft202012Validator.check_schema(validator(name).schema)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_messages_fit_their_schema(path):
    """What decodes is also what is published."""
    validator(path.name.split(".")[0]).validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": ""},
        {"user_id": "x" * 257},
        {"item_id": None},
        {"timestamp": -1},
        {"timestamp": 1.5},
        {"timestamp": True},
        {"timestamp": 253_402_300_800_000},
        {"event_id": ""},
        {"category_id": 7},
    ],
    ids=str,
)
def test_schema_refuses_what_the_decoder_refuses(fields):
    """An event that would be a dead letter does not fit the published schema either."""
    event = {"user_id": "u1", "item_id": "i1", "timestamp": 1} | fields
    assert not validator("event").is_valid(event)
    with pytest.raises(Rejected):
        decode_event(None, json.dumps(event).encode(), now_ms=2, max_future_ms=0)


def test_dead_letter_headers_fit_their_schema():
    """Every word is a published one, and the headers are all there."""
    schema = validator("dead-letter-headers")
    for word in ERROR_WORDS:
        headers = dead_letter_headers(Rejected(word, "why"), topic="events.cart", partition=2, offset=7)
        schema.validate({name: value.decode() for name, value in headers})
    assert not schema.is_valid({"error": "other", "message": ""})


def test_asyncapi_has_every_topic_of_the_settings():
    """Each topic but the changelog, which is our own, is described under its default name."""
    described = {channel: topic for channel, topic, _, _ in asyncapi.CHANNELS}
    topics = Settings.load().topics
    named = {field.replace("_", "-"): getattr(topics, field) for field in Topics._fields}
    del named["changelog"]
    assert described == named


def test_asyncapi_refers_to_what_is_there():
    """Each reference of the document leads somewhere."""
    document = asyncapi.asyncapi()

    def follow(node: object) -> None:
        if isinstance(node, list):
            for entry in node:
                follow(entry)
        elif isinstance(node, dict):
            reference = node.get("$ref", "")
            if reference.startswith("#/"):
                found = document
                for part in reference.removeprefix("#/").split("/"):
                    found = found[part]
            elif reference:
                assert (SHIPPED / reference.removeprefix("./")).is_file()
            for value in node.values():
                follow(value)

    follow(document)
