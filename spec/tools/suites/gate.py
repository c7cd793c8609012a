"""gate: gate.md."""

from __future__ import annotations

import copy
from typing import Any

from reference import gates
from reference.cases import Writer
from reference.text import SpecError, jcs, named, parse, sha

RUN = "019b7651-c000-7000-8000-0123456789ab"
DATED = "2026-01-01T00:00:05.000Z"
AT = "2026-01-01T00:10:00.000Z"
DAY = 86400

USUAL: dict[str, Any] = {
    "type": "urn:holdfast:queue-policy:v1",
    "name": "usual",
    "require": {
        "bytes": {"states": ["proven"], "bases": ["hardware", "signature"]},
        "settlement": {"states": ["proven"], "bases": ["proof"], "max_age_s": DAY},
    },
    "early_release": {"roles": ["approver"], "max_s": 3600},
}
FOUR_EYES: dict[str, Any] = {
    **USUAL,
    "name": "four-eyes",
    "judgement": {
        "reviewers": 2,
        "role": "reviewer",
        "rule": "Reject what names a person.",
        "threshold": "0.8",
        "framing": "Would you send this to a customer?\nSay why.",
    },
}
EMPTY: dict[str, Any] = {"type": "urn:holdfast:queue-policy:v1", "name": "empty"}
ALL_LANES: dict[str, Any] = {
    "type": "urn:holdfast:queue-policy:v1",
    "name": "all-lanes",
    "require": {
        lane: {"states": ["not_applicable", "proven", "unknown"], "bases": sorted(gates.BASES), "max_age_s": DAY}
        for lane in gates.LANES
    },
    "judgement": {"reviewers": 1, "role": "approver"},
}

SAID: dict[str, list[Any]] = {
    "enclave": ["unknown", "development", "The signing key is a software key."],
    "bytes": ["proven", "signature", "Request and answer are bound, part by part, by signature."],
    "artifact": ["unknown", "provider_claim", "Which model bytes ran is only the provider's word."],
    "computation": ["unknown", "provider_claim", "Nothing here shows how the upstream made it."],
    "inputs": ["not_applicable", None, "No outside facts were admitted to this run."],
    "memory": ["not_applicable", None, "No memory was carried into this run."],
    "route": ["proven", "signature", "By the gateway's own account, upstream builtin served this turn."],
    "privacy": ["unknown", None, "No attested private path was used."],
    "payment": ["not_applicable", None, "No payment was offered or asked for this run."],
    "settlement": ["proven", "proof", "All 2 statements are in round 2 with verdict ok."],
    "judgement": ["not_applicable", None, "Nobody has decided anything about this run."],
}


def lanes(**changes: Any) -> dict[str, Any]:
    """A settled run's lanes; a change is a state, a list of state and basis, or a table of members."""
    found: dict[str, Any] = {}
    for name, (state, basis, says) in SAID.items():
        digests = [named(f"gate/{name}/{number}").hex() for number in range(2)]
        found[name] = {"state": state, "basis": basis, "says": says, "evidence": digests, "dated": DATED}
    for name, change in changes.items():
        if isinstance(change, str):
            found[name] |= {"state": change, "basis": None, "says": f"This lane is {change} here."}
        elif isinstance(change, list):
            found[name] |= {"state": change[0], "basis": change[1], "says": "Something else was found here."}
        else:
            found[name] |= change
    return found


def write(out: Writer) -> None:
    """Write the suite."""
    written(out)
    canonical(out)
    vectors(out)
    requirements(out)
    people(out)
    labels(out)
    releases(out)
    histories(out)
    misreadings(out)


# --- §2 -------------------------------------------------------------------------------------------------------------


def _policy(out: Writer, name: str, why: str, content: Any, form: str, value: Any, code: str | None) -> None:
    """One policy. ``value`` is what the file means; None where it is no TOML or no canonical JSON at all."""
    result = None
    if value is not None:
        try:
            document = gates.policy(value, written=form == "toml")
            result = {"name": value["name"], "digest": sha(document).hex(), "document": document.decode()}
            found = None
        except SpecError as error:
            found = error.code
        if found != code:
            raise SystemExit(f"gate/{name}: expected {code}, the reference says {found}")
    file = "policy.toml" if form == "toml" else "policy.json"
    out.case(
        f"gate/{name}",
        why,
        spec="gate.md §2",
        run=["check-queue-policy", form, file],
        expect="malformed" if code else "accept",
        code=code,
        bug="LENIENT_POLICY" if code else None,
        result=result,
        files={file: content},
    )


ANOTHER_ORDER = """# The queue of the usual cases.
early_release = { max_s = 3600, roles = ["approver"] }   # one hour

name = 'usual'
max_skew_s = 30
max_span_s = 0x258

[require]
settlement.max_age_s = 86_400
settlement.bases = ["proof"]
settlement.states = [ "proven" ]

[require.bytes]
bases = [
  "signature",  # software keys do
  "hardware",
]
states = ["proven"]

""".replace("name = 'usual'", "name = 'usual'\ntype = 'urn:holdfast:queue-policy:v1'")


def changed(value: dict[str, Any], path: str, new: Any = None, *, drop: bool = False) -> dict[str, Any]:
    """A copy of a policy with one member set, or dropped; ``path`` has dots."""
    found = copy.deepcopy(value)
    inner, names = found, path.split(".")
    for name in names[:-1]:
        inner = inner.setdefault(name, {})
    if drop:
        del inner[names[-1]]
    else:
        inner[names[-1]] = new
    return found


