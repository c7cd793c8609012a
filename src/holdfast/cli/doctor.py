"""``holdfast doctor``: look for what is wrong here, one line a finding, each with what to do about it.

It reads and asks, and changes nothing but a scratch file of its own. A finding is ``fine``, ``look`` (it works, and
something deserves a look) or ``wrong``. Exit code 0 without a ``wrong``, else 1. Not a verdict on any run: that is
``holdfast verify``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import click

from holdfast.cli.main import NODE_EXTRA
from holdfast.cli.network import DEFAULT_STATE, Network, find_network, with_http
from holdfast.cli.output import clean, emit, emit_json
from holdfast.core import canonical
from holdfast.core.attestation.certificates import read_spki
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UnavailableError, UndecidedError
from holdfast.ports.http import HTTP
from holdfast.verifier.keys_proof import verify_keys_proof

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP

FINE, LOOK, WRONG = "fine", "look", "wrong"
"""What a finding can be."""
OLDEST_PYTHON = (3, 11)
"""As ``pyproject.toml`` says."""
OPTIONAL = {
    "pyrevm": "without it the development chain needs anvil on the PATH",
    "uvloop": "without it nodes are slower",
}
"""Modules of the node extra that exist for some platforms only."""
SLOW_SYNC_MS = 20.0
"""A disk that takes longer to make one write durable holds every answer up."""
CLOCK_LOOK_S, CLOCK_WRONG_S = 2.0, 25.0
"""Clock differences; statements refuse more than 30 s (``statement.md`` §8)."""
TRUST_LOOK_DAYS = 30
"""Trust that runs out sooner deserves a look."""
PORTS = range(8500, 8510)
"""Ports of a network that ``holdfast up`` starts without ``--port``."""
BACKLOG_BYTES = 1 << 20
"""A gateway that owes its log more than this deserves a look."""
FREE_BYTES = 1 << 30
"""Less free space than this deserves a look."""

Learn: TypeAlias = Callable[[str, int], Awaitable[bytes]]
"""The certificate (DER) that somebody shows at a host and port."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    what: str
    state: str
    says: str
    do: str = ""

    def to_json(self) -> dict[str, str]:
        return {"what": self.what, "state": self.state, "says": self.says, "do": self.do}


