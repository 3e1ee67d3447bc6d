"""The reference pages, made from the code: `python -m docs.generated` writes them into `docs/reference`.

A test compares what lies there with what is made, so no page can fall behind the code it tells of.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import typer
from prometheus_client import CollectorRegistry

from models.errors import ModelsError
from stream import asyncapi
from stream.cli.main import EXAMPLES, INTERRUPTED, app
from stream.errors import FreshetError, UsageError
from stream.messages import ERROR_WORDS
from stream.settings import PREFIX, Settings, listing
from stream.telemetry import RetrainTelemetry, Telemetry

PROJECT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = PROJECT / "docs" / "reference"
GOLDEN: Final = PROJECT / "tests" / "golden"

SETTINGS_OF: Final = {
    "Kafka, the group and its topics": (
        *("brokers", "group_", "session_timeout_s", "standby_replicas", "processing_guarantee"),
        *("partitions", "replication_factor", "batch_max_events", "topic_"),
    ),
    "What is in a list": ("list", "exclude_", "max_per_category"),
    "Segments and suspicious users": ("segment_", "max_future_s", "suspicious_"),
    "HTTP port": ("http_",),
    "A worker's own files": ("data_dir", "store"),
    "Weights": ("model_", "index_"),
    "Retraining": ("retrain_",),
    "Trials of challengers": ("canary_",),
    "Erasure": ("forget_",),
    "Login and TLS": ("security_", "sasl_", "ssl_"),
    "Log": ("log_",),
}
"""The headings of the page of settings, and what the names of the settings under each begin with."""

EXAMPLE_OF: Final = {
    "event": "event.every-field",
    "item": "item.every-field",
    "recommendation-list": "recommendation-list.personalized",
    "model-manifest": "model-manifest.with-metrics",
    "canary-trial": "canary-trial.tenth",
}
"""The golden message that is shown of each."""

_COMMANDS = """# Commands

The options are those of `--help`, which each command has. Settings that are no option of a command are given
with `--set NAME=VALUE` or in the environment: [settings](settings.md).

"""
_SETTINGS = """# Settings

Each is a variable of the environment; an empty one counts as not set. Every command but `freshet demo` takes
any of them as `--set NAME=VALUE` too, with the name's `FRESHET_` or without, and some as an option of their
own. An option wins over `--set`, and that over the environment. A wrong value, or a name that is none, ends a
command with status 2 and a line that says what is allowed. `freshet --settings` prints this list.
"""
_METRICS = """# Metrics

A worker answers on `/metrics` of its HTTP port with all of them, those of the retraining job at 0;
`freshet retrain` answers with its own. Times are in seconds; no user and no item is in a label. Every series
whose labels are known beforehand exists from the start at 0.
"""
_LABELS = """
## The words of labels

