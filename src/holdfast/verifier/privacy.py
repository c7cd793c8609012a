"""The privacy lane: who could see identity, plaintext, sizes and timing, hop by hop (``spec/lanes.md`` §3(5)).

Proven is only what was sealed, to a key that an attested enclave alone holds: the route says to which key it was, the
key document names it, and hardware binds exactly the keys that the document names. A route that says nothing of a path
was direct, whatever was meant. What a hop could see is said for the hop, not for whoever runs two of them: two hops in
one hand see what both see together.

Pure, and reads findings only; the checks it makes are comparisons, noted in the transcript.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.core import ohttp
from holdfast.core.attempts import reached
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import KeyDocument
from holdfast.core.statements import OWN_ENDPOINTS, Route, SealedPath
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.lanes import Hop, Lane
from holdfast.verifier.transcript import Transcript

_SPEC = "lanes.md §3(5)"
_ABOUT = ("privacy",)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a path comes to: a state with its basis, a sentence, and whether it is sealed as far as anybody can tell."""

    state: str
    basis: str | None
    says: str


def privacy(evidence: Evidence, trust: Trust | None, enclave: Lane, record: Transcript) -> Lane:
    """The lane. ``enclave`` is the lane of the signing key, which the route's key is (``trace.md`` §2(4))."""
    checked = evidence.route
    body = checked.statement.body if checked else None
    if checked is None or not isinstance(body, Route):
        says = (
            "The gateway saw the caller's connection and the plaintext; the upstream saw the plaintext. "
            "No route is known, so nothing about who else saw it is proven."
        )
        return Lane("privacy", "unknown", None, says)
    digests = (checked.statement.digest,)
    if body.endpoint in OWN_ENDPOINTS:
        says = (
            "The gateway saw what its caller told. To whom else that was shown, the caller's own runs say, or nothing."
        )
        return Lane("privacy", "unknown", None, says, digests, hops=_hops(checked, body, proven=False))
    if body.path is None:
        says = _direct(body) + _published(body)
        return Lane("privacy", "unknown", None, says, digests, hops=_hops(checked, body, proven=False))
    judged = _judge(evidence, checked, body.path, trust, enclave, record)
    proven = judged.state == "proven"
    found = (*digests, *(enclave.evidence if proven else ()))
    says = judged.says + _several(body) + _published(body)
    return Lane("privacy", judged.state, judged.basis, says, found, hops=_hops(checked, body, proven=proven))


