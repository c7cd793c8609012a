"""How a command finds a network: the description that ``holdfast up`` left in its state folder, or a gateway's URL.

``--state DIR`` (default ``.holdfast``) reads ``DIR/network.json``; ``--gateway URL`` needs nothing on this disk. The
key is ``--key file:PATH`` or ``--key env:NAME``, else what the state folder names, else the environment variable
``HOLDFAST_KEY``. A key is never an argument by itself, where every process of the machine could read it, and never
printed.

Not covered: whether the network is up, and whether it is to be believed (trust).
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode
from holdfast.core.trust import MAX_TRUST_BYTES, Trust, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError, UsageError
from holdfast.ports.settings import Secret
from holdfast.verifier.identity import ATTESTED, Attested

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP

DEFAULT_STATE = ".holdfast"
"""The state folder of ``holdfast up`` when nobody names one."""
DESCRIPTION = "network.json"
"""What ``holdfast up`` writes there."""
KEY_VARIABLE = "HOLDFAST_KEY"
"""Holds the workspace key itself."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FullNodeAddress:
    """One full node: its name and base URL."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Network:
    """Where the nodes are, and how to speak to them. URLs have no trailing slash."""

    described_by: str
    """For messages: the file or URL this comes from."""
    gateway: str
    key: Secret | None = None
    panel: str | None = None
    log: str | None = None
    chain: str | None = None
    origin: str | None = None
    full_nodes: tuple[FullNodeAddress, ...] = ()
    trust_path: Path | None = None
    given: dict[str, Any] = field(default_factory=dict)
    """The whole description, as it stands in the file."""
    gateway_tls: str | None = None
    """The gateway under TLS, with the key that its key document names."""
    relay: str | None = None
    relay_key: Secret | None = None
    """What the relay knows this caller by; never the workspace key, which is nobody's business but the gateway's."""
    attested: Attested | None = None
    """What the gateway's attestation must come to; None: what trust is for (``client.md`` §2)."""
    insecure_plain_http: bool = False
    """Whether a gateway elsewhere may be asked without TLS."""

    def require_key(self) -> str:
        """The workspace key; raises ``network.key``."""
        if self.key is None:
            raise UsageError(
                "network.key",
                f"{self.gateway} wants a workspace key and none was given",
                hint=f"--key file:PATH, --key env:NAME, or set {KEY_VARIABLE}",
            )
        return self.key.reveal()

    def require(self, name: str) -> str:
        """The URL of a node, or the log's origin; raises ``network.incomplete``."""
        value = getattr(self, name)
        if not isinstance(value, str):
            raise UsageError(
                "network.incomplete",
                f"{self.described_by} does not say where the network's {name} is",
                hint="use --state DIR of a network that 'holdfast up' started",
            )
        return value

    def trust_bytes(self) -> bytes:
        """The network's trust file: from disk, or as its gateway serves it. Raises ``network.trust``."""
        if self.trust_path is not None:
            try:
                return self.trust_path.read_bytes()
            except OSError as error:
                raise UsageError("network.trust", f"cannot read {self.trust_path}: {error.strerror}") from error

        told = with_http(self._ask)
        if not isinstance(told.get("trust"), str):
            raise RefusedError(
                "network.trust",
                f"{self.gateway} shows no trust document",
                hint="get it from the network's operator, best by another way than the evidence",
            )
        return b64_decode(told["trust"])

    async def _ask(self, http: AiohttpHTTP) -> dict[str, Any]:
        """What the gateway tells holders of a workspace key about its network."""
        headers = {"authorization": f"Bearer {self.require_key()}"}
        answer = await http.request("GET", f"{self.gateway}/v1/network", headers=headers, max_bytes=2 * MAX_TRUST_BYTES)
        if answer.status != 200:
            raise RefusedError("network.unknown", f"{self.gateway} does not tell of its network ({answer.status})")
        return canonical.decode_object(answer.body)

    def load_trust(self) -> Trust:
        """The network's trust, its signatures checked; raises ``trust.*`` or ``network.trust``."""
        return verify_trust(parse_trust_chain(self.trust_bytes()))

    def find_trust(self) -> Trust | None:
        """As :meth:`load_trust`, None where there is none to be had."""
        try:
            return self.load_trust()
        except HoldfastError as error:
            if error.code in ("network.trust", "network.unknown"):
                return None
            raise

    async def completed(self, http: AiohttpHTTP) -> Network:
        """This network with what its gateway says of the log and the full nodes, where the description is silent."""
        if self.log is not None and self.origin is not None and self.full_nodes:
            return self
        told = await self._ask(http)
        return replace(
            self,
            log=self.log or _url(told, "log", self.gateway),
            origin=self.origin or _text(told, "origin", self.gateway),
            full_nodes=self.full_nodes or _full_nodes(told, self.gateway),
        )


def with_http(work: Callable[[AiohttpHTTP], Awaitable[Result]]) -> Result:
    """Run a piece of asynchronous work with an HTTP client of its own."""
    from holdfast.adapters.http_aiohttp import AiohttpHTTP  # noqa: PLC0415 - the base install has no aiohttp

    async def run() -> Result:
        http = AiohttpHTTP()
        try:
            return await work(http)
        finally:
            await http.close()

    return asyncio.run(run())


def _text(value: dict[str, Any], name: str, where: str) -> str | None:
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise MalformedError("network.description", f"{where}: {name} is a string")
    return found


def _url(value: dict[str, Any], name: str, where: str) -> str | None:
    found = _text(value, name, where)
    return None if found is None else parse_url(found, where)


def parse_url(text: str, where: str) -> str:
    """A base URL without its trailing slash; raises ``network.url``."""
    if not text.startswith(("http://", "https://")) or any(letter.isspace() for letter in text):
        raise UsageError("network.url", f"{where}: {text!r} is not an http:// or https:// URL")
    return text.rstrip("/")