def written(out: Writer) -> None:
    """Policies as people write them."""

    def case(name: str, why: str, value: Any, code: str | None = None, content: Any = None) -> None:
        text = gates.toml(value) if content is None else content
        _policy(out, f"written-{name}", why, text, "toml", value, code)

    case("usual", "Two lanes, one of them fresh; an early release by approvers for an hour.", USUAL)
    case(
        "another-order",
        "The same policy with comments, other spellings of its values and everything in another order: the same digest, so a policy that "
        "was only tidied up makes no approval void.",
        USUAL,
        content=ANOTHER_ORDER,
    )
    case("four-eyes", "Two reviewers, who follow a rule that is written down.", FOUR_EYES)
    case("all-lanes", "Every lane is asked for something.", ALL_LANES)
    case("empty", "A policy that asks for nothing is well formed. Nothing is ever clear under it.", EMPTY)
    refusing = changed(
        USUAL, "require.route", {"states": ["proven"], "bases": ["signature"], "refuse": ["rewrite", "fallback"]}
    )
    case(
        "refusing", "A route that went otherwise than it was asked for is not let go, in either of two ways.", refusing
    )
    case(
        "refuse-of-another-lane",
        "Only a route can go otherwise than it was asked for.",
        changed(USUAL, "require.bytes.refuse", ["fallback"]),
        "queue_policy.fields",
    )
    case(
        "refuse-unknown",
        "Nothing is ever called a detour, so this would refuse nothing.",
        changed(refusing, "require.route.refuse", ["detour"]),
        "queue_policy.names",
    )
    case(
        "refuse-nothing",
        "To refuse nothing is to leave it out: one policy has one spelling.",
        changed(refusing, "require.route.refuse", []),
        "queue_policy.names",
    )
    case(
        "refuse-twice",
        "The same name twice is one name.",
        changed(refusing, "require.route.refuse", ["cache", "cache"]),
        "queue_policy.names",
    )
    case(
        "bases-left-out",
        "What does not apply rests on nothing, so no basis has to be named for it.",
        changed(EMPTY, "require", {"payment": {"states": ["not_applicable"]}}),
    )
    case(
        "defaults-written-out",
        "A bound that is written as what it would have been anyway changes nothing.",
        {**USUAL, "max_span_s": 600, "max_skew_s": 30},
    )
    case(
        "largest-numbers",
        "Ten years, and a hundred people.",
        changed(
            changed(changed(FOUR_EYES, "judgement.reviewers", 100), "require.settlement.max_age_s", gates.DECADE),
            "early_release.max_s",
            gates.DECADE,
        ),
    )

    def broken(name: str, why: str, content: Any) -> None:
        _policy(out, f"written-{name}", why, content, "toml", None, "queue_policy.toml")

    text = gates.toml(USUAL)
    broken("not-toml", "No TOML at all.", "{}")
    broken("key-twice", "Two parsers could take one value each.", "name = 'other'\n" + text)
    broken("not-utf-8", "Bytes that are no text.", text.encode() + b"# \xff\n")
    broken("lane-twice", "The second table would loosen the first.", text + '\n[require.bytes]\nstates = ["unknown"]\n')

    unknown = (
        "A word that the reader does not know may be the one that the author relied on: a misspelt limit is no limit."
    )
    case("unknown-member", unknown, changed(USUAL, "overall", "proven"), "queue_policy.fields")
    case("unknown-member-of-a-lane", unknown, changed(USUAL, "require.bytes.max_age", 60), "queue_policy.fields")
    case(
        "unknown-member-of-judgement",
        unknown,
        changed(FOUR_EYES, "judgement.roles", ["reviewer"]),
        "queue_policy.fields",
    )
    case("unknown-member-of-release", unknown, changed(USUAL, "early_release.reviewers", 2), "queue_policy.fields")
    case(
        "unknown-lane",
        "There is no lane for everything.",
        changed(USUAL, "require.overall", {"states": ["proven"], "bases": ["proof"]}),
        "queue_policy.fields",
    )
    case("require-is-a-number", "A policy has tables of lanes.", changed(USUAL, "require", 1), "queue_policy.fields")
    case("judgement-is-true", "Who, and how many?", changed(USUAL, "judgement", True), "queue_policy.fields")
    case("without-type", "Nothing says what this is.", changed(USUAL, "type", drop=True), "queue_policy.fields")
    case(
        "another-type",
        "An appraisal policy is another document.",
        changed(USUAL, "type", "urn:holdfast:policy:v1"),
        "queue_policy.type",
    )
    case("name-in-words", "A name is a code.", changed(USUAL, "name", "The usual queue"), "queue_policy.name")
    case(
        "without-states",
        "A lane is asked for nothing.",
        changed(USUAL, "require.bytes.states", drop=True),
        "queue_policy.fields",
    )
    case(
        "states-as-text", "One word is no list.", changed(USUAL, "require.bytes.states", "proven"), "queue_policy.names"
    )
    case(
        "unknown-state",
        "No lane is ever 'verified'.",
        changed(USUAL, "require.bytes.states", ["verified"]),
        "queue_policy.names",
    )
    case(
        "state-twice",
        "A list names each thing once.",
        changed(USUAL, "require.bytes.states", ["proven", "proven"]),
        "queue_policy.names",
    )
    case("no-state", "No state would ever do.", changed(USUAL, "require.bytes.states", []), "queue_policy.states")
    case(
        "refuted-accepted",
        "An author who could accept a refutation could turn the gate off for everyone who trusts the queue.",
        changed(USUAL, "require.settlement.states", ["proven", "refuted"]),
        "queue_policy.states",
    )
    case(
        "pending-accepted",
        "A queue that accepts what has not been answered moves on the first answer that looks calm.",
        changed(USUAL, "require.settlement.states", ["pending", "proven"]),
        "queue_policy.states",
    )
    case("unknown-basis", "No such basis.", changed(USUAL, "require.bytes.bases", ["hope"]), "queue_policy.names")
    case(
        "no-basis",
        "Proven by what? A forgotten list must not accept a provider's word.",
        changed(USUAL, "require.bytes.bases", drop=True),
        "queue_policy.bases",
    )
    case("age-zero", "Nothing is ever that fresh.", changed(USUAL, "require.bytes.max_age_s", 0), "queue_policy.number")
    case("age-as-float", "Seconds are whole.", changed(USUAL, "require.bytes.max_age_s", 1.5), "queue_policy.number")
    case(
        "age-as-truth",
        "True is no number of seconds.",
        changed(USUAL, "require.bytes.max_age_s", True),
        "queue_policy.number",
    )
    case(
        "age-as-text", "A text is no number.", changed(USUAL, "require.bytes.max_age_s", "1 day"), "queue_policy.number"
    )
    case(
        "age-beyond-ten-years",
        "Beyond the bound.",
        changed(USUAL, "require.bytes.max_age_s", gates.DECADE + 1),
        "queue_policy.number",
    )
    case("negative-skew", "Bounds are not negative.", {**USUAL, "max_skew_s": -1}, "queue_policy.number")
    case(
        "fewer-than-no-reviewer",
        "Numbers of people are not negative.",
        changed(FOUR_EYES, "judgement.reviewers", -1),
        "queue_policy.number",
    )
    case(
        "no-reviewer",
        "Nobody has to decide; rule, threshold and framing are recorded with whoever does.",
        changed(FOUR_EYES, "judgement.reviewers", 0),
    )
    case(
        "too-many-reviewers", "Beyond the bound.", changed(FOUR_EYES, "judgement.reviewers", 101), "queue_policy.number"
    )
    case(
        "judged-by-viewers", "Viewers only look.", changed(FOUR_EYES, "judgement.role", "viewer"), "queue_policy.names"
    )
    case(
        "judged-by-auditors",
        "Auditors only look.",
        changed(FOUR_EYES, "judgement.role", "auditor"),
        "queue_policy.names",
    )
    case(
        "empty-rule",
        "A text that says nothing would stand beside a decision as if it did.",
        changed(FOUR_EYES, "judgement.rule", " \n"),
        "queue_policy.text",
    )
    case(
        "rule-with-escape",
        "A control character could draw on the reader's terminal.",
        changed(FOUR_EYES, "judgement.rule", "Approve \x1b[2J"),
        "queue_policy.text",
    )
    case(
        "framing-too-long",
        "4001 code points.",
        changed(FOUR_EYES, "judgement.framing", "é" * 4001),
        "queue_policy.text",
    )
    case(
        "released-by-nobody",
        "An early release that nobody can make.",
        changed(USUAL, "early_release.roles", []),
        "queue_policy.names",
    )
    case(
        "released-by-viewers",
        "Viewers only look.",
        changed(USUAL, "early_release.roles", ["viewer"]),
        "queue_policy.names",
    )
    case(
        "released-for-ever",
        "An early release ends.",
        changed(USUAL, "early_release.max_s", drop=True),
        "queue_policy.fields",
    )
    case(
        "released-for-no-time",
        "It would be over when made.",
        changed(USUAL, "early_release.max_s", 0),
        "queue_policy.number",
    )


