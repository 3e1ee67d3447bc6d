"""Whose turn it is: of several retraining processes one works and the others wait.

Kafka decides. The processes are a consumer group on the ``models`` topic, of which they read
nothing; who is given its first partition has the turn. When that process is gone, the group gives
the partition to another.
"""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from aiokafka import ConsumerRebalanceListener, TopicPartition

from stream import clients
from stream.settings import Settings

SESSION_TIMEOUT_MS: Final = 30_000
"""How long the group waits for a silent process. Training runs in a thread, beside the heartbeats."""

NEVER_MS: Final = 2**31 - 1


class Turn(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """This process's place in the group, from entering to leaving.

    ``rounds`` counts how often the group has shared its partitions out to it; ``told`` is set at the first.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare; the group is ``<group id>-retrain-<model name>``."""
        self._settings = settings
        self.rounds = 0
        self.told = asyncio.Event()
        self._mine = False
        self._token = TopicPartition(settings.topics.models, 0)
        self._running = clients.running(
            clients.consumer(
                settings,
                group_id=f"{settings.group_id}-retrain-{settings.model_name}",
                session_timeout_ms=SESSION_TIMEOUT_MS,
                # Nothing is ever fetched, which would otherwise count as being stuck.
                max_poll_interval_ms=NEVER_MS,
            ),
            settings,
        )

    async def __aenter__(self) -> Self:
        """Join the group. Raises ``BrokerUnavailable``."""
        consumer = await self._running.__aenter__()
        consumer.subscribe([self._token.topic], listener=self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it, so that another need not wait."""
        await self._running.__aexit__(kind, error, trace)

    def mine(self) -> bool:
        """Whether this process has the turn now; it may lose it at any time."""
        return self._mine

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Give the turn back while the group shares out anew."""
        self._mine = False

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take the turn where it was given to this process."""
        self._mine = self._token in assigned
        self.rounds += 1
        self.told.set()
