"""lanes: what a bundle's attestations say in the enclave lane (lanes.md §3(4)). One change in each case."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reference import world
from reference.cases import Writer
from reference.hardware import BEGIN, END, FAR, LONG_AGO, Nitro, binding, report_data
from reference.text import b64, exact_text, named, when
from reference.world import AT, GATEWAY, START, STRANGER, Story
from reference.x509 import EC, authority_extensions, certificate

from .attestations import (
    AMD,
    GPU,
    INTEL,
    LAB_ROOT,
    NITRO,
    OTHER_NITRO,
    RECORD,
    TDX_VALUE,
    flipped,
    pcrs,
    pem,
    reference,
)
from .bundles import GOOD, REFUTED, Bundles

TRUST = "trust-with-enclaves.json"
NITRO_ROOT = {"kind": "aws-nitro", "certificate": b64(NITRO.root), "development": False}
AMD_ROOT = {"kind": "amd-sev-snp", "certificate": b64(AMD.root), "development": False}
ROOTS = [
    NITRO_ROOT,
    {"kind": "intel-dcap", "certificate": b64(INTEL.root), "development": False},
    AMD_ROOT,
    {"kind": "nvidia", "certificate": b64(GPU.root), "development": False},
    {"kind": "insecure-dev", "certificate": b64(LAB_ROOT.public), "development": True},
]
ADMITTED = [
    reference("aws-nitro", pcrs(0, 1, 2)),
    reference("intel-dcap", TDX_VALUE),
    reference("amd-sev-snp", {"measurement": named("snp/measurement", 48).hex()}),
]


def attested(*given: tuple[str, bytes], node: str = GATEWAY.id, story: Story | None = None) -> Story:
    """The good story with attestations in it."""
    found = story or Story()
    for form, evidence in given:
        found.add("attestation", 100, node=node, format=form, evidence=b64(evidence))
    return found


def evidence_file(evidence: bytes, collateral: bytes | None = None, record: bytes | None = None) -> bytes:
    """attestation.md §2."""
    parts = {"evidence": evidence, "collateral": collateral, "binding": record}
    value = {name: None if part is None else b64(part) for name, part in parts.items()}
    return json.dumps({"type": "urn:holdfast:attestation-evidence:v1", **value}).encode()


def without(story: Story, *kinds: str) -> Story:
    """A story of which some items are not known."""
    story.journal = [item for item in story.journal if item["kind"] not in kinds]
    return story


def nitro(**change: Any) -> tuple[str, bytes]:
    """A document that binds the gateway, with some members changed."""
    return "aws-nitro", NITRO.document(**{"user_data": RECORD, **change})


CHAIN = pem(*AMD.chain)


def snp(
    record: bytes | None = RECORD,
    *,
    named_by: bytes | None = None,
    leaf: dict[str, Any] | None = None,
    change: Any = None,
    flip: int | None = None,
) -> tuple[str, bytes]:
    """A SEV-SNP report that binds the gateway, in an evidence file; ``named_by`` is another record beside it."""
    report = AMD.report(report_data=bytes(64) if record is None else report_data(record), change=change)
    if flip is not None:
        report = flipped(report, flip)
    chain = CHAIN if leaf is None else pem(AMD.leaf_certificate(**leaf), *AMD.chain[1:])
    return "amd-sev-snp", evidence_file(report, chain, named_by or record)


MARK = "INSECURE simulated enclave"
SIMULATED = Nitro(MARK)
"""A simulated enclave's chain: as AWS's, with the mark in every name (attestation.md §10.1)."""


def simulated(case: Callable[..., None]) -> None:
    """Trust says in every way that a simulated enclave is real; it stays simulated."""
    never = {"spec": "attestation.md §10.1"}
    development: list[Any] = ["unknown", "development"]
    given = attested(("aws-nitro", SIMULATED.document(user_data=RECORD)))

    def trusted(*roots: bytes, **change: Any) -> dict[str, Any]:
        found = [{"kind": "aws-nitro", "certificate": b64(root), "development": False} for root in roots]
        return world.usual_trust(**{"enclave_roots": found, "measurements": ADMITTED, **change})

    case(
        "simulated",
        "A simulated enclave whose root trust admits and calls real.",
        given,
        development,
        trust=trusted(SIMULATED.root),
        **never,
    )
    region = SIMULATED.bundle[1:]
    shorter = attested(("aws-nitro", SIMULATED.document(user_data=RECORD, cabundle=region)))
    case(
        "simulated-under-its-region",
        "One of its own authorities is made the root: every certificate of it carries the mark.",
        shorter,
        development,
        trust=trusted(region[0]),
        **never,
    )
    case(
        "simulated-undated",
        "No quorum dated the statements: better evidence is not on its way.",
        without(attested(("aws-nitro", SIMULATED.document(user_data=RECORD))), "checkpoint", "finality"),
        [],
        at="2026-01-01T01:00:00.000Z",
        trust=trusted(SIMULATED.root),
        lanes={"enclave": development, "bytes": GOOD["bytes"]},
        **never,
    )
    key, span = EC("snp/simulated"), {"start": LONG_AGO, "end": FAR}
    root = certificate(MARK, key, MARK, key, authority_extensions(), **span)
    chain = pem(AMD.leaf, certificate("SEV-Test", AMD.ask, MARK, key, authority_extensions(0), **span), root)
    report = evidence_file(AMD.report(report_data=report_data(RECORD)), chain, RECORD)
    snp_root = [{"kind": "amd-sev-snp", "certificate": b64(root), "development": False}]
    case(
        "simulated-snp",
        "The mark counts for every format, also where trust may name roots of its own.",
        attested(("amd-sev-snp", report)),
        development,
        trust=trusted(enclave_roots=snp_root),
        **never,
    )


def write(out: Writer) -> None:
    """Hardware that counts, and everything that only looks like it."""
    out.shared(TRUST, exact_text(world.usual_trust(enclave_roots=ROOTS, measurements=ADMITTED)) + "\n")
    b = Bundles(out)

    def case(name: str, why: str, story: Story, enclave: list[Any], code: str | None = None, **more: Any) -> None:
        lanes = {"enclave": enclave, "bytes": GOOD["bytes"]} if code else {**GOOD, "enclave": enclave}
        given: dict[str, Any] = {"trust": TRUST, "suite": "lanes", "spec": "lanes.md §3(4)", **more}
        b.case(f"enclave-{name}", why, story, given.pop("lanes", lanes), code, **given)

    hardware = ["proven", "hardware"]
    unknown: list[Any] = ["unknown", None]
    development = ["unknown", "development"]
    never = {"spec": "attestation.md §10.1"}
    case(
        "nitro-of-a-root-of-ones-own",
        "AWS has one root. A Nitro document that ends at any other is a stand-in, though trust calls the root real.",
        attested(nitro()),
        development,
        **never,
    )
    quote = INTEL.quote(INTEL.td_report(data=report_data(RECORD)))
    tdx = evidence_file(quote, INTEL.collateral())
    case(
        "tdx-of-a-root-of-ones-own",
        "Intel has one root, too; the quote and its collateral in an evidence file hold otherwise.",
        attested(("intel-dcap", tdx)),
        development,
        **never,
    )
    tls = binding(GATEWAY.id, named("tls", 32))
    case(
        "snp",
        "A machine with admitted measurements held the key when the statements were made. Its record also names a TLS key.",
        attested(snp(tls)),
        hardware,
    )
    run_out = {"end": when(START, plus_ms=-60_000)}
    case(
        "snp-twice",
        "An attestation that had run out beside one that had not: nodes attest again.",
        attested(snp(leaf=run_out), snp()),
        hardware,
    )
    case(
        "snp-after-years",
        "A quorum dated the statements in time: the attestation held then, whenever it is looked at.",
        attested(snp(leaf={"start": BEGIN, "end": END})),
        hardware,
        at="2026-12-31T00:00:00.000Z",
    )

    more: dict[str, Any] = {"bug": "FORGED_EVIDENCE"}
    case(
        "altered",
        "One bit changed.",
        attested(("aws-nitro", flipped(nitro()[1], len(nitro()[1]) - 1))),
        REFUTED,
        "attestation.signature",
        **more,
    )
    case(
        "not-a-document",
        "Something that is no document of the format it claims.",
        attested(("aws-nitro", b"evidence")),
        REFUTED,
        "cbor.trailing",
        **more,
    )
    case(
        "other-root",
        "A vendor of one's own.",
        attested(("aws-nitro", OTHER_NITRO.document(user_data=RECORD))),
        REFUTED,
        "attestation.root",
        **more,
    )
    case(
        "other-measurement",
        "Genuine hardware with software that nobody admitted.",
        attested(nitro(pcrs={0: named("pcr/other", 48)})),
        REFUTED,
        "attestation.measurement",
        bug="UNMEASURED_ACCEPTED",
    )
    case(
        "other-key",
        "Genuine and admitted, and bound to another node's key.",
        attested(nitro(user_data=binding(STRANGER.id))),
        REFUTED,
        "attestation.binding",
        bug="SUBSTITUTION",
    )
    case(
        "nothing-bound",
        "Genuine and admitted, and bound to no key.",
        attested(nitro(user_data=None)),
        REFUTED,
        "attestation.binding",
        bug="SUBSTITUTION",
    )
    case(
        "debug",
        "A debug enclave that nobody admitted.",
        attested(nitro(pcrs={index: bytes(48) for index in range(3)})),
        REFUTED,
        "attestation.measurement",
        bug="DEBUG_ACCEPTED",
    )
    case(
        "bad-beside-good",
        "One that holds does not heal one that does not.",
        attested(snp(), snp(None)),
        REFUTED,
        "attestation.binding",
        **more,
    )
    case(
        "other-record",
        "A binding record whose digest the report does not hold.",
        attested(snp(named_by=tls)),
        REFUTED,
        "attestation.binding",
        bug="SUBSTITUTION",
    )
    case(
        "evidence-file-with-more",
        "An evidence file has exactly its members.",
        attested(("intel-dcap", tdx[:-1] + b',"verified":true}')),
        REFUTED,
        "attestation.evidence",
        spec="attestation.md §2",
        bug="MALFORMED_EVIDENCE",
    )
    role = world.usual_trust(enclave_roots=ROOTS, measurements=[reference("aws-nitro", pcrs(0), role="data")])
    case(
        "other-role",
        "Measurements that are admitted for data nodes.",
        attested(nitro()),
        REFUTED,
        "attestation.measurement",
        trust=role,
        bug="UNMEASURED_ACCEPTED",
    )
    over = world.usual_trust(enclave_roots=ROOTS, measurements=[reference("aws-nitro", pcrs(0), valid_until=START)])
    case(
        "measurement-over",
        "Measurements that were admitted until a moment before.",
        attested(nitro()),
        REFUTED,
        "attestation.measurement",
        trust=over,
        bug="UNMEASURED_ACCEPTED",
    )

    value = {"measurement": named("snp/measurement", 48).hex()}
    allowed = world.usual_trust(enclave_roots=ROOTS, measurements=[reference("amd-sev-snp", value, debug=True)])

    def allow_debug(raw: bytearray) -> None:
        raw[10] |= 1 << 3

    case(
        "debug-admitted",
        "A machine in debug mode that trust admits is development: its host can look inside.",
        attested(snp(change=allow_debug)),
        development,
        trust=allowed,
    )
    lab = world.usual_trust(enclave_roots=[{**AMD_ROOT, "development": True}], measurements=ADMITTED)
    case(
        "root-of-development",
        "Evidence under a root that trust calls development.",
        attested(snp()),
        development,
        trust=lab,
    )
    simulated(case)
    stand_in = world.usual_trust(enclave_roots=ROOTS, measurements=ADMITTED, development=True)
    case(
        "development-trust",
        "Genuine hardware under a trust document that is a stand-in as a whole.",
        attested(snp()),
        development,
        trust=stand_in,
        lanes={"enclave": development, "bytes": GOOD["bytes"]},
    )
    vouched = ("insecure-dev", LAB_ROOT.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(GATEWAY.id)))
    case(
        "software-beside-hardware",
        "A throw-away root vouches for the same key: it is a software key, whatever else is shown.",
        attested(snp(), vouched),
        development,
    )

    case(
        "run-out",
        "It had run out before the statements were made: true of another time.",
        attested(snp(leaf=run_out)),
        ["expired", None],
    )
    case(
        "younger",
        "Valid from after the statements on: where the key was before, it does not say.",
        attested(snp(leaf={"start": when(START, plus_ms=120_000), "end": FAR})),
        unknown,
    )
    case(
        "nitro-younger",
        "A document says when it was made, whatever its certificate's span.",
        attested(nitro(timestamp=world.posix_ms(when(START, plus_ms=120_000)))),
        unknown,
    )
    undated = without(attested(snp(leaf={"start": BEGIN, "end": END})), "checkpoint", "finality")
    settled = {"enclave": ["pending", None], "bytes": GOOD["bytes"]}
    case(
        "undated",
        "No quorum dated the statements within the bound: whoever has the key later can claim any time.",
        undated,
        [],
        at="2026-01-01T01:00:00.000Z",
        lanes=settled,
    )
    settled = {"enclave": ["expired", None], "bytes": GOOD["bytes"]}
    case(
        "undated-and-run-out",
        "No quorum dated the statements before the attestation ran out.",
        undated,
        [],
        at="2026-01-01T03:00:00.000Z",
        lanes=settled,
    )
    settled = {"enclave": hardware, "bytes": GOOD["bytes"]}
    case("undated-so-far", "Not dated yet, and within the bound.", undated, [], at=AT, lanes=settled)
    missing = evidence_file(quote)
    case(
        "tdx-without-collateral",
        "A quote without collateral: nobody can tell.",
        attested(("intel-dcap", missing)),
        unknown,
    )
    gpu = evidence_file(GPU.report(nonce=named("nvidia/asked", 32)), pem(*GPU.chain))
    case("gpu-alone", "GPU evidence binds no key: it proves nothing of this one.", attested(("nvidia", gpu)), unknown)
    case("gpu-beside-snp", "GPU evidence beside a machine's.", attested(snp(), ("nvidia", gpu)), hardware)
    broken = evidence_file(flipped(GPU.report(nonce=named("nvidia/asked", 32)), 60), pem(*GPU.chain))
    case(
        "gpu-altered",
        "A GPU report that does not verify is presented: something is wrong.",
        attested(snp(), ("nvidia", broken)),
        REFUTED,
        "attestation.signature",
        **more,
    )
    case(
        "no-root-admitted",
        "Trust admits no root of the format: undecided, whatever the evidence brings.",
        attested(snp()),
        unknown,
        trust=True,
    )
    case(
        "of-a-stranger",
        "An attestation of a node that signed nothing here.",
        attested(snp(), node=STRANGER.id),
        unknown,
    )
    revoked = world.usual_trust(
        enclave_roots=ROOTS,
        measurements=ADMITTED,
        nodes=[
            world.admit(GATEWAY, revoked={"at": AT, "suspect_since": LONG_AGO, "reason": "stolen"}),
            *(world.admit(node) for node in (world.LOG, *world.FULL)),
        ],
    )
    case(
        "key-suspect",
        "The key is suspect since before the statements: where it was does not help.",
        attested(snp()),
        unknown,
        "statement.key-revoked",
        trust=revoked,
        lanes={"enclave": unknown, "bytes": REFUTED},
        bug="STOLEN_KEY",
    )
