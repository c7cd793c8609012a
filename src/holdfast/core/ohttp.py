"""Oblivious HTTP (RFC 9458) and its chunked form (draft-ietf-ohai-chunked-ohttp), as bytes (``spec/ohttp.md``).

Key configurations, encapsulated requests and responses, for clients and gateways. Single-shot: :func:`encapsulate`,
:func:`decapsulate` and the contexts they return. Chunked: :class:`ChunkSealer` writes and :class:`ChunkOpener` reads,
whatever pieces the bytes come in. A response of either form follows from the context of a request of either form, which
covers OpenGradient's clients (§6).

What is sealed is not looked at here. Nonces and ephemeral keys are arguments: whoever calls draws them and uses them
once. Not covered: replays of whole requests (a gateway may remember :attr:`GatewayContext.enc`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core import hpke
from holdfast.core.hpke import AEAD, AES_128_GCM, CHACHA20_POLY1305, KDF_ID, KEM_ID, KEY_BYTES, NONCE_BYTES, TAG_BYTES
from holdfast.core.varint import encode_varint, read_varint
from holdfast.errors import MalformedError, RefusedError, UsageError

SUITES = (AES_128_GCM, CHACHA20_POLY1305)
"""Symmetric suites, each with HKDF-SHA256, in the order in which our configurations offer them (``ohttp.md`` §3)."""
KEYS_TYPE = "application/ohttp-keys"
REQUEST_TYPE = "message/ohttp-req"
RESPONSE_TYPE = "message/ohttp-res"
CHUNKED_REQUEST_TYPE = "message/ohttp-chunked-req"
CHUNKED_RESPONSE_TYPE = "message/ohttp-chunked-res"
"""Media types (RFC 9458 §9, chunked draft §8)."""
MAX_CONFIGURATION_BYTES = 4096
"""One key configuration: far more than any suite list needs."""
MAX_REQUEST_BYTES = 20 << 20
"""An encapsulated request, as OpenGradient's gateways bound it."""
MAX_CHUNK_BYTES = 1 << 20
"""A sealed chunk, unless the caller says otherwise; the draft asks for at least 2^14."""
MAX_REQUEST_CHUNKS = 1 << 16
"""Chunks of a chunked request that is opened whole: each costs a step, also an empty one."""
MAX_MESSAGE_BYTES = 1 << 30
"""All sealed chunks of a message together: what one key of AES-128-GCM may protect (chunked draft §7.3)."""
_HEADER_BYTES = 7
_HEAD_BYTES = _HEADER_BYTES + KEY_BYTES
_REQUEST = b"message/bhttp request\x00"
_CHUNKED_REQUEST = b"message/bhttp chunked request\x00"
_RESPONSE = b"message/bhttp response"
_CHUNKED_RESPONSE = b"message/bhttp chunked response"
_FINAL = b"final"
"""Associated data of the last chunk (chunked draft §6)."""
_BY_ID = {suite.id: suite for suite in SUITES}


# --- key configurations ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyConfiguration:
    """A gateway's public key and what it opens with it (RFC 9458 §3.1)."""

    key_id: int
    public: bytes
    """X25519, 32 bytes."""
    suites: tuple[AEAD, ...]
    """Those of :data:`SUITES` that it offers, in its order; others that it offers are left out."""
    encoded: bytes
    """Its exact bytes."""


def build_key_configuration(key_id: int, public: bytes, suites: Sequence[AEAD] = SUITES) -> KeyConfiguration:
    """A configuration of an X25519 public key (32 bytes) under an id of one byte."""
    if not 0 <= key_id <= 0xFF or len(public) != KEY_BYTES or not suites:
        raise UsageError("ohttp.key_config", "a key configuration has an id of one byte, a public key and suites")
    pairs = b"".join(KDF_ID.to_bytes(2, "big") + suite.id.to_bytes(2, "big") for suite in suites)
    head = bytes((key_id,)) + KEM_ID.to_bytes(2, "big") + public
    return KeyConfiguration(key_id, public, tuple(suites), head + len(pairs).to_bytes(2, "big") + pairs)


