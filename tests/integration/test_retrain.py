"""`freshet retrain` over the embedded broker: by hand, as a scheduler and as a process would."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from stream import clients
from stream.cli.main import run
from stream.delivery import Delivery, delivery_producer
from stream.embedded import EmbeddedBroker
from stream.history import HistoryReader
from stream.models_topic import announced
from stream.ordering import in_time_order
from stream.settings import Settings
from stream.topics import topic_specs
from stream.turn import Turn
from tests.support.kafka_broker import PROJECT, KafkaBroker
from tests.support.retrain_process import BEGIN_MS, circling, trained

LIMIT_S = 120
POLL_S = 0.05


@pytest.fixture
def settings(embedded: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a shop whose topics exist, in the environment too."""
    for name in list(os.environ):
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FRESHET_BROKERS", embedded.bootstrap)
    monkeypatch.setenv("FRESHET_MODEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FRESHET_PARTITIONS", "2")
    monkeypatch.setenv("FRESHET_HTTP_PORT", "0")
    settings = Settings.load()
    embedded.create_topics({spec.name: spec.partitions for spec in topic_specs(settings)})
    return settings


async def deliver(settings: Settings, events: pl.DataFrame) -> None:
    """Send events as a replay does."""
    async with clients.running(delivery_producer(settings), settings) as producer:
        delivery = Delivery(producer, settings.topics.events, partitions=settings.partitions)
        await delivery.send(next(iter(in_time_order([events]))))


def in_force(settings: Settings) -> str:
    """The version that is announced."""
    manifest = asyncio.run(announced(settings))
    assert manifest is not None
    return manifest.version


def test_a_run_reads_compares_announces_and_is_rolled_back(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A light refresh is announced, then a challenger is judged; there is no network before the first."""
    first = trained(settings)
    asyncio.run(deliver(settings, pl.concat([circling(), circling(BEGIN_MS + 100_000, step=5)])))
    report = tmp_path / "report.json"
    assert run(["retrain", "--once", "--kind", "light", "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert (figures["outcome"], figures["kind"], figures["champion_version"]) == ("promoted", "light", first)
    assert in_force(settings) == figures["version"] != first
    assert run(["retrain", "--rollback"]) == 1
    assert "there is no model to go back to" in capsys.readouterr().err
    assert in_force(settings) == figures["version"]
    assert run(["retrain", "--once", "--kind", "light"]) == 0
    assert "no_data (light): nothing came since" in capsys.readouterr().out
    few = ["--set", "retrain_least_users=10", "--threads", "1"]
    assert run(["retrain", "--once", "--report", str(report), *few]) == 0
    figures = json.loads(report.read_text())
    assert figures["kind"] == "warm"
    assert figures["gate"]["targets"] == 120
    measured = {"mrr", "hit_rate", "coverage", "unseen_share", "list_s"}
    assert set(figures["gate"]["champion"]) == measured
    assert figures["outcome"] == ("promoted" if figures["gate"]["gain_low"] > 0 else "refused")
    assert (figures["refused_version"] is None) == (figures["outcome"] == "promoted")
    if figures["outcome"] == "promoted":
        assert run(["retrain", "--rollback"]) == 0
        assert in_force(settings) != figures["version"]


def test_reading_goes_on_where_it_stopped_and_keeps_the_newest(settings: Settings) -> None:
    """240 events, then 240 more; of more than 100 the oldest are let go, and so is what is too old."""
    later = circling(BEGIN_MS + 100_000)

    async def both() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        everything = HistoryReader(settings)
        newest = HistoryReader(settings, max_events=120)
        near = HistoryReader(settings, horizon_ms=3000)
        await deliver(settings, circling())
        assert (await everything.read()).events.height == 240
        assert (await newest.read()).events.height == 120
        await deliver(settings, later)
        return (
            (await everything.read()).events,
            (await newest.read()).events,
            (await near.read()).events,
        )

    everything, newest, near = asyncio.run(both())
    assert everything.height == 480
    assert newest["timestamp"].min() == BEGIN_MS + 104_000
    assert newest.height == near.height == 120
    assert near["timestamp"].min() == BEGIN_MS + 104_000


@contextmanager
def retraining(*options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a retraining process, which must end in good order at TERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stream.cli.main", "retrain", *options],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_process_runs_on_and_shows_its_metrics(settings: Settings) -> None:
    """It takes its turn, runs, counts, and ends at TERM."""
    first = trained(settings)
    asyncio.run(deliver(settings, circling(BEGIN_MS + 100_000)))
    with retraining("--set", "retrain_light_interval_s=1") as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("ready: ").strip()
        deadline_s = time.monotonic() + LIMIT_S
        while in_force(settings) == first:
            assert time.monotonic() < deadline_s
        with urllib.request.urlopen(f"{url}/metrics", timeout=20) as response:
            shown = response.read().decode()
        assert 'freshet_retrain_runs_total{outcome="failed"} 0.0' in shown
        assert "freshet_events_total" not in shown


def test_a_process_trains_at_once_and_not_an_interval_later(settings: Settings) -> None:
    """The group takes a moment to give it the turn; the first training waits for that, and for no more."""
    asyncio.run(deliver(settings, circling()))
    with retraining("--epochs", "1", "--threads", "1", "--set", "retrain_light_interval_s=0") as process:
        deadline_s = time.monotonic() + LIMIT_S
        while asyncio.run(announced(settings)) is None:
            assert time.monotonic() < deadline_s
            assert process.poll() is None


async def test_of_two_processes_one_has_the_turn_until_it_leaves(kafka: KafkaBroker) -> None:
    """The group gives the one partition to one of them; when that one leaves, the other gets it."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    settings = Settings.load(brokers=kafka.bootstrap, topic_prefix=prefix, group_id=f"{prefix}group")
    kafka.create_topics({settings.topics.models: 1})
    async with asyncio.timeout(LIMIT_S), Turn(settings) as one:
        await until(one.mine)
        async with Turn(settings) as other:
            await until(lambda: bool(other.rounds) and one.rounds > 1)
            assert one.mine() != other.mine()
        await until(one.mine)


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again, which is all that can be done about another's clock."""
    while not holds():  # noqa: ASYNC110 - the group tells its members, and no event of ours
        await asyncio.sleep(POLL_S)
