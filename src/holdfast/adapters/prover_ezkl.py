"""EZKL as the prover, each order in a worker process that contains it (``spec/inference.md`` §5).

EZKL is not part of Holdfast: whoever runs a node installs it (``docs/howto/prove-a-run.md``), into the node's Python or
into one of its own. A circuit is measured first, and refused with an estimate when it is too large; then its ranges are
found with samples, and its keys are made under a reference string. Where no ceremony's is given, the node makes one
itself, which everything made under it says.

A folder holds one circuit; it is whole once ``made.json`` is there. Not covered: which artifact a circuit is of, and
what is done when a worker is killed (``nodes.inference``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from holdfast.core.circuits import parse_settings
from holdfast.core.encoding import sha256_hex
from holdfast.core.onnx_model import check_model, read_names, read_open_dimensions
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.ports.prover import Derived, MadeCircuit, Progress, Witnessed

WORKER = Path(__file__).with_name("_ezkl_worker.py")
WHOLE = "made.json"
"""Written last into a circuit's folder."""
ARGUMENTS = (
    {"input_scale": 7, "param_scale": 7, "decomp_base": 256, "decomp_legs": 3},
    {"input_scale": 8, "param_scale": 8, "decomp_base": 512, "decomp_legs": 3},
    {"input_scale": 7, "param_scale": 7, "decomp_base": 1024, "decomp_legs": 3},
    {"input_scale": 7, "param_scale": 7, "decomp_base": 16384, "decomp_legs": 2},
)
"""Scales and ranges that are tried one after the other, the fastest first, until the samples fit."""
SAMPLES, SAMPLE_RANGE = 24, 2.0
"""How many items are made up to find a circuit's ranges with, and how far their elements go, where the artifact brings
no samples of its own."""
_ROW_BYTES, _ROW_US = 18_000, 350
"""Memory, and time to prove, of a row: what was measured with circuits of ``2^14`` to ``2^16`` rows, for an
estimate."""
_LINE_BYTES = 64 << 20


def ezkl_version(python: Path | None) -> str:
    """Which EZKL a Python has; raises ``infer.no_prover``."""
    if python is None:
        try:
            return metadata.version("ezkl")
        except metadata.PackageNotFoundError as error:
            raise _missing("this Python") from error
    for place in sorted(python.parent.parent.glob("lib/python*/site-packages")):
        for found in metadata.distributions(name="ezkl", path=[str(place)]):
            return found.version
    raise _missing(str(python))


def _missing(where: str) -> RefusedError:
    return RefusedError(
        "infer.no_prover",
        f"EZKL is not installed in {where}, so nothing can be proved or verified here",
        hint="install it yourself: pip install ezkl==23.0.5; it is no part of Holdfast",
        param="mode",
    )


class _Workers:
    """Starts workers."""

    def __init__(self, python: Path | None, *, memory_bytes: int, run_s: float, threads: int) -> None:
        self._version = ezkl_version(python)
        self._python = str(python or sys.executable)
        self._memory_bytes = memory_bytes
        self._run_s = run_s
        self._environment = {"RAYON_NUM_THREADS": str(threads), "LC_ALL": "C.UTF-8"}

    @property
    def version(self) -> str:
        return self._version

    async def run(self, folder: Path, do: str, progress: Progress | None = None, **order: Any) -> dict[str, Any]:
        """One order in a worker. Raises ``infer.prover`` where it ends or takes too long, and :class:`_FailedError`
        with what EZKL says where that refuses."""
        text = json.dumps({"do": do, "memory_bytes": self._memory_bytes, **order}, default=str).encode()
        process = await asyncio.create_subprocess_exec(
            self._python,
            "-I",
            str(WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**self._environment, "HOME": str(folder)},
            cwd=folder,
            limit=_LINE_BYTES,
        )
        try:
            async with asyncio.timeout(self._run_s):
                return await _converse(process, text, progress)
        except TimeoutError as error:
            raise _ended(f"the prover took longer than {self._run_s:g} s") from error
        except (ConnectionError, ValueError) as error:
            raise _ended("the prover broke off") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())


