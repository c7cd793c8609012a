"""``holdfast onchain``: ask the contract ``Inference`` for a run and wait for it, take requests back, take money out
(``onchain.md``). Verifier contracts of circuits are ``cli/onchain_verifier.py``, workflows ``cli/onchain_workflow.py``.

Where the contract is comes from the state folder of ``holdfast up``, or from ``--chain`` and ``--contract``. Commands
that change something are sent by the account whose key ``--account`` names, which pays fee and gas. What a result rests
on is told with it; checking it again is for a bundle (``holdfast verify``).

Not covered: serving requests (a gateway does that).
"""

from __future__ import annotations

import asyncio
from typing import Any

import click

from holdfast.adapters.asks_evm import EvmAsks
from holdfast.cli.chain_accounts import account_option
from holdfast.cli.onchain_place import Place, place_options, with_asks
from holdfast.cli.onchain_verifier import deploy, verify
from holdfast.cli.onchain_workflow import workflow
from holdfast.cli.output import clean, emit, emit_json, read_file
from holdfast.core import canonical, evm
from holdfast.core.asks import PROVED, Ending, Requested, document_of, pack_parts, unpack_parts
from holdfast.core.encoding import hex_decode
from holdfast.core.inference import MODES, parse_inference
from holdfast.core.parts import map_parts
from holdfast.errors import RefusedError, UndecidedError, UsageError

LOOK_S = 0.5
"""Pause between two looks at the chain while a request is open."""
_MODES = ("VANILLA", "ZKML", "TEE")
"""Their numbers in the contract, in order (``onchain.md`` §6)."""
assert set(_MODES) == set(MODES)  # noqa: S101 (one list of modes, in two orders)


def _identity(text: str) -> bytes:
    return hex_decode(text.removeprefix("0x"), 32)


async def _find(asks: EvmAsks, place: Place, identity: bytes) -> Requested:
    found = await asks.find(identity, place.first_block)
    if found is None:
        raise RefusedError("onchain.unknown", "the contract knows no such request", status=404)
    return found


def _shown(requested: Requested, state: str, ending: Ending | None) -> dict[str, Any]:
    """A request as ``--json`` shows it."""
    ask = requested.ask
    value: dict[str, Any] = {
        "id": "0x" + requested.identity.hex(),
        "state": state,
        "asker": ask.asker,
        "node": None if ask.node == evm.ZERO_ADDRESS else ask.node,
        "target": None if ask.target == evm.ZERO_ADDRESS else ask.target,
        "fee": str(ask.fee),
        "deadline": ask.deadline,
        "block": requested.block,
    }
    if ending is not None:
        value |= {"reason": ending.reason or None, "ended_block": ending.block}
    if ending is not None and ending.response:
        closing, computed, route, *numbers = ending.closure
        value |= {
            "payee": ending.payee,
            "mode": _MODES[ending.mode],
            "proved": ending.proof == PROVED,
            "called": ending.called,
            "statements": [digest.hex() for digest in (computed, route, closing)],
            "rounds": sorted(set(numbers)),
            "response": canonical.decode(document_of(unpack_parts(ending.response), "response")),
        }
    return value


def _emit(value: dict[str, Any]) -> None:
    """The same for a person."""
    emit(f"{value['state']}: request {value['id']}")
    if value.get("reason"):
        emit(clean(f"  reason      {value['reason']}"))
    if "response" in value:
        emit(f"  mode        {value['mode']}{', proved' if value['proved'] else ''}")
        emit(f"  final in    round {', '.join(map(str, value['rounds']))}")
        for name, digest in zip(("computed", "route", "closing"), value["statements"], strict=True):
            emit(f"  {name:<12}{digest}")
        if value["target"] is not None:
            emit(f"  target      {value['target']} {'took it' if value['called'] else 'did not take it'}")
        for name, tensor in value["response"]["outputs"].items():
            shape = "x".join(map(str, tensor["shape"])) or "scalar"
            emit(clean(f"  {name}  {tensor['dtype']} {shape}  {tensor.get('data', tensor.get('base64'))}"))


@click.group("onchain")
def onchain() -> None:
    """Ask for runs of models on a chain, take requests back, take money out, have contracts check proofs, keep
    workflows."""


for added in (deploy, verify, workflow):
    onchain.add_command(added)


