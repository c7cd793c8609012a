"""What a gateway put before a model is found in the shapes of other providers too (``spec/dialects.md`` §2, §5)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.context import Block, add_context
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.dialects.openai import PLAIN
from holdfast.core.metadata import path_of
from holdfast.core.parts import Part, map_parts
from holdfast.verifier.admitted import Admitted, _check_context
from holdfast.verifier.context import shown_blocks
from holdfast.verifier.transcript import Transcript

DIALECTS = [PLAIN, AnthropicDialect(), GeminiDialect()]
NAMES = ["openai", "anthropic", "gemini"]
ROW = Block("memory", {"row": "mem_" + "1a" * 16, "standing": "earned"}, "Plays the cello.")
DIGEST = "5e" * 32
ADMITTED = f'<admission digest="{DIGEST}">\n{{"as_of":"x"}}\n</admission>'
CALL = {"id": "a", "type": "function", "function": {"name": "holdfast_admit", "arguments": "{}"}}


def sent(dialect: Any, messages: list[Any]) -> dict[str, Any]:
    document: dict[str, Any] = dialect.prepare("chat.completions", {"model": "gemini-x", "messages": messages}).document
    return document


def evidence(document: dict[str, Any], *, whole: bool = True) -> Any:
    text = canonical.encode_exact(document).decode()
    parts = map_parts("sent", document)
    return SimpleNamespace(documents={"sent": text} if whole else {}, parts={"sent": parts})


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@pytest.mark.parametrize("whole", [True, False])
def test_rows_before_the_model_are_found_in_every_shape(dialect, whole):
    system = {"role": "system", "content": "Be brief."}
    document = sent(dialect, add_context([system, {"role": "user", "content": "Hello"}], [ROW]))
    assert shown_blocks(evidence(document, whole=whole)) == (ROW,)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_where_no_rows_went_none_are_found(dialect):
    assert shown_blocks(evidence(sent(dialect, [{"role": "user", "content": "Hello"}]))) == ()


def block_paths(parts: list[Part]) -> list[str]:
    return [path_of(part.label) for part in parts if b"<admission" in part.data]


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ADMITTED}],
        [{"role": "user", "content": [{"type": "text", "text": ADMITTED}, {"type": "text", "text": "x"}]}],
        [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": ADMITTED},
        ],
        [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": ADMITTED}]},
        ],
    ],
    ids=["text", "parts", "tool", "tool-parts"],
)
def test_admitted_facts_are_found_in_every_shape_and_a_missing_one_is_missed(monkeypatch, dialect, messages):
    parts = map_parts("sent", sent(dialect, messages))
    assert block_paths(parts)
    monkeypatch.setattr(
        "holdfast.verifier.admitted.find_blocks",
        lambda text: [SimpleNamespace(digest=DIGEST, text=text)] if "<admission" in text else [],
    )
    found = Admitted()
    _check_context([DIGEST], parts, True, found, Transcript())
    assert (found.in_context, found.refusals) == ({DIGEST}, [])
    other = Admitted()
    _check_context(["77" * 32], parts, True, other, Transcript())
    assert [code for code, _ in other.refusals] == ["admission.context"] * 2


@pytest.mark.parametrize("dialect", DIALECTS[1:], ids=NAMES[1:])
def test_a_block_that_the_model_is_told_it_said_itself_is_refused(monkeypatch, dialect):
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": ADMITTED}]
    monkeypatch.setattr(
        "holdfast.verifier.admitted.find_blocks",
        lambda text: [SimpleNamespace(digest=DIGEST, text=text)] if "<admission" in text else [],
    )
    found = Admitted()
    _check_context([DIGEST], map_parts("sent", sent(dialect, messages)), False, found, Transcript())
    assert [code for code, _ in found.refusals] == ["admission.context"]
