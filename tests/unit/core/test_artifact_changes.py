"""What a hub says of artifacts, and the one order of a label's changes (``artifacts.md`` §4, §5)."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.artifact_changes import (
    DERIVATIONS,
    ArtifactChange,
    Continuity,
    Declared,
    Label,
    build_change,
    change_record,
    explain_continuity,
    is_label,
    label_id,
    meant_at,
    parse_change,
    verify_change,
    verify_history,
)
from holdfast.core.statements import CONTINUITIES, parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.artifacts import LABEL, SAME_NAME, A, B, Said, labelled
from tests.helpers.network import Network, at

FIRST = Said(labelled())
MOVED = Said(labelled(B, A, 1.0), [FIRST.statement.digest], "moved")
BACK = Said(labelled(A, B, 2.0), [MOVED.statement.digest], "back")
DECLARED = Declared("big.provider", "big-1", None, at(0), at(1))


def opened(*said):
    return [(item.statement, verify_change(item.statement, item.document, item.salt)) for item in said]


@pytest.mark.parametrize(("document", "salt"), [(MOVED.document, FIRST.salt), (FIRST.document, MOVED.salt)])
def test_a_record_opens_with_its_own_document_and_salt_alone(document, salt):
    with pytest.raises(RefusedError) as caught:
        verify_change(FIRST.statement, document, salt)
    assert caught.value.code == "artifact_change.record"


def test_another_kind_of_statement_commits_to_no_change():
    network = Network()
    route = parse_statement(parse_envelope(network.seal(network.route())))
    with pytest.raises(RefusedError) as caught:
        verify_change(route, FIRST.document, FIRST.salt)
    assert caught.value.code == "artifact_change.record"


def test_a_statement_is_not_made_before_what_it_tells_of():
    early = dataclasses.replace(FIRST.statement, claimed_at=at(-1))
    with pytest.raises(RefusedError) as caught:
        verify_change(early, FIRST.document, FIRST.salt)
    assert caught.value.code == "artifact_change.said"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_salts_have_one_size(size):
    for make in (lambda: label_id("acme/risk:prod", bytes(size)), lambda: change_record(b"", bytes(size))):
        with pytest.raises(UsageError) as caught:
            make()
        assert caught.value.code == "artifact_change.salt"


def test_a_history_has_no_gap_and_no_other_order():
    verify_history(opened(FIRST, MOVED, BACK))
    verify_history(opened(MOVED, BACK))
    for wrong in ((FIRST, BACK), (MOVED, FIRST), (FIRST, FIRST), (BACK, MOVED, FIRST)):
        with pytest.raises(RefusedError) as caught:
            verify_history(opened(*wrong))
        assert caught.value.code == "artifact_change.history"


@pytest.mark.parametrize(
    "change",
    [
        labelled(B, "33" * 32, 1.0),
        labelled(B, A, 1.0, label=Label("acme/risk:test", LABEL.salt)),
        labelled(B, A, -1.0),
    ],
)
def test_a_change_says_of_the_past_what_the_past_said(change):
    with pytest.raises(RefusedError) as caught:
        verify_history(opened(FIRST, Said(change, [FIRST.statement.digest])))
    assert caught.value.code == "artifact_change.history"


def test_what_a_label_meant_follows_from_the_time():
    changes = [change for _, change in opened(FIRST, MOVED, BACK)]
    assert meant_at(changes, at(-1)) is None
    assert [meant_at(changes, at(seconds)).artifact for seconds in (0, 0.9, 1, 5)] == [A, A, B, A]


def test_a_labels_id_does_not_tell_its_name():
    assert MOVED.statement.body.label == FIRST.statement.body.label == label_id(LABEL.name, LABEL.salt)
    assert label_id(LABEL.name, bytes(32)) != LABEL.id
    for said in (FIRST, MOVED):
        for text in (b"acme", b"prod", b"Ada", b"because", A.encode(), B.encode()):
            assert text not in said.statement.envelope.payload


@pytest.mark.parametrize(
    "kind", [kind for kind in CONTINUITIES if kind not in ("first", "same_name", "provider_claim")]
)
def test_of_what_nobody_shows_there_is_only_a_providers_claim(kind):
    more = {"derivative": {"of": A, "how": "quantised"}, "compared": {"evaluation": A}}.get(kind, {})
    with pytest.raises(MalformedError) as caught:
        labelled(DECLARED.artifact, A, declared=DECLARED, continuity=Continuity(kind, **more))
    assert caught.value.code == "artifact_change.continuity"
    assert labelled(DECLARED.artifact, A, declared=DECLARED, continuity=Continuity("provider_claim"))
    assert labelled(DECLARED.artifact, DECLARED.artifact, declared=DECLARED, continuity=SAME_NAME)


@pytest.mark.parametrize("how", DERIVATIONS)
def test_how_an_artifact_came_of_another_is_told(how):
    change = labelled(B, A, continuity=Continuity("derivative", A, how))
    assert parse_change(change.raw) == change
    assert how.replace("_", "-") in explain_continuity(change)


def test_every_continuity_is_told_in_a_sentence():
    told = {explain_continuity(labelled()), explain_continuity(labelled(B, A))}
    told.add(explain_continuity(labelled(B, A, continuity=Continuity("compared", evaluation=A))))
    told.add(explain_continuity(labelled(A, A, continuity=Continuity("byte_identical"))))
    told.add(explain_continuity(build_change(ArtifactChange("revoked", at(0), A, "Ada", "bad"))))
    assert len(told) == 5


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("acme/risk:prod", True),
        ("a/b:c", True),
        ("acme/risk", False),
        ("acme/risk:", False),
        ("Acme/risk:prod", False),
        ("acme/risk:prod\n", False),
        ("-acme/risk:prod", False),
        ("a" * 65 + "/b:c", False),
        (None, False),
    ],
)
def test_a_label_has_one_form(name, good):
    assert is_label(name) is good


@given(st.binary(max_size=200))
def test_any_bytes_give_only_our_errors(raw):
    with contextlib.suppress(HoldfastError):
        parse_change(raw)


@given(
    st.dictionaries(
        st.sampled_from(sorted(canonical.decode(FIRST.document))),
        st.none() | st.text(max_size=3) | st.sampled_from([A, B, {}, [], 1, "labelled", "revoked", "published"]),
        max_size=3,
    )
)
def test_any_members_give_a_change_that_can_be_told_or_our_error(change):
    raw = canonical.encode(canonical.decode(FIRST.document) | change)
    with contextlib.suppress(HoldfastError):
        found = parse_change(raw)
        assert found.raw == raw
        explain_continuity(found)
