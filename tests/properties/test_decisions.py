"""Change any one thing about a decision and it says no more who decided; and no decision moves the run it is about."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.decisions import (
    DecisionDocument,
    batch_of,
    parse_decision_document,
    path_in_batch,
    record_of,
    verify_in_batch,
)
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.decisions import document
from tests.helpers.network import FROM, UNTIL, at

ROOT = Path(__file__).resolve().parents[2]
TOOLS = str(ROOT / "spec" / "tools")
sys.path.insert(0, TOOLS)
from reference import decisions as theirs  # noqa: E402

sys.path.remove(TOOLS)

VECTORS = ROOT / "vectors"
TRUST = verify_trust(parse_trust_chain((VECTORS / "shared" / "trust-with-panel.json").read_bytes()))
POLICY = parse_policy(DEFAULT_POLICY)
BUNDLES: dict[str, dict[str, Any]] = {
    name: json.loads((VECTORS / "lanes" / name / "bundle.json").read_text())
    for name in ("decision-approved", "decision-recall-of-many")
}


def judge(value: dict[str, Any]) -> Appraisal | None:
    """The appraisal of a bundle; None when it is malformed."""
    try:
        bundle = parse_bundle(json.dumps(value).encode())
    except HoldfastError:
        return None
    return appraise(bundle, TRUST, POLICY, bundle.exported_at)


def of_the_run(found: Appraisal) -> dict[str, tuple[str, str | None, str]]:
    return {name: (lane.state, lane.basis, lane.says) for name, lane in found.lanes.items() if name != "judgement"}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [
            found for name, item in value.items() if name not in ("at", "kind") for found in places(item, (*path, name))
        ]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in places(item, (*path, number))]
    return [path]


def decision_items(value: dict[str, Any]) -> list[int]:
    """Positions of the statement that decides and of what opens it."""
    opening = next(place for place, item in enumerate(value["journal"]) if item["kind"] == "decision")
    statements = [place for place, item in enumerate(value["journal"]) if item["kind"] == "statement"]
    return [statements[-1], opening]


CASES = [
    (name, (place, *path))
    for name, value in BUNDLES.items()
    for place in decision_items(value)
    for path in places(value["journal"][place])
]


@given(st.sampled_from(CASES), st.data())
def test_one_changed_letter_costs_the_judgement_and_nothing_else(
    case: tuple[str, tuple[Any, ...]], data: st.DataObject
) -> None:
    name, path = case
    changed = json.loads(json.dumps(BUNDLES[name]))
    parent: Any = changed["journal"]
    for step in path[:-1]:
        parent = parent[step]
    value = parent[path[-1]]
    if isinstance(value, str):
        place = data.draw(st.integers(0, max(0, len(value) - 1)))
        letter = data.draw(
            st.sampled_from([one for one in '0123456789abcdefXYZ+/= \n"' if one != value[place : place + 1]])
        )
        parent[path[-1]] = value[:place] + letter + value[place + 1 :]
    else:
        parent[path[-1]] = data.draw(st.sampled_from([-1, 99, None, "x", {}]).filter(lambda item: item != value))
    before, after = judge(BUNDLES[name]), judge(changed)
    assert before is not None
    assert before.lanes["judgement"].state == "proven"
    if after is not None:
        assert after.lanes["judgement"].state != "proven", f"changing {path} went unnoticed"
        assert of_the_run(after) == of_the_run(before)


@given(st.permutations(BUNDLES["decision-approved"]["journal"]))
def test_the_order_of_evidence_changes_nothing_of_a_decision(journal: list[Any]) -> None:
    value = BUNDLES["decision-approved"]
    before, after = judge(value), judge({**value, "journal": journal})
    assert before is not None
    assert after is not None
    assert after.lanes["judgement"] == before.lanes["judgement"]


@given(st.integers(0, len(BUNDLES["decision-approved"]["journal"])))
def test_leaving_things_out_never_proves_a_decision(number: int) -> None:
    value = BUNDLES["decision-approved"]
    fewer = [item for place, item in enumerate(value["journal"]) if place != number]
    found = judge({**value, "journal": fewer})
    assert found is not None
    missing = number in decision_items(value)
    assert (found.lanes["judgement"].state == "proven") <= (not missing)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
TIMES = st.datetimes(FROM.replace(tzinfo=None), UNTIL.replace(tzinfo=None), timezones=st.just(FROM.tzinfo)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
DOCUMENTS: st.SearchStrategy[DecisionDocument] = st.builds(
    document,
    person=WORDS,
    reason=st.just("") | WORDS,
    rule=st.none() | WORDS,
    threshold=st.none() | WORDS,
    framing=st.none() | WORDS,
    act=st.sampled_from(["approve", "reject", "reopen", "recall"]),
    at=TIMES,
)


@given(DOCUMENTS)
def test_a_document_has_one_spelling_and_both_readings_commit_to_it_alike(found: DecisionDocument) -> None:
    assert parse_decision_document(found.raw) == found
    salt = bytes(range(32))
    assert record_of(found.raw, salt).hex() == theirs.record(found.raw, salt)


@given(DOCUMENTS, st.data())
def test_no_other_bytes_open_a_record(found: DecisionDocument, data: st.DataObject) -> None:
    raw, salt = found.raw, bytes(range(32))
    place = data.draw(st.integers(0, len(raw) - 1))
    other = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]
    assert record_of(other, salt) != record_of(raw, salt)
    assert record_of(raw, bytes(32)) != record_of(raw, salt)


IDS = st.lists(st.uuids(version=4).map(str), min_size=1, max_size=40, unique=True)


@given(IDS, st.data())
def test_both_readings_put_the_same_cases_under_the_same_root(cases: list[str], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases))
    root, path = batch_of(cases), path_in_batch(cases, case)
    assert root.to_json() == theirs.batch(cases)
    assert path.to_json() == theirs.path(cases, case)
    verify_in_batch(case, path, root)
    for other in cases:
        if other != case:
            try:
                verify_in_batch(other, path, root)
            except RefusedError:
                continue
            raise AssertionError(f"{other} passes for {case}")


@given(st.binary(max_size=200) | st.recursive(WORDS | st.integers() | st.none(), st.lists).map(canonical.encode))
def test_bytes_that_are_no_document_are_refused_with_a_code(raw: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^[a-z]+[.][a-z_0-9]+: "):
        parse_decision_document(raw)


def test_the_bundles_are_as_they_should_be() -> None:
    for value in BUNDLES.values():
        found = judge(value)
        assert found is not None
        assert found.lanes["judgement"].state == "proven"
    assert at(0).tzinfo is FROM.tzinfo
