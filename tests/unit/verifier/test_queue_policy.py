"""A queue's policy is read strictly, means its canonical form, and what was left out stands there too."""

from __future__ import annotations

import pytest

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError
from holdfast.verifier.lanes import BASES, LANES, STATES
from holdfast.verifier.policy import POLICY_TYPE, parse_policy
from holdfast.verifier.queue_policy import (
    ACCEPTABLE_STATES,
    DECIDING_ROLES,
    MAX_POLICY_BYTES,
    MAX_SECONDS,
    MAX_TEXT,
    EarlyRelease,
    JudgementNeed,
    LaneNeed,
    parse_queue_policy,
    parse_queue_policy_document,
)

HEAD = 'type = "urn:holdfast:queue-policy:v1"\nname = "default"\n'
DEFAULT = f"""{HEAD}
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]
max_age_s = 86400

[require.bytes]
states = ["proven"]
bases = ["signature"]

[judgement]
reviewers = 2
role = "reviewer"
rule = "Reject what names a person."

[early_release]
roles = ["approver"]
max_s = 3600
"""


def refusal(text):
    """The error that a text is refused with."""
    with pytest.raises(MalformedError) as refused:
        parse_queue_policy(text)
    return refused.value


@pytest.mark.parametrize(
    ("written", "instead", "code", "param"),
    [
        ('name = "default"', 'name = "default"\nscore = 1', "queue_policy.fields", "score"),
        ('name = "default"', "name = 1", "queue_policy.name", "name"),
        ('name = "default"', "", "queue_policy.fields", "name"),
        ("queue-policy:v1", "queue-policy:v2", "queue_policy.type", "type"),
        ("max_age_s = 86400", "max_age_s = 0", "queue_policy.number", "require.settlement.max_age_s"),
        ("max_age_s = 86400", "max_age_s = inf", "queue_policy.number", "require.settlement.max_age_s"),
        ("max_age_s = 86400", "max_age = 86400", "queue_policy.fields", "max_age"),
        ('"proof", "development"', '"proof", "proof"', "queue_policy.names", "require.settlement.bases"),
        ('"proof", "development"', '"proof", 1', "queue_policy.names", "require.settlement.bases"),
        ('["proof", "development"]', '"proof"', "queue_policy.names", "require.settlement.bases"),
        ('["proof", "development"]', "[]", "queue_policy.bases", "require.settlement.bases"),
        ('["proven"]', "[]", "queue_policy.states", "require.settlement.states"),
        ("[require.bytes]", "[require.overall]", "queue_policy.fields", "overall"),
        ('role = "reviewer"', 'role = "auditor"', "queue_policy.names", "judgement.role"),
        ('role = "reviewer"', "", "queue_policy.fields", "role"),
        ("reviewers = 2", "reviewers = true", "queue_policy.number", "judgement.reviewers"),
        ("Reject what names a person.", "", "queue_policy.text", "judgement.rule"),
        ("Reject what names a person.", "\\u009b2J", "queue_policy.text", "judgement.rule"),
        ('roles = ["approver"]', "roles = []", "queue_policy.names", "early_release.roles"),
        ("max_s = 3600", "max_s = -1", "queue_policy.number", "early_release.max_s"),
        ("max_s = 3600", "max_s = 1979-05-27", "queue_policy.number", "early_release.max_s"),
    ],
)
def test_a_policy_that_is_not_one_is_refused_where_it_is_wrong(written, instead, code, param):
    assert written in DEFAULT
    error = refusal(DEFAULT.replace(written, instead, 1))
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize("state", ["refuted", "pending"])
def test_no_policy_can_accept_what_is_refuted_or_pending(state):
    error = refusal(DEFAULT.replace('states = ["proven"]', f'states = ["proven", "{state}"]', 1))
    assert error.code == "queue_policy.states"
    assert state in error.message
    assert set(STATES) - set(ACCEPTABLE_STATES) == {"refuted", "pending"}


def test_nobody_who_only_looks_can_be_asked_to_decide():
    assert not {"viewer", "auditor"} & set(DECIDING_ROLES)


@pytest.mark.parametrize(
    "text", ["{", "= 1", HEAD + HEAD, HEAD + "x = " + "[" * 40_000, "\ufeff" + HEAD, HEAD + "\0", HEAD + "# \ud800"]
)
def test_what_is_not_toml_is_refused_before_anything_else(text):
    assert refusal(text).code == "queue_policy.toml"


@pytest.mark.parametrize(
    "text", ["", "require = 1", HEAD + "judgement = 1", HEAD + "early_release = []", HEAD + "require.bytes = 1"]
)
def test_tables_are_tables(text):
    assert refusal(text).code == "queue_policy.fields"


def test_a_hint_names_what_is_known():
    assert "max_age_s" in refusal(DEFAULT.replace("max_age_s", "max_age", 1)).hint


def test_a_policy_has_a_largest_size_in_either_form():
    assert refusal(HEAD + "#" * MAX_POLICY_BYTES).code == "queue_policy.size"
    with pytest.raises(MalformedError) as refused:
        parse_queue_policy_document(b"{" * (MAX_POLICY_BYTES + 1))
    assert refused.value.code == "queue_policy.size"


