"""``holdfast agent`` against a gateway that listens: an agent without a model is led, checked and closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.agents.record import Record, read_record
from holdfast.cli.main import run
from tests.cli.conftest import Holdfast
from tests.helpers.live_gateway import KEY, LiveGateway, serving

pytestmark = pytest.mark.enable_socket
FILE = """
[agent]
name = "clerk"
model = "holdfast-builtin"
goal = "Look for refunds"
instructions = '''
script:
call search {"query": "refund"}
call search {"query": "refund", "effect": "read"}
then
call flag {"why": "$search.hits.0.text"} when search says refund
say It is in $search.hits.0.file.
'''

[[tools]]
name = "search"
kind = "files"
effect = "read"
allow = { query = "any" }
settings = { folder = "shelf" }
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("gateway")) as live:
        yield live


@pytest.fixture
def place(tmp_path: Path, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that find the gateway, in a folder with an agent file."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "mail.txt").write_text("Hello.\nI want a refund.\n")
    (tmp_path / "clerk.toml").write_text(FILE)
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    return ["--gateway", gateway.url, "--key", "env:GATEWAY_KEY"]


def test_an_agent_without_a_model_is_led_by_its_script(
    holdfast: Holdfast, place: list[str], tmp_path: Path, gateway: LiveGateway
) -> None:
    without = FILE.replace('call flag {"why": "$search.hits.0.text"} when search says refund\n', "")
    (tmp_path / "clerk.toml").write_text(without)
    done = holdfast("agent", "run", "clerk.toml", *place)
    assert done.code == 0, done.err
    assert "ended     it answered" in done.out
    assert "agent.allow: the argument effect is not allowed" in done.out
    assert "children  4, side by side as the gateway tells it" in done.out
    assert "operator_claim" in done.out
    told = [json.loads(line) for line in holdfast("agent", "run", "clerk.toml", *place, "--json").out.splitlines()]
    assert [item["what"] for item in told] == ["opened", "turn", "result", "refused", "turn", "closed", "ended"]
    assert told[-1]["result"] == "It is in mail.txt."
    assert {child["kind"] for child in told[-1]["children"]} == {"chat.completions", "step"}
    assert read_record(tmp_path / ".holdfast" / "agents" / "clerk.jsonl").open == ()
    [agent] = [item for item in gateway.runs() if item["run"] == told[-1]["run"]]
    assert agent["outcome"] == "complete"


def test_a_script_of_a_tool_that_is_not_there_ends_the_agent_with_an_error(
    holdfast: Holdfast, place: list[str]
) -> None:
    done = holdfast("agent", "run", "clerk.toml", *place, "--json")
    assert done.code == 1
    last = json.loads(done.out.splitlines()[-1])
    assert "flag" in last["error"]
    assert last["closed"] is True


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[agent]", "agent_file.fields"),
        (FILE.replace("shelf", "nowhere"), "tool.settings"),
        (FILE.replace("query = ", "words = "), "agent.allow"),
    ],
)
def test_a_file_that_is_none_leads_nobody(
    holdfast: Holdfast, place: list[str], tmp_path: Path, gateway: LiveGateway, text: str, code: str
) -> None:
    (tmp_path / "clerk.toml").write_text(text)
    before = len(gateway.runs())
    for command in ("run", "check"):
        options = place if command == "run" else []
        assert f"error: {code}: " in holdfast("agent", command, "clerk.toml", *options).err
    assert len(gateway.runs()) == before


def test_a_check_shows_what_an_agent_may_do_without_a_network(holdfast: Holdfast, place: list[str]) -> None:
    shown = holdfast("agent", "check", "clerk.toml")
    assert shown.code == 0, shown.err
    assert "search  files, read" in shown.out
    assert "query: whatever its schema takes" in shown.out
    told = json.loads(holdfast("agent", "check", "clerk.toml", "--json").out)
    assert told["agent"]["tools"] == [{"name": "search", "effect": "read"}]


def test_what_a_killed_runner_left_open_is_closed_by_its_record(
    holdfast: Holdfast, place: list[str], tmp_path: Path, gateway: LiveGateway
) -> None:
    body = json.dumps({"agent": {"name": "clerk", "tools": []}}).encode()
    opened = gateway.post(body, "/v1/runs").json()
    Record(tmp_path / "record").opened(opened["run"], opened["capability"], gateway.url, {})
    options = [*place, "--record", "record", "--json"]
    told = json.loads(holdfast("agent", "close", "clerk.toml", *options).out)
    assert told == {"closed": [{"run": opened["run"], "closed": True, "code": None}]}
    assert json.loads(holdfast("agent", "close", "clerk.toml", *options).out) == {"closed": []}


def test_where_nothing_is_open_nobody_is_asked_to_close_it(holdfast: Holdfast, place: list[str]) -> None:
    nobody = ["--gateway", "http://127.0.0.1:9", *place[2:]]
    assert "nothing is open by this record" in holdfast("agent", "close", "clerk.toml", *nobody).out


def test_no_act_is_carried_out_by_trust_that_the_gateway_itself_serves(holdfast: Holdfast, place: list[str]) -> None:
    done = holdfast("agent", "act", "clerk.toml", *place, "--panel", "http://127.0.0.1:9", "--once")
    assert done.code == 3
    assert "trust.missing" in done.err
    assert "--trust FILE" in done.err


def test_a_parent_is_the_id_of_a_run(holdfast: Holdfast, place: list[str]) -> None:
    assert "usage.run" in holdfast("agent", "run", "clerk.toml", *place, "--parent", "../x").err
    assert callable(run)
