"""Rounds: round trips have one spelling, and no flipped bit of a signed message keeps its signer."""

from typing import Any

from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import evm, merkle, rounds
from holdfast.core.rounds import ChainDomain, VerdictEntry
from holdfast.errors import HoldfastError

DOMAIN = ChainDomain(31337, "0x" + "11" * 20)
DIGESTS = st.binary(min_size=32, max_size=32)
ORIGINS = st.text("abc019./-~!", min_size=1, max_size=40)
NUMBERS = st.integers(1, 2**64 - 1)
CODES = st.sampled_from(["ok", "cannot_tell", "refuted:statement.signature", "refuted:x", "refuted:a_b.c-9"])
ENTRIES = st.lists(
    st.builds(VerdictEntry, st.integers(0, 2**64 - 2), DIGESTS, CODES), max_size=20, unique_by=lambda entry: entry.index
).map(lambda entries: sorted(entries, key=lambda entry: entry.index))
KEYS = st.integers(1, evm.SECP256K1_ORDER - 1).map(lambda number: PrivateKey(number.to_bytes(32)))


def sign(key: PrivateKey, digest: bytes) -> bytes:
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


@given(ENTRIES)
def test_a_blob_round_trips_and_commits_to_every_verdict(entries: list[VerdictEntry]) -> None:
    blob = rounds.verdict_blob(entries)
    assert list(rounds.parse_verdict_blob(blob)) == entries
    hashes = [merkle.leaf_hash(entry.leaf) for entry in entries]
    for position, entry in enumerate(entries):
        proof = merkle.inclusion_proof(hashes, position)
        rounds.verify_verdict_inclusion(entry, position, len(entries), proof, rounds.verdict_root(entries))


@given(st.binary(max_size=300))
def test_whatever_parses_as_a_blob_is_its_one_spelling(data: bytes) -> None:
    try:
        entries = rounds.parse_verdict_blob(data)
    except HoldfastError:
        return
    assert rounds.verdict_blob(entries) == data


@given(ENTRIES, st.data())
def test_a_changed_byte_of_a_blob_is_another_blob_or_none(entries: list[VerdictEntry], data: st.DataObject) -> None:
    blob = bytearray(rounds.verdict_blob(entries))
    if not blob:
        return
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = rounds.parse_verdict_blob(bytes(blob))
    except HoldfastError:
        return
    assert list(changed) != entries
    assert rounds.verdict_root(changed) != rounds.verdict_root(entries)


@settings(max_examples=60)
@given(KEYS, ORIGINS, NUMBERS, NUMBERS, st.integers(0, 2**32 - 1), DIGESTS, st.data())
def test_no_flipped_bit_of_a_vote_keeps_its_signer(
    key: PrivateKey,
    origin: str,
    epoch: int,
    number: int,
    attempt: int,
    content: bytes,
    data: st.DataObject,
) -> None:
    address = evm.address_of(key.public_key.format())
    digest = rounds.vote_digest(DOMAIN, origin, epoch, number, attempt, content)
    vote = rounds.Vote(origin, epoch, number, attempt, content, sign(key, digest))
    assert rounds.verify_vote(DOMAIN, vote, [address]).signer == address
    assert rounds.parse_vote(vote.to_json()) == vote
    changed: dict[str, Any] = vote.to_json()
    name = data.draw(st.sampled_from(sorted(changed)))
    if isinstance(changed[name], int):
        changed[name] ^= 1 << data.draw(st.integers(0, 31))
    else:
        text = changed[name]
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from("0123456789abcdef").filter(lambda letter: letter != text[place]))
        changed[name] = text[:place] + other + text[place + 1 :]
    try:
        parsed = rounds.parse_vote(changed)
        rounds.verify_vote(DOMAIN, parsed, [address])
    except HoldfastError:
        return
    raise AssertionError(f"a vote with another {name} still verifies")


@given(st.lists(st.integers(0, 2**90), max_size=10), st.data())
def test_two_disjoint_sets_are_never_both_a_quorum(stakes: list[int], data: st.DataObject) -> None:
    sides = [data.draw(st.integers(0, 2)) for _ in stakes]
    total = sum(stakes)
    first, second = (sum(s for s, side in zip(stakes, sides, strict=True) if side == which) for which in (0, 1))
    assert not (rounds.quorum(first, total) and rounds.quorum(second, total))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=12), st.data())
def test_two_quorums_share_more_than_a_third(stakes: list[int], data: st.DataObject) -> None:
    total = sum(stakes)
    members = st.lists(st.booleans(), min_size=len(stakes), max_size=len(stakes))
    one, other = data.draw(members), data.draw(members)
    weigh = [sum(stake for stake, chosen in zip(stakes, which, strict=True) if chosen) for which in (one, other)]
    shared = sum(stake for stake, a, b in zip(stakes, one, other, strict=True) if a and b)
    if all(rounds.quorum(weight, total) for weight in weigh):
        assert 3 * shared > total
