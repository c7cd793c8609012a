"""``holdfast registry``: look at the registry of attested nodes, register nodes, act on it (``registry.md``).

Where the registry is comes from the state folder of ``holdfast up``, or from ``--chain`` and ``--registry``. Commands
that change something are sent by the account whose key ``--account`` names: an owner's for its nodes, a role's for the
rest. A role that a multi-signature wallet or a timelock holds acts through that wallet instead; ``--calldata`` prints
what it has to send.

``check`` judges a submission as a full node does, under a trust document of one's own: exit 0 where it holds, 1 where
it does not, 3 where nobody can tell.

Not covered: keeping a node registered by itself (a gateway does that; ``client/registry.py``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.evm_rpc import EvmConnection, contract_interface
from holdfast.adapters.registry_evm import HEARTBEAT_MAX_AGE_S, EvmRegistry, deploy_registry
from holdfast.adapters.signer_rsa import load_rsa_signer
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.cli.chain_accounts import account_option, load_account
from holdfast.cli.network import DEFAULT_STATE, find_network, missing_trust, parse_url
from holdfast.cli.output import clean, clean_line, emit, emit_json, read_file
from holdfast.cli.times import parse_moment
from holdfast.cli.trust import open_trust
from holdfast.core import evm, opengradient
from holdfast.core.attestation.evidence import FORMATS
from holdfast.core.encoding import hex_decode, time_encode
from holdfast.core.keys import parse_key_document
from holdfast.core.registry import Submission, build_submission, challenge_nonce, claimed_measurement
from holdfast.core.rounds import ChainDomain
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.ports.chain import Inclusion
from holdfast.ports.registry import ADMIN, GATEWAY_KIND, GUARDIAN, RegisteredKind, RegisteredNode
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript

Result = TypeVar("Result")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the registry is, and who asks."""

    chain: str
    registry: str
    views: str | None
    account: Path | None
    trust: Path | None


def _no_account() -> UsageError:
    return UsageError("registry.account", "this changes the registry, and no account was named", hint="--account FILE")


def connect(url: str) -> EvmConnection:
    """The chain's JSON-RPC; one place, so that tests bring a chain of their own."""
    return EvmConnection(url)


