"""What the dialects share: which parameters were heeded, strict looks at values, data URLs, numbers that keep their
text.

Everything here takes values of ``canonical.decode_exact``: a number is a :class:`NumberText`, and so a ``str`` too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.fold import Fold
from holdfast.errors import MalformedError, RefusedError, UsageError

EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
"""What ``reasoning_effort`` can ask for besides ``none``."""
PROVIDER_FIELDS = "provider_fields"
"""Where what a provider said beside its answer stands (``dialects.md`` §4)."""

_OF_MESSAGES = frozenset(
    {
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
    }
)
_OF_FUNCTIONS = frozenset({"name", "description", "parameters", "strict"})
_DATA_URL = re.compile(r"data:([a-z]+/[A-Za-z0-9.+-]+);base64,([A-Za-z0-9+/]+={0,2})\Z")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}\Z")


class Parameters:
    """The top level of a request, and which of it has been heeded. What is null counts as not there."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._heeded: set[str] = set()
        self._ignored: set[str] = set()

    def take(self, name: str) -> Any:
        """A parameter, or None; from now on it is heeded unless :meth:`ignore` says otherwise."""
        self._heeded.add(name)
        return self._document.get(name)

    def ignore(self, name: str) -> None:
        """Name a parameter, or a dotted place in one, that the provider does not heed."""
        self._ignored.add(name)

    def carry(self, into: dict[str, Any], names: Mapping[str, str]) -> None:
        """Put parameters into the provider's document under its own names, as they are."""
        for name, theirs in names.items():
            if (value := self.take(name)) is not None:
                into[theirs] = value

    @property
    def ignored(self) -> tuple[str, ...]:
        """Everything that was not heeded, sorted."""
        rest = {name for name, value in self._document.items() if value is not None and name not in self._heeded}
        return tuple(sorted(rest | self._ignored))

    def ignore_rest(self, *, cached: bool) -> None:
        """Name what stands in messages, their parts and tools, all of the right shape, and has no place in any dialect:
        ``cache_control`` but where ``cached`` says that texts of the conversation keep theirs."""
        for message in self._document["messages"]:
            self._rest(message, _OF_MESSAGES, "messages")
            keeps = cached and message.get("role") not in ("system", "developer")
            content = message.get("content")
            for part in content if isinstance(content, list) else ():
                known = {"type", str(part["type"])} | ({"cache_control"} if keeps and part["type"] == "text" else set())
                self._rest(part, known, "messages.content")
        for tool in self._document.get("tools") or ():
            self._rest(tool, {"type", "function"}, "tools")
            self._rest(tool["function"], _OF_FUNCTIONS, "tools.function")

    def _rest(self, value: Mapping[str, Any], known: frozenset[str] | set[str], place: str) -> None:
        self._ignored |= {
            f"{place}.{name[:64]}" for name, item in value.items() if name not in known and item is not None
        }


def is_text(value: object) -> bool:
    """Whether a value is a string; a number is none."""
    return isinstance(value, str) and not isinstance(value, NumberText)


def unaskable(message: str, param: str) -> UsageError:
    """``request.dialect``: something that cannot be asked of this upstream."""
    return UsageError(
        "request.dialect", message, param=param, hint="leave it out, or ask a model of another upstream for it"
    )


def unreadable(message: str) -> MalformedError:
    """``dialect.answer``: an answer that has no OpenAI shape."""
    return MalformedError("dialect.answer", message)


def refused(message: str, status: int) -> RefusedError:
    """``dialect.refused``: the provider's own refusal, where it comes inside a stream."""
    return RefusedError("dialect.refused", message, status=status)


def as_object(value: object, what: str) -> Mapping[str, Any]:
    """A member of an answer that has to be an object. Raises ``dialect.answer``."""
    if not isinstance(value, dict):
        raise unreadable(f"{what} is not an object")
    return value


def as_list(value: object, what: str) -> list[Any]:
    """A member of an answer that has to be a list. Raises ``dialect.answer``."""
    if not isinstance(value, list):
        raise unreadable(f"{what} is not a list")
    return value


