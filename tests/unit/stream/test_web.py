"""The HTTP side: four paths, GET only, and a taken port told in one line."""

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry, Counter

from stream.errors import FreshetError, PortInUse
from stream.web import Answers, WebServer, application

LISTS = {"u1": b'{"user_id":"u1"}', "a/b é": b'{"user_id":"a/b \xc3\xa9"}'}


class Worker:
    """What a worker would answer."""

    healthy = True
    conditions: dict[str, bool]

    def __init__(self) -> None:
        self.conditions = {"assigned": True, "restored": True, "weights": True}
        self.registry = CollectorRegistry()
        Counter("t_things", "Things.", registry=self.registry).inc()

    def answers(self) -> Answers:
        """Hand the state over as the server wants it."""
        return Answers(
            registry=self.registry,
            healthy=lambda: self.healthy,
            readiness=lambda: self.conditions,
            find_list=LISTS.get,
        )


@pytest.fixture
def worker():
    """A worker that is healthy and ready."""
    return Worker()


@pytest.fixture
async def server(worker):
    """The worker's server, on a free port."""
    async with WebServer(worker.answers(), host="127.0.0.1", port=0) as server:
        yield server


async def ask(server: WebServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Give the status, the content type and the body of an answer."""
    url = f"http://127.0.0.1:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_metrics_are_prometheus_text(server):
    """The registry that was passed in is shown, in the format Prometheus asks for."""
    status, content_type, body = await ask(server, "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert "t_things_total 1.0" in body


async def test_health_follows_the_loop(server, worker):
    """A stalled loop is told by the status, which is all a supervisor looks at."""
    assert (await ask(server, "/healthz"))[0] == 200
    worker.healthy = False
    assert (await ask(server, "/healthz"))[0] == 503


async def test_readiness_names_what_is_missing(server, worker):
    """Ready when every condition holds; otherwise 503 with the conditions."""
    assert (await ask(server, "/readyz"))[0] == 200
    worker.conditions["weights"] = False
    status, _, body = await ask(server, "/readyz")
    assert status == 503
    assert '"weights":false' in body
    assert '"ready":false' in body


async def test_list_is_given_as_it_was_sent(server):
    """The bytes of the message are the body."""
    assert await ask(server, "/recommendations/u1") == (200, "application/json", '{"user_id":"u1"}')


async def test_user_id_may_hold_any_letter(server):
    """A slash or an accent in an id comes percent-encoded."""
    status, _, body = await ask(server, "/recommendations/a%2Fb%20%C3%A9")
    assert (status, body) == (200, '{"user_id":"a/b é"}')


async def test_user_id_that_is_no_text_is_a_bad_request():
    """Bytes that are not UTF-8 reach us where aiohttp has no parser in C."""
    answers = Answers(
        registry=CollectorRegistry(), healthy=lambda: True, readiness=dict, find_list=lambda user_id: None
    )
    request = make_mocked_request("GET", "/recommendations/x", match_info={"user_id": "\udcff"})
    (handler,) = [
        route.handler
        for route in application(answers).router.routes()
        if route.resource is not None and route.resource.canonical == "/recommendations/{user_id}"
    ]
    assert (await handler(request)).status == 400


async def test_user_without_list_is_not_found(server):
    """404 with a reason in JSON."""
    status, content_type, body = await ask(server, "/recommendations/nobody")
    assert (status, content_type) == (404, "application/json")
    assert "nobody" in body


@pytest.mark.parametrize(
    "path",
    ["/", "/table", "/metrics/", "/metrics/x", "/recommendations", "/recommendations/", "/favicon.ico"],
)
async def test_nothing_else_answers(server, path):
    """Every other path is 404."""
    assert (await ask(server, path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/recommendations/u1"])
async def test_other_methods_are_not_allowed(server, path, method):
    """The interface is for reading only."""
    assert (await ask(server, path, method))[0] == 405


async def test_port_in_use_is_one_line_with_the_remedy(server, worker):
    """The port, the address and the setting are named."""
    with pytest.raises(PortInUse) as refused:
        await WebServer(worker.answers(), host="127.0.0.1", port=server.port).start()
    assert str(refused.value) == (
        f"HTTP port {server.port} on 127.0.0.1 is in use; set FRESHET_HTTP_PORT to a free one (0: any)"
    )


async def test_address_that_is_not_ours_is_told(worker):
    """An address of another machine cannot be listened on."""
    with pytest.raises(FreshetError, match=r"^cannot listen on 192\.0\.2\.1 port 6066: .*FRESHET_HTTP_HOST"):
        await WebServer(worker.answers(), host="192.0.2.1", port=6066).start()


async def test_port_is_free_after_the_stop(worker):
    """A worker that stopped leaves its port to the next one at once."""
    first = WebServer(worker.answers(), host="127.0.0.1", port=0)
    await first.start()
    port = first.port
    await ask(first, "/healthz")
    await first.stop()
    async with WebServer(worker.answers(), host="127.0.0.1", port=port) as second:
        assert (await ask(second, "/healthz"))[0] == 200
