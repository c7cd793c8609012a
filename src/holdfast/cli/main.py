"""The ``holdfast`` command: one click group, each command imported only when it is asked for.

Rules:

1. ``holdfast verify`` and ``holdfast trust`` need the base install alone. What needs more says how to install it.
2. Every refusal is one line on standard error, ``error: CODE: message``, and a hint below it. With ``--json`` the error
   shape of ``conventions.md`` §6 goes to standard output too.
3. Exit codes (``conventions.md`` §5): 0 accept, 1 reject or failure, 2 usage, 3 undecided; 130 when interrupted.

Not covered: what each command does; see the module named beside it in :data:`COMMANDS`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from holdfast import __version__
from holdfast.cli.output import clean, prepare_streams
from holdfast.errors import HoldfastError, UndecidedError, UsageError

ACCEPT, REJECT, USAGE, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes (``conventions.md`` §5); the last is what shells expect after Ctrl-C."""
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("holdfast.cli.up:up_command", "Start a whole network on this machine"),
    "chat": ("holdfast.cli.chat:chat", "Ask in the terminal and watch the lanes move"),
    "proxy": ("holdfast.cli.proxy:proxy", "Answer OpenAI's clients on this machine, each answer checked"),
    "image": ("holdfast.cli.images:image", "Have an image made, its bytes checked"),
    "run": ("holdfast.cli.runs:run", "Show runs, export their bundles and images"),
    "agent": ("holdfast.cli.agent:agent", "Lead an agent, its acts only proposed"),
    "workflow": ("holdfast.cli.workflow:workflow", "Do what a file declares, again and again, acts only proposed"),
    "pay": ("holdfast.cli.pay:pay", "Look after a wallet, see what runs cost"),
    "trust": ("holdfast.cli.trust:trust", "Export and show trust documents, make the next version"),
    "keys": ("holdfast.cli.keys:keys", "Show key documents, hand a node over to new keys"),
    "verify": ("holdfast.cli.verify:verify", "Check a bundle offline and print its eleven lanes"),
    "attestation": (
        "holdfast.cli.attestation:attestation",
        "Check what an enclave says of its key, or ask for it",
    ),
    "enclave": ("holdfast.cli.enclave:enclave", "Measure enclave images"),
    "hub": ("holdfast.cli.hub:hub", "Name and check what models are made of"),
    "data": ("holdfast.cli.data:data", "Ask outside sources, with what was seen signed"),
    "memory": ("holdfast.cli.memory:memory", "Keep, find, judge and forget what is remembered of you"),
    "mcp": ("holdfast.cli.mcp:mcp", "Serve agents that speak the Model Context Protocol"),
    "queue": ("holdfast.cli.queue:queue", "Look into review queues, take work that gates let through"),
    "case": ("holdfast.cli.case:case", "Read and export cases, act on them under your own name"),
    "policy": ("holdfast.cli.policy:policy", "Read a queue's policy, see what it would move"),
    "audit": ("holdfast.cli.audit:audit", "Check a panel's journal without the panel"),
    "log": ("holdfast.cli.logs:log", "Show the log's checkpoint and entries, checked"),
    "round": ("holdfast.cli.rounds:rounds", "Show rounds: candidates, votes, finality"),
    "registry": ("holdfast.cli.registry:registry", "Show and change which nodes are attested, on chain"),
    "onchain": ("holdfast.cli.onchain:onchain", "Ask for runs of models on a chain, wait for their results"),
    "people": ("holdfast.cli.people:people", "Let people into the panel, give and take roles"),
    "api-key": ("holdfast.cli.people:api_key", "Give out and take back API keys of the panel"),
    "credit": ("holdfast.cli.credit:credit", "Show and add credit of workspaces at a gateway"),
    "upstream": ("holdfast.cli.upstreams:upstream", "See who answers chats for a gateway, try them"),
    "config": ("holdfast.cli.config:config", "Show every setting and where its value came from"),
    "doctor": ("holdfast.cli.doctor:doctor", "Look for what is wrong here and say what to do"),
    "node": ("holdfast.cli.node:node", "Run one node by itself"),
}
"""Command to (where it is, one line of help), in the order in which ``holdfast --help`` lists them."""
NODE_EXTRA = frozenset(
    {
        "aiohttp",
        "argon2",
        "eth_abi",
        "httptools",
        "jinja2",
        "msgspec",
        "numpy",
        "onnxruntime",
        "prometheus_client",
        "pypdf",
        "pyrevm",
        "rich",
        "sqlalchemy",
        "starlette",
        "uvicorn",
        "uvloop",
        "web3",
    }
)
"""Top-level modules that only ``holdfast[node]`` installs."""
AGENTS_EXTRA = frozenset({"httpx2", "jsonschema", "mcp", "mcp_types"})
"""Those of ``holdfast[agents]``; ``httpx2`` and ``mcp_types`` come with ``mcp``."""


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is run or its help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in the order of :data:`COMMANDS`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="holdfast")
def cli() -> None:
    """Verifiable AI answers: ask, watch eleven lanes move, check everything offline.

    Nothing here reduces the lanes to one word. Exit codes: 0 accept, 1 reject or failure, 2 usage, 3 undecided.
    """


def exit_code(error: HoldfastError) -> int:
    """What a command exits with after this error. A thing that is not there is a failure, not a wrong command line."""
    if isinstance(error, UndecidedError):
        return UNDECIDED
    return USAGE if isinstance(error, UsageError) and error.status != 404 else REJECT


def _complain(error: HoldfastError, *, as_json: bool) -> int:
    click.echo(clean(f"error: {error.code}: {error.message}"), err=True)
    if error.hint:
        click.echo(clean(f"  hint: {error.hint}"), err=True)
    if as_json:
        click.echo(json.dumps(error.to_json(), ensure_ascii=False))
    return exit_code(error)


def _usage(error: click.UsageError) -> HoldfastError:
    path = error.ctx.command_path if error.ctx else "holdfast"
    return UsageError("usage.arguments", error.format_message(), hint=f"try '{path} --help'")


def run(arguments: Sequence[str]) -> int:
    """One command line; returns the exit code."""
    prepare_streams()
    as_json = "--json" in arguments
    try:
        answer: Any = cli.main(args=list(arguments), prog_name="holdfast", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        return _complain(_usage(error), as_json=as_json)
    except click.ClickException as error:
        return _complain(UsageError("usage.file", error.format_message()), as_json=as_json)
    except click.Abort:
        return INTERRUPTED
    except HoldfastError as error:
        return _complain(error, as_json=as_json)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in NODE_EXTRA | AGENTS_EXTRA:
            raise
        hint = f"pip install 'holdfast[{'node' if name in NODE_EXTRA else 'node,agents'}]'"
        missing = UsageError("usage.extra", f"this command needs {name}, which is not installed", hint=hint)
        return _complain(missing, as_json=as_json)
    return answer if isinstance(answer, int) else ACCEPT


def main() -> None:
    """Entry point of the ``holdfast`` command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
