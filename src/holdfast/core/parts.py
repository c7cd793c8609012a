"""Parts: cut a JSON document into salted Merkle leaves, and check disclosed ones (``spec/parts.md``).

``map_parts`` is total: every strict JSON object has exactly one list of parts. ``salts`` come from the run secret.
``commit`` is the whole way from JSON bytes to a root; ``verify_part`` is the way back from one disclosed part.

Not covered: who signed the root (``core.statements``) and how streams become documents (``core.fold``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from holdfast.core import canonical, merkle
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.statements import Tree
from holdfast.errors import MalformedError, RefusedError

MAX_PARTS = 65_536
"""Parts of one document (``parts.md`` §3(9))."""
MAX_LABEL_BYTES = 16 << 20
"""All labels of one document together (``parts.md`` §3(9)): a member name stands in the label of each part below."""
SALT_BYTES = 16
"""Size of a leaf salt (``parts.md`` §4)."""
SECRET_BYTES = 32
"""Size of a run secret (``parts.md`` §4)."""
DOCUMENTS = ("request", "sent", "response")
"""The documents of a turn (``parts.md`` §1)."""
CARRIER_PREFIX = "tee_"
"""Top-level members with this prefix are carriers (``parts.md`` §2)."""
CARRIER = "holdfast"
"""The other carrier member, except in a request (``parts.md`` §2)."""
MAX_CACHED_PATH = 256
"""Characters of the longest path whose label is remembered: names come from outside, and memory is ours."""
_FEW = 8192
"""So many short labels cannot reach :data:`MAX_LABEL_BYTES`."""
_SALT_INFO = b"holdfast/salt/v1/"
_BLOCK_BYTES = 64
"""Block of SHA-256, to which HMAC pads its key (RFC 2104 §2)."""
_INNER_PAD, _OUTER_PAD = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""The key's bytes combined with ``ipad`` and ``opad`` (RFC 2104 §2), as tables for :meth:`bytes.translate`."""
_BLOCK_SALTS = 255 * 32 // SALT_BYTES
"""Salts in one HKDF expansion, which gives at most 255 hashes (RFC 5869 §2.3)."""

_TYPES: tuple[tuple[str, str], ...] = (
    ("finish_reason", "/choices/*/finish_reason"),
    ("finish_reason", "/stop_reason"),
    ("finish_reason", "/stop_sequence"),
    ("text", "/choices/*/message/content"),
    ("text", "/choices/*/text"),
    ("text", "/messages/*/content"),
    ("text", "/prompt"),
    ("text", "/prompt/*"),
    ("text", "/data/*/revised_prompt"),
    ("text", "/content/*/text"),
    ("text", "/system"),
    ("text", "/system/*/text"),
    ("reasoning", "/choices/*/message/reasoning_content"),
    ("reasoning", "/choices/*/message/reasoning/**"),
    ("reasoning", "/choices/*/message/reasoning_details/**"),
    ("reasoning", "/content/*/thinking"),
    ("reasoning", "/content/*/signature"),
    ("reasoning", "/content/*/data"),
    ("refusal", "/choices/*/message/refusal"),
    ("tool_call", "/choices/*/message/tool_calls/**"),
    ("tool_call", "/choices/*/message/function_call/**"),
    ("tool_call", "/messages/*/tool_calls/**"),
    ("tool_call", "/messages/*/function_call/**"),
    ("tool_call", "/content/*/id"),
    ("tool_call", "/content/*/name"),
    ("tool_call", "/content/*/input/**"),
    ("tool_call", "/messages/*/content/*/input/**"),
    ("tool_result", "/messages/*/tool_call_id"),
    ("tool_result", "/messages/*/content/*/tool_use_id"),
    ("citation", "/choices/*/message/citations/**"),
    ("citation", "/choices/*/message/annotations/**"),
    ("citation", "/citations/**"),
    ("image", "/choices/*/message/images/**"),
    ("image", "/data/*/b64_json"),
    ("image", "/images/**"),
    ("image", "/messages/*/content/*/image_url/**"),
    ("image", "/messages/*/content/*/source/**"),
    ("audio", "/choices/*/message/audio/**"),
    ("audio", "/messages/*/content/*/input_audio/**"),
    ("file", "/messages/*/content/*/file/**"),
    ("content_part", "/choices/*/message/content/**"),
    ("content_part", "/messages/*/content/**"),
    ("content_part", "/content/**"),
    ("content_part", "/system/**"),
    ("role", "/choices/*/message/role"),
    ("role", "/messages/*/role"),
    ("role", "/role"),
    ("role", "/messages/*/name"),
    ("logprobs", "/choices/*/logprobs/**"),
    ("usage", "/usage/**"),
    ("model", "/model"),
    ("model", "/system_fingerprint"),
    ("tool", "/tools/**"),
    ("tool", "/tool_choice/**"),
    ("tool", "/functions/**"),
    ("tool", "/function_call/**"),
    ("format", "/response_format/**"),
    ("holdfast", "/holdfast/**"),
    ("input", "/inputs/**"),
    ("input", "/input/**"),
    ("output", "/outputs/**"),
    ("artifact", "/artifact"),
)
"""The table of ``parts.md`` §5, in order; what matches no row is ``field``."""


