"""Google's Gemini API as an upstream.

The base URL ends with the version (``…/v1beta``). The rules are those of ``_upstream_dialect``.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from holdfast.adapters._upstream import OpenAIUpstreamConfig, offered, require_success
from holdfast.adapters._upstream_dialect import DialectUpstream
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.dialects.gemini_request import PATH
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import ModelInfo, UpstreamProtocolError

_ANSWERS = "generateContent"
_MOST_PAGES = 10
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}\Z")


class _Listed(msgspec.Struct):
    name: str
    supportedGenerationMethods: list[str] | None = None  # noqa: N815 - the provider's name


class _Listing(msgspec.Struct):
    models: list[_Listed] = []
    nextPageToken: str | None = None  # noqa: N815


_decode_listing = msgspec.json.Decoder(_Listing).decode


class GeminiUpstream(DialectUpstream):
    """Implements :class:`holdfast.ports.upstream.Upstream`."""

    def __init__(self, config: OpenAIUpstreamConfig, clock: Clock) -> None:
        super().__init__(config, clock, GeminiDialect(), PATH, key_field=("x-goog-api-key", ""))

    async def models(self) -> list[ModelInfo]:
        found: list[ModelInfo] = []
        page = ""
        for _ in range(_MOST_PAGES):
            response = await self._get("/models?pageSize=1000" + page)
            require_success(response)
            try:
                listing = _decode_listing(response.body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UpstreamProtocolError("the provider's list of models is not shaped as Google's") from error
            found += [
                ModelInfo(item.name.removeprefix("models/"), "", 0)
                for item in listing.models
                if item.supportedGenerationMethods is None or _ANSWERS in item.supportedGenerationMethods
            ]
            token = listing.nextPageToken
            if not token or _TOKEN.match(token) is None:
                break
            page = f"&pageToken={quote(token, safe='')}"
        return offered(self._config.models, found)
