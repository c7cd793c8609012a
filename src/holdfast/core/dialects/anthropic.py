"""Anthropic's Messages API as a dialect (``spec/dialects.md`` §2 to §4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.dialects import Prepared
from holdfast.core.dialects.anthropic_answer import AnthropicReader, whole
from holdfast.core.dialects.anthropic_request import NAME, prepare


class AnthropicDialect:
    """Implements :class:`holdfast.core.dialects.Speaking`."""

    name = NAME

    def prepare(self, endpoint: str, document: dict[str, Any]) -> Prepared:
        return prepare(endpoint, document)

    def whole(self, answer: Mapping[str, Any], created: int) -> dict[str, Any]:
        return whole(answer, created)

    def reader(self, created: int) -> AnthropicReader:
        return AnthropicReader(created)
