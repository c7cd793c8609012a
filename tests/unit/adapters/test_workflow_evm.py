"""What the contract ``Workflow`` refuses, what it keeps and how it tells what it keeps (onchain.md §12)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.adapters.workflow_evm import HISTORY, EvmWorkflow, deploy_workflow
from holdfast.core import evm, flows
from holdfast.core.asks import Requested, build_fulfilment, pack_parts, unpack_parts
from holdfast.core.canonical import decode_exact
from holdfast.core.parts import map_parts
from holdfast.core.rounds import ChainDomain
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.asks import ARTIFACT, REQUEST, AskWorld, MadeRun
from tests.helpers.chains import NEEDS_MACHINE

pytestmark = NEEDS_MACHINE
PACKED = pack_parts(map_parts("request", decode_exact(REQUEST)))
OWNER, STRANGER = 4, 3


def answer(*numbers: str, shape: str | None = None, **outputs: str) -> bytes:
    data = {"y": ",".join(numbers), **outputs}
    body = ",".join(
        f'"{name}":{{"dtype":"float32","shape":[{shape or len(text.split(","))}],"data":[{text}]}}'
        for name, text in data.items()
    )
    return (
        f'{{"object":"inference","model":"m","artifact":"{ARTIFACT}","mode":"VANILLA","outputs":{{{body}}}}}'.encode()
    )


class WorkflowWorld(AskWorld):
    """An :class:`AskWorld` with one workflow, whose owner is signer 4."""

    flow: EvmWorkflow

    async def begin(self, **terms: Any) -> EvmWorkflow:
        given = {"every_s": 60, "node": self.signers[0].address, **terms}
        contract, _ = await deploy_workflow(
            self.connection, self.signers[OWNER], self.asks, given.pop("document", PACKED), **given
        )
        self.flow = self.as_user(OWNER, contract)
        return self.flow

    def as_user(self, index: int, contract: str | None = None) -> EvmWorkflow:
        domain = ChainDomain(self.asks.chain_id, contract or self.flow.domain.contract)
        return EvmWorkflow(self.connection, domain, self.user(index)._account)

    async def asked(self) -> Requested:
        """The request that a run made."""
        identity = await self.flow.run()
        found = await self.user(0).find(identity, self.first_block)
        assert found is not None
        return found

    async def serve(self, requested: Requested, **changes: Any) -> MadeRun:
        """Run it, settle it, and hand it over."""
        run = self.run_for(requested, **changes)
        codes = ("ok",) * (4 if changes.get("mode") == "ZKML" else 3)
        final = await self.settle_run(run, codes)
        payee = self.signers[0].address
        await self.user(0).fulfil(
            list(build_fulfilment(requested.ask, payee, requested.packed, run.request, run.response, final))
        )
        return run

    async def later(self, seconds: int) -> None:
        self.clock.time += seconds
        await self.mine()


def in_world(scenario: Callable[[WorkflowWorld], Awaitable[None]]) -> None:
    async def main() -> None:
        world = WorkflowWorld()
        await world.open()
        try:
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def logs(world: WorkflowWorld, contract: str) -> list[dict[str, Any]]:
    """A contract's events, as they are read without a chain library."""
    query = {"address": contract, "fromBlock": "0x0", "toBlock": "latest"}
    return [
        {
            "address": log["address"].lower(),
            "topics": [bytes.fromhex(topic[2:]) for topic in log["topics"]],
            "data": bytes.fromhex(log["data"][2:]),
        }
        for log in await world.connection.request("eth_getLogs", query)
    ]


