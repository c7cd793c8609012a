"""Web pages: a tree that is never wrong, selectors over it, and the main text (``spec/sources.md`` §6(5), §6(6)).

The reader is small on purpose. What it takes from a page must be the same for ever, so it stands here under its own
rules and follows no library's idea of what is better: elements close what HTML lets be left open, scripts, styles and
navigation are dropped, and the main text is that of the element whose own paragraphs hold most text outside of links.

Not covered: running scripts (a page that makes its text in the browser has none here), frames, and layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from holdfast.errors import MalformedError

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_SILENT = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "math",
        "head",
        "iframe",
        "object",
        "select",
        "textarea",
        "button",
    ]
)
"""Elements whose text nobody reads on the page."""
_ASIDE = frozenset(["nav", "aside", "footer", "header", "form", "menu", "dialog", "figure"])
"""Elements that stand around the main text."""
_BLOCK = frozenset(
    {"address", "article", "blockquote", "body", "br", "dd", "div", "dl", "dt", "figcaption", "h1", "h2", "h3", "h4",
     "h5", "h6", "hr", "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
)  # fmt: skip
_CLOSES = {
    "p": _BLOCK - {"br"},
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "tr": frozenset({"tr"}),
    "td": frozenset({"td", "th", "tr"}),
    "th": frozenset({"td", "th", "tr"}),
    "option": frozenset({"option"}),
}
"""Which open element a new one ends (HTML, optional end tags)."""
MOST_DEPTH = 256
MOST_ELEMENTS = 50_000
MOST_OPEN = 64
"""Marks that a page may begin and not end: each is looked for up to the page's end."""
MOST_WEIGHED = 16
"""How often a page may have its text counted, all paragraphs and links together: those of people lie side by side, and
paragraphs within paragraphs would be counted again at every level."""
_SPACES = re.compile(r"\s+")
_COMPOUND = re.compile(
    r"(?P<tag>\*|[a-z][a-z0-9-]*)?(?P<rest>(?:[.#][A-Za-z_][A-Za-z0-9_-]*|\[[a-z-]+(?:=\"[^\"\]]*\")?\])*)\Z"
)
_SIMPLE = re.compile(r"([.#])([A-Za-z_][A-Za-z0-9_-]*)|\[([a-z-]+)(?:=\"([^\"\]]*)\")?\]")


@dataclass(slots=True)
class Element:
    """One element: its children are elements and texts, in order."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)

    def walk(self, *, skip: frozenset[str] = frozenset()) -> Iterator[Element]:
        """This element and all below, in order of the page, without those called as in ``skip`` and what is in them."""
        stack = [self]
        while stack:
            element = stack.pop()
            if element.tag in skip:
                continue
            yield element
            stack += [item for item in reversed(element.children) if isinstance(item, Element)]


class _Builder(HTMLParser):
    """Events to a tree. Bounded; whatever comes is some tree."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#page", {})
        self._open = self.root
        self._depth = 0
        self._elements = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self._open.tag in _CLOSES and tag in _CLOSES[self._open.tag]:
            self._up()
        self._elements += 1
        if self._elements > MOST_ELEMENTS or self._depth >= MOST_DEPTH:
            raise MalformedError("source.schema", "the page has more elements, or deeper ones, than are read")
        given: dict[str, str] = {}
        for name, value in attrs:
            given.setdefault(name, value or "")
        element = Element(tag, given, self._open)
        self._open.children.append(element)
        if tag not in _VOID:
            self._open = element
            self._depth += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._up()

    def handle_endtag(self, tag: str) -> None:
        found: Element | None = self._open
        while found is not None and found.tag != tag:
            found = found.parent
        if found is None or found is self.root:
            return
        while self._open is not found:
            self._up()
        self._up()

    def handle_data(self, data: str) -> None:
        self._open.children.append(data)

    def _up(self) -> None:
        if self._open.parent is not None:
            self._open = self._open.parent
            self._depth -= 1


