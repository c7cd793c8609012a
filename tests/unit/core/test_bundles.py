"""Bundles: each kind of evidence has one shape, and one malformed item makes the whole file malformed."""

from __future__ import annotations

import copy

import pytest

from holdfast.core import bundles, canonical
from holdfast.core.bundles import parse_bundle, parse_item
from holdfast.core.circuits import parse_settings, show_instance
from holdfast.core.decisions import path_in_batch
from holdfast.core.encoding import sha256_hex
from holdfast.core.files import FileDocument
from holdfast.core.proofs import ProofDocument
from holdfast.core.recalls import Index, RecallPolicy, build_recall
from holdfast.errors import MalformedError, UsageError
from tests.helpers.admissions import DataNode, admitted
from tests.helpers.artifacts import Said, labelled
from tests.helpers.decisions import CASE, OTHER_CASE, Made, document
from tests.helpers.network import RUN, Network, at, bundle_of
from tests.helpers.payment_documents import Paid
from tests.helpers.proving import SIZE, settings_of

NETWORK = Network()
CHANGE = Said(labelled())


def opening_change(said):
    """The item that opens a change."""
    return bundles.change_item(at(5), digest=said.statement.digest, document=said.document, salt=said.salt)


RECALLED = build_recall(RUN, at(5), bytes(32), "a question", Index("44" * 32, "33" * 32, 0), RecallPolicy(), [])
READ = FileDocument("a.txt", "text/plain", "88" * 32, 3, "holdfast", "1", (), (), "abc")
PROVED = ProofDocument(
    run=RUN,
    version="1.0",
    proof=b"a proof",
    instances=(show_instance(1),) * (2 * SIZE),
    inputs=("input",),
    outputs=("output",),
    settings=parse_settings(settings_of()),
    verification_key=b"a key",
    srs="55" * 32,
    document="request",
    request="{}",
    response="{}",
    key=bytes(32),
)


def opening_proof(proved):
    """The item that opens a proof."""
    return {
        "kind": "proof",
        "at": "2026-01-01T12:00:05.000Z",
        "digest": "66" * 32,
        "document": proved.raw.decode(),
        "salt": "00" * 32,
    }


JOURNAL = [
    *NETWORK.journal(),
    next(item for item in Network(settlement="private").journal() if item["kind"] == "commitment"),
    Made().opening_item(),
    Paid().opening_item(5),
    DataNode().sign(admitted()).opening(at(5)),
    opening_change(CHANGE),
    bundles.recall_item(at(5), digest="77" * 32, document=RECALLED.raw, salt=bytes(32)),
    bundles.file_item(at(5), document=READ.to_bytes()),
    bundles.policy_item(at(5), digest="88" * 32, document=b"{}", salt=bytes(32)),
    opening_proof(PROVED),
    {"kind": "silence", "at": "2026-01-01T12:00:03.000Z", "silent": ["full-3", "full-4"], "asked": 4},
]
ITEMS = {item["kind"]: item for item in JOURNAL}
FILE = canonical.decode(bundle_of(JOURNAL))
LONG = ["00" * 32] * (bundles.MAX_PROOF + 1)


def refusal(function, *arguments):
    with pytest.raises(MalformedError) as refused:
        function(*arguments)
    return refused.value.code


def test_every_kind_of_evidence_is_in_these_tests():
    assert ITEMS.keys() == bundles._PARSERS.keys()


@pytest.mark.parametrize("kind", sorted(ITEMS))
def test_an_item_has_exactly_its_members(kind):
    item = ITEMS[kind]
    assert parse_item(1, item).position == 1
    assert refusal(parse_item, 1, item | {"more": 1}) == "bundle.fields"
    for name in item:
        less = {key: value for key, value in item.items() if key != name}
        assert refusal(parse_item, 1, less) == "bundle.fields", name


@pytest.mark.parametrize("kind", ["verified", "", None, 1, ["statement"], {"statement": 1}])
def test_an_unknown_kind_is_refused_whatever_its_type(kind):
    assert refusal(parse_item, 1, ITEMS["note"] | {"kind": kind}) == "bundle.kind"


@pytest.mark.parametrize("item", [None, [], "x", {}])
def test_an_item_is_an_object_with_a_kind_and_a_time(item):
    assert refusal(parse_item, 1, item) == "bundle.fields"


