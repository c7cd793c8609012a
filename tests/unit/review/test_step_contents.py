"""What a step says of itself is shown as it was written, and nothing is made of it."""

import json

import pytest

from holdfast.review.step_contents import MOST_TEXT, indented, step_content


def said(request, response=None):
    return step_content(json.dumps(request), None if response is None else json.dumps(response))


@pytest.mark.parametrize("request_", [[], {"messages": []}, {"kind": 7}, {"agent": "x"}])
def test_what_is_no_step_says_nothing(request_):
    assert said(request_) is None


def test_numbers_stand_as_they_were_written():
    found = step_content('{"kind":"tool","tool":"wire","arguments":{"amount":1.50,"big":1e400,"n":[1,{}]}}', None)
    assert found.asked == '{\n  "amount": 1.50,\n  "big": 1e400,\n  "n": [\n    1,\n    {}\n  ]\n}'
    assert (found.name, found.asked_as, found.came_as, found.came) == ("wire", "arguments", "", "")


def test_a_result_is_told_apart_from_an_error_and_from_what_was_only_recorded():
    call = {"kind": "tool", "tool": "t", "arguments": {}}
    assert said(call, {"error": "no"}).came_as == "error"
    assert (said(call, {"result": "yes"}).came_as, said(call, {"result": "yes"}).came) == ("result", "yes")
    assert said(call, {"result": {"a": True}}).came == '{\n  "a": true\n}'
    assert (said(call, {"proposed": True}).came_as, said(call, {"proposed": True}).came) == ("proposed", "")


def test_hints_outcomes_and_agent_runs_say_what_they_are():
    hint = said({"kind": "hint", "name": "span", "attributes": {"a": 1}}, {"recorded": True})
    assert (hint.name, hint.asked_as, hint.came_as) == ("span", "attributes", "recorded")
    assert said({"kind": "outcome", "of": "RUN"}, {"result": None}).asked == "RUN"
    agent = said({"agent": {"name": "a", "goal": "win", "tools": []}}, {"children": [], "result": 1})
    assert (agent.kind, agent.name, agent.asked, agent.came) == ("agent", "a", "win", "1")


def test_a_long_text_is_cut_and_says_so():
    found = said({"kind": "tool", "tool": "t", "arguments": {}}, {"result": "x" * (MOST_TEXT + 1)})
    assert len(found.came) == MOST_TEXT + 1
    assert found.came.endswith("…")


def test_text_that_looks_like_json_stays_text():
    assert indented({"a": '"}'}) == '{\n  "a": "\\"}"\n}'
