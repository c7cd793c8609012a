"""Agent files: what an owner says of an agent, strictly read (``spec/agent-files.md`` §1 to §3).

``parse_agent_file`` turns TOML into a value that cannot exist malformed; :meth:`AgentFile.plan` is what the agent run's
request says of it.

Rules: what is not named in the specification is refused; a tool has an effect that its kind can have; secrets are
references and never values.

Pure. Not covered: what a kind's settings mean (``agents/tools``), and leading the agent (``agents.runner``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from holdfast.core import canonical
from holdfast.core.agents import EFFECTS, MAX_GOAL, MOST_DEPTH, MOST_STEPS, MOST_TOOLS
from holdfast.core.encoding import hex_decode, is_code
from holdfast.core.tool_rules import Rule, parse_rules
from holdfast.errors import HoldfastError, MalformedError

MAX_FILE_BYTES = 262_144
MAX_MODEL, MAX_INSTRUCTIONS, MAX_DESCRIPTION, MAX_URL = 256, 32_768, 1_024, 2_048
"""Characters."""
MOST_SERVERS, MOST_WORDS = 16, 64
MOST_TURNS, MOST_SECONDS = 1_000, 604_800
TURNS, SECONDS = 32, 3_600
"""Limits where a file names none (``agent-files.md`` §1(3))."""
NODES = ("gateway", "panel", "data", "memory", "hub", "chain")
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "admission": ("read",),
        "recall": ("read",),
        "hub": ("read",),
        "files": ("read",),
        "get": ("read",),
        "evm_read": ("read",),
        "evm_transaction": ("write", "pay", "send"),
        "purchase": ("pay",),
        "send": ("write", "send"),
        "mcp": EFFECTS,
    }
)
"""The effects that each kind of tool can have (``agent-files.md`` §2(2))."""
GATEWAY_LIMITS = ("steps", "depth", "spend")
"""Those that the agent run's request names, so that its gateway holds them."""

