"""The whole thing as a newcomer meets it: one command, a question, lanes that move, a bundle, an offline check."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection, call_contract
from holdfast.adapters.registry_evm import EvmRegistry
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.cli.development import OPENGRADIENT_KEY
from holdfast.core import canonical, evm, opengradient
from holdfast.core.keys import parse_key_document
from holdfast.core.rounds import ChainDomain
from holdfast.core.x402 import address_word
from holdfast.ports.registry import GATEWAY_KIND, RegisteredNode
from holdfast.verifier.lanes import LANES
from tests.helpers import onnx_files
from tests.helpers.facilitator import request
from tests.helpers.panel import TOKEN
from tests.helpers.payments import MINT, eip3009, payer, requirements
from tests.helpers.processes import NetworkProcess, fetch, network, processes_of, wait_for

pytestmark = pytest.mark.enable_socket
MODEL = "holdfast-builtin"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("network")) as found:
        yield found


def ask(net: NetworkProcess, text: str = "What is Holdfast?", **more: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
    answer: dict[str, Any] = fetch(
        net.ready["gateway"] + "/v1/chat/completions", key=net.key, body=json.dumps(body).encode()
    )
    return answer


def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a newcomer types it."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def settled(net: NetworkProcess, run: str) -> dict[str, Any]:
    """The run once its settlement is no longer pending."""

    def look() -> dict[str, Any] | None:
        view: dict[str, Any] = net.get(f"/v1/runs/{run}")
        return view if view["lanes"]["settlement"]["state"] != "pending" else None

    found: dict[str, Any] = wait_for(look, 40, "settlement")
    return found


def test_nothing_is_answered_without_a_key(net: NetworkProcess) -> None:
    for path in ("/v1/runs", "/v1/network"):  # models and prices are for everybody where answers are sold
        answer = fetch(net.ready["gateway"] + path, key="wrong")
        assert answer["error"]["code"] == "auth.wrong"


def test_the_ready_line_says_how_to_reach_everything(net: NetworkProcess) -> None:
    assert {"ready", "key", "gateway", "panel", "log", "chain", "full_nodes"} <= net.ready.keys()
    assert len(net.ready["full_nodes"]) == 4
    assert net.ready["gateway_tls"].startswith("https://")
    assert net.ready["facilitator"].startswith("http://127.0.0.1:")
    assert net.ready["payment_network"] == "eip155:31337"


def test_a_payment_is_verified_and_captured_by_the_networks_facilitator(net: NetworkProcess) -> None:
    signer, url = payer(1), net.ready["facilitator"]
    asked = requirements(1000, asset=net.ready["token"])
    body = json.dumps(request(eip3009(asked, signer, valid_before=10**10))).encode()
    refused = fetch(f"{url}/verify", key=net.key, body=body)
    assert refused["invalidReason"] == "invalid_exact_evm_insufficient_balance"
    asyncio.run(mint(net, signer.address, 5000))
    assert fetch(f"{url}/verify", key=net.key, body=body) == {"isValid": True, "payer": signer.address}
    job = fetch(f"{url}/settle", key=net.key, body=body)["paymentJob"]["jobId"]

    def captured() -> dict[str, Any] | None:
        found: dict[str, Any] = fetch(f"{url}/settle/{job}", key=net.key)
        return found if found["status"] not in ("queued", "processing") else None

    result = wait_for(captured, 30, "a capture")["result"]
    assert (result["success"], result["amount"]) == (True, "1000")


async def mint(net: NetworkProcess, address: str, amount: int) -> None:
    """What the faucet of a development network is for."""
    connection = EvmConnection(net.ready["chain"])
    try:
        account = EvmAccount(connection, load_signer(net.state / "keys" / "faucet.key"), 31337)
        await account.transact(net.ready["token"], MINT + address_word(address) + evm.word(amount))
    finally:
        await connection.close()


def test_the_panel_of_a_development_network_gives_a_wallet_test_tokens(net: NetworkProcess) -> None:
    async def ask() -> dict[str, Any]:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(net.ready["panel"], cookie_jar=jar) as http:
            async with http.get("/chat", headers={"accept": "text/html"}) as page:
                found = TOKEN.search(text := await page.text())
                assert found is not None
                assert f'data-faucet="{net.ready["payment_network"]}"' in text
            headers = {"origin": net.ready["panel"], "sec-fetch-site": "same-origin", "x-holdfast-token": found[1]}
            body = {"address": payer(77).address}
            async with http.post("/pay/faucet", json=body, headers=headers) as answer:
                assert answer.status == 200
                given: dict[str, Any] = await answer.json()
                return given

    async def held() -> int:
        connection = EvmConnection(net.ready["chain"])
        try:
            found = await call_contract(connection, net.ready["token"], "TestToken", "balanceOf", payer(77).address)
        finally:
            await connection.close()
        return int(found)

    given = asyncio.run(ask())
    assert given["network"] == net.ready["payment_network"]
    assert len(given["transaction"]) == 66
    assert asyncio.run(held()) == 1000 * 10**18


def test_opengradients_clients_find_an_active_gateway_whose_certificate_and_signature_hold(
    net: NetworkProcess,
) -> None:
    def active() -> dict[str, Any] | None:
        status: dict[str, Any] = net.get("/heartbeat/status")
        return status if status["active"] else None

    found = wait_for(active, 40, "a place in the registry")
    assert (found["registry"], found["last_error"]) == (net.ready["registry"], None)
    listed = asyncio.run(in_the_registry(net))
    assert (listed.endpoint, listed.active) == (net.ready["gateway_tls"], True)
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pinned.check_hostname = False
    pinned.load_verify_locations(cadata=(net.state / "keys" / "gateway.tls.pem").read_text())
    body = {"model": MODEL, "messages": [{"role": "user", "content": "What is Holdfast?"}], "max_tokens": 20}
    headers = {"authorization": f"Bearer {OPENGRADIENT_KEY}", "x-settlement-type": "private"}
    asked = urllib.request.Request(listed.endpoint + "/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, context=pinned, timeout=20) as reply:
        answer = canonical.decode_exact(reply.read())
    key = parse_key_document((net.state / "keys" / "gateway.json").read_bytes()).key_for("opengradient")
    assert key is not None
    request = canonical.decode_exact(json.dumps(body).encode())
    assert opengradient.verify_answer("chat.completions", request, answer, key.public).tee_id == listed.tee_id
    assert answer["holdfast"]["settlement"] == "private"


async def in_the_registry(net: NetworkProcess) -> RegisteredNode:
    """The one gateway that the registry lists."""
    account = load_signer(net.state / "keys" / "gateway.account.key", "account")
    domain = ChainDomain(31337, net.ready["registry"])
    registry = EvmRegistry(EvmConnection(net.ready["chain"]), domain, account)
    try:
        [found] = await registry.nodes(GATEWAY_KIND)
        return found
    finally:
        await registry.close()


def test_an_answer_comes_at_once_and_its_lanes_settle(net: NetworkProcess, tmp_path: Path) -> None:
    run = ask(net)["holdfast"]["run"]
    first = net.get(f"/v1/runs/{run}")
    assert list(first["lanes"]) == list(LANES)
    assert first["lanes"]["settlement"]["state"] == "pending"
    view = settled(net, run)
    assert view["lanes"]["settlement"]["state"] == "proven"
    assert view["lanes"]["settlement"]["basis"] == "development"
    assert view["lanes"]["bytes"]["state"] == "proven"
    assert view["lanes"]["enclave"]["state"] == "unknown"
    assert view["lanes"]["enclave"]["basis"] == "development"
    codes = [item["code"] for item in view["chronology"]]
    assert codes.index("asked") < codes.index("answered") < codes.index("logged") < codes.index("final")
    _verify_offline(net, run, tmp_path)


def _tells_of_payment(item: dict[str, Any]) -> bool:
    if item["kind"] != "statement":
        return False
    return b"urn:holdfast:payment:v1" in base64.b64decode(item["envelope"]["payload"])


def _verify_offline(net: NetworkProcess, run: str, folder: Path) -> None:
    bundle, trust = folder / "bundle.json", folder / "trust.json"
    state = ["--state", str(net.state)]
    assert holdfast("run", "export", run, "-o", str(bundle), *state).returncode == 0
    assert holdfast("trust", "export", "-o", str(trust), *state).returncode == 0
    raw = bundle.read_bytes()
    journal = json.loads(raw)["journal"]
    [shown] = [item["evidence"] for item in journal if item["kind"] == "attestation"]
    paid = [item for item in journal if item["kind"] == "payment" or _tells_of_payment(item)]
    beside = len(shown) + sum(len(json.dumps(item)) for item in paid)
    assert len(raw) - beside <= 12 * 1024  # beside what was paid, and a document that is as large as AWS makes it
    needs = ["--require", "settlement=proven:development", "--require", "bytes=proven"]
    good = holdfast("verify", str(bundle), "--trust", str(trust), *needs)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "verified" not in good.stdout.lower()
    assert holdfast("verify", str(bundle), *needs).returncode == 3
    assert holdfast("verify", str(bundle), "--trust", str(trust), "--require", "enclave=proven").returncode == 3
    value = json.loads(bundle.read_text())
    for item in value["journal"]:
        if item["kind"] == "verdict":
            item["code"] = "refuted:signature"
    bundle.write_text(json.dumps(value))
    assert holdfast("verify", str(bundle), "--trust", str(trust)).returncode == 1


def test_a_model_is_run_by_one_node_and_again_by_another(net: NetworkProcess, tmp_path: Path) -> None:
    """From a file in a folder to lanes that say what ran, by whom, and that another node got the same bits."""
    folder = Path(net.ready["models"]) / "scores"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx_files.perceptron([8, 16, 3]))
    gateway = net.ready["gateway"]
    value = {"model": "scores", "inputs": {"x": [[1, 2, 3, 4, 5, 6, 7, 8]]}, "mode": "VANILLA"}

    def ran() -> dict[str, Any] | None:
        """Its answer, once the gateway knows the model: it asks nodes every few seconds what they have."""
        found: dict[str, Any] = fetch(gateway + "/v1/infer", key=net.key, body=json.dumps(value).encode())
        return found if "outputs" in found else None

    answer = wait_for(ran, 30, "the model")
    assert answer["outputs"]["y"]["shape"] == [1, 3]
    run, capability = answer["holdfast"]["run"], answer["holdfast"]["capability"]
    again = urllib.request.Request(
        f"{gateway}/v1/runs/{run}/recompute", b"", {"x-holdfast-capability": capability}, method="POST"
    )
    with urllib.request.urlopen(again) as reply:
        told = json.load(reply)
    assert (told["comparison"], told["node"]) == ("equal", "inference-2")
    assert told["computation"]["artifact"] == answer["artifact"]
    lanes = settled(net, run)["lanes"]
    assert (lanes["settlement"]["state"], lanes["settlement"]["basis"]) == ("proven", "development")
    assert (lanes["artifact"]["state"], lanes["artifact"]["basis"]) == ("proven", "signature")
    assert (lanes["computation"]["state"], lanes["computation"]["basis"]) == ("proven", "observed")
    bundle, trust, state = tmp_path / "bundle.json", tmp_path / "trust.json", ["--state", str(net.state)]
    assert holdfast("run", "export", run, "-o", str(bundle), *state).returncode == 0
    assert holdfast("trust", "export", "-o", str(trust), *state).returncode == 0
    checked = holdfast("verify", str(bundle), "--trust", str(trust), "--require", "computation=proven:observed")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    simulated = {**value, "mode": "TEE"}
    answer = fetch(gateway + "/v1/infer", key=net.key, body=json.dumps(simulated).encode())
    lane = settled(net, answer["holdfast"]["run"])["lanes"]["computation"]
    assert (lane["state"], lane["basis"]) == ("unknown", "development"), "a simulated enclave shows nothing"
    refused = fetch(gateway + "/v1/infer", key=net.key, body=json.dumps({**value, "mode": "ZKML"}).encode())
    assert refused["error"]["code"] == "infer.no_prover", "nobody installed one for this network"


def test_the_capability_opens_the_documents_and_a_changed_byte_is_refused(net: NetworkProcess, tmp_path: Path) -> None:
    answer = ask(net, "What is 6 times 7?")
    run, capability = answer["holdfast"]["run"], answer["holdfast"]["capability"]
    settled(net, run)
    bundle, trust = tmp_path / "bundle.json", tmp_path / "trust.json"
    state = ["--state", str(net.state)]
    exported = holdfast("run", "export", run, "-o", str(bundle), "--capability", capability, *state)
    assert exported.returncode == 0, exported.stderr
    assert holdfast("trust", "export", "-o", str(trust), *state).returncode == 0
    text = bundle.read_text()
    assert "42" in text
    assert holdfast("verify", str(bundle), "--trust", str(trust), "--require", "bytes=proven").returncode == 0
    bundle.write_text(text.replace("What is 6 times 7?", "What is 6 times 8?"))
    changed = holdfast("verify", str(bundle), "--trust", str(trust), "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["lanes"]["bytes"]["state"] == "refuted"


def test_a_private_run_is_logged_and_never_checked(net: NetworkProcess) -> None:
    answer = ask(net, holdfast={"settlement": "private"})
    view = settled(net, answer["holdfast"]["run"])
    assert view["lanes"]["settlement"]["state"] == "unknown"
    assert "never checked" in view["lanes"]["settlement"]["says"]


def test_another_key_does_not_see_a_run(net: NetworkProcess) -> None:
    run = ask(net)["holdfast"]["run"]
    assert fetch(f"{net.ready['gateway']}/v1/runs/{run}", key="other")["error"]["code"] == "auth.wrong"


def test_a_network_that_is_stopped_leaves_nothing_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with network(tmp_path / "state") as first:
        port = int(first.ready["panel"].rsplit(":", 1)[1])
        run = ask(first)["holdfast"]["run"]
        settled(first, run)
        second = holdfast("up", "--json", "--state", str(tmp_path / "state"), "--port", str(port))
        assert second.returncode == 2
        assert first.stop() == 0
    assert not processes_of(str(tmp_path / "state"))
    with network(tmp_path / "state", port=port) as again:
        assert again.get(f"/v1/runs/{run}")["lanes"]["settlement"]["state"] == "proven"
        later = ask(again)["holdfast"]["run"]
        assert settled(again, later)["lanes"]["settlement"]["state"] == "proven"


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    with network(tmp_path / "state") as net:
        os.kill(net.process.pid, signal.SIGKILL)
        net.process.wait(10)
        wait_for(lambda: not processes_of(str(tmp_path / "state")), 30, "the end of the workers")


def test_a_run_that_names_a_queue_is_held_and_then_clear_by_itself_and_handed_out_once(net: NetworkProcess) -> None:
    panel, body = net.ready["panel"], {"model": MODEL, "messages": [{"role": "user", "content": "What is a lane?"}]}
    headers = {"x-holdfast-queue": "default", "authorization": f"Bearer {net.key}", "content-type": "application/json"}
    request = urllib.request.Request(net.ready["gateway"] + "/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["x-holdfast-queue"] == "default"
        value = json.loads(answer.read())
    run, text = value["holdfast"]["run"], value["choices"][0]["message"]["content"]

    def case(state: str) -> dict[str, Any] | None:
        shown = fetch(f"{panel}/v1/cases?run={run}", key=net.key)
        assert text not in json.dumps(shown)
        found: list[dict[str, Any]] = [item for item in shown["cases"] if item["state"] == state]
        return found[0] if found else None

    held = wait_for(lambda: case("HOLD"), 30, "the case")
    assert held["queue"] == "default"
    assert {reason["lane"] for reason in held["reasons"]} <= {"bytes", "settlement"}
    assert any("settlement is pending" in reason["says"] for reason in held["reasons"])
    assert fetch(f"{panel}/v1/queues/default/next?consumer=desk", key=net.key)["handed"] is None
    clear = wait_for(lambda: case("CLEAR"), 40, "its proof")
    assert clear["lanes"]["settlement"]["basis"] == "development"
    assert {event["actor"]["kind"] for event in clear["events"]} == {"system", "gate"}
    handed = fetch(f"{panel}/v1/queues/default/next?consumer=desk", key=net.key)["handed"]
    assert (handed["case"]["id"], handed["case"]["state"]) == (clear["id"], "CLEAR")
    assert fetch(f"{panel}/v1/queues/default/next?consumer=another", key=net.key)["handed"] is None


def lead(net: NetworkProcess, file: str) -> list[dict[str, Any]]:
    """What ``holdfast agent run`` tells of an agent of the examples, a document a line."""
    path = Path(__file__).parents[2] / "examples" / file
    done = holdfast("agent", "run", str(path), "--state", str(net.state), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_example_with_an_mcp_server_proposes_a_flag_that_waits(net: NetworkProcess) -> None:
    told = lead(net, "mcp/agent.toml")
    [proposed] = [item for item in told if item["what"] == "proposed"]
    assert (proposed["name"], json.loads(proposed["arguments"])["file"]) == ("flag", "2.txt")
    assert (told[-1]["error"], told[-1]["acts"]) == (None, [proposed["run"]])
    children = told[-1]["children"]
    assert sorted(child["kind"] for child in children) == ["chat.completions"] * 3 + ["inference"] + ["step"] * 3
    shown = wait_for(
        lambda: fetch(f"{net.ready['panel']}/v1/cases?run={proposed['run']}", key=net.key)["cases"], what="the case"
    )
    assert [case["queue"] for case in shown] == ["default"]
