"""Answers of Google's Gemini API as chat completions (``spec/dialects.md`` §6)."""

from __future__ import annotations

import json

import pytest

from holdfast.core import canonical
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.fold import Fold
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from tests.helpers.providers import gemini_events, gemini_response

AT = 1_767_225_600
DIALECT = GeminiDialect()
CALL = {"functionCall": {"name": "weather", "args": {"city": "Graz"}}, "thoughtSignature": "sig"}


def exact(value):
    return canonical.decode_exact(json.dumps(value).encode())


def whole(response):
    return json.loads(canonical.encode_exact(DIALECT.whole(exact(response), AT)))


def chunks(events):
    reader = DIALECT.reader(AT)
    found = [chunk for event in events for chunk in reader.take(exact(event))]
    return [*found, *reader.end()]


def folded(events):
    fold = Fold()
    for chunk in chunks(events):
        fold.add(chunk)
    return json.loads(canonical.encode_exact(fold.document()))


def test_a_whole_answer():
    said = {"promptTokenCount": 12, "candidatesTokenCount": 6, "totalTokenCount": 18}
    assert whole(gemini_response()) == {
        "id": "mAitaLmkHPPlz7IPvtfUqQ4",
        "object": "chat.completion",
        "created": AT,
        "model": "gemini-2.5-flash",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "native_finish_reason": "STOP",
                "message": {"role": "assistant", "content": "Hello there."},
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18},
        "provider_fields": {"usageMetadata": said},
    }


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, "executableCode"),
        ({"text": "x", "colour": "red"}, "colour"),
        ({"text": 1}, "not a string"),
        ({"functionCall": {"name": "f", "args": []}}, None),
        ({"functionCall": {"name": "f", "args": "x"}}, "not an object"),
        ({"inlineData": {"mimeType": "video/mp4", "data": "AA=="}}, "video/mp4"),
    ],
)
def test_a_part_that_has_no_place_is_refused(part, says):
    if says is None:
        assert whole(gemini_response(part))["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
        return
    with pytest.raises(MalformedError, match=says) as refusal:
        whole(gemini_response(part))
    assert refusal.value.code == "dialect.answer"


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
    ],
)
def test_finish_reasons_have_openais_word_or_stand_as_they_came(native, finish):
    choice = whole(gemini_response(finish=native))["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish, native)


def test_a_question_that_was_blocked_is_a_choice_without_content():
    feedback = {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []}
    answer = whole({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"})
    assert answer["choices"] == [
        {
            "index": 0,
            "finish_reason": "content_filter",
            "native_finish_reason": "PROHIBITED_CONTENT",
            "message": {"role": "assistant", "content": None},
        }
    ]
    assert answer["provider_fields"]["promptFeedback"] == feedback


def test_an_answer_with_nothing_in_it_is_refused():
    with pytest.raises(MalformedError, match="no candidate"):
        whole({"usageMetadata": {"promptTokenCount": 4}})


def test_thoughts_calls_pictures_and_counts():
    usage = {
        "promptTokenCount": 3,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 11,
        "cachedContentTokenCount": 2,
    }
    answer = whole(
        gemini_response(
            {"text": "Hm.", "thought": True},
            {"text": "See", "thoughtSignature": "t"},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
            CALL,
            {"functionCall": {"id": "theirs", "name": "time"}},
            usageMetadata=usage,
        )
    )
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "See")
    assert message["reasoning_details"] == [
        {"index": 0, "type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "t"}
    ]
    assert message["images"][0]["image_url"] == {"url": "data:image/png;base64,iVBORw0KGgo="}
    assert message["tool_calls"] == [
        {
            "id": "holdfast_call_mAitaLmkHPPlz7IPvtfUqQ4_0_0",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Graz"}'},
            "extra_content": {"google": {"thought_signature": "sig"}},
        },
        {"id": "theirs", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 18,
        "total_tokens": 26,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 11},
    }


def test_a_stream_says_what_the_whole_answer_says():
    parts = ({"text": "Hm.", "thought": True}, {"text": "é😀"}, {"text": "!"}, CALL)
    streamed = folded(gemini_events(*parts))
    for call in streamed["choices"][0]["message"]["tool_calls"]:
        del call["index"]
    assert streamed == whole(gemini_response(*parts))


def test_a_stream_gives_each_piece_as_it_comes_and_ends_with_reason_and_usage():
    found = [json.loads(canonical.encode_exact(chunk)) for chunk in chunks(gemini_events())]
    assert [chunk["choices"][0]["delta"] for chunk in found] == [
        {"role": "assistant", "content": None},
        {"content": "Hello"},
        {"content": " there."},
        {},
    ]
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["usage"]["total_tokens"] == 18


def test_candidates_are_choices_and_keep_what_was_said_of_each():
    response = gemini_response()
    other = {"content": {"parts": [{"text": "Hi."}]}, "index": 1, "finishReason": "SAFETY", "safetyRatings": ["x"]}
    response["candidates"].append(other)
    choices = whole(response)["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["Hello there.", "Hi."]
    assert choices[1]["provider_fields"] == {"safetyRatings": ["x"]}


@pytest.mark.parametrize("kept", [0, 1])
def test_a_stream_that_is_cut_is_no_answer(kept):
    with pytest.raises(MalformedError):
        chunks(gemini_events()[:kept])


def test_a_candidate_that_goes_on_after_its_end_is_refused():
    with pytest.raises(HoldfastError) as refusal:
        chunks([*gemini_events(), *gemini_events()])
    assert refusal.value.code == "dialect.answer"


@pytest.mark.parametrize(("code", "status"), [(429, 429), (503, 503), (7, 500), (None, 500)])
def test_an_error_in_the_stream_is_the_providers_refusal(code, status):
    error = {"message": "no", "status": "UNAVAILABLE"} | ({} if code is None else {"code": code})
    with pytest.raises(RefusedError) as refusal:
        chunks([gemini_events()[0], {"error": error}])
    assert (refusal.value.code, refusal.value.status) == ("dialect.refused", status)
