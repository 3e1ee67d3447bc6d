"""The fixture of the real broker: what the other integration tests rely on."""

from confluent_kafka import Consumer, Producer

from tests.support.kafka_broker import ConsumedRecord, KafkaBroker

AT_MS = 1_511_544_070_123


def send(kafka: KafkaBroker, topic: str, *records: ConsumedRecord) -> None:
    """Write records where their ``partition`` says."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for record in records:
        producer.produce(
            topic,
            key=record.key,
            value=record.value,
            headers=dict(record.headers),
            partition=record.partition,
            timestamp=record.timestamp_ms,
        )
    assert producer.flush(30) == 0


def record(
    *, partition: int, offset: int, key: bytes | None, value: bytes | None, **headers: bytes
) -> ConsumedRecord:
    """Give one record of a fixed time."""
    return ConsumedRecord(
        partition=partition, offset=offset, timestamp_ms=AT_MS, headers=headers, key=key, value=value
    )


def test_console_consumer_gives_back_every_byte(kafka: KafkaBroker):
    """Keys, values and headers come back as they were sent: null, not text, with tabs and newlines."""
    topic = "real-broker-bytes"
    kafka.create_topics({topic: 2})
    sent = [
        record(partition=0, offset=0, key=b"u1", value=b'{"a": 1}', error=b"bad:x", message=b"no\tsuch"),
        record(partition=1, offset=0, key=None, value=None),
        record(partition=1, offset=1, key=b"\xff", value=b"\xfe\n\t"),
    ]
    send(kafka, topic, *sent)
    read = kafka.read(topic)
    assert sorted(read, key=lambda one: (one.partition, one.offset)) == sent


def test_broker_returns_with_its_data_after_an_outage(kafka: KafkaBroker):
    """Killed and started again, it has the same address and the records it had acknowledged."""
    topic = "real-broker-outage"
    kafka.create_topics({topic: 1})
    send(kafka, topic, record(partition=0, offset=0, key=b"u1", value=b"1"))
    address = kafka.bootstrap
    kafka.kill()
    assert not kafka.running
    kafka.start()
    client = Consumer({"bootstrap.servers": address, "group.id": "outage", "log_level": 0})
    reachable = client.list_topics(topic, timeout=30).topics[topic].error is None
    client.close()
    assert reachable
    assert [one.value for one in kafka.read(topic)] == [b"1"]