def parse_key_configuration(data: bytes) -> KeyConfiguration:
    """One configuration that fills ``data``. Raises ``ohttp.key_config``, or ``ohttp.suite`` where none of its suites,
    or its KEM, is known here."""
    if not 3 <= len(data) <= MAX_CONFIGURATION_BYTES:
        raise MalformedError("ohttp.key_config", "this is no key configuration: too short or too long")
    if int.from_bytes(data[1:3], "big") != KEM_ID:
        raise RefusedError("ohttp.suite", "the key is of another KEM than X25519")
    size = int.from_bytes(data[35:37], "big")
    if len(data) < 37 or len(data) != 37 + size or size == 0 or size % 4:
        raise MalformedError("ohttp.key_config", "the list of suites does not end where the configuration does")
    pairs = [(int.from_bytes(data[at : at + 2], "big"), data[at + 2 : at + 4]) for at in range(37, len(data), 4)]
    if len(set(pairs)) != len(pairs):
        raise MalformedError("ohttp.key_config", "a suite is listed twice")
    known = [_BY_ID.get(int.from_bytes(aead, "big")) for kdf, aead in pairs if kdf == KDF_ID]
    suites = tuple(suite for suite in known if suite is not None)
    if not suites:
        raise RefusedError("ohttp.suite", "none of the suites it offers is known here")
    return KeyConfiguration(data[0], data[3:35], suites, data)


def build_key_configurations(configurations: Iterable[KeyConfiguration]) -> bytes:
    """``application/ohttp-keys`` (RFC 9458 §3.2): each with its length before it."""
    return b"".join(len(item.encoded).to_bytes(2, "big") + item.encoded for item in configurations)


def parse_key_configurations(data: bytes) -> tuple[KeyConfiguration, ...]:
    """``application/ohttp-keys``: at least one configuration that is known here, ids that occur once. Those of other
    KEMs and suites are passed over, as the RFC says. Raises ``ohttp.key_config`` and ``ohttp.suite``."""
    found: dict[int, KeyConfiguration] = {}
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or at + 2 > len(data):
            raise MalformedError("ohttp.key_config", "the list ends inside a key configuration")
        try:
            item = parse_key_configuration(data[at + 2 : end])
        except RefusedError:
            at = end
            continue
        if item.key_id in found:
            raise MalformedError("ohttp.key_config", f"two configurations have the id {item.key_id}")
        found[item.key_id] = item
        at = end
    if not found:
        raise RefusedError("ohttp.suite", "the list holds no key configuration that is known here")
    return tuple(found.values())


# --- chunks ---------------------------------------------------------------------------------------------------------


class ChunkSealer:
    """Writes a chunked message: :meth:`start` once, :meth:`seal` for each chunk, :meth:`finish` with the last one."""

    __slots__ = ("_head", "_left", "_seal")

    def __init__(self, head: bytes, sealer: hpke.Sealer) -> None:
        self._head = head
        self._seal: Callable[[bytes, bytes], bytes] | None = sealer.seal
        self._left = MAX_MESSAGE_BYTES

    def start(self) -> bytes:
        """What stands before the first chunk: of a request its header and ``enc``, of a response its nonce."""
        return self._head

    def seal(self, chunk: bytes) -> bytes:
        """A chunk that others follow."""
        seal = self._open(chunk)
        sealed = seal(chunk, b"")
        size = len(sealed)
        return (bytes((size,)) if size < 0x40 else encode_varint(size)) + sealed

    def finish(self, chunk: bytes = b"") -> bytes:
        """The last chunk; nothing can be sealed after it."""
        seal = self._open(chunk)
        self._seal = None
        return b"\x00" + seal(chunk, _FINAL)

    def _open(self, chunk: bytes) -> Callable[[bytes, bytes], bytes]:
        self._left -= len(chunk) + TAG_BYTES
        if self._left < 0:
            raise UsageError("ohttp.size", f"one message seals at most {MAX_MESSAGE_BYTES} bytes")
        if self._seal is None:
            raise UsageError("ohttp.finished", "the last chunk of this message has been sealed")
        return self._seal


