"""``holdfast hub`` against a hub behind a real server: what is pushed is pulled, and what is tampered with refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.adapters.wraps_hpke import load_or_create_recipient
from holdfast.cli.main import cli
from holdfast.client.hub import PARTIAL, read_folder
from holdfast.core.artifacts import (
    build_model_signature,
    key_pem,
    manifest_payload,
    parse_model_signature,
    verify_model_signature,
)
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import build_key_document
from holdfast.core.statements import pre_authentication_encoding
from holdfast.errors import HoldfastError, UsageError
from tests.helpers import onnx_files as onnx
from tests.helpers.artifacts import SIGNER
from tests.helpers.hub import safetensors
from tests.helpers.live_hub import LiveHub, live_hub
from tests.helpers.network import p256_signer

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    with live_hub(tmp_path) as found:
        yield found


@pytest.fixture
def run(hub: LiveHub) -> Callable[..., Result]:
    def call(command: str, *arguments: object) -> Result:
        return CliRunner().invoke(cli, ["hub", command, *map(str, arguments), *hub.options])

    return call


def told(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def code_of(result: Result) -> str:
    assert isinstance(result.exception, HoldfastError), (result.output, result.exception)
    return result.exception.code


def make_model(folder: Path, **tensors: tuple[float, ...]) -> Path:
    (folder / "w").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "w" / "model.safetensors").write_bytes(safetensors(**(tensors or {"a": (1.0, 2.0)})))
    (folder / ".gitattributes").write_text("*.safetensors lfs")
    return folder


def test_what_is_pushed_is_pulled(hub: LiveHub, run: Callable[..., Result], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    made = told(run("push", folder, "acme/risk:prod", "--why", "the first", "--json"))
    assert (made["version"], made["left_out"]) == ("acme/risk@1", [".gitattributes"])
    assert made["label"]["continuity"]["kind"] == "first"
    target = tmp_path / "pulled"
    for name in ("acme/risk:prod", "acme/risk@1", made["artifact"]):
        assert told(run("pull", name, target, "--json"))["artifact"] == made["artifact"]
    local = read_folder(target, "risk")
    assert local.manifest.artifact == made["artifact"]
    assert (local.left_out, (target / ".gitattributes").exists()) == (("model.sig",), False)
    signed = parse_model_signature((target / "model.sig").read_bytes())
    assert verify_model_signature(signed, SIGNER.key).artifact == made["artifact"]


@pytest.mark.parametrize("damage", ["tampered", "extra", "link"])
def test_a_folder_that_is_not_the_artifact_is_refused_by_the_files_name(
    damage: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    made = told(run("push", make_model(tmp_path / "model"), "acme/risk", "--why", "the first", "--json"))
    target = tmp_path / "pulled"
    told(run("pull", made["artifact"], target, "--json"))
    name = {"tampered": "config.json", "extra": "hook.py", "link": "w/link"}[damage]
    if damage == "link":
        (target / name).symlink_to(target / "config.json")
    else:
        (target / name).write_text("evil")
    found = run("pull", made["artifact"], target)
    assert code_of(found) == {"tampered": "artifact.digest", "extra": "artifact.extra", "link": "hub.folder"}[damage]
    assert name in str(found.exception)


def test_a_hub_that_answers_with_other_bytes_is_not_believed(
    hub: LiveHub, run: Callable[..., Result], tmp_path: Path
) -> None:
    made = told(run("push", make_model(tmp_path / "model"), "acme/risk", "--why", "the first", "--json"))
    digest = sha256_hex(b"{}")
    (hub.folder / "state" / "blobs" / digest[:2] / digest[2:]).write_bytes(b"[]")
    found = run("pull", made["artifact"], tmp_path / "pulled")
    assert code_of(found) == "artifact.digest"
    assert "config.json" in str(found.exception)
    assert not list((tmp_path / "pulled").rglob("*config*"))


def test_a_manifest_by_another_hub_is_refused(hub: LiveHub, run: Callable[..., Result], tmp_path: Path) -> None:
    made = told(run("push", make_model(tmp_path / "model"), "acme/risk", "--why", "the first", "--json"))
    hub.pem.write_bytes(key_pem(p256_signer("stranger", "statement").key))
    assert code_of(run("pull", made["artifact"], tmp_path / "pulled")) == "artifact.key"


def test_a_pull_goes_on_where_it_broke_off(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    made = told(run("push", folder, "acme/risk", "--why", "the first", "--json"))
    target = tmp_path / "pulled"
    (target / "w").mkdir(parents=True)
    whole = (folder / "w" / "model.safetensors").read_bytes()
    (target / "w" / f"model.safetensors{PARTIAL}").write_bytes(whole[:20])
    told(run("pull", made["artifact"], target, "--json"))
    assert (target / "w" / "model.safetensors").read_bytes() == whole
    shutil.rmtree(target)
    (target / "w").mkdir(parents=True)
    (target / "w" / f"model.safetensors{PARTIAL}").write_bytes(b"x" * 20)
    assert code_of(run("pull", made["artifact"], target)) == "artifact.digest"
    told(run("pull", made["artifact"], target, "--json"))  # what was wrong is gone, and fetched anew


def test_a_label_moves_and_its_lineage_is_told(run: Callable[..., Result], tmp_path: Path) -> None:
    one = told(run("push", make_model(tmp_path / "one"), "acme/risk", "--why", "the first", "--json"))
    two = told(run("push", make_model(tmp_path / "two", a=(4.0, 6.0)), "acme/risk", "--why", "tuned", "--from",
                   "acme/risk@1", "--how", "fine_tuned", "--json"))  # fmt: skip
    assert two["label"]["continuity"] == {
        "kind": "derivative", "of": one["artifact"], "how": "fine_tuned", "evaluation": None,
    }  # fmt: skip
    shown = told(run("lineage", "acme/risk", "--json"))
    assert [edge["of"] for edge in shown["derivations"]] == [one["artifact"]]
    assert len(shown["label_changes"]) == 2
    assert "fine-tuned" in run("lineage", "acme/risk").output
    back = told(run("label", "acme/risk:latest", "acme/risk@1", "--why", "worse", "--json"))
    assert (back["artifact"], back["continuity"]["kind"]) == (one["artifact"], "same_name")
    found = run("diff", "acme/risk@1", "acme/risk@2")
    assert "norm of the difference 5" in found.output
    assert "the same files" in run("diff", "acme/risk@1", "acme/risk@1").output


def make_onnx(folder: Path, name: str, data: bytes, **files: str) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(data)
    for file, text in files.items():
        (made / f"{file}.json").write_text(text)
    return made


def test_two_onnx_models_are_compared_and_probed(run: Callable[..., Result], tmp_path: Path) -> None:
    first, second = onnx.linear(), onnx.linear(weight=(0.5, -0.5))
    told(run("push", make_onnx(tmp_path, "one", first), "acme/risk", "--why", "the first", "--json"))
    made = run("push", make_onnx(tmp_path, "two", second), "acme/risk", "--why", "tuned", "--no-label", "--json")
    shown = run("diff", "acme/risk@1", "acme/risk@2")
    assert "changed  w  F32 [2, 1]  norm of the difference 0.25" in shown.output
    evaluation = tmp_path / "evaluation.json"
    probed = run("diff", "acme/risk@1", "acme/risk@2", "--probe", "--output", evaluation)
    assert probed.exit_code == 0, probed.output
    assert "model.onnx of both on 16 inputs, made up, by onnxruntime" in probed.output
    found = json.loads(evaluation.read_text())
    (output,) = found["outputs"]
    assert (output["name"], found["failed"], float(output["max_abs"]) > 0) == ("y", [], True)
    label = told(
        run("label", "acme/risk:latest", "acme/risk@2", "--why", "compared", "--evaluation", evaluation, "--json")
    )
    digest = sha256_hex(evaluation.read_bytes())
    assert label["continuity"] == {"kind": "compared", "of": None, "how": None, "evaluation": digest}
    assert found["after"] == told(made)["artifact"]
    again = told(run("diff", "acme/risk@1", "acme/risk@2", "--probe", "--json"))["evaluation"]
    assert again["outputs"] == found["outputs"], "the same models on the same probe"
    assert code_of(run("diff", "acme/risk@1", "acme/risk@2", "--output", evaluation)) == "hub.probe"


def test_a_probe_of_the_models_own_is_asked(run: Callable[..., Result], tmp_path: Path) -> None:
    probe = '{"inputs":[{"x":[[1,1]]},{"x":[[0,4]]}]}'
    told(run("push", make_onnx(tmp_path, "one", onnx.linear(), probe=probe), "acme/risk", "--why", "a", "--json"))
    told(run("push", make_onnx(tmp_path, "two", onnx.linear(bias=1.125)), "acme/risk", "--why", "b", "--json"))
    found = told(run("diff", "acme/risk@1", "acme/risk@2", "--probe", "--json"))["evaluation"]
    assert (found["probe"]["source"], found["probe"]["items"]) == ("before", 2)
    assert [item["max_abs"] for item in found["outputs"]] == ["1"]


def test_a_model_that_takes_all_memory_is_contained(run: Callable[..., Result], tmp_path: Path) -> None:
    probe = '{"inputs":[{"x":[100000,100000]},{"x":[2,2]}]}'
    told(run("push", make_onnx(tmp_path, "one", onnx.growing(), probe=probe), "acme/risk", "--why", "a", "--json"))
    more = onnx.growing() + onnx.field(3, "2")
    told(run("push", make_onnx(tmp_path, "two", more, probe=probe), "acme/risk", "--why", "b", "--json"))
    found = told(run("diff", "acme/risk@1", "acme/risk@2", "--probe", "--json"))["evaluation"]
    assert [item["item"] for item in found["failed"]] == [0]
    assert found["failed"][0]["before"] in ("infer.limits", "infer.runtime")
    assert [item["equal"] for item in found["outputs"]] == ["1"]


def test_a_sealed_model_is_opened_by_its_readers_alone(
    hub: LiveHub, run: Callable[..., Result], tmp_path: Path
) -> None:
    folder = make_onnx(tmp_path, "one", onnx.linear(), card='{"secret": "recipe"}')
    keys = {name: tmp_path / f"{name}.pem" for name in ("ada", "bob", "eve")}
    recipients = {name: load_or_create_recipient(path) for name, path in keys.items()}
    public = tmp_path / "bob.json"
    public.write_bytes(build_key_document("node", ["inference"], "t", [SIGNER.key, recipients["bob"].key]).raw)
    made = told(
        run("push", folder, "acme/risk", "--reader", keys["ada"], "--reader", public, "--why", "ours", "--json")
    )
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [data for data in kept if b"recipe" in data or b"holdfast tests" in data or b"model.onnx" in data]
    for name in ("ada", "bob"):
        told(run("pull", "acme/risk", tmp_path / name, "--unseal", keys[name], "--json"))
        assert (tmp_path / name / "card.json").read_bytes() == (folder / "card.json").read_bytes()
        assert (tmp_path / name / "model.onnx").read_bytes() == onnx.linear()
    assert "sealed for its readers" in run("show", "acme/risk:latest").output
    assert code_of(run("pull", "acme/risk", tmp_path / "eve", "--unseal", keys["eve"])) == "sealed_model.reader"
    assert not (tmp_path / "eve").exists()
    told(run("pull", made["artifact"], tmp_path / "ciphertext", "--json"))
    assert (tmp_path / "ciphertext" / "sealed" / "readers.json").is_file()
    plain = told(run("push", folder, "acme/plain", "--why", "open", "--json"))
    assert code_of(run("pull", plain["artifact"], tmp_path / "no", "--unseal", keys["ada"])) == "sealed_model.open"
    none = tmp_path / "none.txt"
    none.write_text("no key")
    assert code_of(run("push", folder, "acme/risk", "--reader", none, "--why", "x")) == "sealed_model.key"


def test_a_publishers_own_signature_is_kept_beside_the_hubs(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    made = told(run("push", folder, "acme/risk", "--why", "the first", "--json"))
    local = read_folder(folder, "risk")
    publisher, other = p256_signer("publisher", "statement"), p256_signer("other", "statement")
    payload = manifest_payload(local.manifest)
    signed = build_model_signature(payload, publisher.key, publisher.sign(pre_authentication_encoding(payload)))
    (tmp_path / "risk.sig").write_bytes(signed)
    for name, key in (("publisher", publisher), ("other", other)):
        (tmp_path / f"{name}.pem").write_bytes(key_pem(key.key))
    own, another = tmp_path / "publisher.pem", tmp_path / "other.pem"
    assert code_of(run("pull", made["artifact"], tmp_path / "no", "--publisher-key", own)) == "artifact.publisher"
    assert code_of(run("sign", "acme/risk@1", tmp_path / "risk.sig", another)) == "artifact.key"
    kept = told(run("sign", "acme/risk@1", tmp_path / "risk.sig", own, "--json"))
    assert [item["by"] for item in kept["signatures"]] == ["Ada"]
    told(run("pull", made["artifact"], tmp_path / "pulled", "--publisher-key", own, "--json"))
    assert code_of(run("pull", made["artifact"], tmp_path / "no", "--publisher-key", another)) == "artifact.publisher"
    assert "signed by a publisher's key" in run("show", "acme/risk@1").output
    told(run("push", make_model(tmp_path / "two", a=(9.0,)), "acme/risk", "--why", "more", "--json"))
    assert code_of(run("sign", "acme/risk@2", tmp_path / "risk.sig", own)) == "artifact.digest"
    (tmp_path / "no.pem").write_text("no key")
    assert code_of(run("sign", "acme/risk@1", tmp_path / "risk.sig", tmp_path / "no.pem")) == "artifact.key"


def test_models_are_listed_and_shown(run: Callable[..., Result], tmp_path: Path) -> None:
    made = told(run("push", make_model(tmp_path / "one"), "acme/risk", "--why", "the first", "--json"))
    assert " 1 version " in run("ls", "risk").output
    assert "no such models" in run("ls", "weather").output
    assert "the first" in run("show", "acme/risk").output
    assert "w/model.safetensors" in run("show", "acme/risk:latest").output
    declared = told(run("declare", "big.provider", "Big 1", "--why", "seen", "--json"))
    assert "its claim, and no bytes" in run("show", declared["artifact"]).output
    assert "nothing to compare" in run("diff", made["artifact"], declared["artifact"]).output
    assert "is revoked since" in run("revoke", made["artifact"], "--why", "poisoned").output
    assert "REVOKED" in run("show", "acme/risk").output
    bom = run("bom", "acme/risk@1").output
    assert json.loads(bom)["bomFormat"] == "CycloneDX"
    assert bom.endswith("}\n")
    told(run("bom", "acme/risk@1", "--output", tmp_path / "bom.json", "--json"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push", "missing", "acme/risk", "--why", "x"), "hub.folder"),
        (("show", "acme/nothing"), "hub.unknown"),
        (("pull", "acme/nothing", "folder"), "hub.unknown"),
        (("label", "acme/risk:prod", "11" * 32, "--why", "x"), "hub.unknown"),
        (("label", "acme/risk:prod", "11" * 32, "--why", "x", "--from", "acme/risk@1"), "hub.continuity"),
        (("show", "acme/risk@9"), "hub.unknown"),
    ],
)
def test_what_is_not_there_is_said(arguments: tuple[str, ...], code: str, run: Callable[..., Result]) -> None:
    assert code_of(run(*arguments)) == code


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "link").symlink_to(folder / "config.json")
    with pytest.raises(UsageError) as caught:
        read_folder(folder, "risk")
    assert caught.value.code == "hub.folder"
    assert "link" in caught.value.message
