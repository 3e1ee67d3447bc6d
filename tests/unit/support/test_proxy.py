"""The proxy of the fault campaign passes everything on, nothing while it is cut, and all of it afterwards."""

import asyncio
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
