"""Producers and topics that pack their records: a worker reads every codec Kafka has."""

from pathlib import Path

from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker

AT_MS = 1_511_544_070_123
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
USERS_EACH = 50


def _events(deployment: Deployment, codec: str) -> list[Sent]:
    """Return one event each of users that are named after the codec."""
    users = [f"{codec}-{number}" for number in range(USERS_EACH)]
    return [Sent(deployment.topics.click, one.encode(), event(one, f"i-{one}", AT_MS)) for one in users]


def test_events_of_every_codec_are_served(kafka: KafkaBroker, tmp_path: Path):
    """Each producer of a shop chooses its own codec; none of their events is missing."""
    with Deployment(kafka, tmp_path, lists="recent") as deployment:
        deployment.make_topics()
        for codec in CODECS:
            deployment.send(_events(deployment, codec), codec=codec)
        worker = deployment.start().wait_ready()
        deployment.wait_served(worker)
        assert {user for user, _ in deployment.lists()} == {
            f"{codec}-{number}" for codec in CODECS for number in range(USERS_EACH)
        }