@pytest.mark.parametrize(
    ("kind", "name", "value", "code"),
    [
        ("note", "at", None, "encoding.time"),
        ("note", "code", "All is well", "bundle.fields"),
        ("statement", "envelope", "x", "bundle.fields"),
        ("statement", "envelope", {"payload": 1.5}, "json.float"),
        ("statement", "envelope", {}, "envelope.fields"),
        ("parts", "parts", {}, "bundle.array"),
        ("parts", "parts", [None], "parts.disclosure"),
        ("document", "document", "answer", "bundle.fields"),
        ("document", "document", ["request"], "bundle.fields"),
        ("document", "text", {}, "bundle.text"),
        ("document", "secret", "00" * 31, "encoding.hex"),
        ("mark", "mark", None, "mark.fields"),
        ("attestation", "node", "gateway", "encoding.hex"),
        ("attestation", "format", "Trust me", "bundle.fields"),
        ("attestation", "evidence", None, "encoding.base64"),
        ("entry", "index", -1, "bundle.number"),
        ("entry", "index", True, "bundle.number"),
        ("entry", "index", 1.0, "bundle.number"),
        ("entry", "digest", "00", "encoding.hex"),
        ("decision", "digest", "00", "encoding.hex"),
        ("decision", "salt", "00" * 31, "encoding.hex"),
        ("decision", "document", {}, "bundle.text"),
        ("decision", "document", "{}", "decision.fields"),
        ("decision", "document", "{ }", "json.spelling"),
        ("payment", "digest", "00", "encoding.hex"),
        ("payment", "salt", "00" * 31, "encoding.hex"),
        ("payment", "document", {}, "bundle.text"),
        ("payment", "document", "{}", "payment_document.fields"),
        ("payment", "document", "{ }", "json.spelling"),
        ("admission", "digest", "00", "encoding.hex"),
        ("admission", "salt", "00" * 31, "encoding.hex"),
        ("admission", "document", {}, "bundle.text"),
        ("admission", "document", "{}", "admission.fields"),
        ("admission", "document", "{ }", "json.spelling"),
        ("admission", "definition", 1, "bundle.text"),
        ("change", "digest", "00", "encoding.hex"),
        ("change", "salt", "00" * 31, "encoding.hex"),
        ("change", "document", {}, "bundle.text"),
        ("change", "document", "{}", "artifact_change.fields"),
        ("change", "document", "{ }", "json.spelling"),
        ("recall", "digest", "00", "encoding.hex"),
        ("recall", "salt", "00" * 31, "encoding.hex"),
        ("recall", "document", {}, "bundle.text"),
        ("recall", "document", "{}", "recall_document.fields"),
        ("recall", "document", "{ }", "json.spelling"),
        ("proof", "digest", "00", "encoding.hex"),
        ("proof", "salt", "00" * 31, "encoding.hex"),
        ("proof", "document", {}, "bundle.text"),
        ("proof", "document", "{}", "proof.fields"),
        ("proof", "document", "{ }", "json.spelling"),
        ("decision", "path", [], "decision.path"),
        ("decision", "path", {"index": True, "proof": []}, "decision.path"),
        ("decision", "path", {"index": 0, "proof": LONG}, "decision.path"),
        ("decision", "path", {"index": 0, "proof": ["00"]}, "encoding.hex"),
        ("inclusion", "size", 0, "bundle.number"),
        ("inclusion", "proof", "x", "bundle.array"),
        ("inclusion", "proof", LONG, "bundle.proof"),
        ("inclusion", "proof", ["00" * 31], "encoding.hex"),
        ("checkpoint", "note", None, "bundle.text"),
        ("commitment", "entry", "x", "encoding.base64"),
        ("commitment", "salt", "00" * 16, "encoding.hex"),
        ("candidate", "round", [], "round.fields"),
        ("votes", "number", 0, "bundle.number"),
        ("votes", "attempt", None, "bundle.number"),
        ("votes", "voters", {}, "bundle.array"),
        ("silence", "silent", {}, "bundle.array"),
        ("silence", "silent", ["full 3"], "bundle.fields"),
        ("silence", "silent", [["full-3"]], "bundle.fields"),
        ("silence", "silent", ["full-4", "full-3"], "bundle.fields"),
        ("silence", "silent", ["full-3", "full-3"], "bundle.fields"),
        ("silence", "asked", 0, "bundle.number"),
        ("silence", "asked", 1, "bundle.count"),
        ("silence", "asked", 65, "bundle.count"),
        ("verdict", "code", "fine", "round.verdict_code"),
        ("verdict", "code", "refuted:It is wrong", "round.verdict_code"),
        ("verdict", "number", 0, "bundle.number"),
        ("verdict", "size", 0, "bundle.number"),
        ("verdict", "index", 2**64, "round.fields"),
        ("verdict", "proof", LONG, "bundle.proof"),
        ("finality", "messages", None, "bundle.array"),
        ("finality", "messages", [{}], "round.fields"),
        ("finality", "round", None, "round.fields"),
    ],
)
def test_a_malformed_item_is_refused(kind, name, value, code):
    assert refusal(parse_item, 1, ITEMS[kind] | {name: value}) == code


def test_one_malformed_item_makes_the_bundle_malformed():
    journal = [*copy.deepcopy(JOURNAL), ITEMS["note"] | {"code": "Not a code"}]
    assert refusal(parse_bundle, bundle_of(journal)) == "bundle.fields"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "urn:holdfast:bundle:v2"}, "bundle.fields"),
        ({"verified": True}, "bundle.fields"),
        ({"run": RUN.upper()}, "bundle.run"),
        ({"run": None}, "bundle.run"),
        ({"exported_at": None}, "encoding.time"),
        ({"journal": {}}, "bundle.array"),
        ({"journal": None}, "bundle.array"),
    ],
)
def test_a_bundle_that_is_not_one_is_refused(changes, code):
    assert refusal(parse_bundle, canonical.encode(FILE | changes)) == code


