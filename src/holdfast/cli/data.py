"""``holdfast data``: facts from outside, as a data node admits them (``spec/admission.md``, ``spec/sources.md``)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import Network, network_options, parse_url, read_key, with_http
from holdfast.cli.output import clean, clean_line, emit, emit_json, read_file, write_file
from holdfast.core import canonical
from holdfast.core.admissions import Admission, Presented, parse_admission, parse_presented
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import parse_key_document
from holdfast.core.sources import build_signed_registry, parse_registry_toml, registry_message
from holdfast.core.statements import is_code, parse_envelope
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.client.data import DataClient

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that find a data node; the command receives ``network`` and ``url``."""

    @network_options
    @click.option("--data", "given", metavar="URL", help="The data node, where no state folder names it.")
    @functools.wraps(command)
    def found(*arguments: Any, network: Network, given: str | None, **options: Any) -> Any:
        url = given or network.given.get("data")
        if not isinstance(url, str):
            raise UsageError(
                "data.url", f"{network.described_by} names no data node", hint="--data URL, or --state of a network"
            )
        return command(*arguments, network=network, url=parse_url(url, "--data"), **options)

    return found


@click.group()
def data() -> None:
    """Ask outside sources through a data node, which signs what it saw."""


def _client(http: AiohttpHTTP, network: Network, url: str) -> DataClient:
    from holdfast.client.data import DataClient  # noqa: PLC0415 - the base install has no HTTP client

    return DataClient(http, url, network.key)


@data.command("sources")
@click.argument("source", metavar="[SOURCE]", required=False)
@data_options
@_AS_JSON
def sources(network: Network, url: str, source: str | None, as_json: bool) -> None:
    """List the sources that may be asked, or show SOURCE: its definition, and how it did lately."""

    async def ask(http: AiohttpHTTP) -> dict[str, Any]:
        client = _client(http, network, url)
        return await (client.sources() if source is None else client.source(source))

    told = with_http(ask)
    if as_json:
        emit_json(told)
        return
    for item in told["sources"] if source is None else [told]:
        recent = item["recent"]
        emit(clean_line(f"{item['id']}  {item['title']}"))
        parameters = " ".join(f"{name}={_choices(about)}" for name, about in item["parameters"].items())
        emit(clean_line(f"    parameters: {parameters or 'none'}; fresh for {item['fresh_s']} s"))
        emit(clean_line(f"    asked {recent['asked']}, refused {recent['refused']}; definition {item['digest'][:16]}"))
    for item in told.get("admissions", [])[:20]:
        emit(clean_line(f"    {item['at']}  {item['outcome']}  {item['value'] or ''}"))


def _choices(about: dict[str, Any]) -> str:
    return "|".join(about["choices"]) if about["choices"] else str(about["type"]).upper()


def _parameters(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name or name in found:
            raise UsageError("data.parameter", f"{word[:64]!r} is not KEY=VALUE, each once", hint="like zone=utc")
        found[name] = value
    return found


def _value(document: Admission) -> canonical.JSON:
    return None if document.value is None else document.value.to_json()


@data.command("try")
@click.argument("source", metavar="SOURCE")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@data_options
@_AS_JSON
def attempt(network: Network, url: str, source: str, parameters: tuple[str, ...], as_json: bool) -> None:
    """Ask SOURCE and show what the node would admit. Nothing is signed, kept or logged."""

    async def ask(http: AiohttpHTTP) -> bytes:
        return await _client(http, network, url).attempt(source, _parameters(parameters))

    document = parse_admission(with_http(ask))
    if not as_json:
        _show(document)
        emit("Nothing was signed.")
        return
    from holdfast.verifier.lanes import Lane  # noqa: PLC0415

    lane = Lane("inputs", "unknown", None, "It was tried only: nobody signed anything.").to_json()
    emit_json({"value": _value(document), "statement": None, "envelope": None, "lane": lane})


@data.command("admit")
@click.argument("source", metavar="SOURCE")
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1)
@data_options
@click.option("--save", metavar="FILE", help="Keep the admission, with what opens it, for 'holdfast data replay'.")
@_AS_JSON
def admit(
    network: Network, url: str, source: str, parameters: tuple[str, ...], save: str | None, as_json: bool
) -> None:
    """Ask SOURCE, and have the node sign what came and log it. A refusal is signed too."""
    from holdfast.client.data import judge_admission  # noqa: PLC0415

    async def ask(http: AiohttpHTTP) -> Presented:
        return await _client(http, network, url).admit(source, _parameters(parameters))

    shown = with_http(ask)
    lane, document = judge_admission(shown, network.find_trust()), parse_admission(shown.document)
    if save is not None:
        write_file(save, canonical.encode(shown.to_json()) + b"\n")
    envelope = parse_envelope(shown.envelope)
    if as_json:
        emit_json(
            {
                "value": _value(document),
                "statement": canonical.decode(envelope.payload),
                "envelope": canonical.decode(shown.envelope),
                "lane": lane.to_json(),
            }
        )
        return
    _show(document)
    emit(clean_line(f"statement  {envelope.digest}"))
    emit(clean(f"inputs     {lane.state}: {lane.says}"))
    emit(clean(f"           It does not say: {lane.does_not_say}"))


