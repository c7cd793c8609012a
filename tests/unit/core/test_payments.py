"""Payment documents, what commits to them, and whether they add up (``statement.md`` §4.6)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from holdfast.core import canonical, pricing
from holdfast.core.encoding import sha256, time_encode
from holdfast.core.payments import (
    MAX_DOCUMENT_BYTES,
    NOT_EVIDENCE_OF,
    PaymentDocument,
    build_payment_document,
    claimed_time,
    explain,
    parse_charge,
    parse_payment_document,
    payment_record,
    reported_usage,
    verify_amounts,
    verify_authorisation,
    verify_payment_document,
    verify_prices,
    verify_terms,
    verify_usage,
)
from holdfast.core.statements import (
    PAYMENT_EVENTS,
    RECORD_DIGEST_NAME,
    PaymentBody,
    Tree,
    parse_envelope,
    parse_statement,
    payment_body,
)
from holdfast.errors import MalformedError, RefusedError, UsageError
from tests.helpers.network import RUN, Network, at
from tests.helpers.payment_documents import (
    ASSET,
    AUTHORISATION,
    CARD,
    CHAIN,
    CHARGE,
    CREDIT,
    PAYEE,
    PAYER,
    RATE,
    REFUND,
    SALT,
    TRANSACTION,
    Paid,
    document,
)

OTHER_RUN = RUN[:-1] + "0"
NETWORK = Network()


def refusal(kind, function, *arguments):
    with pytest.raises(kind) as refused:
        function(*arguments)
    return refused.value.code


def statement(made):
    return parse_statement(parse_envelope(made.envelope))


def opened(made, **change):
    given = {"document": made.document.raw, "salt": made.salt} | change
    return verify_payment_document(statement(made), given["document"], given["salt"])


def changed(base=None, **change):
    return canonical.encode(canonical.decode((base or document()).raw) | change)


# The document


RATE_JSON = RATE.to_json()
CHARGE_JSON = CHARGE.to_json()
LINE = CHARGE_JSON["lines"][0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "urn:holdfast:payment:v2"}, "payment_document.fields"),
        ({"tip": "1"}, "payment_document.fields"),
        ({"run": "run-1"}, "payment_document.fields"),
        ({"event": "paid"}, "payment_document.fields"),
        ({"event": ["charged"]}, "payment_document.fields"),
        ({"timing": "later"}, "payment_document.fields"),
        ({"scheme": "deferred"}, "payment_document.fields"),
        ({"not_evidence_of": []}, "payment_document.scope"),
        ({"not_evidence_of": list(reversed(NOT_EVIDENCE_OF))}, "payment_document.scope"),
        ({"not_evidence_of": [*NOT_EVIDENCE_OF, "route"]}, "payment_document.scope"),
        ({"at": "2026-01-01"}, "encoding.time"),
        ({"deadline": "soon"}, "encoding.time"),
        ({"network": ""}, "payment_document.fields"),
        ({"network": "a" * 129}, "payment_document.fields"),
        ({"asset": 1}, "payment_document.fields"),
        ({"network": "base"}, "payment_document.rate"),
        ({"network": "base", "rate": None}, "payment_document.scheme"),
        ({"network": None, "rate": None}, "payment_document.scheme"),
        ({"network": "eip155:0", "rate": None}, "payment_document.scheme"),
        ({"asset": None, "rate": None}, "payment_document.scheme"),
        ({"asset": PAYEE}, "payment_document.rate"),
        ({"payee": None}, "payment_document.scheme"),
        ({"payee": PAYEE.upper()}, "evm.address"),
        ({"payer": "claims"}, "evm.address"),
        ({"payer": None}, "payment_document.scheme"),
        ({"authorised": None}, "payment_document.scheme"),
        ({"authorisation": None}, "payment_document.scheme"),
        ({"authorisation": AUTHORISATION[2:]}, "encoding.hex"),
        ({"price_card": "card"}, "encoding.hex"),
        ({"asked": None}, "payment_document.scheme"),
        ({"asked": 500}, "payment_document.number"),
        ({"asked": "0500"}, "payment_document.number"),
        ({"asked": "-1"}, "payment_document.number"),
        ({"asked": "5.0"}, "payment_document.number"),
        ({"authorised": str(2**256)}, "payment_document.number"),
        ({"authorised": "9" * 78}, "payment_document.number"),
        ({"captured": "70"}, "payment_document.event"),
        ({"transaction": TRANSACTION}, "payment_document.event"),
        ({"transaction": TRANSACTION.upper()}, "payment_document.transaction"),
        ({"transaction": TRANSACTION[:-1]}, "payment_document.transaction"),
        ({"transaction": 1}, "payment_document.transaction"),
        ({"reason": "payment.balance"}, "payment_document.event"),
        ({"reason": "No money."}, "payment_document.reason"),
        ({"charge": None}, "payment_document.event"),
        ({"request": None}, "statement.tree"),
        ({"response": None}, "statement.tree"),
        ({"response": "delivered"}, "statement.tree"),
        ({"rate": RATE_JSON | {"usd": "0"}}, "pricing.rate"),
        ({"scheme": "credit"}, "payment_document.scheme"),
        ({"timing": "credit"}, "payment_document.scheme"),
        ({"charge": []}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"tip": "1"}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": []}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE] * 6}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": LINE}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"amount": None}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"amount": "x"}}, "payment_document.number"),
        ({"charge": CHARGE_JSON | {"capped": 1}}, "payment_document.number"),
        ({"charge": CHARGE_JSON | {"usd": "0.10"}}, "pricing.decimal"),
        ({"charge": CHARGE_JSON | {"lines": [[]]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"note": 1}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"what": "goodwill"}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"per": 1}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"per": True}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"quantity": -1}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"quantity": True}]}}, "payment_document.charge"),
        ({"charge": CHARGE_JSON | {"lines": [LINE | {"price": "2.50"}]}}, "pricing.decimal"),
    ],
)
def test_a_document_says_what_was_paid_in_one_way(change, code):
    assert refusal(MalformedError, parse_payment_document, changed(**change)) == code


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (document("offered", payer=PAYER), "payment_document.scheme"),
        (document("offered", charge=CHARGE), "payment_document.event"),
        (document("authorised", response=NETWORK.response_parts.tree), "payment_document.event"),
        (document("authorised", reason="x.y"), "payment_document.event"),
        (document("captured", captured=None, transaction=None), "payment_document.event"),
        (document("captured", transaction=None), "payment_document.event"),
        (document("captured", captured=0), "payment_document.event"),
        (document("captured", reason="x.y"), "payment_document.event"),
        (document("lapsed", reason=None), "payment_document.event"),
        (document("lapsed", captured=70, transaction=TRANSACTION), "payment_document.event"),
        (document("failed", reason=None), "payment_document.event"),
        (document("refund_due", reason=None), "payment_document.event"),
        (document("refunded", transaction=None), "payment_document.event"),
        (document(**CREDIT | {"payee": PAYEE}), "payment_document.scheme"),
        (document(**CREDIT | {"authorised": 500}), "payment_document.scheme"),
        (document(**CREDIT | {"authorisation": AUTHORISATION}), "payment_document.scheme"),
        (document(**CREDIT | {"deadline": at(60)}), "payment_document.scheme"),
        (document("captured", **CREDIT | {"transaction": TRANSACTION}), "payment_document.scheme"),
        (document(**CREDIT | {"asset": None}), "payment_document.rate"),
    ],
)
def test_what_a_document_says_belongs_to_its_event_and_scheme(found, code):
    assert refusal(MalformedError, parse_payment_document, found.raw) == code


def test_a_document_has_one_spelling_and_an_end():
    assert refusal(MalformedError, parse_payment_document, document().raw + b" ") == "json.spelling"
    assert refusal(MalformedError, parse_payment_document, b" " * (MAX_DOCUMENT_BYTES + 1)) == "payment_document.size"
    for name in canonical.decode(document().raw):
        less = {key: value for key, value in canonical.decode(document().raw).items() if key != name}
        assert refusal(MalformedError, parse_payment_document, canonical.encode(less)) == "payment_document.fields"


@pytest.mark.parametrize(
    "found",
    [
        *(document(event) for event in PAYMENT_EVENTS),
        document(response="undelivered"),
        document("captured", captured=0, transaction=None),
        document(**CREDIT),
        document("refunded", **CREDIT),
        document(**CREDIT | {"rate": None, "asset": None, "network": None, "payer": None, "price_card": None}),
        document(authorised=2**256 - 1, deadline=None),
        document(rate=replace(RATE, asset=ASSET.upper().replace("X", "x"))),
    ],
)
def test_a_document_reads_back_as_it_was_written(found):
    assert parse_payment_document(found.raw) == found


def test_a_document_is_built_from_what_a_server_has():
    given = {item.name: getattr(document(), item.name) for item in fields(PaymentDocument)}
    given |= {"asset": ASSET.upper().replace("X", "x"), "payer": PAYER.upper().replace("X", "x")}
    assert build_payment_document(given.pop("event"), **given) == document()
    undelivered = build_payment_document("charged", **given | {"response": None})
    assert undelivered.response == "undelivered"
    assert refusal(MalformedError, lambda: build_payment_document("captured", **given)) == "payment_document.event"


# The statement


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"event": "paid"}, "statement.payment"),
        ({"event": None}, "statement.payment"),
        ({"record": "00" * 32}, "statement.subject"),
        ({"record": "00" * 31}, "encoding.hex"),
        ({"amount": "70"}, "statement.predicate"),
    ],
)
def test_a_payment_statement_is_read_strictly(body, code):
    assert refusal(MalformedError, statement, Paid(body=body)) == code


@pytest.mark.parametrize("subject", [("payment", bytes(32)), ("request", payment_record(document().raw, SALT))])
def test_a_payments_subject_is_its_record(subject):
    assert refusal(MalformedError, statement, Paid(subject=subject)) == "statement.subject"


def test_nothing_of_who_paid_whom_how_much_stands_in_the_statement():
    made = Paid(document("captured"))
    found = canonical.decode(made.payload)
    assert found["subject"][0]["digest"].keys() == {RECORD_DIGEST_NAME}
    for text in (
        PAYER,
        PAYEE,
        ASSET,
        CHAIN,
        '"70"',
        '"500"',
        TRANSACTION,
        AUTHORISATION,
        CARD.digest,
        "upto",
        SALT.hex(),
    ):
        assert text.encode() not in made.payload.replace(found["predicate"]["record"].encode(), b"")
    body = statement(made).body
    assert body == PaymentBody("captured", payment_record(made.document.raw, SALT))
    assert payment_body(body) == {"event": "captured", "record": body.record.hex()}


# Opening


def test_a_record_opens_to_its_document_and_nothing_else():
    made = Paid(document("captured"))
    assert opened(made) == made.document
    assert payment_record(made.document.raw, SALT) == sha256(
        b"urn:holdfast:payment-record:v1\x00" + SALT + made.document.raw
    )
    for change in (
        {"payer": PAYEE},
        {"captured": 69},
        {"asked": 499},
        {"transaction": REFUND},
        {"at": at(4)},
        {"response": "undelivered"},
        {"timing": "on_proof"},
    ):
        other = replace(made.document, **change).raw
        assert refusal(RefusedError, lambda raw=other: opened(made, document=raw)) == "payment_document.record"
    assert refusal(RefusedError, lambda: opened(made, salt=bytes(32))) == "payment_document.record"
    assert refusal(UsageError, payment_record, b"", bytes(31)) == "payment_document.salt"


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (Paid(document("captured"), body={"event": "failed"}), "payment_document.event"),
        (Paid(document(run=OTHER_RUN)), "payment_document.run"),
        (Paid(claimed_at=at(1.999)), "payment_document.at"),
        (Paid(document(at=at(62)), claimed_at=at(0)), "payment_document.at"),
    ],
)
def test_nobody_signs_one_payment_and_commits_to_another(made, code):
    assert refusal(RefusedError, opened, made) == code


@pytest.mark.parametrize("claimed_at", [at(2), at(3), at(3600), at(0)])
def test_a_statement_is_signed_with_its_payment_or_later_or_rounded_to_the_minute(claimed_at):
    assert opened(Paid(claimed_at=claimed_at)).at == at(2)


def test_a_time_is_rounded_down_where_runs_must_not_be_linked():
    assert claimed_time(at(59.999), coarse=False) == at(59.999)
    assert claimed_time(at(59.999), coarse=True) == at(0)


def test_another_kind_of_statement_opens_to_nothing():
    route = parse_statement(parse_envelope(NETWORK.seal(NETWORK.route())))
    assert refusal(RefusedError, verify_payment_document, route, document().raw, SALT) == "payment_document.record"


# Adding up


def with_lines(*lines, **change):
    return replace(CHARGE, lines=lines, **change)


INPUT, OUTPUT = CHARGE.lines
(UNKNOWN,) = pricing.charge({}, None, RATE).lines


@pytest.mark.parametrize(
    "charge",
    [
        with_lines(replace(INPUT, usd="0.001"), OUTPUT),
        with_lines(replace(INPUT, quantity=5), OUTPUT),
        with_lines(replace(INPUT, price="3"), OUTPUT),
        with_lines(OUTPUT, INPUT),
        with_lines(INPUT, INPUT),
        with_lines(INPUT),
        replace(CHARGE, usd="1"),
        replace(CHARGE, amount=CHARGE.amount + 1),
        replace(CHARGE, amount=CHARGE.amount - 1),
        replace(CHARGE, amount=CHARGE.amount, capped=CHARGE.amount),
        replace(CHARGE, amount=60, capped=71),
        with_lines(
            replace(INPUT, what=pricing.UNKNOWN_USAGE, per=1, quantity=0, price="0", usd="0"), usd="0", amount=1
        ),
        with_lines(INPUT, replace(INPUT, what=pricing.UNKNOWN_USAGE, per=1, quantity=0, price="0", usd="0")),
    ],
)
def test_a_charge_that_does_not_add_up_is_refused(charge):
    assert refusal(RefusedError, verify_amounts, document(charge=charge)) == "payment_document.sum"
    assert "This does not add up" in " ".join(explain(document(charge=charge)))


@pytest.mark.parametrize(
    "found",
    [
        *(document(event) for event in PAYMENT_EVENTS),
        document(charge=pricing.charge(CARD.prices("small-1"), None, RATE)),
        document(charge=replace(CHARGE, amount=60, capped=70), asked=60),
        document("captured", captured=69),
        document("captured", scheme="exact", asked=100, authorised=100, captured=100),
        document(rate=None, charge=replace(CHARGE, amount=71)),
        document(**CREDIT),
    ],
)
def test_what_adds_up_is_taken(found):
    verify_amounts(found)
    assert "does not add up" not in " ".join(explain(found))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (document(asked=69), "payment_document.cap"),
        (document(authorised=69), "payment_document.cap"),
        (document("captured", captured=501), "payment_document.cap"),
        (document("captured", captured=71), "payment_document.overcharge"),
        (document("refund_due", captured=71), "payment_document.overcharge"),
        (document("captured", scheme="exact", authorised=500, captured=70), "payment_document.overcharge"),
        (document("captured", **CREDIT | {"captured": 71}), "payment_document.overcharge"),
    ],
)
def test_more_than_was_agreed_is_refused(found, code):
    assert refusal(RefusedError, verify_amounts, found) == code


# Usage and prices


USED = {"usage": {"prompt_tokens": 4, "completion_tokens": 6}}


def test_an_overcharge_within_the_cap_shows_in_the_answer():
    assert verify_usage(document("captured"), USED)
    for member in ("prompt_tokens", "completion_tokens"):
        less = {"usage": USED["usage"] | {member: USED["usage"][member] - 1}}
        assert refusal(RefusedError, verify_usage, document(), less) == "payment_document.overcharge"
        more = {"usage": USED["usage"] | {member: USED["usage"][member] + 1}}
        assert verify_usage(document(), more)


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"usage": None},
        {"usage": []},
        {"usage": {"total_tokens": 1}},
        {"usage": {"prompt_tokens": True, "completion_tokens": -1}},
        {"usage": {"prompt_tokens": 0.5, "completion_tokens": "many"}},
    ],
)
def test_an_answer_that_reports_nothing_is_compared_with_nothing(shown):
    assert not verify_usage(document(), shown)
    assert reported_usage(shown) == {}


def test_usage_is_read_as_numbers_are_decoded_either_way():
    assert reported_usage(canonical.decode(b'{"usage":{"prompt_tokens":4}}')) == {"input_tokens": 4}
    assert not verify_usage(document("offered"), USED)


def test_prices_are_those_of_the_card_that_is_named():
    verify_prices(document(), CARD, "small-1")
    other = pricing.build_price_card({"small-1": {"input": "2", "output": "10"}})
    assert refusal(RefusedError, verify_prices, document(), other, "small-1") == "payment_document.price_card"
    assert refusal(RefusedError, verify_prices, document(), CARD, "large-1") == "pricing.model"
    dearer = document(price_card=other.digest)
    assert refusal(RefusedError, verify_prices, dearer, other, "small-1") == "payment_document.overcharge"


# One after the other


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("offered", "authorised"),
        ("authorised", "charged"),
        ("charged", "captured"),
        ("charged", "lapsed"),
        ("charged", "failed"),
        ("captured", "refund_due"),
        ("refund_due", "refunded"),
    ],
)
def test_what_was_agreed_stays(before, after):
    verify_terms(document(after), document(before))
    other = {
        "run": OTHER_RUN,
        "timing": "on_proof",
        "scheme": "exact",
        "network": "eip155:1",
        "asset": PAYER,
        "payee": PAYER,
        "asked": 501,
        "price_card": AUTHORISATION,
        "rate": None,
        "request": Tree(bytes(32), 1),
        "at": at(-1),
    }
    if before != "offered":
        other |= {"payer": PAYEE, "authorised": 501, "authorisation": CARD.digest}
    if before not in ("offered", "authorised"):
        other |= {"charge": replace(CHARGE, amount=1), "response": "undelivered"}
    if before in ("captured", "refund_due"):
        other |= {"captured": 1}
    if after == "refund_due":
        other |= {"transaction": REFUND}
    for name, value in other.items():
        assert refusal(RefusedError, verify_terms, document(after, **{name: value}), document(before)) == (
            "payment_document.terms"
        ), name


# One authorisation, many runs


def captures(*amounts, **change):
    runs = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(len(amounts))]
    return [document("captured", run=run, captured=amount, **change) for run, amount in zip(runs, amounts, strict=True)]


def test_an_authorisation_is_captured_once_for_all_its_runs():
    assert verify_authorisation(captures(100, 200, 200)) == 500
    assert verify_authorisation([document("charged")]) == 0
    assert refusal(RefusedError, verify_authorisation, captures(100, 200, 201)) == "payment_document.cap"
    first, second = captures(1, 2)
    for change in ({"transaction": REFUND}, {"authorisation": CARD.digest}, {"run": first.run}, {"payer": PAYEE}):
        found = [first, replace(second, **change)]
        assert refusal(RefusedError, verify_authorisation, found) == "payment_document.authorisation"


# For a person


def test_a_payment_is_told_line_by_line_with_what_it_does_not_show():
    told = explain(document("captured"))
    assert told == [
        f"Captured at {time_encode(at(3))}, for run {RUN}.",
        f"Scheme upto on {CHAIN}: asset {ASSET}, to {PAYEE}.",
        f"Asked: at most 500 base units (0.0005 of {ASSET}).",
        f"Authorised: 500 base units (0.0005 of {ASSET}), by {PAYER}.",
        f"Charged: 70 base units (0.00007 of {ASSET}), 0.00007 USD.",
        "  4 input tokens at 2.5 USD for 1000000: 0.00001 USD",
        "  6 output tokens at 10 USD for 1000000: 0.00006 USD",
        f"  one {ASSET} is 1 USD by configured, at {time_encode(at(-60))}",
        f"Taken: 70 base units (0.00007 of {ASSET}) by transaction {TRANSACTION}.",
        f"What was signed holds until {time_encode(at(3600))}.",
        "Money is taken after the answer, proved or not.",
        "It is no evidence of: artifact, computation, enclave, inputs, judgement, privacy, settlement.",
    ]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (document("offered"), "No answer is bound by it."),
        (document("lapsed"), "Reason: payment.lapsed."),
        (document("refund_due"), f"Owed back: 70 base units (0.00007 of {ASSET}) by transaction {TRANSACTION}."),
        (document("refunded"), f"Given back: 70 base units (0.00007 of {ASSET}) by transaction {REFUND}."),
        (document(**CREDIT), "Paid from an account's credit; no chain is involved."),
        (document(**CREDIT), "Credit is taken at once."),
        (document(timing="on_proof"), "Money is taken only for a run that is final and not refuted."),
        (document(rate=None), "Charged: 70 base units, 0.00007 USD."),
        (document(charge=replace(CHARGE, amount=60, capped=70), asked=60, rate=None),
         "Charged: 60 base units, 0.00007 USD; the cap, for the lines come to 70."),
        (document(charge=pricing.charge({}, None, RATE)), "Charged: nothing, for nobody reported what was used."),
    ],
)  # fmt: skip
def test_each_step_has_its_words(found, says):
    assert says in explain(found)


def test_exact_says_what_it_takes_above_the_charge():
    told = explain(document("captured", scheme="exact", asked=100, authorised=100, captured=100, rate=None))
    assert "Asked: 100 base units." in told
    above = "30 above the charge, for exact takes all that was signed."
    assert f"Taken: 100 base units by transaction {TRANSACTION}; {above}" in told


def test_a_charge_reads_back():
    assert parse_charge(CHARGE.to_json()) == CHARGE
