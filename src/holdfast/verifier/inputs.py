"""The ``inputs`` lane: which facts from outside were admitted, from where, when, and through which trust path
(``spec/lanes.md`` §3(8)).

Fed by the ``admission`` statements that the route names and what opens them, as ``verifier.evidence`` has checked
them. The worst of them is the lane's state: a good source does not speak for a bad one. What a provider looked up by
itself is shown as that. That a source was right it never says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.core.admissions import Admission, Combined, Observation, Quorum
from holdfast.core.blocks import find_citations
from holdfast.core.encoding import time_encode
from holdfast.core.metadata import path_of
from holdfast.core.quantities import Value
from holdfast.core.statements import Route
from holdfast.core.trust import Trust
from holdfast.verifier.enclaves import EnclaveAnswer
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.files import Attached, tell_files
from holdfast.verifier.lanes import Lane

MOST_TOLD = 16
"""Admissions that the lane tells one by one; the transcript holds all of them."""
MOST_SHOWN = 80
"""Characters of a value that the lane repeats."""
_ROWS_TOLD = 8
_ORDER = ("refuted", "unknown", "expired", "pending", "proven")
"""States of single admissions, worst first. Unknown stands before expired: what is expired was good once."""
_KEY_STATES: tuple[tuple[EnclaveAnswer, str, str | None], ...] = (
    ("bad", "refuted", None),
    ("development", "unknown", "development"),
    ("hardware", "proven", "hardware"),
    ("expired", "expired", None),
    ("undated", "pending", None),
    ("unread", "unknown", None),
)
"""What follows from what was presented of a data node's key, as in ``lanes.md`` §3(4)."""
_SEARCH = re.compile(r"/(?:web_search_options|plugins)(?:/|\Z)")
_SEARCH_TOOL = re.compile(r"/tools/[0-9]+/type\Z")
_CITED = re.compile(r"/choices/[0-9]+/message/(?:annotations|citations)/|/citations/")
_ANSWER = re.compile(r"/choices/[0-9]+/message/content\Z")


class _Judged(NamedTuple):
    """What one admission comes to."""

    state: str
    basis: str | None
    says: str
    evidence: tuple[str, ...] = ()


def inputs(evidence: Evidence, trust: Trust | None, attached: Attached | None = None) -> Lane:
    """The lane (``lanes.md`` §3(8)). ``attached`` is what is shown of the caller's files, which never better it."""
    if evidence.route is None:
        return Lane("inputs", "pending", None, "The route of this run is not known yet.")
    found = evidence.admissions()
    here = [item for item in found if item is not None]
    digests = tuple(item.statement.digest for item in here)
    if evidence.admitted.refusals:
        return Lane("inputs", "refuted", None, evidence.admitted.refusals[0][1], digests)
    files = attached or Attached()
    if files.refusals:
        return Lane("inputs", "refuted", None, files.refusals[0], digests)
    about_files = tell_files(files)
    judged = [_judge(item, evidence, trust) for item in here]
    if len(here) < len(found):
        judged.append(_Judged("unknown", None, "A statement that the route names is not in this bundle."))
    searched = _searched(evidence)
    if searched is not None:
        judged.append(_Judged("unknown", "provider_claim", searched))
    if not judged:
        says = " ".join(["No outside facts were admitted to this run.", *about_files])
        return Lane("inputs", "not_applicable", None, says)
    weakest = _weakest(judged)
    rest = [item.says for item in judged if item is not weakest]
    told = [weakest.says, *rest[: MOST_TOLD - 1]]
    if len(rest) >= MOST_TOLD:
        told.append(f"{len(rest) - MOST_TOLD + 1} more are not told here.")
    told += [*_cited(evidence, digests), *about_files]
    shown = tuple(dict.fromkeys([*digests, *(each for item in judged for each in item.evidence)]))
    return Lane("inputs", weakest.state, weakest.basis, " ".join(told), shown)


def _weakest(judged: Sequence[_Judged]) -> _Judged:
    return min(judged, key=lambda item: _ORDER.index(item.state))


# --- one admission ----------------------------------------------------------------------------------------------------


def _judge(item: CheckedStatement, evidence: Evidence, trust: Trust | None) -> _Judged:
    """The first of these that fits decides."""
    name = f"Admission {item.statement.digest[:12]}"
    stands = _stands(item, name, trust)
    if stands is not None:
        return stands
    document = evidence.admitted.documents.get(item.statement.digest)
    if document is None:
        return _Judged("unknown", None, f"{name}: what was admitted is not shown here.")
    if document.event == "refused":
        return _refused(document, name)
    told = f"{name}: {_tell(document, evidence)}"
    if document.quorum is not None:
        return _combined(item, document, document.quorum, told, evidence, trust)
    return _path(document, told) or _used(item, document, told, evidence) or _vouched(item, document, told, evidence)


