"""JSON Schemas and the AsyncAPI description, made from the wire types.

``python -m stream.asyncapi`` writes them into ``stream/schemas``; a test compares what is
shipped with what is made, so the published description cannot fall behind the code.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from stream import messages

FOLDER: Final = Path(__file__).parent / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

MESSAGES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "event": messages.EventMessage,
    "item": messages.Item,
    "recommendation-list": messages.RecommendationList,
    "model-manifest": messages.ModelManifest,
    "canary-trial": messages.CanaryTrial,
}
"""The file name of each message's schema."""

CHANNELS: Final[tuple[tuple[str, str, tuple[str, ...], str], ...]] = (
    ("click", "events.click", ("event",), "receive"),
    ("favorite", "events.favorite", ("event",), "receive"),
    ("cart", "events.cart", ("event",), "receive"),
    ("purchase", "events.purchase", ("event",), "receive"),
    ("items", "items", ("item",), "receive"),
    ("forget", "users.forget", ("forget",), "receive"),
    ("recommendations", "recommendations", ("recommendation-list",), "send"),
    ("models", "models", ("model-manifest", "canary-trial"), "send"),
    ("dead-letter", "events.dead-letter", ("dead-letter",), "send"),
)
"""Channel, topic under the default settings, messages, and what freshet does with them."""

_KEYS: Final = {
    "event": "The user's id, UTF-8; an absent key is filled from user_id.",
    "item": "The item's id, UTF-8.",
    "forget": "The id of the user to erase, UTF-8.",
    "recommendation-list": "The user's id, UTF-8.",
    "model-manifest": "The model's name, UTF-8.",
    "canary-trial": "The model's name and /canary, UTF-8; a record without a value ends the trial.",
    "dead-letter": "The key as it came.",
}


def schemas() -> dict[str, dict[str, Any]]:
    """Make the JSON Schema of each message and of the dead letters' headers, by file name."""
    made = {f"{name}.json": _schema(name, struct) for name, struct in MESSAGES.items()}
    made["dead-letter-headers.json"] = _header_schema()
    return made


def asyncapi() -> dict[str, Any]:
    """Make the AsyncAPI 3 document; payloads refer to the schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "freshet",
            "version": "1.0.0",
            "description": "Events of shop users in, refreshed recommendation lists out, over Kafka. "
            "Topic names are those of the default settings.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            channel: {
                "address": topic,
                "messages": {
                    message: {"$ref": f"#/components/messages/{message}"} for message in messages_of
                },
            }
            for channel, topic, messages_of, _ in CHANNELS
        },
        "operations": {
            f"{action}-{channel}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"} for message in messages_of],
            }
            for channel, _, messages_of, action in CHANNELS
        },
        "components": {"messages": {name: _message(name) for name in _KEYS}},
    }


def files() -> dict[str, str]:
    """Make the text of every shipped file, by file name."""
    texts = {name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas().items()}
    texts["asyncapi.yaml"] = _yaml(asyncapi())
    return texts


def _schema(name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Make one schema with the message at its root, not behind a reference."""
    made = msgspec.json.schema(struct)
    definitions = made["$defs"]
    root = definitions.pop(struct.__name__)
    root["title"] = name
    schema = {"$schema": DIALECT, "$id": f"{name}.json", **root}
    if definitions:
        schema["$defs"] = definitions
    return schema


def _header_schema() -> dict[str, Any]:
    """Make the schema of the dead letters' headers, read as text."""
    number = {"type": "string", "pattern": "^[0-9]+$"}
    properties = {
        messages.HEADER_ERROR: {
            "oneOf": [
                {"const": word, "description": meaning} for word, meaning in messages.ERROR_WORDS.items()
            ]
        },
        messages.HEADER_MESSAGE: {"type": "string", "description": "What exactly is wrong, for a person."},
        messages.HEADER_TOPIC: {"type": "string"},
        messages.HEADER_PARTITION: number,
        messages.HEADER_OFFSET: number,
    }
    return {
        "$schema": DIALECT,
        "$id": "dead-letter-headers.json",
        "title": "dead-letter-headers",
        "description": "Why a record was refused and where it stood; each header is UTF-8 text.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _message(name: str) -> dict[str, Any]:
    """Describe a message of the AsyncAPI document."""
    described: dict[str, Any] = {
        "name": name,
        "bindings": {"kafka": {"key": {"type": "string", "description": _KEYS[name]}}},
    }
    if name in MESSAGES:
        described["payload"] = {"$ref": f"./{name}.json"}
    elif name == "forget":
        described["payload"] = {"description": "Anything; only the key counts."}
    else:
        described["headers"] = {"$ref": "./dead-letter-headers.json"}
        described["payload"] = {"description": "The bytes as they came."}
    return described


def _yaml(node: Mapping[str, Any], indent: str = "") -> str:
    """Write nested mappings, lists of mappings and texts as YAML; every text is quoted as in JSON."""
    lines = []
    for key, value in node.items():
        name = json.dumps(key) if key.startswith("$") else key
        if isinstance(value, Mapping):
            lines.append(f"{indent}{name}:\n{_yaml(value, indent + '  ')}")
        elif isinstance(value, list):
            entries = (_yaml(entry, indent + "    ").removeprefix(indent + "    ") for entry in value)
            lines.append(f"{indent}{name}:\n" + "".join(f"{indent}  - {entry}" for entry in entries))
        else:
            lines.append(f"{indent}{name}: {json.dumps(value)}\n")
    return "".join(lines)


if __name__ == "__main__":
    for file_name, text in files().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
