"""Admission documents, what commits to them, and whether they hold (``admission.md``)."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core import canonical
from holdfast.core.admission_body import AdmissionBody
from holdfast.core.admissions import (
    MAX_DOCUMENT_BYTES,
    Roots,
    Times,
    admission_record,
    coarse_until,
    combine,
    host_name,
    parse_admission,
    parse_presented,
    require_fresh,
    verify_admission,
    verify_observation,
    verify_quorum,
)
from holdfast.core.encoding import sha256, sha256_hex, time_encode
from holdfast.core.quantities import Outcome, Rule, Value
from holdfast.core.statements import (
    RECORD_DIGEST_NAME,
    Route,
    Tree,
    build_envelope,
    build_payload,
    parse_envelope,
    parse_statement,
    route_body,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.admissions import (
    DEFINITION,
    EURO,
    HOST,
    SPKI,
    TLS,
    DataNode,
    admitted,
    digest_of,
    observation,
    refused,
    run_of,
)
from tests.helpers.network import NONCE, RUN, at

NODE = DataNode()
SALT = sha256(b"salt")
TWO = Rule("spread", 2, "0.02")


def quorum(*texts, rule=TWO):
    members = [
        NODE.sign(admitted(observation(Value("decimal", text, "USD"), source=f"s{place}"), name=f"member-{place}"))
        for place, text in enumerate(texts)
    ]
    return NODE.combine(members, rule)


DOCUMENTS = [admitted(), refused(), quorum("1.08", "1.09").document, quorum("1.08", "2").document]


def changed(document, *path_and_value):
    """The document's JSON with one member put to a value, as bytes."""
    *path, value = path_and_value
    found = copy.deepcopy(document.to_json())
    place = found
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return canonical.encode(found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_read_as_it_was_written(document):
    assert parse_admission(document.raw) == document


MALFORMED = [
    (("type", "urn:holdfast:admission:v2"), "admission.fields"),
    (("more", 1), "admission.fields"),
    (("run", "x"), "admission.fields"),
    (("event", "accepted"), "admission.fields"),
    (("event", "refused"), "admission.event"),
    (("event", "combined"), "admission.event"),
    (("observation", None), "admission.event"),
    (("refusal", {"code": "source.stale", "says": "x"}), "admission.event"),
    (("observation", "http", None), "admission.event"),
    (("observation", "request", None), "admission.event"),
    (("observation", "extraction", None), "admission.event"),
    (("observation", "times", "first_byte", None), "admission.event"),
    (("attestation", "AB" * 32), "encoding.hex"),
    (("observation", "source", "id", "Rates"), "admission.fields"),
    (("observation", "source", "version", 0), "admission.fields"),
    (("observation", "parameters", {"PAIR": "x"}), "admission.parameters"),
    (("observation", "parameters", {f"p{n}": "" for n in range(33)}), "admission.parameters"),
    (("observation", "parameters", {"pair": "x" * 2049}), "admission.fields"),
    (("observation", "request", "method", "PUT"), "admission.request"),
    (("observation", "request", "host", "Rates.example"), "admission.request"),
    (("observation", "request", "host", "https://rates.example"), "admission.request"),
    (("observation", "request", "host", "rates.example:0"), "admission.request"),
    (("observation", "credential", "my key"), "admission.fields"),
    (("observation", "tls", "protocol", "TLSv1.1"), "admission.tls"),
    (("observation", "tls", "family", "unix"), "admission.tls"),
    (("observation", "tls", "chain", []), "admission.tls"),
    (("observation", "tls", "sni", "rates.example:443"), "admission.tls"),
    (("observation", "tls", "roots", {"store": "certifi"}), "admission.fields"),
    (("observation", "http", "status", 99), "admission.http"),
    (("observation", "http", "headers", {"set-cookie": "x"}), "admission.http"),
    (("observation", "http", "hosts", [HOST] * 9), "admission.http"),
    (("observation", "extraction", "path", "x" * 1025), "admission.fields"),
    (("observation", "limits", "range", {"least": "2", "most": "1"}), "admission.limits"),
    (("observation", "limits", "pins", [SPKI, SPKI]), "admission.limits"),
    (("observation", "limits", "max_age_s", 31_622_401), "admission.fields"),
]


@pytest.mark.parametrize(("change", "code"), MALFORMED)
def test_a_malformed_document_does_not_exist(change, code):
    with pytest.raises(MalformedError) as caught:
        parse_admission(changed(admitted(), *change))
    assert caught.value.code == code


def test_what_is_refused_shows_no_value():
    shown = admitted().to_json()["observation"]["extraction"]
    with pytest.raises(MalformedError) as caught:
        parse_admission(changed(refused(), "observation", "extraction", shown))
    assert caught.value.code == "admission.event"


def test_a_document_has_a_size():
    with pytest.raises(MalformedError) as caught:
        parse_admission(b" " * (MAX_DOCUMENT_BYTES + 1))
    assert caught.value.code == "admission.size"


QUORUM = quorum("1.08", "1.09").document
MALFORMED_QUORUMS = [
    (("observations", []), "admission.quorum"),
    (("agreed", False), "admission.quorum"),
    (("agreed", 1), "admission.quorum"),
    (("value", None), "admission.quorum"),
    (("observations", [QUORUM.quorum.observations[0].to_json()] * 2), "admission.quorum"),
    (("spread", "0.010"), "admission.decimal"),
    (("observations", [QUORUM.quorum.observations[0].to_json() | {"until": None}]), "admission.quorum"),
    (("observations", [QUORUM.quorum.observations[0].to_json() | {"refusal": "source.stale"}]), "admission.quorum"),
    (
        (
            "observations",
            [
                QUORUM.quorum.observations[0].to_json(),
                QUORUM.quorum.observations[0].to_json() | {"statement": "ff" * 32},
            ],
        ),
        "admission.twice",
    ),
]


@pytest.mark.parametrize(("change", "code"), MALFORMED_QUORUMS)
def test_a_malformed_quorum_does_not_exist(change, code):
    with pytest.raises(MalformedError) as caught:
        parse_admission(changed(QUORUM, "quorum", *change))
    assert caught.value.code == code


# What a document says of itself


HOLDS_NOT = [
    (observation(http=replace(observation().http, status=404)), "admission.status"),
    (observation(http=replace(observation().http, hosts=("other.example",))), "admission.redirected"),
    (observation(tls=None), "admission.certificate"),
    (observation(tls=replace(TLS, roots=None)), "admission.certificate"),
    (observation(tls=replace(TLS, sni="other.example")), "admission.certificate"),
    (observation(tls=replace(TLS, sni=None)), "admission.certificate"),
    (observation(tls=replace(TLS, certificate=digest_of("other"))), "admission.certificate"),
    (observation(tls=replace(TLS, spki=digest_of("other"))), "admission.certificate"),
    (observation(times=Times(at(-5), at(-6), None)), "admission.times"),
    (observation(times=Times(at(-5), at(-4), at(2))), "admission.clock_skew"),
    (observation(times=Times(at(-5), at(-4), at(-70))), "admission.stale"),
    (observation(http=replace(observation().http, headers={"age": "61"})), "admission.stale"),
    (observation(replace(EURO, text="2.0001")), "admission.range"),
    (observation(replace(EURO, text="0.4")), "admission.range"),
    (observation(Value("text", "1.08"), limits=observation().limits), "admission.range"),
]


@pytest.mark.parametrize(("seen", "code"), HOLDS_NOT)
def test_a_document_that_breaks_its_own_rules_is_refused(seen, code):
    document = parse_admission(admitted(seen).raw)
    with pytest.raises(RefusedError) as caught:
        verify_observation(document)
    assert caught.value.code == code


def test_a_document_that_was_decided_before_its_answer_came_is_refused():
    with pytest.raises(RefusedError) as caught:
        verify_observation(admitted(at=at(-5)))
    assert caught.value.code == "admission.times"


def test_another_definition_than_was_used_is_refused():
    with pytest.raises(RefusedError) as caught:
        verify_observation(admitted(), DEFINITION + b" ")
    assert caught.value.code == "admission.definition"


HOLDS = [
    observation(),
    observation(http=replace(observation().http, hosts=(HOST,))),
    observation(times=Times(at(-5), at(-4), at(0))),
    observation(http=replace(observation().http, headers={"age": "50"})),
    observation(tls=None, limits=replace(observation().limits, pins=())),
    observation(host="[::1]:8443", tls=replace(TLS, sni=None)),
    observation(host="127.0.0.1:8443", tls=replace(TLS, sni=None)),
    observation(tls=replace(TLS, chain=None)),
]


@pytest.mark.parametrize("seen", HOLDS)
def test_a_document_that_keeps_its_own_rules_holds(seen):
    document = parse_admission(admitted(seen).raw)
    verify_observation(document, DEFINITION)
    assert verify_quorum(document, {})


def test_a_refusal_holds_whatever_it_saw():
    verify_observation(refused(seen=observation(None, http=None, tls=None, request=None)))


def test_a_host_is_named_without_its_port_and_an_address_not_at_all():
    assert host_name("rates.example:8443") == HOST
    assert host_name("10.0.0.1") is None
    assert host_name("[2001:db8::1]") is None


# Freshness


def test_a_value_is_as_old_as_its_source_says_it_is():
    seen = observation(times=Times(at(-5), at(-4), at(-20)))
    assert (seen.as_of, seen.fresh_until) == (at(-20), at(40))
    assert admitted(seen).age(at(0)) == dt.timedelta(seconds=20)


def test_without_a_time_of_its_own_a_value_is_as_old_as_its_question_and_its_cache():
    seen = observation(http=replace(observation().http, headers={"age": "7"}))
    assert seen.as_of == at(-12)


@pytest.mark.parametrize("age", ["", "-7", "7.5", "seven", "1" * 11])
def test_an_age_that_is_none_makes_a_value_no_younger(age):
    assert observation(http=replace(observation().http, headers={"age": age})).as_of == at(-5)


def test_an_age_is_never_below_zero():
    assert admitted(observation(times=Times(at(-5), at(-4), at(0)))).age(at(-1)) == dt.timedelta()


def test_a_refusal_has_no_age():
    document = refused()
    assert (document.as_of, document.fresh_until, document.age(at(0)), document.value) == (None, None, None, None)
    assert coarse_until(document) is None
    require_fresh(document, at(10_000))


def test_what_is_fresh_no_longer_is_refused_to_the_millisecond():
    require_fresh(admitted(), at(55))
    with pytest.raises(RefusedError) as caught:
        require_fresh(admitted(), at(55.001))
    assert (caught.value.code, caught.value.status) == ("admission.stale", 409)


def test_the_log_is_told_the_minute_after_which_it_is_stale():
    assert coarse_until(admitted()) == at(60)
    assert coarse_until(admitted(observation(seconds=0))) == at(60)


# The record


def test_the_record_is_salted():
    assert admission_record(b"x", SALT) == sha256(b"urn:holdfast:admission-record:v1\x00" + SALT + b"x")
    with pytest.raises(UsageError):
        admission_record(b"x", SALT[:-1])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_record_opens_to_its_document(document):
    signed = NODE.sign(document)
    assert verify_admission(signed.statement, document.raw, signed.salt) == document


OPENS_NOT = [
    ({"run": run_of("other")}, "admission.run"),
    ({"body": {"event": "refused", "until": None}}, "admission.event"),
    ({"body": {"attestation": digest_of("evidence")}}, "admission.attestation"),
    ({"body": {"until": time_encode(at(120))}}, "admission.until"),
    ({"claimed_at": at(-120)}, "admission.at"),
]


@pytest.mark.parametrize(("change", "code"), OPENS_NOT)
def test_a_document_that_tells_of_something_else_than_its_statement_is_refused(change, code):
    signed = NODE.sign(admitted(), **change)
    with pytest.raises(RefusedError) as caught:
        verify_admission(signed.statement, signed.document.raw, signed.salt)
    assert caught.value.code == code


def test_another_document_is_refused():
    signed = NODE.sign(admitted())
    with pytest.raises(RefusedError) as caught:
        verify_admission(signed.statement, admitted(observation(replace(EURO, text="1.1"))).raw, signed.salt)
    assert caught.value.code == "admission.record"


def test_a_quorum_combines_the_statements_that_it_follows():
    document = quorum("1.08", "1.09").document
    signed = NODE.sign(document, parents=["11" * 32, "22" * 32])
    with pytest.raises(RefusedError) as caught:
        verify_admission(signed.statement, document.raw, signed.salt)
    assert caught.value.code == "admission.parents"


def test_only_an_admission_commits_to_an_admission():
    signed = NODE.sign(admitted())
    other = replace(signed.statement, kind="recall", body=None)
    with pytest.raises(RefusedError) as caught:
        verify_admission(other, signed.document.raw, signed.salt)
    assert caught.value.code == "admission.record"


# Quorums


def test_a_quorum_holds_against_its_rule_and_its_observations():
    signed = quorum("1.08", "1.09", "1.085")
    shown = {item.digest: (item.statement, item.document) for item in signed.members}
    assert verify_quorum(signed.document, shown)
    assert not verify_quorum(signed.document, {})
    assert signed.document.value == Value("decimal", "1.085", "USD")


def test_a_quorum_that_its_rule_does_not_make_is_refused():
    document = quorum("1.08", "2").document
    agreed = replace(document, quorum=replace(document.quorum, outcome=Outcome(agreed=True, spread="0.92", value=EURO)))
    with pytest.raises(RefusedError) as caught:
        verify_quorum(parse_admission(agreed.raw), {})
    assert caught.value.code == "admission.rule"


def test_an_observation_that_its_own_admission_does_not_make_is_refused():
    signed = quorum("1.08", "1.09")
    lied = signed.members[0]
    other = replace(lied.document, observation=observation(replace(EURO, text="1.07"), source="s0"))
    with pytest.raises(RefusedError) as caught:
        verify_quorum(signed.document, {lied.digest: (lied.statement, other)})
    assert caught.value.code == "admission.observation"


def test_a_quorum_is_as_old_as_its_oldest_value_and_fresh_as_long_as_its_first():
    first = NODE.sign(admitted(observation(seconds=-9, source="s0"), name="a"))
    second = NODE.sign(admitted(observation(seconds=-5, source="s1"), name="b"))
    document = NODE.combine([first, second, NODE.sign(refused(seen=observation(None, source="s2")))], TWO).document
    assert (document.as_of, document.fresh_until) == (at(-9), at(51))
    assert [item.refusal for item in document.quorum.observations].count("source.stale") == 1


def test_what_is_refused_counts_for_no_agreement():
    one = NODE.sign(admitted(observation(source="s0")))
    none = NODE.sign(refused(seen=observation(None, source="s1")))
    assert not NODE.combine([one, none], Rule("exact", 2)).document.quorum.outcome.agreed
    empty = NODE.combine([none], Rule("exact", 1)).document
    assert (empty.as_of, empty.fresh_until, empty.value) == (None, None, None)
    assert parse_admission(empty.raw) == empty


def test_no_source_is_asked_twice_through_one_node():
    twice = [NODE.sign(admitted(name="a")), NODE.sign(admitted(name="b"))]
    with pytest.raises(RefusedError) as caught:
        NODE.combine(twice, TWO)
    assert caught.value.code == "admission.twice"
    assert NODE.combine([twice[0], DataNode("data-2").sign(admitted(name="b"))], TWO).document.quorum.outcome.agreed


def test_a_quorum_combines_no_quorum():
    one = quorum("1.08")
    with pytest.raises(RefusedError) as caught:
        NODE.combine([one], TWO)
    assert caught.value.code == "admission.observation"


def test_a_quorum_has_observations():
    with pytest.raises(UsageError):
        combine([], TWO)


# What the log is told


def test_the_predicate_commits_and_tells_nothing_else():
    statement = NODE.sign(admitted()).statement
    assert isinstance(statement.body, AdmissionBody)
    assert statement.predicate.keys() == {
        "event",
        "record",
        "until",
        "attestation",
        "run",
        "attester",
        "claimed_at",
        "parents",
    }
    subject = canonical.decode(statement.envelope.payload)["subject"]
    assert subject == [{"name": "admission", "digest": {RECORD_DIGEST_NAME: statement.body.record.hex()}}]


TELLS_TOO_MUCH = [
    {"run": RUN},
    {"nonce": "a-nonce-of-the-client"},
    {"parent_run": RUN},
    {"claimed_at": at(-5)},
    {"parents": ["11" * 32]},
    {"body": {"until": time_encode(at(55))}},
    {"body": {"until": None}},
    {"body": {"event": "accepted"}},
]


@pytest.mark.parametrize("change", TELLS_TOO_MUCH)
def test_a_statement_that_tells_the_log_more_is_malformed(change):
    with pytest.raises(MalformedError) as caught:
        _ = NODE.sign(admitted(), **change).statement
    assert caught.value.code == "statement.admission"


@pytest.mark.parametrize("change", [{"body": {"url": "https://rates.example"}}, {"body": {"source": "rates"}}])
def test_no_url_and_no_source_goes_into_the_log(change):
    with pytest.raises(MalformedError) as caught:
        _ = NODE.sign(admitted(), **change).statement
    assert caught.value.code == "statement.predicate"


def test_the_subject_is_the_record():
    with pytest.raises(MalformedError) as caught:
        _ = NODE.sign(admitted(), subject=("admission", SALT)).statement
    assert caught.value.code == "statement.subject"


def test_a_combined_statement_follows_what_it_combines():
    with pytest.raises(MalformedError) as caught:
        _ = NODE.sign(quorum("1.08").document, parents=[]).statement
    assert caught.value.code == "statement.admission"


def test_a_refusal_is_fresh_at_no_time():
    with pytest.raises(MalformedError) as caught:
        _ = NODE.sign(refused(), body={"until": time_encode(at(60))}).statement
    assert caught.value.code == "statement.admission"


# The route


def routed(**change):
    tree = Tree(SALT, 3)
    body = route_body(
        Route(tree, tree, "chat.completions", "stub", (), (), cached=False, settlement="batch", streamed=False)
    )
    given = {
        "run": RUN,
        "attester": SALT.hex(),
        "claimed_at": at(2),
        "parents": ["11" * 32],
        "subject": ("request", SALT),
        "nonce": NONCE,
        "body": body | {"admitted_at": time_encode(at(1))} | change.pop("body", {}),
    }
    return parse_statement(parse_envelope(build_envelope(build_payload("route", **given | change), "22" * 32, b"")))


def test_a_route_says_when_it_admitted():
    statement = routed()
    assert statement.body.admitted_at == at(1)
    assert route_body(statement.body)["admitted_at"] == time_encode(at(1))


@pytest.mark.parametrize("change", [{"parents": []}, {"claimed_at": at(0)}])
def test_a_route_admits_something_and_before_it_ends(change):
    with pytest.raises(MalformedError) as caught:
        routed(**change)
    assert caught.value.code == "statement.admitted_at"


def test_on_the_private_path_a_route_admits_at_a_minute():
    path = {"config": "11" * 32, "suite": "aes-128-gcm", "profile": "json", "relay": None}
    given = {"run": run_of("private"), "claimed_at": at(60)}
    with pytest.raises(MalformedError) as caught:
        routed(body={"path": path}, **given)
    assert caught.value.code == "statement.path"
    assert routed(body={"path": path, "admitted_at": time_encode(at(0))}, **given).body.admitted_at == at(0)


# Presented


@pytest.mark.parametrize("signed", [NODE.sign(admitted()), quorum("1.08", "1.09")])
def test_what_is_presented_is_read_as_it_was_written(signed):
    given = signed.presented
    assert parse_presented(given.to_json() | {"digest": signed.digest}) == given


PRESENTED = NODE.sign(admitted()).presented.to_json()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"more": 1}, "admission.presented"),
        ({"envelope": "x"}, "admission.presented"),
        ({"document": None}, "admission.presented"),
        ({"members": None}, "admission.presented"),
        ({"members": [PRESENTED] * 65}, "admission.presented"),
        ({"members": [PRESENTED | {"members": [PRESENTED]}]}, "admission.presented"),
        ({"definition": 1}, "admission.presented"),
        ({"definition": "x" * 65_537}, "admission.presented"),
        ({"salt": "ab"}, "encoding.hex"),
        ({"document": "\ud800"}, "json.surrogate"),
    ],
)
def test_what_is_presented_malformed_is_refused(change, code):
    with pytest.raises(HoldfastError) as caught:
        parse_presented(PRESENTED | change)
    assert caught.value.code == code


def test_a_definition_is_known_by_its_digest():
    assert admitted().observation.source.definition == sha256_hex(DEFINITION)


def test_a_pinned_peer_is_one_that_the_definition_names():
    assert observation().pinned
    assert not observation(limits=replace(observation().limits, pins=())).pinned
    assert not observation(tls=None).pinned
    assert observation(tls=replace(TLS, roots=Roots("system", None))).pinned
