"""``holdfast onchain workflow``: a question that a contract asks again and again, and the answers that it keeps
(``onchain.md`` §12).

A result is always told with how it stands at the newest block, and with the round that it rests on. ``run --keep``
stays and runs a workflow whenever it is due; nothing else here does so.

Not covered: workflows off the chain (``holdfast workflow``).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import click

from holdfast.adapters.asks_evm import EvmAsks
from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection
from holdfast.adapters.workflow_evm import HISTORY, EvmWorkflow, Terms, deploy_workflow, require_workflow
from holdfast.cli.chain_accounts import account_option
from holdfast.cli.onchain_place import Place, place_options, with_chain
from holdfast.cli.output import clean, emit, emit_json, read_file
from holdfast.core import canonical, evm
from holdfast.core.asks import document_of, pack_parts, unpack_parts
from holdfast.core.encoding import hex_decode, time_encode
from holdfast.core.flows import MODES, Kept
from holdfast.core.inference import parse_inference
from holdfast.core.parts import map_parts
from holdfast.core.rounds import ChainDomain
from holdfast.errors import RefusedError, UsageError

LOOK_S = 1.0
"""Pause between two looks at the chain while ``run --keep`` waits."""
_PASSING = ("flow.early", "flow.open")
"""What passes by itself."""


@click.group("workflow")
def workflow() -> None:
    """Have a contract ask the same again and again, and keep the answers with how they stand."""


@workflow.command("deploy")
@click.argument("document", metavar="DOCUMENT")
@click.option("--every", "every_s", default=3600, show_default=True, type=click.IntRange(min=0), help="Seconds between two runs, at least.")  # noqa: E501  # fmt: skip
@click.option("--node", metavar="ADDRESS", help="Who alone may serve it; 'anybody' for whoever does.  [default: the network's]")  # noqa: E501  # fmt: skip
@click.option("--artifact", metavar="DIGEST", help="The artifact that has to run.  [default: what the label means]")
@click.option("--fee", default="0", show_default=True, metavar="N", help="What each run is worth, in base units.")
@click.option("--period", default=3600, show_default=True, type=click.IntRange(1, 30 * 86_400), help="Seconds until a request expires.")  # noqa: E501  # fmt: skip
@account_option
@place_options
def deploy(
    place: Place,
    document: str,
    every_s: int,
    node: str | None,
    artifact: str | None,
    fee: str,
    period: int,
    as_json: bool,
) -> None:
    """Make a workflow contract that asks the run that a JSON DOCUMENT describes. The account owns it."""
    value = canonical.decode_exact(read_file(document))
    parse_inference(value)
    packed = pack_parts(map_parts("request", value))
    cost = _amount(fee, "--fee")
    served_by = place.node if node is None else evm.ZERO_ADDRESS if node == "anybody" else evm.parse_address(node)

    async def make(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> str:
        contract, _ = await deploy_workflow(
            connection,
            account,
            asks,
            packed,
            artifact=bytes(32) if artifact is None else hex_decode(artifact.removeprefix("sha256:"), 32),
            node=served_by,
            fee=cost,
            every_s=every_s,
            period_s=period,
        )
        return contract

    contract = with_chain(place, make)
    if as_json:
        emit_json({"workflow": contract})
    else:
        emit(f"workflow {contract}")
        if cost:
            emit(f"each run costs {fee} base units: holdfast onchain workflow fund {contract} AMOUNT")


@workflow.command("run")
@click.argument("address", metavar="ADDRESS")
@click.option("--keep", is_flag=True, help="Stay, and run it whenever it is due.")
@account_option
@place_options
def run(place: Place, address: str, keep: bool, as_json: bool) -> None:
    """Have a workflow ask once more, if it is due. Anybody may; the fee is the workflow's, the gas the account's."""
    contract = evm.parse_address(address.lower())

    async def once(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> None:
        flow = await _open(connection, asks, account, contract)
        while True:
            try:
                await _end_overdue(EvmAsks(connection, asks, account), flow, place.first_block)
                identity = await flow.run()
            except RefusedError as error:
                if not keep or error.code not in _PASSING:
                    raise
                await asyncio.sleep(LOOK_S)
                continue
            if as_json:
                emit_json({"request": "0x" + identity.hex()})
            else:
                emit(f"asked: 0x{identity.hex()}")
            if not keep:
                return

    with_chain(place, once)


async def _end_overdue(asks: EvmAsks, flow: EvmWorkflow, first_block: int) -> None:
    """A request that nobody served in time stands in the way of the next until somebody says so."""
    terms = await flow.terms()
    if terms.open_request == bytes(32) or await asks.state(terms.open_request) != "open":
        return
    found = await asks.find(terms.open_request, first_block)
    if found is not None and await asks.now() > found.ask.deadline:
        await asks.expire(found.ask)


@workflow.command("show")
@click.argument("address", metavar="ADDRESS")
@place_options
def show(place: Place, address: str, as_json: bool) -> None:
    """Show what a workflow asks, when it is due, and its newest result with how it stands."""
    contract = evm.parse_address(address.lower())

    async def look(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> tuple[Terms, Kept | None]:
        flow = await _open(connection, asks, account, contract)
        return await flow.terms(), await flow.result()

    terms, kept = with_chain(place, look)
    value = {"workflow": contract, **_terms(terms), "result": None if kept is None else _kept(kept)}
    if as_json:
        emit_json(value)
        return
    emit(f"workflow {contract}{', stopped' if terms.stopped else ''}")
    emit(clean(f"  owner       {terms.owner}"))
    emit(f"  every       {terms.every} s, fee {terms.fee}, holds {terms.balance} base units")
    emit(f"  due         {value['due']}; {terms.results} results so far")
    if kept is None:
        emit("  result      none yet")
    else:
        _emit(_kept(kept))


@workflow.command("history")
@click.argument("address", metavar="ADDRESS")
@click.option("--limit", default=HISTORY, show_default=True, type=click.IntRange(1, HISTORY), help="How many.")
@place_options
def history(place: Place, address: str, limit: int, as_json: bool) -> None:
    """Show the newest results that a workflow keeps, newest first, each with how it stands now."""
    contract = evm.parse_address(address.lower())

    async def look(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> list[Kept]:
        return await (await _open(connection, asks, account, contract)).history(limit)

    found = [_kept(kept) for kept in with_chain(place, look)]
    if as_json:
        emit_json({"workflow": contract, "results": found})
        return
    if not found:
        emit("none yet")
    for value in found:
        _emit(value)


@workflow.command("fund")
@click.argument("address", metavar="ADDRESS")
@click.argument("amount", metavar="AMOUNT")
@account_option
@place_options
def fund(place: Place, address: str, amount: str, as_json: bool) -> None:
    """Give a workflow AMOUNT base units for its runs."""
    contract, sum_ = evm.parse_address(address.lower()), _amount(amount, "AMOUNT")

    async def give(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> int:
        flow = await _open(connection, asks, account, contract)
        await flow.fund(sum_)
        return (await flow.terms()).balance

    _tell_balance(contract, with_chain(place, give), as_json=as_json)


@workflow.command("withdraw")
@click.argument("address", metavar="ADDRESS")
@click.argument("amount", metavar="AMOUNT")
@account_option
@place_options
def withdraw(place: Place, address: str, amount: str, as_json: bool) -> None:
    """Take AMOUNT base units out of a workflow of yours; fees that went back to it are collected first."""
    contract, sum_ = evm.parse_address(address.lower()), _amount(amount, "AMOUNT")

    async def take(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> int:
        flow = await _open(connection, asks, account, contract)
        back = EvmAsks(connection, asks, account)
        if await back.owed(contract):
            await back.withdraw(contract)
        await flow.transact("withdraw", sum_)
        return (await flow.terms()).balance

    _tell_balance(contract, with_chain(place, take), as_json=as_json)


@workflow.command("stop")
@click.argument("address", metavar="ADDRESS")
@account_option
@place_options
def stop(place: Place, address: str, as_json: bool) -> None:
    """Have a workflow of yours ask no more, for good. What it keeps stays."""
    contract = evm.parse_address(address.lower())

    async def end(connection: EvmConnection, asks: ChainDomain, account: EvmAccount) -> None:
        await (await _open(connection, asks, account, contract)).transact("stop")

    with_chain(place, end)
    if as_json:
        emit_json({"workflow": contract, "stopped": True})
    else:
        emit(f"stopped: {contract}")


async def _open(connection: EvmConnection, asks: ChainDomain, account: EvmAccount, contract: str) -> EvmWorkflow:
    """The workflow at an address; raises ``flow.none`` and ``flow.inference``."""
    require_workflow(await connection.request("eth_getCode", contract, "latest"))
    flow = EvmWorkflow(connection, ChainDomain(asks.chain_id, contract), account)
    if (await flow.terms()).inference != asks.contract:
        raise RefusedError("flow.inference", "this workflow believes another contract than the network's")
    return flow


def _amount(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError("onchain.amount", f"{name} is a decimal number of base units", param=name)
    return int(text)


def _tell_balance(contract: str, balance: int, *, as_json: bool) -> None:
    if as_json:
        emit_json({"workflow": contract, "balance": str(balance)})
    else:
        emit(f"{contract} holds {balance} base units")


def _time(seconds: int) -> str:
    return time_encode(datetime.fromtimestamp(seconds, UTC))


def _terms(terms: Terms) -> dict[str, Any]:
    document = document_of(unpack_parts(terms.document), "request")
    return {
        "owner": terms.owner,
        "node": None if terms.node == evm.ZERO_ADDRESS else terms.node,
        "artifact": terms.artifact.hex() if any(terms.artifact) else None,
        "fee": str(terms.fee),
        "every": terms.every,
        "period": terms.period,
        "stopped": terms.stopped,
        "due": "now" if terms.due == 0 else _time(terms.due),
        "results": terms.results,
        "balance": str(terms.balance),
        "document": canonical.decode(document),
    }


def _kept(kept: Kept) -> dict[str, Any]:
    response = canonical.decode(document_of(unpack_parts(kept.response), "response")) if kept.response else None
    return {
        "stands": kept.stands,
        "round": kept.round,
        "at": _time(kept.at),
        "mode": MODES[kept.mode],
        "request": "0x" + kept.identity.hex(),
        "statement": kept.statement.hex(),
        "response_hash": "0x" + kept.response_hash.hex(),
        "response": response,
    }


def _emit(value: dict[str, Any]) -> None:
    emit(f"{value['stands']}: round {value['round']}, {value['at']}, {value['mode']}")
    emit(f"  request     {value['request']}")
    emit(f"  closing     {value['statement']}")
    if value["response"] is None:
        emit(f"  response    too long to be kept; its hash is {value['response_hash']}")
        return
    for name, tensor in value["response"]["outputs"].items():
        shape = "x".join(map(str, tensor["shape"])) or "scalar"
        emit(clean(f"  {name}  {tensor['dtype']} {shape}  {tensor.get('data', tensor.get('base64'))}"))
