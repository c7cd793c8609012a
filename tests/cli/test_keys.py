"""``holdfast keys`` and ``holdfast trust draft | sign | adopt``: a gateway gets new keys and stays the same node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import build_key_document, parse_key_document
from holdfast.core.statements import pre_authentication_encoding
from holdfast.core.trust import TRUST_PAYLOAD_TYPE, build_trust_chain, parse_trust_chain, verify_trust
from tests.cli.conftest import Outcome
from tests.helpers.network import FROM, Network

Holdfast = Callable[..., Outcome]
NETWORK = Network()
ROTATE = ["keys", "rotate", "--key-document", "gateway.json", "--signing-key", "gateway.pem", "--out", "next"]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder with a gateway's key, its document, root keys and a trust file that admits it."""
    signer = load_or_create_signer(tmp_path / "gateway.pem", "statement")
    document = build_key_document("gateway", ["gateway"], "test", [signer.key], tls="ab" * 32)
    (tmp_path / "gateway.json").write_bytes(document.raw)
    roots = [load_or_create_signer(tmp_path / f"root-{number}.pem", "root") for number in (1, 2)]
    value = canonical.decode_signed(NETWORK.trust_version())
    value["nodes"][0]["key_document"] = b64_encode(document.raw)
    value["root"]["keys"] = [{"algorithm": root.key.algorithm, "public": b64_encode(root.key.public)} for root in roots]
    payload = canonical.encode(value)
    message = pre_authentication_encoding(payload, TRUST_PAYLOAD_TYPE)
    (tmp_path / "trust.json").write_bytes(
        build_trust_chain([(payload, [(root.key.key_id, root.sign(message)) for root in roots])])
    )
    return tmp_path


def digest(path: Path) -> str:
    return parse_key_document(path.read_bytes()).digest


def test_another_key_than_the_documents_hands_nothing_over(holdfast: Holdfast, node: Path) -> None:
    load_or_create_signer(node / "other.pem", "statement")
    done = holdfast(*[word.replace("gateway.pem", "other.pem") for word in ROTATE])
    assert (done.code, "keys.signing_key" in done.err) == (2, True)
    assert not (node / "next").exists()


def test_what_lies_there_is_not_written_over(holdfast: Holdfast, node: Path) -> None:
    assert holdfast(*ROTATE).code == 0
    made = (node / "next" / "gateway.json").read_bytes()
    done = holdfast(*ROTATE)
    assert (done.code, "keys.exists" in done.err) == (1, True)
    assert (node / "next" / "gateway.json").read_bytes() == made


def test_documents_of_two_nodes_are_not_one(holdfast: Holdfast, node: Path) -> None:
    assert holdfast(*ROTATE).code == 0
    done = holdfast("keys", "show", "next/gateway.json", "gateway.json", "--rotation", "next/rotation.json")
    assert (done.code, "rotation.lineage" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--end", "nonsense"], "usage.option"),
        (["--end", "ab=2026-01-01T00:00:00Z"], "trust_draft.unknown_node"),
        (["--revoke", "ab" * 32], "trust_draft.unknown_node"),
        (["--admit", "gateway.json"], "trust_draft.admitted"),
        (["--admit", "gateway.pem"], "json.syntax"),
        (["--from", "tomorrow"], "usage.time"),
    ],
)
def test_a_draft_that_makes_no_sense_is_not_written(
    holdfast: Holdfast, node: Path, arguments: list[str], code: str
) -> None:
    done = holdfast("trust", "draft", "trust.json", *arguments, "-o", "draft.json")
    assert (done.code != 0, code in done.err) == (True, True), done.err
    assert not (node / "draft.json").exists()


def test_a_stranger_signs_no_draft_and_too_few_signatures_adopt_none(holdfast: Holdfast, node: Path) -> None:
    load_or_create_signer(node / "stranger.pem", "root")
    assert holdfast("trust", "draft", "trust.json", "-o", "draft.json").code == 0
    done = holdfast("trust", "sign", "draft.json", "--key", "stranger.pem", "-o", "draft.json")
    assert (done.code, "trust_draft.root" in done.err) == (2, True)
    assert holdfast("trust", "sign", "draft.json", "--key", "root-1.pem", "-o", "draft.json").code == 0
    before = (node / "trust.json").read_bytes()
    done = holdfast("trust", "adopt", "trust.json", "draft.json", "-o", "trust.json")
    assert (done.code, "trust.threshold" in done.err) == (1, True)
    assert (node / "trust.json").read_bytes() == before


def test_a_gateway_gets_new_keys_and_stays_the_same_node(holdfast: Holdfast, node: Path) -> None:
    old = digest(node / "gateway.json")
    done = holdfast(*ROTATE, "--json")
    assert done.code == 0, done.err
    new = digest(node / "next" / "gateway.json")
    assert json.loads(done.out)["new"] == new
    done = holdfast("keys", "show", "gateway.json", "next/gateway.json", "--rotation", "next/rotation.json", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["first"] == old
    assert [item["digest"] for item in told["documents"]] == [old, new]
    assert told["documents"][1]["tls"] == "ab" * 32

    moment = "2026-06-01T00:00:00Z"
    done = holdfast(
        "trust", "draft", "trust.json", "--admit", "next/gateway.json", "--from", moment, "--end", f"{old}={moment}",
        "-o", "draft.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    for number in (1, 2):
        assert holdfast("trust", "sign", "draft.json", "--key", f"root-{number}.pem", "-o", "draft.json").code == 0
    done = holdfast("trust", "adopt", "trust.json", "draft.json", "-o", "trust.json", "--json")
    assert json.loads(done.out)["trust"]["version"] == 2
    found = verify_trust(parse_trust_chain((node / "trust.json").read_bytes()))
    before, after = found.admission(old), found.admission(new)
    assert before is not None
    assert after is not None
    assert before.refusal(FROM, FROM) is None
    assert after.refusal(FROM, FROM) == "key-not-yet-valid"
