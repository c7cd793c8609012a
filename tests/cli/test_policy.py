"""``holdfast policy check``: what is wrong with a policy is said before a queue reads it; what is right, in words."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from holdfast.cli.policy import policy
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.queue_policy import parse_queue_policy

HEAD = 'type = "urn:holdfast:queue-policy:v1"\nname = "default"\n'
DEFAULT = f"""{HEAD}
[require.bytes]
states = ["proven"]
bases = ["signature"]
[require.payment]
states = ["not_applicable"]
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]
max_age_s = 86400
[judgement]
reviewers = 2
role = "policy_owner"
rule = "One line.\\nAnother line."
[early_release]
roles = ["reviewer", "approver"]
max_s = 3600
"""


def run(tmp_path, content, *words):
    """The command over a file with this content."""
    file = tmp_path / "policy.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CliRunner().invoke(policy, ["check", *words, str(file)])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"# \xff", "queue_policy.toml"),
        (HEAD + "score = 1", "queue_policy.fields"),
        (DEFAULT.replace('["proven"]', '["refuted"]', 1), "queue_policy.states"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path, content, code):
    refused = run(tmp_path, content).exception
    assert isinstance(refused, MalformedError)
    assert refused.code == code


def test_a_file_that_is_not_there_is_the_callers_mistake(tmp_path):
    refused = CliRunner().invoke(policy, ["check", str(tmp_path / "none.toml")]).exception
    assert isinstance(refused, UsageError)


def test_a_policy_is_told_in_words(tmp_path):
    found = run(tmp_path, DEFAULT)
    assert found.exit_code == 0
    assert found.output.splitlines() == [
        "policy default",
        f"digest {parse_queue_policy(DEFAULT).digest}",
        "",
        "bytes        proven by signature",
        "payment      not applicable",
        "settlement   proven by development or proof, younger than 24 hours",
        "No lane may be refuted, whether it is asked for or not.",
        "",
        "people       2 people acting as policy owner",
        "  rule       One line.\\u000aAnother line.",
        "  threshold  not recorded",
        "  framing    not recorded",
        "early        approver or reviewer, for at most 60 minutes",
    ]


def test_an_empty_policy_says_that_it_clears_nothing(tmp_path):
    found = run(tmp_path, HEAD)
    assert "nothing is ever clear under this policy" in found.output
    assert "nobody has to decide" in found.output
    assert "nothing is released early" in found.output


def test_a_policy_is_shown_as_json(tmp_path):
    shown = json.loads(run(tmp_path, DEFAULT, "--json").output)
    assert set(shown) == {"name", "digest", "document"}
    assert shown["digest"] == parse_queue_policy(DEFAULT).digest
    assert shown["document"]["require"]["settlement"]["bases"] == ["development", "proof"]
