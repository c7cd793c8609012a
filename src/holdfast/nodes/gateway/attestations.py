"""The evidence that this gateway presents of its keys: made on a schedule, kept, and made anew for whoever asks.

``spec/attestation.md`` §11. Rules:

* Evidence is made before the first answer, again after ``reattest_s`` and before half of what is left of it has run
  out, whichever comes first. When the enclave fails, the old evidence stays in force, and it is tried again.
* What was made is durable before it is presented, and kept for as long as runs are: :meth:`Attestations.at` finds what
  was in force at a time. It never changes its answer while both are kept.
* For a caller's nonce evidence is made, and not kept. The hardware is slow and callers are strangers, so this is
  rationed and done one after the other.

Not covered: judging evidence; whoever is shown it does that.
"""

from __future__ import annotations

import asyncio
import bisect
import datetime as dt
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.attestation.binding import build_binding
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex, time_decode, time_encode
from holdfast.core.keys import KeyDocument
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.enclave import Enclave
from holdfast.ports.storage import Storage

_LOG = logging.getLogger("holdfast.gateway.attestations")
FOLDER = "attestations"
"""Below the node's state: one file for each piece of evidence, named for its time."""
KEPT_TYPE = "urn:holdfast:kept-attestation:v1"
_MEMBERS = frozenset({"type", "made_at", "node", "format", "evidence"})
MAX_NONCE_BYTES = 64
"""Of a caller's nonce (``attestation.md`` §11.2)."""
COARSE = dt.timedelta(minutes=1)
"""How much earlier than it was a sealed run may say that it was opened (``statement.md`` §3)."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the gateway presents for a key document: a format code and the evidence."""

    format: str
    evidence: bytes
    node: str
    """Digest of the key document that it is about."""
    made_at: dt.datetime
    """When this gateway had it; of evidence out of a file, when it was read."""

    def to_json(self) -> dict[str, canonical.JSON]:
        """As ``/v1/identity`` shows it."""
        return {"format": self.format, "evidence": b64_encode(self.evidence)}


class RationedEnclave:
    """An enclave for strangers: so many times in a minute, however they come to ask."""

    def __init__(self, inner: Enclave, clock: Clock, per_minute: int) -> None:
        self._inner = inner
        self._clock = clock
        self._per_minute = per_minute
        self._allowance, self._allowed_at = float(per_minute), clock.monotonic()
        self._lock = threading.Lock()
        self.format, self.simulated = inner.format, inner.simulated

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        """As the port says. Raises ``gateway.busy`` when this minute's allowance is spent."""
        with self._lock:
            self._spend()
        return self._inner.attest(user_data, nonce)

    def _spend(self) -> None:
        now = self._clock.monotonic()
        earned = (now - self._allowed_at) * self._per_minute / _MINUTE_S
        self._allowance, self._allowed_at = min(self._per_minute, self._allowance + earned), now
        if self._allowance < 1:
            wait_s = (1 - self._allowance) * _MINUTE_S / self._per_minute
            raise UnavailableError(
                "gateway.busy",
                f"at most {self._per_minute} attestations are made in a minute",
                hint=f"try again in {wait_s:.0f} s",
                status=429,
            )
        self._allowance -= 1