def parse_page(body: bytes) -> Element:
    """A page in UTF-8 as a tree; raises ``source.schema``. Other encodings are refused, not guessed."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError("source.schema", "the page is not UTF-8") from error
    builder = _Builder()
    try:
        builder.feed(text)
        if builder.cdata_elem is None and builder.rawdata.count("<") > MOST_OPEN:
            raise MalformedError("source.schema", "the page ends within a mark")
        builder.close()
    except AssertionError as error:  # the parser's word for a marked section that is none
        raise MalformedError("source.schema", "the page holds a marked section that is none") from error
    return builder.root


def text_of(element: Element, *, skip: frozenset[str] = _SILENT) -> str:
    """The text below an element: blocks on lines of their own, other white space as one space."""
    pieces: list[str] = []
    stack: list[Element | str | None] = list(reversed(element.children))
    while stack:
        item = stack.pop()
        if item is None:  # the end of a block
            pieces.append("\n")
        elif isinstance(item, str):
            pieces.append(_SPACES.sub(" ", item))
        elif item.tag not in skip:
            if item.tag in _BLOCK:
                pieces.append("\n")
                stack.append(None)
            stack += reversed(item.children)
    joined = "".join(pieces)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in joined.split("\n")]
    return "\n".join(line for line in lines if line)


def plain_text(markup: str) -> str:
    """The text of a piece of markup on one line, as feeds hold it."""
    return " ".join(text_of(parse_page(markup.encode("utf-8", "replace"))).split())


def page_title(body: bytes) -> str:
    """The text of the first ``title``; empty where there is none."""
    found = next((item for item in parse_page(body).walk() if item.tag == "title"), None)
    return "" if found is None else " ".join(text_of(found, skip=frozenset()).split())[:500]


def main_text(body: bytes) -> str:
    """The text of the page's main part. ``main`` or a single ``article`` is taken at its word; otherwise each element
    weighs the characters of its own paragraphs that stand in no link, and the heaviest is taken, the first of equals.
    Raises ``source.schema`` for a page without text."""
    page = parse_page(body)
    named = [item for item in page.walk() if item.tag == "main"]
    articles = [item for item in page.walk() if item.tag == "article"]
    chosen = named[0] if named else articles[0] if len(articles) == 1 else _heaviest(page)
    text = text_of(chosen, skip=_SILENT | _ASIDE)
    if not text:
        raise MalformedError("source.schema", "the page holds no text")
    return text


def _heaviest(page: Element) -> Element:
    best, most = page, 0
    sizes = _sizes(page)
    left = MOST_WEIGHED * sizes[id(page)]
    for element in page.walk(skip=_SILENT | _ASIDE):
        weight = 0
        for item in element.children:
            if isinstance(item, Element) and item.tag in ("p", "pre"):
                left -= sum(sizes[id(part)] for part in item.walk() if part is item or part.tag == "a")
                if left < 0:
                    raise MalformedError("source.schema", "the page's paragraphs and links lie within each other")
                weight += _weight(item)
        if weight > most:
            best, most = element, weight
    return best


def _sizes(page: Element) -> dict[int, int]:
    """What each element comes to, by its identity: the characters and elements in it."""
    found: dict[int, int] = {}
    for element in reversed(list(page.walk())):
        inner = (len(item) if isinstance(item, str) else found[id(item)] for item in element.children)
        found[id(element)] = 1 + sum(inner)
    return found


def _weight(paragraph: Element) -> int:
    linked = sum(len(text_of(item)) for item in paragraph.walk() if item.tag == "a")
    return max(0, len(text_of(paragraph)) - linked)


# --- selectors --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compound:
    tag: str | None
    tests: tuple[tuple[str, str | None], ...]
    """Attribute and value; None for any value. ``.name`` is a word of ``class``, written with a leading ``~``."""
    child: bool
    """Whether it has to be a child of what stands before, not only somewhere below."""

    def fits(self, element: Element) -> bool:
        if self.tag is not None and element.tag != self.tag:
            return False
        for name, value in self.tests:
            if name.startswith("~"):
                if value not in element.attributes.get(name[1:], "").split():
                    return False
            elif name not in element.attributes or (value is not None and element.attributes[name] != value):
                return False
        return True


def parse_selector(text: object) -> tuple[_Compound, ...]:
    """A CSS selector of tags, ``.class``, ``#id``, ``[attribute]`` and ``[attribute="value"]``, joined by descent or
    ``>``; raises ``sources.selector``."""
    if not isinstance(text, str) or not 0 < len(text) <= 256:
        raise MalformedError("sources.selector", "a selector is a text of at most 256 characters")
    found: list[_Compound] = []
    child = False
    for word in text.replace(">", " > ").split():
        if word == ">":
            if child or not found:
                raise MalformedError("sources.selector", "a > stands between two elements")
            child = True
            continue
        match = _COMPOUND.match(word)
        if match is None or not (match["tag"] or match["rest"]):
            raise MalformedError("sources.selector", f"{word[:64]!r} is no part of a selector that is read here")
        tests = tuple(
            (("~class" if mark == "." else "id"), name) if mark else (attribute, value or None)
            for mark, name, attribute, value in _SIMPLE.findall(match["rest"])
        )
        found.append(_Compound(None if match["tag"] in (None, "*") else match["tag"], tests, child))
        child = False
    if child or not found:
        raise MalformedError("sources.selector", "a selector ends with an element")
    return tuple(found)


def _selected(page: Element, path: tuple[_Compound, ...]) -> list[Element]:
    """The elements that a path selects, in one walk: each element remembers how much of the path ends at it, and how
    much at any element above. No page makes this take longer than its elements times the path."""
    found: list[Element] = []
    stack: list[tuple[Element, frozenset[int], frozenset[int]]] = [(page, frozenset({0}), frozenset({0}))]
    while stack:
        element, parent, above = stack.pop()
        here = set()
        for place, compound in enumerate(path):
            before = parent if compound.child else above
            if place in before and compound.fits(element):
                here.add(place + 1)
        if len(path) in here:
            found.append(element)
        below = above | here
        inner = [item for item in reversed(element.children) if isinstance(item, Element)]
        stack += [(item, frozenset(here), below) for item in inner]
    return found


def check_selector(selector: object, attribute: object) -> None:
    """Whether the two are what :func:`select` takes; raises ``sources.selector``."""
    parse_selector(selector)
    if attribute is not None and not (isinstance(attribute, str) and re.match(r"[a-z-]{1,64}\Z", attribute)):
        raise MalformedError("sources.selector", "an attribute is named by lower-case letters and hyphens")


def select(body: bytes, selector: str, attribute: str | None) -> str:
    """The text, or one attribute, of the one element that a selector selects. Raises ``source.schema`` where none or
    several are selected: a page that changed must not give another value."""
    path = parse_selector(selector)
    found = _selected(parse_page(body), path)
    if len(found) != 1:
        raise MalformedError("source.schema", f"the selector selects {len(found)} elements, not one")
    if attribute is None:
        return text_of(found[0])
    if attribute not in found[0].attributes:
        raise MalformedError("source.schema", "the element does not have the attribute")
    return found[0].attributes[attribute]
