"""A chat as Google's Gemini API is asked it (``spec/dialects.md`` §5).

``prepare`` maps a whole document to a ``GenerateContentRequest``, in the JSON names of its reference (v1beta). The
model, and whether the answer is streamed, stand in the path there and not in the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.core.dialects import Prepared
from holdfast.core.dialects.shared import (
    EFFORTS,
    Parameters,
    calls_of,
    function_of,
    is_text,
    message_of,
    number,
    parse_arguments,
    schema_of,
    split_data_url,
    text_of,
    unaskable,
)

NAME = "gemini"
REWRITE = "dialect-gemini"
MOVED = "system-moved"
"""As of the Messages API: instructions from between the messages went to their beginning."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""Tokens of thinking for models that take a budget (§5(7))."""
LEVELS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""Levels of thinking for the others."""
FORMAT = "google-gemini-v1"
"""Marks a signature as this provider's, in ``reasoning_details``."""
MADE = "holdfast_call_"
"""What the id of a call begins with that the provider gave none; it is never sent back."""
PATH = re.compile(r"/models/[A-Za-z0-9][A-Za-z0-9._-]{0,127}:(?:generateContent|streamGenerateContent\?alt=sse)\Z")

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_NO_THINKING = re.compile(r"gemini-(?:1\.|2\.0)|gemma")
_BY_BUDGET = re.compile(r"gemini-2\.5")
_TUNED = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_CHOICES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mp3"}


def prepare(endpoint: str, document: dict[str, Any]) -> Prepared:
    """The document of a chat, and where it goes. Raises ``request.dialect``."""
    if endpoint != "chat.completions":
        raise unaskable("this upstream answers chats only", "model")
    given = Parameters(document)
    model = str(given.take("model"))
    if _MODEL.match(model) is None:
        raise unaskable("the provider's name of a model is letters, digits, dots and dashes", "model")
    rewrites = [REWRITE]
    messages = _Messages(given)
    messages.add_all(given.take("messages"))
    sent: dict[str, Any] = {}
    if messages.system:
        sent["systemInstruction"] = {"parts": messages.system}
    if messages.moved:
        rewrites.append(MOVED)
    sent["contents"] = messages.turns
    _add_tools(given, sent)
    tuned = _tuned(given, model)
    if tuned:
        sent["generationConfig"] = tuned
    given.take("stream_options")  # usage is always reported
    given.ignore_rest(cached=False)
    verb = "streamGenerateContent?alt=sse" if given.take("stream") is True else "generateContent"
    return Prepared(sent, f"/models/{model}:{verb}", tuple(rewrites), given.ignored)


def _tuned(given: Parameters, model: str) -> dict[str, Any]:
    tuned: dict[str, Any] = {}
    given.carry(tuned, _TUNED)
    limit, older = given.take("max_completion_tokens"), given.take("max_tokens")
    if limit is not None or older is not None:
        tuned["maxOutputTokens"] = older if limit is None else limit
    if (stop := given.take("stop")) is not None:
        tuned["stopSequences"] = [stop] if is_text(stop) else stop
    wanted = schema_of(given.take("response_format"))
    if wanted is not None:
        tuned["responseMimeType"] = "application/json"
        if wanted:
            tuned["responseJsonSchema"] = wanted["schema"]
        if wanted.get("description") is not None:
            given.ignore("response_format.json_schema.description")
    effort = given.take("reasoning_effort")
    if effort is not None:
        thinking = _thinking(effort, model)
        if thinking is None:
            given.ignore("reasoning_effort")
        else:
            tuned["thinkingConfig"] = thinking
    return tuned


def _thinking(effort: object, model: str) -> dict[str, Any] | None:
    """How much is to be thought; None where that cannot be asked."""
    if _NO_THINKING.match(model) or (effort not in EFFORTS and effort != "none"):
        return None
    if _BY_BUDGET.match(model):
        if effort == "none":
            return {"thinkingBudget": number(0)}
        return {"includeThoughts": True, "thinkingBudget": number(BUDGETS[str(effort)])}
    return None if effort == "none" else {"includeThoughts": True, "thinkingLevel": LEVELS[str(effort)]}


def _add_tools(given: Parameters, sent: dict[str, Any]) -> None:
    tools = given.take("tools")
    if tools is not None and not isinstance(tools, list):
        raise unaskable("tools is a list", "tools")
    if tools:
        declared = [_declaration(tool, f"tools.{place}", given) for place, tool in enumerate(tools)]
        sent["tools"] = [{"functionDeclarations": declared}]
    choice = given.take("tool_choice")
    if choice is not None:
        sent["toolConfig"] = {"functionCallingConfig": _choice(choice)}
    if given.take("parallel_tool_calls") is False:
        given.ignore("parallel_tool_calls")


def _declaration(tool: object, param: str, given: Parameters) -> dict[str, Any]:
    function = function_of(tool, param)
    made = {"name": function["name"]}
    if function.get("description") is not None:
        made["description"] = function["description"]
    if function.get("parameters") is not None:
        made["parametersJsonSchema"] = function["parameters"]
    if function.get("strict") is not None:
        given.ignore("tools.function.strict")
    return made


def _choice(choice: object) -> dict[str, Any]:
    if is_text(choice) and choice in _CHOICES:
        return {"mode": _CHOICES[str(choice)]}
    return {"mode": "ANY", "allowedFunctionNames": [function_of(choice, "tool_choice")["name"]]}