def canonical(out: Writer) -> None:
    """Policies in their canonical form."""
    whole = parse(gates.policy(FOUR_EYES, written=True))

    def numbers(value: Any) -> Any:
        """Numbers of a parsed text as numbers."""
        if isinstance(value, dict):
            return {name: numbers(item) for name, item in value.items()}
        if isinstance(value, list):
            return [numbers(item) for item in value]
        return int(value) if type(value).__name__ == "Number" else value

    whole = numbers(whole)

    def case(name: str, why: str, value: Any, code: str | None = None) -> None:
        _policy(out, f"canonical-{name}", why, jcs(value), "canonical", value, code)

    def broken(name: str, why: str, content: bytes, code: str) -> None:
        _policy(out, f"canonical-{name}", why, content, "canonical", None, code)

    case("form", "Everything stands there, nulls included.", whole)
    route = {"states": ["proven"], "bases": ["signature"], "max_age_s": None, "refuse": ["cache", "fallback"]}
    case(
        "form-that-refuses", "What is refused stands beside what is asked for.", changed(whole, "require.route", route)
    )
    case(
        "refuse-unsorted",
        "One set of names has one order.",
        changed(whole, "require.route", {**route, "refuse": ["fallback", "cache"]}),
        "queue_policy.order",
    )
    case(
        "refuse-empty",
        "To refuse nothing is to leave it out.",
        changed(whole, "require.route", {**route, "refuse": []}),
        "queue_policy.names",
    )
    case(
        "form-of-an-empty-policy",
        "What was left out stands there too.",
        numbers(parse(gates.policy(EMPTY, written=True))),
    )
    raw = jcs(whole)
    broken("white-space", "One policy has one spelling, so it has one digest.", raw + b"\n", "json.spelling")
    broken("member-twice", "Two parsers could take one value each.", b'{"name":"x",' + raw[1:], "json.duplicate_key")
    broken("float", "Signed JSON has no floats.", raw.replace(b'"max_s":3600', b'"max_s":3600.0'), "json.float")
    case(
        "member-missing",
        "A default that a reader fills in is a second spelling.",
        changed(whole, "max_skew_s", drop=True),
        "queue_policy.fields",
    )
    case(
        "age-missing",
        "As above, within a lane.",
        changed(whole, "require.bytes.max_age_s", drop=True),
        "queue_policy.fields",
    )
    case(
        "unknown-member",
        "Unknown members are refused at every level.",
        changed(whole, "require.bytes.weight", 3),
        "queue_policy.fields",
    )
    case(
        "lane-is-null",
        "A lane that is asked for nothing is not there.",
        changed(whole, "require.route", None),
        "queue_policy.fields",
    )
    case(
        "bases-unsorted",
        "A set has one order.",
        changed(whole, "require.bytes.bases", ["signature", "hardware"]),
        "queue_policy.order",
    )
    case(
        "roles-unsorted",
        "A set has one order.",
        changed(whole, "early_release.roles", ["reviewer", "approver"]),
        "queue_policy.order",
    )
    case(
        "refuted-accepted",
        "The canonical form is checked like the written one.",
        changed(whole, "require.bytes.states", ["proven", "refuted"]),
        "queue_policy.states",
    )
    case(
        "rule-with-tab",
        "Line feeds are the only control characters.",
        changed(whole, "judgement.rule", "a\tb"),
        "queue_policy.text",
    )


# --- §1 -------------------------------------------------------------------------------------------------------------


def vectors(out: Writer) -> None:
    """Lane vectors and their digests."""

    def case(name: str, why: str, given: dict[str, Any], *, like: str | None = None) -> str:
        document = gates.vector(RUN, given)
        digest = sha(document).hex()
        if like is not None and (like == digest) != name.endswith("-same-digest"):
            raise SystemExit(f"gate/vector-{name}: the name promises something else")
        out.case(
            f"gate/vector-{name}",
            why,
            spec="gate.md §1",
            run=["lane-vector", "lanes.json"],
            result={"digest": digest, "document": document.decode()},
            files={"lanes.json": {"run": RUN, "lanes": given}},
        )
        return digest

    plain = case("settled", "Eleven lanes: states, bases and evidence, no sentences.", lanes())
    words = {name: {"says": "In other words."} for name in gates.LANES}
    case("in-other-words-same-digest", "A better sentence is no other finding.", lanes(**words), like=plain)
    later = {name: {"dated": "2026-01-02T00:00:00.000Z"} for name in gates.LANES}
    case("dated-otherwise-same-digest", "Dates stand beside the vector.", lanes(**later), like=plain)
    case(
        "with-a-fallback",
        "A turn that went otherwise than it was asked for is another finding, whatever states it leads to.",
        lanes(route={"deviations": ["fallback"]}),
        like=plain,
    )
    shuffled = {
        name: {"evidence": [*reversed(lane["evidence"]), lane["evidence"][0]]} for name, lane in lanes().items()
    }
    case(
        "evidence-in-another-order-same-digest",
        "What came when, and how often, is no finding.",
        lanes(**shuffled),
        like=plain,
    )
    backwards = dict(reversed(lanes().items()))
    case("lanes-in-another-order-same-digest", "Canonical JSON has one order.", backwards, like=plain)
    case(
        "another-basis",
        "Proven on a development chain is another finding.",
        lanes(settlement={"basis": "development"}),
        like=plain,
    )
    case(
        "less-evidence",
        "The same word on other evidence is another finding.",
        lanes(bytes={"evidence": []}),
        like=plain,
    )


