"""Throw-away enclaves: Nitro documents, SEV-SNP reports, TDX and SGX quotes, GPU reports (attestation.md §4).

Each class is a vendor with its chain. Everything is a function of names and fixed times; ``change`` and the keyword
arguments make what must be refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .text import named, posix_ms, sha
from .x509 import (
    EC,
    authority_extensions,
    certificate,
    extension,
    integer,
    leaf_extensions,
    octets,
    oid,
    pem,
    revocations,
    rsa,
    seq,
    tlv,
)

LONG_AGO, FAR = "2025-01-01T00:00:00.000Z", "2040-01-01T00:00:00.000Z"
BEGIN, END = "2025-12-31T23:00:00.000Z", "2026-01-01T02:00:00.000Z"
"""What lives for three hours."""
MADE = "2025-12-31T23:30:00.250Z"
"""When Nitro documents are made."""
BINDING = b"urn:holdfast:binding:v1\x00"


def binding(key_document: str, tls: bytes = bytes(32), hpke: bytes = bytes(32)) -> bytes:
    """A binding record (attestation.md §5)."""
    return BINDING + bytes.fromhex(key_document) + tls + hpke


def report_data(record: bytes, nonce: bytes | None = None) -> bytes:
    """The 64 bytes of a report."""
    return sha(record) + (bytes(32) if nonce is None else sha(nonce))


# --- CBOR -----------------------------------------------------------------------------------------------------------


class Raw(bytes):
    """CBOR that stands as it is."""


class Pairs(list[Any]):
    """A map as a list of pairs, so that a key can occur twice."""


def head(major: int, number: int) -> bytes:
    """The first bytes of an item."""
    for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 1 << (8 * width):
            return bytes([major << 5 | code]) + number.to_bytes(width, "big")
    raise SystemExit("too large for CBOR")


def cbor(value: Any) -> bytes:
    """One item."""
    if isinstance(value, Raw):
        return bytes(value)
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, Pairs):
        return head(5, len(value)) + b"".join(cbor(item) for pair in value for item in pair)
    if isinstance(value, dict):
        return cbor(Pairs(value.items()))
    return head(4, len(value)) + b"".join(map(cbor, value))


# --- AWS Nitro ------------------------------------------------------------------------------------------------------


class Nitro:
    """A root, three authorities below it, and an enclave's leaf."""

    NAMES = ("root", "region", "zone", "instance")

    def __init__(self, vendor: str = "nitro") -> None:
        self.vendor = vendor
        self.keys = {name: EC(f"{vendor}/{name}") for name in (*self.NAMES, "leaf")}
        self.root = self.authority("root", "root", None)
        self.bundle = [
            self.root,
            self.authority("region", "root", 2),
            self.authority("zone", "region", 1),
            self.authority("instance", "zone", 0),
        ]
        self.leaf = self.leaf_certificate()

    def authority(self, name: str, issuer: str, path: int | None, **change: Any) -> bytes:
        """One authority's certificate."""
        extensions = change.pop("extensions", None) or authority_extensions(path)
        signer = change.pop("signer", self.keys[issuer])
        span = {"start": LONG_AGO, "end": FAR, **change}
        return certificate(
            f"{self.vendor} {name}", self.keys[name], f"{self.vendor} {issuer}", signer, extensions, **span
        )

    def leaf_certificate(self, **change: Any) -> bytes:
        """The enclave's certificate."""
        extensions = change.pop("extensions", None) or leaf_extensions()
        key, issuer = change.pop("key", self.keys["leaf"]), change.pop("issuer", f"{self.vendor} instance")
        signer = change.pop("signer", self.keys["instance"])
        span = {"start": BEGIN, "end": END, **change}
        return certificate(f"{self.vendor} leaf", key, issuer, signer, extensions, **span)

    def payload(self, **change: Any) -> Pairs:
        """The members of a document, in the order of the security module."""
        value: dict[str, Any] = {
            "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
            "digest": "SHA384",
            "timestamp": posix_ms(MADE),
            "pcrs": {index: named(f"pcr/{index}", 48) if index < 3 else bytes(48) for index in range(16)},
            "certificate": self.leaf,
            "cabundle": self.bundle,
            "public_key": None,
            "user_data": None,
            "nonce": None,
        }
        return Pairs([[name, item] for name, item in {**value, **change}.items() if item is not ...])

    def sign(
        self,
        payload: bytes,
        *,
        protected: bytes = b"\xa1\x01\x38\x22",
        unprotected: Any = None,
        signer: EC | None = None,
        signature: Callable[[bytes], bytes] = bytes,
    ) -> bytes:
        """A COSE_Sign1 around payload bytes."""
        message = cbor(["Signature1", protected, b"", payload])
        signed = signature((signer or self.keys["leaf"]).sign_raw(message))
        return cbor([protected, {} if unprotected is None else unprotected, payload, signed])

    def document(self, **change: Any) -> bytes:
        """A signed document with some members changed."""
        return self.sign(cbor(self.payload(**change)))


