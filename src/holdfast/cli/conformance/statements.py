"""Commands of statements, trust, entries, children and acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, Refused, fields_of
from holdfast.cli.conformance.trusted import read_trust, trust_versions
from holdfast.core import canonical, statements, trust
from holdfast.core.agents import parse_agent_request
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.acts import verify_act, verify_amended, verify_declared
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.checks import CheckPolicy, EntryCheck, KnownStatement, check_entry, refuse_attester, refuse_time
from holdfast.verifier.children import verify_children
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy


def _bounds(arguments: Arguments) -> CheckPolicy:
    name = arguments.maybe("policy")
    return parse_policy(arguments.read(name) if name else DEFAULT_POLICY).bounds


def _parse_statement(arguments: Arguments) -> Answer:
    statement = statements.parse_statement(statements.parse_envelope(arguments.file()))
    return {"kind": statement.kind, "digest": statement.digest, "run": statement.run, "attester": statement.attester}


def _verify_statement(arguments: Arguments) -> Answer:
    """Steps 1 to 6 of ``statement.md`` §7; ``--at`` is when the statement was first seen."""
    bounds, at, believed = _bounds(arguments), time_decode(arguments.one("at")), read_trust(arguments)
    statement = statements.parse_statement(statements.parse_envelope(arguments.file()))
    if believed is None:
        raise UndecidedError("trust.missing", "no trust, no judgement")
    why = refuse_attester(statement, believed, until=at) or refuse_time(statement, at, bounds)
    if why is not None:
        raise RefusedError(f"statement.{why}", f"the statement is refused: {why}")
    return {"kind": statement.kind, "digest": statement.digest}


class EntryHistory:
    """What was said of the entries so far, in the shape ``check_entry`` asks for."""

    def __init__(self) -> None:
        self.statements: dict[str, KnownStatement] = {}
        self.closings: dict[tuple[str, str], str] = {}
        self.heads: dict[tuple[str, str], int] = {}
        self.payments: dict[tuple[str, str], str] = {}

    def known(self, digest: str) -> KnownStatement | None:
        return self.statements.get(digest)

    def closing(self, run: str, attester: str) -> str | None:
        return self.closings.get((run, attester))

    def head(self, attester: str, journal: str, before: int) -> int | None:
        del before  # entries are judged in their order
        return self.heads.get((attester, journal))

    def paid(self, step: str, attester: str) -> str | None:
        return self.payments.get((step, attester))

    def remember(self, check: EntryCheck, index: int) -> None:
        known = check.remember(index)
        if known is None:
            return
        self.statements.setdefault(check.digest, known)
        if check.code == "ok" and known.closing:
            self.closings.setdefault((known.run, known.attester), check.digest)
        if check.code == "ok" and known.journal is not None and known.seq is not None:
            self.heads[known.attester, known.journal] = known.seq
        if check.code == "ok" and known.pays is not None:
            self.payments.setdefault((known.pays, known.attester), check.digest)


def _verify_entries(arguments: Arguments) -> Answer:
    """All steps of ``statement.md`` §7 for entries of one log, one a line; ``--at`` is when they were first seen."""
    bounds, at, believed = _bounds(arguments), time_decode(arguments.one("at")), read_trust(arguments)
    if believed is None:
        raise UndecidedError("trust.missing", "no trust, no judgement")
    log, verdicts = EntryHistory(), []
    for index, line in enumerate(arguments.file().split(b"\n")[:-1]):
        check = check_entry(line, index=index, seen_at=at, trust=believed, policy=bounds, history=log)
        log.remember(check, index)
        verdicts.append(check.code)
    refuted = [code for code in verdicts if code.startswith("refuted:")]
    if refuted:
        raise Refused("statement." + refuted[0].removeprefix("refuted:"), {"verdicts": verdicts})
    return {"verdicts": verdicts}


def _verify_trust(arguments: Arguments) -> Answer:
    pin, accepted = arguments.maybe("pin"), arguments.maybe("accepted")
    before = None
    if accepted is not None:
        last = trust_versions(arguments, accepted)[-1]
        before = (last.version, last.digest)
    found = trust.verify_trust(trust.parse_trust_chain(arguments.file()), pin=pin, accepted=before)
    return {"version": found.version, "digest": found.digest, "pin": found.pin, "development": found.development}


def _verify_children(arguments: Arguments) -> Answer:
    value = fields_of(arguments.file(), "parent", "answer", "children")
    parsed = {
        run: statements.parse_statement(statements.parse_envelope(canonical.encode(envelope)))
        for run, envelope in [(item["run"], item["envelope"]) for item in value["children"]]
    }
    parent = statements.parse_statement(statements.parse_envelope(canonical.encode(value["parent"])))
    found = verify_children(parent, value["answer"], parsed)
    return {"missing": [child.run for child in found.missing]}


def _verify_act(arguments: Arguments) -> Answer:
    """``acts.md`` §3(2), with ``--agent`` §3(4), and with ``--first`` §3(6) 1 to 3."""
    policy, at = parse_policy(arguments.read(arguments.one("policy"))), time_decode(arguments.one("at"))
    believed = read_trust(arguments)
    value = fields_of(arguments.read(arguments.one("expected")), "agent", "request", "queue", "digest")
    plan, agent, first = parse_agent_request(value["request"]), arguments.maybe("agent"), arguments.maybe("first")

    def shown(raw: bytes) -> Appraisal:
        return appraise(parse_bundle(raw), believed, policy, at)

    above = None if agent is None else shown(arguments.read(agent))
    act = shown(arguments.file())
    own = act if first is None else shown(arguments.read(first))
    found = verify_act(own, value["agent"], plan, value["queue"], value["digest"])
    if above is not None:
        verify_declared(own, found, above)
    if first is not None:
        found = verify_amended(act, found, plan, value["queue"])
        if above is not None:
            verify_declared(act, found, above)
    return {"tool": found.tool.name, "effect": found.tool.effect, "digest": found.digest}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "parse-statement": _parse_statement,
    "verify-statement": _verify_statement,
    "verify-entries": _verify_entries,
    "verify-trust": _verify_trust,
    "verify-children": _verify_children,
    "verify-act": _verify_act,
}
