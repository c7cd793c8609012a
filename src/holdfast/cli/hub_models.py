"""``holdfast hub push|pull|ls|show|label|lineage|diff|sign|revoke|declare``: models of a hub from the terminal.

Rules: what is fetched is checked against a manifest that a hub signed which trust admits, or the one whose key is
named; nothing is printed as believed that was not. Names, cards and reasons come from outside and are shown as such.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.hub_differences import probe_artifacts, show_difference, show_evaluation
from holdfast.cli.hub_sealing import pull_sealed, sealed_for
from holdfast.cli.network import DEFAULT_STATE, Network, parse_url, read_description, read_key, with_http
from holdfast.cli.output import clean, clean_line, emit, emit_json, read_file, write_file, written_option
from holdfast.core import canonical
from holdfast.core.artifact_changes import DERIVATIONS
from holdfast.core.artifacts import read_key_pem
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import PublicKey
from holdfast.errors import UsageError
from holdfast.ports.settings import Secret

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.client.hub import HubClient, Progress

Result = TypeVar("Result")
_DIGEST_DIGITS = 64
_EVERY_S = 0.2
"""How often progress is shown."""
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
_WHY = click.option("--why", required=True, metavar="TEXT", help="Why; it stays with the change for ever.")


@dataclass(frozen=True, slots=True)
class HubPlace:
    """Where a hub is, who asks, and whose manifests are believed."""

    url: str
    key: Secret | None
    network: Network | None
    hub_key: Path | None

    def run(self, work: Callable[[HubClient], Awaitable[Result]]) -> Result:
        """Run a piece of work with a client."""
        from holdfast.adapters.http_stream_aiohttp import AiohttpEvents  # noqa: PLC0415 - the base install has none
        from holdfast.client.hub import HubClient  # noqa: PLC0415

        async def do(http: AiohttpHTTP) -> Result:
            events = AiohttpEvents()
            try:
                return await work(HubClient(http, events, self.url, self.key))
            finally:
                await events.close()

        return with_http(do)

    def keys(self) -> list[PublicKey]:
        """Statement keys of hubs that are believed: the one that is named, else those that trust admits."""
        if self.hub_key is not None:
            return [read_key_pem(read_file(str(self.hub_key)))]
        if self.network is None:
            raise UsageError(
                "hub.trust", "nobody says which hub is to be believed", hint="--hub-key PEM or --state DIR"
            )
        admitted = [item for item in self.network.load_trust().current.nodes if item.revoked is None]
        hubs = [item.key_document for item in admitted if "hub" in item.key_document.roles]
        found = [document.key_for("statement") for document in hubs]
        return [key for key in found if key is not None and key.algorithm == "p256"]


def hub_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Say which hub; the command gets a :class:`HubPlace`."""

    @click.option("--state", type=click.Path(path_type=Path), default=Path(DEFAULT_STATE), show_default=True,
                  help="State folder of a network that 'holdfast up' started.")  # fmt: skip
    @click.option("--hub", "url", metavar="URL", help="A hub by its URL, instead of the state folder's.")
    @click.option("--key", metavar="REF", help="Key of a publisher or reader: file:PATH or env:NAME.")
    @click.option("--hub-key", type=click.Path(path_type=Path), metavar="PEM",
                  help="Believe manifests by this key, instead of those that trust admits.")  # fmt: skip
    @functools.wraps(command)
    def found(*arguments: Any, state: Path, url: str | None, key: str | None, hub_key: Path | None, **more: Any) -> Any:
        network = None if url is not None else read_description(state)
        if network is not None:
            url = network.given.get("hub")
            if not isinstance(url, str):
                raise UsageError(
                    "network.incomplete",
                    f"{network.described_by} names no hub",
                    hint="--hub URL, or holdfast up --fresh",
                )
        given = None if key is None else read_key(key)
        if given is None and network is not None and isinstance(network.given.get("hub_key_file"), str):
            given = read_key(f"file:{network.given['hub_key_file']}")
        place = HubPlace(parse_url(str(url), "--hub"), given, network, hub_key)
        return command(*arguments, place=place, **more)

    return found


def _versions(count: int) -> str:
    return f"{count} version{'' if count == 1 else 's'}"