# --- AMD SEV-SNP ----------------------------------------------------------------------------------------------------

AMD = "1.3.6.1.4.1.3704.1."


class SNP:
    """ARK, ASK and a chip's VCEK."""

    def __init__(self) -> None:
        self.ark, self.ask, self.vcek = rsa("ark"), rsa("ask"), EC("snp/vcek")
        self.chip = named("snp/chip", 64)
        span = {"start": LONG_AGO, "end": FAR}
        self.root = certificate("ARK-Test", self.ark, "ARK-Test", self.ark, authority_extensions(), **span)
        self.issuer = certificate("SEV-Test", self.ask, "ARK-Test", self.ark, authority_extensions(0), **span)
        self.leaf = self.leaf_certificate()
        self.chain = [self.leaf, self.issuer, self.root]

    def leaf_certificate(self, **change: Any) -> bytes:
        """The VCEK; its serial number is zero, as AMD's are."""
        tcb = {"3.1": 4, "3.2": 0, "3.3": 22, "3.8": 213, **change.pop("tcb", {})}
        extensions = [extension(AMD + "1", integer(0)), extension(AMD + "2", tlv(0x16, b"Milan-B0"))]
        extensions += [extension(AMD + name, integer(number)) for name, number in tcb.items()]
        extensions += [extension(AMD + "4", change.pop("chip", self.chip))]
        given = {"start": LONG_AGO, "end": FAR, "serial": 0, **change}
        return certificate("SEV-VCEK", self.vcek, "SEV-Test", self.ask, extensions, **given)

    def report(self, *, change: Callable[[bytearray], None] | None = None, **fields: bytes) -> bytes:
        """A signed report. ``change`` edits the 672 bytes before they are signed."""
        raw = bytearray(0x2A0)
        raw[0:4], raw[0x34] = (2).to_bytes(4, "little"), 1
        raw[8:16] = (0x30000).to_bytes(8, "little")
        tcb = bytes([4, 0, 0, 0, 0, 0, 22, 213])
        for offset in (0x38, 0x180, 0x1E0, 0x1F0):
            raw[offset : offset + 8] = tcb
        raw[0x50:0x90] = fields.get("report_data", bytes(64))
        raw[0x90:0xC0] = named("snp/measurement", 48)
        raw[0x140:0x160] = named("snp/report id", 32)
        raw[0x1A0:0x1E0] = self.chip
        if change is not None:
            change(raw)
        signature = self.vcek.sign_raw(bytes(raw))
        numbers = [signature[:48][::-1], bytes(24), signature[48:][::-1], bytes(24)]
        return bytes(raw) + b"".join(numbers) + bytes(368)


# --- Intel DCAP -----------------------------------------------------------------------------------------------------

