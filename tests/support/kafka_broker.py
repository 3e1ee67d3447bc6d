"""A real Apache Kafka broker of one node, for the integration tests and the benchmarks.

The broker's jars are looked for in three places, in this order: the folder named by KAFKA_HOME,
``../shared/kafka`` beside the project, and ``.kafka`` inside it (filled by ``make kafka``). Each
is a folder that holds ``libs/``.
"""

import atexit
import base64
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PROJECT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 90.0
STOP_LIMIT_S = 60.0
POLL_INTERVAL_S = 0.1
JVM_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4")

# What separates the fields and records of the console consumer: none occurs in text.
FIELD, RECORD, NULL, HEADER = "\x1f", "\x1e", "\x1a", "\x1d"


class BrokerError(Exception):
    """The broker or one of Kafka's own tools did not do what it was asked; the message carries its log."""


_NOT_YET_LED = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


@dataclass(frozen=True, kw_only=True)
class ConsumedRecord:
    """One record as Kafka's own console consumer printed it; a null key or value is None."""

    partition: int
    offset: int
    timestamp_ms: int
    headers: Mapping[str, bytes]
    key: bytes | None
    value: bytes | None


def kafka_home() -> Path | None:
    """Return the folder whose ``libs/`` holds the broker's jars, or None where there is none."""
    named = os.environ.get("KAFKA_HOME")
    places = [Path(named)] if named else [PROJECT.parent / "shared" / "kafka", PROJECT / ".kafka"]
    return next((place for place in places if any(place.glob("libs/kafka-server-4*.jar"))), None)


def why_absent() -> str | None:
    """Return the reason for which no real broker can be started here, or None where one can."""
    if shutil.which("java") is None:
        return "no real broker: no java on the path"
    if kafka_home() is None:
        return "no real broker: set KAFKA_HOME to a folder with Kafka's libs/, or run `make kafka`"
    return None


