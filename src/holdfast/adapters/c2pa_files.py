"""The key and certificates that sign content credentials, in files (``spec/images.md`` §6(6)).

``create_chain`` makes a key, its certificate and the authority above it, whose own key is made, used once and thrown
away: nobody can issue another certificate under it, so as an anchor it vouches for this one key alone. An operator who
has certificates of an issuer that others know puts them in place of these.

Not covered: renewing certificates, and their revocation.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.adapters.credentials_c2pa import C2PACredentials
from holdfast.adapters.key_files import create_private_key, create_secret, read_private_key
from holdfast.errors import UnavailableError, UsageError

KEY, CHAIN, ANCHOR = "c2pa.pem", "c2pa-chain.pem", "c2pa-anchor.pem"
"""Names of the files of a chain."""


def create_chain(folder: Path, name: str, days: int, now: dt.datetime) -> tuple[Path, Path, Path]:
    """Make the three files, none of which may be there. ``name`` is the gateway's, as readers of images see it."""
    above, below = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _name(f"{name} (content credentials)")
    dates = now - dt.timedelta(minutes=5), now + dt.timedelta(days=days)
    identifier = x509.SubjectKeyIdentifier.from_public_key(above.public_key())
    root = (
        _begin(issuer, issuer, above.public_key(), *dates)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(issues=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(above, hashes.SHA256())
    )
    leaf = (
        _begin(_name(name), issuer, below.public_key(), *dates)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(below.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(above, hashes.SHA256())
    )
    places = folder / KEY, folder / CHAIN, folder / ANCHOR
    create_private_key(places[0], below)
    create_secret(places[1], _pem(leaf) + _pem(root))
    create_secret(places[2], _pem(root))
    return places


def load_credentials(key: Path, chain: Path) -> C2PACredentials:
    """What signs for a gateway. Raises ``signer.*`` for the key file, ``credentials.files`` for the rest."""
    private = read_private_key(key)
    try:
        text = chain.read_bytes()
        first = x509.load_pem_x509_certificates(text)[0]
    except OSError as error:
        raise UnavailableError("credentials.files", f"cannot read {chain}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError("credentials.files", f"{chain} holds no certificates in PEM") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise UsageError("credentials.files", f"{key} is no P-256 key, which ES256 needs")
    if first.public_key() != private.public_key():
        raise UsageError("credentials.files", f"the first certificate of {chain} is not of the key {key}")

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return C2PACredentials(sign, text.decode("ascii", "replace"))


def _begin(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, start: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _name(common: str) -> x509.Name:
    """C2PA asks for an organisation beside the name (C2PA 2.x §14.5)."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Holdfast"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
