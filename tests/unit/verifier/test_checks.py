"""One statement, judged: every step has its edges, and the first that fails names the verdict."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core.artifact_changes import ArtifactChange, build_change
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.quantities import Rule
from holdfast.core.statements import (
    KINDS,
    Envelope,
    Execution,
    artifact_run,
    build_commitment,
    build_envelope,
    build_payload,
    execution_body,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from holdfast.core.trust import TRUST_PAYLOAD_TYPE
from holdfast.verifier.checks import (
    ROLES_BY_KIND,
    CheckPolicy,
    EntryCheck,
    KnownStatement,
    check_entry,
    refuse_artifact,
    refuse_attester,
    refuse_parents,
    refuse_payment,
    refuse_time,
    refuse_trace,
    step_of,
)
from tests.helpers.admissions import DataNode, admitted, refused
from tests.helpers.artifacts import DOCUMENT, LABEL, A, B, Said, labelled, trust_with_hub
from tests.helpers.decisions import PANEL_DOCUMENT, Made, trust_with_panel
from tests.helpers.network import ASKED, FROM, NONCE, RUN, UNTIL, Network, at, ed25519_signer, p256_signer
from tests.helpers.payment_documents import FACILITATOR_DOCUMENT, Paid, document, trust_with_facilitator

NETWORK = Network()
DATA_NODE = DataNode()
TRUST = NETWORK.trust()
ROUTE, EXECUTION = NETWORK.route(), NETWORK.execution()
TICK = dt.timedelta(milliseconds=1)
OTHER_RUN = RUN[:-1] + "0"


GATEWAY, OTHER_GATEWAY = NETWORK.gateway_document.digest, "9a" * 32


def statement(payload, network=NETWORK):
    return parse_statement(parse_envelope(network.seal(payload)))


def spanning(start=FROM, end=UNTIL, suspect=None):
    """Trust in which the gateway's admission has this span."""
    revoked = suspect and {"at": time_encode(UNTIL), "suspect_since": time_encode(suspect), "reason": "stolen"}
    node = {
        "key_document": b64_encode(NETWORK.gateway_document.raw),
        "valid_from": time_encode(start),
        "valid_until": time_encode(end),
        "revoked": revoked or None,
    }
    return NETWORK.trust(nodes=[node])


# Steps 2 to 5: the attester


def test_an_unknown_attester_is_refused():
    assert refuse_attester(statement(NETWORK.route(attester="00" * 32)), TRUST, until=at(1)) == "unknown-key"


@pytest.mark.parametrize(
    ("options", "until", "why"),
    [
        ({"start": at(0.5)}, at(1), None),
        ({"start": at(0.501)}, at(1), "key-not-yet-valid"),
        ({"end": at(1) + TICK}, at(1), None),
        ({"end": at(1)}, at(1), "key-expired"),
        ({"end": at(0.5)}, at(0), "key-expired"),  # never judged for less than the moment it claims
        ({"suspect": at(1) + TICK}, at(1), None),
        ({"suspect": at(1)}, at(1), "key-revoked"),
        ({"suspect": at(0.5)}, at(0), "key-revoked"),
    ],
)
def test_a_key_holds_from_the_claim_to_the_first_sight(options, until, why):
    assert refuse_attester(statement(ROUTE), spanning(**options), until=until) == why


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_for_its_roles_only(kind):
    signer = ed25519_signer("roles", "statement")
    for role in ("data", "facilitator", "full", "gateway", "hub", "inference", "log", "memory", "panel", "relay"):
        document = build_key_document("roles", [role], "", [signer.key])
        span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
        trust = NETWORK.trust(nodes=[{"key_document": b64_encode(document.raw), **span}])
        made = dataclasses.replace(statement(ROUTE), kind=kind, attester=document.digest)
        expected = "signature" if role in ROLES_BY_KIND[kind] else "role"  # the route was signed by somebody else
        assert refuse_attester(made, trust, until=at(1)) == expected, role


def trusting(*keys, name="gateway"):
    """A network whose gateway has these keys, and trust in it."""
    network = Network()
    network.gateway_document = build_key_document(name, ["gateway"], "", list(keys))
    return network, network.trust()


def test_a_log_key_signs_no_statement():
    log = ed25519_signer("gateway", "log")
    network, trust = trusting(NETWORK.gateway.key, log.key)
    payload = network.route()
    raw = build_envelope(payload, log.key.key_id, log.sign(pre_authentication_encoding(payload)))
    assert refuse_attester(parse_statement(parse_envelope(raw)), trust, until=at(1)) == "signature"


