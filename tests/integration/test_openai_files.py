"""The official ``openai`` client's files, unchanged, against a real gateway process: uploads, chats that name them, PDF
read in a worker, and refusals as the client's own exceptions (``spec/files.md``)."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.helpers.hostile_files import ENDLESS, MALFORMED, bomb, locked, text_pdf
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, serving
from tests.helpers.office_files import pptx, slide

pytestmark = pytest.mark.enable_socket
REPORT = b"pump,days\nsouth,40\nnorth,3\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("gateway"), file_memory_bytes=128 << 20, file_seconds=20) as live:
        yield live


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


def inline(data: bytes, name: str = "report.csv") -> dict[str, Any]:
    url = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    return {"type": "file", "file": {"filename": name, "file_data": url}}


def ask(client: openai.OpenAI, *parts: dict[str, Any]) -> dict[str, Any]:
    content: Any = [{"type": "text", "text": "Which pump ran longest?"}, *parts]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    found: dict[str, Any] = (answer.model_extra or {})["holdfast"]
    return found


@pytest.mark.parametrize("name", [*MALFORMED, *ENDLESS])
def test_no_hostile_file_takes_the_gateway_along(client: openai.OpenAI, name: str) -> None:
    data = {**MALFORMED, **ENDLESS}[name]
    try:
        ask(client, inline(data, name))
    except openai.APIStatusError as error:
        assert str(error.code).startswith("file.")  # noqa: PT017 (some of them can be read)
    assert client.models.list().data


def test_a_file_that_grows_and_a_locked_one_are_refused_with_their_codes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=("bomb.pdf", bomb(2)), purpose="user_data")
    assert refused.value.code in ("file.too_large", "file.malformed", "file.time")
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, inline(locked(), "locked.pdf"))
    assert refused.value.code == "file.encrypted"
    assert client.files.list().data == []


def test_an_upload_is_kept_listed_named_in_a_chat_and_deleted(client: openai.OpenAI, gateway: LiveGateway) -> None:
    kept = client.files.create(file=("report.csv", REPORT), purpose="user_data")
    assert (kept.filename, kept.bytes, kept.object) == ("report.csv", len(REPORT), "file")
    assert client.files.retrieve(kept.id) == kept
    assert client.files.content(kept.id).read() == REPORT
    (listed,) = client.files.list().data
    assert listed.id == kept.id[: kept.id.rindex("-")]
    assert listed.filename == "sealed"
    told = ask(client, {"type": "file", "file": {"file_id": kept.id}})
    assert told["files"][0]["name"] == "report.csv"
    asked = urllib.request.Request(f"{gateway.url}/v1/runs/{told['run']}/bundle")
    asked.add_header("x-holdfast-capability", told["capability"])
    with urllib.request.urlopen(asked, timeout=20) as answer:
        bundle = json.load(answer)
    (shown,) = [item for item in bundle["journal"] if item["kind"] == "file"]
    assert json.loads(shown["document"])["text"] == REPORT.decode()
    assert client.files.delete(listed.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            call(kept.id)
        assert refused.value.code == "file.unknown"
    with pytest.raises(openai.NotFoundError):
        ask(client, {"type": "file", "file": {"file_id": kept.id}})


def test_the_slides_of_a_presentation_stand_before_the_model(client: openai.OpenAI) -> None:
    (told,) = ask(client, inline(pptx(slide("The south pump."), slide("It ran for 40 days.")), "two.pptx"))["files"]
    assert (told["pages"], told["extractor"]["name"]) == (2, "holdfast")
    assert told["media_type"].endswith("presentationml.presentation")


def test_the_pages_of_a_pdf_stand_before_the_model(client: openai.OpenAI) -> None:
    (told,) = ask(client, inline(text_pdf(b"The south pump.", b"It ran for 40 days."), "two.pdf"))["files"]
    assert (told["pages"], told["extractor"]["name"]) == (2, "pypdf")
    assert [span["page"] for span in told["shown"]] == [1, 2]
