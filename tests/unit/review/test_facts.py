"""What the evidence of a case names: only what is disclosed and matches its root, and always as a claim."""

from __future__ import annotations

import dataclasses
import json

import pytest

from holdfast.core import canonical
from holdfast.core.artifacts import declared_artifact
from holdfast.core.bundles import build_bundle, parse_bundle
from holdfast.core.computations import BoundTree, Computation
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.statements import Execution, Tree
from holdfast.review.facts import MAX_NAME, Facts, artifact_basis, facts_of, rounded
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.evidence import CheckedStatement
from holdfast.verifier.policy import build_policy, parse_policy
from tests.helpers.labelled import told, told_at
from tests.helpers.network import RUN, at
from tests.helpers.review import evidence, trust

POLICY = parse_policy(build_policy("test"))


def facts(raw: bytes) -> Facts:
    return facts_of(appraise(parse_bundle(raw), trust(), POLICY, at(60)))


def altered(raw: bytes, old: bytes, new: bytes) -> bytes:
    """The same bundle with other bytes in a disclosed part."""
    items = canonical.decode_object(raw)["journal"]
    text = json.dumps(items).replace(b64_encode(old), b64_encode(new))
    assert json.loads(text) != items
    return build_bundle(RUN, at(10), json.loads(text))


def test_nothing_is_named_where_nothing_is_disclosed():
    found = facts(told(shown=False))
    assert (found.label, found.served, found.artifact, found.fingerprint) == (None, None, None, None)
    assert found.upstream == "stub"
    assert facts(evidence("asked")).artifact is None


def test_a_part_that_does_not_match_its_root_names_nothing():
    raw = altered(told(served="small-1-2026"), b"small-1-2026", b"large-9-2026")
    assert facts(raw).served is None
    assert facts(raw).artifact is None
    assert facts(raw).label == "small-1"


def test_without_trust_names_are_read_for_they_match_what_was_signed():
    found = facts_of(appraise(parse_bundle(told()), None, POLICY, at(60)))
    assert found.label == "small-1"


@pytest.mark.parametrize("whole", [False, True])
def test_parts_and_whole_documents_name_the_same(whole):
    found = facts(told("small-1", "small-1-2026", "fp_1", whole=whole))
    assert found == Facts(told_at(0.5), "small-1", "stub", "small-1-2026", "fp_1")


def test_an_artifact_is_what_the_provider_calls_itself_and_its_model():
    declared = {
        "type": "urn:holdfast:declared-artifact:v1",
        "upstream": "stub",
        "model": "small-1-2026",
        "system_fingerprint": "fp_1",
    }
    digest = sha256_hex(json.dumps(declared, sort_keys=True, separators=(",", ":")).encode())
    assert facts(told()).artifact == declared_artifact("stub", "small-1-2026", "fp_1") == digest


def test_another_fingerprint_or_none_is_another_artifact():
    artifacts = {facts(told(fingerprint=print_)).artifact for print_ in ("fp_1", "fp_2", None)}
    assert len(artifacts) == 3


def test_a_name_that_no_page_could_show_is_no_name():
    for name in ("x" * (MAX_NAME + 1), "a\nb", ""):
        assert facts(told(label=name)).label is None
    assert facts(told(label="x" * MAX_NAME)).label == "x" * MAX_NAME


def test_sources_and_rows_are_what_their_lanes_rest_on():
    found = facts(told(sources=("prices",), rows=("row 1",)))
    assert sorted(kind for kind, _ in found.named) == ["row", "source"]
    assert facts(told(sources=("prices",))).named < found.named
    assert facts(told()).named == frozenset()


@pytest.mark.parametrize(
    ("span", "kept"), [(-5, 0), (0, 0), (7, 7), (99, 99), (101, 100), (149, 150), (1234, 1200), (98_765, 99_000)]
)
def test_a_span_has_two_significant_digits(span, kept):
    assert rounded(span) == kept


def computed(appraisal, artifact):
    """The appraised run, as a node answered it that signed which artifact it had in memory."""
    tree = BoundTree(bytes(32), 1)
    how = Computation(artifact, "VANILLA", "onnx", "1.20", "basic", 1, "x86-64-v3", 1, tree)
    body = Execution("computed", "complete", Tree(bytes(32), 1), None, "onnx", how)
    closing = appraisal.evidence.closing
    said = CheckedStatement(dataclasses.replace(closing.statement, digest="cc" * 32, body=body))
    closing.statement = dataclasses.replace(closing.statement, parents=(*closing.statement.parents, "cc" * 32))
    appraisal.evidence.statements["cc" * 32] = said
    return appraisal


def test_what_a_node_says_it_had_in_memory_is_the_artifact():
    appraisal = computed(appraise(parse_bundle(told()), trust(), POLICY, at(60)), "ab" * 32)
    found = facts_of(appraisal)
    assert found.artifact == found.computed == "ab" * 32
    assert (found.label, found.served) == ("small-1", "small-1-2026")
    assert facts(told()).computed is None


def test_an_artifact_rests_on_a_claim_or_on_a_signature():
    assert artifact_basis("stub") == "provider_claim"
    assert artifact_basis(None) == "signature"