def test_a_node_without_a_statement_key_states_nothing():
    network, trust = trusting(dataclasses.replace(NETWORK.gateway.key, use="log"))
    assert refuse_attester(statement(network.route(), network), trust, until=at(1)) == "signature"


def test_the_right_signature_under_another_key_id_is_refused():
    signature = parse_envelope(NETWORK.seal(ROUTE)).signature
    raw = build_envelope(ROUTE, "00" * 32, signature)
    assert refuse_attester(parse_statement(parse_envelope(raw)), TRUST, until=at(1)) == "signature"


@pytest.mark.parametrize("payload_type", [TRUST_PAYLOAD_TYPE, "", "application/json"])
def test_a_signature_under_another_payload_type_is_refused(payload_type):
    signature = NETWORK.gateway.sign(pre_authentication_encoding(ROUTE, payload_type))
    raw = build_envelope(ROUTE, NETWORK.gateway.key.key_id, signature)
    assert refuse_attester(parse_statement(parse_envelope(raw)), TRUST, until=at(1)) == "signature"


def test_a_signature_over_a_mark_is_none_over_a_statement():
    signature = NETWORK.gateway.sign(NETWORK.mark().message(RUN))
    raw = build_envelope(ROUTE, NETWORK.gateway.key.key_id, signature)
    assert refuse_attester(parse_statement(parse_envelope(raw)), TRUST, until=at(1)) == "signature"


def test_p256_gateways_sign_too():
    network = Network(gateway=p256_signer("gateway", "statement"))
    made = statement(network.route(), network)
    assert refuse_attester(made, network.trust(), until=at(1)) is None
    forged = dataclasses.replace(made, envelope=dataclasses.replace(made.envelope, signature=bytes(64)))
    assert refuse_attester(forged, network.trust(), until=at(1)) == "signature"


# Step 6: time


@pytest.mark.parametrize(
    ("seen_after_ms", "why"),
    [(600_000, None), (600_001, "backdated"), (0, None), (-30_000, None), (-30_001, "future")],
)
def test_the_bounds_on_time_are_inclusive(seen_after_ms, why):
    seen = at(0.5) + dt.timedelta(milliseconds=seen_after_ms)
    assert refuse_time(statement(ROUTE), seen, CheckPolicy()) == why


def test_bounds_of_nothing_and_bounds_beyond_the_calendar():
    made = statement(ROUTE)
    assert refuse_time(made, at(0.5), CheckPolicy(0, 0)) is None
    assert refuse_time(made, at(0.5) + TICK, CheckPolicy(0, 0)) == "backdated"
    assert refuse_time(made, at(0.5) - TICK, CheckPolicy(0, 0)) == "future"
    assert refuse_time(made, at(10**9), CheckPolicy(2**53 - 1, 2**53 - 1)) is None


# Steps 7 and 8: parents and the trace


def known(kind, digest="aa" * 32, **changes):
    given = {"index": 1, "run": RUN, "kind": kind, "code": "ok", "event": None, "nonce": NONCE, "upstream": None}
    given["attester"] = GATEWAY
    given |= {"route": {"upstream": "stub"}, "execution": {"event": "generated", "upstream": "stub"}}.get(kind, {})
    return digest, KnownStatement(**given | changes)


class Memory:
    """A history of what a test says."""

    def __init__(self, *entries, closing=None):
        self.entries = dict(entries)
        self.first = closing

    def known(self, digest):
        return self.entries.get(digest)

    def closing(self, run, attester):
        return self.first if (run, attester) == (RUN, GATEWAY) else None

    def head(self, attester, journal, before):
        heads = [
            item.seq
            for item in self.entries.values()
            if (item.attester, item.journal, item.code) == (attester, journal, "ok") and item.index < before
        ]
        return heads[-1] if heads else None

    def paid(self, step, attester):
        found = [
            digest
            for digest, item in self.entries.items()
            if (item.pays, item.attester, item.code) == (step, attester, "ok")
        ]
        return found[0] if found else None


def parents_of(payload, *entries, index=5, closing=None):
    return refuse_parents(statement(payload), index, Memory(*entries, closing=closing))


