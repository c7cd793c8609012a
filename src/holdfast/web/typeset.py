"""Sets a text in type without changing it: code in monospace, emphasis in weight, and every character still there.

An answer's bytes are what was bound. So its marks (backticks, asterisks, number signs) are shown, faintly, and nothing
is hidden, joined or re-ordered: the text content of the result is the text that went in. ``static/typeset.js`` does the
same with the same pattern. Not covered: lists, tables, links; they read well enough as they are written.
"""

from __future__ import annotations

import re

from markupsafe import Markup

PATTERN = re.compile(
    r"(?P<block>^```[^\n]*\n[\s\S]*?(?:^```[^\S\n]*$|(?![\s\S])))"
    r"|(?P<code>`[^`\n]+`)|(?P<strong>\*\*[^*\n]+\*\*)|(?P<heading>^#{1,6} [^\n]+)",
    re.MULTILINE,
)
"""Fenced block, inline code, strong, heading; whatever matches first at the leftmost place."""
_FAINT = Markup('<span class="faint">{}</span>')
_FORMS = {
    "block": Markup('<code class="set-block">{}</code>'),
    "code": Markup('<code class="set-code">{}</code>'),
    "strong": Markup("<strong>{}</strong>"),
    "heading": Markup('<strong class="set-heading">{}</strong>'),
}


def typeset(text: str) -> Markup:
    """HTML whose text content is exactly ``text``."""
    pieces: list[Markup] = []
    end = 0
    for match in PATTERN.finditer(text):
        pieces.append(Markup.escape(text[end : match.start()]))
        pieces.append(_set(str(match.lastgroup), match[0]))
        end = match.end()
    pieces.append(Markup.escape(text[end:]))
    return Markup("").join(pieces)


def _set(kind: str, text: str) -> Markup:
    if kind == "block":
        return _FORMS[kind].format(text)
    size = {"code": 1, "strong": 2, "heading": text.find(" ") + 1}[kind]
    if kind == "heading":
        return _FORMS[kind].format(_FAINT.format(text[:size]) + text[size:])
    inner = _FAINT.format(text[:size]) + text[size:-size] + _FAINT.format(text[-size:])
    return _FORMS[kind].format(inner)