def _stands(item: CheckedStatement, name: str, trust: Trust | None) -> _Judged | None:
    """Whether the statement itself is acceptable; None where it is."""
    if trust is None or not item.judged:
        return _Judged("unknown", None, f"{name}: without a trust document nobody can say who admitted it.")
    if item.ran_out:
        return _Judged("expired", None, f"{name}: the data node's key has run out and no quorum dated it in time.")
    why = item.refusal or item.late
    if why is None and item.verdict is not None and item.verdict.startswith("refuted:"):
        why = f"final round {item.verdict_round}: {item.verdict}"
    return None if why is None else _Judged("refuted", None, f"{name} is not acceptable ({why}).")


def _refused(document: Admission, name: str) -> _Judged:
    refusal, seen = document.refusal, document.observation
    code, source = refusal.code if refusal else "", seen.source.id if seen else ""
    says = f"{name}: {source} was asked and nothing was admitted ({code}); the model was told so."
    return _Judged("unknown", "signature", says)


def _combined(
    item: CheckedStatement,
    document: Admission,
    quorum: Quorum,
    told: str,
    evidence: Evidence,
    trust: Trust | None,
) -> _Judged:
    """A quorum: whether they agree, and the worst of those that count."""
    if not quorum.outcome.agreed:
        return _Judged("refuted", "observed", f"{told} They do not agree, and no value stands for them.")
    own = _used(item, document, told, evidence) or _vouched(item, document, told, evidence)
    members = [*(_member(row, told, evidence, trust) for row in quorum.counting), own]
    shown = tuple(digest for each in members for digest in each.evidence)
    return _weakest(members)._replace(evidence=shown)


def _member(row: Combined, told: str, evidence: Evidence, trust: Trust | None) -> _Judged:
    """One observation of a quorum, as what it is by itself."""
    member, document = evidence.statements.get(row.statement), evidence.admitted.documents.get(row.statement)
    if member is None or document is None:
        return _Judged("unknown", None, f"{told} Not every observation is shown here.")
    said = f"{told} One is from {_where(document)}"
    return (
        _stands(member, f"{told} Observation {row.statement[:12]}", trust)
        or _path(document, said)
        or _vouched(member, document, said, evidence)
    )


_UNSAID = {
    "dns": "a resolver is asked without a session",
    "sql": "which database it was is the node's own setting",
}
"""Why what went over something else than HTTP is nobody's word but the node's."""


def _path(document: Admission, told: str) -> _Judged | None:
    """Whether something says that the peer is who the definition means; None where it does."""
    seen = document.observation
    if seen is not None and seen.pinned:
        return None
    if seen is not None and seen.exchange is not None:
        says = f"{told} Nothing says who answered: {_UNSAID[seen.exchange.kind]}."
        return _Judged("unknown", "signature", says)
    if seen is None or seen.tls is None:
        return _Judged("unknown", "signature", f"{told} Nothing says who answered: there was no TLS.")
    return _Judged("unknown", "signature", f"{told} Its definition pins no key: any of those roots could vouch.")


def _used(item: CheckedStatement, document: Admission, told: str, evidence: Evidence) -> _Judged | None:
    """Whether it was fresh when it went into the request, and is shown to have; None where both hold."""
    used_at, fresh = _used_at(evidence), document.fresh_until
    if used_at is None or fresh is None or used_at > fresh:
        return _Judged("expired", "signature", f"{told} It was fresh no longer when it went into the request.")
    if item.statement.digest not in evidence.admitted.in_context:
        return _Judged("unknown", None, f"{told} What the model was given is not shown here.")
    return None


def _vouched(item: CheckedStatement, document: Admission, told: str, evidence: Evidence) -> _Judged:
    """What stands behind the data node's key. Of a key without hardware it is the word of whoever runs the node."""
    node = item.statement.attester
    given = evidence.attestations.get(node, [])
    answers = {each.answer: each for each in reversed(given)}
    for answer, state, basis in _KEY_STATES:
        found = answers.get(answer)
        if found is None:
            continue
        if state == "proven" and document.attestation not in (None, *(each.digest for each in given)):
            return _Judged("unknown", "signature", f"{told} The attestation that it names is not shown here.")
        shown = (node, found.digest) if state == "proven" else ()
        return _Judged(state, basis, f"{told} Of the data node's key: {found.says}", shown)
    says = f"{told} No attestation of the data node's key was presented: it is its word."
    return _Judged("unknown", "signature", says)


