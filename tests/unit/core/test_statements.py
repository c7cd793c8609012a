"""Envelopes and statements: one shape each, typed, and signed under one payload type."""

from __future__ import annotations

import copy
import datetime as dt

import pytest

from holdfast.core import canonical, statements
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.keys import verify_signature
from holdfast.core.statements import (
    Envelope,
    Execution,
    RecallBody,
    build_envelope,
    build_payload,
    parse_commitment,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from holdfast.core.trust import TRUST_PAYLOAD_TYPE
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.network import RUN, Network, at

NETWORK = Network()
ROUTE, EXECUTION = NETWORK.route(), NETWORK.execution()
RAW = NETWORK.seal(ROUTE)
DROP = object()


def code_of(function, *arguments):
    with pytest.raises(MalformedError) as refused:
        function(*arguments)
    return refused.value.code


def edited(value, path, new):
    """A copy of a JSON value with one member replaced, or dropped."""
    value = copy.deepcopy(value)
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    if new is DROP:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


def statement_code(payload, path, new):
    raw = canonical.encode(edited(canonical.decode(payload), path, new))
    return code_of(parse_statement, Envelope(raw, "00" * 32, b"", b""))


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["more"], 1, "envelope.fields"),
        (["payloadType"], "application/json", "envelope.fields"),
        (["payloadType"], TRUST_PAYLOAD_TYPE, "envelope.fields"),
        (["payloadType"], None, "envelope.fields"),
        (["payload"], DROP, "envelope.fields"),
        (["payload"], None, "encoding.base64"),
        (["payload"], "AB==", "encoding.base64"),
        (["signatures"], [], "envelope.signatures"),
        (["signatures"], {}, "envelope.signatures"),
        (["signatures"], None, "envelope.signatures"),
        (["signatures", 0], "x", "envelope.signatures"),
        (["signatures", 0, "more"], 1, "envelope.signatures"),
        (["signatures", 0, "sig"], DROP, "envelope.signatures"),
        (["signatures", 0, "sig"], 1, "encoding.base64"),
        (["signatures", 0, "keyid"], "", "encoding.hex"),
        (["signatures", 0, "keyid"], None, "encoding.hex"),
    ],
)
def test_an_envelope_has_one_shape(path, new, code):
    assert code_of(parse_envelope, canonical.encode(edited(canonical.decode(RAW), path, new))) == code


def test_an_envelope_with_two_signatures_is_refused():
    value = canonical.decode(RAW)
    value["signatures"] *= 2
    assert code_of(parse_envelope, canonical.encode(value)) == "envelope.signatures"


