"""Queue policies: what a queue asks of a case before it lets it go (``spec/gate.md`` §2).

A policy is written by people as TOML and means its canonical JSON form, whose SHA-256 is its digest: comments, spaces
and the order of keys and names change nothing, and every choice that was left out stands there with the value it then
has. Both readers are strict: an unknown key, a name outside the closed lists and a value that could never be met are
refused here, so that :func:`~holdfast.verifier.gate.decide` meets none of them.

Not covered: who may change a queue's policy, and when a change takes effect (``holdfast.review``).
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError
from holdfast.verifier.checks import CheckPolicy
from holdfast.verifier.lanes import BASES, DEVIATIONS, LANES, STATES
from holdfast.verifier.policy import Policy, build_policy, parse_policy

QUEUE_POLICY_TYPE = "urn:holdfast:queue-policy:v1"
"""``type`` of a queue policy (``gate.md`` §2)."""
DECIDING_ROLES = ("admin", "approver", "policy_owner", "reviewer")
"""Roles that a policy can ask for; viewers and auditors only look (``gate.md`` §2)."""
ACCEPTABLE_STATES = tuple(state for state in STATES if state not in ("refuted", "pending"))
"""States that a policy can accept: a refutation is never let by, and what is pending has not been answered."""
MAX_POLICY_BYTES = 65_536
"""Longest policy that is read, in either form (``gate.md`` §2); the largest canonical form is shorter."""
MAX_SECONDS = 315_576_000
"""Ten years of 365.25 days: the longest span of time that a policy can name (``gate.md`` §2)."""
MAX_REVIEWERS = 100
"""Most people that a policy can ask for (``gate.md`` §2)."""
MAX_TEXT = 4_000
"""Longest rule, threshold or framing, in code points (``gate.md`` §2)."""

_FIELDS = ("type", "name", "max_span_s", "max_skew_s", "require", "judgement", "early_release")
_LANE_FIELDS = ("states", "bases", "max_age_s")
_TEXTS = ("rule", "threshold", "framing")
_JUDGEMENT_FIELDS = ("reviewers", "role", *_TEXTS)
_RELEASE_FIELDS = ("roles", "max_s")
_LEFT_OUT = {
    "max_span_s": CheckPolicy().max_span_s,
    "max_skew_s": CheckPolicy().max_skew_s,
    "require": {},
    "judgement": None,
    "early_release": None,
}
"""What a policy says that leaves these out (``gate.md`` §2)."""


@dataclass(frozen=True, slots=True)
class LaneNeed:
    """What is asked of one lane. ``states`` and ``bases`` are sorted; ``max_age_s`` is in seconds, None for any age."""

    states: tuple[str, ...]
    bases: tuple[str, ...]
    max_age_s: int | None = None
    refuse: tuple[str, ...] = ()
    """Of ``route``: deviations that the queue does not let go; sorted."""


@dataclass(frozen=True, slots=True)
class JudgementNeed:
    """How many distinct people must approve (0: nobody has to), in which role, and what their decision follows (None:
    not recorded)."""

    reviewers: int
    role: str
    rule: str | None = None
    threshold: str | None = None
    framing: str | None = None


@dataclass(frozen=True, slots=True)
class EarlyRelease:
    """Who may let a case go before its proof, and for how many seconds at most. ``roles`` is sorted."""

    roles: tuple[str, ...]
    max_s: int


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """A parsed queue policy; ``digest`` is the SHA-256 (hex) of ``document``, its canonical JSON form."""

    name: str
    digest: str
    document: bytes
    bounds: CheckPolicy
    """Bounds for the appraisal (``statement.md`` §8)."""
    require: Mapping[str, LaneNeed]
    """By lane, in the fixed order of the lanes. Empty: nothing is ever clear."""
    judgement: JudgementNeed | None
    """None: no person has to decide."""
    early_release: EarlyRelease | None
    """None: nothing is released early."""

    @property
    def appraisal(self) -> Policy:
        """The appraisal policy with this queue's name and bounds (``lanes.md`` §4)."""
        return parse_policy(
            build_policy(self.name, max_span_s=self.bounds.max_span_s, max_skew_s=self.bounds.max_skew_s)
        )


