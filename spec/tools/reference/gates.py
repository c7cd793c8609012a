"""Queue policies, lane vectors and the gate, read from gate.md alone: small, slow, a rule at a time."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from reference.text import SpecError, jcs, sha

LANES = [
    "enclave",
    "bytes",
    "artifact",
    "computation",
    "inputs",
    "memory",
    "route",
    "privacy",
    "payment",
    "settlement",
    "judgement",
]
STATES = ["proven", "refuted", "pending", "unknown", "expired", "not_applicable"]
BASES = ["hardware", "proof", "signature", "observed", "development", "provider_claim", "operator_claim", "human"]
DEVIATIONS = ["cache", "fallback", "ignored", "rewrite"]
ROLES = ["admin", "approver", "policy_owner", "reviewer"]
DECADE = 315576000
REQUIRED: Any = object()
"""Stands for a member that cannot be left out."""


def clock(text: str) -> dt.datetime:
    """The one spelling of a time to a moment."""
    return dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def spelled(moment: dt.datetime) -> str:
    """Back again."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


# --- §1 -------------------------------------------------------------------------------------------------------------


def vector(run: str, lanes: dict[str, Any]) -> bytes:
    """The lane vector of lanes as a case writes them."""
    shown = {
        name: {"state": lane["state"], "basis": lane["basis"], "evidence": sorted(set(lane["evidence"]))}
        for name, lane in lanes.items()
    }
    for name, lane in lanes.items():
        if lane.get("deviations"):
            shown[name]["deviations"] = lane["deviations"]
    return jcs({"type": "urn:holdfast:lane-vector:v1", "run": run, "lanes": shown})


# --- §2 -------------------------------------------------------------------------------------------------------------


def table(value: Any, members: dict[str, Any]) -> dict[str, Any]:
    """A table with these members; what is left out gets its default, if it has one."""
    if not isinstance(value, dict) or not set(value) <= set(members):
        raise SpecError("queue_policy.fields")
    full = members | value
    if any(member is REQUIRED for member in full.values()):
        raise SpecError("queue_policy.fields")
    return full


def whole(value: Any, least: int, most: int = DECADE) -> int:
    """A whole number within bounds."""
    if type(value) is not int or value < least or value > most:
        raise SpecError("queue_policy.number")
    return value


def names(value: Any, closed: list[str], *, written: bool) -> list[str]:
    """A set of names."""
    if not isinstance(value, list) or any(item not in closed for item in value) or len(set(value)) < len(value):
        raise SpecError("queue_policy.names")
    if not written and sorted(value) != value:
        raise SpecError("queue_policy.order")
    return sorted(value)


def text(value: Any) -> str | None:
    """Null or a text for people."""
    if value is None:
        return None
    if not isinstance(value, str) or value.strip() == "" or len(value) > 4000:
        raise SpecError("queue_policy.text")
    if any(char != "\n" and (char < " " or "\x7f" <= char <= "\x9f") for char in value):
        raise SpecError("queue_policy.text")
    return value


def policy(value: dict[str, Any], *, written: bool) -> bytes:
    """The canonical form of a policy that was written as TOML (``written``), or of one that claims to be canonical."""

    def maybe(default: Any) -> Any:
        return default if written else REQUIRED

    top = table(
        value,
        {
            "type": REQUIRED,
            "name": REQUIRED,
            "max_span_s": maybe(600),
            "max_skew_s": maybe(30),
            "require": maybe({}),
            "judgement": maybe(None),
            "early_release": maybe(None),
        },
    )
    if top["type"] != "urn:holdfast:queue-policy:v1":
        raise SpecError("queue_policy.type")
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", str(top["name"])) is None or len(top["name"]) > 64:
        raise SpecError("queue_policy.name")
    top["max_span_s"], top["max_skew_s"] = whole(top["max_span_s"], 0), whole(top["max_skew_s"], 0)
    require = {}
    table(top["require"], dict.fromkeys(LANES))
    for lane, given in top["require"].items():
        members = {"states": REQUIRED, "bases": maybe([]), "max_age_s": maybe(None)}
        need = table(given, {**members, "refuse": None} if lane == "route" else members)
        states, bases = names(need["states"], STATES, written=written), names(need["bases"], BASES, written=written)
        if not states or "refuted" in states or "pending" in states:
            raise SpecError("queue_policy.states")
        if not bases and states != ["not_applicable"]:
            raise SpecError("queue_policy.bases")
        age = None if need["max_age_s"] is None else whole(need["max_age_s"], 1)
        require[lane] = {"states": states, "bases": bases, "max_age_s": age}
        if "refuse" in given:
            require[lane]["refuse"] = names(given["refuse"], DEVIATIONS, written=written)
            if not require[lane]["refuse"]:
                raise SpecError("queue_policy.names")
    top["require"] = require
    if top["judgement"] is not None:
        texts = {"rule": maybe(None), "threshold": maybe(None), "framing": maybe(None)}
        need = table(top["judgement"], {"reviewers": REQUIRED, "role": REQUIRED, **texts})
        names([need["role"]], ROLES, written=True)
        whole(need["reviewers"], 0, 100)
        top["judgement"] = need | {member: text(need[member]) for member in texts}
    if top["early_release"] is not None:
        need = table(top["early_release"], {"roles": REQUIRED, "max_s": REQUIRED})
        roles = names(need["roles"], ROLES, written=written)
        if not roles:
            raise SpecError("queue_policy.names")
        top["early_release"] = {"roles": roles, "max_s": whole(need["max_s"], 1)}
    return jcs(top)


