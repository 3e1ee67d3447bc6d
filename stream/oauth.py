"""Tokens to log in to Kafka with (SASL OAUTHBEARER, RFC 7628): from a file, or from a token endpoint.

All clients of a process share one source, whatever threads and event loops they run in, so nothing
in a source belongs to a loop. To the client library a token that cannot be had is a broker that does
not answer: a worker tries again, and a command ends with the line of ``Tokens.failure``.
"""

import asyncio
import base64
import re
import ssl
import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple
from urllib.parse import quote_plus

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from stream.settings import reason

REQUEST_LIMIT_S: Final = 10.0
"""How long a token endpoint may take."""

PAUSE_S: Final = 1.0
"""How long after a refusal the endpoint is not asked again: many clients may want to come in."""

RENEWED_EARLY_S: Final = 30.0
"""How long before its end a token is not used any more, but at most a fifth of its life."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""A bearer token as RFC 6750 (2.1) writes it; anything else could end the login's message early."""

_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
"""What an endpoint can say of a refusal (RFC 6749, 5.2); of its answer nothing else is ever shown."""


class NoToken(Exception):
    """Why a token cannot be had, in one line that names the setting."""


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """A token for each new connection; ``failure`` is why the last could not be had, empty if it could."""

    failure = ""

    async def token(self) -> str:
        """Return a token that is in force; raises what the client library takes for an absent broker."""
        try:
            found = await self._find()
        except NoToken as missing:
            self.failure = str(missing)
            raise KafkaConnectionError(self.failure) from None
        self.failure = ""
        return found

    @abstractmethod
    async def _find(self) -> str:
        """Return a token. Raises ``NoToken``."""


class TokenFile(Tokens):
    """The token stands in a file that somebody else renews, so it is read for each connection."""

    def __init__(self, path: Path) -> None:
        """Keep where it is; nothing is read yet."""
        self._path = path

    async def _find(self) -> str:
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._missing(reason(error)) from None
        if not text:
            raise self._missing("the file is empty")
        if not _TOKEN.fullmatch(text):
            raise self._missing("what the file holds is no token")
        return text

    def _missing(self, why: str) -> NoToken:
        return NoToken(
            f"FRESHET_SASL_OAUTH_TOKEN_FILE is '{self._path}': {why}; it must be a readable file with a token"
        )


class Credentials(NamedTuple):
    """Who asks for a token, where, and for what scope (empty: the endpoint's own choice)."""

    url: str
    client_id: str
    client_secret: SecretStr
    scope: str = ""

    def basic(self) -> str:
        """Return id and secret as the header has them: form-encoded, then joined (RFC 6749, 2.3.1)."""
        secret = self.client_secret.get_secret_value()
        return base64.b64encode(f"{quote_plus(self.client_id)}:{quote_plus(secret)}".encode()).decode()


@dataclass(frozen=True)
class _Answer:
    """What came of asking: a token, or why there is none; and for how long that is to be used."""

    token: str = field(default="", repr=False)
    failure: str = ""
    lasts_s: float = PAUSE_S


class _Body(msgspec.Struct):
    """An answer of a token endpoint (RFC 6749, 5.1 and 5.2); the life in seconds is a text for some."""

    access_token: str = ""
    expires_in: float | str | None = None
    error: str = ""


class ClientCredentials(Tokens):
    """Asks an endpoint for a token in the process's own name (RFC 6749, 4.4) and keeps it while it is good.

    At most one request is under way, for all threads.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        trusted: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
        limit_s: float = REQUEST_LIMIT_S,
    ) -> None:
        """Keep whom to ask; ``trusted`` is what TLS trusts, ``clock`` counts seconds."""
        self._credentials = credentials
        self._trusted = trusted
        self._clock = clock
        self._limit_s = limit_s
        self._lock = Lock()
        self._answer: Future[_Answer] = Future()
        #: Until when the answer is used; while it is awaited, without an end.
        self._used_until_s = float("-inf")

    async def _find(self) -> str:
        with self._lock:
            mine = self._clock() >= self._used_until_s
            if mine:
                self._answer, self._used_until_s = Future(), float("inf")
            answer = self._answer
        if mine:
            await self._ask(answer)
        # Shielded: who gives up waiting takes the answer from nobody else.
        found = await asyncio.shield(asyncio.wrap_future(answer))
        if found.failure:
            raise NoToken(found.failure)
        return found.token

    async def _ask(self, answer: "Future[_Answer]") -> None:
        """Ask the endpoint, and give its answer to everybody who waits; given up, it is no answer."""
        found = _Answer(failure=self._failure("the request was given up"), lasts_s=0)
        try:
            found = await self._request()
        finally:
            self._used_until_s = self._clock() + found.lasts_s
            answer.set_result(found)

    async def _request(self) -> _Answer:
        form = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            form["scope"] = self._credentials.scope
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._limit_s)) as session,
                session.post(
                    self._credentials.url,
                    data=form,
                    headers={"Authorization": f"Basic {self._credentials.basic()}"},
                    ssl=self._trusted,
                    allow_redirects=False,  # the secret goes where the setting says
                ) as response,
            ):
                return self._understood(response.status, await response.read())
        except TimeoutError:
            why = f"it does not answer within {self._limit_s:g} s"
        except aiohttp.ClientError as error:
            why = _why(error)
        return _Answer(failure=self._failure(f"{why}; is it running?"))

    def _understood(self, status: int, content: bytes) -> _Answer:
        """Take the token out of an answer; nothing of one that holds none is told but the status."""
        try:
            body = msgspec.json.decode(content, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = _Body()
        if status != 200:
            code = f" ({body.error})" if body.error in _CODES else ""
            ours = "FRESHET_SASL_OAUTH_CLIENT_ID, its secret and FRESHET_SASL_OAUTH_SCOPE"
            remedy = f"look at {ours if 400 <= status < 500 else 'what it logs'}"
            return _Answer(failure=self._failure(f"it answers {status}{code}; {remedy}"))
        if not _TOKEN.fullmatch(body.access_token):
            return _Answer(failure=self._failure("it answers 200 without a token; is it a token endpoint?"))
        life_s = _seconds(body.expires_in)
        return _Answer(token=body.access_token, lasts_s=life_s - min(RENEWED_EARLY_S, life_s / 5))

    def _failure(self, why: str) -> str:
        return f"FRESHET_SASL_OAUTH_TOKEN_URL is '{self._credentials.url.partition('?')[0]}': {why}"


def _seconds(told: float | str | None) -> float:
    """Return how long a token is good for; 0, which uses it once, where that is not told."""
    try:
        seconds = float(told or 0)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


def _why(error: aiohttp.ClientError) -> str:
    """Say why there was no answer; errors other than of connecting may quote what was answered."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return reason(error.os_error)
    return f"it does not answer as HTTP does ({type(error).__name__})"
