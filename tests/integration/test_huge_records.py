"""Records as large as a broker can be made to take: served or refused like small ones."""

from pathlib import Path

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker

AT_MS = 1_511_544_070_123
#: With the rest of its request just below the hundred megabytes (2^20 bytes) that a broker reads of one.
HUGE = "x" * 104_000_000


def _take_huge(deployment: Deployment) -> None:
    """Let the topic of clicks take them; a broker's own limit is a megabyte."""
    entry = ConfigEntry("max.message.bytes", str(200_000_000), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ConfigResource.Type.TOPIC, deployment.topics.click, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": deployment.kafka.bootstrap})
    for done in admin.incremental_alter_configs([topic]).values():
        done.result()


def test_field_of_a_hundred_megabytes(kafka: KafkaBroker, tmp_path: Path):
    """An id of that size is refused, a field that nobody reads is not; events around them are served."""
    with Deployment(kafka, tmp_path, lists="recent", partitions=1) as deployment:
        deployment.make_topics()
        _take_huge(deployment)
        values = {
            "ada": event("ada", "lamp", AT_MS),
            "bob": event("bob", HUGE, AT_MS),
            "cay": event("cay", "lamp", AT_MS, note=HUGE),
            "eve": event("eve", "lamp", AT_MS),
        }
        deployment.send(Sent(deployment.topics.click, user.encode(), value) for user, value in values.items())
        worker = deployment.start().wait_ready()
        deployment.wait_served(worker)
        assert [user for user, _ in deployment.lists()] == ["ada", "cay", "eve"]
        (letter,) = deployment.read(deployment.topics.dead_letter)
        headers = dict(letter.headers)
        assert (headers["error"], headers["source-offset"]) == (b"too-long", b"1")
        assert (letter.key, letter.value) == (None, None)
        assert worker.events(outcome="applied") == 3