# --- §3 to §5 -------------------------------------------------------------------------------------------------------

TIDY: dict[str, Any] = {"run": RUN, "decisions": [], "release": None}
NOTHING: dict[str, Any] = {"relied": False, "recalled": [], "released_early": False, "label_moved_at": None}


def digest_of(policy: dict[str, Any]) -> str:
    """The digest of a written policy."""
    return sha(gates.policy(policy, written=True)).hex()


def _decide(
    out: Writer,
    name: str,
    why: str,
    state: str,
    *reasons: Any,
    policy: dict[str, Any] = USUAL,
    section: str,
    given: dict[str, Any] | None = None,
    decisions: list[Any] | None = None,
    release: Any = None,
    history: dict[str, Any] | None = None,
    at: str = AT,
) -> None:
    """One answer of the gate. A reason is a code, or a list of code and lane."""
    document = gates.policy(policy, written=True)
    case = {
        **TIDY,
        "lanes": lanes() if given is None else given,
        "decisions": decisions or [],
        "release": release,
        "history": NOTHING | (history or {}),
    }
    rules = {
        **policy,
        "max_skew_s": 30,
        "judgement": policy.get("judgement"),
        "early_release": policy.get("early_release"),
    }
    rules["require"] = {lane: {"max_age_s": None} | need for lane, need in policy.get("require", {}).items()}
    answer = gates.decide(rules, sha(document).hex(), case, at)
    wanted = [reason if isinstance(reason, list) else [reason, None] for reason in reasons]
    if (answer["state"], answer["reasons"]) != (state, wanted):
        raise SystemExit(f"gate/{name}: the reference says {answer['state']} {answer['reasons']}")
    let_go = state in {"CLEAR", "PROVISIONAL"}
    out.case(
        f"gate/{name}",
        why,
        spec=f"gate.md {section}",
        run=["decide", "--policy", "policy.json", "--at", at, "case-file.json"],
        expect="accept" if let_go else "reject",
        code=None if let_go else answer["reasons"][0][0],
        at=at,
        bug=None if let_go else "MOVED_WITHOUT_PROOF",
        result=answer,
        files={"policy.json": document, "case-file.json": case},
    )


