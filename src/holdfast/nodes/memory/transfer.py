"""Rows as one file that their owner carries to another node, and files of other systems (``spec/memory.md`` §10).

Rules: what an export holds is sealed under a passphrase and signed by the node that wrote it. Whose export is believed
comes in with its histories, byte by byte; everything else comes in as ``imported`` and stands background until it is
earned. What was erased here is not brought back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, memory
from holdfast.core import memory_sealing as sealing
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex, time_encode
from holdfast.core.keys import KeyDocument, parse_key_document, verify_signature
from holdfast.core.memory import Event, Source
from holdfast.core.memory_extraction import categories_of
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.nodes.memory.unlocking import DeriveKey
from holdfast.nodes.memory.vault import Draft, Vault
from holdfast.ports.signer import Signer

EXPORT_TYPE = "urn:holdfast:memory-export:v1"
_SIGNED = b"holdfast/memory/export/v1\x00"
_MEMBERS = frozenset({"type", "created_at", "rows", "kdf", "sealed", "key_document", "signature"})
_KDF = frozenset({"salt", "memory_kib", "passes", "threads"})


@dataclass(frozen=True, slots=True)
class Cost:
    """Of argon2id."""

    memory_kib: int
    passes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Export:
    """An export whose signature and passphrase are right."""

    document: KeyDocument
    """Of the node that wrote it."""
    histories: Mapping[str, Sequence[Event]]
    erased: frozenset[str]


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    added: int = 0
    extended: int = 0
    """Rows that were here already, with less history."""
    known: int = 0
    erased: int = 0
    """Rows that were erased here, and stay so."""
    differs: int = 0
    """Rows that are here with another history; ours stays."""
    as_imported: bool = False
    """Whether histories were left behind, since nobody believes who wrote them."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def build_export(
    vault: Vault,
    erased: frozenset[str],
    passphrase: str,
    *,
    cost: Cost,
    at: dt.datetime,
    document: KeyDocument,
    signer: Signer,
    derive_key: DeriveKey,
    random_bytes: Callable[[int], bytes],
) -> bytes:
    """Every row with its whole history, sealed and signed. Blocks."""
    content: dict[str, canonical.JSON] = {
        "rows": {row: _texts(events) for row, events in vault.history.items()},
        "erased": [*sorted(erased)],
    }
    salt = random_bytes(sealing.SALT_BYTES)
    key = derive_key(passphrase.encode(), salt, cost.memory_kib, cost.passes, cost.threads)
    sealed = sealing.seal(key, random_bytes(sealing.NONCE_BYTES), EXPORT_TYPE, canonical.encode(content))
    head: dict[str, canonical.JSON] = {
        "type": EXPORT_TYPE,
        "created_at": time_encode(at),
        "rows": len(vault.history),
        "kdf": {
            "salt": salt.hex(),
            "memory_kib": cost.memory_kib,
            "passes": cost.passes,
            "threads": cost.threads,
        },
        "sealed": b64_encode(sealed),
        "key_document": b64_encode(document.raw),
    }
    signature = signer.sign(_SIGNED + canonical.encode(head))
    return canonical.encode({**head, "signature": b64_encode(signature)}) + b"\n"


def _texts(events: Sequence[bytes]) -> list[canonical.JSON]:
    return [raw.decode() for raw in events]


def open_export(value: Mapping[str, Any], passphrase: str, derive_key: DeriveKey) -> Export:
    """An export, verified and opened. Blocks. Raises ``memory.export``, ``memory.export_signature`` and
    ``memory.export_key``, and what :func:`memory.parse_event` raises."""
    if value.keys() != _MEMBERS or not isinstance(value["kdf"], dict) or value["kdf"].keys() != _KDF:
        raise MalformedError("memory.export", f"an export has exactly {', '.join(sorted(_MEMBERS))}")
    document = parse_key_document(b64_decode(value["key_document"]))
    key = document.key_for("statement")
    head = {name: item for name, item in value.items() if name != "signature"}
    signed = _SIGNED + canonical.encode(head)
    if key is None or "memory" not in document.roles or not _verifies(key, b64_decode(value["signature"]), signed):
        raise RefusedError("memory.export_signature", "the file was changed, or no memory node signed it")
    kdf = value["kdf"]
    numbers = [kdf["memory_kib"], kdf["passes"], kdf["threads"]]
    if any(type(number) is not int for number in numbers):
        raise MalformedError("memory.export", "the cost of argon2id is three whole numbers")
    try:
        secret = derive_key(passphrase.encode(), hex_decode(kdf["salt"], sealing.SALT_BYTES), *numbers)
        content = canonical.decode_object(sealing.open_sealed(secret, EXPORT_TYPE, b64_decode(value["sealed"])))
    except RefusedError as error:
        raise RefusedError(
            "memory.export_key", "this passphrase does not open the file", hint="nothing was changed", status=401
        ) from error
    erased = content.get("erased")
    if not isinstance(erased, list) or not all(map(memory.is_row_id, erased)):
        raise _no_content()
    return Export(document, _histories(content.get("rows")), frozenset(erased))