def parse_queue_policy(text: str) -> QueuePolicy:
    """TOML, as people write it, to a :class:`QueuePolicy`; raises ``queue_policy.*``.

    What may be left out: ``max_span_s``, ``max_skew_s``, ``require``, ``bases`` and ``max_age_s`` of a lane, ``refuse``
    of ``route``, ``judgement`` and its three texts, ``early_release``.
    """
    try:
        if len(text.encode("utf-8")) > MAX_POLICY_BYTES:
            raise MalformedError("queue_policy.size", f"a policy has at most {MAX_POLICY_BYTES} bytes")
        value = tomllib.loads(text)
    except UnicodeEncodeError as error:
        raise MalformedError("queue_policy.toml", "the text holds a lone surrogate") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MalformedError("queue_policy.toml", f"this is not TOML: {error}") from error
    whole = _LEFT_OUT | _known(value, _FIELDS, "the policy")
    whole["require"] = {
        lane: {"bases": [], "max_age_s": None} | _known(need, _fields_of(lane), f"require.{lane}")
        for lane, need in _known(whole["require"], LANES, "require").items()
    }
    if whole["judgement"] is not None:
        whole["judgement"] = dict.fromkeys(_TEXTS) | _known(whole["judgement"], _JUDGEMENT_FIELDS, "judgement")
    return _build(whole, ordered=False)


def parse_queue_policy_document(raw: bytes) -> QueuePolicy:
    """The canonical JSON form to a :class:`QueuePolicy`; raises ``queue_policy.*`` or ``json.*``.

    Every member is present, null where nothing was said, and every set of names is sorted: one policy, one spelling.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise MalformedError("queue_policy.size", f"a policy has at most {MAX_POLICY_BYTES} bytes")
    return _build(canonical.decode_signed(raw), ordered=True)


def _fields_of(lane: str) -> tuple[str, ...]:
    """What can be asked of a lane: of ``route`` also that nothing went otherwise than asked."""
    return (*_LANE_FIELDS, "refuse") if lane == "route" else _LANE_FIELDS


def _known(value: object, fields: tuple[str, ...], where: str) -> dict[str, object]:
    """A table that holds no name but these."""
    if not isinstance(value, dict):
        raise MalformedError("queue_policy.fields", f"{where} is a table of names and values", param=where)
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise MalformedError(
            "queue_policy.fields",
            f"{where} does not know {unknown[0]!r}",
            hint=f"it knows {', '.join(fields)}",
            param=unknown[0],
        )
    return value


def _exactly(value: object, fields: tuple[str, ...], where: str) -> dict[str, object]:
    """A table that holds each of these names and no other."""
    table = _known(value, fields, where)
    missing = [name for name in fields if name not in table]
    if missing:
        raise MalformedError("queue_policy.fields", f"{where} does not say {missing[0]}", param=missing[0])
    return table


def _build(given: object, *, ordered: bool) -> QueuePolicy:
    """Check every member and make the policy. ``ordered``: whether sets of names must already be sorted."""
    value = _exactly(given, _FIELDS, "the policy")
    if value["type"] != QUEUE_POLICY_TYPE:
        raise MalformedError("queue_policy.type", f'type is "{QUEUE_POLICY_TYPE}"', param="type")
    name = value["name"]
    if not isinstance(name, str) or not is_code(name):
        raise MalformedError("queue_policy.name", "name is a code, such as default", param="name")
    span = _whole(value["max_span_s"], "max_span_s", 0, MAX_SECONDS)
    bounds = CheckPolicy(span, _whole(value["max_skew_s"], "max_skew_s", 0, MAX_SECONDS))
    needs = _known(value["require"], LANES, "require")
    require = {lane: _lane_need(needs[lane], f"require.{lane}", ordered) for lane in LANES if lane in needs}
    judgement = None if value["judgement"] is None else _judgement_need(value["judgement"])
    early = None if value["early_release"] is None else _early_release(value["early_release"], ordered)
    document = _document(name, bounds, require, judgement, early)
    return QueuePolicy(name, sha256_hex(document), document, bounds, require, judgement, early)


def _lane_need(given: object, where: str, ordered: bool) -> LaneNeed:
    refuse, given = _refusals(given, where, ordered)
    value = _exactly(given, _LANE_FIELDS, where)
    states = _names(value["states"], STATES, f"{where}.states", ordered)
    bases = _names(value["bases"], BASES, f"{where}.bases", ordered)
    if not states:
        raise MalformedError("queue_policy.states", f"{where} accepts no state", param=f"{where}.states")
    never = [state for state in states if state not in ACCEPTABLE_STATES]
    if never:
        why = "a refuted lane never lets a case go" if "refuted" in never else "a pending lane has not answered yet"
        raise MalformedError("queue_policy.states", f"{where}: {why}", param=f"{where}.states")
    if not bases and states != ("not_applicable",):
        raise MalformedError("queue_policy.bases", f"{where} accepts no basis", param=f"{where}.bases")
    age = value["max_age_s"]
    age = None if age is None else _whole(age, f"{where}.max_age_s", 1, MAX_SECONDS)
    return LaneNeed(states, bases, age, refuse)


def _refusals(given: object, where: str, ordered: bool) -> tuple[tuple[str, ...], object]:
    """The deviations that ``route`` may be refused for, and the table without them. Refusing none has one spelling: the
    member is left out."""
    if where != "require.route" or not isinstance(given, dict) or "refuse" not in given:
        return (), given
    names = _names(given["refuse"], DEVIATIONS, f"{where}.refuse", ordered)
    if not names:
        raise MalformedError("queue_policy.names", f"{where}.refuse names nothing: leave it out", param="refuse")
    return names, {name: value for name, value in given.items() if name != "refuse"}


def _judgement_need(given: object) -> JudgementNeed:
    value = _exactly(given, _JUDGEMENT_FIELDS, "judgement")
    (role,) = _names([value["role"]], DECIDING_ROLES, "judgement.role", ordered=False)
    rule, threshold, framing = (_text(value[name], f"judgement.{name}") for name in _TEXTS)
    return JudgementNeed(
        _whole(value["reviewers"], "judgement.reviewers", 0, MAX_REVIEWERS), role, rule, threshold, framing
    )


def _early_release(given: object, ordered: bool) -> EarlyRelease:
    value = _exactly(given, _RELEASE_FIELDS, "early_release")
    roles = _names(value["roles"], DECIDING_ROLES, "early_release.roles", ordered)
    if not roles:
        raise MalformedError("queue_policy.names", "early_release names no role", param="early_release.roles")
    return EarlyRelease(roles, _whole(value["max_s"], "early_release.max_s", 1, MAX_SECONDS))


def _whole(value: object, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise MalformedError("queue_policy.number", f"{where} is a whole number from {least} to {most}", param=where)
    return value


def _names(value: object, known: tuple[str, ...], where: str, ordered: bool) -> tuple[str, ...]:
    """A set of names, written as a list, sorted."""
    if not isinstance(value, list) or any(not isinstance(item, str) or item not in known for item in value):
        raise MalformedError("queue_policy.names", f"{where} takes names among {', '.join(known)}", param=where)
    if len(set(value)) != len(value):
        raise MalformedError("queue_policy.names", f"{where} names something twice", param=where)
    if ordered and value != sorted(value):
        raise MalformedError("queue_policy.order", f"{where} is sorted in the canonical form", param=where)
    return tuple(sorted(value))


def _text(value: object, where: str) -> str | None:
    """A text for people, or None. Line feeds are the only control characters in it."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or value.isspace():
        raise MalformedError("queue_policy.text", f"{where} is a text of 1 to {MAX_TEXT} characters", param=where)
    if any(unicodedata.category(character) == "Cc" and character != "\n" for character in value):
        raise MalformedError("queue_policy.text", f"{where} holds a control character", param=where)
    return value


