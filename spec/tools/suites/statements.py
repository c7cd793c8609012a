"""envelope, statement, trace: statement.md and trace.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from reference import world
from reference.cases import Writer
from reference.signing import STATEMENT_PAYLOAD, Ed25519, envelope, key_id, pae
from reference.text import b64, exact_text, jcs, named, sha, unb64, when
from reference.world import DATA, GATEWAY, HARDWARE_GATEWAY, START, STRANGER, Statement, Turn, statement

SEEN = when(START, plus_ms=3000)


def write(out: Writer) -> None:
    """Write the suites."""
    key_documents(out)
    lineages(out)
    envelopes(out)
    payloads(out)
    attesters(out)
    traces(out)


# --- key documents -------------------------------------------------------------------------------------------------


def key_documents(out: Writer) -> None:
    """Who a node is (§5)."""
    good = HARDWARE_GATEWAY.document

    def case(name: str, why: str, change: dict[str, Any], code: str | None = None, raw: bytes | None = None) -> None:
        out.case(
            f"statement/key-document-{name}",
            why,
            spec="statement.md §5",
            run=["decode", "key-document", "key-document.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_KEY" if code else None,
            files={"key-document.json": jcs({**good, **change}) if raw is None else raw},
        )

    key = good["keys"][0]
    full = world.FULL[0].document["keys"]
    case("p256", "A gateway with a P-256 statement key.", {})
    case(
        "two-roles",
        "A node may hold several roles, and one key for each use.",
        {"roles": ["full", "gateway"], "keys": [key, *full]},
    )
    case(
        "roles-unsorted",
        "A set of roles has one spelling, since the digest of the document is the node's name.",
        {"roles": ["gateway", "full"]},
        "keys.roles",
    )
    case("no-roles", "A node without a role may say nothing.", {"roles": []}, "keys.roles")
    case("no-keys", "A node without a key can say nothing.", {"keys": []}, "keys.fields")
    configuration = b64(bytes([1, 0, 32]) + named("ohttp/x25519", 32) + bytes([0, 8, 0, 1, 0, 1, 0, 1, 0, 3]))
    case(
        "whole",
        "What else is the node's own: a TLS key, an OHTTP key configuration, where it is paid, and whom it replaces.",
        {
            "tls": named("tls", 32).hex(),
            "ohttp": [configuration],
            "payment": "0x" + named("payment", 20).hex(),
            "predecessor": GATEWAY.id,
        },
    )
    case(
        "unknown-member",
        "A key document has five members and may have four: an address is none of them.",
        {"endpoint": "https://gateway.example"},
        "keys.fields",
    )
    case("empty-member", "A member that says nothing would be a second spelling.", {"tls": None}, "keys.fields")
    case("tls-short", "A digest has 32 bytes.", {"tls": "ab" * 31}, "keys.tls")
    case("predecessor-upper-case", "A digest has one spelling.", {"predecessor": "AB" * 32}, "keys.predecessor")
    case("payment-checksum", "An address has one spelling.", {"payment": "0x" + "Ab" * 20}, "keys.payment")
    case("no-configuration", "A node without a configuration leaves the member out.", {"ohttp": []}, "keys.ohttp")
    case(
        "configurations-of-one-id",
        "Two configurations of one id: which key a request was sealed to, nobody could say.",
        {"ohttp": [configuration, configuration]},
        "keys.ohttp",
    )
    case("upper-case-name", "Names are lower case.", {"name": "Gateway.example"}, "keys.name")
    case("long-software", "software has at most 128 characters.", {"software": "x" * 129}, "keys.software")
    case(
        "unknown-algorithm",
        "An algorithm nobody checks would be a signature nobody checks.",
        {"keys": [{**key, "algorithm": "rsa"}]},
        "keys.algorithm",
    )
    case("unknown-use", "Each key has one known use.", {"keys": [{**key, "use": "everything"}]}, "keys.use")
    case(
        "short-key",
        "An Ed25519 key has 32 bytes.",
        {"keys": [{**key, "algorithm": "ed25519", "public": b64(bytes(31))}]},
        "encoding.base64",
    )
    case("key-with-more", "A key has exactly three members.", {"keys": [{**key, "comment": "mine"}]}, "keys.fields")
    case("too-large", "At most 8,192 bytes are read.", {}, "keys.size", raw=jcs(good) + b" " * 8192)


# --- succession -----------------------------------------------------------------------------------------------------


ROTATION_PAYLOAD = "application/vnd.holdfast.rotation+json"


def lineages(out: Writer) -> None:
    """One node with other keys (§5.1)."""
    keys = [Ed25519(f"lineage/{number}") for number in range(3)]

    def document(number: int, predecessor: bytes | None, **change: Any) -> bytes:
        entry = {"use": "statement", "algorithm": "ed25519", "public": b64(keys[number].public)}
        base = {
            "type": "urn:holdfast:key-document:v1",
            "name": "gateway.example",
            "roles": ["gateway"],
            "software": "vectors",
            "keys": [entry],
        }
        more = {} if predecessor is None else {"predecessor": sha(predecessor).hex()}
        return jcs({**base, **more, **change})

    def rotation(old: bytes, new: bytes, signers: tuple[int, int], seconds: int = 0, **change: Any) -> bytes:
        payload = jcs(
            {
                "type": "urn:holdfast:rotation:v1",
                "from": sha(old).hex(),
                "to": sha(new).hex(),
                "at": when(START, plus_ms=seconds * 1000),
                "reason": "routine",
                **change,
            }
        )
        message = pae(ROTATION_PAYLOAD, payload)
        made = [
            {"keyid": key_id("ed25519", keys[number].public), "sig": b64(keys[number].sign(message))}
            for number in signers
        ]
        return jcs({"payload": b64(payload), "payloadType": ROTATION_PAYLOAD, "signatures": made})

    first = document(0, None)
    second = document(1, first)
    third = document(2, second)
    step, next_step = rotation(first, second, (0, 1)), rotation(second, third, (1, 2), 60)

    def case(name: str, why: str, documents: list[bytes], rotations: list[bytes], code: str | None = None) -> None:
        malformed = code in ("rotation.fields", "rotation.size")
        out.case(
            f"lineage/{name}",
            why,
            spec="statement.md §5.1",
            run=["verify-lineage", "lineage.json"],
            expect="accept" if code is None else "malformed" if malformed else "reject",
            code=code,
            bug=None if code is None else "STOLEN_IDENTITY",
            result={"first": sha(first).hex()} if code is None else None,
            files={
                "lineage.json": jcs(
                    {"documents": [b64(item) for item in documents], "rotations": [b64(item) for item in rotations]}
                )
            },
        )

    case("one", "A node that never changed its keys.", [first], [])
    case("three", "A node that changed its keys twice is still the first.", [first, second, third], [step, next_step])
    case(
        "old-key-did-not-sign",
        "Whoever has only the new key names himself a successor.",
        [first, second],
        [rotation(first, second, (1, 1))],
        "rotation.signature",
    )
    case(
        "new-key-did-not-sign",
        "A node hands itself over to a key that nobody has shown to hold.",
        [first, second],
        [rotation(first, second, (0, 0))],
        "rotation.signature",
    )
    stranger = document(1, None)
    case(
        "no-predecessor",
        "A document that names no predecessor replaces none.",
        [first, stranger],
        [rotation(first, stranger, (0, 1))],
        "rotation.predecessor",
    )
    renamed = document(1, first, name="other.example")
    case(
        "other-name",
        "A rotation would carry one node's history over to another name.",
        [first, renamed],
        [rotation(first, renamed, (0, 1))],
        "rotation.identity",
    )
    promoted = document(1, first, roles=["full", "gateway"])
    case(
        "more-roles",
        "A gateway makes itself a full node.",
        [first, promoted],
        [rotation(first, promoted, (0, 1))],
        "rotation.identity",
    )
    case("missing-step", "Between two documents lies a rotation.", [first, second], [], "rotation.lineage")
    case(
        "headless",
        "A lineage begins with a document that replaces none.",
        [second, third],
        [next_step],
        "rotation.lineage",
    )
    case("skipped", "The rotation is between two other documents.", [first, third], [step], "rotation.lineage")
    case(
        "back-in-time",
        "A rotation that claims to be older than the one before it.",
        [first, second, third],
        [step, rotation(second, third, (1, 2), -60)],
        "rotation.lineage",
    )
    case(
        "free-text",
        "A reason is a code: no place for names.",
        [first, second],
        [rotation(first, second, (0, 1), reason="Because I say so")],
        "rotation.fields",
    )
    case(
        "more-members",
        "Members that nobody reads would be signed and not understood.",
        [first, second],
        [rotation(first, second, (0, 1), more=1)],
        "rotation.fields",
    )
    case("too-large", "At most 4,096 bytes are read.", [first, second], [step + b" " * 4096], "rotation.size")


# --- envelope -------------------------------------------------------------------------------------------------------


def envelopes(out: Writer) -> None:
    """Shapes of envelopes (§1)."""
    turn = Turn()
    good = turn.route.envelope
    sig = good["signatures"][0]

    def case(name: str, why: str, content: Any, code: str | None = None) -> None:
        raw = content if isinstance(content, bytes) else jcs(content)
        out.case(
            f"envelope/{name}",
            why,
            spec="statement.md §1",
            run=["parse-statement", "envelope.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SECOND_SPELLING" if code else None,
            result=None
            if code
            else {"digest": turn.route.digest, "kind": "route", "run": turn.run, "attester": GATEWAY.id},
            files={"envelope.json": raw},
        )

    case("route", "A route statement in its envelope.", good)
    case(
        "signed-again",
        "Another signature over the same payload: the digest is of the payload, so it is the same statement.",
        {**good, "signatures": [{**sig, "sig": b64(bytes(64))}]},
    )
    case(
        "white-space",
        "Readable JSON is another spelling of a log entry.",
        exact_text(good).replace(",", ", ").encode(),
        "json.spelling",
    )
    case("trailing-newline", "One byte more is another log entry.", jcs(good) + b"\n", "json.spelling")
    case(
        "duplicate-key",
        "Two payloads: which one was signed?",
        jcs(good)[:-1] + b',"payload":"e30="}',
        "json.duplicate_key",
    )
    case("unknown-member", "An envelope has exactly three members.", {**good, "note": "x"}, "envelope.fields")
    case(
        "missing-signatures",
        "A statement without a signature member.",
        {"payload": good["payload"], "payloadType": STATEMENT_PAYLOAD},
        "envelope.fields",
    )
    case(
        "other-payload-type",
        "An envelope of another kind of payload: its signature was made for something else.",
        {**good, "payloadType": "application/vnd.holdfast.trust+json"},
        "envelope.fields",
    )
    case("no-signature", "An empty list of signatures.", {**good, "signatures": []}, "envelope.signatures")
    case(
        "two-signatures",
        "Exactly one signature: a second would be a place to hide something.",
        {**good, "signatures": [sig, sig]},
        "envelope.signatures",
    )
    case(
        "signature-with-more",
        "A signature has exactly keyid and sig.",
        {**good, "signatures": [{**sig, "cert": "x"}]},
        "envelope.signatures",
    )
    case(
        "url-base64-payload",
        "Standard base64 only.",
        {**good, "payload": good["payload"][:-4] + "-_-_"},
        "encoding.base64",
    )
    case(
        "upper-case-keyid",
        "One spelling of a key id.",
        {**good, "signatures": [{**sig, "keyid": sig["keyid"].upper()}]},
        "encoding.hex",
    )
    case("not-an-object", "An envelope is an object.", b"[]", "json.object")
    case("too-large", "A log entry has at most 65,535 bytes.", {**good, "payload": b64(bytes(50000))}, "envelope.size")


# --- payloads -------------------------------------------------------------------------------------------------------


def payloads(out: Writer) -> None:
    """Shapes of statements (§2 to §5)."""
    turn = Turn()

    def case(
        name: str,
        why: str,
        change: Callable[[dict[str, Any]], None] | None = None,
        code: str | None = None,
        *,
        of: Statement = turn.route,
        payload: bytes | None = None,
        section: str = "§4.1",
    ) -> None:
        value = copy.deepcopy(of.value)
        if change:
            change(value)
        made = envelope(jcs(value) if payload is None else payload, [GATEWAY.statement_key])
        out.case(
            f"statement/{name}",
            why,
            spec=f"statement.md {section}",
            run=["parse-statement", "envelope.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_STATEMENT" if code else None,
            files={"envelope.json": jcs(made)},
        )

    def put(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
        def change(value: Any) -> None:
            for step in path[:-1]:
                value = value[step]
            value[path[-1]] = to

        return change

    def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
        def change(value: Any) -> None:
            for step in path[:-1]:
                value = value[step]
            del value[path[-1]]

        return change

    execution = turn.execution
    case("execution", "An execution statement.", of=execution, section="§4.2")
    case(
        "route-without-nonce",
        "The nonce is there only if the client sent one.",
        drop("predicate", "nonce"),
        section="§3",
    )
    case(
        "payload-white-space",
        "The payload is canonical JSON too.",
        payload=exact_text(turn.route.value).replace(":", ": ").encode(),
        code="json.spelling",
        section="§2",
    )
    case(
        "payload-float",
        "A float in signed JSON: two readers may round it apart.",
        payload=jcs(turn.route.value).replace(b'"size":', b'"size":1.0e1,"x":', 1),
        code="json.float",
        section="§2",
    )
    case(
        "payload-duplicate-key",
        "Two upstreams in one statement.",
        payload=jcs(turn.route.value).replace(b'"upstream":', b'"upstream":"other","upstream":'),
        code="json.duplicate_key",
        section="§2",
    )
    case(
        "payload-lone-surrogate",
        "A string without bytes.",
        payload=jcs(turn.route.value).replace(b"small.provider", b"\\ud800"),
        code="json.surrogate",
        section="§2",
    )
    case(
        "other-statement-type",
        "Not in-toto Statement v1.",
        put("_type", to="https://in-toto.io/Statement/v0.1"),
        "statement.fields",
        section="§2",
    )
    case(
        "unknown-top-member",
        "A statement has four members.",
        put("comment", to="free text"),
        "statement.fields",
        section="§2",
    )
    case(
        "unknown-kind",
        "Kinds are a closed list.",
        put("predicateType", to="urn:holdfast:wish:v1"),
        "statement.kind",
        section="§2",
    )
    case(
        "next-version",
        "A later version of a kind is another kind.",
        put("predicateType", to="urn:holdfast:route:v2"),
        "statement.kind",
        section="§2",
    )
    case(
        "two-subjects",
        "One statement, one subject.",
        put("subject", to=turn.route.value["subject"] * 2),
        "statement.subject",
        section="§2",
    )
    case(
        "plain-sha256-subject",
        "An unsalted digest of content would let anybody test guesses against the log.",
        put("subject", 0, "digest", to={"sha256": "00" * 32}),
        "statement.subject",
        section="§2",
    )
    case(
        "subject-is-not-the-request",
        "in-toto tools would show another root than the predicate binds.",
        put("subject", 0, "digest", "holdfast-parts-v1", to="11" * 32),
        "statement.subject",
    )
    case(
        "unknown-predicate-member",
        "Free text does not get into the log.",
        put("predicate", "user", to="ann@example.org"),
        "statement.predicate",
        section="§3",
    )
    case("missing-member", "Every member is there.", drop("predicate", "cached"), "statement.predicate")
    case("run-not-a-uuid", "A run id is a UUID.", put("predicate", "run", to="run-1"), "statement.run", section="§3")
    case(
        "run-upper-case",
        "One spelling of a run id.",
        put("predicate", "run", to=turn.run.upper()),
        "statement.run",
        section="§3",
    )
    case(
        "run-version-1",
        "Version 1 holds a machine address.",
        put("predicate", "run", to="01234567-89ab-1def-8123-456789abcdef"),
        "statement.run",
        section="§3",
    )
    case(
        "parents-unsorted",
        "Parents are sorted, so one set has one spelling.",
        put("predicate", "parents", to=["22" * 32, "11" * 32]),
        "statement.parents",
        section="§3",
    )
    case(
        "parents-repeated",
        "Parents are distinct.",
        put("predicate", "parents", to=["11" * 32] * 2),
        "statement.parents",
        section="§3",
    )
    case(
        "claimed-at-with-offset",
        "One spelling of a time.",
        put("predicate", "claimed_at", to="2026-01-01T01:00:00.120+01:00"),
        "encoding.time",
        section="§3",
    )
    case(
        "short-nonce",
        "A nonce has 16 to 64 characters.",
        put("predicate", "nonce", to="short"),
        "statement.nonce",
        section="§3",
    )
    case("null-nonce", "Null is not absent.", put("predicate", "nonce", to=None), "statement.nonce", section="§3")
    case(
        "nonce-with-text",
        "A nonce is no place for a sentence.",
        put("predicate", "nonce", to="what did Ann ask today?"),
        "statement.nonce",
        section="§3",
    )
    case(
        "parent-run-not-a-uuid",
        "parent_run is a run id.",
        put("predicate", "parent_run", to="x"),
        "statement.parent_run",
        section="§3",
    )
    case(
        "upstream-is-a-url",
        "A URL is not a code.",
        put("predicate", "upstream", to="https://api.example/v1"),
        "statement.code",
    )
    case(
        "rewrites-unsorted",
        "A set of codes has one spelling.",
        put("predicate", "rewrites", to=["model", "holdfast-removed"]),
        "statement.code",
    )
    case(
        "nothing-rewritten",
        "Where nothing was rewritten, sent is the request.",
        lambda value: value["predicate"].update(rewrites=[], sent=value["predicate"]["request"]),
    )
    case(
        "rewrite-not-named",
        "Another request was sent than was asked, and no rewrite is named.",
        put("predicate", "rewrites", to=[]),
        "statement.sent",
    )
    routed(case, lambda **members: lambda value: value["predicate"].update(members))
    case("unknown-settlement", "Three modes.", put("predicate", "settlement", to="later"), "statement.settlement")

    def told(**more: Any) -> Callable[[dict[str, Any]], None]:
        """A step of an agent run, with something changed."""

        def change(value: dict[str, Any]) -> None:
            predicate = value["predicate"]
            own = {"endpoint": "step", "upstream": "caller", "rewrites": [], "sent": predicate["request"]}
            predicate.update({**own, **more})

        return change

    case("step", "A step of an agent run: nothing was sent to anybody.", told())
    for name, more in {
        "step-with-an-upstream": {"upstream": "small.provider"},
        "step-after-a-fallback": {"fallback_from": ["small.provider"]},
        "step-that-streams": {"streamed": True},
    }.items():
        case(name, "What is sent to nobody is served by nobody.", told(**more), "statement.endpoint")
    case(
        "unknown-endpoint",
        "Endpoints are a closed list.",
        put("predicate", "endpoint", to="images"),
        "statement.endpoint",
    )
    case("cached-as-text", "A boolean is true or false.", put("predicate", "cached", to="false"), "statement.predicate")

    def again(**more: Any) -> Any:
        def change(value: dict[str, Any]) -> None:
            value["predicate"].update(
                {"cached": True, "cached_run": "018f4e9a-2222-7abc-8def-0123456789ab", "attempts": [], **more}
            )

        return change

    def of_itself(value: dict[str, Any]) -> None:
        again(cached_run=value["predicate"]["run"])(value)

    case("cached-run", "An answer that is given again: whose it was, and that nobody was turned to.", again())
    why = "An old answer would pass for what somebody was asked now."
    served = [{"upstream": "small.provider", "why": "first", "end": "served", "sent": True}]
    for name, more in {
        "not-cached": {"cached": False},
        "that-is-no-run": {"cached_run": "yesterday"},
        "after-a-fallback": {"fallback_from": ["large.provider"]},
        "with-an-attempt": {"attempts": served},
    }.items():
        code = "statement.attempts" if name == "after-a-fallback" else "statement.cached"
        case(f"cached-run-{name}", why, again(**more), code)
    case("cached-run-of-itself", why, of_itself, "statement.cached")
    case("empty-tree", "A document has at least one part.", put("predicate", "request", "size", to=0), "statement.tree")
    case("size-as-boolean", "true is not 1.", put("predicate", "request", "size", to=True), "statement.tree")
    case(
        "unknown-event",
        "Events are a closed list.",
        put("predicate", "event", to="delivered"),
        "statement.event",
        of=execution,
        section="§4.2",
    )
    case(
        "generated-without-response",
        "An answer that is bound by nothing.",
        put("predicate", "response", to=None),
        "statement.response",
        of=execution,
        section="§4.2",
    )
    case(
        "failed-with-response",
        "A failed run has no answer.",
        put("predicate", "event", to="failed"),
        "statement.response",
        of=execution,
        section="§4.2",
    )
    case(
        "outcome-is-a-sentence",
        "An outcome is a code.",
        put("predicate", "outcome", to="the upstream said no"),
        "statement.code",
        of=execution,
        section="§4.2",
    )
    case(
        "marks-from-zero",
        "seq counts from 1.",
        put("predicate", "marks", to={"seq": 0, "parts": "11" * 32}),
        "statement.marks",
        of=execution,
        section="§4.2",
    )
    case(
        "response-subject-mismatch",
        "The subject is the response that the predicate binds.",
        put("subject", 0, "name", to="request"),
        "statement.subject",
        of=execution,
        section="§4.2",
    )


def attempt(upstream: str, why: str, end: str = "upstream.unreachable", *, sent: bool = False) -> dict[str, Any]:
    """One attempt."""
    return {"upstream": upstream, "why": why, "end": end, "sent": sent or end == "served"}


def served_or_not(case: Callable[..., None]) -> None:
    """Whether a whole answer is one that its route says somebody served (trace.md §2(4))."""
    us, other = "small.provider", "large.provider"

    def told(name: str, attempts: list[Any], *, code: str = "refuted:trace", **more: Any) -> list[Any]:
        fields = {"attempts": attempts, **more.pop("fields", {})}
        turn = Turn(name, route_change=lambda value: value["predicate"].update(fields), **more)
        return [[turn.route.entry, turn.execution.entry], ["ok", code], "§2(4)"]

    failed = [attempt(other, "first", "upstream.timeout", sent=True), attempt(us, "fallback", "upstream.status.503")]
    fell = {"fallback_from": [other]}
    case(
        "complete-and-nobody-served",
        "A whole answer by a route that says every upstream failed: one of the two is made up.",
        *told("unserved", failed, fields=fell),
    )
    case(
        "complete-and-nobody-asked",
        "A whole answer by a route that says nobody was turned to, and that it came from no cache.",
        *told("unasked", []),
    )
    served = [*failed[:1], attempt(us, "fallback", "served")]
    case(
        "complete-after-a-fallback",
        "The last upstream served, and the answer is whole.",
        *told("served", served, code="ok", fields=fell),
    )
    again = {"cached": True, "cached_run": "018f4e9a-2222-7abc-8def-0123456789ab"}
    case(
        "complete-from-a-cache",
        "Nobody was turned to, and the answer is whole: it was given before.",
        *told("again", [], code="ok", fields=again),
    )
    case(
        "cut-and-nobody-served",
        "The caller went away in the middle: an answer that is not whole, and an upstream that did not get to its end.",
        *told(
            "cut", [attempt(us, "first", "client.disconnected", sent=True)], code="ok", outcome="client.disconnected"
        ),
    )


def routed(case: Callable[..., None], put: Callable[..., Callable[[Any], None]]) -> None:
    """What a route says of attempts, ignored parameters and its policy (§4.1(5) to (7))."""
    us, other, third = "small.provider", "large.provider", "third.provider"
    served = attempt(us, "first", "served")
    long_way = [
        attempt(other, "balance", "upstream.status.503", sent=True),
        attempt(other, "retry", "upstream.timeout", sent=True),
        attempt(third, "fallback"),
        attempt(us, "fallback", "served"),
        attempt(us, "next", "served"),
    ]
    case("route-one-attempt", "The first upstream served.", put(attempts=[served]))
    case("route-no-attempt", "It failed before any upstream was turned to.", put(attempts=[]))
    case(
        "route-many-attempts",
        "Balanced, retried, two fallbacks, and another turn of the same answer.",
        put(attempts=long_way, fallback_from=[other, third]),
    )
    case(
        "route-ignored-and-policy",
        "Two parameters that the upstream does not honour, and the digest of a policy.",
        put(ignored=["logit_bias", "seed"], policy="11" * 32),
    )

    def refused(name: str, why: str, attempts: Any, fallback_from: Any = ()) -> None:
        case(name, why, put(attempts=attempts, fallback_from=[*fallback_from]), "statement.attempts")

    fell = [attempt(other, "first"), attempt(us, "fallback", "served")]
    refused("attempts-as-text", "Attempts are a list.", "small.provider")
    refused("attempts-too-many", "At most 32.", [attempt(us, "first"), *[attempt(us, "retry")] * 32])
    refused("attempt-with-an-address", "Four members.", [{**served, "url": "https://api.example"}])
    refused("attempt-without-sent", "Whether it got what was asked has to be said.", [{**served, "sent": None}])
    refused("attempt-ends-in-words", "How it ended is a code.", [{**served, "end": "it went down"}])
    refused("attempt-upstream-is-a-url", "An upstream is a code.", [{**served, "upstream": "https://api.example"}])
    refused("attempt-for-no-reason", "Reasons are a closed list.", [{**served, "why": "cheaper"}])
    refused("attempts-begin-with-a-fallback", "What failed before is not told.", [attempt(us, "fallback", "served")])
    refused("attempts-begin-twice", "Only one is the first.", [attempt(us, "first"), served])
    refused(
        "attempts-retry-another", "Another upstream is no retry.", [fell[0], attempt(us, "retry", "served")], [other]
    )
    refused(
        "attempts-fall-back-to-themselves",
        "The same again is a retry.",
        [attempt(us, "first"), attempt(us, "fallback")],
    )
    refused(
        "attempts-come-back",
        "Whoever was given up is not turned to again.",
        [attempt(us, "first"), attempt(other, "fallback"), attempt(us, "fallback", "served")],
        [other],
    )
    refused(
        "attempts-next-after-a-failure", "Only an answer has a next turn.", [attempt(us, "first"), attempt(us, "next")]
    )
    refused("attempts-retry-what-served", "Asked again although it served.", [served, attempt(us, "retry", "served")])
    refused(
        "attempts-end-elsewhere", "The route names an upstream that served nobody.", [attempt(other, "first", "served")]
    )
    refused(
        "attempts-another-served",
        "Who served is another than the route names.",
        [attempt(other, "first", "served"), attempt(us, "fallback", "served")],
        [other],
    )
    refused("attempts-served-unsent", "An answer to what was never sent.", [{**served, "sent": False}])
    refused("attempts-hide-a-fallback", "The list and fallback_from contradict each other.", fell)
    refused("attempts-no-such-fallback", "A fallback that no attempt is of.", [served], [other])
    case("ignored-nothing", "Nothing ignored: the member is left out.", put(ignored=[]), "statement.code")
    case("ignored-unsorted", "A set has one spelling.", put(ignored=["seed", "logit_bias"]), "statement.code")
    case("ignored-in-words", "Names of parameters are codes.", put(ignored=["The Seed"]), "statement.code")
    case("route-policy-short", "A digest has 32 bytes.", put(policy="11" * 31), "encoding.hex")
    case("route-policy-in-words", "A policy is named by its digest.", put(policy="no fallback"), "encoding.hex")


# --- attesters ------------------------------------------------------------------------------------------------------


def attesters(out: Writer) -> None:
    """One statement against trust and time (§7, §8). ``--at`` is when it was first seen."""
    late = "2026-06-01T00:00:00.000Z"

    def case(
        name: str,
        why: str,
        made: Statement | bytes,
        code: str | None = None,
        *,
        at: str = SEEN,
        trust: dict[str, Any] | None = None,
        section: str = "§7",
        bug: str = "WRONG_ATTESTER",
        without_trust: bool = False,
        expect: str = "",
    ) -> None:
        run = ["verify-statement", "--policy", "../../shared/policy.json", "--at", at]
        files: dict[str, Any] = {"envelope.json": made if isinstance(made, bytes) else made.entry}
        if trust is not None:
            files["trust.json"] = exact_text(trust) + "\n"
            run += ["--trust", "trust.json"]
        elif not without_trust:
            run += ["--trust", "../../shared/trust.json"]
        out.case(
            f"statement/{name}",
            why,
            spec=f"statement.md {section}",
            run=[*run, "envelope.json"],
            expect=expect or ("reject" if code else "accept"),
            code=code,
            at=at,
            bug=bug if code else None,
            files=files,
        )

    turn = Turn()
    case("by-a-gateway", "Signed by an admitted gateway, seen in time.", turn.route)
    case(
        "without-trust",
        "Without trust nobody can say whose signature this is: no answer, not a yes.",
        turn.route,
        without_trust=True,
        expect="undecided",
    )
    hardware = Turn(node=HARDWARE_GATEWAY)
    case("by-a-p256-gateway", "The same by a gateway with a P-256 key: r and s as 64 bytes.", hardware.route)
    raw = copy.deepcopy(hardware.route.envelope)
    r_s = unb64(raw["signatures"][0]["sig"])
    raw["signatures"][0]["sig"] = b64(
        bytes.fromhex("30") + bytes([len(r_s) + 4, 2, 32]) + r_s[:32] + b"\x02\x20" + r_s[32:]
    )
    case("p256-signature-as-der", "DER is a second spelling of an ECDSA signature.", jcs(raw), "statement.signature")
    case(
        "unknown-key",
        "A node that trust does not know. Were this undecided, an open log would be a place to park claims.",
        Turn(node=STRANGER).route,
        "statement.unknown-key",
        section="§7(2)",
    )
    case(
        "stolen-name",
        "The attester names the gateway, the signature is a stranger's.",
        Turn(route_signer=STRANGER.statement_key).route,
        "statement.signature",
        section="§7(5)",
    )
    altered = copy.deepcopy(turn.route.envelope)
    altered["payload"] = b64(jcs(turn.route.value).replace(b"small.provider", b"large.provider"))
    case(
        "altered-payload",
        "One word of the payload changed after signing.",
        jcs(altered),
        "statement.signature",
        section="§7(5)",
        bug="SUBSTITUTION",
    )
    bare = copy.deepcopy(turn.route.envelope)
    bare["signatures"][0]["sig"] = b64(GATEWAY.statement_key.sign(turn.route.payload))
    case(
        "signature-without-pae",
        "A signature over the bare payload says nothing about its type.",
        jcs(bare),
        "statement.signature",
        section="§1",
    )
    typed = copy.deepcopy(turn.route.envelope)
    typed["signatures"][0]["sig"] = b64(GATEWAY.statement_key.sign(pae("application/json", turn.route.payload)))
    case(
        "signature-for-another-type",
        "A signature over the same bytes as another type.",
        jcs(typed),
        "statement.signature",
        section="§1",
    )
    named_other = copy.deepcopy(turn.route.envelope)
    named_other["signatures"][0]["keyid"] = key_id("ed25519", named("some other key"))
    case(
        "other-keyid",
        "The key id names a key that is not the attester's statement key.",
        jcs(named_other),
        "statement.signature",
        section="§7(5)",
    )
    from_data = statement(
        "route",
        DATA,
        run=turn.run,
        claimed_at=when(START, plus_ms=120),
        parents=[],
        subject=("request", turn.bound["request"].root),
        body={
            k: v
            for k, v in turn.route.value["predicate"].items()
            if k not in ("run", "attester", "claimed_at", "parents", "nonce")
        },
    )
    case(
        "wrong-role",
        "A data node says how a request was routed: it is known and its signature is good, but this is not for it to say.",
        from_data,
        "statement.role",
        section="§7(4)",
    )
    revoked = world.usual_trust(
        nodes=[
            world.admit(
                GATEWAY, revoked={"at": late, "suspect_since": when(START, plus_ms=-3_600_000), "reason": "key-stolen"}
            )
        ]
    )
    case(
        "revoked-key",
        "The key is suspect since an hour before the statement.",
        turn.route,
        "statement.key-revoked",
        trust=revoked,
        section="§7(3)",
    )
    touching = world.usual_trust(
        nodes=[
            world.admit(
                GATEWAY, revoked={"at": late, "suspect_since": when(START, plus_ms=2000), "reason": "key-stolen"}
            )
        ]
    )
    case(
        "revoked-between-claim-and-sight",
        "Claimed before the key became suspect, first seen after: a thief can claim any time.",
        turn.route,
        "statement.key-revoked",
        trust=touching,
        section="§8",
        bug="BACKDATED",
    )
    after = world.usual_trust(
        nodes=[
            world.admit(
                GATEWAY, revoked={"at": late, "suspect_since": when(START, plus_ms=3_600_000), "reason": "retired"}
            )
        ]
    )
    case(
        "revoked-later",
        "Revoked in June, suspect from an hour after: what was seen before stays said.",
        turn.route,
        trust=after,
        section="§8",
    )
    at_once = world.usual_trust(
        nodes=[world.admit(GATEWAY, revoked={"at": late, "suspect_since": SEEN, "reason": "key-stolen"})]
    )
    case(
        "suspect-at-the-moment-of-sight",
        "A span that reaches the suspect moment supports nothing.",
        turn.route,
        "statement.key-revoked",
        trust=at_once,
        section="§8",
    )
    early = world.usual_trust(nodes=[world.admit(GATEWAY, start=when(START, plus_ms=1000))])
    case(
        "key-not-yet-valid",
        "Claimed before the admission begins.",
        turn.route,
        "statement.key-not-yet-valid",
        trust=early,
        section="§7(3)",
    )
    ended = world.usual_trust(nodes=[world.admit(GATEWAY, end=START)])
    case(
        "key-expired",
        "Claimed after the admission ended.",
        turn.route,
        "statement.key-expired",
        trust=ended,
        section="§7(3)",
    )
    ending = world.usual_trust(nodes=[world.admit(GATEWAY, end=when(START, plus_ms=2500))])
    case(
        "key-expired-before-sight",
        "Claimed while valid, first seen after the end: nobody saw it while the key was good.",
        turn.route,
        "statement.key-expired",
        trust=ending,
        section="§8",
        bug="BACKDATED",
    )
    case(
        "at-the-bound",
        "Seen exactly 600 seconds after the claim.",
        turn.route,
        at=when(START, plus_ms=600_120),
        section="§8",
    )
    case(
        "backdated",
        "Seen a millisecond later than the bound allows: it may have been signed long after it claims.",
        turn.route,
        "statement.backdated",
        at=when(START, plus_ms=600_121),
        section="§8",
        bug="BACKDATED",
    )
    case(
        "skew-at-the-bound",
        "Clocks may differ by 30 seconds.",
        turn.route,
        at=when(START, plus_ms=-29_880),
        section="§8",
    )
    case(
        "future",
        "Claims a time that had not come when it was seen: tomorrow's key state is nobody's to use.",
        turn.route,
        "statement.future",
        at=when(START, plus_ms=-29_881),
        section="§8",
        bug="BACKDATED",
    )


# --- traces ---------------------------------------------------------------------------------------------------------


def traces(out: Writer) -> None:
    """Entries of one log, in order (statement.md §7(7, 8), trace.md)."""
    good = Turn()

    def case(
        name: str, why: str, entries: list[bytes], verdicts: list[str], section: str = "§2", bug: str = "BROKEN_TRACE"
    ) -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        out.case(
            f"trace/{name}",
            why,
            spec=f"trace.md {section}",
            run=[
                "verify-entries",
                "--policy",
                "../../shared/policy.json",
                "--at",
                SEEN,
                "--trust",
                "../../shared/trust.json",
                "entries.jsonl",
            ],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug=bug if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(entry + b"\n" for entry in entries)},
        )

    route, execution = good.route, good.execution
    case("route-and-execution", "The smallest closed run.", [route.entry, execution.entry], ["ok", "ok"])
    case(
        "interleaved-runs",
        "Two runs whose statements alternate.",
        [route.entry, Turn("other").route.entry, execution.entry, Turn("other").execution.entry],
        ["ok"] * 4,
    )
    gone = _follow_up(good, "disconnected", [execution.digest])
    case(
        "disconnected",
        "A client that went away: a follow-up of the closing statement, not a second one.",
        [route.entry, execution.entry, gone.entry],
        ["ok"] * 3,
        "§2(5)",
    )
    failed = Turn("failed", response=None, event="failed", outcome="upstream.timeout")
    case("failed", "A run without an answer is closed too.", [failed.route.entry, failed.execution.entry], ["ok", "ok"])
    interrupted = Turn(
        "crash", response=None, event="interrupted", outcome="gateway.crash", marks={"seq": 4, "parts": "ab" * 32}
    )
    case(
        "interrupted",
        "A crash closed by what had been acknowledged.",
        [interrupted.route.entry, interrupted.execution.entry],
        ["ok", "ok"],
    )
    case(
        "child-before-parent",
        "The execution stands before its route in the log: what names must come after what it names.",
        [execution.entry, route.entry],
        ["refuted:parent", "ok"],
        "§4",
    )
    case("missing-parent", "The route was never logged.", [execution.entry], ["refuted:parent"], "§4")
    bad = Turn("liar", route_signer=STRANGER.statement_key)
    case(
        "refuted-parent",
        "A good execution on a refuted route cannot be better than its parent.",
        [bad.route.entry, bad.execution.entry],
        ["refuted:signature", "refuted:parent-refuted"],
        "§2(4)",
    )
    other = Turn("other")
    foreign = Turn("good", execution_parents=[other.route.digest])
    case(
        "parent-of-another-run",
        "An execution that follows from another run's route.",
        [other.route.entry, foreign.execution.entry],
        ["ok", "refuted:trace"],
        "§2(1)",
    )
    nonce = Turn("good", nonce="nonce-of-a-client-2")
    mixed = Turn("good", nonce="nonce-of-a-client-2", execution_parents=[route.digest])
    case(
        "another-nonce",
        "An execution with another client's nonce than its route.",
        [route.entry, mixed.execution.entry],
        ["ok", "refuted:trace"],
        "§2(1)",
    )
    no_parent = Turn("good", execution_parents=[])
    case(
        "execution-without-route",
        "A closing execution has exactly one route among its parents.",
        [no_parent.execution.entry],
        ["refuted:trace"],
        "§2(4)",
    )
    both = Turn("good", execution_parents=[route.digest, nonce.route.digest], nonce=None)
    case(
        "execution-with-two-routes",
        "Two routes: through which of them did it go?",
        [route.entry, nonce.route.entry, both.execution.entry],
        ["ok", "ok", "refuted:trace"],
        "§2(4)",
    )
    changed = Turn("good", execution_change=lambda value: value["predicate"].__setitem__("upstream", "large.provider"))
    case(
        "another-upstream",
        "The execution names another upstream than the route it follows: a swapped provider.",
        [route.entry, changed.execution.entry],
        ["ok", "refuted:trace"],
        "§2(4)",
        "SUBSTITUTION",
    )
    on_route = _follow_up(good, "disconnected", [route.digest])
    case(
        "disconnected-on-a-route",
        "The only parent of a disconnection is the closing statement.",
        [route.entry, on_route.entry],
        ["ok", "refuted:trace"],
        "§2(5)",
    )
    parented = Turn("good", parents=[execution.digest])
    case(
        "route-after-execution",
        "A route has only admissions and recalls as parents: a closed run is not routed again.",
        [route.entry, execution.entry, parented.route.entry],
        ["ok", "ok", "refuted:trace"],
        "§2(3)",
    )
    again = Turn(
        "good", execution_at=when(START, plus_ms=1900), execution_parents=[route.digest], outcome="upstream.cut"
    )
    case(
        "duplicate-closure",
        "Two closing statements of one run: the later is refuted, and both are evidence against the gateway.",
        [route.entry, execution.entry, again.execution.entry],
        ["ok", "ok", "refuted:duplicate-closure"],
        "§2(7)",
        "EQUIVOCATION",
    )
    rival = Turn("good", node=HARDWARE_GATEWAY)
    case(
        "closure-by-another-gateway-first",
        "Somebody who heard the run id of an open run closes it elsewhere: that takes nothing from its own gateway.",
        [rival.route.entry, rival.execution.entry, route.entry, execution.entry],
        ["ok", "ok", "ok", "ok"],
        "§2(7)",
    )
    taken = Turn("good", execution_node=HARDWARE_GATEWAY)
    case(
        "closure-of-another-gateways-route",
        "A gateway closes what another one routed.",
        [route.entry, taken.execution.entry],
        ["ok", "refuted:trace"],
        "§2(4)",
        "WRONG_ATTESTER",
    )
    served_or_not(case)
    resigned = envelope(execution.payload, [GATEWAY.statement_key])
    case(
        "same-statement-twice",
        "The same payload again is the same statement, not a second closure.",
        [route.entry, execution.entry, jcs(resigned)],
        ["ok", "ok", "ok"],
        "§2(7)",
    )
    commitment = jcs({"commitment": sha(b"x").hex(), "type": "urn:holdfast:commitment:v1"})
    case("commitment", "A commitment is not a statement: existence, and no more.", [commitment], ["cannot_tell"], "§1")
    case(
        "broken-commitment",
        "A commitment has exactly two members.",
        [jcs({"commitment": sha(b"x").hex(), "note": "x", "type": "urn:holdfast:commitment:v1"})],
        ["refuted:malformed"],
        "§1",
    )
    case(
        "malformed-entry",
        "An entry that is no statement gets a verdict like any other.",
        [b"hello", route.entry],
        ["refuted:malformed", "ok"],
        "§1",
    )


def _follow_up(turn: Turn, event: str, parents: list[str]) -> Statement:
    return statement(
        "execution",
        GATEWAY,
        run=turn.run,
        claimed_at=when(START, plus_ms=2000),
        parents=parents,
        subject=("request", turn.bound["request"].root),
        body={
            "event": event,
            "outcome": "client.disconnected",
            "response": None,
            "marks": None,
            "upstream": "small.provider",
        },
    )
