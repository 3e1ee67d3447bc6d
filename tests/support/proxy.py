"""A TCP proxy of one port whose network can be cut, slowed down and mended."""

import asyncio
import threading
from contextlib import suppress
from typing import Self

CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards what comes to ``port`` of 127.0.0.1 to ``target``, while it is not cut.

    Cut, it still accepts and passes nothing on in either direction, as a network that drops packets
    does: whoever waits finds out by a timeout. Mended, what was on its way arrives. Throttled, all
    connections share so many bytes a second in each direction, in turns.
    """

    def __init__(self, port: int, target: int) -> None:
        """Listen; the thread ends with ``close``."""
        self.port = port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._bytes_per_s: float | None = None
        self._up, self._down = asyncio.Lock(), asyncio.Lock()
        self._pumps: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def __enter__(self) -> Self:
        """Return the proxy, which listens already."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Stop."""
        self.close()

    def cut(self) -> None:
        """Let nothing through from now on."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """Let everything through again, at full speed."""
        self._bytes_per_s = None
        self._loop.call_soon_threadsafe(self._passing.set)

    def throttle(self, bytes_per_s: float) -> None:
        """Let no more than this through in each direction from now on."""
        self._bytes_per_s = bytes_per_s

    def close(self) -> None:
        """End every connection and stop listening."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _end(self) -> None:
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        for one, other, turn in ((reader, back, self._up), (there, writer, self._down)):
            pump = asyncio.create_task(self._pump(one, other, turn))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: asyncio.Lock
    ) -> None:
        # An end that went away ends the connection; whoever used it sees that for themselves.
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._passing.wait()
                await self._wait_turn(len(data), turn)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _wait_turn(self, count: int, turn: asyncio.Lock) -> None:
        """Return when so many bytes may pass in the direction of ``turn``; who waits longest is next."""
        if self._bytes_per_s is None:
            return
        async with turn:
            # What was mended meanwhile does not wait any more.
            if self._bytes_per_s is not None:
                await asyncio.sleep(count / self._bytes_per_s)
