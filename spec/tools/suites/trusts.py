"""trust: trust.md."""

from __future__ import annotations

import copy
from typing import Any

from reference import world
from reference.cases import Writer
from reference.signing import P256, TRUST_PAYLOAD, envelope
from reference.text import b64, exact_text, jcs, unb64
from reference.world import (
    FULL,
    GATEWAY,
    ROOTS,
    first_version,
    root_of,
    sign_trust,
    trust_digest,
    trust_file,
    trust_value,
)


def write(out: Writer) -> None:
    """Chains of trust versions, good and bad."""
    one = sign_trust(first_version(), ROOTS[:2])
    two = sign_trust(trust_value(2), ROOTS[:2])
    good = trust_file(one, two)

    def case(
        name: str,
        why: str,
        file: Any,
        code: str | None = None,
        *,
        expect: str = "reject",
        pin: str | None = None,
        accepted: Any = None,
        result: Any = None,
        section: str = "§2",
        bug: str = "TRUST",
    ) -> None:
        files = {"trust.json": file if isinstance(file, bytes) else exact_text(file) + "\n"}
        run = ["verify-trust"]
        if pin:
            run += ["--pin", pin]
        if accepted:
            files["accepted.json"] = exact_text(accepted) + "\n"
            run += ["--accepted", "accepted.json"]
        out.case(
            f"trust/{name}",
            why,
            spec=f"trust.md {section}",
            run=[*run, "trust.json"],
            expect=expect if code else "accept",
            code=code,
            bug=bug if code else None,
            result=result,
            files=files,
        )

    case(
        "two-versions",
        "Version 1 on first use, version 2 signed by both thresholds.",
        good,
        result={"version": 2, "digest": trust_digest(good), "pin": "first-use", "development": False},
    )
    case(
        "pinned",
        "Version 1 pinned by its digest.",
        good,
        pin=trust_digest(good, 0),
        result={"version": 2, "pin": "digest"},
    )
    case("other-pin", "Another version 1 than the one pinned.", good, "trust.pin", pin="00" * 32)
    rotated = trust_value(2, root=root_of(ROOTS[2:], 2))
    case(
        "rotation",
        "Root keys replaced: signed by the old threshold and by the new one.",
        trust_file(one, sign_trust(rotated, [ROOTS[0], ROOTS[1], ROOTS[3], ROOTS[4]])),
    )
    overlap = trust_value(2, root=root_of(ROOTS[1:4], 2))
    case(
        "rotation-with-overlap",
        "One signature may count towards both thresholds.",
        trust_file(one, sign_trust(overlap, [ROOTS[0], ROOTS[1], ROOTS[3]])),
    )
    p256 = P256("root/p256")
    case("p256-root", "A root key on P-256.", trust_file(sign_trust(first_version(root=root_of([p256], 1)), [p256])))
    case(
        "strangers-extra-signature",
        "A signature by somebody else counts for nothing and harms nothing.",
        trust_file(sign_trust(first_version(), [*ROOTS[:2], ROOTS[4]]), two),
    )
    below = sign_trust(first_version(), ROOTS[:1])
    case("below-threshold", "One signature where two are asked.", trust_file(below), "trust.threshold", section="§2(2)")
    case("no-signature", "Nobody signed.", trust_file({**one, "signatures": []}), "trust.threshold", section="§2(2)")
    doubled = copy.deepcopy(below)
    doubled["signatures"] *= 2
    case(
        "one-key-twice",
        "The same key twice: a key counts once, or one root key would be as good as all.",
        trust_file(doubled),
        "trust.threshold",
        section="§2(5)",
    )
    forged = copy.deepcopy(one)
    forged["signatures"][1]["sig"] = b64(bytes(64))
    case(
        "forged-signature",
        "A signature that does not verify does not count.",
        trust_file(forged),
        "trust.threshold",
        section="§2(2)",
    )
    case(
        "without-the-predecessor",
        "New keys signed for themselves only: whoever makes a file could name his own roots.",
        trust_file(one, sign_trust(rotated, [ROOTS[3], ROOTS[4]])),
        "trust.threshold",
        section="§2(3)",
    )
    case(
        "without-its-own",
        "Signed by the old keys only: nobody has shown to hold the new ones.",
        trust_file(one, sign_trust(rotated, ROOTS[:2])),
        "trust.threshold",
        section="§2(3)",
    )
    fewer = trust_value(2, root=root_of(ROOTS[:1], 1))
    case(
        "lowered-threshold",
        "A version may lower the threshold, but not by its own new threshold alone.",
        trust_file(one, sign_trust(fewer, ROOTS[:1])),
        "trust.threshold",
        section="§2(3)",
    )
    case(
        "skipped-version",
        "Version 3 after version 1: the missing one may have revoked somebody.",
        trust_file(one, sign_trust(trust_value(3), ROOTS[:2])),
        "trust.version",
        section="§2(3)",
    )
    case("repeated-version", "Version 1 twice.", trust_file(one, one), "trust.version", section="§2(3)")
    case("begins-with-two", "The chain begins with version 1.", trust_file(two), "trust.version", section="§2(1)")
    case(
        "rolled-back",
        "A verifier that has seen version 2 is shown a file that ends with version 1: an old key would be good again.",
        trust_file(one),
        "trust.rollback",
        accepted=good,
        section="§2(4)",
        bug="ROLLBACK",
    )
    fork = trust_file(one, sign_trust(trust_value(2, nodes=[world.admit(world.STRANGER)]), ROOTS[:2]))
    case(
        "forked",
        "Another version 2 than the accepted one, equally well signed: the roots said two things.",
        fork,
        "trust.fork",
        accepted=good,
        section="§2(4)",
        bug="EQUIVOCATION",
    )
    three = sign_trust(trust_value(3), ROOTS[:2])
    case(
        "grown",
        "A later file than the accepted one.",
        trust_file(one, two, three),
        accepted=good,
        result={"version": 3},
        section="§2(4)",
    )
    case(
        "grown-from-a-fork",
        "A longer file whose version 2 differs: length does not heal a fork.",
        trust_file(one, fork["versions"][1], three),
        "trust.fork",
        accepted=good,
        section="§2(4)",
        bug="EQUIVOCATION",
    )
    altered = copy.deepcopy(two)
    altered["payload"] = b64(unb64(two["payload"]).replace(b'"development":false', b'"development":true'))
    case("altered", "One word changed after signing.", trust_file(one, altered), "trust.threshold", bug="SUBSTITUTION")
    as_statement = envelope(jcs(first_version()), ROOTS[:2])
    as_statement["payloadType"] = TRUST_PAYLOAD
    case(
        "signed-as-a-statement",
        "Signatures made for another payload type.",
        trust_file(as_statement),
        "trust.threshold",
        section="§1",
    )

    def malformed(name: str, why: str, code: str, /, **change: Any) -> None:
        value = {member: inner for member, inner in {**first_version(), **change}.items() if inner is not ...}
        case(
            name,
            why,
            trust_file(sign_trust(value, ROOTS[:2])),
            code,
            expect="malformed",
            section="§1",
            bug="MALFORMED_TRUST",
        )

    admitted = world.admit(GATEWAY)
    malformed("unknown-member", "A trust version has exactly its members.", "trust.fields", note="x")
    malformed(
        "missing-member", "An empty list admits nothing; a missing list is a mistake.", "trust.fields", measurements=...
    )
    malformed("version-zero", "Versions count from 1.", "trust.version", version=0)
    malformed("threshold-zero", "A threshold of nothing admits everybody.", "trust.root", root=root_of(ROOTS[:3], 0))
    malformed(
        "threshold-too-high",
        "More signatures than keys: nobody could ever sign again.",
        "trust.root",
        root=root_of(ROOTS[:2], 3),
    )
    malformed(
        "root-key-twice",
        "A root key listed twice would halve the threshold.",
        "trust.root",
        root=root_of([ROOTS[0], ROOTS[0], ROOTS[1]], 2),
    )
    malformed(
        "secp256k1-root",
        "Root keys are ed25519 or p256.",
        "trust.root",
        root={"threshold": 1, "keys": [{"algorithm": "secp256k1", "public": b64(FULL[0].keys["vote"].public)}]},
    )
    malformed(
        "node-twice",
        "One node, one admission: which interval would hold?",
        "trust.node",
        nodes=[admitted, {**admitted, "valid_until": "2026-02-01T00:00:00.000Z"}],
    )
    malformed(
        "empty-interval",
        "An admission that ends before it begins.",
        "trust.span",
        nodes=[{**admitted, "valid_until": admitted["valid_from"]}],
    )
    malformed(
        "revocation-in-words",
        "A reason is a code.",
        "trust.revocation",
        nodes=[{**admitted, "revoked": {"at": world.START, "suspect_since": world.START, "reason": "Ann left."}}],
    )
    stakes = trust_value(2)["epochs"][0]
    malformed(
        "stake-zero",
        "Stake is positive.",
        "trust.epoch",
        epochs=[{**stakes, "stakes": [{"node": FULL[0].id, "stake": 0}]}],
    )
    malformed(
        "stake-twice",
        "A node counted twice in an epoch.",
        "trust.epoch",
        epochs=[{**stakes, "stakes": [stakes["stakes"][0]] * 2}],
    )
    malformed(
        "epochs-out-of-order",
        "A later epoch begins at a later round.",
        "trust.epoch",
        epochs=[stakes, {**stakes, "number": 2}],
    )
    malformed(
        "contract-mixed-case",
        "One spelling of an address.",
        "encoding.hex",
        chains=[{**trust_value(2)["chains"][0], "contract": "0x" + "Ab" * 20}],
    )
    malformed(
        "insecure-root-without-mark",
        "A throw-away root that does not say so.",
        "trust.enclave_root",
        enclave_roots=[{"kind": "insecure-dev", "certificate": b64(bytes(32)), "development": False}],
    )
    malformed(
        "unknown-enclave-kind",
        "Kinds are a closed list.",
        "trust.enclave_root",
        enclave_roots=[{"kind": "my-enclave", "certificate": b64(bytes(32)), "development": True}],
    )
    document = copy.deepcopy(GATEWAY.document)
    document["roles"] = ["full", "gateway", "admin"]
    malformed(
        "key-document-with-unknown-role",
        "Roles are a closed, sorted list.",
        "keys.roles",
        nodes=[{**admitted, "key_document": b64(jcs(document))}],
    )
    two_keys = copy.deepcopy(GATEWAY.document)
    two_keys["keys"] = two_keys["keys"] * 2
    malformed(
        "key-document-with-two-statement-keys",
        "One key per use.",
        "keys.use",
        nodes=[{**admitted, "key_document": b64(jcs(two_keys))}],
    )
    spaced = exact_text(GATEWAY.document).replace(",", ", ").encode()
    malformed(
        "key-document-with-spaces",
        "A key document has one spelling, since its digest is the node's name.",
        "json.spelling",
        nodes=[{**admitted, "key_document": b64(spaced)}],
    )
    no_versions = trust_file()
    case(
        "no-versions",
        "A file without versions.",
        no_versions,
        "trust.fields",
        expect="malformed",
        bug="MALFORMED_TRUST",
    )
    spelled = copy.deepcopy(one)
    spelled["payload"] = b64(exact_text(first_version()).encode())
    case(
        "payload-spelling",
        "A trust version is canonical JSON.",
        trust_file(spelled),
        "json.spelling",
        expect="malformed",
        section="§1",
        bug="SECOND_SPELLING",
    )
    duplicate = (exact_text(good)[:-1] + ',"versions":[]}').encode()
    case(
        "duplicate-versions",
        "A trust file is strict JSON: which list counts?",
        duplicate,
        "json.duplicate_key",
        expect="malformed",
        bug="PARSER_DIFFERENCE",
    )
