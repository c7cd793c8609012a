"""Rounds offline: what is malformed, what is refused, what stays undecided, and what two thirds make final."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from holdfast.core import evm, merkle, rounds
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UndecidedError

DOMAIN = rounds.ChainDomain(31337, "0x" + "11" * 20)
ORIGIN = "holdfast.local/log/1"
KEYS = sorted(
    (PrivateKey(bytes([index]) * 32) for index in range(1, 6)), key=lambda key: evm.address_of(key.public_key.format())
)
ADDRESSES = [evm.address_of(key.public_key.format()) for key in KEYS]
STAKES = dict.fromkeys(ADDRESSES[:4], 10)
CONTENT = bytes([9]) * 32
ENTRIES = [
    rounds.VerdictEntry(1, bytes([1]) * 32, "ok"),
    rounds.VerdictEntry(4, bytes([2]) * 32, "ok"),
    rounds.VerdictEntry(5, bytes([3]) * 32, "refuted:statement.signature"),
    rounds.VerdictEntry(6, bytes([4]) * 32, "cannot_tell"),
]


def sign(key: PrivateKey, digest: bytes) -> bytes:
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


def vote(key: PrivateKey, content: bytes = CONTENT, attempt: int = 0) -> rounds.Vote:
    signature = sign(key, rounds.vote_digest(DOMAIN, ORIGIN, 1, 3, attempt, content))
    return rounds.Vote(ORIGIN, 1, 3, attempt, content, signature)


def finality(key: PrivateKey, content: bytes = CONTENT, epoch: int = 1, number: int = 3) -> rounds.FinalityMessage:
    signature = sign(key, rounds.finality_digest(DOMAIN, ORIGIN, epoch, number, content))
    return rounds.FinalityMessage(ORIGIN, epoch, number, content, signature)


def candidate(entries: list[rounds.VerdictEntry] | None = None, **changes: Any) -> rounds.Candidate:
    chosen = ENTRIES if entries is None else entries
    fields: dict[str, Any] = {
        "origin": ORIGIN,
        "epoch": 1,
        "number": 3,
        "attempt": 0,
        "previous": bytes([7]) * 32,
        "size": 7,
        "root": bytes([8]) * 32,
        "verdict_root": rounds.verdict_root(chosen),
        "blob_id": rounds.blob_id(rounds.verdict_blob(chosen)),
    }
    return rounds.Candidate(**{**fields, **changes})


@contextlib.contextmanager
def refusal(code: str, kind: type[HoldfastError] = HoldfastError) -> Iterator[None]:
    """The block raises this kind of error with exactly this code."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\n", "é", "x" * 256, None, 3])
def test_a_malformed_origin_is_refused(origin: object) -> None:
    with refusal("round.origin"):
        rounds.parse_origin(origin)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": 2**64},
        {"epoch": 0},
        {"attempt": -1},
        {"attempt": 2**32},
        {"size": True},
        {"size": 1.0},
        {"number": "3"},
        {"extra": 1},
        {"root": None},
        {"root": "00"},
        {"previous": "AB" * 32},
        {"blob_id": "0x" + "00" * 32},
    ],
)
def test_a_malformed_candidate_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        rounds.parse_candidate({**candidate().to_json(), **change})


@pytest.mark.parametrize("change", [{"signature": "00" * 64}, {"content": "00"}, {"epoch": 0}, {"attempt": 0, "x": 1}])
def test_a_malformed_vote_or_finality_message_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        rounds.parse_vote({**vote(KEYS[0]).to_json(), **change})
    with pytest.raises(MalformedError):
        rounds.parse_finality_message({**finality(KEYS[0]).to_json(), **change})


@pytest.mark.parametrize("change", [{"chain_id": 0}, {"chain_id": "1"}, {"contract": "0x"}, {"other": 1}])
def test_a_malformed_chain_domain_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        rounds.parse_chain_domain({**DOMAIN.to_json(), **change})


def test_a_vote_by_somebody_else_is_refused() -> None:
    with refusal("round.signer"):
        rounds.verify_vote(DOMAIN, vote(KEYS[4]), STAKES)


@pytest.mark.parametrize(
    "change",
    [{"origin": "other"}, {"epoch": 2}, {"number": 4}, {"attempt": 1}, {"content": bytes(32)}],
)
def test_a_vote_whose_fields_were_changed_is_refused(change: dict[str, Any]) -> None:
    with refusal("round.signer"):
        rounds.verify_vote(DOMAIN, dataclasses.replace(vote(KEYS[0]), **change), STAKES)


@pytest.mark.parametrize(
    "domain", [rounds.ChainDomain(1, DOMAIN.contract), rounds.ChainDomain(31337, "0x" + "12" * 20)]
)
def test_a_vote_for_another_chain_or_contract_is_refused(domain: rounds.ChainDomain) -> None:
    with refusal("round.signer"):
        rounds.verify_vote(domain, vote(KEYS[0]), STAKES)


