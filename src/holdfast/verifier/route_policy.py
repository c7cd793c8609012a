"""Route policies: whom a request may be taken to, and what has to hold before its answer is shown (``spec/routes.md``).

``parse_route_policy`` reads one strictly; ``decide_route`` holds every upstream that could be turned to against all
policies in force and gives the only order in which they may be, or refuses and says what would have to change.

Rules: a policy only takes away. Those of workspace, conversation and request all hold, so nobody's can widen another's.
What is not known refuses: an upstream without a declared jurisdiction is in none, one without a price costs too much.

Pure. Not covered: turning to anybody (``nodes/gateway/service.py``), and whether what an operator declares is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import hex_decode, is_code, sha256
from holdfast.core.pricing import parse_decimal
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.verifier.policy import Requirement, parse_requirement

ROUTE_POLICY_TYPE = "urn:holdfast:route-policy:v1"
"""``type`` of the document that a route names by its digest (``routes.md`` §3)."""
SOURCES = ("workspace", "conversation", "request")
"""Whose policies there are, in their order (``routes.md`` §2)."""
MOST_NAMES, MOST_RETRIES, MOST_WAIT_S = 64, 5, 600
_MEMBERS = frozenset(
    {
        "providers",
        "models",
        "plaintext",
        "fallback",
        "retries",
        "same_artifact",
        "jurisdictions",
        "max_usd",
        "show_after",
        "cache",
    }
)
_MAX_LABEL = 256


@dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream that could be turned to for a request, and what is known of it before anything is sent."""

    code: str
    label: str
    """What the caller calls the model."""
    provider_model: str
    enclave: bool = False
    """Whether an attested enclave alone would see the plaintext."""
    artifact: str | None = None
    """Digest (hex) of what the label means there; None where nobody knows, as of every provider's model."""
    jurisdiction: str | None = None
    """As its operator declares it."""
    most_usd: Fraction | None = None
    """What the request costs at most; None where it has no price."""


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """One policy. What it does not mention it does not restrict."""

    providers_allow: frozenset[str] | None = None
    providers_deny: frozenset[str] = frozenset()
    models_allow: frozenset[str] | None = None
    models_deny: frozenset[str] = frozenset()
    enclave: bool = False
    """No plaintext outside an attested enclave."""
    fallback: frozenset[str] | None = None
    """Upstreams that may be turned to after another failed; None: whichever the gateway has."""
    retries: int | None = None
    same_artifact: str | None = None
    jurisdictions: frozenset[str] | None = None
    max_usd: Fraction | None = None
    cache: bool = True
    """Whether an answer may come from a cache, and go into one."""
    show_after: tuple[Requirement, ...] = ()
    within_s: int = 60
    """How long an answer is held for ``show_after``."""
    document: Mapping[str, canonical.JSON] = field(default_factory=dict)
    """As it was given."""


@dataclass(frozen=True, slots=True)
class RoutePolicies:
    """The policies that hold for one request, by whose they are, in the order of :data:`SOURCES`."""

    policies: tuple[tuple[str, RoutePolicy], ...] = ()

    @property
    def retries(self) -> int | None:
        """How often one upstream may be asked again; None where no policy says."""
        return min((item.retries for _, item in self.policies if item.retries is not None), default=None)

    @property
    def may_cache(self) -> bool:
        """Whether an answer may come from a cache, and go into one."""
        return all(item.cache for _, item in self.policies)

    @property
    def show_after(self) -> tuple[Requirement, ...]:
        """What has to hold before an answer is shown."""
        return tuple(dict.fromkeys(need for _, item in self.policies for need in item.show_after))

    @property
    def within_s(self) -> int:
        """How long it is waited for."""
        return min((item.within_s for _, item in self.policies if item.show_after), default=0)

    def may_follow(self, code: str) -> bool:
        """Whether an upstream may be a fallback."""
        return all(item.fallback is None or code in item.fallback for _, item in self.policies)

    def document(self) -> bytes:
        """The document whose salted digest a route names (``routes.md`` §3)."""
        told: list[canonical.JSON] = [{"by": by, "policy": dict(item.document)} for by, item in self.policies]
        return canonical.encode({"type": ROUTE_POLICY_TYPE, "policies": told})


