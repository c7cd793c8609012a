"""An MCP server with one tool that acts: it writes a flag down. It speaks over its standard streams."""

import json
from pathlib import Path

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server

FLAGS = Path("flags.jsonl")
TEXT = {"type": "string", "maxLength": 2000}
FLAG = types.Tool(
    name="flag",
    description="Flags a message for whoever answers it.",
    input_schema={"type": "object", "properties": {"file": TEXT, "why": TEXT}, "required": ["file", "why"]},
)


def write_down(line: str) -> None:
    """Append a line to the flags."""
    with FLAGS.open("a", encoding="utf-8") as flags:
        flags.write(line + "\n")


async def list_tools(
    _context: ServerRequestContext, _params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    """The one tool."""
    return types.ListToolsResult(tools=[FLAG])


async def call_tool(_context: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Flag what it is given."""
    write_down(json.dumps(params.arguments))
    return types.CallToolResult(content=[types.TextContent(text="flagged")])


async def main() -> None:
    """Serve until the streams end."""
    server = Server("flags", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


anyio.run(main)
