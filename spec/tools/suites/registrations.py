"""What nodes submit to the registry, and what full nodes sign about it: registry.md §3 to §5."""

from __future__ import annotations

from typing import Any

from reference import x509
from reference.cases import Writer
from reference.signing import Ed25519, keccak256
from reference.text import b64, exact_text, jcs, named, sha
from reference.world import ROOTS, first_version, sign_trust, trust_file

AT = "2026-01-01T12:00:00.000Z"
CONTRACT = "0x" + "7e" * 20
DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
VERDICT = b"Verdict(uint256 attestation,bytes32 evidence,bool accepted)"
TAG = b"urn:holdfast:measurement:v1\x00"
PAYMENT = "0x" + "ab" * 20
NOTHING = "00" * 32
SOFTWARE = keccak256(TAG + b"insecure-dev\x00software\x00")
X25519 = named("registry/x25519")
START, END = "2025-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"


def word(value: int) -> bytes:
    """An ABI word."""
    return value.to_bytes(32, "big")


def write(out: Writer) -> None:
    """Write the suite."""
    verdicts(out)
    measurements(out)
    submissions(out)


def verdicts(out: Writer) -> None:
    """§5."""

    def case(name: str, why: str, **change: Any) -> None:
        value = {
            "chain_id": 31337,
            "contract": CONTRACT,
            "attestation": 7,
            "evidence": sha(b"evidence").hex(),
            "accepted": True,
            **change,
        }
        separator = keccak256(
            keccak256(DOMAIN)
            + keccak256(b"Holdfast Registry")
            + keccak256(b"1")
            + word(value["chain_id"])
            + bytes(12)
            + bytes.fromhex(value["contract"][2:])
        )
        struct = (
            keccak256(VERDICT)
            + word(value["attestation"])
            + bytes.fromhex(value["evidence"])
            + word(int(value["accepted"]))
        )
        digest = keccak256(b"\x19\x01" + separator + keccak256(struct))
        out.case(
            f"registry/verdict-{name}",
            why,
            spec="registry.md §5",
            run=["registry-hash", "verdict", "value.json"],
            result={"hash": digest.hex()},
            files={"value.json": value},
        )

    case("accepted", "A full node accepts an attestation.")
    case(
        "refused", "The same attestation refused: another hash, so one word never passes for the other.", accepted=False
    )
    case("other-attestation", "The same word on another attestation.", attestation=8)
    case("other-evidence", "The same word on other evidence.", evidence=sha(b"other").hex())
    case("other-registry", "The same word in another registry.", contract="0x" + "7f" * 20)
    case("other-chain", "The same word on another chain.", chain_id=1)


def measurements(out: Writer) -> None:
    """§3."""

    def case(name: str, why: str, form: str, tee: str, registers: dict[str, bytes], digest: bytes | None) -> None:
        out.case(
            f"registry/measurement-{name}",
            why,
            spec="registry.md §3",
            run=["registry-hash", "measurement", "value.json"],
            expect="reject" if digest is None else "accept",
            code="registry.measurement" if digest is None else None,
            result=None if digest is None else {"hash": digest.hex()},
            files={
                "value.json": {
                    "format": form,
                    "tee": tee,
                    "registers": {register: value.hex() for register, value in registers.items()},
                }
            },
            bug=None if digest is not None else "OMISSION",
        )

    pcrs = {f"pcr{number}": bytes([number + 1]) * 48 for number in range(3)}
    case(
        "nitro",
        "As OpenGradient's registry computes it.",
        "aws-nitro",
        "nitro",
        pcrs,
        keccak256(b"".join(pcrs.values())),
    )
    more = {**pcrs, "pcr8": bytes([9]) * 48}
    case("nitro-more", "Other registers are not in it.", "aws-nitro", "nitro", more, keccak256(b"".join(pcrs.values())))
    tdx = {"mr_td": bytes([1]) * 48, "rt_mr1": bytes([2]) * 48, "rt_mr2": bytes([3]) * 48}
    digest = keccak256(TAG + b"intel-dcap\x00tdx\x00" + b"".join(tdx.values()))
    case("tdx", "Registers of a trust domain, in the order of the table.", "intel-dcap", "tdx", tdx, digest)
    sgx = {"mr_enclave": bytes([4]) * 32}
    case(
        "sgx",
        "An SGX enclave.",
        "intel-dcap",
        "sgx",
        sgx,
        keccak256(TAG + b"intel-dcap\x00sgx\x00" + sgx["mr_enclave"]),
    )
    snp = {"measurement": bytes([5]) * 48}
    digest = keccak256(TAG + b"amd-sev-snp\x00snp\x00" + snp["measurement"])
    case("snp", "A SEV-SNP guest.", "amd-sev-snp", "snp", snp, digest)
    case("insecure-dev", "Nothing is measured where there is no enclave.", "insecure-dev", "software", {}, SOFTWARE)
    case("register-missing", "A register of the table is missing.", "aws-nitro", "nitro", {"pcr0": bytes(48)}, None)
    case("nvidia", "A GPU alone binds no key, so nothing is approved by it.", "nvidia", "nvidia", {}, None)
    case("other-tee", "A format has its own TEEs.", "intel-dcap", "snp", snp, None)


