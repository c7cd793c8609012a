"""Keys for one caller alone show in the log; keys that follow one another do not look like it."""

from __future__ import annotations

import json
from typing import Any

from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import KeyDocument
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.verifier.identities import find_split_keys, read_identities
from tests.helpers.identities import CONFIGURATION, configuration, identity_payload, sealed_document
from tests.helpers.network import FROM, UNTIL, Network, at, ed25519_signer

NETWORK = Network()
FIRST = sealed_document(NETWORK, CONFIGURATION)
OTHER = sealed_document(NETWORK, configuration("for one caller"))
NEXT = sealed_document(NETWORK, configuration("next"), predecessor=FIRST.digest)
PLAIN = sealed_document(NETWORK, payment="0x" + "5a" * 20)
TLS_ONLY = sealed_document(NETWORK, CONFIGURATION, tls="ab" * 32)


def trust(*documents: KeyDocument, revoked: dict[str, Any] | None = None) -> Trust:
    value = json.loads(NETWORK.trust_version())
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
    nodes = [
        {"key_document": b64_encode(one.raw), "revoked": (revoked or {}).get(one.digest), **span} for one in documents
    ]
    return NETWORK.trust(nodes=[*value["nodes"], *nodes])


def told(document: KeyDocument, seconds: float, **more: Any) -> Statement:
    payload = identity_payload(document, at(seconds), **more)
    return parse_statement(parse_envelope(NETWORK.seal(payload)))


def splits(*statements: Statement, by: Trust) -> list[tuple[str, str]]:
    identities = read_identities(enumerate(statements), by)
    return [(one.first.attester, one.second.attester) for one in find_split_keys(identities)]


def test_two_keys_of_one_name_at_once_are_split_keys() -> None:
    by = trust(FIRST, OTHER)
    assert splits(told(FIRST, 0), told(OTHER, 5), by=by) == [(FIRST.digest, OTHER.digest)]
    assert splits(told(OTHER, 5), told(FIRST, 9), by=by) == [(OTHER.digest, FIRST.digest)]


def test_a_third_beside_a_proper_successor_is_split_from_both_whom_it_meets() -> None:
    by = trust(FIRST, NEXT, OTHER)
    found = splits(told(FIRST, 0), told(OTHER, 5), told(NEXT, 9), by=by)
    assert found == [(FIRST.digest, OTHER.digest), (OTHER.digest, NEXT.digest)]


def test_whoever_names_no_predecessor_does_not_follow() -> None:
    fresh = sealed_document(NETWORK, configuration("next"))
    assert splits(told(FIRST, 0), told(fresh, 50), by=trust(FIRST, fresh)) == [(FIRST.digest, fresh.digest)]


def test_keys_that_follow_one_another_are_not_split() -> None:
    by = trust(FIRST, NEXT)
    assert splits(told(FIRST, 0), told(NEXT, 60), by=by) == []
    [first, second] = read_identities(enumerate([told(FIRST, 0), told(NEXT, 60)]), by)
    assert (first.until, second.until) == (at(60), None)


def test_keys_of_a_revoked_document_end_when_it_is_suspect() -> None:
    revoked = {
        OTHER.digest: {
            "at": time_encode(at(30)),
            "suspect_since": time_encode(at(20)),
            "reason": "stolen",
        }
    }
    by = trust(FIRST, OTHER, revoked=revoked)
    assert splits(told(OTHER, 0), told(FIRST, 25), by=by) == []
    assert splits(told(OTHER, 0), told(FIRST, 15), by=by) == [(OTHER.digest, FIRST.digest)]


def test_other_tls_under_the_same_ohttp_keys_and_no_keys_at_all_split_nothing() -> None:
    assert splits(told(FIRST, 0), told(TLS_ONLY, 5), by=trust(FIRST, TLS_ONLY)) == []
    assert splits(told(FIRST, 0), told(PLAIN, 5), by=trust(FIRST, PLAIN)) == []


def test_what_is_refused_counts_for_nothing_and_is_shown_as_that() -> None:
    forged = parse_statement(
        parse_envelope(NETWORK.seal(identity_payload(OTHER, at(5)), ed25519_signer("thief", "statement")))
    )
    lied = told(OTHER, 5, change=lambda body: body.update(ohttp="11" * 32))
    for bad, why in ((forged, "signature"), (lied, "identity")):
        by = trust(FIRST, OTHER)
        assert splits(told(FIRST, 0), bad, by=by) == []
        assert [one.refusal for one in read_identities(enumerate([bad]), by)] == [why]
    assert [one.refusal for one in read_identities([(0, told(OTHER, 5))], trust(FIRST))] == ["unknown-key"]


def test_the_same_told_again_is_told_once_from_its_first_time() -> None:
    [only] = read_identities([(3, told(FIRST, 0)), (9, told(FIRST, 500))], trust(FIRST))
    assert (only.index, only.since, only.name) == (3, at(0), "gateway")