def test_no_text_that_can_be_written_has_a_canonical_form_that_cannot_be_read():
    """Each character of a text takes up to four bytes, so the three texts and all lanes stay below the bound."""
    text = '"' + "\U0001f600" * MAX_TEXT + '"'
    all_there_is = f"states = {list(ACCEPTABLE_STATES)}\nbases = {list(BASES)}\nmax_age_s = {MAX_SECONDS}\n"
    lanes = "".join(f"[require.{lane}]\n{all_there_is}" for lane in LANES)
    judgement = (
        f'[judgement]\nreviewers = 100\nrole = "reviewer"\nrule = {text}\nthreshold = {text}\nframing = {text}\n'
    )
    policy = parse_queue_policy(HEAD + lanes + judgement)
    assert 3 * 4 * MAX_TEXT < len(policy.document) < MAX_POLICY_BYTES
    assert parse_queue_policy_document(policy.document) == policy


@pytest.mark.parametrize("change", [lambda raw: raw + b" ", lambda raw: raw.replace(b":2", b":2.0")])
def test_the_canonical_form_has_one_spelling(change):
    policy = parse_queue_policy(DEFAULT)
    with pytest.raises(MalformedError) as refused:
        parse_queue_policy_document(change(policy.document))
    assert refused.value.code.startswith("json.")


@pytest.mark.parametrize(
    "member", ["type", "name", "max_span_s", "max_skew_s", "require", "judgement", "early_release"]
)
def test_the_canonical_form_leaves_nothing_out(member):
    value = canonical.decode(parse_queue_policy(DEFAULT).document)
    del value[member]
    with pytest.raises(MalformedError) as refused:
        parse_queue_policy_document(canonical.encode(value))
    assert (refused.value.code, refused.value.param) == ("queue_policy.fields", member)


def test_the_canonical_form_sorts_its_sets():
    value = canonical.decode(parse_queue_policy(DEFAULT).document)
    value["require"]["settlement"]["bases"] = ["proof", "development"]
    with pytest.raises(MalformedError) as refused:
        parse_queue_policy_document(canonical.encode(value))
    assert (refused.value.code, refused.value.param) == ("queue_policy.order", "require.settlement.bases")


def test_a_policy_says_what_was_written():
    policy = parse_queue_policy(DEFAULT)
    assert policy.name == "default"
    assert policy.require == {
        "bytes": LaneNeed(("proven",), ("signature",), None),
        "settlement": LaneNeed(("proven",), ("development", "proof"), 86400),
    }
    assert list(policy.require) == ["bytes", "settlement"], "in the fixed order of the lanes"
    assert policy.judgement == JudgementNeed(2, "reviewer", "Reject what names a person.")
    assert policy.early_release == EarlyRelease(("approver",), 3600)
    assert policy.digest == sha256_hex(policy.document)
    assert parse_queue_policy_document(policy.document) == policy


def test_what_was_left_out_stands_in_the_canonical_form():
    value = canonical.decode(parse_queue_policy(HEAD).document)
    assert value == {
        "type": "urn:holdfast:queue-policy:v1",
        "name": "default",
        "max_span_s": 600,
        "max_skew_s": 30,
        "require": {},
        "judgement": None,
        "early_release": None,
    }


@pytest.mark.parametrize(
    "tidied",
    [
        DEFAULT + "\n# A comment.\n",
        DEFAULT.replace('["proof", "development"]', '[\n  "development", # a laptop\n  "proof",\n]'),
        DEFAULT.replace("86400", "86_400"),
        DEFAULT.replace("max_s = 3600", "max_s = 0xe10"),
        DEFAULT.replace(HEAD, HEAD + "max_span_s = 600\nmax_skew_s = 30\n"),
        DEFAULT.replace("\n", "\r\n"),
    ],
)
def test_tidying_a_policy_up_changes_no_digest(tidied):
    assert tidied != DEFAULT
    assert parse_queue_policy(tidied).digest == parse_queue_policy(DEFAULT).digest


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("86400", "86401"),
        ('"proof", "development"', '"proof"'),
        ("reviewers = 2", "reviewers = 1"),
        ("Reject what names a person.", "Reject what names a person"),
        ("max_s = 3600", "max_s = 3601"),
        ('"default"', '"defaults"'),
        (HEAD, HEAD + "max_skew_s = 29\n"),
    ],
)
def test_every_change_of_meaning_changes_the_digest(written, instead):
    assert written in DEFAULT
    assert parse_queue_policy(DEFAULT.replace(written, instead, 1)).digest != parse_queue_policy(DEFAULT).digest


def test_a_queue_hands_its_bounds_to_the_appraisal():
    policy = parse_queue_policy(HEAD + "max_span_s = 5\nmax_skew_s = 1\n")
    appraisal = policy.appraisal
    assert (appraisal.name, appraisal.bounds.max_span_s, appraisal.bounds.max_skew_s) == ("default", 5, 1)
    assert appraisal.require == {}
    with pytest.raises(MalformedError):
        parse_policy(policy.document)
    assert POLICY_TYPE.encode() not in policy.document
