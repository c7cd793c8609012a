"""The benches' stub answers as an upstream should, so that a bench measures what it claims to."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig

pytestmark = pytest.mark.enable_socket
_PATH = Path(__file__).parents[2] / "bench" / "stub_upstream.py"


@pytest.fixture(scope="module")
def stub() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stub_upstream", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(stub: ModuleType, use: Any, **plan: Any) -> Any:
    async def main() -> Any:
        options = {"tokens": 5, "words": 3, "pace_ms": 0, "delay_ms": 0, **plan}
        server, url = await stub.start(stub.make_plan(**options))
        upstream = OpenAIUpstream(OpenAIUpstreamConfig("stub", url))
        try:
            return await use(upstream)
        finally:
            await upstream.close()
            server.close()

    return asyncio.run(main())


async def _stream(upstream: OpenAIUpstream) -> int:
    body = b'{"model": "stub", "stream": true}'
    return len([1 async for _ in upstream.stream("/chat/completions", body, timeout_s=5, idle_timeout_s=5)])


def test_it_lists_its_model_and_answers_whole(stub):
    async def use(upstream: OpenAIUpstream) -> Any:
        models = await upstream.models()
        answers = await asyncio.gather(
            *(upstream.complete("/chat/completions", b'{"model":"stub"}', timeout_s=5) for _ in range(20))
        )
        return [model.id for model in models], {answer.body.count(b"word") for answer in answers}

    assert run(stub, use) == (["stub"], {3})


@pytest.mark.parametrize("pace_ms", [0, 5])
def test_it_streams_as_many_events_as_asked_for(stub, pace_ms):
    started = time.monotonic()
    assert run(stub, _stream, pace_ms=pace_ms) == 7
    assert time.monotonic() - started >= 6 * pace_ms / 1000 * 0.9
