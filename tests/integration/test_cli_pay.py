"""``holdfast pay`` and ``holdfast chat --pay`` against a real network: chain, facilitator and gateway are processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.client.sync import SyncGatewayClient
from holdfast.client.wallet_file import load_wallet_file
from holdfast.core.trust import parse_trust_chain, verify_trust
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.processes import NetworkProcess, holdfast, network, wait_for
from tests.helpers.proxies import proxying

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, NEEDS_MACHINE]
KEY = "42" * 32


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("paid"), "--payments", "required") as found:
        yield found


def done(net: NetworkProcess, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command on the network's state folder, with the exit code it should have."""
    found = holdfast(*arguments, "--state", str(net.state))
    assert found.returncode == code, found.stdout + found.stderr
    return found


def told(net: NetworkProcess, *arguments: str) -> Any:
    return json.loads(done(net, *arguments, "--json").stdout)


def chat(net: NetworkProcess, *options: str, code: int = 0) -> list[dict[str, Any]]:
    """The events of one question."""
    found = done(net, "chat", "--pay", "--once", "What is a lane?", "--wait", "0", "--json", *options, code=code)
    return [json.loads(line) for line in found.stdout.splitlines()]


def error_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a question that failed says."""
    found: dict[str, Any] = next(event["error"] for event in events if event["event"] == "failed")
    return found


def test_the_faucet_funds_a_wallet_by_its_key_or_its_address(net: NetworkProcess) -> None:
    given = told(net, "pay", "faucet", "--key", KEY)
    assert given["address"] == Secp256k1Signer(bytes.fromhex(KEY)).address
    assert (given["balance"], given["wallet"]) == ("1000", None)
    assert told(net, "pay", "faucet", "--key", given["address"], "--amount", "0.5")["balance"] == "1000.5"


def test_a_wallet_is_made_once_and_pays_within_its_limits(net: NetworkProcess, tmp_path: Path) -> None:
    made = told(net, "pay", "faucet")
    again = told(net, "pay", "faucet", "--amount", "1")
    assert (again["address"], again["wallet"]) == (made["address"], made["wallet"])
    assert (Path(made["wallet"]).parent / "wallet.key").stat().st_mode & 0o777 == 0o600

    events = chat(net)
    [note] = [event["says"] for event in events if event["event"] == "note"]
    assert note.startswith("signed at most 5 OPG")
    run = next(event["run"] for event in events if event["event"] == "asked")
    [signed] = told(net, "pay", "history")["signed"]
    assert (signed["runs"], signed["scheme"], signed["trouble"]) == ([run], "upto", None)
    assert signed["asked"]["extensions"]["offer-receipt"]["info"]["offers"], "the offer is kept for a dispute"
    assert "allowance" not in signed
    assert "eip2612GasSponsoring" in signed["sent"]["extensions"], "no allowance was there, so one was signed along"

    refused = chat(net, "--pay-at-most", "0.001", code=1)
    assert error_of(refused)["code"] == "paying.per_request"
    cheap = chat(net, "--pay-at-most", "1")
    assert next(event["says"] for event in cheap if event["event"] == "note").startswith("signed 0.0")
    assert len(told(net, "pay", "history")["signed"]) == 2


def test_an_allowance_is_given_and_taken_back(net: NetworkProcess) -> None:
    done(net, "pay", "faucet")
    assert told(net, "pay", "approve")["amount"] == str(100 * 10**18)
    [asset] = told(net, "pay", "balance")["wallet"]["assets"]
    assert asset["allowance"] == "100 OPG"
    chat(net)
    sent = told(net, "pay", "history")["signed"][0]["sent"]
    assert "extensions" not in sent, "what is allowed already is not signed along"
    done(net, "pay", "approve", "--amount", "0")
    assert told(net, "pay", "balance")["wallet"]["assets"][0]["allowance"] == "0 OPG"


def test_a_wallet_without_money_is_told_so_and_its_promise_counts(net: NetworkProcess, tmp_path: Path) -> None:
    done(net, "pay", "faucet")
    text = (net.state / "wallet" / "wallet.toml").read_text().replace(str(net.state / "wallet"), str(tmp_path))
    (tmp_path / "wallet.toml").write_text(text)
    (tmp_path / "wallet.key").write_text("43" * 32 + "\n")
    (tmp_path / "wallet.key").chmod(0o600)
    events = chat(net, "--wallet", str(tmp_path / "wallet.toml"), code=1)
    assert error_of(events)["code"] == "paying.loop"
    assert "balance" in error_of(events)["message"]
    [signed] = told(net, "pay", "history", "--wallet", str(tmp_path / "wallet.toml"))["signed"]
    assert signed["runs"] == []


def test_a_run_is_explained_from_its_signed_documents(net: NetworkProcess, tmp_path: Path) -> None:
    done(net, "pay", "faucet")
    asked = next(event for event in chat(net) if event["event"] == "asked")
    capability = ("--capability", asked["capability"])

    def charged() -> Any:
        found = told(net, "pay", "explain", asked["run"])  # by the capability that the wallet keeps
        return found if found["steps"] else None

    found = wait_for(charged, 30, "the charge")
    step = found["steps"][0]
    assert (step["event"], step["trouble"], step["usage_compared"]) == ("charged", None, True)
    assert step["document"]["not_evidence_of"]
    assert [item["runs"] for item in found["signed"]] == [[asked["run"]]]
    assert int(step["document"]["charge"]["amount"]) <= int(step["document"]["asked"])

    bundle = str(tmp_path / "bundle.json")
    done(net, "run", "export", asked["run"], *capability, "-o", bundle)
    assert told(net, "pay", "explain", asked["run"], *capability)["steps"]
    offline = holdfast("pay", "explain", asked["run"], "--bundle", bundle, "--json")
    assert json.loads(offline.stdout)["steps"][0]["document"] == step["document"]


def test_a_program_pays_for_streams_and_answers_on_one_session(net: NetworkProcess) -> None:
    done(net, "pay", "faucet")
    wallet = load_wallet_file(net.state / "wallet" / "wallet.toml", {})
    trust = verify_trust(parse_trust_chain((net.state / "trust" / "trust.json").read_bytes()))
    request = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}
    with SyncGatewayClient.paying(net.ready["gateway"], wallet, trust=trust) as client:
        first = client.ask(request).turn
        with client.stream(request) as answer:
            text = "".join(marked.text for marked in answer)
        assert answer.bound is not None
        second = answer.bound.turn
    assert first.text == text
    assert first.paid is not None
    assert second.paid is not None
    assert (first.paid.new, second.paid.new, first.paid.identity) == (True, False, second.paid.identity)
    signed = told(net, "pay", "history")["signed"][0]
    assert set(signed["runs"]) == {first.run, second.run}


def test_without_a_wallet_the_price_is_told(net: NetworkProcess) -> None:
    events = [
        json.loads(line)
        for line in done(net, "chat", "--once", "hello", "--wait", "0", "--json", code=1).stdout.splitlines()
    ]
    assert error_of(events)["code"] == "paying.asked"


def test_a_proxy_pays_for_programs_that_know_nothing_of_it_within_the_wallets_limits(net: NetworkProcess) -> None:
    done(net, "pay", "faucet")
    before = {run for item in told(net, "pay", "history")["signed"] for run in item["runs"]}
    asked: dict[str, Any] = {
        "model": "holdfast-builtin",
        "messages": [{"role": "user", "content": "What is a lane?"}],
    }
    with (
        proxying(None, "--state", str(net.state), "--pay") as said,
        openai.OpenAI(base_url=said["url"], api_key="nobody's", max_retries=0) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(**asked)
        with client.chat.completions.create(**asked, stream=True) as stream:
            text = "".join(event.choices[0].delta.content or "" for event in stream if event.choices)
    assert text == raw.parse().choices[0].message.content
    signed = told(net, "pay", "history")["signed"]
    assert len({run for item in signed for run in item["runs"]} - before) == 2
    assert raw.headers["x-holdfast-run"] in {run for item in signed for run in item["runs"]}
