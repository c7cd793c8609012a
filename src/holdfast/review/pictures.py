"""The images in a run's documents that a page may show (``images.md`` §3, §4): those whose bytes are one, and no other.

Pure. Not covered: whether the documents are what was signed, which whoever hands them in has seen to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex
from holdfast.core.images import Image, parse_data_url, parse_image
from holdfast.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of an answer."""

    path: str
    """Of the part that holds it."""
    image: Image
    data: bytes
    caption: str
    """What the upstream says it made of the prompt; empty where it says nothing."""

    @property
    def url(self) -> str:
        """A ``data:`` URL of these bytes under the kind that they are."""
        return f"data:image/{self.image.kind};base64,{b64_encode(self.data)}"

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, hex."""
        return sha256_hex(self.data)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The images of an answer."""

    prompt: str
    """What was asked for: the alternative text of each."""
    shown: tuple[Picture, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()
    """(path, why) of what stands where an image belongs and is not shown as one."""


def pictures_of(request: object, response: object) -> Pictures:
    """The images of a response document; documents decoded from JSON."""
    shown, hidden = [], []
    for path, caption, read in _candidates(response):
        try:
            image, data = read()
        except MalformedError as error:
            hidden.append((path, error.message))
        else:
            shown.append(Picture(path, image, data, caption))
    return Pictures(_prompt(request) if shown or hidden else "", tuple(shown), tuple(hidden))


def _candidates(response: object) -> Iterator[tuple[str, str, Any]]:
    """(path, caption, how it is read) of everything that stands where an image belongs."""
    document: Mapping[str, Any] = response if isinstance(response, dict) else {}
    for number, item in enumerate(_list(document.get("data"))):
        if isinstance(item, dict) and "b64_json" in item:
            caption, text = item.get("revised_prompt"), item["b64_json"]
            yield f"/data/{number}/b64_json", caption if isinstance(caption, str) else "", lambda text=text: _read(text)
    for number, choice in enumerate(_list(document.get("choices"))):
        message = choice.get("message") if isinstance(choice, dict) else None
        for place, item in enumerate(_list(message.get("images") if isinstance(message, dict) else None)):
            found = item.get("image_url") if isinstance(item, dict) else None
            url = found.get("url") if isinstance(found, dict) else None
            text = url if isinstance(url, str) else ""
            path = f"/choices/{number}/message/images/{place}/image_url/url"
            yield path, "", lambda text=text: parse_data_url(text)


def _read(text: object) -> tuple[Image, bytes]:
    data = b64_decode(text)
    return parse_image(data), data


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _prompt(request: object) -> str:
    """The prompt, or the last thing that the user said."""
    document: Mapping[str, Any] = request if isinstance(request, dict) else {}
    if isinstance(document.get("prompt"), str):
        return str(document["prompt"])
    for message in reversed(_list(document.get("messages"))):
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
            return str(message["content"])
    return ""