LISTENED = (15_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listened on a moment ago.

    It is below those that Linux gives to outgoing connections, one of which could take it before a
    process that has yet to start listens there.
    """
    while True:
        port = random.SystemRandom().randrange(*LISTENED)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def cluster_id() -> str:
    """Return a new id for a cluster, in the form Kafka's tools want."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class KafkaBroker:
    """One broker process with its own ports and log directory; start and stop as often as wanted.

    The address and the data survive ``stop`` and ``kill``, so a test of an outage starts the same
    broker again. ``close`` ends it for good; so does leaving the ``with`` block or the interpreter.
    """

    #: How the storage is formatted where the properties name no voters.
    format_options: ClassVar[tuple[str, ...]] = ("--standalone",)
    jvm_options: tuple[str, ...] = JVM_OPTIONS

    def __init__(self, home: Path, directory: Path, *, cluster: str | None = None) -> None:
        """Format the storage under ``directory``, for a cluster of its own unless its id is given.

        Nothing runs until ``start``.
        """
        self.home = home
        self.directory = directory
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log = directory / "kafka.log"
        self._properties = directory / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        properties = self.properties(free_port())
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self.java(
            "kafka.tools.StorageTool",
            *("format", *self.format_options, f"--cluster-id={cluster or cluster_id()}"),
            *("-c", str(self._properties)),
        )

    def __enter__(self) -> Self:
        """Start the broker."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the broker."""
        self.close()

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the broker's process; raises BrokerError where it was never started."""
        if self._process is None:
            raise BrokerError("the broker was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the broker and return when its admin interface answers."""
        self.launch()
        self.wait_started()

    def launch(self) -> None:
        """Start the broker's process."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self._properties), options=self.jvm_options),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is for the tests, which then end it
            )
        atexit.register(self.close)

    def wait_started(self) -> None:
        """Return when the admin interface answers."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if not self.running:
                raise BrokerError(f"Kafka ended while starting:\n{self._log_tail()}")
            if time.monotonic() > deadline_s:
                raise BrokerError(f"Kafka did not answer within {START_LIMIT_S:.0f} s:\n{self._log_tail()}")

    def stop(self) -> None:
        """Shut the broker down in an orderly way and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End the broker for good; doing so twice is allowed."""
        if self.running:
            self._end(signal.SIGKILL)
        atexit.unregister(self.close)

    def create_topics(
        self, partitions: Mapping[str, int], *, config: Mapping[str, str] | None = None
    ) -> None:
        """Create each named topic with its number of partitions and wait until it can be used."""
        admin = self.admin()
        topics = [
            NewTopic(name, num_partitions=count, replication_factor=1, config=dict(config or {}))
            for name, count in partitions.items()
        ]
        for name, future in admin.create_topics(topics).items():
            try:
                future.result(timeout=30)
            except KafkaException as error:
                raise BrokerError(f"topic {name}: {error}") from error
        # The controller knows them a little earlier than the broker that is asked for them.
        self._until(
            lambda: partitions.keys() <= admin.list_topics(timeout=10).topics.keys(), "new topics appear"
        )

    def delete_topics(self, *names: str) -> None:
        """Delete the named topics, so that a benchmark's rounds do not fill the disk."""
        admin = self.admin()  # dropped while its futures run, it would cancel them
        for future in admin.delete_topics(list(names)).values():
            future.result(timeout=30)

    def admin(self) -> AdminClient:
        """Return a new admin client; its own log lines about an outage go nowhere."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def record_count(self, topic: str) -> int:
        """Return how many records ``topic`` holds; markers of transactions have offsets and are none."""
        client = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"count-{uuid.uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        try:
            partitions = client.list_topics(topic, timeout=30).topics[topic].partitions
            for number in partitions:
                self.watermarks(client, TopicPartition(topic, number))  # led, so that it can be read
            client.assign([TopicPartition(topic, number, 0) for number in partitions])
            count, unread = 0, set(partitions)
            while unread:
                for message in client.consume(10_000, timeout=0.2):
                    if message.error() is None:
                        count += 1
                    elif message.error().code() == KafkaError._PARTITION_EOF:
                        unread.discard(message.partition())
                    else:
                        raise KafkaException(message.error())
        finally:
            client.close()
        return count

    def watermarks(self, client: Consumer, place: TopicPartition) -> tuple[int, int]:
        """Return the first offset of a partition and the one after its last, as ``client`` is told them.

        A broker that has just started does not yet lead its partitions; then it is asked again.
        """
        found: list[tuple[int, int]] = []

        def led() -> bool:
            try:
                found.append(client.get_watermark_offsets(place, timeout=30))
            except KafkaException as error:
                if error.args[0].code() not in _NOT_YET_LED:
                    raise
            return bool(found)

        self._until(led, f"{place.topic} {place.partition} has a leader")
        return found[0]

    def read(self, topic: str, *, count: int | None = None, timeout_s: float = 20.0) -> list[ConsumedRecord]:
        """Read ``topic`` from its beginning with Kafka's own console consumer.

        It stops after ``count`` records (all there are when it is None), or when none came for
        ``timeout_s``, so a compacted topic may give fewer. Order holds within a partition.
        """
        wanted = self.record_count(topic) if count is None else count
        if wanted == 0:
            return []
        shown = ("timestamp", "partition", "offset", "headers", "key")
        properties = [f"print.{name}=true" for name in shown]
        properties += [f"key.separator={FIELD}", f"line.separator={RECORD}"]
        properties += [f"null.literal={NULL}", f"headers.separator={HEADER}"]
        output = self.java(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            *("--bootstrap-server", self.bootstrap, "--topic", topic, "--from-beginning"),
            *("--max-messages", str(wanted), "--timeout-ms", str(int(timeout_s * 1000))),
            *(word for item in properties for word in ("--property", item)),
            allow_failure=True,
        )
        return [_parsed(line) for line in output.split(RECORD.encode()) if line.strip()]

    def java(self, main_class: str, *arguments: str, allow_failure: bool = False) -> bytes:
        """Run one of Kafka's own command-line classes and return its standard output."""
        done = subprocess.run(
            self._command(main_class, *arguments, options=("-Xmx256m", "-XX:+UseSerialGC")),
            capture_output=True,
            check=False,
            timeout=180,
        )
        if done.returncode and not allow_failure:
            text = (done.stdout + done.stderr).decode(errors="replace")
            raise BrokerError(f"{main_class} failed with status {done.returncode}:\n{text}")
        return done.stdout

    def properties(self, controller_port: int) -> dict[str, str]:
        """Return what stands in ``server.properties``."""
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            # 50 partitions of offsets would be 50 open files and as many creations at the first group.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }

    def _command(self, main_class: str, *arguments: str, options: tuple[str, ...]) -> list[str]:
        return ["java", *options, "-cp", f"{self.home}/libs/*", main_class, *arguments]

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not reached():
            if time.monotonic() > deadline_s:
                raise BrokerError(f"not within {START_LIMIT_S:.0f} s: {what}\n{self._log_tail()}")
            time.sleep(POLL_INTERVAL_S)

    def _answers(self) -> bool:
        """Ask for the cluster's metadata once; the wait for the answer paces the caller's loop."""
        try:
            return bool(self.admin().list_topics(timeout=1).brokers)
        except KafkaException:
            time.sleep(POLL_INTERVAL_S)
            return False

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerError(f"Kafka did not end within {STOP_LIMIT_S:.0f} s:\n{self._log_tail()}") from None

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def _parsed(line: bytes) -> ConsumedRecord:
    timestamp, partition, offset, headers, key, value = line.split(FIELD.encode(), 5)
    pairs = (
        () if headers == b"NO_HEADERS" else (pair.split(b":", 1) for pair in headers.split(HEADER.encode()))
    )
    return ConsumedRecord(
        partition=int(partition.removeprefix(b"Partition:")),
        offset=int(offset.removeprefix(b"Offset:")),
        timestamp_ms=int(timestamp.rsplit(b":", 1)[1]),
        headers={name.decode(): content for name, content in pairs},
        key=None if key == NULL.encode() else key,
        value=None if value == NULL.encode() else value,
    )
