"""dialects.md: what leaves for providers of other shapes, and what their answers come to. One function a numbered rule."""

from __future__ import annotations

import re
from typing import Any

from . import parts
from .text import Number, SpecError, exact_text, parse

DATA = re.compile(r"data:([a-z]+/[A-Za-z0-9.+-]+);base64,([A-Za-z0-9+/]+={0,2})")
WORDS = ["minimal", "low", "medium", "high", "xhigh", "max"]
LOCAL_ONLY = [
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "store",
    "metadata",
    "service_tier",
    "prediction",
    "web_search_options",
    "modalities",
    "audio",
    "verbosity",
]
"""§7(3)."""
PROFILES: dict[str, tuple[list[str], list[str], dict[str, str]]] = {
    "vllm": (LOCAL_ONLY, [], {}),
    "llama.cpp": (LOCAL_ONLY, [], {}),
    "ollama": (
        [*LOCAL_ONLY, "n", "logit_bias", "tool_choice", "parallel_tool_calls"],
        [],
        {"max_completion_tokens": "max_tokens"},
    ),
    "xai": (["logit_bias"], [], {}),
    "groq": ([], ["logprobs", "top_logprobs", "logit_bias", "n"], {}),
    "mistral": (
        [],
        ["logprobs", "top_logprobs", "logit_bias", "user", "store", "service_tier"],
        {"max_completion_tokens": "max_tokens", "seed": "random_seed"},
    ),
    "deepseek": (["seed", "n", "logit_bias", "user"], [], {"max_completion_tokens": "max_tokens"}),
}
"""§7(2): read past, refused, called otherwise."""


def no() -> SpecError:
    """§1(4)."""
    return SpecError("request.dialect")


def bad() -> SpecError:
    """An answer that has no shape."""
    return SpecError("dialect.answer")


def string(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def need(holds: Any, error: Any = no) -> None:
    if not holds:
        raise error()


class Asked:
    """A request's top level, with what nobody took."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.left = {name: value for name, value in document.items() if value is not None}
        self.ignored: set[str] = set()

    def get(self, name: str) -> Any:
        return self.left.pop(name, None)

    def done(self) -> list[str]:
        return sorted(self.ignored | set(self.left))


PLACES = {
    "messages": "role content name tool_calls tool_call_id refusal reasoning reasoning_content reasoning_details",
    "tools": "type function",
    "tools.function": "name description parameters strict",
}


def without_place(document: dict[str, Any], asked: Asked, keeping: bool) -> None:
    """§1(3): members that no section speaks of. ``keeping``: texts outside of instructions keep a cache's hint."""
    found: list[tuple[str, dict[str, Any], list[str]]] = []
    for message in document["messages"]:
        found.append(("messages", message, PLACES["messages"].split()))
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            more = ["cache_control"] if keeping and part["type"] == "text" else []
            heeded = more if message["role"] in ("user", "assistant", "tool") else []
            found.append(("messages.content", part, ["type", part["type"], *heeded]))
    for tool in document.get("tools") or []:
        found.append(("tools", tool, PLACES["tools"].split()))
        found.append(("tools.function", tool["function"], PLACES["tools.function"].split()))
    for place, value, names in found:
        for name in value:
            if value[name] is not None and name not in names:
                asked.ignored.add(f"{place}.{name[:64]}")


def joined(content: Any) -> str:
    if string(content):
        return content
    need(isinstance(content, list))
    for part in content:
        need(isinstance(part, dict) and part.get("type") == "text" and string(part.get("text")))
    return "".join(part["text"] for part in content)


def arguments(call: dict[str, Any]) -> Any:
    text = call["function"].get("arguments")
    if text in (None, ""):
        return {}
    need(string(text))
    try:
        value = parse(text.encode())
    except SpecError:
        raise no() from None
    need(isinstance(value, dict))
    return value


def function(value: Any) -> dict[str, Any]:
    need(isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("function"), dict))
    need(string(value["function"].get("name")))
    return value["function"]


