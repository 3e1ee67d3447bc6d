"""Asking the workers to erase a user."""

import msgspec

from stream import clients
from stream.settings import Settings


async def request_erasure(settings: Settings, user_id: str) -> None:
    """Send the request and wait until Kafka has it.

    It goes to every partition: a user's state lies where the producer of the events put them,
    by a partitioner we cannot know, and a worker that does not know the user changes nothing.
    Raises ``TopicError`` where the topic does not exist, ``BrokerUnavailable`` where no broker
    answers.
    """
    partitions = await clients.topic_partitions(settings, settings.topics.forget)
    value = msgspec.json.encode({"user_id": user_id})
    async with clients.running(clients.producer(settings), settings) as client:
        sent = [
            await client.send(partition.topic, value, key=user_id.encode(), partition=partition.partition)
            for partition in partitions
        ]
        for acknowledgement in sent:
            await acknowledgement