def place_options(command: Command) -> Command:
    """Add ``--state``, ``--chain``, ``--registry``, ``--views``, ``--json``; the command receives ``place``."""

    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--chain", "chain", metavar="URL", help="JSON-RPC of the chain, instead of a state folder.")
    @click.option("--registry", "contract", metavar="ADDRESS", help="The registry, with --chain.")
    @click.option("--views", metavar="ADDRESS", help="Its views, with --chain.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
    @functools.wraps(command)
    def found(
        *arguments: Any,
        state: str | None,
        chain: str | None,
        contract: str | None,
        views: str | None,
        account: Path | None = None,
        **options: Any,
    ) -> Any:
        return command(*arguments, place=_place(state, chain, contract, views, account), **options)

    return found


def _place(
    state: str | None, chain: str | None, contract: str | None, views: str | None, account: Path | None
) -> Place:
    if chain is not None and contract is not None and state is None:
        address = evm.parse_address(contract.lower())
        return Place(parse_url(chain, "--chain"), address, views and evm.parse_address(views.lower()), account, None)
    if chain is not None or contract is not None or views is not None:
        raise UsageError("network.which", "--chain and --registry go together, and without --state")
    network = find_network(state, None, None)
    named, beside = network.given.get("registry"), network.given.get("registry_views")
    if network.chain is None or not isinstance(named, str):
        raise UsageError(
            "registry.none", f"{network.described_by} names no registry", hint="--chain URL --registry ADDRESS"
        )
    trust = network.trust_path
    return Place(network.chain, evm.parse_address(named), beside and evm.parse_address(beside), account, trust)


def with_registry(place: Place, work: Callable[[EvmRegistry], Awaitable[Result]]) -> Result:
    """Run a piece of asynchronous work on the registry."""

    async def run() -> Result:
        connection = connect(place.chain)
        try:
            domain = ChainDomain(int(await connection.request("eth_chainId"), 16), place.registry)
            signer = load_account(place.account, _no_account())
            return await work(EvmRegistry(connection, domain, signer, views=place.views))
        finally:
            await connection.close()

    return asyncio.run(run())


def _time(seconds: int) -> str | None:
    return time_encode(dt.datetime.fromtimestamp(seconds, dt.UTC)) if seconds else None


def _seconds(text: str | None) -> int:
    return int(parse_moment(text).timestamp()) if text is not None else 0


def _node_json(node: RegisteredNode) -> dict[str, Any]:
    return {
        "node": node.number,
        "kind": node.kind,
        "active": node.active,
        "endpoint": node.endpoint,
        "owner": node.owner,
        "tee_id": "0x" + node.tee_id.hex() if node.attestation else None,
        "key_document": node.document.hex() if node.attestation else None,
        "attestation": node.attestation or None,
        "pending": node.pending or None,
        "registered_at": _time(node.registered_at),
        "attested_at": _time(node.attested_at),
        "attested_until": _time(node.attested_until),
        "heartbeat_at": _time(node.heartbeat_at),
        "disabled_at": _time(node.disabled_at),
        "revoked_at": _time(node.revoked_at),
        "suspect_since": _time(node.suspect_since),
        "withdrawn_at": _time(node.withdrawn_at),
    }


def _said(inclusion: Inclusion, what: str, *, as_json: bool, **more: Any) -> None:
    if as_json:
        emit_json({**more, "transaction": "0x" + inclusion.transaction, "block": inclusion.block})
    else:
        emit(f"{what} (block {inclusion.block}, transaction 0x{inclusion.transaction})")


@click.group("registry")
def registry() -> None:
    """Look at the registry of attested nodes, register nodes, act on it."""


# --- reading ----------------------------------------------------------------------------------------------------------


@registry.command("list")
@click.option("--kind", default=GATEWAY_KIND, show_default=True, type=click.IntRange(0, 255), help="Kind of node.")
@place_options
def list_nodes(place: Place, kind: int, as_json: bool) -> None:
    """List the nodes of a kind whose attestation was accepted."""
    found = with_registry(place, lambda contract: contract.nodes(kind))
    if as_json:
        emit_json({"registry": place.registry, "nodes": [_node_json(node) for node in found]})
        return
    for node in found:
        state = "active" if node.active else "not active"
        emit(f"{node.number:>4}  {state:<10}  0x{node.tee_id.hex()}  {clean_line(node.endpoint)}")
    if not found:
        emit("no node of this kind was accepted")


@registry.command("show")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@place_options
def show(place: Place, number: int, as_json: bool) -> None:
    """Show one node, and what waits for votes."""

    async def ask(contract: EvmRegistry) -> tuple[RegisteredNode | None, dict[str, Any] | None]:
        node = await contract.node(number)
        record = await contract.attestation(node.pending) if node is not None and node.pending else None
        if record is None:
            return node, None
        return node, {
            "attestation": record.number,
            "submitted_at": _time(record.submitted_at),
            "voters": sorted(record.voters),
            "stake_for": record.stake_for,
            "stake_against": record.stake_against,
        }

    node, waiting = with_registry(place, ask)
    if node is None:
        raise RefusedError("registry.unknown", f"there is no node {number}", status=404)
    shown = _node_json(node)
    if as_json:
        emit_json({**shown, "votes": waiting})
        return
    for name, value in shown.items():
        if value is not None:
            emit(clean_line(f"{name.replace('_', ' '):<16}{str(value).lower() if isinstance(value, bool) else value}"))
    if waiting is not None:
        emit(
            f"{'votes':<16}{waiting['stake_for']} for, {waiting['stake_against']} against, of {len(waiting['voters'])}"
        )


@registry.command("check")
@click.argument("number", metavar="ATTESTATION", type=click.IntRange(min=1))
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@place_options
def check(place: Place, number: int, trust_file: str | None, as_json: bool) -> None:
    """Judge a submission again, as a full node does before it votes."""
    trust = open_trust(trust_file or (str(place.trust) if place.trust else None), None)
    if trust is None:
        raise missing_trust()
    found = with_registry(place, lambda contract: contract.evidence(number))
    record = Transcript()
    at = dt.datetime.fromtimestamp(found.record.submitted_at, dt.UTC)
    circumstances = Circumstances(found.kind, found.record.predecessor, found.record.nonce, at)
    error: HoldfastError | None = None
    try:
        appraise_registration(found.submission, circumstances, trust, record)
    except HoldfastError as caught:
        error = caught
    checks = [item.to_json() for item in record.checks]
    if as_json and error is None:
        emit_json({"attestation": number, "state": found.record.state, "holds": True, "checks": checks})
    for item in [] if as_json else record.checks:
        emit(clean(f"{item.number:>3}  {item.answer:<11} {item.says}"))
    if error is not None:
        raise error
    if not as_json:
        emit(f"attestation {number} holds; the registry has it as {found.record.state}")


@registry.command("valid")
@click.argument("tee_id", metavar="TEE_ID")
@click.option("--at", "moment", metavar="RFC3339", help="A moment that has passed.  [default: now]")
@place_options
def valid(place: Place, tee_id: str, moment: str | None, as_json: bool) -> None:
    """Say whether a key was valid at a time: attested then, and not suspect since. Exit 1 when it was not."""
    key = opengradient.parse_hash(tee_id)
    at = _seconds(moment) or int(SystemClock().now().timestamp()) - 1
    answer = with_registry(place, lambda contract: contract.valid_at(key, at))
    if as_json:
        emit_json({"tee_id": "0x" + key.hex(), "at": _time(at), "valid": answer})
    else:
        emit(f"0x{key.hex()} was {'' if answer else 'not '}valid at {_time(at)}")
    if not answer:
        click.get_current_context().exit(1)


# --- a node's owner ---------------------------------------------------------------------------------------------------


def submission_options(command: Command) -> Command:
    """What a submission is made of; the command receives ``make``, which makes it for an anchor."""

    @click.option("--document", required=True, metavar="FILE", help="The node's key document.")
    @click.option("--certificate", required=True, metavar="FILE", help="Its TLS certificate, PEM or DER.")
    @click.option("--format", "form", required=True, type=click.Choice(FORMATS), help="Format of the evidence.")
    @click.option("--evidence", required=True, metavar="FILE", help="Evidence that answers 'registry challenge'.")
    @click.option("--anchor", required=True, type=click.IntRange(min=0), help="Block that 'registry challenge' named.")
    @functools.wraps(command)
    def found(
        *arguments: Any, document: str, certificate: str, form: str, evidence: str, anchor: int, **options: Any
    ) -> Any:
        raw = read_file(evidence)
        made = build_submission(
            parse_key_document(read_file(document)),
            _der(read_file(certificate)),
            form=form,
            evidence=raw,
            measurement=claimed_measurement(form, raw),
            anchor=anchor,
        )
        return command(*arguments, submission=made, **options)

    return found


def _der(raw: bytes) -> bytes:
    if not raw.lstrip().startswith(b"-----BEGIN"):
        return raw
    try:
        return x509.load_pem_x509_certificate(raw).public_bytes(Encoding.DER)
    except ValueError as error:
        raise MalformedError("registration.certificate", "the certificate does not parse") from error


@registry.command("challenge")
@click.option("--document", required=True, metavar="FILE", help="The node's key document.")
@account_option
@place_options
def challenge(place: Place, document: str, as_json: bool) -> None:
    """Print what evidence has to answer, for the next 256 blocks."""
    digest = bytes.fromhex(parse_key_document(read_file(document)).digest)
    found = with_registry(place, lambda contract: contract.challenge(digest))
    if as_json:
        emit_json({"anchor": found.anchor, "nonce": challenge_nonce(found.nonce).hex()})
    else:
        emit(f"nonce   {challenge_nonce(found.nonce).hex()}\nanchor  {found.anchor}")


@registry.command("register")
@click.option("--kind", default=GATEWAY_KIND, show_default=True, type=click.IntRange(0, 255), help="Kind of node.")
@click.option("--endpoint", required=True, metavar="URL", help="Where clients reach it.")
@submission_options
@account_option
@place_options
def register(place: Place, kind: int, endpoint: str, submission: Submission, as_json: bool) -> None:
    """Ask for a place as a new node; full nodes vote on it."""

    async def act(contract: EvmRegistry) -> tuple[Inclusion, int]:
        done = await contract.register(kind, parse_url(endpoint, "--endpoint"), submission)
        return done, (await contract.nodes_of(contract.account))[-1].number

    done, number = with_registry(place, act)
    _said(done, f"node {number} waits for votes", as_json=as_json, node=number)


@registry.command("attest")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@submission_options
@account_option
@place_options
def attest(place: Place, number: int, submission: Submission, as_json: bool) -> None:
    """Renew a node's attestation, with the key document in force."""
    _submit(place, number, submission, rotates=False, as_json=as_json)


@registry.command("rotate")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@submission_options
@account_option
@place_options
def rotate(place: Place, number: int, submission: Submission, as_json: bool) -> None:
    """Put another key document into force, which names the one before as its predecessor."""
    _submit(place, number, submission, rotates=True, as_json=as_json)


def _submit(place: Place, number: int, submission: Submission, *, rotates: bool, as_json: bool) -> None:
    document = parse_key_document(submission.document)

    async def act(contract: EvmRegistry) -> Inclusion:
        node = await contract.node(number)
        if node is not None and node.attestation:
            in_force = node.document.hex()
            if rotates and document.predecessor != in_force:
                raise RefusedError("registration.predecessor", "the key document does not name the one in force")
            if not rotates and document.digest != in_force:
                raise RefusedError(
                    "registration.predecessor", "another key document is in force", hint="registry rotate"
                )
        return await contract.attest(number, submission)

    _said(with_registry(place, act), f"node {number} waits for votes", as_json=as_json, node=number)


@registry.command("heartbeat")
@click.option("--key", "key_file", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help="The node's OpenGradient key (RSA, PEM).")  # fmt: skip
@click.option("--at", "moment", metavar="RFC3339", help="Its time.  [default: a minute ago]")
@account_option
@place_options
def heartbeat(place: Place, key_file: Path, moment: str | None, as_json: bool) -> None:
    """Sign and send one heartbeat."""
    signer = load_rsa_signer(key_file)
    tee_id = opengradient.tee_id_of(signer.key.public)
    at = _seconds(moment) or int(SystemClock().now().timestamp()) - 60
    signature = signer.sign(opengradient.heartbeat_hash(tee_id, at))
    done = with_registry(place, lambda contract: contract.heartbeat(tee_id, at, signature))
    _said(done, f"0x{tee_id.hex()} beat at {_time(at)}", as_json=as_json, tee_id="0x" + tee_id.hex(), at=_time(at))


@registry.command("endpoint")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@click.argument("url", metavar="URL")
@account_option
@place_options
def endpoint(place: Place, number: int, url: str, as_json: bool) -> None:
    """Say where an own node is reached now."""
    moved = parse_url(url, "URL")
    done = with_registry(place, lambda contract: contract.set_endpoint(number, moved))
    _said(done, f"node {number} is at {clean_line(moved)}", as_json=as_json, node=number)


@registry.command("disable")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@click.option("--at", "moment", metavar="RFC3339", help="From when on.  [default: now]")
@account_option
@place_options
def disable(place: Place, number: int, moment: str | None, as_json: bool) -> None:
    """Send nobody to a node; by its owner or a role. What it signed stays good."""
    done = with_registry(place, lambda contract: contract.disable(number, _seconds(moment)))
    _said(done, f"node {number} is disabled", as_json=as_json, node=number)


@registry.command("enable")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@account_option
@place_options
def enable(place: Place, number: int, as_json: bool) -> None:
    """Take back that a node is disabled."""
    done = with_registry(place, lambda contract: contract.enable(number))
    _said(done, f"node {number} is enabled", as_json=as_json, node=number)


@registry.command("withdraw")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@account_option
@place_options
def withdraw(place: Place, number: int, as_json: bool) -> None:
    """Take an own node out for good. What it signed stays good; its keys never return."""
    done = with_registry(place, lambda contract: contract.withdraw(number))
    _said(done, f"node {number} is withdrawn", as_json=as_json, node=number)


# --- roles ------------------------------------------------------------------------------------------------------------


def role_options(command: Command) -> Command:
    """``--account`` or ``--calldata``: a role that is a contract acts through its own wallet."""

    @click.option("--account", metavar="FILE", type=click.Path(path_type=Path), help="Key of the account that sends.")
    @click.option("--calldata", is_flag=True, help="Send nothing: print what a wallet has to send to the registry.")
    @place_options
    @functools.wraps(command)
    def found(*arguments: Any, place: Place, calldata: bool, as_json: bool, **options: Any) -> None:
        what, function, values = command(*arguments, **options)
        if calldata:
            data = "0x" + contract_interface("Registry").call_data(function, values).hex()
            if as_json:
                emit_json({"to": place.registry, "value": "0", "data": data})
            else:
                emit(f"to    {place.registry}\ndata  {data}")
            return
        if place.account is None:
            raise _no_account()
        _said(with_registry(place, lambda contract: contract.transact(function, *values)), what, as_json=as_json)

    return found


Call = tuple[str, str, tuple[Any, ...]]
"""What was done in words, the contract's function, its arguments."""


@registry.command("revoke")
@click.argument("number", metavar="NODE", type=click.IntRange(min=1))
@click.option("--suspect-since", metavar="RFC3339", help="Believe nothing it signed since.  [default: now]")
@role_options
def revoke(number: int, suspect_since: str | None) -> Call:
    """Take a node out for good; admin or guardian."""
    return f"node {number} is revoked", "revoke", (number, _seconds(suspect_since))


@registry.command("kind")
@click.argument("number", metavar="KIND", type=click.IntRange(0, 255))
@click.argument("name", metavar="NAME")
@click.argument("interval_s", metavar="SECONDS", type=click.IntRange(min=1))
@role_options
def kind(number: int, name: str, interval_s: int) -> Call:
    """Add or change a kind of node and how often its nodes are attested; admin."""
    made = RegisteredKind(number, name, interval_s)
    return f"kind {made.kind} is {clean_line(made.name)}", "set_kind", (made.kind, made.name, made.interval_s)


@registry.command("approve")
@click.argument("measurement", metavar="HASH")
@click.option("--kind", "number", default=GATEWAY_KIND, show_default=True, type=click.IntRange(0, 255), help="Kind.")
@click.option("--software", required=True, metavar="TEXT", help="What was measured, for people.")
@click.option("--at", "moment", metavar="RFC3339", help="From when on.  [default: now]")
@role_options
def approve(measurement: str, number: int, software: str, moment: str | None) -> Call:
    """Let nodes of a kind have a measurement (registry.md §3); admin."""
    digest = hex_decode(measurement.removeprefix("0x"), 32)
    return "it is approved", "approve_measurement", (number, digest, software, _seconds(moment))


@registry.command("disapprove")
@click.argument("measurement", metavar="HASH")
@click.option("--kind", "number", default=GATEWAY_KIND, show_default=True, type=click.IntRange(0, 255), help="Kind.")
@click.option("--at", "moment", metavar="RFC3339", help="From when on.  [default: now]")
@click.option("--suspect-since", metavar="RFC3339", help="Believe nothing signed under it since.  [default: as --at]")
@role_options
def disapprove(measurement: str, number: int, moment: str | None, suspect_since: str | None) -> Call:
    """Let no node have a measurement any more, for good; admin or guardian."""
    digest = hex_decode(measurement.removeprefix("0x"), 32)
    return "it is revoked", "revoke_measurement", (number, digest, _seconds(moment), _seconds(suspect_since))


_ROLES = {ADMIN: 0, GUARDIAN: 1}


@registry.command("offer-role")
@click.argument("role", type=click.Choice(list(_ROLES)))
@click.argument("address", metavar="ADDRESS")
@role_options
def offer_role(role: str, address: str) -> Call:
    """Offer a role to another address, which then accepts it."""
    return f"the role {role} is offered", "offer_role", (_ROLES[role], evm.parse_address(address.lower()))


@registry.command("accept-role")
@click.argument("role", type=click.Choice(list(_ROLES)))
@role_options
def accept_role(role: str) -> Call:
    """Accept a role that was offered."""
    return f"the role {role} is accepted", "accept_role", (_ROLES[role],)


@registry.command("deploy")
@click.option("--chain", "url", required=True, metavar="URL", help="JSON-RPC of the chain.")
@click.option("--rounds", required=True, metavar="ADDRESS", help="The Rounds contract whose members vote.")
@click.option("--admin", required=True, metavar="ADDRESS", help="Who approves measurements: a timelock, best.")
@click.option(
    "--guardian", required=True, metavar="ADDRESS", help="Who revokes at once: a multi-signature wallet, best."
)
@click.option("--heartbeat-max-age", "max_age_s", default=HEARTBEAT_MAX_AGE_S, show_default=True,
              type=click.IntRange(min=60), help="Seconds a heartbeat keeps a node active.")  # fmt: skip
@click.option("--account", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Key that pays.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def deploy(url: str, rounds: str, admin: str, guardian: str, max_age_s: int, account: Path, as_json: bool) -> None:
    """Deploy a registry beside a Rounds contract; whoever deploys it keeps no power."""
    holders = evm.parse_address(admin.lower()), evm.parse_address(guardian.lower())

    async def run() -> dict[str, Any]:
        connection = connect(parse_url(url, "--chain"))
        try:
            domain = ChainDomain(int(await connection.request("eth_chainId"), 16), evm.parse_address(rounds.lower()))
            made = await deploy_registry(
                connection,
                load_signer(account, "account"),
                domain,
                admin=holders[0],
                guardian=holders[1],
                heartbeat_max_age_s=max_age_s,
            )
            return {
                "chain_id": domain.chain_id,
                "registry": made.registry.contract,
                "views": made.views,
                "signatures": made.signatures,
                "block": made.block,
            }
        finally:
            await connection.close()

    made = asyncio.run(run())
    if as_json:
        emit_json(made)
        return
    for name, value in made.items():
        emit(f"{name.replace('_', ' '):<12}{value}")
