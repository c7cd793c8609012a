"""Two readings of the specification agree: the implementation and the vectors' generator, on whatever comes.

``spec/tools/reference`` is written from the text alone. Each property feeds both the same bytes and compares what they
say, refusals and their codes included.
"""

import sys
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.core import canonical, merkle
from holdfast.core import parts as ours
from holdfast.core.fold import Fold
from holdfast.errors import MalformedError

TOOLS = str(Path(__file__).resolve().parents[2] / "spec" / "tools")
sys.path.insert(0, TOOLS)
from reference import parts as theirs  # noqa: E402
from reference import text, tree  # noqa: E402

sys.path.remove(TOOLS)

RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
SECRET = bytes(range(32))
MEMBERS = st.sampled_from(
    ["choices", "message", "content", "messages", "role", "index", "usage", "tool_calls", "function", "arguments", "0",
     "1", "007", "a/b", "a~b", "", "id", "type", "name", "text", "model", "tools", "prompt", "logprobs", "delta",
     "finish_reason", "holdfast", "tee_x", "images", "image_url", "é", "𐀀", "｡", "a|b", "citations", "refusal"]
)  # fmt: skip
NUMBERS = st.sampled_from(
    ["0", "1", "2", "-0", "1.0", "1.00", "1e400", "-1E+2", "0.1e-7", "123456789012345678901234567890"]
)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", "a", "\x00", "é", "e\u0301", "😀"]
)


def quoted(value):
    return text.quote(value)


def arrays(items):
    return st.lists(items, max_size=4).map(lambda found: "[" + ",".join(found) + "]")


def objects(items, names=MEMBERS):
    pairs = st.dictionaries(names, items, max_size=5)
    return pairs.map(lambda found: "{" + ",".join(f"{quoted(name)}:{item}" for name, item in found.items()) + "}")


SCALARS = NUMBERS | STRINGS.map(quoted) | st.sampled_from(["true", "false", "null"])
VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | objects(inner), max_leaves=12)
DOCUMENTS = objects(VALUES)


def outcome(function, *arguments):
    """What a reading makes of its input: a value, or the code it refuses with."""
    try:
        return "value", function(*arguments)
    except MalformedError as error:
        return "refused", error.code
    except text.SpecError as error:
        return "refused", error.code


@given(DOCUMENTS, st.sampled_from(["request", "sent", "response"]))
@example('{"choices":[{"message":{"content":["a",{"0":"b"}]}}],"a\\u0000":1}', "response")
def test_both_cut_a_document_into_the_same_parts(document, name):
    def our_reading():
        made = ours.commit(name, document.encode(), ours.pseudo_random_key(RUN, SECRET))
        return [(part.label.decode(), part.data) for part in made.parts], made.tree.root

    def their_reading():
        bound = theirs.Bound(text.parse(document.encode()), name, RUN, SECRET)
        return bound.parts, bound.root

    assert outcome(our_reading) == outcome(their_reading)


INDEXES = st.sampled_from(["0", "1", "2"] * 6 + ["0.0", '"0"', "null", "1024"])
DELTA_VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        arrays(inner)
        | objects(inner)
        | st.lists(st.tuples(INDEXES, objects(inner, st.sampled_from(["a", "id", "function", "x"]))), max_size=3).map(
            lambda found: "[" + ",".join(f'{{"index":{i}{"," if o != "{}" else ""}{o[1:]}' for i, o in found) + "]"
        )
    ),
    max_leaves=6,
)
DELTAS = objects(DELTA_VALUES, st.sampled_from(["role", "content", "tool_calls", "x", "id"])) | st.just("null")
CHOICES = st.tuples(
    INDEXES | st.just(""),
    DELTAS | st.just(""),
    st.sampled_from(
        ["", "", "", '"text":"a"', '"text":1', '"finish_reason":"stop"', '"message":null', '"message":{"x":"a"}']
    ),
).map(
    lambda made: (
        "{"
        + ",".join(
            item for item in (made[0] and f'"index":{made[0]}', made[1] and f'"delta":{made[1]}', made[2]) if item
        )
        + "}"
    )
)
EVENTS = st.tuples(
    st.lists(CHOICES, max_size=2), objects(SCALARS, st.sampled_from(["id", "object", "tee_x", "usage"]))
).map(lambda made: '{"choices":[' + ",".join(made[0]) + "]" + ("," if made[1] != "{}" else "") + made[1][1:])


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_both_fold_a_stream_into_the_same_parts(events):
    def our_reading():
        fold = Fold()
        for event in events:
            fold.add(canonical.decode_exact(event.encode()))
        return [(part.label.decode(), part.data) for part in ours.map_parts("response", fold.document())]

    def their_reading():
        return theirs.map_document(theirs.fold([text.parse(event.encode()) for event in events]), "response")

    assert outcome(our_reading) == outcome(their_reading)


def plain(value):
    """Exact numbers as tagged texts, so that a number and a string of one spelling differ."""
    if isinstance(value, canonical.NumberText | text.Number):
        return ("number", str(value))
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


WORDS = r"""{ } [ ] , : " a "a" 1 - . 0 e true nul null \u d800 \ud800 \udc00 \n é NaN Infinity -Infinity // ' ٣"""
SNIPPETS = st.lists(st.sampled_from([*WORDS.split(), " ", "\n", "\x01", "\ufeff", "\u00a0"]), max_size=10).map("".join)


@given(SNIPPETS | DOCUMENTS | VALUES)
@example('["\\ud800", {"a":1,"a":2}]')
@example("[1]\u00a0")
@example("-Infinity")
def test_both_accept_the_same_json(document):
    data = document.encode()
    mine = outcome(lambda: plain(canonical.decode_exact(data)))
    other = outcome(lambda: plain(text.parse(data)))
    if mine[0] == "value" or other[0] == "value":
        assert mine == other, (mine, other)


@given(st.integers(0, 40), st.data())
def test_both_grow_the_same_trees(size, data):
    entries = [bytes([number]) for number in range(size)]
    mine, other = [merkle.leaf_hash(entry) for entry in entries], [tree.leaf(entry) for entry in entries]
    assert merkle.root(mine) == tree.head(other)
    if size:
        index = data.draw(st.integers(0, size - 1))
        assert merkle.inclusion_proof(mine, index) == tree.inclusion(other, index)
        merkle.verify_inclusion(mine[index], index, size, tree.inclusion(other, index), tree.head(other))
    old = data.draw(st.integers(0, size))
    assert merkle.consistency_proof(mine, old) == tree.consistency(other, old)


@given(st.dictionaries(STRINGS, st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | STRINGS, max_size=6))
def test_both_write_the_same_canonical_json(value):
    assert canonical.encode(value) == text.jcs(value)
    assert canonical.decode_signed(text.jcs(value)) == value