def test_an_envelope_fits_into_a_log_entry():
    room = statements.MAX_ENVELOPE_BYTES - len(build_envelope(b"", "00" * 32, b""))
    fits = build_envelope(b"x" * (room // 4 * 3), "00" * 32, b"")
    assert parse_envelope(fits).raw == fits
    assert code_of(parse_envelope, build_envelope(b"x" * (room // 4 * 3 + 4), "00" * 32, b"")) == "envelope.size"


@pytest.mark.parametrize("raw", [b"[]", b" " + RAW, RAW + b"\n", RAW.replace(b'":"', b'": "', 1)])
def test_an_envelope_has_one_spelling(raw):
    assert code_of(parse_envelope, raw).startswith("json.")


def test_an_envelope_is_read_under_the_type_that_is_asked_for():
    assert code_of(parse_envelope, RAW, TRUST_PAYLOAD_TYPE) == "envelope.fields"


def test_signing_again_makes_no_second_statement():
    again = build_envelope(ROUTE, "11" * 32, b"other")
    assert parse_envelope(again).digest == parse_envelope(RAW).digest == sha256_hex(ROUTE)


@pytest.mark.parametrize(
    ("payload", "payload_type"),
    [(ROUTE, TRUST_PAYLOAD_TYPE), (ROUTE, ""), (ROUTE[:-1], statements.PAYLOAD_TYPE), (b"", statements.PAYLOAD_TYPE)],
)
def test_a_signature_is_for_one_payload_under_one_type(payload, payload_type):
    signature = parse_envelope(RAW).signature
    verify_signature(NETWORK.gateway.key, pre_authentication_encoding(ROUTE), signature)
    with pytest.raises(RefusedError):
        verify_signature(NETWORK.gateway.key, pre_authentication_encoding(payload, payload_type), signature)
    with pytest.raises(RefusedError):
        verify_signature(NETWORK.gateway.key, payload, signature)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"a b", "t"), (b"b", "t 3 a")),
        ((b"", "t 0 "), (b"0 ", "t")),
        ((b"1 x", "a"), (b"x", "a 1")),
        (("é".encode(), "t"), (b"e", "t")),
    ],
)
def test_lengths_keep_type_and_payload_apart(one, other):
    assert pre_authentication_encoding(*one) != pre_authentication_encoding(*other)


def test_lengths_are_in_bytes():
    assert pre_authentication_encoding("é".encode(), "é") == b"DSSEv1 2 \xc3\xa9 2 \xc3\xa9"


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["_type"], "https://in-toto.io/Statement/v0.1", "statement.fields"),
        (["more"], 1, "statement.fields"),
        (["subject"], DROP, "statement.fields"),
        (["predicateType"], "urn:holdfast:route:v2", "statement.kind"),
        (["predicateType"], ["urn:holdfast:route:v1"], "statement.kind"),
        (["subject"], [], "statement.subject"),
        (["subject"], {}, "statement.subject"),
        (["subject", 0], "request", "statement.subject"),
        (["subject", 0, "name"], "the request", "statement.subject"),
        (["subject", 0, "name"], "response", "statement.subject"),
        (["subject", 0, "more"], 1, "statement.subject"),
        (["subject", 0, "digest"], "00", "statement.subject"),
        (["subject", 0, "digest"], {"sha256": "00" * 32}, "statement.subject"),
        (["subject", 0, "digest", "holdfast-parts-v1"], "00" * 32, "statement.subject"),
        (["subject", 0, "digest", "holdfast-parts-v1"], "00", "encoding.hex"),
        (["predicate"], None, "statement.predicate"),
        (["predicate"], [], "statement.predicate"),
        (["predicate", "parents"], DROP, "statement.predicate"),
        (["predicate", "person"], "x", "statement.predicate"),
        (["predicate", "cached"], DROP, "statement.predicate"),
        (["predicate", "run"], None, "statement.run"),
        (["predicate", "run"], RUN.upper(), "statement.run"),
        (["predicate", "run"], RUN + "\n", "statement.run"),
        (["predicate", "run"], RUN.replace("-7", "-1"), "statement.run"),
        (["predicate", "attester"], None, "encoding.hex"),
        (["predicate", "attester"], "00" * 31, "encoding.hex"),
        (["predicate", "claimed_at"], 1, "encoding.time"),
        (["predicate", "parents"], {}, "statement.parents"),
        (["predicate", "parents"], ["00"], "encoding.hex"),
        (["predicate", "parents"], [None], "encoding.hex"),
        (["predicate", "parents"], ["11" * 32, "00" * 32], "statement.parents"),
        (["predicate", "parents"], ["00" * 32, "00" * 32], "statement.parents"),
        (["predicate", "parents"], [f"{number:064x}" for number in range(257)], "statement.parents"),
        (["predicate", "nonce"], "x" * 15, "statement.nonce"),
        (["predicate", "nonce"], "x" * 65, "statement.nonce"),
        (["predicate", "nonce"], "x" * 15 + "é", "statement.nonce"),
        (["predicate", "nonce"], None, "statement.nonce"),
        (["predicate", "parent_run"], None, "statement.parent_run"),
        (["predicate", "parent_run"], "x", "statement.parent_run"),
        (["predicate", "endpoint"], "images", "statement.endpoint"),
        (["predicate", "settlement"], ["batch"], "statement.settlement"),
        (["predicate", "upstream"], "https://example.com", "statement.code"),
        (["predicate", "upstream"], "x" * 65, "statement.code"),
        (["predicate", "cached"], 0, "statement.predicate"),
        (["predicate", "streamed"], "false", "statement.predicate"),
        (["predicate", "rewrites"], {}, "statement.code"),
        (["predicate", "rewrites"], ["model", "holdfast-removed"], "statement.code"),
        (["predicate", "rewrites"], ["model", "model"], "statement.code"),
        (["predicate", "rewrites"], [1], "statement.code"),
        (["predicate", "fallback_from"], [f"u{number}" for number in range(33)], "statement.code"),
        (["predicate", "fallback_from"], ["Two words"], "statement.code"),
        (["predicate", "sent", "root"], "00" * 32, "statement.sent"),
        (["predicate", "request"], None, "statement.sent"),
    ],
)
def test_a_route_that_is_not_one_is_refused(path, new, code):
    assert statement_code(ROUTE, path, new) == code


