"""An OAuth token endpoint on localhost, whose answers a test chooses, and an issuer of signed tokens."""

import base64
import json
import math
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, unquote_plus

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.certificates import LOCALHOST, Certified

POLL_S = 0.02


class Request(NamedTuple):
    """Who asked for a token, with which secret, and the form they sent."""

    client_id: str
    client_secret: str
    form: dict[str, str]


class Reply(NamedTuple):
    """What is answered, after a while if wanted; ``location`` is where a redirection leads."""

    status: int
    body: bytes
    after_s: float = 0
    location: str = ""


def granted(token: str, **more: object) -> Reply:
    """Return the answer that gives a token."""
    return Reply(200, json.dumps({"access_token": token, "token_type": "Bearer", **more}).encode())


class TokenEndpoint:
    """Serves from its making until ``close``; ``reply`` makes the answers, ``asked`` is what was asked."""

    def __init__(self, reply: Callable[[Request], Reply], certified: Certified | None = None) -> None:
        """Listen on a free port, with TLS where there is a certificate."""
        self.reply = reply
        self.asked: list[Request] = []
        self._server = ThreadingHTTPServer((str(LOCALHOST), 0), self._handler())
        if certified is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certified.certfile, certified.keyfile)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if certified is None else "https"
        self.url = f"{scheme}://{LOCALHOST}:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True).start()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                client_id, _, secret = login.partition(":")
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                request = Request(unquote_plus(client_id), unquote_plus(secret), dict(parse_qsl(body)))
                endpoint.asked.append(request)
                reply = endpoint.reply(request)
                time.sleep(reply.after_s)
                with suppress(ConnectionError):  # who asked may have given up
                    self.send_response(reply.status)
                    self.send_header("Content-Length", str(len(reply.body)))
                    if reply.location:
                        self.send_header("Location", reply.location)
                    self.end_headers()
                    self.wfile.write(reply.body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler


class Issuer:
    """Signs tokens (JWT, RS256) with a key of its own; ``keys`` (JWKS) is what they are checked with."""

    def __init__(self, folder: Path) -> None:
        """Make the key."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.issued: list[str] = []
        self.keys = folder / "jwks.json"
        public = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "kid": "tests",
            "alg": "RS256",
            "use": "sig",
            "n": _encoded(public.n.to_bytes(256)),
            "e": _encoded(public.e.to_bytes(3)),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.keys.write_text(json.dumps({"keys": [key]}))

    def token(self, principal: str, *, life_s: int = 3600) -> str:
        """Sign a token for a principal, of a second more at most; one with a life below 0 has ended."""
        now = math.ceil(time.time())
        claims = {"sub": principal, "iat": now - 2 * abs(life_s), "exp": now + life_s}
        header = {"alg": "RS256", "kid": "tests", "typ": "JWT"}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        self.issued.append(f"{signed}.{_encoded(signature)}")
        return self.issued[-1]


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
