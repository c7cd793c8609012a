"""The ``payment`` lane: what it is from, what refutes it, and that nothing of it reaches another lane (``lanes.md``
§3(9))."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.parts import disclose
from holdfast.core.statements import Tree
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RUN, SECRET, Network, at, bundle_of, ed25519_signer
from tests.helpers.payment_documents import (
    ASSET,
    CHAIN,
    CHARGE,
    CREDIT,
    PAYEE,
    PAYER,
    REFUND,
    TRANSACTION,
    Paid,
    document,
    following,
    trust_with_facilitator,
)

POLICY = parse_policy(DEFAULT_POLICY)
NETWORK = Network()
JOURNAL = NETWORK.journal()
TRUST = trust_with_facilitator()
CHARGED = Paid()
CAPTURED = following(CHARGED, "captured")
LATER = at(60)


def appraisal(*made, journal=JOURNAL, trust=TRUST, moment=LATER, known=None):
    items = [item for one in made for item in (one.items() if isinstance(one, Paid) else [one])]
    return appraise(parse_bundle(bundle_of([*journal, *items])), trust, POLICY, moment, known)


def lane(*made, **given):
    found = appraisal(*made, **given).lanes["payment"]
    return found.state, found.basis, found.says


BEFORE = {name: item.to_json() for name, item in appraisal().lanes.items()}


def chain(*events, **change):
    """Steps of one payment, each after the one before."""
    steps = []
    for event in events:
        parents = [steps[-1].digest] if steps else None
        if event in ("offered", "authorised") and not steps:
            parents = []
        if event == "charged" and steps:
            parents = sorted([steps[-1].digest, sha256_hex(NETWORK.execution())])
        steps.append(Paid(document(event, **change), parents=parents))
    return steps


# States


@pytest.mark.parametrize(
    ("made", "state", "basis", "first"),
    [
        ([], "not_applicable", None, "No payment was offered or asked for this run."),
        (chain("offered"), "pending", None, "Offered, and not authorised."),
        (chain("offered", "authorised"), "pending", None, "Authorised; nothing is charged or taken yet."),
        (chain("offered", "authorised", "charged"), "pending", None, "Charged; nothing is taken yet."),
        (chain("charged"), "pending", None, "Charged; nothing is taken yet."),
        (chain("charged", "captured"), "proven", "development", "Paid on a development chain, by the word of who"),
        (chain("charged", "lapsed"), "unknown", "signature", "Nothing was taken: what was authorised lapsed."),
        (chain("charged", "failed"), "unknown", "signature", "Nothing was taken: taking it failed."),
        (chain("charged", "captured", "refund_due"), "unknown", "signature", "Taken, and owed back; not given back"),
        (chain("charged", "captured", "refund_due", "refunded"), "unknown", "signature", "Taken, and given back."),
        (chain("charged", **CREDIT), "proven", "operator_claim", "Paid from credit, by the operator's own account."),
        (chain("charged", "captured", **CREDIT), "proven", "operator_claim", "Paid, without a transaction."),
    ],
)
def test_the_newest_step_decides(made, state, basis, first):
    found = lane(*made)
    assert found[:2] == (state, basis)
    assert found[2].startswith(first)
    assert lane(*made[::-1]) == found  # in whatever order they are shown


def test_a_capture_of_nothing_needs_no_transaction():
    free = replace(CHARGE, lines=tuple(replace(line, quantity=0, usd="0") for line in CHARGE.lines), usd="0", amount=0)
    charged = Paid(document(charge=free))
    made = [charged, following(charged, "captured", charge=free, captured=0, transaction=None)]
    assert lane(*made)[:2] == ("proven", "signature")


def test_where_nothing_is_for_development_the_signature_is_the_basis():
    network = Network(development=False)
    chains = [item | {"development": False} for item in canonical.decode(network.trust_version())["chains"]]
    assert lane(CHARGED, CAPTURED, trust=network.trust(chains=chains))[:2] == ("proven", "signature")
    lab = network.trust(chains=[item | {"development": True} for item in chains])
    assert lane(CHARGED, CAPTURED, trust=lab)[:2] == ("proven", "development")
    elsewhere = {"network": "eip155:8453", "rate": None}
    charged = Paid(document(**elsewhere))
    made = [charged, following(charged, "captured", **elsewhere)]
    assert lane(*made, trust=lab)[:2] == ("proven", "signature")
    assert lane(*made, trust=Network(development=True).trust())[:2] == ("proven", "development")


def test_every_step_is_told_with_its_amount_and_where_it_lies():
    says = lane(CHARGED, CAPTURED)[2]
    assert f"Charged: 70 base units of '{ASSET}' on '{CHAIN}', of 500 asked and 500 authorised at most" in says
    assert f"Taken: 70 base units of '{ASSET}' on '{CHAIN}' by transaction {TRANSACTION}" in says
    assert says.count("by the gateway's word") == 2
    assert "1.500 s after the answer" in says or "s after the answer" in says
    told = Paid(document("captured"), parents=[CHARGED.digest], by_facilitator=True)
    assert "by the facilitator's word" in lane(CHARGED, told)[2]
    failed = lane(*chain("charged", "failed"))[2]
    assert "(payment.balance)" in failed
    offered = lane(*chain("offered"))[2]
    assert "at most 500 base units" in offered
    credit = lane(*chain("charged", **CREDIT | {"asset": None, "network": None, "rate": None}))[2]
    assert "Charged: 70 base units; by" in credit
    exact = {"scheme": "exact", "asked": 100, "authorised": 100}
    steps = chain("charged", **exact)
    steps.append(following(steps[0], "captured", captured=100, **exact))
    assert "30 above the charge (exact takes all that was signed)" in lane(*steps)[2]


def test_what_is_not_shown_is_said_to_be_not_shown():
    state, basis, says = lane(CHARGED.statement_item(), CAPTURED.statement_item())
    assert (state, basis) == ("unknown", None)
    assert says.startswith("Amounts, payer and transaction are not shown here. Charged: amount not shown;")
    assert "70" not in says.replace(CHARGED.digest, "").replace(CAPTURED.digest, "")
    assert lane(CHARGED, CAPTURED.statement_item())[0] == "unknown"
    assert lane(CHARGED.statement_item(), CAPTURED)[:2] == ("proven", "development")
    assert lane(CAPTURED)[0] == "unknown"  # what it follows from is not here


def test_many_steps_are_cut_short():
    made = [Paid(document("offered", at=at(-number)), parents=[]) for number in range(20)]
    assert lane(*made)[2].count("Offered:") == 16
    assert "4 more steps follow." in lane(*made)[2]


def test_without_trust_nobody_can_say_whose_word_it_is():
    assert lane(CHARGED, CAPTURED, trust=None)[:2] == ("unknown", None)


def test_a_key_that_ran_out_undated_expires_the_lane():
    network = Network()
    nodes = canonical.decode(network.trust_version())["nodes"]
    nodes[0]["valid_until"] = time_encode(at(30))
    trust = network.trust(nodes=nodes)
    assert lane(CHARGED, CAPTURED, trust=trust)[:2] == ("expired", None)


@pytest.mark.parametrize(("moment", "state"), [(at(-40), "not_applicable"), (at(-28), "pending"), (at(3), "proven")])
def test_what_was_not_made_yet_is_not_told(moment, state):
    assert lane(CHARGED, CAPTURED, moment=moment)[0] == state


# Nothing reaches another lane


@pytest.mark.parametrize(
    "made",
    [
        chain("charged"),
        chain("charged", "captured"),
        chain("charged", "captured", "refund_due", "refunded"),
        chain("charged", **CREDIT),
        [Paid(document(run=RUN[:-1] + "0"), run=RUN[:-1] + "0")],
        [Paid(parents=[])],
        [Paid(attester="00" * 32)],
        [Paid(signer=ed25519_signer("stranger", "statement"))],
        [Paid(document(charge=replace(CHARGE, usd="9")))],
        [Paid(nonce="another-nonce-of-16")],
        [CHARGED.statement_item(), CHARGED.opening_item(salt="00" * 32)],
    ],
)
def test_no_payment_good_or_bad_moves_another_lane(made):
    after = {name: item.to_json() for name, item in appraisal(*made).lanes.items()}
    assert after["payment"] != BEFORE["payment"]
    assert after | {"payment": None} == BEFORE | {"payment": None}


def test_a_payment_that_is_refuted_by_a_round_says_nothing_of_the_run():
    journal = NETWORK.journal()
    settled = appraisal(CHARGED, CAPTURED, journal=journal)
    assert settled.lanes["settlement"].state == "proven"


# What refutes


def bad(code, *made, **given):
    found = appraisal(*made, **given)
    assert found.lanes["payment"].state == "refuted", found.lanes["payment"]
    assert code in {check.code for check in found.transcript if check.answer == "no" and "payment" in check.lanes}


@pytest.mark.parametrize(
    ("made", "code"),
    [
        ([Paid(attester="00" * 32)], "statement.unknown-key"),
        ([Paid(signer=ed25519_signer("stranger", "statement"))], "statement.signature"),
        ([Paid(parents=[])], "trace.rules"),
        ([Paid(parents=[sha256_hex(NETWORK.route())])], "trace.rules"),
        ([Paid(by_facilitator=True)], "trace.rules"),
        ([Paid(nonce="another-nonce-of-16")], "trace.rules"),
        ([Paid(document("captured"))], "trace.rules"),
        ([Paid(document(run=RUN[:-1] + "0"), run=RUN[:-1] + "0")], "trace.run"),
        ([Paid(document(at=at(-31)))], "payment_document.early"),
        ([CHARGED.statement_item(), CHARGED.opening_item(salt="00" * 32)], "payment_document.record"),
        ([Paid(document(), body={"event": "offered"}, parents=[])], "payment_document.event"),
        ([Paid(claimed_at=at(1.9))], "payment_document.at"),
        ([Paid(document(charge=replace(CHARGE, amount=71)))], "payment_document.sum"),
        ([Paid(document(asked=69))], "payment_document.cap"),
        ([CHARGED, following(CHARGED, "captured", captured=71)], "payment_document.overcharge"),
        ([Paid(document(request=Tree(bytes(32), 2)))], "payment_document.request"),
        ([Paid(document(response=Tree(bytes(32), 2)))], "payment_document.response"),
        ([CHARGED, following(CHARGED, "captured", payee=PAYER)], "payment_document.terms"),
        ([CHARGED, Paid(document(at=at(2.5)))], "payment_document.twice"),
        ([CHARGED, CAPTURED, following(CHARGED, "captured", at=at(3.5))], "payment_document.twice"),
        ([CHARGED, CAPTURED, following(CHARGED, "lapsed")], "payment_document.twice"),
        (
            [CHARGED, CAPTURED, Paid(document("captured", transaction=REFUND), parents=[CHARGED.digest],
                                     by_facilitator=True)],
            "payment_document.authorisation",
        ),
    ],
)  # fmt: skip
def test_a_payment_that_does_not_hold_is_refuted(made, code):
    bad(code, *made)


def test_a_facilitator_and_a_gateway_may_tell_of_one_capture():
    told = Paid(document("captured", at=at(3.5)), parents=[CHARGED.digest], by_facilitator=True)
    assert lane(CHARGED, CAPTURED, told)[:2] == ("proven", "development")
    other = Paid(document("failed"), parents=[CHARGED.digest], by_facilitator=True)
    bad("payment_document.twice", CHARGED, CAPTURED, other)


def test_a_step_by_a_gateway_that_charged_nothing_is_refuted():
    rival = ed25519_signer("rival", "statement")
    found = build_key_document("rival", ["gateway"], "test", [rival.key])
    nodes = canonical.decode(NETWORK.trust_version())["nodes"]
    span = {key: nodes[0][key] for key in ("valid_from", "valid_until", "revoked")}
    trust = NETWORK.trust(nodes=[*nodes, {"key_document": b64_encode(found.raw), **span}])
    made = Paid(document("captured"), parents=[CHARGED.digest], attester=found.digest, signer=rival)
    raw = canonical.decode(made.envelope)
    raw["signatures"][0]["keyid"] = rival.key.key_id
    item = made.statement_item() | {"envelope": raw}
    bad("statement.payment", CHARGED, item, made.opening_item(), trust=trust)


def usage_parts(*positions):
    """The response's parts of usage (or some of them), disclosed one by one."""
    found = NETWORK.response_parts
    usage = [number for number, part in enumerate(found.parts) if part.label.startswith(b"usage|")]
    chosen = [usage[position] for position in positions] if positions else usage
    shown = [disclose("response", found, number).to_json() for number in chosen]
    return {"kind": "parts", "at": time_encode(at(5)), "parts": shown}


