"""OpenTelemetry's own SDK and exporter, and Pydantic AI's instrumentation, unchanged: their spans become hints below
the agent run that a resource attribute names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core.otlp import PROTOBUF, Hint, Refused, read_trace
from tests.helpers.clients import NEEDS_CLIENTS, Server, ask
from tests.helpers.live_gateway import KEY, OTHER_KEY, LiveGateway, serving, upstream
from tests.integration.test_agent_frameworks import children, open_agent

pytestmark = [pytest.mark.enable_socket, NEEDS_CLIENTS]

EXPORTER = """
import base64, json, os, sys
url, key, model, run, traced_with, compression = sys.argv[1:]
os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "holdfast.agent_run=" + run
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer%20" + traced_with
os.environ["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult, SimpleSpanProcessor
results, sent = [], []

class Watched(OTLPSpanExporter):
    def export(self, spans):
        sent.append(base64.b64encode(encode_spans(spans).SerializeToString()).decode())
        results.append(super().export(spans))
        return results[-1]

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Watched()))
"""

BY_HAND = (
    EXPORTER
    + """
tracer = provider.get_tracer("by hand")
with tracer.start_as_current_span("invoke_agent treasurer", attributes={
    "gen_ai.operation.name": "invoke_agent", "gen_ai.request.temperature": 0.25, "gen_ai.usage.input_tokens": 2**53 + 1,
    "gen_ai.response.finish_reasons": ["stop", "length"], "ok": True,
}) as outer:
    with tracer.start_as_current_span("GET /", attributes={"http.request.method": "GET"}):
        pass
    with tracer.start_as_current_span("execute_tool wire", attributes={"gen_ai.tool.name": "wire", "effect": "pay"}):
        outer.add_event("gen_ai.choice", {"index": 0})
print(json.dumps({"exported": [result.name for result in results], "sent": sent}))
"""
)

PYDANTIC_AI = (
    EXPORTER
    + """
import asyncio
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))

def weather(city: str, celsius: float = 0.0) -> str:
    "The weather of a city."
    return f"rain in {city}"

async def main():
    client = AsyncOpenAI(base_url=url + "/v1", api_key=key, default_headers={"x-holdfast-parent": run}, max_retries=0)
    chat = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
    agent = Agent(chat, tools=[weather], name="umbrella")
    return (await agent.run("Do I need an umbrella in Oslo?")).output

print(json.dumps({"text": asyncio.run(main()), "exported": [result.name for result in results]}))
"""
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with (
        Server() as server,
        serving(tmp_path_factory.mktemp("traces"), upstreams=(upstream(server.base_url),), builtin=False) as live,
    ):
        yield live


def hints(gateway: LiveGateway, run: str) -> list[dict[str, Any]]:
    """The steps below an agent run, with their lanes."""
    return [child for child in children(gateway, run) if child["kind"] == "step"]


def test_an_exporter_of_another_workspace_tells_nothing(gateway: LiveGateway) -> None:
    run, _ = open_agent(gateway)
    ask(gateway, BY_HAND, run, OTHER_KEY, "none")
    assert hints(gateway, run) == []


def test_an_exporter_without_a_key_is_refused_and_says_so(gateway: LiveGateway) -> None:
    run, _ = open_agent(gateway)
    assert set(ask(gateway, BY_HAND, run, "nobody", "none")["exported"]) == {"FAILURE"}
    assert hints(gateway, run) == []


def test_what_the_sdk_encodes_is_read_as_it_was_said(gateway: LiveGateway) -> None:
    run, _ = open_agent(gateway)
    sent = [base64.b64decode(item) for item in ask(gateway, BY_HAND, run, KEY, "none")["sent"]]
    _, tool, agent = [json.loads(found.body) if isinstance(found, Hint) else found for [found] in map(read, sent)]
    assert (tool["name"], agent["name"]) == ("execute_tool wire", "invoke_agent treasurer")
    assert tool["attributes"]["parent"] == agent["attributes"]["span"]
    assert agent["attributes"]["attributes"] == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.temperature": 0.25,
        "gen_ai.usage.input_tokens": 2**53 + 1,
        "gen_ai.response.finish_reasons": ["stop", "length"],
        "ok": True,
    }
    [event] = agent["attributes"]["events"]
    assert (event["name"], event["attributes"]) == ("gen_ai.choice", {"index": 0})
    assert int(agent["attributes"]["start_unix_nano"]) < int(agent["attributes"]["end_unix_nano"])
    assert agent["attributes"]["status"] == {"code": "unset"}


def read(body: bytes) -> list[Hint | Refused]:
    return read_trace(body, PROTOBUF)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_of_the_sdk_become_hints_and_what_tells_of_no_model_does_not(
    gateway: LiveGateway, compression: str
) -> None:
    run, _ = open_agent(gateway)
    assert set(ask(gateway, BY_HAND, run, KEY, compression)["exported"]) == {"SUCCESS"}
    found = hints(gateway, run)
    assert len(found) == 2, "the span of an HTTP request is none"
    assert all(item["lanes"]["computation"] == {"state": "unknown", "basis": "operator_claim"} for item in found)


def test_the_tracing_of_an_agent_stands_beside_its_turns(gateway: LiveGateway) -> None:
    run, capability = open_agent(gateway)
    told = ask(gateway, PYDANTIC_AI, run, KEY, "none")
    assert "rain in Oslo" in told["text"]
    kinds = [child["kind"] for child in children(gateway, run)]
    assert kinds.count("chat.completions") == 2
    assert kinds.count("step") >= 4, "two turns, a tool and the agent itself"
    body = json.dumps({"result": told["text"]}).encode()
    assert gateway.post(body, f"/v1/runs/{run}/close", [f"x-holdfast-capability: {capability}"]).status == 200
