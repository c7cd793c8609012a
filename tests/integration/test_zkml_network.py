"""Runs of a whole network that EZKL proves and every full node checks, and provers and nodes that are killed meanwhile.

EZKL is installed apart (``tests/helpers/zkml.py``); without it this file skips.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.core.bundles import ProofItem, parse_bundle
from holdfast.core.keys import build_key_document
from holdfast.core.orders import Order, parse_delivery, parse_proof_delivery
from holdfast.core.proofs import verify_proof_document
from holdfast.core.statements import parse_envelope, parse_statement
from tests.helpers import onnx_files, zkml
from tests.helpers.node_process import Process
from tests.helpers.ports import free_ports
from tests.helpers.processes import NetworkProcess, fetch, holdfast, network, processes_of, wait_for

pytestmark = [pytest.mark.enable_socket, zkml.NEEDS_EZKL]
PROVERS = ("inference", "inference-2", *(f"full-{number}" for number in range(1, 5)))
SCORES = onnx_files.linear((0.5, -0.25))
WIDE = onnx_files.perceptron([32, 64, 32, 4], batch=1)
"""Takes a prover some seconds: time enough to be killed in."""
LONG_S = 180.0
RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    folder = tmp_path_factory.mktemp("zkml")
    config = folder / "holdfast.toml"
    config.write_text("".join(f'[{name}]\nezkl = "{zkml.PYTHON}"\n' for name in PROVERS))
    with network(folder / "state", "--payments", "off", "--config", str(config)) as found:
        home = found.state / "models" / "scores"
        home.mkdir()
        (home / "model.onnx").write_bytes(SCORES)
        yield found


def infer(net: NetworkProcess, mode: str = "ZKML", **change: Any) -> dict[str, Any]:
    body = json.dumps({"model": "scores", "inputs": {"x": [[1, -0.5]]}, "mode": mode, **change}).encode()
    found: dict[str, Any] = fetch(net.ready["gateway"] + "/v1/infer", key=net.key, body=body, timeout_s=60)
    return found


def lane(net: NetworkProcess, run: str) -> tuple[str, str | None]:
    found = net.get(f"/v1/runs/{run}")["lanes"]["computation"]
    return found["state"], found["basis"]


def wait_until_proved(net: NetworkProcess, run: str) -> None:
    """Wait for the proof's final verdict; what a failure needs to be understood is in its message."""
    try:
        wait_for(lambda: lane(net, run) == ("proven", "development"), LONG_S, "the proof's final verdict")
    except AssertionError as error:
        nodes = [fetch(node["url"] + "/v1/status", key="") for node in net.ready["full_nodes"]]
        raise AssertionError(f"{error}: the lane is {lane(net, run)}, full nodes say {nodes}") from error