@pytest.mark.parametrize("size", [0, -1, True, "7", 7.0, None])
def test_a_tree_has_at_least_one_part(size):
    value = canonical.decode(EXECUTION)["predicate"]["response"]
    assert code_of(statements.parse_tree, value | {"size": size}) == "statement.tree"


@pytest.mark.parametrize("value", [None, [], "x", {}, {"root": "00" * 32, "size": 1, "more": 1}])
def test_a_tree_has_exactly_root_and_size(value):
    assert code_of(statements.parse_tree, value) == "statement.tree"


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["predicate", "more"], 1, "statement.predicate"),
        (["predicate", "outcome"], DROP, "statement.predicate"),
        (["predicate", "event"], "delivered", "statement.event"),
        (["predicate", "event"], ["generated"], "statement.event"),
        (["predicate", "outcome"], "It went well", "statement.code"),
        (["predicate", "upstream"], None, "statement.code"),
        (["predicate", "marks"], [], "statement.marks"),
        (["predicate", "marks"], {}, "statement.marks"),
        (["predicate", "marks", "seq"], 0, "statement.marks"),
        (["predicate", "marks", "seq"], True, "statement.marks"),
        (["predicate", "marks", "parts"], "00", "encoding.hex"),
        (["predicate", "response"], None, "statement.response"),
        (["predicate", "response", "root"], "00" * 32, "statement.subject"),
        (["subject", 0, "name"], "request", "statement.subject"),
    ]
    + [(["predicate", "event"], event, "statement.response") for event in ("failed", "interrupted", "disconnected")],
)
def test_an_execution_that_is_not_one_is_refused(path, new, code):
    assert statement_code(EXECUTION, path, new) == code


def test_a_run_without_an_answer_names_its_request():
    body = statements.execution_body(Execution("failed", "upstream.timeout", None, None, "stub"))
    payload = NETWORK.execution(body=body, subject=("request", bytes(32)))
    statement = parse_statement(Envelope(payload, "00" * 32, b"", b""))
    assert statement.body == Execution("failed", "upstream.timeout", None, None, "stub")
    assert statement_code(payload, ["subject", 0, "name"], "response") == "statement.subject"


@pytest.mark.parametrize(("event", "closes"), [("generated", True), ("failed", True), ("disconnected", False)])
def test_a_disconnect_closes_nothing(event, closes):
    assert Execution(event, "x", None, None, "stub").closing is closes


def test_a_statement_reads_back_as_it_was_built():
    statement = parse_statement(parse_envelope(RAW))
    assert (statement.kind, statement.run, statement.digest) == ("route", RUN, sha256_hex(ROUTE))
    assert statement.claimed_at == at(0.5)
    assert (statement.subject_name, statement.subject_root) == ("request", statement.body.request.root)
    assert statements.route_body(statement.body).items() <= statement.predicate.items()
    execution = parse_statement(parse_envelope(NETWORK.seal(EXECUTION)))
    assert statements.execution_body(execution.body).items() <= execution.predicate.items()
    assert execution.parents == (statement.digest,)


