"""``holdfast verify``: check a bundle offline, print every check and the eleven lanes (``lanes.md`` §5).

Reads files and nothing else: no network, and no clock, as ``--at`` defaults to the bundle's own time. It writes one
file when asked to: ``--accepted`` remembers the newest trust version of this caller (``trust.md`` §2.1). It prints no
summary of the lanes, because there is none; the exit code answers one question only: is the bundle well formed, is no
lane refuted, and does every ``--require`` hold?

``--json`` prints one object: ``bundle`` (digest, run, exported_at, items), ``at``, ``known``, ``policy`` (name,
digest), ``trust`` (digest, version, first_digest, pinned, development, expires_at, accepted_before; or null),
``checks`` (list of number, spec, answer, says, code), ``lanes`` (each lane as ``lanes.md`` §1 has it), ``payments``
(list of digest, document and lines, of each payment whose document is shown and is what was signed), ``proofs`` (list
of digest, answer, says and code, of each proof whose document is shown and is what was signed), ``chronology`` and
``requirements`` (list of requirement and answer); ``images`` (what content credentials the disclosed images of the
answer carry, ``images.md`` §6(6); a hint that changes no exit code); with ``--child`` also ``children``
(``agents.md`` §6).

Not covered: what a policy's ``require`` asks (that is the gate's).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from holdfast.cli.accepted import open_remembered
from holdfast.cli.children import check_children, children_lines
from holdfast.cli.image_credentials import Found, anchors_option, credentials_of, load_anchors
from holdfast.cli.output import ANSWERS, clean_line, emit, emit_json, lane_lines, read_file, wants_colour
from holdfast.cli.proofs import ProofFound, check_proofs
from holdfast.cli.times import parse_moment
from holdfast.cli.trust import open_trust
from holdfast.core import canonical
from holdfast.core.bundles import Bundle, parse_bundle
from holdfast.core.encoding import hex_decode, time_encode
from holdfast.core.payments import explain
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import MalformedError, UsageError
from holdfast.review.pictures import pictures_of
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.chronology import chronology
from holdfast.verifier.policy import DEFAULT_POLICY, Requirement, parse_policy, parse_requirement

ACCEPT, REJECT, UNDECIDED = 0, 1, 3
"""Exit codes (``lanes.md`` §5)."""


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file: whose signatures count, and for how much.")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--accepted", "accepted_file", metavar="FILE",
              help="Remembers the newest trust accepted here; an older one is refused.")  # fmt: skip
@click.option("--require", "required", multiple=True, metavar="LANE=STATE[:BASIS]", help="Must hold; may be repeated.")
@click.option("--at", "at_text", metavar="RFC3339", help="Judge validity for this time.  [default: the bundle's own]")
@click.option("--known", type=click.IntRange(min=0), metavar="N", help="Read the journal up to position N only.")
@click.option("--policy", "policy_file", metavar="FILE", help="Appraisal policy.  [default: the built-in one]")
@click.option("--srs", metavar="FILE", type=click.Path(path_type=Path),
              help="Reference string of a proof, or a folder of them: lets EZKL verify it here.")  # fmt: skip
@click.option("--model", metavar="FILE", type=click.Path(path_type=Path),
              help="The ONNX file that a proof is about: its circuit is derived here.")  # fmt: skip
@click.option("--ezkl", metavar="PYTHON", type=click.Path(path_type=Path),
              help="Python that has EZKL.  [default: this one]")  # fmt: skip
@click.option("--child", "child_files", multiple=True, metavar="FILE",
              help="Bundle of a child, where BUNDLE is of an agent run; may be repeated.")  # fmt: skip
@anchors_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
@click.option("--no-color", is_flag=True, help="No colours.")
def verify(
    bundle: str,
    trust_file: str | None,
    trust_pin: str | None,
    accepted_file: str | None,
    required: Sequence[str],
    at_text: str | None,
    known: int | None,
    policy_file: str | None,
    srs: Path | None,
    model: Path | None,
    ezkl: Path | None,
    child_files: Sequence[str],
    anchors_file: str | None,
    as_json: bool,
    no_color: bool,
) -> int:
    """Check BUNDLE (- for standard input) offline and print its lanes.

    Exits 0 when the bundle is well formed, no lane is refuted and every --require holds; 3 when a requirement cannot be
    told yet (its lane is pending or unknown) or trust is missing; 1 otherwise; 2 for a wrong command line. A proof in
    the bundle is verified where EZKL and --srs are here; one that does not hold exits 1, one that was not verified
    says so. A child that is not the agent run's exits 1, and so does one with a refuted lane.
    """
    requirements = [parse_requirement(text) for text in required]
    at = None if at_text is None else parse_moment(at_text)
    if trust_pin is not None:
        _check_pin(trust_pin)
    policy = parse_policy(read_file(policy_file) if policy_file else DEFAULT_POLICY)
    trust, before = _open_trust(trust_file, trust_pin, accepted_file)
    parsed = parse_bundle(read_file(bundle))
    if known is not None and known > len(parsed.journal):
        raise UsageError("usage.known", f"the journal has {len(parsed.journal)} positions, not {known}", param="known")
    result = appraise(parsed, trust, policy, parsed.exported_at if at is None else at, known)
    proofs = check_proofs(result.evidence.proofs, srs, model, ezkl)
    images = _images(result, load_anchors(anchors_file))
    below = [parse_bundle(read_file(name)) for name in child_files]
    appraised = [appraise(child, trust, policy, child.exported_at if at is None else at) for child in below]
    children = check_children(result, appraised) if appraised else None
    if as_json:
        value = result_json(parsed, trust, result, requirements, before=before)
        told = {} if children is None else {"children": children.to_json()}
        shown = [{"path": found.path, **found.told} for found in images]
        emit_json({**value, "proofs": [found.to_json() for found in proofs], "images": shown, **told})
    else:
        own_time = at is None
        lines = result_lines(parsed, trust, result, requirements, own_time=own_time, before=before, proofs=proofs)
        for line in lines:
            emit(line, colour=wants_colour(no_color=no_color))
        for found in images:
            emit(f"\nimage   {clean_line(found.path)}\n        {clean_line(found.line)}")
        for line in children_lines(children) if children is not None else ():
            emit(line, colour=wants_colour(no_color=no_color))
    refuted = any(found.answer == "no" for found in proofs)
    refuted = refuted or any(exit_of(child, trust, ()) == REJECT for child in appraised)
    if refuted or (children is not None and children.answer == "no"):
        return REJECT
    code = exit_of(result, trust, requirements)
    return UNDECIDED if code == ACCEPT and children is not None and children.answer == "cannot_tell" else code


def _images(result: Appraisal, anchors: str) -> list[Found]:
    """What the disclosed images of the answer carry, where it is what was signed."""
    text, closing = result.evidence.documents.get("response"), result.evidence.closing
    if text is None or closing is None:
        return []
    shown = pictures_of(None, canonical.decode_exact(text.encode())).shown
    return credentials_of(shown, result.run, closing.statement.attester, anchors)


def _open_trust(name: str | None, pin: str | None, accepted: str | None) -> tuple[Trust | None, int | None]:
    """The trust file, and the version accepted before it where the caller keeps one. Raises as :func:`open_trust`."""
    if accepted is None:
        return open_trust(name, pin), None
    if name is None:
        raise UsageError("usage.accepted", "--accepted says nothing without --trust", param="accepted")

    def walk(before: tuple[int, str] | None) -> Trust:
        return verify_trust(parse_trust_chain(read_file(name)), pin=pin, accepted=before)

    found = open_remembered(Path(accepted), walk)
    return found.trust, found.before


def _check_pin(text: str) -> None:
    try:
        hex_decode(text, 32)
    except MalformedError as error:
        raise UsageError("usage.pin", "a trust pin is a SHA-256 in lower-case hex", param="trust-pin") from error


def exit_of(result: Appraisal, trust: Trust | None, requirements: Iterable[Requirement]) -> int:
    """The exit code (``lanes.md`` §5). What is refused stays refused, however much else is still open."""
    if any(lane.state == "refuted" for lane in result.lanes.values()):
        return REJECT
    answers = [item.answer(result.lanes[item.lane]) for item in requirements]
    if trust is None:
        return UNDECIDED
    if "no" in answers:
        return REJECT
    return UNDECIDED if "cannot_tell" in answers else ACCEPT


def result_json(
    bundle: Bundle,
    trust: Trust | None,
    result: Appraisal,
    requirements: Iterable[Requirement],
    *,
    before: int | None = None,
) -> dict[str, Any]:
    """The JSON form; see the module's first lines."""
    return {
        "bundle": {
            "digest": result.bundle_digest,
            "run": result.run,
            "exported_at": time_encode(bundle.exported_at),
            "items": len(bundle.journal),
        },
        "at": time_encode(result.at),
        "known": result.known,
        "policy": {"name": result.policy_name, "digest": result.policy_digest},
        "trust": trust
        and {
            "digest": trust.digest,
            "version": trust.version,
            "first_digest": trust.first_digest,
            "pinned": trust.pin,
            "development": trust.development,
            "expires_at": time_encode(trust.current.expires_at),
            "accepted_before": before,
        },
        "checks": [check.to_json() for check in result.transcript],
        "lanes": {name: lane.to_json() for name, lane in result.lanes.items()},
        "payments": [
            {"digest": digest, "document": document.to_json(), "lines": explain(document)}
            for digest, document in result.evidence.paid.items()
        ],
        "chronology": chronology(bundle, result.known),
        "requirements": [
            {"requirement": str(item), "answer": item.answer(result.lanes[item.lane])} for item in requirements
        ],
    }


