"""parts.md: the mapping from a document to labelled parts, salts, roots, folding of streams, marks, disclosure."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from typing import Any

from . import tree
from .text import Number, SpecError, b64, jcs, parse, sha

INDEX = re.compile(r"0|[1-9][0-9]*")
"""A path segment that counts as an array index."""

TYPES = [
    line.split()
    for line in """
finish_reason /choices/*/finish_reason /stop_reason /stop_sequence
text /choices/*/message/content /choices/*/text /messages/*/content /prompt /prompt/* /data/*/revised_prompt /content/*/text /system /system/*/text
reasoning /choices/*/message/reasoning_content /choices/*/message/reasoning /choices/*/message/reasoning/** /choices/*/message/reasoning_details/** /content/*/thinking /content/*/signature /content/*/data
refusal /choices/*/message/refusal
tool_call /choices/*/message/tool_calls/** /choices/*/message/function_call/** /messages/*/tool_calls/** /messages/*/function_call/** /content/*/id /content/*/name /content/*/input/** /messages/*/content/*/input/**
tool_result /messages/*/tool_call_id /messages/*/content/*/tool_use_id
citation /choices/*/message/citations/** /choices/*/message/annotations/** /citations/**
image /choices/*/message/images/** /data/*/b64_json /images/** /messages/*/content/*/image_url/** /messages/*/content/*/image_url /messages/*/content/*/source/**
audio /choices/*/message/audio/** /messages/*/content/*/input_audio/**
file /messages/*/content/*/file/**
content_part /choices/*/message/content/** /messages/*/content/** /content/** /system/**
role /choices/*/message/role /messages/*/role /role /messages/*/name
logprobs /choices/*/logprobs/**
usage /usage/**
model /model /system_fingerprint
tool /tools/** /tool_choice/** /functions/** /function_call/**
format /response_format/**
holdfast /holdfast/**
input /inputs/** /input/**
output /outputs/**
artifact /artifact
field /**
""".strip().splitlines()
]
"""The table of parts.md §5, row by row."""
PATTERNS = [(name, [pattern.split("/")[1:] for pattern in patterns]) for name, *patterns in TYPES]
"""The same, cut into segments."""


def _fits(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return True
    if not path:
        return False
    return (pattern[0] in {"*", path[0]}) and _fits(pattern[1:], path[1:])


def type_of(path: list[str]) -> str:
    """The first row whose pattern fits (§3.6)."""
    for name, patterns in PATTERNS:
        if any(_fits(pattern, path) for pattern in patterns):
            return name
    raise AssertionError(path)


def label_of(path: list[str], kind: str) -> str:
    """§3.5 and §3.7."""
    choice, rest = "-", path
    if len(path) >= 2 and path[0] == "choices" and INDEX.fullmatch(path[1]):
        choice, rest = path[1], path[2:]
    index = next((segment for segment in rest if INDEX.fullmatch(segment)), "-")
    pointer = "".join("/" + segment.replace("~", "~0").replace("/", "~1") for segment in path)
    return f"{type_of(path)}|{choice}|{index}|{kind}|{pointer}"


def without_carriers(document: dict[str, Any], name: str) -> dict[str, Any]:
    """§2."""
    return {
        member: value
        for member, value in document.items()
        if not member.startswith("tee_") and (member != "holdfast" or name == "request")
    }


def _walk(value: Any, path: list[str], out: list[tuple[str, bytes]]) -> None:
    if isinstance(value, dict) and value:
        for member, inner in value.items():
            if "\x00" in member:
                raise SpecError("parts.label")
            _walk(inner, [*path, member], out)
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            _walk(inner, [*path, str(position)], out)
    else:
        if isinstance(value, dict):
            kind, data = "o", b""
        elif isinstance(value, list):
            kind, data = "a", b""
        elif isinstance(value, Number):
            kind, data = "n", str(value).encode()
        elif isinstance(value, str):
            kind, data = "s", value.encode()
        else:
            kind, data = "l", {None: b"null", True: b"true", False: b"false"}[value]
        out.append((label_of(path, kind), data))


def map_document(document: Any, name: str) -> list[tuple[str, bytes]]:
    """A parsed document to (label, bytes) in label order (§3)."""
    if not isinstance(document, dict):
        raise SpecError("parts.document")
    out: list[tuple[str, bytes]] = []
    _walk(without_carriers(document, name), [], out)
    if len(out) > 65536:
        raise SpecError("parts.count")
    if sum(len(label.encode()) for label, _ in out) > 16_777_216:
        raise SpecError("parts.labels")
    return sorted(out, key=lambda part: part[0].encode())


def _expand(prk: bytes, info: bytes) -> bytes:
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()[:16]


def pseudo_random_key(run: str, secret: bytes) -> bytes:
    """HKDF-Extract of §4."""
    return hmac.new(uuid.UUID(run).bytes, secret, hashlib.sha256).digest()


def salts(prk: bytes, document: str, count: int) -> list[bytes]:
    """The first salts of §4, 510 to a block and two to a step of HKDF-Expand."""
    found: list[bytes] = []
    while len(found) < count:
        info = f"holdfast/salt/v1/{document}/{len(found) // 510}".encode()
        previous = b""
        for counter in range(1, min(255, (count - len(found) + 1) // 2) + 1):
            previous = hmac.new(prk, previous + info + bytes([counter]), hashlib.sha256).digest()
            found += [previous[:16], previous[16:]]
    return found[:count]


def mark_salt(prk: bytes) -> bytes:
    """§7."""
    return _expand(prk, b"holdfast/salt/v1/mark")


def leaf(label: str, salt_bytes: bytes, data: bytes) -> bytes:
    """leaf_i of §4."""
    return sha(b"\x00" + label.encode() + b"\x00" + salt_bytes + data)


class Bound:
    """A document bound to a run: parts, salts, leaves, root."""

    def __init__(self, document: Any, name: str, run: str, secret: bytes) -> None:
        self.name = name
        self.parts = map_document(document, name)
        prk = pseudo_random_key(run, secret)
        self.salts = salts(prk, name, len(self.parts))
        self.leaves = [leaf(label, salt_i, data) for (label, data), salt_i in zip(self.parts, self.salts, strict=True)]
        self.root = tree.head(self.leaves)

    def named(self) -> dict[str, Any]:
        """As a statement names it."""
        return {"root": self.root.hex(), "size": len(self.parts)}

    def position(self, pointer: str) -> int:
        """Where the part with this path stands."""
        return next(i for i, (label, _) in enumerate(self.parts) if label.split("|", 4)[4] == pointer)

    def disclose(self, pointer: str) -> dict[str, Any]:
        """One disclosed part (§8)."""
        position = self.position(pointer)
        label, data = self.parts[position]
        return {
            "document": self.name,
            "position": position,
            "label": label,
            "salt": b64(self.salts[position]),
            "bytes": b64(data),
            "proof": [step.hex() for step in tree.inclusion(self.leaves, position)],
        }


# --- §6 streams -----------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "number"
    return type(value).__name__


def _index(value: Any) -> int:
    if not isinstance(value, Number) or not INDEX.fullmatch(value) or int(value) > 1023:
        raise SpecError("stream.fold")
    return int(value)


def _by_index(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(item, dict) and "index" in item for item in value)


def _merge(old: Any, new: Any, member: str) -> Any:
    """§6.3 for one member of a delta."""
    if new is None:
        return old
    if old is None:
        return _fresh(new)
    if _kind(old) != _kind(new):
        raise SpecError("stream.fold")
    if isinstance(new, Number | bool):
        return new
    if isinstance(new, str):
        if member not in {"role", "id", "type", "name"}:
            return old + new
        if old and new and old != new and member in {"role", "name"}:
            raise SpecError("stream.fold")
        return new or old
    if isinstance(new, dict):
        return _merge_object(old, new)
    if old and new and _by_index(old) != _by_index(new):
        raise SpecError("stream.fold")
    if not _by_index(old or new):
        return old + new
    merged: dict[int, Any] = {}
    for item in old + new:
        position = _index(item["index"])
        merged[position] = _merge_object(merged[position], item) if position in merged else _fresh(item)
    return [merged[position] for position in sorted(merged)]


def _fresh(value: Any) -> Any:
    """A value that meets nothing yet: merged with emptiness, so that arrays inside it are merged by index too."""
    if isinstance(value, dict):
        return {member: _fresh(inner) for member, inner in value.items()}
    if isinstance(value, list) and _by_index(value):
        return _merge([], value, "")
    return value


def _merge_object(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for member, value in new.items():
        merged[member] = _merge(merged[member], value, member) if member in merged else _fresh(value)
    return merged


def fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Events to one response document (§6)."""
    document: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    seen_choices = False
    for raw in events:
        if not isinstance(raw, dict):
            raise SpecError("stream.fold")
        for member, value in without_carriers(raw, "response").items():
            if member != "choices":
                if value is not None or member not in document:
                    document[member] = value
                continue
            seen_choices = True
            if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
                raise SpecError("stream.fold")
            for element in value:
                _fold_choice(choices.setdefault(_index(element.get("index", Number("0"))), {}), element)
    if seen_choices:
        document["choices"] = [{**choices[position], "index": Number(str(position))} for position in sorted(choices)]
    if document.get("object") == "chat.completion.chunk":
        document["object"] = "chat.completion"
    return document


class Grown(dict[str, Any]):
    """A message that was made of deltas."""


PIECES = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}
"""Of §9(3): which piece grows which member of which block."""
FIXED = {"content", "role", "id", "model", "stop_reason", "stop_sequence"}


def _demand(holds: object) -> None:
    if not holds:
        raise SpecError("stream.fold")


def fold_message(events: list[Any]) -> dict[str, Any]:
    """Events of a message to one response document (§9)."""
    document: dict[str, Any] = {}
    growing = over = False

    def beside(event: dict[str, Any], *known: str) -> None:
        for member, value in event.items():
            if member not in known:
                _demand(member not in FIXED)
                if value is not None or member not in document:
                    document[member] = value

    for raw in events:
        _demand(isinstance(raw, dict))
        event = without_carriers(raw, "response")
        match event.get("type"):
            case "ping":
                _demand(set(event) == {"type"})
            case "message_start":
                message = event.get("message")
                _demand(not document and isinstance(message, dict) and message.get("content") == [])
                document = {**message, "content": []}
                beside(event, "type", "message")
            case _ if not document or over:
                raise SpecError("stream.fold")
            case "content_block_start":
                _demand(set(event) == {"type", "index", "content_block"} and not growing)
                _demand(isinstance(event["content_block"], dict) and "partial_json" not in event["content_block"])
                document["content"].append(dict(event["content_block"]))
                _demand(_index(event["index"]) == len(document["content"]) - 1)
                growing = True
            case "content_block_delta":
                _demand(set(event) == {"type", "index", "delta"} and growing and isinstance(event["delta"], dict))
                _demand(_index(event["index"]) == len(document["content"]) - 1)
                block, delta = document["content"][-1], event["delta"]
                _demand(delta.get("type") in PIECES)
                of, member = PIECES[delta["type"]]
                _demand(set(delta) == {"type", member} and block.get("type") == of)
                _demand(_kind(delta[member]) == "str")
                old = block.get(member)
                _demand(old is None or _kind(old) == "str")
                block[member] = (old or "") + delta[member]
            case "content_block_stop":
                _demand(set(event) == {"type", "index"} and growing)
                _demand(_index(event["index"]) == len(document["content"]) - 1)
                growing = False
                block = document["content"][-1]
                said = block.pop("partial_json", "") if block.get("type") == "tool_use" else ""
                if said:
                    try:
                        block["input"] = parse(said.encode())
                    except SpecError as error:
                        raise SpecError("stream.fold") from error
                    _demand(isinstance(block["input"], dict))
            case "message_delta":
                delta, usage = event.get("delta"), event.get("usage")
                _demand(not growing and isinstance(delta, dict) and (usage is None or isinstance(usage, dict)))
                _demand(not {"content", "role", "id", "type"} & set(delta))
                document.update(delta)
                if usage is not None:
                    before = document.get("usage")
                    document["usage"] = {**(before if isinstance(before, dict) else {}), **usage}
                beside(event, "type", "delta", "usage")
            case "message_stop":
                _demand(set(event) == {"type"} and not growing)
                over = True
            case _:
                raise SpecError("stream.fold")
    return document


def _fold_choice(choice: dict[str, Any], element: dict[str, Any]) -> None:
    for member, value in element.items():
        if member == "index":
            continue
        if member == "delta":
            if value is None:
                continue
            if not isinstance(value, dict) or (
                choice.get("message") is not None and not isinstance(choice["message"], Grown)
            ):
                raise SpecError("stream.fold")
            choice["message"] = Grown(_merge_object(choice.get("message") or {}, value))
        elif member in {"text", "logprobs"}:
            choice[member] = _merge(choice.get(member), value, member)
        elif member == "message" and value is not None and isinstance(choice.get(member), Grown):
            raise SpecError("stream.fold")
        elif value is not None or member not in choice:
            choice[member] = value


# --- §7 marks -------------------------------------------------------------------------------------------------------


def chunk_root(event: dict[str, Any], salt_bytes: bytes) -> bytes:
    """Root over the parts of one event."""
    return tree.head([leaf(label, salt_bytes, data) for label, data in map_document(event, "response")])


class Marker:
    """The chain of marks of one run."""

    def __init__(self, run: str, secret: bytes, sign: Any) -> None:
        self.run = run
        self.salt = mark_salt(pseudo_random_key(run, secret))
        self.sign = sign
        self.chain = sha(b"\x02" + self.salt)
        self.seq = 0

    def mark(self, window: list[dict[str, Any]]) -> dict[str, Any]:
        """The mark over the events since the last one."""
        previous = self.chain
        root = tree.head([chunk_root(event, self.salt) for event in window])
        self.chain = sha(b"\x02" + previous + root)
        self.seq += 1
        return self.signed(self.seq, previous, self.chain, len(window))

    def signed(self, seq: int, previous: bytes, chain: bytes, events: int) -> dict[str, Any]:
        """A mark with its signature."""
        body = {"events": events, "parts": chain.hex(), "previous": previous.hex(), "run": self.run, "seq": seq}
        message = jcs({**body, "type": "urn:holdfast:mark:v1"})
        return {
            "seq": seq,
            "previous": previous.hex(),
            "parts": chain.hex(),
            "events": events,
            "signature": b64(self.sign(message)),
        }
