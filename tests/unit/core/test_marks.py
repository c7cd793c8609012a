"""Marks: a signed chain over what was shown; a reader with other events, another run or another key refuses it."""

from __future__ import annotations

import dataclasses

import pytest

from holdfast.core import canonical, merkle, parts
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_encode, sha256
from holdfast.core.marks import Mark, MarkChain, parse_mark, verify_mark
from holdfast.core.statements import pre_authentication_encoding
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.network import RUN, ed25519_signer

SIGNER = ed25519_signer("gateway", "statement")
KEY = parts.pseudo_random_key(RUN, bytes(32))
EVENTS = [
    canonical.decode_exact(text)
    for text in (b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"delta":{"content":"b"}}],"tee_x":1}')
]


def chain_of(events, key=KEY):
    chain = MarkChain(key)
    for event in events:
        chain.add(event)
    return chain


def sealed(events=EVENTS):
    mark = chain_of(events).seal()
    return mark, SIGNER.sign(mark.message(RUN))


def refusal(events=EVENTS, *, mark=None, signature=None, run=RUN, signer=SIGNER, key=KEY):
    good, signed = sealed()
    with pytest.raises(RefusedError) as refused:
        verify_mark(mark or good, signature or signed, chain=chain_of(events, key), run=run, key=signer.key)
    return refused.value.code


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"seq": -1},
        {"seq": True},
        {"seq": "1"},
        {"seq": 1.0},
        {"seq": NumberText("1.0")},
        {"seq": NumberText("-1")},
        {"seq": NumberText("0")},
        {"seq": NumberText("9" * 5000)},
        {"events": 0},
        {"events": None},
        {"more": 1},
    ],
)
def test_a_mark_counts_from_one_in_integers(changes):
    mark, signature = sealed()
    with pytest.raises(MalformedError) as refused:
        parse_mark(mark.to_json(signature) | changes)
    assert refused.value.code == "mark.fields"


@pytest.mark.parametrize("value", [None, [], {}, "x"])
def test_a_mark_has_exactly_its_members(value):
    with pytest.raises(MalformedError) as refused:
        parse_mark(value)
    assert refused.value.code == "mark.fields"


@pytest.mark.parametrize("changes", [{"previous": "00"}, {"parts": "AA" * 32}, {"signature": "x"}, {"previous": None}])
def test_digests_and_signature_have_one_spelling(changes):
    mark, signature = sealed()
    with pytest.raises(MalformedError) as refused:
        parse_mark(mark.to_json(signature) | changes)
    assert refused.value.code.startswith("encoding.")


@pytest.mark.parametrize("events", [[], EVENTS[:1], EVENTS[::-1], [*EVENTS, EVENTS[0]]])
def test_other_events_are_not_covered(events):
    assert refusal(events) == "mark.chain"


@pytest.mark.parametrize(
    "changes", [{"seq": 2}, {"events": 1}, {"events": 3}, {"previous": bytes(32)}, {"parts": bytes(32)}]
)
def test_a_mark_that_says_something_else_is_refused_even_when_signed(changes):
    mark = dataclasses.replace(sealed()[0], **changes)
    assert refusal(mark=mark, signature=SIGNER.sign(mark.message(RUN))) == "mark.chain"


def test_another_run_has_another_chain_and_another_signature():
    assert refusal(key=parts.pseudo_random_key(RUN[:-1] + "f", bytes(32))) == "mark.chain"
    assert refusal(run=RUN[:-1] + "f") == "mark.signature"


def test_a_stranger_signs_no_mark():
    assert refusal(signer=ed25519_signer("stranger", "statement")) == "mark.signature"


def test_a_signature_over_a_statement_is_none_over_a_mark():
    mark, _ = sealed()
    assert refusal(signature=SIGNER.sign(pre_authentication_encoding(mark.message(RUN)))) == "mark.signature"


def test_marks_follow_each_other():
    chain, reader = MarkChain(KEY), MarkChain(KEY)
    assert chain.value == sha256(b"\x02" + parts.derive_salt(KEY, "mark"))
    for number, event in enumerate(EVENTS, start=1):
        chain.add(event)
        assert chain.open_events == 1
        mark = chain.seal()
        assert (mark.seq, chain.seq, chain.open_events) == (number, number, 0)
        reader.add(event)
        verify_mark(mark, SIGNER.sign(mark.message(RUN)), chain=reader, run=RUN, key=SIGNER.key)
    assert reader.value == chain.value == mark.parts


def test_a_window_is_the_root_over_its_events():
    salt = parts.derive_salt(KEY, "mark")
    roots = [
        merkle.root([parts.leaf_hash(part, salt) for part in parts.map_parts("response", event)]) for event in EVENTS
    ]
    start = MarkChain(KEY).value
    assert sealed()[0] == Mark(1, start, sha256(b"\x02" + start + merkle.root(roots)), 2)


def test_a_mark_survives_json_with_and_without_number_texts():
    mark, signature = sealed()
    raw = canonical.encode(mark.to_json(signature))
    assert parse_mark(canonical.decode(raw)) == parse_mark(canonical.decode_exact(raw)) == (mark, signature)
    assert mark.to_json(b"")["signature"] == b64_encode(b"")