def test_optional_members_are_absent_and_not_null():
    body = {"model": "11" * 32, "record": "00" * 32}
    given = {"run": RUN, "attester": "00" * 32, "claimed_at": at(0), "subject": ("recall", bytes(32)), "body": body}
    bare = build_payload("recall", parents=[], **given)
    full = build_payload("recall", parents=["11" * 32, "00" * 32], nonce="n" * 16, parent_run=RUN, **given)
    one, other = (parse_statement(Envelope(payload, "", b"", b"")) for payload in (bare, full))
    assert (one.nonce, one.parent_run, one.body) == (None, None, RecallBody("11" * 32, bytes(32)))
    assert b"nonce" not in bare
    assert (other.nonce, other.parent_run, other.parents) == ("n" * 16, RUN, ("00" * 32, "11" * 32))


@pytest.mark.parametrize(
    "entry",
    [
        b'{"commitment":"' + b"0" * 63 + b'","type":"urn:holdfast:commitment:v1"}',
        b'{"commitment":"' + b"0" * 64 + b'","type":"urn:holdfast:commitment:v2"}',
        b'{"commitment":"' + b"0" * 64 + b'","more":1,"type":"urn:holdfast:commitment:v1"}',
        b'{"commitment":"' + b"0" * 64 + b'", "type":"urn:holdfast:commitment:v1"}',
        b'{"commitment":null,"type":"urn:holdfast:commitment:v1"}',
        b'{"commitment":',
    ],
)
def test_a_broken_commitment_is_refused_and_taken_for_nothing_else(entry):
    assert code_of(parse_commitment, entry).split(".")[0] in {"commitment", "encoding", "json"}


def test_what_is_no_commitment_is_none():
    assert parse_commitment(RAW) is None
    assert parse_commitment(b"") is None
    assert parse_commitment(b'{"commitment":' + b" " * 300) is None


def test_a_commitment_binds_digest_and_salt():
    entry = statements.build_commitment("00" * 32, bytes(32))
    assert parse_commitment(entry).hex() == sha256_hex(bytes(64))
    assert entry != statements.build_commitment("00" * 32, b"\x01" + bytes(31))
    assert entry != statements.build_commitment("01" + "00" * 31, bytes(32))
    assert canonical.encode(canonical.decode(entry)) == entry


@pytest.mark.parametrize("value", ["", "A", "a b", "a..b", "-a", "a-", "a\n", "é", "a" * 65, None, 1, ["a"]])
def test_a_code_is_no_free_text(value):
    assert not statements.is_code(value)


@pytest.mark.parametrize("value", ["a", "a" * 64, "upstream.timeout", "a-b_c.d", "7"])
def test_codes_that_pass(value):
    assert statements.is_code(value)


def test_run_ids_are_of_version_4_or_7():
    assert [
        version
        for version in "123456789abcdef0"
        if statements.is_run_id(f"00000000-0000-{version}000-8000-000000000000")
    ] == ["4", "7"]
    assert not statements.is_run_id("00000000-0000-7000-c000-000000000000")
    assert not statements.is_run_id(None)


def test_a_time_without_zone_is_not_signed():
    with pytest.raises(MalformedError):
        NETWORK.route(claimed_at=dt.datetime(2026, 1, 1))


def test_the_envelope_writer_writes_canonical_json():
    value = {
        "payload": b64_encode(ROUTE),
        "payloadType": statements.PAYLOAD_TYPE,
        "signatures": [{"keyid": "ab" * 32, "sig": b64_encode(b"\xff")}],
    }
    assert build_envelope(ROUTE, "ab" * 32, b"\xff") == canonical.encode(value)
