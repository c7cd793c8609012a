"""JSON-RPC of the development chain: malformed requests get JSON-RPC's error, well-formed ones what wallets expect."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.core import evm
from holdfast.core.transactions import UnsignedTransaction, contract_address
from holdfast.nodes.chain.app import create_app, create_forwarding_app
from holdfast.nodes.chain.metrics import METRICS
from holdfast.nodes.chain.rpc import JsonRpc, RpcLimits, revert_reason
from holdfast.nodes.edge import App
from tests.helpers.chains import FUNDS, NEEDS_MACHINE, START, ManualClock, development_chain, signers

pytestmark = NEEDS_MACHINE
(RICH,) = signers(1)
TO = "0x" + "77" * 20
LOGS = bytes.fromhex("60bb5f5260cc60205fa100")
"""log1(one word 0xbb, topic 0xcc)."""
TOPIC = "0x" + (0xCC).to_bytes(32).hex()
REVERT_WITH_TEXT = bytes.fromhex("08c379a0") + (32).to_bytes(32) + (5).to_bytes(32) + b"stop!".ljust(32, b"\0")


class Session:
    """One chain and its methods."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.chain = development_chain(self.clock, [RICH.address])
        self.rpc = JsonRpc(self.chain, **options)
        self.nonce = 0

    async def raw(self, body: bytes) -> Any:
        return await self.rpc.answer(body)

    async def ask(self, method: str, *parameters: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
        answer = await self.raw(json.dumps(request).encode())
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    async def error(self, method: str, *parameters: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
        answer = await self.raw(json.dumps(request).encode())
        assert "result" not in answer
        error: dict[str, Any] = answer["error"]
        return error

    def sign(self, to: str | None, data: bytes = b"", value: int = 0) -> str:
        unsigned = UnsignedTransaction(31337, self.nonce, 1, 100, 200_000, to, value, data)
        self.nonce += 1
        return "0x" + unsigned.signed(RICH.sign(unsigned.digest())).hex()

    async def send(self, to: str | None, data: bytes = b"", value: int = 0) -> dict[str, Any]:
        digest = await self.ask("eth_sendRawTransaction", self.sign(to, data, value))
        for _ in range(200):
            receipt = await self.ask("eth_getTransactionReceipt", digest)
            if receipt:
                found: dict[str, Any] = receipt
                return found
            await asyncio.sleep(0)
        raise AssertionError("not mined")

    async def deploy(self, runtime: bytes) -> str:
        size = len(runtime).to_bytes(1)
        code = bytes.fromhex("60") + size + bytes.fromhex("600c60003960") + size + bytes.fromhex("6000f3") + runtime
        receipt = await self.send(None, code)
        assert receipt["status"] == "0x1"
        address: str = receipt["contractAddress"]
        return address


def run(scenario: Callable[[Session], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        session = Session(**options)
        await session.chain.start()
        try:
            await scenario(session)
        finally:
            await session.chain.stop()

    asyncio.run(main())


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"a":1,"a":2}', -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":5}', -32600),
        (b'{"id":1,"method":"eth_mining"}', -32601),
        (b'{"id":1,"method":"evm_mine"}', -32601),
        (b'{"id":1,"method":"holdfast_reorganise","params":["0x1"]}', -32601),
        (b'{"id":1,"method":"eth_call","params":{}}', -32602),
        (b'{"id":1,"method":"eth_call","params":[5]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[{"to":"0x12"}]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[{"data":"0x1"}]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[{"value":"0x01"}]}', -32602),
        (b'{"id":1,"method":"eth_getBalance","params":["0x00"]}', -32602),
        (b'{"id":1,"method":"eth_getBalance","params":[1,2,3]}', -32602),
        (b'{"id":1,"method":"eth_getBlockByNumber","params":["7",false]}', -32602),
        (b'{"id":1,"method":"eth_getTransactionReceipt","params":["0x12"]}', -32602),
        (b'{"id":1,"method":"eth_getLogs","params":["x"]}', -32602),
        (b'{"id":1,"method":"eth_getLogs","params":[{"topics":["0x1"]}]}', -32602),
        (b'{"id":1,"method":"eth_sendRawTransaction","params":["0x00"]}', -32602),
        (b'{"id":1,"method":"eth_sendRawTransaction","params":[7]}', -32602),
        (b'{"id":1,"method":"eth_feeHistory","params":["x"]}', -32602),
    ],
)
def test_a_malformed_request_gets_its_json_rpc_error(body: bytes, number: int) -> None:
    async def scenario(session: Session) -> None:
        answer = await session.raw(body)
        assert answer["error"]["code"] == number
        assert answer["error"]["data"]["code"]
        assert "result" not in answer

    run(scenario)


