"""OpenGradient's texts, hashes and signatures, read from opengradient.md: a writer by hand, no ``json``."""

from __future__ import annotations

from typing import Any

from .signing import keccak256
from .text import SHORT, Number, SpecError, sha
from .x509 import RSA


def write(value: Any) -> str:
    """§1. Numbers are as parsed: integers when written as such, else doubles."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:d}"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(map(_character, value)) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    names = sorted(value, key=lambda name: [ord(character) for character in name])
    return "{" + ", ".join(f"{write(name)}: {write(value[name])}" for name in names) + "}"


def _character(character: str) -> str:
    code = ord(character)
    if code in SHORT:
        return SHORT[code]
    if 0x20 <= code <= 0x7E:
        return character
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def read(value: Any) -> Any:
    """§1(2): numbers that were texts."""
    if isinstance(value, Number):
        if not set(value) & set(".eE"):
            if len(value) > 4300:
                raise SpecError("opengradient.number")
            return int(value)
        double = float(value)
        if double in (float("inf"), float("-inf")):
            raise SpecError("opengradient.number")
        return double
    if isinstance(value, list):
        return [read(item) for item in value]
    if isinstance(value, dict):
        return {name: read(item) for name, item in value.items()}
    return value


def canonical(endpoint: str, request: Any) -> bytes:
    """§2, of a request that has a form; it says nothing of others."""
    hashed = {
        "model",
        "temperature",
        "prompt",
        "max_tokens",
        "stop",
        "tools",
        "response_format",
        "web_search",
        "reasoning_effort",
    }
    value = {name: read(item) for name, item in request.items() if name in hashed}
    chat = endpoint == "chat.completions"
    found = {"model": value["model"], "temperature": 0.0}
    if value.get("temperature") is not None:
        found["temperature"] = float(value["temperature"])
    if chat:
        found["messages"] = [message(item) for item in request["messages"]]
    else:
        found["prompt"] = value["prompt"]
    if value.get("max_tokens") is not None:
        found["max_tokens"] = value["max_tokens"]
    for name in ("stop", "tools", "response_format") if chat else ("stop",):
        if value.get(name):
            found[name] = value[name]
    if value.get("web_search"):
        found["web_search"] = True
    if chat and value.get("reasoning_effort") in ("low", "medium", "high"):
        found["reasoning_effort"] = value["reasoning_effort"]
    return write(found).encode("ascii")


def message(value: dict[str, Any]) -> dict[str, Any]:
    """§2(2)."""
    role, content = value["role"], value.get("content")
    if role == "user":
        return {"role": role, "content": content if isinstance(content, str) else [part(item) for item in content]}
    value = read(
        {name: item for name, item in value.items() if name in {"content", "tool_calls", "tool_call_id", "name"}}
    )
    content = value.get("content")
    if role == "assistant":
        said = {"role": role, "content": content or ""}
        if value.get("tool_calls"):
            said["tool_calls"] = [call(item) for item in value["tool_calls"]]
        return said
    if role == "tool":
        return {"role": role, "content": content, "tool_call_id": value.get("tool_call_id")}
    if role == "function":
        return {"role": role, "content": content, "name": value.get("name")}
    return {"role": "system", "content": content}


def part(value: dict[str, Any]) -> dict[str, Any]:
    """§2(3)."""
    if value["type"] == "text":
        return {"type": "text", "text": value.get("text") or ""}
    file = value.get("file")
    name = (file.get("filename") if isinstance(file, dict) else None) or value.get("filename")
    return {"type": value["type"], "filename": name} if name else {"type": value["type"]}


def call(value: dict[str, Any]) -> dict[str, Any]:
    """§2(4) and §3."""
    function = value.get("function", {})
    named = {"name": function.get("name", ""), "arguments": function.get("arguments", "")}
    return {"id": value.get("id", ""), "type": value.get("type", "function"), "function": named}


def output(endpoint: str, answer: dict[str, Any]) -> str:
    """§3."""
    first = answer["choices"][0]
    if endpoint == "completions":
        return first["text"] or ""
    said = first["message"]
    if first["finish_reason"] == "tool_calls" and said.get("tool_calls"):
        return write([made(item) for item in said["tool_calls"]])
    return said.get("content") or ""


def made(value: dict[str, Any]) -> dict[str, Any]:
    """A tool call of §3."""
    named = {name: value["function"].get(name) or "" for name in ("name", "arguments")}
    return {"id": value.get("id") or "", "type": value.get("type") or "function", "function": named}


def answer_hash(request_hash: bytes, output_hash: bytes, time: int) -> bytes:
    """§4(2)."""
    return keccak256(request_hash + output_hash + time.to_bytes(32, "big"))


def sign(key: RSA, digest: bytes) -> str:
    """§4(2), as hex."""
    return key.sign(digest, "sha256").hex()


def heartbeat(tee_id: bytes, time: int) -> bytes:
    """§7."""
    return keccak256(tee_id + time.to_bytes(32, "big"))


def configuration(tee_id: bytes, numbers: tuple[int, int, int, int], public: bytes, config: bytes) -> bytes:
    """§6."""
    words = [keccak256(b"OPENGRADIENT_TEE_OHTTP_CONFIG_V1"), tee_id]
    words += [number.to_bytes(32, "big") for number in numbers]
    return keccak256(b"".join([*words, keccak256(public), keccak256(config)]))


def user_data(certificate: bytes, key: bytes) -> bytes:
    """§8."""
    return bytes.fromhex("1220") + sha(certificate) + bytes.fromhex("1220") + sha(key)
