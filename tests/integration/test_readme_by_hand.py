"""The command lines of README's section on one's own Kafka, and of some guides, typed on a real broker."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from models import artifact
from stream import signature
from stream.datasets import read_events
from stream.errors import ArtifactRefused
from stream.settings import Settings
from tests.support.deployment import Deployment, Sent
from tests.support.documented import KEYS, OWN_KAFKA, run_by
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.shell import UNTIL_INTERRUPTED, Shell, Typist

#: Six hours of the file, so that the replay's hours pass in seconds.
FIRST_MS, LAST_MS = 1_511_665_200_000, 1_511_686_800_000
READY = "ready: http"


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


class Reader(Typist):
    """Types what the README says, with this deployment's names where it has its own."""

    def __init__(self, deployment: Deployment, shell: Shell, user: str) -> None:
        """Take whom the page calls USER."""
        self.deployment = deployment
        names = {
            "localhost:9092": deployment.kafka.bootstrap,
            "/opt/kafka": str(deployment.kafka.home),
            "localhost:6066": f"localhost:{deployment.settings.http_port}",
            "6067": str(free_port()),
            " recommendations ": f" {deployment.topics.recommendations} ",
            "USER": user,
            "java -cp": f"{UNTIL_INTERRUPTED}java -cp",
        }
        super().__init__(shell, names)


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


def test_own_kafka_as_the_readme_says(reader: Reader, tmp_path: Path):
    """Topics, a model, two workers, events and lists; the guides on erasure, letters and weights."""
    job, reading, paths, models, erasing, looking, redriving, back = (
        block.commands for block in run_by(OWN_KAFKA)
    )
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
    of_user, *_, metrics = reader.type_all(paths)
    assert '"items":[{' in of_user.output or "this worker holds no list for the user" in of_user.output
    assert "freshet_events_total{" in metrics.output

    reader.type("freshet train UserBehavior.csv --epochs 1")  # a roll-back needs something to go back to
    listed = reader.type("freshet models list --json").output
    newest, oldest = re.findall(r'"version": ?"([^"]+)"', listed)
    reader.names["VERSION"] = oldest
    *_, rolled_back = reader.type_all(models)
    assert f"announced {newest} " in rolled_back.output
    assert "earlier" in listed
    *_, rolled_back = reader.type_all(back)
    assert f"announced {oldest} " in rolled_back.output

    reader.deployment.send([Sent(reader.deployment.topics.click, b"ada", b"{")])
    reader.deployment.wait_served()
    assert all("not-json" in said.output for said in reader.type_all(looking))
    passed_over, again = reader.type_all(redriving)
    assert "passed over, refused for something else: 1 (1 not-json)" in passed_over.output
    assert "sent again: 1 (1 not-json)" in again.output
    (erased,) = reader.type_all(erasing)
    assert "erased" in erased.output
    assert '"erased_at_ms"' in (tmp_path / "receipt.json").read_text()


def test_keys_that_the_readme_makes_sign(tmp_path: Path):
    """What openssl makes by the README's lines is what training signs with and a worker checks by."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: install Debian's package openssl")
    (block,) = run_by(KEYS)
    with Shell(tmp_path, os.environ) as shell:
        Typist(shell, {}).type_all(block.commands)
    settings = Settings.load(
        model_private_keyfile=tmp_path / "freshet.key", model_public_keyfile=tmp_path / "freshet.pub"
    )
    (tmp_path / artifact.MANIFEST).write_bytes(b"{}")
    signature.sign(settings, tmp_path)
    signature.check(settings, tmp_path, b"{}")
    with pytest.raises(ArtifactRefused, match="not as it was signed"):
        signature.check(settings, tmp_path, b"{ }")
