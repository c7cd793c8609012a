"""Every command that talks to a network, against a real one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from holdfast.core.encoding import sha256_hex
from holdfast.core.images import parse_image
from holdfast.verifier.lanes import LANES
from tests.helpers.processes import NetworkProcess, fetch, holdfast, network, wait_for
from tests.helpers.proxies import proxying

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("network")) as found:
        yield found


def test_a_conversation_settles_and_everything_about_it_can_be_shown(net: NetworkProcess, tmp_path: Path) -> None:
    state = ["--state", str(net.state)]
    talked = holdfast("chat", *state, "--json", stdin="What is a lane?\nWhat is 3 times 4?\n")
    assert talked.returncode == 0, talked.stderr
    events = [json.loads(line) for line in talked.stdout.splitlines()]
    answers = [event["text"] for event in events if event["event"] == "answered"]
    assert len(answers) == 2
    assert "12" in answers[1]
    here = [event for event in events if event["event"] == "lanes" and event["told_by"] == "here"]
    assert [event["lanes"]["settlement"]["state"] for event in here] == ["proven", "proven"]
    assert not [event for event in events if event["event"] == "note"]
    asked = [event for event in events if event["event"] == "asked"][1]

    shown = holdfast("run", "show", asked["run"], *state)
    assert shown.returncode == 0
    assert all(f" {name} " in shown.stdout for name in LANES)
    as_json = json.loads(holdfast("run", "show", asked["run"], *state, "--json").stdout)
    assert list(as_json["lanes"]) == list(LANES)
    listed = json.loads(holdfast("run", "list", *state, "--json").stdout)["runs"]
    assert asked["run"] in {item["run"] for item in listed}

    bundle, trust = str(tmp_path / "bundle.json"), str(tmp_path / "trust.json")
    exported = holdfast("run", "export", asked["run"], *state, "--capability", asked["capability"], "-o", bundle)
    assert exported.returncode == 0
    assert "discloses request and response" in exported.stderr
    assert holdfast("trust", "export", *state, "-o", trust).returncode == 0
    pin = json.loads(holdfast("trust", "show", trust, "--json").stdout)["first_digest"]
    checked = holdfast("verify", bundle, "--trust", trust, "--trust-pin", pin, "--require", "settlement=proven")
    assert checked.returncode == 0
    assert "pinned by its digest" in checked.stdout


def test_an_image_is_made_written_found_again_and_verified(net: NetworkProcess, tmp_path: Path) -> None:
    state, first, again = ["--state", str(net.state)], tmp_path / "first.png", tmp_path / "again.png"
    made = holdfast("image", "a red circle", *state, "--size", "96x64", "--seed", "3", "-o", str(first), "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["kind"], told["width"], told["height"]) == ("png", 96, 64)
    assert sha256_hex(first.read_bytes()) == told["sha256"]
    assert parse_image(first.read_bytes()).width == 96

    opened = ["--capability", told["capability"]]
    assert holdfast("run", "image", told["run"], *state, *opened, "-o", str(again)).returncode == 0
    assert again.read_bytes() == first.read_bytes()
    closed = holdfast("run", "image", told["run"], *state, "-o", str(again))
    assert closed.returncode == 2
    assert "capability" in closed.stderr
    second = holdfast("run", "image", told["run"], *state, *opened, "--number", "2", "-o", str(again))
    assert second.returncode == 2

    bundle, trust = tmp_path / "bundle.json", str(tmp_path / "trust.json")
    assert holdfast("run", "export", told["run"], *state, *opened, "-o", str(bundle)).returncode == 0
    assert holdfast("trust", "export", *state, "-o", trust).returncode == 0
    required = ["--require", "bytes=proven", "--require", "route=proven"]
    assert holdfast("verify", str(bundle), "--trust", trust, *required).returncode == 0
    altered = bundle.read_bytes().replace(b"iVBORw0KGgo", b"iVBORw0KGgp", 1)
    assert altered != bundle.read_bytes()
    bundle.write_bytes(altered)
    assert holdfast("verify", str(bundle), "--trust", trust, *required).returncode == 1


def test_log_and_rounds_are_shown_checked(net: NetworkProcess) -> None:
    state = ["--state", str(net.state)]
    assert holdfast("chat", *state, "--once", "hello").returncode == 0
    log = json.loads(holdfast("log", "show", *state, "--json").stdout)
    assert log["size"] >= 2
    assert len(log["cosignatures"]) >= 3
    entries = [json.loads(holdfast("log", "entry", str(n), *state, "--json").stdout) for n in range(log["size"])]
    assert "execution statement" in {entry["type"] for entry in entries}
    assert holdfast("log", "entry", str(10**6), *state).returncode == 1
    rounds = json.loads(holdfast("round", "list", *state, "--json").stdout)
    assert rounds["silent"] == []
    first = next(item for item in rounds["rounds"] if item["state"] == "final")
    assert 3 * sum(item["stake"] for item in first["finality"]) > 2 * first["stake_total"]
    shown = holdfast("round", "show", str(first["number"]), *state)
    assert "more than two thirds" in shown.stdout
    assert holdfast("round", "show", "9999", *state).returncode == 1


def test_the_log_holds_the_gateways_keys_once_and_nobody_shows_two_sets(net: NetworkProcess) -> None:
    state = ["--state", str(net.state)]
    found = holdfast("log", "identities", *state, "--json")
    assert found.returncode == 0, found.stderr
    value = json.loads(found.stdout)
    [told] = value["identities"]
    identity = net.get("/v1/identity")
    assert (told["node"], told["refused"], told["until"]) == (identity["node"], None, None)
    assert told["index"] == identity["statement"]["index"]
    assert told["ohttp"] is not None
    assert value["split_keys"] == []
    assert "no node shows two sets of OHTTP keys at once" in holdfast("log", "identities", *state).stdout


def test_doctor_finds_nothing_wrong_with_a_network_that_runs(net: NetworkProcess) -> None:
    done = holdfast("doctor", "--state", str(net.state), "--json")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 0, done.stdout
    assert {"gateway", "log", "chain", "panel", "trust", "clock", "quorum", "outbox"} <= {
        finding["what"] for finding in findings if finding["state"] == "fine"
    }


def test_settings_are_shown_with_their_source_and_no_secret(net: NetworkProcess) -> None:
    shown = holdfast("config", "show", "--state", str(net.state))
    assert shown.returncode == 0, shown.stderr
    assert net.key not in shown.stdout
    assert "[full-4]" in shown.stdout
    assert "holdfast.toml" in shown.stdout
    one = json.loads(holdfast("config", "show", "gateway", "--state", str(net.state), "--json").stdout)
    assert {row["table"] for row in one["settings"]} == {"gateway"}


def test_a_gateways_url_and_a_key_are_enough(net: NetworkProcess, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(net.key + "\n")
    gateway = ["--gateway", net.ready["gateway"], "--key", f"file:{tmp_path / 'key'}"]
    assert holdfast("chat", *gateway, "--once", "hello", "--wait", "0").returncode == 0
    trust = tmp_path / "trust.json"
    assert holdfast("trust", "export", *gateway, "-o", str(trust)).returncode == 0
    assert trust.read_bytes() == (net.state / "trust" / "trust.json").read_bytes()
    assert "signed by the key that trust names" in holdfast("log", "show", *gateway).stdout
    assert holdfast("round", "list", *gateway).returncode == 0
    assert holdfast("doctor", *gateway).returncode == 0


def chat_events(*arguments: str) -> dict[str, Any]:
    """One question; what was said by event, the last of each."""
    done = holdfast("chat", *arguments, "--json", "--once", "What is a lane?", "--wait", "0")
    assert done.returncode == 0, done.stderr
    return {event["event"]: event for event in map(json.loads, done.stdout.splitlines())}


def test_a_question_goes_through_the_relay_and_its_route_says_so(net: NetworkProcess) -> None:
    def proven() -> bool:
        """A quorum has cosigned the log since the gateway's keys stand in it."""
        found = json.loads(holdfast("doctor", "--state", str(net.state), "--json").stdout)["findings"]
        return any(item["what"] == "relay" and "in the log since before" in item["says"] for item in found)

    wait_for(proven, what="the relay's proof")
    shown = chat_events("--state", str(net.state), "--private")
    assert "every request is sealed to a key that its key document names" in shown["checked"]["says"]
    assert (shown["checked"]["channel"], shown["checked"]["fresh"]) == ("sealed", True)
    path = shown["answered"]["path"]
    assert path["relay"] == hashlib.sha256((net.state / "keys" / "relay.json").read_bytes()).hexdigest()
    assert (path["suite"], path["profile"]) == ("aes-128-gcm", "binary-http")
    assert shown["answered"]["fell_back"] is None

    with proxying(None, "--state", str(net.state), "--private") as said:
        assert said["checked"]["channel"] == "sealed"
        with openai.OpenAI(base_url=said["url"], api_key="anything", max_retries=0) as client:
            raw = client.chat.completions.with_raw_response.create(
                model="holdfast-builtin", messages=[{"role": "user", "content": "What is a lane?"}], stream=True
            )
            assert "".join(event.choices[0].delta.content or "" for event in raw.parse() if event.choices)
        assert raw.headers["x-holdfast-channel"] == "sealed"