async def _converse(process: asyncio.subprocess.Process, text: bytes, progress: Progress | None) -> dict[str, Any]:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise _ended("the prover did not start")
    stdin.write(text)
    await stdin.drain()
    stdin.close()
    while line := await stdout.readline():
        said = json.loads(line)
        if "error" in said:
            raise _FailedError(str(said["error"]))
        if "done" in said:
            return dict(said["done"])
        if progress is not None and "step" in said:
            progress(said["step"])
    raise _ended("the prover's process ended, or it took more memory than it may")


class _FailedError(Exception):
    """What EZKL says it cannot do."""


def _ended(message: str) -> UnavailableError:
    return UnavailableError("infer.prover", message, hint="it is tried again")


class ReferenceStrings:
    """A folder of reference strings, ``kzg<log rows>.srs``, each named by its digest to others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[tuple[str, int, int], str] = {}

    def digest(self, path: Path) -> str:
        """SHA-256 (hex) of a file, read again when it changed."""
        state = path.stat()
        key = (path.name, state.st_mtime_ns, state.st_size)
        if key not in self._digests:
            self._digests[key] = sha256_hex(path.read_bytes())
        return self._digests[key]

    def load(self, digest: str) -> bytes | None:
        """The bytes of the one with a digest."""
        for path in sorted(self.folder.glob("kzg*.srs")):
            if self.digest(path) == digest:
                return path.read_bytes()
        return None


class EzklProver(_Workers):
    """Implements :class:`holdfast.ports.prover.Prover`."""

    def __init__(
        self,
        python: Path | None,
        srs: Path,
        *,
        ceremony: Path | None,
        max_log_rows: int,
        memory_bytes: int,
        run_s: float,
        threads: int,
    ) -> None:
        """``srs`` is the folder of reference strings made here; ``ceremony`` one of those of a ceremony, which are then
        the only ones that are used: files ``kzg<log rows>.srs``."""
        super().__init__(python, memory_bytes=memory_bytes, run_s=run_s, threads=threads)
        self._srs = ceremony or srs
        self._strings = ReferenceStrings(self._srs)
        self._ceremony = ceremony is not None
        self._max_log_rows = max_log_rows

    async def make(
        self, folder: Path, model: bytes, samples: Sequence[Sequence[float]] | None, progress: Progress
    ) -> MadeCircuit:
        check_model(model)
        inputs, outputs = read_names(model)
        path = _fresh(folder, model)
        settings = await self._settings(folder, path, model, samples, progress)
        srs = self._srs / f"kzg{settings.log_rows}.srs"
        kind = "ceremony" if self._ceremony else "development"
        if self._ceremony and not srs.is_file():
            raise RefusedError("infer.circuit", f"the ceremony's reference string {srs.name} is not here")
        self._srs.mkdir(parents=True, exist_ok=True)
        new = None if srs.is_file() else self._srs / f".{srs.name}.{os.getpid()}"
        try:
            await self.run(
                folder,
                "setup",
                progress,
                model=path,
                settings=folder / "settings.json",
                circuit=folder / "circuit",
                srs=srs,
                new_srs=new,
                verification_key=folder / "vk",
                proving_key=folder / "pk",
            )
        except _FailedError as error:
            raise _no_circuit(error) from error
        key = (folder / "vk").read_bytes()
        made = MadeCircuit(settings.raw, key, self._strings.digest(srs), kind, inputs, outputs)
        told = {"version": self.version, "srs": srs.name, "kind": kind, "inputs": inputs, "outputs": outputs}
        _write(folder / WHOLE, json.dumps(told).encode())
        return made

    async def _settings(
        self, folder: Path, path: Path, model: bytes, samples: Sequence[Sequence[float]] | None, progress: Progress
    ) -> Any:
        """Measure a circuit, refuse it where it is too large, and find its ranges."""
        said: _FailedError | None = None
        file = folder / "settings.json"
        variables = [[name, 1] for name in ("batch_size", *read_open_dimensions(model))]
        for arguments in ARGUMENTS:
            order = {"model": path, "settings": file, "arguments": {**arguments, "variables": variables}}
            try:
                size = await self.run(folder, "measure", progress, **order)
            except _FailedError as error:
                raise _no_circuit(error) from error
            self._refuse_large(size["rows"])
            _write(folder / "samples.json", json.dumps(_samples(samples, size["shapes"], model)).encode())
            try:
                limit = self._max_log_rows
                await self.run(
                    folder, "calibrate", progress, **order, samples=folder / "samples.json", max_log_rows=limit
                )
            except _FailedError as error:
                said = error
                continue
            settings = parse_settings(file.read_bytes())
            self._refuse_large(1 << settings.log_rows)
            return settings
        raise _no_circuit(said or _FailedError("no scale fits"))

    def _refuse_large(self, rows: int) -> None:
        log_rows = max(rows - 1, 1).bit_length()
        if log_rows > self._max_log_rows:
            memory, seconds = (_ROW_BYTES << log_rows) >> 20, (_ROW_US << log_rows) // 1_000_000
            raise RefusedError(
                "infer.too_large",
                f"the circuit would have {rows} rows, 2^{log_rows}: about {memory} MiB and {seconds} s for each proof; "
                f"here at most 2^{self._max_log_rows} rows are proved",
                hint="ask for VANILLA or TEE, publish a smaller model, or raise the node's circuit_log_rows",
                param="mode",
            )

    def load(self, folder: Path) -> MadeCircuit | None:
        try:
            told = json.loads((folder / WHOLE).read_bytes())
            srs = self._srs / told["srs"]
            kind = "ceremony" if self._ceremony else "development"
            if (told["version"], told["kind"]) != (self.version, kind) or not (folder / "pk").is_file():
                return None
            settings, key = ((folder / name).read_bytes() for name in ("settings.json", "vk"))
            names = tuple(told["inputs"]), tuple(told["outputs"])
            return MadeCircuit(settings, key, self._strings.digest(srs), told["kind"], *names)
        except (OSError, ValueError, KeyError):
            return None

    async def witness(self, folder: Path, inputs: Sequence[Sequence[str]]) -> Witnessed:
        settings = (folder / "settings.json").read_bytes()
        lowest, highest = json.loads(settings)["run_args"]["lookup_range"]
        with tempfile.TemporaryDirectory(prefix="holdfast-witness-") as own:
            place = Path(own)
            _write(place / "input.json", json.dumps({"input_data": inputs}).encode())
            try:
                made = await self.run(
                    place,
                    "witness",
                    input=place / "input.json",
                    circuit=folder / "circuit",
                    witness=place / "witness.json",
                )
            except _FailedError as error:
                raise _no_answer(str(error)) from error
            if made["max_lookup_inputs"] > highest or made["min_lookup_inputs"] < lowest:
                raise _no_answer("a number within it is beyond the range that the circuit was made for")
            instances = [item for group in (made["inputs"], made["outputs"]) for tensor in group for item in tensor]
            return Witnessed(tuple(instances), (place / "witness.json").read_bytes())

    async def prove(self, folder: Path, witness: bytes) -> bytes:
        told = json.loads((folder / WHOLE).read_bytes())
        with tempfile.TemporaryDirectory(prefix="holdfast-proof-") as own:
            place = Path(own)
            _write(place / "witness.json", witness)
            try:
                made = await self.run(
                    place,
                    "prove",
                    witness=place / "witness.json",
                    circuit=folder / "circuit",
                    proving_key=folder / "pk",
                    proof=place / "proof.json",
                    srs=self._srs / told["srs"],
                )
            except _FailedError as error:
                raise UnavailableError("infer.prover", f"EZKL does not prove this: {error}"[:300]) from error
            return bytes.fromhex(made["proof"].removeprefix("0x"))

    def reference_string(self, digest: str) -> bytes | None:
        return self._strings.load(digest)


class EzklChecker(_Workers):
    """Implements :class:`holdfast.ports.prover.ProofChecker`."""

    async def derive(self, model: bytes, settings: bytes, srs: bytes) -> Derived:
        check_model(model)
        with tempfile.TemporaryDirectory(prefix="holdfast-circuit-") as own:
            place = Path(own)
            for name, data in (("model.onnx", model), ("settings.json", settings), ("srs", srs)):
                _write(place / name, data)
            try:
                await self.run(
                    place,
                    "derive",
                    model=place / "model.onnx",
                    settings=place / "settings.json",
                    derived=place / "derived.json",
                    circuit=place / "circuit",
                    srs=place / "srs",
                    verification_key=place / "vk",
                    proving_key=place / "pk",
                )
            except _FailedError as error:
                raise _no_circuit(error) from error
            return Derived((place / "derived.json").read_bytes(), (place / "vk").read_bytes(), *read_names(model))

    async def verify(
        self, proof: bytes, instances: Sequence[str], settings: bytes, verification_key: bytes, srs: bytes
    ) -> bool:
        shown = {
            "protocol": None,
            "instances": [list(instances)],
            "proof": list(proof),
            "hex_proof": "0x" + proof.hex(),
            "split": None,
            "pretty_public_inputs": None,
            "timestamp": None,
            "version": None,
        }
        with tempfile.TemporaryDirectory(prefix="holdfast-verify-") as own:
            place = Path(own)
            files = {
                "settings.json": settings,
                "vk": verification_key,
                "srs": srs,
                "proof.json": json.dumps(shown).encode(),
            }
            for name, data in files.items():
                _write(place / name, data)
            try:
                found = await self.run(
                    place,
                    "verify",
                    proof=place / "proof.json",
                    settings=place / "settings.json",
                    verification_key=place / "vk",
                    srs=place / "srs",
                )
            except _FailedError:
                return False
            return found["holds"] is True

    async def contract(self, settings: bytes, verification_key: bytes, srs: bytes) -> str:
        """Solidity of the contract that verifies proofs under a key (``inference.md`` §5(8)), as EZKL writes it; raises
        ``onchain.verifier``."""
        with tempfile.TemporaryDirectory(prefix="holdfast-contract-") as own:
            place = Path(own)
            for name, data in (("settings.json", settings), ("vk", verification_key), ("srs", srs)):
                _write(place / name, data)
            try:
                await self.run(
                    place,
                    "contract",
                    settings=place / "settings.json",
                    verification_key=place / "vk",
                    srs=place / "srs",
                    source=place / "verifier.sol",
                    abi=place / "verifier.abi",
                )
            except _FailedError as error:
                text = f"EZKL writes no contract for this circuit: {error}"
                raise RefusedError("onchain.verifier", text[:400]) from error
            return (place / "verifier.sol").read_text("utf-8")


def open_checker(python: Path | None, *, memory_bytes: int, run_s: float, threads: int) -> EzklChecker | None:
    """A checker, where EZKL is installed; None where it is not."""
    try:
        return EzklChecker(python, memory_bytes=memory_bytes, run_s=run_s, threads=threads)
    except HoldfastError:
        return None


def _samples(
    given: Sequence[Sequence[float]] | None, shapes: Sequence[Sequence[int]], model: bytes
) -> dict[str, list[list[float]]]:
    """Elements of each input for several items: those that the artifact brings, or made up from its bytes alone."""
    if given is not None:
        return {"input_data": [list(items) for items in given]}
    made = random.Random(sha256_hex(model))  # noqa: S311 (to be repeated, not to be secret)
    sizes = []
    for shape in shapes:
        size = SAMPLES
        for dimension in shape:
            size *= dimension
        sizes.append(size)
    return {"input_data": [[made.uniform(-SAMPLE_RANGE, SAMPLE_RANGE) for _ in range(size)] for size in sizes]}


def _no_circuit(error: Exception) -> RefusedError:
    return RefusedError(
        "infer.circuit",
        f"EZKL makes no circuit of this model: {error}"[:400],
        hint="ask for VANILLA or TEE; what makes a circuit is in docs/howto/prove-a-run.md",
        param="mode",
    )


def _no_answer(said: str) -> RefusedError:
    return RefusedError(
        "infer.runtime",
        f"the circuit has no answer for these inputs: {said}"[:300],
        hint="bring samples of such inputs with the artifact, in calibration.json",
        param="inputs",
    )


def _fresh(folder: Path, model: bytes) -> Path:
    """An empty folder with the model in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write(folder / "model.onnx", model)
    return folder / "model.onnx"


def _write(path: Path, data: bytes) -> None:
    """Write a file, whole and on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
