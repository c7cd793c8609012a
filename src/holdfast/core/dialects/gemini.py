"""Google's Gemini API as a dialect (``spec/dialects.md`` §5, §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.dialects import Prepared
from holdfast.core.dialects.gemini_answer import GeminiReader, whole
from holdfast.core.dialects.gemini_request import NAME, prepare


class GeminiDialect:
    """Implements :class:`holdfast.core.dialects.Speaking`."""

    name = NAME

    def prepare(self, endpoint: str, document: dict[str, Any]) -> Prepared:
        return prepare(endpoint, document)

    def whole(self, answer: Mapping[str, Any], created: int) -> dict[str, Any]:
        return whole(answer, created)

    def reader(self, created: int) -> GeminiReader:
        return GeminiReader(created)
