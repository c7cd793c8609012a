"""A real facilitator process on a real chain process: killed again and again, locked against a second one, and paid by
x402's own client where a Python has it (``HOLDFAST_X402`` names that Python, else the bench's is looked for)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC
from holdfast.adapters.payment_contracts import CAPTURES, TEST_TOKEN, payment_accounts
from holdfast.core import evm
from holdfast.core.captures import BALANCE_OF
from holdfast.core.encoding import sha256
from holdfast.core.transactions import UnsignedTransaction
from holdfast.core.x402 import address_word
from holdfast.errors import UnavailableError
from tests.helpers import crashes
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.facilitator import COIN, PAYERS, request
from tests.helpers.node_process import Process, started
from tests.helpers.payments import (
    CHAIN_ID,
    FACILITATOR,
    MINT,
    NETWORK,
    OWNER,
    PAYEE,
    TOKEN,
    eip3009,
    payer,
    requirements,
)
from tests.helpers.ports import free_ports

pytestmark = [pytest.mark.enable_socket, NEEDS_MACHINE]
MODULE = "holdfast.nodes.facilitator"
LATE = 10**10
"""Unix seconds long after any run of this test."""
ROOT = Path(__file__).parents[2]


class Setting:
    """Two configurations, of a chain with the payment contracts and of a facilitator on it."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(), free_ports()
        self.chain_url, self.url = (f"http://127.0.0.1:{port}" for port in ports)
        funded = [OWNER.address, FACILITATOR.address, *(payer(number).address for number in range(PAYERS))]
        codes = payment_accounts(TOKEN).items()
        alloc: dict[str, Any] = {address: {"code": "0x" + account.code.hex()} for address, account in codes}
        alloc |= {address: {"balance": str(COIN)} for address in funded}
        (folder / "genesis.json").write_text(json.dumps({"alloc": alloc}))
        (folder / "key").write_text(sha256(b"facilitator").hex() + "\n")
        (folder / "key").chmod(0o600)
        self.chain = folder / "chain.toml"
        self.chain.write_text(
            f'[chain]\nlisten = "127.0.0.1:{ports[0]}"\nstate = "{folder}/chain"\ngenesis = "{folder}/genesis.json"\n'
        )
        self.config = folder / "facilitator.toml"
        self.config.write_text(
            f'[facilitator]\nlisten = "127.0.0.1:{ports[1]}"\nstate = "{folder}/facilitator"\nsegment_bytes = 262144\n'
            f'[[facilitator.networks]]\nnetwork = "{NETWORK}"\nrpc = "{self.chain_url}"\nkey = "file:{folder}/key"\n'
            f'assets = ["{TEST_TOKEN}"]\npayees = ["*"]\ncaptures = "{CAPTURES}"\ndepth = 0\npoll_ms = 20\n'
            "batch = 20\nbatch_wait_ms = 5\nrebroadcast_s = 0.2\n"
        )

    async def fund(self, rpc: BatchingJSONRPC) -> None:
        """Tokens for every payer."""
        for number in range(PAYERS):
            data = MINT + address_word(payer(number).address) + evm.word(10**6)
            unsigned = UnsignedTransaction(CHAIN_ID, number, 1, 1000, 200_000, TEST_TOKEN, 0, data)
            raw = unsigned.signed(OWNER.sign(unsigned.digest()))
            await rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        for _ in range(500):
            if int(await rpc.request("eth_getTransactionCount", OWNER.address, "latest"), 16) == PAYERS:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the tokens were not minted")


async def balance(rpc: BatchingJSONRPC, address: str) -> int:
    data = "0x" + (BALANCE_OF + address_word(address)).hex()
    return int(await rpc.request("eth_call", {"to": TEST_TOKEN, "data": data}, "latest"), 16)


async def post(http: AiohttpHTTP, url: str, value: Any) -> tuple[int, Any]:
    headers = {"content-type": "application/json"}
    answer = await http.request("POST", url, body=json.dumps(value).encode(), headers=headers)
    return answer.status, json.loads(answer.body)


