"""The tutorial, typed from its first line to its last, with the broker that it starts itself."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.documented import TUTORIAL, run_by
from tests.support.kafka_broker import PROJECT, free_port, kafka_home, why_absent
from tests.support.shell import Shell, Typist
from tests.support.worker_process import eventually, read_metrics

PROPERTIES = "docs/tutorial/kafka.properties"
READY = "ready: http"
#: The events of today.csv.
TODAY = 600
#: A list as `freshet recommend` prints it: item after item.
ITEM = re.compile(r"\bi\d{5}\b")


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    """Somebody in a clone, with ports that are free."""
    reason = why_absent()
    if reason is not None:
        pytest.skip(reason)
    missing = [tool for tool in ("curl", "xzcat") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not on the path: {', '.join(missing)}")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for folder in ("docs/clients", "docs/tutorial", "ops/docker"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    kafka, http = free_port(), free_port()
    properties = (PROJECT / PROPERTIES).read_text().replace("9092", str(kafka))
    (tmp_path / PROPERTIES).write_text(properties.replace("9093", str(free_port())))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
    ours = {
        "FRESHET_BROKERS": f"localhost:{kafka}",
        "FRESHET_HTTP_PORT": str(http),
        "KAFKA_HOME": str(kafka_home()),
        "JAVA_TOOL_OPTIONS": "-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=4",
    }
    names = {
        "localhost:9092": f"localhost:{kafka}",
        "localhost:6066": f"localhost:{http}",
        "popularity,item-cf,gru,blend": "popularity,item-cf",
    }
    with Shell(tmp_path, inherited | ours) as shell:
        yield Typist(shell, names)


@pytest.mark.kafka
def test_tutorial_from_its_first_line_to_its_last(typist: Typist, tmp_path: Path):
    """A broker, the shop's past, lists, an event that changes one, an item that leaves it, new weights."""
    blocks = [block.commands for block in run_by(TUTORIAL)]
    enter, broker, past, evaluating, serving, replaying, reading, acting, taking_out, worth, fresh = blocks[
        :11
    ]
    trying, ending = blocks[11:]
    version, *_ = typist.type_all(enter)[1:]
    assert version.output.startswith("freshet ")
    *_, topics = typist.type_all(broker)
    assert "users.forget" in topics.output
    *_, head = typist.type_all(past)
    assert f"```text\n{head.output}```\n" in (PROJECT / "docs" / "tutorial.md").read_text()
    *_, table = typist.type_all(evaluating)
    assert "item-cf" in table.output
    typist.type_all(serving)
    typist.shell.wait_said(READY)

    typist.type(replaying[0])
    port = typist.names["localhost:6066"]

    def served() -> bool:
        with urlopen(f"http://{port}/metrics", timeout=10) as answer:
            return read_metrics(answer.read().decode()).total("freshet_events_total") == TODAY

    eventually(served, "every event of today is read")
    before = typist.type(replaying[1])
    by_worker, by_consumer = typist.type_all(reading)
    assert '"kind":"personalized"' in by_worker.output
    assert len(re.findall(r"^u\d{5}: i\d{5} ", by_consumer.output, re.MULTILINE)) >= 5
    _, after = typist.type_all(acting)
    assert ITEM.findall(after.output) != ITEM.findall(before.output) != []
    best, *_, without = typist.type_all(taking_out)
    best = typist.type("echo $best").output.split()[-1]
    assert best in ITEM.findall(after.output)
    assert best not in ITEM.findall(without.output)
    (figures,) = typist.type_all(worth)
    assert "freshet_prequential_events_total" in figures.output
    light, models = typist.type_all(fresh)
    assert "light" in light.output
    assert "in force" in models.output
    (tried,) = typist.type_all(trying)
    assert "trained on 3,000 events" in tried.output
    typist.type_all(ending)
    assert not (tmp_path / "freshet-data").exists()
