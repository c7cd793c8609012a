"""Strict JSON: what parsers disagree about is refused, and what we sign has one spelling."""

from __future__ import annotations

import json

import pytest

from holdfast.core import canonical
from holdfast.core.canonical import MAX_DEPTH, MAX_INTEGER, NumberText
from holdfast.errors import MalformedError


def refusal(function, *arguments):
    """The code with which something is refused."""
    with pytest.raises(MalformedError) as refused:
        function(*arguments)
    return refused.value.code


@pytest.mark.parametrize("decode", [canonical.decode, canonical.decode_exact, canonical.decode_signed])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"a":1,"a":1}', "json.duplicate_key"),
        (b'{"x":{"a":1,"\\u0061":1}}', "json.duplicate_key"),
        (b'{"a":NaN}', "json.number"),
        (b'{"a":-Infinity}', "json.number"),
        (b'{"a":"\xff"}', "json.utf8"),
        (b'{"a":"\\ud800"}', "json.surrogate"),
        (b'{"\\udfff":1}', "json.surrogate"),
        (b'\xef\xbb\xbf{"a":1}', "json.syntax"),
        (b'{"a":1}x', "json.syntax"),
        (b'{"a":01}', "json.syntax"),
        (b'{"a":"\n"}', "json.syntax"),
        (b"", "json.syntax"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "json.depth"),
    ],
)
def test_every_decoder_refuses_what_parsers_disagree_about(decode, raw, code):
    assert refusal(decode, raw) == code


def test_a_number_too_long_for_an_integer_is_refused_and_not_a_crash():
    assert refusal(canonical.decode, b"1" * 5000) == "json.number"
    assert refusal(canonical.decode_signed, b'{"a":' + b"1" * 5000 + b"}") == "json.number"


def test_depth_is_counted_outside_strings_only():
    quoted = '"' + "[{" * 200 + '\\"[' + '"'
    assert canonical.decode(quoted.encode()) == "[{" * 200 + '"['
    wide = b"[" + b",".join([b"[]"] * 500) + b"]"
    assert len(canonical.decode(wide)) == 500
    escaped = b'["\\\\",' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b',"' + b"[" * 10 + b'"]'
    assert canonical.decode(escaped)[0] == "\\"


@pytest.mark.parametrize("said", [b"\\\\", b'\\"', b'\\\\\\"', b"[[", b"\\\\\\\\"])
def test_a_string_hides_its_own_brackets_and_none_after_it(said):
    text = b'"' + said + b"[" * MAX_DEPTH + said + b'"'
    assert canonical.decode(b"[" + text + b',{"a":' + text + b"}]")
    deep = b"[" + text + b"," + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"," + text + b"]"
    assert refusal(canonical.decode, deep) == "json.depth"


def test_depth_of_64_is_the_last_that_passes():
    assert canonical.decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert refusal(canonical.decode, b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)) == "json.depth"


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"a"'])
def test_only_an_object_is_an_object(raw):
    assert refusal(canonical.decode_object, raw) == "json.object"
    assert refusal(canonical.decode_signed, raw) == "json.object"


@pytest.mark.parametrize("raw", [b'{"a":1.0}', b'{"a":1e3}', b'{"a":1E-2}'])
def test_signed_json_holds_no_floats(raw):
    assert refusal(canonical.decode_signed, raw) == "json.float"


@pytest.mark.parametrize("text", [str(MAX_INTEGER + 1), str(-MAX_INTEGER - 1), "-0"])
def test_signed_integers_are_what_every_reader_keeps(text):
    assert refusal(canonical.decode_signed, b'{"a":%s}' % text.encode()) == "json.number"


@pytest.mark.parametrize("number", [MAX_INTEGER, -MAX_INTEGER, 0])
def test_the_largest_integers_pass(number):
    assert canonical.decode_signed(b'{"a":%d}' % number) == {"a": number}


@pytest.mark.parametrize(
    "raw",
    [
        b'{ "a":1}',
        b'{"b":1,"a":1}',
        b'{"a":1}\n',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\u00e9"}',
        b'{"a":"\\u000A"}',
        b'{"\xef\xbf\xa4":1,"\xf0\x90\x80\x80":2}',  # code point order, where RFC 8785 asks for UTF-16 order
    ],
)
def test_signed_json_has_one_spelling(raw):
    assert refusal(canonical.decode_signed, raw) == "json.spelling"


def test_keys_are_in_utf16_order():
    raw = b'{"\xf0\x90\x80\x80":2,"\xef\xbf\xa4":1}'
    assert canonical.encode(canonical.decode_signed(raw)) == raw


def test_what_has_no_canonical_form_is_not_encoded():
    assert refusal(canonical.encode, {"a": [1.5]}) == "json.float"
    assert refusal(canonical.encode, {1: "a"}) == "json.key"


def test_tuples_are_arrays():
    assert canonical.encode({"a": (1, (True, None))}) == b'{"a":[1,[true,null]]}'


def test_exact_numbers_keep_their_text_and_their_place():
    raw = b'{"b":1.50,"a":[-0,1E400,{"x":12345678901234567890}],"c":"1.50","d":true,"e":null}'
    value = canonical.decode_exact(raw)
    assert value["b"] == NumberText("1.50")
    assert isinstance(value["b"], NumberText)
    assert not isinstance(value["c"], NumberText)
    assert canonical.encode_exact(value) == raw


def test_the_encoder_without_the_accelerator_writes_the_same(monkeypatch):
    value = {"b": ["é", "\u2028", "\x01", "\x7f", '"', "\\"], "a": {"z": None, "y": [True, -1]}}
    expected = canonical.encode(value)
    assert canonical.encode_known(value) == expected
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert "".join(canonical._piecewise()(value, 0)).encode() == expected