def requirements(out: Writer) -> None:
    """What is asked of lanes (§4(3))."""

    def case(name: str, why: str, state: str, *reasons: Any, section: str = "§4(3)", **more: Any) -> None:
        _decide(out, name, why, state, *reasons, section=section, **more)

    strict = changed(
        USUAL,
        "require.route",
        {"states": ["proven"], "bases": ["signature"], "refuse": ["cache", "fallback", "rewrite"]},
    )
    for deviation in ("cache", "fallback", "rewrite"):
        case(
            f"route-with-a-{deviation}",
            f"The route is proven, by the account of the gateway, and has a {deviation} that this queue refuses.",
            "HOLD",
            ["gate.lane_deviates", "route"],
            policy=strict,
            given=lanes(route={"deviations": [deviation]}),
        )
    case(
        "route-with-what-is-ignored",
        "The upstream is known not to honour a parameter of the request, and this queue refuses that.",
        "HOLD",
        ["gate.lane_deviates", "route"],
        policy=changed(strict, "require.route.refuse", ["ignored"]),
        given=lanes(route={"deviations": ["ignored"]}),
    )
    case("route-as-asked", "It went as it was asked for.", "CLEAR", policy=strict)
    case(
        "route-with-what-is-not-refused",
        "It was rewritten, and this queue refuses a fallback alone.",
        "CLEAR",
        policy=changed(strict, "require.route.refuse", ["fallback"]),
        given=lanes(route={"deviations": ["rewrite"]}),
    )
    case(
        "route-not-proven-and-refused",
        "A state that is not accepted says enough.",
        "HOLD",
        ["gate.lane_state", "route"],
        policy=strict,
        given=lanes(route={"state": "unknown", "basis": None, "deviations": ["fallback"]}),
    )
    case("clear", "Both lanes are what the policy asks for: clear until the older one is a day old.", "CLEAR")
    case(
        "clear-for-ever",
        "No lane has to be fresh, so nothing runs out.",
        "CLEAR",
        policy=changed(USUAL, "require.settlement.max_age_s", drop=True),
    )
    case(
        "clear-until-the-first-runs-out",
        "Two lanes have to be fresh; the one that runs out first decides until when.",
        "CLEAR",
        policy=changed(USUAL, "require.bytes.max_age_s", 3600),
        given=lanes(settlement={"dated": "2025-12-31T01:00:00.000Z"}),
    )
    case(
        "clear-over-all-lanes",
        "Every lane is asked for, and one approver.",
        "CLEAR",
        given=lanes(privacy=["unknown", "operator_claim"]),
        policy=ALL_LANES,
        decisions=[act("approve", "ada", "approver", policy=ALL_LANES)],
    )
    case(
        "pending",
        "The answer is there, its proof is not: a fast answer is not a settled one.",
        "HOLD",
        ["gate.lane_state", "settlement"],
        given=lanes(settlement="pending"),
    )
    case(
        "unknown-is-not-proven",
        "A check that was skipped is never a pass.",
        "HOLD",
        ["gate.lane_state", "bytes"],
        given=lanes(bytes="unknown"),
    )
    case(
        "expired-is-not-proven",
        "What has run out is not fresh.",
        "HOLD",
        ["gate.lane_state", "bytes"],
        given=lanes(bytes=["expired", "signature"]),
    )
    case(
        "proven-on-a-development-chain",
        "A queue that asks for proof does not take a development chain's word.",
        "HOLD",
        ["gate.lane_basis", "settlement"],
        given=lanes(settlement=["proven", "development"]),
    )
    case(
        "unknown-without-basis",
        "A policy that accepts an unknown lane still says on what it may rest; on nothing is nothing.",
        "HOLD",
        ["gate.lane_basis", "privacy"],
        policy=changed(USUAL, "require.privacy", {"states": ["unknown"], "bases": sorted(gates.BASES)}),
    )
    case(
        "not-applicable-without-basis",
        "What does not apply rests on nothing, and a policy may accept that.",
        "CLEAR",
        policy=changed(USUAL, "require.memory", {"states": ["not_applicable"]}),
    )
    case(
        "simulated-enclave",
        "A queue that wants hardware is not served by a simulated enclave, whatever it calls itself.",
        "HOLD",
        ["gate.lane_state", "enclave"],
        policy=changed(USUAL, "require.enclave", {"states": ["proven"], "bases": ["hardware"]}),
    )
    case(
        "two-lanes-unmet",
        "Each unmet requirement has its own reason, in the order of the lanes.",
        "HOLD",
        ["gate.lane_state", "bytes"],
        ["gate.lane_state", "settlement"],
        given=lanes(bytes="pending", settlement="pending"),
    )
    case(
        "refuted",
        "A refuted lane that the policy asks for.",
        "HOLD",
        ["gate.refuted", "settlement"],
        given=lanes(settlement="refuted"),
    )
    case(
        "refuted-but-not-required",
        "One refutation is not hidden by ten lanes that are fine, nor by a policy that does not ask for that lane.",
        "HOLD",
        ["gate.refuted", "payment"],
        given=lanes(payment="refuted"),
    )
    case(
        "refuted-among-ten-proven",
        "Ten lanes are proven by hardware and one is refuted.",
        "HOLD",
        ["gate.refuted", "memory"],
        given=lanes(
            **{lane: ["proven", "proof"] for lane in gates.LANES if lane not in {"memory", "bytes"}}, memory="refuted"
        ),
    )
    case(
        "nothing-asked",
        "A policy that asks for nothing clears nothing, however good the lanes are.",
        "HOLD",
        "gate.policy_empty",
        policy=EMPTY,
    )
    case(
        "only-people-asked",
        "People alone are no proof: a policy that asks no lane anything clears nothing.",
        "HOLD",
        "gate.policy_empty",
        policy={**EMPTY, "judgement": {"reviewers": 1, "role": "reviewer"}},
        decisions=[act("approve", "ada", policy={**EMPTY, "judgement": {"reviewers": 1, "role": "reviewer"}})],
    )
    case("last-fresh-moment", "One millisecond before a day has passed.", "CLEAR", at="2026-01-02T00:00:04.999Z")
    case(
        "a-day-old",
        "A day has passed: the case goes back to hold by itself.",
        "HOLD",
        ["gate.lane_age", "settlement"],
        at="2026-01-02T00:00:05.000Z",
    )
    case(
        "undated",
        "Nothing says how old it is, so it is not known to be fresh.",
        "HOLD",
        ["gate.lane_undated", "settlement"],
        given=lanes(settlement={"dated": None}),
    )
    case(
        "dated-within-the-skew",
        "Clocks differ a little.",
        "CLEAR",
        given=lanes(settlement={"dated": "2026-01-01T00:10:30.000Z"}),
    )
    case(
        "dated-in-the-future",
        "A signer who claims a later time would stay fresh for longer.",
        "HOLD",
        ["gate.lane_future", "settlement"],
        given=lanes(settlement={"dated": "2026-01-01T00:10:30.001Z"}),
    )
    case(
        "dated-at-the-end-of-time",
        "A date that cannot be added to is a date like others.",
        "HOLD",
        ["gate.lane_future", "settlement"],
        given=lanes(settlement={"dated": "9999-12-31T23:59:59.999Z"}),
    )
    case(
        "basis-and-age",
        "The basis is not accepted and it is too old: two requirements, two reasons.",
        "HOLD",
        ["gate.lane_basis", "settlement"],
        ["gate.lane_age", "settlement"],
        given=lanes(settlement=["proven", "development"]),
        at="2026-01-03T00:00:00.000Z",
    )


def act(
    what: str,
    person: str,
    role: str = "reviewer",
    *,
    at: str = "2026-01-01T00:05:00.000Z",
    policy: dict[str, Any] = FOUR_EYES,
    requester: bool = False,
) -> dict[str, Any]:
    """One decision; what they saw is some vector."""
    seen = named("gate/seen").hex()
    return {
        "person": person,
        "role": role,
        "act": what,
        "at": at,
        "lanes": seen,
        "policy": digest_of(policy),
        "requester": requester,
    }


