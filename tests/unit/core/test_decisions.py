"""Decision documents, what commits to them, and the cases of one recall (``statement.md`` §4.3)."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core import canonical, merkle
from holdfast.core.decisions import (
    MAX_DOCUMENT_BYTES,
    CasePath,
    batch_of,
    claimed_time,
    parse_case_path,
    parse_decision_document,
    path_in_batch,
    record_of,
    verify_decision,
    verify_in_batch,
)
from holdfast.core.encoding import sha256, sha256_hex, time_encode
from holdfast.core.statements import (
    DIGEST_NAME,
    RECORD_DIGEST_NAME,
    DecisionBody,
    Tree,
    decision_body,
    parse_envelope,
    parse_statement,
)
from holdfast.errors import MalformedError, RefusedError, UsageError
from tests.helpers.decisions import CASE, LANES, OTHER_CASE, POLICY, SALT, Made, document
from tests.helpers.network import NONCE, RUN, Network, at

OTHER_RUN = RUN[:-1] + "0"
NETWORK = Network()


def refusal(kind, function, *arguments):
    with pytest.raises(kind) as refused:
        function(*arguments)
    return refused.value.code


def statement(made):
    return parse_statement(parse_envelope(made.envelope))


def opened(made, **change):
    given = {"document": made.document.raw, "salt": made.salt, "path": None} | change
    return verify_decision(statement(made), given["document"], given["salt"], given["path"])


# The document


def changed(**change):
    return canonical.encode(canonical.decode(document().raw) | change)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "urn:holdfast:decision:v2"}, "decision.fields"),
        ({"score": 1}, "decision.fields"),
        ({"case": "case-1"}, "decision.fields"),
        ({"case": CASE.upper()}, "decision.fields"),
        ({"run": None}, "decision.fields"),
        ({"queue": "My claims"}, "decision.fields"),
        ({"act": "bless"}, "decision.fields"),
        ({"act": ["approve"]}, "decision.fields"),
        ({"person": None}, "decision.person"),
        ({"person": None, "role": None}, "decision.person"),
        ({"person": None, "role": "reviewer", "act": "recall"}, "decision.person"),
        ({"person": ""}, "decision.person"),
        ({"person": "a" * 257}, "decision.person"),
        ({"person": 1}, "decision.person"),
        ({"role": None}, "decision.person"),
        ({"role": "Head of claims"}, "decision.person"),
        ({"reason": None}, "decision.text"),
        ({"reason": "a" * 8193}, "decision.text"),
        ({"rule": ""}, "decision.text"),
        ({"threshold": 1}, "decision.text"),
        ({"framing": "a" * 8193}, "decision.text"),
        ({"act": "release"}, "decision.until"),
        ({"until": time_encode(at(9))}, "decision.until"),
        ({"act": "release", "until": time_encode(at(2))}, "decision.until"),
        ({"act": "release", "until": "soon"}, "encoding.time"),
        ({"at": "2026-01-01"}, "encoding.time"),
    ],
)
def test_a_document_says_who_what_and_when_in_one_way(change, code):
    assert refusal(MalformedError, parse_decision_document, changed(**change)) == code


def test_a_document_has_one_spelling_and_an_end():
    assert refusal(MalformedError, parse_decision_document, document().raw + b" ") == "json.spelling"
    assert refusal(MalformedError, parse_decision_document, b" " * (MAX_DOCUMENT_BYTES + 1)) == "decision.size"
    for name in canonical.decode(document().raw):
        less = {key: value for key, value in canonical.decode(document().raw).items() if key != name}
        assert refusal(MalformedError, parse_decision_document, canonical.encode(less)) == "decision.fields"


@pytest.mark.parametrize(
    "found",
    [
        document(),
        document(reason="", rule=None, threshold=None, framing=None),
        document(act="release", until=at(60)),
        document(act="recall", person=None, role=None),
        document(person="Änn \u202e Example", reason='"\n\x00'),
        document(person="a" * 256, reason="a" * 8192, role="policy_owner"),
        document(person="\x00" * 256, **dict.fromkeys(("reason", "rule", "threshold", "framing"), "\x01" * 8192)),
    ],
)
def test_a_document_reads_back_as_it_was_written(found):
    assert parse_decision_document(found.raw) == found


# The statement


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"act": "bless"}, "statement.act"),
        ({"act": None}, "statement.act"),
        ({"case": "case-1"}, "statement.case"),
        ({"case": None}, "statement.case"),
        ({"lanes": "00" * 31}, "encoding.hex"),
        ({"policy": None}, "encoding.hex"),
        ({"record": "00" * 32}, "statement.subject"),
        ({"cases": {"root": "00" * 32, "size": 2}}, "statement.cases"),
        ({"act": "recall", "cases": {"root": "00" * 32, "size": 0}}, "statement.tree"),
        ({"act": "recall", "cases": []}, "statement.tree"),
        ({"person": "Ann Example"}, "statement.predicate"),
    ],
)
def test_a_decision_statement_is_read_strictly(body, code):
    assert refusal(MalformedError, statement, Made(body=body)) == code


@pytest.mark.parametrize("subject", [("decision", bytes(32)), ("lanes", record_of(document().raw, SALT))])
def test_a_decisions_subject_is_its_record(subject):
    assert refusal(MalformedError, statement, Made(subject=subject)) == "statement.subject"


def test_a_record_does_not_pass_for_a_tree_of_parts_nor_the_other_way_round():
    assert canonical.decode(Made().payload)["subject"][0]["digest"].keys() == {RECORD_DIGEST_NAME}
    assert canonical.decode(NETWORK.route())["subject"][0]["digest"].keys() == {DIGEST_NAME}
    for payload, name, other in (
        (Made().payload, RECORD_DIGEST_NAME, DIGEST_NAME),
        (NETWORK.route(), DIGEST_NAME, RECORD_DIGEST_NAME),
    ):
        exchanged = NETWORK.seal(payload.replace(name.encode(), other.encode()))
        assert refusal(MalformedError, parse_statement, parse_envelope(exchanged)) == "statement.subject"


def test_nothing_of_who_and_why_stands_in_the_statement():
    made = Made()
    for text in (b"Ann", b"reviewer", b"quote", b"claims", b"framing", b"0.70", SALT, SALT.hex().encode()):
        assert text not in made.payload
    body = statement(made).body
    assert body == DecisionBody("approve", CASE, LANES, POLICY, record_of(made.document.raw, SALT), None)
    assert decision_body(body)["cases"] is None


# Opening


def test_a_record_opens_to_its_document_and_nothing_else():
    made = Made()
    assert opened(made) == made.document
    assert record_of(made.document.raw, SALT) == sha256(
        b"urn:holdfast:decision-record:v1\x00" + SALT + made.document.raw
    )
    for change in (
        {"person": "Ben Example"},
        {"role": "approver"},
        {"reason": "Better words."},
        {"rule": None},
        {"threshold": "0.71"},
        {"framing": "Another."},
        {"queue": "other"},
        {"at": at(3)},
        {"case": OTHER_CASE},
    ):
        other = replace(made.document, **change).raw
        assert refusal(RefusedError, lambda raw=other: opened(made, document=raw)) == "decision.record"
    assert refusal(RefusedError, lambda: opened(made, salt=bytes(32))) == "decision.record"
    assert refusal(UsageError, record_of, b"", bytes(31)) == "decision.salt"


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (Made(body={"case": OTHER_CASE}), "decision.case"),
        (Made(body={"act": "reject"}), "decision.act"),
        (Made(document(run=OTHER_RUN)), "decision.run"),
        (Made(claimed_at=at(1.999)), "decision.at"),
        (Made(document(at=at(62)), claimed_at=at(0)), "decision.at"),
    ],
)
def test_a_panel_cannot_sign_one_thing_and_commit_to_another(made, code):
    assert refusal(RefusedError, opened, made) == code


@pytest.mark.parametrize("claimed_at", [at(2), at(3), at(3600), at(0)])
def test_a_statement_is_signed_with_its_decision_or_later_or_rounded_to_the_minute(claimed_at):
    assert opened(Made(claimed_at=claimed_at)).at == at(2)


def test_a_time_is_rounded_down_for_private_runs_only():
    moment = at(59.999)
    assert claimed_time(moment, private=False) == moment
    assert claimed_time(moment, private=True) == at(0)
    assert claimed_time(moment + dt.timedelta(minutes=1), private=True) == at(60)


def test_another_kind_of_statement_opens_to_nothing():
    route = parse_statement(parse_envelope(NETWORK.seal(NETWORK.route())))
    assert refusal(RefusedError, verify_decision, route, document().raw, SALT, None) == "decision.record"


# Many cases


def cases(count):
    return [f"{number:08x}-0000-4000-8000-000000000000" for number in range(count)]


def test_a_batch_is_over_sorted_case_ids():
    listed = cases(5)
    assert batch_of(reversed(listed)) == batch_of(listed)
    assert batch_of(listed) == Tree(merkle.root([merkle.leaf_hash(case.encode()) for case in listed]), 5)
    assert batch_of(listed) != batch_of(listed[:4])


@pytest.mark.parametrize("listed", [[], [CASE, CASE], ["case-1"], [CASE, ""]])
def test_a_batch_holds_case_ids_each_once(listed):
    assert refusal(UsageError, batch_of, listed) == "decision.cases"


def test_a_path_leads_from_its_own_case_to_its_own_batch():
    listed = [*cases(6), CASE]
    tree = batch_of(listed)
    for case in listed:
        path = path_in_batch(listed, case)
        verify_in_batch(case, path, tree)
        assert parse_case_path(path.to_json()) == path
        assert refusal(RefusedError, verify_in_batch, OTHER_CASE, path, tree) == "decision.batch"
        assert refusal(RefusedError, verify_in_batch, case, path, batch_of(cases(7))) == "decision.batch"
        moved = replace(path, index=(path.index + 1) % 7)
        assert refusal(RefusedError, verify_in_batch, case, moved, tree) == "decision.batch"
        assert refusal(RefusedError, verify_in_batch, case, CasePath(path.index, ()), tree) == "decision.batch"
        assert refusal(RefusedError, verify_in_batch, case, replace(path, index=99), tree) == "decision.batch"
    assert refusal(UsageError, path_in_batch, listed, OTHER_CASE) == "decision.cases"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "decision.path"),
        ({"index": 0}, "decision.path"),
        ({"index": 0, "proof": [], "size": 1}, "decision.path"),
        ({"index": -1, "proof": []}, "decision.path"),
        ({"index": True, "proof": []}, "decision.path"),
        ({"index": 0, "proof": "00"}, "decision.path"),
        ({"index": 0, "proof": ["00" * 32] * 65}, "decision.path"),
        ({"index": 0, "proof": ["00" * 31]}, "encoding.hex"),
    ],
)
def test_a_path_is_read_strictly(value, code):
    assert refusal(MalformedError, parse_case_path, value) == code


def test_a_recall_shows_that_its_case_is_among_those_recalled():
    listed = [*cases(6), CASE]
    made = Made(document(act="recall"), cases=listed)
    path = path_in_batch(listed, CASE)
    assert opened(made, path=path) == opened(made) == made.document
    without = Made(document(act="recall"), cases=cases(6))
    assert refusal(RefusedError, lambda: opened(without, path=path_in_batch(cases(6), cases(6)[0]))) == "decision.batch"
    assert refusal(RefusedError, lambda: opened(Made(), path=CasePath(0, ()))) == "decision.batch"


def test_the_digest_is_of_the_payload():
    made = Made(nonce=NONCE)
    assert statement(made).digest == made.digest == sha256_hex(made.payload)
    assert statement(made).nonce == NONCE