FOLLOWING = NETWORK.execution(parents=["aa" * 32])


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (known("route", "bb" * 32), "parent"),
        (known("route", index=5), "parent"),
        (known("route", index=6), "parent"),
        (known("route", code="refuted:signature"), "parent-refuted"),
        (known("route", code="cannot_tell"), None),
        (known("route"), None),
        (known("route", run=OTHER_RUN), "trace"),
        (known("route", nonce="another-nonce-of-16"), "trace"),
        (known("route", nonce=None), None),
        (known("route", upstream="other"), "trace"),
        (known("route", attester=OTHER_GATEWAY), "trace"),
        (known("execution"), "trace"),
        (known("admission"), "trace"),
    ],
)
def test_the_parent_of_a_closing_execution(entry, why):
    assert parents_of(FOLLOWING, entry) == why


def test_a_closing_execution_has_one_route_and_nothing_that_comes_later():
    assert parents_of(NETWORK.execution(parents=[])) == "trace"
    two = NETWORK.execution(parents=["aa" * 32, "bb" * 32])
    assert parents_of(two, known("route"), known("route", "bb" * 32)) == "trace"
    assert parents_of(two, known("route"), known("payment", "bb" * 32)) == "trace"
    assert parents_of(two, known("route"), known("recall", "bb" * 32)) is None


def test_a_route_has_one_recall_at_most():
    two = NETWORK.route(parents=["aa" * 32, "bb" * 32])
    assert parents_of(two, known("recall"), known("recall", "bb" * 32)) == "trace"


def test_only_the_first_closing_execution_closes():
    own = sha256_hex(FOLLOWING)
    assert parents_of(FOLLOWING, known("route"), closing="cc" * 32) == "duplicate-closure"
    assert parents_of(FOLLOWING, known("route"), closing=own) is None


def test_nobody_closes_a_run_before_its_own_gateway_does():
    """A caller knows the run id before the answer ends, and may tell it to another gateway."""
    rival = build_payload(
        "execution",
        run=RUN,
        attester=OTHER_GATEWAY,
        claimed_at=at(0.5),
        parents=["bb" * 32],
        subject=("request", bytes(32)),
        body=execution_body(Execution("failed", "upstream.timeout", None, None, "stub")),
    )
    own_route = known("route", "bb" * 32, attester=OTHER_GATEWAY, nonce=None)
    assert refuse_parents(statement(rival), 2, Memory(own_route)) is None
    history = Memory(own_route, known("execution", sha256_hex(rival), attester=OTHER_GATEWAY), known("route"))
    assert refuse_parents(statement(FOLLOWING), 5, history) is None


def disconnected(*parents):
    body = execution_body(Execution("disconnected", "client.disconnected", None, None, "stub"))
    return NETWORK.execution(body=body, subject=("request", bytes(32)), parents=list(parents))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "trace"),
        ([known("execution")], None),
        ([known("execution", event="failed")], None),
        ([known("execution", event="disconnected")], "trace"),
        ([known("execution", attester=OTHER_GATEWAY)], "trace"),
        ([known("route")], "trace"),
        ([known("execution"), known("route", "bb" * 32)], "trace"),
    ],
)
def test_a_disconnect_follows_the_closing_execution_and_nothing_else(entries, why):
    assert parents_of(disconnected(*(digest for digest, _ in entries)), *entries, closing="aa" * 32) == why


PUBLISHED = build_change(ArtifactChange("published", at(0), A, "Ada", "new", manifest="11" * 32, version="acme/risk@1"))
REVOKED = build_change(ArtifactChange("revoked", at(1), A, "Ada", "poisoned"))


def other(kind, *parents):
    return build_payload(
        kind,
        run=RUN,
        attester=NETWORK.gateway_document.digest,
        claimed_at=at(0.5),
        parents=parents,
        subject=("recall", bytes(32)),
        body={"model": "00" * 32, "record": "00" * 32},
    )


@pytest.mark.parametrize("kind", ["recall", "route"])
@pytest.mark.parametrize(
    ("parent", "why"), [("recall", None), ("route", "trace"), ("execution", "trace"), ("artifact", "trace")]
)
def test_what_goes_into_a_request_follows_only_its_like(kind, parent, why):
    payload = NETWORK.route(parents=["aa" * 32]) if kind == "route" else other(kind, "aa" * 32)
    assert parents_of(payload, known(parent)) == why


# Admissions


