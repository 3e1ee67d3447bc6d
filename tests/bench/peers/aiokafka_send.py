"""The bare client, one send an event: no state, no decoding."""

import asyncio
import sys

from tests.bench.answers import check_echo
from tests.bench.peer import Peer, python

MAX_RECORDS = 5_000


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
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    async with consumer, producer:
        while True:
            for partition, records in (
                await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            ).items():
                for record in records:
                    await producer.send(sink, record.value, key=record.key, partition=partition.partition)
            await producer.flush()
            await consumer.commit()


PEER = Peer(
    name="aiokafka, send",
    note="bare client, no state",
    events=400_000,
    command=lambda run: python("tests.bench.peers.aiokafka_send", run),
    check=check_echo,
)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
