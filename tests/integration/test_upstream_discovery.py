"""Looking for model servers on this machine: bounded in time, honest about what is there."""

from __future__ import annotations

import asyncio
import time

import pytest

from holdfast.adapters.upstream_discovery import CANDIDATES, Candidate, Finding, discover, discover_sync
from holdfast.adapters.upstream_openai import OpenAIUpstream
from tests.helpers import upstreams as fake
from tests.helpers.upstreams import FaultyServer

pytestmark = pytest.mark.enable_socket


def look(behaviour: fake.Behaviour) -> tuple[Finding, float, FaultyServer]:
    async def main() -> tuple[Finding, float, FaultyServer]:
        async with FaultyServer(behaviour) as server:
            started = time.monotonic()
            (found,) = await discover([Candidate("ollama", "Ollama", server.base_url)])
            return found, time.monotonic() - started, server

    return asyncio.run(main())


def test_nothing_there_is_said_and_costs_no_time():
    async def main() -> list[Finding]:
        async with FaultyServer() as server:
            url = server.base_url
        return await discover([Candidate("ollama", "Ollama", url)])

    started = time.monotonic()
    (found,) = asyncio.run(main())
    assert found.config is None
    assert found.says.startswith("no Ollama at")
    assert time.monotonic() - started < 0.5


def test_a_silent_server_does_not_hold_up_the_start():
    found, took_s, _ = look(fake.hang())
    assert found.config is None
    assert "did not answer" in found.says
    assert took_s < 0.6


@pytest.mark.parametrize(
    "behaviour", [fake.garbage(), fake.answer(b"<html>"), fake.refuse(404), fake.answer(b'{"models":[]}')]
)
def test_something_else_on_the_port_is_not_used(behaviour):
    found, _, _ = look(behaviour)
    assert found.config is None
    assert "but not as Ollama does" in found.says


def test_a_server_without_models_is_not_used():
    found, _, _ = look(fake.answer({"object": "list", "data": []}))
    assert found.config is None
    assert "no model yet" in found.says


def test_a_server_with_models_is_ready_to_use():
    found, took_s, server = look(fake.chat_server)
    assert found.config is not None
    assert found.config.code == "ollama"
    assert [model.id for model in found.models] == [fake.MODEL]
    assert fake.MODEL in found.says
    assert took_s < 0.6
    assert [(request.method, request.path) for request in server.requests] == [("GET", "/v1/models")]
    assert "authorization" not in server.requests[0].headers


def test_what_can_be_used_is_returned_also_without_a_running_loop(caplog):
    async def serve() -> list[str]:
        async with FaultyServer(fake.chat_server) as server:
            candidates = [Candidate("ollama", "Ollama", server.base_url)]
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(None, discover_sync, candidates)
            answers = [await upstream.complete("/chat/completions", b"{}", timeout_s=5) for upstream in found]
            for upstream in found:
                await upstream.close()
            return [upstream.code for upstream in found] + [str(answer.status) for answer in answers]

    with caplog.at_level("INFO"):
        assert asyncio.run(serve()) == ["ollama", "200"]
    assert "found Ollama at" in caplog.text


def test_only_this_machine_is_looked_at():
    assert all(candidate.base_url.startswith("http://127.0.0.1:") for candidate in CANDIDATES)
    assert {OpenAIUpstream(found_config).code for found_config in map(_config, CANDIDATES)} == {"ollama", "llama-cpp"}


def _config(candidate: Candidate):
    from holdfast.adapters.upstream_openai import OpenAIUpstreamConfig  # noqa: PLC0415

    return OpenAIUpstreamConfig(candidate.code, candidate.base_url)