class Keys:
    """A node's keys and its key document; ``change`` replaces members."""

    def __init__(self, name: str, **change: Any) -> None:
        self.rsa, self.tls = x509.rsa(f"registry/{name}"), x509.EC(f"registry/{name}/tls", 256)
        self.statement = x509.EC(f"registry/{name}/statement", 256)
        point = self.statement.point
        compressed = bytes([2 + point[-1] % 2]) + point[1:33]
        document = {
            "type": "urn:holdfast:key-document:v1",
            "name": "node.example",
            "roles": ["gateway"],
            "software": "holdfast vectors",
            "keys": [
                {"use": "statement", "algorithm": "p256", "public": b64(compressed)},
                {"use": "opengradient", "algorithm": "rsa2048", "public": b64(self.rsa.spki)},
            ],
            "tls": sha(self.tls.spki).hex(),
            "ohttp": [b64(b"\x01\x00\x20" + X25519 + bytes.fromhex("00080001000100010003"))],
            "payment": PAYMENT,
            **change,
        }
        self.raw = jcs({name: value for name, value in document.items() if value is not None})
        self.digest = sha(self.raw).hex()

    def certificate(self, extensions: list[bytes] | None = None, **change: Any) -> bytes:
        """Of its TLS key, by itself."""
        listed = x509.leaf_extensions() if extensions is None else extensions
        fields: dict[str, Any] = {"start": START, "end": END, **change}
        return x509.certificate("node.example", self.tls, "node.example", self.tls, listed, **fields)