def _document(
    name: str,
    bounds: CheckPolicy,
    require: Mapping[str, LaneNeed],
    judgement: JudgementNeed | None,
    early: EarlyRelease | None,
) -> bytes:
    needs: dict[str, JSON] = {lane: _need_json(need) for lane, need in require.items()}
    return canonical.encode(
        {
            "type": QUEUE_POLICY_TYPE,
            "name": name,
            "max_span_s": bounds.max_span_s,
            "max_skew_s": bounds.max_skew_s,
            "require": needs,
            "judgement": None
            if judgement is None
            else {
                "reviewers": judgement.reviewers,
                "role": judgement.role,
                "rule": judgement.rule,
                "threshold": judgement.threshold,
                "framing": judgement.framing,
            },
            "early_release": None if early is None else {"roles": list(early.roles), "max_s": early.max_s},
        }
    )


def _need_json(need: LaneNeed) -> dict[str, JSON]:
    found: dict[str, JSON] = {"states": list(need.states), "bases": list(need.bases), "max_age_s": need.max_age_s}
    if need.refuse:
        found["refuse"] = list(need.refuse)
    return found


def in_words(name: str) -> str:
    """The name of a state, basis or role as people read it."""
    return name.replace("_", " ")


def span_in_words(seconds: int) -> str:
    """A number of seconds in the largest unit that holds two or more of it whole."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds % size == 0 and seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return "1 second" if seconds == 1 else f"{seconds} seconds"
