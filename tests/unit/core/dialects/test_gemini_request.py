"""A chat as Google's Gemini API is asked it (``spec/dialects.md`` §5)."""

from __future__ import annotations

import json

import pytest

from holdfast.core import canonical
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.errors import UsageError

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}


def prepare(messages=None, model="gemini-2.5-flash", **more):
    text = json.dumps({"model": model, "messages": [USER] if messages is None else messages, **more})
    return GeminiDialect().prepare("chat.completions", canonical.decode_exact(text.encode()))


def sent(*arguments, **more):
    return json.loads(canonical.encode_exact(prepare(*arguments, **more).document))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": "../files"}, "model"),
        ({"model": "a:generateContent?x="}, "model"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "system", "content": "only that"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages.0.content.0"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "ogg"}}]}
                ]
            },
            "messages.0.content.0",
        ),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "?", "content": "x"}]}, "messages.1.tool_call_id"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_named(more, param):
    with pytest.raises(UsageError) as refusal:
        prepare(more.pop("messages", None), **more)
    assert (refusal.value.code, refusal.value.param) == ("request.dialect", param)


def test_completions_are_refused():
    with pytest.raises(UsageError, match="chats only"):
        GeminiDialect().prepare("completions", {"model": "gemini-2.5-flash", "prompt": "Hello"})


def test_a_plain_chat_and_its_stream_differ_by_their_path_alone():
    plain, streamed = prepare(), prepare(stream=True, stream_options={"include_usage": True})
    assert plain.document == streamed.document == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    assert plain.path == "/models/gemini-2.5-flash:generateContent"
    assert streamed.path == "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert plain.rewrites == ("dialect-gemini",)
    assert plain.ignored == streamed.ignored == ()


def test_instructions_become_one_and_are_said_to_have_moved_only_where_they_did():
    system = {"role": "system", "content": "Be brief."}
    assert sent([system, USER])["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert prepare([system, USER]).rewrites == ("dialect-gemini",)
    assert prepare([USER, system]).rewrites == ("dialect-gemini", "system-moved")


def test_pictures_sounds_and_files():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://images.example/cat.jpg"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
    ]
    message = {"role": "user", "content": content}
    assert sent([message])["contents"][0]["parts"] == [
        {"text": "What is it?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"fileUri": "https://images.example/cat.jpg"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
    ]
    assert prepare([message]).ignored == ("messages.content.file.filename", "messages.content.image_url.detail")


def test_calls_and_their_results_go_back_with_what_signed_them():
    signed = {"google": {"thought_signature": "sig"}}
    calls = [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"n":1.50}'},
            "extra_content": signed,
        },
        {"id": "holdfast_call_x_0_1", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "holdfast_call_x_0_1", "content": "noon"},
    ]
    prepared = prepare(messages)
    assert '"args":{"n":1.50}' in canonical.encode_exact(prepared.document).decode()
    assert sent(messages)["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "a", "name": "weather", "args": {"n": 1.5}}, "thoughtSignature": "sig"},
                {"functionCall": {"name": "time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "weather", "response": {"content": "rain"}}},
                {"functionResponse": {"name": "time", "response": {"content": "noon"}}},
            ],
        },
    ]


def test_the_signature_of_a_text_goes_back_with_it_and_thoughts_do_not():
    details = [{"index": 0, "type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "sig"}]
    said = {"role": "assistant", "content": "Yes.", "reasoning_content": "hm", "reasoning_details": details}
    assert sent([USER, said, USER])["contents"][1]["parts"] == [{"text": "Yes.", "thoughtSignature": "sig"}]
    assert prepare([USER, said, USER]).ignored == ("messages.reasoning_content",)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_the_choice_of_tools(choice, wanted):
    document = sent(tools=[TOOL], tool_choice=choice)
    assert document["toolConfig"] == {"functionCallingConfig": wanted}
    declared = {"name": "weather", "description": "d", "parametersJsonSchema": {"type": "object"}}
    assert document["tools"] == [{"functionDeclarations": [declared]}]


def test_what_tools_cannot_promise_is_named_as_ignored():
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    prepared = prepare(tools=[strict], parallel_tool_calls=False)
    assert prepared.ignored == ("parallel_tool_calls", "tools.function.strict")


def test_sampling_limits_stops_and_schemas_are_tuned():
    wanted = {"name": "answer", "description": "An answer.", "schema": {"type": "object"}}
    given = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "n": 2,
        "seed": 7,
        "presence_penalty": 1,
        "frequency_penalty": 2,
        "max_tokens": 9,
        "stop": ["A", "B"],
        "response_format": {"type": "json_schema", "json_schema": wanted},
    }
    assert sent(**given)["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 4,
        "candidateCount": 2,
        "seed": 7,
        "presencePenalty": 1,
        "frequencyPenalty": 2,
        "maxOutputTokens": 9,
        "stopSequences": ["A", "B"],
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }
    assert prepare(**given).ignored == ("response_format.json_schema.description",)
    assert sent(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-pro", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-pro", "max", {"includeThoughts": True, "thinkingBudget": 24_576}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-3-pro-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "minimal"}),
        ("gemini-3-pro-preview", "xhigh", {"includeThoughts": True, "thinkingLevel": "high"}),
    ],
)
def test_effort_becomes_a_budget_or_a_level_by_the_model(model, effort, thinking):
    assert sent(model=model, reasoning_effort=effort)["generationConfig"] == {"thinkingConfig": thinking}


@pytest.mark.parametrize(
    ("model", "effort"),
    [("gemini-2.0-flash", "high"), ("gemini-3-pro-preview", "none"), ("gemini-2.5-pro", "colossal")],
)
def test_effort_that_cannot_be_asked_for_is_named_as_ignored(model, effort):
    assert prepare(model=model, reasoning_effort=effort).ignored == ("reasoning_effort",)


def test_every_parameter_without_a_place_is_named():
    given = {"logprobs": True, "user": "u", "logit_bias": {}, "service_tier": "flex", "made_up": 1, "store": None}
    assert prepare(**given).ignored == tuple(sorted(given.keys() - {"store"}))
