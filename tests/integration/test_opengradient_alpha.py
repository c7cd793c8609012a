"""OpenGradient's ``Alpha``, unchanged, against a whole network of ours: what it asks on chain is run, becomes final and
comes back; what cannot be run is an error of theirs, not an answer.

Their client runs in an environment of its own (``tests/helpers/opengradient.py``); without it this file skips.
"""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import canonical
from tests.helpers import opengradient as peers
from tests.helpers.processes import NetworkProcess, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, peers.NEEDS_CLIENTS]
HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "use-opengradient-clients.md").read_text("utf-8")
FEATURES = [[3, 0.2, 2, 0.1, 0, 0, 0, 0, 0, 0, 0, 0]]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("alpha") / "state") as found:
        yield found


def infer(net: NetworkProcess, *calls: dict[str, Any], **changes: str) -> list[dict[str, Any]]:
    """What their client got, for each call."""
    wanted = {
        "rpc": net.ready["chain"],
        "contract": net.ready["alpha"],
        "api": net.ready["gateway"],
        "key": "0x" + (net.state / "keys" / "deployer.key").read_text().strip(),
        "calls": list(calls),
        **changes,
    }
    found: list[dict[str, Any]] = peers.run_driver("alpha", wanted)["results"]
    return found


def answer_of(net: NetworkProcess, model: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs that the gateway gives for the same, asked over HTTP."""
    request = urllib.request.Request(
        f"{net.ready['gateway']}/v1/infer",
        data=canonical.encode_exact({"model": model, "inputs": inputs}),
        headers={"authorization": f"Bearer {net.key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = canonical.decode_exact(answer.read())["outputs"]
    return found


def test_what_cannot_be_run_is_an_error_and_no_answer(net: NetworkProcess) -> None:
    unknown, misshapen = infer(
        net,
        {"model": "nobody/knows", "mode": "VANILLA", "inputs": {"features": FEATURES}},
        {"model": "risk", "mode": "VANILLA", "inputs": {"features": [[1.0, 2.0]]}},
    )
    for found in (unknown, misshapen):
        assert found["error"] == "RuntimeError"
        assert "Missing InferenceResult" in found["message"]


def test_a_hub_that_is_none_is_an_error(net: NetworkProcess) -> None:
    (found,) = infer(
        net,
        {"model": "risk", "mode": "VANILLA", "inputs": {"features": FEATURES}},
        contract=net.ready["asks"],
    )
    assert "error" in found


def test_the_how_to_runs_as_it_stands(net: NetworkProcess, tmp_path: Path) -> None:
    (tmp_path / ".holdfast").symlink_to(net.state)
    block = re.findall(r"^```python\n(.*?)^```", HOWTO, re.DOTALL | re.MULTILINE)[3]
    done = subprocess.run(
        [peers.PYTHON, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("[[")


def test_infer_answers_what_the_gateway_answers_once_the_run_is_final(net: NetworkProcess) -> None:
    (found,) = infer(net, {"model": "risk", "mode": "VANILLA", "inputs": {"features": FEATURES}})
    assert found.get("error") is None, found
    numbers = [canonical.NumberText(item) for item in FEATURES[0]]
    expected = answer_of(net, "risk", {"features": [numbers]})["probabilities"]
    output = found["output"]["probabilities"]
    assert output["shape"] == [int(size) for size in expected["shape"]]
    assert output["data"][0] == pytest.approx([float(item) for item in expected["data"]])


# --- workflows --------------------------------------------------------------------------------------------------------


def workflow(net: NetworkProcess, contract: str, *calls: str) -> list[Any]:
    """What their client got of a workflow, for each call."""
    wanted = {
        "rpc": net.ready["chain"],
        "contract": contract,
        "key": "0x" + (net.state / "keys" / "deployer.key").read_text().strip(),
        "calls": list(calls),
    }
    found: list[Any] = peers.run_driver("workflow", wanted)["results"]
    return found


def deploy_workflow(net: NetworkProcess, folder: Path) -> str:
    document = {"model": "risk", "mode": "VANILLA", "inputs": {"features": FEATURES}}
    (folder / "request.json").write_bytes(canonical.encode_exact(exact(document)))
    options = ["--state", str(net.state), "--account", str(net.state / "keys" / "deployer.key")]
    made = holdfast("onchain", "workflow", "deploy", str(folder / "request.json"), "--every", "1", *options, "--json")
    assert made.returncode == 0, made.stderr
    return str(canonical.decode(made.stdout.encode())["workflow"])


def exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return value if isinstance(value, str) else canonical.NumberText(value)


def test_their_own_workflow_finds_no_price_feed_here(net: NetworkProcess) -> None:
    (made,) = workflow(net, "0x" + "00" * 20, "new")
    assert made["address"].startswith("0x"), "theirs deploys, and reads a precompile that this chain has not"
    (ran,) = workflow(net, made["address"], "run")
    assert ran["error"]


def test_a_workflow_is_run_and_read_by_their_client_once_its_result_is_final(
    net: NetworkProcess, tmp_path: Path
) -> None:
    contract = deploy_workflow(net, tmp_path)
    before, ran = workflow(net, contract, "result", "run")
    assert before == {"numbers": {}, "simulated": True}
    assert ran == {"numbers": {}, "simulated": True}, "a run is final seconds after the transaction that asks for it"

    def kept() -> Any:
        shown = holdfast("onchain", "workflow", "show", contract, "--state", str(net.state), "--json")
        return canonical.decode(shown.stdout.encode())["result"]

    ours = wait_for(kept, 90, "a result")
    assert (ours["stands"], ours["round"] >= 1) == ("final", True)
    result, history = workflow(net, contract, "result", "history")
    assert history == [result]
    assert result["simulated"] is False
    expected = ours["response"]["outputs"]["probabilities"]
    found = result["numbers"]["probabilities"]
    assert found["shape"] == expected["shape"]
    assert found["data"][0] == pytest.approx(expected["data"])
