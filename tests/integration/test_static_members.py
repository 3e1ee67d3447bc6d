"""Workers with a lasting name: a restart gives back the same partitions, and the others go on."""

from pathlib import Path

from tests.support.deployment import Deployment
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess, eventually

AT_MS = 1_511_544_070_123


def both_have_work(first: WorkerProcess, second: WorkerProcess) -> bool:
    """Whether the four partitions are shared out between the two, each once."""
    one, other = first.partitions(), second.partitions()
    return bool(one and other) and not one & other and len(one | other) == 4


def test_restarted_worker_comes_back_without_a_rebalance_of_the_other(kafka: KafkaBroker, tmp_path: Path):
    """The second worker ends and starts again under its name; the first sees nothing of it."""
    with Deployment(kafka, tmp_path, lists="recent", session_timeout_s=60) as deployment:
        deployment.make_topics()
        first = deployment.start(group_instance_id="worker-0").wait_ready()
        second = deployment.start(group_instance_id="worker-1").wait_ready()
        eventually(lambda: both_have_work(first, second), "the partitions are shared out")
        had, before = second.partitions(), first.rebalances()
        assert second.terminate() == 0
        second = deployment.start(group_instance_id="worker-1").wait_ready()
        eventually(lambda: second.partitions() == had, "it has its own partitions again")
        users = [f"user-{number}" for number in range(40)]
        deployment.send_events(deployment.topics.click, *((user, "i1", AT_MS) for user in users))
        deployment.wait_served(first, second)
        assert first.rebalances() == before
        assert sorted(user for user, _ in deployment.lists()) == sorted(users)
