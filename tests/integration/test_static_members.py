"""Workers with a lasting name: a restart gives back the same partitions, and the others go on."""

from pathlib import Path

from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess, eventually

AT_MS = 1_511_544_070_123


def rebalances(worker: WorkerProcess) -> float:
    """Return how often the worker has seen the partitions shared out."""
    return worker.metrics().total("freshet_rebalances_total")


def partitions(worker: WorkerProcess) -> set[str]:
    """Return the partitions that the worker tells the lag of."""
    return {
        labels["partition"]
        for (name, pairs) in worker.metrics()
        if name == "freshet_consumer_lag" and (labels := dict(pairs))
    }


def both_have_work(first: WorkerProcess, second: WorkerProcess) -> bool:
    """Whether the four partitions are shared out between the two, each once."""
    one, other = partitions(first), partitions(second)
    return bool(one and other) and not one & other and len(one | other) == 4


def test_restarted_worker_comes_back_without_a_rebalance_of_the_other(kafka: KafkaBroker, tmp_path: Path):
    """The second worker ends and starts again under its name; the first sees nothing of it."""
    with Deployment(kafka, tmp_path, lists="recent", session_timeout_s=60) as deployment:
        deployment.make_topics()
        first = deployment.start(group_instance_id="worker-0").wait_ready()
        second = deployment.start(group_instance_id="worker-1").wait_ready()
        eventually(lambda: both_have_work(first, second), "the partitions are shared out")
        had, before = partitions(second), rebalances(first)
        assert second.terminate() == 0
        second = deployment.start(group_instance_id="worker-1").wait_ready()
        eventually(lambda: partitions(second) == had, "it has its own partitions again")
        users = [f"user-{number}" for number in range(40)]
        deployment.send_events(deployment.topics.click, *((user, "i1", AT_MS) for user in users))
        deployment.wait_served(first, second)
        assert rebalances(first) == before
        assert sorted(user for user, _ in deployment.lists()) == sorted(users)
