"""A real Kafka broker that lets nobody in without a right: TLS, logins, client certificates, ACLs.

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

PRINCIPALS = ("worker", "trainer", "maker", "shop", "reader", "operator")
"""Who can log in; with a certificate anybody can."""

_JAAS = "org.apache.kafka.common.security"


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
    """The listeners by protocol are in ``addresses``."""

    def __init__(self, home: Path, directory: Path) -> None:
        """Make the certificates and format the storage."""
        self.authority = Authority(directory / "certificates")
        self.addresses = {
            protocol: f"127.0.0.1:{free_port()}" for protocol in ("SASL_PLAINTEXT", "SASL_SSL", "SSL")
        }
        self._certificates: dict[str, Certified] = {}
        scram = [f"SCRAM-SHA-512=[name={name},password={secret_of(name)}]" for name in PRINCIPALS]
        self.format_options = ("--standalone", *(word for one in scram for word in ("--add-scram", one)))
        super().__init__(home, directory)

    def security(self, protocol: str, principal: str) -> dict[str, Any]:
        """Return the settings with which a process comes in over a protocol as a principal."""
        settings: dict[str, Any] = {"brokers": self.addresses[protocol], "security_protocol": protocol}
        if protocol.startswith("SASL"):
            mechanism = "SCRAM-SHA-512" if protocol == "SASL_SSL" else "PLAIN"
            settings |= {"sasl_mechanism": mechanism, "sasl_username": principal}
            settings["sasl_password"] = secret_of(principal)
        if protocol.endswith("SSL"):
            settings["ssl_cafile"] = str(self.authority.cafile)
        if protocol == "SSL":
            made = self._certificate(principal)
            settings |= {"ssl_certfile": str(made.certfile), "ssl_keyfile": str(made.keyfile)}
            settings["ssl_password"] = made.password
        return settings

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
        own = self.authority.certify("broker")
        keystore = self.directory / "broker.pem"
        keystore.write_bytes(own.keyfile.read_bytes() + own.certfile.read_bytes())
        return plain | {
            "listeners": f"{plain['listeners']},{added}",
            "advertised.listeners": f"{plain['advertised.listeners']},{added}",
            "listener.security.protocol.map": plain["listener.security.protocol.map"]
            + "".join(f",{name}:{name}" for name in self.addresses),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{plain_login}.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required {users};",
            f"{scram_login}.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{plain_login}.sasl.enabled.mechanisms": "PLAIN",
            f"{scram_login}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
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
