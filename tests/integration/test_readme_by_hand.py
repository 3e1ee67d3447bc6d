"""The command lines of README's section on one's own Kafka, typed one after the other on a real broker."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from stream.datasets import read_events
from stream.settings import Settings
from tests.support.deployment import Deployment
from tests.support.kafka_broker import PROJECT, KafkaBroker, free_port
from tests.support.shell import Said, Shell

#: Six hours of the file, so that the replay's hours pass in seconds.
FIRST_MS, LAST_MS = 1_511_665_200_000, 1_511_686_800_000
FENCED = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY = "ready: http"
#: Kafka's own consumer reads on for ever.
UNTIL_INTERRUPTED = "timeout -s INT 12 "
INTERRUPTED = 124


def blocks() -> list[list[str]]:
    """Return the lines of the section's blocks, continued ones joined, without their comments."""
    text = (PROJECT / "README.md").read_text()
    found = re.search(r"^## On your own Kafka\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    joined = (block.replace("\\\n", " ") for block in FENCED.findall(found[1]))
    return [[re.sub(r"\s+#.*", "", line) for line in block.splitlines()] for block in joined]


@pytest.fixture
def file(shared_data: Path, tmp_path: Path) -> Path:
    """Some hours of Taobao's file, under the name that the README gives it."""
    events = pl.concat(list(read_events(shared_data / "taobao_userbehavior_100k.csv.xz")))
    hours = events.filter(pl.col("timestamp").is_between(FIRST_MS, LAST_MS))
    words = pl.col("behavior").replace_strict({0: "pv", 1: "fav", 2: "cart", 3: "buy"})
    path = tmp_path / "UserBehavior.csv"
    columns = ("user_id", "item_id", "category_id", words, pl.col("timestamp") // 1000)
    hours.select(*columns).write_csv(path, include_header=False)
    return path


class Reader:
    """Types what the README says, with this deployment's names where it has its own."""

    def __init__(self, deployment: Deployment, shell: Shell, user: str) -> None:
        """Take whom the page calls USER."""
        self.shell = shell
        self.deployment = deployment
        self.names = {
            "localhost:9092": deployment.kafka.bootstrap,
            "/opt/kafka": str(deployment.kafka.home),
            "localhost:6066": f"localhost:{deployment.settings.http_port}",
            "6067": str(free_port()),
            " recommendations ": f" {deployment.topics.recommendations} ",
            "USER": user,
            "java -cp": f"{UNTIL_INTERRUPTED}java -cp",
        }

    def type(self, line: str) -> Said:
        """Run a line; it must end as it should."""
        for ours, theirs in self.names.items():
            line = line.replace(ours, theirs)
        said = self.shell.run(line)
        assert said.status == (INTERRUPTED if UNTIL_INTERRUPTED in line else 0), f"{line}\n{said.output}"
        return said


@pytest.fixture
def reader(kafka: KafkaBroker, file: Path, tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the README, a broker, the file, and the project's environment as ``.venv``."""
    if shutil.which("kcat") is None:
        pytest.skip("no kcat: install Debian's package kcat")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    with Deployment(
        kafka, tmp_path, http_port=free_port(), partitions=Settings.load().partitions
    ) as deployment:
        names = {
            "FRESHET_TOPIC_PREFIX": deployment.settings.topic_prefix,
            "FRESHET_GROUP_ID": deployment.settings.group_id,
            "FRESHET_HTTP_PORT": str(deployment.settings.http_port),
        }
        with Shell(tmp_path, inherited | names) as shell:
            user, *_ = file.read_text().splitlines()[-1].split(",")
            yield Reader(deployment, shell, user)


def test_own_kafka_as_the_readme_says(reader: Reader):
    """Topics, a model, two workers, events and lists; reading them; the worker's paths; the models."""
    job, reading, paths, models = blocks()
    workers = 0
    for line in job:
        reader.type(line)
        if line.endswith("&"):
            workers += 1
            reader.shell.wait_said(READY, times=workers)
        if line.startswith("freshet replay"):
            reader.deployment.wait_served()
    for line in reading:
        said = reader.type(line)
        assert "export" in line or said.output.count('"items":[{') > 1000, line
    of_user, *_, metrics = [reader.type(line).output for line in paths]
    assert '"items":[{' in of_user or "this worker holds no list for the user" in of_user
    assert "freshet_events_total{" in metrics

    reader.type("freshet train UserBehavior.csv --epochs 1")  # a roll-back needs something to go back to
    listed = reader.type("freshet models list --json").output
    reader.names["VERSION"] = re.findall(r'"version": ?"([^"]+)"', listed)[-1]
    for line in models:
        reader.type(line)
    assert "earlier" in listed