def schema(asked: Asked) -> dict[str, Any] | None:
    """The wanted schema's object; empty for any JSON."""
    wanted = asked.get("response_format")
    if wanted is None or wanted == {"type": "text"}:
        return None
    need(isinstance(wanted, dict))
    if wanted.get("type") == "json_object":
        return {}
    need(
        wanted.get("type") == "json_schema"
        and isinstance(wanted.get("json_schema"), dict)
        and isinstance(wanted["json_schema"].get("schema"), dict)
    )
    if wanted["json_schema"].get("description") is not None:
        asked.ignored.add("response_format.json_schema.description")
    return wanted["json_schema"]


def limit(asked: Asked) -> Any:
    newer, older = asked.get("max_completion_tokens"), asked.get("max_tokens")
    return older if newer is None else newer


def messages(asked: Asked) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
    """Instructions, the rest, and whether instructions stood behind any of it."""
    given = asked.get("messages")
    need(isinstance(given, list))
    above = [item for item in given if item.get("role") in ("system", "developer")]
    rest = [item for item in given if item.get("role") not in ("system", "developer")]
    need(rest)
    for item in rest:
        need(item.get("role") in ("user", "assistant", "tool"))
    moved = any(item.get("role") in ("system", "developer") for item in given[given.index(rest[0]) :])
    return above, rest, moved


# Anthropic


def claude_content(content: Any, asked: Asked) -> Any:
    """§2(3)."""
    if string(content):
        return content
    need(isinstance(content, list))
    blocks: list[Any] = []
    for part in content:
        need(isinstance(part, dict))
        if part.get("type") == "text" and string(part.get("text")):
            block = {"type": "text", "text": part["text"]}
            if part.get("cache_control") is not None:
                block["cache_control"] = part["cache_control"]
            blocks.append(block)
            continue
        need(
            part.get("type") == "image_url"
            and isinstance(part.get("image_url"), dict)
            and string(part["image_url"].get("url"))
        )
        if part["image_url"].get("detail") is not None:
            asked.ignored.add("messages.content.image_url.detail")
        url = part["image_url"]["url"]
        found = DATA.fullmatch(url)
        need(found or url.startswith(("http://", "https://")))
        source = {"type": "base64", "media_type": found[1], "data": found[2]} if found else {"type": "url", "url": url}
        blocks.append({"type": "image", "source": source})
    return blocks


def claude_thinking(message: dict[str, Any], asked: Asked) -> list[dict[str, Any]]:
    """§2(4)."""
    blocks: list[dict[str, Any]] = []
    for item in message.get("reasoning_details") or []:
        ours = isinstance(item, dict) and item.get("format") == "anthropic-claude-v1"
        if ours and item.get("type") == "reasoning.text" and string(item.get("signature")):
            blocks.append({"type": "thinking", "thinking": item.get("text") or "", "signature": item["signature"]})
        elif ours and item.get("type") == "reasoning.encrypted" and string(item.get("data")):
            blocks.append({"type": "redacted_thinking", "data": item["data"]})
        else:
            asked.ignored.add("messages.reasoning_details")
    if not blocks and (message.get("reasoning_content") is not None or message.get("reasoning") is not None):
        asked.ignored.add("messages.reasoning_content")
    return blocks


