"""Dialects are total: whatever is asked or answered is mapped or refused by name, and what a caller sees is bound."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.dialects import Prepared, Speaking
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.dialects.openai import LOCAL, PROFILES
from holdfast.core.parts import commit_parts, map_parts
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.providers import CLAUDE, claude_events, claude_message, gemini_events, gemini_response

SPEAKING: list[Speaking] = [AnthropicDialect(), GeminiDialect()]
NAMES = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "detail",
        "tool_calls",
        "id",
        "function",
        "name",
        "arguments",
        "tool_call_id",
        "refusal",
        "reasoning_details",
        "reasoning_content",
        "format",
        "signature",
        "data",
        "extra_content",
        "google",
        "thought_signature",
        "parameters",
        "strict",
        "json_schema",
        "schema",
        "description",
        "input_audio",
        "file",
        "file_data",
        "system",
        "user",
        "assistant",
        "tool",
        "developer",
        "low",
        "none",
        "auto",
        "required",
        "anthropic-claude-v1",
        "google-gemini-v1",
        "reasoning.text",
        "reasoning.encrypted",
    ]
)
PARAMETERS = st.sampled_from(
    [
        "messages",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "thinking",
        "stop",
        "n",
        "user",
        "service_tier",
        "max_tokens",
        "max_completion_tokens",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "temperature",
        "seed",
        "made_up",
    ]
)
MEMBERS = st.sampled_from(
    [
        "type",
        "id",
        "name",
        "content",
        "text",
        "thinking",
        "signature",
        "data",
        "input",
        "index",
        "delta",
        "content_block",
        "message",
        "usage",
        "stop_reason",
        "partial_json",
        "citations",
        "error",
        "code",
        "candidates",
        "parts",
        "role",
        "finishReason",
        "functionCall",
        "args",
        "inlineData",
        "mimeType",
        "thought",
        "thoughtSignature",
        "promptFeedback",
        "blockReason",
        "usageMetadata",
        "promptTokenCount",
        "responseId",
        "modelVersion",
        "input_tokens",
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "text_delta",
        "input_json_delta",
        "thinking_delta",
        "signature_delta",
        "tool_use",
        "redacted_thinking",
        "end_turn",
        "STOP",
        "ping",
    ]
)


def values(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON in which the names that a dialect looks for turn up everywhere, also where they mean nothing."""
    leaf = st.none() | st.booleans() | st.integers(-2, 9) | names | st.text(max_size=3)
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
    )


def exact(value: Any) -> Any:
    return canonical.decode_exact(json.dumps(value).encode())


@given(st.dictionaries(PARAMETERS, values(NAMES), max_size=5), st.lists(values(NAMES), max_size=3))
def test_every_request_is_mapped_or_refused_by_name_and_nothing_given_is_forgotten(more, messages):
    given_messages = [{"role": "user", "content": "x"}, *(item for item in messages if isinstance(item, dict))]
    document = exact({"messages": given_messages, **more, "model": CLAUDE})
    for dialect in (*SPEAKING, *PROFILES.values(), LOCAL):
        try:
            prepared: Prepared = dialect.prepare("chat.completions", document)
        except UsageError as error:
            assert (error.code, bool(error.param)) == ("request.dialect", True)  # noqa: PT017 - either is fine
            continue
        text = canonical.encode_exact(prepared.document)
        assert canonical.decode_exact(text) == prepared.document
        assert map_parts("sent", prepared.document)
        assert list(prepared.ignored) == sorted(set(prepared.ignored))
        if document.get("made_up") is not None and dialect.name != "openai":
            assert "made_up" in prepared.ignored


@given(values(MEMBERS), st.lists(values(MEMBERS), max_size=4))
def test_every_answer_is_shaped_or_refused_by_name(answer, events):
    for dialect in SPEAKING:
        if isinstance(answer, dict):
            try:
                assert map_parts("response", dialect.whole(exact(answer), 1))
            except (MalformedError, RefusedError) as error:
                assert error.code.startswith(("dialect.", "parts."))  # noqa: PT017 - either is fine
        reader = dialect.reader(1)
        try:
            for event in events:
                if isinstance(event, dict):
                    reader.take(exact(event))
            reader.end()
        except HoldfastError as error:
            assert error.code.startswith("dialect.")  # noqa: PT017


def streams() -> list[tuple[Speaking, list[dict[str, Any]]]]:
    return [(SPEAKING[0], claude_events()), (SPEAKING[1], gemini_events())]


@given(st.integers(0, 1), st.integers(0, 8), values(MEMBERS), MEMBERS)
def test_a_good_stream_with_one_thing_changed_is_shaped_or_refused(which, place, value, name):
    dialect, events = streams()[which]
    event = events[place % len(events)]
    event[name] = value
    reader = dialect.reader(1)
    try:
        for item in events:
            reader.take(exact(item))
        reader.end()
    except HoldfastError as error:
        assert error.code.startswith("dialect.")  # noqa: PT017


@given(st.integers(0, 1), st.data())
def test_any_byte_of_an_answer_that_a_caller_sees_changes_its_root(which, data):
    dialect = SPEAKING[which]
    answer = claude_message() if which == 0 else gemini_response()
    text = canonical.encode_exact(dialect.whole(exact(answer), 1))
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
    try:
        other = canonical.decode_exact(changed)
    except HoldfastError:
        return
    if not isinstance(other, dict):
        return
    before = commit_parts("response", map_parts("response", canonical.decode_exact(text)), b"k" * 32).tree.root
    assert commit_parts("response", map_parts("response", other), b"k" * 32).tree.root != before
