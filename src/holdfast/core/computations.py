"""How a model was run: member ``computation`` of an inference node's ``execution`` statement (``inference.md`` §4).

``parse_computation`` and :meth:`Computation.to_json` are inverses. ``binds`` writes the two documents that a
computation ties together as one short string, for checkers that keep nothing else of it.

Not covered: whether the node that says so may, or is right (``verifier``).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.canonical import JSON
from holdfast.core.encoding import hex_decode, is_code
from holdfast.core.inference import MAX_ITEMS, MODES
from holdfast.errors import MalformedError

OPTIMISATIONS = ("none", "basic", "extended", "all")
"""Graph optimisation levels, in the words that ONNX Runtime has for them (``inference.md`` §4)."""
COMPARISONS = ("equal", "within", "different")
"""What re-execution can come to (``inference.md`` §6)."""
SRS_KINDS = ("development", "ceremony")
"""Where the structured reference string of a circuit is from (``inference.md`` §5)."""
MAX_THREADS = 1024

_MEMBERS = frozenset(
    {
        "artifact",
        "mode",
        "runtime",
        "version",
        "optimisation",
        "threads",
        "instructions",
        "batch",
        "request",
        "circuit",
    }
)
_CIRCUIT = frozenset({"settings", "srs", "verification_key"})


@dataclass(frozen=True, slots=True)
class BoundTree:
    """The root (32 bytes) and size of a document's parts, as a computation names its request."""

    root: bytes
    size: int

    def to_json(self) -> dict[str, JSON]:
        return {"root": self.root.hex(), "size": self.size}


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit that a proof is about (``inference.md`` §5). Digests are SHA-256, hex."""

    settings: str
    verification_key: str
    srs: str
    """``development`` or ``ceremony``."""

    def to_json(self) -> dict[str, JSON]:
        return {"settings": self.settings, "srs": self.srs, "verification_key": self.verification_key}


@dataclass(frozen=True, slots=True)
class Computation:
    """Which bytes ran, by what, on what (``inference.md`` §4)."""

    artifact: str
    """Digest of the model's manifest, hex: what was in memory when it ran."""
    mode: str
    runtime: str
    version: str
    optimisation: str
    threads: int
    instructions: str
    """Class of the processor's instruction set, a code such as ``x86-64-v3``."""
    batch: int
    """Items of the request; each is run by itself."""
    request: BoundTree
    """The document that the node was given."""
    circuit: Circuit | None = None

    def to_json(self) -> dict[str, JSON]:
        return {
            "artifact": self.artifact,
            "mode": self.mode,
            "runtime": self.runtime,
            "version": self.version,
            "optimisation": self.optimisation,
            "threads": self.threads,
            "instructions": self.instructions,
            "batch": self.batch,
            "request": self.request.to_json(),
            "circuit": self.circuit.to_json() if self.circuit else None,
        }

    @property
    def conditions(self) -> tuple[str, str, str, int, str]:
        """What must be the same for bits to be the same, apart from the artifact and the input."""
        return (self.runtime, self.version, self.optimisation, self.threads, self.instructions)


def parse_computation(value: object) -> Computation:
    """Member ``computation`` to a :class:`Computation`; raises ``statement.computation`` and ``encoding.*``."""
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        raise _malformed(f"a computation has exactly {', '.join(sorted(_MEMBERS))}")
    if value["mode"] not in MODES:
        raise _malformed(f"mode is one of {', '.join(MODES)}")
    if value["optimisation"] not in OPTIMISATIONS:
        raise _malformed(f"optimisation is one of {', '.join(OPTIMISATIONS)}")
    for name in ("runtime", "version", "instructions"):
        if not is_code(value[name]):
            raise _malformed(f"{name} is a code")
    circuit = _circuit(value["circuit"])
    if (value["mode"] == "ZKML") != (circuit is not None):
        raise _malformed("exactly a computation in mode ZKML names a circuit")
    return Computation(
        artifact=hex_decode(value["artifact"], 32).hex(),
        mode=value["mode"],
        runtime=value["runtime"],
        version=value["version"],
        optimisation=value["optimisation"],
        threads=_count(value["threads"], "threads", MAX_THREADS),
        instructions=value["instructions"],
        batch=_count(value["batch"], "batch", MAX_ITEMS),
        request=_tree(value["request"]),
        circuit=circuit,
    )


def binds(request: BoundTree, response: tuple[bytes, int]) -> str:
    """``request root/size response root/size``, roots in hex: equal exactly where both documents are."""
    root, size = response
    return f"{request.root.hex()}/{request.size} {root.hex()}/{size}"


def _circuit(value: object) -> Circuit | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != _CIRCUIT or value["srs"] not in SRS_KINDS:
        raise _malformed(f"a circuit has exactly {', '.join(sorted(_CIRCUIT))}, and srs is {' or '.join(SRS_KINDS)}")
    settings, key = (hex_decode(value[name], 32).hex() for name in ("settings", "verification_key"))
    return Circuit(settings, key, value["srs"])


def _tree(value: object) -> BoundTree:
    if not isinstance(value, dict) or value.keys() != {"root", "size"}:
        raise _malformed("the request of a computation has exactly root and size")
    return BoundTree(hex_decode(value["root"], 32), _count(value["size"], "size", 2**53 - 1))


def _count(value: object, name: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _malformed(f"{name} is an integer from 1 to {most}")
    return value


def _malformed(message: str) -> MalformedError:
    return MalformedError("statement.computation", message)