def entered(signed, **changes):
    """What a checker keeps of an admission."""
    found = EntryCheck(signed.digest, "ok", signed.statement).remember(1)
    return signed.digest, replace(found, **changes)


ADMITTED = DATA_NODE.sign(admitted())
QUORUM = DATA_NODE.combine([ADMITTED], Rule("exact", 1))


def routing(*parents, used_at=ASKED, **changes):
    body = {} if used_at is None else {"admitted_at": time_encode(used_at)}
    return NETWORK.route(parents=list(parents), body=body, **({"claimed_at": at(600)} | changes))


@pytest.mark.parametrize(
    ("payload", "entry", "why"),
    [
        (routing(ADMITTED.digest), None, "parent"),
        (routing(ADMITTED.digest), entered(ADMITTED, index=5), "parent"),
        (routing(ADMITTED.digest), entered(ADMITTED, code="refuted:signature"), "parent-refuted"),
        (routing("aa" * 32), known("recall"), "trace"),
        (routing(ADMITTED.digest, used_at=None), entered(ADMITTED), "trace"),
        (routing(ADMITTED.digest, used_at=at(-61)), entered(ADMITTED), "trace"),
        (routing(ADMITTED.digest, used_at=at(60.001)), entered(ADMITTED), "stale"),
        (routing(ADMITTED.digest, used_at=at(60)), entered(ADMITTED), None),
        (routing(ADMITTED.digest), entered(ADMITTED, run=OTHER_RUN), None),
        (other("recall", ADMITTED.digest), entered(ADMITTED), "trace"),
        (QUORUM.statement.envelope.payload, entered(ADMITTED), None),
        (QUORUM.statement.envelope.payload, (ADMITTED.digest, known("recall")[1]), "trace"),
        (QUORUM.statement.envelope.payload, entered(ADMITTED, event="combined"), "trace"),
    ],
)
def test_what_an_admission_goes_into(payload, entry, why):
    assert parents_of(payload, *([] if entry is None else [entry])) == why


def test_a_refusal_grows_never_stale():
    refusal = DATA_NODE.sign(refused())
    assert parents_of(routing(refusal.digest, used_at=at(500)), entered(refusal)) is None


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "trace"),
        ([known("route")], "trace"),
        ([known("execution", event="disconnected")], "trace"),
        ([known("execution")], None),
        ([known("execution"), known("payment", "bb" * 32)], None),
    ],
)
def test_a_decision_follows_the_closing_execution(entries, why):
    assert parents_of(Made(parents=[digest for digest, _ in entries]).payload, *entries) == why


def paid(event, digest="bb" * 32, **changes):
    return known("payment", digest, event=event, **changes)


@pytest.mark.parametrize(
    ("event", "entries", "why"),
    [
        ("offered", [], None),
        ("offered", [known("route")], "trace"),
        ("offered", [paid("offered")], "trace"),
        ("authorised", [], None),
        ("authorised", [paid("offered")], None),
        ("authorised", [paid("offered"), known("route")], "trace"),
        ("authorised", [known("execution")], "trace"),
        ("authorised", [paid("authorised")], "trace"),
        ("charged", [known("execution")], None),
        ("charged", [known("execution", event="failed")], None),
        ("charged", [known("execution"), paid("authorised")], None),
        ("charged", [], "trace"),
        ("charged", [known("route")], "trace"),
        ("charged", [paid("authorised")], "trace"),
        ("charged", [known("execution", event="disconnected")], "trace"),
        ("charged", [known("execution", attester=OTHER_GATEWAY)], "trace"),
        ("charged", [known("execution"), known("execution", "bb" * 32)], "trace"),
        ("charged", [known("execution"), paid("offered")], "trace"),
        ("charged", [known("execution"), paid("authorised"), paid("authorised", "cc" * 32)], "trace"),
        ("charged", [known("execution"), known("decision", "bb" * 32)], "trace"),
        ("captured", [paid("charged")], None),
        ("captured", [known("execution")], "trace"),
        ("captured", [], "trace"),
        ("captured", [paid("charged"), known("execution")], "trace"),
        ("captured", [paid("charged"), paid("charged", "cc" * 32)], "trace"),
        ("captured", [paid("authorised")], "trace"),
        ("captured", [paid("charged", run=OTHER_RUN)], "trace"),
        ("lapsed", [paid("charged")], None),
        ("lapsed", [paid("captured")], "trace"),
        ("failed", [paid("charged")], None),
        ("failed", [paid("lapsed")], "trace"),
        ("refund_due", [paid("captured")], None),
        ("refund_due", [paid("charged")], "trace"),
        ("refunded", [paid("refund_due")], None),
        ("refunded", [paid("captured")], "trace"),
    ],
)
def test_each_step_of_a_payment_follows_the_one_before(event, entries, why):
    parents = sorted(digest for digest, _ in entries)
    assert parents_of(Paid(document(event), parents=parents).payload, *entries) == why


