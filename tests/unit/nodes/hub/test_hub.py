"""The hub over its ASGI app: files piece by piece, versions, labels in one order, revocations (``artifacts.md``)."""

from __future__ import annotations

import asyncio
import functools
import json
import struct

import pytest

from holdfast.core.artifact_changes import verify_change, verify_history
from holdfast.core.artifacts import (
    build_model_signature,
    key_pem,
    parse_model_signature,
    verify_files,
    verify_model_signature,
)
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex
from holdfast.core.statements import parse_envelope, parse_statement, pre_authentication_encoding
from holdfast.nodes.hub.service import MAX_SIGNATURES
from holdfast.nodes.hub.shelf import slug
from holdfast.ports.settings import Secret
from tests.helpers import onnx_files as onnx
from tests.helpers.artifacts import SIGNER
from tests.helpers.asgi import request
from tests.helpers.hub import ADA, BOB, READER, Hub, safetensors
from tests.helpers.network import p256_signer

FILES = {"config.json": b"{}", "w/model.safetensors": safetensors(a=(1.0, 2.0), b=(0.0,))}
OTHER = {"config.json": b"{}", "w/model.safetensors": safetensors(a=(4.0, 6.0), c=(0.0,))}


def hubbed(**settings):
    """Run a test in a loop with a hub of its own."""

    def wrap(test):
        @functools.wraps(test)
        def run(tmp_path):
            async def body():
                hub = Hub(tmp_path, **settings)
                try:
                    await test(hub)
                finally:
                    await hub.close()

            asyncio.run(body())

        del run.__wrapped__
        return run

    return wrap


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/hub/uploads"),
        ("PUT", "/v1/hub/uploads/" + "11" * 32 + "?offset=0&size=1"),
        ("POST", "/v1/hub/models/acme/risk/versions"),
        ("PUT", "/v1/hub/models/acme/risk/card"),
        ("POST", "/v1/hub/models/acme/risk/labels/prod"),
        ("POST", "/v1/hub/declared"),
        ("POST", "/v1/hub/artifacts/" + "11" * 32 + "/revoke"),
    ],
)
def test_whoever_changes_something_has_a_publishers_key(method, path, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        for by, code in ((None, "auth.missing"), (READER, "auth.wrong")):
            reply = await hub.ask(method, path, {}, by=by)
            assert (reply.status, reply.code) == (401, code)
        await hub.close()
        assert not hub.shelf.entries

    asyncio.run(body())


@hubbed(reader=Secret("reader", "test"))
async def test_a_closed_hub_is_read_with_a_key(hub):
    made = await hub.push(FILES)
    for path in ("models", "models/acme/risk", "changes", f"artifacts/{made['artifact']}", "resolve?label=acme/risk"):
        assert (await hub.ask("GET", f"/v1/hub/{path}", by=None)).code == "auth.missing"
        assert (await hub.ask("GET", f"/v1/hub/{path}", by=("authorization", "Bearer x"))).code == "auth.wrong"
        assert (await hub.ask("GET", f"/v1/hub/{path}", by=READER)).status in (200, 404)


@hubbed()
async def test_a_publisher_publishes_for_their_organisations_alone(hub):
    digest = await hub.send(b"x", by=BOB)
    reply = await hub.ask(
        "POST", "/v1/hub/models/other/risk/versions", {"files": {"a": digest}, "reason": "mine now"}, by=BOB
    )
    assert reply.code == "hub.organisation"
    made = await hub.push(FILES, "other/risk")
    reply = await hub.ask("POST", f"/v1/hub/artifacts/{made['artifact']}/revoke", {"reason": "rival"}, by=BOB)
    assert reply.code == "hub.organisation"
    asked = {"artifact": made["artifact"], "predecessor": None, "reason": "mine now"}
    assert (await hub.ask("POST", "/v1/hub/models/other/risk/labels/prod", asked, by=BOB)).code == "hub.organisation"
    assert [entry.change.event for entry in hub.shelf.entries] == ["published"]


# --- files ------------------------------------------------------------------------------------------------------------


@hubbed()
async def test_a_file_that_is_not_its_digest_is_dropped(hub):
    digest = sha256_hex(b"good")
    await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": 4})
    reply = await request(hub.app, "PUT", f"/v1/hub/uploads/{digest}?offset=0&size=4", b"evil", [ADA])
    assert reply.code == "artifact.digest"
    assert hub.files.size(digest) is None
    assert await hub.send(b"good") == digest
    assert hub.files.size(digest) == 4


@hubbed()
async def test_a_piece_goes_where_the_file_ends(hub):
    data = bytes(range(200))
    digest = sha256_hex(data)
    await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": 200})

    async def put(offset, piece, size=200):
        return await request(hub.app, "PUT", f"/v1/hub/uploads/{digest}?offset={offset}&size={size}", piece, [ADA])

    assert (await put(0, data[:50])).json() == {"digest": digest, "offset": 50, "complete": False}
    for offset in (0, 49, 51, 200):
        reply = await put(offset, b"x")
        assert (reply.status, reply.code) == (409, "hub.offset")
        assert "50" in reply.json()["error"]["message"]
    assert (await put(50, data[50:] + b"more")).code == "hub.file_size"
    assert (await put(50, data[50:])).json()["complete"]
    assert (await put(0, data)).json()["complete"]  # it is there; sending it again changes nothing


def test_an_upload_goes_on_after_a_restart(tmp_path):
    async def body():
        hub = Hub(tmp_path)
        data = bytes(3000)
        digest = sha256_hex(data)
        await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": 3000})
        await request(hub.app, "PUT", f"/v1/hub/uploads/{digest}?offset=0&size=3000", data[:1000], [ADA])
        hub = await hub.restart()
        asked = {"digest": digest, "size": 3000}
        assert (await hub.ask("POST", "/v1/hub/uploads", asked)).json()["offset"] == 1000
        assert await hub.send(data) == digest
        await hub.close()

    asyncio.run(body())


@hubbed(file_bytes=1024)
async def test_files_are_bounded(hub):
    reply = await hub.ask("POST", "/v1/hub/uploads", {"digest": "11" * 32, "size": 1025})
    assert (reply.status, reply.code) == (413, "hub.file_size")
    assert (await hub.ask("POST", "/v1/hub/uploads", {"digest": "11" * 31, "size": 1})).code == "encoding.hex"
    assert (await hub.ask("POST", "/v1/hub/uploads", {"digest": "11" * 32, "size": "1"})).code == "hub.file_size"
    assert await hub.send(b"") == sha256_hex(b"")


@hubbed()
async def test_a_file_is_handed_out_whole_or_from_a_place_on(hub):
    made = await hub.push({"a/b.bin": bytes(range(100))})
    path = f"/v1/hub/artifacts/{made['artifact']}/files/a/b.bin"
    whole = await hub.ask("GET", path, by=None)
    assert (whole.status, whole.body) == (200, bytes(range(100)))
    assert whole.header("content-length") == "100"
    part = await hub.ask("GET", path, by=None, headers=[("range", "bytes=90-")])
    assert (part.status, part.body, part.header("content-range")) == (206, bytes(range(90, 100)), "bytes 90-99/100")
    part = await hub.ask("GET", path, by=None, headers=[("range", "bytes=0-0")])
    assert (part.status, part.body) == (206, b"\0")
    assert (await hub.ask("GET", path, by=None, headers=[("range", "bytes=100-")])).code == "hub.range"
    assert (await hub.ask("GET", path + "x", by=None)).code == "hub.unknown"


# --- versions ---------------------------------------------------------------------------------------------------------


@hubbed()
async def test_a_version_is_a_signed_manifest_of_its_files(hub):
    made = await hub.push(FILES)
    assert made["version"] == "acme/risk@1"
    signed = await hub.ask("GET", f"/v1/hub/artifacts/{made['artifact']}/model.sig", by=None)
    manifest = verify_model_signature(parse_model_signature(signed.body), SIGNER.key)
    assert manifest.artifact == made["artifact"]
    verify_files(manifest, {name: sha256_hex(data) for name, data in FILES.items()})
    again = await hub.push(FILES)
    assert (again["version"], again["artifact"]) == ("acme/risk@2", made["artifact"])
    shown = (await hub.ask("GET", f"/v1/hub/artifacts/{made['artifact']}", by=None)).json()
    assert shown["versions"] == ["acme/risk@1", "acme/risk@2"]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a.safetensors": b"\xff" * 64}, "model.safetensors"),
        ({"a.gguf": b"GGUF" + b"\xff" * 64}, "model.gguf"),
        ({"a.onnx": b"\xff" * 64}, "model.onnx"),
        ({"a.bin": b"PK\x03\x04"}, "model.program"),
        ({"good": b"x", "nested/anything": b"\x80\x04\x95"}, "model.program"),
    ],
)
def test_a_hostile_file_is_refused_by_its_name(files, code, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        digests = {name: await hub.send(data) for name, data in files.items()}
        asked = {"files": digests, "reason": "new"}
        reply = await hub.ask("POST", "/v1/hub/models/acme/risk/versions", asked)
        assert reply.code == code
        error = reply.json()["error"]
        assert error["param"] == list(files)[-1]
        assert list(files)[-1] in error["message"]
        assert not hub.shelf.entries
        await hub.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"files": {}, "reason": "x"}, "hub.files"),
        ({"reason": "x"}, "hub.files"),
        ({"files": {"a": "11" * 32}, "reason": "x"}, "hub.missing"),
        ({"files": {"../a": "11" * 32}, "reason": "x"}, "artifact.name"),
        ({"files": {"a": "11" * 31}, "reason": "x"}, "encoding.hex"),
    ],
)
def test_a_version_has_its_files(asked, code, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        assert (await hub.ask("POST", "/v1/hub/models/acme/risk/versions", asked)).code == code
        assert (await hub.ask("POST", "/v1/hub/models/Acme/risk/versions", asked)).code == "hub.name"
        await hub.close()

    asyncio.run(body())


@hubbed()
async def test_whoever_changes_something_says_why(hub):
    digest = await hub.send(b"x")
    reply = await hub.ask("POST", "/v1/hub/models/acme/risk/versions", {"files": {"a": digest}, "reason": " "})
    assert reply.code == "hub.reason"


@hubbed()
async def test_the_bill_of_materials_names_every_file(hub):
    made = await hub.push(FILES)
    await hub.ask("PUT", "/v1/hub/models/acme/risk/card", {"text": "# Risk", "tags": ["risk"], "licence": "Apache-2.0"})
    found = json.loads((await hub.ask("GET", f"/v1/hub/artifacts/{made['artifact']}/bom.json", by=None)).body)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    hashes = {item["name"]: item["hashes"][0]["content"] for item in found["components"]}
    assert hashes == {name: sha256_hex(data) for name, data in FILES.items()}
    assert found == json.loads((await hub.ask("GET", f"/v1/hub/artifacts/{made['artifact']}/bom.json", by=None)).body)


# --- labels -----------------------------------------------------------------------------------------------------------


@hubbed()
async def test_a_label_is_moved_by_whoever_saw_what_it_meant(hub):
    one, other = await hub.push(FILES), await hub.push(OTHER)
    first = await hub.point(one["artifact"], None)
    assert first.status == 201
    for seen in (None, "11" * 32, one["statement"]):
        reply = await hub.point(other["artifact"], seen)
        assert (reply.status, reply.code) == (409, "hub.label_moved")
        assert one["artifact"][:12] in reply.json()["error"]["message"]
    moved = await hub.point(other["artifact"], first.json()["statement"])
    assert moved.json()["continuity"]["kind"] == "same_name"
    assert moved.json()["before"] == one["artifact"]
    assert (await hub.ask("GET", "/v1/hub/resolve?label=acme/risk:prod", by=None)).json()["artifact"] == other[
        "artifact"
    ]


@hubbed()
async def test_of_many_changes_at_once_one_counts(hub):
    artifacts = [(await hub.push({"a": bytes([number])}))["artifact"] for number in range(8)]
    first = (await hub.point(artifacts[0], None)).json()["statement"]
    replies = await asyncio.gather(*(hub.point(artifact, first) for artifact in artifacts[1:]))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 6
    history = (await hub.ask("GET", "/v1/hub/models/acme/risk/labels/prod", by=None)).json()["changes"]
    assert len(history) == 2
    opened = []
    for item in history:
        statement = parse_statement(parse_envelope(b64_decode(item["envelope"])))
        opened.append((statement, verify_change(statement, item["document"].encode(), hex_decode(item["salt"]))))
    verify_history(opened)


@pytest.mark.parametrize(
    ("continuity", "code"),
    [
        ({"kind": "byte_identical"}, "artifact_change.continuity"),
        ({"kind": "first"}, "artifact_change.continuity"),
        ({"kind": "provider_claim"}, "artifact_change.continuity"),
        ({"kind": "derivative"}, "artifact_change.continuity"),
        ({"kind": "compared", "evaluation": "22" * 32}, "hub.missing"),
        ({"kind": 1}, "hub.continuity"),
        ("same_name", "hub.continuity"),
        ({"kind": "derivative", "of": 1}, "hub.continuity"),
    ],
)
def test_no_more_continuity_is_said_than_there_is(continuity, code, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        one, other = await hub.push(FILES), await hub.push(OTHER)
        first = (await hub.point(one["artifact"], None)).json()["statement"]
        assert (await hub.point(other["artifact"], first, continuity=continuity)).code == code
        assert len(hub.shelf.history("acme/risk:prod")) == 1
        await hub.close()

    asyncio.run(body())


@hubbed()
async def test_continuity_that_can_be_said_is(hub):
    one, other = await hub.push(FILES), await hub.push(OTHER)
    last = (await hub.point(one["artifact"], None)).json()
    assert last["continuity"]["kind"] == "first"
    derived = {"kind": "derivative", "of": one["artifact"], "how": "fine_tuned"}
    last = (await hub.point(other["artifact"], last["statement"], continuity=derived)).json()
    assert last["continuity"]["of"] == one["artifact"]
    last = (await hub.point(other["artifact"], last["statement"])).json()
    assert last["continuity"]["kind"] == "byte_identical"
    evaluation = await hub.send(b'{"agree":0.97}')
    compared = {"kind": "compared", "evaluation": evaluation}
    last = (await hub.point(one["artifact"], last["statement"], continuity=compared)).json()
    assert last["continuity"]["evaluation"] == evaluation
    assert (await hub.ask("GET", f"/v1/hub/files/{evaluation}", by=None)).body == b'{"agree":0.97}'
    lineage = (await hub.ask("GET", f"/v1/hub/artifacts/{one['artifact']}/lineage", by=None)).json()
    assert [(item["artifact"], item["of"], item["how"]) for item in lineage["derivations"]] == [
        (other["artifact"], one["artifact"], "fine_tuned")
    ]


@hubbed()
async def test_a_revoked_artifact_gets_no_label_any_more(hub):
    one, other = await hub.push(FILES), await hub.push(OTHER)
    first = (await hub.point(one["artifact"], None)).json()["statement"]
    reply = await hub.ask("POST", f"/v1/hub/artifacts/{one['artifact']}/revoke", {"reason": "poisoned"})
    assert reply.json()["event"] == "revoked"
    assert (await hub.point(one["artifact"], first)).code == "hub.revoked"
    reply = await hub.ask("POST", f"/v1/hub/artifacts/{one['artifact']}/revoke", {"reason": "again"})
    assert (reply.status, reply.code) == (409, "hub.revoked")
    assert (await hub.ask("GET", "/v1/hub/resolve?label=acme/risk:prod", by=None)).json()["revoked"]
    assert (await hub.push(FILES))["artifact"] == one["artifact"]
    assert (await hub.point(one["artifact"], first)).code == "hub.revoked"
    assert (await hub.point(other["artifact"], first)).status == 201


@hubbed()
async def test_what_a_provider_declares_is_its_claim(hub):
    asked = {"upstream": "big.provider", "model": "Big 2026", "system_fingerprint": "fp_1", "reason": "seen"}
    first = (await hub.ask("POST", "/v1/hub/declared", asked)).json()
    assert first["declared"]["basis"] == "provider_claim"
    await hub.clock.advance(60)
    again = (await hub.ask("POST", "/v1/hub/declared", asked)).json()
    assert again["declared"]["last_seen"] > first["declared"]["last_seen"] == first["declared"]["first_seen"]
    assert len(hub.shelf.entries) == 1
    other = (await hub.ask("POST", "/v1/hub/declared", {**asked, "system_fingerprint": None})).json()
    pointed = (await hub.point(first["artifact"], None)).json()
    claim = {"kind": "provider_claim"}
    moved = (await hub.point(other["artifact"], pointed["statement"], continuity=claim)).json()
    assert moved["continuity"]["kind"] == "provider_claim"
    compared = {"kind": "derivative", "of": first["artifact"], "how": "fine_tuned"}
    reply = await hub.point(first["artifact"], moved["statement"], continuity=compared)
    assert reply.code == "artifact_change.continuity"
    assert (await hub.ask("GET", f"/v1/hub/artifacts/{other['artifact']}/model.sig", by=None)).code == "hub.declared"
    for wrong in ({**asked, "upstream": "Big!"}, {**asked, "model": 1}, {**asked, "system_fingerprint": 1}):
        assert (await hub.ask("POST", "/v1/hub/declared", wrong)).code == "hub.declared"


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["lost", "unanswered"])
def test_a_change_that_the_log_does_not_answer_counts_once_it_does(silent, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        one, other = await hub.push(FILES), await hub.push(OTHER)
        hub.log.silent = silent
        reply = await hub.point(one["artifact"], None)
        assert (reply.status, reply.code) == (503, "hub.log")
        assert (await hub.point(other["artifact"], None)).code == "hub.log"
        assert hub.shelf.history("acme/risk:prod") == []
        hub = await hub.restart()
        hub.log.silent = None
        reply = await hub.point(other["artifact"], None)
        assert (reply.status, reply.code) == (409, "hub.label_moved")  # the one on its way came first
        assert [entry.change.artifact for entry in hub.shelf.history("acme/risk:prod")] == [one["artifact"]]
        assert len(hub.log.entries) == 3
        await hub.close()

    asyncio.run(body())


@pytest.mark.parametrize(("silent", "counts"), [("lost", False), ("unanswered", True)])
def test_a_change_that_waited_too_long_counts_only_where_the_log_has_it(silent, counts, tmp_path):
    async def body():
        hub = Hub(tmp_path)
        one = await hub.push(FILES)
        hub.log.silent = silent
        await hub.point(one["artifact"], None)
        await hub.clock.advance(301)
        hub.log.silent = None
        async with hub.clerk.begin():
            pass
        assert bool(hub.shelf.history("acme/risk:prod")) is counts
        assert hub.shelf.pending is None
        hub = await hub.restart()
        assert bool(hub.shelf.history("acme/risk:prod")) is counts
        await hub.close()

    asyncio.run(body())


@hubbed()
async def test_a_change_that_the_log_refuses_is_none(hub):
    made = await hub.push(FILES)
    hub.log.refusal = "log.refused"
    assert (await hub.point(made["artifact"], None)).code == "hub.log_refused"
    hub.log.refusal = "log.busy"
    assert (await hub.point(made["artifact"], None)).code == "hub.log"
    hub.log.refusal = None
    assert (await hub.point(made["artifact"], None)).code == "hub.label_moved"


def test_everything_is_there_after_a_restart(tmp_path):
    async def body():
        hub = Hub(tmp_path)
        one = await hub.push(FILES)
        await hub.point(one["artifact"], None)
        await hub.ask("PUT", "/v1/hub/models/acme/risk/card", {"text": "A card", "tags": ["b", "a"], "licence": "MIT"})
        await hub.ask("POST", "/v1/hub/declared", {"upstream": "big", "model": "B 1", "reason": "seen"})
        await hub.ask("POST", f"/v1/hub/artifacts/{one['artifact']}/revoke", {"reason": "poisoned"})
        paths = ["models", "models/acme/risk", "models/big/b-1", f"artifacts/{one['artifact']}", "changes"]
        before = [(await hub.ask("GET", f"/v1/hub/{path}", by=None)).json() for path in paths]
        hub = await hub.restart()
        assert [(await hub.ask("GET", f"/v1/hub/{path}", by=None)).json() for path in paths] == before
        await hub.close()

    asyncio.run(body())


@hubbed()
async def test_whoever_follows_hears_of_a_change_at_once(hub):
    one = await hub.push(FILES)
    waiting = asyncio.create_task(hub.ask("GET", "/v1/hub/changes?after=1&wait_s=20", by=None))
    await asyncio.sleep(0)
    await hub.point(one["artifact"], None)
    [change] = (await waiting).json()["changes"]
    assert (change["number"], json.loads(change["document"])["event"]) == (2, "labelled")
    assert (await hub.ask("GET", "/v1/hub/changes?after=2", by=None)).json()["changes"] == []
    assert (await hub.ask("GET", "/v1/hub/changes?after=x", by=None)).code == "request.number"


# --- finding and comparing --------------------------------------------------------------------------------------------


@hubbed()
async def test_models_are_found_by_words_tags_and_licences(hub):
    await hub.push(FILES)
    await hub.push(OTHER, "acme/mail")
    card = {"text": "Finds fraud in payments", "tags": ["fraud", "onnx"], "licence": "MIT"}
    assert (await hub.ask("PUT", "/v1/hub/models/acme/risk/card", card)).status == 200

    async def found(query):
        answer = (await hub.ask("GET", f"/v1/hub/models?{query}", by=None)).json()
        return [item["model"] for item in answer["models"]], answer["more"]

    assert await found("") == (["acme/mail", "acme/risk"], False)
    assert await found("limit=1") == (["acme/mail"], True)
    assert await found("after=acme/mail") == (["acme/risk"], False)
    for query in ("q=FRAUD+payments", "tag=onnx", "licence=MIT", "q=risk"):
        assert await found(query) == (["acme/risk"], False)
    for query in ("q=fraud+weather", "tag=gguf", "licence=none", "organisation=other"):
        assert await found(query) == ([], False)
    for wrong in ({"tags": ["A!"]}, {"tags": ["a"] * 33}, {"licence": ""}, {"text": 1}):
        assert (await hub.ask("PUT", "/v1/hub/models/acme/risk/card", wrong)).code == "hub.card"


@hubbed()
async def test_two_artifacts_are_compared_by_file_and_tensor(hub):
    one, other = await hub.push(FILES), await hub.push({**OTHER, "new.txt": b"n"})
    path = f"/v1/hub/diff?before={one['artifact']}&after={other['artifact']}"
    found = (await hub.ask("GET", path, by=None)).json()
    assert [(item["name"], item["change"]) for item in found["files"]] == [
        ("config.json", "same"),
        ("new.txt", "added"),
        ("w/model.safetensors", "changed"),
    ]
    assert [(item["name"], item["change"], item["norm_of_difference"]) for item in found["tensors"]] == [
        ("a", "changed", "5"),
        ("b", "removed", None),
        ("c", "added", None),
    ]
    assert found["tensors"][0]["after"]["sha256"] == sha256_hex(b"\0\0\x80\x40\0\0\xc0\x40")


@hubbed()
async def test_publishers_signatures_outlive_a_restart_and_are_bounded(hub):
    made = await hub.push(FILES)
    path = f"/v1/hub/artifacts/{made['artifact']}/signatures"
    found = parse_model_signature(hub.shelf.artifacts[made["artifact"]].first.signature)

    async def bring(name, by=ADA, at=hub):
        signer = p256_signer(name, "statement")
        signature = signer.sign(pre_authentication_encoding(found.payload))
        raw = build_model_signature(found.payload, signer.key, signature)
        asked = {"signature": b64_encode(raw), "key": key_pem(signer.key).decode()}
        return await at.ask("POST", path, asked, by=by)

    assert (await bring("own", by=READER)).code == "auth.wrong"
    assert (await bring("own")).status == 201
    assert (await bring("own")).status == 201, "once more is the same one"
    again = await hub.restart()
    assert len((await again.ask("GET", path, by=None)).json()["signatures"]) == 1
    for number in range(MAX_SIGNATURES - 1):
        assert (await bring(f"key {number}", at=again)).status == 201
    assert (await bring("one more", at=again)).code == "hub.signatures"
    assert (await again.ask("POST", path, {"signature": "AA==", "key": 1})).code == "hub.signatures"
    await again.close()


@hubbed()
async def test_onnx_files_are_compared_by_graph_and_initialiser(hub):
    one = await hub.push({"model.onnx": onnx.linear()})
    other = await hub.push({"model.onnx": onnx.linear(weight=(0.5, 3.75), sigmoid=True)})
    found = await hub.service.diff(one["artifact"], other["artifact"])
    (graph,) = found["graphs"]
    assert graph["file"] == "model.onnx"
    assert graph["differs"]["counts"] == [{"name": "Sigmoid", "before": None, "after": 1}]
    (weight,) = found["tensors"]
    assert (weight["name"], weight["norm_of_difference"]) == ("w", "4")
    assert weight["before"] == {"dtype": "F32", "shape": [2, 1], "sha256": sha256_hex(struct.pack("<2f", 0.5, -0.25))}
    alone = await hub.push({"other.onnx": onnx.linear()})
    graphs = (await hub.service.diff(one["artifact"], alone["artifact"]))["graphs"]
    assert [item["file"] for item in graphs] == ["model.onnx", "other.onnx"]
    assert graphs[1]["differs"]["operators"][0]["change"] == "added"


@hubbed()
async def test_graphs_that_would_fill_memory_are_left_out(hub):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("holdfast.nodes.hub.inspection.MAX_GRAPH_BYTES", 100)
        await _no_graphs(hub)


async def _no_graphs(hub):
    one, other = await hub.push({"m.onnx": onnx.linear()}), await hub.push({"m.onnx": onnx.linear(bias=1.0)})
    found = await hub.service.diff(one["artifact"], other["artifact"])
    assert (found["graphs"], found["tensors"]) == ([{"file": "m.onnx", "differs": None}], [])


@hubbed(compare_bytes=8)
async def test_graphs_beyond_the_bound_are_left_out(hub):
    one, other = await hub.push({"m.onnx": onnx.linear()}), await hub.push({"m.onnx": onnx.linear(bias=1.0)})
    assert (await hub.service.diff(one["artifact"], other["artifact"]))["graphs"] == [
        {"file": "m.onnx", "differs": None}
    ]


@hubbed(compare_bytes=8)
async def test_a_comparison_reads_no_more_than_its_bound(hub):
    one, other = await hub.push(FILES), await hub.push(OTHER)
    found = await hub.service.diff(one["artifact"], other["artifact"])
    assert found["tensors"][0]["before"]["sha256"] is not None
    assert found["tensors"][0]["after"]["sha256"] is None
    assert found["tensors"][0]["norm_of_difference"] is None


def test_a_providers_name_becomes_one_here():
    assert slug("GPT 4.1 (mini)") == "gpt-4-1-mini"
    assert slug("日本") == "model"