def test_a_vote_is_not_a_finality_message() -> None:
    stolen = rounds.FinalityMessage(ORIGIN, 1, 3, CONTENT, vote(KEYS[0]).signature)
    with refusal("round.signer"):
        rounds.verify_finality_message(DOMAIN, stolen, STAKES)


def test_exactly_two_thirds_is_not_a_quorum() -> None:
    assert not rounds.quorum(2, 3)
    assert not rounds.quorum(0, 0)
    assert not rounds.quorum(1, 0)
    assert rounds.quorum(3, 4)
    assert not rounds.quorum(2 * 10**30, 3 * 10**30)
    assert rounds.quorum(2 * 10**30 + 1, 3 * 10**30)


def test_too_little_stake_leaves_a_round_undecided() -> None:
    for messages in ([], [finality(KEYS[0])], [finality(KEYS[0])] * 4, [finality(key) for key in KEYS[:2]]):
        with refusal("round.quorum", UndecidedError):
            rounds.verify_finality(DOMAIN, messages, STAKES)


def test_finality_messages_of_two_contents_are_refused() -> None:
    with refusal("round.mixed"):
        rounds.verify_finality(DOMAIN, [*(finality(key) for key in KEYS[:3]), finality(KEYS[3], bytes(32))], STAKES)


def test_a_strangers_finality_message_refuses_the_set() -> None:
    with refusal("round.signer"):
        rounds.verify_finality(DOMAIN, [finality(key) for key in KEYS], STAKES)


def test_more_than_two_thirds_is_final() -> None:
    final = rounds.verify_finality(DOMAIN, [finality(key) for key in KEYS[:3]], STAKES)
    assert (final.content, final.stake_for, final.stake_total) == (CONTENT, 30, 40)
    assert final.signers == tuple(ADDRESSES[:3])


def test_one_vote_sent_twice_is_no_offence() -> None:
    with refusal("round.no_offence"):
        rounds.verify_double_vote(DOMAIN, vote(KEYS[0]), vote(KEYS[0]))


def test_votes_in_two_attempts_are_no_offence() -> None:
    with refusal("round.no_offence"):
        rounds.verify_double_vote(DOMAIN, vote(KEYS[0]), vote(KEYS[0], bytes(32), attempt=1))


def test_votes_of_two_nodes_are_no_offence() -> None:
    with refusal("round.no_offence"):
        rounds.verify_double_vote(DOMAIN, vote(KEYS[0]), vote(KEYS[1], bytes(32)))


def test_two_contents_in_one_attempt_name_the_offender() -> None:
    assert rounds.verify_double_vote(DOMAIN, vote(KEYS[0]), vote(KEYS[0], bytes(32))) == ADDRESSES[0]


def test_two_finality_messages_in_one_round_name_the_offender() -> None:
    one = finality(KEYS[2])
    assert rounds.verify_double_finality(DOMAIN, one, finality(KEYS[2], bytes(32))) == ADDRESSES[2]
    assert rounds.verify_double_finality(DOMAIN, one, finality(KEYS[2], epoch=2)) == ADDRESSES[2]
    for other in (one, finality(KEYS[2], bytes(32), number=4), finality(KEYS[1], bytes(32))):
        with refusal("round.no_offence"):
            rounds.verify_double_finality(DOMAIN, one, other)


def test_verified_values_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        rounds.VerifiedVote(vote(KEYS[0]), ADDRESSES[0], None)
    with pytest.raises(TypeError):
        rounds.VerifiedFinality(finality(KEYS[0]), ADDRESSES[0], None)


def test_the_proposer_rotates_over_number_and_attempt() -> None:
    turns = [rounds.proposer(ADDRESSES, number, attempt) for number, attempt in ((1, 0), (1, 1), (2, 0), (5, 0))]
    assert turns == [ADDRESSES[1], ADDRESSES[2], ADDRESSES[2], ADDRESSES[0]]
    for members in ([], ADDRESSES[::-1], [ADDRESSES[0]] * 2):
        with refusal("round.members"):
            rounds.proposer(members, 1, 0)


@pytest.mark.parametrize(
    "code", ["", "OK", "refuted", "refuted:", "refuted:a.", "refuted:A", "ok ", "fine", "refuted:" + "a" * 60, 1]
)
def test_an_unknown_verdict_code_is_refused(code: object) -> None:
    with refusal("round.verdict_code"):
        rounds.parse_verdict_code(code)


@pytest.mark.parametrize(
    "blob",
    [
        b"1 " + b"00" * 32 + b" ok",
        b"\n",
        b"01 " + b"00" * 32 + b" ok\n",
        b"1 " + b"00" * 32 + b" ok\r\n",
        b"1 " + b"AA" * 32 + b" ok\n",
        b"1  " + b"00" * 32 + b" ok\n",
        b"-1 " + b"00" * 32 + b" ok\n",
        b"1 " + b"00" * 32 + b" ok\n\n",
        b"\xd9\xa1 " + b"00" * 32 + b" ok\n",
    ],
)
def test_a_second_spelling_of_a_blob_is_refused(blob: bytes) -> None:
    with refusal("round.blob"):
        rounds.parse_verdict_blob(blob)


