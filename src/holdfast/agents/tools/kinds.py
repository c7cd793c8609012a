"""Which kind of an agent file is which tool. Tools of MCP servers are made by ``agents.mcp_tools``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.agents.tool import ActTool, ReadTool
from holdfast.agents.tools.admission import AdmissionTool
from holdfast.agents.tools.evm_read import EvmReadTool
from holdfast.agents.tools.evm_transaction import EvmTransactionTool
from holdfast.agents.tools.files import FilesTool
from holdfast.agents.tools.get import GetTool
from holdfast.agents.tools.hub import HubTool
from holdfast.agents.tools.purchase import PurchaseTool
from holdfast.agents.tools.recall import RecallTool
from holdfast.agents.tools.send import SendTool
from holdfast.agents.world import World
from holdfast.core.agent_files import ToolFile
from holdfast.errors import UsageError

MAKERS: Mapping[str, Callable[[ToolFile, World], ReadTool | ActTool]] = {
    "admission": AdmissionTool,
    "recall": RecallTool,
    "hub": HubTool,
    "files": FilesTool,
    "get": GetTool,
    "evm_read": EvmReadTool,
    "evm_transaction": EvmTransactionTool,
    "purchase": PurchaseTool,
    "send": SendTool,
}


def make_tool(file: ToolFile, world: World) -> ReadTool | ActTool:
    """The shipped tool of a kind; raises ``tool.*`` for settings that are not the kind's."""
    maker = MAKERS.get(file.kind)
    if maker is None:
        raise UsageError("tool.kind", f"nothing here is a tool of the kind {file.kind}", param=file.name)
    return maker(file, world)