def _used_at(evidence: Evidence) -> dt.datetime | None:
    body = evidence.route.statement.body if evidence.route else None
    return body.admitted_at if isinstance(body, Route) else None


# --- in words ---------------------------------------------------------------------------------------------------------


def _tell(document: Admission, evidence: Evidence) -> str:
    """From where, when, which value and how old. Texts from outside are quoted."""
    what = _shown(document.value) if document.value else "no value"
    used_at, as_of = _used_at(evidence), document.as_of
    age = document.age(used_at) if used_at is not None else None
    if age is not None and as_of is not None:
        what += f" of {time_encode(as_of)}, {_seconds(age)} old when used"
    if document.quorum is not None:
        return f"{what}, {_rule(document.quorum)}."
    seen = document.observation
    limit = f" (limit {seen.limits.max_age_s} s)" if seen else ""
    return f"{what}{limit}, from {_where(document)}"


def _rule(quorum: Quorum) -> str:
    sources = {row.source for row in quorum.observations}
    nodes = {row.node for row in quorum.observations}
    values = [
        f"{row.source} {_shown(row.value)}" if row.value else f"{row.source} refused ({row.refusal})"
        for row in quorum.observations[:_ROWS_TOLD]
    ]
    apart = "" if quorum.outcome.spread is None else f"; they lie {quorum.outcome.spread} apart"
    return (
        f"by rule {quorum.rule.kind} of at least {quorum.rule.least} from {len(sources)} sources "
        f"through {len(nodes)} data nodes ({', '.join(values)}{apart})"
    )


def _where(document: Admission) -> str:
    """The source, its definition, and the session."""
    seen = document.observation
    if seen is None:
        return "a quorum."
    name = f"{seen.source.id} by definition {seen.source.version} ({seen.source.definition[:12]})"
    if seen.exchange is not None:
        return f"{name}, asked as {seen.exchange.kind} over {seen.exchange.channel}."
    host = seen.request.host if seen.request else "nowhere"
    return f"{name} at {host}, {_session(seen)}."


def _session(seen: Observation) -> str:
    if seen.tls is None:
        return "without TLS"
    roots = f"verified against {seen.tls.roots.store}" if seen.tls.roots else "verified against nothing"
    pinned = "key pinned" if seen.pinned else "key not pinned"
    return f"{seen.tls.protocol} over {seen.tls.family}, {roots}, {pinned}"


def _shown(value: Value) -> str:
    text = value.text if len(value.text) <= MOST_SHOWN else value.text[:MOST_SHOWN] + "…"
    quoted = text if value.type == "decimal" else repr(text)
    return quoted if value.unit is None else f"{quoted} {value.unit!r}"


def _seconds(age: dt.timedelta) -> str:
    text = f"{age.total_seconds():.3f}".rstrip("0").rstrip(".")
    return f"{text} s"


# --- what the provider looked up, and what the answer cites -----------------------------------------------------------


def _searched(evidence: Evidence) -> str | None:
    """Whether a provider's own search shows in what was asked or answered; None where it does not."""
    asked, _ = evidence.shown(evidence.sent)
    if not asked:
        asked, _ = evidence.shown("request")
    answered, _ = evidence.shown("response")
    tools = [part.data for part in asked if _SEARCH_TOOL.match(path_of(part.label))]
    used = any(_SEARCH.match(path_of(part.label)) for part in asked) or any(b"web_search" in tool for tool in tools)
    cited = any(_CITED.match(path_of(part.label)) for part in answered)
    if not used and not cited:
        return None
    what = "cites what it found" if cited else "was free to search the web"
    return f"The provider {what} by its own means: outside facts that no data node admitted."


def _cited(evidence: Evidence, named: Sequence[str]) -> list[str]:
    """What the answer says it rests on; nothing where it is not shown, or nothing was admitted."""
    texts = [part.data.decode() for part in evidence.shown("response")[0] if _ANSWER.match(path_of(part.label))]
    if not named or not texts:
        return []
    found = {digits: digest for text in texts for digits, digest in find_citations(text, named).items()}
    cited = {digest for digest in found.values() if digest is not None}
    astray = sum(digest is None for digest in found.values())
    says = [f"The answer cites {len(cited)} of {len(named)} admissions."]
    return [*says, f"{astray} of its citations are of none."] if astray else says
