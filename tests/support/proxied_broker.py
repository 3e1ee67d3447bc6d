"""A real Kafka broker with a second way in, by a proxy: for workers that are to find it slow."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.proxy import Proxy


class ProxiedBroker(KafkaBroker):
    """``address`` is that of the proxy; the plain listener is for the tests' own clients."""

    proxy: Proxy

    def __init__(self, home: Path, directory: Path) -> None:
        """Format the storage."""
        self._proxied, self._behind = free_port(), free_port()
        self.address = f"127.0.0.1:{self._proxied}"
        super().__init__(home, directory)

    def __enter__(self) -> Self:
        """Start the proxy and the broker."""
        self.proxy = Proxy(self._proxied, self._behind)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        super().__exit__(kind, error, trace)
        self.proxy.close()

    def properties(self, controller_port: int) -> dict[str, str]:
        """Add the listener behind the proxy; whoever comes in there is told to come again by the proxy."""
        alone = super().properties(controller_port)
        return alone | {
            "listeners": f"{alone['listeners']},PROXIED://127.0.0.1:{self._behind}",
            "advertised.listeners": f"{alone['advertised.listeners']},PROXIED://{self.address}",
            "listener.security.protocol.map": f"{alone['listener.security.protocol.map']},PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
