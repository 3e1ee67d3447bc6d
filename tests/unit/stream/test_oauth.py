"""Tokens to log in with: where they come from, how long they are kept, and what is told without them."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from stream.oauth import PAUSE_S, ClientCredentials, TokenFile, Tokens
from stream.settings import Settings
from tests.support.certificates import Authority
from tests.support.token_endpoint import Reply, TokenEndpoint, granted

SECRET = "hunter2:ü +%41"
FILE_SETTING = "FRESHET_SASL_OAUTH_TOKEN_FILE"
URL_SETTING = "FRESHET_SASL_OAUTH_TOKEN_URL"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The clock of the tokens under test."""
    return Clock()


@pytest.fixture
def endpoint():
    """An endpoint that gives token-1, token-2 and so on, each good for 100 s."""
    with TokenEndpoint(lambda request: granted(f"token-{len(endpoint.asked)}", expires_in=100)) as endpoint:
        yield endpoint


def tokens_of(url: str, clock: Clock | None = None, **options: object) -> ClientCredentials:
    """Return what a process with client credentials takes its tokens from."""
    settings = Settings.load(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_url=url,
        sasl_oauth_client_id="shop",
        sasl_oauth_client_secret=SECRET,
        sasl_oauth_scope="kafka read",
    )
    made = settings.tokens
    assert isinstance(made, ClientCredentials)
    assert SECRET not in repr(settings) + repr(made) + repr(made._credentials)
    if clock is None and not options:
        return made
    return ClientCredentials(
        made._credentials, trusted=made._trusted, **({"clock": clock} if clock else {}), **options
    )


async def refusal(tokens: Tokens) -> str:
    """Give the one line that says why there is no token."""
    with pytest.raises(KafkaConnectionError) as refused:
        await tokens.token()
    assert tokens.failure in str(refused.value)
    assert "\n" not in tokens.failure
    assert SECRET not in tokens.failure
    assert "hidden" not in tokens.failure
    return tokens.failure