FACILITATED = trust_with_facilitator()


def step(event, entry, *told, by_facilitator=False, trust=FACILITATED):
    made = Paid(document(event), parents=[entry[0]], by_facilitator=by_facilitator)
    found = parse_statement(parse_envelope(made.envelope))
    given = [(digest or found.digest, item) for digest, item in told]
    return refuse_payment(found, trust, Memory(entry, *given))


@pytest.mark.parametrize(
    ("by", "by_facilitator", "why"),
    [
        (GATEWAY, False, None),
        (GATEWAY, True, None),
        (FACILITATOR_DOCUMENT.digest, False, None),
        (FACILITATOR_DOCUMENT.digest, True, None),
        (OTHER_GATEWAY, True, None),
        (OTHER_GATEWAY, False, "payment"),
    ],
)
def test_a_payment_goes_on_by_who_charged_or_by_a_facilitator(by, by_facilitator, why):
    assert step("captured", paid("charged", attester=by), by_facilitator=by_facilitator) == why


def test_a_facilitator_that_trust_does_not_know_is_none():
    entry = paid("charged", attester=FACILITATOR_DOCUMENT.digest)
    assert step("captured", entry, trust=TRUST) == "payment"
    assert refuse_payment(statement(ROUTE), TRUST, Memory()) is None


@pytest.mark.parametrize(
    ("event", "entry", "pays"),
    [
        ("charged", known("execution"), RUN),
        ("captured", paid("charged"), "bb" * 32),
        ("lapsed", paid("charged"), "bb" * 32),
        ("failed", paid("charged"), "bb" * 32),
        ("refund_due", paid("captured"), "bb" * 32),
        ("refunded", paid("refund_due"), "bb" * 32),
    ],
)
def test_each_step_of_a_payment_is_told_once(event, entry, pays):
    made = Paid(document(event), parents=[entry[0]])
    assert step_of(statement(made.payload)) == pays
    assert step(event, entry) is None
    assert step(event, entry, paid(event, "dd" * 32, pays=pays)) == "duplicate-payment"
    assert step(event, entry, paid(event, None, pays=pays)) is None
    for change in ({"code": "refuted:trace"}, {"attester": OTHER_GATEWAY}, {"pays": "ee" * 32}):
        assert step(event, entry, paid(event, "dd" * 32, **{"pays": pays} | change)) is None


@pytest.mark.parametrize("event", ["offered", "authorised"])
def test_what_nothing_is_owed_for_may_be_told_again(event):
    assert step_of(statement(Paid(document(event), parents=[]).payload)) is None


def test_a_step_without_a_parent_has_no_step_before_it():
    found = statement(Paid(document("captured"), parents=[]).payload)
    assert step_of(found) == ""
    assert check_entry(NETWORK.seal(found.envelope.payload), index=0, seen_at=at(4), trust=TRUST,
                       policy=CheckPolicy(), history=Memory()).code == "refuted:trace"  # fmt: skip


def test_a_payment_is_remembered_by_its_step():
    entry = paid("charged")
    made = Paid(document("captured"), parents=[entry[0]])
    found = check_entry(made.envelope, index=5, seen_at=at(4), trust=TRUST, policy=CheckPolicy(), history=Memory(entry))
    kept = found.remember(5)
    assert found.code == "ok"
    assert (kept.event, kept.pays, kept.closing) == ("captured", "bb" * 32, False)
    again = check_entry(
        made.envelope, index=6, seen_at=at(4), trust=TRUST, policy=CheckPolicy(),
        history=Memory(entry, ("dd" * 32, dataclasses.replace(kept))),
    )  # fmt: skip
    assert again.code == "refuted:duplicate-payment"


def test_a_decision_follows_one_closing_execution_and_not_two():
    rival = known("execution", "bb" * 32, attester=OTHER_GATEWAY)
    assert parents_of(Made(parents=["aa" * 32, "bb" * 32]).payload, known("execution"), rival) == "trace"