def _full_nodes(value: dict[str, Any], where: str) -> tuple[FullNodeAddress, ...]:
    found = []
    listed = value.get("full_nodes", [])
    if not isinstance(listed, list):
        raise MalformedError("network.description", f"{where}: full_nodes is a list")
    for item in listed:
        if not isinstance(item, dict):
            raise MalformedError("network.description", f"{where}: a full node has a name and a url")
        name, url = _text(item, "name", where), _url(item, "url", where)
        if name is None or url is None:
            raise MalformedError("network.description", f"{where}: a full node has a name and a url")
        found.append(FullNodeAddress(name, url))
    return tuple(found)


def read_key(reference: str) -> Secret:
    """``file:PATH`` or ``env:NAME`` to the key it names; raises ``network.key``."""
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        value = os.environ.get(where, "").strip()
        if value:
            return Secret(value, reference)
        raise UsageError("network.key", f"the environment variable {where} is not set")
    if kind == "file" and where:
        try:
            value = Path(where).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("network.key", f"cannot read the key in {where}") from error
        if value:
            return Secret(value, reference)
        raise UsageError("network.key", f"{where} is empty")
    raise UsageError("network.key", "a key is given by reference", hint="write file:PATH or env:NAME")


def read_description(state: Path) -> Network:
    """The network that a state folder describes; raises ``network.none`` or ``network.description``."""
    path = state / DESCRIPTION
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "network.none",
            f"there is no network in {state}",
            hint="start one with 'holdfast up', or name one with --state DIR or --gateway URL",
        ) from error
    value = canonical.decode_object(raw)
    gateway = _url(value, "gateway", str(path))
    if gateway is None:
        raise MalformedError("network.description", f"{path} names no gateway")
    key_file, trust = _text(value, "key_file", str(path)), _text(value, "trust", str(path))
    return Network(
        described_by=str(path),
        gateway=gateway,
        key=_key_in(state, key_file),
        panel=_url(value, "panel", str(path)),
        log=_url(value, "log", str(path)),
        chain=_url(value, "chain", str(path)),
        origin=_text(value, "origin", str(path)),
        full_nodes=_full_nodes(value, str(path)),
        trust_path=None if trust is None else _path_in(state, trust),
        given=value,
        gateway_tls=_url(value, "gateway_tls", str(path)),
        relay=_url(value, "relay", str(path)),
        relay_key=_key_in(state, _text(value, "relay_key_file", str(path))),
    )


def _path_in(state: Path, name: str) -> Path:
    """A path as the description means it: absolute, from here, or from the state folder."""
    path = Path(name)
    return path if path.is_absolute() or path.exists() else state / name


def _key_in(state: Path, name: str | None) -> Secret | None:
    if name is None:
        return None
    path = _path_in(state, name.removeprefix("file:"))
    return read_key(f"file:{path}") if path.exists() else None


def find_network(state: str | None, gateway: str | None, key: str | None) -> Network:
    """The network that a command line names; raises ``network.*``."""
    if state is not None and gateway is not None:
        raise UsageError("network.which", "--state and --gateway name two networks; give one")
    given = read_key(key) if key is not None else None
    from_environment = os.environ.get(KEY_VARIABLE, "").strip()
    fallback = Secret(from_environment, f"env:{KEY_VARIABLE}") if from_environment else None
    if gateway is not None:
        return Network(described_by=gateway, gateway=parse_url(gateway, "--gateway"), key=given or fallback)
    found = read_description(Path(state or DEFAULT_STATE))
    return replace(found, key=given or found.key or fallback)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state``, ``--gateway`` and ``--key`` to a command; it receives ``network``."""
    return _with_network(command, find_network)


def optional_network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`network_options`, for commands that can do without: ``network`` is None where nobody named one and the
    default state folder has none."""

    def find(state: str | None, gateway: str | None, key: str | None) -> Network | None:
        nowhere = not (Path(DEFAULT_STATE) / DESCRIPTION).exists()
        return None if state is None and gateway is None and nowhere else find_network(state, gateway, key)

    return _with_network(command, find)


def _with_network(
    command: Callable[..., Any], find: Callable[[str | None, str | None, str | None], Network | None]
) -> Callable[..., Any]:
    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--gateway", metavar="URL", help="A gateway, instead of a state folder.")
    @click.option("--key", metavar="REF", help=f"Workspace key: file:PATH or env:NAME; else ${KEY_VARIABLE}.")
    @functools.wraps(command)
    def found(*arguments: Any, state: str | None, gateway: str | None, key: str | None, **options: Any) -> Any:
        return command(*arguments, network=find(state, gateway, key), **options)

    return found


def gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`network_options`, with ``--attested`` and ``--insecure-plain-http``, for commands that send something
    to the gateway which is nobody else's business."""

    @network_options
    @click.option(
        "--attested",
        type=click.Choice(ATTESTED),
        help="What the gateway's attestation must come to, before anything is sent.  [default: what trust is for]",
    )
    @click.option("--insecure-plain-http", is_flag=True, help="Ask a gateway elsewhere over http:// all the same.")
    @functools.wraps(command)
    def found(
        *arguments: Any, network: Network, attested: Attested | None, insecure_plain_http: bool, **options: Any
    ) -> Any:
        asked = replace(network, attested=attested, insecure_plain_http=insecure_plain_http)
        return command(*arguments, network=asked, **options)

    return found


def missing_trust() -> UndecidedError:
    """The error for a check that needs trust where there is none."""
    return UndecidedError(
        "trust.missing",
        "there is no trust document, so nobody can say whose signatures these are",
        hint="--trust FILE, or --state DIR of a network that has one",
    )