def policy_digest(salt: bytes, document: bytes) -> str:
    """Member ``policy`` of a route (``statement.md`` §4.1(7))."""
    return sha256(ROUTE_POLICY_TYPE.encode() + b"\x00" + salt + document).hex()


def parse_route_policy(value: object) -> RoutePolicy:
    """A policy as decoded JSON or TOML; raises ``route.fields`` (``routes.md`` §1)."""
    if not isinstance(value, dict) or not value.keys() <= _MEMBERS:
        raise _malformed(f"a route policy is an object of any of {', '.join(sorted(_MEMBERS))}")
    providers = _sides(value, "providers", is_code)
    models = _sides(value, "models", _is_label)
    if value.get("plaintext", "anywhere") not in ("anywhere", "enclave"):
        raise _malformed("plaintext is anywhere or enclave")
    if value.get("cache", "allowed") not in ("allowed", "none"):
        raise _malformed("cache is allowed or none")
    shown, within_s = _show_after(value.get("show_after"))
    return RoutePolicy(
        *providers,
        *models,
        enclave=value.get("plaintext") == "enclave",
        fallback=_fallback(value.get("fallback", "allowed")),
        retries=_whole(value["retries"], "retries", 0, MOST_RETRIES) if "retries" in value else None,
        same_artifact=hex_decode(_text(value["same_artifact"]), 32).hex() if "same_artifact" in value else None,
        jurisdictions=_names(value["jurisdictions"], "jurisdictions", is_code) if "jurisdictions" in value else None,
        max_usd=parse_decimal(_text(value["max_usd"])) if "max_usd" in value else None,
        cache=value.get("cache") != "none",
        show_after=shown,
        within_s=within_s,
        document=_plain(value),
    )


def parse_policies(raw: bytes) -> RoutePolicies:
    """The document that a route names by its digest (``routes.md`` §3); raises ``json.*`` and ``route.fields``."""
    value = canonical.decode_signed(raw)
    if value.keys() != {"type", "policies"} or value["type"] != ROUTE_POLICY_TYPE:
        raise _malformed(f"a document of route policies is a {ROUTE_POLICY_TYPE}")
    given = value["policies"]
    if not isinstance(given, list) or not given or not all(_is_source(item) for item in given):
        raise _malformed("each policy says whose it is")
    places = [SOURCES.index(item["by"]) for item in given]
    if places != sorted(set(places)):
        raise _malformed("policies stand in the order of whose they are, each once")
    return RoutePolicies(tuple((item["by"], parse_route_policy(item["policy"])) for item in given))


def _is_source(item: object) -> bool:
    return isinstance(item, dict) and item.keys() == {"by", "policy"} and item["by"] in SOURCES


def decide_route(
    force: RoutePolicies, starts: Sequence[Candidate], follow: Callable[[Candidate], Sequence[Candidate]]
) -> tuple[Candidate, ...]:
    """The candidates that may be turned to, in the only order in which they may (``routes.md`` §4): the first of
    ``starts`` that every policy allows, then those that ``follow`` it and may be fallbacks.

    Raises ``route.policy`` where there is none, and says of each candidate which rule of whose policy refuses it.
    """
    refused: list[str] = []
    for start in starts:
        reasons = reasons_against(force, start)
        if not reasons:
            others = [
                item for item in follow(start) if force.may_follow(item.code) and not reasons_against(force, item)
            ]
            order: dict[str, Candidate] = {}
            for item in (start, *others):
                order.setdefault(item.code, item)
            return tuple(order.values())
        refused.append(f"{start.code}: {' and '.join(reasons)}")
    raise RefusedError(
        "route.policy",
        "no upstream that serves this may be turned to under the route policy; nothing was sent",
        hint="; ".join(refused),
        status=403,
    )


def reasons_against(force: RoutePolicies, candidate: Candidate) -> list[str]:
    """Every rule that refuses a candidate, with whose it is and what would have to change."""
    return [f"the {by}'s {why}" for by, policy in force.policies for why in _against(policy, candidate)]


