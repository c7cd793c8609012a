"""``holdfast onchain``: a person asks for a run on a chain, waits for it, takes it back, is paid out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.cli import onchain as command
from holdfast.cli import onchain_place
from holdfast.core.asks import Requested, build_fulfilment
from tests.cli.conftest import Outcome
from tests.helpers.asks import REQUEST, AskWorld
from tests.helpers.chain_thread import ChainThread
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.processes import wait_for

pytestmark = NEEDS_MACHINE
Holdfast = Callable[..., Outcome]
ASKER = ("--account", "account-4.key")


class Node(ChainThread[AskWorld]):
    """The chain with the contract, and who serves it: whatever is asked is fulfilled or refused at once."""

    def __init__(self) -> None:
        super().__init__(AskWorld())
        self.answers = "fulfils"
        self.do(self.chain.open())
        self.work = asyncio.run_coroutine_threadsafe(self._serve(), self.loop)

    async def _serve(self) -> None:
        world, first = self.chain, 0
        while True:
            await asyncio.sleep(0.01)
            height = world.chain.head.number
            for requested in await world.user(0).requested(first, height):
                await self._answer(requested)
            first = height + 1

    async def _answer(self, requested: Requested) -> None:
        world, user = self.chain, self.chain.user(0)
        if self.answers == "refuses":
            await user.refuse(requested.ask, "infer.limits")
        elif self.answers == "fulfils":
            run = world.run_for(requested)
            final = await world.settle_run(run)
            await user.fulfil(
                build_fulfilment(requested.ask, user.account, requested.packed, run.request, run.response, final)
            )

    def close(self) -> None:
        self.work.cancel()
        super().close()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A chain, the network's description in ``.holdfast``, keys of accounts, and a request."""
    found = Node()
    monkeypatch.setattr(onchain_place, "connect", lambda _: EvmConnection("memory:", provider=found))
    monkeypatch.setattr(command, "LOOK_S", 0.01)
    secrets = {Secp256k1Signer(bytes([number]) * 32).address: bytes([number]) * 32 for number in range(1, 6)}
    for index, signer in enumerate(found.chain.signers):
        path = tmp_path / f"account-{index}.key"
        path.write_text(secrets[signer.address].hex() + "\n")
        path.chmod(0o600)
    (tmp_path / "request.json").write_bytes(REQUEST)
    (tmp_path / ".holdfast").mkdir()
    described = {
        "gateway": "http://127.0.0.1:1",
        "chain": "http://127.0.0.1:2",
        "asks": found.chain.asks.contract,
        "asks_node": found.chain.signers[0].address,
        "asks_block": 0,
    }
    (tmp_path / ".holdfast" / "network.json").write_text(json.dumps(described))
    yield found
    found.close()


def told(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def code_of(outcome: Outcome) -> str:
    return outcome.err.partition("error: ")[2].partition(":")[0]


def test_what_is_no_request_is_sent_to_no_chain(holdfast: Holdfast, node: Node, tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_bytes(b'{"model":"m","inputs":{}}')
    before = node.chain.chain.head.number
    for arguments, exit_code, code in (
        (["wrong.json", *ASKER], 1, "infer.inputs"),
        (["request.json", *ASKER, "--fee", "1.5"], 2, "onchain.fee"),
        (["request.json", *ASKER, "--chain", "http://127.0.0.1:2"], 2, "network.which"),
        (["request.json", *ASKER, "--node", "nobody"], 1, "evm.address"),
    ):
        outcome = holdfast("onchain", "infer", *arguments)
        assert (outcome.code, code_of(outcome)) == (exit_code, code)
    assert node.chain.chain.head.number == before


def test_a_network_without_the_contract_says_so(holdfast: Holdfast, node: Node, tmp_path: Path) -> None:
    path = tmp_path / ".holdfast" / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"asks": None}))
    outcome = holdfast("onchain", "show", "00" * 32)
    assert (outcome.code, code_of(outcome)) == (2, "onchain.none")


def test_a_request_that_is_refused_is_told_with_its_reason(holdfast: Holdfast, node: Node) -> None:
    node.answers = "refuses"
    outcome = holdfast("onchain", "infer", "request.json", *ASKER, "--fee", "500")
    assert outcome.code == 1
    assert outcome.out.startswith("refused: request 0x")
    assert "reason      infer.limits" in outcome.out
    paid = holdfast("onchain", "withdraw", *ASKER)
    assert paid.out == f"500 base units were paid to {node.chain.signers[4].address}\n"
    assert code_of(holdfast("onchain", "withdraw", *ASKER)) == "ask.owed"


def test_a_request_is_waited_for_and_its_result_told(holdfast: Holdfast, node: Node) -> None:
    outcome = holdfast("onchain", "infer", "request.json", *ASKER, "--fee", "500", "--json")
    assert outcome.code == 0, outcome.err
    assert "requested in block" in outcome.err
    found = told(outcome)
    assert (found["state"], found["mode"], found["fee"]) == ("fulfilled", "VANILLA", "500")
    assert found["payee"] == node.chain.signers[0].address
    assert found["response"]["outputs"]["y"]["data"] == [3.5]
    assert len(found["statements"]) == 3
    shown = holdfast("onchain", "show", found["id"], "--json")
    assert told(shown) == found
    text = holdfast("onchain", "show", found["id"]).out
    assert "final in    round 1" in text
    assert "y  float32 1  [3.5]" in text
    paid = holdfast("onchain", "withdraw", "--for", found["payee"], *ASKER, "--json")
    assert told(paid) == {"account": found["payee"], "amount": "500"}


