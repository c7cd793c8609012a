"""Facts from outside on their way into a request (``spec/admission.md`` §8).

Rules:

* Nothing goes before a model that is unsigned, stale, or does not hold against its own rules; it is refused with a code
  before an upstream is called.
* A fact is data: its block stands in a message of the user's and never where the system speaks, and nothing else in the
  request can look like a block.
* What the node presents of its key is kept with what it admitted, so that a bundle shows both.

Not covered: when the statements become durable and go to the log (``service``).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.client.data_nodes import DataNodeClient, Opened, is_about, open_presented
from holdfast.core import canonical
from holdfast.core.admissions import SALT_BYTES, Presented, parse_presented
from holdfast.core.blocks import INTRODUCTION, block_of, escape_all, holds_opening
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.orders import Evidence
from holdfast.core.sealing import open_document, seal_document
from holdfast.core.statements import parse_envelope
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.gateway.admitting")
MOST = 16
"""Admissions that one request may name."""
PUT_IN, ESCAPED = "admitted", "block-escaped"
"""Codes of the two rewrites (``admission.md`` §8)."""
_EVIDENCE_S = 60.0
"""What a node presents of its key is asked for again after this."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An admission by its digest. The salt entitles whoever has it to read it; without one, the workspace that had it
    admitted may."""

    digest: str
    salt: bytes | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """An admission that goes into a request, with what its node presented of its key."""

    opened: Opened
    evidence: Evidence | None = None

    @property
    def digest(self) -> str:
        return self.opened.digest

    @property
    def block(self) -> str:
        return block_of(self.opened.document, self.digest)


def parse_asked(value: object) -> tuple[Reference | Presented, ...]:
    """Member ``holdfast.admissions`` of a request: digests, with or without salt, or presented admissions. Raises
    ``request.admissions``, ``encoding.hex`` and ``admission.presented``."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST:
        raise MalformedError("request.admissions", f"admissions is a list of 1 to {MOST}", param="holdfast.admissions")
    return tuple(_asked(item) for item in value)


def _asked(item: object) -> Reference | Presented:
    if isinstance(item, str):
        return Reference(hex_decode(item, 32).hex())
    if isinstance(item, dict) and item.keys() == {"digest", "salt"}:
        return Reference(hex_decode(item["digest"], 32).hex(), hex_decode(item["salt"], SALT_BYTES))
    return parse_presented(item)


@dataclass(frozen=True, slots=True)
class Intent:
    """A rule of a workspace: a question with one of these words in it is given what this source says."""

    workspace: str
    keywords: tuple[str, ...]
    source: str
    parameters: Mapping[str, str]

    def meets(self, workspace: str, text: str) -> bool:
        """Whether a question of a workspace is about it; whole words, whatever their case."""
        if self.workspace not in ("*", workspace):
            return False
        words = "|".join(re.escape(word) for word in self.keywords)
        return re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE) is not None


def parse_intent(workspace: str, keywords: Sequence[str], source: str, parameters: Sequence[str]) -> Intent:
    """A rule from settings; raises ``gateway.intents``."""
    pairs = [item.partition("=") for item in parameters]
    if not keywords or not all(word.strip() for word in keywords) or not all(sign for _, sign, _ in pairs):
        raise UsageError(
            "gateway.intents",
            "an intent has keywords, and parameters as NAME=VALUE",
            hint="see intents in the settings",
        )
    return Intent(workspace, tuple(keywords), source, {name: value for name, _, value in pairs})


