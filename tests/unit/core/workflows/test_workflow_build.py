"""A program builds the definition that a file says, and a file that could not be meant is refused."""

import pytest

from holdfast.core.workflows.build import Workflow, case, number, text, value
from holdfast.core.workflows.definitions import build_definition, parse_workflow, parse_workflow_toml
from holdfast.errors import MalformedError

WRITTEN = """
type = "urn:holdfast:workflow:v1"
name = "reserve"
goal = "Keep the reserve"
trigger = {kind = "block", every = 10}
tools = [{name = "wire", effect = "pay", queue = "payments"}]
limits = {steps = 20, seconds = 600}
result = {from = "$.choice.result"}

[[steps]]
name = "price"
kind = "admission"
source = "rates"
optional = true

[[steps]]
name = "advice"
kind = "inference"
admissions = ["price"]

[steps.request]
model = "m"
temperature = {number = "0.2"}
messages = [{role = "user", content = {text = ["At ", {from = "$.trigger.at"}]}}]

[[steps]]
name = "choice"
kind = "rule"
cases = [{when = [{value = "$.advice.text", type = "text", choices = ["pay"]}], result = {amount = "5"}}]

[[steps]]
name = "pay"
kind = "action"
if = "$.advice.value"
tool = "wire"
arguments = {amount = {from = "$.choice.result.amount"}}
"""


def built():
    asked = {
        "model": "m",
        "temperature": number("0.2"),
        "messages": [{"role": "user", "content": text("At ", value("trigger.at"))}],
    }
    said = {"value": "$.advice.text", "type": "text", "choices": ["pay"]}
    return (
        Workflow(
            "reserve", goal="Keep the reserve", result=value("choice.result"), limits={"steps": 20, "seconds": 600}
        )
        .on("block", every=10)
        .tool("wire", "pay", "payments")
        .admission("price", "rates", optional=True)
        .chat("advice", asked, admissions=["price"])
        .cases("choice", case({"amount": "5"}, said))
        .action("pay", "wire", {"amount": value("choice.result.amount")}, condition="$.advice.value")
        .definition()
    )


def test_a_program_builds_the_digest_of_the_file():
    assert built().document == parse_workflow_toml(WRITTEN).document
    assert built().digest == parse_workflow_toml(WRITTEN).digest


def test_a_canonical_form_reads_as_itself():
    assert parse_workflow(built().document) == built()


def test_an_agreement_is_built_like_a_file_says_it():
    rule = {"kind": "median", "least": 2, "spread": "0.1"}
    made = Workflow("w").admission("a", "x").admission("b", "x").agree("same", ["$.a.value", "$.b.value"], rule)
    assert made.definition().steps[2].rule.rule.relative is False


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"trigger": {"kind": "cron"}}, "workflow.trigger"),
        ({"limits": {"overlap": "drop"}}, "workflow.number"),
        ({"limits": {"spend": 0.5}}, "workflow.value"),
        ({"limits": {"spend": "much"}}, "agent.limits"),
        ({"steps": []}, "workflow.steps"),
        ({"steps": "x"}, "workflow.steps"),
        ({"tools": [{"name": "wire", "effect": "pay", "queue": "q"}] * 2}, "agent.tools"),
        ({"goal": 1}, "agent.request"),
        ({"result": {"from": "$.nothing"}}, "workflow.order"),
        ({"result": {"from": "$"}}, "workflow.path"),
        ({"result": {"text": "no list"}}, "workflow.value"),
        ({"result": {"number": ["1"]}}, "workflow.value"),
        ({"result": "\ud800"}, "workflow.value"),
        ({"result": 2**53}, "workflow.value"),
    ],
)
def test_what_could_not_be_meant_is_refused(change, code):
    usual = {
        "type": "urn:holdfast:workflow:v1",
        "name": "w",
        "steps": [{"name": "s", "kind": "rule", "cases": [{"result": 1}]}],
    }
    build_definition(usual)
    with pytest.raises(MalformedError) as caught:
        build_definition({**usual, **change})
    assert caught.value.code == code


def test_an_argument_called_from_is_an_argument():
    steps = [{"name": "s", "kind": "action", "tool": "wire", "arguments": {"from": "0x00"}}]
    tools = [{"name": "wire", "effect": "pay", "queue": "q"}]
    made = build_definition({"type": "urn:holdfast:workflow:v1", "name": "w", "tools": tools, "steps": steps})
    assert made.steps[0].arguments == {"from": "0x00"}


def test_what_an_execution_may_spend_is_its_agent_runs_limit():
    made = Workflow("w", limits={"spend": "0.5", "steps": 9, "depth": 2}).cases("choice", case(1)).definition()
    assert made.agent()["agent"]["limits"] == {"steps": 9, "depth": 2, "spend": "0.5"}