def test_the_gateway_under_tls_is_held_to_its_attested_key(net: NetworkProcess, tmp_path: Path) -> None:
    described = json.loads((net.state / "network.json").read_text())
    (tmp_path / "key").write_text(net.key + "\n")
    gateway = ["--gateway", described["gateway_tls"], "--key", f"file:{tmp_path / 'key'}"]
    shown = chat_events(*gateway, "--trust", described["trust"])
    assert "TLS ends at the key that its key document names" in shown["checked"]["says"]
    assert shown["answered"]["path"] is None
    hardware = holdfast("chat", *gateway, "--trust", described["trust"], "--once", "x", "--attested", "hardware")
    assert hardware.returncode == 1
    assert hardware.stderr.startswith("error: identity.attestation: hardware is required")


def test_a_wrong_key_is_refused_and_an_unknown_run_is_a_failure(net: NetworkProcess, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hf_wrong\n")
    gateway = ["--gateway", net.ready["gateway"]]
    wrong = holdfast("run", "list", *gateway, "--key", f"file:{tmp_path / 'key'}")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: auth.wrong: ")
    unknown = holdfast("run", "show", "019b76da-a800-70c8-9215-35f11ffa1fae", "--state", str(net.state))
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: run.unknown: ")


def test_nobody_there_is_said_plainly() -> None:
    silent = holdfast("chat", "--once", "x", "--gateway", "http://127.0.0.1:9", "--key", "env:HOME")
    assert silent.returncode == 1
    assert silent.stderr.startswith("error: http.unreachable: ")


def test_facts_are_admitted_replayed_and_logged(net: NetworkProcess, tmp_path: Path) -> None:
    state = ["--state", str(net.state)]
    listed = json.loads(holdfast("data", "sources", *state, "--json").stdout)
    assert [item["id"] for item in listed["sources"]] == [
        "demo-chain",
        "demo-clock",
        "demo-price-north",
        "demo-price-south",
    ]
    tried = json.loads(holdfast("data", "try", "demo-clock", "zone=utc+9", *state, "--json").stdout)
    assert tried["value"]["text"].endswith("+09:00")
    assert (tried["statement"], tried["envelope"], tried["lane"]["state"]) == (None, None, "unknown")
    saved = str(tmp_path / "now.json")
    admitted = json.loads(holdfast("data", "admit", "demo-clock", "zone=utc", *state, "--json", "--save", saved).stdout)
    assert admitted.keys() == {"value", "statement", "envelope", "lane"}
    assert admitted["statement"]["predicate"]["event"] == "admitted"
    assert admitted["lane"]["state"] == "unknown"  # the node's enclave is simulated, and the command looks at none
    replayed = json.loads(holdfast("data", "replay", saved, *state, "--json").stdout)
    assert replayed == {"equal": True, "value": admitted["value"]}
    refused = json.loads(holdfast("data", "admit", "demo-clock", "zone=mars", *state, "--json").stdout)
    assert (refused["value"], refused["statement"]["predicate"]["event"]) == (None, "refused")
    second = {item["name"]: item["url"] for item in net.ready["data_nodes"]}["data-2"]
    prices = [
        json.loads(holdfast("data", "admit", f"demo-price-{name}", *state, "--json", *url).stdout)
        for name, url in (("north", ()), ("south", ("--data", second)))
    ]
    assert abs(Decimal(prices[0]["value"]["text"]) - Decimal(prices[1]["value"]["text"])) < Decimal("0.01")
    assert len({price["statement"]["predicate"]["attester"] for price in prices}) == 2
    block = json.loads(holdfast("data", "admit", "demo-chain", *state, "--json").stdout)
    assert json.loads(block["value"]["text"])["hash"].startswith("0x")
    assert "sources.unknown" in holdfast("data", "admit", "nowhere", *state).stderr
    digest = hashlib.sha256(base64.b64decode(admitted["envelope"]["payload"])).hexdigest()
    index = f"{net.ready['log']}/v1/index/{digest}"
    wait_for(lambda: fetch(index, key=net.key).get("index") is not None, what="the log's index of the admission")
