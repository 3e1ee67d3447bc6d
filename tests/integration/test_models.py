"""`freshet models` on the real broker: a person chooses, and a running worker follows."""

import json
from pathlib import Path

import pytest

from stream.cli.main import run
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.retrain_process import BEGIN_MS, trained
from tests.support.worker_process import WorkerProcess, eventually


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `freshet models` in this process, which has torch already; returns what it printed."""
    capsys.readouterr()
    assert run(["models", *arguments]) == 0
    return capsys.readouterr().out


def roles(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Each version with its role, as they are listed."""
    return [(one["version"], one["role"]) for one in json.loads(told(capsys, "list", "--json"))]


def swapped(worker: WorkerProcess, version: str) -> None:
    """Return once the worker serves with a version."""
    eventually(
        lambda: worker.metrics().total("freshet_model_info", version=version) == 1, f"{version} is in force"
    )


def test_promoted_and_rolled_back_weights_are_taken_by_a_running_worker(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trainings; the older is put in force again, then the newer: the next list is of each."""
    with Deployment(kafka, tmp_path) as shop:
        for name, value in shop.environment().items():
            monkeypatch.setenv(name, value)
        shop.make_topics()
        models, clicks = shop.topics.models, shop.topics.click
        older, newer = trained(shop.settings), trained(shop.settings, seed=2)
        assert roles(capsys) == [(newer, "in force"), (older, "earlier")]
        worker = shop.start().wait_ready()
        swapped(worker, newer)

        line = f"announced {older} on {models}; {newer} was in force before\n"
        assert told(capsys, "promote", older) == line
        swapped(worker, older)
        shop.send_events(clicks, ("ada", "i1", BEGIN_MS))
        shop.wait_served(worker)
        assert roles(capsys) == [(newer, "earlier"), (older, "in force")]

        line = f"rolled back from {older}: announced {newer} on {models}\n"
        assert told(capsys, "rollback") == line
        swapped(worker, newer)
        shop.send_events(clicks, ("ada", "i2", BEGIN_MS + 1000))
        shop.wait_served(worker)
        assert [made.model_version for made in shop.lists_of("ada")] == [older, newer]
        assert worker.metrics().total("freshet_model_swaps_total", outcome="refused") == 0