def people(out: Writer) -> None:
    """Approvals, rejections and reopenings (§3, §4(2), §4(3))."""

    def case(name: str, why: str, state: str, *reasons: Any, section: str = "§4(3)", **more: Any) -> None:
        _decide(out, name, why, state, *reasons, section=section, policy=more.pop("policy", FOUR_EYES), **more)

    both = [act("approve", "ada"), act("approve", "ben")]
    case("two-approved", "Two people approved, and the proof is there.", "CLEAR", decisions=both)
    case(
        "approved-before-the-proof",
        "Two people approved while settlement was pending. That clears nothing; no click does.",
        "HOLD",
        ["gate.lane_state", "settlement"],
        decisions=both,
        given=lanes(settlement="pending"),
    )
    case("nobody-approved", "The proof is there; two people still have to look.", "HOLD", "gate.reviewers")
    case("one-approved", "Four eyes are two people.", "HOLD", "gate.reviewers", decisions=both[:1])
    case(
        "one-approved-twice",
        "Nobody fills two places.",
        "HOLD",
        "gate.reviewers",
        decisions=[both[0], act("approve", "ada", at=AT)],
    )
    case(
        "approved-in-another-role",
        "The policy asks for reviewers.",
        "HOLD",
        "gate.reviewers",
        decisions=[both[0], act("approve", "ben", "approver")],
    )
    case(
        "approved-under-another-policy",
        "Who approved under an older policy has not agreed to this one.",
        "HOLD",
        "gate.reviewers",
        decisions=[both[0], act("approve", "ben", policy=USUAL)],
    )
    case(
        "approved-by-the-requester",
        "Nobody decides what their own key asked for.",
        "HOLD",
        "gate.reviewers",
        decisions=[both[0], act("approve", "ben", requester=True)],
    )
    case(
        "approved-later",
        "Asked about a time before the second approval.",
        "HOLD",
        "gate.reviewers",
        decisions=[both[0], act("approve", "ben", at="2026-01-01T00:10:00.001Z")],
    )
    case("not-asked", "This queue asks nobody: an approval changes nothing.", "CLEAR", policy=USUAL, decisions=both)
    no = act("reject", "cay")
    case(
        "rejected",
        "A person said no. Two approvals and every proof do not outweigh it.",
        "REJECTED",
        "gate.rejected",
        decisions=[no, *both],
        section="§4(2)",
    )
    case(
        "rejected-under-another-policy",
        "A new policy does not undo what a person said.",
        "REJECTED",
        "gate.rejected",
        decisions=[act("reject", "cay", policy=USUAL), *both],
        section="§4(2)",
    )
    case(
        "rejected-and-refuted",
        "A refutation is never hidden.",
        "REJECTED",
        "gate.rejected",
        ["gate.refuted", "bytes"],
        decisions=[no],
        given=lanes(bytes="refuted"),
        section="§4(2)",
    )
    case(
        "rejected-by-the-requester",
        "Nobody decides what their own key asked for: not even no.",
        "CLEAR",
        decisions=[*both, act("reject", "cay", requester=True)],
        section="§3(1)",
    )
    case(
        "rejected-by-a-viewer",
        "Viewers only look.",
        "CLEAR",
        decisions=[*both, act("reject", "cay", "viewer")],
        section="§3(1)",
    )
    case(
        "rejected-later",
        "Asked about a time before the rejection.",
        "CLEAR",
        decisions=[*both, act("reject", "cay", at="2026-01-01T00:10:00.001Z")],
        section="§3(1)",
    )
    again = act("reopen", "dee", "approver")
    case(
        "reopened",
        "Reopening ends a rejection, and the approvals before it too.",
        "HOLD",
        "gate.reviewers",
        decisions=[*both, no, again],
        section="§3(3)",
    )
    case(
        "reopened-and-approved",
        "After reopening two people approved anew.",
        "CLEAR",
        decisions=[*both, no, again, *both],
        section="§3(3)",
    )
    case(
        "reopened-by-the-requester",
        "Whoever asked for the run does not reopen it.",
        "REJECTED",
        "gate.rejected",
        decisions=[no, act("reopen", "dee", requester=True)],
        section="§3(3)",
    )
    case(
        "reopened-by-an-auditor",
        "Auditors only look.",
        "REJECTED",
        "gate.rejected",
        decisions=[no, act("reopen", "dee", "auditor")],
        section="§3(3)",
    )
    case(
        "rejected-after-reopening",
        "A new rejection stands.",
        "REJECTED",
        "gate.rejected",
        decisions=[no, again, *both, no],
        section="§4(2)",
    )


def labels(out: Writer) -> None:
    """Labels that came to mean another artifact (§3(4), §4(3))."""

    def case(name: str, why: str, state: str, *reasons: Any, moved: str | None, **more: Any) -> None:
        _decide(
            out, f"label-{name}", why, state, *reasons,
            section="§4(3)", policy=more.pop("policy", FOUR_EYES), history={"label_moved_at": moved}, **more,
        )  # fmt: skip

    both = [act("approve", "ada"), act("approve", "ben")]
    later = [act("approve", who, at="2026-01-01T00:07:00.000Z") for who in ("ada", "ben")]
    moved = "2026-01-01T00:06:00.000Z"
    case(
        "moved-after-approval",
        "Two people agreed to what the label meant then. It means something else now, and nobody has agreed to that.",
        "HOLD",
        "gate.label_moved",
        moved=moved,
        decisions=both,
    )
    case(
        "moved-at-the-moment-of-approval",
        "Nothing shows that the second approval came after the move; it does not count.",
        "HOLD",
        "gate.label_moved",
        moved="2026-01-01T00:05:00.000Z",
        decisions=both,
    )
    case(
        "moved-between-approvals",
        "One approved before the move and one after it: four eyes have not seen one thing.",
        "HOLD",
        "gate.label_moved",
        moved=moved,
        decisions=[both[0], later[1]],
    )
    case(
        "moved-and-nobody-approved",
        "Where nobody had approved, the move took nothing away.",
        "HOLD",
        "gate.reviewers",
        moved=moved,
    )
    case("approved-after-the-move", "Both looked again.", "CLEAR", moved=moved, decisions=[*both, *later])
    case("approved-before-a-later-move", "Asked about a time before the move.", "CLEAR",
         moved="2026-01-01T00:10:00.001Z", decisions=both)  # fmt: skip
    case(
        "moved-where-nobody-is-asked",
        "This queue asks nobody, so a label that moves takes nothing from it.",
        "CLEAR",
        moved=moved,
        policy=USUAL,
    )
    case(
        "moved-after-rejection",
        "A rejection stands whatever the label means by now.",
        "REJECTED",
        "gate.rejected",
        moved=moved,
        decisions=[act("reject", "cay")],
    )


def let_go(**changes: Any) -> dict[str, Any]:
    """An approver's release for half an hour, made five minutes ago."""
    return {
        "person": "eve",
        "role": "approver",
        "at": "2026-01-01T00:05:00.000Z",
        "until": "2026-01-01T00:35:00.000Z",
        "policy": digest_of(USUAL),
        "requester": False,
        **changes,
    }


