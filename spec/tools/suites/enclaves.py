"""lanes: what a bundle's attestations say in the enclave lane (lanes.md §3(4)). One change in each case."""

from __future__ import annotations

import json
from typing import Any

from reference import world
from reference.cases import Writer
from reference.hardware import FAR, LONG_AGO, binding, report_data
from reference.text import b64, exact_text, named, when
from reference.world import AT, GATEWAY, START, STRANGER, Story

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
PROVEN = {**GOOD, "enclave": ["proven", "hardware"]}
NITRO_ROOT = {"kind": "aws-nitro", "certificate": b64(NITRO.root), "development": False}
ROOTS = [
    NITRO_ROOT,
    {"kind": "intel-dcap", "certificate": b64(INTEL.root), "development": False},
    {"kind": "amd-sev-snp", "certificate": b64(AMD.root), "development": False},
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
    case(
        "nitro",
        "A Nitro enclave with admitted measurements held the key when the statements were made.",
        attested(nitro()),
        hardware,
    )
    quote = INTEL.quote(INTEL.td_report(data=report_data(RECORD)))
    tdx = evidence_file(quote, INTEL.collateral())
    case("tdx", "A TDX quote with its collateral in an evidence file.", attested(("intel-dcap", tdx)), hardware)
    tls = binding(GATEWAY.id, named("tls", 32))
    chain = pem(*AMD.chain)
    snp = evidence_file(AMD.report(report_data=report_data(tls)), chain, tls)
    case("snp", "A SEV-SNP report with a record that also names a TLS key.", attested(("amd-sev-snp", snp)), hardware)
    case(
        "nitro-twice",
        "An attestation that had run out beside one that had not: nodes attest again.",
        attested(nitro(certificate=NITRO.leaf_certificate(end=when(START, plus_ms=-60_000))), nitro()),
        hardware,
    )
    case(
        "nitro-after-years",
        "A quorum dated the statements in time: the attestation held then, whenever it is looked at.",
        attested(nitro()),
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
        attested(nitro(), nitro(user_data=None)),
        REFUTED,
        "attestation.binding",
        **more,
    )
    other_record = evidence_file(AMD.report(report_data=report_data(RECORD)), chain, tls)
    case(
        "other-record",
        "A binding record whose digest the report does not hold.",
        attested(("amd-sev-snp", other_record)),
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

    allowed = world.usual_trust(
        enclave_roots=ROOTS, measurements=[reference("aws-nitro", {"pcr0": "00" * 48}, debug=True)]
    )
    zeros = {index: bytes(48) for index in range(3)}
    case(
        "debug-admitted",
        "A debug enclave that trust admits is development: its host can look inside.",
        attested(nitro(pcrs=zeros)),
        development,
        trust=allowed,
    )
    simulated = world.usual_trust(enclave_roots=[{**NITRO_ROOT, "development": True}], measurements=ADMITTED)
    case(
        "simulated",
        "A simulated enclave under a root that trust calls development.",
        attested(nitro()),
        development,
        trust=simulated,
    )
    stand_in = world.usual_trust(enclave_roots=ROOTS, measurements=ADMITTED, development=True)
    case(
        "development-trust",
        "Genuine hardware under a trust document that is a stand-in as a whole.",
        attested(nitro()),
        development,
        trust=stand_in,
        lanes={"enclave": development, "bytes": GOOD["bytes"]},
    )
    lab = ("insecure-dev", LAB_ROOT.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(GATEWAY.id)))
    case(
        "software-beside-hardware",
        "A throw-away root vouches for the same key: it is a software key, whatever else is shown.",
        attested(nitro(), lab),
        development,
    )

    case(
        "nitro-run-out",
        "It had run out before the statements were made: true of another time.",
        attested(nitro(certificate=NITRO.leaf_certificate(end=when(START, plus_ms=-60_000)))),
        ["expired", None],
    )
    late = NITRO.leaf_certificate(start=when(START, plus_ms=120_000), end=FAR)
    made = world.posix_ms(when(START, plus_ms=120_000))
    case(
        "nitro-younger",
        "Made after the statements: where the key was before, it does not say.",
        attested(nitro(certificate=late, timestamp=made)),
        unknown,
    )
    undated = without(attested(nitro()), "checkpoint", "finality")
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
    case("gpu-beside-nitro", "GPU evidence beside an enclave's.", attested(nitro(), ("nvidia", gpu)), hardware)
    broken = evidence_file(flipped(GPU.report(nonce=named("nvidia/asked", 32)), 60), pem(*GPU.chain))
    case(
        "gpu-altered",
        "A GPU report that does not verify is presented: something is wrong.",
        attested(nitro(), ("nvidia", broken)),
        REFUTED,
        "attestation.signature",
        **more,
    )
    case(
        "no-root-admitted",
        "Trust admits no root of the format: undecided, whatever the evidence brings.",
        attested(nitro()),
        unknown,
        trust=True,
    )
    case(
        "of-a-stranger",
        "An attestation of a node that signed nothing here.",
        attested(nitro(), node=STRANGER.id),
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
        attested(nitro()),
        unknown,
        "statement.key-revoked",
        trust=revoked,
        lanes={"enclave": unknown, "bytes": REFUTED},
        bug="STOLEN_KEY",
    )
