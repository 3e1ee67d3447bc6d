"""An object store that speaks S3 over HTTP, for tests of the model store: moto's server, in this process.

It answers as S3 does and keeps what it is given in memory; it checks nobody's key.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from unittest.mock import patch

from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from tests.support.kafka_broker import free_port


class ObjectStore:
    """The server; in a ``with`` block it answers, and this process and those it starts know where."""

    def __init__(self) -> None:
        """Prepare; nothing answers yet."""
        self._port = free_port()
        self._server = self._made()

    def _made(self) -> ThreadedMotoServer:
        return ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)

    def __enter__(self) -> Self:
        """Start."""
        self._server.start()
        said = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._environment = patch.dict(os.environ, said)
        self._environment.start()
        S3FileSystem.clear_instance_cache()  # they know another address, or none
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._environment.stop()
        S3FileSystem.clear_instance_cache()
        self._server.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Answer nobody meanwhile; what it holds stays."""
        self._server.stop()
        try:
            yield
        finally:
            self._server = self._made()
            self._server.start()

    def bucket(self) -> str:
        """Make a bucket of its own; returns its URL."""
        name = f"b{uuid.uuid4().hex[:8]}"
        S3FileSystem().mkdir(name)
        return f"s3://{name}"