def releases(out: Writer) -> None:
    """Early releases (§4(4))."""
    waiting = ["gate.lane_state", "settlement"]

    def case(name: str, why: str, state: str, *reasons: Any, release: Any = None, **more: Any) -> None:
        given = more.pop("given", lanes(settlement="pending"))
        _decide(
            out, f"release-{name}", why, state, *reasons,
            section=more.pop("section", "§4(4)"), given=given, release=let_go() if release is None else release, **more,
        )  # fmt: skip

    case(
        "in-force",
        "Somebody let it go before its proof: provisional, with what it went ahead of.",
        "PROVISIONAL",
        waiting,
        "gate.released_early",
    )
    case("overtaken-by-proof", "The proof came: clear, by the gate and not by the release.", "CLEAR", given=lanes())
    case(
        "overtaken-by-proof-keeps-its-mark",
        "Once released early, always released early.",
        "CLEAR",
        given=lanes(),
        history={"relied": True, "released_early": True},
    )
    case(
        "last-moment",
        "One millisecond before it ends.",
        "PROVISIONAL",
        waiting,
        "gate.released_early",
        at="2026-01-01T00:34:59.999Z",
    )
    case(
        "over",
        "Time ran out and the proof is not here: the case is held again.",
        "HOLD",
        waiting,
        "gate.release_over",
        at="2026-01-01T00:35:00.000Z",
        history={"relied": True, "released_early": True},
    )
    case("not-made-yet", "Asked about a time before it.", "HOLD", waiting, at="2026-01-01T00:04:59.999Z")
    case(
        "not-allowed",
        "This queue releases nothing early.",
        "HOLD",
        waiting,
        "gate.release_not_allowed",
        policy=changed(USUAL, "early_release", drop=True),
        release=let_go(policy=digest_of(changed(USUAL, "early_release", drop=True))),
    )
    case(
        "under-another-policy",
        "What an older policy allowed, this one may not.",
        "HOLD",
        waiting,
        "gate.release_policy",
        release=let_go(policy=digest_of(FOUR_EYES)),
    )
    case(
        "by-the-requester",
        "Nobody releases what their own key asked for.",
        "HOLD",
        waiting,
        "gate.release_requester",
        release=let_go(requester=True),
    )
    case(
        "by-a-reviewer",
        "Only approvers may, here.",
        "HOLD",
        waiting,
        "gate.release_role",
        release=let_go(role="reviewer"),
    )
    case(
        "longest",
        "An hour, as the policy says.",
        "PROVISIONAL",
        waiting,
        "gate.released_early",
        release=let_go(until="2026-01-01T01:05:00.000Z"),
    )
    case(
        "too-long",
        "A millisecond more than the policy allows.",
        "HOLD",
        waiting,
        "gate.release_span",
        release=let_go(until="2026-01-01T01:05:00.001Z"),
    )
    case(
        "ends-before-it-begins",
        "No time at all.",
        "HOLD",
        waiting,
        "gate.release_span",
        release=let_go(until="2026-01-01T00:05:00.000Z"),
    )
    case(
        "of-what-is-refuted",
        "What is refuted is not released.",
        "HOLD",
        ["gate.refuted", "settlement"],
        given=lanes(settlement="refuted"),
    )
    case(
        "of-what-is-refuted-elsewhere",
        "Nor when the refuted lane is not asked for.",
        "HOLD",
        ["gate.refuted", "route"],
        waiting,
        given=lanes(settlement="pending", route="refuted"),
    )
    empty = {**EMPTY, "early_release": USUAL["early_release"]}
    case(
        "under-an-empty-policy",
        "A policy that asks for nothing lets nothing go, early or not.",
        "HOLD",
        "gate.policy_empty",
        policy=empty,
        release=let_go(policy=digest_of(empty)),
    )
    case(
        "of-what-was-rejected",
        "A release does not undo a rejection.",
        "REJECTED",
        "gate.rejected",
        decisions=[act("reject", "cay")],
    )
    case(
        "before-a-reopening",
        "Reopening ends what was released before it.",
        "HOLD",
        waiting,
        decisions=[act("reopen", "dee", at="2026-01-01T00:06:00.000Z")],
        section="§3(3)",
    )
    case(
        "after-a-reopening",
        "A release made after it stands.",
        "PROVISIONAL",
        waiting,
        "gate.released_early",
        decisions=[act("reopen", "dee", at="2026-01-01T00:04:00.000Z")],
        section="§3(3)",
    )
    eyes = let_go(policy=digest_of(FOUR_EYES))
    case(
        "ahead-of-people",
        "The proof is there and the people are not.",
        "PROVISIONAL",
        "gate.reviewers",
        "gate.released_early",
        policy=FOUR_EYES,
        given=lanes(),
        release=eyes,
    )


def histories(out: Writer) -> None:
    """What was stays (§4(1))."""

    def case(name: str, why: str, state: str, *reasons: Any, **more: Any) -> None:
        _decide(out, name, why, state, *reasons, section="§4(1)", **more)

    cause = {"recalled": ["final round 41 refuted the execution statement"]}
    case(
        "recalled",
        "It was recalled, and its lanes look fine again. It stays recalled until a person reopens it.",
        "RECALLED",
        "gate.recalled",
        history={"relied": True, **cause},
    )
    case(
        "recalled-twice",
        "Every cause is told.",
        "RECALLED",
        "gate.recalled",
        "gate.recalled",
        history={"recalled": [*cause["recalled"], "a case that this one relied on was recalled"]},
    )
    case(
        "recalled-while-held",
        "A recall reaches a case that was never clear, too.",
        "RECALLED",
        "gate.recalled",
        given=lanes(settlement="pending"),
        history=cause,
    )
    case(
        "relied-on-and-refuted",
        "It was clear, and a lane that supported it is refuted now.",
        "RECALLED",
        ["gate.refuted", "settlement"],
        given=lanes(settlement="refuted"),
        history={"relied": True},
    )
    case(
        "relied-on-and-refuted-elsewhere",
        "The refuted lane was never asked for. Somebody relied on the case all the same.",
        "RECALLED",
        ["gate.refuted", "artifact"],
        given=lanes(artifact="refuted"),
        history={"relied": True},
    )
    case(
        "recalled-before-rejected",
        "What was relied on is recalled, whatever a person says now.",
        "RECALLED",
        ["gate.refuted", "bytes"],
        given=lanes(bytes="refuted"),
        history={"relied": True},
        decisions=[act("reject", "cay")],
    )
    case(
        "recalled-in-spite-of-a-release",
        "A release does not outlive the refutation of what it let go.",
        "RECALLED",
        ["gate.refuted", "bytes"],
        given=lanes(bytes="refuted"),
        history={"relied": True, "released_early": True},
        release=let_go(),
    )
    case(
        "relied-on-and-merely-late",
        "What is no longer fresh is held, not recalled.",
        "HOLD",
        ["gate.lane_age", "settlement"],
        history={"relied": True},
        at="2026-01-02T00:00:05.000Z",
    )
    case(
        "recalled-because-trust-took-a-key-back",
        "A required lane is no longer proven because somebody revoked a key: whoever keeps the case says so, and it is recalled.",
        "RECALLED",
        "gate.recalled",
        given=lanes(settlement="pending"),
        history={"relied": True, "recalled": ["the keys of full-1 were revoked: stolen"]},
    )
    case(
        "relied-on-and-run-out",
        "The same lane is no longer proven because a key ran out. Nobody took anything back: it is held.",
        "HOLD",
        ["gate.lane_state", "settlement"],
        given=lanes(settlement=["expired", "proof"]),
        history={"relied": True},
    )
    case(
        "reopened-while-refuted",
        "After reopening it is held for what is still refuted.",
        "HOLD",
        ["gate.refuted", "bytes"],
        given=lanes(bytes="refuted"),
        decisions=[act("reopen", "dee")],
    )


