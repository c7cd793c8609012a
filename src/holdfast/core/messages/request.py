"""The chat that is sent on for a Messages request (``spec/messages.md`` §2).

Rules: what has a place in a chat goes there; what has none and changes nothing about what is asked is named in
``ignored``; whatever else is refused (``messages.*``). Nothing is left out without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.messages import THINKING
from holdfast.errors import UsageError

REWRITE = "messages-translated"
"""The rewrite of a route whose ``sent`` is the chat that a Messages request came to."""
_CARRIED = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream", "holdfast")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TIERS = {"auto": "auto", "standard_only": "default"}
_ROLES = ("user", "assistant", "system")


@dataclass(slots=True)
class Chat:
    """What is sent on."""

    document: dict[str, Any]
    ignored: tuple[str, ...]
    """What was asked for and has no place in it, sorted; dotted where it stands inside something."""


@dataclass(slots=True)
class _Reading:
    """What has been taken so far."""

    ignored: set[str] = field(default_factory=set)

    def only(self, value: Mapping[str, Any], known: set[str], param: str) -> None:
        """Refuse members that nobody knows here. Hints for caches are named, for they change no answer."""
        for name, item in value.items():
            if name == "cache_control" and item is not None:
                self.ignored.add("cache_control")
            elif name not in known and item is not None:
                raise UsageError(
                    "messages.parameter",
                    f"{name[:64]} has no place in what this gateway's upstreams are asked",
                    param=f"{param}.{name[:64]}".lstrip("."),
                    hint="leave it out",
                )


def to_chat(document: Mapping[str, Any]) -> Chat:
    """A decoded Messages request (numbers as text) as a chat. Raises ``messages.*``."""
    reading = _Reading()
    reading.only(
        document,
        {
            *_CARRIED,
            "messages",
            "system",
            "stop_sequences",
            "tools",
            "tool_choice",
            "metadata",
            "thinking",
            "service_tier",
            "output_config",
        },
        "",
    )
    made = {name: document[name] for name in _CARRIED if document.get(name) is not None}
    if document.get("stream") is True:
        made["stream_options"] = {"include_usage": True}
    made["messages"] = [*_system(document.get("system"), reading), *_messages(document.get("messages"), reading)]
    if document.get("stop_sequences") is not None:
        made["stop"] = document["stop_sequences"]
    if document.get("tools") is not None:
        made["tools"] = [
            _tool(tool, f"tools.{place}", reading) for place, tool in enumerate(_list(document["tools"], "tools"))
        ]
    _add_choice(made, document.get("tool_choice"), reading)
    _add_about(made, document, reading)
    return Chat(made, tuple(sorted(reading.ignored)))


def _add_about(made: dict[str, Any], document: Mapping[str, Any], reading: _Reading) -> None:
    """Who asks, how much thinking, in which form and tier."""
    metadata = document.get("metadata")
    if metadata is not None:
        reading.only(_object(metadata, "metadata"), {"user_id"}, "metadata")
        if metadata.get("user_id") is not None:
            made["user"] = metadata["user_id"]
    thinking = document.get("thinking")
    if thinking is not None and _object(thinking, "thinking").get("type") != "disabled":
        made["thinking"] = thinking
    tier = document.get("service_tier")
    if tier is not None:
        made["service_tier"] = _TIERS.get(str(tier), tier)
    wanted = document.get("output_config")
    if wanted is not None:
        reading.only(_object(wanted, "output_config"), {"effort", "format"}, "output_config")
        if wanted.get("effort") is not None:
            made["reasoning_effort"] = wanted["effort"]
        if wanted.get("format") is not None:
            made["response_format"] = _format(wanted["format"], reading)


def _format(wanted: object, reading: _Reading) -> dict[str, Any]:
    param = "output_config.format"
    shape = _object(wanted, param)
    if shape.get("type") != "json_schema" or not isinstance(shape.get("schema"), dict):
        raise UsageError("messages.parameter", "a format is json_schema with its schema", param=param)
    reading.only(shape, {"type", "schema", "name", "description"}, param)
    described = {"name": shape.get("name") or "answer", "schema": shape["schema"], "strict": True}
    if shape.get("description") is not None:
        described["description"] = shape["description"]
    return {"type": "json_schema", "json_schema": described}


def _system(system: object, reading: _Reading, where: str = "system") -> list[dict[str, Any]]:
    if system is None:
        return []
    if _is_text(system):
        return [{"role": "system", "content": system}]
    parts = []
    for place, block in enumerate(_list(system, where)):
        param = f"{where}.{place}"
        if _object(block, param).get("type") != "text":
            raise _no_block(block, param)
        parts.append(_text(block, param, reading))
    return [{"role": "system", "content": _content(parts)}] if parts else []


def _messages(messages: object, reading: _Reading) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for place, message in enumerate(_list(messages, "messages")):
        param = f"messages.{place}"
        shape = _object(message, param)
        role, content = shape.get("role"), shape.get("content")
        reading.only(shape, {"role", "content"}, param)
        if role not in _ROLES:
            raise UsageError("messages.role", f"a message is of role {', '.join(_ROLES)}", param=f"{param}.role")
        if role == "system":
            made += _system(content, reading, f"{param}.content")
            continue
        blocks = [{"type": "text", "text": content}] if _is_text(content) else _list(content, f"{param}.content")
        read = _said if role == "assistant" else _asked
        made += read(blocks, f"{param}.content", reading)
    return made


def _asked(blocks: list[Any], param: str, reading: _Reading) -> list[dict[str, Any]]:
    """A turn of the user's: results of tools stand before whatever else it says, as in a chat they must."""
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        where = f"{param}.{place}"
        if _object(block, where).get("type") == "tool_result":
            results.append(_result(block, where, reading))
        else:
            parts.append(_part(block, where, reading))
    return results + ([{"role": "user", "content": _content(parts)}] if parts or not results else [])


