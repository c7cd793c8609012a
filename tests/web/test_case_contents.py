"""What a case's page shows of what went before a model and of what came out: files with their blocks, and images."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from holdfast.core.bundles import parse_bundle
from holdfast.review.attached import attached_of
from holdfast.web.app import create_app
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.filed import filed
from tests.helpers.images import data_url, png
from tests.helpers.xss import CORPUS
from tests.unit.nodes.gateway.test_attaching import ANSWER, file

HTML = (HOST, ("accept", "text/html"))


async def reviewed(world: CaseWorld, content: Any, answer: bytes) -> tuple[Any, str, str]:
    """An answered run in the default queue: itself, its case's page for nobody, and for somebody who opens it."""
    world.app = create_app(world.service)
    run, case = await filed(world, content, answer)
    closed = (await world.get(f"/cases/{case}", *HTML)).body.decode()
    cookie = (await world.let_in("rea", "reviewer"))[0]
    opened = (await world.get(f"/cases/{case}", *HTML, cookie)).body.decode()
    return run, closed, opened


def test_files_that_were_brought_stand_in_the_case_with_every_block_that_stood_before_the_model(
    tmp_path: Path,
) -> None:
    hostile = "\n".join(text for text in CORPUS if text.isprintable())

    async def story(world: CaseWorld) -> None:
        text = f"The pump ran for 40 days.\n{hostile}\n"
        content = [{"type": "text", "text": "How long?"}, file(text, "<img src=x onerror=hit()>.txt")]
        run, closed, opened = await reviewed(world, content, ANSWER)
        assert "Files before the model" not in closed
        assert "40 days" not in closed
        assert "Files before the model" in opened
        assert "The pump ran for 40 days." in opened
        assert "&lt;img src=x onerror=hit()&gt;.txt" in opened
        assert "<img src=x" not in opened
        assert "<script>hit" not in opened
        raw = await world.world.desk.bundle(await world.world.row(run.id), run.secret)
        (found,) = attached_of(raw, world.world.clock.now())
        assert (found.media_type, found.size_bytes) == ("text/plain", len(text.encode()))
        assert "".join(span.text for span in found.spans).startswith("The pump ran for 40 days.")
        assert found.to_json()["chunks"] == str(len(found.spans))

    play_cases(story, tmp_path)


def test_a_file_document_that_is_not_the_one_before_the_model_is_not_shown(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        content = [{"type": "text", "text": "How long?"}, file()]
        run, _, _ = await reviewed(world, content, ANSWER)
        raw = await world.world.desk.bundle(await world.world.row(run.id), run.secret)
        value = json.loads(raw)
        for item in value["journal"]:
            if item["kind"] == "file":
                item["document"] = item["document"].replace("40 days", "41 days")
        altered = json.dumps(value).encode()
        parse_bundle(altered)
        assert attached_of(altered, world.world.clock.now()) == ()

    play_cases(story, tmp_path)


def test_a_run_without_files_shows_none(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        _, _, opened = await reviewed(world, "hi", ANSWER)
        assert "Files before the model" not in opened

    play_cases(story, tmp_path)


def test_images_of_an_answer_stand_in_the_case_of_whoever_opens_it_and_what_is_none_does_not(tmp_path: Path) -> None:
    picture = png(3, 2)

    async def story(world: CaseWorld) -> None:
        message = {
            "role": "assistant",
            "content": "Here.",
            "images": [
                {"type": "image_url", "image_url": {"url": data_url(picture)}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        }
        answer = {"id": "a", "object": "chat.completion", "model": "m"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = json.dumps({**answer, "choices": [choice]}).encode()
        _, closed, opened = await reviewed(world, "<b>draw a dot</b>", whole)
        shown = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        assert shown not in closed
        assert opened.count(f'<img src="{shown}" alt="&lt;b&gt;draw a dot&lt;/b&gt;" width="3" height="2">') == 1
        assert opened.count('<figure class="picture">') == 1
        assert "/choices/0/message/images/1/image_url/url</code> is not shown as an image" in opened
        assert "Who could see the prompt" in opened

    play_cases(story, tmp_path)
