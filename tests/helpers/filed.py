"""A case whose run brought files, and an answer that may repeat them."""

from __future__ import annotations

import json
from typing import Any

from holdfast.nodes.gateway.request import parse_ask
from tests.helpers.case_world import CaseWorld
from tests.helpers.upstreams import MODEL, ScriptedUpstream


def saying(*texts: str) -> bytes:
    """An answer of one choice for each text."""
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    return json.dumps({"id": "a", "object": "chat.completion", "model": "m", "choices": choices}).encode()


async def filed(world: CaseWorld, content: Any, answer: bytes, before: tuple[Any, ...] = ()) -> tuple[Any, str]:
    """An answered run and its case in the default queue; ``before`` are messages in front of the question."""
    upstream = ScriptedUpstream(answers=[answer])
    catalog = world.world.gateway.catalog
    catalog._upstreams = {upstream.code: upstream}
    await catalog.refresh()
    value = {
        "model": MODEL,
        "messages": [*before, {"role": "user", "content": content}],
        "holdfast": {"queue": "default"},
    }
    ask = parse_ask("chat.completions", json.dumps(value).encode(), {}, default_model=None, settlement="batch")
    run = await world.world.gateway.open(ask, "first")
    await world.world.gateway.answer(run)
    await world.pull()
    await world.world.clock.advance(3)
    await world.look_at_all()
    await world.tick()
    return run, (await world.case(run.id))["id"]
