"""A text under its run's secret opens with that secret and for its document, and not otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.encoding import b64_encode
from holdfast.core.parts import pseudo_random_key
from holdfast.core.sealing import open_document, open_sealed_answer, seal_document, sealed_member
from holdfast.errors import MalformedError, RefusedError

KEY = bytes(range(32))
RUN = "019b7651-c000-7000-8000-0123456789ab"
SECRET = bytes(range(1, 33))


def answer(**change: Any) -> dict[str, Any]:
    sealed = seal_document(pseudo_random_key(RUN, SECRET), "response", b'{"model":"small-1"}')
    return {
        "object": "holdfast.sealed",
        "choices": [],
        "holdfast": {"run": RUN, "sealed": sealed_member(sealed)},
        **change,
    }


def test_a_sealed_text_opens_with_its_key_and_document_only() -> None:
    sealed = seal_document(KEY, "request", b"between us")
    assert b"between" not in sealed
    assert open_document(KEY, "request", sealed) == b"between us"
    for key, document in ((bytes(32), "request"), (KEY, "response")):
        with pytest.raises(RefusedError) as refused:
            open_document(key, document, sealed)
        assert (refused.value.code, refused.value.status) == ("run.capability", 403)


@given(st.integers(0, 1000))
def test_a_sealed_text_with_one_changed_bit_does_not_open(bit: int) -> None:
    sealed = bytearray(seal_document(KEY, "request", b"between us"))
    sealed[bit // 8 % len(sealed)] ^= 1 << bit % 8
    with pytest.raises(RefusedError):
        open_document(KEY, "request", bytes(sealed))


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        None,
        {},
        answer(object="chat.completion"),
        answer(holdfast={"run": RUN}),
        answer(holdfast={"run": "no run", "sealed": sealed_member(b"")}),
        answer(holdfast={"run": RUN, "sealed": {**sealed_member(b"x"), "suite": "A128GCM"}}),
        answer(holdfast={"run": RUN, "sealed": {**sealed_member(b"x"), "document": "request"}}),
        answer(holdfast={"run": RUN, "sealed": {**sealed_member(b"x"), "more": 1}}),
    ],
)
def test_what_is_no_sealed_answer_is_malformed(wrong: object) -> None:
    with pytest.raises(MalformedError) as refused:
        open_sealed_answer(wrong, SECRET)
    assert refused.value.code == "sealed.fields"


def test_a_sealed_answer_opens_with_its_runs_secret_alone() -> None:
    with pytest.raises(RefusedError, match="does not open"):
        open_sealed_answer(answer(), bytes(32))
    other = answer()
    other["holdfast"]["run"] = RUN.replace("ab", "ac")
    with pytest.raises(RefusedError, match="does not open"):
        open_sealed_answer(other, SECRET)
    assert json.loads(open_sealed_answer(answer(), SECRET)) == {"model": "small-1"}
    assert b64_encode(b"small-1") not in json.dumps(answer())
