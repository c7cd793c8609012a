"""What ``holdfast verify`` finds of the proofs in a bundle by itself, where EZKL is installed (``inference.md`` §5(5)).

Full nodes derive the verification key from the artifact; here it is derived too where the model's file is given, and
else it is the one that the run's statement names. Without EZKL, or without the reference string, nothing is found, and
that is said: a check that was not made is never a pass. Nothing here changes a lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import read_file
from holdfast.core.circuits import same_circuit
from holdfast.core.encoding import sha256_hex
from holdfast.core.proofs import ProofDocument
from holdfast.errors import HoldfastError, RefusedError, UndecidedError

if TYPE_CHECKING:
    from holdfast.adapters.prover_ezkl import EzklChecker

MEMORY_BYTES, LONGEST_S, THREADS = 16 << 30, 1800.0, 2
"""What a verifier's process may take."""


@dataclass(frozen=True, slots=True)
class ProofFound:
    """What was found of one proof: ``yes``, ``no`` or ``cannot_tell``, in words, and the code of what is wrong."""

    digest: str
    answer: str
    says: str
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "answer": self.answer, "says": self.says, "code": self.code}


def check_proofs(
    documents: Mapping[str, ProofDocument], srs: Path | None, model: Path | None, python: Path | None
) -> list[ProofFound]:
    """Each proof of a bundle whose document holds, by the digest of its statement."""
    return [_check(digest, document, srs, model, python) for digest, document in documents.items()]


def _check(
    digest: str, document: ProofDocument, srs: Path | None, model: Path | None, python: Path | None
) -> ProofFound:
    try:
        says = asyncio.run(_verify(document, srs, model, python))
    except RefusedError as error:
        if error.code == "infer.no_prover":
            return ProofFound(digest, "cannot_tell", f"Not verified here: {error.message}; {error.hint}.", error.code)
        return ProofFound(digest, "no", f"The proof does not hold: {error.message}.", error.code)
    except HoldfastError as error:
        return ProofFound(digest, "cannot_tell", f"Not verified here: {error.message}.", error.code)
    return ProofFound(digest, "yes", says)


async def _verify(document: ProofDocument, srs: Path | None, model: Path | None, python: Path | None) -> str:
    checker = open_ezkl(document, python)
    string = find_string(srs, document.srs)
    settings, key = document.settings.raw, document.verification_key
    if model is not None:
        derived = await checker.derive(read_file(str(model)), settings, string)
        names = (derived.inputs, derived.outputs) == (document.inputs, document.outputs)
        if not names or derived.verification_key != key or not same_circuit(derived.settings, settings):
            raise RefusedError("proof.circuit", f"the circuit is not that of {model}")
    if not await checker.verify(document.proof, document.instances, settings, key, string):
        raise RefusedError("proof.proof", "it is none of these inputs and outputs")
    whose = f"the one that follows from {model}" if model is not None else "the one that the run's statement names"
    return (
        f"EZKL {checker.version} verified the proof here, under the verification key {sha256_hex(key)[:12]}: {whose}."
    )


def open_ezkl(document: ProofDocument, python: Path | None) -> EzklChecker:
    """EZKL of the version that proved; raises ``infer.no_prover`` and ``proof.version``."""
    from holdfast.adapters.prover_ezkl import EzklChecker  # noqa: PLC0415 - only where a bundle holds a proof

    checker = EzklChecker(python, memory_bytes=MEMORY_BYTES, run_s=LONGEST_S, threads=THREADS)
    if checker.version != document.version:
        raise UndecidedError("proof.version", f"EZKL {document.version} proved, and {checker.version} is here")
    return checker


def find_string(srs: Path | None, digest: str) -> bytes:
    """The reference string with a digest, from a folder or as the file itself; raises ``proof.srs``."""
    from holdfast.adapters.prover_ezkl import ReferenceStrings  # noqa: PLC0415 - only where a bundle holds a proof

    if srs is None:
        raise UndecidedError("proof.srs", f"--srs names no reference string; it is {digest[:12]}")
    string = ReferenceStrings(srs).load(digest) if srs.is_dir() else read_file(str(srs))
    if string is None or sha256_hex(string) != digest:
        raise UndecidedError("proof.srs", f"the reference string {digest[:12]} is not in {srs}")
    return string
