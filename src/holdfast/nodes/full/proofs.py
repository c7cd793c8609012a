"""Proofs of computed runs: fetched from whoever made them, checked from the artifact up (``spec/inference.md`` §5(5)).

What a log entry says of a proof is a commitment. This fetches what opens it, and the artifact's bytes; derives settings
and verification key of the circuit itself; and has the proof checked by a verifier in a process of its own.

Rules:

* Until a proof was checked, and where it cannot be, the opinion is ``cannot_tell``: no document, no artifact, no
  reference string, no verifier, another version of it. It is tried again, ever more rarely; what is found out then is
  said in a later round.
* Nothing that comes from a prover is believed: documents are held against statements of the log, the model against the
  artifact's digest, a reference string against the digest that the document names. One called ``ceremony`` counts only
  where this node's operator has the same.

Not covered: whether the statement itself is acceptable (``verifier.checks``).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.client.prover import ProverClient
from holdfast.core.artifacts import build_manifest
from holdfast.core.circuits import same_circuit
from holdfast.core.encoding import sha256_hex
from holdfast.core.proofs import ProofDocument, verify_proof_document
from holdfast.core.statements import Execution, Statement, parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.nodes.full.journal import Journal
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.prover import Derived, ProofChecker
from holdfast.verifier.checks import OK

REFUTED = "refuted:proof"
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 600.0
"""Pauses between two tries at one proof; they double."""
KEPT = 32
"""Circuits whose verification key is remembered."""
_LOG = logging.getLogger("holdfast.full.proofs")
_SILENT = ("proof.unknown", "infer.no_prover")


class Entries(Protocol):
    """What is read of a log."""

    async def entries(self, begin: int, end: int, size: int) -> list[bytes]:
        """Entries ``begin`` up to ``end`` of the tree with ``size`` entries."""
        ...


@dataclass(slots=True)
class _Waiting:
    """A proof that could not be checked yet."""

    next_at: float = 0.0
    wait_s: float = FIRST_WAIT_S
    why: str = ""


@dataclass(slots=True)
class ProofDesk:
    """Checks the proofs of one log. ``ceremonies`` gives a reference string of a ceremony by its digest."""

    origin: str
    log: Entries
    journal: Journal
    provers: Sequence[ProverClient]
    checker: ProofChecker | None
    ceremonies: Callable[[str], bytes | None]
    clock: Clock
    metrics: Metrics
    waiting: dict[int, _Waiting] = field(default_factory=dict)
    """By log index: proofs that were tried in vain."""
    _keys: OrderedDict[tuple[str, str, str], bytes] = field(default_factory=OrderedDict)
    """By artifact, settings and reference string: the verification key that follows."""

    async def step(self) -> bool:
        """Try the next proof that is due; whether there was one."""
        if self.checker is None or not self.provers:
            return False
        ledger, now = self.journal.origins[self.origin].ledger, self.clock.monotonic()
        for index in ledger.unproved():
            tried = self.waiting.setdefault(index, _Waiting())
            if tried.next_at > now:
                continue
            await self._try(index, tried, self.checker)
            return True
        return False

    async def _try(self, index: int, tried: _Waiting, checker: ProofChecker) -> None:
        try:
            await self._check(index, checker)
            code = OK
        except RefusedError as error:
            code, tried.why = REFUTED, error.message
            _LOG.warning("proof %d is refuted: %s", index, error.message, extra={"code": error.code})
        except HoldfastError as error:  # silent, unknown or unreadable: nothing about the proof itself
            tried.why = error.message
            tried.next_at = self.clock.monotonic() + tried.wait_s
            tried.wait_s = min(2 * tried.wait_s, LONGEST_WAIT_S)
            self.metrics.count("holdfast_full_proofs_total", "cannot_tell")
            return
        self.waiting.pop(index, None)
        ledger = self.journal.origins[self.origin].ledger
        if index not in ledger.unproved():  # trust, or a round, said something else of it meanwhile
            return
        self.metrics.count("holdfast_full_proofs_total", code)
        ledger.revise(index, code)
        await self.journal.record_revised(self.origin, [(index, code)])

    async def _check(self, index: int, checker: ProofChecker) -> None:
        """Raises a :class:`RefusedError` for a proof that does not hold, anything else where that cannot be told."""
        proved = await self._statement(index)
        ledger = self.journal.origins[self.origin].ledger
        parent = ledger.index_of(bytes.fromhex(proved.parents[0])) if proved.parents else None
        if parent is None:
            raise UndecidedError("proof.statement", "what it proves is not in the log")
        computed = await self._statement(parent)
        prover, document = await self._document(proved, computed)
        if document.version != checker.version:
            said = f"it was made by version {document.version}, and {checker.version} is here"
            raise UndecidedError("proof.version", said)
        srs = await self._reference_string(prover, computed, document)
        key = await self._key(prover, computed, document, srs, checker)
        if key != document.verification_key:
            raise RefusedError("proof.circuit", "its verification key is not that of the artifact")
        good = await checker.verify(document.proof, document.instances, document.settings.raw, key, srs)
        if not good:
            raise RefusedError("proof.proof", "the proof does not verify")

    async def _statement(self, index: int) -> Statement:
        """A statement of the log, as it was when it was checked."""
        ledger = self.journal.origins[self.origin].ledger
        raw = (await self.log.entries(index, index + 1, ledger.size))[0]
        try:
            statement = parse_statement(parse_envelope(raw))
        except HoldfastError as error:
            raise UndecidedError("log.withheld", "the log does not serve this entry again") from error
        if bytes.fromhex(statement.digest) != ledger.opinion(index).digest:
            raise UndecidedError("log.withheld", "the log serves another entry than before")
        return statement

    async def _document(self, proved: Statement, computed: Statement) -> tuple[ProverClient, ProofDocument]:
        """The document of a proof, from the first prover that has it."""
        silent: HoldfastError = UndecidedError("proof.unknown", "no prover has it")
        for prover in self.provers:
            try:
                found = await prover.proof(proved.digest)
            except HoldfastError as error:
                silent = error if error.code not in _SILENT else silent
                continue
            try:
                return prover, _opened(proved, computed, found.document, found.salt)
            except UndecidedError as error:
                silent = error
        raise UndecidedError("proof.unknown", f"no prover shows it: {silent.message}")

    async def _reference_string(self, prover: ProverClient, computed: Statement, document: ProofDocument) -> bytes:
        body = computed.body
        circuit = body.computation.circuit if isinstance(body, Execution) and body.computation else None
        if circuit is not None and circuit.srs == "ceremony":
            known = self.ceremonies(document.srs)
            if known is None:
                raise UndecidedError("proof.srs", "this node knows no ceremony with that reference string")
            return known
        found = await prover.reference_string(document.srs)
        if sha256_hex(found) != document.srs:
            raise UndecidedError("proof.srs", "the prover serves another reference string than it names")
        return found

    async def _key(
        self, prover: ProverClient, computed: Statement, document: ProofDocument, srs: bytes, checker: ProofChecker
    ) -> bytes:
        """The verification key that follows from the artifact's bytes, the settings and the reference string."""
        body = computed.body
        if not isinstance(body, Execution) or body.computation is None:
            raise RefusedError("proof.statement", "it is about no computation")
        artifact, settings = body.computation.artifact, document.settings.raw
        known = (artifact, sha256_hex(settings + repr((document.inputs, document.outputs)).encode()), document.srs)
        if known not in self._keys:
            model = await self._model(prover, artifact)
            derived = await _derived(checker, model, settings, srs)
            if (derived.inputs, derived.outputs) != (document.inputs, document.outputs):
                raise RefusedError("proof.circuit", "its inputs and outputs are called otherwise in the model")
            if not same_circuit(derived.settings, settings):
                raise RefusedError("proof.circuit", "its settings do not follow from the model")
            self._keys[known] = derived.verification_key
            while len(self._keys) > KEPT:
                self._keys.popitem(last=False)
        return self._keys[known]

    async def _model(self, prover: ProverClient, artifact: str) -> bytes:
        files, model = await prover.artifact(artifact)
        if build_manifest("model", files).artifact != artifact or files.get("model.onnx") != sha256_hex(model):
            raise UndecidedError("proof.artifact", "the prover serves other bytes than the artifact's")
        return model


async def _derived(checker: ProofChecker, model: bytes, settings: bytes, srs: bytes) -> Derived:
    """Settings and verification key of a model; where there are none to derive, none can have been proved with."""
    try:
        return await checker.derive(model, settings, srs)
    except MalformedError as error:
        raise RefusedError("proof.circuit", f"the artifact makes no circuit: {error.message}") from error


def _opened(proved: Statement, computed: Statement, raw: bytes, salt: bytes) -> ProofDocument:
    """A document that the statement commits to. One that it does not commit to says nothing of the proof; one that it
    does, and that does not hold, refutes it."""
    try:
        return verify_proof_document(proved, computed, raw, salt)
    except HoldfastError as error:
        if error.code == "proof.record":
            raise UndecidedError("proof.record", "the prover shows another document") from error
        raise RefusedError(error.code, error.message) from error