def _against(policy: RoutePolicy, candidate: Candidate) -> list[str]:
    names = {candidate.label, f"{candidate.code}:{candidate.label}", f"{candidate.code}:{candidate.provider_model}"}
    found = []
    if policy.providers_allow is not None and candidate.code not in policy.providers_allow:
        found.append(f"providers.allow names {_listed(policy.providers_allow)}")
    if candidate.code in policy.providers_deny:
        found.append(f"providers.deny names {candidate.code}")
    if policy.models_allow is not None and policy.models_allow.isdisjoint(names):
        found.append(f"models.allow names {_listed(policy.models_allow)}")
    if not policy.models_deny.isdisjoint(names):
        found.append(f"models.deny names {_listed(policy.models_deny & names)}")
    if policy.enclave and not candidate.enclave:
        found.append("plaintext is enclave, and no attested enclave alone would see it there")
    if policy.same_artifact is not None and candidate.artifact != policy.same_artifact:
        means = "nobody knows" if candidate.artifact is None else candidate.artifact[:12]
        found.append(f"same_artifact is {policy.same_artifact[:12]}, and what the label means there {means}")
    if policy.jurisdictions is not None and candidate.jurisdiction not in policy.jurisdictions:
        declared = candidate.jurisdiction or "none"
        found.append(f"jurisdictions names {_listed(policy.jurisdictions)}, and its operator declares {declared}")
    if policy.max_usd is not None and (candidate.most_usd is None or candidate.most_usd > policy.max_usd):
        costs = "has no price" if candidate.most_usd is None else f"may cost {float(candidate.most_usd):g}"
        found.append(f"max_usd is {float(policy.max_usd):g}, and the request {costs}")
    return found


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"


def _sides(
    value: Mapping[str, Any], name: str, known: Callable[[object], bool]
) -> tuple[frozenset[str] | None, frozenset[str]]:
    given = value.get(name, {})
    if not isinstance(given, dict) or not given.keys() <= {"allow", "deny"}:
        raise _malformed(f"{name} is an object of any of allow and deny")
    allow = _names(given["allow"], f"{name}.allow", known) if "allow" in given else None
    return allow, _names(given.get("deny", []), f"{name}.deny", known)


def _names(value: object, name: str, known: Callable[[object], bool]) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MOST_NAMES or not all(known(item) for item in value):
        raise _malformed(f"{name} is a list of at most {MOST_NAMES} names")
    if len(set(value)) != len(value):
        raise _malformed(f"{name} names one twice")
    return frozenset(map(str, value))


def _is_label(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText) and 0 < len(value) <= _MAX_LABEL


def _fallback(value: object) -> frozenset[str] | None:
    if value == "allowed":
        return None
    return frozenset() if value == "none" else _names(value, "fallback", is_code)


def _show_after(value: object) -> tuple[tuple[Requirement, ...], int]:
    if value is None:
        return (), 60
    if not isinstance(value, dict) or not {"lanes"} <= value.keys() <= {"lanes", "within_s"}:
        raise _malformed("show_after is an object of lanes and, if you like, within_s")
    lanes = value["lanes"]
    if not isinstance(lanes, list) or not 0 < len(lanes) <= MOST_NAMES or len(set(map(str, lanes))) != len(lanes):
        raise _malformed("show_after.lanes is a list of LANE=STATE[:BASIS], each once")
    try:
        needs = tuple(parse_requirement(_text(item)) for item in lanes)
    except UsageError as error:
        raise _malformed(f"show_after.lanes: {error.message}") from error
    return needs, _whole(value.get("within_s", 60), "show_after.within_s", 1, MOST_WAIT_S)


def _whole(value: object, name: str, least: int, most: int) -> int:
    number = int(value) if isinstance(value, NumberText) and value.isdigit() and len(value) < 6 else value
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        raise _malformed(f"{name} is a whole number from {least} to {most}")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _malformed("digests, amounts and requirements are texts")
    return value


def _plain(value: Any) -> Any:
    """The document with numbers as numbers: a request is read with numbers as text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, NumberText) else value


def _malformed(message: str) -> MalformedError:
    return MalformedError("route.fields", message, param="holdfast.route")