WHOLE = {
    "kind": "document",
    "at": time_encode(at(5)),
    "document": "response",
    "text": NETWORK.response.decode(),
    "secret": SECRET.hex(),
}


@pytest.mark.parametrize("shown", [WHOLE, usage_parts()])
def test_an_overcharge_within_the_cap_is_proven_by_the_artifacts_alone(shown):
    """The gateway signs the answer with its usage, and a charge for more: both are its own words."""
    lines = (replace(CHARGE.lines[0], quantity=5, usd="0.0000125"), CHARGE.lines[1])
    more = replace(CHARGE, lines=lines, usd="0.0000725", amount=73)
    charged = Paid(document(charge=more))
    captured = following(charged, "captured", charge=more, captured=73)
    bad("payment_document.overcharge", charged, captured, shown)
    hidden = lane(charged, captured)
    assert hidden[:2] == ("proven", "development")
    assert "The charge is not compared with what was used" in hidden[2]
    assert "It charges no more tokens than the answer reports." in lane(CHARGED, CAPTURED, shown)[2]


def test_a_part_of_the_usage_is_compared_with_its_line_alone():
    labels = [part.label for part in NETWORK.response_parts.parts if part.label.startswith(b"usage|")]
    position = next(number for number, label in enumerate(labels) if label.endswith(b"/usage/completion_tokens"))
    lines = (replace(CHARGE.lines[0], quantity=5, usd="0.0000125"), CHARGE.lines[1])
    more = Paid(document(charge=replace(CHARGE, lines=lines, usd="0.0000725", amount=73)))
    assert lane(more, usage_parts(position))[0] == "pending"
    bad("payment_document.overcharge", more, usage_parts())


def test_a_payment_for_no_answer_is_undelivered():
    assert lane(Paid(document(response="undelivered")))[0] == "pending"


def test_a_document_for_a_statement_that_is_not_here_proves_nothing():
    found = appraisal(CHARGED.opening_item())
    assert found.lanes["payment"].state == "not_applicable"
    assert "payment_document.unbound" in {check.code for check in found.transcript if check.answer == "cannot_tell"}


# Dates and reliances


def test_the_lane_is_dated_by_its_own_statements():
    assert appraisal().dated["payment"] == appraisal().dated["bytes"]
    assert appraisal(CHARGED, CAPTURED).dated["payment"] == at(3)
    assert appraisal(CHARGED, CAPTURED.statement_item()).dated["payment"] == at(2)
    told = Paid(document("captured"), parents=[CHARGED.digest], by_facilitator=True)
    names = {item.name for item in appraisal(CHARGED, told).relied["payment"]}
    assert told.document.payee == PAYEE
    assert {NETWORK.gateway_document.digest} < names