def to_anthropic(document: dict[str, Any]) -> dict[str, Any]:
    """§2: path, document, rewrites and what is ignored."""
    asked = Asked(document)
    sent = {
        name: value
        for name in ("model", "stream", "temperature", "top_p", "top_k")
        if (value := asked.get(name)) is not None
    }
    rewrites = ["dialect-anthropic"]
    above, rest, moved = messages(asked)
    if above:
        sent["system"] = [{"type": "text", "text": joined(item.get("content"))} for item in above]
    if moved:
        rewrites.append("system-moved")
    turns: list[dict[str, Any]] = []
    before = None
    for item in rest:
        if item.get("name") is not None:
            asked.ignored.add("messages.name")
        if item["role"] == "tool":
            need(string(item.get("tool_call_id")))
            result = {
                "type": "tool_result",
                "tool_use_id": item["tool_call_id"],
                "content": claude_content(item.get("content"), asked),
            }
            if before != "tool":
                turns.append({"role": "user", "content": []})
            turns[-1]["content"].append(result)
        elif item["role"] == "user":
            turns.append({"role": "user", "content": claude_content(item.get("content"), asked)})
        else:
            turns.append({"role": "assistant", "content": claude_said(item, asked)})
        before = item["role"]
    sent["messages"] = turns
    claude_tools(asked, sent)
    wanted = schema(asked)
    if wanted == {}:
        asked.ignored.add("response_format")
    elif wanted is not None:
        sent["output_config"] = {"format": {"type": "json_schema", "schema": wanted["schema"]}}
    asked.get("stream_options")
    stop = asked.get("stop")
    if stop is not None:
        sent["stop_sequences"] = [stop] if string(stop) else stop
    user = asked.get("user")
    if string(user):
        sent["metadata"] = {"user_id": user}
    tier = asked.get("service_tier")
    if tier is not None:
        if tier in ("auto", "default"):
            sent["service_tier"] = {"auto": "auto", "default": "standard_only"}[tier]
        else:
            asked.ignored.add("service_tier")
    if asked.get("n") not in (None, "1"):
        asked.ignored.add("n")
    claude_limits(asked, sent, rewrites)
    without_place(document, asked, keeping=True)
    return {"path": "/messages", "document": sent, "rewrites": rewrites, "ignored": asked.done()}


def claude_said(item: dict[str, Any], asked: Asked) -> Any:
    """§2(4)."""
    blocks = claude_thinking(item, asked)
    content = item.get("content")
    if content is None and string(item.get("refusal")):
        content = item["refusal"]
    if not blocks and not item.get("tool_calls"):
        return claude_content(content, asked)
    if content not in (None, ""):
        made = claude_content(content, asked)
        blocks += [{"type": "text", "text": made}] if string(made) else made
    for call in item.get("tool_calls") or []:
        named = function(call)
        blocks.append({"type": "tool_use", "id": call.get("id"), "name": named["name"], "input": arguments(call)})
    return blocks


