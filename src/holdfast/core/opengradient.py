"""OpenGradient's answer format: what its hashes cover, and its RSA signature (``spec/opengradient.md``).

Everything is a function of bytes and decoded JSON. Requests and answers come from :func:`canonical.decode_exact`, whose
numbers are text; :func:`plain` turns them into what a Python server has after ``json.loads``, since the format hashes
what ``json.dumps(…, sort_keys=True)`` makes of that. Where that would depend on Python beyond JSON (``Infinity``, the
``str`` of an object) the request is refused, so every hash made here is one that any client can make again.

Not covered: which callers get such an answer, and where the key lives (``nodes/gateway``); what of an answer this
format leaves unsigned stands in the spec, and in our own statements.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode, b64_encode, sha256
from holdfast.core.evm import keccak256
from holdfast.errors import MalformedError, RefusedError

PLACEHOLDER_KEY = "0x" + "1234567890abcdef" * 4
"""What their clients send as a key (``opengradient`` 1.1.4, ``client/llm.py``): everybody has it, it is no secret."""
ENDPOINTS = ("chat.completions", "completions")
"""What can be asked, by the names of ``statement.md`` §4.1."""
KEY_BYTES, KEY_BITS, KEY_EXPONENT = 294, 2048, 65537
"""The one form of a signing key: DER SubjectPublicKeyInfo of this size, modulus and exponent (§4)."""
SIGNATURE_BYTES = KEY_BITS // 8
SALT_BYTES = 32
"""Salt of RSASSA-PSS (RFC 8017 §8.1), as long as its hash (§4)."""
MAX_TIMESTAMP = 2**63 - 1
"""Unix seconds; the format has 256 bits for them."""
MAX_INTEGER_DIGITS = 4300
"""Longer integers are refused (§2(6)): Python's ``int`` takes no more."""
OHTTP_DOMAIN = keccak256(b"OPENGRADIENT_TEE_OHTTP_CONFIG_V1")
"""First word of what signs a key configuration (§6)."""
EFFORTS = ("low", "medium", "high")
"""Values of ``reasoning_effort`` that are hashed (§2(1))."""
FIELDS = ("tee_signature", "tee_request_hash", "tee_output_hash", "tee_timestamp", "tee_id")
"""Members of a signed answer (§5)."""

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
_HASH = re.compile(r"(?:0x)?([0-9a-fA-F]{64})\Z")
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_BYTES)


# Requests (§2)