SGX = "1.2.840.113741.1.13.1"
WEEK_AGO, NEXT_MONTH = "2025-12-25T00:00:00.000Z", "2026-01-25T00:00:00.000Z"
COMPONENTS = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]
TDX_COMPONENTS = [5, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


class Intel:
    """A root, the authority of platforms, a platform, and the key that signs collateral."""

    def __init__(self, vendor: str = "intel") -> None:
        names = ("root", "platform authority", "pck", "tcb signing", "attestation")
        self.keys = {name: EC(f"{vendor}/{name}", 256) for name in names}
        span = {"start": LONG_AGO, "end": FAR}
        root = ("Intel root", self.keys["root"])
        self.root = certificate("Intel root", self.keys["root"], *root, authority_extensions(1), **span)
        self.authority = certificate(
            "Intel platforms", self.keys["platform authority"], *root, authority_extensions(0), serial=2, **span
        )
        self.signing = certificate("Intel TCB", self.keys["tcb signing"], *root, leaf_extensions(), serial=3, **span)
        self.pck = self.pck_certificate()
        self.chain = [self.pck, self.authority, self.root]

    def pck_certificate(self, *, fmspc: bytes = b"\xb0\xc0\x6f\0\0\0", pce_svn: int = 11, serial: int = 77) -> bytes:
        """A platform's certificate with Intel's extension."""

        def entry(name: str, value: bytes) -> bytes:
            return seq(oid(f"{SGX}.{name}"), value)

        tcb = seq(
            *(entry(f"2.{number}", integer(value)) for number, value in enumerate(COMPONENTS, 1)),
            entry("2.17", integer(pce_svn)),
            entry("2.18", octets(bytes(COMPONENTS))),
        )
        about = seq(
            entry("1", octets(bytes(16))),
            entry("2", tcb),
            entry("3", octets(bytes(2))),
            entry("4", octets(fmspc)),
            entry("5", tlv(10, b"\0")),
        )
        extensions = [*leaf_extensions(), extension(SGX, about)]
        return certificate(
            "Intel PCK",
            self.keys["pck"],
            "Intel platforms",
            self.keys["platform authority"],
            extensions,
            start=LONG_AGO,
            end=FAR,
            serial=serial,
        )

    @staticmethod
    def level(
        status: str = "UpToDate", *, low: bool = False, advisories: tuple[str, ...] = (), tdx: bool = True
    ) -> Any:
        """One TCB level: what this platform has, or with ``low`` a little less."""
        less = 1 if low else 0
        tcb: dict[str, Any] = {"sgxtcbcomponents": [{"svn": max(0, number - less)} for number in COMPONENTS]}
        tcb["pcesvn"] = 11 - less
        if tdx:
            tcb["tdxtcbcomponents"] = [{"svn": max(0, number - less)} for number in TDX_COMPONENTS]
        found = {"tcb": tcb, "tcbDate": "2025-03-13T00:00:00Z", "tcbStatus": status}
        return {**found, "advisoryIDs": list(advisories)} if advisories else found

    def collateral(
        self,
        *,
        tee: str = "TDX",
        levels: list[Any] | None = None,
        info: dict[str, Any] | None = None,
        identity: dict[str, Any] | None = None,
        revoked: tuple[int, ...] = (),
        root_revoked: tuple[int, ...] = (),
        crl_signer: str = "platform authority",
        change: Callable[[dict[str, str]], None] | None = None,
    ) -> bytes:
        """Collateral as JSON; ``info`` and ``identity`` change what Intel signs, ``change`` what is presented."""
        tdx = tee == "TDX"
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        times = {"issueDate": "2025-12-25T00:00:00Z", "nextUpdate": "2026-01-25T00:00:00Z"}
        tcb_info: dict[str, Any] = {"id": tee, "version": 3, **times, "fmspc": "B0C06F000000", "pceId": "0000"}
        tcb_info |= {"tcbType": 0, "tcbEvaluationDataNumber": 17}
        if tdx:
            up = {"tcb": {"isvsvn": 5}, "tcbDate": "2025-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
            tcb_info |= {"tdxModule": module, "tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": [up]}]}
        tcb_info |= {"tcbLevels": [self.level(tdx=tdx)] if levels is None else levels, **(info or {})}
        enclave: dict[str, Any] = {"id": "TD_QE" if tdx else "QE", "version": 2, **times, "tcbEvaluationDataNumber": 17}
        enclave |= {"miscselect": "00" * 4, "miscselectMask": "FF" * 4, "attributes": "11" + "00" * 15}
        enclave |= {
            "attributesMask": "FB" + "FF" * 7 + "00" * 8,
            "mrsigner": named("intel/qe signer", 32).hex().upper(),
        }
        level = {"tcb": {"isvsvn": 4}, "tcbDate": "2025-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
        enclave |= {"isvprodid": 2 if tdx else 1, "tcbLevels": [level], **(identity or {})}
        texts = [json.dumps(value, separators=(",", ":")) for value in (tcb_info, enclave)]
        chain = pem(self.signing, self.root).decode()
        span = {"start": WEEK_AGO, "end": NEXT_MONTH}
        found = {
            "pck_crl_issuer_chain": pem(self.authority, self.root).decode(),
            "root_ca_crl": revocations("Intel root", self.keys["root"], serials=root_revoked, **span).hex(),
            "pck_crl": revocations("Intel platforms", self.keys[crl_signer], serials=revoked, **span).hex(),
            "tcb_info_issuer_chain": chain,
            "tcb_info": texts[0],
            "tcb_info_signature": self.keys["tcb signing"].sign_raw(texts[0].encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": texts[1],
            "qe_identity_signature": self.keys["tcb signing"].sign_raw(texts[1].encode()).hex(),
        }
        if change is not None:
            change(found)
        return (json.dumps(found, indent=1) + "\n").encode()

    @staticmethod
    def enclave_report(
        signer: bytes, prod: int, svn: int, data: bytes, *, flags: int = 0x11, enclave: bytes = bytes(32)
    ) -> bytes:
        """An SGX report body."""
        raw = bytearray(384)
        raw[48], raw[64:96], raw[128:160] = flags, enclave, signer
        raw[256:258], raw[258:260] = prod.to_bytes(2, "little"), svn.to_bytes(2, "little")
        raw[320:384] = data
        return bytes(raw)

    def td_report(
        self, *, v15: bool = False, change: Callable[[bytearray], None] | None = None, data: bytes = bytes(64)
    ) -> bytes:
        """A TD report body."""
        raw = bytearray(648 if v15 else 584)
        raw[0:3] = bytes([5, 1, 2])
        raw[16:64] = named("tdx/seam", 48)
        raw[136:184] = named("tdx/td", 48)
        for number in range(4):
            raw[328 + 48 * number : 376 + 48 * number] = named(f"tdx/rtmr{number}", 48)
        raw[520:584] = data
        raw[123] = 0x10
        if v15:
            raw[584:587] = raw[0:3]
        if change is not None:
            change(raw)
        return bytes(raw)

    def quote(
        self,
        body: bytes,
        *,
        version: int = 4,
        tee: int = 0x81,
        chain: list[bytes] | None = None,
        qe: dict[str, Any] | None = None,
        key: EC | None = None,
        certification: tuple[int, bytes] | None = None,
        change: Callable[[bytearray], None] | None = None,
        padding: bytes = b"",
    ) -> bytes:
        """A signed quote. ``change`` edits it after it was signed."""
        header = version.to_bytes(2, "little") + (2).to_bytes(2, "little") + tee.to_bytes(4, "little") + bytes(4)
        header += bytes.fromhex("939a7233f79c4ca9940a0db3957f0607") + bytes(20)
        signed = header
        if version == 5:
            kind = 1 if tee == 0 else 3 if len(body) == 648 else 2
            signed += kind.to_bytes(2, "little") + len(body).to_bytes(4, "little")
        signed += body
        attestation = self.keys["attestation"]
        authentication = named("intel/authentication", 32)
        about: dict[str, Any] = {
            "signer": named("intel/qe signer", 32),
            "prod": 2 if tee else 1,
            "svn": 4,
            **(qe or {}),
        }
        about.setdefault("data", sha(attestation.point[1:] + authentication) + bytes(32))
        report = self.enclave_report(**about)
        inside = report + self.keys["pck"].sign_raw(report) + len(authentication).to_bytes(2, "little") + authentication
        number, content = certification or (5, pem(*(chain or self.chain)) + b"\x00")
        inside += number.to_bytes(2, "little") + len(content).to_bytes(4, "little") + content
        if version > 3:
            inside = (6).to_bytes(2, "little") + len(inside).to_bytes(4, "little") + inside
        tail = (key or attestation).sign_raw(signed) + (key or attestation).point[1:] + inside
        raw = bytearray(signed + len(tail).to_bytes(4, "little") + tail + padding)
        if change is not None:
            change(raw)
        return bytes(raw)


# --- NVIDIA ---------------------------------------------------------------------------------------------------------


class NVIDIA:
    """A root, one authority, and a GPU."""

    def __init__(self) -> None:
        self.keys = {name: EC(f"nvidia/{name}") for name in ("root", "authority", "gpu")}
        span = {"start": LONG_AGO, "end": FAR}
        root = ("NVIDIA root", self.keys["root"])
        self.root = certificate("NVIDIA root", self.keys["root"], *root, authority_extensions(), **span)
        self.authority = certificate("NVIDIA models", self.keys["authority"], *root, authority_extensions(), **span)
        self.leaf = certificate(
            "NVIDIA GPU", self.keys["gpu"], "NVIDIA models", self.keys["authority"], leaf_extensions(), **span
        )
        self.chain = [self.leaf, self.authority, self.root]

    def report(self, *, nonce: bytes, change: Callable[[bytearray], None] | None = None) -> bytes:
        """Request, response and signature; ``change`` edits before signing."""
        blocks = b""
        for number in (1, 2, 3):
            value = named(f"nvidia/{number}", 48)
            block = b"\x01" + len(value).to_bytes(2, "little") + value
            blocks += bytes([number, 1]) + len(block).to_bytes(2, "little") + block
        opaque = b"\x03\x00\x0a\x00550.90.07\x00"
        raw = bytearray(b"\x11\xe0\x01\xff" + nonce + b"\x00")
        raw += b"\x11\x60\x00\x00\x03" + len(blocks).to_bytes(3, "little") + blocks
        raw += named("nvidia/nonce", 32) + len(opaque).to_bytes(2, "little") + opaque
        if change is not None:
            change(raw)
        return bytes(raw) + self.keys["gpu"].sign_raw(bytes(raw))
