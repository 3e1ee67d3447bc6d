"""The demo's page on a port of localhost, served from a thread of its own.

The page is files of this package and asks nothing of any other host. Its answers may take a while
(a user's list is explained on request), which is why they are not given in the worker's loop.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from importlib.resources import files
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import web

from stream.live import Live
from stream.web import JSON, listen, runner_of

HOST: Final = "127.0.0.1"
FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/user.js": ("user.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""No script or style but the files above, no other host, no frame."""

CLOSE_LIMIT_S: Final = 1.0

SINCE_DIGITS: Final = 18
"""Python refuses to read numbers of thousands of digits."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """The page of ``live``, from ``with`` to its end; ``url`` is where a browser finds it."""

    def __init__(self, live: Live, *, port: int = 0) -> None:
        """Prepare; with ``port`` 0 any free one is taken."""
        self._live = live
        self._port = port
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._started: Future[str] = Future()
        self.url = ""

    def __enter__(self) -> Self:
        """Listen. Raises ``PortInUse``, or ``FreshetError`` where there is no port."""
        self._thread.start()
        self.url = self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way, and the thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        runner = runner_of(application(self._live), shutdown_timeout=CLOSE_LIMIT_S)
        await listen(runner, host=HOST, port=self._port, port_option="--page-port")
        self._loop = asyncio.get_running_loop()
        self._started.set_result(f"http://{HOST}:{runner.addresses[0][1]}/")
        try:
            await self._ended.wait()
        finally:
            await runner.cleanup()


def application(live: Live) -> web.Application:
    """Make the application: the page's files, what is new, and a user; GET only."""
    app = web.Application(middlewares=[_from_here])
    app.on_response_prepare.append(_add_headers)

    async def news(request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) <= SINCE_DIGITS):
            return web.json_response({"error": "since must be a whole number"}, status=400)
        return _json(live.news(int(since)))

    async def user(request: web.Request) -> web.Response:
        return _json(live.user(request.query.get("id", "")))

    for path, (name, content_type) in FILES.items():
        app.router.add_get(path, _file(name, content_type), allow_head=False)
    app.router.add_get("/news", news, allow_head=False)
    app.router.add_get("/user", user, allow_head=False)
    return app


def _file(name: str, content_type: str) -> Handler:
    """Return what answers with a file of the page."""
    body = files("stream").joinpath("page", name).read_bytes()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer


@web.middleware
async def _from_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer only who asks for localhost: another host's name that leads here is another host's page."""
    if (request.url.host or "") not in {HOST, "localhost"}:
        raise web.HTTPForbidden(text="this page is for this machine alone\n")
    return await handler(request)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _json(body: msgspec.Struct | None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type=JSON)