@pytest.mark.slow
def test_kills_lose_no_job_and_take_no_money_twice(tmp_path: Path) -> None:
    setting, chance = Setting(tmp_path), random.Random("kills")
    acknowledged: dict[str, int] = {}
    sent = 0

    async def pay_until_killed(http: AiohttpHTTP) -> None:
        nonlocal sent
        while True:
            first = sent if chance.random() < 0.8 else max(0, sent - 10)
            numbers = range(first, first + chance.choice((1, 5, 30)))
            sent = max(sent, numbers[-1] + 1)
            try:
                found = await asyncio.gather(*(post(http, f"{setting.url}/settle", eip(number)) for number in numbers))
            except UnavailableError:
                return
            for number, (status, answer) in zip(numbers, found, strict=True):
                assert status == 202, answer
                acknowledged[answer["paymentJob"]["jobId"]] = 1 + number % 7

    def eip(number: int) -> dict[str, Any]:
        return request(eip3009(requirements(1 + number % 7), payer(number % PAYERS), number, valid_before=LATE))

    async def main() -> None:
        http, rpc = AiohttpHTTP(), BatchingJSONRPC(setting.chain_url)
        async with started("holdfast.nodes.chain", setting.chain, setting.chain_url, http):
            await setting.fund(rpc)
            for _ in range(crashes.kills()):
                process = Process(MODULE, setting.config, setting.url)
                await process.ready(http)
                paying = asyncio.ensure_future(pay_until_killed(http))
                await asyncio.sleep(chance.uniform(0.05, 0.6))
                process.kill()
                await paying
            async with started(MODULE, setting.config, setting.url, http):
                jobs = {}
                for _ in range(400):
                    for name in acknowledged:
                        if jobs.get(name, {}).get("status") != "succeeded":
                            answer = await http.request("GET", f"{setting.url}/settle/{name}")
                            assert answer.status == 200, f"{name} was acknowledged and is lost"
                            jobs[name] = json.loads(answer.body)
                    if all(job["status"] == "succeeded" for job in jobs.values()):
                        break
                    await asyncio.sleep(0.05)
                assert {job["status"] for job in jobs.values()} == {"succeeded"}
                # Whatever was taken on without being acknowledged was taken once at most.
                least, most = sum(acknowledged.values()), sum(1 + number % 7 for number in range(sent))
                assert least <= await balance(rpc, PAYEE) <= most
                assert acknowledged
        await rpc.close()
        await http.close()

    asyncio.run(main())


