"""``holdfast upstream``: which places answer chats for a gateway, and what each does when it is really asked.

It reads a gateway's settings and goes through the adapters that the gateway would use; no gateway has to run. A check
costs what its requests cost at the provider, and says so before it asks. Its outcomes are lines, never a sum: exit code
0 where every probe that ``--require`` names works, 1 where one does not, 3 where nothing came from an upstream that was
needed to tell.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.config import find_settings, node_tables
from holdfast.cli.main import ACCEPT, REJECT, UNDECIDED
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.client.upstream_checks import Outcome
    from holdfast.nodes.gateway.config import GatewayConfig
    from holdfast.ports.upstream import Upstream

PROBES = ("models", "chat", "usage", "stream", "stream-usage", "tools", "schema", "image")
_NEEDED = ("models", "chat", "stream")


@click.group()
def upstream() -> None:
    """See who answers chats for a gateway, and try them."""


def _settings_options(command: Any) -> Any:
    """What every command of the group takes."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text."),
        click.option("--state", metavar="DIR", help="State folder whose holdfast.toml is read.  [default: .holdfast]"),
        click.option("--config", "config_file", metavar="FILE", help="Settings file.  [default: the one in --state]"),
    ):
        command = option(command)
    return command


@upstream.command("list")
@_settings_options
def list_upstreams(config_file: str | None, state: str | None, as_json: bool) -> None:
    """List the upstreams that a gateway's settings name. Nobody is asked."""
    config = _load(config_file, state)
    rows = [
        {
            "code": item.code,
            "kind": item.kind,
            "profile": item.profile,
            "base_url": item.base_url,
            "key": item.api_key.reference if item.api_key is not None else None,
            "models": list(item.models),
            "fallback": item.fallback,
        }
        for item in config.upstreams
    ]
    if as_json:
        emit_json({"upstreams": rows, "discover": config.discover, "builtin": config.builtin, "tiny": config.tiny})
        return
    for row in rows:
        kind = f"{row['kind']}{'' if row['profile'] is None else ' as ' + str(row['profile'])}"
        emit(clean_line(f"{row['code']}  {kind}  {row['base_url']}  key {row['key'] or 'none'}"))
    for name, there in (("discover", config.discover), ("builtin", config.builtin), ("tiny", config.tiny)):
        emit(f"{name}: {'yes' if there else 'no'}")


@upstream.command("check")
@click.argument("code", metavar="[CODE]", required=False)
@click.option("--model", metavar="LABEL", help="Model to ask.  [default: the first that each offers]")
@click.option(
    "--require",
    "required",
    multiple=True,
    type=click.Choice(PROBES),
    help=f"A probe that has to work; may be given again.  [default: {', '.join(_NEEDED)}]",
)
@click.option("--seconds", type=click.IntRange(1, 600), default=60, show_default=True, help="Longest wait a request.")
@_settings_options
def check(
    code: str | None,
    model: str | None,
    required: tuple[str, ...],
    seconds: int,
    config_file: str | None,
    state: str | None,
    as_json: bool,
) -> int:
    """Ask CODE, or every upstream, a few small questions: models, chat, stream, usage, tools, schema, image."""
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - adapters come with holdfast[node]
    from holdfast.client.upstream_checks import MOST_TOKENS, REQUESTS  # noqa: PLC0415
    from holdfast.nodes.gateway.__main__ import build_upstreams  # noqa: PLC0415

    found = [item for item in build_upstreams(_load(config_file, state), SystemClock()) if code in (None, item.code)]
    if not found:
        raise UsageError("upstream.none", f"no upstream is called {code}", hint="holdfast upstream list")
    says = f"{REQUESTS} requests to each of {len(found)} upstreams, at most {MOST_TOKENS} tokens answered to each:"
    click.echo(f"{says} what that costs is the provider's to say", err=True)
    outcomes = asyncio.run(_check_all(found, model, seconds, shown=not as_json))
    if as_json:
        emit_json({"upstreams": {name: [one.to_json() for one in told] for name, told in outcomes.items()}})
    needed = set(required or _NEEDED)
    states = {one.state for told in outcomes.values() for one in told if one.probe in needed}
    if states - {"works", "silent", "skipped"}:
        return REJECT
    return UNDECIDED if states - {"works"} else ACCEPT


async def _check_all(
    upstreams: list[Upstream], model: str | None, seconds: int, *, shown: bool
) -> dict[str, list[Outcome]]:
    from holdfast.client.upstream_checks import check_upstream  # noqa: PLC0415

    outcomes: dict[str, list[Outcome]] = {}
    for item in upstreams:
        told = outcomes[item.code] = []
        try:
            async for outcome in check_upstream(item, model, timeout_s=seconds):
                told.append(outcome)
                if shown:
                    whom = f" (by the {outcome.by}, {outcome.code})" if outcome.by else ""
                    emit(clean_line(f"{item.code:<12} {outcome.probe:<13} {outcome.state:<8} {outcome.says}{whom}"))
        finally:
            await item.close()
    return outcomes


def _load(config_file: str | None, state: str | None) -> GatewayConfig:
    """A gateway's settings. Raises ``settings.*``."""
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415
    from holdfast.nodes.gateway.config import GatewayConfig  # noqa: PLC0415

    path = find_settings(config_file, state)
    return load(path, os.environ, node_tables(path, "gateway")).table("gateway", GatewayConfig)