def toml(value: dict[str, Any]) -> str:
    """A policy as TOML: scalars first, one table a section."""

    def quoted(item: str) -> str:
        return '"' + "".join(f"\\u{ord(char):04x}" if char in '"\\\x7f' or char < " " else char for char in item) + '"'

    def scalar(item: Any) -> str:
        if isinstance(item, bool):
            return "true" if item else "false"
        if isinstance(item, list):
            return "[" + ", ".join(map(scalar, item)) + "]"
        return quoted(item) if isinstance(item, str) else str(item)

    def key(name: str) -> str:
        return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)

    def section(path: str, items: dict[str, Any]) -> list[str]:
        lines = [f"[{path}]"] if path else []
        lines += [f"{key(name)} = {scalar(item)}" for name, item in items.items() if not isinstance(item, dict)]
        for name, item in items.items():
            if isinstance(item, dict):
                lines += ["", *section(f"{path}.{key(name)}" if path else key(name), item)]
        return lines

    return "\n".join(section("", value)) + "\n"


# --- §3 to §5 -------------------------------------------------------------------------------------------------------


def decide(rules: dict[str, Any], digest: str, case: dict[str, Any], at: str) -> dict[str, Any]:
    """The answer to a case: ``rules`` is a canonical policy as a value, ``digest`` its digest."""
    now, lanes, past = clock(at), case["lanes"], case["history"]
    refuted = [["gate.refuted", name] for name in LANES if lanes[name]["state"] == "refuted"]

    counted = [
        item
        for item in case["decisions"]
        if clock(item["at"]) <= now and not item["requester"] and item["role"] in ROLES
    ]
    opened = [place for place, item in enumerate(counted) if item["act"] == "reopen"]
    release = case["release"]
    if release is not None and clock(release["at"]) > now:
        release = None
    if opened:
        if release is not None and clock(release["at"]) < clock(counted[opened[-1]]["at"]):
            release = None
        counted = counted[opened[-1] + 1 :]

    def answer(state: str, reasons: list[list[str | None]], until: str | None = None) -> dict[str, Any]:
        return {
            "state": state,
            "reasons": reasons,
            "clear_until": until,
            "released_early": past["released_early"] or state == "PROVISIONAL",
            "policy": digest,
            "vector": sha(vector(case["run"], lanes)).hex(),
        }

    # Rules (1) and (2).
    if past["recalled"] or (past["relied"] and refuted):
        return answer("RECALLED", [["gate.recalled", None] for _ in past["recalled"]] + refuted)
    if any(item["act"] == "reject" for item in counted):
        return answer("REJECTED", [["gate.rejected", None], *refuted])

    # Rule (3).
    unmet = list(refuted)
    if not rules["require"]:
        unmet.append(["gate.policy_empty", None])
    ends = []
    for name in LANES:
        if name not in rules["require"] or ["gate.refuted", name] in refuted:
            continue
        need, lane = rules["require"][name], lanes[name]
        if lane["state"] not in need["states"]:
            unmet.append(["gate.lane_state", name])
            continue
        if lane["basis"] is None:
            if lane["state"] != "not_applicable":
                unmet.append(["gate.lane_basis", name])
        elif lane["basis"] not in need["bases"]:
            unmet.append(["gate.lane_basis", name])
        if set(need.get("refuse", [])) & set(lane.get("deviations", [])):
            unmet.append(["gate.lane_deviates", name])
        if need["max_age_s"] is None:
            continue
        if lane["dated"] is None:
            unmet.append(["gate.lane_undated", name])
            continue
        age = (now - clock(lane["dated"])) / dt.timedelta(seconds=1)
        if age >= need["max_age_s"]:
            unmet.append(["gate.lane_age", name])
        elif -age > rules["max_skew_s"]:
            unmet.append(["gate.lane_future", name])
        else:
            ends.append(clock(lane["dated"]) + dt.timedelta(seconds=need["max_age_s"]))
    asked = rules["judgement"]
    if asked is not None:
        moved = past["label_moved_at"]
        if moved is not None and clock(moved) > now:
            moved = None
        fitting = [
            item
            for item in counted
            if item["act"] == "approve" and item["role"] == asked["role"] and item["policy"] == digest
        ]
        before = {item["person"] for item in fitting if moved is not None and clock(item["at"]) <= clock(moved)}
        people = {item["person"] for item in fitting if moved is None or clock(item["at"]) > clock(moved)}
        if len(people) < asked["reviewers"]:
            unmet.append(["gate.label_moved" if before - people else "gate.reviewers", None])
    if not unmet:
        return answer("CLEAR", [], spelled(min(ends)) if ends else None)

    # Rules (4) and (5).
    if release is None:
        return answer("HOLD", unmet)
    allowed = rules["early_release"]
    span = (clock(release["until"]) - clock(release["at"])) / dt.timedelta(seconds=1)
    if allowed is None:
        unmet.append(["gate.release_not_allowed", None])
    elif release["policy"] != digest:
        unmet.append(["gate.release_policy", None])
    elif release["requester"]:
        unmet.append(["gate.release_requester", None])
    elif release["role"] not in allowed["roles"]:
        unmet.append(["gate.release_role", None])
    elif not 0 < span <= allowed["max_s"]:
        unmet.append(["gate.release_span", None])
    elif now >= clock(release["until"]):
        unmet.append(["gate.release_over", None])
    elif not refuted and rules["require"]:
        return answer("PROVISIONAL", [*unmet, ["gate.released_early", None]])
    return answer("HOLD", unmet)
