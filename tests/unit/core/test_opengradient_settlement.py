"""Batches of OpenGradient's answers: their rows, trees and roots (``opengradient.md`` §11)."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.payment_contracts import SETTLEMENT
from holdfast.core.captures import Event, selector
from holdfast.core.evm import keccak256
from holdfast.core.opengradient_settlement import (
    BATCH_SETTLED,
    LEAF_TYPES,
    Row,
    build_batch,
    parse_row,
    row_id,
    settle_call,
    settled_root,
)
from holdfast.errors import HoldfastError, MalformedError, UsageError
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.payments import OWNER, Machine, events

ROWS = [
    Row(bytes([i]) * 32, bytes([i + 16]) * 32, bytes([i + 32]) * 32, bytes([i]) * 4, 1_700_000_000 + i)
    for i in (1, 2, 3)
]


def test_the_tree_is_the_one_that_openzeppelins_library_makes():
    """Root, places and proof as its JavaScript makes them of these rows."""
    batch = build_batch(ROWS)
    assert batch.root.hex() == "5174b5c059b6e7887c2819a70c0761798485573ceffd448e15584c9363261e4a"
    document = json.loads(batch.document)
    assert [value["treeIndex"] for value in document["values"]] == [3, 2, 4]
    assert (document["format"], document["leafEncoding"]) == ("standard-v1", list(LEAF_TYPES))
    assert [step.hex()[:8] for step in batch.proof(ROWS[0])] == ["60a27e9b", "f15f541c"]


def test_no_batch_is_empty_or_holds_a_row_twice():
    for rows in ([], [ROWS[0], ROWS[0]], ROWS * 100):
        with pytest.raises(UsageError) as caught:
            build_batch(rows)
        assert caught.value.code == "settlement.batch"


def header(**change):
    value = {
        "tee_id": "0x" + "AB" * 32,
        "input_hash": "11" * 32,
        "output_hash": "22" * 32,
        "tee_signature": base64.b64encode(bytes(256)).decode(),
        "tee_timestamp": 5,
        **change,
    }
    return base64.b64encode(
        json.dumps({name: each for name, each in value.items() if each is not ...}).encode()
    ).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"tee_id": ...},
        {"tee_id": "0x" + "ab" * 31},
        {"input_hash": 5},
        {"output_hash": "0x"},
        {"tee_signature": base64.b64encode(bytes(1025)).decode()},
        {"tee_signature": base64.b64encode(b"\xd3").decode()},
        {"tee_timestamp": ...},
        {"tee_timestamp": None},
        {"tee_timestamp": True},
        {"tee_timestamp": 2**63},
    ],
)
def test_a_row_is_whole(change):
    with pytest.raises(MalformedError) as caught:
        parse_row(header(**change))
    assert caught.value.code == "settlement.row"


def test_a_row_is_read_with_either_spelling_of_its_hashes():
    assert parse_row(header(tee_id="ab" * 32)) == parse_row(header())
    assert row_id(parse_row(header())).startswith("batch-")


@given(st.text(max_size=300))
def test_any_text_is_a_row_or_refused(text):
    try:
        parse_row(text)
    except HoldfastError:
        return


ROW = st.builds(
    Row,
    *[st.binary(min_size=32, max_size=32)] * 3,
    st.binary(min_size=2, max_size=80),
    st.integers(0, 2**63 - 1),
)


@given(st.lists(ROW, min_size=1, max_size=20, unique=True))
def test_every_row_is_under_its_root(rows):
    batch = build_batch(rows)
    for row in rows:
        found = row.leaf
        for sibling in batch.proof(row):
            found = keccak256(b"".join(sorted((found, sibling))))
        assert found == batch.root


def test_only_the_contracts_own_event_names_a_root():
    event = Event(SETTLEMENT, (BATCH_SETTLED, b"r" * 32), b"")
    assert settled_root(SETTLEMENT, [event]) == b"r" * 32
    assert settled_root(OWNER.address, [event]) is None
    assert settled_root(SETTLEMENT, [Event(SETTLEMENT, (b"x" * 32, b"r" * 32), b"")]) is None


@NEEDS_MACHINE
def test_the_contract_names_the_root_and_checks_proofs():
    machine, batch = Machine(), build_batch(ROWS)
    call = settle_call(SETTLEMENT, batch, "ab" * 32)
    outcome = machine.send(OWNER.address, call.to, call.data)
    assert settled_root(SETTLEMENT, events(outcome)) == batch.root
    for row, right in ((ROWS[0], 1), (ROWS[1], 0)):
        proof = batch.proof(ROWS[0])
        data = selector("verifyProof(bytes32[],bytes32,bytes32)") + (96).to_bytes(32) + batch.root + row.leaf
        data += len(proof).to_bytes(32) + b"".join(proof)
        assert machine.read(SETTLEMENT, data) == right
