"""Tools of MCP servers, as far as an agent file declares them (``spec/agent-files.md`` §1(5), §2(3), §5(2)).

A server is a program that is started in the agent file's folder, or a URL. Of the tools that it lists, those are used
that the file names with a digest, an effect and what may be given; everything else that a server says of itself (other
tools, instructions, hints that a tool is harmless) is not looked at.

Rules:

1. A tool whose name, description or schema is another than its owner has read is refused (``mcp.changed``).
2. What a tool gives is data: texts, and of images, sounds and files their digests. A server that asks for a model, a
   folder or a person's input in between is refused that by the SDK, which has no answer for it here.
3. A program gets its own secrets as variables (``mcp_pipes``), a URL as headers; it is followed nowhere else.
4. Of an answer so many bytes are read and no more (``mcp.size``). A program that writes more is ended.
5. A tool that acts is called by whoever carries its act out. Whether a call that failed did something cannot be known.

Not covered: what a server does besides what is asked of it.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from holdfast.agents.mcp_pipes import MAX_ANSWER_BYTES, Answers, open_program
from holdfast.agents.tool import Act, ActTool, Fate, Happened, ReadTool, Scope, ToolError
from holdfast.core import canonical
from holdfast.core.agent_files import ServerFile, ToolFile
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.settings import Secret

MOST_PAGES, MOST_TOOLS = 20, 1_000
"""Of a server's list that are read."""
CONNECT_S, CALL_S = 30.0, 120.0


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool as its server lists it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    name: str
    client: Client = field(repr=False)
    tools: Mapping[str, RemoteTool]
    answers: Answers = field(default_factory=Answers, repr=False)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> tuple[list[JSON], JSON, bool]:
        """Parts of what a tool gave, its structured content or None, and whether it calls that an error. Raises
        ``mcp.call`` and ``mcp.size``."""
        try:
            came = await self.client.call_tool(tool, dict(arguments), read_timeout_seconds=CALL_S)
        except HoldfastError:
            raise
        except Exception as error:
            if self.answers.over:
                raise _too_large(self.name) from error
            why = error.error.message if isinstance(error, MCPError) else str(error) or type(error).__name__
            raise UnavailableError("mcp.call", f"{self.name} did not answer the call: {why[:500]}") from error
        parts = [_part(block.model_dump(by_alias=True, mode="json")) for block in came.content]
        return parts, came.structured_content, bool(came.is_error)


@contextlib.asynccontextmanager
async def open_servers(
    servers: Mapping[str, ServerFile], folder: Path, find_secrets: Callable[[Mapping[str, str]], Mapping[str, Secret]]
) -> AsyncGenerator[dict[str, Server]]:
    """Start or reach every server; all of them end with the block. Raises ``mcp.unreachable``, ``mcp.size`` and
    ``mcp.schema``."""
    problem: BaseException | None = None
    async with contextlib.AsyncExitStack() as stack:
        try:
            yield {name: await _open(file, folder, find_secrets(file.secrets), stack) for name, file in servers.items()}
        except BaseException as error:  # noqa: BLE001 - raised again once the SDK's task groups, which would wrap it, ended
            problem = error
    if problem is not None:
        raise problem


async def _open(
    file: ServerFile, folder: Path, secrets: Mapping[str, Secret], stack: contextlib.AsyncExitStack
) -> Server:
    own, answers = contextlib.AsyncExitStack(), Answers()
    try:
        values = {name: secret.reveal() for name, secret in secrets.items()}
        client = await own.enter_async_context(await _client(file, folder, values, answers, own))
        found = Server(file.name, client, await list_tools(file.name, client), answers)
    except BaseException as error:
        await own.aclose()
        if isinstance(error, HoldfastError) or not isinstance(error, Exception):
            raise
        if answers.over:
            raise _too_large(file.name) from error
        message = f"the MCP server {file.name} cannot be reached: {type(error).__name__}"
        raise UnavailableError("mcp.unreachable", message) from error
    await stack.enter_async_context(own)
    return found


async def _client(
    file: ServerFile, folder: Path, secrets: Mapping[str, str], answers: Answers, stack: contextlib.AsyncExitStack
) -> Client:
    if file.url is not None:
        headers = {"accept-encoding": "identity", **secrets}
        http = httpx2.AsyncClient(
            headers=headers, transport=_Bounded(answers), follow_redirects=False, trust_env=False, timeout=CALL_S
        )
        await stack.enter_async_context(http)
        return Client(streamable_http_client(file.url, http_client=http), cache=None, read_timeout_seconds=CONNECT_S)
    program = file.command[0]
    command = [str(folder / program) if "/" in program else program, *file.command[1:]]
    return Client(open_program(command, secrets, folder, answers), cache=None, read_timeout_seconds=CONNECT_S)


def _too_large(server: str) -> UnavailableError:
    message = f"the MCP server {server} answered with more than {MAX_ANSWER_BYTES} bytes, and is not read further"
    return UnavailableError("mcp.size", message)