def test_a_decision_or_payment_may_follow_what_is_refuted_and_nothing_else_may():
    refuted = known("execution", code="refuted:signature")
    assert parents_of(Made(parents=["aa" * 32]).payload, refuted) is None
    assert parents_of(Paid(parents=["aa" * 32]).payload, refuted) is None
    assert parents_of(disconnected("aa" * 32), refuted) == "parent-refuted"


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (Made(), "ok"),
        (Made(attester=GATEWAY), "refuted:role"),
        (Made(signer=NETWORK.gateway), "refuted:signature"),
        (Made(parents=[]), "refuted:trace"),
        (Made(parents=["bb" * 32]), "refuted:parent"),
        (Made(run=OTHER_RUN), "refuted:trace"),
        (Made(body={"act": "bless"}), "refuted:malformed"),
        (Made(body={"person": "Ann Example"}), "refuted:malformed"),
    ],
)
def test_a_full_node_reads_a_decision(made, code):
    history = Memory(known("execution", sha256_hex(NETWORK.execution())))
    found = check(made.envelope, seen=at(3), trust=trust_with_panel(NETWORK), history=history)
    assert found.code == code
    if code == "ok":
        expected = KnownStatement(2, RUN, "decision", "ok", None, None, None, None, PANEL_DOCUMENT.digest)
        assert found.remember(2) == expected


def artifact(event, name, **more):
    """What is known of an earlier artifact statement."""
    base = KnownStatement(
        0, artifact_run(DOCUMENT.digest), "artifact", "ok", event, None, None, attester=DOCUMENT.digest
    )
    return name, dataclasses.replace(base, **more)


OF_LABEL = f"label:{LABEL.id}:"


@pytest.mark.parametrize(
    ("made", "parent", "why"),
    [
        (Said(labelled()), None, None),
        (Said(labelled(B, A), ["aa" * 32]), artifact("labelled", "aa" * 32, pays=OF_LABEL), None),
        (Said(labelled(B, A), ["aa" * 32]), artifact("labelled", "aa" * 32, pays="label:" + "22" * 32 + ":"), "trace"),
        (Said(labelled(B, A), ["aa" * 32]), artifact("published", "aa" * 32), "trace"),
        (
            Said(labelled(B, A), ["aa" * 32]),
            artifact("labelled", "aa" * 32, pays=OF_LABEL, attester="22" * 32),
            "trace",
        ),
        (Said(labelled(B, A), ["aa" * 32]), artifact("labelled", "bb" * 32, pays=OF_LABEL), "parent"),
        (Said(REVOKED), None, "trace"),
        (Said(REVOKED, ["aa" * 32]), artifact("published", "aa" * 32), None),
        (Said(REVOKED, ["aa" * 32]), artifact("declared", "aa" * 32), None),
        (Said(REVOKED, ["aa" * 32]), artifact("revoked", "aa" * 32), "trace"),
        (Said(REVOKED, ["aa" * 32]), artifact("published", "aa" * 32, run=OTHER_RUN), "trace"),
        (Said(PUBLISHED, ["aa" * 32]), artifact("published", "aa" * 32), "trace"),
        (Said(PUBLISHED), None, None),
    ],
)
def test_what_a_hub_says_follows_its_own_words_about_the_same(made, parent, why):
    history = Memory(*([parent] if parent else []))
    assert refuse_parents(made.statement, 5, history) == why


@pytest.mark.parametrize(
    ("made", "step"),
    [
        (Said(labelled()), OF_LABEL),
        (Said(labelled(B, A), ["aa" * 32]), OF_LABEL + "aa" * 32),
        (Said(REVOKED, ["aa" * 32]), "revoked:" + "aa" * 32),
        (Said(PUBLISHED), None),
    ],
)
def test_of_two_changes_after_the_same_one_the_first_counts(made, step):
    assert step_of(made.statement) == step
    assert refuse_artifact(made.statement, Memory()) is None
    same = artifact("any", made.statement.digest, pays=step)
    other = artifact("any", "dd" * 32, pays=step)
    assert refuse_artifact(made.statement, Memory(same)) is None
    assert refuse_artifact(made.statement, Memory(other)) == (None if step is None else "duplicate-artifact")
    for change in ({"code": "refuted:trace"}, {"attester": OTHER_GATEWAY}, {"pays": "label:x:"}):
        changed = other[0], dataclasses.replace(other[1], **change)
        assert refuse_artifact(made.statement, Memory(changed)) is None


