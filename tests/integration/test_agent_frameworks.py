"""Agents written with LangChain, LangGraph, the OpenAI Agents SDK and Pydantic AI, unchanged but for their base URL and
the header ``x-holdfast-parent``: their turns stand below the agent run that they name, and nothing else does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.clients import NEEDS_CLIENTS, Server, ask
from tests.helpers.live_gateway import KEY, LiveGateway, serving, upstream
from tests.helpers.processes import fetch

pytestmark = [pytest.mark.enable_socket, NEEDS_CLIENTS]
ANSWER = "The tool says rain in Oslo."
QUESTION = "Do I need an umbrella in Oslo?"

PROGRAM = """
import asyncio, json, sys
url, key, model, run, question = sys.argv[1:]
base_url, headers = url + "/v1", {{"x-holdfast-parent": run}}
{imports}

def weather(city: str, celsius: float = 0.0) -> str:
    "The weather of a city."
    return f"rain in {{city}}"

async def main():
{body}

found = {{}}
asyncio.run(main())
print(json.dumps(found))
"""

LANGCHAIN = (
    """
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
""",
    """
    told = tool(weather)
    chat = ChatOpenAI(base_url=base_url, api_key=key, model=model, default_headers=headers, max_retries=0)
    chat = chat.bind_tools([told])
    said = [HumanMessage(question)]
    said.append(await chat.ainvoke(said))
    for call in said[-1].tool_calls:
        said.append(ToolMessage(told.invoke(call["args"]), tool_call_id=call["id"]))
    found["pieces"] = [piece.content async for piece in chat.astream(said) if piece.content]
    found["text"] = " ".join(found["pieces"])
""",
)

LANGGRAPH = (
    """
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
""",
    """
    chat = ChatOpenAI(base_url=base_url, api_key=key, model=model, default_headers=headers, max_retries=0)
    chat = chat.bind_tools([weather])

    async def think(state):
        return {"messages": [await chat.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    pieces = []
    async for kind, event in graph.compile().astream(
        {"messages": [("user", question)]}, stream_mode=["messages", "values"]
    ):
        if kind == "messages" and event[0].type == "AIMessageChunk" and event[0].content:
            pieces.append(event[0].content)
        if kind == "values":
            found["text"] = event["messages"][-1].content
    found["pieces"] = pieces
""",
)

OPENAI_AGENTS = (
    """
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
""",
    """
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=base_url, api_key=key, default_headers=headers, max_retries=0)
    agent = Agent("umbrella", model=OpenAIChatCompletionsModel(model, client), tools=[function_tool(weather)])
    streamed = Runner.run_streamed(agent, question)
    found["pieces"] = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    found["text"] = streamed.final_output
""",
)

PYDANTIC_AI = (
    """
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
""",
    """
    client = AsyncOpenAI(base_url=base_url, api_key=key, default_headers=headers, max_retries=0)
    agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client)), tools=[weather])
    async with agent.run_stream(question) as answer:
        found["pieces"] = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
        found["text"] = await answer.get_output()
""",
)

FRAMEWORKS = {
    "langchain": LANGCHAIN,
    "langgraph": LANGGRAPH,
    "openai-agents": OPENAI_AGENTS,
    "pydantic-ai": PYDANTIC_AI,
}


def program(name: str, *, refused: bool = False) -> str:
    """The framework's program; with ``refused`` one that tells with which error it ends."""
    imports, body = FRAMEWORKS[name]
    if refused:
        inner = body.replace("\n", "\n    ")
        body = f"""
    try:{inner}
    except Exception as error:
        while getattr(error, "body", None) is None and (error.__cause__ or error.__context__):
            error = error.__cause__ or error.__context__
        found["error"] = error.body["code"]
"""
    return PROGRAM.format(imports=imports, body=body)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with (
        Server() as server,
        serving(tmp_path_factory.mktemp("frameworks"), upstreams=(upstream(server.base_url),), builtin=False) as live,
    ):
        yield live


def open_agent(gateway: LiveGateway, **limits: int) -> tuple[str, str]:
    """Run and capability of an agent run whose tool is the programs'."""
    agent = {"name": "umbrella", "tools": [{"name": "weather", "effect": "read"}], "limits": limits}
    told = fetch(f"{gateway.url}/v1/runs", key=KEY, body=json.dumps({"agent": agent}).encode())
    return told["run"], told["capability"]


def children(gateway: LiveGateway, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.get(f"/v1/runs/{run}/children")["children"]
    return found


def close(gateway: LiveGateway, run: str, capability: str) -> None:
    body = json.dumps({"result": ANSWER}).encode()
    reply = gateway.post(body, f"/v1/runs/{run}/close", [f"x-holdfast-capability: {capability}"])
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_agent_of_a_closed_run_is_told_so_and_asks_nothing(gateway: LiveGateway, name: str) -> None:
    run, capability = open_agent(gateway)
    close(gateway, run, capability)
    found = ask(gateway, program(name, refused=True), run, QUESTION)
    assert found["error"] == "agent.closed"
    assert children(gateway, run) == []


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_agent_stops_where_its_run_may_have_no_more_children(gateway: LiveGateway, name: str) -> None:
    run, _ = open_agent(gateway, steps=1)
    found = ask(gateway, program(name, refused=True), run, QUESTION)
    assert found["error"] == "agent.steps"
    assert [child["kind"] for child in children(gateway, run)] == ["chat.completions"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_turns_of_an_agent_stand_below_the_run_that_it_names(gateway: LiveGateway, name: str) -> None:
    (run, capability), (other, _) = open_agent(gateway), open_agent(gateway)
    found = ask(gateway, program(name), run, QUESTION)
    assert found["text"].replace(" ", "") == ANSWER.replace(" ", "")
    assert len(found["pieces"]) > 1, "it came at once, and was to be streamed"
    turns = children(gateway, run)
    assert [(turn["kind"], turn["outcome"]) for turn in turns] == [("chat.completions", "complete")] * 2
    assert all(gateway.statements(turn["run"])[0]["predicate"]["parent_run"] == run for turn in turns)
    assert children(gateway, other) == []
    close(gateway, run, capability)
    assert [child["run"] for child in children(gateway, run)] == [turn["run"] for turn in turns]
