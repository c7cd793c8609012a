"""OpenGradient's ``LLM`` as users with a wallet call it: an allowance, then paid questions on one session; run by the
interpreter that has it. ``BASE_MAINNET_RPC`` in the environment names the chain.

Reads one JSON object from standard input: ``rpc``, ``registry``, ``key`` of a wallet, ``model``, and ``approve``:
whether it gives its allowance. Prints one JSON object: what came back, and the headers that told of payment.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import opengradient as og

ASK = [{"role": "user", "content": "What is a lane?"}]
TOLD = ("payment-required", "payment-response", "x-upto-session", "x-holdfast-run", "x-holdfast-payment")
SENT = ("payment-signature", "x-upto-session")


def listen(exchanges: list[dict[str, Any]]) -> None:
    """Note what passes of payments, and change nothing."""
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def noting(self: Any, request: httpx.Request) -> httpx.Response:
        answer = await send(self, request)
        exchanges.append(
            {
                "status": answer.status_code,
                "sent": [name for name in SENT if name in request.headers],
                "told": {name: answer.headers[name] for name in TOLD if name in answer.headers},
            }
        )
        return answer

    httpx.AsyncHTTPTransport.handle_async_request = noting  # type: ignore[method-assign]


async def streamed(llm: og.LLM, model: str) -> str:
    """A streamed answer put together."""
    text = ""
    async for chunk in await llm.chat(model=model, messages=ASK, max_tokens=32, stream=True):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text


async def main() -> None:
    """An allowance, then four paid questions."""
    wanted = json.load(sys.stdin)
    exchanges: list[dict[str, Any]] = []
    listen(exchanges)
    llm = og.LLM(wanted["key"], rpc_url=wanted["rpc"], tee_registry_address=wanted["registry"])
    approval = llm.ensure_opg_approval(min_allowance=10.0) if wanted["approve"] else None
    first = await llm.chat(model=wanted["model"], messages=ASK, max_tokens=32)
    second = await llm.chat(model=wanted["model"], messages=ASK, max_tokens=32)
    third = await streamed(llm, wanted["model"])
    fourth = await llm.completion(model=wanted["model"], prompt="A lane is", max_tokens=16)
    await llm.close()
    json.dump(
        {
            "allowance": approval and approval.allowance_after,
            "chat": [first.chat_output["content"], second.chat_output["content"]],
            "signatures": [first.tee_signature, second.tee_signature, fourth.tee_signature],
            "stream": third,
            "completion": fourth.completion_output,
            "exchanges": exchanges,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    asyncio.run(main())
