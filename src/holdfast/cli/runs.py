"""``holdfast run``: what a gateway tells of a run, and the run's evidence as a file.

``show`` prints the gateway's own appraisal and says so; ``export`` writes the bundle that ``holdfast verify`` judges.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from holdfast.cli.image_credentials import anchors_option, credentials_of, load_anchors
from holdfast.cli.images import choose, number_option, told
from holdfast.cli.network import Network, gateway_options
from holdfast.cli.output import (
    clean,
    clean_line,
    emit,
    emit_json,
    lane_lines,
    shapes,
    wants_colour,
    write_file,
    written_option,
)
from holdfast.client.run_journal import find_capability
from holdfast.core.bundles import DocumentItem, parse_bundle
from holdfast.core.encoding import hex_decode, time_encode
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.identity import Requirements
from holdfast.verifier.lanes import LANES

Result = TypeVar("Result")


@click.group()
def run() -> None:
    """Show runs, export their bundles and images."""


def capability_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--capability`` to a command."""
    return click.option(
        "--capability", metavar="HEX", help="The run's capability, instead of a workspace key; discloses its texts."
    )(command)


def journal_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--journal`` beside ``--capability``: the file that 'holdfast proxy' keeps has it. Raises
    ``usage.capability`` and as :func:`find_capability` does."""

    @click.option(
        "--journal", type=click.Path(path_type=Path), metavar="FILE", help="Take the capability from a proxy's journal."
    )
    @functools.wraps(command)
    def found(*arguments: Any, run_id: str, capability: str | None, journal: Path | None, **options: Any) -> Any:
        if journal is not None and capability is not None:
            raise UsageError("usage.capability", "--capability and --journal both name a capability; give one")
        known = capability if journal is None else find_capability(journal, run_id)
        return command(*arguments, run_id=run_id, capability=known, **options)

    return found


@run.command("show")
@click.argument("run_id", metavar="ID")
@gateway_options
@journal_option
@capability_option
@click.option("--json", "as_json", is_flag=True, help="The gateway's answer as JSON.")
@click.option("--no-color", is_flag=True, help="No colours.")
def show(network: Network, run_id: str, capability: str | None, as_json: bool, no_color: bool) -> None:
    """Print the lanes of run ID and what happened when, as its gateway tells it."""
    view = ask_gateway(network, capability, lambda client: client.run(run_id, capability))
    if as_json:
        emit_json(view.value)
        return
    colour = wants_colour(no_color=no_color)
    emit(f"run     {view.run}")
    if view.outcome is not None:
        emit(clean_line(f"        {view.value.get('kind')}, asked {view.value.get('created')}, {view.outcome}"))
    emit(clean(f"as told by {network.gateway}; 'holdfast run export' and 'holdfast verify' judge for yourself"))
    emit()
    emit("lanes")
    for line in lane_lines(view.lanes):
        emit(line, colour=colour)
    emit()
    emit("chronology")
    for line in moments(view.chronology):
        emit(line)


@run.command("list")
@gateway_options
@click.option("--limit", default=20, type=click.IntRange(1, 200), show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def list_runs(network: Network, limit: int, as_json: bool) -> None:
    """List the workspace's newest runs with the state of each lane."""
    listed = ask_gateway(network, None, lambda client: client.runs(limit))
    if as_json:
        emit_json({"runs": listed})
        return
    if not listed:
        emit("no runs yet")
        return
    emit(f"{'run':<36}  {'asked':<24}  lanes: {' '.join(LANES)}")
    for item in listed:
        row = " ".join(shapes()[item["lanes"][name]].center(len(name)) for name in LANES)
        emit(clean_line(f"{item['run']:<36}  {item.get('created', '')!s:<24}         {row}").rstrip())


@run.command("export")
@click.argument("run_id", metavar="ID")
@gateway_options
@journal_option
@capability_option
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@written_option
def export(network: Network, run_id: str, capability: str | None, output: str, as_json: bool) -> None:
    """Write the bundle of run ID to a file.

    With the run's capability the bundle discloses request and answer, and whoever reads it can read them; without it
    the evidence is the same and no text is in it.
    """
    raw = ask_gateway(network, capability, lambda client: client.bundle(run_id, capability))
    bundle = parse_bundle(raw)
    write_file(output, raw)
    disclosed = [entry.item.document for entry in bundle.journal if isinstance(entry.item, DocumentItem)]
    if as_json:
        exported = {"bundle": bundle.digest, "items": len(bundle.journal), "discloses": disclosed}
        emit_json({"run": run_id, **exported, "exported_at": time_encode(bundle.exported_at), "written": output})
        return
    texts = f"discloses {' and '.join(disclosed)}" if disclosed else "discloses no text"
    said = f"bundle {bundle.digest}, {len(bundle.journal)} items, exported {time_encode(bundle.exported_at)}, {texts}"
    click.echo(said, err=True)


@run.command("image")
@click.argument("run_id", metavar="ID")
@gateway_options
@journal_option
@capability_option
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@number_option
@anchors_option
@written_option
def image(
    network: Network,
    run_id: str,
    capability: str | None,
    output: str,
    number: int,
    anchors_file: str | None,
    as_json: bool,
) -> None:
    """Write an image that run ID answered with to a file, once its bytes match the roots in the run's statements.

    It takes the run's capability. Whose statements they are, 'holdfast verify' says of the exported bundle.
    """
    if capability is None:
        raise UsageError(
            "usage.capability", "what a run answered is disclosed to its capability alone", hint="--capability HEX"
        )
    from holdfast.review.contents import attester_in, content_of  # noqa: PLC0415 - with this command alone

    anchors = load_anchors(anchors_file)
    raw = ask_gateway(network, capability, lambda client: client.bundle(run_id, capability))
    bundle = parse_bundle(raw)
    content = content_of(raw, bundle.exported_at)
    if content is None:
        raise UsageError("image.none", "the gateway keeps no documents of this run")
    found = choose(content.pictures, number)
    write_file(output, found.data)
    credentials = credentials_of([found], run_id, attester_in(raw, bundle.exported_at), anchors)
    if as_json:
        carried = {"credentials": credentials[0].told if credentials else None}
        emit_json({"run": run_id, **told(found), **carried, "written": output})
    for item in () if as_json else credentials:
        click.echo(clean_line(item.line), err=True)


def moments(chronology: Iterable[Any]) -> Iterable[str]:
    """Chronology entries as lines."""
    for moment in chronology:
        claimed = " (claimed)" if moment.get("time") == "claimed" else ""
        yield clean_line(f"  {moment['at']}  {moment['code']:<12}  {moment['says']}{claimed}")


def ask_gateway(
    network: Network, capability: str | None, question: Callable[[Any], Coroutine[Any, Any, Result]]
) -> Result:
    """One question to a network's gateway, with the workspace key or a capability; raises ``usage.capability``.

    Where the description names a trust document, the gateway is held to it before either leaves.
    """
    from holdfast.client.gateway import connect  # noqa: PLC0415 - the base install has no HTTP client

    if capability is not None:
        try:
            hex_decode(capability, 32)
        except MalformedError as error:
            raise UsageError("usage.capability", "a capability is 64 lower-case hex digits") from error
    key = None if capability is not None else network.require_key()
    trust = None if network.trust_path is None else network.load_trust()
    required = Requirements(network.attested)
    plain = network.insecure_plain_http

    async def ask() -> Result:
        async with connect(
            network.gateway, key, trust=trust, requirements=required, insecure_plain_http=plain
        ) as client:
            return await question(client)

    return asyncio.run(ask())