def result_lines(
    bundle: Bundle,
    trust: Trust | None,
    result: Appraisal,
    requirements: Sequence[Requirement],
    *,
    own_time: bool,
    before: int | None = None,
    proofs: Sequence[ProofFound] = (),
) -> Iterable[str]:
    """The same as text."""
    yield f"bundle  {result.bundle_digest}"
    yield f"        run {result.run}, exported {time_encode(bundle.exported_at)}"
    unread = len(bundle.journal) - result.known
    left_out = f"; {unread} after it left out" if unread else ""
    yield f"        read up to position {result.known} of {len(bundle.journal)}{left_out}"
    yield f"at      {time_encode(result.at)}, {'the time of export' if own_time else 'as asked'}"
    yield f"policy  {result.policy_digest}, {result.policy_name}"
    yield from _trust_lines(trust, before)
    yield ""
    yield "checks"
    for check in result.transcript:
        code = f"  [{check.code}]" if check.code else ""
        line = f"  {check.number:>3}  {ANSWERS[check.answer]:<11}  {check.spec:<18}  {check.says}{code}"
        yield clean_line(line)
    yield ""
    yield "lanes"
    yield from lane_lines(result.lanes)
    for digest, document in result.evidence.paid.items():
        yield ""
        yield f"payment {digest}"
        for told in explain(document):
            yield clean_line(f"        {told}")
    for proof in proofs:
        code = f"  [{proof.code}]" if proof.code else ""
        yield ""
        yield f"proof   {proof.digest}"
        yield clean_line(f"        {ANSWERS[proof.answer]}  {proof.says}{code}")
    if requirements:
        yield ""
        yield "required"
        for item in requirements:
            lane = result.lanes[item.lane]
            found = f"{lane.state}{':' + lane.basis if lane.basis else ''}"
            yield f"  {ANSWERS[item.answer(lane)]:<11}  {item!s:<36}  it is {found}"


def _trust_lines(trust: Trust | None, before: int | None) -> Iterable[str]:
    if trust is None:
        yield "trust   none given: nobody's signature can be judged"
        return
    yield f"trust   {trust.digest}"
    words = "pinned by its digest" if trust.pin == "digest" else "taken on first use"
    yield f"        version {trust.version}; first version {trust.first_digest}, {words}"
    if before is not None:
        yield f"        version {before} was accepted here before"
    if trust.development:
        yield "        development: everything it admits is a stand-in"
