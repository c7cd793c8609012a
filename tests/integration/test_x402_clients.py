"""The clients of x402's authors, unchanged, pay the gateway of a whole network: Python and TypeScript, ``exact`` over
EIP-3009 and ``upto`` over Permit2, whole answers and streams. What they signed is captured afterwards, once, and what
the chain says agrees with what the gateway says.

The clients are fetched apart (``tests/helpers/x402.py``); without them this file skips.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core.captures import BALANCE_OF
from holdfast.core.x402 import address_word
from tests.helpers import x402
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.processes import NetworkProcess, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_MACHINE]
KEY, POOR = "51" * 32, "52" * 32
PAID = ("exact", "exact_streamed", "upto", "upto_streamed")
SETTINGS = "[gateway]\nsession_idle_seconds = 2\nbuiltin_tokens_per_second = 40\n"
"""Sessions are captured soon, and a stream takes long enough to be seen as one."""
Run = Callable[[Mapping[str, Any]], dict[str, Any]]
CLIENTS = (
    pytest.param(x402.run_python, marks=x402.NEEDS_PYTHON, id="python"),
    pytest.param(x402.run_typescript, marks=x402.NEEDS_TYPESCRIPT, id="typescript"),
)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    folder = tmp_path_factory.mktemp("paid")
    config = folder / "holdfast.toml"
    config.write_text(SETTINGS)
    with network(folder / "state", "--payments", "required", "--config", str(config)) as found:
        done = holdfast("pay", "faucet", "--key", KEY, "--state", str(found.state))
        assert done.returncode == 0, done.stderr
        yield found


def wanted(net: NetworkProcess, *calls: str, key: str = KEY) -> dict[str, Any]:
    """What a driver is told."""
    return {
        "gateway": net.ready["gateway"],
        "rpc": net.ready["chain"],
        "network": net.ready["payment_network"],
        "token": net.ready["token"],
        "key": f"0x{key}",
        "model": "holdfast-builtin",
        "calls": list(calls),
    }


def payment_of(net: NetworkProcess, paid: Mapping[str, Any]) -> dict[str, Any]:
    """The gateway's view of a run's payment, read with the capability that its caller got."""
    request = urllib.request.Request(
        f"{net.ready['gateway']}/v1/runs/{paid['x-holdfast-run']}/payment",
        headers={"x-holdfast-capability": paid["x-holdfast-capability"]},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def captured(net: NetworkProcess, paid: Mapping[str, Any]) -> dict[str, Any]:
    """The view once the money moved."""
    last: dict[str, Any] = {}

    def moved() -> bool:
        last.update(payment_of(net, paid))
        return last["captured"] is not None

    wait_for(moved, 90, "a capture")
    return last


def balance(net: NetworkProcess, address: str) -> int:
    """Test tokens of an address, by the chain."""
    call = {"to": net.ready["token"], "data": "0x" + (BALANCE_OF + address_word(address)).hex()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}).encode()
    request = urllib.request.Request(net.ready["chain"], body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.load(answer)["result"], 16)


def payer(key: str) -> str:
    """The address of a key."""
    return Secp256k1Signer(bytes.fromhex(key)).address


# What must be refused.


@pytest.mark.parametrize("run", CLIENTS)
def test_a_wallet_without_money_gets_no_answer(net: NetworkProcess, run: Run) -> None:
    found = run(wanted(net, "exact", "upto", key=POOR))
    for paid in found.values():
        assert (paid["status"], paid["x-holdfast-run"], paid["x-holdfast-payment"]) == (402, None, None)
    assert found["exact"]["refused"] == "payment.balance"
    assert found["upto"]["refused"] in {"payment.balance", "payment.allowance"}


@x402.NEEDS_PYTHON
def test_a_client_that_keeps_to_its_own_limits_pays_nothing(net: NetworkProcess) -> None:
    before = balance(net, payer(KEY))
    found = x402.run_python(wanted(net, "careful"))
    assert found["careful"]["error"] == "PaymentError"
    assert balance(net, payer(KEY)) == before


# What must work.


@pytest.mark.parametrize("run", CLIENTS)
def test_answers_and_streams_are_paid_and_captured_once(net: NetworkProcess, run: Run) -> None:
    before = balance(net, payer(KEY))
    found = run(wanted(net, *PAID))
    for name, paid in found.items():
        assert "error" not in paid, (name, paid)
        assert (paid["status"], paid["x-holdfast-payment"]) == (200, "authorised"), name
        assert paid["payment-response"] is None, "no transfer has happened when the answer leaves"
        assert paid["text"].startswith("A lane is one question"), name
        assert (paid["x-upto-session"] is not None) == name.startswith("upto"), name
        if name.endswith("streamed"):
            assert paid["pieces"] > 10, "a stream stays one"
    taken = 0
    for name, paid in found.items():
        view = captured(net, paid)
        charge, amount = int(view["charged"]["amount"]), int(view["captured"]["amount"])
        signed = int(view["signed"]["authorised"])
        assert 0 < charge <= signed, name
        assert amount == (charge if name.startswith("upto") else signed), name
        assert view["signed"]["payer"] == payer(KEY)
        assert "no" not in {item["answer"] for item in view["checks"]}, view["checks"]
        assert {item["answer"] for item in view["checks"] if item["about"] == "chain"} == {"yes"}, view["checks"]
        taken += amount
    assert before - balance(net, payer(KEY)) == taken, "the chain and the gateway agree to the last unit"


@x402.NEEDS_PYTHON
def test_a_client_that_can_do_either_is_served(net: NetworkProcess) -> None:
    assert x402.run_python(wanted(net, "both"))["both"]["status"] == 200


def test_what_nobody_pays_for_is_offered_in_the_header_and_in_the_body(net: NetworkProcess) -> None:
    """Without any client: the 402 itself, for whoever writes the next one."""
    body = json.dumps({"model": "holdfast-builtin", "messages": [{"role": "user", "content": "x"}]}).encode()
    request = urllib.request.Request(f"{net.ready['gateway']}/v1/chat/completions", body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    told = json.loads(refused.value.read())
    assert refused.value.code == 402
    assert {entry["scheme"] for entry in told["accepts"]} == {"exact", "upto"}
    assert {entry["network"] for entry in told["accepts"]} == {net.ready["payment_network"]}
    assert told["error"]["code"] == "payment.required"