def claude_tools(asked: Asked, sent: dict[str, Any]) -> None:
    """§2(6)."""
    tools = asked.get("tools")
    if tools is not None:
        need(isinstance(tools, list))
        sent["tools"] = []
        for tool in tools:
            given = function(tool)
            made = {
                "name": given["name"],
                "input_schema": given["parameters"] if given.get("parameters") is not None else {"type": "object"},
            }
            made |= {name: given[name] for name in ("description", "strict") if given.get(name) is not None}
            sent["tools"].append(made)
    choice, parallel = asked.get("tool_choice"), asked.get("parallel_tool_calls")
    made_choice = None
    if choice is not None:
        simple = {"auto": "auto", "none": "none", "required": "any"}
        made_choice = (
            {"type": simple[choice]}
            if string(choice) and choice in simple
            else {"type": "tool", "name": function(choice)["name"]}
        )
    if parallel is False and tools and made_choice != {"type": "none"}:
        made_choice = {**(made_choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if made_choice is not None:
        sent["tool_choice"] = made_choice


def claude_limits(asked: Asked, sent: dict[str, Any], rewrites: list[str]) -> None:
    """§2(7), §2(8)."""
    most, effort, thinking, model = (
        limit(asked),
        asked.get("reasoning_effort"),
        asked.get("thinking"),
        sent.get("model", ""),
    )
    usual = 4096
    never = re.match(r"claude-3-(?!7)|claude-2|claude-instant", model)
    budgeted = re.match(r"claude-3-7|claude-(opus|sonnet|haiku)-4-(20|[015](?!\d))", model)
    if thinking is not None:
        sent["thinking"] = thinking
        if effort is not None:
            asked.ignored.add("reasoning_effort")
    elif effort == "none":
        if not never:
            sent["thinking"] = {"type": "disabled"}
    elif effort is not None and (effort not in WORDS or never):
        asked.ignored.add("reasoning_effort")
    elif effort is not None and budgeted:
        budget = [1024, 1024, 8192, 24576, 32768, 32768][WORDS.index(effort)]
        usual += budget
        if most is not None:
            budget = min(budget, int(most) - 1) if re.fullmatch(r"[1-9]\d{0,9}", most) else 0
        if budget < 1024:
            asked.ignored.add("reasoning_effort")
        else:
            sent["thinking"] = {"type": "enabled", "budget_tokens": Number(budget)}
    elif effort is not None:
        usual = 16384
        sent["thinking"] = {"type": "adaptive", "display": "summarized"}
        sent.setdefault("output_config", {})["effort"] = "low" if effort == "minimal" else effort
    if most is None:
        rewrites.append("max-tokens-added")
        most = Number(usual)
    sent["max_tokens"] = most


def count(value: Any) -> int:
    if value is None:
        return 0
    need(isinstance(value, Number) and re.fullmatch(r"0|[1-9]\d{0,15}", value), bad)
    return int(value)


def used(prompt: int, completion: int, cached: Any, thought: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "prompt_tokens": Number(prompt),
        "completion_tokens": Number(completion),
        "total_tokens": Number(prompt + completion),
    }
    if cached is not None:
        made["prompt_tokens_details"] = {"cached_tokens": Number(count(cached))}
    if thought is not None:
        made["completion_tokens_details"] = {"reasoning_tokens": Number(count(thought))}
    return made


def nothing_else(value: dict[str, Any], *names: str) -> None:
    need(all(item is None or name in names for name, item in value.items()), bad)


def from_anthropic(message: dict[str, Any], created: int, events: list[Any] | None = None) -> dict[str, Any]:
    """§3, §4: a whole message as a response document."""
    said: dict[str, Any] = {"role": "assistant", "content": None}
    need(isinstance(message.get("content"), list), bad)
    for block in message["content"]:
        need(isinstance(block, dict), bad)
        kind = block.get("type")
        if kind == "text":
            nothing_else(block, "type", "text", "citations")
            need(string(block.get("text")), bad)
            said["content"] = (said["content"] or "") + block["text"] or said["content"]
            if block.get("citations"):
                said["citations"] = [*said.get("citations", []), *block["citations"]]
        elif kind == "tool_use":
            nothing_else(block, "type", "id", "name", "input", "caller")
            need(
                string(block.get("id")) and string(block.get("name")) and isinstance(block.get("input", {}), dict), bad
            )
            call = {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": exact_text(block.get("input", {}))},
            }
            said["tool_calls"] = [*said.get("tool_calls", []), call]
        elif kind in ("thinking", "redacted_thinking"):
            details = said.setdefault("reasoning_details", [])
            made: dict[str, Any] = {"index": Number(len(details)), "format": "anthropic-claude-v1"}
            if kind == "thinking":
                nothing_else(block, "type", "thinking", "signature")
                need(string(block.get("thinking")), bad)
                made |= {"type": "reasoning.text", "text": block["thinking"]}
                made |= {"signature": block["signature"]} if block.get("signature") else {}
                if block["thinking"]:
                    said["reasoning_content"] = said.get("reasoning_content", "") + block["thinking"]
            else:
                nothing_else(block, "type", "data")
                need(string(block.get("data")), bad)
                made |= {"type": "reasoning.encrypted", "data": block["data"]}
            details.append(made)
        else:
            raise bad()
    reason = message.get("stop_reason")
    need(string(reason) and string(message.get("id")) and string(message.get("model")), bad)
    words = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
    answer: dict[str, Any] = {
        "id": message["id"],
        "object": "chat.completion",
        "created": Number(created),
        "model": message["model"],
    }
    answer["choices"] = [
        {
            "index": Number(0),
            "message": said,
            "finish_reason": words.get(reason, reason),
            "native_finish_reason": reason,
        }
    ]
    counts = {name: value for name, value in (message.get("usage") or {}).items() if value is not None}
    if counts:
        prompt = sum(
            count(counts.get(name))
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        thought = (counts.get("output_tokens_details") or {}).get("thinking_tokens")
        answer["usage"] = used(
            prompt, count(counts.get("output_tokens")), counts.get("cache_read_input_tokens"), thought
        )
    placed = ("id", "type", "role", "model", "content", "stop_reason", "usage")
    beside = {name: value for name, value in message.items() if name not in placed and value is not None}
    told = {name: value for name, value in counts.items() if name not in ("input_tokens", "output_tokens")}
    beside |= ({"usage": told} if told else {}) | ({"events": events} if events else {})
    return answer | ({"provider_fields": beside} if beside else {})


def stream_of_anthropic(events: list[Any], created: int) -> dict[str, Any]:
    """§4: the whole message that the events build, and that message shaped. Only for streams whose calls got their pieces as compact text."""
    message: dict[str, Any] = {}
    blocks: dict[str, dict[str, Any]] = {}
    open_, strange, over = set(), [], False
    for event in events:
        kind = event.get("type")
        if kind == "ping":
            continue
        if kind == "error":
            raise SpecError("dialect.refused")
        need(not over, bad)
        if kind == "message_start":
            message = {**event["message"]}
        elif kind == "content_block_start":
            need(event["index"] not in open_, bad)
            open_.add(event["index"])
            blocks[event["index"]] = {**event["content_block"], "pieces": ""}
        elif kind == "content_block_delta":
            need(event["index"] in open_, bad)
            block, delta = blocks[event["index"]], event["delta"]
            fits = {
                "text_delta": "text",
                "thinking_delta": "thinking",
                "signature_delta": "thinking",
                "input_json_delta": "tool_use",
            }
            need(fits.get(delta["type"]) == block["type"], bad)
            member = {
                "text_delta": "text",
                "thinking_delta": "thinking",
                "signature_delta": "signature",
                "input_json_delta": "partial_json",
            }[delta["type"]]
            grows = "pieces" if member == "partial_json" else member
            block[grows] = (block.get(grows) or "") + delta[member]
        elif kind == "content_block_stop":
            need(event["index"] in open_, bad)
            open_.remove(event["index"])
        elif kind == "message_delta":
            message |= {name: value for name, value in event["delta"].items() if value is not None}
            message["usage"] = {**(message.get("usage") or {}), **(event.get("usage") or {})}
        elif kind == "message_stop":
            over = True
        else:
            strange.append(event)
    need(over and not open_, bad)
    content = []
    for block in blocks.values():
        pieces = block.pop("pieces")
        content.append({**block, "input": parse(pieces.encode())} if pieces else block)
    return from_anthropic({**message, "content": content}, created, strange)


# Google


def gemini_media(url: Any) -> dict[str, Any]:
    need(string(url))
    found = DATA.fullmatch(url)
    need(found or url.startswith(("http://", "https://")))
    return {"inlineData": {"mimeType": found[1], "data": found[2]}} if found else {"fileData": {"fileUri": url}}


def gemini_content(content: Any, asked: Asked) -> list[dict[str, Any]]:
    """§5(3)."""
    if string(content):
        return [{"text": content}]
    need(isinstance(content, list))
    made: list[dict[str, Any]] = []
    for part in content:
        need(isinstance(part, dict))
        kind, inner = part.get("type"), part.get(str(part.get("type")))
        if kind == "text":
            need(string(inner))
            made.append({"text": inner})
            continue
        need(kind in ("image_url", "input_audio", "file") and isinstance(inner, dict))
        if kind == "input_audio":
            need(inner.get("format") in ("wav", "mp3") and string(inner.get("data")))
            made.append({"inlineData": {"mimeType": f"audio/{inner['format']}", "data": inner["data"]}})
            continue
        extra = "detail" if kind == "image_url" else "filename"
        if inner.get(extra) is not None:
            asked.ignored.add(f"messages.content.{kind}.{extra}")
        made.append(gemini_media(inner.get("url" if kind == "image_url" else "file_data")))
    return made


def to_gemini(document: dict[str, Any]) -> dict[str, Any]:
    """§5."""
    asked = Asked(document)
    model = asked.get("model")
    need(string(model) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", model))
    above, rest, moved = messages(asked)
    sent: dict[str, Any] = {}
    if above:
        sent["systemInstruction"] = {"parts": [{"text": joined(item.get("content"))} for item in above]}
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    before = None
    for item in rest:
        if item["role"] == "tool":
            call = item.get("tool_call_id")
            name = names.get(str(call), item.get("name"))
            need(string(call) and string(name))
            answer = {"name": name, "response": {"content": joined(item.get("content"))}}
            if not call.startswith("holdfast_call_"):
                answer["id"] = call
            if before != "tool":
                turns.append({"role": "user", "parts": []})
            turns[-1]["parts"].append({"functionResponse": answer})
        else:
            if item.get("name") is not None:
                asked.ignored.add("messages.name")
            if item["role"] == "user":
                turns.append({"role": "user", "parts": gemini_content(item.get("content"), asked)})
            else:
                turns.append({"role": "model", "parts": gemini_said(item, names, asked)})
        before = item["role"]
    sent["contents"] = turns
    tools = asked.get("tools")
    need(tools is None or isinstance(tools, list))
    if tools:
        declared = []
        for tool in tools:
            given = function(tool)
            made = {"name": given["name"]}
            made |= {"description": given["description"]} if given.get("description") is not None else {}
            made |= {"parametersJsonSchema": given["parameters"]} if given.get("parameters") is not None else {}
            if given.get("strict") is not None:
                asked.ignored.add("tools.function.strict")
            declared.append(made)
        sent["tools"] = [{"functionDeclarations": declared}]
    choice = asked.get("tool_choice")
    if choice is not None:
        simple = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
        mode = (
            {"mode": simple[choice]}
            if string(choice) and choice in simple
            else {"mode": "ANY", "allowedFunctionNames": [function(choice)["name"]]}
        )
        sent["toolConfig"] = {"functionCallingConfig": mode}
    if asked.get("parallel_tool_calls") is False:
        asked.ignored.add("parallel_tool_calls")
    tuned = gemini_tuned(asked, model)
    if tuned:
        sent["generationConfig"] = tuned
    asked.get("stream_options")
    verb = "streamGenerateContent?alt=sse" if asked.get("stream") is True else "generateContent"
    without_place(document, asked, keeping=False)
    rewrites = ["dialect-gemini", *(["system-moved"] if moved else [])]
    return {"path": f"/models/{model}:{verb}", "document": sent, "rewrites": rewrites, "ignored": asked.done()}


def gemini_said(item: dict[str, Any], names: dict[str, str], asked: Asked) -> list[dict[str, Any]]:
    """§5(4)."""
    content = item.get("content")
    if content is None and string(item.get("refusal")):
        content = item["refusal"]
    calls = item.get("tool_calls") or []
    made = [] if content is None and calls else gemini_content(content, asked)
    signature = None
    for detail in item.get("reasoning_details") or []:
        if isinstance(detail, dict) and detail.get("format") == "google-gemini-v1" and string(detail.get("data")):
            signature = detail["data"]
        else:
            asked.ignored.add("messages.reasoning_details")
    if item.get("reasoning_content") is not None or item.get("reasoning") is not None:
        asked.ignored.add("messages.reasoning_content")
    if signature is not None:
        if not made or "text" not in made[-1]:
            made.append({"text": ""})
        made[-1]["thoughtSignature"] = signature
    for call in calls:
        named = function(call)
        inner: dict[str, Any] = {"name": named["name"], "args": arguments(call)}
        if string(call.get("id")):
            names[call["id"]] = named["name"]
            if not call["id"].startswith("holdfast_call_"):
                inner["id"] = call["id"]
        part: dict[str, Any] = {"functionCall": inner}
        signed = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
        if string(signed):
            part["thoughtSignature"] = signed
        made.append(part)
    return made


def gemini_tuned(asked: Asked, model: str) -> dict[str, Any]:
    """§5(1), §5(7)."""
    tuned: dict[str, Any] = {}
    for row in [
        "temperature temperature",
        "top_p topP",
        "top_k topK",
        "n candidateCount",
        "seed seed",
        "presence_penalty presencePenalty",
        "frequency_penalty frequencyPenalty",
    ]:
        ours, theirs = row.split()
        if (value := asked.get(ours)) is not None:
            tuned[theirs] = value
    most, stop, wanted = limit(asked), asked.get("stop"), schema(asked)
    if most is not None:
        tuned["maxOutputTokens"] = most
    if stop is not None:
        tuned["stopSequences"] = [stop] if string(stop) else stop
    if wanted is not None:
        tuned["responseMimeType"] = "application/json"
        if wanted:
            tuned["responseJsonSchema"] = wanted["schema"]
    effort = asked.get("reasoning_effort")
    if effort is None:
        return tuned
    older = re.match(r"gemini-1\.|gemini-2\.0|gemma", model)
    if not older and effort in WORDS:
        thinking: dict[str, Any] = {"includeThoughts": True}
        if model.startswith("gemini-2.5"):
            thinking["thinkingBudget"] = Number([1024, 1024, 8192, 24576, 24576, 24576][WORDS.index(effort)])
        else:
            thinking["thinkingLevel"] = ["minimal", "low", "medium", "high", "high", "high"][WORDS.index(effort)]
        tuned["thinkingConfig"] = thinking
    elif not older and effort == "none" and model.startswith("gemini-2.5"):
        tuned["thinkingConfig"] = {"thinkingBudget": Number(0)}
    else:
        asked.ignored.add("reasoning_effort")
    return tuned


def from_gemini(events: list[Any], created: int) -> dict[str, Any]:
    """§6: one response, or those of a stream, as a response document."""
    answer: dict[str, Any] = {"id": "", "object": "chat.completion", "created": Number(created), "model": ""}
    beside: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        if event.get("error") is not None:
            raise SpecError("dialect.refused")
        answer["id"] = event.get("responseId", answer["id"])
        answer["model"] = event.get("modelVersion", answer["model"])
        beside |= {
            name: value
            for name, value in event.items()
            if name not in ("candidates", "responseId", "modelVersion") and value is not None
        }
        for candidate in event.get("candidates") or []:
            place = count(candidate.get("index"))
            choice = choices.setdefault(
                place, {"message": {"role": "assistant", "content": None}, "beside": {}, "id": answer["id"]}
            )
            choice["beside"] |= {
                name: value
                for name, value in candidate.items()
                if name not in ("content", "finishReason", "index") and value is not None
            }
            content = candidate.get("content") or {}
            nothing_else(content, "role", "parts")
            for part in content.get("parts") or []:
                need("native" not in choice, bad)
                gemini_part(part, choice, place)
            if candidate.get("finishReason") is not None:
                choice["native"] = candidate["finishReason"]
    filtered = [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    ]
    words = {"STOP": "stop", "MAX_TOKENS": "length"} | dict.fromkeys(filtered, "content_filter")
    answer["choices"] = []
    for place in sorted(choices):
        choice = choices[place]
        need("native" in choice, bad)
        native = choice["native"]
        finish = "tool_calls" if native == "STOP" and "tool_calls" in choice["message"] else words.get(native, native)
        made = {
            "index": Number(place),
            "message": choice["message"],
            "finish_reason": finish,
            "native_finish_reason": native,
        }
        answer["choices"].append(made | ({"provider_fields": choice["beside"]} if choice["beside"] else {}))
    if not choices:
        reason = (beside.get("promptFeedback") or {}).get("blockReason")
        need(string(reason), bad)
        message = {"role": "assistant", "content": None}
        answer["choices"] = [
            {"index": Number(0), "message": message, "finish_reason": "content_filter", "native_finish_reason": reason}
        ]
    counts = beside.get("usageMetadata")
    if counts is not None:
        prompt = count(counts.get("promptTokenCount")) + count(counts.get("toolUsePromptTokenCount"))
        completion = count(counts.get("candidatesTokenCount")) + count(counts.get("thoughtsTokenCount"))
        answer["usage"] = used(
            prompt, completion, counts.get("cachedContentTokenCount"), counts.get("thoughtsTokenCount")
        )
    return answer | ({"provider_fields": beside} if beside else {})


def gemini_part(part: dict[str, Any], choice: dict[str, Any], place: int) -> None:
    """§6(2)."""
    message, signature = choice["message"], part.get("thoughtSignature")
    if part.get("functionCall") is not None:
        nothing_else(part, "functionCall", "thoughtSignature")
        call = part["functionCall"]
        nothing_else(call, "id", "name", "args")
        calls = message.setdefault("tool_calls", [])
        made: dict[str, Any] = {
            "id": call.get("id") or f"holdfast_call_{choice['id']}_{place}_{len(calls)}",
            "type": "function",
            "function": {"name": call["name"], "arguments": exact_text(call.get("args") or {})},
        }
        if signature is not None:
            made["extra_content"] = {"google": {"thought_signature": signature}}
        calls.append(made)
        return
    if part.get("inlineData") is not None:
        nothing_else(part, "inlineData", "thoughtSignature")
        data = part["inlineData"]
        nothing_else(data, "mimeType", "data")
        need(data["mimeType"].startswith("image/"), bad)
        images = message.setdefault("images", [])
        images.append(
            {
                "index": Number(len(images)),
                "type": "image_url",
                "image_url": {"url": f"data:{data['mimeType']};base64,{data['data']}"},
            }
        )
    else:
        nothing_else(part, "text", "thought", "thoughtSignature")
        need(string(part.get("text")), bad)
        name = "reasoning_content" if part.get("thought") is True else "content"
        if part["text"]:
            message[name] = (message.get(name) or "") + part["text"]
    if signature is not None:
        details = message.setdefault("reasoning_details", [])
        details.append(
            {
                "index": Number(len(details)),
                "type": "reasoning.encrypted",
                "format": "google-gemini-v1",
                "data": signature,
            }
        )


# Profiles


def to_profile(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """§7."""
    past, refuses, otherwise = PROFILES.get(name, ([], [], {}))
    ignored: set[str] = set()
    rewrites: list[str] = []
    sent = dict(document)
    rounds = [(past, refuses, otherwise)]
    if name == "deepseek" and str(document.get("model")).startswith("deepseek-reasoner"):
        rounds.append(
            (["temperature", "top_p", "presence_penalty", "frequency_penalty"], ["logprobs", "top_logprobs"], {})
        )
    for past, refuses, otherwise in rounds:
        ignored |= {member for member in past if sent.get(member) is not None}
        gone = [
            member for member in refuses if sent.get(member) is not None and not (member == "n" and sent["n"] == "1")
        ]
        if gone:
            rewrites.append("parameters-removed")
            ignored |= set(gone)
            sent = {member: value for member, value in sent.items() if member not in gone}
        for old, new in otherwise.items():
            if sent.get(old) is not None and sent.get(new) is None:
                if "parameters-renamed" not in rewrites:
                    rewrites.append("parameters-renamed")
                sent = {(new if member == old else member): value for member, value in sent.items()}
    return {"path": "/chat/completions", "document": sent, "rewrites": rewrites, "ignored": sorted(ignored)}


def request(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """What a client answers to ``dialect-request``."""
    made = (
        {"anthropic": to_anthropic, "gemini": to_gemini}[name](document)
        if name in ("anthropic", "gemini")
        else to_profile(name, document)
    )
    return {**{key: made[key] for key in ("path", "rewrites", "ignored")}, "parts": shown(made["document"], "sent")}


def shown(document: Any, name: str) -> list[list[str]]:
    """Parts as answers list them."""
    return [[label, data.decode()] for label, data in parts.map_document(document, name)]


def indexed(document: dict[str, Any]) -> dict[str, Any]:
    """As a folded stream has it: its calls keep their index (parts.md §6(3))."""
    for choice in document["choices"]:
        for place, call in enumerate(choice["message"].get("tool_calls", [])):
            call["index"] = Number(place)
    return document
