"""Parts: a total mapping, labels that follow from paths, leaves that show nothing, disclosures that cannot be bent."""

from __future__ import annotations

import hashlib
import hmac
import tracemalloc
from typing import Any

import pytest

from holdfast.core import canonical, merkle, parts
from holdfast.core.encoding import b64_encode
from holdfast.core.parts import MAX_CACHED_PATH, Part
from holdfast.core.statements import Tree
from holdfast.errors import MalformedError, RefusedError

RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
SECRET = bytes(range(32))
KEY = parts.pseudo_random_key(RUN, SECRET)
ANSWER = b'{"choices":[{"index":0,"message":{"content":"Yes","role":"assistant"}}],"model":"m"}'
MADE = parts.commit("response", ANSWER, KEY)


def shown(place=0, **changes):
    return parts.disclose("response", MADE, place).to_json() | changes


def labels(document, text):
    return [part.label.decode() for part in parts.map_parts(document, canonical.decode_exact(text))]


@pytest.mark.parametrize("value", [[], "x", None, canonical.NumberText("1"), True])
def test_a_document_is_an_object(value):
    with pytest.raises(MalformedError) as refused:
        parts.map_parts("request", value)
    assert refused.value.code == "parts.document"


@pytest.mark.parametrize("value", [{"a": 1}, {"a": [1.5]}, {"a": {"b": b""}}])
def test_numbers_that_lost_their_text_are_refused(value):
    with pytest.raises(MalformedError) as refused:
        parts.map_parts("request", value)
    assert refused.value.code == "parts.number"


@pytest.mark.parametrize("text", [b'{"a\\u0000b":1}', b'{"a":[{"\\u0000":{}}]}'])
def test_a_name_with_a_zero_byte_is_refused(text):
    with pytest.raises(MalformedError) as refused:
        parts.commit("request", text, KEY)
    assert refused.value.code == "parts.label"


def test_one_part_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(parts, "MAX_PARTS", 3)
    assert len(parts.map_parts("request", {"a": ["x", "y", "z"]})) == 3
    with pytest.raises(MalformedError) as refused:
        parts.map_parts("request", {"a": ["x", "y", "z", "w"]})
    assert refused.value.code == "parts.count"


@pytest.mark.parametrize(
    "document",
    [
        {"x" * 100_000: ["y"] * 60_000},
        {"x" * 300_000: {"a" * 300_000: ["y"] * 60_000}},
        {"é" * 250: ["y"] * 65_000},
    ],
    ids=["one long name", "two long names", "many short labels"],
)
def test_a_long_name_over_many_parts_is_refused_before_it_fills_the_memory(document: dict[str, Any]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError) as refused:
            parts.map_parts("request", document)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "parts.labels"
    assert peak < 100 << 20


