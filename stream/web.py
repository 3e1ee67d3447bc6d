"""The HTTP side of a process: metrics, health, readiness and lists, and nothing else.

An unknown path is answered 404 and another method than GET 405. Bodies are JSON but for
``/metrics`` (Prometheus text) and ``/healthz`` (a word). Where a token is set, everything but
``OPEN`` is answered 401 to whoever does not show it, unknown paths too.
"""

import errno
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, Final, Self

import msgspec
from aiohttp import web
from aiohttp.hdrs import EXPECT
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stream.errors import FreshetError, PortInUse
from stream.settings import Settings

OPEN: Final = frozenset({"/healthz", "/readyz"})
"""What supervisors ask, who have no secrets."""

JSON: Final = "application/json"

Handler = Callable[..., Awaitable[web.StreamResponse]]


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

    def __init__(
        self,
        answers: Answers,
        *,
        host: str,
        port: int,
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare; with ``port`` 0 any free one is taken. Anybody may ask where ``token`` is empty."""
        self._host = host
        self._asked_port = port
        self._tls = tls
        self._runner = runner_of(application(answers, token=token))

    @classmethod
    def of(cls, settings: Settings, answers: Answers) -> Self:
        """Prepare the server of the settings. Raises ``SettingsError`` for its certificate."""
        return cls(
            answers,
            host=settings.http_host,
            port=settings.http_port,
            token=settings.http_token.get_secret_value(),
            tls=settings.http_ssl_context(),
        )

    @property
    def url(self) -> str:
        """Where to ask, once started."""
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}"

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
            tls=self._tls,
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


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a fault is ours to log: what was no HTTP is not, and its bytes may hold a token."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


faults = logging.getLogger(f"{__name__}.faults")
faults.addFilter(_is_ours)


def runner_of(app: web.Application, **options: Any) -> web.AppRunner:
    """Make what runs an application; it logs faults of ours and no requests."""
    return web.AppRunner(app, access_log=None, logger=faults, **options)


async def listen(
    runner: web.AppRunner,
    *,
    host: str,
    port: int,
    port_option: str,
    host_option: str = "",
    tls: ssl.SSLContext | None = None,
) -> None:
    """Set up ``runner`` and let it listen; the names of the options are for whoever must choose others.

    Raises ``PortInUse``, or ``FreshetError`` where the address cannot be had.
    """
    await runner.setup()
    if runner.server is not None:
        runner.server.request_factory = _expecting_nothing(runner.server.request_factory)
    # Without reuse of the address a restarted worker would wait for its old connections.
    site = web.TCPSite(runner, host, port, reuse_address=True, ssl_context=tls)
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


def _expecting_nothing(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Let requests come without Expect: no body is read, and aiohttp fails over odd bytes in that header."""

    def made(message: Any, *parts: Any) -> web.BaseRequest:
        if EXPECT in message.headers:
            others = [(name, value) for name, value in message.headers.items() if name.lower() != "expect"]
            message = message._replace(headers=CIMultiDictProxy(CIMultiDict(others)))
        return make(message, *parts)

    return made


def application(answers: Answers, *, token: str = "") -> web.Application:
    """Make the application: four paths, GET only, behind the token where there is one."""

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
        try:
            user_id.encode()
        except UnicodeEncodeError:  # only aiohttp's parser in Python lets such bytes through
            return _json({"error": "the user's id is not UTF-8"}, status=400)
        found = answers.find_list(user_id)
        if found is None:
            return _json({"error": "this worker holds no list for the user", "user_id": user_id}, status=404)
        return web.Response(body=found, content_type=JSON)

    app = web.Application(middlewares=[_guard(token)] if token else [])
    app.router.add_get("/metrics", metrics, allow_head=False)
    app.router.add_get("/healthz", healthz, allow_head=False)
    app.router.add_get("/readyz", readyz, allow_head=False)
    app.router.add_get("/recommendations/{user_id}", recommendations, allow_head=False)
    return app


def _guard(token: str) -> Handler:
    """Return the middleware that lets only those pass who show the token."""
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in OPEN:
            return await handler(request)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # As long for a token that is nearly right as for any other of its length.
        right = compare_digest(given.strip().encode(errors="surrogateescape"), expected)
        if not (right and scheme.lower() == "bearer"):
            answer = _json({"error": "this needs the token: Authorization: Bearer ..."}, status=401)
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return await handler(request)

    return guard


def _json(body: Mapping[str, object], *, status: int) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=JSON)
