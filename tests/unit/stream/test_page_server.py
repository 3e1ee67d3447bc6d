"""The server of the demo's page: its files, its two questions, and nobody else's pages."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from typing import NamedTuple

import msgspec
import pytest
from aiohttp import ClientSession

from stream.errors import PortInUse
from stream.page_server import FILES, PageServer
from tests.support.live import Shop

MOST_BYTES = 200_000


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """The body, which is JSON."""
        return msgspec.json.decode(self.body)


@pytest.fixture
def shop() -> Shop:
    """A worker that the page watches."""
    shop = Shop()
    shop.begin()
    return shop


@pytest.fixture
def server(shop: Shop) -> Iterator[PageServer]:
    """Its page on a free port."""
    with PageServer(shop.live) as server:
        yield server


async def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> Answer:
    """Give the answer to a path."""
    url = server.url.rstrip("/") + path
    async with ClientSession() as session, session.request(method, url, headers=headers) as response:
        return Answer(response.status, dict(response.headers), await response.read())


@pytest.mark.parametrize(("path", "file"), FILES.items())
async def test_the_files_are_served_as_what_they_are(
    server: PageServer, path: str, file: tuple[str, str]
) -> None:
    """With their types, which a browser must not guess."""
    name, content_type = file
    answer = await ask(server, path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{content_type}; charset=utf-8"
    assert answer.body == files("stream").joinpath("page", name).read_bytes()


async def test_the_page_is_small_and_whole(server: PageServer) -> None:
    """Every file is served, all together are below the limit."""
    served = {name for name, _ in FILES.values()}
    there = {file.name for file in files("stream").joinpath("page").iterdir()}
    assert there == served
    assert sum([len((await ask(server, path)).body) for path in FILES]) < MOST_BYTES


def test_nothing_comes_from_another_host() -> None:
    """No file names an address but the name spaces of SVG; sources and links are files beside the page."""
    linked = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {name for name, _ in attrs} & {"style"}
            assert not any(name.startswith("on") for name, _ in attrs)
            linked.extend(value for name, value in attrs if name in {"src", "href"})

    for file in files("stream").joinpath("page").iterdir():
        text = file.read_text()
        assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    Links().feed(files("stream").joinpath("page", "index.html").read_text())
    assert set(linked) == {"#user", "icon.svg", "page.css", "page.js"}


@pytest.mark.parametrize("path", ["/", "/page.js", "/news", "/user?id=u", "/nothing"])
async def test_every_answer_forbids_what_is_not_the_pages(server: PageServer, path: str) -> None:
    """No inline script or style, no other host, no frame, no guess at types."""
    headers = (await ask(server, path)).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any("unsafe" in rule or "*" in rule for rule in policy)
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_news_are_told_from_a_number_on(server: PageServer, shop: Shop) -> None:
    """A page that has a sample is not told it again."""
    shop.run(("u", "i1"))
    shop.sample()
    told = (await ask(server, "/news?since=0")).json()
    assert isinstance(told, dict)
    assert told["phase"] == "serving"
    assert told["outcomes"]["applied"] == 1
    assert [sample["events"] for sample in told["samples"]] == [1]
    again = (await ask(server, f"/news?since={told['next']}")).json()
    assert isinstance(again, dict)
    assert again["samples"] == []


@pytest.mark.parametrize("since", ["-1", "x", "1.5", "", "²", "9" * 5_000])
async def test_a_since_that_is_no_number_is_refused(server: PageServer, since: str) -> None:
    """In one line, as JSON."""
    answer = await ask(server, f"/news?since={since}")
    assert (answer.status, answer.json()) == (400, {"error": "since must be a whole number"})


async def test_a_user_is_told_with_segment_and_list(server: PageServer, shop: Shop) -> None:
    """Whatever letters the id has; null for one the worker has no list of."""
    shop.run(("a/b é&?", "i1"))
    told = (await ask(server, "/user?id=a%2Fb%20%C3%A9%26%3F")).json()
    assert isinstance(told, dict)
    assert told["user_id"] == "a/b é&?"
    assert [event["item_id"] for event in told["segment"]] == ["i1"]
    assert len(told["items"]) == 5
    assert (await ask(server, "/user?id=nobody")).json() is None
    assert (await ask(server, "/user")).json() is None


@pytest.mark.parametrize(
    "path", ["/metrics", "/page", "/page/", "/../pyproject.toml", "/index.html", "/user/u"]
)
async def test_nothing_else_answers(server: PageServer, path: str) -> None:
    """The worker's paths are on the worker's port."""
    assert (await ask(server, path)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_are_not_allowed(server: PageServer, method: str) -> None:
    """The page is for looking."""
    assert (await ask(server, "/news", method)).status == 405


@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("localhost", 200), ("127.0.0.1", 200)])
async def test_another_hosts_name_is_refused(server: PageServer, host: str, status: int) -> None:
    """A name that someone let lead to this machine must not read the page."""
    assert (await ask(server, "/news", Host=host)).status == status


def test_a_taken_port_is_one_line(server: PageServer, shop: Shop) -> None:
    """With the option that names another."""
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(PortInUse, match=rf"^HTTP port {port} on 127\.0\.0\.1 is in use; set --page-port to"):
        PageServer(shop.live, port=port).__enter__()


def test_the_port_is_free_after_the_end(shop: Shop) -> None:
    """The thread has ended with the block."""
    with PageServer(shop.live) as first:
        port = int(first.url.rstrip("/").rsplit(":", 1)[1])
    with PageServer(shop.live, port=port) as second:
        assert second.url == first.url
