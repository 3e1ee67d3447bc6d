"""The bare client, whole batches: no state, no decoding; the limit of what Python can move."""

import asyncio
import sys

from tests.bench.answers import check_echo
from tests.bench.peer import Peer, python

MAX_RECORDS = 20_000
BATCH_BYTES = 512 * 1024


async def main(bootstrap: str, source: str, sink: str) -> None:
    """Echo ``source`` to ``sink`` until killed, committing after each fetch is acknowledged."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=f"{sink}-echo",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES)
    async with consumer, producer:
        while True:
            sent = []
            for partition, records in (
                await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            ).items():
                batch = producer.create_batch()
                for record in records:
                    if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                        sent.append(await producer.send_batch(batch, sink, partition=partition.partition))
                        batch = producer.create_batch()
                        batch.append(key=record.key, value=record.value, timestamp=None)
                sent.append(await producer.send_batch(batch, sink, partition=partition.partition))
            await asyncio.gather(*sent)
            await consumer.commit()


PEER = Peer(
    name="aiokafka, batches",
    note="bare client, no state",
    events=1_200_000,
    command=lambda run: python("tests.bench.peers.aiokafka_batch", run),
    check=check_echo,
)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
