"""OpenGradient's ``LLM`` as its users call it: registry, pinned TLS; run by the interpreter that has it.

Reads one JSON object from standard input: ``rpc``, ``registry``, ``key`` (of a wallet that pays nothing), ``model`` and
``calls`` (names of the functions below, all of them when absent). Prints one JSON object: for each call what came back,
or ``error`` and ``message``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import opengradient as og
from opengradient.client.tee_registry import TEERegistry, build_ssl_context_from_der
from opengradient.client.tee_verify import (
    build_inner_request,
    pem_from_der,
    response_content_for_hash,
    verify_response,
)

ASK = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Gr\u00fc\u00dfe \u2014 what is a lane? \U0001f30d"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
SCHEMA = {
    "name": "answer",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"lane": {"type": "string"}},
        "required": ["lane"],
        "additionalProperties": False,
    },
}


def told(output: Any) -> dict[str, Any]:
    """What an answer says."""
    return {
        "message": output.chat_output,
        "finish_reason": output.finish_reason,
        "usage": output.usage,
        "signature": output.tee_signature,
        "timestamp": output.tee_timestamp,
        "tee": output.tee_id,
        "endpoint": output.tee_endpoint,
        "payment_address": output.tee_payment_address,
    }


async def streamed(chunks: Any) -> dict[str, Any]:
    """A stream put together by hand, as their examples do."""
    text, calls, final, count = "", [], None, 0
    async for chunk in chunks:
        count += 1
        for choice in chunk.choices:
            text += choice.delta.content or ""
            calls += choice.delta.tool_calls or []
        final = chunk if chunk.is_final else final
    return {
        "text": text,
        "calls": calls,
        "chunks": count,
        "finish_reason": final and final.choices[0].finish_reason,
        "usage": final and final.usage and final.usage.total_tokens,
        "signature": final and final.tee_signature,
        "timestamp": final and final.tee_timestamp,
        "tee": final and final.tee_id,
    }


async def chat(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """One question, one whole answer."""
    return told(await llm.chat(model=wanted["model"], messages=ASK, max_tokens=64))


async def stream(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """One question, a streamed answer."""
    return await streamed(await llm.chat(model=wanted["model"], messages=ASK, max_tokens=64, stream=True))


async def named(llm: og.LLM, _wanted: dict[str, Any]) -> dict[str, Any]:
    """A member of their enumeration of models."""
    return told(await llm.chat(model=og.TEE_LLM.GPT_5, messages=ASK))


async def tools(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """The model calls a tool and is told its result."""
    first = await llm.chat(model=wanted["model"], messages=ASK, tools=TOOLS)
    call = first.chat_output["tool_calls"][0]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    second = await llm.chat(model=wanted["model"], messages=[*ASK, first.chat_output, result], tools=TOOLS)
    return {"first": told(first), "second": told(second)}


async def tools_streamed(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """A tool call asked for as a stream, which their client fetches whole."""
    return await streamed(await llm.chat(model=wanted["model"], messages=ASK, tools=TOOLS, stream=True))


async def schema(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """An answer of a given shape."""
    shape = og.ResponseFormat(type="json_schema", json_schema=SCHEMA)
    return told(await llm.chat(model=wanted["model"], messages=ASK, response_format=shape))


async def completion(llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """The older kind of question, with a stop sequence."""
    found = await llm.completion(model=wanted["model"], prompt="A lane is", stop_sequence=["\n"], temperature=0.5)
    return {"output": found.completion_output, "signature": found.tee_signature, "timestamp": found.tee_timestamp}


async def unknown(llm: og.LLM, _wanted: dict[str, Any]) -> dict[str, Any]:
    """A model that nobody has."""
    return told(await llm.chat(model="nobody/nothing", messages=ASK))


async def checked(_llm: og.LLM, wanted: dict[str, Any]) -> dict[str, Any]:
    """Their checks of a signed answer, which ``LLM`` itself leaves out, over the same pinned connection."""
    tee = TEERegistry(wanted["rpc"], wanted["registry"]).get_llm_tee()
    headers = {"Authorization": "Bearer 0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"}
    headers["X-SETTLEMENT-TYPE"] = "batch"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [ASK[0], {"role": "user", "content": [{"type": "text", "text": "What is this? \u00e9"}, picture]}]
    wire, canonical = build_inner_request(
        {
            "model": wanted["model"].split("/")[1],
            "messages": messages,
            "max_tokens": 64,
            "temperature": 1,
            "stop": ["#"],
        }
    )
    async with httpx.AsyncClient(verify=build_ssl_context_from_der(tee.tls_cert_der)) as client:
        answer = await client.post(tee.endpoint + "/v1/chat/completions", json=wire, headers=headers)
    answer.raise_for_status()
    body = answer.json()
    proof = verify_response(
        canonical_request=canonical,
        response_body=body,
        response_content=response_content_for_hash(body),
        signing_key_pem=pem_from_der(tee.signing_public_key_der),
        expected_tee_id=tee.tee_id,
    )
    return {"tee": proof.tee_id, "timestamp": proof.timestamp, "members": sorted(body)}


CALLS = (chat, stream, named, tools, tools_streamed, schema, completion, unknown, checked)


async def main() -> None:
    """Make the client once, and every call with it."""
    wanted = json.load(sys.stdin)
    found: dict[str, Any] = {}
    llm = og.LLM(wanted["key"], rpc_url=wanted["rpc"], tee_registry_address=wanted["registry"])
    for call in CALLS:
        if call.__name__ in wanted.get("calls", [item.__name__ for item in CALLS]):
            try:
                found[call.__name__] = await call(llm, wanted)
            except Exception as error:
                found[call.__name__] = {"error": type(error).__name__, "message": str(error)}
    await llm.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