@pytest.mark.parametrize(
    ("kind", "data"),
    [("n", b"24 (proven)"), ("n", b"01"), ("n", b"1\n"), ("l", b"True"), ("o", b"{}"), ("a", b"x"), ("s", b"\xff")],
)
def test_disclosed_bytes_are_of_the_kind_that_their_label_names(kind: str, data: bytes) -> None:
    shown = {
        "document": "response",
        "position": 0,
        "label": f"field|-|-|{kind}|/a",
        "salt": b64_encode(bytes(16)),
        "bytes": b64_encode(data),
        "proof": [],
    }
    with pytest.raises(RefusedError) as refused:
        parts.parse_disclosed_part(shown)
    assert refused.value.code == "parts.bytes"


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"document": "answer"}, MalformedError, "parts.disclosure"),
        ({"document": ["response"]}, MalformedError, "parts.disclosure"),
        ({"position": -1}, MalformedError, "parts.disclosure"),
        ({"position": True}, MalformedError, "parts.disclosure"),
        ({"position": "0"}, MalformedError, "parts.disclosure"),
        ({"label": 7}, MalformedError, "parts.disclosure"),
        ({"proof": {}}, MalformedError, "parts.disclosure"),
        ({"more": 1}, MalformedError, "parts.disclosure"),
        ({"label": "text|0|-|s"}, MalformedError, "parts.label"),
        ({"label": "text|0|-|x|/choices/0/text"}, MalformedError, "parts.label"),
        ({"label": "text|0|-||/choices/0/text"}, MalformedError, "parts.label"),
        ({"label": "field|-|-|s|/a\x00b"}, MalformedError, "parts.label"),
        ({"label": "text|-|-|s|/choices/0/text"}, RefusedError, "parts.label"),
        ({"label": "text|00|-|s|/choices/00/text"}, RefusedError, "parts.label"),
        ({"label": "refusal|0|-|s|/choices/0/text"}, RefusedError, "parts.label"),
        ({"salt": b64_encode(bytes(15))}, MalformedError, "encoding.base64"),
        ({"salt": b64_encode(bytes(17))}, MalformedError, "encoding.base64"),
        ({"proof": ["00" * 31]}, MalformedError, "encoding.hex"),
        ({"bytes": "YQ"}, MalformedError, "encoding.base64"),
    ],
)
def test_a_disclosure_that_is_not_one_is_refused(changes, kind, code):
    with pytest.raises(kind) as refused:
        parts.parse_disclosed_part(shown(**changes))
    assert (type(refused.value), refused.value.code) == (kind, code)


@pytest.mark.parametrize("value", [None, [], "x", {}])
def test_a_disclosure_has_exactly_its_members(value):
    with pytest.raises(MalformedError) as refused:
        parts.parse_disclosed_part(value)
    assert refused.value.code == "parts.disclosure"


@pytest.mark.parametrize("position", range(MADE.tree.size))
def test_each_part_is_in_the_tree_at_its_place_only(position):
    part = parts.parse_disclosed_part(shown(position))
    assert parts.verify_part(part, MADE.tree) == MADE.parts[position]
    for tree in (Tree(bytes(32), MADE.tree.size), Tree(MADE.tree.root, MADE.tree.size * 4)):
        with pytest.raises(RefusedError) as refused:
            parts.verify_part(part, tree)
        assert refused.value.code == "parts.root"
    with pytest.raises(RefusedError):
        parts.verify_part(parts.parse_disclosed_part(shown(position, position=position ^ 1)), MADE.tree)


def test_a_part_with_the_salt_of_its_neighbour_is_refused():
    part = parts.parse_disclosed_part(shown(0, salt=shown(1)["salt"]))
    with pytest.raises(RefusedError):
        parts.verify_part(part, MADE.tree)


def test_an_inner_node_is_no_leaf():
    leaves = MADE.leaves
    inner = merkle.node_hash(leaves[0], leaves[1])
    assert inner not in leaves
    assert parts.leaf_hash(Part(b"", leaves[0]), leaves[1][:16]) != inner


@pytest.mark.parametrize(
    ("text", "run", "secret"),
    [
        (ANSWER.replace(b"Yes", b"yes"), RUN, SECRET),
        (ANSWER, RUN[:-1] + "f", SECRET),
        (ANSWER, RUN, SECRET[:-1] + b"\x00"),
        (ANSWER.replace(b'"model":"m"', b'"model":"m","x":null'), RUN, SECRET),
    ],
)
def test_a_document_under_another_secret_run_or_text_is_refused(text, run, secret):
    with pytest.raises(RefusedError) as refused:
        parts.verify_document("response", text, run, secret, MADE.tree)
    assert refused.value.code == "parts.root"


def test_an_answer_is_not_a_question_with_the_same_text():
    with pytest.raises(RefusedError):
        parts.verify_document("sent", ANSWER, RUN, SECRET, MADE.tree)
    assert parts.verify_document("response", ANSWER, RUN, SECRET, MADE.tree) == MADE


