"""TLS contexts from the user's certificate, or from one made for this start."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mimicam.engine.errors import EngineError

_VALID = datetime.timedelta(days=90)


def from_files(certificate: Path, key: Path) -> ssl.SSLContext:
    """Load the user's certificate.

    Raises:
        EngineError: a file is missing, or certificate and key do not belong together.
    """
    context = _context()
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise EngineError(
            f"the certificate does not load ({error}): give PEM files to --cert and --key"
        ) from error
    return context


def self_signed(names: frozenset[str]) -> tuple[ssl.SSLContext, str]:
    """Make a certificate for ``names``. Returns its context and SHA-256 fingerprint.

    Browsers warn of it once. The person compares the fingerprint with the one that is printed.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key, names)
    context = _context()
    # ssl loads certificates only from files. This one is private and removed at once.
    with tempfile.TemporaryDirectory(prefix="mimicam-") as folder:
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(_pem(certificate, key))
        context.load_cert_chain(path)
    return context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _certificate(key: ec.EllipticCurvePrivateKey, names: frozenset[str]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mimicam studio")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for devices whose clocks are slow.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private
