"""Answers for OpenGradient's clients (``spec/opengradient.md`` §9): what is sent on for them, how an answer is shaped
before it is bound, and the signature that it carries.

A caller is known by ``X-SETTLEMENT-TYPE``, by the path it came on, or by this gateway's settings. Everything that binds
an answer stays as it is for other callers; the signature is one more carrier. RSA runs in a thread of its own, and only
for these callers.

Not covered: HTTP (``app``), and the pages that their clients and operators read (``opengradient_reads``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from holdfast.core import canonical
from holdfast.core import opengradient as og
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_encode
from holdfast.core.evm import keccak256
from holdfast.errors import MalformedError
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer

Signs = Literal["never", "asked", "always"]
"""Whose answers are signed: nobody's, those of callers that send :data:`SETTLEMENT_HEADER`, everybody's."""
SETTLEMENT_HEADER = b"x-settlement-type"
SETTLEMENTS = {
    "private": "private",
    "pivate": "private",
    "batch": "batch",
    "individual": "individual",
    "inidvidual": "individual",
}
"""Values of the header, with the misspellings that their servers take, to our settlement modes."""
MODEL_PREFIX = "TEE_LLM."
"""How their enumeration of models prints; some of their clients send that."""
RENAMED = {"gemini3flash": "gemini3flashpreview"}
"""Members of their enumeration (opengradient 1.1.4) that are not named like the model, both squashed."""


def parse_settlement(header: bytes) -> str:
    """Their header as a settlement mode of ours. Raises ``request.settlement``."""
    mode = SETTLEMENTS.get(header.decode("latin-1").strip().lower())
    if mode is None:
        raise MalformedError(
            "request.settlement", "X-SETTLEMENT-TYPE is private, batch or individual", param="X-SETTLEMENT-TYPE"
        )
    return mode


def hash_request(endpoint: str, value: Mapping[str, Any]) -> bytes:
    """The request hash of a request that is to have a signed answer. Raises ``opengradient.*``."""
    count = value.get("n")
    if count is not None and not (isinstance(count, NumberText) and count == "1"):
        raise MalformedError("opengradient.request", "one choice is signed, so n is 1", param="n", hint="leave n out")
    return keccak256(og.canonical_request(endpoint, value))


def squash(label: str) -> str:
    """A model's name without what spellings differ in: letters and digits, in lower case."""
    return "".join(filter(str.isalnum, label.lower()))


def find_alias(label: str, offered: list[str]) -> list[str]:
    """The offered labels that a model's name may mean: ``TEE_LLM.NAME``, ``provider/model`` or the bare name, compared
    squashed. A provider that is named is not another one's, but an offer may name none."""
    provider, name = _halves(label.removeprefix(MODEL_PREFIX))
    name = RENAMED.get(name, name) if label.startswith(MODEL_PREFIX) else name
    meant = {item: theirs for item in offered if (theirs := _halves(item))[1] == name}
    same = [item for item, (theirs, _) in meant.items() if theirs == provider]
    return same or [item for item, (theirs, _) in meant.items() if not theirs or not provider]


def _halves(label: str) -> tuple[str, str]:
    """Provider, or nothing, and name of a model, both squashed."""
    provider, _, name = label.rpartition("/")
    return squash(provider), squash(name)


