"""Where there is no pyrevm wheel: anvil from the PATH, started the one way that was measured to be safe.

A stand-in for anvil answers the few methods the adapter needs and writes down how it was started. The real one is
used by the last tests where there is one; the contract suite of the chain runs on it in ``test_chain_on_anvil.py``.
"""

import asyncio
import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.anvil_process import AnvilProcess
from holdfast.adapters.chain_evm import EvmChain, deploy
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.chain.__main__ import build
from holdfast.nodes.chain.config import ChainConfig
from holdfast.nodes.server import make_server
from holdfast.ports.vm import GenesisAccount
from tests.helpers.anvil import NEEDS_ANVIL, PROGRAM
from tests.helpers.chains import FUNDS, SETTINGS, signers
from tests.helpers.processes import fetch, network, wait_for

pytestmark = pytest.mark.enable_socket
ADDRESS = "0x" + "11" * 20
CONTRACT = "0x" + "22" * 20
ACCOUNTS = {ADDRESS: GenesisAccount(255), CONTRACT: GenesisAccount(code=b"\x5f")}
STAND_IN = """#!{python}
import http.server, json, os, pathlib, signal, sys
folder = pathlib.Path(os.environ["STAND_IN"])
(folder / "arguments").write_text(json.dumps(sys.argv[1:]))
options = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
if (folder / "die").exists():
    sys.exit(3)
state = {{"pending": 2, "mined": 0, "balances": {{}}, "codes": {{}}}}
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments): pass
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method, parameters = request["method"], request.get("params", [])
        answer = {{"jsonrpc": "2.0", "id": request["id"]}}
        if method == "eth_chainId": answer["result"] = hex(int(options["--chain-id"]))
        elif method == "txpool_status": answer["result"] = {{"pending": hex(state["pending"]), "queued": "0x0"}}
        elif method == "evm_mine": state["pending"] -= 1; state["mined"] += 1; answer["result"] = "0x0"
        elif method == "anvil_setBalance": state["balances"][parameters[0]] = parameters[1]; answer["result"] = None
        elif method == "anvil_setCode": state["codes"][parameters[0]] = parameters[1]; answer["result"] = None
        elif method == "test_state": answer["result"] = state
        else: answer["error"] = {{"code": -32601, "message": "no"}}
        body = json.dumps(answer).encode()
        self.send_response(200); self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
def stop(*arguments):
    pathlib.Path(options["--state"]).write_text("state")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in called anvil, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "anvil"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    return path


def make(program: Path, folder: Path) -> AnvilProcess:
    return AnvilProcess(str(program), folder, chain_id=99, gas_limit=5, accounts=ACCOUNTS)


def run(process: AnvilProcess, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await process.start()
        try:
            await scenario()
        finally:
            await process.stop()

    asyncio.run(main())


async def ask(process: AnvilProcess, method: str) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
    return json.loads(await process.forward(body))


def test_where_nothing_can_execute_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vm_pyrevm, "pyrevm", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for backend in ("auto", "embedded", "anvil"):
        with pytest.raises(UsageError) as caught:
            build(ChainConfig(state=tmp_path / "state", backend=backend))
        assert caught.value.code == "chain.backend"
        assert "RPC URL" in caught.value.hint
    with pytest.raises(HoldfastError) as missing:
        vm_pyrevm.PyrevmMachine(1, {})
    assert missing.value.code == "vm.missing"


def test_a_genesis_file_is_read_before_anything_is_started(program: Path, tmp_path: Path) -> None:
    config = ChainConfig(state=tmp_path / "state", backend="anvil", genesis=program)
    with pytest.raises(MalformedError):
        build(config)


def test_an_anvil_that_ends_at_once_is_reported(program: Path, tmp_path: Path) -> None:
    (tmp_path / "die").touch()
    process = make(program, tmp_path / "state")
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(process.start())
    assert caught.value.code == "chain.anvil"


def test_it_is_started_without_automatic_mining_and_with_bounded_history(program: Path, tmp_path: Path) -> None:
    process = make(program, tmp_path / "state")

    async def nothing() -> None:
        assert process.failure is None

    run(process, nothing)
    arguments = json.loads((tmp_path / "arguments").read_text())
    assert {"--no-mining", "--prune-history=256", "--host=127.0.0.1", "--chain-id=99"} <= set(arguments)
    assert not any(argument.startswith("--block-time") for argument in arguments)
    assert (tmp_path / "state" / "anvil-state.json").read_text() == "state"


def test_it_mines_while_the_pool_holds_something_and_never_otherwise(program: Path, tmp_path: Path) -> None:
    process = make(program, tmp_path / "state")

    async def scenario() -> None:
        await asyncio.sleep(0.4)
        state = (await ask(process, "test_state"))["result"]
        assert (state["pending"], state["mined"], state["balances"]) == (0, 2, {ADDRESS: "0xff"})
        assert state["codes"] == {CONTRACT: "0x5f"}

    run(process, scenario)

    async def again() -> None:
        state = (await ask(process, "test_state"))["result"]
        assert state["balances"] == {}  # the state file knows them

    run(process, again)


def test_the_endpoint_forwards_and_reports_a_dead_child(program: Path, tmp_path: Path) -> None:
    async def main() -> None:
        app = build(ChainConfig(state=tmp_path / "state", backend="anvil", chain_id=99, funded=(ADDRESS,)))
        server = make_server(app, port=0)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn offers nothing to wait on)
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with aiohttp.ClientSession() as session:
            body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
            async with session.post(url, json=body) as response:
                assert (await response.json())["result"] == "0x63"
            async with session.post(url, data=b"{}", headers={"content-type": "text/plain"}) as response:
                assert response.status == 415
            async with session.get(f"{url}/readyz") as response:
                assert response.status == 200
        server.should_exit = True
        await task

    asyncio.run(main())


@NEEDS_ANVIL
def test_the_contracts_run_on_the_real_anvil(tmp_path: Path) -> None:
    async def main() -> None:
        signer = signers(1)[0]
        process = AnvilProcess(
            PROGRAM,
            tmp_path / "state",
            chain_id=31337,
            gas_limit=60_000_000,
            accounts={signer.address: GenesisAccount(FUNDS)},
        )
        await process.start()
        connection = EvmConnection(f"http://127.0.0.1:{process._port}")
        try:
            deployment = await deploy(connection, signer, SETTINGS)
            chain = EvmChain(connection, deployment.rounds, signer, finality_depth=0)
            await chain.deposit(signer.address, 5)
            assert (await chain.stake(signer.address)).bonded == 5
        finally:
            await connection.close()
            await process.stop()

    asyncio.run(main())


@NEEDS_ANVIL
@pytest.mark.slow
def test_a_run_settles_on_the_real_anvil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}")
    own = tmp_path / "own.toml"
    own.write_text('[chain]\nbackend = "anvil"\n')
    with network(tmp_path / "state", "--config", str(own)) as net:
        body = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}
        url = net.ready["gateway"] + "/v1/chat/completions"
        run = fetch(url, key=net.key, body=json.dumps(body).encode())["holdfast"]["run"]

        def settled() -> bool:
            lane = net.get(f"/v1/runs/{run}")["lanes"]["settlement"]
            return bool(lane["state"] == "proven" and lane["basis"] == "development")

        wait_for(settled, 60, "settlement")
        assert (tmp_path / "state" / "chain" / "anvil-state.json").exists()