def show_progress(verb: str) -> Progress | None:
    """A line on standard error that is written over; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return None
    last = [0.0]

    def show(name: str, place: int, size: int) -> None:
        now = time.monotonic()
        if now - last[0] < _EVERY_S and place < size:
            return
        last[0] = now
        share = 100 if size == 0 else place * 100 // size
        click.echo(f"\r{verb} {clean_line(name)[:48]:<48} {share:3d} %  {_bytes(place)} of {_bytes(size)}  ",
                   nl=place >= size, err=True)  # fmt: skip

    return show


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"


async def resolve_name(client: HubClient, name: str) -> str:
    """The artifact that a digest, a version (``organisation/model@1``) or a label names."""
    if len(name) == _DIGEST_DIGITS and "/" not in name:
        return str((await client.artifact(name))["artifact"])
    model, at, number = name.partition("@")
    if not at:
        return str((await client.resolve(name))["artifact"])
    for version in (await client.model(model))["published"]:
        if version["version"] == f"{model}@{number}":
            return str(version["artifact"])
    raise UsageError("hub.unknown", f"there is no version {name!r} there")


def _split(model: str) -> tuple[str, str]:
    name, _, label = model.partition(":")
    return name, f"{name}:{label or 'latest'}"


def _continuity(made_from: str | None, how: str | None, evaluation: str | None) -> Mapping[str, Any] | None:
    if (made_from is None) != (how is None):
        raise UsageError("hub.continuity", "--from and --how belong together")
    if made_from is not None:
        return {"kind": "derivative", "of": made_from, "how": how, "evaluation": None}
    if evaluation is not None:
        return {"kind": "compared", "of": None, "how": None, "evaluation": evaluation}
    return None


def continuity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How far it is what the label meant before."""
    how = click.option("--how", type=click.Choice(DERIVATIONS), help="How it was made of it.")
    made = click.option("--from", "made_from", metavar="NAME", help="Declare that it was made of this artifact.")
    compared = click.option("--evaluation", metavar="FILE", type=click.Path(path_type=Path),
                            help="Attach an evaluation of both; it is sent too.")  # fmt: skip
    found: Callable[..., Any] = made(how(compared(command)))
    return found


async def _send_evaluation(client: HubClient, path: Path | None) -> str | None:
    if path is None:
        return None
    data = read_file(str(path))
    digest = sha256_hex(data)
    await client.send_file(path, path.name, digest, len(data))
    return digest


async def _set(
    client: HubClient,
    label: str,
    artifact: str,
    why: str,
    made_from: str | None,
    how: str | None,
    evaluation: Path | None,
) -> dict[str, Any]:
    of = None if made_from is None else await resolve_name(client, made_from)
    continuity = _continuity(of, how, await _send_evaluation(client, evaluation))
    predecessor = await client.last_change(label)
    return await client.set_label(label, artifact, why, continuity=continuity, predecessor=predecessor)


