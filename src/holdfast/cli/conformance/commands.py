"""Every command of the protocol, and how one is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.cli.conformance import (
    agents,
    artifacts,
    attestation,
    blobs,
    documents,
    facts,
    files,
    images,
    lanes,
    logs,
    opengradient,
    parts,
    payments,
    private,
    rounds,
    statements,
    vectors,
    workflows,
)
from holdfast.cli.conformance.arguments import Answer, Arguments, Refused, Undecided
from holdfast.errors import HoldfastError, MalformedError, UndecidedError, UsageError

COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    **documents.COMMANDS,
    **parts.COMMANDS,
    **images.COMMANDS,
    **vectors.COMMANDS,
    **files.COMMANDS,
    **artifacts.COMMANDS,
    **blobs.COMMANDS,
    **private.COMMANDS,
    **statements.COMMANDS,
    **logs.COMMANDS,
    **rounds.COMMANDS,
    **payments.COMMANDS,
    **facts.COMMANDS,
    **lanes.COMMANDS,
    **attestation.COMMANDS,
    **opengradient.COMMANDS,
    **agents.COMMANDS,
    **workflows.COMMANDS,
}


def run(words: Sequence[str], folder: Path) -> tuple[int, Answer]:
    """One command line, with file names relative to ``folder``: the exit code and the answer to print."""

    def say(code: int, verdict: str, reason: str | None, more: Answer) -> tuple[int, Answer]:
        return code, {"verdict": verdict, "code": reason, "checks": [], **more}

    try:
        if not words or words[0] not in COMMANDS:
            raise UsageError("usage.command", f"commands: {', '.join(COMMANDS)}")
        arguments = Arguments(words[1:], folder)
        answer = COMMANDS[words[0]](arguments)
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