class _Bounded(httpx2.AsyncHTTPTransport):
    """Reads answers up to :data:`MAX_ANSWER_BYTES`, and none that would have to be inflated first."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(trust_env=False)
        self._answers = answers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._answers.over = False
        answer = await super().handle_async_request(request)
        if answer.headers.get("content-encoding", "identity") != "identity":
            await answer.aclose()
            raise httpx2.ReadError("the answer is packed, and nobody asked for that", request=request)
        if isinstance(answer.stream, httpx2.AsyncByteStream):
            answer.stream = _BoundedStream(answer.stream, self._answers)
        return answer


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, answers: Answers) -> None:
        self._stream = stream
        self._answers = answers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_ANSWER_BYTES
        async for piece in self._stream:
            left -= len(piece)
            if left < 0:
                self._answers.over = True
                raise httpx2.ReadError("the answer does not end")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


async def list_tools(server: str, client: Client) -> dict[str, RemoteTool]:
    """Everything that a server lists; raises ``mcp.schema``."""
    found: dict[str, RemoteTool] = {}
    cursor = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            if tool.name in found or len(found) == MOST_TOOLS:
                raise MalformedError("mcp.schema", f"{server} lists {tool.name[:64]} twice, or too many tools")
            found[tool.name] = _remote(server, tool.name, tool.description or "", tool.input_schema)
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise MalformedError("mcp.schema", f"the list of {server} does not end")


def _remote(server: str, name: str, description: str, schema: Mapping[str, Any]) -> RemoteTool:
    try:
        told = canonical.encode({"name": name, "description": description, "schema": dict(schema)})
    except (HoldfastError, UnicodeEncodeError) as error:
        message = f"the tool {name[:64]} of {server} has a schema with a number that is no integer"
        raise MalformedError("mcp.schema", message) from error
    return RemoteTool(name, description, schema, sha256_hex(told))


def make_remote_tool(file: ToolFile, servers: Mapping[str, Server]) -> ReadTool | ActTool:
    """The tool that an agent file declares; raises ``mcp.tool``, ``mcp.changed`` and ``agent.allow``."""
    server = servers[str(file.settings["server"])]
    remote = server.tools.get(str(file.settings["tool"]))
    if remote is None:
        raise UsageError("mcp.tool", f"{server.name} has no tool {file.settings['tool']}", param=file.name)
    if remote.digest != file.settings["digest"]:
        raise RefusedError(
            "mcp.changed",
            f"the tool {remote.name} of {server.name} is not the one that the agent file names: its digest is "
            f"{remote.digest}",
            hint="'holdfast agent tools FILE' shows what it says of itself now; read it before you change the digest",
        )
    properties, required = remote.schema.get("properties", {}), remote.schema.get("required", [])
    missing = [name for name in required if name not in file.allow]
    if missing:
        raise UsageError("agent.allow", f"{file.name} needs the argument {missing[0]}, which is not allowed")
    schema = {
        "type": "object",
        "properties": {name: about for name, about in properties.items() if name in file.allow},
        "required": list(required),
    }
    made = RemoteRead if file.effect == "read" else RemoteAct
    return made(file, server, remote, schema)


class _Remote:
    def __init__(self, file: ToolFile, server: Server, remote: RemoteTool, schema: Mapping[str, Any]) -> None:
        self.name = file.name
        self.description = remote.description
        self.parameters = schema
        self.effect = file.effect
        self._server, self._remote = server, remote


class RemoteRead(_Remote):
    """A tool of a server that only reads, on its owner's word."""

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """``parts``, and ``structured`` where there is such content; raises ``mcp.call``."""
        del scope
        parts, structured, failed = await self._server.call(self._remote.name, arguments)
        if failed:
            raise ToolError(_text_of(parts) or "the tool says that it failed")
        return {"parts": parts} if structured is None else {"parts": parts, "structured": structured}


class RemoteAct(_Remote):
    """A tool of a server that acts."""

    async def prepare(self, act: Act) -> bytes:
        """The call as it will be sent: a server has no word for sending it once."""
        return canonical.encode_exact({"tool": self._remote.name, "arguments": dict(act.arguments)})

    async def carry_out(self, act: Act, prepared: bytes) -> JSON:
        """Call it. Raises ``mcp.call`` and ``mcp.failed``: what it did then, nobody knows."""
        del act
        parts, structured, failed = await self._server.call(
            self._remote.name, canonical.decode_object(prepared)["arguments"]
        )
        if failed:
            raise UnavailableError("mcp.failed", _text_of(parts) or "the tool says that it failed")
        return {"parts": parts} if structured is None else {"parts": parts, "structured": structured}

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        """A server cannot be asked whether a call came."""
        del act, prepared
        return Fate.UNKNOWN


def _part(block: Mapping[str, Any]) -> JSON:
    """One block of content: a text as it is, everything else by what it is and its digest."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    if kind == "resource_link":
        return {"type": "link", "uri": str(block.get("uri", ""))}
    inner = block.get("resource") if kind == "resource" else block
    if not isinstance(inner, Mapping):
        return {"type": "unknown"}
    if isinstance(inner.get("text"), str):
        return {"type": "text", "text": inner["text"], "uri": str(inner.get("uri", ""))}
    try:
        data = base64.b64decode(str(inner.get("data", inner.get("blob", ""))), validate=True)  # noqa: TID251 - others' spelling
    except ValueError:
        return {"type": str(kind), "error": "not base64"}
    mime = str(inner.get("mimeType") or "")
    return {"type": str(kind), "mime": mime, "bytes": len(data), "sha256": sha256_hex(data)}


def _text_of(parts: list[JSON]) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))[:4_000]
