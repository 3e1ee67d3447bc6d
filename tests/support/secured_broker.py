"""A real Kafka broker that lets nobody in without a right: TLS, logins, tokens, client certificates, ACLs.

Its plain listener is for the tests' own clients, which may do everything.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.support.certificates import Authority, Certified
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.token_endpoint import Issuer, Reply, Request, TokenEndpoint, granted

PRINCIPALS = ("worker", "trainer", "maker", "shop", "reader", "operator")
"""Who can log in; with a certificate anybody can."""

PROTOCOLS = {
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
    "SSL": "SSL",
    "OAUTHBEARER": "SASL_SSL",
}
"""The listeners that ask who comes in, and what is spoken at each."""

TOKEN_S = 3600
"""How long a token is good for, unless a test says otherwise."""

_JAAS = "org.apache.kafka.common.security"
_ALLOWED = "org.apache.kafka.sasl.oauthbearer.allowed.urls"


class Right(NamedTuple):
    """One operation on a resource: ``kind`` is Topic, Group or TransactionalId as Kafka writes them."""

    kind: str
    name: str
    prefixed: bool
    operation: str


def secret_of(principal: str) -> str:
    """Return the password of a principal, and of its certificate's key: a word that is nowhere else."""
    return f"hidden.{principal}.5f3a"


