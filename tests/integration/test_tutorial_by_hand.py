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
from tests.support.documents import missing, samples
from tests.support.kafka_broker import PROJECT, free_port, kafka_home, why_absent
from tests.support.shell import Said, Shell, Typist
from tests.support.worker_process import eventually, read_metrics

PAGE = PROJECT / "docs" / "tutorial.md"
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
    }
    with Shell(tmp_path, inherited | ours) as shell:
        yield Typist(shell, names)


class Reader:
    """Goes through the tutorial block by block, and compares what is printed with what the page says."""

    def __init__(self, typist: Typist) -> None:
        """Begin with the first."""
        self._typist = typist
        self._blocks = iter(run_by(TUTORIAL))
        self._text = ""
        self.compared: set[str] = set()

    def next_block(self) -> list[str]:
        """Turn to the next block: its commands, none behind the last."""
        block = next(self._blocks, None)
        self._text = "" if block is None else block.text
        return [] if block is None else block.commands

    def type_block(self, *, until: str = "") -> list[Said]:
        """Type the next block, wait until ``until`` was said, and compare."""
        begun = len(self._typist.shell.output())
        said = self._typist.type_all(self.next_block())
        self._typist.shell.wait_said(until)
        self.compare(self._typist.shell.output()[begun:])
        return said

    def compare(self, output: str) -> None:
        """What the page says that the block prints must be there."""
        sample = samples(PAGE).get(self._text)
        if sample is not None:
            assert missing(sample, output) == []
            self.compared.add(self._text)


@pytest.mark.kafka
def test_tutorial_from_its_first_line_to_its_last(typist: Typist, tmp_path: Path):
    """A broker, the shop's past, lists, an event that changes one, an item that leaves it, new weights."""
    reader = Reader(typist)
    reader.type_block()
    *_, topics = reader.type_block()
    assert "users.forget" in topics.output
    *_, head = reader.type_block()
    assert f"```text\n{head.output}```\n" in PAGE.read_text()
    reader.type_block()
    reader.type_block(until=READY)

    replay, recommend = reader.next_block()
    sent = typist.type(replay)
    port = typist.names["localhost:6066"]

    def served() -> bool:
        with urlopen(f"http://{port}/metrics", timeout=10) as answer:
            return read_metrics(answer.read().decode()).total("freshet_events_total") == TODAY

    eventually(served, "every event of today is read")
    before = typist.type(recommend)
    reader.compare(sent.output + before.output)
    by_worker, by_consumer = reader.type_block()
    assert '"kind":"personalized"' in by_worker.output
    assert len(re.findall(r"^u\d{5}: i\d{5} ", by_consumer.output, re.MULTILINE)) >= 5
    _, after = reader.type_block()
    assert ITEM.findall(after.output) != ITEM.findall(before.output) != []
    best, *_, without = reader.type_block()
    best = typist.type("echo $best").output.split()[-1]
    assert best in ITEM.findall(after.output)
    assert best not in ITEM.findall(without.output)
    reader.type_block()
    reader.type_block()
    (tried,) = reader.type_block()
    assert "trained on 3,000 events" in tried.output
    reader.type_block()
    assert reader.next_block() == []
    assert reader.compared == {text for text in samples(PAGE) if not text.startswith("make demo")}
    assert not (tmp_path / "freshet-data").exists()
