"""Quotes on the page of a run: links between an answer and its caller's files, whatever either says."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from holdfast.review.quoted import Quoted, Quotes
from holdfast.web.render import Pages
from tests.helpers.xss import CORPUS

SHOWN = '{% import "_content.html" as contents %}{{ contents.cited(quoted) }}{{ contents.quotes(quoted) }}'
MADE = {"a", "section", "div", "h2", "p", "ol", "li", "bdi", "mark", "span", "code", "strong"}
ATTRIBUTES = {"class", "id", "href", "title", "aria-labelledby", "tabindex", "dir"}


class Read(HTMLParser):
    """What a page is made of: tags, attributes and where its links lead, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


def quotes(text: str, name: str = "report.txt", before: str = "", after: str = "") -> Quotes:
    answer = f"He said {text} twice."
    item = Quoted(8, 8 + len(text), 1, name, 3, 10, 10 + len(text), before, text, after)
    return Quotes(answer, (item,))


def shown(quoted: Quotes) -> Read:
    read = Read()
    read.feed(Pages("/static")._templates.from_string(SHOWN).render(quoted=quoted))
    read.close()
    return read


def test_the_answer_and_the_file_lead_to_each_other():
    read = shown(quotes("the pump ran", before="Before. ", after=" Behind."))
    assert read.links == ["#quote-1", "#cited-1"]
    assert {"quote-1", "cited-1"} <= set(read.ids)
    assert read.text.startswith("He said the pump ran twice.")
    assert "page 3, characters 10 to 22" in read.text
    assert "Before. the pump ran Behind." in read.text


def test_without_quotes_nothing_is_said_of_files():
    assert shown(Quotes("an answer")).text.strip() == "an answer"


@pytest.mark.parametrize("text", [text for text in CORPUS if "\x00" not in text])
def test_whatever_a_file_says_stays_text(text: str):
    read = shown(quotes(text, text, text, text))
    assert read.tags <= MADE
    assert read.attributes <= ATTRIBUTES
    assert read.links == ["#quote-1", "#cited-1"]
