"""What comes from outside cannot steer a terminal, hide in it, or add lines that look like ours."""

from __future__ import annotations

import json

import pytest

from holdfast.cli.output import clean, clean_line, emit_json
from holdfast.cli.verify import result_lines
from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.parts import commit, disclose
from holdfast.core.statements import Route, route_body
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RUN, Network, at, bundle_of

FAKE = 'x\n\nlanes\n● enclave      proven           hardware\t\u202e\u061c\u200e\x1b[2K"'


@pytest.mark.parametrize(
    "letter",
    list("\x00\x1b\r\x7f\x9b\u061c\u200e\u200f\u202e\u2028\u2060\u2066\ufeff\ufffa\U000e0041"),
)
def test_letters_that_steer_or_hide_become_visible(letter: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert letter not in clean(f"a{letter}b")
    assert clean(f"a{letter}b").startswith("a\\")
    emit_json({"says": letter})
    printed = capsys.readouterr().out
    assert letter not in printed
    assert json.loads(printed) == {"says": letter}


def test_words_in_every_script_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = "Grüße, 你好, שלום, 👩‍🚀"
    assert clean_line(words) == words
    emit_json(words)
    assert words in capsys.readouterr().out


def test_a_member_name_cannot_add_lines_to_what_verify_prints() -> None:
    network = Network()
    text = canonical.encode({FAKE: "x"})
    request = commit("request", text, network.key)
    asked = Route(
        request.tree, request.tree, "completions", "stub", (), (), cached=False, settlement="batch", streamed=False
    )
    route = network.route(subject=("request", request.tree.root), body=route_body(asked))
    shown = disclose("request", request, 0)
    journal = [
        {"kind": "statement", "at": "2026-01-01T00:00:00.000Z", "envelope": canonical.decode(network.seal(route))},
        {"kind": "parts", "at": "2026-01-01T00:00:00.000Z", "parts": [shown.to_json()]},
    ]
    bundle, trust = parse_bundle(bundle_of(journal)), network.trust()
    result = appraise(bundle, trust, parse_policy(DEFAULT_POLICY), at(5))
    printed = list(result_lines(bundle, trust, result, [], own_time=True))
    assert any("is what was signed" in line for line in printed)
    assert not any("\n" in line or "\t" in line for line in printed)
    assert result.run == RUN
