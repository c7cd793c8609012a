"""Whether a route kept the policies that it names, as far as a bundle shows it (``spec/routes.md`` §7).

``holds`` asks each rule of each policy of what the route says; :func:`check_policy` opens the digest that the route
names first, so that what is compared is what was in force. What a route does not say (prices, jurisdictions, enclaves)
cannot be told, and is never taken for kept.

Pure. Not covered: whether the route tells the truth about whom it turned to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.core.attempts import Attempt
from holdfast.core.bundles import PolicyItem
from holdfast.core.statements import Execution, Route
from holdfast.errors import HoldfastError
from holdfast.verifier.computation import computed_artifact_of, computed_of
from holdfast.verifier.evidence import Evidence
from holdfast.verifier.route_policy import RoutePolicies, RoutePolicy, parse_policies, policy_digest
from holdfast.verifier.transcript import Answer, Transcript

_LANES = ("route",)
_SECTION = "routes.md §7"


@dataclass(frozen=True, slots=True)
class Turned:
    """Whom a run was taken to, by its route, and what is shown of what it asked for."""

    upstream: str
    attempts: tuple[Attempt, ...] | None
    fallback_from: tuple[str, ...] = ()
    label: str | None = None
    """What the request calls the model; None where that is not shown."""
    provider_model: str | None = None
    """What was sent on in its place."""
    artifact: str | None = None
    """Digest (hex) of what an inference node computed with; None where none did."""
    answered: bool = True
    cached: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Every upstream that was turned to, each once."""
        if self.attempts is None or self.cached:  # what is given again is an upstream's answer all the same
            return tuple(dict.fromkeys((*self.fallback_from, self.upstream)))
        return tuple(dict.fromkeys(item.upstream for item in self.attempts))

    @property
    def followed(self) -> tuple[str, ...]:
        """Those that were turned to after another had failed."""
        if self.attempts is None:
            return tuple(dict.fromkeys((*self.fallback_from[1:], self.upstream))) if self.fallback_from else ()
        return tuple(item.upstream for item in self.attempts if item.why == "fallback")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one policy, and whether it was kept."""

    by: str
    name: str
    answer: Answer


@dataclass(slots=True)
class KeptPolicy:
    """What is shown of a run's route policies."""

    named: bool = False
    """Whether the route names any."""
    shown: bool = False
    """Whether what it names is shown and is that."""
    rules: list[Rule] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """A sentence for each thing that is wrong."""


def holds(force: RoutePolicies, turned: Turned) -> list[Rule]:
    """Each rule of each policy, in their order."""
    return [Rule(by, name, answer) for by, policy in force.policies for name, answer in _rules(policy, turned)]


def _rules(policy: RoutePolicy, turned: Turned) -> Iterable[tuple[str, Answer]]:
    codes = set(turned.codes)
    if policy.providers_allow is not None:
        yield "providers.allow", _yes(codes <= policy.providers_allow)
    if policy.providers_deny:
        yield "providers.deny", _yes(codes.isdisjoint(policy.providers_deny))
    if policy.models_allow is not None:
        yield "models.allow", _all(_names(policy.models_allow, code, turned) for code in codes)
    if policy.models_deny:
        yield "models.deny", _all(_opposite(_names(policy.models_deny, code, turned)) for code in codes)
    if policy.fallback is not None:
        yield "fallback", _yes(policy.fallback.issuperset(turned.followed))
    if policy.retries is not None:
        yield "retries", _retries(policy.retries, turned.attempts)
    if not policy.cache:
        yield "cache", _yes(not turned.cached)
    if policy.same_artifact is not None:
        yield "same_artifact", _artifact(policy.same_artifact, turned)
    unsaid = {
        "plaintext": policy.enclave,
        "jurisdictions": policy.jurisdictions is not None,
        "max_usd": policy.max_usd is not None,
    }
    for name, asked in unsaid.items():
        if asked:
            yield name, "cannot_tell" if codes else "yes"


