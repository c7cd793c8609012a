"""Quotes in a case file: links from the answer into what stood before its model of the caller's files, for whoever
opens the case, computed from its evidence (``spec/files.md`` §8). Refusals first."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.encoding import sha256_hex
from holdfast.ports.http import Answer
from holdfast.review.quoted import Quoted, Quotes
from holdfast.web.app import create_app
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.filed import filed, saying
from tests.helpers.xss import CORPUS
from tests.unit.nodes.gateway.test_attaching import file

HTML = (HOST, ("accept", "text/html"))
SENTENCE = "The south pump ran for forty days without a stop."
TEXT = f"Of pumps.\n{SENTENCE}\nThe north pump did not.\n"
SAID = f"It says: {SENTENCE} So it did."
CONTENT = [{"type": "text", "text": "How long?"}, file(TEXT)]
TAGS_OF_TEXTS = {"a", "bdi", "code", "details", "mark", "p", "pre", "span", "strong", "summary"}


class Read(HTMLParser):
    """What stands in each element with an id, where links of quotes lead, and which tags texts of strangers have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.cited: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        values = dict(attrs)
        if any(other.get("class") in ("said-line", "quote-words", "step-text") for _, other in self._open):
            self.tags.add(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if values.get("class") == "cited":
            self.cited.append(str(values["href"]))
        if str(values.get("href", "")).startswith("#"):
            self.links.append(str(values["href"]))
        if tag not in ("link", "meta", "input", "br", "img"):
            self._open.append((tag, values))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, values in self._open:
            if values.get("id"):
                self.texts[str(values["id"])] = self.texts.get(str(values["id"]), "") + data


async def opened(world: CaseWorld, case: str, *roles: str) -> str:
    cookie = (await world.let_in("rea", *(roles or ("reviewer",))))[0]
    return (await world.get(f"/cases/{case}", *HTML, cookie)).body.decode()


async def altered(world: CaseWorld, run: Any, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Have the gateway tell something else of each file document; None: not at all."""
    value = json.loads(await world.world.desk.bundle(await world.world.row(run.id), run.secret))
    journal = [change(item) if item["kind"] == "file" else item for item in value["journal"]]
    value["journal"] = [item for item in journal if item is not None]
    world.http.altered[f"/v1/runs/{run.id}/bundle"] = Answer(200, json.dumps(value).encode())


def in_another_spelling(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"document": item["document"].replace("forty days", "fifty days")}


def cut_short(item: dict[str, Any]) -> dict[str, Any]:
    """What was read ends before the spans that stood before the model: no quote can be in its range."""
    document = json.loads(item["document"])
    return item | {"document": json.dumps(document | {"text": "Of pumps."}, sort_keys=True, separators=(",", ":"))}


def under_its_own_digest(item: dict[str, Any]) -> dict[str, Any]:
    changed = in_another_spelling(item)
    return changed | {"digest": sha256_hex(changed["document"].encode())}


def left_out(item: dict[str, Any]) -> None:
    return None


@pytest.mark.parametrize("change", [in_another_spelling, cut_short, under_its_own_digest, left_out])
def test_a_file_document_that_is_not_the_one_before_the_model_has_no_quotes(change: Any, tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.app = create_app(world.service)
        run, case = await filed(world, CONTENT, saying(SAID))
        await altered(world, run, change)
        page = await opened(world, case)
        assert "So it did." in page
        assert Read(page).cited == []
        assert "In the caller's files" not in page
        assert "<mark" not in page

    play_cases(story, tmp_path)


@pytest.mark.parametrize("roles", [(), ("policy_owner",)])
def test_whoever_may_not_open_the_case_sees_no_quote(roles: tuple[str, ...], tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.app = create_app(world.service)
        _, case = await filed(world, CONTENT, saying(SAID))
        page = await opened(world, case, *roles) if roles else (await world.get(f"/cases/{case}", *HTML)).body.decode()
        assert "forty days" not in page
        assert Read(page).cited == []

    play_cases(story, tmp_path)


def test_a_case_that_this_panel_cannot_open_shows_no_quote(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.reads = False
        await world.stop_panel()
        await world.start_panel()
        world.app = create_app(world.service)
        _, case = await filed(world, CONTENT, saying(SAID))
        page = await opened(world, case)
        assert "This panel has no key that runs could be encrypted to." in page
        assert "forty days" not in page
        assert Read(page).cited == []

    play_cases(story, tmp_path)


def test_an_answer_that_was_altered_is_not_shown_and_has_no_quotes(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        world.app = create_app(world.service)
        run, case = await filed(world, CONTENT, saying(SAID))
        raw = await world.world.desk.bundle(await world.world.row(run.id), run.secret)
        world.http.altered[f"/v1/runs/{run.id}/bundle"] = Answer(200, raw.replace(b"So it did.", b"So it does"))
        page = await opened(world, case)
        assert "is not what was signed" in page
        assert Read(page).cited == []

    play_cases(story, tmp_path)


def quote(start: int, end: int) -> Quoted:
    return Quoted(0, end - start, 1, "a.txt", None, start, end, "", "x" * (end - start), "")


@pytest.mark.parametrize(
    ("said", "choices"),
    [
        ([("assistant", "other")], 1),
        ([("user", "an answer")], 1),
        ([("assistant", "an answer")], 2),
        ([("assistant", "an answer"), ("assistant", "else")], 1),
        ([], 1),
    ],
)
def test_quotes_stand_in_no_line_but_that_of_their_answer(said: Any, choices: int) -> None:
    assert Quotes("an answer", (quote(0, 9),), choices).place(said) is None


def test_a_chunk_that_no_quote_is_in_is_one_piece_and_of_another_only_its_own_part_is_marked() -> None:
    quotes = Quotes("an answer", (quote(10, 30),), 1)
    assert quotes.within(1, 30, "behind it") == [("behind it", None)]
    assert quotes.within(1, 0, "before it ") == [("before it ", None)]
    assert quotes.within(2, 10, "of another") == [("of another", None)]
    assert quotes.within(1, 20, "0123456789rest") == [("0123456789", 20), ("rest", None)]


def test_each_quote_begins_a_piece_where_several_lie_over_each_other() -> None:
    quotes = Quotes("an answer", (quote(2, 6), quote(4, 8)), 1)
    assert quotes.within(1, 0, "0123456789") == [("01", None), ("23", 2), ("45", 4), ("67", 6), ("89", None)]


def test_each_quote_leads_to_its_words_and_to_its_span_in_the_chunk_and_back(tmp_path: Path) -> None:
    earlier = ({"role": "user", "content": "?"}, {"role": "assistant", "content": SAID})

    async def story(world: CaseWorld) -> None:
        world.app = create_app(world.service)
        _, case = await filed(world, CONTENT, saying(SAID, SAID), earlier)
        read = Read(await opened(world, case))
        assert read.cited == ["#quote-1"]
        assert read.texts["cited-1"] == f" {SENTENCE} "
        place = TEXT.index(SENTENCE) - 1
        assert read.texts[f"file-1-at-{place}"] == f"\n{SENTENCE}\n"
        assert SENTENCE in read.texts["quote-1"]
        assert f"characters {place} to {place + len(SENTENCE) + 2}" in read.texts["quote-1"]
        assert {"#quote-1", "#cited-1", f"#file-1-at-{place}"} <= set(read.links)
        assert len(read.ids) == len(set(read.ids))

    play_cases(story, tmp_path)


def test_whatever_file_name_and_answer_say_stays_text(tmp_path: Path) -> None:
    hostile = "\n".join(text for text in CORPUS if text.isprintable())

    async def story(world: CaseWorld) -> None:
        world.app = create_app(world.service)
        content = [{"type": "text", "text": "What?"}, file(hostile, "\"><img src=x onerror='hit()'>.txt")]
        _, case = await filed(world, content, saying(f"It says: {hostile}"))
        page = await opened(world, case)
        read = Read(page)
        assert read.cited
        assert all(link.removeprefix("#") in read.ids for link in read.links)
        assert read.tags <= TAGS_OF_TEXTS
        assert "<img src=x" not in page
        assert "<script>hit" not in page

    play_cases(story, tmp_path)