@click.command("push")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("model", metavar="ORGANISATION/MODEL[:LABEL]")
@hub_options
@continuity_options
@_WHY
@click.option("--no-label", is_flag=True, help="Publish a version, and leave every label alone.")
@click.option("--reader", "readers", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Seal the model first, for this key (a key document, or X25519 in PEM). Repeatable.")  # fmt: skip
@_AS_JSON
def push(
    folder: Path,
    model: str,
    place: HubPlace,
    made_from: str | None,
    how: str | None,
    evaluation: Path | None,
    why: str,
    no_label: bool,
    readers: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Publish FOLDER, or one file, as the next version of a model, and let a label mean it.

    What the hub has already is not sent again, and what broke off goes on where it ended. The label is 'latest' where
    none is named. With --reader the hub and its store get ciphertext alone, and look into no file.
    """
    from holdfast.client.hub import read_folder  # noqa: PLC0415 - the base install has no transports

    name, label = _split(model)
    _continuity(made_from, how, None)
    local = read_folder(folder, name.partition("/")[2] or name, show_progress("hashing"))

    async def work(client: HubClient) -> dict[str, Any]:
        with sealed_for(readers, local, show_progress("sealing")) as sent:
            made = await client.push(name, sent, why, show_progress("sending"))
        if no_label:
            return made
        return {**made, "label": await _set(client, label, made["artifact"], why, made_from, how, evaluation)}

    made = place.run(work)
    if as_json:
        emit_json({**made, "left_out": list(local.left_out)})
        return
    emit(clean_line(f"{made['version']} is artifact {made['artifact']}"))
    if local.left_out:
        emit(clean_line(f"left out, as the format wants it: {', '.join(local.left_out)}"))
    if not no_label:
        emit(clean_line(f"{label} means it now. {made['label']['says']}"))


@click.command("pull")
@click.argument("name", metavar="NAME")
@click.argument("folder", type=click.Path(path_type=Path))
@hub_options
@click.option("--unseal", type=click.Path(path_type=Path), metavar="PEM",
              help="Open a model that was sealed for this key (X25519, mode 0600).")  # fmt: skip
@click.option("--publisher-key", type=click.Path(path_type=Path), metavar="PEM",
              help="Ask for a signature of this publisher's own as well.")  # fmt: skip
@_AS_JSON
def pull(
    name: str, folder: Path, place: HubPlace, unseal: Path | None, publisher_key: Path | None, as_json: bool
) -> None:
    """Fetch NAME (a label, organisation/model@1, or a digest) into FOLDER and check every byte.

    FOLDER is new or holds a part of the same artifact. Its signed manifest is written beside as model.sig, for
    'model_signing verify key' too. With --unseal FOLDER is new and gets the files in the clear.
    """
    keys = place.keys()
    publisher = None if publisher_key is None else read_key_pem(read_file(str(publisher_key)))

    async def work(client: HubClient) -> tuple[str, Any]:
        artifact = await resolve_name(client, name)
        if publisher is not None:
            await client.verify_publisher(artifact, publisher)
        if unseal is not None:
            return artifact, await pull_sealed(client, artifact, folder, keys, unseal, show_progress("fetching"))
        return artifact, await client.pull(artifact, folder, keys, show_progress("fetching"))

    artifact, manifest = place.run(work)
    if as_json:
        emit_json({"artifact": artifact, "folder": str(folder), "files": [file.name for file in manifest.files]})
        return
    emit(clean_line(f"{len(manifest.files)} files in {folder} are artifact {artifact}"))


@click.command("ls")
@click.argument("words", nargs=-1)
@hub_options
@click.option("--tag", help="Only models with this tag.")
@click.option("--licence", help="Only models with this licence.")
@click.option("--organisation", help="Only models of this organisation.")
@_AS_JSON
def ls(
    words: tuple[str, ...],
    place: HubPlace,
    tag: str | None,
    licence: str | None,
    organisation: str | None,
    as_json: bool,
) -> None:
    """List models, or those in which all WORDS occur."""
    query = {"q": " ".join(words), "tag": tag, "licence": licence, "organisation": organisation}
    told = place.run(lambda client: client.models(**{name: text for name, text in query.items() if text}))
    if as_json:
        emit_json(told)
        return
    if not told["models"]:
        emit("no such models")
    for model in told["models"]:
        more = ", ".join([*model["tags"], *([model["licence"]] if model["licence"] else [])])
        emit(clean_line(f"{model['model']:<40} {_versions(model['versions'])}  {more}"))
        for label, artifact in model["labels"].items():
            emit(clean_line(f"    :{label:<20} {artifact}"))
    if told["more"]:
        emit("and more: narrow it down with words")


@click.command("show")
@click.argument("name", metavar="NAME")
@hub_options
@_AS_JSON
def show(name: str, place: HubPlace, as_json: bool) -> None:
    """Show a model (organisation/model), or what a label, a version or a digest names."""

    async def work(client: HubClient) -> dict[str, Any]:
        if "/" in name and ":" not in name and "@" not in name:
            return {"model": await client.model(name)}
        return {"artifact": await client.artifact(await resolve_name(client, name))}

    told = place.run(work)
    if as_json:
        emit_json(next(iter(told.values())))
        return
    if "model" in told:
        _show_model(told["model"])
    else:
        _show_artifact(told["artifact"])


def _show_model(model: Mapping[str, Any]) -> None:
    emit(clean_line(model["model"]))
    card = model["card"]
    if card is not None:
        emit(clean_line(f"    licence {card['licence'] or 'not stated'}; tags {', '.join(card['tags']) or 'none'}"))
    for version in model["published"]:
        revoked = "  REVOKED" if version["revoked"] else ""
        emit(clean_line(f"    @{version['version'].partition('@')[2]:<4} {version['artifact']}  {version['at']}"
                        f"  {version['by']}: {version['reason']}{revoked}"))  # fmt: skip
    for declared in model["declared_artifacts"]:
        emit(clean_line(f"    declared {declared['artifact']}, a claim of its provider's"))
    for label, changes in model["label_changes"].items():
        emit(clean_line(f"    :{label}"))
        for change in changes:
            emit(clean_line(f"        {change['at']}  {change['artifact'][:12]}…  {change['by']}: {change['reason']}"))
            emit(clean_line(f"            {change['says']}"))
    if card is not None and card["text"]:
        emit("")
        emit(clean(card["text"]))


def _show_artifact(artifact: Mapping[str, Any]) -> None:
    emit(f"artifact {clean_line(artifact['artifact'])}")
    if artifact["revoked"]:
        emit(clean_line(f"    REVOKED {artifact['revoked']['at']} by {artifact['revoked']['by']}: "
                        f"{artifact['revoked']['reason']}"))  # fmt: skip
    emit(clean_line(f"    versions {', '.join(artifact['versions']) or 'none'}"))
    emit(clean_line(f"    labels   {', '.join(artifact['labels']) or 'none'}"))
    for hint in artifact.get("signed_by", ()):
        emit(clean_line(f"    signed by a publisher's key {hint}"))
    if artifact.get("sealed"):
        emit("    sealed for its readers: holdfast hub pull --unseal KEY")
    declared = artifact["declared"]
    if declared is not None:
        emit(clean_line(f"    {declared['upstream']} calls it {declared['model']}, fingerprint "
                        f"{declared['system_fingerprint'] or 'not told'}: its claim, and no bytes"))  # fmt: skip
    for file in artifact["files"]:
        emit(clean_line(f"    {file['sha256']}  {file['bytes']:>12}  {file['name']}"))


@click.command("label")
@click.argument("label", metavar="ORGANISATION/MODEL:LABEL")
@click.argument("name", metavar="NAME")
@hub_options
@continuity_options
@_WHY
@_AS_JSON
def label(
    label: str, name: str, place: HubPlace, made_from: str | None, how: str | None, evaluation: Path | None, why: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Let a label mean NAME (organisation/model@1, a digest, or another label) from now on.

    Open cases that stand on the label are marked stale at once.
    """
    _continuity(made_from, how, None)

    async def work(client: HubClient) -> dict[str, Any]:
        return await _set(client, label, await resolve_name(client, name), why, made_from, how, evaluation)

    told = place.run(work)
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{told['label']} means {told['artifact']} since {told['at']}. {told['says']}"))


@click.command("lineage")
@click.argument("name", metavar="NAME")
@hub_options
@_AS_JSON
def lineage(name: str, place: HubPlace, as_json: bool) -> None:
    """Show what NAME was declared to be made of, what was made of it, and what its label meant before."""

    async def work(client: HubClient) -> dict[str, Any]:
        found = await client.lineage(await resolve_name(client, name))
        is_label = "/" in name and "@" not in name
        history = (await client.history(_split(name)[1]))["changes"] if is_label else []
        return {**found, "label_changes": history}

    told = place.run(work)
    if as_json:
        emit_json(told)
        return
    emit(f"artifact {clean_line(told['artifact'])}")
    for edge in told["derivations"]:
        emit(clean_line(f"    {edge['artifact'][:12]}… {edge['how'].replace('_', '-')} from {edge['of'][:12]}…, "
                        f"says {edge['by']} at {edge['at']}"))  # fmt: skip
    if not told["derivations"]:
        emit("    nobody declared what it was made of")
    else:
        emit(f"    {clean_line(told['says'])}")
    for change in told["label_changes"]:
        emit(clean_line(f"    {change['at']}  {change['label']} -> {change['artifact'][:12]}…  {change['by']}: "
                        f"{change['reason']}"))  # fmt: skip
        emit(clean_line(f"        {change['says']}"))


@click.command("diff")
@click.argument("before", metavar="NAME")
@click.argument("after", metavar="NAME")
@hub_options
@click.option("--probe", "probing", is_flag=True, help="Fetch and run both models here, on the same inputs, too.")
@click.option("--output", metavar="FILE", help="Of --probe: write the evaluation, to attach it to a label.")
@_AS_JSON
def diff(before: str, after: str, place: HubPlace, probing: bool, output: str | None, as_json: bool) -> None:
    """Show what differs between two artifacts: files, tensors with the norm of their difference, and ONNX graphs.

    With --probe, both ONNX models answer the same inputs, each in a process that contains it, and it is shown how far
    their answers are apart. 'holdfast hub label --evaluation FILE' attaches what --output wrote.
    """
    if output is not None and not probing:
        raise UsageError("hub.probe", "--output writes what --probe finds", param="output")
    keys = place.keys() if probing else []

    async def work(client: HubClient) -> tuple[dict[str, Any], dict[str, Any] | None]:
        one, other = await resolve_name(client, before), await resolve_name(client, after)
        told = await client.diff(one, other)
        return told, await probe_artifacts(client, one, other, keys) if probing else None

    told, evaluation = place.run(work)
    if evaluation is not None and output is not None:
        write_file(output, canonical.encode(evaluation))
    if as_json:
        emit_json(told if evaluation is None else {**told, "evaluation": evaluation})
        return
    show_difference(told)
    if evaluation is not None:
        show_evaluation(evaluation)


@click.command("revoke")
@click.argument("name", metavar="NAME")
@hub_options
@_WHY
@_AS_JSON
def revoke(name: str, place: HubPlace, why: str, as_json: bool) -> None:
    """Say that nobody should rely on the artifact NAME any more, for good; what relied on it is recalled."""

    async def work(client: HubClient) -> dict[str, Any]:
        artifact = await resolve_name(client, name)
        return await client.post(f"artifacts/{artifact}/revoke", {"reason": why})

    told = place.run(work)
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{told['artifact']} is revoked since {told['at']}"))


@click.command("sign")
@click.argument("name", metavar="NAME")
@click.argument("signature", type=click.Path(path_type=Path))
@click.argument("public_key", type=click.Path(path_type=Path), metavar="PEM")
@hub_options
@_AS_JSON
def sign(name: str, signature: Path, public_key: Path, place: HubPlace, as_json: bool) -> None:
    """Keep SIGNATURE, which 'model_signing sign key' made of the artifact NAME, at the hub, with its public key PEM.

    The hub's own signature says what was sent to it; this one is the publisher's. 'hub pull --publisher-key' asks for
    it.
    """
    raw, pem = read_file(str(signature)), read_file(str(public_key))

    async def work(client: HubClient) -> dict[str, Any]:
        return await client.sign(await resolve_name(client, name), raw, pem)

    told = place.run(work)
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{told['artifact']} has {len(told['signatures'])} signatures of publishers' own"))


@click.command("declare")
@click.argument("upstream", metavar="UPSTREAM")
@click.argument("model", metavar="MODEL")
@hub_options
@click.option("--fingerprint", help="The system_fingerprint that the provider tells.")
@_WHY
@_AS_JSON
def declare(upstream: str, model: str, place: HubPlace, fingerprint: str | None, why: str, as_json: bool) -> None:
    """Note what the provider UPSTREAM says of a model whose bytes it keeps, or that it still says so."""
    asked = {"upstream": upstream, "model": model, "system_fingerprint": fingerprint, "reason": why}
    told = place.run(lambda client: client.post("declared", asked))
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"declared artifact {told['artifact']}, a claim of its provider's"))


@click.command("bom")
@click.argument("name", metavar="NAME")
@hub_options
@click.option("--output", default="-", show_default=True, metavar="FILE", help="Where to write it.")
@written_option
def bom(name: str, place: HubPlace, output: str, as_json: bool) -> None:
    """Write the bill of materials of NAME, in CycloneDX 1.6."""

    async def work(client: HubClient) -> bytes:
        return await client.bom(await resolve_name(client, name))

    data = place.run(work) + b"\n"
    write_file(output, data)
    if as_json:
        emit_json({"file": output, "bytes": len(data)})


COMMANDS = (push, pull, ls, show, label, lineage, diff, sign, revoke, declare, bom)
"""What the group ``hub`` takes from here."""
