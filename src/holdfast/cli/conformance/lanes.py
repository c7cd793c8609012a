"""Commands of lanes, routes and the gate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.cli.conformance.arguments import Answer, Arguments, Refused, Undecided, fields_of, integer
from holdfast.cli.conformance.trusted import read_trust
from holdfast.core import canonical
from holdfast.core.attempts import parse_attempts
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.pricing import parse_decimal
from holdfast.errors import UsageError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import Decision, History, LaneVector, Release, decide
from holdfast.verifier.kept_policy import Turned, holds
from holdfast.verifier.lanes import Lane
from holdfast.verifier.policy import parse_policy, parse_requirement
from holdfast.verifier.queue_policy import parse_queue_policy, parse_queue_policy_document
from holdfast.verifier.route_policy import (
    SOURCES,
    Candidate,
    RoutePolicies,
    decide_route,
    parse_policies,
    parse_route_policy,
)


def _check_policy(arguments: Arguments) -> Answer:
    policy = parse_policy(arguments.file())
    return {"name": policy.name, "digest": policy.digest}


def _verify_bundle(arguments: Arguments) -> Answer:
    """``lanes.md`` §5. The code of a refusal is that of the first check that says no, else ``require.<lane>``."""
    policy = parse_policy(arguments.read(arguments.one("policy")))
    at, known = time_decode(arguments.one("at")), arguments.maybe("known")
    requirements = [parse_requirement(text) for text in arguments.many("require")]
    believed = read_trust(arguments)
    bundle = parse_bundle(arguments.file())
    result = appraise(bundle, believed, policy, at, None if known is None else integer(known))
    lanes = {name: [lane.state, lane.basis] for name, lane in result.lanes.items()}
    answer: Answer = {"lanes": lanes, "checks": [check.to_json() for check in result.transcript], "known": result.known}
    if any(lane.state == "refuted" for lane in result.lanes.values()):
        says_no = (check.code for check in result.transcript if check.answer == "no")
        raise Refused(next((code for code in says_no if code), "lane.refuted"), answer)
    if believed is None:
        raise Undecided("trust.missing", answer)
    answers = {item.lane: item.answer(result.lanes[item.lane]) for item in requirements}
    unmet = [lane for lane, given in answers.items() if given == "no"]
    if unmet:
        raise Refused(f"require.{unmet[0]}", answer)
    open_still = [lane for lane, given in answers.items() if given == "cannot_tell"]
    if open_still:
        raise Undecided(f"require.{open_still[0]}", answer)
    return answer


def _candidate(value: dict[str, Any]) -> Candidate:
    most = value["most_usd"]
    return Candidate(**(value | {"most_usd": None if most is None else parse_decimal(most)}))


def _decide_route(arguments: Arguments) -> Answer:
    value = canonical.decode_signed(arguments.file())
    force = RoutePolicies(
        tuple(zip(SOURCES, (parse_route_policy(policy) for policy in value["policies"]), strict=False))
    )
    starts, follow = ([_candidate(item) for item in value[name]] for name in ("starts", "follow"))
    return {"order": [item.code for item in decide_route(force, starts, lambda _start: follow)]}


def _keep_route_policy(arguments: Arguments) -> Answer:
    value = canonical.decode_signed(arguments.file())
    force = parse_policies(value.pop("document").encode())
    upstream, told = value["upstream"], value["attempts"]
    value |= {
        "attempts": None if told is None else parse_attempts(told, upstream),
        "fallback_from": tuple(value["fallback_from"]),
    }
    rules = holds(force, Turned(**value))
    answer: Answer = {"rules": [[rule.by, rule.name, rule.answer] for rule in rules]}
    if any(rule.answer == "no" for rule in rules):
        raise Refused("route_policy.broken", answer)
    return answer


def _check_queue_policy(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "toml or canonical?")
    form, raw = arguments.rest.pop(0), arguments.file()
    if form not in ("toml", "canonical"):
        raise UsageError("usage.kind", f"unknown form {form}")
    if form == "canonical":
        policy = parse_queue_policy_document(raw)
    else:
        policy = parse_queue_policy(raw.decode("utf-8", "surrogateescape"))
    return {"name": policy.name, "digest": policy.digest, "document": policy.document.decode()}


def _vector(value: dict[str, Any]) -> LaneVector:
    """Lanes as a case writes them: each with ``state``, ``basis``, ``says``, ``evidence`` and ``dated``, and with
    ``deviations`` where there are any."""
    lanes = {
        name: Lane(
            name, lane["state"], lane["basis"], lane["says"], tuple(lane["evidence"]), tuple(lane.get("deviations", ()))
        )
        for name, lane in value["lanes"].items()
    }
    return LaneVector(value["run"], lanes, {name: _maybe_time(lane["dated"]) for name, lane in value["lanes"].items()})


def _maybe_time(text: str | None) -> dt.datetime | None:
    return None if text is None else time_decode(text)


def _lane_vector(arguments: Arguments) -> Answer:
    vector = _vector(fields_of(arguments.file(), "run", "lanes"))
    return {"digest": vector.digest, "document": vector.document.decode()}


def _decide(arguments: Arguments) -> Answer:
    """``gate.md`` §4. What is neither CLEAR nor PROVISIONAL is refused, with the code of its first reason."""
    policy = parse_queue_policy_document(arguments.read(arguments.one("policy")))
    at = time_decode(arguments.one("at"))
    value = fields_of(arguments.file(), "run", "lanes", "decisions", "release", "history")
    decisions = [
        Decision(
            item["person"],
            item["role"],
            item["act"],
            time_decode(item["at"]),
            item["lanes"],
            item["policy"],
            item["requester"],
        )
        for item in value["decisions"]
    ]
    given, past = value["release"], value["history"]
    release = given and Release(
        given["person"],
        given["role"],
        time_decode(given["at"]),
        time_decode(given["until"]),
        given["policy"],
        given["requester"],
    )
    moved_at = past["label_moved_at"]
    history = History(
        past["relied"],
        tuple(past["recalled"]),
        past["released_early"],
        None if moved_at is None else time_decode(moved_at),
    )
    found = decide(policy, _vector(value), decisions, release, history, at)
    answer: Answer = {
        "state": found.state,
        "reasons": [[reason.code, reason.lane] for reason in found.reasons],
        "clear_until": None if found.clear_until is None else time_encode(found.clear_until),
        "released_early": found.released_early,
        "policy": found.policy_digest,
        "vector": found.lanes_digest,
        "checks": [reason.to_json() for reason in found.reasons],
    }
    if found.state not in ("CLEAR", "PROVISIONAL"):
        raise Refused(found.reasons[0].code, answer)
    return answer


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "check-policy": _check_policy,
    "verify-bundle": _verify_bundle,
    "check-queue-policy": _check_queue_policy,
    "decide-route": _decide_route,
    "keep-route-policy": _keep_route_policy,
    "lane-vector": _lane_vector,
    "decide": _decide,
}