class ChunkOpener:
    """Reads a chunked message: :meth:`feed` what arrives, :meth:`finish` when nothing more comes.

    Chunks come out in the order in which they were sealed, or not at all. The message is whole only when :meth:`finish`
    has returned: until then its end may have been cut off. After an error, and after the end, nothing more is opened.
    """

    __slots__ = (
        "_buffer",
        "_chunks_left",
        "_ended",
        "_final",
        "_left",
        "_max_chunk_bytes",
        "_opener",
        "_setup",
        "_setup_bytes",
    )

    def __init__(
        self,
        setup_bytes: int,
        setup: Callable[[bytes], hpke.Opener],
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
        max_chunks: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """``setup`` makes the opener from the ``setup_bytes`` that stand before the first chunk."""
        self._setup_bytes = setup_bytes
        self._setup = setup
        self._max_chunk_bytes = max_chunk_bytes
        self._chunks_left = max_chunks
        """How many may come before the last one."""
        self._buffer = bytearray()
        self._opener: hpke.Opener | None = None
        self._final = False
        """The indicator of the last chunk has been read: whatever follows belongs to that chunk."""
        self._left = MAX_MESSAGE_BYTES
        self._ended = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the chunks that became complete, without the last one. Raises ``ohttp.chunk``,
        ``ohttp.open`` and ``ohttp.size``."""
        if self._ended:
            raise UsageError("ohttp.finished", "nothing more is opened of this message")
        self._ended = True
        chunks = self._read(data)
        self._ended = False
        return chunks

    def _read(self, data: bytes) -> list[bytes]:
        """Chunks are read from what arrived, in place; only what is not whole yet is kept."""
        kept = self._buffer
        source: bytes | bytearray = data
        if kept:
            kept += data
            source = kept
        at, size_now = 0, len(source)
        opener = self._opener
        chunks: list[bytes] = []
        if opener is None and size_now >= self._setup_bytes:
            at = self._setup_bytes
            opener = self._opener = self._setup(bytes(source[:at]))
        while opener is not None and not self._final and (found := read_varint(source, at)) is not None:
            size, start = found
            if size == 0:
                self._final = True
                at = start
                break
            if size < TAG_BYTES:
                raise MalformedError("ohttp.chunk", f"a sealed chunk has at least {TAG_BYTES} bytes")
            self._check(size)
            end = start + size
            if end > size_now:
                break
            self._left -= size
            if len(chunks) == self._chunks_left:
                raise MalformedError("ohttp.size", "the message is in more chunks than are read here", status=413)
            chunks.append(_open(opener, source[start:end], b""))
            at = end
        if source is kept:
            del kept[:at]
        else:
            kept += data[at:]
        if self._final:
            self._check(len(kept))
        self._chunks_left -= len(chunks)
        return chunks

    def finish(self) -> bytes:
        """The last chunk. Raises ``ohttp.truncated`` where it has not come, and ``ohttp.open`` where it was changed or
        cut, or something follows it."""
        if self._ended:
            raise UsageError("ohttp.finished", "nothing more is opened of this message")
        self._ended = True
        if self._opener is None or not self._final or len(self._buffer) < TAG_BYTES:
            raise MalformedError("ohttp.truncated", "the message ends before its last chunk")
        return _open(self._opener, self._buffer, _FINAL)

    def _check(self, size: int) -> None:
        if size > min(self._max_chunk_bytes, self._left):
            raise MalformedError("ohttp.size", f"a chunk has at most {self._max_chunk_bytes} bytes here", status=413)


def _open(opener: hpke.Opener, sealed: bytes | bytearray, aad: bytes) -> bytes:
    try:
        return opener.open(sealed, aad)
    except RefusedError as error:
        raise RefusedError("ohttp.open", "a chunk was changed, or is not the next one", status=400) from error


# --- clients --------------------------------------------------------------------------------------------------------


class ClientContext:
    """What a client keeps of one request, to open its response."""

    __slots__ = ("_enc", "_schedule", "suite")

    def __init__(self, suite: AEAD, enc: bytes, schedule: hpke.Schedule) -> None:
        self.suite = suite
        self._enc = enc
        self._schedule = schedule

    def open(self, message: bytes) -> bytes:
        """The content of a single-shot response. Raises ``ohttp.truncated`` and ``ohttp.open``."""
        size = nonce_bytes(self.suite)
        if len(message) < size + TAG_BYTES:
            raise MalformedError("ohttp.truncated", "the response ends before its content does")
        key = _response_key(self.suite, self._schedule, self._enc, message[:size], _RESPONSE)
        try:
            return hpke.Opener(self.suite, *key).open(message[size:])
        except RefusedError as error:
            raise RefusedError("ohttp.open", "the response was changed, or answers another request") from error

    def chunk_opener(self, max_chunk_bytes: int = MAX_CHUNK_BYTES) -> ChunkOpener:
        """For a chunked response."""

        def setup(nonce: bytes) -> hpke.Opener:
            key = _response_key(self.suite, self._schedule, self._enc, nonce, _CHUNKED_RESPONSE)
            return hpke.Opener(self.suite, *key)

        return ChunkOpener(nonce_bytes(self.suite), setup, max_chunk_bytes)


def encapsulate(
    configuration: KeyConfiguration, suite: AEAD, ephemeral: bytes, plaintext: bytes
) -> tuple[bytes, ClientContext]:
    """An encapsulated request (RFC 9458 §4.3). ``ephemeral``: 32 random bytes, used for nothing else.

    Raises ``ohttp.suite`` where the configuration does not offer the suite, and ``ohttp.key_config`` where its key is
    none that can be used.
    """
    head, schedule = _setup_request(configuration, suite, ephemeral, _REQUEST)
    return head + schedule.sealer().seal(plaintext), ClientContext(suite, head[_HEADER_BYTES:], schedule)


def encapsulate_chunked(
    configuration: KeyConfiguration, suite: AEAD, ephemeral: bytes
) -> tuple[ChunkSealer, ClientContext]:
    """A chunked request (chunked draft §6.1), as :func:`encapsulate`; its response is chunked too."""
    head, schedule = _setup_request(configuration, suite, ephemeral, _CHUNKED_REQUEST)
    return ChunkSealer(head, schedule.sealer()), ClientContext(suite, head[_HEADER_BYTES:], schedule)


# --- gateways -------------------------------------------------------------------------------------------------------


class GatewayKey:
    """A gateway's private key and the configuration it publishes."""

    __slots__ = ("configuration", "key")

    def __init__(self, key_id: int, private: bytes, suites: Sequence[AEAD] = SUITES) -> None:
        """``private``: an X25519 private key, 32 bytes."""
        self.key = hpke.RecipientKey(private)
        self.configuration = build_key_configuration(key_id, self.key.public, suites)


class GatewayContext:
    """What a gateway keeps of one request, to seal its one response."""

    __slots__ = ("_answered", "_schedule", "enc", "key_id", "suite")

    def __init__(self, key_id: int, suite: AEAD, enc: bytes, schedule: hpke.Schedule) -> None:
        self.key_id = key_id
        self.suite = suite
        self.enc = enc
        """The encapsulated key, 32 bytes: another one in every request of an honest client."""
        self._schedule = schedule
        self._answered = False

    def seal(self, nonce: bytes, content: bytes) -> bytes:
        """The single-shot response (RFC 9458 §4.4). ``nonce``: :func:`nonce_bytes` random bytes."""
        return nonce + self._respond(nonce, _RESPONSE).seal(content)

    def chunks(self, nonce: bytes) -> ChunkSealer:
        """The chunked response (chunked draft §6.2), with a nonce as in :meth:`seal`."""
        return ChunkSealer(nonce, self._respond(nonce, _CHUNKED_RESPONSE))

    def _respond(self, nonce: bytes, label: bytes) -> hpke.Sealer:
        if len(nonce) != nonce_bytes(self.suite):
            raise UsageError(
                "ohttp.nonce", f"a response nonce of {self.suite.name} has {nonce_bytes(self.suite)} bytes"
            )
        if self._answered:
            raise UsageError("ohttp.finished", "this request has its response")
        self._answered = True
        return hpke.Sealer(self.suite, *_response_key(self.suite, self._schedule, self.enc, nonce, label))


def decapsulate(
    keys: Mapping[int, GatewayKey], message: bytes, max_bytes: int = MAX_REQUEST_BYTES
) -> tuple[bytes, GatewayContext]:
    """The content of an encapsulated request, and the context of its response. ``keys`` by id.

    Raises ``ohttp.size``, ``ohttp.truncated``, ``ohttp.key_id``, ``ohttp.suite`` and ``ohttp.open``.
    """
    if len(message) > max_bytes:
        raise MalformedError("ohttp.size", f"an encapsulated request has at most {max_bytes} bytes here", status=413)
    if len(message) < _HEAD_BYTES + TAG_BYTES:
        raise MalformedError("ohttp.truncated", "the request ends before its content does")
    context, schedule = _setup_gateway(keys, message[:_HEAD_BYTES], _REQUEST)
    try:
        return schedule.opener().open(message[_HEAD_BYTES:]), context
    except RefusedError as error:
        raise RefusedError(
            "ohttp.open", "the request was changed, or was sealed to another key", hint=_FETCH, status=400
        ) from error


class RequestOpener:
    """Reads a chunked request, as :class:`ChunkOpener` reads any chunked message; the context is there with the first
    chunk."""

    __slots__ = ("_chunks", "_keys", "context")

    def __init__(
        self,
        keys: Mapping[int, GatewayKey],
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
        max_chunks: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._keys = keys
        self._chunks = ChunkOpener(_HEAD_BYTES, self._setup, max_chunk_bytes, max_chunks)
        self.context: GatewayContext | None = None

    def _setup(self, head: bytes) -> hpke.Opener:
        self.context, schedule = _setup_gateway(self._keys, head, _CHUNKED_REQUEST)
        return schedule.opener()

    def feed(self, data: bytes) -> list[bytes]:
        """As :meth:`ChunkOpener.feed`; also raises ``ohttp.key_id`` and ``ohttp.suite``."""
        return self._chunks.feed(data)

    def finish(self) -> bytes:
        """As :meth:`ChunkOpener.finish`."""
        return self._chunks.finish()


def decapsulate_chunked(
    keys: Mapping[int, GatewayKey], message: bytes, max_bytes: int = MAX_REQUEST_BYTES
) -> tuple[bytes, GatewayContext]:
    """The content of a chunked request that has arrived whole, as :func:`decapsulate`; also raises ``ohttp.chunk``."""
    if len(message) > max_bytes:
        raise MalformedError("ohttp.size", f"an encapsulated request has at most {max_bytes} bytes here", status=413)
    opener = RequestOpener(keys, max_bytes, MAX_REQUEST_CHUNKS)
    content = b"".join((*opener.feed(message), opener.finish()))
    if opener.context is None:
        raise MalformedError("ohttp.truncated", "the request ends before its content does")
    return content, opener.context


# --- what both sides share ------------------------------------------------------------------------------------------

_FETCH = "fetch the gateway's key configuration again"


def nonce_bytes(suite: AEAD) -> int:
    """Size of a response nonce, and of the exported secret: max(Nn, Nk) (RFC 9458 §4.4)."""
    return max(NONCE_BYTES, suite.key_bytes)


def _setup_request(
    configuration: KeyConfiguration, suite: AEAD, ephemeral: bytes, label: bytes
) -> tuple[bytes, hpke.Schedule]:
    """Header and ``enc`` of a request, and its context."""
    if suite not in configuration.suites:
        raise RefusedError("ohttp.suite", f"the key configuration does not offer {suite.name}")
    header = (configuration.key_id << 48 | KEM_ID << 32 | KDF_ID << 16 | suite.id).to_bytes(_HEADER_BYTES, "big")
    try:
        enc, schedule = hpke.setup_sender(suite, configuration.public, ephemeral, label + header)
    except MalformedError as error:
        raise MalformedError("ohttp.key_config", "the configuration's key is none that can be used") from error
    return header + enc, schedule


def _setup_gateway(keys: Mapping[int, GatewayKey], head: bytes, label: bytes) -> tuple[GatewayContext, hpke.Schedule]:
    """The context of a request from its header and ``enc``."""
    key = keys.get(head[0])
    if key is None:
        raise RefusedError("ohttp.key_id", "there is no key of this id here", hint=_FETCH, status=400)
    kem, kdf, aead = (int.from_bytes(head[at : at + 2], "big") for at in (1, 3, 5))
    suite = _BY_ID.get(aead)
    if (kem, kdf) != (KEM_ID, KDF_ID) or suite is None or suite not in key.configuration.suites:
        raise RefusedError("ohttp.suite", "this key is not offered with this suite", hint=_FETCH, status=400)
    enc = head[_HEADER_BYTES:]
    try:
        schedule = key.key.setup(suite, enc, label + head[:_HEADER_BYTES])
    except MalformedError as error:
        raise RefusedError("ohttp.open", "the encapsulated key is none that can be used", status=400) from error
    return GatewayContext(head[0], suite, enc, schedule), schedule


def _response_key(suite: AEAD, schedule: hpke.Schedule, enc: bytes, nonce: bytes, label: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of a response (RFC 9458 §4.4)."""
    prk = hpke.extract(enc + nonce, schedule.export(label, len(nonce)))
    return hpke.expand(prk, b"key", suite.key_bytes), hpke.expand(prk, b"nonce", NONCE_BYTES)
