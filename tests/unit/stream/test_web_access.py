"""Who is answered: the token, and TLS."""

import hmac
import ssl
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from stream import web
from stream.cli import main
from stream.errors import SettingsError
from stream.settings import Settings
from stream.web import Answers, WebServer
from tests.support.certificates import Authority, Certified

TOKEN = "open-sesame"
LIST = b'{"user_id":"u1"}'


def answers() -> Answers:
    """Return what a worker with one list would answer."""
    lists = {"u1": LIST}
    return Answers(registry=CollectorRegistry(), healthy=lambda: True, readiness=dict, find_list=lists.get)


@pytest.fixture
async def server():
    """A server that asks for the token."""
    settings = Settings.load(http_port=0, http_token=TOKEN)
    async with WebServer.of(settings, answers()) as made:
        yield made


async def status(server: WebServer, path: str, header: str | None = None, method: str = "GET") -> int:
    """Give the status of an answer; what is no answer to the token says so in its headers."""
    headers = {} if header is None else {"Authorization": header}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.url + path, headers=headers) as response,
    ):
        assert (response.headers.get("WWW-Authenticate") == "Bearer") is (response.status == 401)
        assert TOKEN not in await response.text()
        return response.status


@pytest.mark.parametrize("path", ["/metrics", "/recommendations/u1", "/recommendations/nobody", "/nothing"])
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        "Bearer open",
        "Bearer é",
    ],
)
async def test_who_does_not_show_the_token_is_not_answered(server: WebServer, path: str, header: str | None):
    """Nothing is told, not even which paths and users there are."""
    assert await status(server, path, header) == 401


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
async def test_who_shows_the_token_is_answered(server: WebServer, header: str):
    """As without a token."""
    assert await status(server, "/metrics", header) == 200
    assert await status(server, "/recommendations/u1", header) == 200
    assert await status(server, "/nothing", header) == 404
    assert await status(server, "/metrics", header, "POST") == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_supervisors_need_no_token(server: WebServer, path: str):
    """They have no place for secrets; and nothing is told but whether it runs."""
    assert await status(server, path) == 200
    assert await status(server, path, "Bearer wrong") == 200
    assert await status(server, f"{path}/../metrics") == 401
    assert await status(server, f"{path}%2F..%2Fmetrics") == 401


async def test_tokens_are_compared_in_constant_time(server: WebServer, monkeypatch: pytest.MonkeyPatch):
    """The time of an answer does not say how much of a token was right."""
    compared = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append((given, expected))
        return hmac.compare_digest(given, expected)

    monkeypatch.setattr(web, "compare_digest", compare)
    assert await status(server, "/metrics", "Bearer open") == 401
    assert compared == [(b"open", TOKEN.encode())]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority nobody trusts unless told."""
    return Authority(tmp_path / "certificates")


@pytest.fixture
def own(authority: Authority) -> Certified:
    """A certificate of the server."""
    return authority.certify("worker")


async def test_port_with_a_certificate_speaks_tls(authority: Authority, own: Certified):
    """It is answered to whoever trusts the authority, under https alone."""
    settings = Settings.load(http_port=0, http_certfile=own.certfile, http_keyfile=own.keyfile)
    trusting = ssl.create_default_context(cafile=authority.cafile)
    async with WebServer.of(settings, answers()) as server, aiohttp.ClientSession() as session:
        assert server.url == f"https://127.0.0.1:{server.port}"
        async with session.get(f"{server.url}/recommendations/u1", ssl=trusting) as response:
            assert await response.read() == LIST
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{server.url}/healthz")
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{server.port}/healthz")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"http_certfile": "/absent.pem"}, "FRESHET_HTTP_CERTFILE is '/absent.pem'"),
        ({"http_keyfile": "/absent.key"}, "it needs FRESHET_HTTP_CERTFILE"),
    ],
)
def test_certificate_that_cannot_be_shown_is_told(files: dict[str, str], words: str):
    """Before anything listens."""
    with pytest.raises(SettingsError, match=words):
        WebServer.of(Settings.load(**files), answers())


def test_token_can_stand_in_a_file_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As every secret."""
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    monkeypatch.setenv("FRESHET_HTTP_TOKEN_FILE", str(tmp_path / "token"))
    settings = Settings.load()
    assert settings.http_token.get_secret_value() == TOKEN
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("token", ["open sesame", "sésame", " open"])
def test_token_that_no_header_can_carry_is_refused(token: str):
    """Rather than a port that lets nobody in."""
    with pytest.raises(SettingsError, match="FRESHET_HTTP_TOKEN is") as refused:
        Settings.load(http_token=token)
    assert token not in str(refused.value)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN])
async def test_recommend_shows_the_token_of_the_settings(
    server: WebServer, token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """`freshet recommend --url` is answered with it, and says what is wrong without."""
    import asyncio

    monkeypatch.setenv("FRESHET_HTTP_TOKEN", token)
    ended = await asyncio.to_thread(main.run, ["recommend", "u1", "--json", "--url", server.url])
    told = capsys.readouterr()
    if token == TOKEN:
        assert (ended, told.out) == (0, LIST.decode() + "\n")
    else:
        assert ended == 1
        assert "answered 401 Unauthorized; set FRESHET_HTTP_TOKEN" in told.err