class _Messages:
    """The messages, one after the other."""

    def __init__(self, given: Parameters) -> None:
        self._given = given
        self.system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.moved = False
        """Whether instructions stood behind other messages."""
        self._names: dict[str, str] = {}
        """Functions by the ids of their calls."""
        self._results: list[dict[str, Any]] | None = None

    def add_all(self, messages: object) -> None:
        if not isinstance(messages, list):
            raise unaskable("messages is a list", "messages")
        for place, message in enumerate(messages):
            self._add(message_of(message, f"messages.{place}"), f"messages.{place}")
        if not self.turns:
            raise unaskable("there is nothing but instructions", "messages")

    def _add(self, message: Mapping[str, Any], param: str) -> None:
        role, content = message.get("role"), message.get("content")
        if message.get("name") is not None and role != "tool":
            self._given.ignore("messages.name")
        if role != "tool":
            self._results = None
        if role in ("system", "developer"):
            self.moved = self.moved or bool(self.turns)
            self.system.append({"text": text_of(content, f"{param}.content")})
        elif role == "user":
            self.turns.append({"role": "user", "parts": self._content(content, f"{param}.content")})
        elif role == "assistant":
            self.turns.append({"role": "model", "parts": self._said(message, param)})
        elif role == "tool":
            self._add_result(message, param)
        else:
            raise unaskable(f"no message of role {str(role)[:32]!r} can stand here", f"{param}.role")

    def _add_result(self, message: Mapping[str, Any], param: str) -> None:
        call = message.get("tool_call_id")
        name = self._names.get(str(call), message.get("name"))
        if not is_text(call) or not is_text(name):
            raise unaskable("the result of a tool names a call that was made before", f"{param}.tool_call_id")
        made = {} if str(call).startswith(MADE) else {"id": call}
        text = text_of(message.get("content"), f"{param}.content")
        if self._results is None:
            self._results = []
            self.turns.append({"role": "user", "parts": self._results})
        self._results.append({"functionResponse": {**made, "name": name, "response": {"content": text}}})

    def _content(self, content: object, param: str) -> list[dict[str, Any]]:
        if is_text(content):
            return [{"text": content}]
        if not isinstance(content, list):
            raise unaskable("a content is a string or a list of parts", param)
        return [self._part(part, f"{param}.{place}") for place, part in enumerate(content)]

    def _part(self, part: object, param: str) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, dict) else None
        inner = part.get(str(kind)) if isinstance(part, dict) else None
        if kind == "text" and is_text(inner):
            return {"text": inner}
        if kind == "image_url" and isinstance(inner, dict) and is_text(inner.get("url")):
            if inner.get("detail") is not None:
                self._given.ignore("messages.content.image_url.detail")
            return _media(str(inner["url"]), param)
        if kind == "input_audio" and isinstance(inner, dict) and is_text(inner.get("data")):
            if not is_text(inner.get("format")) or inner["format"] not in _SOUNDS:
                raise unaskable("sound is wav or mp3", param)
            return {"inlineData": {"mimeType": _SOUNDS[inner["format"]], "data": inner["data"]}}
        if kind == "file" and isinstance(inner, dict) and is_text(inner.get("file_data")):
            if inner.get("filename") is not None:
                self._given.ignore("messages.content.file.filename")
            return _media(str(inner["file_data"]), param)
        raise unaskable("a part of a content is text, image_url, input_audio or a file with its data", param)

    def _said(self, message: Mapping[str, Any], param: str) -> list[dict[str, Any]]:
        """What the model is told that it said: text and calls, each with its signature where it had one."""
        content = message.get("content")
        if content is None and is_text(message.get("refusal")):
            content = message["refusal"]
        calls = calls_of(message, param)
        parts = [] if content is None and calls else self._content(content, f"{param}.content")
        signature = self._signature(message)
        if signature is not None:
            if parts and "text" in parts[-1]:
                parts[-1]["thoughtSignature"] = signature
            else:
                parts.append({"text": "", "thoughtSignature": signature})
        for place, call in enumerate(calls):
            parts.append(self._call(call, f"{param}.tool_calls.{place}"))
        return parts

    def _call(self, call: Mapping[str, Any], param: str) -> dict[str, Any]:
        function = function_of(call, param)
        name, call_id = function["name"], call.get("id")
        arguments = parse_arguments(function.get("arguments"), f"{param}.function.arguments")
        made: dict[str, Any] = {}
        if is_text(call_id):
            self._names[str(call_id)] = name
            if not str(call_id).startswith(MADE):
                made["id"] = call_id
        part: dict[str, Any] = {"functionCall": {**made, "name": name, "args": arguments}}
        extra = call.get("extra_content")
        google = extra.get("google") if isinstance(extra, dict) else None
        signature = google.get("thought_signature") if isinstance(google, dict) else None
        if is_text(signature):
            part["thoughtSignature"] = signature
        return part

    def _signature(self, message: Mapping[str, Any]) -> str | None:
        """The signature of the text, where it came from here; thoughts do not go back."""
        found = None
        details = message.get("reasoning_details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict) and detail.get("format") == FORMAT and is_text(detail.get("data")):
                found = str(detail["data"])
            else:
                self._given.ignore("messages.reasoning_details")
        if any(message.get(name) is not None for name in ("reasoning_content", "reasoning")):
            self._given.ignore("messages.reasoning_content")
        return found


def _media(url: str, param: str) -> dict[str, Any]:
    data = split_data_url(url)
    if data is not None:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    if not url.startswith(("https://", "http://")):
        raise unaskable("what is attached is an http(s) address, or a data URL in base64", param)
    return {"fileData": {"fileUri": url}}
