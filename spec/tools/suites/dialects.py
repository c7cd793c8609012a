"""dialect: what leaves for providers of other shapes, and what their answers come to (dialects.md)."""

from __future__ import annotations

import json
from typing import Any

from reference import dialects
from reference.cases import Writer
from reference.text import SpecError, parse

CREATED = 1_767_225_600
USER = {"role": "user", "content": "What is the weather in Graz?"}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Looks outside.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PNG = "data:image/png;base64,iVBORw0KGgo="
CALLS = [
    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz","n":1.50}'}},
    {"id": "b", "type": "function", "function": {"name": "weather", "arguments": ""}},
]
TURNS = [
    {"role": "system", "content": "Be brief."},
    USER,
    {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "a", "content": "rain"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "sun"}]},
    {"role": "developer", "content": [{"type": "text", "text": "In "}, {"type": "text", "text": "French."}]},
    {
        "role": "user",
        "name": "Anna",
        "content": [
            {"type": "text", "text": "And \u00e9\U0001f600?"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://images.example/cat.jpg"}},
        ],
    },
]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "w", "strict": True, "description": "Weather.", "schema": {"type": "object"}},
}
CLAUDE, OLD_CLAUDE, GEMINI, NEW_GEMINI = (
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "gemini-2.5-flash",
    "gemini-3-pro-preview",
)


def write(out: Writer) -> None:
    """Write the suite."""
    requests(out)
    anthropic_answers(out)
    gemini_answers(out)