def submissions(out: Writer) -> None:
    """§4 and §5(4)."""
    root, other_root = Ed25519("registry/root"), Ed25519("registry/other root")
    node, other = Keys("node"), Keys("other")

    def vouched(document: str, key: Ed25519 = root) -> str:
        return b64(key.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(document)))

    def trust(*, development: bool = True, roots: tuple[Ed25519, ...] = (root,)) -> str:
        listed = [{"kind": "insecure-dev", "certificate": b64(key.public), "development": True} for key in roots]
        value = first_version(development=development, enclave_roots=listed)
        return exact_text(trust_file(sign_trust(value, ROOTS[:2]))) + "\n"

    def submission(keys: Keys = node, **change: Any) -> dict[str, Any]:
        ohttp = {
            "key_id": 1,
            "kem_id": 32,
            "kdf_id": 1,
            "aead_id": 3,
            "public_key": X25519.hex(),
            "key_config": b64(b"\x01\x00\x20" + X25519 + bytes.fromhex("000400010003")),
        }
        return {
            "kind": 0,
            "predecessor": NOTHING,
            "nonce": named("registry/nonce").hex(),
            "document": b64(keys.raw),
            "signing_key": b64(keys.rsa.spki),
            "certificate": b64(keys.certificate()),
            "payment": PAYMENT,
            "measurement": SOFTWARE.hex(),
            "format": "insecure-dev",
            "evidence": vouched(keys.digest),
            "ohttp": ohttp,
            "statement_key": keys.statement.point[1:].hex(),
            **change,
        }

    def case(
        name: str,
        why: str,
        value: dict[str, Any],
        code: str | None = None,
        *,
        believed: str | None = None,
        at: str = AT,
        expect: str | None = None,
        keys: Keys = node,
        bug: str = "SUBSTITUTION",
    ) -> None:
        refused = expect is None and code is not None
        out.case(
            f"registry/submission-{name}",
            why,
            spec="registry.md §5",
            run=["appraise-registration", "--at", at, "--trust", "trust.json", "submission.json"],
            expect=expect or ("reject" if refused else "accept"),
            code=code,
            result={"tee_id": keccak256(keys.rsa.spki).hex(), "key_document": keys.digest}
            if code is None and expect is None
            else None,
            at=at,
            bug=bug if code else None,
            files={"submission.json": value, "trust.json": believed or trust()},
        )

    case("good", "A gateway whose every part is its key document's.", submission())
    plain = Keys("plain", ohttp=None, payment=None)
    case(
        "without-options",
        "A gateway without a private path that is paid nowhere.",
        submission(plain, ohttp=None, payment="0x" + "00" * 20),
        keys=plain,
    )
    case("renewed", "The document that is in force.", submission(predecessor=node.digest))
    rotated = Keys("rotated", predecessor=node.digest)
    case(
        "rotated", "A document that names the one in force.", submission(rotated, predecessor=node.digest), keys=rotated
    )
    case(
        "not-its-successor",
        "New keys that do not name the document in force: somebody else's.",
        submission(other, predecessor=node.digest),
        "registration.predecessor",
    )
    case("other-role", "A gateway's document for the kind of relays.", submission(kind=3), "registration.role")
    case("unknown-kind", "A kind that no role belongs to.", submission(kind=77), "registration.role")
    case(
        "other-signing-key",
        "Answers would verify under a key that the enclave never held.",
        submission(signing_key=b64(other.rsa.spki)),
        "registration.signing_key",
    )
    case("other-payment", "Money would go elsewhere.", submission(payment="0x" + "cd" * 20), "registration.payment")
    stolen = submission()
    stolen["ohttp"] = {**stolen["ohttp"], "public_key": named("registry/attacker").hex()}
    case("other-ohttp", "Clients would seal to a key of the attacker's.", stolen, "registration.ohttp")
    case(
        "no-ohttp",
        "The document names a key that the submission hides.",
        submission(ohttp=None),
        "registration.ohttp",
        bug="OMISSION",
    )
    case(
        "other-statement-key",
        "Disputes would be settled under another key.",
        submission(statement_key=other.statement.point[1:].hex()),
        "registration.statement_key",
    )
    case(
        "certificate-of-another-key",
        "Clients would be sent to another machine.",
        submission(certificate=b64(other.certificate())),
        "registration.tls",
    )
    authority = node.certificate(x509.authority_extensions())
    case(
        "certificate-authority",
        "Clients take it as their only root: it could vouch for any other.",
        submission(certificate=b64(authority)),
        "registration.certificate_authority",
    )
    signs = [
        x509.extension(x509.BASIC, x509.seq(), critical=True),
        x509.extension(x509.USAGE, x509.bits(b"\x06", 1), critical=True),
    ]
    case(
        "certificate-may-sign",
        "No authority by name, and may sign certificates.",
        submission(certificate=b64(node.certificate(signs))),
        "registration.certificate_authority",
    )
    usage = [x509.extension(x509.USAGE, x509.bits(b"\x80", 7), critical=True)]
    case(
        "certificate-says-nothing",
        "What does not say that it is no authority counts as one.",
        submission(certificate=b64(node.certificate(usage))),
        "registration.certificate_authority",
    )
    case(
        "certificate-run-out",
        "It ran out before the block.",
        submission(certificate=b64(node.certificate(end="2025-12-31T00:00:00.000Z"))),
        "registration.certificate",
    )
    case(
        "certificate-not-yet",
        "It begins after the block.",
        submission(certificate=b64(node.certificate(start="2026-02-01T00:00:00.000Z"))),
        "registration.certificate",
    )
    case(
        "document-swapped",
        "Evidence of one document beside another.",
        submission(other, evidence=vouched(node.digest)),
        "attestation.signature",
    )
    case(
        "other-root",
        "A throw-away root that trust does not name.",
        submission(evidence=vouched(node.digest, other_root)),
        "attestation.signature",
    )
    case(
        "other-software",
        "The measurement is not that of the evidence.",
        submission(measurement=named("registry/other software").hex()),
        "registration.measurement",
    )
    case(
        "not-for-development",
        "There is no enclave, and trust is serious.",
        submission(),
        "registration.simulated",
        believed=trust(development=False),
    )
    case(
        "no-root",
        "Trust names no root of this format: nobody can tell.",
        submission(),
        believed=trust(roots=()),
        expect="undecided",
    )