def _show(document: Admission) -> None:
    seen, value = document.observation, document.value
    if seen is not None:
        emit(clean_line(f"source     {seen.source.id}, definition {seen.source.definition[:16]}"))
        if seen.tls is not None:
            emit(clean_line(f"session    {seen.tls.protocol}, key {seen.tls.spki[:16]}"))
        if seen.exchange is not None:
            facts = ", ".join(f"{name} {text}" for name, text in sorted(seen.exchange.facts.items()))
            emit(clean_line(f"exchange   {seen.exchange.kind} over {seen.exchange.channel}: {facts}"))
    if document.refusal is not None:
        emit(clean(f"refused    {document.refusal.code}: {document.refusal.says}"))
    if value is not None:
        emit(clean(f"value      {value.text[:2000]} {value.unit or ''}".rstrip()))


@data.command("replay")
@click.argument("file", metavar="FILE")
@data_options
@_AS_JSON
def replay(network: Network, url: str, file: str, as_json: bool) -> None:
    """Have the node read the body that it kept for the admission in FILE again: is the value the same?"""
    shown = parse_presented(canonical.decode(read_file(file)))

    async def ask(http: AiohttpHTTP) -> dict[str, Any]:
        return await _client(http, network, url).replay(shown)

    told = with_http(ask)
    if as_json:
        emit_json(told)
        return
    emit(clean(f"The kept body gives the same value: {told['value']['text'][:2000]}"))


@data.command("seal")
@click.argument("name", metavar="NAME")
@click.option("--to", "document", required=True, metavar="FILE", help="Key document of the node that will use it.")
@click.option("--secret", required=True, metavar="REF", help="The credential: file:PATH or env:NAME.")
@click.option("--out", required=True, metavar="FILE", help="Where the sealed credential goes.")
@_AS_JSON
def seal(name: str, document: str, secret: str, out: str, as_json: bool) -> None:
    """Seal the credential that sources call NAME, so that only one node can read it. Compare its digest first."""
    from holdfast.adapters.wraps_hpke import seal_credential  # noqa: PLC0415

    node = parse_key_document(read_file(document))
    key = node.key_for("hpke")
    if "data" not in node.roles or key is None or not is_code(name):
        raise UsageError("data.seal", f"{document} is of no data node with a key to seal to, or the name is no code")
    sealed = seal_credential(key.public, name, read_key(secret).reveal().encode())
    write_file(out, f"{b64_encode(sealed)}\n".encode())
    if as_json:
        emit_json({"name": name, "node": node.digest, "sealed": b64_encode(sealed)})
        return
    emit(clean_line(f"sealed {name} to {node.name}, {node.digest}"))


@data.command("shipped")
@_AS_JSON
def shipped(as_json: bool) -> None:
    """Print definitions of public sources as TOML, to begin a registry with."""
    from holdfast.adapters.sources import public_sources  # noqa: PLC0415

    text = public_sources()
    if as_json:
        emit_json(canonical.decode(parse_registry_toml(text).raw))
        return
    emit(text.rstrip())


@data.command("sign")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--signing-key", required=True, metavar="PEM", type=click.Path(path_type=Path), help="Who answers for it."
)
@click.option("--out", required=True, metavar="FILE", help="Where the signed registry goes.")
@_AS_JSON
def sign(file: Path, signing_key: Path, out: str, as_json: bool) -> None:
    """Check the registry of sources in FILE (TOML) and sign it. A node takes it whose sources_keys name the key."""
    from holdfast.adapters.signer_files import load_signer  # noqa: PLC0415

    registry = parse_registry_toml(read_file(str(file)).decode("utf-8", "replace"))
    signer = load_signer(signing_key, "statement")
    write_file(out, build_signed_registry(registry, signer.key, signer.sign(registry_message(registry))))
    key = f"{signer.key.algorithm}:{signer.key.public.hex()}"
    if as_json:
        names = {name: item.digest for name, item in registry.sources.items()}
        emit_json({"digest": registry.digest, "version": registry.version, "key": key, "sources": names})
        return
    emit(clean_line(f"version {registry.version}, {len(registry.sources)} sources, digest {registry.digest}"))
    emit(clean_line(f'sources_keys = ["{key}"]'))
