"""``holdfast attestation``: check evidence about an enclave (``attestation.md``), out of a file or from a running node.

``verify`` reads files, and the clock where no ``--at`` is given; it fetches nothing. ``fetch`` asks a gateway with a
nonce and judges what it says in the same way. Roots are the vendors' own unless ``--roots`` or
a trust document names others. What nobody gave to compare with (a key document, a nonce, reference values) is noted as
*cannot tell* and changes no exit code: the transcript says what its reader still owes.

``--json`` prints one object: ``kind``, ``at``, ``exit`` (the exit code), ``error`` (the error shape's content, or
null), ``claims`` (null where nothing was verified) and ``checks`` (list of number, spec, answer, says, code).

Not covered: fetching collateral, and whether the measured software is good.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from holdfast.cli.main import ACCEPT, exit_code
from holdfast.cli.network import Network, network_options
from holdfast.cli.output import ANSWERS, clean, clean_line, emit, emit_json, hanging, read_file, write_file
from holdfast.cli.times import parse_moment
from holdfast.cli.trust import open_trust
from holdfast.client.attestations import MAX_NONCE_BYTES, ask_gateway
from holdfast.core.attestation.certificates import build_pem, parse_certificates
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile, parse_evidence
from holdfast.core.attestation.roots import vendor_roots
from holdfast.core.encoding import b64_decode, hex_decode, time_encode
from holdfast.core.keys import parse_key_document
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.verifier.attestation.appraise import (
    AppraisedAttestation,
    Expected,
    appraise_attestation,
    read_references,
)
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

KINDS = {
    "nitro": "aws-nitro",
    "tdx": "intel-dcap",
    "sgx": "intel-dcap",
    "snp": "amd-sev-snp",
    "nvidia": "nvidia",
    "insecure-dev": "insecure-dev",
}
"""Kind on the command line to its format (``attestation.md`` §2)."""
NONCE_BYTES = 32
"""Of a nonce that nobody chose."""
_CHAINS = ("amd-sev-snp", "nvidia")
"""Formats whose collateral is certificates, which may come in several files."""
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}\Z")


@click.group()
def attestation() -> None:
    """Check attestations: evidence that a key lives in a measured enclave, and ask gateways for theirs."""


@attestation.command("verify")
@click.argument("file", metavar="FILE")
@click.option("--kind", required=True, type=click.Choice(list(KINDS)), help="What made the evidence.")
@click.option("--at", "at_text", metavar="RFC3339", help="Judge validity for this time.  [default: now]")
@click.option(
    "--collateral",
    multiple=True,
    metavar="FILE",
    help="What the evidence is judged with: Intel's JSON, or certificates from the leaf up. May be repeated.",
)
@click.option("--roots", "roots_file", metavar="FILE", help="Roots to end at.  [default: the vendor's]")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file: its roots and measurements count.")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--key-document", "document_file", metavar="FILE", help="The key document that must be bound.")
@click.option("--nonce", "nonce_text", metavar="HEX", help="The nonce that must be answered.")
@click.option("--allow-debug", is_flag=True, help="Accept debug mode, in which the host can look inside.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def verify(
    file: str,
    kind: str,
    at_text: str | None,
    collateral: Sequence[str],
    roots_file: str | None,
    trust_file: str | None,
    trust_pin: str | None,
    document_file: str | None,
    nonce_text: str | None,
    allow_debug: bool,
    as_json: bool,
) -> int:
    """Check the evidence in FILE (- for standard input): raw bytes, base64, hex, or an evidence file.

    Exits 0 when signature, chain and everything that was given to compare with hold; 1 when something does not, or the
    bytes are malformed; 2 for a wrong command line; 3 when collateral, a root or a key document is missing to tell.
    """
    form = KINDS[kind]
    at = dt.datetime.now(dt.UTC) if at_text is None else parse_moment(at_text)
    trust = open_trust(trust_file, trust_pin)
    document = None if document_file is None else parse_key_document(read_spelled(document_file, None))
    given = _with_collateral(form, read_spelled(file, form), collateral)
    expected = Expected(
        start=at,
        end=at,
        key_document=None if document is None else document.digest,
        nonce=None if nonce_text is None else _nonce(nonce_text),
        references=None if trust is None or form == "insecure-dev" else read_references(trust.current.measurements),
        roles=None if document is None else document.roles,
        allow_debug=allow_debug or form == "insecure-dev",
    )
    judged = judge(form, given, choose_roots(form, roots_file, trust), expected, at, kind=kind)
    show(judged, kind, at, as_json=as_json)
    return ACCEPT if judged.error is None else exit_code(judged.error)


@attestation.command("fetch")
@network_options
@click.option("--nonce", "nonce_text", metavar="HEX", help="Ask with this nonce, 1 to 64 bytes.  [default: a new one]")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's, where it shows one]")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--allow-debug", is_flag=True, help="Accept debug mode, in which the host can look inside.")
@click.option("-o", "--output", metavar="FILE", help="Keep the evidence, for 'holdfast attestation verify'.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def fetch(
    network: Network,
    nonce_text: str | None,
    trust_file: str | None,
    trust_pin: str | None,
    allow_debug: bool,
    output: str | None,
    as_json: bool,
) -> int:
    """Ask a running gateway to attest its keys for a nonce of yours, and check what it says.

    The answer has to bind the key document that the gateway shows and to answer this nonce, so one that was recorded
    before, or made for somebody else, is refused. Over https:// the document has to name the TLS key. Exits like
    'verify'; with trust also 1 when the key document is not admitted. A simulated enclave passes, and says so.
    """
    nonce = secrets.token_bytes(NONCE_BYTES) if nonce_text is None else _nonce(nonce_text)
    if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
        raise UsageError("usage.nonce", f"a gateway answers nonces of 1 to {MAX_NONCE_BYTES} bytes", param="nonce")
    trust = open_trust(trust_file, trust_pin)
    if trust is None and (network.trust_path is not None or network.key is not None):
        trust = network.find_trust()
    answer = asyncio.run(ask_gateway(network.gateway, nonce))
    form, at = answer.item.format, dt.datetime.now(dt.UTC)
    if output is not None:
        write_file(output, answer.item.evidence)
    expected = Expected(
        start=at,
        end=at,
        key_document=answer.document.digest,
        nonce=nonce,
        references=None if trust is None or form == "insecure-dev" else read_references(trust.current.measurements),
        roles=answer.document.roles,
        allow_debug=allow_debug,
    )

    def read() -> EvidenceFile:
        if trust is not None and trust.admission(answer.document.digest) is None:
            raise RefusedError(
                "gateway.trust",
                "trust does not admit the key document that the gateway shows",
                hint="check the gateway's address; a gateway with new keys has to be admitted first",
            )
        return parse_evidence(form, answer.item.evidence)

    judged = judge(form, read, choose_roots(form, None, trust), expected, at)
    kind = form if judged.claims is None else next(name for name, item in KINDS.items() if item == form)
    if form == "intel-dcap" and judged.claims is not None:
        kind = judged.claims.tee
    show(judged, kind, at, as_json=as_json, asked=nonce)
    return ACCEPT if judged.error is None else exit_code(judged.error)


@dataclass(frozen=True, slots=True)
class EvidenceOutcome:
    """What came of evidence: claims where it verified, and what speaks against it."""

    claims: VerifiedAttestation | None
    found: AppraisedAttestation | None
    record: Transcript
    error: HoldfastError | None


def judge(
    form: str,
    read: Callable[[], EvidenceFile],
    roots: tuple[bytes, ...],
    expected: Expected,
    at: dt.datetime,
    *,
    kind: str | None = None,
) -> EvidenceOutcome:
    """Parse, verify and appraise evidence; a refusal is a result. ``read`` parses, and may refuse, too."""
    record = Transcript()
    claims: VerifiedAttestation | None = None
    try:
        claims = verify_attestation(form, read(), roots, at, record, key_document=expected.key_document)
        if kind is not None and claims.tee != kind and form == "intel-dcap":
            raise RefusedError("attestation.kind", f"this is evidence of {claims.tee}, not of {kind}")
        return EvidenceOutcome(claims, appraise_attestation(claims, expected, record), record, None)
    except HoldfastError as refusal:
        record.error(ENCLAVE, "attestation.md §1", refusal)
        return EvidenceOutcome(claims, None, record, refusal)


def show(judged: EvidenceOutcome, kind: str, at: dt.datetime, *, as_json: bool, asked: bytes | None = None) -> None:
    """Print what came of evidence. ``asked`` is a nonce that somebody was asked with."""
    error = judged.error
    if as_json:
        more = {} if asked is None else {"asked": asked.hex()}
        emit_json(more | result_json(kind, at, judged.claims, judged.found, judged.record, error))
    else:
        if asked is not None:
            emit(f"asked   {asked.hex()}")
        for line in result_lines(kind, at, judged.claims, judged.found, judged.record):
            emit(line)
    if error is not None:
        click.echo(clean(f"error: {error.code}: {error.message}"), err=True)
        if error.hint:
            click.echo(clean(f"  hint: {error.hint}"), err=True)


def read_spelled(name: str, form: str | None) -> bytes:
    """A file's bytes: as they are, or out of base64 or hex; a first line that names the format is taken off.

    Raises ``usage.kind`` when it names another format than ``form``.
    """
    raw = read_file(name)
    first, _, rest = raw.partition(b"\n")
    label = first.strip().decode("ascii", "replace")
    if label in FORMATS:
        if form is not None and label != form:
            raise UsageError("usage.kind", f"the file says that it is {label}", param="kind")
        raw = rest
    packed = b"".join(raw.split())
    if _HEX.match(packed):
        return bytes.fromhex(packed.decode("ascii"))
    if _BASE64.match(packed) and len(packed) % 4 == 0:
        return b64_decode(packed.decode("ascii"))
    return raw


def _with_collateral(form: str, raw: bytes, names: Sequence[str]) -> Callable[[], EvidenceFile]:
    """A function that reads the evidence with its collateral, so that what is malformed is said where the rest is."""
    files = [read_file(name) for name in names]
    if files and form in ("aws-nitro", "insecure-dev"):
        raise UsageError("usage.collateral", f"{form} evidence needs no collateral", param="collateral")
    if len(files) > 1 and form not in _CHAINS:
        raise UsageError("usage.collateral", "this kind has one file of collateral", param="collateral")

    def read() -> EvidenceFile:
        inner = parse_evidence(form, raw)
        if not files:
            return inner
        if len(files) == 1:
            return EvidenceFile(inner.evidence, files[0], inner.binding)
        chain = tuple(certificate for data in files for certificate in parse_certificates(data))
        return EvidenceFile(inner.evidence, build_pem(chain), inner.binding)

    return read


def choose_roots(form: str, name: str | None, trust: Trust | None) -> tuple[bytes, ...]:
    """The roots to end at: of a file, of a trust document, else the vendors'."""
    if name is not None and trust is not None:
        raise UsageError("usage.roots", "roots come from --roots or from --trust, not from both", param="roots")
    if trust is not None:
        return tuple(root.certificate for root in trust.current.enclave_roots if root.kind == form)
    if name is None:
        return vendor_roots(form)
    if form != "insecure-dev":
        return parse_certificates(read_file(name))
    key = read_spelled(name, None)
    if len(key) != 32:
        raise MalformedError("attestation.root_key", "a throw-away root is an Ed25519 key of 32 bytes")
    return (key,)