@onchain.command("infer")
@click.argument("document", metavar="DOCUMENT")
@click.option("--node", metavar="ADDRESS", help="Who alone may serve it; 'anybody' for whoever does.  [default: the network's]")  # noqa: E501  # fmt: skip
@click.option("--artifact", metavar="DIGEST", help="The artifact that has to run.  [default: what the label means]")
@click.option("--target", metavar="ADDRESS", help="Contract that is called with the result.")
@click.option("--gas", default=0, type=click.IntRange(0, 10_000_000), help="Gas of that call.")
@click.option("--fee", default="0", show_default=True, metavar="N", help="What the run is worth, in base units.")
@click.option("--period", default=3600, show_default=True, type=click.IntRange(1, 30 * 86_400), help="Seconds until it expires.")  # noqa: E501  # fmt: skip
@click.option("--no-wait", is_flag=True, help="Return once the request is in a block.")
@account_option
@place_options
def infer(
    place: Place,
    document: str,
    node: str | None,
    artifact: str | None,
    target: str | None,
    gas: int,
    fee: str,
    period: int,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Ask for the run that a JSON DOCUMENT describes, as POST /v1/infer takes it, and wait until it is final.

    Exit 0 when it was fulfilled, 1 when it ended otherwise.
    """
    value = canonical.decode_exact(read_file(document))
    parse_inference(value)
    packed = pack_parts(map_parts("request", value))
    if not fee.isascii() or not fee.isdigit():
        raise UsageError("onchain.fee", "a fee is a decimal number of base units", param="fee")
    served_by = place.node if node is None else evm.ZERO_ADDRESS if node == "anybody" else evm.parse_address(node)

    async def ask(asks: EvmAsks) -> tuple[Requested, str, Ending | None]:
        made = await asks.request(
            packed,
            artifact=bytes(32) if artifact is None else hex_decode(artifact.removeprefix("sha256:"), 32),
            node=served_by,
            target=evm.ZERO_ADDRESS if target is None else evm.parse_address(target.lower()),
            gas_limit=gas,
            period_s=period,
            fee=int(fee),
        )
        click.echo(f"requested in block {made.block}: 0x{made.identity.hex()}", err=True)
        if no_wait:
            return made, "open", None
        return made, *await _wait(asks, made)

    made, state, ending = with_asks(place, ask)
    _tell(_shown(made, state, ending), as_json=as_json)
    if state not in ("fulfilled", "open"):
        raise click.exceptions.Exit(1)  # what was told says why


async def _wait(asks: EvmAsks, made: Requested) -> tuple[str, Ending]:
    """Until the request ended; raises ``onchain.deadline`` when its deadline is over before."""
    looks = 0
    while True:
        ending = await asks.ending(made.identity, made.block)
        if ending is not None:
            return ending.state, ending
        left = made.ask.deadline - await asks.now()
        if left < 0:
            raise UndecidedError(
                "onchain.deadline",
                "nobody fulfilled the request before its deadline",
                hint=f"holdfast onchain cancel 0x{made.identity.hex()} gives the fee back",
            )
        if looks % 10 == 0:
            click.echo(f"open: it is run and waits to be final; expires in {left} s", err=True)
        looks += 1
        await asyncio.sleep(LOOK_S)


def _tell(value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(value)
    else:
        _emit(value)


@onchain.command("show")
@click.argument("identity", metavar="REQUEST")
@place_options
def show(place: Place, identity: str, as_json: bool) -> None:
    """Show a request: how it stands, and its result."""

    async def look(asks: EvmAsks) -> dict[str, Any]:
        found = await _find(asks, place, _identity(identity))
        state = await asks.state(found.identity)
        return _shown(found, state, await asks.ending(found.identity, found.block))

    _tell(with_asks(place, look), as_json=as_json)


@onchain.command("cancel")
@click.argument("identity", metavar="REQUEST")
@account_option
@place_options
def cancel(place: Place, identity: str, as_json: bool) -> None:
    """Take an open request of yours back; its fee can be withdrawn then."""

    async def end(asks: EvmAsks) -> dict[str, Any]:
        found = await _find(asks, place, _identity(identity))
        if await asks.now() > found.ask.deadline:
            await asks.expire(found.ask)
        else:
            await asks.cancel(found.ask)
        return _shown(found, await asks.state(found.identity), await asks.ending(found.identity, found.block))

    _tell(with_asks(place, end), as_json=as_json)


@onchain.command("withdraw")
@click.option("--for", "owner", metavar="ADDRESS", help="Pay somebody else out.  [default: the account that sends]")
@account_option
@place_options
def withdraw(place: Place, owner: str | None, as_json: bool) -> None:
    """Take out what an account is owed: fees that it earned, fees that went back."""

    async def pay(asks: EvmAsks) -> tuple[str, int]:
        account = asks.account if owner is None else evm.parse_address(owner.lower())
        amount = await asks.owed(account)
        await asks.withdraw(account)
        return account, amount

    account, amount = with_asks(place, pay)
    if as_json:
        emit_json({"account": account, "amount": str(amount)})
    else:
        emit(f"{amount} base units were paid to {account}")
