"""How providers want to be asked, and how their answers become OpenAI-shaped: pure functions (``spec/dialects.md``).

A *dialect* turns the OpenAI-shaped document of a run into the document that leaves for the provider (``prepare``), and
what the provider answers into a chat completion or its chunks (``Speaking``). Every number keeps its text, every string
its characters.

Rules: a parameter that has no place at the provider is named, never left out silently. Content that has no place is
refused: an answer to another question is no answer. What a provider says and this text does not know is passed on in
``provider_fields`` where it stands beside the answer, and refused where it would be a piece of the answer.

Not covered: who is asked (``nodes.gateway.catalog``), and HTTP (``adapters.upstream_dialect``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

OPENAI_PATHS = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "images.generations": "/images/generations",
    "embeddings": "/embeddings",
}
"""Endpoint names of statements (``statement.md`` §4.1) to OpenAI's paths below a base URL."""


_KNOWN = frozenset(
    {
        "audio",
        "background",
        "best_of",
        "cache_control",
        "dimensions",
        "echo",
        "encoding_format",
        "frequency_penalty",
        "function_call",
        "functions",
        "input",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "messages.cache_control",
        "messages.content.cache_control",
        "messages.content.file.filename",
        "messages.content.image_url.detail",
        "messages.content.is_error",
        "messages.is_error",
        "messages.name",
        "messages.reasoning_content",
        "messages.reasoning_details",
        "metadata",
        "modalities",
        "model",
        "n",
        "output_format",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt",
        "prompt_cache_key",
        "quality",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "response_format.json_schema.description",
        "safety_identifier",
        "seed",
        "service_tier",
        "size",
        "stop",
        "store",
        "stream",
        "stream_options",
        "style",
        "suffix",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "tools.cache_control",
        "tools.function.cache_control",
        "tools.function.strict",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""Names of parameters that the APIs have, and places in them that a dialect, or what makes a chat of a message, may
leave out."""


def known_names(ignored: Iterable[str]) -> tuple[str, ...]:
    """Those that a statement may hold (``statement.md`` §4.1(6)): what only one caller writes is nobody else's."""
    return tuple(sorted(set(ignored) & _KNOWN))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What leaves for a provider."""

    document: dict[str, Any]
    """The body; the very object that was handed in where nothing had to change."""
    path: str
    """Where it goes, below the base URL."""
    rewrites: tuple[str, ...] = ()
    """Codes for the route, of what was changed."""
    ignored: tuple[str, ...] = ()
    """Parameters of the request that the provider does not heed, sorted; dotted where one stands inside another."""


class Dialect(Protocol):
    """How one upstream wants to be asked."""

    @property
    def name(self) -> str:
        """``openai``, ``anthropic`` or ``gemini``."""
        ...

    def prepare(self, endpoint: str, document: dict[str, Any]) -> Prepared:
        """What leaves for an OpenAI-shaped document whose ``model`` is already the provider's. Raises
        ``request.dialect`` for what cannot be asked there."""
        ...


class Reader(Protocol):
    """Takes the events of one streamed answer, in order."""

    def take(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The OpenAI-shaped chunks that an event comes to, possibly none. Raises ``dialect.answer`` for an event that
        cannot be shaped, and ``dialect.refused`` for an error in the stream, with the provider's status."""
        ...

    @property
    def over(self) -> bool:
        """Whether the provider has said that its answer is whole."""
        ...

    def end(self) -> list[dict[str, Any]]:
        """The chunks that were waiting for the end of the stream. Raises ``dialect.answer`` where it came too soon."""
        ...


class Speaking(Dialect, Protocol):
    """A dialect whose answers have another shape too."""

    def whole(self, answer: Mapping[str, Any], created: int) -> dict[str, Any]:
        """A whole answer as a chat completion; ``created`` is the gateway's clock, Unix seconds. Raises as
        :meth:`Reader.take` does."""
        ...

    def reader(self, created: int) -> Reader:
        """For one stream."""
        ...
