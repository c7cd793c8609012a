"""INSECURE: a simulated Nitro security module under a throw-away root. There is no enclave.

It answers the same messages as ``/dev/nsm`` (``core/attestation/nsm.py``), with the module's own error names, and signs
documents that parse and verify like real ones up to a root that anybody can make. Every certificate of it carries the
organisation :data:`~holdfast.core.attestation.roots.INSECURE_ORGANISATION`; a verifier that sees it counts the chain as
development, whatever a trust document says (``spec/attestation.md`` §10.1). Making one warns.

Chain: root, region, zone, instance, and a leaf of three hours, as AWS's is; what runs out is made anew. Registers 0 to
15 are locked from the start. What the registers of an image hold is a sentence, not a measurement.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from holdfast.adapters.enclave_nitro import NitroEnclave
from holdfast.adapters.key_files import create_secret, read_secret
from holdfast.core.attestation import cbor, nsm
from holdfast.core.attestation.nitro import PCR_BYTES, PROTECTED
from holdfast.core.attestation.roots import INSECURE_ORGANISATION
from holdfast.errors import DevelopmentModeWarning, MalformedError, UsageError
from holdfast.ports.clock import Clock

LEAF_S = 3 * 3600
"""Life of a leaf, as AWS's."""
LEAF_LEFT_S = 2 * 3600
"""A leaf with less than this left is replaced, so that every document is good for so long."""
_DAY_S = 24 * 3600
_AUTHORITIES = (("region", 20 * _DAY_S, 2), ("zone", 5 * _DAY_S, 1), ("instance", _DAY_S, 0))
"""Authorities below the root: name, life, and how many authorities may stand below."""
_ROOT_S = 3650 * _DAY_S
LOCKED_AT_START = 16
"""Registers that the hypervisor keeps; the others are the enclave's."""
_RANDOM_BYTES = 256
"""What one ``GetRandom`` gives."""

INSECURE_REGISTERS: Mapping[int, bytes] = {
    index: text.encode().ljust(PCR_BYTES, b"!")
    for index, text in enumerate(
        ("INSECURE simulated enclave, no image is measured", "INSECURE no kernel", "INSECURE no application")
    )
}
"""Registers 0, 1 and 2 of a simulated enclave. Not zero, which would be debug mode; nothing was measured either."""


@dataclass(frozen=True, slots=True)
class InsecureRoot:
    """A throw-away root: whoever holds it makes any document."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    """DER."""


def make_insecure_root(now: dt.datetime) -> InsecureRoot:
    """A root of one's own."""
    key = ec.generate_private_key(ec.SECP384R1())
    return InsecureRoot(key, _certificate("root", key, "root", key, now, _ROOT_S, None))


def load_or_create_insecure_root(path: Path, now: dt.datetime) -> InsecureRoot:
    """The root in a file (PEM: key and certificate), made where there is none. Raises ``signer.*``."""
    if not path.exists():
        made = make_insecure_root(now)
        key = made.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        shown = x509.load_der_x509_certificate(made.certificate).public_bytes(serialization.Encoding.PEM)
        create_secret(path, key + shown)
    data = read_secret(path)
    try:
        private = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except (ValueError, TypeError) as error:
        raise UsageError("signer.key", f"{path} is not a key with its certificate") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != certificate.public_key():
        raise UsageError("signer.key", f"{path} is not the root of a simulated enclave")
    return InsecureRoot(private, certificate.public_bytes(serialization.Encoding.DER))


