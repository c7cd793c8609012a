"""Anthropic's Messages API as an upstream, at Anthropic or at whoever serves that API.

The base URL ends with the version (``…/v1``). The rules are those of ``_upstream_dialect``.
"""

from __future__ import annotations

import datetime as dt
import re

import msgspec

from holdfast.adapters._upstream import OpenAIUpstreamConfig, offered, require_success
from holdfast.adapters._upstream_dialect import DialectUpstream
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import ModelInfo, UpstreamProtocolError

VERSION = "2023-06-01"
"""The version of the API that every request names."""
_PATHS = re.compile(r"/messages\Z")
_LISTING = "/models?limit=1000"


class _Listed(msgspec.Struct):
    id: str
    created_at: str | None = None


class _Listing(msgspec.Struct):
    data: list[_Listed]


_decode_listing = msgspec.json.Decoder(_Listing).decode


class AnthropicUpstream(DialectUpstream):
    """Implements :class:`holdfast.ports.upstream.Upstream`."""

    def __init__(self, config: OpenAIUpstreamConfig, clock: Clock) -> None:
        super().__init__(
            config,
            clock,
            AnthropicDialect(),
            _PATHS,
            key_field=("x-api-key", ""),
            fields=(("anthropic-version", VERSION),),
        )

    async def models(self) -> list[ModelInfo]:
        response = await self._get(_LISTING)
        require_success(response)
        try:
            listed = _decode_listing(response.body).data
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamProtocolError("the provider's list of models is not shaped as Anthropic's") from error
        return offered(self._config.models, (ModelInfo(item.id, "", _seconds(item.created_at)) for item in listed))


def _seconds(at: str | None) -> int:
    try:
        return max(0, int(dt.datetime.fromisoformat(at).timestamp())) if at else 0
    except ValueError:
        return 0
