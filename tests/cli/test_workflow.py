"""``holdfast workflow``: what files mean, how executions stand, what a replay says; nobody is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.agents.workflows.engine import Came
from holdfast.agents.workflows.journal import Journal
from holdfast.core.agent_files import parse_agent_file
from holdfast.core.encoding import time_encode
from holdfast.core.workflows.definitions import parse_workflow_toml
from tests.cli.conftest import Outcome
from tests.helpers.clock import START, FakeClock
from tests.helpers.workflows import Outside, engine_of, reserve, started

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "workflows" / "block-note.toml"
Holdfast = Callable[..., Outcome]

PYTHON = """
from holdfast.core.workflows.build import Workflow, case

workflow = Workflow("small").cases("choice", case("yes"))
"""


@pytest.fixture
def execution(tmp_path: Path) -> str:
    """An execution that is done, in the journal of the usual state folder."""
    journal = Journal(tmp_path / ".holdfast" / "workflows" / "journal.sqlite")
    made = started(journal, reserve())
    outside, clock = Outside(), FakeClock()

    async def story() -> None:
        engine = engine_of(journal, outside, clock)
        await engine.advance(made)
        [act] = outside.proposed
        outside.gate[act] = Came(act, result="0xhash")
        await clock.advance(1)
        await engine.advance(made)

    asyncio.run(story())
    journal.close()
    return made


def test_check_says_what_a_file_means(holdfast: Holdfast) -> None:
    shown = holdfast("workflow", "check", str(EXAMPLE))
    assert shown.code == 0
    assert "starts     schedule every_s=60" in shown.out
    assert "acts       note  send, proposed to the queue default" in shown.out


def test_the_example_is_carried_out_by_the_agent_file_beside_it() -> None:
    workflow = parse_workflow_toml(EXAMPLE.read_text())
    agent = parse_agent_file(EXAMPLE.with_name("block-note.agent.toml").read_bytes())
    assert agent.name == workflow.name
    for name, tool in workflow.tools.items():
        assert (agent.tools[name].effect, agent.tools[name].queue) == (tool.effect, tool.queue)


def test_a_python_file_means_the_digest_of_its_toml(holdfast: Holdfast, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(PYTHON)
    (tmp_path / "small.toml").write_text(
        'type = "urn:holdfast:workflow:v1"\nname = "small"\n'
        'steps = [{name = "choice", kind = "rule", cases = [{result = "yes"}]}]\n'
    )
    digests = {
        json.loads(holdfast("workflow", "check", name, "--json").out)["digest"] for name in ("small.py", "small.toml")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("x.toml", "name = 1", "workflow.fields"),
        ("x.toml", "[", "workflow.toml"),
        ("x.py", "workflow = 1", "workflow.python"),
    ],
)
def test_a_file_that_means_nothing_is_refused(
    holdfast: Holdfast, tmp_path: Path, name: str, text: str, code: str
) -> None:
    (tmp_path / name).write_text(text)
    shown = holdfast("workflow", "check", name)
    assert shown.code in (1, 2)
    assert shown.err.startswith(f"error: {code}: ")


def test_list_says_how_executions_stand(holdfast: Holdfast, execution: str) -> None:
    shown = holdfast("workflow", "list")
    assert shown.code == 0
    first, steps, run = shown.out.splitlines()
    assert first == f"{execution[:16]}  done     reserve  manual 00"
    assert steps.strip() == "price done; advice done; choice done; pay done"
    assert run.strip().startswith("agent run ")
    told = json.loads(holdfast("workflow", "list", "--json", "--stands", "done").out)["executions"]
    assert [(item["execution"], item["started_at"]) for item in told] == [(execution, time_encode(START))]
    assert holdfast("workflow", "list", "--stands", "open").out == "none\n"
    assert holdfast("workflow", "list", "--stands", "better").code == 2


def test_no_journal_is_said(holdfast: Holdfast) -> None:
    shown = holdfast("workflow", "list")
    assert shown.code == 2
    assert shown.err.startswith("error: workflow.journal: ")


def test_a_replay_under_its_own_definition_is_equal(holdfast: Holdfast, execution: str) -> None:
    shown = holdfast("workflow", "replay", execution[:8])
    assert shown.code == 0
    assert shown.out.startswith(f"replay of {execution[:16]} (reserve), from what was written down; nothing was sent\n")
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == ["equal"] * 4


def test_a_replay_under_another_definition_says_where_they_part(
    holdfast: Holdfast, execution: str, tmp_path: Path
) -> None:
    own = json.loads(reserve().document)
    own["steps"][2]["cases"][0]["when"][0]["maximum"] = "0.5"
    (tmp_path / "other.py").write_text(
        f"from holdfast.core.workflows.definitions import build_definition\nworkflow = build_definition({own!r})\n"
    )
    shown = holdfast("workflow", "replay", execution, "--definition", "other.py", "--json")
    assert shown.code == 1
    told = json.loads(shown.out)
    assert told["label"] == "replay"
    assert told["ran_under"] == reserve().digest != told["replayed_under"]
    assert [item["state"] for item in told["steps"]] == ["equal", "equal", "differs", "differs"]


def test_a_replay_of_nothing_is_refused(holdfast: Holdfast, execution: str) -> None:
    assert execution
    shown = holdfast("workflow", "replay", "zz")
    assert shown.code == 2
    assert shown.err.startswith("error: workflow.unknown: ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", str(EXAMPLE), str(EXAMPLE)], "workflow.twice"),
        (["run", str(EXAMPLE), "--no-wait"], "workflow.once"),
        (["run", str(EXAMPLE), "--input", "x"], "workflow.once"),
        (["run", str(EXAMPLE), "--backfill", "yesterday"], "usage.time"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_usage(holdfast: Holdfast, arguments: list[str], code: str) -> None:
    shown = holdfast("workflow", *arguments, "--gateway", "http://127.0.0.1:1", "--key", "env:HOME")
    assert shown.code == 2
    assert shown.err.startswith(f"error: {code}: ")