def test_a_batch_is_answered_in_order_and_has_a_limit() -> None:
    async def scenario(session: Session) -> None:
        batch = [{"id": index, "method": "eth_chainId"} for index in range(3)]
        answers = await session.raw(json.dumps([*batch, {"method": "eth_chainId"}]).encode())
        assert [answer["id"] for answer in answers] == [0, 1, 2]
        answer = await session.raw(json.dumps(batch * 2).encode())
        assert answer["error"]["code"] == -32600
        assert await session.raw(b'[{"method":"eth_chainId"}]') is None
        assert await session.raw(b'{"method":"eth_chainId"}') is None

    run(scenario, limits=RpcLimits(batch_requests=5))


def test_a_refused_transaction_says_what_clients_look_for() -> None:
    async def scenario(session: Session) -> None:
        raw = session.sign(TO)
        session.nonce = 0
        await session.send(TO)
        assert (await session.error("eth_sendRawTransaction", raw))["message"] == "already known"
        session.nonce = 0
        low = await session.error("eth_sendRawTransaction", session.sign(TO, value=1))
        assert (low["code"], low["message"], low["data"]["code"]) == (-32000, "nonce too low", "pool.nonce")
        poor = await session.error("eth_sendRawTransaction", session.sign(TO, value=FUNDS))
        assert (poor["message"], poor["data"]["code"]) == ("insufficient funds for gas * price + value", "pool.funds")

    run(scenario)


def test_state_of_older_blocks_is_refused() -> None:
    async def scenario(session: Session) -> None:
        await session.send(TO, value=3)
        assert await session.ask("eth_getBalance", TO, "0x1") == "0x3"
        for tag in ("0x0", "earliest"):
            assert (await session.error("eth_getBalance", TO, tag))["data"]["code"] == "chain.history"
        assert (await session.error("eth_getBalance", TO, "0x9"))["data"]["code"] == "chain.block"
        head = await session.ask("eth_getBlockByNumber", "latest", False)
        assert await session.ask("eth_getBalance", TO, {"blockHash": head["hash"]}) == "0x3"
        old = await session.ask("eth_getBlockByNumber", "0x0", False)
        assert (await session.error("eth_getBalance", TO, {"blockHash": old["hash"]}))["data"][
            "code"
        ] == "chain.history"

    run(scenario)


def test_a_revert_carries_its_data_and_reason() -> None:
    async def scenario(session: Session) -> None:
        runtime = bytes.fromhex("6064600c5f3960645ffd") + b"\0\0" + REVERT_WITH_TEXT
        address = await session.deploy(runtime)
        for method in ("eth_call", "eth_estimateGas"):
            error = await session.error(method, {"to": address})
            assert (error["code"], error["message"]) == (3, "execution reverted: stop!")
            assert error["data"] == "0x" + REVERT_WITH_TEXT.hex()
        stopped = await session.error("eth_call", {"to": await session.deploy(b"\xfe")})
        assert (stopped["code"], stopped["data"]) == (3, "0x")

    run(scenario)


def test_text_that_is_no_reason_is_none() -> None:
    assert revert_reason(b"") == ""
    assert revert_reason(bytes(100)) == ""
    assert revert_reason(REVERT_WITH_TEXT) == "stop!"


# --- answers ----------------------------------------------------------------------------------------------------------


def test_constants() -> None:
    async def scenario(session: Session) -> None:
        assert await session.ask("eth_chainId") == "0x7a69"
        assert await session.ask("net_version") == "31337"
        assert await session.ask("eth_accounts") == []
        assert await session.ask("eth_syncing") is False
        assert await session.ask("net_listening") is True
        assert await session.ask("eth_gasPrice") == "0x8"
        assert await session.ask("eth_maxPriorityFeePerGas") == "0x1"
        assert "holdfast" in await session.ask("web3_clientVersion")
        assert await session.ask("txpool_status") == {"pending": "0x0", "queued": "0x0"}
        assert await session.ask("eth_getBlockByNumber", "0x5", False) is None
        assert await session.ask("eth_getBlockReceipts", "0x5") is None
        assert await session.ask("eth_getBlockByHash", "0x" + "11" * 32, False) is None
        assert await session.ask("eth_getTransactionByHash", "0x" + "11" * 32) is None
        assert await session.ask("eth_getTransactionReceipt", "0x" + "11" * 32) is None

    run(scenario)