def requests(out: Writer) -> None:
    """§2, §5, §7."""

    def case(
        name: str, why: str, dialect: str, model: str, code: str | None = None, text: str | None = None, **more: Any
    ) -> None:
        document = {"model": model, "messages": [USER], **more}
        body = json.dumps(document, ensure_ascii=False) if text is None else text
        result, found = None, None
        try:
            result = dialects.request(dialect, parse(body.encode()))
        except SpecError as error:
            found = error.code
        if found != code:
            raise SystemExit(f"dialect/{name}: expected {code}, the reference says {found}")
        section = {"anthropic": "§2", "gemini": "§5"}.get(dialect, "§7")
        out.case(
            f"dialect/{name}",
            why,
            spec=f"dialects.md {section}",
            run=["dialect-request", "--dialect", dialect, "request.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=result,
            files={"request.json": body},
        )

    for dialect, model, later in (("anthropic", CLAUDE, OLD_CLAUDE), ("gemini", GEMINI, NEW_GEMINI)):
        case(f"{dialect}-plain", "One question and nothing else.", dialect, model)
        case(
            f"{dialect}-conversation",
            "Instructions, two calls with their results, a picture as data and one by address, a name.",
            dialect,
            model,
            messages=TURNS,
            tools=[TOOL],
            max_tokens=100,
        )
        case(
            f"{dialect}-tool-required",
            "A tool has to be called, one at a time.",
            dialect,
            model,
            tools=[TOOL],
            tool_choice="required",
            parallel_tool_calls=False,
        )
        case(
            f"{dialect}-tool-by-name",
            "One tool has to be called.",
            dialect,
            model,
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        case(
            f"{dialect}-schema",
            "An answer that fits a schema, and a description that has no place.",
            dialect,
            model,
            response_format=SCHEMA,
        )
        hint = {"cache_control": {"type": "ephemeral"}}
        case(
            f"{dialect}-without-a-place",
            "Members inside messages, parts and tools that have no place are named, none left out silently.",
            dialect,
            model,
            messages=[
                {"role": "system", "content": [{"type": "text", "text": "Be brief.", **hint}]},
                {**USER, "weight": 1},
                {"role": "assistant", "content": "Let me see.", "audio": None, "function_call": {"name": "weather"}},
                {"role": "user", "content": [{"type": "text", "text": "And?", **hint, "lang": "en"}]},
            ],
            tools=[{**TOOL, **hint, "function": {**TOOL["function"], "title": "Weather"}}],
        )
        case(f"{dialect}-any-json", "JSON of any kind.", dialect, model, response_format={"type": "json_object"})
        case(
            f"{dialect}-sampling",
            "Everything that tunes an answer; what has no place is named.",
            dialect,
            model,
            temperature=0.5,
            top_p=0.9,
            top_k=4,
            seed=7,
            n=2,
            stop="END",
            presence_penalty=1,
            logprobs=True,
            logit_bias={"1": 2},
            user="u",
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=9,
            max_tokens=8,
            made_up=None,
            other=1,
        )
        case(
            f"{dialect}-numbers-as-written",
            "A number leaves in the digits it came in.",
            dialect,
            model,
            text=f'{{"model":"{model}","temperature":0.10,"top_p":1e-1,"messages":[{{"role":"user","content":"x"}}]}}',
        )
        for effort in ("none", "minimal", "medium", "max", "colossal"):
            case(f"{dialect}-effort-{effort}", "How much is to be thought.", dialect, model, reasoning_effort=effort)
            case(
                f"{dialect}-effort-{effort}-of-another-model",
                "How much is to be thought, of a model that is asked otherwise.",
                dialect,
                later,
                reasoning_effort=effort,
            )
        case(
            f"{dialect}-unknown-role",
            "A message of a role that the API does not have: left out, the model would answer another conversation.",
            dialect,
            model,
            "request.dialect",
            messages=[USER, {"role": "function", "name": "f", "content": "x"}],
        )
        case(
            f"{dialect}-instructions-alone",
            "Nothing but instructions is no conversation there.",
            dialect,
            model,
            "request.dialect",
            messages=[{"role": "system", "content": "x"}],
        )
        case(
            f"{dialect}-unknown-part",
            "A part of a content that has no place: left out, the question would be another one.",
            dialect,
            model,
            "request.dialect",
            messages=[{"role": "user", "content": [{"type": "video", "video": "x"}]}],
        )
        case(
            f"{dialect}-picture-from-a-file",
            "An address that is no address of the web could make the provider read its own files.",
            dialect,
            model,
            "request.dialect",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
        )
        case(
            f"{dialect}-tool-of-the-provider",
            "A tool that is no function.",
            dialect,
            model,
            "request.dialect",
            tools=[{"type": "web_search"}],
        )
        case(
            f"{dialect}-choice-of-words",
            "A choice that the API does not have.",
            dialect,
            model,
            "request.dialect",
            tool_choice="perhaps",
        )
        case(
            f"{dialect}-arguments-that-are-a-list",
            "Arguments are an object: what is sent back as another value is another call.",
            dialect,
            model,
            "request.dialect",
            messages=[
                USER,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "[1]"}}],
                },
            ],
        )
        case(
            f"{dialect}-result-of-nothing",
            "The result of a tool without the call it answers.",
            dialect,
            model,
            "request.dialect",
            messages=[USER, {"role": "tool", "content": "x"}],
        )
        case(
            f"{dialect}-schema-without-schema",
            "A schema is asked for, and none is given.",
            dialect,
            model,
            "request.dialect",
            response_format={"type": "json_schema", "json_schema": {"name": "x"}},
        )
    case(
        "gemini-model-that-is-a-path",
        "The model stands in the address: a name with a slash would ask something else of the provider.",
        "gemini",
        "../files",
        "request.dialect",
    )
    case(
        "gemini-model-with-a-query",
        "A name with a question mark could add a key of its own.",
        "gemini",
        "m:generateContent?key=x",
        "request.dialect",
    )
    case(
        "gemini-sound-and-file",
        "Sound and a file, each as data.",
        "gemini",
        GEMINI,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                    {
                        "type": "file",
                        "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"},
                    },
                ],
            }
        ],
    )
    signed = [
        {
            "id": "holdfast_call_x_0_0",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "sig"}},
        }
    ]
    details = [
        {"index": 0, "type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "sig"},
        {"index": 1, "type": "reasoning.text", "format": "other", "text": "x"},
    ]
    case(
        "gemini-what-it-signed-goes-back",
        "Signatures go back where they came from, and an id of the gateway's does not.",
        "gemini",
        GEMINI,
        messages=[
            USER,
            {
                "role": "assistant",
                "content": "Yes.",
                "reasoning_content": "hm",
                "reasoning_details": details,
                "tool_calls": signed,
            },
            {"role": "tool", "tool_call_id": "holdfast_call_x_0_0", "content": "y"},
        ],
    )
    thoughts = [
        {"index": 0, "type": "reasoning.text", "format": "anthropic-claude-v1", "text": "hm", "signature": "sig"},
        {"index": 1, "type": "reasoning.encrypted", "format": "anthropic-claude-v1", "data": "xyz"},
        {"index": 2, "type": "reasoning.text", "format": "anthropic-claude-v1", "text": "unsigned"},
    ]
    case(
        "anthropic-what-it-signed-goes-back",
        "Signed thinking goes back first; thinking without a signature is named.",
        "anthropic",
        CLAUDE,
        messages=[USER, {"role": "assistant", "content": "Yes.", "reasoning_details": thoughts}, USER],
    )
    case(
        "anthropic-budget-below-the-limit",
        "A budget for thinking stays below the limit.",
        "anthropic",
        OLD_CLAUDE,
        reasoning_effort="high",
        max_tokens=3000,
    )
    case(
        "anthropic-no-room-to-think",
        "A limit that leaves no room for the least budget.",
        "anthropic",
        OLD_CLAUDE,
        reasoning_effort="high",
        max_tokens=1000,
    )
    case(
        "anthropic-thinking-as-given",
        "What is said of thinking in the API's own words goes as it is.",
        "anthropic",
        CLAUDE,
        reasoning_effort="high",
        thinking={"type": "disabled"},
    )
    for profile in dialects.PROFILES:
        given = {
            "user": "u",
            "seed": 1,
            "n": 2,
            "logit_bias": {"1": 1},
            "logprobs": True,
            "temperature": 0.5,
            "store": None,
            "max_completion_tokens": 9,
        }
        case(
            f"profile-{profile.replace('.', '-')}",
            "What the provider is known to do with parameters.",
            profile,
            "some-model",
            **given,
        )
    case(
        "profile-openai",
        "Nothing is known, and nothing changes.",
        "openai",
        "some-model",
        seed=1,
        max_completion_tokens=9,
        made_up=1,
    )
    case(
        "profile-deepseek-reasoner",
        "Some models heed less.",
        "deepseek",
        "deepseek-reasoner",
        temperature=0.5,
        logprobs=True,
        seed=1,
    )
    case(
        "profile-own-name-is-there",
        "A name that is there already is not written over.",
        "ollama",
        "some-model",
        max_completion_tokens=9,
        max_tokens=8,
    )


def answers(out: Writer, dialect: str) -> Any:
    """How one dialect's answers become cases: one document whole, a list of them a stream."""
    section = {"anthropic": "§3", "gemini": "§6"}[dialect]

    def case(name: str, why: str, answer: Any, code: str | None = None) -> None:
        streamed = isinstance(answer, list)
        result, found = None, None
        value = parse(json.dumps(answer).encode())
        try:
            if dialect == "gemini":
                document = dialects.from_gemini(value if streamed else [value], CREATED)
            else:
                document = (
                    dialects.stream_of_anthropic(value, CREATED)
                    if streamed
                    else dialects.from_anthropic(value, CREATED)
                )
            result = {"parts": dialects.shown(dialects.indexed(document) if streamed else document, "response")}
        except SpecError as error:
            found = error.code
        if found != code:
            raise SystemExit(f"dialect/{name}: expected {code}, the reference says {found}")
        file = "events.jsonl" if streamed else "answer.json"
        text = (
            "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in answer)
            if streamed
            else json.dumps(answer, ensure_ascii=False)
        )
        out.case(
            f"dialect/{name}",
            why,
            spec=f"dialects.md {section}",
            run=[
                "dialect-stream" if streamed else "dialect-answer",
                "--dialect",
                dialect,
                "--created",
                str(CREATED),
                file,
            ],
            expect={None: "accept", "dialect.refused": "reject"}.get(code, "malformed"),
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=result,
            files={file: text},
        )

    return case


def anthropic_answers(out: Writer) -> None:
    """§3, §4."""
    case = answers(out, "anthropic")

    def message(*blocks: Any, **more: Any) -> dict[str, Any]:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": CLAUDE,
            "content": list(blocks),
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 6},
            **more,
        }

    text = {"type": "text", "text": "Rain \u00e9\U0001f600."}
    call = {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Graz", "n": [1, {"x": None}]}}
    thinking = [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    case("anthropic-answer", "A text.", message(text))
    case(
        "anthropic-answer-of-all-kinds",
        "Thinking, text with a citation, and calls.",
        message(
            *thinking,
            {**text, "citations": [{"type": "char_location", "cited_text": "x"}]},
            text,
            call,
            {**call, "id": "b", "input": {}},
            stop_reason="tool_use",
        ),
    )
    counted = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 7,
        "output_tokens": 11,
        "output_tokens_details": {"thinking_tokens": 4},
        "service_tier": "standard",
    }
    case(
        "anthropic-answer-with-more-said",
        "Caches, thinking and a stop sequence: what has no word of OpenAI's stands beside the answer.",
        message(text, usage=counted, stop_reason="stop_sequence", stop_sequence="END"),
    )
    case(
        "anthropic-answer-refused-by-the-model",
        "The model would not.",
        message(stop_reason="refusal", stop_details={"type": "refusal", "category": "x"}),
    )
    case(
        "anthropic-answer-paused",
        "A reason to stop that has no word of OpenAI's stands as it came.",
        message(text, stop_reason="pause_turn"),
    )
    case(
        "anthropic-answer-of-an-unknown-block",
        "A block that has no place: left out, the answer would be another one.",
        message(text, {"type": "hologram"}),
        "dialect.answer",
    )
    case(
        "anthropic-answer-with-an-unknown-member",
        "A text that says more than its text.",
        message({**text, "colour": "red"}),
        "dialect.answer",
    )
    case(
        "anthropic-answer-without-a-reason",
        "Nobody can tell whether it is whole.",
        message(text, stop_reason=None),
        "dialect.answer",
    )
    case(
        "anthropic-answer-without-a-model",
        "A provider has to say what it calls its model.",
        message(text, model=None),
        "dialect.answer",
    )
    case(
        "anthropic-answer-with-usage-in-words",
        "Usage that is no count would be charged as one.",
        message(text, usage={"input_tokens": 1.5, "output_tokens": 6}),
        "dialect.answer",
    )

    def block(place: int, begin: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
        return [
            {"type": "content_block_start", "index": place, "content_block": begin},
            *({"type": "content_block_delta", "index": place, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": place},
        ]

    start = [
        {"type": "message_start", "message": message(stop_reason=None, usage={"input_tokens": 12, "output_tokens": 1})},
        {"type": "ping"},
    ]
    end = [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 6},
        },
        {"type": "message_stop"},
    ]
    spoken = block(
        0,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Rain "},
        {"type": "text_delta", "text": "\u00e9\U0001f600."},
    )
    thought = block(
        1,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "H"},
        {"type": "thinking_delta", "thinking": "m."},
        {"type": "signature_delta", "signature": "sig"},
    )
    calls = [
        *block(
            2,
            {**call, "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city":"Gr'},
            {"type": "input_json_delta", "partial_json": 'az"}'},
        ),
        *block(3, {**call, "id": "b", "input": {}}),
    ]
    case("anthropic-stream", "A text in pieces.", [*start, *spoken, *end])
    case(
        "anthropic-stream-of-all-kinds",
        "Text, thinking and two calls, one of them without arguments.",
        [*start, *spoken, *thought, *calls, *end],
    )
    case(
        "anthropic-stream-with-an-unknown-event",
        "An event of a kind that nobody knows yet is passed on whole.",
        [*start, {"type": "weather_report", "sky": "blue"}, *spoken, *end],
    )
    case(
        "anthropic-stream-cut",
        "It ended before its answer did, and looks whole.",
        [*start, *spoken, end[0]],
        "dialect.answer",
    )
    case(
        "anthropic-stream-with-an-open-block",
        "A block that never ended.",
        [*start, *spoken[:-1], *end],
        "dialect.answer",
    )
    case(
        "anthropic-stream-block-twice",
        "Two blocks in one place would be read as one.",
        [*start, spoken[0], *spoken, *end],
        "dialect.answer",
    )
    case("anthropic-stream-delta-of-nothing", "A piece of no block.", [*start, *spoken[1:], *end], "dialect.answer")
    case(
        "anthropic-stream-delta-of-another-kind",
        "Arguments within a text.",
        [
            *start,
            spoken[0],
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
            *spoken[1:],
            *end,
        ],
        "dialect.answer",
    )
    case("anthropic-stream-goes-on", "Something follows the end.", [*start, *spoken, *end, *spoken], "dialect.answer")
    case(
        "anthropic-stream-with-an-error",
        "The provider's own refusal, in the middle.",
        [*start, spoken[0], {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}],
        "dialect.refused",
    )


def gemini_answers(out: Writer) -> None:
    """§6."""
    case = answers(out, "gemini")

    def response(*parts_: Any, finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts_)}, "index": 0}
        candidate |= {"finishReason": finish} if finish else {}
        return {
            "candidates": [candidate],
            "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 6, "totalTokenCount": 18},
            "modelVersion": GEMINI,
            "responseId": "r1",
            **more,
        }

    text = {"text": "Rain \u00e9\U0001f600."}
    call = {"functionCall": {"name": "weather", "args": {"city": "Graz", "n": [1, None]}}, "thoughtSignature": "sig"}
    counted = {
        "promptTokenCount": 3,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 11,
        "cachedContentTokenCount": 2,
    }
    case("gemini-answer", "A text.", response(text))
    case(
        "gemini-answer-of-all-kinds",
        "A thought, a signed text, a picture, and calls with and without an id.",
        response(
            {"text": "Hm.", "thought": True},
            {**text, "thoughtSignature": "t"},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
            call,
            {"functionCall": {"id": "theirs", "name": "time"}},
            usageMetadata=counted,
        ),
    )
    two = response(text)
    two["candidates"].append(
        {
            "content": {"parts": [{"text": "Sun."}]},
            "index": 1,
            "finishReason": "SAFETY",
            "safetyRatings": [{"category": "x"}],
        }
    )
    case("gemini-answer-of-two-candidates", "Two choices, and what was said of one of them.", two)
    case(
        "gemini-answer-blocked",
        "The question was refused.",
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}},
    )
    case("gemini-answer-cut-by-its-limit", "The limit was reached.", response(text, finish="MAX_TOKENS"))
    case(
        "gemini-answer-that-ended-otherwise",
        "A reason that has no word of OpenAI's.",
        response(text, finish="MALFORMED_FUNCTION_CALL"),
    )
    case(
        "gemini-answer-with-nothing",
        "No candidate, and no reason why.",
        {"usageMetadata": {"promptTokenCount": 4}},
        "dialect.answer",
    )
    case(
        "gemini-answer-of-an-unknown-part",
        "A part that has no place.",
        response({"executableCode": {"code": "1"}}),
        "dialect.answer",
    )
    case(
        "gemini-answer-with-an-unknown-member",
        "A text that says more than its text.",
        response({**text, "colour": "red"}),
        "dialect.answer",
    )
    case(
        "gemini-answer-with-a-film",
        "Data that are no picture.",
        response({"inlineData": {"mimeType": "video/mp4", "data": "AA=="}}),
        "dialect.answer",
    )
    case(
        "gemini-answer-without-an-end",
        "A candidate that does not say why it ended.",
        response(text, finish=None),
        "dialect.answer",
    )
    pieces = [
        response({"text": "Hm.", "thought": True}, finish=None),
        response({"text": "Rain "}, finish=None),
        response({"text": "\u00e9\U0001f600."}, call),
    ]
    case("gemini-stream", "A thought, a text in pieces, and a call.", pieces)
    case("gemini-stream-cut", "It ended before its answer did.", pieces[:2], "dialect.answer")
    case("gemini-stream-goes-on", "Something follows the end of a candidate.", [*pieces, pieces[1]], "dialect.answer")
    case(
        "gemini-stream-with-an-error",
        "The provider's own refusal, in the middle.",
        [pieces[0], {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}],
        "dialect.refused",
    )