async def test_file_is_read_for_each_connection(tmp_path: Path):
    """Whoever renews it is followed at once; the line end that editors leave is not part of it."""
    file = tmp_path / "token"
    tokens = TokenFile(file)
    file.write_text("first\n")
    assert await tokens.token() == "first"
    file.write_text("second")
    assert await tokens.token() == "second"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"hidden words", "no token"),
        (b"hidden\x01auth=", "no token"),
        (b"hidden\xff", "can't decode"),
    ],
)
async def test_file_without_token_is_told_until_there_is_one(tmp_path: Path, content: bytes, words: str):
    """The setting and the file are named, what stands in it is not; the next connection may find a token."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    tokens = TokenFile(file)
    told = await refusal(tokens)
    assert told.startswith(f"{FILE_SETTING} is '{file}': ")
    assert words in told
    file.write_text("good")
    assert await tokens.token() == "good"
    assert tokens.failure == ""


async def test_endpoint_is_asked_with_the_credentials(endpoint: TokenEndpoint):
    """The secret goes in the header alone, whatever letters it has."""
    assert await tokens_of(endpoint.url).token() == "token-1"
    form = {"grant_type": "client_credentials", "scope": "kafka read"}
    assert endpoint.asked == [("shop", SECRET, form)]


async def test_token_is_kept_until_shortly_before_its_end(endpoint: TokenEndpoint, clock: Clock):
    """Of 100 s the last fifth is not used."""
    tokens = tokens_of(endpoint.url, clock)
    clock.now_s = 0
    assert await tokens.token() == "token-1"
    clock.now_s = 79.9
    assert await tokens.token() == "token-1"
    clock.now_s = 80
    assert await tokens.token() == "token-2"


@pytest.mark.parametrize(("life", "kept_s"), [("100", 80), (60, 48), (3600, 3600 - 30)])
async def test_token_of_a_long_life_is_used_until_half_a_minute_before(
    endpoint: TokenEndpoint, clock: Clock, life: object, kept_s: float
):
    """Some endpoints write the seconds as a text."""
    endpoint.reply = lambda request: granted(f"token-{len(endpoint.asked)}", expires_in=life)
    tokens = tokens_of(endpoint.url, clock)
    await tokens.token()
    clock.now_s += kept_s - 0.1
    assert await tokens.token() == "token-1"
    clock.now_s += 0.1
    assert await tokens.token() == "token-2"


@pytest.mark.parametrize("life", [None, "soon", -5, 0, "nan", "inf"])
async def test_token_of_an_unknown_life_is_used_once(endpoint: TokenEndpoint, clock: Clock, life: object):
    """The next connection may come after its end."""
    endpoint.reply = lambda request: granted(f"token-{len(endpoint.asked)}", expires_in=life)
    tokens = tokens_of(endpoint.url, clock)
    assert [await tokens.token() for _ in range(2)] == ["token-1", "token-2"]


def test_one_request_serves_all_event_loops(endpoint: TokenEndpoint):
    """Clients that come in at the same time, in threads of their own, wait for one answer."""
    endpoint.reply = lambda request: granted("shared", expires_in=100)._replace(after_s=0.3)
    tokens = tokens_of(endpoint.url)

    async def several() -> list[str]:
        return await asyncio.gather(*(tokens.token() for _ in range(5)))

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: asyncio.run(several()), range(3)))
    assert found == [["shared"] * 5] * 3
    assert len(endpoint.asked) == 1
    assert asyncio.run(several()) == ["shared"] * 5


async def test_request_that_is_given_up_holds_up_nobody(endpoint: TokenEndpoint):
    """A client that is stopped while it asks leaves the next one free to ask."""
    endpoint.reply = lambda request: granted("late", expires_in=100)._replace(after_s=1)
    tokens = tokens_of(endpoint.url)
    asking = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(KafkaConnectionError, match="given up"):
        await waiting
    endpoint.reply = lambda request: granted("next")
    assert await tokens.token() == "next"


async def test_client_that_stops_waiting_takes_the_answer_from_nobody(endpoint: TokenEndpoint):
    """Only who asked can end the request."""
    endpoint.reply = lambda request: granted("shared", expires_in=100)._replace(after_s=0.3)
    tokens = tokens_of(endpoint.url)
    asking = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(tokens.token())
    await asyncio.sleep(0)
    waiting.cancel()
    assert await asking == "shared"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(401, b'{"error": "invalid_client"}'), "it answers 401 (invalid_client); look at FRESHET"),
        (Reply(400, b'{"error": "hidden", "error_description": "hidden"}'), "it answers 400; look at"),
        (Reply(500, b"hidden"), "it answers 500; look at what it logs"),
        (Reply(302, b'{"access_token": "hidden"}'), "it answers 302; look at"),
        (Reply(200, b"<html>hidden"), "it answers 200 without a token"),
        (Reply(200, b'{"hidden": 1}'), "it answers 200 without a token"),
        (Reply(200, b'{"access_token": ["hidden"]}'), "it answers 200 without a token"),
        (Reply(200, b'{"access_token": "hidden words"}'), "it answers 200 without a token"),
        (Reply(200, b'{"access_token": "hidden\xff"}'), "it answers 200 without a token"),
        (Reply(200, b'{"x": ' + b"[" * 100_000), "it answers 200 without a token"),
    ],
    ids=lambda value: None if isinstance(value, Reply) else value,
)
async def test_refusal_is_one_line_and_not_asked_for_again_at_once(
    endpoint: TokenEndpoint, clock: Clock, caplog: pytest.LogCaptureFixture, reply: Reply, words: str
):
    """The setting, the address and the status, and of the answer nothing that could be a secret."""
    caplog.set_level(logging.DEBUG)
    endpoint.reply = lambda request: reply
    tokens = tokens_of(endpoint.url + "?policy=hidden", clock)
    assert f"{URL_SETTING} is '{endpoint.url}': {words}" in await refusal(tokens)
    clock.now_s += PAUSE_S - 0.1
    assert words in await refusal(tokens)
    assert len(endpoint.asked) == 1
    endpoint.reply = lambda request: granted("good")
    clock.now_s += 0.1
    assert await tokens.token() == "good"
    assert tokens.failure == ""
    assert SECRET not in caplog.text
    assert "hidden" not in caplog.text.replace("policy=hidden", "")


async def test_redirection_is_not_followed(endpoint: TokenEndpoint):
    """The secret goes to the address of the setting and to no other."""
    with TokenEndpoint(lambda request: granted("elsewhere")) as other:
        endpoint.reply = lambda request: Reply(307, b"", location=other.url)
        assert "it answers 307" in await refusal(tokens_of(endpoint.url))
        assert other.asked == []


async def test_slow_endpoint_is_given_up(endpoint: TokenEndpoint):
    """A connection is not held up for longer than the limit."""
    endpoint.reply = lambda request: granted("late")._replace(after_s=1)
    assert "does not answer within 0.1 s; is it running?" in await refusal(
        tokens_of(endpoint.url, limit_s=0.1)
    )


async def test_endpoint_that_is_away_or_no_http_is_told(endpoint: TokenEndpoint):
    """Nobody listens, or somebody else does."""
    endpoint.close()
    assert "connect call failed" in await refusal(tokens_of(endpoint.url))

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hidden ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "does not answer as HTTP does" in await refusal(tokens_of(f"http://127.0.0.1:{port}"))


async def test_endpoint_has_to_show_a_certificate_that_is_trusted(tmp_path: Path):
    """The authorities are those of the setting, also where Kafka itself is reached without TLS."""
    authority = Authority(tmp_path)
    with TokenEndpoint(lambda request: granted("good"), authority.certify("endpoint")) as endpoint:
        assert "certificate verify failed" in (await refusal(tokens_of(endpoint.url))).lower()
        assert endpoint.asked == []
        trusting = Settings.load(
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_url=endpoint.url,
            sasl_oauth_client_id="shop",
            sasl_oauth_client_secret=SecretStr(SECRET),
            ssl_cafile=authority.cafile,
        )
        assert await trusting.tokens.token() == "good"
