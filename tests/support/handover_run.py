"""Two workers under a steady load while weights are made, put in force, taken back and spoilt."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models import artifact
from stream.clock import now_ms
from stream.messages import decode_list, decode_manifest
from stream.model_store import ModelStore
from stream.weights import announce, manifest_of
from tests.support.checker import Report, Topics, check
from tests.support.deployment import Deployment, Sent, partition_of
from tests.support.faults_run import read_topics
from tests.support.kafka_broker import PROJECT, KafkaBroker
from tests.support.paced import Paced
from tests.support.worker_process import WorkerProcess, eventually

SETTINGS = {"retrain_keep": 1000, "retrain_keep_refused": 1000, "retrain_least_users": 20}
ONE_THREAD = ("--threads", "1")
SWAP_S = 3.0  # from the announcement on; by then every worker serves with the new weights
SERVED_LIMIT_S = 120.0
KILLED_WITHIN_S = 120.0
DAMAGED = "-damaged"


class Plan(NamedTuple):
    """How many events stand there before, how many come, and how often weights are made anew."""

    backlog: int
    events_per_s: float
    retrainings: int


@dataclass
class Outcome:
    """What a run came to; times are of records, in ms."""

    report: Report = field(default_factory=Report)
    announced: list[tuple[str, int]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    waits: dict[int, list[int]] = field(default_factory=dict)
    swaps: list[tuple[float, float]] = field(default_factory=list)
    in_force: list[bool] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)

    def p99_ms(self, *, swapping: bool) -> float:
        """The 99th percentile of what events waited for their lists, while weights were swapped or before.

        "Before" is as long a time, up to each announcement: a challenger is made then, on the same cores.
        """
        length_ms = int(SWAP_S * 1000)
        begins = [at_ms - (0 if swapping else length_ms) for _, at_ms in self.announced[1:]]
        found = [
            wait
            for produced_ms, waits in self.waits.items()
            for wait in waits
            if any(begin <= produced_ms < begin + length_ms for begin in begins)
        ]
        return float(np.percentile(found, 99))


class _Run:
    """One run, from the backlog to what stands in the topics."""

    def __init__(self, deployment: Deployment, records: Sequence[Sent], plan: Plan) -> None:
        """Send the backlog and train on it."""
        self.deployment, self.plan = deployment, plan
        self.outcome = Outcome()
        self.store = ModelStore(deployment.settings)
        deployment.make_topics()
        backlog, self.coming = records[: plan.backlog], records[plan.backlog :]
        began_ms = now_ms() - 2 * len(backlog) - 60_000
        deployment.send(one._replace(timestamp_ms=began_ms + at) for at, one in enumerate(backlog))
        self._done("train", "--epochs", "2", *ONE_THREAD)
        self.workers: list[WorkerProcess] = []

    def go(self) -> None:
        """Let everything happen while events come."""
        self.workers = [self.deployment.start().wait_ready() for _ in range(2)]
        self.deployment.wait_served(*self.workers, within_s=SERVED_LIMIT_S)
        sending = Paced(self.coming, self.plan.events_per_s, self.deployment.settings.brokers, partition_of)
        sending.start()
        half = self.plan.retrainings // 2
        for _ in range(half):
            self._retrain()
        self._kill_a_training()
        self._roll_back()
        self._announce_a_damaged_one()
        for _ in range(self.plan.retrainings - half):
            self._retrain()
        self._swapped()
        assert sending.is_alive(), "the events did not suffice"
        sending.end()
        self.deployment.wait_served(*self.workers, within_s=SERVED_LIMIT_S)

    def _done(self, *arguments: str) -> str:
        ran = self.deployment.command(*arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def in_force(self) -> str:
        """The version that was announced last."""
        records = self.deployment.read(self.deployment.topics.models)
        return decode_manifest(records[-1].value or b"").version

    def _retrain(self) -> None:
        """A warm update; what the gate refuses is put in force by a person."""
        report = self.deployment.folder / "retrain.json"
        self._done("retrain", "--once", "--kind", "warm", *ONE_THREAD, "--report", str(report))
        said: dict[str, Any] = json.loads(report.read_text())
        self.outcome.outcomes.append(said["outcome"])
        if said["outcome"] == "refused":
            self._done("models", "promote", said["refused_version"])
        self._swapped()

    def _kill_a_training(self) -> None:
        """Between two of its epochs; what is in force stays, and nothing of it is in the store."""
        before, kept = self.in_force(), self.store.versions()
        killed = subprocess.run(
            [sys.executable, "-m", "tests.support.killed_training", "retrain", "--once", "--kind", "full"],
            cwd=PROJECT,
            env=self.deployment.environment(),
            capture_output=True,
            text=True,
            timeout=KILLED_WITHIN_S,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert self.in_force() == before
        assert self.store.versions() == kept

    def _roll_back(self) -> None:
        self._done("models", "rollback")
        self._swapped()

    def _announce_a_damaged_one(self) -> None:
        """As whoever can write to the topic might; the workers refuse it and go on."""
        before = self.in_force()
        damaged = before + DAMAGED
        folder = self.store.folder / damaged
        shutil.copytree(self.store.folder / before, folder)
        weights = folder / artifact.WEIGHTS
        content = weights.read_bytes()
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        manifest = manifest_of(
            folder, self.store.manifest(damaged), url=f"{self.store.name}/{damaged}", announced_at_ms=now_ms()
        )
        asyncio.run(announce(self.deployment.settings, msgspec.structs.replace(manifest, version=damaged)))
        eventually(
            lambda: all(_swaps(worker, "refused") == 1 for worker in self.workers), "both have refused it"
        )
        shutil.rmtree(folder)
        # The next retraining goes on from what is in force, which has to be announced for that.
        self._done("models", "promote", before)

    def _swapped(self) -> None:
        """Return when both workers serve with what is in force, and some lists were made with it."""
        version = self.in_force()
        for worker in self.workers:
            eventually(
                lambda: worker.metrics().total("freshet_model_info", version=version) == 1,  # noqa: B023
                f"{worker.name} serves with {version}",
            )
        time.sleep(SWAP_S)  # the load goes on for as long as is looked at

    def found(self) -> Outcome:
        """Read what the run left behind."""
        outcome = self.outcome
        version = self.in_force()
        outcome.in_force = [
            worker.metrics().total("freshet_model_info", version=version) == 1 for worker in self.workers
        ]
        outcome.swaps = [(_swaps(worker, "swapped"), _swaps(worker, "refused")) for worker in self.workers]
        assert [worker.terminate() for worker in self.workers] == [0, 0]
        topics = read_topics(self.deployment)
        outcome.announced = [
            (version, record.timestamp_ms)
            for record in self.deployment.read(self.deployment.topics.models)
            if not (version := decode_manifest(record.value or b"").version).endswith(DAMAGED)
        ]
        outcome.waits, outcome.served = _waits(topics)
        versions = dict.fromkeys(version for version, _ in outcome.announced)
        recommenders = [artifact.load(self.store.folder / version) for version in versions]
        outcome.report = check(topics, recommenders, self.deployment.settings.rules, now_ms=now_ms())
        return outcome


def _swaps(worker: WorkerProcess, outcome: str) -> float:
    return worker.metrics().total("freshet_model_swaps_total", outcome=outcome)


def _waits(topics: Topics) -> tuple[dict[int, list[int]], dict[str, int]]:
    """What each event waited for its list, by its production time, and how many lists each version made."""
    produced = {came.place: came.timestamp for came in topics.events}
    waits: dict[int, list[int]] = {}
    served: dict[str, int] = {}
    for came in topics.lists:
        said = decode_list(came.value or b"")
        produced_ms = produced[said.event.topic, said.event.partition, said.event.offset]
        waits.setdefault(produced_ms, []).append(came.timestamp - produced_ms)
        served[said.model_version] = served.get(said.model_version, 0) + 1
    return waits, served


def run(kafka: KafkaBroker, folder: Path, events: Iterable[Sent], plan: Plan, **settings: Any) -> Outcome:
    """Let weights change hands ``plan.retrainings`` times and more; ``events`` are of one topic, in order."""
    with Deployment(kafka, folder, **SETTINGS | settings) as deployment:
        records = [one._replace(topic=deployment.topics.click) for one in events]
        happening = _Run(deployment, records, plan)
        happening.go()
        return happening.found()


def verify(outcome: Outcome, plan: Plan) -> None:
    """Every event has its list, of one version each, and both workers took and refused what they should."""
    assert outcome.report.faults == 0, str(outcome.report)
    assert outcome.report.lists_repeated == 0
    # The first weights, each retraining's, what it was rolled back to, and that again after the damaged one.
    assert len(outcome.announced) == plan.retrainings + 3
    changes = 1 + plan.retrainings + 1
    assert outcome.swaps == [(changes, 1.0)] * 2
    assert outcome.in_force == [True, True]
    assert set(outcome.served) >= {version for version, _ in outcome.announced[1:]}
