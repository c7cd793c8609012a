"""``holdfast doctor``: each finding says what is the matter and what to do."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import doctor
from holdfast.cli.network import FullNodeAddress
from holdfast.cli.network import Network as Described
from holdfast.errors import UnavailableError
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from tests.helpers.attested import with_keys
from tests.helpers.identities import configuration, proof_for, sealed_network
from tests.helpers.network import UNTIL, Network
from tests.helpers.tls import certificate

GATEWAY, LOG, CHAIN = "http://gateway", "http://log", "http://chain"
NODES = tuple(FullNodeAddress(f"full-{number}", f"http://full-{number}") for number in range(1, 5))


class Nodes:
    """Answers by URL; what is not listed is silent. Implements ``ports.http.HTTP``."""

    def __init__(self, **changes: Answer | None) -> None:
        date = dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        status = json.dumps({"node": "ab" * 32, "address": "0x" + "1" * 40, "logs": []}).encode()
        self.answers: dict[str, Answer | None] = {
            f"{GATEWAY}/readyz": Answer(200, b'{"ready":true}'),
            f"{GATEWAY}/v1/models": Answer(200, b'{"object":"list","data":[{"id":"m"}]}', {"date": date}),
            f"{GATEWAY}/metrics": Answer(200, b"holdfast_gateway_outbox_bytes 0.0\n"),
            f"{LOG}/readyz": Answer(200, b"{}"),
            CHAIN: Answer(200, b'{"jsonrpc":"2.0","id":1,"result":"0x10"}'),
            **{f"{node.url}/v1/status": Answer(200, status) for node in NODES},
        }
        self.answers |= changes

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        answer = self.answers.get(url)
        if answer is None:
            raise UnavailableError("http.unreachable", f"{url} does not answer")
        return answer


def network(**changes: Any) -> Described:
    given: dict[str, Any] = {
        "described_by": "state/network.json",
        "gateway": GATEWAY,
        "key": Secret("hf_key", "env:MINE"),
        "log": LOG,
        "chain": CHAIN,
        "origin": "holdfast.test/log/1",
        "full_nodes": NODES,
    }
    return Described(**(given | changes))


def findings(nodes: Nodes) -> dict[str, doctor.Finding]:
    found = asyncio.run(doctor.check_nodes(network(), nodes))  # type: ignore[arg-type]
    return {finding.what: finding for finding in found}


def test_a_network_that_works_is_fine() -> None:
    assert {finding.state for finding in findings(Nodes()).values()} == {doctor.FINE}


@pytest.mark.parametrize(
    ("url", "answer", "what", "state"),
    [
        (f"{GATEWAY}/readyz", None, "gateway", doctor.WRONG),
        (f"{GATEWAY}/readyz", Answer(503, b'{"error":{"message":"waiting for the log"}}'), "gateway", doctor.LOOK),
        (f"{GATEWAY}/v1/models", Answer(401, b"{}"), "key", doctor.WRONG),
        (f"{GATEWAY}/v1/models", Answer(200, b'{"data":[]}'), "models", doctor.WRONG),
        (f"{GATEWAY}/v1/models", Answer(200, b'{"data":[1]}'), "clock", doctor.LOOK),
        (
            f"{GATEWAY}/v1/models",
            Answer(200, b'{"data":[1]}', {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}),
            "clock",
            doctor.WRONG,
        ),
        (f"{GATEWAY}/metrics", Answer(200, b"holdfast_gateway_outbox_bytes 9e9\n"), "outbox", doctor.LOOK),
        (f"{LOG}/readyz", None, "log", doctor.WRONG),
        (CHAIN, None, "chain", doctor.WRONG),
        (CHAIN, Answer(200, b"<html>"), "chain", doctor.WRONG),
        (CHAIN, Answer(200, b"{}"), "chain", doctor.WRONG),
        ("http://full-2/v1/status", None, "full-2", doctor.LOOK),
        ("http://full-2/v1/status", Answer(500, b""), "full-2", doctor.LOOK),
    ],
)
def test_what_is_wrong_is_named_and_says_what_to_do(url: str, answer: Answer | None, what: str, state: str) -> None:
    finding = findings(Nodes(**{url: answer}))[what]
    assert finding.state == state
    assert finding.says
    assert finding.do or what == "clock"


def test_one_silent_full_node_leaves_a_quorum_and_two_do_not() -> None:
    one = findings(Nodes(**{"http://full-1/v1/status": None}))
    assert one["quorum"].state == doctor.FINE
    two = findings(Nodes(**{"http://full-1/v1/status": None, "http://full-4/v1/status": None}))
    assert two["quorum"].state == doctor.WRONG
    assert "2 of 4" in two["quorum"].says


def test_a_full_node_that_is_behind_says_why() -> None:
    status = {
        "node": "ab" * 32,
        "address": "0x" + "1" * 40,
        "logs": [{"origin": "holdfast.test/log/1", "size": 4, "note": "", "problem": "the log is withheld"}],
    }
    shown = findings(Nodes(**{"http://full-3/v1/status": Answer(200, json.dumps(status).encode())}))
    assert "the log is withheld" in shown["full-3"].says


@pytest.mark.parametrize(
    ("expires_at", "state"),
    [
        (UNTIL + dt.timedelta(days=3650), doctor.FINE),
        (dt.datetime.now(dt.UTC) + dt.timedelta(days=3), doctor.LOOK),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), doctor.WRONG),
    ],
)
def test_trust_that_runs_out_is_told_in_time(tmp_path: Path, expires_at: dt.datetime, state: str) -> None:
    (tmp_path / "trust.json").write_bytes(Network(expires_at=expires_at).trust_file())
    (finding,) = doctor.check_trust(network(trust_path=tmp_path / "trust.json"))
    assert finding.state == state


def test_trust_that_does_not_check_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(b"{}")
    (finding,) = doctor.check_trust(network(trust_path=tmp_path / "trust.json"))
    assert finding.state == doctor.WRONG


def test_no_key_and_a_key_that_others_can_read_are_told(tmp_path: Path) -> None:
    assert "key" in {finding.what for finding in doctor.check_state(network(key=None)) if finding.state == doctor.LOOK}
    path = tmp_path / "key"
    path.write_text("hf_secret")
    path.chmod(0o644)
    found = list(doctor.check_state(network(key=Secret("hf_secret", f"file:{path}"))))
    assert [finding.do for finding in found if finding.state == doctor.LOOK] == [f"chmod 600 {path}"]
    assert not any("hf_secret" in finding.says for finding in found)


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> list[float]:
        raise PermissionError(13, "Permission denied")

    assert doctor.check_disk(tmp_path / "not" / "there" / "yet").what == "disk"
    monkeypatch.setattr(doctor, "_sync_times", refuse)
    assert doctor.check_disk(tmp_path).state == doctor.WRONG


def test_an_old_python_is_wrong() -> None:
    (finding,) = doctor.check_python((3, 10))
    assert finding.state == doctor.WRONG


# The private path and TLS


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, doctor.FINE, "shows the keys of gateway"),
        ({"cosigners": 1}, doctor.LOOK, "keys_proof.quorum"),
        ({"status": 503}, doctor.LOOK, "gateway.answer"),
        ({"other": True}, doctor.WRONG, "keys_proof.attester"),
    ],
)
def test_keys_that_the_relay_shows_are_checked(changes: dict[str, Any], state: str, words: str) -> None:
    named = sealed_network()
    shown = sealed_network(configuration("another")) if changes.get("other") else named
    proof = proof_for(shown, cosigners=changes.get("cosigners", 4))
    nodes = Nodes(**{"http://relay/v1/ohttp/keys/proof": Answer(changes.get("status", 200), proof)})
    trust = named.trust(expires_at="2040-01-01T00:00:00.000Z", **forever(named))
    [found] = asyncio.run(doctor.check_relay("http://relay", trust, nodes))
    assert (found.what, found.state) == ("relay", state)
    assert words in found.says


def forever(network: Network) -> dict[str, Any]:
    """Members of a trust version whose nodes hold whenever the test runs."""
    value = json.loads(network.trust_version())
    until = {"valid_until": "2040-01-01T00:00:00.000Z"}
    return {name: [{**item, **until} for item in value[name]] for name in ("nodes", "logs", "epochs")}


def test_where_tls_ends_is_checked() -> None:
    shown = certificate()

    async def learn(host: str, port: int) -> bytes:
        assert (host, port) == ("gateway", 8443)
        return shown.raw

    async def nobody(_: str, __: int) -> bytes:
        raise UnavailableError("http.unreachable", "no TLS there")

    def found(network: Network, how: doctor.Learn) -> tuple[str, str]:
        [finding] = asyncio.run(doctor.check_tls("https://gateway:8443", network.trust(), how))
        return finding.state, finding.says

    named = with_keys(Network(), tls=shown.spki)
    assert found(named, learn) == (doctor.FINE, "https://gateway:8443 ends at the key of gateway")
    assert found(Network(), learn)[0] == doctor.WRONG
    assert found(named, nobody) == (doctor.LOOK, "http.unreachable: no TLS there")


@pytest.mark.parametrize(
    ("told", "state", "says"),
    [
        (None, doctor.LOOK, "does not answer"),
        (b"<html>", doctor.LOOK, ""),
        (b'{"enabled":false}', doctor.LOOK, "keeps no place"),
        (
            b'{"enabled":true,"active":false,"waits_for":"full nodes vote on attestation 7"}',
            doctor.LOOK,
            "attestation 7",
        ),
        (b'{"enabled":true,"active":false,"last_error":"chain.funds"}', doctor.LOOK, "chain.funds"),
        (b'{"enabled":true,"active":true}', doctor.FINE, "active"),
    ],
)
def test_a_gateway_that_the_registry_does_not_list_is_found(told: bytes | None, state: str, says: str) -> None:
    nodes = Nodes(**{f"{GATEWAY}/heartbeat/status": None if told is None else Answer(200, told)})
    described = network(given={"registry": "0x" + "7e" * 20})
    found = asyncio.run(doctor.check_nodes(described, nodes))  # type: ignore[arg-type]
    (finding,) = [item for item in found if item.what == "registry"]
    assert (finding.state, says in finding.says) == (state, True)
