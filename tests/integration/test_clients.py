"""The examples of docs/clients: every command of the page, run against a worker on the real broker."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, partition_of
from tests.support.kafka_broker import PROJECT, KafkaBroker
from tests.support.worker_process import WorkerProcess

PAGE = PROJECT / "docs" / "clients" / "README.md"
LIMIT_S = 120
LANGUAGES = ("Python", "Java", "kcat")


def commands(language: str) -> list[str]:
    """Return the lines of the block under a language's heading: the sender, then the reader."""
    found = re.search(rf"^## {language}\n.*?^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def why_not(language: str) -> str | None:
    """Return why a language's examples cannot run here, or None."""
    if language == "kcat" and shutil.which("kcat") is None:
        return "no kcat: install Debian's package kcat"
    if (
        language == "Java"
        and b"jdk.compiler@"
        not in subprocess.run(["java", "--list-modules"], capture_output=True, check=True).stdout
    ):
        return "this java cannot run a source file: install a JDK, such as Debian's default-jdk-headless"
    return None


@pytest.fixture(scope="module")
def deployment(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics for lists that need no model."""
    with Deployment(kafka, tmp_path_factory.mktemp("clients"), lists="recent") as made:
        yield made.make_topics()


@pytest.fixture(scope="module")
def worker(deployment: Deployment) -> WorkerProcess:
    """A running worker."""
    return deployment.start().wait_ready()


def run(deployment: Deployment, line: str, **named: str) -> str:
    """Run a line of the page with this deployment's broker and names in it; return what it prints."""
    changed = {
        "localhost:9092": deployment.kafka.bootstrap,
        "events.click": deployment.topics.click,
        "recommendations": deployment.topics.recommendations,
        **named,
    }
    for theirs, ours in changed.items():
        line = re.sub(rf"(?<![\w.-]){re.escape(theirs)}(?![\w.-])", ours, line)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=PROJECT,
        env=os.environ | {"KAFKA_HOME": str(deployment.kafka.home), "PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("language", LANGUAGES)
def test_event_that_is_sent_comes_back_as_a_list(
    deployment: Deployment, worker: WorkerProcess, language: str
):
    """The event reaches its user's partition, and the reader prints the list that answers it."""
    reason = why_not(language)
    if reason is not None:
        pytest.skip(reason)
    user = f"{language.lower()}-user"
    send, read = commands(language)
    run(deployment, send, ada=user)
    deployment.wait_served(worker)
    sent = [record for record in deployment.read(deployment.topics.click) if record.key == user.encode()]
    assert [record.partition for record in sent] == [partition_of(user.encode())]
    lists = str(len(deployment.lists()))
    printed = run(deployment, read, **{"my-shop": f"{deployment.settings.group_id}.{language}", "1": lists})
    (answer,) = (line for line in printed.splitlines() if line.startswith(user))
    assert "lamp-7" in answer


def test_page_names_every_language():
    """No example is on the page that is not run."""
    assert tuple(re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)) == LANGUAGES
    assert len(re.findall(r"^```$", PAGE.read_text(), re.MULTILINE)) == 2 * len(LANGUAGES)
