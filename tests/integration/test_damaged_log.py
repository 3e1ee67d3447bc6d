"""Record batches that are damaged where the broker keeps them: the worker names one, ends, and skips none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.record.util import calc_crc32c
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.deployment import Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.worker_process import WorkerProcess, eventually

AT_MS = 1_511_544_070_123
CODEC_NOBODY_KNOWS = 5
#: Where these stand in a record batch of version 2; the checksum is over all from the attributes on.
LENGTH_AT, CHECKSUM_AT, ATTRIBUTES_AT = 8, 17, 21


def _send(deployment: Deployment, user: str) -> None:
    deployment.send([Sent(deployment.topics.click, user.encode(), event(user, "lamp", AT_MS))])


def _second_batch(log: Path) -> tuple[bytearray, int, int]:
    """Return a segment's bytes, and where its second batch begins and ends."""
    content = bytearray(log.read_bytes())

    def end(begin: int) -> int:
        return begin + 12 + int.from_bytes(content[begin + LENGTH_AT : begin + LENGTH_AT + 4], "big")

    return content, end(0), end(end(0))


def _flip(log: Path) -> None:
    """Change a byte of the second batch, as a bad disk does."""
    content, _, end = _second_batch(log)
    content[end - 3] ^= 0xFF
    log.write_bytes(content)


def _repack(log: Path) -> None:
    """Let the second batch say that it is packed with a codec that does not exist, under a right checksum."""
    content, begin, end = _second_batch(log)
    content[begin + ATTRIBUTES_AT + 1] |= CODEC_NOBODY_KNOWS
    checksum = calc_crc32c(bytes(content[begin + ATTRIBUTES_AT : end]))
    content[begin + CHECKSUM_AT : begin + CHECKSUM_AT + 4] = checksum.to_bytes(4, "big")
    log.write_bytes(content)


def _ended(worker: WorkerProcess) -> str:
    """Return the one line of a worker that ends by itself."""
    eventually(lambda: not worker.running, "the worker ends")
    assert worker.status == 1
    lines = worker.errors().splitlines()
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.mark.parametrize(("damage", "why"), [(_flip, "is damaged"), (_repack, "has a codec nobody knows")])
def test_damaged_batch_is_named_and_nothing_is_skipped(
    kafka: KafkaBroker, tmp_path: Path, damage: Callable[[Path], None], why: str
):
    """What stands before it is committed at most; moved past it by hand, the worker serves the rest."""
    with Deployment(kafka, tmp_path, lists="recent", partitions=1) as deployment:
        deployment.make_topics()
        for user in ("ada", "bob", "eve"):
            _send(deployment, user)
        place = TopicPartition(deployment.topics.click, 0)
        log = kafka.directory / "data" / f"{place.topic}-0" / "00000000000000000000.log"
        damage(log)

        line = _ended(deployment.start())
        assert (
            f"topic {place.topic}, partition 0: the record batch at offset 1 {why}; nothing after it" in line
        )
        assert deployment.committed()[place.topic, 0] <= 1

        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        place.offset = 2
        moved = ConsumerGroupTopicPartitions(deployment.settings.group_id, [place])
        for done in admin.alter_consumer_group_offsets([moved]).values():
            done.result()
        worker = deployment.start().wait_ready()
        deployment.wait_served(worker)
        assert [user for user, _ in deployment.lists()][-1] == "eve"