Where they are known beforehand. What the words of `error` mean stands under
[errors](errors.md#why-a-record-is-refused).

"""
_BUCKETS = """
## The buckets of histograms

Upper bounds in seconds.

"""
_MESSAGES = """# Messages

Values are UTF-8 JSON, keys UTF-8 text; unknown fields are ignored. The same as an
[AsyncAPI document](../../stream/schemas/asyncapi.yaml) and a JSON Schema for each message. Topic names are
those of the default settings: [topics](topics.md).
"""
_STATUSES = """# Errors

An error is one line on standard error that begins with `freshet:`; a traceback is a bug.

## Exit statuses

"""
_WORDS = """
## Why a record is refused

The word stands in the header `error` of the dead letter and in the label `error` of
`freshet_dead_letters_total`: [message](messages.md#dead-letter-headers).

"""
_KINDS = """
## Kinds of errors

As the program tells them apart. A point before a name: it is a kind of the one above with a point less.

"""


def pages() -> dict[str, str]:
    """Make the text of every page, by file name."""
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        "commands": ("stream/cli", commands),
        "settings": ("stream/settings.py", settings),
        "metrics": ("stream/telemetry.py", metrics),
        "messages": ("stream/schemas", messages),
        "errors": ("stream/errors.py and stream/messages.py", errors),
    }
    return {
        f"{name}.md": f"<!-- Made from {source} by `python -m docs.generated`. -->\n\n{make()}"
        for name, (source, make) in makers.items()
    }


# Commands.


def commands() -> str:
    """Make the page of commands, in the order of `freshet --help`."""
    root = typer.main.get_command(app)
    parts = [_COMMANDS, _options(root, typer.Context(root, info_name="freshet"))]
    for path, command, inner in commands_of(app):
        parts.append(f"\n## {path}\n\n{_paragraphs(command.help)}\n")
        if hasattr(command, "list_commands"):
            continue
        parts.append(f"\n```text\n{path} {' '.join(command.collect_usage_pieces(inner))}\n```\n\n")
        parts.append(_options(command, inner))
        example = EXAMPLES.get(path.removeprefix("freshet "))
        if example:
            parts.append(f"\nFor example `{example}`.\n")
    return "".join(parts)


def commands_of(program: typer.Typer) -> Iterator[tuple[str, Any, Any]]:
    """Give each command, groups too: its words, itself, and the context of its help."""
    root = typer.main.get_command(program)
    yield from _below(root, typer.Context(root, info_name="freshet"))


def _below(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        yield inner.command_path, command, inner
        if hasattr(command, "list_commands"):
            yield from _below(command, inner)


def _options(command: Any, context: Any) -> str:
    """Make the table of a command's arguments and options, but for the help's own."""
    records = [param.get_help_record(context) for param in command.params]
    rows = [(_code(spelled), meaning) for spelled, meaning in filter(None, records)]
    return _table(("argument or option", "meaning"), rows)


# Settings.


def settings() -> str:
    """Make the page of settings: each with its default, what is allowed, and what it means."""
    options = _options_of_settings()
    secrets = {
        f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if _is_secret(field)
    }
    parts = [_SETTINGS]
    for heading, rows in _grouped().items():
        parts.append(f"\n## {heading}\n\n")
        lines = []
        for name, default, allowed, meaning in rows:
            also = [f"option `{options[name]}`"] if name in options else []
            also += [f"its value may stand in a file, which `{name}_FILE` names"] if name in secrets else []
            told = "; ".join([re.sub(r"; also as \w+_FILE", "", meaning), *also])
            lines.append((_code(name), _code(default), allowed, told))
        parts.append(_table(("setting", "default", "allowed", "meaning"), lines))
    return "".join(parts)


def _grouped() -> dict[str, list[tuple[str, str, str, str]]]:
    """Sort the settings under their headings. Raises ``KeyError`` for one that has none."""
    grouped: dict[str, list[tuple[str, str, str, str]]] = {heading: [] for heading in SETTINGS_OF}
    for row in listing():
        name = row[0].removeprefix(PREFIX).lower()
        found = [heading for heading, starts in SETTINGS_OF.items() if name.startswith(starts)]
        if not found:
            raise KeyError(f"{row[0]} has no heading in docs.generated.SETTINGS_OF")
        grouped[found[0]].append(row)
    return grouped


def _is_secret(field: Any) -> bool:
    return getattr(field.annotation, "__name__", "") == "SecretStr"


def _options_of_settings() -> dict[str, str]:
    """Find the option of each setting that has one: the help of the option names the setting."""
    found = {}
    for _, command, inner in commands_of(app):
        for param in command.params:
            _, meaning = param.get_help_record(inner) or ("", "")
            for name in re.findall(r"\[(FRESHET_[A-Z_]+)\]", meaning):
                found[name] = param.opts[0]
    return found


# Metrics.


def metrics() -> str:
    """Make the page of metrics: each instrument, the words of its labels, its buckets."""
    retraining = RetrainTelemetry(CollectorRegistry())
    worker = Telemetry(CollectorRegistry())
    parts = [_METRICS]
    for heading, telemetry in (("Worker", worker), ("Retraining job", retraining)):
        parts.append(f"\n## {heading}\n\n")
        parts.append(_table(("instrument", "kind", "meaning"), map(_instrument, _instruments(telemetry))))
    labels, buckets = [], []
    for telemetry in (worker, retraining):
        for instrument in _instruments(telemetry):
            (family,) = instrument.collect()
            name = _code(_exposed(family))
            for label in getattr(instrument, "_labelnames", ()):
                words = dict.fromkeys(
                    sample.labels[label] for sample in family.samples if label in sample.labels
                )
                if words:
                    labels.append((name, _code(label), ", ".join(map(_code, words))))
            bounds = dict.fromkeys(sample.labels["le"] for sample in family.samples if "le" in sample.labels)
            if bounds or family.type == "histogram":
                buckets.append((name, ", ".join(bounds)))
    parts.append(_LABELS)
    parts.append(_table(("instrument", "label", "words"), labels))
    parts.append(_BUCKETS)
    parts.append(_table(("instrument", "buckets"), buckets))
    return "".join(parts)


def _instruments(telemetry: Telemetry | RetrainTelemetry) -> Iterator[Any]:
    """Give the instruments that are a telemetry's own, in the order they are made."""
    return (
        value
        for value in vars(telemetry).values()
        if hasattr(value, "collect") and value is not telemetry.registry
    )


def _instrument(instrument: Any) -> tuple[str, str, str]:
    """Say what an instrument is called, of what kind it is, and what it tells."""
    (family,) = instrument.collect()
    # The library has no public way to ask for the names of labels before the first series.
    names = ",".join(getattr(instrument, "_labelnames", ()))
    shown = _exposed(family) + (f"{{{names}}}" if names else "")
    return _code(shown), family.type, family.documentation


def _exposed(family: Any) -> str:
    """Return the name that Prometheus sees."""
    ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return f"{family.name}{ending}"


# Messages.


def messages() -> str:
    """Make the page of messages: the fields of each, and an example."""
    described = asyncapi.asyncapi()["components"]["messages"]
    parts = [_MESSAGES]
    for file_name, schema in asyncapi.schemas().items():
        name = file_name.removesuffix(".json")
        message = name.removesuffix("-headers")
        topics = [topic for _, topic, every, _ in asyncapi.CHANNELS if message in every]
        key = described[message]["bindings"]["kafka"]["key"]["description"]
        parts.append(f"\n## {name}\n\n{_paragraphs(schema['description'])}\n\n")
        parts.append(f"Topics: {', '.join(map(_code, topics))}. Key: {key[0].lower()}{key[1:]} ")
        parts.append(f"[Schema](../../stream/schemas/{file_name}).\n\n")
        parts.append(_fields(schema))
        for inner, definition in schema.get("$defs", {}).items():
            parts.append(f"\n{_code(inner)}: {definition.get('description', '')}\n\n{_fields(definition)}")
        if name in EXAMPLE_OF:
            text = (GOLDEN / f"{EXAMPLE_OF[name]}.json").read_text(encoding="utf-8").strip()
            parts.append(f"\n```json\n{text}\n```\n")
    return "".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    """Make the table of an object's fields."""
    rows = []
    for name, field in schema["properties"].items():
        forms = [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]
        needed = "yes" if name in schema.get("required", ()) else "no"
        if field.get("default") not in (None, {}):
            needed = f"no, {str(field['default']).lower()}"
        meaning = " ".join(dict.fromkeys(form["description"] for form in forms if "description" in form))
        rows.append((_code(name), " or ".join(map(_form, forms)), needed, meaning))
    return _table(("field", "type", "needed", "meaning"), rows)


def _form(schema: dict[str, Any]) -> str:
    """Say in words what a value must be."""
    if "$ref" in schema:
        return _code(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " or ".join(_code(word) for word in schema["enum"])
    if "oneOf" in schema:
        return "a word of [this list](errors.md#why-a-record-is-refused)"
    kind = schema["type"]
    if kind == "array":
        return f"array of {_form(schema['items'])}"
    if kind == "object":
        return f"object of {_form(schema['additionalProperties'])}"
    limits = [
        f"{words} {schema[limit]}"
        for limit, words in (
            ("minLength", "at least"), ("maxLength", "at most"), ("minimum", "from"), ("maximum", "to"),
        )
        if limit in schema
    ]  # fmt: skip
    if "format" in schema:
        limits.append(schema["format"])
    if "pattern" in schema:
        limits.append(_code(schema["pattern"]))
    return f"{kind} ({', '.join(limits)})" if limits else kind


# Errors.


def errors() -> str:
    """Make the page of exit statuses, reasons of refusal, and exceptions."""
    statuses = (
        ("0", "the command did its work"),
        (str(FreshetError.exit_status), "it failed; the line on standard error says what to do"),
        (str(UsageError.exit_status), "it was called wrongly: an option, an argument or a setting"),
        (str(INTERRUPTED), "it was interrupted (Ctrl-C)"),
    )
    tree = [
        (f"{'· ' * depth}`{error.__name__}`", str(getattr(error, "exit_status", 1)), _first_paragraph(error))
        for root in (FreshetError, ModelsError)
        for depth, error in _tree(root)
    ]
    return "".join(
        (
            _STATUSES,
            _table(("status", "when"), statuses),
            _WORDS,
            _table(("word", "meaning"), [(_code(word), meaning) for word, meaning in ERROR_WORDS.items()]),
            _KINDS,
            _table(("error", "status", "when"), tree),
        )
    )


def _tree(error: type[Exception], depth: int = 0) -> Iterator[tuple[int, type[Exception]]]:
    """Give a class and those below it in its module, in the order they are defined."""
    yield depth, error
    for inner in error.__subclasses__():
        if inner.__module__ == error.__module__:
            yield from _tree(inner, depth + 1)


# Markdown.


def _table(columns: Sequence[str], rows: Any) -> str:
    """Make a table; a bar in a cell does not end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _code(text: str) -> str:
    """Mark a text as code; nothing stays nothing."""
    return f"`{text}`" if text else ""


def _first_paragraph(documented: type) -> str:
    """Return what a docstring promises first."""
    return _paragraphs(documented.__doc__ or "").partition("\n\n")[0]


def _paragraphs(text: str) -> str:
    """Undo the lines of a docstring: a paragraph is one line, its names in double backticks are code."""
    paragraphs = (" ".join(part.split()) for part in cleandoc(text).split("\n\n"))
    return "\n\n".join(paragraphs).replace("``", "`")


if __name__ == "__main__":
    for file_name, text in pages().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
