"""Weights by way of an object store: trained, served, chosen and erased from, on the real broker."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import artifact
from stream.exclusion import LIST
from stream.model_files import model_files
from stream.model_store import ModelStore
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.object_store import ObjectStore
from tests.support.retrain_process import BEGIN_MS, circling
from tests.support.worker_process import WorkerProcess, eventually

QUICK = ("--epochs", "1", "--threads", "1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A store that speaks S3; who finds it away gives up at once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with ObjectStore() as answering:
        yield answering


@pytest.fixture
def site(kafka: KafkaBroker, server: ObjectStore, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose models are in a bucket, with topics and events."""
    with Deployment(kafka, tmp_path, model_store=f"{server.bucket()}/shop") as made:
        made.make_topics()
        made.send_events(made.topics.click, *circling().select("user_id", "item_id", "timestamp").iter_rows())
        yield made


def done(ran: "subprocess.CompletedProcess[str]") -> str:
    """Return what a command printed, which must have ended well."""
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def serves(worker: WorkerProcess, version: str) -> None:
    """Return once the worker serves with a version."""
    eventually(
        lambda: worker.metrics().total("freshet_model_info", version=version) == 1, f"{version} is in force"
    )


def swaps(worker: WorkerProcess, outcome: str) -> float:
    """Return how many announcements ended so."""
    return worker.metrics().total("freshet_model_swaps_total", outcome=outcome)


def test_weights_travel_through_a_bucket(site: Deployment) -> None:
    """No process has an artifact on its disk; a damaged one is refused as from a folder."""
    report = site.folder / "train.json"
    done(site.command("train", *QUICK, "--report", str(report)))
    first = json.loads(report.read_text())["version"]
    assert json.loads(report.read_text())["artifact"].startswith("s3://")
    worker = site.start().wait_ready()
    serves(worker, first)

    done(site.command("train", *QUICK, "--seed", "2"))
    listed = json.loads(done(site.command("models", "list", "--json")))
    assert [one["role"] for one in listed] == ["in force", "earlier"]
    second = listed[0]["version"]
    serves(worker, second)
    site.send_events(site.topics.click, ("ada", "i1", BEGIN_MS), ("ada", "i2", BEGIN_MS + 1))
    site.wait_served(worker)
    assert {made.model_version for made in site.last_lists().values()} == {first, second}

    done(site.command("models", "rollback"))
    serves(worker, first)
    weights = ModelStore(site.settings).folder / second / artifact.WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused = site.command("models", "promote", second)
    assert refused.returncode == 1
    assert f"{weights} is damaged" in refused.stderr
    assert "Traceback" not in refused.stderr

    assert (swaps(worker, "swapped"), swaps(worker, "refused")) == (3, 0)
    done(site.command("forget", "ada"))
    assert len(json.loads((model_files(site.settings) / LIST).read_bytes())) == 1
    assert not list(site.folder.rglob("*.safetensors"))


def test_a_store_that_is_away_is_one_line_and_weights_come_when_it_is_back(
    site: Deployment, server: ObjectStore
) -> None:
    """The worker serves without them, counts what it could not fetch, and asks again."""
    report = site.folder / "train.json"
    done(site.command("train", *QUICK, "--report", str(report)))
    version = json.loads(report.read_text())["version"]
    with server.away():
        worker = site.start().wait_ready()
        eventually(lambda: swaps(worker, "refused") >= 1, "it is refused")
        listed = site.command("models", "list")
        assert listed.returncode == 1
        assert listed.stderr.startswith("freshet: the model store s3://")
        assert listed.stderr.count("\n") == 1
        site.send_events(site.topics.click, ("ada", "i1", BEGIN_MS))
        site.wait_served(worker)
        assert worker.metrics().total("freshet_model_info", version=version) == 0
    serves(worker, version)
    assert swaps(worker, "swapped") == 1
