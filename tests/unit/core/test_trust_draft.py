"""Drafts of trust: what a version may change, and that nothing counts before enough root keys signed."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core.keys import build_key_document
from holdfast.core.trust import parse_trust_chain
from holdfast.core.trust_draft import (
    Changes,
    Revoked,
    add_signature,
    adopt_draft,
    build_draft,
    draft_message,
    parse_draft,
)
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.network import FROM, UNTIL, Network, ed25519_signer

NETWORK = Network()
CHAIN = parse_trust_chain(NETWORK.trust_file())
AT = FROM + dt.timedelta(days=1)
DAY = dt.timedelta(days=1)
NEW = build_key_document(
    "gateway",
    ["gateway"],
    "test",
    [ed25519_signer("gateway-2", "statement").key],
    predecessor=NETWORK.gateway_document.digest,
)


def signed(draft, *signers):
    for signer in signers:
        version = parse_draft(draft)
        draft = add_signature(version, signer.key, signer.sign(draft_message(version)))
    return parse_draft(draft)


def refused(draft):
    with pytest.raises(HoldfastError) as caught:
        adopt_draft(CHAIN, draft)
    return caught.value.code


def test_a_draft_nobody_signed_is_not_adopted():
    assert refused(parse_draft(build_draft(CHAIN[-1], Changes(), AT))) == "trust.threshold"


def test_one_signature_twice_is_one():
    draft = signed(build_draft(CHAIN[-1], Changes(), AT), NETWORK.roots[0], NETWORK.roots[0])
    assert len(draft.signatures) == 1
    assert refused(draft) == "trust.threshold"


def test_a_signature_by_nobody_counts_nothing():
    stranger = ed25519_signer("stranger", "root")
    assert refused(signed(build_draft(CHAIN[-1], Changes(), AT), NETWORK.roots[0], stranger)) == "trust.threshold"


def test_a_signature_over_something_else_is_not_added():
    draft = parse_draft(build_draft(CHAIN[-1], Changes(), AT))
    with pytest.raises(RefusedError) as caught:
        add_signature(draft, NETWORK.roots[0].key, NETWORK.roots[0].sign(b"something else"))
    assert caught.value.code == "signature.invalid"


def test_a_draft_is_for_one_version():
    draft = signed(build_draft(CHAIN[-1], Changes(), AT), *NETWORK.roots)
    raw, _ = adopt_draft(CHAIN, draft)
    with pytest.raises(RefusedError) as caught:
        adopt_draft(parse_trust_chain(raw), draft)
    assert caught.value.code == "trust_draft.stale"


@pytest.mark.parametrize("changes", [Changes(end={"ab" * 32: AT}), Changes(revoke=[Revoked("ab" * 32, AT, "lost")])])
def test_a_node_that_is_not_admitted_cannot_be_changed(changes):
    with pytest.raises(UsageError) as caught:
        build_draft(CHAIN[-1], changes, AT)
    assert caught.value.code == "trust_draft.unknown_node"


def test_a_node_is_admitted_once():
    with pytest.raises(ConflictError) as caught:
        build_draft(CHAIN[-1], Changes(admit=[(NETWORK.gateway_document, AT, UNTIL)]), AT)
    assert caught.value.code == "trust_draft.admitted"


@pytest.mark.parametrize(
    "changes",
    [
        Changes(admit=[(NEW, UNTIL, AT)]),
        Changes(end={NETWORK.gateway_document.digest: FROM - DAY}),
        Changes(revoke=[Revoked(NETWORK.gateway_document.digest, AT, "Not A Code")]),
        Changes(measurements=[{"kind": "aws-nitro"}]),
        Changes(enclave_roots=[{"kind": "nobody", "certificate": "", "development": True}]),
    ],
)
def test_a_draft_that_would_be_malformed_is_not_made(changes):
    with pytest.raises(MalformedError):
        build_draft(CHAIN[-1], changes, AT)


def test_a_node_hands_over_and_what_it_signed_before_still_holds():
    old = NETWORK.gateway_document.digest
    changes = Changes(admit=[(NEW, AT, UNTIL)], end={old: AT + DAY}, expires_at=UNTIL + DAY)
    _, found = adopt_draft(CHAIN, signed(build_draft(CHAIN[-1], changes, AT), *NETWORK.roots))
    assert (found.version, found.current.expires_at) == (2, UNTIL + DAY)
    before, after = found.admission(old), found.admission(NEW.digest)
    assert before is not None
    assert after is not None
    assert before.refusal(FROM, FROM + dt.timedelta(minutes=1)) is None
    assert before.refusal(AT + DAY, AT + DAY) == "key-expired"
    assert after.refusal(FROM, FROM) == "key-not-yet-valid"
    assert after.refusal(AT, AT + DAY) is None


def test_a_key_revoked_today_was_still_valid_last_week_unless_the_revocation_says_otherwise():
    old = NETWORK.gateway_document.digest
    for suspect_since, says in [(AT, None), (FROM, "key-revoked")]:
        changes = Changes(revoke=[Revoked(old, suspect_since, "key-lost")])
        _, found = adopt_draft(CHAIN, signed(build_draft(CHAIN[-1], changes, AT), *NETWORK.roots))
        admission = found.admission(old)
        assert admission is not None
        assert admission.refusal(FROM, FROM + dt.timedelta(minutes=1)) == says
        assert admission.refusal(AT, AT) == "key-revoked"


def test_a_suspicion_is_never_taken_back():
    old = NETWORK.gateway_document.digest
    first = signed(build_draft(CHAIN[-1], Changes(revoke=[Revoked(old, AT, "key-lost")]), AT), *NETWORK.roots)
    last = parse_trust_chain(adopt_draft(CHAIN, first)[0])[-1]
    with pytest.raises(RefusedError) as caught:
        build_draft(last, Changes(revoke=[Revoked(old, AT + DAY, "key-lost")]), AT + DAY)
    assert caught.value.code == "trust_draft.suspect_since"
    again = parse_draft(build_draft(last, Changes(revoke=[Revoked(old, AT - DAY, "key-lost")]), AT + DAY))
    assert next(node.revoked for node in again.nodes if node.revoked).suspect_since == AT - DAY