_TOOL = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_REFERENCE = re.compile(r"(?:env:[A-Za-z_][A-Za-z0-9_]{0,127}|file:[^\x00-\x1f]{1,1024})\Z")
_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?:/[^\s#]*)?\Z")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")

Setting = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerFile:
    """An MCP server: a program that is started, or a URL."""

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolFile:
    """A tool as its owner wrote it down."""

    name: str
    kind: str
    effect: str
    queue: str | None = None
    description: str | None = None
    allow: Mapping[str, Rule] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Name to reference."""

    def declared(self) -> dict[str, canonical.JSON]:
        """As the agent run declares it (``agents.md`` §2(1))."""
        own: dict[str, canonical.JSON] = {"name": self.name, "effect": self.effect}
        return own if self.queue is None else {**own, "queue": self.queue}


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A whole file."""

    name: str
    model: str
    goal: str | None = None
    instructions: str | None = None
    turns: int = TURNS
    seconds: int = SECONDS
    limits: Mapping[str, canonical.JSON] = field(default_factory=dict)
    """Those of the agent run, as the file names them."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, ServerFile] = field(default_factory=dict)
    tools: Mapping[str, ToolFile] = field(default_factory=dict)

    def plan(self, goal: str | None = None) -> dict[str, canonical.JSON]:
        """The member ``agent`` of the agent run's request (``agent-files.md`` §2(5)), with another goal if given."""
        said = goal if goal is not None else self.goal
        told: dict[str, canonical.JSON] = {
            "name": self.name,
            "tools": [tool.declared() for tool in self.tools.values()],
        }
        told |= {} if said is None else {"goal": said}
        return told | ({"limits": dict(self.limits)} if self.limits else {})


def parse_agent_file(raw: bytes) -> AgentFile:
    """A file's bytes to an :class:`AgentFile`; raises ``agent_file.*``."""
    if len(raw) > MAX_FILE_BYTES:
        raise MalformedError("agent_file.size", f"an agent file has at most {MAX_FILE_BYTES} bytes")
    try:
        value: Any = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise MalformedError("agent_file.toml", f"not TOML: {error}"[:200]) from error
    _members(value, "", {"agent"}, {"limits", "nodes", "servers", "tools"})
    agent = value["agent"]
    _members(agent, "agent", {"name", "model"}, {"goal", "instructions"})
    limits, turns, seconds = _limits(value.get("limits", {}))
    servers = _servers(value.get("servers", []))
    return AgentFile(
        name=_code(agent["name"], "agent.name"),
        model=_text(agent["model"], "agent.model", MAX_MODEL),
        goal=_text(agent["goal"], "agent.goal", MAX_GOAL) if "goal" in agent else None,
        instructions=_instructions(agent),
        turns=turns,
        seconds=seconds,
        limits=limits,
        nodes=_nodes(value.get("nodes", {})),
        servers=servers,
        tools=_tools(value.get("tools", []), servers),
    )


def _instructions(agent: Mapping[str, Any]) -> str | None:
    if "instructions" not in agent:
        return None
    return _text(agent["instructions"], "agent.instructions", MAX_INSTRUCTIONS)


def _limits(value: object) -> tuple[dict[str, canonical.JSON], int, int]:
    _members(value, "limits", set(), {*GATEWAY_LIMITS, "turns", "seconds"})
    given: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    for name, most in (("steps", MOST_STEPS), ("depth", MOST_DEPTH), ("turns", MOST_TURNS), ("seconds", MOST_SECONDS)):
        count = given.get(name, 1)
        if type(count) is not int or not 1 <= count <= most:
            raise MalformedError("agent_file.limits", f"{name} is an integer from 1 to {most}", param=f"limits.{name}")
    kept = {name: given[name] for name in GATEWAY_LIMITS if name in given}
    return kept, given.get("turns", TURNS), given.get("seconds", SECONDS)


def _nodes(value: object) -> dict[str, str]:
    _members(value, "nodes", set(), set(NODES))
    given: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    return {name: _url(item, f"nodes.{name}") for name, item in given.items()}


def _servers(value: object) -> dict[str, ServerFile]:
    if not isinstance(value, list) or len(value) > MOST_SERVERS:
        raise MalformedError("agent_file.servers", f"servers is a list of at most {MOST_SERVERS}", param="servers")
    found: dict[str, ServerFile] = {}
    for number, item in enumerate(value):
        param = f"servers.{number}"
        _members(item, param, {"name"}, {"command", "url", "secrets"})
        name = _code(item["name"], f"{param}.name")
        if name in found:
            raise MalformedError("agent_file.servers", f"{name} is there twice", param=f"{param}.name")
        if ("command" in item) == ("url" in item):
            raise MalformedError("agent_file.servers", "a server has exactly one of command and url", param=param)
        url = _url(item["url"], f"{param}.url") if "url" in item else None
        command = () if url is not None else _words(item["command"], f"{param}.command")
        found[name] = ServerFile(name, command, url, _secrets(item.get("secrets", {}), f"{param}.secrets"))
    return found


def _words(value: object, param: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_WORDS:
        raise MalformedError("agent_file.servers", f"command is a list of 1 to {MOST_WORDS} texts", param=param)
    return tuple(_text(item, param, MAX_URL) for item in value)


def _tools(value: object, servers: Mapping[str, ServerFile]) -> dict[str, ToolFile]:
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise MalformedError("agent_file.tools", f"tools is a list of at most {MOST_TOOLS}", param="tools")
    found: dict[str, ToolFile] = {}
    for number, item in enumerate(value):
        tool = _tool(item, f"tools.{number}", servers)
        if tool.name in found:
            raise MalformedError("agent_file.tools", f"{tool.name} is there twice", param=f"tools.{number}.name")
        found[tool.name] = tool
    return found


def _tool(value: object, param: str, servers: Mapping[str, ServerFile]) -> ToolFile:
    optional = {"queue", "description", "allow", "settings", "secrets"}
    _members(value, param, {"name", "kind", "effect"}, optional)
    given: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    name, kind, effect = given["name"], given["kind"], given["effect"]
    if not isinstance(name, str) or _TOOL.match(name) is None:
        raise MalformedError(
            "agent_file.tools", "a tool's name is 1 to 64 letters, digits, _ or -", param=f"{param}.name"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise MalformedError("agent_file.tools", f"a kind is one of {', '.join(KINDS)}", param=f"{param}.kind")
    if effect not in KINDS[kind]:
        message = f"a tool of kind {kind} has the effect {' or '.join(KINDS[kind])}"
        raise MalformedError("agent_file.effect", message, param=f"{param}.effect")
    if (effect == "read") != ("queue" not in given):
        message = "what does something outside names the queue of its acts, and nothing else does"
        raise MalformedError("agent_file.tools", message, param=param)
    settings = _settings(given.get("settings", {}), f"{param}.settings")
    if kind == "mcp":
        _remote(settings, servers, f"{param}.settings")
    return ToolFile(
        name=name,
        kind=kind,
        effect=effect,
        queue=_code(given["queue"], f"{param}.queue") if "queue" in given else None,
        description=_description(given, param),
        allow=parse_rules(given.get("allow", {}), f"{param}.allow"),
        settings=settings,
        secrets=_secrets(given.get("secrets", {}), f"{param}.secrets"),
    )


def _description(given: Mapping[str, Any], param: str) -> str | None:
    if "description" not in given:
        return None
    return _text(given["description"], f"{param}.description", MAX_DESCRIPTION)


def _remote(settings: Mapping[str, Setting], servers: Mapping[str, ServerFile], param: str) -> None:
    """What an MCP tool has to say of itself (``agent-files.md`` §2(3))."""
    if settings.keys() != {"server", "tool", "digest"} or not all(isinstance(item, str) for item in settings.values()):
        raise MalformedError("agent_file.settings", "settings of mcp are exactly server, tool and digest", param=param)
    if settings["server"] not in servers:
        raise MalformedError("agent_file.settings", "server names one of servers", param=f"{param}.server")
    try:
        hex_decode(settings["digest"], 32)
    except HoldfastError as error:
        raise MalformedError("agent_file.settings", "digest is 64 hex digits", param=f"{param}.digest") from error


def _settings(value: object, param: str) -> dict[str, Setting]:
    if not isinstance(value, dict) or not all(_SETTING.match(name) for name in value):
        raise MalformedError("agent_file.settings", "settings is a table by names in lower case", param=param)
    return {name: _setting(item, f"{param}.{name}") for name, item in value.items()}


def _setting(value: object, param: str) -> Setting:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and 0 <= value <= canonical.MAX_INTEGER:
        return value
    if isinstance(value, str):
        return _text(value, param, MAX_URL)
    if isinstance(value, list) and len(value) <= MOST_WORDS and all(isinstance(item, str) for item in value):
        return tuple(_text(item, param, MAX_URL) for item in value)
    message = "a setting is a text, an integer from 0, a boolean, or a list of texts"
    raise MalformedError("agent_file.settings", message, param=param)


def _secrets(value: object, param: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(_SECRET.match(name) for name in value):
        raise MalformedError("agent_file.secrets", "secrets is a table by names", param=param)
    for name, item in value.items():
        if not isinstance(item, str) or _REFERENCE.match(item) is None:
            message = "a secret is a reference, env:NAME or file:PATH, and never a value"
            raise MalformedError("agent_file.secrets", message, param=f"{param}.{name}")
    return dict(value)


def _members(value: object, param: str, needed: set[str], optional: set[str]) -> None:
    if isinstance(value, dict) and needed <= value.keys() <= needed | optional:
        return
    may = f", and may have {', '.join(sorted(optional))}" if optional else ""
    has = f"has {', '.join(sorted(needed))}" if needed else "has no more than it may"
    raise MalformedError("agent_file.fields", f"{param or 'an agent file'} {has}{may}"[:300], param=param or None)


def _text(value: object, param: str, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most or _CONTROL.search(value):
        raise MalformedError("agent_file.fields", f"{param} is a text of at most {most} characters", param=param)
    return value


def _code(value: object, param: str) -> str:
    if not isinstance(value, str) or not is_code(value):
        raise MalformedError("agent_file.fields", f"{param} is a code", param=param)
    return value


def _url(value: object, param: str) -> str:
    text = _text(value, param, MAX_URL)
    if _URL.match(text) is None:
        raise MalformedError("agent_file.url", f"{param} is an http:// or https:// URL", param=param)
    return text.rstrip("/")