def _result(block: Mapping[str, Any], param: str, reading: _Reading) -> dict[str, Any]:
    reading.only(block, {"type", "tool_use_id", "content", "is_error"}, param)
    if not _is_text(block.get("tool_use_id")):
        raise UsageError("messages.block", "the result of a tool names its call", param=f"{param}.tool_use_id")
    if block.get("is_error") is True:
        reading.ignored.add("messages.content.is_error")
    content = block.get("content")
    if content is None or _is_text(content):
        return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content or ""}
    parts = [
        _part(_object(item, f"{param}.content.{place}"), f"{param}.content.{place}", reading)
        for place, item in enumerate(_list(content, f"{param}.content"))
    ]
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _content(parts)}


def _part(block: Mapping[str, Any], param: str, reading: _Reading) -> dict[str, Any]:
    if block.get("type") == "text":
        return _text(block, param, reading)
    if block.get("type") != "image":
        raise _no_block(block, param)
    reading.only(block, {"type", "source"}, param)
    source = _object(block.get("source"), f"{param}.source")
    kind, media, data, url = (source.get(name) for name in ("type", "media_type", "data", "url"))
    if kind == "base64" and _is_text(media) and _is_text(data):
        reading.only(source, {"type", "media_type", "data"}, f"{param}.source")
        return {"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}}
    if kind == "url" and _is_text(url):
        reading.only(source, {"type", "url"}, f"{param}.source")
        return {"type": "image_url", "image_url": {"url": url}}
    raise UsageError("messages.block", "an image is base64 of a media type, or a url", param=f"{param}.source")


def _text(block: Mapping[str, Any], param: str, reading: _Reading) -> dict[str, Any]:
    reading.only({**block, "citations": block.get("citations") or None}, {"type", "text"}, param)
    if not _is_text(block.get("text")):
        raise UsageError("messages.block", "a block of text has a text", param=f"{param}.text")
    return {"type": "text", "text": block["text"]}


def _said(blocks: list[Any], param: str, reading: _Reading) -> list[dict[str, Any]]:
    """What the model said before: texts, then its calls; its thinking beside them."""
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        where = f"{param}.{place}"
        match _object(block, where).get("type"):
            case "tool_use":
                calls.append(_call(block, where, reading))
            case "thinking" | "redacted_thinking":
                thoughts.append(_thought(block, where, reading))
            case _:
                parts.append(_part(block, where, reading))
    made: dict[str, Any] = {"role": "assistant", "content": _content(parts) if parts else None}
    if not parts and not calls:
        made["content"] = ""
    if thoughts:
        made["reasoning_details"] = thoughts
    if calls:
        made["tool_calls"] = calls
    return [made]


def _call(block: Mapping[str, Any], param: str, reading: _Reading) -> dict[str, Any]:
    reading.only(block, {"type", "id", "name", "input"}, param)
    if not _is_text(block.get("id")) or not _is_text(block.get("name")) or not isinstance(block.get("input"), dict):
        raise UsageError("messages.block", "a call has an id, a name and an input, an object", param=param)
    arguments = canonical.encode_exact(block["input"]).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def _thought(block: Mapping[str, Any], param: str, reading: _Reading) -> dict[str, Any]:
    if block.get("type") == "redacted_thinking":
        reading.only(block, {"type", "data"}, param)
        return {"type": "reasoning.encrypted", "data": block.get("data"), "format": THINKING}
    reading.only(block, {"type", "thinking", "signature"}, param)
    return {
        "type": "reasoning.text",
        "text": block.get("thinking"),
        "signature": block.get("signature"),
        "format": THINKING,
    }


def _tool(tool: object, param: str, reading: _Reading) -> dict[str, Any]:
    shape = _object(tool, param)
    if shape.get("type") not in (None, "custom") or not _is_text(shape.get("name")):
        raise UsageError(
            "messages.tool",
            "a tool is one of the caller's own, with a name and an input_schema",
            param=param,
            hint="tools that a provider runs are asked of that provider",
        )
    reading.only(shape, {"type", "name", "description", "input_schema", "strict"}, param)
    function = {"name": shape["name"], "parameters": _object(shape.get("input_schema"), f"{param}.input_schema")}
    more = {name: shape[name] for name in ("description", "strict") if shape.get(name) is not None}
    return {"type": "function", "function": function | more}


def _add_choice(made: dict[str, Any], choice: object, reading: _Reading) -> None:
    if choice is None:
        return
    shape = _object(choice, "tool_choice")
    reading.only(shape, {"type", "name", "disable_parallel_tool_use"}, "tool_choice")
    kind = shape.get("type")
    if kind == "tool" and _is_text(shape.get("name")):
        made["tool_choice"] = {"type": "function", "function": {"name": shape["name"]}}
    elif isinstance(kind, str) and kind in _CHOICES:
        made["tool_choice"] = _CHOICES[kind]
    else:
        raise UsageError("messages.tool", "tool_choice is auto, any, none, or tool with a name", param="tool_choice")
    if shape.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False


def _content(parts: list[dict[str, Any]]) -> Any:
    """One text is a string, as every upstream reads it; anything else a list of parts."""
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _no_block(block: object, param: str) -> UsageError:
    kind = block.get("type") if isinstance(block, dict) else None
    return UsageError("messages.block", f"no block of type {str(kind)[:64]!r} can stand here", param=param)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _object(value: object, param: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("messages.shape", f"{param} is an object", param=param)
    return value


def _list(value: object, param: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError("messages.shape", f"{param} is a list", param=param)
    return value