def as_text(value: object, what: str) -> str:
    """A member of an answer that has to be a string. Raises ``dialect.answer``."""
    if not is_text(value):
        raise unreadable(f"{what} is not a string")
    return str(value)


def as_count(value: object, what: str) -> int:
    """A member of an answer that has to be a count; absent or null is 0. Raises ``dialect.answer``."""
    if value is None:
        return 0
    if not isinstance(value, NumberText) or _WHOLE.match(value) is None:
        raise unreadable(f"{what} is not a count")
    return int(value)


def only(value: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a piece of an answer that says more than ``known`` members do, unless it says nothing there. Raises
    ``dialect.answer``."""
    more = next((name for name, item in value.items() if name not in known and item is not None), None)
    if more is not None:
        raise unreadable(f"a piece of the answer has a member {more[:64]!r} that has no place in a chat completion")


def number(value: int) -> NumberText:
    """A count as it stands in a document."""
    return NumberText(str(value))


def fold_whole(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The chat completion that chunks come to (``parts.md`` §6), its calls as in a whole answer: without ``index``.
    Raises ``dialect.answer``."""
    fold = Fold()
    try:
        for chunk in chunks:
            fold.add(chunk)
        document = fold.document()
    except MalformedError as error:
        raise unreadable(f"the pieces of the answer do not fit together: {error.message}") from error
    for choice in document["choices"]:
        message = choice.get("message", {})
        if message.get("tool_calls"):
            message["tool_calls"] = [
                {name: item for name, item in call.items() if name != "index"} for call in message["tool_calls"]
            ]
    return document


def usage(prompt: int, completion: int, cached: int | None, reasoning: int | None) -> dict[str, Any]:
    """OpenAI's counts; what the provider did not say is left out."""
    said: dict[str, Any] = {
        "prompt_tokens": number(prompt),
        "completion_tokens": number(completion),
        "total_tokens": number(prompt + completion),
    }
    if cached is not None:
        said["prompt_tokens_details"] = {"cached_tokens": number(cached)}
    if reasoning is not None:
        said["completion_tokens_details"] = {"reasoning_tokens": number(reasoning)}
    return said


def split_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 of a data URL, else None."""
    found = _DATA_URL.match(url)
    return (found[1], found[2]) if found else None


def parse_arguments(text: object, param: str) -> dict[str, Any]:
    """The arguments of a function call, which travel as JSON text: an object. Raises ``request.dialect``."""
    if text is None or text == "":
        return {}
    try:
        value = canonical.decode_exact(str(text).encode()) if is_text(text) else None
    except MalformedError:
        value = None
    if not isinstance(value, dict):
        raise unaskable("the arguments of a call are the JSON text of an object", param)
    return value


def text_of(content: object, param: str) -> str:
    """A content that has to be text alone: a string, or parts of type ``text``. Raises ``request.dialect``."""
    if is_text(content):
        return str(content)
    if not isinstance(content, list) or not all(
        isinstance(part, dict) and part.get("type") == "text" and is_text(part.get("text")) for part in content
    ):
        raise unaskable("only text can stand here", param)
    return "".join(part["text"] for part in content)


def function_of(tool: object, param: str) -> Mapping[str, Any]:
    """The function that a tool is. Raises ``request.dialect``."""
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not is_text(function.get("name")):
        raise unaskable("a tool is a function with a name", param)
    return function


def message_of(message: object, param: str) -> Mapping[str, Any]:
    """A message of a request. Raises ``request.dialect``."""
    if not isinstance(message, dict):
        raise unaskable("a message is an object", param)
    return message


def calls_of(message: Mapping[str, Any], param: str) -> list[Any]:
    """The calls that a message makes, possibly none. Raises ``request.dialect``."""
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise unaskable("tool_calls is a list", f"{param}.tool_calls")
    return calls or []


def schema_of(wanted: object) -> Mapping[str, Any] | None:
    """What ``response_format`` asks for: a JSON schema's object, ``{}`` for any JSON, None for text. Raises
    ``request.dialect``."""
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    described = wanted.get("json_schema") if isinstance(wanted, dict) else None
    if kind != "json_schema" or not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise unaskable("response_format is text, json_object, or json_schema with its schema", "response_format")
    return described