def test_verdicts_out_of_order_or_twice_are_refused() -> None:
    for entries in ([ENTRIES[1], ENTRIES[0]], [ENTRIES[0], ENTRIES[0]]):
        with refusal("round.verdict_order"):
            rounds.verdict_root(entries)
        with refusal("round.verdict_order"):
            rounds.verdict_blob(entries)
    line = rounds.verdict_blob(ENTRIES[:1])
    with refusal("round.verdict_order"):
        rounds.parse_verdict_blob(line + line)


def test_a_blob_round_trips() -> None:
    assert rounds.parse_verdict_blob(rounds.verdict_blob(ENTRIES)) == tuple(ENTRIES)
    assert rounds.parse_verdict_blob(b"") == ()


def test_a_blob_that_is_not_the_candidates_is_refused() -> None:
    blob = rounds.verdict_blob(ENTRIES)
    with refusal("round.blob_id"):
        rounds.verify_verdicts(candidate(), 4, rounds.verdict_blob(ENTRIES[:3]))
    with refusal("round.verdict_root"):
        rounds.verify_verdicts(candidate(verdict_root=bytes(32)), 4, blob)
    with refusal("round.coverage"):
        rounds.verify_verdicts(candidate(), 3, blob)
    with refusal("round.coverage"):
        rounds.verify_verdicts(candidate(size=8), 4, blob)
    with refusal("round.coverage"):
        rounds.verify_verdicts(candidate(size=3), 4, blob)
    assert rounds.verify_verdicts(candidate(), 4, blob) == tuple(ENTRIES)


def test_a_round_that_says_nothing_is_refused() -> None:
    with refusal("round.coverage"):
        rounds.verify_verdicts(candidate([], size=7), 7, b"")


def test_a_verdict_under_another_root_is_refused() -> None:
    hashes = [merkle.leaf_hash(entry.leaf) for entry in ENTRIES]
    proof = merkle.inclusion_proof(hashes, 2)
    root = rounds.verdict_root(ENTRIES)
    rounds.verify_verdict_inclusion(ENTRIES[2], 2, 4, proof, root)
    changed = dataclasses.replace(ENTRIES[2], code="ok")
    with refusal("round.verdict_inclusion"):
        rounds.verify_verdict_inclusion(changed, 2, 4, proof, root)


def test_a_node_that_signed_another_content_stays_silent() -> None:
    with pytest.raises(ConflictError):
        rounds.check_never_twice(bytes(32), CONTENT)
    rounds.check_never_twice(None, CONTENT)
    rounds.check_never_twice(CONTENT, CONTENT)


def test_candidates_votes_and_finality_messages_round_trip_through_json() -> None:
    assert rounds.parse_candidate(candidate().to_json()) == candidate()
    assert rounds.parse_vote(vote(KEYS[0]).to_json()) == vote(KEYS[0])
    assert rounds.parse_finality_message(finality(KEYS[0]).to_json()) == finality(KEYS[0])
    assert rounds.parse_chain_domain(DOMAIN.to_json()) == DOMAIN


def test_the_content_covers_each_field() -> None:
    base = candidate()
    contents = {
        dataclasses.replace(base, **change).content
        for change in (
            {},
            {"previous": bytes(32)},
            {"size": 8},
            {"root": bytes(32)},
            {"verdict_root": bytes(32)},
            {"blob_id": bytes(32)},
        )
    }
    assert len(contents) == 6
    assert dataclasses.replace(base, attempt=5, epoch=9, number=8).content == base.content


@pytest.mark.parametrize("kind", ["Vote", "Finality"])
def test_signed_digests_equal_the_typed_data_of_a_wallet_library(kind: str) -> None:
    members = [
        ("origin", "string"),
        ("epoch", "uint64"),
        ("number", "uint64"),
        ("attempt", "uint32"),
        ("content", "bytes32"),
    ]
    if kind == "Finality":
        members.pop(3)
    values = {"origin": ORIGIN, "epoch": 1, "number": 3, "attempt": 2, "content": CONTENT}
    message = encode_typed_data(
        {"name": "Holdfast Rounds", "version": "1", "chainId": 31337, "verifyingContract": DOMAIN.contract},
        {kind: [{"name": name, "type": type_} for name, type_ in members]},
        {name: values[name] for name, _ in members},
    )
    expected = keccak(b"\x19\x01" + message.header + message.body)
    if kind == "Vote":
        assert rounds.vote_digest(DOMAIN, ORIGIN, 1, 3, 2, CONTENT) == expected
    else:
        assert rounds.finality_digest(DOMAIN, ORIGIN, 1, 3, CONTENT) == expected


def test_errors_keep_their_kinds_apart() -> None:
    with pytest.raises(RefusedError):
        rounds.verify_vote(DOMAIN, vote(KEYS[4]), STAKES)
    with pytest.raises(MalformedError):
        rounds.verdict_leaf(0, b"", "ok")
