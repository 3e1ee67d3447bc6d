"""Send one event to freshet: python send_event.py BROKERS TOPIC USER ITEM (pip install aiokafka)."""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaProducer


async def send(brokers: str, topic: str, user: str, item: str) -> None:
    """Send the event and return once all replicas have it."""
    event = {"user_id": user, "item_id": item, "timestamp": time.time_ns() // 1_000_000}
    # aiokafka chooses the partition by the key as Java's clients do, which is what freshet needs.
    async with AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True) as producer:
        sent = await producer.send_and_wait(topic, key=user.encode(), value=json.dumps(event).encode())
    print(f"sent to {topic} partition {sent.partition} offset {sent.offset}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(send(*sys.argv[1:]))