def _verifies(key: Any, signature: bytes, message: bytes) -> bool:
    try:
        verify_signature(key, message, signature)
    except HoldfastError:
        return False
    return True


def _histories(rows: Any) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    if not isinstance(rows, dict):
        raise _no_content()
    for row, events in rows.items():
        if not isinstance(events, list) or not events or not all(isinstance(text, str) for text in events):
            raise _no_content()
        raw = [text.encode() for text in events]
        if memory.parse_history(raw).id != row:
            raise MalformedError("memory.export", "a history stands under the id of another row")
        found[row] = [memory.parse_event(item) for item in raw]
    return found


def _no_content() -> MalformedError:
    return MalformedError("memory.export", "an export holds rows with their events, and ids of rows that were erased")


def take_in(draft: Draft, export: Export, erased_here: frozenset[str]) -> Imported:
    """Histories of an export that is believed, byte by byte."""
    done = Imported()
    for row, events in export.histories.items():
        ours = draft.vault.history.get(row, [])
        theirs = [event.raw for event in events]
        shared = min(len(ours), len(theirs))
        if row in erased_here:
            done.erased += 1
        elif ours[:shared] != theirs[:shared]:
            done.differs += 1
        elif len(theirs) <= len(ours):
            done.known += 1
        else:
            done.added, done.extended = done.added + (not ours), done.extended + bool(ours)
            for event in events[len(ours) :]:
                draft.take(event)
    _contradict(draft)
    return done


def _contradict(draft: Draft) -> None:
    """What came in may contradict what was here. A pair of which one side knows it already was judged before."""
    new = [row for row in draft.changed if row.slot is not None]
    for row in new:
        for other in [item for item in draft.rows.values() if memory.contradicts(row, item)]:
            known = {*dict(draft.row(row.id).contradicted_by), *dict(draft.row(other.id).contradicted_by)}
            if not known & {row.id, other.id}:
                draft.contradict(row, other)


@dataclass(frozen=True, slots=True)
class Claim:
    """What another system kept."""

    claim: str
    kind: str
    categories: tuple[str, ...]
    agent: str | None
    thread: str | None


def claims_of(export: Export) -> list[Claim]:
    """What an export says that nobody believes: rows that had not ended."""
    rows = [memory.parse_history([event.raw for event in events]) for events in export.histories.values()]
    return [Claim(row.claim, row.kind, row.categories, row.agent, row.thread) for row in rows if not row.ended]


def parse_foreign(value: Any) -> tuple[str, list[Claim]]:
    """A file of another system: Mem0's (``results`` or a list, each with ``memory``), or MemSync's (``memories`` or
    ``data``). Returns what to call it. Raises ``memory.foreign``."""
    listed, name = value, "mem0"
    if isinstance(value, dict):
        for member, system in (("results", "mem0"), ("memories", "memsync"), ("data", "memsync")):
            if isinstance(value.get(member), list):
                listed, name = value[member], system
                break
    if not isinstance(listed, list):
        raise MalformedError(
            "memory.foreign",
            "this is no file of rows that is known here",
            hint="a list of objects with a member memory, alone or under results, memories or data",
        )
    return name, [_foreign_claim(item) for item in listed]


def _foreign_claim(item: Any) -> Claim:
    text = item.get("memory", item.get("content", item.get("text"))) if isinstance(item, dict) else None
    if not isinstance(text, str) or not memory.is_text(text, memory.MAX_CLAIM_BYTES):
        raise MalformedError("memory.foreign", f"each row has a memory of 1 to {memory.MAX_CLAIM_BYTES} bytes")
    given = item.get("categories") or [item.get("category")]
    listed = given if isinstance(given, list) else []
    known = {name for name in listed if isinstance(name, str) and name in memory.FRESH_DAYS}
    kind = item.get("type", item.get("memory_type"))
    labels = [item.get(name) if memory.is_text(item.get(name), 256) else None for name in ("agent_id", "thread_id")]
    return Claim(
        text,
        kind if kind in memory.KINDS else "semantic",
        tuple(sorted(known)) or categories_of(text),
        labels[0],
        labels[1],
    )


def import_claims(draft: Draft, claims: Sequence[Claim], raw: bytes, name: str) -> Imported:
    """Claims of another system, as what they are: imported. What is here already is left as it is."""
    done = Imported(as_imported=True)
    stands = {row.claim for row in draft.vault.rows.values() if not row.ended}
    source = Source("import", sha256_hex(raw), "imported")
    for item in claims:
        if item.claim in stands:
            done.known += 1
            continue
        draft.add(
            item.claim,
            writer="imported",
            sources=[source],
            kind=item.kind,
            categories=item.categories,
            agent=item.agent,
            thread=item.thread,
            origin=name,
        )
        stands.add(item.claim)
        done.added += 1
    return done
