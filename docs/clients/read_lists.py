"""Read lists as they come: python read_lists.py BROKERS TOPIC GROUP COUNT (pip install aiokafka)."""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer

#: The offset of each user's newest event in each partition it came from.
Newest = dict[bytes, dict[tuple[str, int], int]]


async def read(brokers: str, topic: str, group: str, count: int) -> None:
    """Print ``count`` lists, each once; the group remembers where it was."""
    newest: Newest = {}
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
            for records in (await consumer.getmany(timeout_ms=1000, max_records=count)).values():
                for record in records:
                    count -= take(newest, record.key, record.value)
            await consumer.commit()


def take(newest: Newest, user: bytes, value: bytes | None) -> bool:
    """Print a record and tell whether it was a list that had not come before."""
    if value is None:
        newest.pop(user, None)
        print(f"{user.decode()}: erased")
        return False
    made = json.loads(value)
    # After a crash of a worker the lists of the last events can all come again, in their order.
    event, offsets = made["event"], newest.setdefault(user, {})
    partition = (event["topic"], event["partition"])
    if event["offset"] <= offsets.get(partition, -1):
        return False
    offsets[partition] = event["offset"]
    print(f"{made['user_id']}: {' '.join(item['item_id'] for item in made['items'])}")
    return True


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    asyncio.run(read(*sys.argv[1:4], int(sys.argv[4])))