def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    setting = Setting(tmp_path)

    async def main() -> None:
        http = AiohttpHTTP()
        async with (
            started("holdfast.nodes.chain", setting.chain, setting.chain_url, http),
            started(MODULE, setting.config, setting.url, http),
        ):
            second = Process(MODULE, setting.config, setting.url)
            assert await asyncio.to_thread(second.wait) == 2
            assert "storage.locked" in second.output()
        await http.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('network = "eip155:31337"\nrpc = "http://127.0.0.1:1"\nkey = "env:HOLDFAST_NO_SUCH_KEY"', "settings."),
        ('network = "solana:x"\nrpc = "http://127.0.0.1:1"\nkey = "file:KEY"', "x402.network"),
        ('network = "eip155:1"\nrpc = "http://127.0.0.1:1"\nkey = "file:BAD"', "signer.key"),
        ('network = "eip155:1"\nrpc = "x"\nkey = "file:KEY"\npayees = ["me"]', "evm.address"),
    ],
)
def test_settings_that_make_no_sense_start_nothing(tmp_path: Path, line: str, code: str) -> None:
    for name, text in (("KEY", sha256(b"facilitator").hex()), ("BAD", "no key")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
        line = line.replace(f"file:{name}", f"file:{tmp_path}/{name}")
    config = tmp_path / "facilitator.toml"
    config.write_text(f'[facilitator]\nstate = "{tmp_path}/state"\n[[facilitator.networks]]\n{line}\n')
    process = Process(MODULE, config, "http://127.0.0.1:1")
    assert process.wait() == 2
    assert code in process.output()


# --- x402's own client ------------------------------------------------------------------------------------------------

CLIENT = """
import asyncio, json, sys, time
from eth_account import Account
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.upto.client import UptoEvmScheme
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC
from x402.schemas import PaymentPayload, PaymentRequirements

url, rpc, key, token, payee, name, version = sys.argv[1:]
account = Account.from_key(key)
signer = EthAccountSignerWithRPC(account, rpc_url=rpc)


async def main():
    facilitator = HTTPFacilitatorClient(FacilitatorConfig(url=url + "/x402"))
    supported = facilitator.get_supported()
    address = supported.kinds[0].extra["facilitatorAddress"]
    found = {"schemes": [kind.scheme for kind in supported.kinds], "signers": supported.signers}
    sponsoring = {"eip2612GasSponsoring": {"info": {}, "schema": {}}}
    for case, scheme, method, charge in (
        ("eip3009", "exact", None, None),
        ("permit2", "exact", "permit2", None),
        ("upto", "upto", "permit2", "250"),
    ):
        extra = {"name": name, "version": version, "facilitatorAddress": address}
        if method:
            extra["assetTransferMethod"] = method
        asked = PaymentRequirements(scheme=scheme, network="eip155:31337", asset=token, amount="1000",
                                    pay_to=payee, max_timeout_seconds=600, extra=extra)
        client = (UptoEvmScheme if scheme == "upto" else ExactEvmScheme)(signer)
        inner = client.create_payment_payload(asked, sponsoring if method else None)
        extensions = inner.pop("__extensions", None)
        payload = PaymentPayload(payload=inner, accepted=asked, extensions=extensions)
        verified = await facilitator.verify(payload, asked)
        charged = asked.model_copy(update={"amount": charge}) if charge else asked
        settled = await facilitator.settle(payload, charged)
        again = await facilitator.verify(payload, asked)
        found[case] = [verified.is_valid, verified.invalid_reason, settled.success, settled.amount,
                       settled.error_reason, len(settled.transaction), again.invalid_reason]
    print(json.dumps(found))


asyncio.run(main())
"""


def x402_python() -> str | None:
    """A Python that has x402's own package."""
    named = os.environ.get("HOLDFAST_X402")
    built = sorted((ROOT / ".bench").glob("x402-*/bin/python"))
    return named or (str(built[0]) if built else None)


@pytest.mark.slow
def test_x402s_own_client_verifies_and_settles_here(tmp_path: Path) -> None:
    python = x402_python()
    if python is None:
        pytest.skip("no Python with x402: CI=true or python3 dev.py x402 makes one")
    setting = Setting(tmp_path)
    script = tmp_path / "client.py"
    script.write_text(CLIENT)

    async def main() -> dict[str, Any]:
        http, rpc = AiohttpHTTP(), BatchingJSONRPC(setting.chain_url)
        async with (
            started("holdfast.nodes.chain", setting.chain, setting.chain_url, http),
            started(MODULE, setting.config, setting.url, http),
        ):
            await setting.fund(rpc)
            done = await asyncio.to_thread(
                subprocess.run,
                [
                    *(python, str(script), setting.url, setting.chain_url, "0x" + sha256(b"payer 0").hex()),
                    *(TEST_TOKEN, PAYEE, TOKEN.name, TOKEN.version),
                ],
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()[-2000:]
            found: dict[str, Any] = json.loads(done.stdout)
            found["paid"] = await balance(rpc, PAYEE)
        await rpc.close()
        await http.close()
        return found

    found = asyncio.run(main())
    assert found["schemes"] == ["exact", "upto"]
    assert found["signers"] == {"eip155:*": [FACILITATOR.address]}
    assert found["eip3009"] == [True, None, True, "1000", None, 66, "invalid_exact_evm_nonce_already_used"]
    assert found["permit2"] == [True, None, True, "1000", None, 66, "permit2_invalid_nonce"]
    assert found["upto"] == [True, None, True, "250", None, 66, "permit2_invalid_nonce"]
    assert found["paid"] == 2250