def change_sent(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What goes to the upstream for such a caller, and the codes of what was changed (§9(2))."""
    rewrites = []
    if "web_search" in value:
        value = {name: item for name, item in value.items() if name != "web_search"}
        rewrites.append("web-search-removed")
    value, asked = ask_usage(value)
    return value, rewrites + asked


def ask_usage(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A request whose stream reports what was used, and the code of the change where it was one."""
    options = value.get("stream_options")
    if value.get("stream") is True and (options is None or isinstance(options, dict)):
        asked = {**(options or {}), "include_usage": True}
        if asked != options:
            return {**value, "stream_options": asked}, ["usage-asked"]
    return value, []


def shape_answer(endpoint: str, value: Any) -> Any:
    """A whole answer as their clients read it (§9(3)); what is no answer is left for others to refuse."""
    if not isinstance(value, dict):
        return value
    shaped = {name: item for name, item in value.items() if name != "usage" or item is not None}
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        return shaped
    shaped["choices"] = [_shape_choice(choice) for choice in choices]
    if endpoint == "completions":
        shaped["completion"] = og.output_text(endpoint, value)
    return shaped


def _shape_choice(choice: Any) -> Any:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not message.get("tool_calls"):
        return choice
    return {**choice, "message": {**message, "tool_calls": og.signed_calls(message["tool_calls"])}}


async def shape_stream(endpoint: str, events: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A stream as their clients read it (§9(3)): finish reasons and usage wait for one last frame."""
    last = _LastFrame(endpoint)
    try:
        async for payload in events:
            shaped = last.take(canonical.decode_exact(payload))
            if shaped is not None:
                yield canonical.encode_exact(shaped)
        frame = last.frame()
        if frame is not None:
            yield canonical.encode_exact(frame)
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


_SAID = ("delta", "text", "message", "logprobs")
"""Members of a choice whose order in the stream matters, so that they never wait."""
_ORDERED = {"index", "finish_reason", *_SAID}


class _LastFrame:
    """What is kept back of a stream for its last frame. Nothing is lost of it: what an event says beside its choices,
    and a finishing choice beside what it adds to the text, come in the last frame when they did not come before."""

    def __init__(self, endpoint: str) -> None:
        self._empty: dict[str, Any] = {"delta": {}} if endpoint == "chat.completions" else {"text": ""}
        self._top: dict[str, Any] = {}
        self._owed = False
        """Whether the last frame has something to say."""
        self._finished: dict[str, dict[str, Any]] = {}

    def take(self, event: Any) -> Any:
        """An event without what is kept back; None when nothing is left of it."""
        if not isinstance(event, dict):
            return event
        self._top |= {name: item for name, item in event.items() if name != "choices" and item is not None}
        shaped = {name: item for name, item in event.items() if name != "usage"}
        choices = event.get("choices")
        if not isinstance(choices, list):
            self._owed = self._owed or event.get("usage") is not None
            return shaped
        shaped["choices"] = kept = [item for choice in choices if (item := self._take_choice(choice)) is not None]
        self._owed = self._owed or not kept or event.get("usage") is not None
        return shaped if kept else None

    def _take_choice(self, choice: Any) -> Any:
        if not isinstance(choice, dict):
            return choice
        finishes = choice.get("finish_reason") is not None
        said = not finishes or any(choice.get(name) for name in _SAID)
        index = str(choice.get("index", "0"))
        waiting = dict(self._finished.get(index, {}))
        if said:  # it goes on now: what waits under the same names is out of date
            waiting |= {name: choice[name] for name in waiting.keys() & choice.keys() - _ORDERED}
        if not finishes:
            if waiting:
                self._finished[index] = waiting
            return choice
        rest = {name: item for name, item in choice.items() if not said or name in ("index", "finish_reason")}
        empty = {} if "message" in choice else self._empty
        self._finished[index] = {"index": NumberText("0"), **empty, **waiting, **rest}
        return {**choice, "finish_reason": None} if said else None

    def frame(self) -> dict[str, Any] | None:
        """The last frame; None when there is nothing to say in it."""
        if not self._finished and not self._owed:
            return None
        return {**self._top, "choices": list(self._finished.values())}


class AnswerSigner:
    """Signs with OpenGradient's scheme. ``signer`` holds an RSA key; its work is done in a thread of its own, so that
    the event loop never waits for it."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        og.parse_signing_key(signer.key.public)
        self.public = signer.key.public
        """DER SubjectPublicKeyInfo."""
        self.tee_id = og.tee_id_of(signer.key.public)
        self._signer = signer
        self._clock = clock
        self._configurations: dict[bytes, dict[str, str | int]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opengradient")

    async def sign(self, digest: bytes) -> bytes:
        """RSASSA-PSS over one of the hashes of ``core/opengradient.py``: 256 bytes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._signer.sign, digest)

    async def sign_answer(self, request_hash: bytes, text: str) -> dict[str, str | int]:
        """The ``tee_*`` members for an answer whose output text (§3) is ``text``."""
        output_hash = keccak256(text.encode())
        timestamp = int(self._clock.now().timestamp())
        signature = await self.sign(og.message_hash(request_hash, output_hash, timestamp))
        return og.AnswerSignature(signature, request_hash, output_hash, timestamp, self.tee_id).to_json()

    async def sign_heartbeat(self, timestamp: int) -> bytes:
        """A heartbeat's signature (§7)."""
        return await self.sign(og.heartbeat_hash(self.tee_id, timestamp))

    async def key_configuration(
        self, key_id: int, kem_id: int, kdf_id: int, aead_id: int, public_key: bytes, key_config: bytes
    ) -> dict[str, str | int]:
        """A key configuration as ``GET /v1/ohttp/config`` shows it, signed once (§6): anybody may ask for it."""
        digest = og.ohttp_hash(self.tee_id, key_id, kem_id, kdf_id, aead_id, public_key, key_config)
        if digest in self._configurations:
            return self._configurations[digest]
        self._configurations[digest] = {
            "key_id": key_id,
            "kem_id": kem_id,
            "kdf_id": kdf_id,
            "aead_id": aead_id,
            "public_key": public_key.hex(),
            "key_config": b64_encode(key_config),
            "tee_id": "0x" + self.tee_id.hex(),
            "signature": b64_encode(await self.sign(digest)),
            "signature_hash": "0x" + digest.hex(),
        }
        return self._configurations[digest]

    def close(self) -> None:
        """End the thread; what it is at is finished."""
        self._thread.shutdown(wait=False)