def _nonce(text: str) -> bytes:
    try:
        return hex_decode(text)
    except MalformedError as error:
        raise UsageError("usage.nonce", "a nonce is lower-case hex", param="nonce") from error


def result_json(
    kind: str,
    at: dt.datetime,
    claims: VerifiedAttestation | None,
    found: AppraisedAttestation | None,
    record: Transcript,
    error: HoldfastError | None,
) -> dict[str, Any]:
    """The JSON form; see the module's first lines."""
    shown = None if claims is None else claims.to_json()
    if shown is not None and found is not None:
        shown["bound"] = {**found.bound.to_json()}
    return {
        "kind": kind,
        "at": time_encode(at),
        "exit": ACCEPT if error is None else exit_code(error),
        "error": None if error is None else error.to_json()["error"],
        "claims": shown,
        "checks": [check.to_json() for check in record.checks],
    }


def result_lines(
    kind: str,
    at: dt.datetime,
    claims: VerifiedAttestation | None,
    found: AppraisedAttestation | None,
    record: Transcript,
) -> Iterable[str]:
    """The same as text."""
    yield f"kind    {kind}"
    yield f"at      {time_encode(at)}"
    if claims is not None:
        yield from claim_lines(claims, found)
    yield ""
    yield "checks"
    for check in record.checks:
        code = f"  [{check.code}]" if check.code else ""
        line = f"  {check.number:>3}  {ANSWERS[check.answer]:<11}  {check.spec:<22}  {check.says}{code}"
        yield clean_line(line)
    yield ""
    yield from hanging("does not say  ", "That the measured software is good, or that what its key signs is true.")


