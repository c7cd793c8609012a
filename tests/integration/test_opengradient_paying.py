"""OpenGradient's published ``LLM``, unchanged, pays a network of ours: on a development chain with the id of the public
chain that it insists on, its token, Permit2 and the contract for ``upto`` stand at their usual addresses.

It gives its allowance, signs once, and asks on in the session. The packages run in an environment of their own
(``tests/helpers/opengradient.py``); without it this file skips.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import opengradient as peers
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.opengradient import active_gateways
from tests.helpers.processes import NetworkProcess, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_MACHINE, peers.NEEDS_CLIENTS]
KEY = "61" * 32
CHAIN_ID = 8453
TOKEN = "0xfbc2051ae2265686a469421b2c5a2d5462fbf5eb"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    folder = tmp_path_factory.mktemp("base")
    config = folder / "holdfast.toml"
    config.write_text("[gateway]\nbuiltin_tokens_per_second = 0\n")
    options = ("--chain-id", str(CHAIN_ID), "--payments", "required", "--config", str(config))
    with network(folder / "state", *options) as found:
        wait_for(lambda: active_gateways(found.ready["chain"], found.ready["registry"]), 90, "a gateway's admission")
        yield found


def pay(net: NetworkProcess, key: str, *, approve: bool = True) -> subprocess.CompletedProcess[str]:
    """Their client, with the network's chain for the public one."""
    wanted = {
        "rpc": net.ready["chain"],
        "registry": net.ready["registry"],
        "key": f"0x{key}",
        "model": "local/holdfast-builtin",
        "approve": approve,
    }
    return subprocess.run(
        [peers.PYTHON, str(peers.DRIVERS / "paying.py")],
        input=json.dumps(wanted),
        env={**os.environ, "BASE_MAINNET_RPC": net.ready["chain"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_their_network_and_their_token_are_offered(net: NetworkProcess) -> None:
    assert (net.ready["payment_network"], net.ready["token"]) == (f"eip155:{CHAIN_ID}", TOKEN)


def test_a_wallet_without_money_gets_no_answer(net: NetworkProcess) -> None:
    done = pay(net, "62" * 32, approve=False)
    assert done.returncode != 0
    assert "402" in done.stderr


def test_their_client_signs_once_and_asks_on_in_its_session(net: NetworkProcess) -> None:
    funded = holdfast("pay", "faucet", "--key", KEY, "--state", str(net.state))
    assert funded.returncode == 0, funded.stderr
    done = pay(net, KEY)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])

    assert found["allowance"] >= 10 * 10**18
    assert all(text.startswith("A lane is one question") for text in [*found["chat"], found["stream"]])
    assert found["completion"]
    assert all(found["signatures"]), "what is paid is signed in their way too"

    exchanges = found["exchanges"]
    assert [(item["status"], item["sent"]) for item in exchanges] == [
        (402, []),
        (200, ["payment-signature"]),
        (200, ["x-upto-session"]),
        (200, ["x-upto-session"]),
        (402, []),
        (200, ["payment-signature"]),
    ], "a session for chat and one for completions: they keep one for each path"
    [offer] = json.loads(base64.b64decode(exchanges[0]["told"]["payment-required"]))["accepts"]
    assert (offer["scheme"], offer["network"], offer["asset"]) == ("upto", f"eip155:{CHAIN_ID}", TOKEN)
    sessions = [item["told"]["x-upto-session"] for item in exchanges if item["status"] == 200]
    assert len(set(sessions[:3])) == 1
    assert sessions[3] != sessions[0]
    assert not any("payment-response" in item["told"] for item in exchanges)


def test_the_how_to_pays(net: NetworkProcess, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto" / "use-opengradient-clients.md").read_text("utf-8")
    block = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[2]
    (tmp_path / ".holdfast").symlink_to(net.state)
    funded = holdfast("pay", "faucet", "--key", "63" * 32, "--state", str(net.state))
    assert funded.returncode == 0, funded.stderr
    done = subprocess.run(
        [peers.PYTHON, "-c", block],
        cwd=tmp_path,
        env={**os.environ, "WALLET_KEY": "0x" + "63" * 32},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("A lane is one question")


def test_another_chain_for_the_same_network_is_refused(net: NetworkProcess, tmp_path: Path) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    (tmp_path / "chain").mkdir()
    (trust / "trust.json").write_bytes((net.state / "trust" / "trust.json").read_bytes())
    done = holdfast("up", "--state", str(tmp_path), "--chain-id", "31337")
    assert done.returncode != 0
    assert "has a chain with id 8453" in done.stderr
