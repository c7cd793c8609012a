"""Providers that take OpenAI's shapes, and what each is known to do with parameters (``spec/dialects.md`` §7).

A :class:`Profile` is a table of what a provider's own documentation says: parameters that it does not heed, those that
it refuses, and those that it calls otherwise. It knows nothing of a parameter that it does not list: that goes up as it
is. Profiles change what leaves as little as the provider allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.dialects import OPENAI_PATHS, Prepared
from holdfast.errors import UsageError

NAME = "openai"
RENAMED = "parameters-renamed"
REMOVED = "parameters-removed"
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a provider; implements :class:`holdfast.core.dialects.Dialect`."""

    profile: str
    unheeded: frozenset[str] = NOTHING
    """Goes up as it is and changes nothing there."""
    refused: frozenset[str] = NOTHING
    """Left out, because the provider refuses requests that hold it."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Goes up under another name, unless that is there too."""
    one_choice: bool = False
    """Whether ``n`` must be 1 there: left out otherwise."""
    heeded: frozenset[str] | None = None
    """Where it is known: all that changes anything there."""
    models: Mapping[str, Profile] = field(default_factory=dict)
    """What more is known of models whose name begins so."""
    name: str = NAME

    def prepare(self, endpoint: str, document: dict[str, Any]) -> Prepared:
        path = OPENAI_PATHS.get(endpoint, "")
        model = str(document.get("model", ""))
        known = [self, *(more for start, more in self.models.items() if model.startswith(start))]
        ignored, rewrites, sent = set(), [], document
        for profile in known:
            given = {name for name, value in sent.items() if value is not None}
            ignored |= given & profile.unheeded
            if profile.heeded is not None and endpoint != "embeddings":  # what is known is of chats
                ignored |= given - profile.heeded
            gone = (given & profile.refused) | (
                {"n"} if profile.one_choice and sent.get("n") not in (None, "1") else set()
            )
            if gone:
                ignored |= gone
                rewrites.append(REMOVED)
                sent = {name: value for name, value in sent.items() if name not in gone}
            named = {old: new for old, new in profile.renamed.items() if old in given and new not in given}
            if named:
                rewrites.append(RENAMED)
                sent = {named.get(name, name): value for name, value in sent.items()}
        return Prepared(sent, path, tuple(rewrites), tuple(sorted(ignored)))


_EXTRAS = frozenset(
    {
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
    }
)
"""Of OpenAI's hosted service; servers that run models themselves read past them."""

_NAMED = (
    Profile("openai"),
    Profile("openrouter"),
    Profile("ark"),
    Profile("nous"),
    Profile("together"),
    Profile("vllm", unheeded=_EXTRAS),
    Profile("llama.cpp", unheeded=_EXTRAS),
    Profile(
        "ollama",
        unheeded=_EXTRAS | {"n", "logit_bias", "tool_choice", "parallel_tool_calls"},
        renamed={"max_completion_tokens": "max_tokens"},
    ),
    Profile("xai", unheeded=frozenset({"logit_bias"})),
    Profile("groq", refused=frozenset({"logprobs", "logit_bias", "top_logprobs"}), one_choice=True),
    Profile(
        "mistral",
        refused=frozenset({"logprobs", "logit_bias", "top_logprobs", "user", "store", "service_tier"}),
        renamed={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
    ),
    Profile(
        "deepseek",
        unheeded=frozenset({"seed", "n", "logit_bias", "user"}),
        renamed={"max_completion_tokens": "max_tokens"},
        models={
            "deepseek-reasoner": Profile(
                "deepseek",
                unheeded=frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"}),
                refused=frozenset({"logprobs", "top_logprobs"}),
            )
        },
    ),
)
PROFILES: Mapping[str, Profile] = {profile.profile: profile for profile in _NAMED}
"""By the word of the settings."""
PLAIN = Profile("")
"""Nothing is known: everything goes up as it is."""
LOCAL = Profile(
    "builtin",
    heeded=frozenset(
        {
            "model",
            "messages",
            "prompt",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
            "stop",
            "n",
            "echo",
        }
    ),
)
"""The responders of this process: one answer each, whatever the sampling."""


RENDERER = Profile(
    "renderer",
    heeded=frozenset(
        {
            "model",
            "messages",
            "prompt",
            "stream",
            "stream_options",
            "n",
            "seed",
            "size",
            "output_format",
            "response_format",
        }
    ),
)
"""The renderer of this process."""


def find_profile(name: str | None) -> Profile:
    """The profile of a setting. Raises ``upstream.config``."""
    if name is None:
        return PLAIN
    profile = PROFILES.get(name)
    if profile is None:
        raise UsageError(
            "upstream.config",
            f"no profile is called {name[:32]!r}",
            param="profile",
            hint=f"one of {', '.join(sorted(PROFILES))}, or none where nothing is known",
        )
    return profile
