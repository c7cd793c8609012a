"""Notes and checkpoints: what is built parses back, one spelling each, and no changed byte passes."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.core import notes, witness
from holdfast.errors import HoldfastError

PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()

names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="+"), min_size=1, max_size=20)
hashes = st.binary(min_size=32, max_size=32)
lines = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
checkpoints = st.builds(
    notes.Checkpoint, lines, st.integers(1, 2**63 - 1), hashes, st.lists(lines, max_size=2).map(tuple)
)


@given(names, st.sampled_from([notes.ED25519, notes.COSIGNATURE]), hashes)
def test_verifier_keys_round_trip(name: str, kind: int, public: bytes) -> None:
    key = notes.VerifierKey(name, kind, public)
    assert notes.parse_vkey(str(key)) == key


@given(checkpoints)
def test_checkpoints_round_trip(checkpoint: notes.Checkpoint) -> None:
    assert notes.parse_checkpoint_text(checkpoint.text) == checkpoint


@given(checkpoints, names, st.integers(0, 2**63 - 1))
def test_signed_and_cosigned_checkpoints_verify(checkpoint: notes.Checkpoint, name: str, time: int) -> None:
    key = notes.VerifierKey(name, notes.ED25519, PUBLIC)
    cosigner = notes.VerifierKey(name, notes.COSIGNATURE, PUBLIC)
    note = notes.parse_note(notes.sign_checkpoint(checkpoint, key, PRIVATE.sign))
    note = note.with_signatures([notes.sign_note(note.text, cosigner, PRIVATE.sign, time)])
    found = notes.verify_checkpoint(note.raw, checkpoint.origin, [key])
    assert (found.checkpoint, found.raw) == (checkpoint, note.raw)
    assert [item.time for item in notes.verify_cosignatures(found.note, [cosigner])] == [time]


@given(checkpoints, st.data())
def test_no_changed_byte_passes(checkpoint: notes.Checkpoint, data: st.DataObject) -> None:
    key = notes.VerifierKey("log", notes.ED25519, PUBLIC)
    raw = notes.sign_checkpoint(checkpoint, key, PRIVATE.sign)
    place = data.draw(st.integers(0, len(raw) - 1))
    value = data.draw(st.integers(0, 255))
    assume(raw[place] != value)
    with pytest.raises(HoldfastError):
        notes.verify_checkpoint(raw[:place] + bytes([value]) + raw[place + 1 :], checkpoint.origin, [key])


@given(st.binary(max_size=120))
def test_arbitrary_bytes_never_surprise_the_parsers(raw: bytes) -> None:
    for parse in (notes.parse_note, notes.parse_checkpoint_text, notes.parse_signature_lines, witness.parse_size):
        try:
            parse(raw)
        except HoldfastError as error:
            assert error.code  # noqa: PT017 - which error is free, that it is one of ours is not


@given(st.integers(0, 2**63 - 1), st.lists(hashes, max_size=63), st.binary(max_size=50))
def test_witness_requests_round_trip(old_size: int, proof: list[bytes], note: bytes) -> None:
    raw = witness.build_add_checkpoint(old_size, proof, note)
    assert witness.parse_add_checkpoint(raw) == witness.AddCheckpoint(old_size, tuple(proof), note)