def _names(entries: frozenset[str], code: str, turned: Turned) -> Answer:
    """Whether a list of models names what was asked of an upstream, by any of its three names."""
    known = [name for name in (turned.label, turned.provider_model) if name is not None]
    if entries & {f"{code}:{name}" for name in known} or turned.label in entries:
        return "yes"
    return "no" if len(known) == 2 else "cannot_tell"


def _retries(most: int, attempts: tuple[Attempt, ...] | None) -> Answer:
    if attempts is None:
        return "cannot_tell"
    times = Counter(item.upstream for item in attempts if item.why == "retry")
    return _yes(max(times.values(), default=0) <= most)


def _artifact(wanted: str, turned: Turned) -> Answer:
    """Of a provider's model nobody knows the artifact, so an answer by one kept no such rule."""
    if turned.artifact is None and not turned.answered:
        return "cannot_tell" if turned.codes else "yes"
    return _yes(turned.artifact == wanted)


def _yes(held: bool) -> Answer:
    return "yes" if held else "no"


def _opposite(answer: Answer) -> Answer:
    return answer if answer == "cannot_tell" else _yes(answer == "no")


def _all(answers: Iterable[Answer]) -> Answer:
    found = {*answers}
    return "no" if "no" in found else "cannot_tell" if "cannot_tell" in found else "yes"


def check_policy(items: Iterable[object], evidence: Evidence, record: Transcript) -> KeptPolicy:
    """Open the policies that a run's route names, where they are shown, and hold the route against them."""
    body = evidence.route.statement.body if evidence.route is not None else None
    if not isinstance(body, Route):
        return KeptPolicy()
    found = KeptPolicy(named=body.policy is not None)
    for item in dict.fromkeys(item for item in items if isinstance(item, PolicyItem)):
        if policy_digest(item.salt, item.raw) != item.digest:
            _refuse(found, record, "route_policy.digest", "What is shown as the route policy has another digest")
        elif item.digest != body.policy:
            says = "A route policy is shown that the route does not name."
            record.note(_LANES, _SECTION, "cannot_tell", says, "route_policy.unbound")
        else:
            _hold(item, body, evidence, found, record)
    return found


def _hold(item: PolicyItem, body: Route, evidence: Evidence, found: KeptPolicy, record: Transcript) -> None:
    try:
        force = parse_policies(item.raw)
    except HoldfastError as error:
        _refuse(found, record, "route_policy.document", f"What the route names as its policy is none: {error.message}")
        return
    found.shown = True
    for rule in holds(force, _turned(body, evidence)):
        found.rules.append(rule)
        whose = f"the {rule.by}'s rule {rule.name}"
        if rule.answer == "no":
            _refuse(found, record, "route_policy.broken", f"The route broke {whose}")
        elif rule.answer == "yes":
            record.note(_LANES, _SECTION, "yes", f"The route kept {whose}.")
        else:
            says = f"Whether the route kept {whose}, what is shown does not say."
            record.note(_LANES, _SECTION, "cannot_tell", says, "route_policy.unsaid")


def _turned(body: Route, evidence: Evidence) -> Turned:
    closing = evidence.closing.statement.body if evidence.closing is not None else None
    sent = "sent" if body.rewrites else "request"
    return Turned(
        body.upstream,
        body.attempts,
        body.fallback_from,
        evidence.named("request", "model"),
        evidence.named(sent, "model"),
        computed_artifact_of(evidence) if computed_of(evidence) is not None else None,
        isinstance(closing, Execution) and closing.response is not None,
        body.cached,
    )


def _refuse(found: KeptPolicy, record: Transcript, code: str, says: str) -> None:
    found.refusals.append(f"{says}.")
    record.note(_LANES, _SECTION, "no", f"{says}.", code)


def tell_policy(found: KeptPolicy) -> str:
    """What the ``route`` lane adds where nothing contradicts."""
    if not found.named:
        return ""
    if not found.shown:
        return " A route policy was in force; it is not shown here."
    unsaid = [f"{rule.by}: {rule.name}" for rule in found.rules if rule.answer == "cannot_tell"]
    if not unsaid:
        return " It kept every rule of the route policies in force."
    return f" Nothing shown says whether it kept {', '.join(unsaid)}; every other rule of its policies it kept."
