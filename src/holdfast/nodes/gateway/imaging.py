"""Answers that are images: held against what was asked before anything of them is bound (``spec/images.md`` §2(4)).

Nothing is fetched and nothing is changed. Not covered: images in chats, which are bound as they come (§4).
"""

from __future__ import annotations

from typing import Any

from holdfast.core.images import parse_answer, parse_request
from holdfast.errors import MalformedError, UnavailableError
from holdfast.nodes.gateway.request import IMAGES, Ask


def hold_images(ask: Ask, answer: Any) -> None:
    """Raises ``upstream.image_url`` for an image that is told by a URL, and ``upstream.image`` for every other reason
    why an answer does not hold. Answers of other endpoints are none of its business."""
    if ask.endpoint != IMAGES or not isinstance(answer, dict):
        return
    try:
        parse_answer(answer, parse_request(ask.value).count)
    except MalformedError as error:
        if error.code == "image.url":
            raise UnavailableError(
                "upstream.image_url",
                "the upstream told where an image lies instead of sending it",
                hint='ask again with "response_format": "b64_json", which some providers want to be told',
                status=502,
            ) from error
        message = f"the upstream's images cannot be delivered: {error.message} ({error.code})"
        raise UnavailableError("upstream.image", message, status=502) from error
