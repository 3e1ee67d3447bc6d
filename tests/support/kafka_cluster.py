"""A real Apache Kafka cluster of three brokers, each a controller too, behind proxies that can be cut."""

import re
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from confluent_kafka import Consumer, TopicPartition

from tests.support.kafka_broker import KafkaBroker, cluster_id, free_port
from tests.support.proxy import Proxy

NODES = 3
LEADER = re.compile(rb"LeaderId:\s+(\d+)")


class ClusterBroker(KafkaBroker):
    """One of several brokers; clients are told the port of its proxy, brokers one of their own."""

    format_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, home: Path, directory: Path, *, node: int, voters: str, cluster: str) -> None:
        """Format the storage; ``voters`` names every controller."""
        self.node = node
        self.proxied = free_port()
        self._internal = free_port()
        self._voters = voters
        super().__init__(home, directory, cluster=cluster)

    def properties(self, controller_port: int) -> dict[str, str]:
        """Change what is different where there are several brokers."""
        controller = self._voters.split(",")[self.node - 1].split("@")[1]
        own = {
            "node.id": str(self.node),
            "controller.quorum.voters": self._voters,
            "listeners": f"PLAINTEXT://{self.bootstrap},INTERNAL://127.0.0.1:{self._internal},"
            f"CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.proxied},"
            f"INTERNAL://127.0.0.1:{self._internal}",
            "inter.broker.listener.name": "INTERNAL",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "default.replication.factor": str(NODES),
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": str(NODES),
            "transaction.state.log.replication.factor": str(NODES),
            "transaction.state.log.min.isr": "2",
            # A broker that is killed is missed after this long, so that a campaign need not wait.
            "broker.session.timeout.ms": "6000",
        }
        alone = super().properties(controller_port)
        del alone["controller.quorum.bootstrap.servers"]
        return alone | own


class KafkaCluster:
    """Three brokers that are started and ended together, and one by one in between."""

    def __init__(self, home: Path, directory: Path) -> None:
        """Format every broker's storage; nothing runs before the ``with`` block."""
        voters = ",".join(f"{node}@127.0.0.1:{free_port()}" for node in range(1, NODES + 1))
        cluster = cluster_id()
        self.brokers = [
            ClusterBroker(home, directory / f"node-{node}", node=node, voters=voters, cluster=cluster)
            for node in range(1, NODES + 1)
        ]
        self.proxies: list[Proxy] = []
        self.bootstrap = ",".join(f"127.0.0.1:{broker.proxied}" for broker in self.brokers)

    def __enter__(self) -> Self:
        """Start all; return when all answer."""
        self.proxies = [Proxy(broker.proxied, broker.port) for broker in self.brokers]
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all."""
        for broker in self.brokers:
            broker.close()
        for proxy in self.proxies:
            proxy.close()

    def start(self) -> None:
        """Start the brokers that do not run; none answers before most of them do."""
        waiting = [broker for broker in self.brokers if not broker.running]
        for broker in waiting:
            broker.launch()
        for broker in waiting:
            broker.wait_started()

    def controller(self) -> ClusterBroker:
        """Return the broker that is the active controller now."""
        asked = next(broker for broker in self.brokers if broker.running)
        status = asked.java(
            "org.apache.kafka.tools.MetadataQuorumCommand",
            *("--bootstrap-server", self.bootstrap, "describe", "--status"),
        )
        found = LEADER.search(status)
        assert found is not None, status
        return self.brokers[int(found[1]) - 1]

    def watermarks(self, client: Consumer, place: TopicPartition) -> tuple[int, int]:
        """Return the first offset of a partition and the one after its last."""
        return self.brokers[0].watermarks(client, place)
