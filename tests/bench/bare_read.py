"""A bare read of a topic to its end, as a process of its own: what recovery is measured beside.

Run it as ``python -m tests.bench.bare_read BROKERS TOPIC``. One aiokafka consumer without a group,
with the worker's own fetch size and isolation, reads every partition from the beginning to the
end offsets of when it began, and does nothing with the records but count them. Prints one line of
JSON: ``records``, ``bytes`` of their values, and ``duration_s`` from the consumer's start to the last record.
"""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.app import MAX_FETCH_BYTES


async def read(brokers: str, topic: str) -> dict[str, float]:
    """Read a topic to its end; returns what is printed."""
    began_s = time.perf_counter()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=MAX_FETCH_BYTES,
    )
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        unread = {place: end for place, end in (await consumer.end_offsets(places)).items() if end > 0}
        records = size = 0
        while unread:
            for fetched in (await consumer.getmany(timeout_ms=100)).values():
                records += len(fetched)
                size += sum(len(record.value or b"") for record in fetched)
            for place in [one for one, end in unread.items() if await consumer.position(one) >= end]:
                del unread[place]
        return {"records": records, "bytes": size, "duration_s": time.perf_counter() - began_s}
    finally:
        await consumer.stop()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(read(*sys.argv[1:]))))
