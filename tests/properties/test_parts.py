"""Parts and marks: every byte is bound, every part can be shown alone, and no flipped byte is shown as the same."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast.core import canonical, parts
from holdfast.core.fold import Fold
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from tests.helpers.network import RUN, SECRET, ed25519_signer, p256_signer

KEY = parts.pseudo_random_key(RUN, SECRET)
NAMES = st.sampled_from(["choices", "message", "content", "usage", "0", "7", "a/b", "~", "é", "", "model", "tools"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=10
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
KINDS = st.sampled_from(parts.DOCUMENTS)
SIGNERS = [ed25519_signer("gateway", "statement"), p256_signer("gateway", "statement")]


def raw(value):
    return json.dumps(value, ensure_ascii=False).encode()


def cut(document, value):
    return parts.commit(document, raw(value), KEY)


@given(KINDS, DOCUMENTS)
def test_every_part_can_be_shown_alone(document, value):
    made = cut(document, value)
    assert made.tree.size == len(made.parts) >= 1
    for position in range(made.tree.size):
        shown = parts.parse_disclosed_part(
            canonical.decode(canonical.encode(parts.disclose(document, made, position).to_json()))
        )
        assert parts.verify_part(shown, made.tree) == made.parts[position]


@given(KINDS, DOCUMENTS, st.data())
def test_one_changed_member_of_a_disclosure_is_refused(document, value, data):
    made = cut(document, value)
    shown = parts.disclose(document, made, data.draw(st.integers(0, made.tree.size - 1))).to_json()
    changed = copy.deepcopy(shown)
    name = data.draw(st.sampled_from(["position", "label", "salt", "bytes", "proof"]))
    if name == "position":
        changed[name] = data.draw(st.integers(0, 2 * made.tree.size))
    elif name == "proof":
        changed[name] = data.draw(st.permutations(shown[name])) + data.draw(st.lists(st.just("00" * 32), max_size=1))
    else:
        text = shown[name]
        place = data.draw(st.integers(0, len(text)))
        changed[name] = text[:place] + data.draw(st.sampled_from(["A", "0", "=", "|", "/", ""])) + text[place + 1 :]
    assume(changed != shown)
    with pytest.raises(HoldfastError):
        parts.verify_part(parts.parse_disclosed_part(changed), made.tree)


@given(KINDS, DOCUMENTS, DOCUMENTS)
def test_two_documents_have_one_root_only_when_they_have_the_same_parts(document, one, other):
    left, right = cut(document, one), cut(document, other)
    assert (left.tree == right.tree) == (left.parts == right.parts)


@given(DOCUMENTS, st.data())
def test_the_order_of_members_changes_nothing_and_of_elements_everything(value, data):
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    assert cut("request", shuffled) == cut("request", value)
    items = data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=5))
    turned = items[::-1]
    assert (cut("request", {"a": items}) == cut("request", {"a": turned})) == (items == turned)


@given(KINDS, DOCUMENTS, st.data())
def test_a_flipped_byte_of_a_disclosed_document_is_refused(document, value, data):
    made, text = cut(document, value), bytearray(raw(value))
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        same = parts.commit(document, bytes(text), KEY).parts == made.parts
    except MalformedError:
        same = False
    if not same:  # white space and escapes are spelling, not parts
        with pytest.raises(HoldfastError):
            parts.verify_document(document, bytes(text), RUN, SECRET, made.tree)


@given(DOCUMENTS, st.integers(0, 31), st.integers(1, 255))
def test_another_secret_opens_nothing(value, place, flip):
    other = bytearray(SECRET)
    other[place] ^= flip
    with pytest.raises(RefusedError):
        parts.verify_document("request", raw(value), RUN, bytes(other), cut("request", value).tree)


DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.none(),
        "role": st.just("assistant"),
    },
)
STREAM = st.lists(
    st.lists(st.tuples(st.integers(0, 2), DELTAS), max_size=2).map(
        lambda choices: {"id": "x", "choices": [{"index": index, "delta": delta} for index, delta in choices]}
    ),
    min_size=1,
    max_size=5,
)


@given(STREAM, st.sampled_from(SIGNERS), st.data())
def test_a_reader_follows_the_marks_wherever_they_fall(events, signer, data):
    chain, reader = MarkChain(KEY), MarkChain(KEY)
    for event in (canonical.decode_exact(raw(event)) for event in events):
        chain.add(event)
        reader.add(event)
        if data.draw(st.booleans()):
            mark = chain.seal()
            verify_mark(mark, signer.sign(mark.message(RUN)), chain=reader, run=RUN, key=signer.key)
    assert reader.value == chain.value


@given(STREAM, st.sampled_from(SIGNERS), st.data())
def test_one_changed_member_of_a_mark_is_refused(events, signer, data):
    def read(chain=None):
        chain = MarkChain(KEY)
        for event in events:
            chain.add(canonical.decode_exact(raw(event)))
        return chain

    mark = read().seal()
    shown = mark.to_json(signer.sign(mark.message(RUN)))
    changed = dict(shown)
    name = data.draw(st.sampled_from(sorted(shown)))
    if isinstance(shown[name], int):
        changed[name] = data.draw(st.integers(-1, 9))
    else:
        place = data.draw(st.integers(0, len(shown[name]) - 1))
        changed[name] = shown[name][:place] + data.draw(st.sampled_from("0fAz+=")) + shown[name][place + 1 :]
    assume(changed != shown)
    with pytest.raises(HoldfastError):
        verify_mark(*parse_mark(changed), chain=read(), run=RUN, key=signer.key)


@given(STREAM)
def test_text_of_a_stream_is_what_its_pieces_say(events):
    fold = Fold()
    for event in events:
        fold.add(canonical.decode_exact(raw(event)))
    for choice in fold.document()["choices"]:
        pieces = [
            one["delta"].get("content")
            for event in events
            for one in event["choices"]
            if str(one["index"]) == choice["index"]
        ]
        said = [piece for piece in pieces if piece is not None]
        assert choice["message"].get("content") == ("".join(said) if said else None)
