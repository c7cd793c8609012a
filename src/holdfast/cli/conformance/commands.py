"""Every command of the protocol, and how one is run. A process loads the room of its own command alone: a client asks
thousands of times, each time in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.cli.conformance.arguments import Answer, Arguments, Refused, Undecided
from holdfast.errors import HoldfastError, MalformedError, UndecidedError, UsageError

Command = Callable[[Arguments], Answer]
ROOMS: Mapping[str, tuple[str, ...]] = {
    "documents": ("decode",),
    "parts": (
        "map-parts",
        "read-inference",
        "verify-part",
        "fold",
        "dialect-request",
        "dialect-answer",
        "dialect-stream",
        "verify-marks",
    ),
    "images": (
        "read-image",
        "read-image-url",
        "read-image-request",
        "read-image-answer",
        "count-images",
        "image-claim",
    ),
    "vectors": (
        "read-vectors-request",
        "read-vectors-answer",
    ),
    "files": (
        "file-chunks",
        "file-quotes",
    ),
    "artifacts": (
        "circuit-numbers",
        "same-circuit",
        "verify-proof",
        "verify-manifest",
        "verify-history",
        "verify-lineage",
    ),
    "blobs": (
        "walrus-blob-id",
        "verify-walrus-blob",
        "read-quilt",
        "open-blob",
    ),
    "private": (
        "open-wrap",
        "open-sealed",
        "read-ohttp-keys",
        "seal-ohttp-request",
        "open-ohttp-request",
        "open-ohttp-response",
        "read-binary-http",
    ),
    "statements": (
        "parse-statement",
        "verify-statement",
        "verify-entries",
        "verify-trust",
        "verify-children",
        "verify-act",
    ),
    "logs": (
        "verify-inclusion",
        "verify-consistency",
        "verify-checkpoint",
        "verify-extension",
        "read-tile",
    ),
    "rounds": (
        "verify-candidate",
        "verify-vote",
        "verify-finality",
        "verify-verdict",
        "verify-offence",
    ),
    "payments": (
        "parse-payment",
        "verify-payment",
        "charge",
        "build-settlement",
    ),
    "facts": (
        "memory-standing",
        "parse-sources",
        "extract-value",
        "read-dns",
        "check-address",
    ),
    "lanes": (
        "check-policy",
        "verify-bundle",
        "check-queue-policy",
        "decide-route",
        "keep-route-policy",
        "lane-vector",
        "decide",
    ),
    "attestation": (
        "verify-quote",
        "measure-image",
        "registry-hash",
        "appraise-registration",
    ),
    "opengradient": (
        "opengradient-request",
        "opengradient-output",
        "opengradient-hash",
        "verify-opengradient",
    ),
    "agents": (
        "parse-agent-file",
        "check-call",
        "read-spans",
        "came-after",
        "read-led",
    ),
    "onchain": (
        "flow-call",
        "flow-result",
        "flow-value",
        "flow-event",
        "flow-request",
    ),
    "workflows": (
        "parse-workflow",
        "decide-rule",
        "schedule-times",
        "workflow-keys",
    ),
}
"""The commands by the module below this package that has them."""


def find_command(word: str) -> Command | None:
    """The command of this name; None where there is none."""
    for room, words in ROOMS.items():
        if word in words:
            found: Command = importlib.import_module(f"{__package__}.{room}").COMMANDS[word]
            return found
    return None


def run(words: Sequence[str], folder: Path) -> tuple[int, Answer]:
    """One command line, with file names relative to ``folder``: the exit code and the answer to print."""

    def say(code: int, verdict: str, reason: str | None, more: Answer) -> tuple[int, Answer]:
        return code, {"verdict": verdict, "code": reason, "checks": [], **more}

    try:
        command = find_command(words[0]) if words else None
        if command is None:
            raise UsageError(
                "usage.command", f"commands: {', '.join(word for room in ROOMS.values() for word in room)}"
            )
        arguments = Arguments(words[1:], folder)
        answer = command(arguments)
        arguments.end()
        return say(0, "accept", None, answer)
    except Undecided as undecided:
        return say(3, "undecided", undecided.code, undecided.answer)
    except Refused as refused:
        return say(1, "reject", refused.code, refused.answer)
    except HoldfastError as error:
        if isinstance(error, UsageError):
            return say(2, "usage", error.code, {"message": error.message})
        if isinstance(error, UndecidedError):
            return say(3, "undecided", error.code, {"message": error.message})
        verdict = "malformed" if isinstance(error, MalformedError) else "reject"
        return say(1, verdict, error.code, {"message": error.message})