def _pattern(path: str) -> str:
    body = path.removesuffix("/**")
    regex = "".join("[^/]*" if segment == "*" else re.escape(segment) for segment in re.split(r"(\*)", body))
    return regex + ("(?:/.*)?" if path.endswith("/**") else "")


_MATCHERS: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
"""The rows of the table by the first segment of their paths, which no row leaves open."""
for _kind, _path in _TYPES:
    _MATCHERS.setdefault(_path.split("/", 2)[1], []).append((_kind, re.compile(_pattern(_path) + r"\Z", re.DOTALL)))
_CHOICE = re.compile(r"/choices/(0|[1-9][0-9]*)(?=/|\Z)")
_INDEX = re.compile(r"/(0|[1-9][0-9]*)(?=/|\Z)")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_LITERALS = frozenset([b"true", b"false", b"null"])


class Part(NamedTuple):
    """One part: its label (``type|choice|index|kind|path``) and its bytes."""

    label: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Commitment:
    """A document cut into parts: parts in label order, their salts and leaf hashes, and the tree over them."""

    parts: tuple[Part, ...]
    salts: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    tree: Tree


@dataclass(frozen=True, slots=True)
class DisclosedPart:
    """One part shown with its salt and inclusion path (``parts.md`` §8)."""

    document: str
    position: int
    part: Part
    salt: bytes
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "document": self.document,
            "position": self.position,
            "label": self.part.label.decode(),
            "salt": b64_encode(self.salt),
            "bytes": b64_encode(self.part.data),
            "proof": [item.hex() for item in self.proof],
        }


def strip_carriers(document: str, value: dict[str, Any]) -> dict[str, Any]:
    """The document without its carrier members (``parts.md`` §2)."""
    if document == "request":
        return {key: item for key, item in value.items() if not key.startswith(CARRIER_PREFIX)}
    return {key: item for key, item in value.items() if key != CARRIER and not key.startswith(CARRIER_PREFIX)}


def _label_head(path: str) -> str:
    """``type|choice|index`` of a path: a function of the path alone (``parts.md`` §3(5), §3(6))."""
    rows = _MATCHERS.get(path[1:].partition("/")[0], ())
    kind = next((kind for kind, matcher in rows if matcher.match(path)), "field")
    choice = _CHOICE.match(path)
    rest = path[choice.end() :] if choice else path
    index = _INDEX.search(rest)
    return f"{kind}|{choice[1] if choice else '-'}|{index[1] if index else '-'}"


def _make_label(path: str, kind: str) -> bytes:
    return f"{_label_head(path)}|{kind}|{path}".encode()


_label = lru_cache(maxsize=8192)(_make_label)


class _Found(list[Part]):
    """Parts as they are found, and the bytes of their long labels, so that a walk ends before they fill the memory."""

    long_bytes = 0


