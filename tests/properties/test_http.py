"""Whatever is asked of a worker's HTTP port is answered without a fault of ours."""

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.settings import Settings
from stream.worker import Worker

LIMIT_S = 10.0
ANSWER_LIMIT_S = 1.0
LENGTH = re.compile(rb"(?i)\r\nContent-Length: (\d+)")
TOKEN = "open-sesame"
#: The bytes that end a line or a part of it are left out of some, so that more than the parser is met.
NOT_THE_LINE = [byte for byte in range(256) if byte not in b"\r\n \t"]

written = st.lists(st.sampled_from(NOT_THE_LINE), max_size=60).map(bytes)
escaped = st.lists(st.integers(0, 255), max_size=20).map(
    lambda all_: "".join(f"%{one:02x}" for one in all_).encode()
)
pieces = st.one_of(written, escaped, st.binary(max_size=40))
paths = st.one_of(
    pieces.map(lambda end: b"/recommendations/" + end),
    pieces.map(lambda end: b"/" + end),
    st.sampled_from([b"/metrics", b"/healthz", b"/readyz", b"*", b"http://[", b"//", b"/?\xff"]),
    pieces,
)
names = st.one_of(
    st.sampled_from([b"Authorization", b"Host", b"Expect", b"Connection", b"Range", b"Upgrade"]), pieces
)
values = st.one_of(pieces, pieces.map(lambda end: b"Bearer " + end), st.just(b"Bearer " + TOKEN.encode()))
headers = st.lists(st.tuples(names, values), max_size=5)
methods = st.one_of(st.just(b"GET"), st.sampled_from([b"POST", b"HEAD", b"OPTIONS", b"TRACE"]), written)


def _whole(answered: bytes) -> bool:
    """Whether an answer has come to its end."""
    head, end, body = answered.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


class Port:
    """A worker's port, served in a thread of its own, and what is logged meanwhile."""

    def __init__(self, token: str) -> None:
        """Start."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.heard: list[logging.LogRecord] = []
        self._web = asyncio.run_coroutine_threadsafe(self._started(token), self.loop).result(LIMIT_S)
        self.port = self._web.port

    async def _started(self, token: str):
        worker = Worker(Settings.load(http_port=0, http_token=token))
        await worker.web.start()
        return worker.web

    def ask(self, request: bytes) -> bytes:
        """Send bytes and return the answer; nothing where the server waits for more, or hangs up."""
        answered = b""
        place = "127.0.0.1", self.port
        with (
            suppress(TimeoutError, ConnectionError),
            socket.create_connection(place, ANSWER_LIMIT_S) as client,
        ):
            client.sendall(request)
            while not _whole(answered) and (more := client.recv(65_536)):
                answered += more
        return answered

    def close(self) -> None:
        """Stop."""
        asyncio.run_coroutine_threadsafe(self._web.stop(), self.loop).result(LIMIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Hearing(logging.Handler):
    """Keeps what a log at the level of warnings would show."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.heard.append(self.format(record))


@pytest.fixture(scope="module", params=["", TOKEN], ids=["open", "guarded"])
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    """A worker's port, with a token and without."""
    made = Port(request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hearing() -> Iterator[Hearing]:
    """What is logged by the server."""
    made = Hearing()
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(method=b"GET", path=b"/recommendations/\xff", fields=[])
@example(method=b"GET", path=b"/recommendations/%ff", fields=[])
@example(method=b"GET", path=b"//", fields=[(b"Expect", b"\xee")])
@given(method=methods, path=paths, fields=headers)
def test_no_request_is_a_fault_of_ours(port: Port, hearing: Hearing, method: bytes, path: bytes, fields):
    """An answer below 500, or none to what is no HTTP; and no line in the log."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: w", b"Connection: close"]
    lines += [name + b": " + value for name, value in fields]
    hearing.heard.clear()
    answered = port.ask(b"\r\n".join(lines) + b"\r\n\r\n")
    if answered:
        assert answered.startswith(b"HTTP/1."), answered
        status = int(answered.split()[1])
        assert status < 500 or path in (b"/readyz", b"/healthz"), answered
    assert b"Traceback" not in answered
    assert hearing.heard == []