async def refused(call: Awaitable[Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await call
    assert caught.value.code == code


# --- refused ----------------------------------------------------------------------------------------------------------


def test_terms_that_could_not_hold_are_refused() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        await refused(world.begin(document=b""), "flow.document")
        await refused(world.begin(fee=5, every_s=0), "flow.every")
        await refused(world.begin(period_s=0), "flow.period")
        await refused(world.begin(period_s=31 * 86_400), "flow.period")
        nobody = ChainDomain(world.asks.chain_id, world.signers[0].address)
        await refused(
            deploy_workflow(world.connection, world.signers[OWNER], nobody, PACKED, every_s=1), "flow.inference"
        )

    in_world(scenario)


def test_it_is_run_when_it_is_due_and_not_while_a_request_is_open() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin(every_s=600)
        requested = await world.asked()
        assert requested.ask.asker == requested.ask.target == flow.domain.contract
        await refused(world.as_user(STRANGER).run(), "flow.early")
        await world.later(601)
        await refused(world.as_user(STRANGER).run(), "flow.open")
        await world.user(0).refuse(requested.ask, "ask.terms")
        await world.as_user(STRANGER).run()
        assert await flow.result() is None

    in_world(scenario)


def test_it_spends_no_more_than_it_has_and_its_owner_alone_takes_out_and_stops() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin(fee=1000, every_s=1)
        await refused(flow.run(), "flow.funds")
        await flow.fund(1500)
        requested = await world.asked()
        assert requested.ask.fee == 1000
        await world.user(0).refuse(requested.ask, "ask.terms")
        await world.later(2)
        await refused(flow.run(), "flow.funds")
        await world.user(STRANGER).withdraw(flow.domain.contract)
        assert (await flow.terms()).balance == 1500
        for call in (("withdraw", 1), ("stop",)):
            await refused(world.as_user(STRANGER).transact(*call), "flow.owner")
        await flow.transact("withdraw", 500)
        await flow.transact("stop")
        await refused(flow.run(), "flow.stopped")
        assert (await flow.terms()).balance == 1000

    in_world(scenario)


def test_nobody_but_the_contract_that_looked_at_final_rounds_hands_over_a_result() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        requested = await world.asked()
        for account in (0, OWNER):
            forged = (requested.identity, b"\x00" * 40, bytes(32), 0, 1)
            await refused(world.as_user(account).transact("on_inference", *forged), "flow.caller")
        run = world.run_for(requested)
        final = await world.settle_run(run, final=False)
        payee = world.signers[0].address
        handed = list(build_fulfilment(requested.ask, payee, requested.packed, run.request, run.response, final))
        await refused(world.user(0).fulfil(handed), "round.open")
        assert await flow.result() is None

    in_world(scenario)


def test_a_result_of_another_request_is_not_kept() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        await world.asked()
        other = await world.ask(target=flow.domain.contract, gas_limit=2_500_000, node=world.signers[0].address)
        await world.serve(other)
        ending = await world.user(0).ending(other.identity, world.first_block)
        assert ending is not None
        assert ending.called is False
        assert await flow.result() is None

    in_world(scenario)


# --- kept -------------------------------------------------------------------------------------------------------------


def test_a_result_is_told_with_how_it_stands_and_the_round_it_rests_on() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        with pytest.raises(HoldfastError, match=r"flow\.none"):
            await flow.value(b"field|-|-|s|/mode")
        requested = await world.asked()
        run = await world.serve(requested)
        kept = await flow.result()
        assert kept is not None
        assert (kept.stands, kept.identity, kept.statement.hex()) == ("final", requested.identity, run.closing.digest)
        assert kept.response_hash == evm.keccak256(kept.response)
        ending = await world.user(0).ending(requested.identity, world.first_block)
        assert ending is not None
        assert (kept.round, kept.response) == (max(ending.closure[3:]), ending.response)
        part = next(item for item in unpack_parts(kept.response) if item.label.endswith(b"/outputs/y/data/0"))
        data, stands, number, at = await flow.value(part.label)
        assert (data, stands, number, at) == (b"3.5", "final", kept.round, kept.at)
        await refused(flow.value(b"output|-|0|n|/outputs/y/data/7"), "flow.part")

    in_world(scenario)


def test_its_events_say_what_was_asked_and_kept_and_its_request_is_known_as_its_own() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin(fee=5)
        await flow.fund(5)
        requested = await world.asked()
        await world.serve(requested)
        kept = await flow.result()
        assert kept is not None
        own = [flows.parse_event(flow.domain.contract, log) for log in await logs(world, flow.domain.contract)]
        assert own == [
            ("Asked", {"id": requested.identity, "by": world.signers[OWNER].address}),
            ("Kept", {"id": requested.identity, "round": kept.round, "state": 1}),
        ]
        first, *_ = await logs(world, world.asks.contract)
        asking = flows.Asking(flow.domain.contract, bytes(32), world.signers[0].address, 5, PACKED)
        found = flows.read_request(world.asks.chain_id, world.asks.contract, asking, first)
        assert (found.identity, found.ask, found.packed) == (requested.identity, requested.ask, PACKED)
        with pytest.raises(RefusedError, match=r"flow\.request"):
            flows.read_request(world.asks.chain_id, world.asks.contract, replace(asking, fee=4), first)

    in_world(scenario)


def test_an_endpoint_that_tells_another_response_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        await world.serve(await world.asked())
        ask = world.connection.request

        async def lie(method: str, *given: Any) -> Any:
            answer = await ask(method, *given)
            return answer.replace(b"3.5".hex(), b"9.5".hex()) if method == "eth_call" else answer

        monkeypatch.setattr(world.connection, "request", lie)
        await refused(flow.result(), "flow.response")

    in_world(scenario)


def test_a_proved_result_says_so_and_a_recalled_one_is_none_in_their_layout() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin(every_s=1)
        zkml = answer("1").replace(b"VANILLA", b"ZKML")
        await world.serve(await world.asked(), mode="ZKML", response=zkml)
        await world.later(2)
        requested = await world.asked()
        run = await world.serve(requested)
        assert [kept.stands for kept in await flow.history()] == ["final", "proved"]
        ending = await world.user(0).ending(requested.identity, world.first_block)
        assert ending is not None
        later = await world.settle_run(run, ("ok", "ok", "refuted:late"))
        verdict = later.verdicts[run.closing.digest]
        await world.user(STRANGER).transact(
            "recall", requested.ask.to_tuple(), ending.closure, bytes.fromhex(run.closing.digest), "refuted:late",
            verdict.to_tuple(),
        )  # fmt: skip
        assert [kept.stands for kept in await flow.history()] == ["recalled", "proved"]
        (_, _, _, simulated), before = await flow._call("getLastInferenceResults", 2)
        assert simulated is True
        assert before[3] is False

    in_world(scenario)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3.5", (35, 1)),
        ("-0.25", (-25, 2)),
        ("7", (7, 0)),
        ("1e3", (1000, 0)),
        ("1.5e-05", (15, 6)),
        ("-12.25E+1", (-1225, 1)),
        ("0", (0, 0)),
        ("0.30000001192092896", (30000001192092896, 17)),
        ("3.4028234663852886e38", None),
        ("1e-99", None),
    ],
)
def test_numbers_are_theirs_or_are_refused(text: str, number: tuple[int, int] | None) -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        await world.serve(await world.asked(), response=answer(text))
        if number is None:
            await refused(flow._call("getInferenceResult"), "flow.number")
            kept = await flow.result()
            assert kept is not None
            assert kept.stands == "final"
            return
        tensors, strings, jsons, simulated = await flow._call("getInferenceResult")
        assert tensors == (("y", (number,), (1,)),)
        assert (strings, jsons, simulated) == ((), (), False)

    in_world(scenario)


