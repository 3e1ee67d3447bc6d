"""Read lists as they come: python read_lists.py BROKERS TOPIC GROUP COUNT (pip install aiokafka)."""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer


async def read(brokers: str, topic: str, group: str, count: int) -> None:
    """Print ``count`` lists, each once; the group remembers where it was."""
    newest: dict[bytes, dict[str, object]] = {}
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",  # under exactly_once; otherwise it makes no difference
    )
    async with consumer:
        while count > 0:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    count -= take(newest, record.key, record.value)
            await consumer.commit()


def take(newest: dict[bytes, dict[str, object]], user: bytes, value: bytes | None) -> bool:
    """Print a record and tell whether it was a list that had not come before."""
    if value is None:
        newest.pop(user, None)
        print(f"{user.decode()}: erased")
        return False
    made = json.loads(value)
    # After a crash of a worker a list can come twice, for the same event.
    if newest.get(user) == made["event"]:
        return False
    newest[user] = made["event"]
    print(f"{made['user_id']}: {' '.join(item['item_id'] for item in made['items'])}")
    return True


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(read(*sys.argv[1:4], int(sys.argv[4])))