def test_an_artifact_statement_is_remembered_by_its_step():
    trust = trust_with_hub(NETWORK)
    first, moved = Said(labelled()), None
    found = check_entry(first.envelope, index=0, seen_at=at(3), trust=trust, policy=CheckPolicy(), history=Memory())
    kept = found.remember(0)
    assert (found.code, kept.event, kept.pays) == ("ok", "labelled", OF_LABEL)
    moved = Said(labelled(B, A, 1.0), [first.statement.digest])
    history = Memory((first.statement.digest, kept))
    again = check_entry(moved.envelope, index=1, seen_at=at(3), trust=trust, policy=CheckPolicy(), history=history)
    assert again.code == "ok"


def test_parents_may_come_from_an_iterator():
    assert refuse_trace(statement(FOLLOWING), iter([known("route")[1]])) is None


# The whole entry


def check(entry, *, seen=None, trust=TRUST, history=None, index=2):
    seen = seen or at(1)
    return check_entry(entry, index=index, seen_at=seen, trust=trust, policy=CheckPolicy(), history=history or Memory())


@pytest.mark.parametrize("entry", [b"", b"{}", b"\xff", b"x" * 70_000, build_envelope(b"{}", "00" * 32, b"")])
def test_bytes_that_do_not_parse_are_a_verdict_and_no_crash(entry):
    assert check(entry).code == "refuted:malformed"
    assert check(entry).digest == sha256_hex(entry)
    assert check(entry).remember(2) is None


def test_a_commitment_is_beyond_telling_and_a_broken_one_malformed():
    entry = build_commitment("00" * 32, bytes(32))
    assert check(entry).code == "cannot_tell"
    assert check(entry.replace(b":v1", b":v2")).code == "refuted:malformed"


@pytest.mark.parametrize(
    ("entry", "options", "code"),
    [
        (NETWORK.seal(ROUTE), {}, "ok"),
        (NETWORK.seal(ROUTE), {"seen": at(601)}, "refuted:backdated"),
        (NETWORK.seal(ROUTE), {"seen": UNTIL}, "refuted:key-expired"),
        (NETWORK.seal(ROUTE), {"seen": at(-60)}, "refuted:future"),
        (NETWORK.seal(EXECUTION), {}, "refuted:parent"),
        (build_envelope(EXECUTION, NETWORK.gateway.key.key_id, b""), {}, "refuted:signature"),
    ],
)
def test_the_first_step_that_fails_names_the_verdict(entry, options, code):
    assert check(entry, **options).code == code


def test_a_recall_by_a_memory_node_is_in_order():
    signer = ed25519_signer("memory", "statement")
    document = build_key_document("memory", ["memory"], "", [signer.key])
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
    trust = NETWORK.trust(nodes=[{"key_document": b64_encode(document.raw), **span}])
    payload = build_payload(
        "recall",
        run=RUN,
        attester=document.digest,
        claimed_at=at(0),
        parents=[],
        subject=("recall", bytes(32)),
        body={"model": "00" * 32, "record": "00" * 32},
    )
    raw = build_envelope(payload, signer.key.key_id, signer.sign(pre_authentication_encoding(payload)))
    found = check(raw, trust=trust)
    assert found.code == "ok"
    assert found.remember(2) == KnownStatement(2, RUN, "recall", "ok", None, None, None, None, document.digest)


def test_what_is_remembered_is_what_later_checks_ask_for():
    route = check(NETWORK.seal(ROUTE)).remember(2)
    assert route == KnownStatement(2, RUN, "route", "ok", None, NONCE, "stub", "batch", GATEWAY)
    history = Memory((sha256_hex(ROUTE), route))
    execution = check(NETWORK.seal(EXECUTION), history=history, index=3)
    assert execution.code == "ok"
    assert execution.remember(3) == KnownStatement(3, RUN, "execution", "ok", "generated", NONCE, "stub", None, GATEWAY)
    assert execution.remember(3).closing
    assert not route.closing


def test_the_digest_is_the_payloads_and_not_the_envelopes():
    again = build_envelope(ROUTE, "11" * 32, b"")
    assert check(again).digest == check(NETWORK.seal(ROUTE)).digest == sha256_hex(ROUTE)
    assert check(again).code == "refuted:signature"
    assert isinstance(check(again).statement.envelope, Envelope)
