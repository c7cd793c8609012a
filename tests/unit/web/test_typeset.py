"""Setting a text in type changes no character of it."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.typeset import typeset

PIECES = st.lists(
    st.sampled_from(["`", "```", "```py\n", "\n", "**", "*", "# ", "### ", "a", "word ", "<b>", "&amp;", "é", '"', "'"])
    | st.text(max_size=5),
    max_size=30,
).map("".join)


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@given(PIECES)
def test_no_text_loses_gains_or_moves_a_character(text):
    expected = html.unescape(html.escape(text))  # what a parser makes of character references such as &#0;
    assert text_of(typeset(text)) == expected


@given(PIECES)
def test_no_text_becomes_markup_of_its_own(text):
    tags = set(re.findall(r"<[^>]*>", typeset(text)))
    assert tags <= {
        "<strong>",
        "</strong>",
        "</code>",
        "</span>",
        '<code class="set-code">',
        '<code class="set-block">',
        '<span class="faint">',
        '<strong class="set-heading">',
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("say `x`.", '<code class="set-code"><span class="faint">`</span>x<span class="faint">`</span></code>'),
        ("**so**", '<strong><span class="faint">**</span>so<span class="faint">**</span></strong>'),
        ("# One", '<strong class="set-heading"><span class="faint"># </span>One</strong>'),
        ("```py\nx = 1\n```\n", '<code class="set-block">```py\nx = 1\n```</code>'),
        ("```\nstill open", '<code class="set-block">```\nstill open</code>'),
    ],
)
def test_code_emphasis_and_headings_are_set(text, part):
    assert part in typeset(text)