class Admitting:
    """The data nodes of a gateway."""

    def __init__(
        self,
        nodes: Sequence[DataNodeClient] = (),
        trust: Callable[[], Trust | None] = lambda: None,
        *,
        clock: Clock,
        intents: Sequence[Intent] = (),
    ) -> None:
        self._intents = list(intents)
        self._nodes = list(nodes)
        self._trust = trust
        self._clock = clock
        self._evidence: dict[str, Evidence] = {}
        self._asked_at: float | None = None

    async def take(self, asked: Sequence[Reference | Presented], workspace: str) -> tuple[Taken, ...]:
        """Fetch and check what a workspace's request names, in its order. Raises ``admission.*`` and ``data.*``."""
        if not asked:
            return ()
        shown = await asyncio.gather(*(self._show(item, workspace) for item in asked))
        taken = [await self.check(item) for item in shown]
        if len({item.digest for item in taken}) != len(taken):
            raise UsageError("admission.twice", "an admission is named twice", param="holdfast.admissions")
        return tuple(taken)

    async def intend(self, workspace: str, value: Mapping[str, Any], taken: Sequence[Taken]) -> tuple[Taken, ...]:
        """What was taken already, and what the workspace's rules give a chat by its last question. Raises as
        :meth:`ask`."""
        text = question_of(value) if self._intents else ""
        met = [intent for intent in self._intents if intent.meets(workspace, text)][:MOST]
        asked = [{"source": intent.source, "parameters": dict(intent.parameters)} for intent in met]
        found = {item.digest: item for item in (*taken, *await asyncio.gather(*map(self.ask, asked)))}
        return tuple(found.values())

    async def check(self, shown: Presented) -> Taken:
        """One presented admission, once it is what it must be."""
        trust = self._trust()
        if trust is None:
            raise UnavailableError("admission.unsigned", "without a trust document nobody can say who signed this")
        opened = open_presented(shown, trust, self._clock.now())
        return Taken(opened, (await self._keys()).get(opened.statement.attester))

    @property
    def reachable(self) -> bool:
        """Whether there is a node to ask."""
        return bool(self._nodes)

    async def ask(self, question: Mapping[str, Any]) -> Taken:
        """Have a question admitted by the first node that answers; a refusal by a source is taken like anything else.
        Raises ``admission.*`` and ``data.*``."""
        trouble: HoldfastError = UnavailableError(
            "data.none", "this gateway knows no data node", hint="name one in its settings"
        )
        for node in self._nodes:
            try:
                found = await self.check(await node.admit(question))
            except UnavailableError as error:
                trouble = error
                continue
            if is_about(found.opened.document, question["source"], question["parameters"]):
                return found
            trouble = _another(node)
        raise trouble

    async def _show(self, item: Reference | Presented, workspace: str) -> Presented:
        if isinstance(item, Presented):
            return item
        trouble: HoldfastError | None = None
        for node in self._nodes:
            try:
                shown = await node.admission(item.digest, item.salt, workspace)
                if parse_envelope(shown.envelope).digest != item.digest:
                    raise _another(node)
            except HoldfastError as error:
                trouble = error if isinstance(error, UnavailableError) else trouble
                continue
            return shown
        if trouble is not None:
            raise trouble
        raise RefusedError(
            "admission.unknown",
            f"no data node here has an admission {item.digest[:12]} for this salt or workspace",
            hint="name its digest and the salt that came with it, or hand the admission over whole",
            param="holdfast.admissions",
            status=404,
        )

    async def _keys(self) -> dict[str, Evidence]:
        """What the nodes present of their keys, by key document. A node that does not say is left out."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _EVIDENCE_S:
            self._asked_at = now
            for node in self._nodes:
                try:
                    found = await node.evidence()
                except HoldfastError as error:
                    _LOG.warning("data node %s presents no key: %s", node.code, error)
                    continue
                if found is not None:
                    self._evidence[found[0]] = found[1]
        return self._evidence


def _another(node: DataNodeClient) -> UnavailableError:
    """What its key signed once is no answer to everything."""
    return UnavailableError("data.protocol", f"the data node {node.code} presents another admission", status=502)


def question_of(value: Mapping[str, Any]) -> str:
    """The text of the last message of role ``user`` in a chat; empty for everything else."""
    messages = value.get("messages")
    asked = [item for item in messages if item.get("role") == "user"] if isinstance(messages, list) else []
    content = asked[-1].get("content") if asked else ""
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def put_in(value: dict[str, Any], taken: Sequence[Taken]) -> tuple[dict[str, Any], list[str]]:
    """A request's value with its admissions before the last thing that was asked, and which rewrites that is.

    Texts that look like a block and are none are escaped, whether or not anything is admitted.
    """
    messages = value.get("messages")
    if not isinstance(messages, list):
        return value, []
    rewrites = []
    if holds_opening(messages):
        messages = escape_all(messages)
        rewrites.append(ESCAPED)
    if taken:
        text = "\n\n".join([INTRODUCTION, *(item.block for item in taken)])
        place = max((n for n, item in enumerate(messages) if item.get("role") == "user"), default=len(messages))
        messages = [*messages[:place], {"role": "user", "content": text}, *messages[place:]]
        rewrites.append(PUT_IN)
    return ({**value, "messages": messages} if rewrites else value), rewrites


def kept_of(item: Opened, key: bytes) -> bytes:
    """What opens an admission's record, as an ADDED record keeps it: the salt, and the rest under the run's key."""
    definition = item.shown.definition
    text: dict[str, canonical.JSON] = {
        "document": item.shown.document.decode(),
        "definition": None if definition is None else definition.decode(),
    }
    return item.shown.salt + seal_document(key, f"admission/{item.digest}", canonical.encode(text))


def open_kept(kept: bytes, digest: str, key: bytes) -> dict[str, canonical.JSON]:
    """Members of the bundle item that opens an admission, from what an ADDED record keeps; raises
    ``run.capability``."""
    text = open_document(key, f"admission/{digest}", kept[SALT_BYTES:])
    return {"digest": digest, "salt": kept[:SALT_BYTES].hex(), **canonical.decode_object(text)}


@dataclass(frozen=True, slots=True)
class Packed:
    """One admission as the gateway writes it down: its envelope, what its node presented of its key (JSON), and what
    opens it."""

    envelope: bytes
    evidence: bytes
    kept: bytes


def pack(taken: Sequence[Taken], key: bytes, *, private: bool) -> list[Packed]:
    """The admissions of a run and what they combine, parents first; of a private run nothing that opens them."""
    found: dict[str, Packed] = {}
    for item in taken:
        shown = canonical.encode(item.evidence.to_json()) if item.evidence is not None else b""
        for each in item.opened.all:
            own = shown if each.statement.attester == item.opened.statement.attester else b""
            kept = b"" if private else kept_of(each, key)
            found.setdefault(each.digest, Packed(each.shown.envelope, own, kept))
    return list(found.values())


def write_packed(packed: Sequence[Packed]) -> bytes:
    """For an OPEN record; :func:`read_packed` reads it."""
    listed: list[canonical.JSON] = [
        [b64_encode(item.envelope), b64_encode(item.evidence), b64_encode(item.kept)] for item in packed
    ]
    return canonical.encode(listed) if listed else b""


def read_packed(raw: bytes) -> list[Packed]:
    """The inverse of :func:`write_packed`."""
    return [Packed(*(b64_decode(piece) for piece in item)) for item in canonical.decode(raw)] if raw else []


def tell_admitted(payload: bytes, digests: Sequence[str]) -> bytes:
    """An answer, or the first event of one, that says which admissions were in context (``admission.md`` §8(5))."""
    value = canonical.decode_exact(payload)
    return canonical.encode_exact({**value, "admissions": list(digests)}) if isinstance(value, dict) else payload
