"""Anthropic's client and LangChain's OpenAI class, unchanged, against a gateway before a scripted upstream that calls
tools, looks at images, keeps to schemas and thinks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers import upstreams as fake
from tests.helpers.clients import NEEDS_CLIENTS, Server, ask
from tests.helpers.live_gateway import LiveGateway, serving, upstream

pytestmark = [pytest.mark.enable_socket, NEEDS_CLIENTS]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with (
        Server() as server,
        serving(tmp_path_factory.mktemp("clients"), upstreams=(upstream(server.base_url),), builtin=False) as live,
    ):
        yield live


ANTHROPIC = """
import json, sys, anthropic
url, key, model = sys.argv[1:]
client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
ask = dict(model=model, max_tokens=64)
hello = [dict(role="user", content="Does it hold?")]
schema = dict(type="object", properties=dict(city=dict(type="string")))
tools = [dict(name="weather", description="d", input_schema=schema)]
found = {}
raw = client.messages.with_raw_response.create(**ask, messages=hello, system="Be brief.")
whole = raw.parse()
found["blocks"] = [block.type for block in whole.content]
found["text"] = whole.content[-1].text
found["reason"] = whole.stop_reason
found["usage"] = [whole.usage.input_tokens, whole.usage.output_tokens]
found["run"] = [whole.holdfast["run"], raw.headers["x-holdfast-run"]]
with client.messages.stream(**ask, messages=hello) as stream:
    found["pieces"] = list(stream.text_stream)
    last = stream.get_final_message()
found["streamed"] = [last.stop_reason, last.usage.output_tokens, [block.type for block in last.content]]
found["events"] = [event.type for event in client.messages.create(**ask, messages=hello, stream=True)]
asked = [dict(role="user", content="Do I need an umbrella in Oslo?")]
call = client.messages.create(**ask, messages=asked, tools=tools, tool_choice=dict(type="auto"))
used = next(block for block in call.content if block.type == "tool_use")
found["call"] = [used.name, used.input, call.stop_reason]
result = dict(type="tool_result", tool_use_id=used.id, content="rain")
said = [dict(role="assistant", content=call.content), dict(role="user", content=[result])]
after = client.messages.create(**ask, tools=tools, messages=[*asked, *said])
found["after"] = after.content[0].text
with client.messages.stream(**ask, messages=asked, tools=tools) as stream:
    whole = stream.get_final_message().content
found["call streamed"] = next(block.input for block in whole if block.type == "tool_use")
image = dict(type="image", source=dict(type="base64", media_type="image/png", data="AAAA"))
found["vision"] = client.messages.create(**ask, messages=[dict(role="user", content=[image])]).content[0].text
found["models"] = [item.id for item in client.models.list()]
found["model"] = client.models.retrieve(model).display_name
errors = {}
stranger = anthropic.Anthropic(base_url=url, api_key="no", max_retries=0)
search = dict(type="web_search_20250305", name="web_search")
for name, call in {
    "stranger": lambda: stranger.messages.create(**ask, messages=hello),
    "missing": lambda: client.messages.create(**{**ask, "model": "none"}, messages=hello),
    "refused": lambda: client.messages.create(**ask, messages=hello, tools=[search]),
    "counted": lambda: client.messages.count_tokens(model=model, messages=hello),
}.items():
    try:
        call()
    except anthropic.APIStatusError as error:
        errors[name] = [type(error).__name__, error.body["error"]["type"], error.body["error"]["code"]]
found["errors"] = errors
print(json.dumps(found))
"""


def test_anthropics_client_is_answered_unchanged(gateway: LiveGateway) -> None:
    found = ask(gateway, ANTHROPIC)
    assert (found["blocks"], found["text"], found["reason"]) == (["thinking", "text"], "It holds.", "end_turn")
    assert found["usage"] == [9, 3]
    assert found["run"][0] == found["run"][1]
    assert found["pieces"] == ["It", "holds."]
    assert found["streamed"] == ["end_turn", 3, ["thinking", "text"]]
    assert (found["events"][0], found["events"][-1]) == ("message_start", "message_stop")
    assert found["call"] == ["weather", {"city": "Oslo", "celsius": 7.0}, "tool_use"]
    assert found["call streamed"] == {"city": "Oslo", "celsius": 7.0}
    assert found["after"] == "The tool says rain."
    assert found["vision"] == "I see data:image/png;base64,"[:28]
    assert found["models"] == [fake.MODEL]
    assert found["model"] == fake.MODEL
    assert found["errors"] == {
        "stranger": ["AuthenticationError", "authentication_error", "auth.wrong"],
        "missing": ["NotFoundError", "not_found_error", "request.unknown_model"],
        "refused": ["BadRequestError", "invalid_request_error", "messages.tool"],
        "counted": ["NotFoundError", "not_found_error", "request.not_offered"],
    }


LANGCHAIN = """
import json, sys
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
url, key, name = sys.argv[1:]
model = ChatOpenAI(base_url=url + "/v1", api_key=key, model=name, max_retries=0)

@tool
def weather(city: str, celsius: float = 0.0) -> str:
    "The weather of a city."
    return f"rain in {city}"

class Place(BaseModel):
    city: str

found = {}
whole = model.invoke("Does it hold?")
found["text"], found["usage"] = whole.content, whole.usage_metadata["total_tokens"]
found["streamed"] = [piece.content for piece in model.stream("Does it hold?") if piece.content]
asked = HumanMessage("Do I need an umbrella in Oslo?")
call = model.bind_tools([weather]).invoke([asked])
found["call"] = call.tool_calls[0]["args"]
told = ToolMessage(weather.invoke(call.tool_calls[0]["args"]), tool_call_id=call.tool_calls[0]["id"])
found["after"] = model.bind_tools([weather]).invoke([asked, call, told]).content
found["structured"] = model.with_structured_output(Place, method="json_schema").invoke("Where?").city
print(json.dumps(found))
"""


def test_langchain_works_through_its_openai_class(gateway: LiveGateway) -> None:
    found = ask(gateway, LANGCHAIN)
    assert (found["text"], found["usage"]) == ("It holds.", 12)
    assert found["streamed"] == ["It", "holds."]
    assert found["call"] == {"city": "Oslo", "celsius": 7.0}
    assert found["after"] == "The tool says rain in Oslo."
    assert found["structured"] == "Oslo"
