"""MCP over the pipes of a program, which may write so much and no more (``spec/agent-files.md`` §5(4)).

It does what the SDK's own transport does, which reads a line for as long as it goes on and a flood for as long as
somebody listens. Rules:

1. One message has at most :data:`MAX_ANSWER_BYTES`, and so has everything that is written between two requests of ours;
   an answer to what a server asks in between gives it no more.
2. A program that writes more is ended at once, with everything that it started in its process group.
3. Otherwise its input is closed, and it has :data:`GRACE_S` to end. What is left of its group then is told to end, and
   after :data:`KILL_S` killed.
4. It gets the few variables that the SDK takes for safe and its own; its error output goes nowhere.

Not covered: programs that leave their process group, and, on Windows, what a program started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter

MAX_ANSWER_BYTES = 16 << 20
"""Of one answer of a server, however it is reached (§5(4))."""
GRACE_S, KILL_S = 2.0, 2.0
_POLL_S = 0.01
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

Incoming: TypeAlias = SessionMessage | Exception
Streams: TypeAlias = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


class Answers:
    """How much a server may still write of what it is asked now."""

    def __init__(self) -> None:
        self.over = False
        """Whether it wrote more."""
        self._left = MAX_ANSWER_BYTES

    def begin(self) -> None:
        """Something was asked."""
        self._left = MAX_ANSWER_BYTES

    def take(self, size: int) -> bool:
        """Whether so many bytes more are within bounds."""
        self._left -= size
        self.over = self.over or self._left < 0
        return not self.over


@contextlib.asynccontextmanager
async def open_program(
    command: Sequence[str], variables: Mapping[str, str], folder: Path, answers: Answers
) -> AsyncGenerator[Streams]:
    """Start a program and talk with it; it has ended when the block has. Raises ``OSError``."""
    process = await anyio.open_process(
        command,
        env={**get_default_environment(), **variables},
        cwd=folder,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    into, incoming = anyio.create_memory_object_stream[Incoming](0)
    outgoing, given = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_read, process, answers, into)
            group.start_soon(_write, process, answers, given, into)
            try:
                yield incoming, outgoing
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
            for stream in (into, incoming, outgoing, given):
                await stream.aclose()


async def _read(process: Process, answers: Answers, into: MemoryObjectSendStream[Incoming]) -> None:
    """Hand on one line after another. Bytes that are no message are handed on as what is wrong with them."""
    line = bytearray()
    async with into:
        with contextlib.suppress(*_GONE):
            async for piece in _pipes(process)[1]:
                first, *others = piece.split(b"\n")
                line += first
                if not answers.take(len(piece)) or len(line) > MAX_ANSWER_BYTES:
                    answers.over = True
                    _signal(process, kill=True)
                    return
                for other in others:
                    await into.send(_message(bytes(line)))
                    line = bytearray(other)


def _message(text: bytes) -> Incoming:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError as error:
        return error


async def _write(
    process: Process,
    answers: Answers,
    given: MemoryObjectReceiveStream[SessionMessage],
    into: MemoryObjectSendStream[Incoming],
) -> None:
    stdin, _ = _pipes(process)
    try:
        async for item in given:
            if isinstance(item.message, JSONRPCRequest):
                answers.begin()
            text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
            await stdin.send(text.encode() + b"\n")
    except _GONE:
        await into.aclose()  # whoever waits for an answer learns that none comes


async def _end(process: Process) -> None:
    """End a program and what is left of its process group; every wait is bounded."""
    stdin, stdout = _pipes(process)
    with contextlib.suppress(*_GONE):
        await stdin.aclose()
    await _wait(lambda: process.returncode is not None, GRACE_S)
    _signal(process)
    await _wait(lambda: not _is_there(process), KILL_S)
    _signal(process, kill=True)
    with anyio.move_on_after(KILL_S):  # what it wrote before stands in the pipe, which closes once that is read
        with contextlib.suppress(*_GONE):
            async for _ in stdout:
                pass
        await process.wait()


def _pipes(process: Process) -> tuple[ByteSendStream, ByteReceiveStream]:
    if process.stdin is None or process.stdout is None:
        raise OSError("the program was started without pipes")
    return process.stdin, process.stdout


async def _wait(ended: Callable[[], bool], seconds: float) -> None:
    """Wait until something ended, and so long at most."""
    with anyio.move_on_after(seconds):
        while not ended():  # noqa: ASYNC110 - nobody tells that a process group has ended
            await anyio.sleep(_POLL_S)


def _signal(process: Process, *, kill: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:  # the group has the number of the program that began it, also once that one is gone
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def _is_there(process: Process) -> bool:
    """Whether anything of the group is."""
    if sys.platform == "win32":
        return process.returncode is None
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of one that ended and was not waited for, on some systems
        return process.returncode is None
    return True
