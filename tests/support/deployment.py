"""freshet on a real broker for one test: topics, settings, commands and workers of its own."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream.messages import RecommendationList, decode_list
from stream.settings import Settings, variable
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster
from tests.support.worker_process import FRESHET, WorkerProcess, eventually

PARTITIONS = 4
COMMAND_LIMIT_S = 120
CLIENT_LIMIT_S = 30.0

Headers = Sequence[tuple[str, bytes]]

#: What a client is told while a broker that has just come back looks for the group's coordinator.
_NOT_YET = (KafkaError.NOT_COORDINATOR, KafkaError._TIMED_OUT)


class Sent(NamedTuple):
    """A record to send; ``partition`` None lets the key choose as Java's clients do."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None


class Received(NamedTuple):
    """A record as librdkafka read it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers


def event(user_id: str, item_id: str, timestamp_ms: int, **more: str) -> bytes:
    """Return an event's value."""
    return msgspec.json.encode({"user_id": user_id, "item_id": item_id, "timestamp": timestamp_ms, **more})


def partition_of(key: bytes, partitions: int = PARTITIONS) -> int:
    """Return the partition Java's clients choose for a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Deployment:
    """One consumer group with a topic prefix of its own; in a ``with`` block its workers end with it."""

    def __init__(self, kafka: KafkaBroker | KafkaCluster, folder: Path, **settings: Any) -> None:
        """Choose names; ``settings`` are fields of ``Settings``. ``make_topics`` makes the topics."""
        own = f"i{uuid.uuid4().hex[:8]}"
        self.kafka = kafka
        self.folder = folder
        given = {
            "brokers": kafka.bootstrap,
            "group_id": f"{own}.group",
            "topic_prefix": f"{own}.",
            "partitions": PARTITIONS,
            "model_store": str(folder / "models"),
            "http_port": 0,
            **settings,
        }
        self.settings = Settings.load(**given)
        self.topics = self.settings.topics
        self.given = given
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every worker that still runs."""
        for worker in self._workers:
            worker.close()

    # Commands and workers.

    def environment(self, **settings: Any) -> dict[str, str]:
        """Return the environment of a process of this deployment, with some settings changed."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET_")}
        values = {**self.given, **settings}
        return inherited | {variable(name): str(value) for name, value in values.items()}

    def command(self, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        """Run `freshet` with these arguments to its end."""
        return subprocess.run(
            [*FRESHET, *arguments],
            env=self.environment(data_dir=self.folder / "data-of-commands", **settings),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def make_topics(self) -> Self:
        """Make the topics with the command itself."""
        done = self.command("topics")
        assert done.returncode == 0, done.stderr
        return self

    def start(self, *, command: Sequence[str] = (*FRESHET, "worker"), **settings: Any) -> WorkerProcess:
        """Start a worker with a data directory of its own; it may not be ready yet."""
        name = f"worker-{len(self._workers) + 1}"
        environment = self.environment(**{"data_dir": self.folder / name, **settings})
        worker = WorkerProcess(environment, self.folder, name, command)
        self._workers.append(worker)
        return worker

    # Records in and out.

    def send(self, records: Iterable[Sent], *, codec: str = "none", within_s: float = CLIENT_LIMIT_S) -> None:
        """Send records in their order, packed with a codec, and return when all are acknowledged."""
        client = Producer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "enable.idempotence": True,
                # What is too large is for the broker to say.
                "message.max.bytes": 200_000_000,
                "compression.codec": codec,
                "log_level": 0,
            }
        )
        failed = []

        def delivered(error: object, message: object) -> None:
            if error is not None:
                failed.append(error)

        for record in records:
            partition = record.partition
            if partition is None:
                partition = partition_of(record.key or b"", self.settings.partitions)
            while True:
                try:
                    client.produce(
                        record.topic,
                        value=record.value,
                        key=record.key,
                        partition=partition,
                        headers=list(record.headers),
                        timestamp=record.timestamp_ms or 0,
                        on_delivery=delivered,
                    )
                    break
                except BufferError:  # the client holds as many as it may
                    client.poll(0.1)
            client.poll(0)
        assert client.flush(within_s) == 0
        assert not failed

    def send_events(self, topic: str, *events: tuple[str, str, int]) -> None:
        """Send events (user, item, event time) to one of the event topics."""
        self.send(Sent(topic, user.encode(), event(user, item, time_ms)) for user, item, time_ms in events)

    def read(self, topic: str, *, within_s: float = CLIENT_LIMIT_S) -> list[Received]:
        """Return everything that stands in a topic now, partition by partition."""
        client = self._client()
        try:
            found = client.list_topics(topic, timeout=CLIENT_LIMIT_S).topics[topic].partitions
            waiting = {}
            for number in found:
                low, high = client.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=CLIENT_LIMIT_S
                )
                if high > low:
                    waiting[number] = high
            client.assign([TopicPartition(topic, number, 0) for number in waiting])
            records: list[Received] = []
            deadline_s = time.monotonic() + within_s
            while waiting:
                assert time.monotonic() < deadline_s, f"{topic}: not read to {waiting}"
                for message in client.consume(1000, timeout=0.2):
                    partition, offset = message.partition(), message.offset()
                    key, value, (_, at_ms) = message.key(), message.value(), message.timestamp()
                    headers = message.headers() or ()
                    records.append(Received(topic, partition, offset, key, value, at_ms, headers))
                for place in client.position([TopicPartition(topic, number) for number in waiting]):
                    # A compacted partition can end before its high watermark less one.
                    if place.offset >= waiting[place.partition]:
                        del waiting[place.partition]
        finally:
            client.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def lists(self) -> list[tuple[str, RecommendationList | None]]:
        """Return every list sent, in order within a user; None is an erasure."""
        return [
            (
                (record.key or b"").decode(),
                None if record.value is None else decode_list(record.value),
            )
            for record in self.read(self.topics.recommendations)
        ]

    def lists_of(self, user_id: str) -> list[RecommendationList | None]:
        """Return the lists sent to a user, in order."""
        return [made for user, made in self.lists() if user == user_id]

    def last_lists(self) -> dict[str, RecommendationList]:
        """Return each user's last list; erased users are left out."""
        return {user: made for user, made in dict(self.lists()).items() if made is not None}

    def records(self) -> dict[bytes, bytes]:
        """Return each user's record as the changelog has it."""
        newest = {record.key or b"": record.value for record in self.read(self.topics.changelog)}
        return {key: value for key, value in newest.items() if value is not None}

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the group's offset of each source partition; 0 where nothing was committed."""
        client = self._client(stable=False)
        try:
            found = client.committed(self._source_places(), timeout=CLIENT_LIMIT_S)
        finally:
            client.close()
        return {(place.topic, place.partition): max(place.offset, 0) for place in found}

    def _source_places(self) -> list[TopicPartition]:
        return [
            TopicPartition(topic, number)
            for topic in (*self.topics.events, self.topics.forget)
            for number in range(self.settings.partitions)
        ]

    def backlog(self) -> int:
        """Return how many records of the source topics are not committed."""
        client = self._client(stable=False)
        try:
            left = 0
            for place in client.committed(self._source_places(), timeout=CLIENT_LIMIT_S):
                _, high = self.kafka.watermarks(client, place)
                left += high - max(place.offset, 0)
        finally:
            client.close()
        return left

    def end(self, topic: str) -> int:
        """Return how many offsets of a topic are taken, by records and by markers."""
        client = self._client()
        try:
            return sum(
                self.kafka.watermarks(client, TopicPartition(topic, number))[1]
                for number in range(self.settings.partitions)
            )
        finally:
            client.close()

    def wait_served(self, *workers: WorkerProcess, within_s: float = 120.0) -> None:
        """Return when everything sent so far is delivered and committed; fails when a worker ends."""

        def served() -> bool:
            for worker in workers:
                if not worker.running:
                    raise RuntimeError(f"{worker.name} ended with {worker.status}:\n{worker.errors()}")
            try:
                return self.backlog() == 0
            except KafkaException as error:
                # A broker that has just come back looks for the group's coordinator.
                if error.args[0].retriable() or error.args[0].code() in _NOT_YET:
                    return False
                raise

        eventually(served, "everything is committed", within_s=within_s)

    def _client(self, *, stable: bool = True) -> Consumer:
        """Make a client; one that is not ``stable`` does not wait for transactions that are open.

        A broker keeps the committed offsets back from the others while a worker stands still in one.
        """
        return Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "group.id": self.settings.group_id,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
                "isolation.level": "read_committed" if stable else "read_uncommitted",
            }
        )
