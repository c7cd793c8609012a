"""The Python client of x402's authors as its users call it; run by the interpreter that has it.

Reads one JSON object from standard input: ``gateway``, ``rpc``, ``network``, ``token``, ``key`` of a funded wallet, and
``calls`` (names of the functions below). Prints one JSON object: for each call what came back, or ``error`` and
``message``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm import EthAccountSignerWithRPC
from x402.mechanisms.evm.exact import ExactEvmClientScheme
from x402.mechanisms.evm.upto import UptoEvmClientScheme

QUESTION = {"messages": [{"role": "user", "content": "What is a lane?"}], "max_tokens": 64}
TOLD = ("x-holdfast-run", "x-holdfast-capability", "x-holdfast-payment", "x-upto-session", "payment-response")


def made(wanted: dict[str, Any], *schemes: Any, **controls: Any) -> x402HttpxClient:
    """A client that pays by the schemes alone."""
    client = x402Client()
    signer = EthAccountSignerWithRPC(Account.from_key(wanted["key"]), wanted["rpc"])
    for scheme in schemes:
        client.register(wanted["network"], scheme(signer))
    allowed = [{"network": wanted["network"], "asset": wanted["token"]}]
    client.set_spend_controls(controls or {"allowed_assets": allowed, "max_amount_per_payment": False})
    return x402HttpxClient(client, timeout=60)


async def asked(wanted: dict[str, Any], *schemes: Any, **controls: Any) -> dict[str, Any]:
    """One question, one whole answer."""
    async with made(wanted, *schemes, **controls) as http:
        answer = await http.post(
            wanted["gateway"] + "/v1/chat/completions", json={"model": wanted["model"], **QUESTION}
        )
        body = answer.json()
        found = {"status": answer.status_code, **{name: answer.headers.get(name) for name in TOLD}}
        if answer.status_code == 200:
            return found | {"text": body["choices"][0]["message"]["content"], "usage": body["usage"]}
        return found | {"refused": body["error"]["code"]}


async def streamed(wanted: dict[str, Any], *schemes: Any) -> dict[str, Any]:
    """One question, a streamed answer; ``pieces`` counts what came before the end."""
    question = {"model": wanted["model"], **QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    text, pieces = "", 0
    async with (
        made(wanted, *schemes) as http,
        http.stream("POST", wanted["gateway"] + "/v1/chat/completions", json=question) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                pieces += 1
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
        found = {"status": answer.status_code, **{name: answer.headers.get(name) for name in TOLD}}
    return found | {"text": text, "pieces": pieces}


async def exact(wanted: dict[str, Any]) -> dict[str, Any]:
    """All that was signed, over EIP-3009."""
    return await asked(wanted, ExactEvmClientScheme)


async def exact_streamed(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same, as a stream."""
    return await streamed(wanted, ExactEvmClientScheme)


async def upto(wanted: dict[str, Any]) -> dict[str, Any]:
    """At most what was signed, over Permit2."""
    return await asked(wanted, UptoEvmClientScheme)


async def upto_streamed(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same, as a stream."""
    return await streamed(wanted, UptoEvmClientScheme)


async def both(wanted: dict[str, Any]) -> dict[str, Any]:
    """A client that can do either takes whichever it likes."""
    return await asked(wanted, ExactEvmClientScheme, UptoEvmClientScheme)


async def careful(wanted: dict[str, Any]) -> dict[str, Any]:
    """A client with its own default limits pays in no token that it does not know."""
    return await asked(wanted, ExactEvmClientScheme, allowed_assets=[], max_amount_per_payment="$0.000001")


CALLS = (exact, exact_streamed, upto, upto_streamed, both, careful)


async def main() -> None:
    """Every call that is wanted, one after the other."""
    wanted = json.load(sys.stdin)
    found: dict[str, Any] = {}
    for call in CALLS:
        if call.__name__ in wanted["calls"]:
            try:
                found[call.__name__] = await call(wanted)
            except Exception as error:
                found[call.__name__] = {"error": type(error).__name__, "message": str(error)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