def claim_lines(claims: VerifiedAttestation, found: AppraisedAttestation | None) -> Iterable[str]:
    """What the evidence claims, once signature and chain hold."""
    yield clean_line(f"root    {claims.root_digest}")
    yield clean_line(f"        {claims.root_name}")
    yield f"valid   {time_encode(claims.valid_from)} to {time_encode(claims.valid_until)}"
    if claims.made_at is not None:
        yield f"made    {time_encode(claims.made_at)}"
    if claims.form == "insecure-dev":
        yield "enclave none: development, a software key under a throw-away root"
    else:
        if claims.development:
            yield "enclave no vendor's root stands above it: it counts as simulated, whatever is configured"
        words = {True: "on: the host can look inside", False: "off", None: "the evidence does not say"}
        yield f"debug   {words[claims.debug]}"
    if claims.tcb_status is not None:
        yield clean_line(f"tcb     {claims.tcb_status} {' '.join(claims.advisories)}".rstrip())
    bound = (claims.bound if found is None else found.bound).to_json()
    for name, digest in bound.items():
        if digest is not None:
            yield f"binds   {digest}  {name.replace('_', ' ')}"
    if not any(bound.values()):
        yield "binds   nothing that is known here"
    if claims.report_data:
        yield f"data    {claims.report_data.hex()}"
    if claims.nonce and (bound["key_document"] or not claims.nonce_is_digest):
        yield f"nonce   {claims.nonce.hex()}{' (SHA-256)' if claims.nonce_is_digest else ''}"
    for name, text in claims.details.items():
        yield clean_line(f"        {name}: {text}")
    yield ""
    yield "measurements"
    shown = [(name, value) for name, value in claims.measurements.items() if any(value)]
    for name, value in shown:
        yield f"  {name:<18} {value.hex()}"
    if len(shown) < len(claims.measurements):
        yield f"  {len(claims.measurements) - len(shown)} more are zero"
