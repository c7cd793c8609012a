"""attestation: attestation.md. Throw-away vendors; one change in each case."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reference import hardware, world
from reference.cases import Writer
from reference.hardware import Intel, Nitro, Pairs, Raw, binding, cbor, report_data
from reference.signing import Ed25519
from reference.text import b64, exact_text, named, posix_ms, sha, when
from reference.world import AT, FAR_AHEAD, GATEWAY, LONG_AGO
from reference.x509 import (
    BASIC,
    EC,
    USAGE,
    authority_extensions,
    bits,
    certificate,
    extension,
    integer,
    leaf_extensions,
    pem,
    revocations,
    seq,
    tlv,
)

NITRO, OTHER_NITRO = Nitro(), Nitro("other")
AMD, INTEL, GPU = hardware.SNP(), Intel(), hardware.NVIDIA()
OTHER_INTEL = Intel("other intel")
LAB_ROOT = Ed25519("insecure-dev/root")
RECORD = binding(GATEWAY.id)
NONCE = named("attestation/nonce", 20)
NITRO_SPEC, SNP_SPEC, DCAP_SPEC, NVIDIA_SPEC = (f"attestation.md §4.{number}" for number in (1, 2, 3, 4))


def reference(kind: str, value: dict[str, Any], **change: Any) -> dict[str, Any]:
    """One element of ``measurements`` (trust.md §1)."""
    found = {"kind": kind, "role": "gateway", "value": value, "valid_from": LONG_AGO, "valid_until": FAR_AHEAD}
    return {**found, "debug": False, **change}


def pcrs(*indexes: int) -> dict[str, str]:
    """Reference registers of the good Nitro enclave."""
    return {f"pcr{index}": named(f"pcr/{index}", 48).hex() for index in indexes}


TDX_VALUE = {"tee": "tdx", "mr_td": named("tdx/td", 48).hex()} | {
    f"rt_mr{number}": named(f"tdx/rtmr{number}", 48).hex() for number in (1, 2)
}


class Cases:
    """Writes cases that run ``verify-quote``."""

    def __init__(self, out: Writer, form: str, roots: tuple[bytes, ...], spec: str, prefix: str) -> None:
        self.out, self.form, self.roots, self.spec, self.prefix = out, form, roots, spec, prefix

    def __call__(
        self,
        name: str,
        why: str,
        evidence: bytes,
        code: str | None = None,
        *,
        expect: str = "",
        spec: str = "",
        at: str = AT,
        roots: tuple[bytes, ...] | None = None,
        collateral: bytes | str | None = None,
        record: bytes | None = None,
        bound: bool = False,
        nonce: bytes | None = None,
        references: list[Any] | None = None,
        result: dict[str, Any] | None = None,
        bug: str = "",
    ) -> None:
        files: dict[str, Any] = {"evidence.bin": evidence}
        run = ["verify-quote", "--at", at]
        given = self.roots if roots is None else roots
        if given == self.roots:
            run += ["--roots", f"../../shared/{self.prefix}-root.pem"]
        elif given:
            files["roots.pem"] = pem(*given)
            run += ["--roots", "roots.pem"]
        if isinstance(collateral, str):
            run += ["--collateral", f"../../shared/{collateral}"]
        elif collateral is not None:
            files["collateral"] = collateral
            run += ["--collateral", "collateral"]
        if record is not None:
            files["binding.bin"] = record
            run += ["--binding", "binding.bin"]
        if bound:
            files["key-document.json"] = GATEWAY.raw
            run += ["--key-document", "key-document.json"]
        if nonce is not None:
            run += ["--nonce", nonce.hex()]
        if references is not None:
            files["references.json"] = exact_text(references) + "\n"
            run += ["--references", "references.json"]
        ending = expect or ("reject" if code else "accept")
        self.out.case(
            f"attestation/{self.prefix}-{name}",
            why,
            spec=spec or self.spec,
            run=[*run, self.form, "evidence.bin"],
            expect=ending,
            code=code,
            at=at,
            bug=(bug or ("MALFORMED_EVIDENCE" if ending == "malformed" else "FORGED_EVIDENCE")) if code else None,
            result=result,
            files=files,
        )

    def malformed(self, name: str, why: str, evidence: bytes, code: str, **more: Any) -> None:
        """A case that must not parse."""
        self(name, why, evidence, code, expect="malformed", **more)


def flipped(raw: bytes, at: int) -> bytes:
    """One bit changed."""
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def write(out: Writer) -> None:
    """Every format, good and bad."""
    out.shared("nitro-root.pem", pem(NITRO.root))
    out.shared("snp-root.pem", pem(AMD.root))
    out.shared("dcap-root.pem", pem(INTEL.root))
    out.shared("nvidia-root.pem", pem(GPU.root))
    out.shared("snp-chain.pem", pem(*AMD.chain))
    out.shared("nvidia-chain.pem", pem(*GPU.chain))
    out.shared("dcap-collateral.json", INTEL.collateral())
    _nitro(Cases(out, "aws-nitro", (NITRO.root,), NITRO_SPEC, "nitro"))
    _nitro_chains(Cases(out, "aws-nitro", (NITRO.root,), "attestation.md §3", "nitro"))
    _nitro_spellings(Cases(out, "aws-nitro", (NITRO.root,), NITRO_SPEC, "nitro"))
    _snp(Cases(out, "amd-sev-snp", (AMD.root,), SNP_SPEC, "snp"))
    _tdx(Cases(out, "intel-dcap", (INTEL.root,), DCAP_SPEC, "dcap"))
    _collateral(Cases(out, "intel-dcap", (INTEL.root,), DCAP_SPEC, "dcap"))
    _nvidia(Cases(out, "nvidia", (GPU.root,), NVIDIA_SPEC, "nvidia"))
    _insecure(out)


def _nitro(case: Cases) -> None:
    good = NITRO.document()
    case(
        "document",
        "A document as the security module writes it.",
        good,
        result={
            "tee": "nitro",
            "root": sha(NITRO.root).hex(),
            "debug": False,
            "key_document": None,
            "made_at": hardware.MADE,
            "valid_from": hardware.BEGIN,
            "valid_until": hardware.END,
            "measurements": pcrs(0, 1, 2),
        },
    )
    members = NITRO.payload()
    body = b"\xbf" + b"".join(cbor(item) for pair in members for item in pair) + b"\xff"
    case(
        "indefinite-payload",
        "The payload may be a map of indefinite length: it is inside what is signed.",
        NITRO.sign(body),
    )
    case(
        "without-optional-members",
        "What the caller did not give may be missing instead of null.",
        NITRO.document(public_key=..., user_data=..., nonce=...),
    )
    ours = NITRO.document(user_data=RECORD, nonce=NONCE)
    registers = [reference("aws-nitro", pcrs(0, 1, 2))]
    case(
        "bound",
        "Key document, nonce and measurements are those expected.",
        ours,
        bound=True,
        nonce=NONCE,
        references=registers,
        result={"key_document": GATEWAY.id, "nonce": NONCE.hex()},
    )
    tls, hpke = named("tls", 32), named("hpke", 32)
    case(
        "bound-with-tls-and-hpke",
        "A record that also names a TLS key and an OHTTP key configuration.",
        NITRO.document(user_data=binding(GATEWAY.id, tls, hpke)),
        bound=True,
        result={"key_document": GATEWAY.id, "tls_spki": tls.hex(), "hpke": hpke.hex()},
        spec="attestation.md §5",
    )
    case(
        "nitriding-user-data",
        "What nitriding writes is not a binding record of ours and binds no key document.",
        NITRO.document(user_data=b"\x12\x20" + tls + b"\x12\x20" + hpke),
        result={"key_document": None},
        spec="attestation.md §5",
    )
    case("last-second", "Both ends of the span belong to it.", good, at=hardware.END, spec="attestation.md §3.7")
    case(
        "a-minute-ahead",
        "Clocks differ: a document may be a minute younger than the time asked about.",
        good,
        at=when(hardware.MADE, plus_ms=-60_000),
        spec="attestation.md §3.8",
    )
    case(
        "no-root",
        "Nobody said which root to believe: undecided, whatever root the document brings.",
        good,
        expect="undecided",
        roots=(),
        spec="attestation.md §3.2",
    )
    case(
        "expired",
        "A millisecond after the leaf ran out: what is shown later may be replayed.",
        good,
        "attestation.expired",
        at=when(hardware.END, plus_ms=1),
        spec="attestation.md §3.7",
        bug="EXPIRED_EVIDENCE",
    )
    case(
        "from-the-future",
        "Made more than a minute after the time asked about.",
        good,
        "attestation.not_yet_valid",
        at=when(hardware.MADE, plus_ms=-60_001),
        spec="attestation.md §3.8",
    )
    case(
        "before-its-leaf",
        "A time before the leaf is valid, in which the document was not made either.",
        NITRO.document(timestamp=posix_ms(hardware.BEGIN)),
        "attestation.not_yet_valid",
        at=when(hardware.BEGIN, plus_ms=-1),
        spec="attestation.md §3.7",
    )
    for name, moment in (("backdated", when(hardware.BEGIN, plus_ms=-1)), ("postdated", when(hardware.END, plus_ms=1))):
        case(
            name,
            "The document claims a time at which its own certificate was not valid.",
            NITRO.document(timestamp=posix_ms(moment)),
            "attestation.timestamp",
            at=hardware.END,
            spec="attestation.md §3.8",
            bug="BACKDATED_EVIDENCE",
        )
    zeros = {index: bytes(48) for index in range(16)}
    debug = NITRO.document(pcrs=zeros)
    nothing = {"pcr0": "00" * 48}
    more: dict[str, Any] = {"spec": "attestation.md §6", "bug": "DEBUG_ACCEPTED"}
    case("debug", "All zeros: a debug enclave, whose host can look inside.", debug, "attestation.debug", **more)
    case(
        "debug-not-said",
        "A reference value of zeros that does not say debug admits no debug enclave.",
        debug,
        "attestation.debug",
        references=[reference("aws-nitro", nothing)],
        **more,
    )
    case(
        "debug-allowed",
        "A reference value that says debug.",
        debug,
        references=[reference("aws-nitro", nothing, debug=True)],
        result={"debug": True},
        spec="attestation.md §6",
    )
    more = {"spec": "attestation.md §5", "bug": "REPLAYED_EVIDENCE"}
    case("other-nonce", "An answer to somebody else's question.", ours, "attestation.nonce", nonce=NONCE[::-1], **more)
    case("no-nonce", "A nonce was asked and none was answered.", good, "attestation.nonce", nonce=NONCE, **more)
    more = {"spec": "attestation.md §5", "bound": True, "bug": "SUBSTITUTION"}
    other = NITRO.document(user_data=binding(world.STRANGER.id))
    case("other-key-document", "A genuine enclave, and another node's key.", other, "attestation.binding", **more)
    case("nothing-bound", "A genuine enclave that vouches for no key.", good, "attestation.binding", **more)
    case(
        "key-in-public-key",
        "The record stands in user_data; a record in another member binds nothing.",
        NITRO.document(public_key=RECORD),
        "attestation.binding",
        **more,
    )
    more = {"spec": "attestation.md §7", "bug": "UNMEASURED_ACCEPTED"}
    expectations: list[tuple[str, str, list[Any]]] = [
        (
            "other-measurement",
            "Genuine hardware runs software that nobody admitted.",
            [reference("aws-nitro", {"pcr0": "11" * 48})],
        ),
        (
            "one-register-differs",
            "Every named register counts.",
            [reference("aws-nitro", {**pcrs(0, 1), "pcr2": "11" * 48})],
        ),
        ("nothing-admitted", "An empty list admits nothing.", []),
        ("other-format", "A reference value of another format.", [reference("intel-dcap", TDX_VALUE)]),
        (
            "register-missing",
            "A register that the document does not have is not zero.",
            [reference("aws-nitro", {**pcrs(0), "pcr31": "00" * 48})],
        ),
        ("reference-over", "A reference value that has run out.", [reference("aws-nitro", pcrs(0), valid_until=AT)]),
        (
            "reference-to-come",
            "A reference value that is not valid yet.",
            [reference("aws-nitro", pcrs(0), valid_from=when(AT, plus_ms=1))],
        ),
    ]
    for name, why, references in expectations:
        case(name, why, good, "attestation.measurement", references=references, **more)
    case(
        "other-role",
        "Admitted for data nodes; this is a gateway's key.",
        ours,
        "attestation.measurement",
        bound=True,
        references=[reference("aws-nitro", pcrs(0), role="data")],
        **more,
    )
    for name, value in (
        ("reference-without-pcr0", pcrs(1)),
        ("reference-empty", {}),
        ("reference-unknown-register", {**pcrs(0), "pcr32": "00" * 48}),
        ("reference-least", {**pcrs(0), "least": {"microcode": 1}}),
    ):
        case.malformed(
            name,
            "A reference value that would admit any image, or names what does not exist.",
            good,
            "attestation.reference",
            references=[reference("aws-nitro", value)],
            spec="attestation.md §7",
        )


def _nitro_chains(case: Cases) -> None:
    bundle = NITRO.bundle

    def above(position: int, raw: bytes) -> bytes:
        return NITRO.document(cabundle=[*bundle[:position], raw, *bundle[position + 1 :]])

    case(
        "other-root",
        "A whole vendor of one's own: it verifies under its own root only.",
        OTHER_NITRO.document(),
        "attestation.root",
        bug="ROOT_FROM_EVIDENCE",
    )
    imitation = certificate(
        "nitro root",
        EC("nitro/imitation"),
        "nitro root",
        EC("nitro/imitation"),
        authority_extensions(),
        start=hardware.LONG_AGO,
        end=hardware.FAR,
    )
    case("imitated-root", "Another root of the same name.", above(0, imitation), "attestation.root", bug="ROOT_BY_NAME")
    again = NITRO.authority("root", "root", None, serial=2)
    case(
        "root-renewed",
        "The root's own key and name in another certificate: roots are compared as bytes.",
        above(0, again),
        "attestation.root",
    )
    case(
        "bundle-reversed",
        "Leaf's issuer first, root last: cabundle goes the other way.",
        NITRO.document(cabundle=bundle[::-1]),
        "attestation.root",
    )
    case("issuer-missing", "An authority is left out.", NITRO.document(cabundle=bundle[:3]), "attestation.chain")
    case("root-alone", "The root did not issue the leaf.", NITRO.document(cabundle=bundle[:1]), "attestation.chain")
    case(
        "order-swapped",
        "Two authorities in the wrong order.",
        NITRO.document(cabundle=[bundle[0], bundle[2], bundle[1], bundle[3]]),
        "attestation.path_length",
        bug="CHAIN_ORDER",
    )
    stranger = EC("nitro/stranger")
    case(
        "authority-by-stranger",
        "An authority signed by a key that is none of the chain's.",
        above(2, NITRO.authority("zone", "region", 1, signer=stranger)),
        "attestation.chain",
    )
    case(
        "leaf-by-stranger",
        "A leaf signed by a key that is none of the chain's.",
        NITRO.document(certificate=NITRO.leaf_certificate(signer=stranger)),
        "attestation.chain",
    )
    case(
        "leaf-names-another",
        "The leaf names another issuer; the signature alone would fit.",
        NITRO.document(certificate=NITRO.leaf_certificate(issuer="nitro zone")),
        "attestation.chain",
    )
    not_authority = authority_extensions(authority=False)
    case(
        "leaf-as-authority",
        "A leaf issues another leaf: whoever owns one enclave would speak for all.",
        above(3, NITRO.authority("instance", "zone", None, extensions=not_authority)),
        "attestation.authority",
        bug="LEAF_AS_CA",
    )
    case(
        "authority-without-constraints",
        "No basicConstraints, no authority.",
        above(
            3, NITRO.authority("instance", "zone", None, extensions=[extension(USAGE, bits(b"\x06", 1), critical=True)])
        ),
        "attestation.authority",
        bug="LEAF_AS_CA",
    )
    case(
        "authority-may-not-sign",
        "A key usage without keyCertSign.",
        above(3, NITRO.authority("instance", "zone", 0, extensions=authority_extensions(0, signs=False))),
        "attestation.authority",
    )
    case(
        "path-too-long",
        "More authorities below than the path length allows.",
        above(1, NITRO.authority("region", "root", 1)),
        "attestation.path_length",
        bug="PATH_LENGTH",
    )
    unknown = [*authority_extensions(0), extension("2.5.29.30", seq(), critical=True)]
    case(
        "critical-name-constraints",
        "A critical extension that is not read says something that would be ignored.",
        above(3, NITRO.authority("instance", "zone", 0, extensions=unknown)),
        "attestation.critical_extension",
    )
    case(
        "leaf-is-authority",
        "The key that signed the document is an authority's.",
        NITRO.document(certificate=NITRO.leaf_certificate(extensions=authority_extensions(0))),
        "attestation.leaf",
    )
    case(
        "leaf-may-not-sign",
        "A key usage without digitalSignature.",
        NITRO.document(
            certificate=NITRO.leaf_certificate(
                extensions=[leaf_extensions()[0], extension(USAGE, bits(b"\x20", 5), critical=True)]
            )
        ),
        "attestation.leaf",
    )
    case(
        "authority-over",
        "An authority in the middle has run out; leaf and root have not.",
        above(2, NITRO.authority("zone", "region", 1, end=when(hardware.MADE, plus_ms=750))),
        "attestation.expired",
        spec="attestation.md §3.7",
    )
    small = EC("nitro/p256", 256)
    case(
        "leaf-of-another-curve",
        "A P-256 key cannot have made an ES384 signature.",
        NITRO.document(certificate=NITRO.leaf_certificate(key=small)),
        "attestation.leaf",
    )
    long_form = NITRO.leaf[:1] + b"\x83\x00" + NITRO.leaf[2:] if NITRO.leaf[1] == 0x82 else NITRO.leaf
    case.malformed(
        "leaf-long-length",
        "A length in more bytes than it needs: BER, not DER.",
        NITRO.document(certificate=long_form),
        "der.length",
    )
    case.malformed(
        "leaf-trailing",
        "A byte after the certificate.",
        NITRO.document(certificate=NITRO.leaf + b"\x00"),
        "der.trailing",
    )
    case.malformed(
        "leaf-truncated", "A certificate that ends early.", NITRO.document(certificate=NITRO.leaf[:-1]), "der.truncated"
    )
    case.malformed(
        "leaf-version-1",
        "A certificate of version 1 has no extensions to say that it is no authority.",
        NITRO.document(certificate=NITRO.leaf_certificate(version=tlv(0xA0, integer(0)))),
        "certificate.version",
    )
    case.malformed(
        "leaf-two-algorithms",
        "Another algorithm outside than inside of what is signed.",
        NITRO.document(certificate=NITRO.leaf_certificate(outer_algorithm=small.algorithm)),
        "certificate.algorithm",
    )
    twice = [*leaf_extensions(), extension(BASIC, seq())]
    case.malformed(
        "leaf-extension-twice",
        "Which of the two would count?",
        NITRO.document(certificate=NITRO.leaf_certificate(extensions=twice)),
        "certificate.extension",
    )
    loose = [extension(BASIC, seq(tlv(1, b"\x01")), critical=True)]
    case.malformed(
        "leaf-loose-boolean",
        "DER has one value for true.",
        NITRO.document(certificate=NITRO.leaf_certificate(extensions=loose)),
        "der.boolean",
    )
    case.malformed("empty-certificate", "No certificate at all.", NITRO.document(certificate=b""), "nitro.fields")


def _nitro_spellings(case: Cases) -> None:
    good = NITRO.document()
    case("signature-bit", "One bit of the signature.", flipped(good, len(good) - 1), "attestation.signature")
    case(
        "signature-zero",
        "r and s are zero.",
        NITRO.sign(cbor(NITRO.payload()), signature=lambda _: bytes(96)),
        "attestation.signature",
    )
    case(
        "signed-by-another",
        "Signed by a key that is not the leaf's.",
        NITRO.sign(cbor(NITRO.payload()), signer=NITRO.keys["instance"]),
        "attestation.signature",
    )
    swapped = NITRO.document(user_data=RECORD).replace(bytes.fromhex(GATEWAY.id), bytes.fromhex(world.STRANGER.id))
    case(
        "user-data-swapped",
        "The key document's digest replaced after signing.",
        swapped,
        "attestation.signature",
        bug="SUBSTITUTION",
    )
    register = good.replace(named("pcr/0", 48), bytes(48))
    case(
        "register-swapped", "A register replaced after signing.", register, "attestation.signature", bug="SUBSTITUTION"
    )
    case.malformed("empty", "Nothing.", b"", "cbor.truncated")
    case.malformed("truncated", "The last byte is missing.", good[:-1], "cbor.truncated")
    case.malformed("trailing-byte", "A byte after the document.", good + b"\x00", "cbor.trailing")
    case.malformed("tagged", "The same document with tag 18: a second spelling.", b"\xd2" + good, "cbor.type")
    case.malformed("not-an-array", "A COSE_Sign1 is an array.", cbor({}), "nitro.cose")
    long_head = b"\x98\x04" + good[1:]
    case.malformed(
        "long-array-head",
        "An array of four written in two bytes: a second spelling of the same document.",
        long_head,
        "cbor.spelling",
        bug="SECOND_SPELLING",
    )
    case.malformed(
        "long-string-head",
        "A length in four bytes where two do.",
        good.replace(b"\x58\x60" + good[-96:], b"\x59\x00\x60" + good[-96:]),
        "cbor.spelling",
        bug="SECOND_SPELLING",
    )
    payload = cbor(NITRO.payload())
    case.malformed(
        "unprotected-header",
        "An unprotected header that nobody signed.",
        NITRO.sign(payload, unprotected={4: b"key"}),
        "nitro.cose",
    )
    case.malformed(
        "unprotected-null",
        "Null instead of an empty map.",
        NITRO.sign(payload).replace(b"\xa1\x01\x38\x22\xa0", b"\xa1\x01\x38\x22\xf6", 1),
        "nitro.cose",
    )
    case.malformed(
        "algorithm-es256", "Another algorithm.", NITRO.sign(payload, protected=b"\xa1\x01\x26"), "nitro.cose"
    )
    case.malformed(
        "algorithm-spelled-long",
        "ES384 in three bytes.",
        NITRO.sign(payload, protected=b"\xa1\x01\x39\x00\x22"),
        "nitro.cose",
    )
    case.malformed(
        "short-signature", "95 bytes.", NITRO.sign(payload, signature=lambda value: value[:-1]), "nitro.cose"
    )

    def signed(name: str, why: str, code: str, body: bytes) -> None:
        case.malformed(name, why, NITRO.sign(body), code)

    def member(name: str, why: str, code: str = "nitro.fields", /, **change: Any) -> None:
        signed(name, why, code, cbor(NITRO.payload(**change)))

    pairs = NITRO.payload()
    signed(
        "member-twice",
        "Two user_data: which would count?",
        "cbor.duplicate_key",
        cbor(Pairs([*pairs, ["nonce", b"x"]])),
    )
    registers = Pairs([[0, bytes(48)], *([index, named(f"pcr/{index}", 48)] for index in range(3))])
    member(
        "register-twice",
        "A register twice: the first is zero, the second what it should be.",
        "cbor.duplicate_key",
        pcrs=registers,
    )
    member(
        "long-number",
        "A number in nine bytes that fits in five, signed as it is.",
        "cbor.spelling",
        timestamp=Raw(b"\x1b" + bytes(4) + b"\x11\x11\x11\x11"),
    )
    member("float", "A time as a float.", "cbor.type", timestamp=Raw(b"\xfb" + bytes(8)))
    member("chunked-string", "A byte string in chunks.", "cbor.type", nonce=Raw(b"\x5f\x41\x00\xff"))
    member(
        "inner-indefinite-map",
        "Only the payload itself may be of indefinite length.",
        "cbor.type",
        pcrs=Raw(b"\xbf\x00\x58\x30" + bytes(48) + b"\xff"),
    )
    member("not-utf-8", "A text that is not UTF-8.", "cbor.utf8", module_id=Raw(b"\x61\xff"))
    member("too-deep", "Nested deeper than four levels.", "cbor.depth", nonce=Raw(b"\x81" * 6 + b"\x00"))
    member("list-as-key", "A key that is neither a number nor a text.", "cbor.type", pcrs=Raw(b"\xa1\x80\x00"))
    member("unknown-member", "A member that nobody knows.", extra=b"x")
    member("member-missing", "No registers.", pcrs=...)
    member("other-digest", "Registers of another hash.", digest="SHA256")
    member("time-zero", "A document without a time.", timestamp=0)
    member("time-out-of-bounds", "A time after the year 9999.", timestamp=253_402_300_800_000)
    member("empty-bundle", "No chain.", cabundle=[])
    member("long-bundle", "More certificates than a chain has.", cabundle=[NITRO.root] * 8)
    member("long-user-data", "More user data than the security module takes.", user_data=bytes(513))
    member("text-as-nonce", "A nonce is bytes.", nonce="nonce")
    member("no-registers", "An empty map of registers would fit every reference value.", "nitro.pcrs", pcrs={})
    member("short-register", "32 bytes in a register.", "nitro.pcrs", pcrs={0: bytes(32)})
    member("register-32", "There are 32 registers, from 0.", "nitro.pcrs", pcrs={32: bytes(48)})
    member("register-named", "A register by name.", "nitro.pcrs", pcrs={"0": bytes(48)})
    record = RECORD[:-1]
    case.malformed(
        "short-record",
        "A binding record that ends early.",
        NITRO.document(user_data=record),
        "attestation.binding_record",
        spec="attestation.md §5",
    )
    nobody = binding("00" * 32)
    case.malformed(
        "record-of-nobody",
        "A record that names no key document.",
        NITRO.document(user_data=nobody),
        "attestation.binding_record",
        spec="attestation.md §5",
    )


def _snp(case: Cases) -> None:
    shared = "snp-chain.pem"
    good = AMD.report()
    value = {"measurement": named("snp/measurement", 48).hex()}
    case(
        "report",
        "A report with its chain.",
        good,
        collateral=shared,
        result={"tee": "snp", "debug": False, "root": sha(AMD.root).hex(), "measurements": value},
    )
    ours = AMD.report(report_data=report_data(RECORD, NONCE))
    least = reference("amd-sev-snp", {**value, "least": {"snp": 22, "microcode": 213}})
    case(
        "bound",
        "Report data are the digests of the record and of the nonce.",
        ours,
        collateral=shared,
        bound=True,
        nonce=NONCE,
        references=[least],
        result={"key_document": GATEWAY.id},
    )
    tls = binding(GATEWAY.id, named("tls", 32))
    case(
        "bound-with-record",
        "A record that names more travels beside the report.",
        AMD.report(report_data=report_data(tls)),
        collateral=shared,
        bound=True,
        record=tls,
        result={"key_document": GATEWAY.id, "tls_spki": named("tls", 32).hex()},
    )
    case(
        "root-left-out",
        "The ARK may be left out when a root has the name of the issuer.",
        good,
        collateral=pem(*AMD.chain[:2]),
    )

    def masked(raw: bytearray) -> None:
        raw[0x48], raw[0x1A0:0x1E0] = 2, bytes(64)

    case(
        "masked-chip",
        "A platform that hides its chip's id says so in the report.",
        AMD.report(change=masked),
        collateral=shared,
    )
    case("no-collateral", "Without the chip's certificate nobody can tell.", good, expect="undecided")

    def by_vlek(raw: bytearray) -> None:
        raw[0x48] = 1 << 2

    case(
        "by-a-vlek",
        "A report signed by a VLEK is not decided.",
        AMD.report(change=by_vlek),
        expect="undecided",
        collateral=shared,
    )
    for name, at in (("measurement-bit", 0x90), ("signature-bit", 0x2A0), ("report-data-bit", 0x50)):
        case(name, "One bit changed after signing.", flipped(good, at), "attestation.signature", collateral=shared)
    for name, at in (("padding-bit", 0x330), ("padding-of-r", 0x2E7), ("padding-at-the-end", 1183)):
        case.malformed(
            name,
            "A bit where nothing is signed: zeros only.",
            flipped(good, at),
            "snp.padding",
            collateral=shared,
            bug="UNSIGNED_BYTES",
        )
    case.malformed("truncated", "A byte short.", good[:-1], "snp.size", collateral=shared)

    def version(raw: bytearray) -> None:
        raw[0] = 1

    def policy(raw: bytearray) -> None:
        raw[10] = 1

    case.malformed(
        "version-1", "A version whose layout is another.", AMD.report(change=version), "snp.version", collateral=shared
    )
    case.malformed(
        "reserved-policy-bit",
        "A reserved bit of the policy is one.",
        AMD.report(change=policy),
        "snp.fields",
        collateral=shared,
    )
    case(
        "other-root",
        "The chain ends at a root that was not given.",
        good,
        "attestation.root",
        collateral=shared,
        roots=(NITRO.root,),
        spec="attestation.md §3.2",
    )
    case(
        "root-left-out-and-unknown",
        "No root has the name of the issuer.",
        good,
        "attestation.root",
        collateral=pem(*AMD.chain[:2]),
        roots=(NITRO.root,),
        spec="attestation.md §3.2",
    )
    order = pem(AMD.chain[1], AMD.chain[0], AMD.chain[2])
    case("chain-order", "ASK before VCEK.", good, "attestation.authority", collateral=order, spec="attestation.md §3.4")
    case.malformed("chain-alone", "The VCEK without its issuer.", good, "certificate.count", collateral=pem(AMD.leaf))
    case.malformed(
        "chain-not-pem",
        "A letter too many between two certificates.",
        good,
        "certificate.pem",
        collateral=pem(AMD.leaf) + b"\n" + pem(*AMD.chain[1:]),
        spec="attestation.md §2",
    )

    def debug(raw: bytearray) -> None:
        raw[10] |= 8

    case(
        "debug",
        "A guest policy that allows debugging.",
        AMD.report(change=debug),
        "attestation.debug",
        collateral=shared,
        spec="attestation.md §6",
        bug="DEBUG_ACCEPTED",
    )
    newer = pem(AMD.leaf_certificate(tcb={"3.8": 214}), *AMD.chain[1:])
    case(
        "other-firmware",
        "The key of another firmware: an old one reports itself as new.",
        good,
        "attestation.tcb",
        collateral=newer,
    )
    elsewhere = pem(AMD.leaf_certificate(chip=named("snp/another chip", 64)), *AMD.chain[1:])
    case("other-chip", "A certificate of another chip.", good, "attestation.chip", collateral=elsewhere)
    case(
        "record-of-another",
        "A record whose digest is not in the report.",
        ours,
        "attestation.binding",
        collateral=shared,
        record=binding(world.STRANGER.id),
        spec="attestation.md §5",
        bug="SUBSTITUTION",
    )
    case(
        "other-key-document",
        "The report binds another node.",
        AMD.report(report_data=report_data(binding(world.STRANGER.id))),
        "attestation.binding",
        collateral=shared,
        bound=True,
        spec="attestation.md §5",
        bug="SUBSTITUTION",
    )
    case(
        "other-nonce",
        "The second half is the digest of another nonce.",
        ours,
        "attestation.nonce",
        collateral=shared,
        nonce=b"\x01",
        spec="attestation.md §5",
        bug="REPLAYED_EVIDENCE",
    )
    case(
        "firmware-too-old",
        "A version below the least that is admitted.",
        good,
        "attestation.measurement",
        collateral=shared,
        references=[reference("amd-sev-snp", {**value, "least": {"snp": 23}})],
        spec="attestation.md §7",
    )
    case(
        "expired",
        "After the VCEK ran out.",
        good,
        "attestation.expired",
        collateral=pem(AMD.leaf_certificate(end=LONG_AGO), *AMD.chain[1:]),
        spec="attestation.md §3.7",
    )


def _tdx(case: Cases) -> None:
    shared = "dcap-collateral.json"
    body = INTEL.td_report()
    good = INTEL.quote(body)
    case(
        "tdx",
        "A TDX quote of version 4 with its collateral.",
        good,
        collateral=shared,
        result={
            "tee": "tdx",
            "debug": False,
            "tcb": "UpToDate",
            "root": sha(INTEL.root).hex(),
            "measurements": {"mr_td": TDX_VALUE["mr_td"]},
        },
    )
    case(
        "tdx-version-5",
        "Version 5 with a body of TDX 1.5.",
        INTEL.quote(INTEL.td_report(v15=True), version=5),
        collateral=shared,
        result={"tee": "tdx"},
    )
    case(
        "tdx-padded",
        "Zeros after the quote, as buffers of a fixed size have them.",
        INTEL.quote(body, padding=bytes(70)),
        collateral=shared,
    )
    ours = INTEL.quote(INTEL.td_report(data=report_data(RECORD, NONCE)))
    case(
        "tdx-bound",
        "Key document, nonce and measurements are those expected.",
        ours,
        collateral=shared,
        bound=True,
        nonce=NONCE,
        references=[reference("intel-dcap", TDX_VALUE)],
        result={"key_document": GATEWAY.id},
    )
    signer = named("sgx/signer", 32)
    enclave = INTEL.enclave_report(signer, 1, 7, bytes(64), flags=5, enclave=named("sgx/enclave", 32))
    sgx_value = {
        "tee": "sgx",
        "mr_enclave": named("sgx/enclave", 32).hex(),
        "mr_signer": signer.hex(),
        "least": {"isv_svn": 7},
    }
    sgx = INTEL.collateral(tee="SGX")
    case(
        "sgx",
        "An SGX quote of version 3.",
        INTEL.quote(enclave, version=3, tee=0),
        collateral=sgx,
        references=[reference("intel-dcap", sgx_value)],
        result={"tee": "sgx", "debug": False, "tcb": "UpToDate"},
    )
    case("no-collateral", "Without Intel's answers nobody can tell.", good, expect="undecided")
    case(
        "platform-by-id",
        "A quote that names its platform by an encrypted id.",
        INTEL.quote(body, certification=(3, bytes(404))),
        expect="undecided",
        collateral=shared,
    )

    def at(position: int, value: int = 1) -> Callable[[bytearray], None]:
        def change(raw: bytearray) -> None:
            raw[position] ^= value

        return change

    more: dict[str, Any] = {"collateral": shared}
    case(
        "measurement-bit",
        "A bit of MRTD changed after signing.",
        INTEL.quote(body, change=at(48 + 140)),
        "attestation.signature",
        **more,
    )
    case(
        "signature-bit",
        "A bit of the quote's signature.",
        INTEL.quote(body, change=at(636)),
        "attestation.signature",
        **more,
    )
    case(
        "header-bit",
        "A bit of the header's user data.",
        INTEL.quote(body, change=at(47)),
        "attestation.signature",
        **more,
    )
    case(
        "authentication-bit",
        "A bit of the authentication data, which the quoting enclave's report covers.",
        INTEL.quote(body, change=at(770 + 450)),
        "attestation.signature",
        **more,
    )
    case(
        "other-attestation-key",
        "A quote signed by a key that no quoting enclave vouches for.",
        INTEL.quote(body, key=EC("intel/forger", 256)),
        "attestation.signature",
        **more,
    )
    case(
        "report-bit",
        "A bit of the quoting enclave's report.",
        INTEL.quote(body, change=at(770 + 300)),
        "attestation.signature",
        **more,
    )
    case.malformed(
        "certification-kind",
        "Unsigned bytes say of the chain that it is an encrypted id.",
        INTEL.quote(body, certification=(3, pem(*INTEL.chain))),
        "quote.certification",
        bug="UNSIGNED_BYTES",
        **more,
    )
    case.malformed(
        "trailing-byte",
        "Something else than zeros after the quote.",
        INTEL.quote(body, padding=b"\x00\x01"),
        "quote.trailing",
        **more,
    )
    case.malformed("truncated", "A byte short.", good[:-1], "quote.truncated", **more)
    case.malformed(
        "other-vendor", "A quoting enclave of somebody else.", INTEL.quote(body, change=at(12)), "quote.key", **more
    )
    case.malformed(
        "version-6", "A version that is not read.", INTEL.quote(body, change=at(0, 2)), "quote.version", **more
    )
    case.malformed(
        "body-kind",
        "Version 5 with the size of another body.",
        INTEL.quote(body, version=5, change=at(50, 1)),
        "quote.body",
        **more,
    )
    case.malformed(
        "chain-spelling",
        "Carriage returns in the chain: unsigned bytes with a second spelling.",
        INTEL.quote(body, certification=(5, pem(*INTEL.chain).replace(b"\n", b"\r\n"))),
        "certificate.pem",
        bug="UNSIGNED_BYTES",
        **more,
    )
    case(
        "other-root",
        "The chains end at a root that was not given.",
        good,
        "attestation.root",
        roots=(NITRO.root,),
        spec="attestation.md §3.2",
        **more,
    )
    other = [INTEL.pck_certificate(fmspc=bytes(6)), *INTEL.chain[1:]]
    case(
        "other-platform",
        "Collateral of another kind of platform.",
        INTEL.quote(body, chain=other),
        "attestation.collateral",
        **more,
    )
    case("sgx-collateral", "Collateral of SGX for a TDX quote.", good, "attestation.collateral", collateral=sgx)
    case(
        "other-quoting-enclave",
        "A quoting enclave of another signer, certified by a genuine platform.",
        INTEL.quote(body, qe={"signer": named("sgx/signer", 32)}),
        "attestation.quoting_enclave",
        **more,
    )
    case(
        "debug-quoting-enclave",
        "A quoting enclave in debug mode: its keys are readable.",
        INTEL.quote(body, qe={"flags": 0x13}),
        "attestation.quoting_enclave",
        **more,
    )
    case(
        "old-quoting-enclave",
        "Older than every level Intel lists.",
        INTEL.quote(body, qe={"svn": 3}),
        "attestation.tcb",
        **more,
    )

    def module(raw: bytearray) -> None:
        raw[1] = 7

    def seam(raw: bytearray) -> None:
        raw[64] = 1

    def old(raw: bytearray) -> None:
        raw[2] = 1

    def debug(raw: bytearray) -> None:
        raw[120] = 1

    def exceptions(raw: bytearray) -> None:
        raw[123] = 0

    def downgraded(raw: bytearray) -> None:
        raw[584] = 4

    case(
        "exceptions-let-in",
        "A domain that lets its host raise exceptions in it (SEPT_VE_DISABLE is not set).",
        INTEL.quote(INTEL.td_report(change=exceptions)),
        "attestation.td_attributes",
        **more,
    )
    case(
        "module-older-now",
        "Version 5: the module that runs now is older than the one that the domain began with.",
        INTEL.quote(INTEL.td_report(v15=True, change=downgraded), version=5),
        "attestation.tcb",
        **more,
    )
    case(
        "unknown-module",
        "A TDX module of a version that Intel does not list.",
        INTEL.quote(INTEL.td_report(change=module)),
        "attestation.tdx_module",
        **more,
    )
    case(
        "module-of-another",
        "A TDX module of another signer.",
        INTEL.quote(INTEL.td_report(change=seam)),
        "attestation.tdx_module",
        **more,
    )
    case(
        "old-firmware",
        "No level that this platform reaches.",
        INTEL.quote(INTEL.td_report(change=old)),
        "attestation.tcb",
        **more,
    )
    case(
        "tdx-debug",
        "A trust domain under debug.",
        INTEL.quote(INTEL.td_report(change=debug)),
        "attestation.debug",
        spec="attestation.md §6",
        bug="DEBUG_ACCEPTED",
        **more,
    )
    sgx_debug = INTEL.enclave_report(signer, 1, 7, bytes(64), flags=7)
    case(
        "sgx-debug",
        "An SGX enclave in debug mode.",
        INTEL.quote(sgx_debug, version=3, tee=0),
        "attestation.debug",
        collateral=sgx,
        spec="attestation.md §6",
        bug="DEBUG_ACCEPTED",
    )
    case(
        "other-key-document",
        "The quote binds another node.",
        INTEL.quote(INTEL.td_report(data=report_data(binding(world.STRANGER.id)))),
        "attestation.binding",
        bound=True,
        spec="attestation.md §5",
        bug="SUBSTITUTION",
        **more,
    )
    case(
        "other-measurement",
        "Another kernel in RTMR1.",
        good,
        "attestation.measurement",
        references=[reference("intel-dcap", {**TDX_VALUE, "rt_mr1": "11" * 48})],
        spec="attestation.md §7",
        **more,
    )
    for name, value in (
        ("reference-without-tee", {"mr_td": "11" * 48}),
        ("reference-firmware-only", {"tee": "tdx", "mr_td": TDX_VALUE["mr_td"]}),
        ("reference-revoked", {**TDX_VALUE, "tcb": ["Revoked"]}),
    ):
        case.malformed(
            name,
            "A reference value that would admit what nobody should.",
            good,
            "attestation.reference",
            references=[reference("intel-dcap", value)],
            spec="attestation.md §7",
            **more,
        )


def _collateral(case: Cases) -> None:
    good = INTEL.quote(INTEL.td_report())
    hardening = INTEL.collateral(levels=[INTEL.level("SWHardeningNeeded", advisories=("INTEL-SA-00001",))])
    case(
        "hardening-needed",
        "Without reference values a status that needs hardening is told.",
        good,
        collateral=hardening,
        result={"tcb": "SWHardeningNeeded"},
        spec="attestation.md §7",
    )
    admits = {**TDX_VALUE, "tcb": ["UpToDate", "SWHardeningNeeded"]}
    case(
        "hardening-admitted",
        "A reference value that lists the status.",
        good,
        collateral=hardening,
        references=[reference("intel-dcap", admits)],
        result={"tcb": "SWHardeningNeeded"},
        spec="attestation.md §7",
    )
    case(
        "hardening-not-admitted",
        "A reference value that lists none admits UpToDate alone.",
        good,
        "attestation.tcb",
        collateral=hardening,
        references=[reference("intel-dcap", TDX_VALUE)],
        spec="attestation.md §7",
    )
    lower = INTEL.collateral(levels=[INTEL.level(), INTEL.level("OutOfDate", low=True)])
    case(
        "first-level-counts",
        "The first level that is reached counts, not the last.",
        good,
        collateral=lower,
        result={"tcb": "UpToDate"},
    )
    case(
        "out-of-date",
        "Firmware that Intel calls out of date.",
        good,
        "attestation.tcb",
        collateral=INTEL.collateral(levels=[INTEL.level("OutOfDate", low=True)]),
        spec="attestation.md §7",
    )
    case(
        "revoked-level",
        "A TCB level that Intel has revoked, whatever a reference value says.",
        good,
        "attestation.tcb",
        collateral=INTEL.collateral(levels=[INTEL.level("Revoked")]),
    )
    stale = [{"tcb": {"isvsvn": 4}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate"}]
    case(
        "quoting-enclave-out-of-date",
        "The platform is no newer than its quoting enclave.",
        good,
        "attestation.tcb",
        collateral=INTEL.collateral(identity={"tcbLevels": stale}),
    )
    case(
        "revoked-platform",
        "The platform's certificate is on the list.",
        good,
        "attestation.revoked",
        collateral=INTEL.collateral(revoked=(77,)),
        bug="REVOKED_ACCEPTED",
    )
    case(
        "revoked-authority",
        "The authority of platforms is on the root's list.",
        good,
        "attestation.revoked",
        collateral=INTEL.collateral(root_revoked=(2,)),
        bug="REVOKED_ACCEPTED",
    )
    case(
        "revoked-signer",
        "The certificate that signs TCB documents is on the root's list.",
        good,
        "attestation.revoked",
        collateral=INTEL.collateral(root_revoked=(3,)),
        bug="REVOKED_ACCEPTED",
    )
    span = {"start": hardware.WEEK_AGO, "end": hardware.NEXT_MONTH}
    by_root = revocations("Intel root", INTEL.keys["root"], **span).hex()

    def of_root(found: dict[str, str]) -> None:
        found["pck_crl"] = by_root

    def of_root_alone(found: dict[str, str]) -> None:
        found["pck_crl"], found["pck_crl_issuer_chain"] = by_root, pem(INTEL.root).decode()

    case(
        "list-of-another",
        "A genuine revocation list of another authority than its chain shows.",
        good,
        "attestation.chain",
        collateral=INTEL.collateral(change=of_root),
    )
    case(
        "list-of-the-root",
        "The root's list instead of the authority's: it names no platform.",
        good,
        "attestation.collateral",
        collateral=INTEL.collateral(change=of_root_alone),
    )
    stranger = json.loads(OTHER_INTEL.collateral())

    def of_a_stranger(found: dict[str, str]) -> None:
        for name in ("tcb_info", "qe_identity"):
            for part in (name, f"{name}_signature", f"{name}_issuer_chain"):
                found[part] = stranger[part]

    case(
        "collateral-of-another-root",
        "Levels signed under another root than the platform's, which is admitted too.",
        good,
        "attestation.collateral",
        collateral=INTEL.collateral(change=of_a_stranger),
        roots=(INTEL.root, OTHER_INTEL.root),
    )
    gone = [{"tcb": {"isvsvn": 5}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "Revoked"}]
    module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    case(
        "revoked-module",
        "A TDX module that Intel has revoked, on firmware that is up to date.",
        good,
        "attestation.tcb",
        collateral=INTEL.collateral(info={"tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": gone}]}),
    )
    older = [INTEL.pck_certificate(pce_svn=10), *INTEL.chain[1:]]
    case(
        "old-certification-enclave",
        "A provisioning certification enclave older than every level asks for.",
        INTEL.quote(INTEL.td_report(), chain=older),
        "attestation.tcb",
        collateral="dcap-collateral.json",
    )
    case(
        "list-by-stranger",
        "A revocation list that somebody else signed.",
        good,
        "attestation.chain",
        collateral=INTEL.collateral(crl_signer="pck"),
    )
    case(
        "collateral-over",
        "A month later: lists and levels have run out.",
        good,
        "attestation.expired",
        collateral="dcap-collateral.json",
        at=when(hardware.NEXT_MONTH, plus_ms=1),
        spec="attestation.md §3.7",
        bug="EXPIRED_EVIDENCE",
    )
    case(
        "collateral-to-come",
        "Collateral issued after the time asked about.",
        good,
        "attestation.not_yet_valid",
        collateral="dcap-collateral.json",
        at=when(hardware.WEEK_AGO, plus_ms=-1),
        spec="attestation.md §3.7",
    )

    def altered(name: str, old: str, new: str) -> bytes:
        def change(found: dict[str, str]) -> None:
            found[name] = found[name].replace(old, new)

        return INTEL.collateral(levels=[INTEL.level("OutOfDate")], change=change)

    case(
        "levels-altered",
        "Firmware called up to date by somebody other than Intel.",
        good,
        "attestation.signature",
        collateral=altered("tcb_info", "OutOfDate", "UpToDate"),
        bug="SUBSTITUTION",
    )
    case(
        "identity-altered",
        "A quoting enclave that somebody else describes.",
        good,
        "attestation.signature",
        collateral=altered("qe_identity", '"isvprodid":2', '"isvprodid":1'),
        bug="SUBSTITUTION",
    )

    def missing(found: dict[str, str]) -> None:
        del found["pck_crl"]

    def version(info: dict[str, Any]) -> bytes:
        return INTEL.collateral(info=info)

    case.malformed(
        "no-list",
        "Collateral without a revocation list.",
        good,
        "collateral.fields",
        collateral=INTEL.collateral(change=missing),
    )
    case.malformed(
        "levels-version-2",
        "TCB info of another version.",
        good,
        "collateral.version",
        collateral=version({"version": 2}),
    )
    case.malformed(
        "unknown-status",
        "A status that nobody knows is not good enough.",
        good,
        "collateral.status",
        collateral=INTEL.collateral(levels=[INTEL.level("Fine")]),
    )
    case.malformed(
        "time-with-fractions",
        "Times have whole seconds.",
        good,
        "collateral.time",
        collateral=version({"nextUpdate": "2026-01-25T00:00:00.5Z"}),
    )


def _nvidia(case: Cases) -> None:
    shared, nonce = "nvidia-chain.pem", named("nvidia/asked", 32)
    good = GPU.report(nonce=nonce)
    case(
        "report",
        "Signature and chain hold; what else there is to know is not in the report.",
        good,
        collateral=shared,
        nonce=nonce,
        result={"tee": "nvidia", "debug": None, "root": sha(GPU.root).hex()},
    )
    case("no-collateral", "Without the GPU's certificate nobody can tell.", good, expect="undecided")
    case("measurement-bit", "A bit of a measurement.", flipped(good, 60), "attestation.signature", collateral=shared)
    case(
        "nonce-bit",
        "The nonce that was asked is signed too.",
        flipped(good, 10),
        "attestation.signature",
        collateral=shared,
    )
    case(
        "other-nonce",
        "An answer to somebody else's question.",
        good,
        "attestation.nonce",
        collateral=shared,
        nonce=nonce[::-1],
        spec="attestation.md §5",
        bug="REPLAYED_EVIDENCE",
    )
    case(
        "bound",
        "GPU evidence binds no key.",
        good,
        "attestation.binding",
        collateral=shared,
        bound=True,
        spec="attestation.md §5",
        bug="SUBSTITUTION",
    )
    case(
        "other-root",
        "The chain ends at a root that was not given.",
        good,
        "attestation.root",
        collateral=shared,
        roots=(NITRO.root,),
        spec="attestation.md §3.2",
    )
    case(
        "issuer-missing",
        "The root did not issue the GPU's certificate.",
        good,
        "attestation.chain",
        collateral=pem(GPU.leaf, GPU.root),
        spec="attestation.md §3.3",
    )
    case.malformed("truncated", "A byte short.", good[:-1], "nvidia.spdm", collateral=shared)
    case.malformed(
        "not-a-request",
        "Something else than a measurement request.",
        b"\x10" + good[1:],
        "nvidia.spdm",
        collateral=shared,
    )

    def count(raw: bytearray) -> None:
        raw[37 + 4] = 4

    def twice(raw: bytearray) -> None:
        raw[37 + 8 + 55] = 1

    case.malformed(
        "count",
        "Fewer measurements than it says.",
        GPU.report(nonce=nonce, change=count),
        "nvidia.measurements",
        collateral=shared,
    )
    case.malformed(
        "measurement-twice",
        "A measurement twice.",
        GPU.report(nonce=nonce, change=twice),
        "nvidia.measurements",
        collateral=shared,
    )


def _insecure(out: Writer) -> None:
    message = b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(GATEWAY.id)
    good = LAB_ROOT.sign(message)
    document = {"key-document.json": GATEWAY.raw, "root.txt": b64(LAB_ROOT.public) + "\n"}

    def case(
        name: str, why: str, evidence: bytes, code: str | None = None, *, drop: str = "", expect: str = "", **more: Any
    ) -> None:
        run = ["verify-quote", "--at", AT]
        if drop != "root.txt":
            run += ["--roots", "root.txt"]
        if drop != "key-document.json":
            run += ["--key-document", "key-document.json"]
        out.case(
            f"attestation/insecure-{name}",
            why,
            spec="attestation.md §4.5",
            run=[*run, "insecure-dev", "evidence.bin"],
            expect=expect or ("reject" if code else "accept"),
            code=code,
            at=AT,
            bug="FORGED_EVIDENCE" if code else None,
            files={"evidence.bin": evidence, **document},
            **more,
        )

    case(
        "signature",
        "A throw-away root vouches for a software key: accepted as what it is, which is debug mode and no hardware.",
        good,
        result={"tee": "software", "debug": True, "key_document": GATEWAY.id, "measurements": {}},
    )
    case("no-root", "No throw-away root was given.", good, drop="root.txt", expect="undecided")
    case(
        "no-key-document",
        "A signature over a digest that nobody gave.",
        good,
        drop="key-document.json",
        expect="undecided",
    )
    case("bit", "One bit changed.", flipped(good, 3), "attestation.signature")
    case(
        "other-domain",
        "The digest alone is signed: a signature of another purpose.",
        LAB_ROOT.sign(bytes.fromhex(GATEWAY.id)),
        "attestation.signature",
    )
    case("too-long", "A signature has 64 bytes.", good + b"\x00", "attestation.size", expect="malformed")
