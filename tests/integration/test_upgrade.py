"""A rolling upgrade and the way back: workers of two versions side by side, over one group's state."""

import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import artifact
from stream.model_store import ModelStore
from stream.simulation import Simulation
from tests.support.checker import check
from tests.support.deployment import Deployment, Sent, event
from tests.support.faults_run import read_topics
from tests.support.kafka_broker import PROJECT, KafkaBroker
from tests.support.worker_process import FRESHET, WorkerProcess

#: What ran before: it has no metric of unknown items and no object stores.
EARLIER = "8ec7132"
NEW_METRIC = "freshet_prequential_unknown_total"
NAMES = ("worker-0", "worker-1")
PARTS = 5
ONE_THREAD = ("--epochs", "1", "--threads", "1")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier version's code, from the history."""
    packed = subprocess.run(
        ["git", "archive", EARLIER, "models", "stream", "pyproject.toml"],
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip(f"the history does not reach back to {EARLIER}: clone it whole")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as content:
        content.extractall(folder, filter="data")
    return folder


def of(version: Path, *arguments: str) -> tuple[str, ...]:
    """The command of a version: the folder it is started in comes before what is installed."""
    return ("env", f"--chdir={version}", *FRESHET, *arguments)


class Upgrade:
    """Two workers with lasting names, each of one version or the other."""

    def __init__(self, deployment: Deployment, earlier: Path, shop: Simulation) -> None:
        """Prepare the events, in equal parts."""
        self.deployment, self.earlier = deployment, earlier
        self.workers: dict[str, WorkerProcess] = {}
        self._records = self._sent(shop)
        self._part = len(shop.events) // PARTS

    def _sent(self, shop: Simulation) -> Iterator[Sent]:
        rows = shop.events.sort("timestamp").select("user_id", "item_id", "timestamp").rows()
        began_ms = time.time_ns() // 1_000_000 - len(rows) - 60_000
        for number, (user, item, time_ms) in enumerate(rows):
            value = event(user, item, time_ms)
            yield Sent(self.deployment.topics.click, user.encode(), value, timestamp_ms=began_ms + number)

    def send(self) -> None:
        """Send the next part."""
        self.deployment.send([next(self._records) for _ in range(self._part)])

    def run(self, name: str, version: Path) -> None:
        """Start a worker of a version under a name, in place of the one that has it."""
        before = self.workers.get(name)
        if before is not None:
            assert before.terminate() == 0
        worker = self.deployment.start(command=of(version, "worker"), group_instance_id=name)
        self.workers[name] = worker.wait_ready()
        assert self.is_new(name) == (version == PROJECT)

    def is_new(self, name: str) -> bool:
        """Whether the worker of a name is of the version at hand, by a metric that the earlier lacks."""
        return NEW_METRIC.encode() in self.workers[name].get("/metrics").body

    def train(self, version: Path) -> str:
        """Train with a version on what the topics hold; returns what it announced."""
        before = set(self.kept())
        ran = subprocess.run(
            of(version, "train", *ONE_THREAD),
            env=self.deployment.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        (made,) = set(self.kept()) - before
        return made

    def kept(self) -> list[str]:
        """The versions of the weights in the store."""
        return ModelStore(self.deployment.settings).versions()

    def served(self) -> None:
        """Return when everything sent is committed."""
        self.deployment.wait_served(*self.workers.values(), within_s=120)


def test_workers_of_two_versions_serve_side_by_side_there_and_back(
    kafka: KafkaBroker, shop: Simulation, earlier: Path, tmp_path: Path
) -> None:
    """Nothing is lost, doubled or contradicted, whichever version wrote a record or made the weights."""
    with Deployment(kafka, tmp_path, processing_guarantee="exactly_once", session_timeout_s=60) as deployment:
        upgrade = Upgrade(deployment.make_topics(), earlier, shop)
        upgrade.send()
        versions = [upgrade.train(earlier)]
        for name in NAMES:
            upgrade.run(name, earlier)
        upgrade.served()
        upgrade.send()
        upgrade.run(NAMES[0], PROJECT)
        upgrade.send()
        versions.append(upgrade.train(PROJECT))
        upgrade.served()
        upgrade.run(NAMES[1], PROJECT)
        upgrade.send()
        upgrade.served()
        upgrade.run(NAMES[0], earlier)
        upgrade.send()
        upgrade.served()
        assert [worker.terminate() for worker in upgrade.workers.values()] == [0, 0]
        store = ModelStore(deployment.settings)
        found = read_topics(deployment)
        recommenders = [artifact.load(store.folder / version) for version in versions]
        now_ms = time.time_ns() // 1_000_000
        report = check(found, recommenders, deployment.settings.rules, now_ms=now_ms)
        assert report.events_in == PARTS * (len(shop.events) // PARTS)
        assert report.faults == 0, str(report)
        assert report.lists_repeated == 0
