"""The dispute view: what each side shows, and what does not hold together, by whose artefact."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from holdfast.core import canonical, pricing, x402
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.dispute import Artefacts, ChainWord, dispute
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RESPONSE, SECRET, Network, at, bundle_of
from tests.helpers.payment_documents import (
    CARD,
    CHAIN,
    CREDIT,
    PAYEE,
    Paid,
    document,
    following,
    trust_with_facilitator,
)
from tests.helpers.payments import DOMAIN, payer, permit2

ASSET = document().asset or ""
ASKED = x402.PaymentRequirements(x402.UPTO, CHAIN, ASSET, 500, PAYEE, 600, DOMAIN)
PAYLOAD = permit2(ASKED, payer(1), facilitator="0x" + "fa" * 20)
RAW = canonical.encode_exact(PAYLOAD.to_json())
TERMS: dict[str, Any] = {"payer": payer(1).address, "authorisation": sha256_hex(RAW)}
CHARGED = Paid(document(**TERMS))
CAPTURED = following(CHARGED, "captured", **TERMS)
OWED = following(CAPTURED, "refund_due", **TERMS)
REFUNDED = following(OWED, "refunded", **TERMS)
HERE = Artefacts(RAW, CARD, "small-1", {"format": "jws", "signature": "a.b.c"}, ChainWord("yes", "It is there."))


def view(*steps: Paid, beside: Artefacts = HERE) -> dict[str, Any]:
    items = [item for step in steps for item in step.items()]
    answer = {"document": "response", "text": RESPONSE.decode(), "secret": SECRET.hex()}
    items.append({"kind": "document", "at": time_encode(at(7)), **answer})
    bundle = parse_bundle(bundle_of([*Network().journal(), *items]))
    found = dispute(appraise(bundle, trust_with_facilitator(), parse_policy(DEFAULT_POLICY), at(60)), beside)
    json.dumps(found)
    return found


def answers(found: dict[str, Any], about: str) -> list[tuple[str, str | None]]:
    return [(check["answer"], check["code"]) for check in found["checks"] if check["about"] == about]


def test_what_is_shown_as_signed_and_is_not_what_the_documents_name_speaks_against_the_seller() -> None:
    found = view(CHARGED, beside=dataclasses.replace(HERE, payload=RAW + b" "))
    assert ("no", "payment_document.authorisation") in answers(found, "seller")
    assert answers(found, "payer") == []


def test_a_signature_that_is_not_to_these_terms_speaks_against_the_payer() -> None:
    for change in ({"payer": payer(2).address}, {"payee": "0x" + "07" * 20}, {"authorised": 501}, {"scheme": "exact"}):
        found = view(Paid(document(**(TERMS | change))))
        assert answers(found, "payer")[0][0] == "no", change


def test_prices_that_are_not_the_cards_speak_against_the_seller() -> None:
    other = pricing.build_price_card({"small-1": {"input": "2.4", "output": "10"}})
    assert ("no", "payment_document.price_card") in answers(
        view(CHARGED, beside=dataclasses.replace(HERE, card=other)), "seller"
    )
    charge = pricing.charge({"input": "3", "output": "10"}, pricing.Usage(4, 6), document().rate)  # type: ignore[arg-type]
    dear = Paid(document(charge=charge, **TERMS))
    assert ("no", "payment_document.overcharge") in answers(view(dear), "seller")


def test_a_chain_that_does_not_show_the_transfer_is_told() -> None:
    word = ChainWord("no", "No block holds it.")
    found = view(CHARGED, CAPTURED, beside=dataclasses.replace(HERE, chain=word))
    assert answers(found, "chain") == [("no", None)]
    assert found["lane"]["state"] == "proven"


def test_what_is_not_at_hand_is_no_pass() -> None:
    found = view(CHARGED, CAPTURED, beside=Artefacts())
    assert answers(found, "chain") == answers(found, "payer") == [("cannot_tell", None)]
    assert answers(found, "seller")[-1] == ("cannot_tell", None)
    assert found["signed"]["payload"] is None
    assert found["captured"]["receipt"] is None


def test_both_sides_are_shown_in_order() -> None:
    found = view(REFUNDED, CHARGED, OWED, CAPTURED)
    assert [step["event"] for step in found["steps"]] == ["charged", "captured", "refund_due", "refunded"]
    assert found["offered"]["asked"] == "500"
    assert found["offered"]["prices"] == {"input": "2.5", "output": "10"}
    assert json.loads(found["signed"]["payload"]) == PAYLOAD.to_json()
    assert found["claimed"]["usage"] == {"prompt_tokens": "4", "completion_tokens": "6", "total_tokens": "10"}
    assert found["charged"]["amount"] == "70"
    assert found["captured"]["amount"] == "70"
    assert found["refund"]["owed"] == "70"
    assert found["refund"]["paid_at"] is not None
    assert {answer for answer, _ in answers(found, "payer") + answers(found, "chain")} == {"yes"}
    assert [check["number"] for check in found["checks"]] == list(range(1, len(found["checks"]) + 1))
    assert "computation" in found["not_evidence_of"]


def test_credit_is_signed_by_nobody() -> None:
    found = view(Paid(document(**CREDIT)), beside=dataclasses.replace(HERE, payload=None))
    assert found["signed"] is None
    assert answers(found, "payer") == []


def test_a_run_without_a_payment_has_an_empty_view() -> None:
    found = view(beside=Artefacts())
    assert (found["steps"], found["offered"], found["charged"], found["refund"]) == ([], None, None, None)
    assert found["lane"]["state"] == "not_applicable"
