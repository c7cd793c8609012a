"""A renderer as an upstream: pictures from words without a key, a network or a model, and it says that it is none.

The model id is ``holdfast-render``, owned by ``holdfast``; what it answers to is ``renderer.scene``. It is asked at
``/images/generations``, or in a chat, whose last message of the user is then the prompt; a chat's stream carries its
images in one event. The same prompt, ``seed`` and size have the same bytes.

* ``n`` images are of the seeds from ``seed`` on. ``size`` is ``auto`` (512x512) or sides of 64 to 1024 pixels.
* ``output_format`` is ``png``. ``quality``, ``style``, ``background`` and ``user`` change nothing.
* A malformed request is refused with the status and error body that a provider would send (``upstream.status``).

Not covered: photographs, text in pictures, editing a picture, and anything that its list of words does not have.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from holdfast.adapters._local_requests import BadRequestError, Fields, last_said, refusing
from holdfast.adapters._local_upstream import OWNER
from holdfast.adapters.renderer.png import write_png
from holdfast.adapters.renderer.raster import paint
from holdfast.adapters.renderer.scene import read_scene
from holdfast.core.dialects.openai import RENDERER, Profile
from holdfast.core.encoding import b64_encode
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import EventStream, ModelInfo, UpstreamAnswer, UpstreamUnreachableError

MODEL_ID = "holdfast-render"
FINGERPRINT = "hf_render_1"
"""Changes whenever a picture can."""
IMAGES, CHAT = "/images/generations", "/chat/completions"
NOUN = "the renderer"
CREATED = 1_796_000_000
"""In November 2026, when its rules were written."""
LEAST_SIDE, MOST_SIDE, USUAL_SIDE = 64, 1024, 512
MOST_IMAGES = 10
_MOST_PROMPT = 32_000
_SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})\Z")


@dataclass(frozen=True, slots=True)
class _Job:
    """A checked request."""

    prompt: str
    count: int
    width: int
    height: int
    seed: int
    include_usage: bool


@dataclass(frozen=True, slots=True)
class _Picture:
    base64: str
    words: str


class RendererUpstream:
    """Implements :class:`holdfast.ports.upstream.Upstream` in this process."""

    def __init__(self, clock: Clock, new_id: Callable[[], str], *, code: str = "render") -> None:
        self._clock = clock
        self._new_id = new_id
        self._code = code
        self._closed = False

    def __repr__(self) -> str:
        return f"RendererUpstream({self._code!r}, {FINGERPRINT})"

    @property
    def code(self) -> str:
        return self._code

    @property
    def dialect(self) -> Profile:
        return RENDERER

    async def models(self) -> list[ModelInfo]:
        self._check_open()
        return [ModelInfo(MODEL_ID, OWNER, CREATED, outputs=("image",))]

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:  # noqa: ARG002 - never waits
        self._check_open()
        job = refusing(NOUN, body, lambda request: _parse(path, request))
        pictures = await asyncio.to_thread(_render, job)
        value = self._images(job, pictures) if path == IMAGES else self._chat(job, pictures)
        return UpstreamAnswer(200, "application/json", _dump(value))

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> EventStream:  # noqa: ARG002 - never idle
        return self._events(path, body)

    async def close(self) -> None:
        self._closed = True

    def _images(self, job: _Job, pictures: list[_Picture]) -> dict[str, Any]:
        return {
            "created": int(self._clock.now().timestamp()),
            "data": [{"b64_json": picture.base64, "revised_prompt": picture.words} for picture in pictures],
            "output_format": "png",
            "size": f"{job.width}x{job.height}",
        }

    def _chat(self, job: _Job, pictures: list[_Picture]) -> dict[str, Any]:
        message = {"role": "assistant", **_message(pictures)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._frame("chat.completion"), "choices": [choice], "usage": _usage(job)}

    async def _events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        self._check_open()
        job = refusing(NOUN, body, lambda request: _parse(path, request, streams=True))
        pictures = await asyncio.to_thread(_render, job)
        self._check_open()
        frame = self._frame("chat.completion.chunk")
        if job.include_usage:
            frame["usage"] = None
        yield _chunk(frame, {"role": "assistant", "content": ""})
        yield _chunk(frame, _message(pictures))
        yield _chunk(frame, {}, "stop")
        if job.include_usage:
            yield _dump({**frame, "choices": [], "usage": _usage(job)})

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": "chatcmpl-" + self._new_id(),
            "object": kind,
            "created": int(self._clock.now().timestamp()),
            "model": MODEL_ID,
            "system_fingerprint": FINGERPRINT,
        }

    def _check_open(self) -> None:
        if self._closed:
            raise UpstreamUnreachableError("this upstream was closed")


def _render(job: _Job) -> list[_Picture]:
    found = []
    for number in range(job.count):
        scene = read_scene(job.prompt, job.seed + number)
        found.append(_Picture(b64_encode(write_png(paint(scene, job.width, job.height))), scene.words()))
    return found


def _message(pictures: list[_Picture]) -> dict[str, Any]:
    """What a chat's message has of pictures, in the shape that OpenRouter gave it."""
    images = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture.base64}"}} for picture in pictures
    ]
    return {"content": pictures[0].words, "images": images}


def _usage(job: _Job) -> dict[str, int]:
    """Words of the prompt; a picture is counted as itself (``images.md`` §5)."""
    words = len(job.prompt.split())
    return {"prompt_tokens": words, "completion_tokens": 0, "total_tokens": words}


def _chunk(frame: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _dump({**frame, "choices": [choice]})


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# Reading the request.


def _parse(path: str, request: dict[str, Any], *, streams: bool = False) -> _Job:
    if path not in (IMAGES, CHAT) or (streams and path == IMAGES):
        raise BadRequestError(f"'{MODEL_ID}' makes pictures: ask at {IMAGES}, whole, or in a chat.", status=404)
    model = request.get("model")
    if model != MODEL_ID:
        raise BadRequestError(
            f"The model does not exist here; this upstream serves '{MODEL_ID}'.",
            param="model",
            code="model_not_found",
            status=404,
        )
    fields = Fields(request)
    prompt = request.get("prompt") if path == IMAGES else last_said(request.get("messages"))
    if not isinstance(prompt, str) or not 0 < len(prompt) <= _MOST_PROMPT:
        raise BadRequestError(f"'prompt' is a text of 1 to {_MOST_PROMPT} characters.", param="prompt")
    if path == IMAGES and request.get("response_format") not in (None, "b64_json"):
        raise BadRequestError("'response_format' is b64_json.", param="response_format")
    if request.get("output_format") not in (None, "png"):
        raise BadRequestError(f"'{MODEL_ID}' writes PNG alone.", param="output_format")
    width, height = _sides(request.get("size"))
    options = request.get("stream_options")
    return _Job(
        prompt=prompt,
        count=fields.integer("n", 1, MOST_IMAGES) or 1,
        width=width,
        height=height,
        seed=fields.integer("seed", -(2**63), 2**63) or 0,
        include_usage=Fields(options if isinstance(options, dict) else {}).boolean("include_usage"),
    )


def _sides(size: Any) -> tuple[int, int]:
    if size in (None, "auto"):
        return USUAL_SIDE, USUAL_SIDE
    match = _SIZE.match(size) if isinstance(size, str) else None
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
        message = f"'size' is auto, or two sides of {LEAST_SIDE} to {MOST_SIDE} pixels, like 512x512."
        raise BadRequestError(message, param="size")
    return sides
