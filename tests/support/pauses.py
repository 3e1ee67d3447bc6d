"""Workers that stand still past the session timeout, in turns, beside one that nothing happens to."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from models.fitting import Fitted
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from tests.support.aftermath import Outcome, check_last_lists, check_lists, check_records, outcome
from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess, eventually

#: Of those that are paused: batches so small that one is seconds from done when it stands still.
SETTINGS = {"batch_max_events": 10, "session_timeout_s": 6}
SPREAD_MS = 60_000
SERVED_LIMIT_S = 180.0
TAKEN_OVER = "freshet: another worker has taken over partition"


class Ended(NamedTuple):
    """How a paused worker ended after it was resumed (None: it did not), and what it said."""

    status: int | None
    errors: str


class Runs(NamedTuple):
    """The same events through workers that were paused, and through one that was not."""

    guarantee: str
    disturbed: Outcome
    undisturbed: Outcome
    ended: list[Ended]


def run(
    kafka: KafkaBroker,
    shop: Simulation,
    fitted: Fitted,
    folders: Sequence[Path],
    *,
    guarantee: str,
    pauses: int,
    paused_after: int,
) -> Runs:
    """Send the shop's events in as many parts as there are pauses, and pause once in each.

    A worker that has come ``paused_after`` events into its part stands still until another has served
    the rest, so that the broker has long given it up; then it goes on.
    """
    given = {"processing_guarantee": guarantee}
    with ExitStack() as stack:
        disturbed, undisturbed = (
            stack.enter_context(Deployment(kafka, folder, **settings))
            for folder, settings in zip(folders, (given | SETTINGS, given), strict=True)
        )
        parts = [list(_parts(deployment, shop, pauses)) for deployment in (disturbed, undisturbed)]
        for deployment in (disturbed, undisturbed):
            deployment.make_topics()
            asyncio.run(announce_fitted(deployment.settings, fitted))
        for part in parts[1]:
            undisturbed.send(part)
        calm = undisturbed.start()
        ended = _paused(disturbed, parts[0], paused_after)
        undisturbed.wait_served(calm.wait_ready(), within_s=SERVED_LIMIT_S)
        return Runs(guarantee, outcome(disturbed), outcome(undisturbed), ended)


def _parts(deployment: Deployment, shop: Simulation, count: int) -> Iterator[list[Sent]]:
    """The shop's events for one deployment, in equal parts.

    All of a user's go to one topic: across topics, what comes while a worker runs has no certain order.
    """
    topics = deployment.topics.events
    began_ms = time.time_ns() // 1_000_000 - SPREAD_MS
    rows = shop.events.select("user_id", "item_id", "timestamp").rows()
    sent = [
        Sent(
            topics[crc32(user.encode()) % len(topics)],
            user.encode(),
            event(user, item, time_ms),
            timestamp_ms=began_ms + number * SPREAD_MS // len(rows),
        )
        for number, (user, item, time_ms) in enumerate(rows)
    ]
    bounds = [len(sent) * number // count for number in range(count + 1)]
    return (sent[begin:end] for begin, end in itertools.pairwise(bounds))


def _paused(deployment: Deployment, parts: Sequence[list[Sent]], paused_after: int) -> list[Ended]:
    """Pause a worker once in each part; returns how each worker that was paused took it in the end."""
    workers = [deployment.start().wait_ready()]
    victims: list[WorkerProcess] = []
    for number, part in enumerate(parts, 1):
        before = _counted(workers)
        deployment.send(part)
        victim = eventually(lambda: _ahead(workers, before, paused_after), "a worker is in the middle")  # noqa: B023
        rebalances = victim.rebalances()
        victim.pause()
        assert deployment.backlog() > 0, "the worker was done before it stood still"
        workers.remove(victim)
        _serve(deployment, workers)
        victim.resume()
        eventually(lambda: _itself(victim, rebalances), "it has come to itself")  # noqa: B023
        workers.append(victim)
        _serve(deployment, workers)
        print(f"pause {number}: {len(workers)} workers go on", flush=True)
        victims.append(victim)
    return [Ended(victim.status, victim.errors()) for victim in victims]


def _ahead(workers: Sequence[WorkerProcess], before: Mapping[str, int], events: int) -> WorkerProcess | None:
    """One of the workers that has counted so many events more."""
    counted = _counted(workers)
    ahead = (one for one in workers if counted.get(one.name, 0) >= before.get(one.name, 0) + events)
    return next(ahead, None)


def _counted(workers: Sequence[WorkerProcess]) -> dict[str, int]:
    """How many events each worker that answers has counted; one that is about to end does not."""
    counted = {}
    for worker in workers:
        with suppress(ConnectionError):
            counted[worker.name] = worker.events()
    return counted


def _serve(deployment: Deployment, workers: list[WorkerProcess]) -> None:
    """Return when everything sent is committed; what a pause ended is taken out, and one at least works."""

    def served() -> bool:
        workers[:] = [worker for worker in workers if worker.running]
        if not workers:
            workers.append(deployment.start().wait_ready())
        return deployment.backlog() == 0

    eventually(served, "everything is committed", within_s=SERVED_LIMIT_S)


def _itself(worker: WorkerProcess, rebalances: int) -> bool:
    """Whether a resumed worker was ended by what it found, or has joined the group anew and is ready."""
    if not worker.running:
        return True
    return worker.get("/readyz").status == 200 and worker.rebalances() > rebalances


def _rebalances(worker: WorkerProcess) -> int:
    """How often the worker was told its partitions."""
    return int(worker.metrics().total("freshet_rebalances_total"))


def check(runs: Runs) -> None:
    """The topics are those of the undisturbed run, and who was paused ended in good order or went on."""
    check_lists(runs.disturbed, runs.undisturbed)
    if runs.guarantee == "exactly_once":
        assert all(len(made) == 1 for made in runs.disturbed.lists.values())
    check_last_lists(runs.disturbed, runs.undisturbed)
    check_records(runs.disturbed, runs.undisturbed)
    for one in runs.ended:
        check_end(one)


def check_end(one: Ended) -> None:
    """It ended with one line that names the cause and no traceback, or not at all."""
    assert one.status in (None, 1), one.errors
    if one.status == 1:
        assert one.errors.splitlines()[-1].startswith(TAKEN_OVER)
        assert "Traceback" not in one.errors
