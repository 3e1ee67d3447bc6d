"""`freshet forget`: what is erased and what the receipt says of it, seen by another client than ours."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from models.fitting import Fitted
from stream.history import read_history
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.state import decode_state
from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess

AT_MS = 1_511_544_070_123
WANTS_OUT, STAYS = "wants-out", "stays"


@pytest.fixture
def deployment(kafka: KafkaBroker, fitted: Fitted, tmp_path) -> Iterator[Deployment]:
    """Topics and an announced model."""
    with Deployment(kafka, tmp_path) as made:
        made.make_topics()
        asyncio.run(announce_fitted(made.settings, fitted))
        yield made


def forget(deployment: Deployment, *arguments: str, status: int = 0) -> tuple[dict, str]:
    """Erase a user; returns the receipt, and what was printed."""
    report = deployment.folder / "receipt.json"
    done = deployment.command("forget", *arguments, "--report", str(report))
    assert done.returncode == status, done.stderr
    return json.loads(report.read_text()), done.stdout if status == 0 else done.stderr


def click(deployment: Deployment, worker: WorkerProcess, *events: tuple[str, str, int]) -> None:
    """Send clicks (user, item, event time) and wait until they are served."""
    deployment.send_events(deployment.topics.click, *events)
    deployment.wait_served(worker)


def test_receipt_says_what_was_erased(deployment: Deployment, shop: Simulation):
    """Each tombstone where it says, the only newest record of the user; who is unknown has none."""
    items, topics = shop.items["item_id"].to_list(), deployment.topics
    worker = deployment.start().wait_ready()
    click(deployment, worker, *((user, items[n], AT_MS + n) for user in (WANTS_OUT, STAYS) for n in range(3)))
    began_ms = time.time_ns() // 1_000_000
    receipt, printed = forget(deployment, WANTS_OUT)
    assert began_ms <= receipt["requested_at_ms"] <= receipt["erased_at_ms"]
    assert receipt["unanswered_partitions"] == []
    erased = {one["what"]: one for one in receipt["erased"]}
    assert {what: one["topic"] for what, one in erased.items()} == {
        "state": topics.changelog,
        "list": topics.recommendations,
    }
    for one in erased.values():
        newest = {record.key: record for record in deployment.read(one["topic"])}
        found = newest[WANTS_OUT.encode()]
        assert (found.value, found.partition, found.offset) == (None, one["partition"], one["offset"])
        assert newest[STAYS.encode()].value is not None
        assert f"{one['what']} ({one['topic']} {one['partition']}, offset {one['offset']})" in printed
    requests = {(one.partition, one.offset) for one in deployment.read(topics.forget)}
    assert {(one["partition"], one["offset"]) for one in receipt["requests"]} == requests
    kept = {one["topic"]: one["until_ms"] for one in receipt["kept"]}
    assert kept[topics.click] > receipt["requested_at_ms"]
    assert kept[topics.changelog] is None
    assert len(receipt["exclusion_hash"]) == 32
    assert worker.list_of(WANTS_OUT).status == 404

    _late_events_stay_out(deployment, worker, items)
    _trainings_leave_them_out(deployment)
    receipt, printed = forget(deployment, "nobody")
    assert (receipt["erased"], receipt["erased_at_ms"]) == ([], None)
    assert "held nothing of this user" in printed


def _late_events_stay_out(deployment: Deployment, worker: WorkerProcess, items: list[str]) -> None:
    """What happened before the request and comes later is late, after a new start too; then all goes on."""
    click(deployment, worker, (WANTS_OUT, items[5], AT_MS + 5))
    assert WANTS_OUT.encode() not in deployment.records()
    assert worker.metrics().total("freshet_events_total", outcome="late") == 1
    worker.terminate()
    again = deployment.start().wait_ready()
    click(deployment, again, (WANTS_OUT, items[6], AT_MS + 6), (STAYS, items[6], AT_MS + 6))
    assert again.metrics().total("freshet_events_total", outcome="late") == 1
    click(deployment, again, (WANTS_OUT, items[7], time.time_ns() // 1_000_000))
    assert decode_state(deployment.records()[WANTS_OUT.encode()]).items == [items[7]]
    assert again.list_of(WANTS_OUT).status == 200


def _trainings_leave_them_out(deployment: Deployment) -> None:
    """Of the erased user only what came after the request is read to train on."""
    events = asyncio.run(read_history(deployment.settings)).events
    counts = dict(events.group_by("user_id").len().iter_rows())
    assert counts == {WANTS_OUT: 1, STAYS: 4}


def test_without_a_worker_the_command_says_so(deployment: Deployment):
    """Status 1 and one line; the request stands, and the receipt names the partitions without an answer."""
    receipt, told = forget(deployment, WANTS_OUT, "--wait", "1", status=1)
    assert receipt["unanswered_partitions"] == list(range(deployment.settings.partitions))
    last = told.strip().splitlines()[-1]
    assert last.startswith("freshet: no worker has answered within 1 s for partition 0, 1")
    assert len(deployment.read(deployment.topics.forget)) == deployment.settings.partitions
    worker = deployment.start().wait_ready()
    deployment.wait_served(worker)
    assert worker.terminate() == 0
