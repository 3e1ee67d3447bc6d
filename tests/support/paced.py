"""Given events at a steady rate, each with a production time of its own."""

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Producer

from tests.support.deployment import Sent

TICK_S = 0.01
FLUSH_LIMIT_S = 60.0


class Paced(threading.Thread):
    """Sends records one after the other until all are sent or it is ended.

    ``partition_of`` chooses where each goes. A record's production time is that at which it was due, so that
    what waits for a slow sender counts as waiting; no two have the same.
    """

    def __init__(
        self,
        records: Sequence[Sent],
        events_per_s: float,
        bootstrap: str,
        partition_of: Callable[[bytes], int],
    ) -> None:
        """Prepare; ``sent`` counts what was given to the client."""
        super().__init__(daemon=True)
        self.sent = 0
        self.failed: list[object] = []
        self._records, self._events_per_s = records, events_per_s
        self._partition_of = partition_of
        self._ends = threading.Event()
        self._client = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
        )

    def run(self) -> None:
        """Send at the rate."""
        began_s, began_ms = time.monotonic(), time.time_ns() // 1_000_000
        step_ms = 1_000 / self._events_per_s
        while self.sent < len(self._records) and not self._ends.wait(TICK_S):
            due = int((time.monotonic() - began_s) * self._events_per_s)
            for record in self._records[self.sent : due]:
                self._client.produce(
                    record.topic,
                    record.value,
                    record.key,
                    self._partition_of(record.key or b""),
                    on_delivery=self._delivered,
                    timestamp=began_ms + int(self.sent * step_ms),
                )
                self.sent += 1
            self._client.poll(0)

    def end(self) -> None:
        """Stop, and return when everything is acknowledged."""
        self._ends.set()
        self.join()
        assert self._client.flush(FLUSH_LIMIT_S) == 0
        assert not self.failed, self.failed[:3]

    def _delivered(self, error: object, message: object) -> None:
        if error is not None:
            self.failed.append(error)