def test_carriers_are_removed_from_the_top_only():
    text = b'{"holdfast":{"a":1},"tee_x":1,"x":{"holdfast":1,"tee_y":2}}'
    deep = ["field|-|-|n|/x/holdfast", "field|-|-|n|/x/tee_y"]
    assert labels("response", text) == labels("sent", text) == deep
    assert labels("request", text) == [*deep, "holdfast|-|-|n|/holdfast/a"]


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("", "field|-|-"),
        ("/choices", "field|-|-"),
        ("/choices/0", "field|0|-"),
        ("/choices/01", "field|-|-"),
        ("/choices/0/message/content", "text|0|-"),
        ("/choices/0/message/content/1/text", "content_part|0|1"),
        ("/choices/0/message/contents", "field|0|-"),
        ("/choices/x/text", "text|-|-"),
        ("/choices//text", "text|-|-"),
        ("/messages/3/content", "text|-|3"),
        ("/prompt/2", "text|-|2"),
        ("/prompt/2/1", "field|-|2"),
        ("/usage", "usage|-|-"),
        ("/usage/a\nb", "usage|-|-"),
        ("/usages", "field|-|-"),
        ("/model", "model|-|-"),
        ("/model/0", "field|-|0"),
        ("/model\n", "field|-|-"),
        ("/x~10/7", "field|-|7"),
    ],
)
def test_type_choice_and_index_follow_from_the_path(path, head):
    assert parts._label_head(path) == head


def test_pointer_escapes_keep_names_apart():
    assert labels("request", b'{"a/b":1,"a":{"b":2},"a~1b":3,"~":4}') == [
        "field|-|-|n|/a/b",
        "field|-|-|n|/a~01b",
        "field|-|-|n|/a~1b",
        "field|-|-|n|/~0",
    ]


def test_every_kind_of_value_is_a_part():
    found = parts.map_parts(
        "request", canonical.decode_exact(b'{"a":{},"b":[],"c":null,"d":true,"e":false,"f":"","g":0}')
    )
    assert {part.label[-4:].decode(): part.data for part in found} == {
        "o|/a": b"",
        "a|/b": b"",
        "l|/c": b"null",
        "l|/d": b"true",
        "l|/e": b"false",
        "s|/f": b"",
        "n|/g": b"0",
    }
    assert found == sorted(found)
    assert labels("request", b"{}") == ["field|-|-|o|"]


def test_long_names_are_cut_like_short_ones_and_not_remembered():
    before = parts._label.cache_info().currsize
    name = "x" * MAX_CACHED_PATH
    assert labels("request", b'{"%s":{"7":1}}' % name.encode()) == [f"field|-|7|n|/{name}/7"]
    assert parts._label.cache_info().currsize == before


@pytest.mark.parametrize("count", [0, 1, 2, 509, 510, 511, 1021])
def test_salts_are_hkdf_expanded_block_by_block(count):
    salts = parts.derive_salts(KEY, "request", count)
    assert len(salts) == len(set(salts)) == count
    assert all(len(salt) == 16 for salt in salts)
    assert salts == parts.derive_salts(KEY, "request", 1100)[:count]
    first = hmac.digest(KEY, b"holdfast/salt/v1/request/0\x01", "sha256")
    assert salts[:2] == [first[:16], first[16:]][:count]
    if count > 510:
        assert salts[510] == hmac.digest(KEY, b"holdfast/salt/v1/request/1\x01", "sha256")[:16]


def test_salts_of_documents_and_marks_differ():
    derived = {parts.derive_salts(KEY, name, 1)[0] for name in parts.DOCUMENTS} | {parts.derive_salt(KEY, "mark")}
    assert len(derived) == 4


def test_a_leaf_is_domain_separated_and_has_one_parse():
    expected = hashlib.sha256(b"\x00label\x00" + bytes(16) + b"data").digest()
    assert parts.leaf_hash(Part(b"label", b"data"), bytes(16)) == expected


@pytest.mark.parametrize("key", [b"", b"k", bytes(range(32)), b"\xff" * 64])
@pytest.mark.parametrize("message", [b"", b"m", bytes(200)])
def test_the_mac_behind_the_salts_is_hmac_sha_256(key, message):
    mac = parts._mac(key)
    assert mac(message) == mac(message) == hmac.digest(key, message, "sha256")
