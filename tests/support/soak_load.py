"""A steady load in which users come and go, from a seed."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Producer

from tests.support.deployment import event, partition_of
from tests.support.flood import BEHAVIORS, now_ms

TICK_S = 0.05
FLUSH_LIMIT_S = 60.0


@dataclass(frozen=True)
class Load:
    """``events_per_s`` events of ``active`` users at a time; ``users_per_s`` come and as many go.

    Every second one of those who go asks to be erased.
    """

    events_per_s: float
    users_per_s: float
    active: int
    items: Sequence[str]
    partitions: int
    seed: int = 1


class Sender(threading.Thread):
    """Sends a load until ended; ``sent`` counts the events, ``erased`` the requests to erase."""

    def __init__(self, load: Load, bootstrap: str, topics: Sequence[str], forget: str) -> None:
        """Prepare; ``topics`` are those of the behaviours."""
        super().__init__(daemon=True)
        self.sent = self.erased = 0
        self.failed: list[object] = []
        self._load, self._topics, self._forget = load, topics, forget
        self._ends = threading.Event()
        self._drawn = random.Random(load.seed)
        self._client = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})

    def run(self) -> None:
        """Send at the load's rate."""
        began_s, gone = time.monotonic(), 0
        while not self._ends.wait(TICK_S):
            passed_s = time.monotonic() - began_s
            first = int(passed_s * self._load.users_per_s)
            while self.sent < passed_s * self._load.events_per_s:
                self._event(first + self._drawn.randrange(self._load.active))
            # One that has just gone may have an event on its way under another topic, so a little later.
            while gone < first - self._load.active:
                if gone % 2:
                    self._put(self._forget, f"u{gone}", b"")
                    self.erased += 1
                gone += 1
            self._client.poll(0)

    def end(self) -> None:
        """Stop, and return when everything is acknowledged."""
        self._ends.set()
        self.join()
        assert self._client.flush(FLUSH_LIMIT_S) == 0
        assert not self.failed, self.failed[:3]

    def _event(self, user: int) -> None:
        topic = self._topics[self._drawn.choice(BEHAVIORS)]
        self._put(topic, f"u{user}", event(f"u{user}", self._drawn.choice(self._load.items), now_ms()))
        self.sent += 1

    def _put(self, topic: str, key: str, value: bytes) -> None:
        partition = partition_of(key.encode(), self._load.partitions)
        self._client.produce(topic, value, key, partition, on_delivery=self._delivered)

    def _delivered(self, error: object, message: object) -> None:
        if error is not None:
            self.failed.append(error)
