"""The alerts: each is tested by promtool, explained in the runbook, and made of metrics there are."""

import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream.telemetry import Telemetry
from tests.support.prometheus import LIMIT, OPS, PROMETHEUS, family, load, names, rules, tool

RECORDED = rules("rules", "record")
ALERTS = rules("alerts", "alert")
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOK = OPS / "runbook.md"

alerts = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run promtool to its end."""
    return subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def expectations(alert: str) -> list[list[object]]:
    """Return what the unit tests expect of an alert, each time they look."""
    return [
        look["exp_alerts"]
        for file in TESTS
        for case in load(file)["tests"]
        for look in case["alert_rule_test"]
        if look["alertname"] == alert
    ]


def section(alert: str) -> str:
    """Return what the runbook says of an alert."""
    found = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_configuration_is_valid():
    """Prometheus reads the configuration, and every rule and alert by way of it."""
    told = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert told.returncode == 0, told.stderr
    files = {file.resolve() for file in PROMETHEUS.glob("*s/*.yml")} - set(TESTS)
    assert {
        Path(name).resolve() for name in re.findall(r"Checking (.*/(?:rules|alerts)/.*)", told.stdout)
    } == files


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_are_silent_and_fire_as_they_should(file: Path):
    """`promtool test rules` agrees."""
    told = promtool("test", "rules", file)
    assert told.returncode == 0, told.stdout + told.stderr


@alerts
def test_every_alert_is_tested_for_silence_and_for_firing(alert):
    """At least one look of each kind."""
    expected = expectations(alert.name)
    assert [] in expected
    assert any(expected)


@alerts
def test_every_alert_has_its_section_of_the_runbook(alert):
    """What it means, what to look at first, what to do; and the alert says where."""
    said = section(alert.name)
    for part in ("Means", "Look first", "Do"):
        text = re.search(rf"\*\*{part}\.\*\*(.*?)(?=\n\n|\Z)", said, re.DOTALL)
        assert text is not None, part
        assert len(text[1].split()) >= 5
    assert alert.annotations["runbook"] == f"ops/runbook.md#{alert.name.lower()}"
    assert alert.annotations["summary"]


def test_runbook_has_no_section_without_an_alert():
    """What is gone from the alerts is gone from the runbook."""
    sections = re.findall(r"^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(alert.name for alert in ALERTS)


@alerts
def test_no_alert_has_a_threshold_of_its_own(alert):
    """Numbers are limits, which have a name; only zero, which is none, may stand in an alert."""
    bare = re.sub(r"\[[^\]]*\]|\"[^\"]*\"|[a-z_:][a-z0-9_:]*", " ", alert.expr)
    assert set(re.findall(r"\d[\d.e]*", bare)) <= {"0"}


def test_every_limit_stands_once_and_is_used():
    """A limit is recorded once; each is used by an alert, and none other is named anywhere."""
    limits = [rule.name for rule in RECORDED if rule.name.startswith(LIMIT)]
    assert len(limits) == len(set(limits))
    used = {name for alert in ALERTS for name in names(alert.expr) if name.startswith(LIMIT)}
    assert used == set(limits)
    told = set(re.findall(rf"{LIMIT}[a-z_]+", RUNBOOK.read_text()))
    assert told <= set(limits)


def test_rules_and_alerts_name_metrics_that_there_are():
    """Each series is one of the instruments, one that a rule records, or Prometheus' own `up`."""
    registry = CollectorRegistry()
    Telemetry(registry)
    known = {one.name for one in registry.collect()} | {rule.name for rule in RECORDED} | {"up"}
    for rule in RECORDED + ALERTS:
        assert {family(name) for name in names(rule.expr)} <= known, rule.name


def test_runbook_names_metrics_that_there_are():
    """An operator who follows it finds what it names."""
    registry = CollectorRegistry()
    Telemetry(registry)
    known = {one.name for one in registry.collect()}
    told = set(re.findall(r"`(freshet_[a-z_]+)`", RUNBOOK.read_text()))
    assert {family(name) for name in told} <= known
