"""The reference pages are those that the code makes, and every setting, metric and command is on one."""

import re

import pytest
from prometheus_client import CollectorRegistry

from docs import generated
from docs.generated import FOLDER, SETTINGS_OF
from stream import settings
from stream.cli.main import COMMANDS
from stream.messages import ERROR_WORDS
from stream.telemetry import Telemetry

PAGES = generated.pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_the_one_that_is_made(name: str):
    """After a change of the code, run ``python -m docs.generated``."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]


def test_every_setting_is_told_once_with_its_default():
    """In one of the tables, with what is allowed and what it means."""
    rows = re.findall(
        r"^\| `(FRESHET_\w+)` \| `?([^|`]*)`? \| ([^|]+) \| ([^|]+) \|$", PAGES["settings.md"], re.MULTILINE
    )
    assert sorted((name, default.strip()) for name, default, _, _ in rows) == sorted(
        (name, default) for name, default, *_ in settings.listing()
    )


def test_setting_without_a_heading_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """A new setting cannot be left out of the page in silence."""
    fewer = {heading: starts for heading, starts in SETTINGS_OF.items() if heading != "Log"}
    monkeypatch.setattr(generated, "SETTINGS_OF", fewer)
    with pytest.raises(KeyError, match="FRESHET_LOG_LEVEL has no heading"):
        generated.settings()


def test_options_of_settings_are_named():
    """A setting that a command has an option for says so, a secret the file it may stand in."""
    page = PAGES["settings.md"]
    assert re.search(r"^\| `FRESHET_BROKERS` .*; option `--brokers` \|$", page, re.MULTILINE)
    assert re.search(
        r"^\| `FRESHET_SSL_PASSWORD` .*`FRESHET_SSL_PASSWORD_FILE` names \|$", page, re.MULTILINE
    )


def test_every_metric_is_told_with_its_labels():
    """Under the name that Prometheus sees."""
    registry = CollectorRegistry()
    Telemetry(registry)
    ending = {"counter": "_total", "info": "_info"}
    there = [family.name + ending.get(family.type, "") for family in registry.collect()]
    told = re.findall(
        r"^\| `(\w+)(?:\{[a-z,]+\})?` \| (?:counter|gauge|histogram|info) \|",
        PAGES["metrics.md"],
        re.MULTILINE,
    )
    assert sorted(told) == sorted(there)
    assert "| `freshet_consumer_lag{topic,partition}` | gauge |" in PAGES["metrics.md"]
    assert "| `freshet_events_total` | `outcome` | `applied`, `duplicate`, `late`" in PAGES["metrics.md"]
    assert "| `freshet_recovery_seconds` | 0.1, 0.25," in PAGES["metrics.md"]


def test_every_command_and_word_is_told():
    """Commands of commands too."""
    page = PAGES["commands.md"]
    told = re.findall(r"^## freshet (.+)$", page, re.MULTILINE)
    assert set(COMMANDS) | {"models rollback", "dead-letters redrive"} <= set(told)
    assert "| `--seed <int>` | Seed of everything that is drawn.  [default: 1] |" in page
    assert all(f"| `{word}` | " in PAGES["errors.md"] for word in ERROR_WORDS)


def test_messages_are_told_with_an_example():
    """A field that may be absent says what then counts; a bar in a cell does not end it."""
    page = PAGES["messages.md"]
    assert "| `available` | boolean | no, true | Whether lists may hold the item. |" in page
    assert "| `items` | array of `ListItem` | yes | Best first, no item twice. |" in page
    assert "`--time-unit <s\\|ms>`" in PAGES["commands.md"]
    assert (
        '```json\n{"user_id": "u1", "item_id": "i1", "timestamp": 1511544070123, "event_id": "e-42",' in page
    )