def doubted(hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """The same hops once what hid something from them is no longer proven. What the log holds stays as it is."""
    return tuple(
        hop
        if hop.hop == "log"
        else replace(
            hop, **{name: "unknown" for name in ("identity", "plaintext", "sizes") if getattr(hop, name) == "no"}
        )
        for hop in hops
    )


def _direct(body: Route) -> str:
    saw = _saw(body)
    named = f"upstream{'s' if len(saw) > 1 else ''} {' and '.join(saw)}" if saw else "no upstream"
    return (
        f"The gateway saw the caller's connection and the plaintext; {named} saw the plaintext. "
        "Nothing was sealed on the way to the gateway, so nothing about who else saw it is proven."
    )


def _saw(body: Route) -> list[str]:
    """The upstreams that saw the plaintext."""
    return [code for code, sight in _upstreams(body) if sight == "yes"]


def _several(body: Route) -> str:
    """A failed upstream may have read what was asked as well as the one that served."""
    saw = _saw(body)
    return f" Upstreams {' and '.join(saw)} all saw the plaintext." if len(saw) > 1 else ""


def _published(body: Route) -> str:
    """What sealing does not hide: mode ``individual`` publishes both documents."""
    return " Question and answer are published as a whole, for everybody." if body.settlement == "individual" else ""


def _judge(
    evidence: Evidence,
    checked: CheckedStatement,
    path: SealedPath,
    trust: Trust | None,
    enclave: Lane,
    record: Transcript,
) -> _Judged:
    """The first step that does not hold decides."""
    attester = checked.statement.attester
    admission = trust.admission(attester) if trust is not None else None
    if admission is None:
        return _unknown("nobody can say whether the key is the gateway's: trust does not admit who says so", path)
    document = admission.key_document
    refused = _refuse_path(document, path)
    if refused is not None:
        code, says = refused
        record.note(_ABOUT, _SPEC, "no", says, code)
        return _Judged("refuted", None, says)
    record.note(_ABOUT, _SPEC, "yes", f"The key document names the key {path.config[:12]} that the request came under.")
    if checked.refusal is not None or checked.late is not None:
        why = checked.refusal or checked.late
        return _unknown(f"the route that says so is refused ({why})", path)
    if enclave.basis == "development":
        return _unknown("its key is held by no real enclave, only by a development stand-in", path, "development")
    if enclave.state != "proven":
        return _unknown(f"no attested enclave is shown to hold its key (enclave is {enclave.state})", path)
    return _judge_binding(evidence, document, attester, path, record)


def _judge_binding(
    evidence: Evidence, document: KeyDocument, attester: str, path: SealedPath, record: Transcript
) -> _Judged:
    """Whether hardware binds the keys that the document names."""
    own = document.ohttp_digest.hex() if document.ohttp_digest is not None else ""
    bound = {item.bound.hpke for item in evidence.attestations.get(attester, []) if item.answer == "hardware"}
    if own in bound:
        record.note(_ABOUT, _SPEC, "yes", "Hardware binds exactly the OHTTP keys that the key document names.")
        return _Judged("proven", "hardware", _proven(path))
    if bound - {None}:
        says = (
            "The enclave binds other OHTTP keys than its key document names: what was sealed to those it cannot open."
        )
        record.note(_ABOUT, _SPEC, "no", says, "privacy.bound")
        return _Judged("refuted", None, says)
    says = "The attestation binds no OHTTP key."
    record.note(_ABOUT, _SPEC, "cannot_tell", says, "privacy.unbound")
    return _unknown("the gateway's attestation binds no key that requests are sealed to", path)


def _refuse_path(document: KeyDocument, path: SealedPath) -> tuple[str, str] | None:
    """Whether the gateway's own key document contradicts the path: (code, sentence)."""
    configuration = next((item for item in document.ohttp if sha256_hex(item) == path.config), None)
    if configuration is None:
        return "privacy.config", "The route names a key that the gateway's key document does not hold."
    try:
        offered = {suite.name for suite in ohttp.parse_key_configuration(configuration).suites}
    except HoldfastError:
        offered = set()
    if path.suite not in offered:
        return "privacy.suite", "The route names a suite that the key does not offer."
    return None


def _unknown(why: str, path: SealedPath, basis: str | None = None) -> _Judged:
    says = (
        f"By the gateway's account the request came sealed ({path.suite}) {_by(path)}, "
        f"but {why}. So nothing about who saw it is proven."
    )
    return _Judged("unknown", basis, says)


def _proven(path: SealedPath) -> str:
    relay = f"relay {path.relay[:12]}" if path.relay is not None else "a relay that is not named"
    return (
        f"The request came sealed ({path.suite}) to a key that the attested enclave alone holds, through {relay}: that "
        "relay could see who asked, sizes and times, and no plaintext; the gateway's enclave saw the plaintext and the "
        "relay, not the caller. Both in one hand would know who asked what."
    )


def _by(path: SealedPath) -> str:
    return f"through relay {path.relay[:12]}" if path.relay is not None else "through a relay that it does not name"


def _hops(checked: CheckedStatement, body: Route, *, proven: bool) -> tuple[Hop, ...]:
    """What each hop could see. On the way to a gateway whose key nobody vouches for, plaintext is anybody's guess."""
    sealed = body.path is not None
    hidden = "no" if proven else "unknown"
    private = body.settlement == "private"
    published = "yes" if body.settlement == "individual" else "no"
    hops = [Hop("client", None, "yes", "yes", "yes", "yes")]
    if body.path is not None:
        hops.append(Hop("relay", body.path.relay, "yes", hidden, "yes", "yes"))
    hops.append(Hop("gateway", checked.statement.attester, hidden if sealed else "yes", "yes", "yes", "yes"))
    if body.endpoint not in OWN_ENDPOINTS:
        hops += [_upstream(code, saw, hidden if sealed else "unknown", hidden) for code, saw in _upstreams(body)]
    hops += [
        Hop("log", None, "no", published, "no" if private else "yes", "yes"),
        Hop("panel", None, "unknown", "unknown", "unknown", "unknown"),
    ]
    return tuple(hops)


def _upstreams(body: Route) -> list[tuple[str, str]]:
    """Every upstream that was turned to, in order, and whether it saw the plaintext: where the route does not tell of
    attempts, nobody knows that of those that failed; where nothing left for one, the gateway says so."""
    if body.attempts is None:
        return [*((code, "unknown") for code in body.fallback_from), (body.upstream, "yes")]
    return [(code, "yes" if sent else "no") for code, sent in reached(body.attempts).items()]


def _upstream(code: str, saw: str, identity: str, hidden: str) -> Hop:
    """One upstream's row. That nothing was sent to it is as good as the account that says so."""
    if saw == "no":
        return Hop("upstream", code, hidden, hidden, hidden, "yes")
    return Hop("upstream", code, identity, saw, "yes", "yes")
