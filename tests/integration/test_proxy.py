"""``holdfast proxy`` as its owner starts it, before a real gateway, asked by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.core.encoding import b64_decode
from holdfast.core.images import parse_image
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, make_state, serving
from tests.helpers.processes import fetch, holdfast
from tests.helpers.proxies import proxying

pytestmark = pytest.mark.enable_socket
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What is a lane?"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("state"), render=True) as found:
        yield found


def options_of(gateway: LiveGateway) -> list[str]:
    return ["--gateway", gateway.tls_url, "--trust", str(make_state(gateway.state).trust)]


def test_openais_client_is_answered_over_tls_that_ends_at_the_attested_key(
    gateway: LiveGateway, tmp_path: Path
) -> None:
    journal = tmp_path / "runs.jsonl"
    (tmp_path / "token").write_text("mine\n")
    own = ["--journal", str(journal), "--token-file", str(tmp_path / "token"), "--require", "bytes=proven"]
    with proxying(KEY, *options_of(gateway), *own) as said:
        assert said["checked"]["channel"] == "pinned"
        with openai.OpenAI(base_url=said["url"], api_key="mine", max_retries=0) as client:
            assert MODEL in {model.id for model in client.models.list()}
            whole = client.chat.completions.with_raw_response.create(**ASK)
            text = whole.parse().choices[0].message.content
            with client.chat.completions.create(**ASK, stream=True) as stream:
                pieces = [event.choices[0].delta.content or "" for event in stream if event.choices]
            assert "".join(pieces) == text
            assert len(pieces) > 2, "the answer was buffered"
            with pytest.raises(openai.NotFoundError) as unknown:
                client.chat.completions.create(**(ASK | {"model": "gpt-nothing"}))
            assert unknown.value.code == "request.unknown_model"
        with (
            openai.OpenAI(base_url=said["url"], api_key="other", max_retries=0) as stranger,
            pytest.raises(openai.AuthenticationError),
        ):
            stranger.models.list()
        status = fetch(said["status"], key="mine")
        assert (status["asked"], status["released"], status["refused"]) == (3, 2, {"request.unknown_model": 1})
    run = whole.headers["x-holdfast-run"]
    bundle = tmp_path / "bundle.json"
    exported = holdfast(
        "run", "export", run, "--gateway", gateway.url, "--journal", str(journal), "-o", str(bundle), "--json"
    )
    assert json.loads(exported.stdout)["discloses"] == ["request", "response"]
    checked = holdfast("verify", str(bundle), "--trust", str(make_state(gateway.state).trust), "--json")
    assert json.loads(checked.stdout)["lanes"]["bytes"]["state"] == "proven"


def test_an_image_is_handed_on_once_its_bytes_are_what_was_signed(gateway: LiveGateway) -> None:
    options = [*options_of(gateway), "--require", "bytes=proven"]
    asked: dict[str, Any] = {"model": "holdfast-render", "prompt": "a red circle", "size": "128x64"}
    with (
        proxying(KEY, *options) as said,
        openai.OpenAI(base_url=said["url"], api_key="x", max_retries=0) as client,
    ):
        raw = client.images.with_raw_response.generate(**asked, n=2)
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(**asked, response_format="url")
        assert refused.value.code == "image.url"
    made = [parse_image(b64_decode(item.b64_json or "")) for item in raw.parse().data or ()]
    assert [(image.kind, image.width, image.height) for image in made] == [("png", 128, 64)] * 2
    assert gateway.executions(raw.headers["x-holdfast-run"])[0]["outcome"] == "complete"


def test_the_callers_bytes_are_the_request_that_is_signed(gateway: LiveGateway) -> None:
    with proxying(KEY, *options_of(gateway)) as said, openai.OpenAI(base_url=said["url"], api_key="x") as client:
        extra = {"holdfast": {"nonce": "a-nonce-of-the-callers-own"}, "temperature": 1.0}
        raw = client.chat.completions.with_raw_response.create(**ASK, extra_body=extra)
        run = raw.headers["x-holdfast-run"]
    route = next(item for item in gateway.statements(run) if item["predicateType"] == "urn:holdfast:route:v1")
    assert route["predicate"]["nonce"] == "a-nonce-of-the-callers-own"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--require-enclave", "hardware"], "identity.attestation"),
        (["--relay", "http://127.0.0.1:9", "--relay-key", "env:HOLDFAST_KEY"], "http.unreachable"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_listens(
    gateway: LiveGateway, options: list[str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_KEY", KEY)
    before = len(gateway.runs())
    done = holdfast("proxy", *options_of(gateway), *options)
    assert done.stderr.startswith(f"error: {code}: "), done.stderr
    assert done.stdout == ""
    assert len(gateway.runs()) == before
