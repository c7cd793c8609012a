"""Statements and envelopes: what is built reads back, and no flipped byte keeps its signature."""

from __future__ import annotations

import datetime as dt

from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.core import statements
from holdfast.core.keys import verify_signature
from holdfast.core.statements import Execution, MarkReference, Route, Tree, parse_envelope, parse_statement
from holdfast.errors import MalformedError
from holdfast.verifier.checks import CheckPolicy, check_entry, refuse_attester
from tests.helpers.network import FROM, NONCE, RUN, Network, at, ed25519_signer, p256_signer

NETWORKS = [Network(), Network(gateway=p256_signer("gateway", "statement"))]
CODES = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,8}){0,3}\Z", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32)
TREES = st.builds(Tree, DIGESTS, st.integers(1, 65536))
TIMES = st.integers(0, 10**10).map(lambda ms: FROM + dt.timedelta(milliseconds=ms))
PARENTS = st.lists(DIGESTS.map(bytes.hex), max_size=4, unique=True)

COMPUTED = {"computed", "proved", "recomputed"}
"""Events of models that a node runs, which say more (``tests/unit/core/test_computations.py``)."""


@st.composite
def routes(draw):
    request = draw(TREES)
    rewrites = tuple(sorted(draw(st.sets(CODES, max_size=3))))
    sent = draw(TREES) if rewrites else request
    endpoint, settlement = (
        draw(st.sampled_from(["chat.completions", "completions"])),
        draw(st.sampled_from(statements.SETTLEMENTS)),
    )
    return Route(
        request, sent, endpoint, draw(CODES), rewrites, tuple(draw(st.lists(CODES, max_size=3))),
        cached=draw(st.booleans()), settlement=settlement, streamed=draw(st.booleans()),
    )  # fmt: skip


@st.composite
def executions(draw):
    event = draw(st.sampled_from([event for event in statements.EVENTS if event not in COMPUTED]))
    marks = draw(st.none() | st.builds(MarkReference, st.integers(1, 2**53 - 1), DIGESTS))
    return Execution(event, draw(CODES), draw(TREES) if event == "generated" else None, marks, draw(CODES))


@given(routes() | executions(), TIMES, PARENTS, st.none() | st.just(NONCE), st.sampled_from(NETWORKS))
def test_what_is_built_and_signed_reads_back(body, claimed_at, parents, nonce, network):
    if isinstance(body, Route):
        kind, members, subject = "route", statements.route_body(body), ("request", body.request.root)
    else:
        kind, members = "execution", statements.execution_body(body)
        subject = ("response", body.response.root) if body.response else ("request", bytes(32))
    payload = statements.build_payload(
        kind, run=RUN, attester=network.gateway_document.digest, claimed_at=claimed_at, parents=parents,
        subject=subject, body=members, nonce=nonce,
    )  # fmt: skip
    read = parse_statement(parse_envelope(network.seal(payload)))
    assert (read.kind, read.body, read.claimed_at, read.nonce) == (kind, body, claimed_at, nonce)
    assert read.parents == tuple(sorted(parents))
    verify_signature(
        network.gateway.key, statements.pre_authentication_encoding(read.envelope.payload), read.envelope.signature
    )


class Nothing:
    """A history in which nothing happened."""

    def known(self, digest):
        return None

    def closing(self, run, attester):
        return None

    def head(self, attester, journal, before):
        return None

    def paid(self, step, attester):
        return None


@given(st.sampled_from(NETWORKS), st.data())
def test_any_flipped_byte_of_an_envelope_is_refused(network, data):
    raw = bytearray(network.seal(network.route()))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = parse_statement(parse_envelope(bytes(raw)))
    except MalformedError:
        read = None
    assert read is None or refuse_attester(read, network.trust(), until=at(1)) is not None
    found = check_entry(
        bytes(raw), index=0, seen_at=at(1), trust=network.trust(), policy=CheckPolicy(), history=Nothing()
    )
    assert found.code.startswith("refuted:")


@given(st.sampled_from(NETWORKS), st.data())
def test_any_flipped_byte_of_a_payload_is_another_statement_without_a_signature(network, data):
    payload = network.route()
    changed = bytearray(payload)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    signature = parse_envelope(network.seal(payload)).signature
    envelope = parse_envelope(statements.build_envelope(bytes(changed), network.gateway.key.key_id, signature))
    assert envelope.digest != parse_envelope(network.seal(payload)).digest
    try:
        refusal = refuse_attester(parse_statement(envelope), network.trust(), until=at(1))
    except MalformedError:
        refusal = "malformed"
    assert refusal in {"malformed", "unknown-key", "key-not-yet-valid", "key-expired", "role", "signature"}


@given(st.binary(max_size=20), st.text(max_size=8), st.binary(max_size=20), st.text(max_size=8))
def test_two_messages_have_one_encoding_only_when_they_are_the_same(one, one_type, other, other_type):
    encode = statements.pre_authentication_encoding
    try:
        same = encode(one, one_type) == encode(other, other_type)
    except UnicodeEncodeError:
        assume(False)
    assert same == ((one, one_type) == (other, other_type))


@given(st.binary(max_size=300))
def test_whatever_is_logged_gets_a_verdict(entry):
    found = check_entry(
        entry, index=0, seen_at=at(1), trust=NETWORKS[0].trust(), policy=CheckPolicy(), history=Nothing()
    )
    assert found.code == "refuted:malformed"


@given(DIGESTS, DIGESTS, DIGESTS)
def test_a_commitment_opens_to_one_statement_under_one_salt(digest, salt, other):
    entry = statements.build_commitment(digest.hex(), salt)
    assert statements.parse_commitment(entry) is not None
    assert (statements.build_commitment(other.hex(), salt) == entry) == (other == digest)
    assert (statements.build_commitment(digest.hex(), other) == entry) == (other == salt)


STRANGER = ed25519_signer("stranger", "statement")


@given(st.sampled_from(NETWORKS))
def test_a_stranger_never_signs_for_a_gateway(network):
    read = parse_statement(parse_envelope(network.seal(network.route(), STRANGER)))
    assert refuse_attester(read, network.trust(), until=at(1)) == "signature"