def test_a_transfer_shows_in_block_transaction_and_receipt() -> None:
    async def scenario(session: Session) -> None:
        receipt = await session.send(TO, value=5)
        block = await session.ask("eth_getBlockByNumber", "latest", True)
        assert block["hash"] == receipt["blockHash"]
        assert int(block["timestamp"], 16) == START
        (shown,) = block["transactions"]
        assert shown == await session.ask("eth_getTransactionByHash", receipt["transactionHash"])
        assert (shown["from"], shown["to"], shown["value"], shown["type"]) == (RICH.address, TO, "0x5", "0x2")
        assert (receipt["status"], receipt["gasUsed"], receipt["effectiveGasPrice"]) == ("0x1", "0x5208", "0x8")
        assert await session.ask("eth_getBlockReceipts", "latest") == [receipt]
        assert await session.ask("eth_getBlockTransactionCountByNumber", "latest") == "0x1"
        assert (await session.ask("eth_getBlockByHash", block["hash"], False))["transactions"] == [
            receipt["transactionHash"]
        ]
        assert await session.ask("eth_getBalance", RICH.address) == hex(FUNDS - 5 - 21_000 * 8)
        assert await session.ask("eth_blockNumber") == "0x1"
        history = await session.ask("eth_feeHistory", "0x5", "latest", [50])
        assert (history["oldestBlock"], len(history["baseFeePerGas"]), len(history["gasUsedRatio"])) == ("0x0", 3, 2)

    run(scenario)


def test_a_waiting_transaction_is_shown_and_counted() -> None:
    async def scenario(session: Session) -> None:
        session.chain.set_automine(False)
        digest = await session.ask("eth_sendRawTransaction", session.sign(TO))
        assert (await session.ask("eth_getTransactionByHash", digest))["blockHash"] is None
        assert await session.ask("eth_getTransactionCount", RICH.address, "pending") == "0x1"
        assert await session.ask("eth_getTransactionCount", RICH.address, "latest") == "0x0"
        assert await session.ask("txpool_status") == {"pending": "0x1", "queued": "0x0"}

    run(scenario)


def test_events_are_found_by_block_address_and_topic() -> None:
    async def scenario(session: Session) -> None:
        address = await session.deploy(LOGS)
        await session.send(address)
        await session.send(address)
        receipt = await session.send(address)
        (event,) = receipt["logs"]
        assert (event["address"], event["topics"], event["data"]) == (
            address,
            [TOPIC],
            "0x" + (0xBB).to_bytes(32).hex(),
        )
        everything = {"fromBlock": "earliest", "toBlock": "latest"}
        for query, count in (
            ({}, 1),
            (everything, 3),
            ({**everything, "address": address}, 3),
            ({**everything, "address": [TO]}, 0),
            ({**everything, "topics": [TOPIC]}, 3),
            ({**everything, "topics": [[TOPIC, "0x" + "00" * 32]]}, 3),
            ({**everything, "topics": [None]}, 3),
            ({**everything, "topics": [None, TOPIC]}, 0),
            ({**everything, "topics": ["0x" + "00" * 32]}, 0),
            ({"fromBlock": "0x2", "toBlock": "0x3"}, 2),
            ({"blockHash": receipt["blockHash"]}, 1),
        ):
            assert len(await session.ask("eth_getLogs", query)) == count, query
        assert (await session.error("eth_getLogs", {"blockHash": "0x" + "11" * 32}))["code"] == -32000
        block = await session.ask("eth_getBlockByNumber", "latest", False)
        bits = int(block["logsBloom"], 16)
        digest = evm.keccak256(bytes.fromhex(TOPIC[2:]))
        assert all(bits >> (int.from_bytes(digest[at : at + 2]) & 2047) & 1 for at in (0, 2, 4))

    run(scenario)


def test_an_answer_with_too_many_events_is_refused() -> None:
    async def scenario(session: Session) -> None:
        address = await session.deploy(LOGS)
        for _ in range(3):
            await session.send(address)
        error = await session.error("eth_getLogs", {"fromBlock": "earliest"})
        assert error["data"]["code"] == "rpc.results"

    run(scenario, limits=RpcLimits(log_results=2))


