"""A TLS key and its certificate in files: made once, self-signed, long-lived, and loaded for a server.

Nobody vouches for such a certificate. Whoever connects compares it with what an attestation, a key document or the
registry names (``spec/opengradient.md`` §8); that is why it is no authority, why it lives long, and why a client that
looks at names or dates loses nothing by it. A key file is as ``key_files`` says; the certificate is for everybody.

Not covered: certificates of authorities (put their files in place of these), and renewing them.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.adapters.key_files import create_private_key, create_secret, read_private_key
from holdfast.core.encoding import sha256_hex
from holdfast.errors import UnavailableError, UsageError

VALID_YEARS = 30
"""Clients refuse a certificate that has expired, and nothing is gained when it does."""
MAX_CERTIFICATE_BYTES = 8192
"""What OpenGradient's registry takes."""


def load_or_create_certificate(key: Path, certificate: Path, hosts: Sequence[str], now: dt.datetime) -> bytes:
    """The certificate as DER; key (P-256) and certificate are made where there is none. ``hosts`` are names and IP
    addresses for a new one. Raises as :func:`load_certificate`."""
    if not key.exists():
        create_private_key(key, ec.generate_private_key(ec.SECP256R1()))
    if not certificate.exists():
        private = read_private_key(key)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise UsageError("tls.files", f"{key} is no key of an elliptic curve")
        create_secret(certificate, _self_signed(private, hosts, now))
    return load_certificate(certificate)


def _self_signed(private: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: dt.datetime) -> bytes:
    """A leaf, PEM: no authority, so that nothing it could sign is believed by whoever pins it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * VALID_YEARS))
        .add_extension(x509.SubjectAlternativeName(list(map(_alternative, hosts))), critical=False)
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=False)
        .sign(private, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def load_or_create_issued(
    authority_key: Path,
    authority: Path,
    key: Path,
    certificate: Path,
    hosts: Sequence[str],
    now: dt.datetime,
) -> tuple[bytes, bytes]:
    """A local authority and one certificate by it, DER; both are made where either is missing. For demonstrations and
    networks of one's own: whoever holds the authority's key speaks for every host to whoever believes it."""
    if not (authority.exists() and certificate.exists()):
        for path in (authority_key, authority, key, certificate):
            path.unlink(missing_ok=True)
        above, below = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        create_private_key(authority_key, above)
        create_private_key(key, below)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast demonstration authority")])
        root = _dated(now).subject_name(issuer).issuer_name(issuer).public_key(above.public_key())
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(above.public_key())
        made = (
            root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(above, hashes.SHA256())
        )
        leaf = (
            _dated(now)
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]))
            .issuer_name(issuer)
            .public_key(below.public_key())
            .add_extension(x509.SubjectAlternativeName(list(map(_alternative, hosts))), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(above, hashes.SHA256())
        )
        create_secret(authority, made.public_bytes(serialization.Encoding.PEM))
        create_secret(certificate, leaf.public_bytes(serialization.Encoding.PEM))
    return load_certificate(authority), load_certificate(certificate)


def _dated(now: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * VALID_YEARS))
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def load_certificate(path: Path) -> bytes:
    """The first certificate of a PEM file, as DER. Raises ``tls.files``."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise UnavailableError("tls.files", f"cannot read the certificate {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError("tls.files", f"{path} is no certificate in PEM") from error
    return found.public_bytes(serialization.Encoding.DER)


def spki_of(certificate: bytes) -> bytes:
    """The DER SubjectPublicKeyInfo in a DER certificate."""
    public = x509.load_der_x509_certificate(certificate).public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_digest(certificate: bytes) -> str:
    """SHA-256 of :func:`spki_of`, hex: member ``tls`` of a key document (``spec/statement.md`` §5)."""
    return sha256_hex(spki_of(certificate))


def server_context(key: Path, certificate: Path) -> ssl.SSLContext:
    """For a server: TLS 1.2 and newer. Raises ``signer.*`` for the key file, ``tls.files`` when the two are no pair."""
    read_private_key(key)
    load_certificate(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError("tls.files", f"{certificate} is not the certificate of the key {key}") from error
    return context