def test_a_run_is_proved_and_every_full_node_finds_so(net: NetworkProcess, tmp_path: Path) -> None:
    refused = infer(net)
    assert refused["error"]["code"] == "infer.preparing"
    made = holdfast("hub", "circuit", "scores", "--state", str(net.state), "--json")
    assert made.returncode == 0, made.stderr
    assert "ready" in made.stderr
    assert json.loads(made.stdout)["circuit"]["srs"] == "development"

    answer = infer(net)
    assert (answer["mode"], answer["outputs"]["y"]["dtype"]) == ("ZKML", "float64")
    assert answer["outputs"]["y"]["data"] == [0.75]
    run = answer["holdfast"]["run"]
    assert lane(net, run)[0] == "pending"
    wait_until_proved(net, run)
    for node in net.ready["full_nodes"]:
        (told,) = fetch(node["url"] + "/v1/status", key="")["proofs"]
        assert (told["unchecked"], told["waiting"], told["verifier"]) == (0, [], "23.0.5")

    bundle = tmp_path / "bundle.json"
    shown = holdfast(
        "run", "export", run, "--capability", answer["holdfast"]["capability"], "--state", str(net.state),
        "--output", str(bundle),
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    (item,) = [entry.item for entry in parse_bundle(bundle.read_bytes()).journal if isinstance(entry.item, ProofItem)]
    assert item.document.run == run
    trust, srs = str(net.ready["trust"]), str(net.state / "inference" / "srs")
    silent = holdfast("verify", str(bundle), "--trust", trust, "--require", "computation=proven:development")
    assert silent.returncode == 0, silent.stdout
    assert "EZKL is not installed" in silent.stdout
    model = tmp_path / "model.onnx"
    model.write_bytes(SCORES)
    more = ("--trust", trust, "--srs", srs, "--ezkl", zkml.PYTHON, "--model", str(model))
    here = holdfast("verify", str(bundle), *more)
    assert here.returncode == 0, here.stdout
    assert "verified the proof here" in here.stdout
    model.write_bytes(onnx_files.linear((0.5, -0.5)))
    other = holdfast("verify", str(bundle), *more)
    assert other.returncode == 1, "the proof of one model passes for another"
    assert "proof.circuit" in other.stdout


@zkml.NEEDS_SOLC
def test_a_contract_on_the_networks_chain_takes_the_proof_of_a_run(net: NetworkProcess, tmp_path: Path) -> None:
    made = holdfast("hub", "circuit", "scores", "--state", str(net.state))
    assert made.returncode == 0, made.stderr
    answer = infer(net)
    run, bundle = answer["holdfast"]["run"], str(tmp_path / "bundle.json")
    wait_until_proved(net, run)
    place = ("--state", str(net.state))
    capability = ("--capability", answer["holdfast"]["capability"])
    assert holdfast("run", "export", run, *capability, *place, "--output", bundle).returncode == 0

    tools = ("--ezkl", zkml.PYTHON, "--solc", zkml.SOLC, "--srs", str(net.state / "inference" / "srs"))
    account = ("--account", str(net.state / "keys" / "deployer.key"))
    created = holdfast("onchain", "deploy-verifier", bundle, *tools, *account, *place, "--json")
    assert created.returncode == 0, created.stderr
    contract = json.loads(created.stdout)
    assert contract["srs_kind"] == "development"
    asked = holdfast("onchain", "verify-proof", bundle, "--verifier", contract["contract"], *place, "--json")
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert (found["accepted"], found["run"], found["code_keccak256"]) == (True, run, contract["code_keccak256"])
    other = holdfast("onchain", "verify-proof", bundle, "--verifier", net.ready["asks"], *place)
    assert (other.returncode, other.stdout.split("\n")[0]) == (1, "false")


def test_other_modes_stay_what_was_asked_for(net: NetworkProcess) -> None:
    for mode in ("VANILLA", "TEE"):
        answer = infer(net, mode)
        assert (answer["mode"], answer["outputs"]["y"]["dtype"]) == (mode, "float32")


def test_a_private_run_is_refused(net: NetworkProcess) -> None:
    assert infer(net, holdfast={"settlement": "private"})["error"]["code"] == "infer.private"


# --- killed meanwhile -------------------------------------------------------------------------------------------------


class Node:
    """An inference node in a process of its own, over a model that takes a while to prove."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        signer = load_or_create_signer(folder / "statement.pem", "statement")
        document = build_key_document("inference.test", ["inference"], "test", [signer.key])
        (folder / "document.json").write_bytes(document.raw)
        (folder / "token").write_text("hfi_test")
        (folder / "token").chmod(0o600)
        (folder / "models" / "wide").mkdir(parents=True)
        (folder / "models" / "wide" / "model.onnx").write_bytes(WIDE)
        port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self.config = folder / "holdfast.toml"
        self.config.write_text(
            f'[inference]\nlisten = "127.0.0.1:{port}"\nstate = "{folder}/state"\nmodels = "{folder}/models"\n'
            f'signing_key = "{folder}/statement.pem"\nkey_document = "{folder}/document.json"\n'
            f'token = "file:{folder}/token"\nezkl = "{zkml.PYTHON}"\n'
        )
        self.http = AiohttpHTTP()

    async def start(self) -> Process:
        process = Process("holdfast.nodes.inference", self.config, self.url)
        await process.ready(self.http)
        return process

    async def ask(self, method: str, path: str, value: Any = None) -> dict[str, Any]:
        headers = {"authorization": "Bearer hfi_test", "content-type": "application/json"}
        body = b"" if value is None else json.dumps(value).encode()
        answer = await self.http.request(
            method, self.url + path, body=body, headers=headers, timeout_s=60, max_bytes=1 << 24
        )
        found: dict[str, Any] = json.loads(answer.body)
        assert answer.status == 200, found
        return found

    async def make(self) -> None:
        for _ in range(int(LONG_S / 0.2)):
            if (await self.ask("POST", "/v1/circuits", {"model": "wide"}))["state"] != "making":
                return
            await asyncio.sleep(0.2)

    async def compute(self) -> Any:
        text = json.dumps({"model": "wide", "inputs": {"x": [[0.25] * 32]}, "mode": "ZKML"}).encode()
        order = Order(RUN, "inference", "request", text, bytes(32), False, None, None)
        return parse_delivery(await self.ask("POST", "/v1/compute", order.to_json()))

    async def proved(self) -> Any:
        deadline = time.monotonic() + LONG_S
        while time.monotonic() < deadline:
            waiting = (await self.ask("GET", "/v1/proofs"))["waiting"]
            if waiting:
                return parse_proof_delivery(await self.ask("GET", f"/v1/proofs/{waiting[0]['statement']}"))
            await asyncio.sleep(0.2)
        raise AssertionError("it was never proved")

    def workers(self) -> list[int]:
        """Provers of this node that run now: their orders name its folder, so their environment does."""
        found = []
        for pid in processes_of("_ezkl_worker.py"):
            try:
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                owner = Path(f"/proc/{parent}/cmdline").read_bytes().decode()
            except OSError:
                continue
            if str(self.config) in owner:
                found.append(pid)
        return found


@pytest.mark.parametrize("who", ["prover", "node"])
def test_what_is_killed_mid_proof_is_proved_later_and_not_called_proved_before(who: str, tmp_path: Path) -> None:
    async def story() -> None:
        node = Node(tmp_path)
        process = await node.start()
        try:
            await node.make()
            delivery = await node.compute()
            await asyncio.to_thread(wait_for, node.workers, LONG_S, "the beginning of the proof")
            await asyncio.sleep(0.2)  # into the proof; wherever it is, what follows must hold
            if who == "prover":
                for pid in node.workers():
                    os.kill(pid, signal.SIGKILL)
                assert (await node.ask("GET", "/v1/proofs"))["waiting"] == []
            else:
                process.kill()
                assert not list((tmp_path / "state" / "proofs").glob("proofs/*"))
                await asyncio.to_thread(wait_for, lambda: not node.workers(), 30.0, "the end of the node's prover")
                process = await node.start()
            found = await node.proved()
            computed, proved = (parse_statement(parse_envelope(item.envelope)) for item in (delivery, found))
            document = verify_proof_document(proved, computed, found.document, found.salt)
            assert document.run == RUN
            assert not list((tmp_path / "state" / "proofs").glob("jobs/*"))
        finally:
            process.kill()
            await node.http.close()

    asyncio.run(story())