def test_tensors_keep_their_order_and_their_shape() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        numbers = [f"{number}.5" for number in range(12)]
        await world.serve(await world.asked(), response=answer(*numbers, shape="3,4"))
        tensors, *_ = await flow._call("getInferenceResult")
        assert tensors == (("y", tuple((10 * number + 5, 1) for number in range(12)), (3, 4)),)

    in_world(scenario)


def test_a_response_that_is_too_long_is_kept_by_its_hash() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin()
        await world.serve(await world.asked(), response=answer(*["1.25"] * 60))
        kept = await flow.result()
        assert kept is not None
        assert kept.response == b""
        ending = await world.user(0).ending(kept.identity, world.first_block)
        assert ending is not None
        assert kept.response_hash == evm.keccak256(ending.response)

    in_world(scenario)


def test_the_newest_results_are_kept_and_older_ones_make_room() -> None:
    async def scenario(world: WorkflowWorld) -> None:
        flow = await world.begin(every_s=1)
        for number in range(HISTORY + 2):
            await world.serve(await world.asked(), response=answer(str(number)))
            await world.later(2)
        found = await flow.history()
        assert len(found) == HISTORY
        values = [output[0][0][1][0][0] for output in await flow._call("getLastInferenceResults", 99)]
        assert values == list(range(HISTORY + 1, 1, -1))
        assert (await flow.terms()).results == HISTORY + 2

    in_world(scenario)