def _append(found: _Found, path: str, kind: str, data: bytes) -> None:
    if len(path) <= MAX_CACHED_PATH:
        label = _label(path, kind)
    else:
        label = _make_label(path, kind)
        found.long_bytes += len(label)
        if found.long_bytes > MAX_LABEL_BYTES:
            raise _too_long()
    found.append(Part(label, data))


def _too_long() -> MalformedError:
    return MalformedError("parts.labels", f"the labels of a document have together at most {MAX_LABEL_BYTES} bytes")


def _walk(value: Any, path: str, found: _Found) -> None:
    """Append the parts below ``value``."""
    if isinstance(value, NumberText):
        _append(found, path, "n", value.encode())
    elif isinstance(value, str):
        _append(found, path, "s", value.encode())
    elif value is None or value is True or value is False:
        _append(found, path, "l", b"null" if value is None else b"true" if value else b"false")
    elif isinstance(value, dict):
        if not value:
            _append(found, path, "o", b"")
        for key, item in value.items():
            if "\x00" in key:
                raise MalformedError("parts.label", "a member name holds U+0000")
            name = key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
            _walk(item, f"{path}/{name}", found)
    elif isinstance(value, list):
        if not value:
            _append(found, path, "a", b"")
        for number, item in enumerate(value):
            _walk(item, f"{path}/{number}", found)
    else:
        raise MalformedError("parts.number", "numbers are kept as text: decode with canonical.decode_exact")
    if len(found) > MAX_PARTS:
        raise MalformedError("parts.count", f"a document has at most {MAX_PARTS} parts")


def map_parts(document: str, value: object) -> list[Part]:
    """A document decoded with :func:`canonical.decode_exact` to its parts in label order (``parts.md`` §3).

    Raises ``parts.document`` when the top level is no object, ``parts.label``, ``parts.labels`` and ``parts.count``.
    """
    if not isinstance(value, dict):
        raise MalformedError("parts.document", "a document is a JSON object")
    found = _Found()
    _walk(strip_carriers(document, value), "", found)
    if (found.long_bytes or len(found) > _FEW) and sum(len(part.label) for part in found) > MAX_LABEL_BYTES:
        raise _too_long()
    found.sort(key=itemgetter(0))
    return found


