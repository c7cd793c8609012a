"""OpenGradient's published packages, unchanged, against a whole network of ours: what they ask is answered, what they
check checks, and what somebody changes on the way they refuse.

``LLM`` finds the gateway in the registry and pins its certificate, ``ConfidentialLLM`` goes through the relay and
checks the gateway's signatures, Veil does the same for whoever speaks OpenAI's protocol to it. The model behind the
gateway is scripted. The packages run in an environment of their own (``tests/helpers/opengradient.py``); without it
this file skips.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode
from tests.helpers import opengradient as peers
from tests.helpers.between import Between, Change, Passed, kept
from tests.helpers.opengradient import ARGUMENTS, CALL, TEXT, TalkingUpstream, active_gateways, rewritten
from tests.helpers.ports import free_ports
from tests.helpers.processes import NetworkProcess, fetch, network, wait_for

pytestmark = [pytest.mark.enable_socket, peers.NEEDS_CLIENTS]
HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "use-opengradient-clients.md").read_text("utf-8")
MODEL = "local/test-model"
WALLET = "0x" + "11" * 32
"""Signs nothing: the gateway of these tests asks for no payment."""
CALLED = [{**CALL, "function": {"name": "weather", "arguments": ARGUMENTS}}]
TEE_MEMBERS = {"tee_signature", "tee_request_hash", "tee_output_hash", "tee_timestamp", "tee_id"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    """``holdfast up`` with a model behind its gateway, once the gateway is active in the registry."""
    folder = tmp_path_factory.mktemp("peers")
    with TalkingUpstream() as model:
        config = folder / "holdfast.toml"
        config.write_text(
            "[gateway]\ndiscover = false\nbuiltin_tokens_per_second = 0\n\n"
            f'[[gateway.upstreams]]\ncode = "talking"\nbase_url = "{model.base_url}"\n'
            'models = ["test-model", "gpt-5=test-model"]\n'
        )
        with network(folder / "state", "--config", str(config)) as found:
            wait_for(
                lambda: active_gateways(found.ready["chain"], found.ready["registry"]), 60, "a gateway's admission"
            )
            yield found


@pytest.fixture(scope="module")
def folder(net: NetworkProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody stands who follows the how-to: beside the state folder."""
    found = tmp_path_factory.mktemp("folder")
    (found / ".holdfast").symlink_to(net.state)
    return found


@pytest.fixture(scope="module")
def wanted(net: NetworkProcess) -> dict[str, Any]:
    """What the drivers are told."""
    return {
        "rpc": net.ready["chain"],
        "registry": net.ready["registry"],
        "relay": net.ready["relay"],
        "token": net.key,
        "key": WALLET,
        "model": MODEL,
    }


@pytest.fixture(scope="module")
def direct(wanted: dict[str, Any]) -> dict[str, Any]:
    """What ``LLM`` got for every call."""
    return peers.run_driver("direct", wanted)


@pytest.fixture(scope="module")
def confidential(wanted: dict[str, Any]) -> dict[str, Any]:
    """What ``ConfidentialLLM`` got for every call."""
    return peers.run_driver("confidential", wanted)


def since_then(timestamp: int) -> float:
    """Seconds since a signature says it was made."""
    return time.time() - timestamp


# What must be refused.