def test_an_open_request_is_cancelled_by_its_asker_alone(holdfast: Holdfast, node: Node) -> None:
    node.answers = "nothing"
    made = told(holdfast("onchain", "infer", "request.json", *ASKER, "--no-wait", "--json"))
    assert made["state"] == "open"
    refused = holdfast("onchain", "cancel", made["id"], "--account", "account-1.key")
    assert (refused.code, code_of(refused)) == (1, "ask.asker")
    assert told(holdfast("onchain", "cancel", made["id"], *ASKER, "--json"))["state"] == "cancelled"
    assert code_of(holdfast("onchain", "cancel", made["id"], *ASKER)) == "ask.open"
    assert code_of(holdfast("onchain", "show", "11" * 32)) == "onchain.unknown"


def test_a_request_that_nobody_serves_is_undecided_and_expires(holdfast: Holdfast, node: Node) -> None:
    node.answers = "nothing"

    async def later() -> None:
        while True:
            if node.chain.chain.head.number != before:
                break
            await asyncio.sleep(0.01)
        node.chain.clock.time += 100
        await node.chain.mine()

    before = node.chain.chain.head.number
    passing = asyncio.run_coroutine_threadsafe(later(), node.loop)
    outcome = holdfast("onchain", "infer", "request.json", *ASKER, "--period", "50", "--fee", "7")
    passing.result(10)
    assert (outcome.code, code_of(outcome)) == (3, "onchain.deadline")
    identity = outcome.err.partition(": ")[2].split()[0]
    assert told(holdfast("onchain", "cancel", identity, *ASKER, "--json"))["state"] == "expired"


# --- workflows --------------------------------------------------------------------------------------------------------


def deployed(holdfast: Holdfast, *options: str) -> str:
    made = holdfast("onchain", "workflow", "deploy", "request.json", *ASKER, *options, "--json")
    assert made.code == 0, made.err
    return str(told(made)["workflow"])


def test_a_workflow_that_is_none_is_refused(holdfast: Holdfast, node: Node) -> None:
    nobody = "0x" + "11" * 20
    assert code_of(holdfast("onchain", "workflow", "show", nobody)) == "flow.none"
    assert code_of(holdfast("onchain", "workflow", "run", nobody, *ASKER)) == "flow.none"
    bad = holdfast("onchain", "workflow", "deploy", "request.json", *ASKER, "--fee", "1.5")
    assert (bad.code, code_of(bad)) == (2, "onchain.amount")
    paid = holdfast("onchain", "workflow", "deploy", "request.json", *ASKER, "--fee", "5", "--every", "0")
    assert code_of(paid) == "flow.every"


def test_a_workflow_is_run_when_it_is_due_and_its_result_told_with_how_it_stands(
    holdfast: Holdfast, node: Node
) -> None:
    contract = deployed(holdfast, "--every", "600")
    shown = told(holdfast("onchain", "workflow", "show", contract, "--json"))
    assert (shown["due"], shown["results"], shown["result"]) == ("now", 0, None)
    assert shown["document"]["model"] == "m"
    asked = told(holdfast("onchain", "workflow", "run", contract, "--account", "account-3.key", "--json"))
    wait_for(lambda: told(holdfast("onchain", "workflow", "show", contract, "--json"))["results"], what="a result")
    kept = told(holdfast("onchain", "workflow", "history", contract, "--json"))["results"]
    assert [item["stands"] for item in kept] == ["final"]
    assert kept[0]["request"] == asked["request"]
    assert kept[0]["response"]["outputs"]["y"]["data"] == [3.5]
    text = holdfast("onchain", "workflow", "show", contract).out
    assert f"final: round {kept[0]['round']}, " in text
    assert code_of(holdfast("onchain", "workflow", "run", contract, *ASKER)) == "flow.early"


def test_a_workflow_spends_what_it_was_given_and_its_owner_takes_the_rest_out(holdfast: Holdfast, node: Node) -> None:
    node.answers = "refuses"
    contract = deployed(holdfast, "--every", "600", "--fee", "500")
    assert code_of(holdfast("onchain", "workflow", "run", contract, *ASKER)) == "flow.funds"
    assert told(holdfast("onchain", "workflow", "fund", contract, "700", *ASKER, "--json"))["balance"] == "700"
    made = told(holdfast("onchain", "workflow", "run", contract, *ASKER, "--json"))
    wait_for(lambda: told(holdfast("onchain", "show", made["request"], "--json"))["state"] == "refused", what="an end")
    stranger = holdfast("onchain", "workflow", "withdraw", contract, "1", "--account", "account-3.key")
    assert code_of(stranger) == "flow.owner"
    left = holdfast("onchain", "workflow", "withdraw", contract, "700", *ASKER)
    assert left.out == f"{contract} holds 0 base units\n"
    assert holdfast("onchain", "workflow", "stop", contract, *ASKER).out == f"stopped: {contract}\n"
    assert code_of(holdfast("onchain", "workflow", "run", contract, *ASKER)) == "flow.stopped"
    assert told(holdfast("onchain", "workflow", "show", contract, "--json"))["stopped"] is True