def _mac(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 (RFC 2104 §2) under one key of at most 64 bytes.

    ``hmac.digest`` is the same and says it in one line, but has OpenSSL look up and set up the MAC for every message:
    3.9 us against 1.1 us here, some fifteen times an answer.
    """
    block = key.ljust(_BLOCK_BYTES, b"\x00")
    inner, outer = hashlib.sha256(block.translate(_INNER_PAD)), hashlib.sha256(block.translate(_OUTER_PAD))

    def mac(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return mac


def pseudo_random_key(run: str, secret: bytes) -> bytes:
    """HKDF-Extract of the run secret with the run id as salt (RFC 5869 §2.2, ``parts.md`` §4)."""
    return _mac(bytes.fromhex(run.replace("-", "")))(secret)


def derive_salt(key: bytes, name: str, size_bytes: int = SALT_BYTES) -> bytes:
    """HKDF-Expand to at most 32 bytes (RFC 5869 §2.3) for ``mark``, ``commitment/…`` and the like."""
    return _mac(key)(_SALT_INFO + name.encode() + b"\x01")[:size_bytes]


def derive_salts(key: bytes, document: str, count: int) -> list[bytes]:
    """The salts of a document's first ``count`` parts, 16 bytes each (``parts.md`` §4)."""
    salts: list[bytes] = []
    mac = _mac(key)
    for block in range(-(-count // _BLOCK_SALTS)):
        info = _SALT_INFO + f"{document}/{block}".encode()
        previous = b""
        for counter in range(1, (min(count - block * _BLOCK_SALTS, _BLOCK_SALTS) + 1) // 2 + 1):
            previous = mac(previous + info + counter.to_bytes())
            salts += (previous[:SALT_BYTES], previous[SALT_BYTES:])
    del salts[count:]
    return salts


def leaf_hash(part: Part, salt: bytes) -> bytes:
    """SHA-256(0x00 ‖ label ‖ 0x00 ‖ salt ‖ bytes), ``parts.md`` §4."""
    return hashlib.sha256(b"\x00" + part.label + b"\x00" + salt + part.data).digest()


def commit_parts(document: str, parts: Sequence[Part], key: bytes) -> Commitment:
    """Salt and hash parts into a tree. ``key`` is :func:`pseudo_random_key`."""
    salts = derive_salts(key, document, len(parts))
    sha256 = hashlib.sha256
    leaves = tuple(
        [
            sha256(b"\x00" + part.label + b"\x00" + salt + part.data).digest()
            for part, salt in zip(parts, salts, strict=True)
        ]
    )
    return Commitment(tuple(parts), tuple(salts), leaves, Tree(merkle.root(leaves), len(leaves)))


def commit(document: str, text: bytes, key: bytes) -> Commitment:
    """JSON bytes to a :class:`Commitment`; raises ``json.*`` and ``parts.*``."""
    return commit_parts(document, map_parts(document, canonical.decode_exact(text)), key)


def disclose(document: str, commitment: Commitment, position: int) -> DisclosedPart:
    """Show one part, by its place in label order."""
    return DisclosedPart(
        document,
        position,
        commitment.parts[position],
        commitment.salts[position],
        tuple(merkle.inclusion_proof(commitment.leaves, position)),
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


_FITS: dict[str, Callable[[bytes], bool]] = {
    "s": _is_utf8,
    "n": lambda data: _NUMBER.match(data) is not None,
    "l": _LITERALS.__contains__,
    "o": lambda data: not data,
    "a": lambda data: not data,
}
"""What the bytes of each kind look like (``parts.md`` §3(4))."""


def parse_disclosed_part(value: object) -> DisclosedPart:
    """One member of a ``parts`` evidence item; raises ``parts.disclosure``, ``parts.label`` or ``parts.bytes``."""
    if not isinstance(value, dict) or value.keys() != {"document", "position", "label", "salt", "bytes", "proof"}:
        raise MalformedError("parts.disclosure", "not the members of a disclosed part")
    document, position, label, proof = value["document"], value["position"], value["label"], value["proof"]
    if document not in DOCUMENTS or not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise MalformedError("parts.disclosure", "unknown document or position")
    if not isinstance(label, str) or not isinstance(proof, list):
        raise MalformedError("parts.disclosure", "label is a string and proof a list")
    pieces = label.split("|", 4)
    if len(pieces) != 5 or pieces[3] not in _FITS or "\x00" in label:
        raise MalformedError("parts.label", "a label is type|choice|index|kind|path")
    if f"{_label_head(pieces[4])}|{pieces[3]}|{pieces[4]}" != label:
        raise RefusedError("parts.label", "the label is not what its path demands")
    part = Part(label.encode(), b64_decode(value["bytes"]))
    if not _FITS[pieces[3]](part.data):
        raise RefusedError("parts.bytes", "the bytes are not of the kind that the label names")
    salt = b64_decode(value["salt"], SALT_BYTES)
    return DisclosedPart(document, position, part, salt, tuple(hex_decode(item, 32) for item in proof))


def verify_part(shown: DisclosedPart, tree: Tree) -> Part:
    """Check a disclosed part against the tree of a statement; raises ``parts.root``."""
    try:
        merkle.verify_inclusion(
            leaf_hash(shown.part, shown.salt), shown.position, tree.size, list(shown.proof), tree.root
        )
    except RefusedError as error:
        raise RefusedError("parts.root", "the disclosed part is not in the signed tree") from error
    return shown.part


def verify_document(document: str, text: bytes, run: str, secret: bytes, tree: Tree) -> Commitment:
    """Check a fully disclosed document against the tree of a statement; raises ``parts.*`` or ``json.*``."""
    commitment = commit(document, text, pseudo_random_key(run, secret))
    if commitment.tree != tree:
        raise RefusedError("parts.root", f"the {document} is not what was signed")
    return commitment