class Attestations:
    """Keeps evidence of one key document in force. ``given`` is evidence that was made elsewhere."""

    def __init__(
        self,
        document: KeyDocument,
        enclave: Enclave | None,
        given: Attestation | None,
        storage: Storage,
        clock: Clock,
        *,
        reattest_s: float,
        retention: dt.timedelta,
        per_minute: int,
    ) -> None:
        self._document = document
        self._record = build_binding(
            document.digest,
            tls_spki=None if document.tls is None else bytes.fromhex(document.tls),
            hpke=document.ohttp_digest,
        )
        self._enclave = enclave
        self.for_strangers = None if enclave is None else RationedEnclave(enclave, clock, per_minute)
        """The same enclave for whoever asks by another way."""
        self._given = given
        self._storage = storage
        self._clock = clock
        self._reattest = dt.timedelta(seconds=reattest_s)
        self._retention = retention
        self._one = asyncio.Lock()
        self._kept = [_load_kept(storage, name) for name in storage.list_names(FOLDER)]

    @property
    def current(self) -> Attestation | None:
        """What is in force now; None where nothing attests this gateway."""
        if self._enclave is None or not self._kept or self._kept[-1].node != self._document.digest:
            return self._given
        return self._kept[-1]

    def at(self, moment: dt.datetime) -> Attestation | None:
        """What was in force at a time; evidence out of a file where nothing was made until then.

        A sealed run says no more than the minute: evidence made later in the minute that it names may be older than the
        run itself, and is shown. Whether it helps, its reader says (``attestation.md`` §3(8)).
        """
        place = bisect.bisect_right(self._kept, moment, key=lambda item: item.made_at)
        if place:
            return self._kept[place - 1]
        soon = self._kept[0] if self._kept and self._kept[0].made_at - moment < COARSE else None
        return self._given or soon

    async def start(self) -> None:
        """Make the first evidence, unless what is kept is good for a while. Raises what the enclave raises."""
        if self._enclave is not None and (self.current is None or self._wait() <= dt.timedelta(0)):
            await self.renew()

    async def work(self) -> None:
        """Make evidence whenever it is due."""
        if self._enclave is None:
            await asyncio.Event().wait()
        pause = _FIRST_PAUSE_S
        while True:
            wait = self._wait()
            if wait > dt.timedelta(0):
                await self._clock.sleep(wait.total_seconds())
                continue
            try:
                await self.renew()
            except HoldfastError as error:
                _LOG.warning("no new attestation: %s", error, extra={"code": error.code})
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            pause = _FIRST_PAUSE_S

    async def renew(self) -> Attestation:
        """Make evidence, keep it, and let go of what is past its retention."""
        evidence = await self._attest(self._enclave, None)
        now = self._clock.now()
        if self._kept:  # two in one millisecond, or a clock that was set back: the order of making stands
            now = max(now, self._kept[-1].made_at + dt.timedelta(milliseconds=1))
        made = Attestation(self._format, evidence, self._document.digest, time_decode(time_encode(now)))
        self._storage.save(f"{FOLDER}/{_name_of(made)}", _build_kept(made))
        self._kept.append(made)
        self._forget(self._clock.now() - self._retention)
        return made

    async def answer(self, nonce: bytes | None) -> Mapping[str, canonical.JSON]:
        """``GET /v1/attestation`` (``attestation.md`` §11.2). Raises ``gateway.no_enclave``, ``gateway.busy`` or what
        the enclave raises."""
        if nonce is None:
            found = self.current
            if found is None:
                raise UsageError("gateway.no_enclave", "nothing attests this gateway: its keys are files", status=404)
            form, evidence = found.format, found.evidence
        elif self.for_strangers is None:
            raise UsageError(
                "gateway.no_enclave",
                "this gateway runs in no enclave that could answer a nonce",
                hint="ask without one for the evidence that it presents",
                status=404,
            )
        else:
            form, evidence = self._format, await self._attest(self.for_strangers, nonce)
        return {
            "node": self._document.digest,
            "key_document": b64_encode(self._document.raw),
            "format": form,
            "simulated": self._enclave.simulated if self._enclave is not None else form == "insecure-dev",
            "nonce": None if nonce is None else nonce.hex(),
            "evidence": b64_encode(evidence),
        }

    @property
    def format(self) -> str | None:
        """The format of this gateway's evidence; None where nothing attests it."""
        if self._enclave is not None:
            return self._enclave.format
        return self._given.format if self._given is not None else None

    async def respond(self, nonce: bytes) -> bytes:
        """Evidence whose nonce answers a challenge of the registry (``registry.md`` §4(3)), made now and not kept;
        evidence that was made elsewhere is handed out as it is and answers none. Raises ``gateway.no_enclave`` or what
        the enclave raises."""
        if self._enclave is None and self._given is not None:
            return self._given.evidence
        return await self._attest(self._enclave, nonce)

    @property
    def _format(self) -> str:
        return self._enclave.format if self._enclave is not None else ""

    async def _attest(self, enclave: Enclave | None, nonce: bytes | None) -> bytes:
        if enclave is None:
            raise UsageError("gateway.no_enclave", "nothing attests this gateway: its keys are files", status=404)
        async with self._one:
            return await asyncio.to_thread(enclave.attest, self._record, nonce)

    def _wait(self) -> dt.timedelta:
        """How long the evidence in force is good for; nothing or less when it is due."""
        found = self.current
        if found is None:
            return dt.timedelta(0)
        due = found.made_at + self._reattest
        end = runs_out(found)
        if end is not None:
            due = min(due, found.made_at + (end - found.made_at) / 2)
        return due - self._clock.now()

    def _forget(self, horizon: dt.datetime) -> None:
        """Remove what was no longer in force at ``horizon``."""
        while len(self._kept) > 1 and self._kept[1].made_at <= horizon:
            self._storage.remove(f"{FOLDER}/{_name_of(self._kept.pop(0))}")


def runs_out(attestation: Attestation) -> dt.datetime | None:
    """When the certificates in it run out; None where the format carries none, or it does not parse."""
    if attestation.format != "aws-nitro":
        return None
    try:
        document = parse_nitro(attestation.evidence)
        chain = (document.certificate, *document.authorities)
        return min(parse_certificate(raw).not_after for raw in chain)
    except MalformedError:
        return None


def _name_of(attestation: Attestation) -> str:
    return f"{time_encode(attestation.made_at).replace(':', '')}-{sha256_hex(attestation.evidence)[:16]}.json"


def _build_kept(attestation: Attestation) -> bytes:
    return canonical.encode(
        {
            "type": KEPT_TYPE,
            "made_at": time_encode(attestation.made_at),
            "node": attestation.node,
            **attestation.to_json(),
        }
    )


def _load_kept(storage: Storage, name: str) -> Attestation:
    """One kept file. Raises ``gateway.attestation_kept``: what was presented is not guessed."""
    try:
        return _parse_kept(name, storage.load(f"{FOLDER}/{name}") or b"")
    except MalformedError as error:
        raise UnavailableError(
            "gateway.attestation_kept",
            f"{FOLDER}/{name} is damaged: {error.message}",
            hint="restore it from a backup, or remove it: bundles of its time then carry older evidence",
        ) from error


def _parse_kept(name: str, raw: bytes) -> Attestation:
    value = canonical.decode_object(raw)
    form, node = value.get("format"), value.get("node")
    known = value.keys() == _MEMBERS and value["type"] == KEPT_TYPE
    if not known or not isinstance(form, str) or not isinstance(node, str):
        raise MalformedError("gateway.attestation_kept", f"not a {KEPT_TYPE}")
    found = Attestation(form, b64_decode(value["evidence"]), node, time_decode(value["made_at"]))
    if _name_of(found) != name:
        raise MalformedError("gateway.attestation_kept", "it is named for other bytes")
    return found