class SecuredBroker(KafkaBroker):
    """The listeners of ``PROTOCOLS`` are in ``addresses``; ``endpoint`` gives tokens of ``issuer``."""

    def __init__(self, home: Path, directory: Path) -> None:
        """Make the certificates and format the storage."""
        self.authority = Authority(directory / "certificates")
        self.issuer = Issuer(directory / "tokens")
        self.endpoint = TokenEndpoint(self._reply, self.authority.certify("endpoint"))
        self.jvm_options = (*self.jvm_options, f"-D{_ALLOWED}={self.issuer.keys.as_uri()}")
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in PROTOCOLS}
        self._certificates: dict[str, Certified] = {}
        scram = [f"SCRAM-SHA-512=[name={name},password={secret_of(name)}]" for name in PRINCIPALS]
        self.format_options = ("--standalone", *(word for one in scram for word in ("--add-scram", one)))
        super().__init__(home, directory)

    def close(self) -> None:
        """End the broker and the endpoint for good."""
        super().close()
        self.endpoint.close()

    def security(self, way: str, principal: str) -> dict[str, Any]:
        """Return the settings with which a process comes in as a principal.

        A way is a listener; CLIENT_CREDENTIALS is that of OAUTHBEARER, with tokens from the endpoint.
        """
        listener = way if way in PROTOCOLS else "OAUTHBEARER"
        protocol = PROTOCOLS[listener]
        settings: dict[str, Any] = {"brokers": self.addresses[listener], "security_protocol": protocol}
        if protocol.endswith("SSL"):
            settings["ssl_cafile"] = str(self.authority.cafile)
        if protocol == "SSL":
            made = self._certificate(principal)
            settings |= {"ssl_certfile": str(made.certfile), "ssl_keyfile": str(made.keyfile)}
            settings["ssl_password"] = made.password
        elif listener == "OAUTHBEARER":
            settings["sasl_mechanism"] = "OAUTHBEARER"
            settings |= self._token_file(principal) if way == listener else self._client(principal)
        else:
            mechanism = "SCRAM-SHA-512" if way == "SASL_SSL" else "PLAIN"
            settings |= {"sasl_mechanism": mechanism, "sasl_username": principal}
            settings["sasl_password"] = secret_of(principal)
        return settings

    def _token_file(self, principal: str) -> dict[str, Any]:
        file = self.directory / "tokens" / principal
        file.write_text(self.issuer.token(principal, life_s=TOKEN_S))
        return {"sasl_oauth_token_file": str(file)}

    def _client(self, principal: str) -> dict[str, Any]:
        return {
            "sasl_oauth_token_url": self.endpoint.url,
            "sasl_oauth_client_id": principal,
            "sasl_oauth_client_secret": secret_of(principal),
        }

    def _reply(self, request: Request) -> Reply:
        """Give a token to whoever knows a principal's secret."""
        name = request.client_id
        if name not in PRINCIPALS or request.client_secret != secret_of(name):
            return Reply(401, b'{"error": "invalid_client"}')
        return granted(self.issuer.token(name, life_s=TOKEN_S), expires_in=TOKEN_S)

    @property
    def secrets(self) -> list[str]:
        """Every password, and how the tokens so far begin: what no process may say, nor cut short."""
        return [*map(secret_of, PRINCIPALS), *{token[:30] for token in self.issuer.issued}]

    def _certificate(self, principal: str) -> Certified:
        """Return a principal's certificate, the same each time: a process may be reading it."""
        if principal not in self._certificates:
            made = self.authority.certify(principal, password=secret_of(principal))
            self._certificates[principal] = made
        return self._certificates[principal]

    def grant(self, principal: str, rights: Iterable[Right]) -> None:
        """Give a principal these rights and return when they hold."""
        bindings = [
            AclBinding(
                ResourceType.TRANSACTIONAL_ID
                if right.kind == "TransactionalId"
                else ResourceType[right.kind.upper()],
                right.name,
                ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
                f"User:{principal}",
                "*",
                _operation(right.operation),
                AclPermissionType.ALLOW,
            )
            for right in rights
        ]
        admin = self.admin()  # dropped while its futures run, it would cancel them
        for made in admin.create_acls(bindings).values():
            made.result(timeout=30)

    def properties(self, controller_port: int) -> dict[str, str]:
        """Add the listeners, what they ask for, and the authorizer."""
        plain = super().properties(controller_port)
        added = ",".join(f"{name}://{address}" for name, address in self.addresses.items())
        users = " ".join(f'user_{name}="{secret_of(name)}"' for name in PRINCIPALS)
        plain_login, scram_login = "listener.name.sasl_plaintext", "listener.name.sasl_ssl"
        token_login, tokens = "listener.name.oauthbearer", f"{_JAAS}.oauthbearer"
        own = self.authority.certify("broker")
        keystore = self.directory / "broker.pem"
        keystore.write_bytes(own.keyfile.read_bytes() + own.certfile.read_bytes())
        return plain | {
            "listeners": f"{plain['listeners']},{added}",
            "advertised.listeners": f"{plain['advertised.listeners']},{added}",
            "listener.security.protocol.map": plain["listener.security.protocol.map"]
            + "".join(f",{name}:{protocol}" for name, protocol in PROTOCOLS.items()),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            f"{plain_login}.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required {users};",
            f"{scram_login}.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{plain_login}.sasl.enabled.mechanisms": "PLAIN",
            f"{scram_login}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{token_login}.sasl.enabled.mechanisms": "OAUTHBEARER",
            f"{token_login}.oauthbearer.sasl.jaas.config": f"{tokens}.OAuthBearerLoginModule required;",
            f"{token_login}.oauthbearer.sasl.server.callback.handler.class": (
                f"{tokens}.OAuthBearerValidatorCallbackHandler"
            ),
            # The default of Kafka 4.1 looks at no signature; the name is read without the mechanism's.
            f"{token_login}.sasl.oauthbearer.jwt.validator.class": f"{tokens}.BrokerJwtValidator",
            f"{token_login}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self.issuer.keys.as_uri(),
            # A connection ends with its token, if not before: clients have to come with a new one.
            f"{token_login}.oauthbearer.connections.max.reauth.ms": str(TOKEN_S * 1000),
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.cafile),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


def _operation(name: str) -> AclOperation:
    spelled = "".join(f"_{letter}" if letter.isupper() else letter for letter in name).strip("_").upper()
    return AclOperation[spelled]