# --- what must not be read into a lane ------------------------------------------------------------------------------


def asking(lane: str, *bases: str, states: tuple[str, ...] = ("proven",)) -> dict[str, Any]:
    """The usual policy that also asks for one more lane."""
    return changed(USUAL, f"require.{lane}", {"states": [*states], "bases": [*bases]})


def misreadings(out: Writer) -> None:
    """Thirteen ways to take one thing for another; in each, everything that looks calm is there (§4(3))."""

    def case(name: str, why: str, *reasons: Any, **more: Any) -> None:
        _decide(out, f"misread-{name}", why, "HOLD", *reasons, section=more.pop("section", "§4(3)"), **more)

    def rightly(name: str, why: str, **more: Any) -> None:
        """The same case with the one lane as it is asked for: that lane alone makes the difference."""
        _decide(out, f"read-rightly-{name}", why, "CLEAR", section="§4(3)", **more)

    judged = asking("judgement", "human")

    case(
        "enclave-proof-as-answer-quality",
        "The enclave is proven by hardware. That says where the key lives; whether the answer is any good is a judgement, and nobody "
        "has made one.",
        ["gate.lane_state", "judgement"],
        policy=judged,
        given=lanes(enclave=["proven", "hardware"]),
    )
    rightly(
        "enclave-proof-and-answer-quality",
        "A person has judged the answer. What the enclave proves beside it changes nothing.",
        policy=judged,
        given=lanes(enclave=["proven", "hardware"], judgement=["proven", "human"]),
    )
    case(
        "payment-as-proof",
        "The turn is paid for, captured and all. Money proves nothing about the round that is still open.",
        ["gate.lane_state", "settlement"],
        given=lanes(payment=["proven", "proof"], settlement="pending"),
    )
    case(
        "fast-answer-as-settled",
        "The whole answer is there and bound by signature, a moment after it was asked for. It is answered, not settled.",
        ["gate.lane_state", "settlement"],
        given=lanes(settlement="pending"),
        at="2026-01-01T00:00:05.001Z",
    )
    case(
        "label-as-artifact",
        "The provider names a model. A name is a pointer: which bytes ran is its word, and this queue wants more than that.",
        ["gate.lane_state", "artifact"],
        policy=asking("artifact", "hardware", "proof", "signature"),
    )
    case(
        "preserved-memory-as-validated",
        "A row was kept for three hundred days, and a signature says that it is the row that was kept. Kept is not confirmed.",
        ["gate.lane_state", "memory"],
        policy=asking("memory", "hardware", "proof", "signature", states=("not_applicable", "proven")),
        given=lanes(memory=["unknown", "signature"]),
    )
    case(
        "chat-skin-as-one-privacy-path",
        "The turn before went through a relay; this one did not. The chat looks the same and the path is another.",
        ["gate.lane_state", "privacy"],
        policy=asking("privacy", "hardware"),
    )
    strict = changed(asking("route", "signature"), "require.route.refuse", ["fallback"])
    fallen = {
        "says": "By the gateway's own account, upstream two served this turn; after one failed.",
        "deviations": ["fallback"],
    }
    case(
        "fallback-unseen",
        "Another provider than the first served the turn. The gateway signed that, so the route is proven, and this queue lets no "
        "fallback go.",
        ["gate.lane_deviates", "route"],
        policy=strict,
        given=lanes(route=fallen),
    )
    rightly(
        "fallback-seen",
        "The provider that was asked served the turn.",
        policy=strict,
    )
    sourced = asking("inputs", "human")
    case(
        "attested-fetch-as-true-source",
        "An enclave fetched the fact and proves from where. Whether the source was right a person would have to say.",
        ["gate.lane_basis", "inputs"],
        policy=sourced,
        given=lanes(inputs=["proven", "hardware"]),
    )
    rightly(
        "true-source",
        "A person stands behind what was admitted.",
        policy=sourced,
        given=lanes(inputs=["proven", "human"]),
    )
    case(
        "settled-round-as-correct-decision",
        "The round is final. Full nodes checked signatures and order; nobody has decided anything.",
        ["gate.lane_state", "judgement"],
        policy=judged,
    )
    rightly(
        "settled-round-and-a-decision",
        "A person has decided. That the round is final says something else.",
        policy=judged,
        given=lanes(judgement=["proven", "human"]),
    )
    case(
        "simulated-enclave-as-hardware",
        "A throw-away root vouches for a software key. The queue lets an unknown enclave by if hardware supports it; a development root "
        "is not hardware.",
        ["gate.lane_basis", "enclave"],
        policy=asking("enclave", "hardware", states=("proven", "unknown")),
    )
    case(
        "skipped-check-as-pass",
        "Evidence was presented that this verifier does not read. A check that was not made supports nothing, not even 'unknown'.",
        ["gate.lane_basis", "enclave"],
        policy=asking("enclave", *sorted(gates.BASES), states=("proven", "unknown")),
        given=lanes(enclave=["unknown", None]),
    )
    case(
        "expired-evidence-as-fresh",
        "It was proven until the trust it stood on ran out.",
        ["gate.lane_state", "settlement"],
        given=lanes(settlement=["expired", "proof"]),
    )
    case(
        "refutation-hidden-by-ten-proven-lanes",
        "Ten lanes are proven and the policy asks for two of them. The eleventh is refuted.",
        ["gate.refuted", "computation"],
        given=lanes(
            **{lane: ["proven", "proof"] for lane in gates.LANES if lane not in {"bytes", "computation"}},
            computation=["refuted", "proof"],
        ),
    )
