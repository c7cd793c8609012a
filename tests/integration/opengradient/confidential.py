"""OpenGradient's ``ConfidentialLLM`` as its users call it, through a relay; run by the interpreter that has it.

Reads one JSON object from standard input: ``rpc``, ``registry``, ``relay``, ``token``, ``model`` and ``calls`` (names
of the functions below, all of them when absent). Prints one JSON object: for each call what came back and was verified
by their client, or ``error`` and ``message``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import opengradient as og
from direct import ASK, SCHEMA, TOOLS


def told(answer: Any) -> dict[str, Any]:
    """What a verified answer says."""
    return {
        "content": answer.content,
        "frames": answer.stream_frames,
        "members": sorted(answer.body),
        "tee": answer.proof.tee_id,
        "timestamp": answer.proof.timestamp,
        "endpoint": answer.proof.tee_host,
        "holdfast": {name: answer.body.get("holdfast", {}).get(name) for name in ("run", "capability")},
    }


def chat(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """One question, one whole answer."""
    return told(client.chat(model=model, messages=ASK, max_tokens=64))


def stream(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """One question, a stream that their client verifies before it shows any of it."""
    return told(client.chat(model=model, messages=ASK, max_tokens=64, stream=True))


def again(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """Another question on the same connection, with more of what their client can say."""
    return told(client.chat(model=model, messages=ASK, temperature=1, stop_sequence=["\n\n"], tool_choice="none"))


def named(client: og.ConfidentialLLM, _model: str) -> dict[str, Any]:
    """A member of their enumeration of models, which their client spells ``TEE_LLM.NAME``."""
    return told(client.chat(model=og.TEE_LLM.GPT_5, messages=ASK))


def tools(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """The model calls a tool and is told its result."""
    first = client.chat(model=model, messages=ASK, tools=TOOLS)
    said = first.body["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "rain"}
    second = client.chat(model=model, messages=[*ASK, said, result], tools=TOOLS)
    return {"first": told(first), "second": told(second)}


def tools_streamed(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """A tool call in a stream."""
    return told(client.chat(model=model, messages=ASK, tools=TOOLS, stream=True))


def schema(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """An answer of a given shape."""
    shape = {"type": "json_schema", "json_schema": SCHEMA}
    return told(client.chat(model=model, messages=ASK, response_format=shape))


def picture(client: og.ConfidentialLLM, model: str) -> dict[str, Any]:
    """A question of parts: what their hash keeps of a picture is that there was one."""
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    return told(
        client.chat(model=model, messages=[{"role": "user", "content": [{"type": "text", "text": "This?"}, shown]}])
    )


def unknown(client: og.ConfidentialLLM, _model: str) -> dict[str, Any]:
    """A model that nobody has."""
    return told(client.chat(model="nobody/nothing", messages=ASK))


CALLS = (chat, stream, again, named, tools, tools_streamed, schema, picture, unknown)


def main() -> None:
    """Make the client once, and every call with it."""
    wanted = json.load(sys.stdin)
    found: dict[str, Any] = {}
    client = og.ConfidentialLLM(
        wanted["relay"],
        rpc_url=wanted["rpc"],
        registry_address=wanted["registry"],
        auth_headers=lambda: {"Authorization": f"Bearer {wanted['token']}"},
        timeout=20,
    )
    for call in CALLS:
        if call.__name__ in wanted.get("calls", [item.__name__ for item in CALLS]):
            try:
                found[call.__name__] = call(client, wanted["model"])
            except Exception as error:
                found[call.__name__] = {"error": type(error).__name__, "message": str(error)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