def test_a_server_with_another_certificate_is_sent_nothing(wanted: dict[str, Any], tmp_path: Path) -> None:
    peers.write_certificate(tmp_path / "impostor.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "impostor.pem")
    with (
        TalkingUpstream(tls=context) as model,
        Between(wanted["rpc"], rewritten(endpoint=f"https://127.0.0.1:{model.port}")) as rpc,
    ):
        found = peers.run_driver("direct", wanted | {"rpc": rpc.url, "calls": ["chat", "stream", "completion"]})
        assert [item["error"] for item in found.values()] == ["RuntimeError", "ConnectError", "RuntimeError"]
        assert all("CERTIFICATE_VERIFY_FAILED" in item["message"] for item in found.values())
        assert model.requests == 0


def test_the_gateway_is_refused_when_the_registry_names_another_certificate(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    other = peers.write_certificate(tmp_path / "other.pem")
    with Between(wanted["rpc"], rewritten(certificate=other)) as rpc:
        found = peers.run_driver("direct", wanted | {"rpc": rpc.url, "calls": ["chat"]})
    assert "CERTIFICATE_VERIFY_FAILED" in found["chat"]["message"]


def test_a_relay_without_a_key_of_the_network_gets_no_answer(wanted: dict[str, Any]) -> None:
    found = peers.run_driver("confidential", wanted | {"token": "nobody's", "calls": ["chat", "stream"]})
    assert [item["error"] for item in found.values()] == ["RelayError", "RelayError"]
    assert all("401" in item["message"] for item in found.values())


def flipped(place: int) -> Change:
    """One bit of an answer is another."""

    def change(passed: Passed) -> bytes:
        body, at = passed.body, place % len(passed.body)
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

    return change


def shortened(passed: Passed) -> bytes:
    """The last byte of an answer is missing."""
    return passed.body[:-1]


def test_an_answer_that_the_relay_changed_is_not_shown(wanted: dict[str, Any]) -> None:
    changes = {
        "chat": flipped(0),
        "stream": flipped(40),
        "again": flipped(40),
        "named": flipped(-1),
        "tools_streamed": shortened,
        "schema": shortened,
    }
    with Between(wanted["relay"], *changes.values()) as relay:
        found = peers.run_driver("confidential", wanted | {"relay": relay.url, "calls": list(changes)})
    assert found.keys() == changes.keys()
    assert len(relay.passed) == len(changes), "the relay answered"
    assert {item.get("error") for item in found.values()} <= {"InvalidTag", "VerificationError"}, found


def test_a_gateway_that_signs_with_a_key_that_is_not_registered_is_refused(wanted: dict[str, Any]) -> None:
    other = peers.rsa_public_key()
    with Between(wanted["rpc"], rewritten(public_key=other)) as rpc:
        found = peers.run_driver("confidential", wanted | {"rpc": rpc.url, "calls": ["chat"]})
    assert found["chat"]["error"] in {"VerificationError", "RelayError"}, found  # the relay knows no such gateway


# What works: the direct path.


def check_signed(found: dict[str, Any]) -> None:
    """A signature of the gateway that their client found, of now."""
    assert len(b64_decode(found["signature"])) == 256
    assert -5 < since_then(found["timestamp"]) < 300


def test_the_direct_client_gets_an_answer_from_the_gateway_in_the_registry(
    net: NetworkProcess, direct: dict[str, Any]
) -> None:
    found = direct["chat"]
    assert found["message"]["content"] == TEXT
    assert found["finish_reason"] == "stop"
    assert found["usage"]["total_tokens"] == 17
    assert found["endpoint"] == net.ready["gateway_tls"]
    check_signed(found)


def test_the_direct_client_streams(direct: dict[str, Any]) -> None:
    found = direct["stream"]
    assert found["text"] == TEXT
    assert found["chunks"] > 3
    assert (found["finish_reason"], found["usage"]) == ("stop", 17)
    check_signed(found)


def test_the_direct_client_names_models_as_its_own_enumeration_does(direct: dict[str, Any]) -> None:
    assert direct["named"]["message"]["content"] == TEXT


def test_the_direct_client_calls_tools(direct: dict[str, Any]) -> None:
    first, second = direct["tools"]["first"], direct["tools"]["second"]
    assert first["message"]["tool_calls"] == CALLED
    assert first["finish_reason"] == "tool_calls"
    assert second["message"]["content"] == TEXT
    check_signed(first)
    check_signed(second)
    streamed = direct["tools_streamed"]
    assert streamed["calls"] == CALLED
    assert streamed["finish_reason"] == "tool_calls"


def test_the_direct_client_asks_for_a_shape(direct: dict[str, Any]) -> None:
    assert direct["schema"]["message"]["content"] == '{"lane":"bytes"}'
    check_signed(direct["schema"])


def test_the_direct_client_completes(direct: dict[str, Any]) -> None:
    assert direct["completion"]["output"] == " one of eleven."
    check_signed(direct["completion"])


def test_a_model_that_nobody_has_is_an_error_that_says_so(direct: dict[str, Any]) -> None:
    assert direct["unknown"]["error"] == "RuntimeError"
    assert "request.unknown_model" in direct["unknown"]["message"]


def test_their_checks_pass_on_an_answer_of_the_direct_path(direct: dict[str, Any]) -> None:
    found = direct["checked"]
    assert set(found["members"]) >= TEE_MEMBERS | {"holdfast"}, found
    assert found["tee"].removeprefix("0x") == direct["chat"]["tee"].removeprefix("0x")


# What works: the private path.


@pytest.mark.parametrize("call", ["chat", "again", "named", "picture"])
def test_the_confidential_client_verifies_a_whole_answer(
    net: NetworkProcess, confidential: dict[str, Any], call: str
) -> None:
    found = confidential[call]
    assert found.get("content") == TEXT, found
    assert found["frames"] is None
    assert set(found["members"]) >= TEE_MEMBERS
    assert found["endpoint"] == net.ready["gateway_tls"]
    assert -5 < since_then(found["timestamp"]) < 300


def test_the_confidential_client_verifies_a_stream(confidential: dict[str, Any]) -> None:
    found = confidential["stream"]
    assert found.get("content") == TEXT, found
    assert len(found["frames"]) > 3
    assert "[DONE]" in "".join(found["frames"])


def test_the_confidential_client_calls_tools(confidential: dict[str, Any]) -> None:
    found = confidential["tools"]
    assert json.loads(found["first"]["content"]) == CALLED
    assert found["second"]["content"] == TEXT
    assert json.loads(confidential["tools_streamed"]["content"]) == CALLED


def test_the_confidential_client_asks_for_a_shape(confidential: dict[str, Any]) -> None:
    assert confidential["schema"].get("content") == '{"lane":"bytes"}', confidential["schema"]


def test_an_error_inside_the_envelope_reaches_the_confidential_client(confidential: dict[str, Any]) -> None:
    assert confidential["unknown"]["error"] == "RelayError"
    assert "404" in confidential["unknown"]["message"]


def test_the_relay_passes_on_what_it_cannot_read(wanted: dict[str, Any]) -> None:
    with Between(wanted["relay"], kept) as relay:
        found = peers.run_driver("confidential", wanted | {"relay": relay.url, "calls": ["chat", "stream"]})
    assert {item["content"] for item in found.values()} == {TEXT}
    for body in [*relay.seen, *(passed.body for passed in relay.passed)]:
        assert body
        for word in (b"lane", b"test-model", b"tee_signature", b"choices"):
            assert word not in body


# Veil.


@dataclass(frozen=True)
class Veil:
    """A running ``og-veil serve``."""

    url: str

    def client(self) -> openai.OpenAI:
        """OpenAI's own client, pointed at it."""
        return openai.OpenAI(base_url=self.url + "/v1", api_key="ignored", max_retries=0)


@pytest.fixture(scope="module")
def veil_home(folder: Path) -> Path:
    """The folder with the session that the how-to writes."""
    [script] = re.findall(r"<<'END'\n(.*?)\nEND\n", HOWTO, re.DOTALL)
    home = folder / ".bench" / "veil"
    home.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=30)
    return home


def start_veil(home: Path, port: int, measurement: str) -> subprocess.Popen[bytes]:
    """``og-veil serve`` that takes no gateway but those of one measurement."""
    pinned = {"OG_VEIL_HOME": str(home), "OG_VEIL_PORT": str(port), "OG_VEIL_EXPECTED_PCR_HASH": measurement}
    return subprocess.Popen(
        [str(Path(peers.PYTHON).parent / "og-veil"), "serve", "-f"],
        env={**os.environ, "OG_VEIL_HOST": "127.0.0.1", **pinned},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def veil(net: NetworkProcess, veil_home: Path) -> Iterator[Veil]:
    """Veil, pinned to the measurement that the registry has of the gateway."""
    [row] = active_gateways(net.ready["chain"], net.ready["registry"])
    port = free_ports()
    process = start_veil(veil_home, port, "0x" + row[5].hex())
    try:
        found = Veil(f"http://127.0.0.1:{port}")

        def ready() -> bool:
            assert process.poll() is None, "Veil ended by itself"
            try:
                with urllib.request.urlopen(found.url + "/health", timeout=5) as answer:
                    return bool(json.load(answer)["active_tee_id"])
            except OSError:
                return False

        wait_for(ready, 60, "Veil's start")
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def test_veil_starts_with_no_gateway_of_another_measurement(veil_home: Path) -> None:
    assert start_veil(veil_home, free_ports(), "0x" + "ab" * 32).wait(60) not in (0, None)


ASK: Any = {"model": "test-model", "messages": [{"role": "user", "content": "What is a lane?"}]}


def test_veil_answers_an_openai_client_with_what_it_verified(veil: Veil) -> None:
    with veil.client() as client:
        raw = client.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["x-opengradient-verified"] == "true"
    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    verification = (answer.model_extra or {})["opengradient_verification"]
    assert verification["verified"] is True
    assert verification["tee_id"] == raw.headers["x-opengradient-tee-id"]


def test_veil_streams_to_an_openai_client(veil: Veil) -> None:
    with veil.client() as client:
        frames = list(client.chat.completions.create(**ASK, stream=True))
    assert "".join(frame.choices[0].delta.content or "" for frame in frames if frame.choices) == TEXT


def test_veil_passes_tool_calls(veil: Veil) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with veil.client() as client:
        answer = client.chat.completions.create(**ASK, tools=tools)
    [call] = answer.choices[0].message.tool_calls or []
    assert call.model_dump(exclude_none=True) == CALL


def test_veil_names_an_error_of_the_gateway(veil: Veil) -> None:
    with veil.client() as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**(ASK | {"model": "nothing"}))


# What the TypeScript SDK would do: it is not published, so what it does stands in for it.


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on the PATH")
def test_node_finds_the_gateway_in_the_list_of_ten_fields_and_pins_it(net: NetworkProcess) -> None:
    script = peers.DRIVERS / "typescript.cjs"
    wanted = {"rpc": net.ready["chain"], "registry": net.ready["registry_views"], "model": "test-model"}
    done = subprocess.run(
        ["node", str(script)],
        input=json.dumps(wanted | {"token": peers.TOKEN}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "endpoint": net.ready["gateway_tls"],
        "enabled": True,
        "message": {"role": "assistant", "content": TEXT},
        "signed": True,
        "text": TEXT,
        "final": "stop",
        "completion": " one of eleven.",
    }


# What users are told.


@pytest.mark.parametrize("number", [0, 1], ids=["direct", "private"])
def test_the_how_to_is_what_works(folder: Path, number: int) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", HOWTO, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4, "test_opengradient_paying.py runs the third, test_opengradient_alpha.py the fourth"
    done = subprocess.run(
        [peers.PYTHON, "-c", blocks[number]], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "lane" in done.stdout


def test_the_how_to_installs_what_is_tested_here() -> None:
    pinned = (Path(__file__).parents[2] / "requirements" / "opengradient.txt").read_text("utf-8").split()
    [named] = re.findall(r"pip install (\S+) (\S+)", HOWTO)
    assert set(named) <= set(pinned)
    assert {line.partition("==")[0] for line in named} == {"opengradient", "opengradient-veil"}


# What is left of it all: evidence of ours.


def test_every_answer_of_theirs_has_evidence_of_ours(net: NetworkProcess, direct: dict[str, Any]) -> None:
    """A run of the direct path is in the workspace that their fixed token names, and settles like any other."""
    assert direct["chat"]["message"]["content"] == TEXT
    key = {"authorization": f"Bearer {peers.TOKEN}"}
    run = ask(net, "/v1/runs", key)["runs"][0]["run"]
    view = wait_for(lambda: settled(net, run, key), 60, "settlement")
    assert view["lanes"]["bytes"]["state"] == "proven"
    assert view["lanes"]["settlement"]["state"] == "proven"
    assert view["lanes"]["privacy"]["state"] == "unknown"
    assert "relay" not in [hop["hop"] for hop in view["lanes"]["privacy"]["hops"]]


def test_a_sealed_answer_of_theirs_says_by_which_way_it_came(net: NetworkProcess, confidential: dict[str, Any]) -> None:
    run, capability = (confidential["stream"]["holdfast"][name] for name in ("run", "capability"))
    bundle = ask(net, f"/v1/runs/{run}/bundle", {"x-holdfast-capability": capability})
    statements = [
        canonical.decode_object(b64_decode(item["envelope"]["payload"]))
        for item in bundle["journal"]
        if item["kind"] == "statement"
    ]
    [route] = [item for item in statements if item["predicateType"] == "urn:holdfast:route:v1"]
    path = route["predicate"]["path"]
    assert (path["profile"], path["suite"]) == ("json", "chacha20-poly1305")
    assert path["relay"] == fetch(net.ready["relay"] + "/v1/identity", key=net.key)["node"]
    lane = ask(net, f"/v1/runs/{run}", {"x-holdfast-capability": capability})["lanes"]["privacy"]
    assert [hop["hop"] for hop in lane["hops"]][:3] == ["client", "relay", "gateway"]
    assert lane["hops"][1]["node"] == path["relay"]
    assert lane["state"] == "unknown", "the enclave of a development network is simulated"


def ask(net: NetworkProcess, path: str, headers: dict[str, str]) -> dict[str, Any]:
    """A JSON answer of the gateway."""
    request = urllib.request.Request(net.ready["gateway"] + path, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return canonical.decode_object(answer.read())


def settled(net: NetworkProcess, run: str, headers: dict[str, str]) -> dict[str, Any] | None:
    """The run once its settlement is no longer pending."""
    view = ask(net, f"/v1/runs/{run}", headers)
    return view if view["lanes"]["settlement"]["state"] != "pending" else None
