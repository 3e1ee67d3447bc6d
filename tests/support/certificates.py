"""An authority of a test's own, and certificates it signs: for a broker, an HTTP port, a client."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOCALHOST = IPv4Address("127.0.0.1")


class Certified(NamedTuple):
    """The files (PEM) of a certificate and its key; the key's password is empty where it has none."""

    certfile: Path
    keyfile: Path
    password: str = ""


class Authority:
    """Signs certificates into a folder; ``cafile`` is what a client is to trust."""

    def __init__(self, folder: Path) -> None:
        """Make the authority's own certificate."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("freshet tests")
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        own = self._signed(self._name, self._key.public_key(), [constraint])
        self.cafile = folder / "ca.pem"
        self.cafile.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def certify(self, name: str, *, password: str = "") -> Certified:
        """Sign a certificate for a common name, good for 127.0.0.1 too; its key is encrypted if wanted."""
        key = ec.generate_private_key(ec.SECP256R1())
        places = x509.SubjectAlternativeName([x509.IPAddress(LOCALHOST)])
        certificate = self._signed(_named(name), key.public_key(), [places])
        made = Certified(self.folder / f"{name}.pem", self.folder / f"{name}.key", password)
        made.certfile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption = (
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption()
        )
        made.keyfile.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return made

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extensions: Sequence[x509.ExtensionType]
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