@click.command()
@click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
@click.option("--gateway", metavar="URL", help="A gateway, instead of a state folder.")
@click.option("--key", metavar="REF", help="Workspace key: file:PATH or env:NAME.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def doctor(state: str | None, gateway: str | None, key: str | None, as_json: bool) -> int:
    """Check this machine and a network: Python, extras, disk, ports, state, nodes, clocks, trust, backlogs, TLS."""
    findings = [*check_python(), *check_extras(), check_disk(Path(state or DEFAULT_STATE))]
    try:
        network = find_network(state, gateway, key)
    except HoldfastError as error:
        if error.code != "network.none" or state is not None:
            raise
        findings += [*check_ports(), Finding("network", LOOK, error.message, error.hint)]
    else:
        findings += check_state(network)
        findings += check_trust(network)
        if find_spec("aiohttp") is not None:
            findings += with_http(lambda http: check_nodes(network, http))
    if as_json:
        emit_json({"findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            emit(clean(f"{finding.state:<6} {finding.what:<14} {finding.says}"))
            if finding.do:
                emit(clean(f"{'':<21} -> {finding.do}"))
    return 1 if any(finding.state == WRONG for finding in findings) else 0


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Iterable[Finding]:
    """The interpreter."""
    says = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    if version < OLDEST_PYTHON:
        yield Finding("python", WRONG, says, "install Python 3.11 or newer")
    else:
        yield Finding("python", FINE, says)


def check_extras() -> Iterable[Finding]:
    """What of ``holdfast[node]`` is installed."""
    missing = sorted(name for name in NODE_EXTRA if find_spec(name) is None)
    needed = [name for name in missing if name not in OPTIONAL]
    if needed:
        yield Finding(
            "extras", LOOK, f"only the verifier is installed: no {', '.join(needed)}", "pip install 'holdfast[node]'"
        )
        return
    yield Finding("extras", FINE, "holdfast[node] is installed")
    for name in missing:
        instead = shutil.which("anvil") is not None and name == "pyrevm"
        yield Finding("extras", FINE if instead else LOOK, f"no {name} for this platform", OPTIONAL[name])


def check_disk(state: Path) -> Finding:
    """How long one durable write takes, and how much room there is."""
    folder = next((path for path in (state, *state.absolute().parents) if path.is_dir()), Path())
    try:
        times = sorted(_sync_times(folder))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", WRONG, f"cannot write in {folder}: {error.strerror}", "choose another --state DIR")
    typical, worst = times[len(times) // 2] * 1000, times[-1] * 1000
    says = f"one durable write takes {typical:.1f} ms, at worst {worst:.1f} ms; {free >> 20} MiB free in {folder}"
    if free < FREE_BYTES:
        return Finding("disk", LOOK, says, "make room: a full disk stops every node")
    if typical > SLOW_SYNC_MS:
        return Finding("disk", LOOK, says, "answers wait for the disk: put --state on a faster one")
    return Finding("disk", FINE, says)


def _sync_times(folder: Path, rounds: int = 20) -> Iterable[float]:
    sync = getattr(os, "fdatasync", os.fsync)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        for _ in range(rounds):
            file.write(bytes(512))
            file.flush()
            begun = time.perf_counter()
            sync(file.fileno())
            yield time.perf_counter() - begun


def check_ports(ports: Iterable[int] = PORTS) -> Iterable[Finding]:
    """Whether ``holdfast up`` could listen."""
    taken = []
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(str(port))
    if taken:
        yield Finding("ports", LOOK, f"in use: {', '.join(taken)}", "holdfast up --port N takes others")
    else:
        yield Finding("ports", FINE, f"{min(ports)} to {max(ports)} are free")


def check_state(network: Network) -> Iterable[Finding]:
    """What the description says, and whether it can be used."""
    yield Finding("network", FINE, f"described by {network.described_by}")
    if network.key is None:
        yield Finding("key", LOOK, "no workspace key", "--key file:PATH or env:NAME; without one nothing can be asked")
    else:
        yield Finding("key", FINE, f"from {network.key.reference}")
    reference = network.key.reference if network.key is not None else ""
    path = Path(reference.removeprefix("file:"))
    if reference.startswith("file:") and path.exists() and path.stat().st_mode & 0o077:
        yield Finding("key", LOOK, f"others on this machine can read {path}", f"chmod 600 {path}")


def check_trust(network: Network) -> Iterable[Finding]:
    """Whether trust holds, and for how long."""
    try:
        trust = network.find_trust()
    except HoldfastError as error:
        yield Finding(
            "trust", WRONG, f"{error.code}: {error.message}", "get the trust document from the operator again"
        )
        return
    if trust is None:
        yield Finding("trust", LOOK, "none here: nobody's signature can be judged", "ask the operator for it")
        return
    left = trust.current.expires_at - dt.datetime.now(dt.UTC)
    says = f"version {trust.version} runs out {time_encode(trust.current.expires_at)}"
    if left <= dt.timedelta(0):
        yield Finding("trust", WRONG, says, "publish a new version: until then lanes are expired")
    elif left < dt.timedelta(days=TRUST_LOOK_DAYS):
        yield Finding("trust", LOOK, says, f"publish a new version within {left.days} days")
    else:
        yield Finding("trust", FINE, says + (", marked development" if trust.development else ""))


async def check_nodes(network: Network, http: AiohttpHTTP) -> list[Finding]:
    """Everything that can be asked of the nodes, all at once."""
    network = await _complete(network, http)
    checks: list[Awaitable[list[Finding]]] = [_gateway(network, http), _backlog(network, http)]
    if network.log is not None:
        checks.append(_ready("log", network.log, http))
    if network.panel is not None:
        checks.append(_answers("panel", network.panel, http))
    if network.relay is not None:
        checks.append(_keys(network.relay, _trust_here(network), http))
    if network.chain is not None:
        checks.append(_chain(network.chain, http))
    if isinstance(network.given.get("registry"), str):
        checks.append(_registry(network.gateway, http))
    trust = _trust_here(network)
    if network.gateway_tls is not None and trust is not None:
        checks.append(check_tls(network.gateway_tls, trust))
    found = [finding for listed in await asyncio.gather(*checks) for finding in listed]
    return [*found, *await _full_nodes(network, http)]


def _trust_here(network: Network) -> Trust | None:
    """The trust document on this disk, if there is one that holds; :func:`check_trust` says what is wrong with it."""
    if network.trust_path is None:
        return None
    try:
        return network.load_trust()
    except HoldfastError:
        return None


async def _complete(network: Network, http: AiohttpHTTP) -> Network:
    try:
        return await network.completed(http)
    except HoldfastError:
        return network


async def _get(http: AiohttpHTTP, url: str) -> Any:
    return await http.request("GET", url, timeout_s=3.0, max_bytes=4 << 20)


async def _ready(what: str, url: str, http: AiohttpHTTP) -> list[Finding]:
    """``/readyz`` of a node."""
    try:
        answer = await _get(http, f"{url}/readyz")
    except HoldfastError as error:
        return [Finding(what, WRONG, error.message, "is it running? 'holdfast up', or look at its log")]
    if answer.status == 200:
        return [Finding(what, FINE, f"{url} is ready")]
    return [Finding(what, LOOK, f"{url} is up and not ready: {_message(answer.body)}", "wait, or look at its log")]


async def _answers(what: str, url: str, http: AiohttpHTTP) -> list[Finding]:
    """Whether anything answers there."""
    try:
        await _get(http, f"{url}/healthz")
    except HoldfastError as error:
        return [Finding(what, LOOK, error.message, "is it running? answers do not depend on it")]
    return [Finding(what, FINE, f"{url} answers")]


async def _registry(gateway: str, http: AiohttpHTTP) -> list[Finding]:
    """Whether the registry counts the gateway as active, as the gateway tells."""
    try:
        told = canonical.decode_object((await _get(http, f"{gateway}/heartbeat/status")).body)
    except HoldfastError as error:
        return [Finding("registry", LOOK, error.message, "is it running? answers do not depend on it")]
    if not told.get("enabled"):
        does = "set registry_account for the gateway, or have somebody else register it"
        return [Finding("registry", LOOK, "the gateway keeps no place there", does)]
    if told.get("active"):
        return [Finding("registry", FINE, "the gateway is active there")]
    why = told.get("last_error") or told.get("waits_for") or "it does not say why"
    says = f"the gateway is not active there: {why}"
    return [Finding("registry", LOOK, says, "'holdfast registry show NODE', and /v1/status of the full nodes")]


def _message(body: bytes) -> str:
    try:
        return str(canonical.decode(body)["error"]["message"])
    except (HoldfastError, KeyError, TypeError):
        return "it does not say why"


async def _gateway(network: Network, http: AiohttpHTTP) -> list[Finding]:
    """The gateway: ready, its clock, its key."""
    found = await _ready("gateway", network.gateway, http)
    if found[0].state == WRONG:
        return found
    headers = {"authorization": f"Bearer {network.key.reveal()}"} if network.key is not None else {}
    begun = dt.datetime.now(dt.UTC)
    answer = await http.request("GET", f"{network.gateway}/v1/models", headers=headers, timeout_s=5.0)
    if network.key is not None and answer.status in (401, 403):
        found.append(
            Finding("key", WRONG, "the gateway does not know this key", "use the key of one of its workspaces")
        )
    elif answer.status == 200 and not canonical.decode_object(answer.body).get("data"):
        found.append(Finding("models", WRONG, "the gateway offers no model", "see docs/howto/connect-a-model.md"))
    found += _clock(answer.headers.get("date"), begun)
    return found


def _clock(stamp: str | None, now: dt.datetime) -> list[Finding]:
    """How far the gateway's clock is from this one, as far as a Date header tells (whole seconds)."""
    try:
        there = parsedate_to_datetime(stamp or "")
    except (TypeError, ValueError):
        return [Finding("clock", LOOK, "the gateway tells no time to compare with")]
    apart = abs((there - now).total_seconds())
    says = f"this machine and the gateway are about {apart:.0f} s apart"
    if apart > CLOCK_WRONG_S:
        return [Finding("clock", WRONG, says, "set the clock: statements more than 30 s ahead are refused")]
    if apart > CLOCK_LOOK_S:
        return [Finding("clock", LOOK, says, "keep clocks with NTP")]
    return [Finding("clock", FINE, says)]


async def _keys(relay: str, trust: Trust | None, http: AiohttpHTTP) -> list[Finding]:
    """The relay: up, and able to show the gateway's keys with proof; with trust the proof is checked."""
    found = await _ready("relay", relay, http)
    if found[0].state != FINE:
        return found
    if trust is not None:
        return [*found, *await check_relay(relay, trust, http)]
    answer = await _get(http, f"{relay}/v1/ohttp/keys/proof")
    if answer.status != 200:
        do = "nobody can ask through it: are log and full nodes up, and does trust admit the gateway?"
        return [*found, Finding("relay", LOOK, _message(answer.body), do)]
    return [*found, Finding("relay", FINE, "it shows the gateway's keys with proof")]


async def _backlog(network: Network, http: AiohttpHTTP) -> list[Finding]:
    """How much the gateway has signed and not delivered to its log."""
    try:
        answer = await _get(http, f"{network.gateway}/metrics")
    except HoldfastError:
        return []
    waiting = _metric(answer.body.decode("utf-8", "replace"), "holdfast_gateway_outbox_bytes")
    if waiting is None:
        return []
    says = f"{waiting:.0f} bytes of records wait for the log"
    if waiting > BACKLOG_BYTES:
        return [Finding("outbox", LOOK, says, "is the log up? nothing is lost: they are delivered when it is back")]
    return [Finding("outbox", FINE, says)]


def _metric(text: str, name: str) -> float | None:
    """The value of a metric without labels in Prometheus' text format."""
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word == name:
            try:
                return float(value)
            except ValueError:
                return None
    return None


async def _chain(url: str, http: AiohttpHTTP) -> list[Finding]:
    """Whether the settlement chain answers."""
    body = canonical.encode({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []})
    try:
        answer = await http.request("POST", url, body=body, headers={"content-type": "application/json"}, timeout_s=3.0)
        number = int(canonical.decode_object(answer.body)["result"], 16)
    except HoldfastError as error:
        return [Finding("chain", WRONG, error.message, "rounds stop without it; answers go on")]
    except (KeyError, TypeError, ValueError):
        return [Finding("chain", WRONG, f"{url} is no EVM JSON-RPC endpoint", "check the chain's URL")]
    return [Finding("chain", FINE, f"{url} is at block {number}")]


async def check_relay(url: str, trust: Trust, http: HTTP) -> list[Finding]:
    """Whether the relay shows a gateway's keys with a proof that holds (``relay.md`` §4)."""
    from holdfast.client.private import fetch_proof  # noqa: PLC0415 - lazily, like everything with a network

    try:
        keys = verify_keys_proof(await fetch_proof(url, http), trust, dt.datetime.now(dt.UTC))
    except (UnavailableError, UndecidedError) as error:
        return [Finding("relay", LOOK, f"{error.code}: {error.message}", "asking directly does not depend on it")]
    except HoldfastError as error:
        says = f"{url} shows keys that do not hold: {error.code}: {error.message}"
        return [Finding("relay", WRONG, says, "nothing is sealed to them; is the trust document the newest?")]
    says = f"{url} shows the keys of {keys.document.name}, in the log since before {time_encode(keys.logged_by)}"
    return [Finding("relay", FINE, says)]


async def check_tls(url: str, trust: Trust, learn: Learn | None = None) -> list[Finding]:
    """Whether TLS ends at a key that a key document names (``client.md`` §3)."""
    from holdfast.adapters.tls_pinning import fetch_certificate  # noqa: PLC0415

    parts = urlsplit(url)
    try:
        spki = sha256_hex(read_spki(await (learn or fetch_certificate)(parts.hostname or "", parts.port or 443)))
    except HoldfastError as error:
        return [Finding("tls", LOOK, f"{error.code}: {error.message}", "is the gateway listening there?")]
    names = [item.key_document.name for item in trust.current.nodes if item.key_document.tls == spki]
    if not names:
        says = f"{url} ends at the key {spki[:12]}, which no admitted key document names"
        return [Finding("tls", WRONG, says, "clients refuse it: look at tls_certificate, or at who stands between")]
    return [Finding("tls", FINE, f"{url} ends at the key of {', '.join(names)}")]


async def _full_nodes(network: Network, http: AiohttpHTTP) -> list[Finding]:
    """Which full nodes are silent, and whether enough are left to finalise rounds."""
    from holdfast.client.full import HTTPFullNode, ask_all  # noqa: PLC0415 - lazily, like everything with a network

    nodes = network.full_nodes
    if not nodes:
        return []
    answers = await ask_all(*(HTTPFullNode(http, node.url, timeout_s=3.0).status() for node in nodes))
    found = []
    silent = [node for node, answer in zip(nodes, answers, strict=True) if isinstance(answer, HoldfastError)]
    for node, answer in zip(nodes, answers, strict=True):
        if isinstance(answer, HoldfastError):
            found.append(
                Finding(node.name, LOOK, f"silent: {answer.message}", "start it again; it catches up by itself")
            )
            continue
        problems = [f"{log.origin}: {log.problem}" for log in answer.logs if log.problem]
        if problems:
            found.append(Finding(node.name, LOOK, "; ".join(problems), "look at its log"))
    if 3 * (len(nodes) - len(silent)) > 2 * len(nodes):
        found.append(Finding("quorum", FINE, f"{len(nodes) - len(silent)} of {len(nodes)} full nodes answer"))
    else:
        says = f"{len(nodes) - len(silent)} of {len(nodes)} full nodes answer: with equal stake nothing becomes final"
        found.append(Finding("quorum", WRONG, says, "bring full nodes back; answers go on and settle afterwards"))
    return found