def plain(value: Any) -> JSON:
    """A value of :func:`canonical.decode_exact` with its numbers as Python reads them: integers whole, everything else
    as a double. Raises ``opengradient.number`` for what is no finite double or has too many digits."""
    if isinstance(value, NumberText):
        return _number(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    found: JSON = value
    return found


def _number(text: NumberText) -> int | float:
    if not any(mark in text for mark in ".eE"):
        if len(text) > MAX_INTEGER_DIGITS:
            raise MalformedError("opengradient.number", f"an integer has at most {MAX_INTEGER_DIGITS} digits here")
        return int(text)
    return _finite(text)


def _finite(number: str | float) -> float:
    """A finite double; ``Infinity`` is no JSON, so nobody could say what the hash covers."""
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise MalformedError("opengradient.number", "a number is larger than a double can be")
    return value


def dump(value: JSON) -> str:
    """``json.dumps(value, sort_keys=True)``: ASCII, names by code point, ``", "`` and ``": "`` between (§1)."""
    return json.dumps(value, sort_keys=True, allow_nan=False)


def canonical_request(endpoint: str, value: Mapping[str, Any]) -> bytes:
    """The bytes that ``tee_request_hash`` covers (§2). ``value`` is a request from :func:`canonical.decode_exact`.

    Raises ``opengradient.request`` for what the format has no canonical form for, and ``opengradient.number``.
    """
    temperature = value.get("temperature")
    if temperature is not None and not isinstance(temperature, NumberText):
        raise _unfit("temperature is a number", "temperature")
    model = value.get("model")
    if not _is_text(model) or not model:
        raise _unfit("model is a string", "model")
    found: dict[str, JSON] = {
        "model": model,
        "temperature": 0.0 if temperature is None else _finite(_number(temperature)),
    }
    if endpoint == "chat.completions":
        messages = value.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _unfit("messages is a list of at least one message", "messages")
        found["messages"] = [_message(number, item) for number, item in enumerate(messages)]
    elif _is_text(value.get("prompt")):
        found["prompt"] = value["prompt"]
    else:
        raise _unfit("prompt is a string", "prompt")
    if value.get("max_tokens") is not None:
        found["max_tokens"] = plain(value["max_tokens"])
    more = ("stop", "tools", "response_format") if endpoint == "chat.completions" else ("stop",)
    found |= {name: item for name in more if (item := plain(value.get(name)))}
    if not isinstance(found.get("tools", []), list):
        raise _unfit("tools is a list", "tools")
    if plain(value.get("web_search")):
        found["web_search"] = True
    if endpoint == "chat.completions" and value.get("reasoning_effort") in EFFORTS:
        found["reasoning_effort"] = value["reasoning_effort"]
    return dump(found).encode("ascii")


def _message(number: int, message: object) -> JSON:
    """One message (§2(2))."""
    where = f"messages.{number}"
    if not isinstance(message, dict):
        raise _unfit("a message is an object", where)
    role, content = message.get("role"), message.get("content")
    match role:
        case "system" | "developer":
            return {"role": "system", "content": plain(content)}
        case "user":
            return {"role": "user", "content": _user_content(where, content)}
        case "assistant":
            said: dict[str, JSON] = {"role": "assistant", "content": plain(content) or ""}
            calls = plain(message.get("tool_calls"))
            if calls:
                said["tool_calls"] = _tool_calls(calls, f"{where}.tool_calls")
            return said
        case "tool":
            return {"role": "tool", "content": plain(content), "tool_call_id": plain(message.get("tool_call_id"))}
        case "function":
            return {"role": "function", "content": plain(content), "name": plain(message.get("name"))}
        case _:
            raise _unfit("role is system, developer, user, assistant, tool or function", f"{where}.role")


def _user_content(where: str, content: object) -> JSON:
    """A user's words; of an attachment nothing but its type and file name (§2(3))."""
    if _is_text(content):
        return str(content)
    if not isinstance(content, list):
        raise _unfit("a user's content is a string or a list of parts", f"{where}.content")
    parts: list[JSON] = []
    for part in content:
        if not isinstance(part, dict) or not _is_text(part.get("type")):
            raise _unfit("a part of a user's content is an object with a type", f"{where}.content")
        if part["type"] == "text":
            text = part.get("text")
            if text is not None and not _is_text(text):
                raise _unfit("the text of a part is a string", f"{where}.content")
            parts.append({"type": "text", "text": text or ""})
            continue
        file = part.get("file")
        name = plain((file.get("filename") if isinstance(file, dict) else None) or part.get("filename"))
        parts.append({"type": part["type"], "filename": name} if name else {"type": part["type"]})
    return parts


def _tool_calls(calls: JSON, where: str) -> list[JSON]:
    """Calls with nothing but what the format names (§2(4))."""
    if not isinstance(calls, list):
        raise _unfit("tool_calls is a list", where)
    found: list[JSON] = []
    for call in calls:
        function = call.get("function", {}) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise _unfit("a tool call is an object with a function", where)
        named: dict[str, JSON] = {"name": function.get("name", ""), "arguments": function.get("arguments", "")}
        found.append({"id": call.get("id", ""), "type": call.get("type", "function"), "function": named})
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _unfit(message: str, param: str) -> MalformedError:
    return MalformedError("opengradient.request", message, param=param)


# Answers (§3)


def signed_calls(calls: object) -> list[dict[str, Any]]:
    """Tool calls of an answer as the format has them (§3): exactly ``id``, ``type`` and ``function`` with ``name`` and
    ``arguments``, all texts. Raises ``opengradient.answer``."""
    if not isinstance(calls, list) or not calls:
        raise _unsigned("tool_calls is a list of at least one call")
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise _unsigned("a tool call is an object with a function")
        named = {name: _text(function.get(name)) for name in ("name", "arguments")}
        kind = _text(call.get("type")) or "function"
        found.append({"id": _text(call.get("id")), "type": kind, "function": named})
    return found


def output_text(endpoint: str, answer: Mapping[str, Any]) -> str:
    """What ``tee_output_hash`` covers of a whole answer or a folded stream (§3): the first choice's tool calls when it
    ended in them, else its text. Raises ``opengradient.answer``."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _unsigned("an answer has at least one choice")
    first = choices[0]
    if endpoint == "completions":
        return _text(first.get("text"))
    message = first.get("message")
    if not isinstance(message, dict):
        raise _unsigned("a choice has a message")
    if first.get("finish_reason") == "tool_calls" and message.get("tool_calls"):
        return dump(plain(signed_calls(message["tool_calls"])))
    return _text(message.get("content"))


def _text(content: object) -> str:
    if content is None:
        return ""
    if not _is_text(content):
        raise _unsigned("the text of an answer is a string")
    return str(content)


def _unsigned(message: str) -> MalformedError:
    return MalformedError("opengradient.answer", message)


# Hashes (§4, §6, §7)


def message_hash(request_hash: bytes, output_hash: bytes, timestamp: int) -> bytes:
    """What an answer's signature is over: Keccak-256 of the two hashes and the time as a 32-byte integer (§4)."""
    return keccak256(request_hash + output_hash + timestamp.to_bytes(32))


def heartbeat_hash(tee_id: bytes, timestamp: int) -> bytes:
    """What a heartbeat's signature is over (§7)."""
    return keccak256(tee_id + timestamp.to_bytes(32))


def ohttp_hash(
    tee_id: bytes, key_id: int, kem_id: int, kdf_id: int, aead_id: int, public_key: bytes, key_config: bytes
) -> bytes:
    """What the signature of a key configuration is over (§6): eight words."""
    numbers = b"".join(number.to_bytes(32) for number in (key_id, kem_id, kdf_id, aead_id))
    return keccak256(OHTTP_DOMAIN + tee_id + numbers + keccak256(public_key) + keccak256(key_config))


def attestation_data(tls_certificate: bytes, signing_key: bytes) -> bytes:
    """The 68 bytes of user data that bind a TLS certificate and the signing key, both DER (§8)."""
    return b"".join(b"\x12\x20" + sha256(item) for item in (tls_certificate, signing_key))


def tee_id_of(signing_key: bytes) -> bytes:
    """Keccak-256 of the signing key's DER SubjectPublicKeyInfo, 32 bytes (§4)."""
    return keccak256(signing_key)


def parse_hash(value: object) -> bytes:
    """A hash or id in either spelling, with ``0x`` or without, in letters of either case. Raises
    ``opengradient.hash``."""
    match = _HASH.match(value) if isinstance(value, str) else None
    if match is None:
        raise MalformedError("opengradient.hash", "a hash is 64 hex digits, with or without 0x")
    return bytes.fromhex(match[1])


# Signatures (§4)


@lru_cache(maxsize=256)
def parse_signing_key(der: bytes) -> rsa.RSAPublicKey:
    """The one form of a signing key. Raises ``opengradient.key``."""
    refusal = MalformedError(
        "opengradient.key", "a signing key is the DER SubjectPublicKeyInfo of RSA, 2048 bits, exponent 65537"
    )
    if len(der) != KEY_BYTES:
        raise refusal
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError) as error:
        raise refusal from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != KEY_BITS or key.public_numbers().e != KEY_EXPONENT:
        raise refusal
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_bytes(serialization.Encoding.DER, form) != der:
        raise refusal
    return key


