"""The proxy passes everything on, nothing while cut, slowly while throttled, all of it afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.kafka_broker import free_port
from tests.support.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that answers each line with the same line."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    with Proxy(free_port(), server.sockets[0].getsockname()[1]) as made:
        yield made
    server.close()


async def test_a_cut_holds_back_what_is_on_its_way(proxy: Proxy) -> None:
    """In connections that were there before, and in new ones."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"
    proxy.cut()
    writer.write(b"meanwhile\n")
    later, other = await asyncio.open_connection("127.0.0.1", proxy.port)
    other.write(b"new\n")
    for waiting in (reader, later):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.read(1), 0.2)
    proxy.mend()
    assert await asyncio.wait_for(reader.readline(), 5) == b"meanwhile\n"
    assert await asyncio.wait_for(later.readline(), 5) == b"new\n"
    for one in (writer, other):
        one.close()


async def test_a_throttle_is_shared_by_all_connections(proxy: Proxy) -> None:
    """Two connections that send as much get half the bytes a second each."""
    ends = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(2)]
    proxy.throttle(20_000)
    began_s = time.monotonic()
    for _, writer in ends:
        writer.write(b"x" * 4_999 + b"\n")
    await asyncio.gather(*(reader.readline() for reader, _ in ends))
    assert time.monotonic() - began_s >= 2 * 5_000 / 20_000
    proxy.mend()
    began_s = time.monotonic()
    for _, writer in ends:
        writer.write(b"x" * 40_000 + b"\n")
    await asyncio.gather(*(reader.readline() for reader, _ in ends))
    assert time.monotonic() - began_s < 2 * 40_000 / 20_000
    for _, writer in ends:
        writer.close()
