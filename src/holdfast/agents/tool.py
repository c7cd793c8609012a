"""The two shapes of a tool: one that reads and is called, one that acts and is carried out later.

A :class:`ReadTool` is called by the runner while the model waits. An :class:`ActTool` is never called for a model: its
act is proposed, and once its case is let through whoever carries it out calls :meth:`~ActTool.prepare`, makes what that
gave durable, and only then calls :meth:`~ActTool.carry_out`. After a crash in between :meth:`~ActTool.look` is asked,
and an act of which it cannot be known whether it happened is not repeated.

Rules: arguments are those that the owner's rules and the tool's schema took (``core.tool_rules``). Secrets are named by
the agent file and read when they are used; no result, message or error of a tool holds one.
One that is said back by whoever was shown it is hidden (:func:`hide_secrets`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from holdfast.core import canonical
from holdfast.core.canonical import JSON
from holdfast.errors import HoldfastError
from holdfast.ports.settings import Secret


class ToolError(Exception):
    """A tool could not do what was asked, for this reason: a sentence for the model and for the step's ``error``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


LEAST_HIDDEN, HIDDEN = 8, "[secret]"
"""Characters of what is taken for a secret, whole or a word of it, and what stands in its place."""
MAX_RESULT_BYTES = 786_432
"""Of a result: with its arguments it fits into a step (``agents.md`` §2(4))."""


def hide_secrets(said: Any, secrets: Mapping[str, Secret]) -> Any:
    """What a tool gave or why it failed, without its secrets: whoever was shown one may say it again."""
    texts = [piece for secret in secrets.values() for piece in (secret.reveal().strip(), *secret.reveal().split())]
    return _without(said, [text for text in texts if len(text) >= LEAST_HIDDEN])


def _without(said: Any, hidden: Sequence[str]) -> Any:
    if isinstance(said, dict):
        return {_without(name, hidden): _without(item, hidden) for name, item in said.items()}
    if isinstance(said, list):
        return [_without(item, hidden) for item in said]
    if type(said) is str:
        for text in hidden:
            said = said.replace(text, HIDDEN)
    return said


def parse_result(result: Any) -> Any:
    """What a tool gave, as it is bound: strict JSON that fits into a step. Raises :class:`ToolError`."""
    try:
        text = canonical.encode_exact(result)
        exact = canonical.decode_exact(text)
    except (HoldfastError, UnicodeEncodeError, RecursionError) as error:
        raise ToolError("the result is no JSON that could be bound") from error
    if len(text) > MAX_RESULT_BYTES:
        raise ToolError(f"the result has more than {MAX_RESULT_BYTES} bytes")
    return exact


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a tool is called."""

    agent: str
    """The agent run."""
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """Those that the agent file names for this tool."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act that a case let through."""

    agent: str
    """The agent run that proposed it."""
    run: str
    """The run of the act itself: the same for ever, so what is done in its name can be found again."""
    tool: str
    arguments: Mapping[str, Any]
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Happened:
    """An act is found to have happened, and this came of it."""

    result: JSON


class Fate(enum.Enum):
    """What else can be known of an act that was begun."""

    NOT_YET = "did not happen, and sending the same bytes again does no more than sending them once"
    DID_NOT = "did not happen, and never will"
    UNKNOWN = "cannot be known"


@runtime_checkable
class ReadTool(Protocol):
    """A tool without an effect outside."""

    name: str
    """What the model calls it."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments (``agent-files.md`` §5(3))."""

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """What the tool gives, as JSON; raises :class:`ToolError`."""
        ...


@runtime_checkable
class ActTool(Protocol):
    """A tool that does something outside. It may have a text ``spends``, which names what its acts spend from, such as
    an account on a chain: acts that share it come one after another. Without one, each tool's acts do."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: str
    """``write``, ``pay`` or ``send``, as the agent file has it."""

    async def prepare(self, act: Act) -> bytes:
        """Everything that will be sent, such as a signed transaction with its nonce. Nothing leaves. Raises
        :class:`ToolError` where the act cannot be carried out at all."""
        ...

    async def carry_out(self, act: Act, prepared: bytes) -> JSON:
        """Send it, once; what came of it. Raises :class:`ToolError` where it is certain that nothing happened; any
        other error leaves that open, and :meth:`look` is asked."""
        ...

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        """After a crash or an error: whether it happened."""
        ...