def verify_hash(signing_key: bytes, digest: bytes, signature: bytes) -> None:
    """Check RSASSA-PSS over one of the hashes above. Raises ``opengradient.key`` or ``opengradient.signature``."""
    key = parse_signing_key(signing_key)
    try:
        key.verify(signature, digest, _PSS, hashes.SHA256())
    except InvalidSignature as error:
        raise RefusedError("opengradient.signature", "the signature is not of this key and hash") from error


@dataclass(frozen=True, slots=True)
class AnswerSignature:
    """The ``tee_*`` members of an answer (§5), parsed."""

    signature: bytes
    request_hash: bytes
    output_hash: bytes
    timestamp: int
    tee_id: bytes

    def to_json(self) -> dict[str, str | int]:
        """As they are sent: the id with ``0x``, the hashes without."""
        return {
            "tee_signature": b64_encode(self.signature),
            "tee_request_hash": self.request_hash.hex(),
            "tee_output_hash": self.output_hash.hex(),
            "tee_timestamp": self.timestamp,
            "tee_id": "0x" + self.tee_id.hex(),
        }


def parse_answer_signature(answer: Mapping[str, Any]) -> AnswerSignature:
    """The ``tee_*`` members of an answer from :func:`canonical.decode_exact`. Raises ``opengradient.answer``,
    ``opengradient.hash`` or ``encoding.base64``; checks no signature."""
    missing = [name for name in FIELDS if name not in answer]
    if missing:
        raise _unsigned(f"{missing[0]} is missing")
    timestamp = answer["tee_timestamp"]
    if not isinstance(timestamp, NumberText) or not timestamp.isdigit() or len(timestamp) > 19:
        raise _unsigned("tee_timestamp is in whole seconds")
    if int(timestamp) > MAX_TIMESTAMP:
        raise _unsigned("tee_timestamp is too far away")
    return AnswerSignature(
        b64_decode(answer["tee_signature"], SIGNATURE_BYTES),
        parse_hash(answer["tee_request_hash"]),
        parse_hash(answer["tee_output_hash"]),
        int(timestamp),
        parse_hash(answer["tee_id"]),
    )


def verify_answer(
    endpoint: str, request: Mapping[str, Any], answer: Mapping[str, Any], signing_key: bytes
) -> AnswerSignature:
    """Check an answer against the request and a key that is known from elsewhere (§5). For a stream, ``answer`` is the
    folded stream with its last frame's ``tee_*`` members. Raises ``opengradient.*``."""
    parse_signing_key(signing_key)
    claimed = parse_answer_signature(answer)
    if tee_id_of(signing_key) != claimed.tee_id:
        raise RefusedError("opengradient.tee_id", "the answer names another key")
    request_hash = keccak256(canonical_request(endpoint, request))
    if request_hash != claimed.request_hash:
        raise RefusedError("opengradient.request_hash", "another request was signed")
    output_hash = keccak256(output_text(endpoint, answer).encode())
    if output_hash != claimed.output_hash:
        raise RefusedError("opengradient.output_hash", "another answer was signed")
    verify_hash(signing_key, message_hash(request_hash, output_hash, claimed.timestamp), claimed.signature)
    return claimed