def test_an_estimate_is_enough_and_little_more() -> None:
    async def scenario(session: Session) -> None:
        address = await session.deploy(
            bytes.fromhex("5f5f5f5f5f73") + bytes.fromhex("77" * 20) + bytes.fromhex("5af100")
        )
        gas = int(await session.ask("eth_estimateGas", {"to": address, "from": RICH.address}), 16)
        assert 21_000 < gas < 60_000
        assert await session.ask("eth_call", {"to": address, "gas": hex(gas)}) == "0x"
        poor = await session.error("eth_estimateGas", {"from": TO, "to": RICH.address, "value": "0x1"})
        assert poor["data"]["code"] == "chain.call"

    run(scenario)


def test_code_and_storage_read_back() -> None:
    async def scenario(session: Session) -> None:
        address = await session.deploy(bytes.fromhex("60095f5500"))
        assert address == contract_address(RICH.address, 0)
        await session.send(address)
        assert await session.ask("eth_getCode", address) == "0x60095f5500"
        nine = "0x" + (9).to_bytes(32).hex()
        assert await session.ask("eth_getStorageAt", address, "0x0", "latest") == nine
        assert await session.ask("eth_getStorageAt", address, "0x" + "00" * 32) == nine

    run(scenario)


def test_test_hooks_mine_move_time_and_reorganise() -> None:
    async def scenario(session: Session) -> None:
        await session.ask("evm_mine")
        await session.ask("evm_increaseTime", 50)
        await session.ask("evm_increaseTime", "0x32")
        await session.ask("evm_mine")
        assert int((await session.ask("eth_getBlockByNumber", "latest", False))["timestamp"], 16) == START + 100
        assert await session.ask("evm_setAutomine", False) is True
        assert session.chain.automine is False
        assert await session.ask("holdfast_reorganise", "0x1") == "0x1"
        assert (await session.error("holdfast_reorganise", "0x9"))["data"]["code"] == "chain.depth"

    run(scenario, test_hooks=True)


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def post(session: Session, body: bytes, content_type: bytes = b"application/json") -> tuple[int, Any]:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"content-type", content_type)],
        "server": ("test", 80),
        "client": ("test", 1),
    }

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(session.rpc, PrometheusMetrics(METRICS), body_bytes=2_000)(scope, receive, send)
    payload = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(payload) if payload else None


async def metrics_of(app: App) -> str:
    """What ``/metrics`` says."""
    sent: list[Any] = []
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "raw_path": b"/metrics",
        "query_string": b"",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [],
        "server": ("test", 80),
        "client": ("test", 1),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    return b"".join(message.get("body", b"") for message in sent[1:]).decode()


def test_the_chain_serves_its_numbers() -> None:
    async def scenario(session: Session) -> None:
        before = await metrics_of(create_app(session.rpc, PrometheusMetrics(METRICS)))
        await session.rpc.chain.mine()
        after = await metrics_of(create_app(session.rpc, PrometheusMetrics(METRICS)))
        head = session.rpc.chain.head
        assert f"holdfast_chain_block_number {head.number - 1}.0" in before
        assert f"holdfast_chain_block_number {head.number}.0" in after
        assert 'holdfast_chain_pool_transactions{kind="executable"} 0.0' in after
        assert "holdfast_chain_ready 1.0" in after

    run(scenario)


def test_a_chain_in_another_process_that_does_not_answer_is_not_ready() -> None:
    class Silent:
        failure: str | None = "anvil does not answer"

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def forward(self, body: bytes) -> bytes:
            return body

    process = Silent()
    app = create_forwarding_app(process, PrometheusMetrics(METRICS))
    assert "holdfast_chain_ready 0.0" in asyncio.run(metrics_of(app))
    process.failure = None
    assert "holdfast_chain_ready 1.0" in asyncio.run(metrics_of(app))


def test_http_takes_json_only_and_bounds_the_body() -> None:
    async def scenario(session: Session) -> None:
        status, answer = await post(session, b"{}", b"text/plain")
        assert (status, answer["error"]["code"]) == (415, "request.content_type")
        status, answer = await post(session, b" " * 3_000)
        assert (status, answer["error"]["code"]) == (413, "request.too_large")
        status, answer = await post(session, b'{"id":1,"method":"eth_chainId"}', b"application/json; charset=utf-8")
        assert (status, answer["result"]) == (200, "0x7a69")
        assert (await post(session, b'{"method":"eth_chainId"}'))[0] == 204

    run(scenario)
