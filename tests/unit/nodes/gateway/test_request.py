"""A request's options and what is sent on: parsed once, strictly; nothing changed without a name for it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.parts import MAX_PARTS, verify_document
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.request import Ask, bind_request, parse_ask

RUN, SECRET = "01900000-0000-7000-8000-000000000001", bytes(32)
NONCE = "nonce-of-the-client"


def parse(headers: dict[bytes, bytes] | None = None, *, default: str | None = None, **body: Any) -> Ask:
    value = {"model": "m", "prompt": "hello", **body}
    value = {name: item for name, item in value.items() if item is not ...}
    return parse_ask(
        "completions", json.dumps(value).encode(), headers or {}, default_model=default, settlement="batch"
    )


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": None}, "request.model", "model"),
        ({"model": 1.5}, "request.model", "model"),
        ({"model": ...}, "request.model", "model"),
        ({"stream": 0}, "request.stream", "stream"),
        ({"prompt": []}, "request.prompt", "prompt"),
        ({"prompt": 7}, "request.prompt", "prompt"),
        ({"holdfast": []}, "request.holdfast", "holdfast"),
        ({"holdfast": {"nonce": 1234567890123456}}, "request.nonce", "holdfast.nonce"),
        ({"holdfast": {"nonce": NONCE + "\n"}}, "request.nonce", "holdfast.nonce"),
        ({"holdfast": {"nonce": "a" * 65}}, "request.nonce", "holdfast.nonce"),
        ({"holdfast": {"parent_run": RUN.upper().replace("0", "A")}}, "request.parent_run", "holdfast.parent_run"),
        ({"holdfast": {"parent_run": RUN + "\n"}}, "request.parent_run", "holdfast.parent_run"),
        ({"holdfast": {"settlement": "BATCH"}}, "request.settlement", "holdfast.settlement"),
        ({"holdfast": {"settlement": 1}}, "request.settlement", "holdfast.settlement"),
        ({"holdfast": {"queue": ""}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": 1}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": "Default"}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": "default\n"}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": "../default"}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": "a" * 65}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"queue": ["default"]}}, "request.queue", "holdfast.queue"),
        ({"holdfast": {"zeta": 1, "alpha": 2}}, "request.holdfast", "holdfast.alpha"),
        ({"tee_prompt": "what no part of the request would bind"}, "request.carrier", "tee_prompt"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(body: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        parse(**body)
    assert (refused.value.code, refused.value.param, refused.value.status) == (code, param, 400)


def test_header_and_body_may_agree_and_may_not_differ() -> None:
    assert parse({b"x-holdfast-nonce": NONCE.encode()}, holdfast={"nonce": NONCE}).options.nonce == NONCE
    with pytest.raises(HoldfastError, match="disagree about nonce"):
        parse({b"x-holdfast-nonce": b"n" * 16}, holdfast={"nonce": NONCE})
    with pytest.raises(HoldfastError, match="a nonce is"):
        parse({b"x-holdfast-nonce": "\xe9".encode("latin-1") * 16})


@pytest.mark.parametrize(("given", "streamed"), [(..., False), (None, False), (False, False), (True, True)])
def test_stream_may_be_absent_or_null(given: Any, streamed: bool) -> None:
    assert parse(stream=given).streamed is streamed


def test_nothing_is_rewritten_unless_it_must_be() -> None:
    ask = parse(temperature=0.5)
    bound = bind_request(ask, RUN, SECRET, "m")
    assert bound.sent is bound.request
    assert bound.sent_text is ask.text
    assert bound.rewrites == ()


@pytest.mark.parametrize(
    ("body", "default", "provider", "rewrites"),
    [
        ({}, None, "other", ("model",)),
        ({"model": ...}, "m", "m", ("model",)),
        ({"holdfast": {"nonce": NONCE}}, None, "m", ("holdfast-removed",)),
        ({"holdfast": {}}, None, "other", ("holdfast-removed", "model")),
    ],
)
def test_every_rewrite_is_named_and_both_documents_are_bound(
    body: dict[str, Any], default: str | None, provider: str, rewrites: tuple[str, ...]
) -> None:
    ask = parse(default=default, **body)
    bound = bind_request(ask, RUN, SECRET, provider)
    assert tuple(sorted(bound.rewrites)) == rewrites
    sent = canonical.decode_object(bound.sent_text)
    assert sent["model"] == provider
    assert "holdfast" not in sent
    verify_document("request", ask.text, RUN, SECRET, bound.request.tree)
    verify_document("sent", bound.sent_text, RUN, SECRET, bound.sent.tree)


def test_a_rewritten_request_keeps_the_text_of_its_numbers() -> None:
    text = b'{"model":"m","prompt":"x","a":1e3,"b":-0.0,"c":1.10}'
    ask = parse_ask("completions", text, {}, default_model=None, settlement="batch")
    assert bind_request(ask, RUN, SECRET, "n").sent_text == b'{"model":"n","prompt":"x","a":1e3,"b":-0.0,"c":1.10}'


def test_the_configured_settlement_holds_where_none_is_asked_for() -> None:
    ask = parse_ask("completions", b'{"model":"m","prompt":"x"}', {}, default_model=None, settlement="private")
    assert ask.options.settlement == "private"


def test_a_request_with_too_many_parts_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'{"model":"m","prompt":"x","many":[' + b"1," * MAX_PARTS + b"1]}"
    parsed: list[bytes] = []
    monkeypatch.setattr(canonical, "decode_exact", parsed.append)
    with pytest.raises(HoldfastError) as refused:
        parse_ask("completions", text, {}, default_model=None, settlement="batch")
    assert (refused.value.code, parsed) == ("parts.count", [])


@pytest.mark.parametrize("piece", [b",", rb"\",", rb"\\,", b"[{,"])
def test_commas_in_a_text_are_no_parts(piece: bytes) -> None:
    text = b'{"model":"m","prompt":"' + piece * MAX_PARTS + b'"}'
    assert parse_ask("completions", text, {}, default_model=None, settlement="batch").model == "m"


@pytest.mark.parametrize("text", [b'"' + rb"\"," * 300_000, b'"' * 200_000 + b"," * 70_000, b"," * 70_000 + b'"\\'])
def test_counting_goes_through_a_text_once(text: bytes) -> None:
    began = time.process_time()
    with pytest.raises(HoldfastError):
        parse_ask("completions", text, {}, default_model=None, settlement="batch")
    assert time.process_time() - began < 5


@pytest.mark.parametrize("settlement", ["batch", "individual", "private"])
def test_a_queue_is_named_by_header_or_body_in_every_settlement_mode(settlement: str) -> None:
    body = {"settlement": settlement}
    assert parse(holdfast=body).options.queue is None
    assert parse(holdfast=body | {"queue": None}).options.queue is None
    assert parse(holdfast=body | {"queue": "desk-1"}).options.queue == "desk-1"
    assert parse({b"x-holdfast-queue": b"desk-1"}, holdfast=body).options.queue == "desk-1"
    for other in ("desk-2", None):
        with pytest.raises(HoldfastError, match="disagree about queue"):
            parse({b"x-holdfast-queue": b"desk-1"}, holdfast=body | {"queue": other})
    with pytest.raises(HoldfastError, match="queue is the name") as refused:
        parse({b"x-holdfast-queue": b"\xe9"}, holdfast=body)
    assert refused.value.code == "request.queue"
