"""The HTTP side of a process: metrics, health, readiness and lists, and nothing else.

An unknown path is answered 404 and another method than GET 405. Bodies are JSON but for
``/metrics`` (Prometheus text) and ``/healthz`` (a word).
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stream.errors import FreshetError, PortInUse

JSON: Final = "application/json"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Where the answers come from; each is called in the server's loop and must not block.

    ``healthy`` says whether the loop ticks. ``readiness`` gives each condition of readiness by
    name; a worker is ready when all hold. ``find_list`` gives a user's list as it was sent, or
    ``None`` where this process holds none.
    """

    registry: CollectorRegistry
    healthy: Callable[[], bool]
    readiness: Callable[[], Mapping[str, bool]]
    find_list: Callable[[str], bytes | None]


class WebServer:
    """The server, on one port of one address, from ``start`` to ``stop``."""

    def __init__(self, answers: Answers, *, host: str, port: int) -> None:
        """Prepare; with ``port`` 0 any free one is taken."""
        self._host = host
        self._asked_port = port
        self._runner = web.AppRunner(application(answers), access_log=None)

    @property
    def port(self) -> int:
        """The port in use, once started."""
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. Raises ``PortInUse``, or ``FreshetError`` where the address cannot be had."""
        await listen(
            self._runner,
            host=self._host,
            port=self._asked_port,
            port_option="FRESHET_HTTP_PORT",
            host_option="FRESHET_HTTP_HOST",
        )

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop."""
        await self.stop()


async def listen(
    runner: web.AppRunner, *, host: str, port: int, port_option: str, host_option: str = ""
) -> None:
    """Set up ``runner`` and let it listen; the names of the options are for whoever must choose others.

    Raises ``PortInUse``, or ``FreshetError`` where the address cannot be had.
    """
    await runner.setup()
    # Without reuse of the address a restarted worker would wait for its old connections.
    site = web.TCPSite(runner, host, port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"HTTP port {port} on {host} is in use; set {port_option} to a free one (0: any)"
            ) from None
        options = " or ".join(filter(None, (host_option, port_option)))
        raise FreshetError(
            f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}; set {options}"
        ) from None


def application(answers: Answers) -> web.Application:
    """Make the application: four paths, GET only."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(answers.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(_: web.Request) -> web.Response:
        healthy = answers.healthy()
        return web.Response(text="ok\n" if healthy else "stalled\n", status=200 if healthy else 503)

    async def readyz(_: web.Request) -> web.Response:
        conditions = dict(answers.readiness())
        ready = all(conditions.values())
        return _json({"ready": ready, "conditions": conditions}, status=200 if ready else 503)

    async def recommendations(request: web.Request) -> web.Response:
        user_id = request.match_info["user_id"]
        found = answers.find_list(user_id)
        if found is None:
            return _json({"error": "this worker holds no list for the user", "user_id": user_id}, status=404)
        return web.Response(body=found, content_type=JSON)

    app = web.Application()
    app.router.add_get("/metrics", metrics, allow_head=False)
    app.router.add_get("/healthz", healthz, allow_head=False)
    app.router.add_get("/readyz", readyz, allow_head=False)
    app.router.add_get("/recommendations/{user_id}", recommendations, allow_head=False)
    return app


def _json(body: Mapping[str, object], *, status: int) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=JSON)
