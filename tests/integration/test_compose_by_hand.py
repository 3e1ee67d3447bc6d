"""The command lines of docker-compose.yml, by hand, in their order, on a broker with its properties."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.compose import ByHand, ComposeBroker, services, start_order
from tests.support.kafka_broker import free_port, kafka_home, why_absent
from tests.support.worker_process import eventually

EVENTS = 3_000
LIMIT_S = 120
OURS = "freshet:"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ComposeBroker]:
    """A broker whose properties are those of the file, and no others."""
    reason, home = why_absent(), kafka_home()
    if reason is not None or home is None:
        pytest.skip(reason or "no real broker")
    with ComposeBroker(home, tmp_path / "kafka") as started:
        yield started


@contextmanager
def running(service: ByHand, folder: Path, **changed: str) -> Iterator[None]:
    """Run a service that goes on until it is ended."""
    with (folder / f"{service.name}.log").open("wb") as log:
        process = subprocess.Popen(
            service.command(),
            env=service.environment(os.environ, **changed),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
        assert process.poll() is None, service.name
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and what it started, in good order if it can be."""
    os.killpg(process.pid, 15)
    try:
        process.wait(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        raise


def run(arguments: list[str], service: ByHand) -> "subprocess.CompletedProcess[str]":
    """Run a command line of a service to its end."""
    return subprocess.run(
        arguments,
        env=service.environment(os.environ),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_services_started_by_hand_serve_and_retrain(broker: ComposeBroker, tmp_path: Path):
    """Topics, training, two workers that become healthy, a replay that is served, a retraining in force."""
    (tmp_path / "models").mkdir()
    with ExitStack() as stack:
        workers = []
        for name in start_order():
            if not services()[name]["image"].startswith(OURS):
                continue
            service = ByHand(name, bootstrap=broker.bootstrap, folder=tmp_path, port=free_port())
            if services()[name]["restart"].startswith("on-failure"):
                # The replay takes minutes at the file's own speed.
                faster = {"speed": "0"} if name == "replay" else {}
                done = run(service.command(**faster), service)
                assert done.returncode == 0, f"{name}: {done.stderr}"
            elif name == "retrain":
                stack.enter_context(running(service, tmp_path, FRESHET_RETRAIN_LIGHT_INTERVAL_S="1"))
            else:
                workers.append(service)
                stack.enter_context(running(service, tmp_path))
                eventually(lambda service=service: healthy(service), f"{name} is healthy")
        assert len(workers) == 2
        eventually(lambda: counted(workers, "freshet_events_total") == EVENTS, "every event is read")
        assert counted(workers, "freshet_recommendations_total") > 0.9 * EVENTS
        assert all(worker.metrics().total("freshet_events_total") > 0 for worker in workers)
        eventually(
            lambda: all(
                worker.metrics().total("freshet_model_swaps_total", outcome="swapped") > 1
                for worker in workers
            ),
            "both workers have the retrained weights",
            within_s=LIMIT_S,
        )


def healthy(service: ByHand) -> bool:
    """Whether the service's own health check succeeds."""
    return run(service.health(), service).returncode == 0


def counted(workers: list[ByHand], name: str) -> int:
    """Sum a counter over the workers."""
    return int(sum(worker.metrics().total(name) for worker in workers))
