"""A chat as Anthropic's Messages API is asked it (``spec/dialects.md`` §2).

``prepare`` maps a whole document. Facts about the API are those of its reference (``anthropic-version`` 2023-06-01).
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

NAME = "anthropic"
REWRITE = "dialect-anthropic"
LIMITED = "max-tokens-added"
"""The rewrite that says that ``max_tokens``, which the API demands, is the gateway's."""
MOVED = "system-moved"
"""The rewrite that says that instructions from between the messages went to their beginning."""
PATH = "/messages"
DEFAULT_TOKENS, DEFAULT_TOKENS_ADAPTIVE = 4096, 16_384
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Tokens of thinking for models that take a budget (§2(8))."""
LEAST_BUDGET = 1024

_BY_BUDGET = re.compile(r"claude-(?:3-7|(?:opus|sonnet|haiku)-4-(?:20|[015](?![0-9])))")
"""Models whose thinking has a budget; later ones have an effort, earlier ones (``_NO_THINKING``) do not think."""
_NO_THINKING = re.compile(r"claude-(?:3-(?!7)|2|instant)")
_CARRIED = {"model": "model", "stream": "stream", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
_TIERS = {"auto": "auto", "default": "standard_only"}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_MEDIA = "text or image_url"


def prepare(endpoint: str, document: dict[str, Any]) -> Prepared:
    """The Messages document of a chat. Raises ``request.dialect``."""
    if endpoint != "chat.completions":
        raise unaskable("this upstream answers chats only", "model")
    given = Parameters(document)
    sent: dict[str, Any] = {}
    given.carry(sent, _CARRIED)
    rewrites = [REWRITE]
    messages = _Messages(given)
    messages.add_all(given.take("messages"))
    if messages.system:
        sent["system"] = messages.system
    if messages.moved:
        rewrites.append(MOVED)
    sent["messages"] = messages.turns
    _add_tools(given, sent)
    _add_format(given, sent)
    given.take("stream_options")  # usage is always reported
    if (stop := given.take("stop")) is not None:
        sent["stop_sequences"] = [stop] if is_text(stop) else stop
    if is_text(user := given.take("user")):
        sent["metadata"] = {"user_id": user}
    if (tier := given.take("service_tier")) is not None:
        if is_text(tier) and tier in _TIERS:
            sent["service_tier"] = _TIERS[tier]
        else:
            given.ignore("service_tier")
    if given.take("n") not in (None, "1"):
        given.ignore("n")
    _add_limits(given, sent, rewrites)
    given.ignore_rest(cached=True)
    return Prepared(sent, PATH, tuple(rewrites), given.ignored)


def _add_limits(given: Parameters, sent: dict[str, Any], rewrites: list[str]) -> None:
    """How long the answer may be, and how much of it thinking (§2(7), §2(8))."""
    limit = given.take("max_completion_tokens")
    older = given.take("max_tokens")
    limit = older if limit is None else limit
    effort, thinking = given.take("reasoning_effort"), given.take("thinking")
    model = str(sent.get("model", ""))
    default = DEFAULT_TOKENS
    if thinking is not None:
        sent["thinking"] = thinking
        if effort is not None:
            given.ignore("reasoning_effort")
    elif effort == "none" and not _NO_THINKING.match(model):
        sent["thinking"] = {"type": "disabled"}
    elif effort in EFFORTS and _BY_BUDGET.match(model):
        budget = _budget(BUDGETS[effort], limit)
        default += BUDGETS[effort]
        if budget is None:
            given.ignore("reasoning_effort")
        else:
            sent["thinking"] = {"type": "enabled", "budget_tokens": number(budget)}
    elif effort in EFFORTS and not _NO_THINKING.match(model):
        default = DEFAULT_TOKENS_ADAPTIVE
        sent["thinking"] = {"type": "adaptive", "display": "summarized"}
        sent.setdefault("output_config", {})["effort"] = "low" if effort == "minimal" else effort
    elif effort not in (None, "none"):
        given.ignore("reasoning_effort")
    if limit is None:
        limit = number(default)
        rewrites.append(LIMITED)
    sent["max_tokens"] = limit


def _budget(wanted: int, limit: object) -> int | None:
    """A budget below the limit, None where there is no room for one."""
    if limit is None:
        return wanted
    if not re.fullmatch(r"[1-9][0-9]{0,9}", str(limit)):
        return None
    budget = min(wanted, int(str(limit)) - 1)
    return budget if budget >= LEAST_BUDGET else None


def _add_tools(given: Parameters, sent: dict[str, Any]) -> None:
    tools = given.take("tools")
    if tools is not None:
        if not isinstance(tools, list):
            raise unaskable("tools is a list", "tools")
        sent["tools"] = [_tool(tool, f"tools.{place}") for place, tool in enumerate(tools)]
    choice = _choice(given.take("tool_choice"))
    parallel = given.take("parallel_tool_calls")
    if parallel is False and tools and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        sent["tool_choice"] = choice


def _tool(tool: object, param: str) -> dict[str, Any]:
    function = function_of(tool, param)
    made = {"name": function["name"]}
    if function.get("description") is not None:
        made["description"] = function["description"]
    schema = function.get("parameters")
    made["input_schema"] = {"type": "object"} if schema is None else schema
    if function.get("strict") is not None:
        made["strict"] = function["strict"]
    return made


def _choice(choice: object) -> dict[str, Any] | None:
    if choice is None:
        return None
    if is_text(choice) and choice in _CHOICES:
        return {"type": _CHOICES[str(choice)]}
    return {"type": "tool", "name": function_of(choice, "tool_choice")["name"]}


def _add_format(given: Parameters, sent: dict[str, Any]) -> None:
    wanted = schema_of(given.take("response_format"))
    if wanted is None:
        return
    if not wanted:
        given.ignore("response_format")
        return
    sent["output_config"] = {"format": {"type": "json_schema", "schema": wanted["schema"]}}
    if wanted.get("description") is not None:
        given.ignore("response_format.json_schema.description")


class _Messages:
    """The messages, one after the other."""

    def __init__(self, given: Parameters) -> None:
        self._given = given
        self.system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.moved = False
        """Whether instructions stood behind other messages."""
        self._results: list[dict[str, Any]] | None = None
        """Results of tools that belong into the turn being made."""

    def add_all(self, messages: object) -> None:
        if not isinstance(messages, list):
            raise unaskable("messages is a list", "messages")
        for place, message in enumerate(messages):
            self._add(message_of(message, f"messages.{place}"), f"messages.{place}")
        if not self.turns:
            raise unaskable("there is nothing but instructions", "messages")

    def _add(self, message: Mapping[str, Any], param: str) -> None:
        role, content = message.get("role"), message.get("content")
        if message.get("name") is not None:
            self._given.ignore("messages.name")
        if role != "tool":
            self._results = None
        if role in ("system", "developer"):
            self.moved = self.moved or bool(self.turns)
            self.system.append({"type": "text", "text": text_of(content, f"{param}.content")})
        elif role == "user":
            self.turns.append({"role": "user", "content": self._content(content, f"{param}.content")})
        elif role == "assistant":
            self.turns.append({"role": "assistant", "content": self._said(message, param)})
        elif role == "tool":
            self._add_result(message, param)
        else:
            raise unaskable(f"no message of role {str(role)[:32]!r} can stand here", f"{param}.role")

    def _add_result(self, message: Mapping[str, Any], param: str) -> None:
        call = message.get("tool_call_id")
        if not is_text(call):
            raise unaskable("the result of a tool names its call", f"{param}.tool_call_id")
        content = self._content(message.get("content"), f"{param}.content")
        result = {"type": "tool_result", "tool_use_id": call, "content": content}
        if self._results is None:
            self._results = []
            self.turns.append({"role": "user", "content": self._results})
        self._results.append(result)

    def _content(self, content: object, param: str) -> Any:
        if is_text(content):
            return content
        if not isinstance(content, list):
            raise unaskable("a content is a string or a list of parts", param)
        return [self._part(part, f"{param}.{place}") for place, part in enumerate(content)]

    def _part(self, part: object, param: str) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and kind == "text" and is_text(part.get("text")):
            kept = {"cache_control": part["cache_control"]} if part.get("cache_control") is not None else {}
            return {"type": "text", "text": part["text"], **kept}
        image = part.get("image_url") if isinstance(part, dict) and kind == "image_url" else None
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(image, dict) or not is_text(url):
            raise unaskable(f"a part of a content is {_MEDIA}", param)
        if image.get("detail") is not None:
            self._given.ignore("messages.content.image_url.detail")
        url = str(url)
        data = split_data_url(url)
        if data is not None:
            return {"type": "image", "source": {"type": "base64", "media_type": data[0], "data": data[1]}}
        if not url.startswith(("https://", "http://")):
            raise unaskable("an image is an http(s) address, or a data URL in base64", param)
        return {"type": "image", "source": {"type": "url", "url": url}}

    def _said(self, message: Mapping[str, Any], param: str) -> Any:
        """What the model is told that it said: its thinking as far as it is signed, text, calls."""
        content = message.get("content")
        calls = calls_of(message, param)
        blocks = self._thoughts(message)
        if content is None and is_text(message.get("refusal")):
            content = message["refusal"]
        if not blocks and not calls:
            return self._content(content, f"{param}.content")
        if content is not None and content != "":
            text = self._content(content, f"{param}.content")
            blocks += [{"type": "text", "text": text}] if is_text(text) else text
        for place, call in enumerate(calls):
            where = f"{param}.tool_calls.{place}"
            function = function_of(call, where)
            arguments = parse_arguments(function.get("arguments"), f"{where}.function.arguments")
            blocks.append({"type": "tool_use", "id": call.get("id"), "name": function["name"], "input": arguments})
        return blocks

    def _thoughts(self, message: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Thinking that came with its signature goes back; what came without one, and what another provider thought,
        is not heeded."""
        details = message.get("reasoning_details")
        found: list[dict[str, Any]] = []
        for detail in details if isinstance(details, list) else ():
            made = _thought(detail)
            if made is not None:
                found.append(made)
            else:
                self._given.ignore("messages.reasoning_details")
        if not found and any(message.get(name) is not None for name in ("reasoning_content", "reasoning")):
            self._given.ignore("messages.reasoning_content")
        return found


def _thought(detail: object) -> dict[str, Any] | None:
    if not isinstance(detail, dict) or detail.get("format") != FORMAT:
        return None
    if detail.get("type") == "reasoning.text" and is_text(detail.get("signature")):
        return {"type": "thinking", "thinking": detail.get("text") or "", "signature": detail["signature"]}
    if detail.get("type") == "reasoning.encrypted" and is_text(detail.get("data")):
        return {"type": "redacted_thinking", "data": detail["data"]}
    return None


FORMAT = "anthropic-claude-v1"
"""Marks thinking as this provider's, in ``reasoning_details``."""
