"""Answers for OpenGradient's clients: who gets them, what is changed for them and said so, and that what their client
computes from what it sent and got is what was signed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from holdfast.core import canonical
from holdfast.core import opengradient as og
from holdfast.core.evm import keccak256
from holdfast.core.fold import Fold
from holdfast.core.parts import verify_document
from holdfast.core.statements import Execution, Route
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.nodes.gateway.opengradient import find_alias, shape_stream
from holdfast.ports.upstream import ModelInfo, UpstreamStatusError
from tests.helpers import asgi
from tests.helpers.clock import FakeClock
from tests.helpers.gateway_world import KEY, World, play, rsa_signer
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_chunk, chat_completion

AUTHORIZED = [("authorization", f"Bearer {KEY}")]
THEIRS = [*AUTHORIZED, ("x-settlement-type", "batch")]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def request(**more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.7,
        "max_tokens": 100,
    } | more


async def post(
    world: World, value: dict[str, Any], headers: list[tuple[str, str]] = THEIRS, path: str = "/v1/chat/completions"
) -> asgi.Reply:
    return await asgi.request(world.app(), "POST", path, json.dumps(value).encode(), headers)


def frames(reply: asgi.Reply) -> list[dict[str, Any]]:
    """The JSON of each event, read as their client reads it: lines that begin with ``data: ``."""
    lines = [line[6:] for line in reply.body.decode().split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def check_as_they_do(canonical_request: dict[str, Any], output: str, answer: dict[str, Any]) -> None:
    """What their client does, in its own terms: ``json.dumps``, and the key from the registry."""
    key = serialization.load_der_public_key(rsa_signer().key.public)
    assert isinstance(key, rsa.RSAPublicKey)
    request_hash = keccak256(json.dumps(canonical_request, sort_keys=True).encode())
    output_hash = keccak256(output.encode())
    assert answer["tee_id"] == "0x" + keccak256(rsa_signer().key.public).hex()
    assert (answer["tee_request_hash"], answer["tee_output_hash"]) == (request_hash.hex(), output_hash.hex())
    signed = keccak256(request_hash + output_hash + answer["tee_timestamp"].to_bytes(32, "big"))
    scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    key.verify(base64.b64decode(answer["tee_signature"]), signed, scheme, hashes.SHA256())


def asked(story: Any, **more: Any) -> None:
    async def signing(world: World) -> None:
        world.signs = "asked"
        await story(world)

    play(signing, **more)


async def logged(world: World) -> tuple[Route, Execution]:
    await world.deliver()
    bodies = [item.body for item in world.log.statements()]
    [route] = [body for body in bodies if isinstance(body, Route)]
    [execution] = [body for body in bodies if isinstance(body, Execution)]
    return route, execution


# Who gets it.


def test_nobody_else_gets_a_signature_or_another_answer() -> None:
    async def story(world: World) -> None:
        reply = await post(world, request(), AUTHORIZED)
        value = reply.json()
        assert not [name for name in value if name.startswith("tee_")]
        assert world.upstream.sent[0][1] == json.dumps(request()).encode()  # type: ignore[attr-defined]

    asked(story)


def test_a_gateway_without_their_key_takes_their_settlement_and_signs_nothing() -> None:
    async def story(world: World) -> None:
        reply = await post(world, request(), [*AUTHORIZED, ("x-settlement-type", "private")])
        value = reply.json()
        assert value["holdfast"]["settlement"] == "private"
        assert "tee_signature" not in value
        for path in ("/health", "/signing-key", "/enclave/attestation", "/heartbeat/status"):
            assert (await asgi.request(world.app(), "GET", path)).code == "request.not_found"

    play(story)


def test_a_gateway_may_sign_for_everybody() -> None:
    async def story(world: World) -> None:
        world.signs = "always"
        value = (await post(world, request(), AUTHORIZED)).json()
        check_as_they_do(request(), "Hello there.", value)

    play(story)


@pytest.mark.parametrize(
    ("header", "mode"),
    [
        ("batch", "batch"),
        ("Private", "private"),
        ("pivate", "private"),
        ("individual", "individual"),
        (" inidvidual ", "individual"),
    ],
)
def test_their_settlement_modes_are_ours_in_their_spellings(header: str, mode: str) -> None:
    async def story(world: World) -> None:
        reply = await post(world, request(), [*AUTHORIZED, ("x-settlement-type", header)])
        assert reply.json()["holdfast"]["settlement"] == mode

    asked(story)


@pytest.mark.parametrize(
    ("headers", "more", "code"),
    [
        ([("x-settlement-type", "settle")], {}, "request.settlement"),
        ([("x-settlement-type", "")], {}, "request.settlement"),
        ([("x-settlement-type", "batch"), ("x-holdfast-settlement", "private")], {}, "request.conflict"),
        ([("x-settlement-type", "batch")], {"holdfast": {"settlement": "private"}}, "request.conflict"),
        ([("x-settlement-type", "batch")], {"n": 2}, "opengradient.request"),
        ([("x-settlement-type", "batch")], {"n": "1"}, "opengradient.request"),
        (
            [("x-settlement-type", "batch")],
            {"messages": [{"role": "critic", "content": "a"}]},
            "opengradient.request",
        ),
    ],
)
def test_what_cannot_be_signed_or_settled_so_is_refused_before_anything_is_asked(
    headers: list[tuple[str, str]], more: dict[str, Any], code: str
) -> None:
    async def story(world: World) -> None:
        reply = await post(world, request(**more), [*AUTHORIZED, *headers])
        assert (reply.status, reply.code) == (400, code)
        assert not world.upstream.sent  # type: ignore[attr-defined]

    asked(story)


def test_a_number_that_is_no_double_is_refused() -> None:
    async def story(world: World) -> None:
        body = json.dumps(request()).replace("0.7", "1e400").encode()
        reply = await asgi.request(world.app(), "POST", "/v1/chat/completions", body, THEIRS)
        assert (reply.status, reply.code) == (400, "opengradient.number")

    asked(story)


# Whole answers.


def test_a_whole_answer_verifies_as_their_client_verifies_it() -> None:
    value = request(stop=["END"], messages=[{"role": "system", "content": "café"}, {"role": "user", "content": "hi"}])

    async def story(world: World) -> None:
        reply = await post(world, value)
        check_as_they_do(value, "Hello there.", reply.json())
        answer = canonical.decode_exact(reply.body)
        sent = canonical.decode_exact(json.dumps(value).encode())
        assert og.verify_answer("chat.completions", sent, answer, rsa_signer().key.public).timestamp == 1_767_225_600
        assert reply.header("content-encoding") is None

    asked(story)


def test_what_is_signed_beside_their_signature_is_what_the_caller_got() -> None:
    """The carrier is no part of the document: without it the answer is what the execution statement binds."""

    async def story(world: World) -> None:
        value = (await post(world, request())).json()
        _, execution = await logged(world)
        assert execution.response is not None
        secret = bytes.fromhex(value["holdfast"]["capability"])
        verify_document("response", json.dumps(value).encode(), value["holdfast"]["run"], secret, execution.response)

    asked(story)


def test_a_developer_counts_as_system() -> None:
    value = request(messages=[{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}])
    hashed = request(messages=[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])

    async def story(world: World) -> None:
        check_as_they_do(hashed, "Hello there.", (await post(world, value)).json())

    asked(story)


def test_tool_calls_have_nothing_that_their_hash_does_not_cover() -> None:
    answer = chat_completion("", finish_reason="tool_calls")
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [{**CALLS[0], "index": 0}]}
    value = request(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], tool_choice="auto"
    )

    async def story(world: World) -> None:
        reply = (await post(world, value)).json()
        message = reply["choices"][0]["message"]
        assert message["tool_calls"] == CALLS
        hashed = {name: item for name, item in value.items() if name != "tool_choice"}
        check_as_they_do(hashed, json.dumps(message["tool_calls"], sort_keys=True), reply)

    asked(story, upstream=ScriptedUpstream(answers=[json.dumps(answer).encode()]))


def test_a_completion_has_its_text_twice_and_both_are_bound() -> None:
    answer = {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": MODEL,
        "choices": [{"index": 0, "text": "é", "finish_reason": "stop"}],
        "usage": None,
    }
    value = {"model": MODEL, "prompt": "say", "max_tokens": 5}

    async def story(world: World) -> None:
        reply = (await post(world, value, path="/v1/completions")).json()
        assert (reply["completion"], reply["choices"][0]["text"]) == ("é", "é")
        assert "usage" not in reply
        check_as_they_do({**value, "temperature": 0.0}, "é", reply)
        _, execution = await logged(world)
        assert execution.response is not None
        secret = bytes.fromhex(reply["holdfast"]["capability"])
        bound = verify_document(
            "response", json.dumps(reply).encode(), reply["holdfast"]["run"], secret, execution.response
        )
        assert b"completion" in b"".join(part.label for part in bound.parts)

    asked(story, upstream=ScriptedUpstream(answers=[json.dumps(answer).encode()]))


@pytest.mark.parametrize(
    "answer",
    [
        chat_completion() | {"choices": []},
        chat_completion() | {"choices": [{"index": 0, "message": {"content": [{"type": "text", "text": "a"}]}}]},
        chat_completion()
        | {"choices": [{"index": 0, "message": {"tool_calls": ["f"]}, "finish_reason": "tool_calls"}]},
    ],
)
def test_an_answer_without_an_output_text_is_the_upstreams_failure(answer: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        reply = await post(world, request())
        assert (reply.status, reply.code) == (502, "upstream.protocol")
        _, execution = await logged(world)
        assert (execution.event, execution.outcome) == ("failed", "upstream.protocol")

    asked(story, upstream=ScriptedUpstream(answers=[json.dumps(answer).encode()]))


def test_what_the_upstream_refuses_is_refused_in_our_shape_and_unsigned() -> None:
    refusal = UpstreamStatusError("no", provider_status=400, body=b"{}", content_type="application/json")

    async def story(world: World) -> None:
        reply = await post(world, request())
        assert reply.status == 400
        assert b"tee_" not in reply.body

    asked(story, upstream=ScriptedUpstream(answers=[refusal]))


def test_a_sealed_answer_has_no_hash_that_its_text_could_be_guessed_from() -> None:
    async def story(world: World) -> None:
        world.signs = "always"
        reply = await post(world, request(holdfast={"sealed": True, "queue": "default"}), AUTHORIZED)
        assert b"tee_" not in reply.body

    play(story)


# What is sent on.


def test_what_is_changed_for_the_upstream_is_named_in_the_route() -> None:
    async def story(world: World) -> None:
        await post(world, request(stream=True, web_search=True, stream_options={"other": 1}))
        _, body = world.upstream.sent[0]  # type: ignore[attr-defined]
        assert json.loads(body) == request(stream=True, stream_options={"other": 1, "include_usage": True})
        route, _ = await logged(world)
        assert route.rewrites == ("usage-asked", "web-search-removed")
        assert route.sent != route.request

    asked(story)


def test_nothing_is_changed_that_need_not_be() -> None:
    async def story(world: World) -> None:
        value = request(stream=True, stream_options={"include_usage": True})
        await post(world, value)
        assert world.upstream.sent[0][1] == json.dumps(value).encode()  # type: ignore[attr-defined]

    asked(story)


# Streams.


def streaming(*payloads: bytes | Exception) -> ScriptedUpstream:
    return ScriptedUpstream(streams=[list(payloads)])


def test_a_stream_ends_in_one_frame_with_reason_usage_and_signature() -> None:
    upstream = streaming(
        chat_chunk({"role": "assistant", "content": ""}, usage=None),
        chat_chunk({"content": "It "}, usage=None),
        chat_chunk({"content": "holds."}, usage=None),
        chat_chunk({}, finish_reason="stop", usage=None),
        json.dumps({"id": "chatcmpl-test", "model": MODEL, "choices": [], "usage": USAGE}).encode(),
    )

    async def story(world: World) -> None:
        reply = await post(world, request(stream=True))
        assert (reply.header("content-encoding"), reply.header("cache-control")) == (None, "no-cache")
        *parts, last = frames(reply)
        assert not [frame for frame in parts if "usage" in frame or frame["choices"][0]["finish_reason"]]
        assert (last["choices"], last["usage"]) == ([{"index": 0, "delta": {}, "finish_reason": "stop"}], USAGE)
        text = "".join(frame["choices"][0]["delta"].get("content", "") for frame in parts)
        assert text == "It holds."
        check_as_they_do(request(), text, last)
        assert not [frame for frame in parts if "tee_signature" in frame]

    asked(story, upstream=upstream)


def test_what_a_streams_statement_binds_is_what_the_caller_folds() -> None:
    upstream = streaming(
        chat_chunk({"content": "a"}, usage=None), chat_chunk({"content": "b"}, finish_reason="length", usage=USAGE)
    )

    async def story(world: World) -> None:
        reply = await post(world, request(stream=True))
        shown = frames(reply)
        fold = Fold()
        for frame in shown:
            fold.add(canonical.decode_exact(json.dumps(frame).encode()))
        document = canonical.encode_exact(fold.document())
        _, execution = await logged(world)
        assert execution.response is not None
        carrier = shown[-1]["holdfast"]
        verify_document("response", document, carrier["run"], bytes.fromhex(carrier["capability"]), execution.response)
        check_as_they_do(request(), "ab", shown[-1])

    asked(story, upstream=upstream)


def test_streamed_tool_calls_are_signed_as_their_client_puts_them_together() -> None:
    upstream = streaming(
        chat_chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
                ]
            }
        ),
        chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
        chat_chunk({}, finish_reason="tool_calls"),
    )

    async def story(world: World) -> None:
        last = frames(await post(world, request(stream=True)))[-1]
        assert last["choices"][0]["finish_reason"] == "tool_calls"
        check_as_they_do(request(), json.dumps(CALLS, sort_keys=True), last)

    asked(story, upstream=upstream)


def test_a_stream_without_a_finish_reason_has_no_signature() -> None:
    async def story(world: World) -> None:
        shown = frames(await post(world, request(stream=True)))
        assert not [frame for frame in shown if "tee_signature" in frame]
        assert shown[-1]["holdfast"]["outcome"] == "upstream.unfinished"

    asked(story, upstream=streaming(chat_chunk({"content": "a"})))


def test_a_stream_that_breaks_off_has_neither_signature_nor_end() -> None:
    async def story(world: World) -> None:
        reply = await post(world, request(stream=True))
        assert b"tee_signature" not in reply.body
        assert b"[DONE]" not in reply.body

    broken = UpstreamStatusError("gone", provider_status=500, body=b"", content_type="")
    asked(story, upstream=streaming(chat_chunk({"content": "a"}), broken))


def test_a_stream_that_is_closed_early_closes_the_one_below() -> None:
    async def main() -> None:
        closed = []

        class Events:
            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> bytes:
                return chat_chunk({"content": "a"})

            async def aclose(self) -> None:
                closed.append(True)

        events = shape_stream("chat.completions", Events())
        await anext(events)
        await events.aclose()
        assert closed == [True]

    asyncio.run(main())


# Names of models.


@pytest.mark.parametrize(
    ("label", "offered", "found"),
    [
        ("TEE_LLM.GPT_5", ["gpt-5", "gpt-5-mini"], ["gpt-5"]),
        ("TEE_LLM.GPT_4_1_2025_04_14", ["gpt-4.1-2025-04-14"], ["gpt-4.1-2025-04-14"]),
        ("TEE_LLM.GEMINI_3_FLASH", ["gemini-3-flash-preview"], ["gemini-3-flash-preview"]),
        ("openai/gpt-5", ["gpt-5"], ["gpt-5"]),
        ("openai/gpt-5", ["openai/gpt-5", "gpt-5"], ["openai/gpt-5"]),
        ("openai/gpt-5", ["other/gpt-5"], []),
        ("gpt-5", ["openai/gpt-5"], ["openai/gpt-5"]),
        ("gpt-5", ["a/gpt-5", "b/gpt-5"], ["a/gpt-5", "b/gpt-5"]),
        ("gpt-5", ["gpt-5-mini"], []),
        ("a/bc", ["ab/c"], []),
    ],
)
def test_a_name_finds_the_offers_that_it_may_mean(label: str, offered: list[str], found: list[str]) -> None:
    assert find_alias(label, offered) == found


def test_a_name_that_may_mean_two_is_refused_and_one_of_other_callers_means_itself() -> None:
    async def main() -> None:
        offered = [ModelInfo(label, "tests", 1) for label in ("gpt-5", "gpt_5", "o3")]
        catalog = Catalog([ScriptedUpstream(offered=offered)], {}, FakeClock())
        await catalog.refresh()
        with pytest.raises(UsageError, match="may mean gpt-5 or gpt_5") as refused:
            await catalog.find("TEE_LLM.GPT_5", aliases=True)
        assert (refused.value.code, refused.value.status) == ("request.ambiguous_model", 400)
        assert (await catalog.find("gpt-5", aliases=True)).model.id == "gpt-5"
        assert (await catalog.find("TEE_LLM.O3", aliases=True)).model.id == "o3"
        with pytest.raises(UsageError, match="no upstream"):
            await catalog.find("TEE_LLM.O3")
        await catalog.close()

    asyncio.run(main())


def test_what_an_alias_meant_is_a_rewrite_and_the_name_as_sent_is_hashed() -> None:
    async def story(world: World) -> None:
        value = request(model="TEE_LLM.TEST_MODEL")
        reply = (await post(world, value)).json()
        check_as_they_do(value, "Hello there.", reply)
        route, _ = await logged(world)
        assert route.rewrites == ("model",)
        assert json.loads(world.upstream.sent[0][1])["model"] == MODEL  # type: ignore[attr-defined]

    asked(story)


# What they read.


class StubEnclave:
    """Says what it was asked to attest."""

    format = "aws-nitro"
    simulated = True

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        assert nonce is not None
        return user_data + nonce


async def get(world: World, path: str) -> asgi.Reply:
    return await asgi.request(world.app(), "GET", path)


def test_the_attestation_binds_certificate_key_and_nonce() -> None:
    nonce = "0123456789abcdefABCD" * 2

    async def story(world: World) -> None:
        world.enclave = StubEnclave()
        reply = await get(world, f"/enclave/attestation?nonce={nonce}")
        expected = og.attestation_data(b"certificate", rsa_signer().key.public) + bytes.fromhex(nonce)
        assert (base64.b64decode(reply.body), reply.header("content-type")) == (expected, "text/plain; charset=utf-8")

    asked(story)


@pytest.mark.parametrize(
    "query",
    ["", "?nonce=", "?nonce=00", f"?nonce={'0' * 41}", f"?nonce={'g' * 40}", f"?nonce={'0' * 40}&nonce={'1' * 40}"],
)
def test_a_nonce_has_one_form(query: str) -> None:
    async def story(world: World) -> None:
        world.enclave = StubEnclave()
        reply = await get(world, "/enclave/attestation" + query)
        assert (reply.status, reply.code) == (400, "request.nonce")

    asked(story)


def test_a_gateway_in_no_enclave_attests_nothing_and_says_so() -> None:
    async def story(world: World) -> None:
        reply = await get(world, f"/enclave/attestation?nonce={'0' * 40}")
        assert (reply.status, reply.code) == (404, "opengradient.attestation")
        assert (await get(world, "/health")).json()["tee_enabled"] is False

    asked(story)


def test_a_simulated_enclave_is_never_told_as_one() -> None:
    async def story(world: World) -> None:
        world.enclave = StubEnclave()
        assert (await get(world, "/health")).json()["tee_enabled"] is False
        assert (await get(world, "/signing-key")).json()["enclave_info"]["instance_type"] == "simulated, no enclave"

    asked(story)


def test_health_and_key_have_their_shapes() -> None:
    async def story(world: World) -> None:
        health = (await get(world, "/health")).json()
        assert health.keys() == {
            "status", "version", "tee_enabled", "uptime_seconds", "providers", "facilitator_url", "price_feed",
            "web_search_enabled", "moderation_enabled",
        }  # fmt: skip
        assert (health["status"], health["providers"]) == ("OK", ["scripted"])
        shown = (await get(world, "/signing-key")).json()
        key = serialization.load_pem_public_key(shown["public_key"].encode())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        assert key.public_bytes(serialization.Encoding.DER, form) == rsa_signer().key.public
        assert shown["tee_id"] == "0x" + keccak256(rsa_signer().key.public).hex()
        assert (await get(world, "/heartbeat/status")).json() == {"enabled": False}

    asked(story)


def test_a_key_configuration_is_signed_as_their_clients_check_it() -> None:
    async def story(world: World) -> None:
        public, config = bytes(range(32)), b"c" * 41
        signer = world.gateway._answer_signer
        assert signer is not None
        shown = await signer.key_configuration(1, 0x20, 1, 3, public, config)
        digest = og.ohttp_hash(signer.tee_id, 1, 0x20, 1, 3, public, config)
        assert shown["signature_hash"] == "0x" + digest.hex()
        og.verify_hash(rsa_signer().key.public, digest, base64.b64decode(str(shown["signature"])))
        beat = og.heartbeat_hash(signer.tee_id, 7)
        og.verify_hash(rsa_signer().key.public, beat, await signer.sign_heartbeat(7))
        with pytest.raises(HoldfastError, match="not of this key"):
            og.verify_hash(rsa_signer().key.public, digest, await signer.sign_heartbeat(7))

    asked(story)
