"""Fixtures that every group of tests shares: the data, the two brokers, and the count of broker tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.embedded import EmbeddedBroker
from tests.support.kafka_broker import PROJECT, KafkaBroker, kafka_home, why_absent
from tests.support.kafka_cluster import KafkaCluster
from tests.support.proxied_broker import ProxiedBroker
from tests.support.secured_broker import SecuredBroker

# Set before torch is imported, and inherited by the workers that tests start: results and times
# should not depend on how many cores the machine has.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data sets; tests that need it are skipped where it is absent."""
    shared = Path(os.environ.get("FRESHET_SHARED", PROJECT.parent / "shared"))
    data = shared / "data"
    if not data.is_dir():
        pytest.skip("no published data: set FRESHET_SHARED to a folder with data/")
    return data


def kafka_or_skip() -> Path:
    """Where Kafka's jars are; a test that asks is skipped where they, or Java, are absent."""
    reason, home = why_absent(), kafka_home()
    if reason is not None or home is None:
        pytest.skip(reason or "no real broker")
    return home


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Apache Kafka broker that all tests of the session share; use topic names of your own."""
    with KafkaBroker(kafka_or_skip(), tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A real broker with TLS, logins and an authorizer, which all tests of the session share."""
    with SecuredBroker(kafka_or_skip(), tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three real brokers for one test, which may do with them what it likes."""
    with KafkaCluster(kafka_or_skip(), tmp_path_factory.mktemp("cluster")) as brokers:
        yield brokers


@pytest.fixture
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedBroker]:
    """A real broker for one test with a second way in, which can be made slow."""
    with ProxiedBroker(kafka_or_skip(), tmp_path_factory.mktemp("proxied")) as broker:
        yield broker


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    """The broker of `freshet demo`, empty: create the topics of the test on it."""
    with EmbeddedBroker({}) as broker:
        yield broker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the real broker, so that `-m kafka` chooses them."""
    for item in items:
        if {"kafka", "cluster", "secured", "proxied"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker("kafka")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests met a real broker, so that a run without one cannot pass for one with it.

    An error of a test's set-up or tear-down counts as a failure.
    """
    ended = {
        outcome: {
            report.nodeid
            for report in terminalreporter.stats.get(outcome, ())
            if "kafka" in getattr(report, "keywords", ())
        }
        for outcome in ("passed", "failed", "error", "skipped")
    }
    failed = ended["failed"] | ended["error"]
    terminalreporter.write_line(
        f"real-broker tests: {len(ended['passed'] | failed)} ran ({len(failed)} failed),"
        f" {len(ended['skipped'])} skipped"
    )