class InsecureModule:
    """A simulated security module; ``registers`` holds what the image would have been measured as."""

    def __init__(
        self,
        root: InsecureRoot,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        *,
        registers: Mapping[int, bytes] = INSECURE_REGISTERS,
    ) -> None:
        self._root = root
        self._clock = clock
        self._random_bytes = random_bytes
        self._registers = [registers.get(index, bytes(PCR_BYTES)) for index in range(nsm.REGISTERS)]
        self._locked = [index < LOCKED_AT_START for index in range(nsm.REGISTERS)]
        self._name = f"i-INSECURE{random_bytes(4).hex()}-enc{random_bytes(8).hex()}"
        self._lock = threading.Lock()
        self._authorities: list[tuple[ec.EllipticCurvePrivateKey, bytes]] = []
        self._authorities_end = self._leaf_end = clock.now()
        self._leaf: tuple[ec.EllipticCurvePrivateKey, bytes] | None = None

    def request(self, message: bytes) -> bytes:
        """One message with its answer; errors are answers, as the module's are."""
        if len(message) > nsm.MAX_REQUEST_BYTES:
            return nsm.build_error("InputTooLarge")
        try:
            name, given = nsm.parse_request(message)
        except MalformedError:
            return nsm.build_error("InvalidOperation")
        with self._lock:
            return self._answer(name, given)

    def _answer(self, name: str, given: Mapping[str, Any]) -> bytes:
        if name == "DescribeNSM":
            return nsm.build_response(name, self._description())
        if name == "GetRandom":
            return nsm.build_response(name, {"random": self._random_bytes(_RANDOM_BYTES)})
        if name == "Attestation":
            return self._attest(given)
        number = given.get("range" if name == "LockPCRs" else "index")
        if type(number) is not int or number < 0 or (name == "ExtendPCR" and not isinstance(given.get("data"), bytes)):
            return nsm.build_error("InvalidOperation")
        if number >= nsm.REGISTERS + (name == "LockPCRs"):
            return nsm.build_error("InvalidIndex")
        if name == "DescribePCR":
            return nsm.build_response(name, {"lock": self._locked[number], "data": self._registers[number]})
        if name == "LockPCRs":
            self._locked[:number] = [True] * number
            return nsm.build_response(name, {})
        if self._locked[number]:
            return nsm.build_error("ReadOnlyIndex")
        if name == "LockPCR":
            self._locked[number] = True
            return nsm.build_response(name, {})
        self._registers[number] = hashlib.sha384(self._registers[number] + given["data"]).digest()
        return nsm.build_response(name, {"data": self._registers[number]})

    def _description(self) -> dict[str, Any]:
        return {
            "version_major": 1,
            "version_minor": 0,
            "version_patch": 0,
            "module_id": self._name,
            "max_pcrs": nsm.REGISTERS,
            "locked_pcrs": [index for index, locked in enumerate(self._locked) if locked],
            "digest": "SHA384",
        }

    def _attest(self, given: Mapping[str, Any]) -> bytes:
        inputs = {name: given.get(name) for name in ("public_key", "user_data", "nonce")}
        for name, value in inputs.items():
            if value is not None and not isinstance(value, bytes):
                return nsm.build_error("InvalidOperation")
            if value is not None and len(value) > nsm.MAX_INPUTS[name]:
                return nsm.build_error("InputTooLarge")
        now = self._clock.now()
        key, certificate = self._signing_key(now)
        payload: dict[str, Any] = {
            "module_id": self._name,
            "digest": "SHA384",
            "timestamp": int(now.timestamp() * 1000),
            "pcrs": {index: self._registers[index] for index, locked in enumerate(self._locked) if locked},
            "certificate": certificate,
            "cabundle": [self._root.certificate, *(raw for _, raw in self._authorities)],
            **inputs,
        }
        # The module writes its payload as a map of indefinite length (attestation.md §4.1), so this one does too.
        body = b"\xbf" + b"".join(cbor.encode(item) for pair in payload.items() for item in pair) + b"\xff"
        r, s = decode_dss_signature(
            key.sign(cbor.encode(["Signature1", PROTECTED, b"", body]), ec.ECDSA(hashes.SHA384()))
        )
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        return nsm.build_response("Attestation", {"document": cbor.encode([PROTECTED, {}, body, signature])})

    def _signing_key(self, now: dt.datetime) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
        """The leaf in force; it and the authorities above are made anew when they are about to run out."""
        if self._authorities_end < now + dt.timedelta(seconds=LEAF_S):
            above, issuer = self._root.key, "root"
            self._authorities, self._leaf = [], None
            for name, life, path in _AUTHORITIES:
                key = ec.generate_private_key(ec.SECP384R1())
                self._authorities.append((key, _certificate(name, key, issuer, above, now, life, path)))
                above, issuer = key, name
            self._authorities_end = now + dt.timedelta(seconds=_AUTHORITIES[-1][1])
        if self._leaf is None or self._leaf_end < now + dt.timedelta(seconds=LEAF_LEFT_S):
            key = ec.generate_private_key(ec.SECP384R1())
            made = _certificate(self._name, key, "instance", self._authorities[-1][0], now, LEAF_S, -1)
            self._leaf, self._leaf_end = (key, made), now + dt.timedelta(seconds=LEAF_S)
        return self._leaf


class InsecureEnclave(NitroEnclave):
    """``ports/enclave.py`` without an enclave. Making one warns (:class:`DevelopmentModeWarning`)."""

    def __init__(self, module: InsecureModule) -> None:
        warnings.warn(
            "the enclave is simulated: its evidence is made by a root that anybody can make, and proves nothing",
            DevelopmentModeWarning,
            stacklevel=2,
        )
        super().__init__(module, simulated=True)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    life_s: int,
    path: int | None,
) -> bytes:
    """A certificate (DER) from the second that has begun on; ``path`` -1 makes a leaf."""
    start = now.replace(microsecond=0)
    authority = path != -1
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(seconds=life_s))
        .add_extension(x509.BasicConstraints(authority, path if authority else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
    )
    return built.sign(signer, hashes.SHA384()).public_bytes(serialization.Encoding.DER)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, INSECURE_ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