def test_a_bundle_that_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BUNDLE_BYTES", 10)
    assert refusal(parse_bundle, b"x" * 11) == "bundle.size"


def test_a_bundle_may_be_spelled_in_any_way():
    raw = bundle_of(JOURNAL)
    loose = raw.replace(b'{"exported_at"', b' {\n"exported_at"', 1)
    assert parse_bundle(loose).journal == parse_bundle(raw).journal
    assert parse_bundle(loose).digest == sha256_hex(loose) != parse_bundle(raw).digest


def test_positions_count_from_one_in_journal_order():
    parsed = parse_bundle(bundle_of(JOURNAL))
    assert [entry.position for entry in parsed.journal] == list(range(1, len(JOURNAL) + 1))
    assert parsed.exported_at == at(10)
    assert parse_bundle(bundle_of([])).journal == ()


@pytest.mark.parametrize(("known", "read"), [(None, 3), (99, 3), (3, 3), (2, 2), (0, 0), (-1, 0), (-2, 0)])
def test_nothing_beyond_what_was_known_is_read(known, read):
    parsed = parse_bundle(bundle_of(JOURNAL[:3]))
    assert parsed.until(known) == parsed.journal[:read]


@pytest.mark.parametrize("kind", sorted(bundles.MOST_OF))
def test_there_is_a_most_of_every_kind_that_costs_much(kind):
    most = bundles.MOST_OF[kind]
    assert refusal(parse_bundle, bundle_of([ITEMS[kind]] * (most + 1))) == "bundle.count"
    assert len(parse_bundle(bundle_of([ITEMS[kind]] * min(most, 64))).journal) == min(most, 64)


def test_a_journal_and_a_finality_item_have_a_length():
    assert refusal(parse_bundle, bundle_of([ITEMS["note"]] * (bundles.MAX_ITEMS + 1))) == "bundle.count"
    finality = copy.deepcopy(ITEMS["finality"])
    finality["messages"] = finality["messages"][:1] * 65
    assert refusal(parse_item, 1, finality) == "bundle.count"


# Adding


def later(*items):
    return bundles.extend_bundle(bundle_of(JOURNAL), list(items), at(10))


def test_what_is_added_became_known_later():
    item = {"kind": "note", "code": "decided"}
    old = parse_bundle(bundle_of(JOURNAL))
    made = parse_bundle(later(item | {"at": "2026-01-01T12:00:10.000Z"}))
    assert made.journal[: len(old.journal)] == old.journal
    assert [entry.position for entry in made.journal[len(old.journal) :]] == [len(old.journal) + 1]
    assert made.run == old.run


@pytest.mark.parametrize(
    ("item", "exported_at"),
    [
        ({"kind": "note", "code": "decided", "at": "2026-01-01T12:00:04.999Z"}, at(10)),
        ({"kind": "note", "code": "decided", "at": "2026-01-01T12:00:10.000Z"}, at(9.999)),
    ],
)
def test_nothing_is_added_to_the_past(item, exported_at):
    assert max(entry.at for entry in parse_bundle(bundle_of(JOURNAL)).journal) == at(5)
    with pytest.raises(UsageError, match=r"bundle\.order"):
        bundles.extend_bundle(bundle_of(JOURNAL), [item], exported_at)


def test_nothing_malformed_is_added_and_to_nothing_malformed():
    item = {"kind": "verified", "at": "2026-01-01T12:00:10.000Z"}
    assert refusal(later, item) == "bundle.kind"
    assert refusal(bundles.extend_bundle, b"{}", [], at(10)) == "bundle.fields"


def test_an_empty_journal_grows_too():
    item = {"kind": "note", "code": "decided", "at": "2020-01-01T00:00:00.000Z"}
    made = parse_bundle(bundles.extend_bundle(bundle_of([]), [item], at(10)))
    assert [entry.position for entry in made.journal] == [1]


def test_the_item_that_opens_a_payment_reads_back():
    made = Paid()
    built = bundles.payment_item(at(6), digest=made.digest, document=made.document.raw, salt=made.salt)
    assert built == made.opening_item()
    item = parse_item(1, built).item
    assert (item.digest, item.document, item.raw, item.salt) == (
        made.digest,
        made.document,
        made.document.raw,
        made.salt,
    )


def test_the_item_that_opens_a_change_reads_back():
    item = parse_item(1, opening_change(CHANGE)).item
    assert (item.digest, item.change, item.raw, item.salt) == (
        CHANGE.statement.digest,
        CHANGE.change,
        CHANGE.document,
        CHANGE.salt,
    )


def test_the_item_that_opens_a_decision_reads_back():
    for made in (Made(), Made(document(act="recall"), cases=[CASE, OTHER_CASE])):
        path = path_in_batch(made.cases, CASE) if made.cases else None
        built = bundles.decision_item(at(5), digest=made.digest, document=made.document.raw, salt=made.salt, path=path)
        assert built == made.opening_item()
        found = parse_item(1, built).item
        assert (found.digest, found.document, found.raw, found.salt, found.path) == (
            made.digest,
            made.document,
            made.document.raw,
            made.salt,
            path,
        )
