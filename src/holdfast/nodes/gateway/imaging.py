"""Answers that are images: held against what was asked before anything of them is bound (``spec/images.md`` §2(4)), and
given content credentials that name their run where the gateway does that (§6).

Nothing is fetched, and nothing else is changed. Not covered: images in chats, which are bound as they come (§4).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core.content_credentials import ImageClaim
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.images import parse_answer, parse_image, parse_request
from holdfast.errors import MalformedError, UnavailableError, UsageError
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


class Embed(Protocol):
    """Puts credentials into one image: its kind, its bytes, what they are to name, and whether rules made it."""

    def __call__(self, kind: str, data: bytes, claim: ImageClaim, *, ruled: bool) -> Awaitable[bytes]: ...


@dataclass(frozen=True, slots=True)
class Crediting:
    """Whether and how a gateway's images get credentials."""

    embed: Embed | None = None
    ruled: frozenset[str] = frozenset()
    """Upstreams whose images fixed rules make."""

    def wanted(self, ask: Ask, *, hidden: bool) -> bool:
        """Whether this request's images get some. ``hidden`` where nothing may name the run wherever its images go: it
        is private, or came sealed. Raises ``request.credentials`` where they are asked for and cannot be."""
        asked = ask.options.credentials
        able = self.embed is not None and ask.endpoint == IMAGES and not hidden
        if asked and not able:
            raise UsageError(
                "request.credentials",
                "no credentials are put into what this request asks for",
                hint="leave holdfast.credentials out",
                param="holdfast.credentials",
            )
        return able and asked is not False

    async def credit(self, answer: Mapping[str, Any], run: str, attester: str, upstream: str) -> dict[str, Any]:
        """An answer that holds (:func:`hold_images`), its images with credentials. Raises ``gateway.credentials``."""
        if self.embed is None:
            raise UnavailableError("gateway.credentials", "this gateway puts no credentials into images")
        made = []
        for number, item in enumerate(answer["data"]):
            data = b64_decode(item["b64_json"])
            claim = ImageClaim(run, attester, number)
            new = await self.embed(parse_image(data).kind, data, claim, ruled=upstream in self.ruled)
            made.append({**item, "b64_json": b64_encode(new)})
        return {**answer, "data": made}
