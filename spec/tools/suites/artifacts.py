"""Artifacts in all suites they touch: manifests, the files of one, changes, who may make them, their one order (artifacts.md)."""

from __future__ import annotations

from typing import Any

from reference.artifacts import (
    DECLARED,
    DECLARED_ARTIFACT,
    FILES,
    HUB,
    LABEL,
    OTHER_HUB,
    SERIALIZATION,
    A,
    B,
    Change,
    artifact_of,
    change_of,
    continuity,
    manifest,
    resources,
    root_of,
    signed,
    trust_with_hub,
)
from reference.cases import Writer
from reference.signing import STATEMENT_PAYLOAD, pae
from reference.text import exact_text, jcs, named, sha, when
from reference.world import GATEWAY, START, STRANGER, Turn

from .kinds import Payloads, put

SEEN = when(START, plus_ms=3000)
TRUST = "trust-with-hub.json"
"""A shared file: the usual trust, and two hubs."""
MOVED = {"artifact": B, "before": A, "continuity": continuity("same_name"), "at": when(START, plus_ms=100)}
"""A label that means something else from now on."""


def write(out: Writer) -> None:
    """Write all of them."""
    out.shared(TRUST, exact_text(trust_with_hub()) + "\n")
    manifests(out)
    folders(out)
    changes(out)
    payloads(out)
    attesters(out)
    orders(out)
    histories(out)


# --- manifests ------------------------------------------------------------------------------------------------------


def manifests(out: Writer) -> None:
    """Signed manifests (§1, §2)."""

    def case(
        name: str,
        why: str,
        value: dict[str, Any] | None = None,
        code: str | None = None,
        *,
        payload: bytes | None = None,
        bundle: dict[str, Any] | None = None,
        expect: str = "malformed",
        result: dict[str, Any] | None = None,
    ) -> None:
        raw = jcs(manifest() if value is None else value) if payload is None else payload
        out.case(
            f"artifact/{name}",
            why,
            spec="artifacts.md §2",
            run=["verify-manifest", "--key-document", "hub.json", "model.sig"],
            expect=expect if code else "accept",
            code=code,
            bug=("SUBSTITUTION" if expect == "reject" else "MALFORMED_MANIFEST") if code else None,
            result=result,
            files={"hub.json": HUB.raw, "model.sig": jcs(signed(raw) if bundle is None else bundle)},
        )

    def listing(listed: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        subject = [{"name": "risk", "digest": {"sha256": root_of(listed)}}]
        return manifest(subject=subject, predicate={"serialization": SERIALIZATION, "resources": listed}, **more)

    def named_file(*names: str) -> dict[str, Any]:
        return listing([{"name": name, "algorithm": "sha256", "digest": sha(name.encode()).hex()} for name in names])

    good = resources(FILES)
    case("manifest", "Three files, signed by a hub.", result={"artifact": A, "root": root_of(good)})
    loose = exact_text(manifest()).replace(":", ": ").replace("https: ", "https:").encode()
    case("manifest-by-their-tool", "Another spelling of the JSON, and what was not looked at: the same artifact.",
         payload=exact_text(manifest(predicate={"resources": good, "serialization": {**SERIALIZATION, "ignore_paths": [".git"]}})).encode(),
         result={"artifact": A})  # fmt: skip
    case("manifest-with-spaces", "White space is no part of an artifact.", payload=loose, result={"artifact": A})
    case("manifest-of-another-model", "The model's name is no part of an artifact.",
         manifest(subject=[{"name": "other", "digest": {"sha256": root_of(good)}}]), result={"artifact": A})  # fmt: skip
    renamed = {"settings.json" if name == "config.json" else name: digest for name, digest in FILES.items()}
    case("manifest-renamed", "A file was renamed and keeps its place: Model Signing's digest stays, the artifact does not.",
         manifest(renamed), result={"artifact": artifact_of(renamed), "root": root_of(good)})  # fmt: skip

    case(
        "manifest-reordered",
        "Two files stand in another order than their names'.",
        listing(good[::-1]),
        "artifact.order",
    )
    case("manifest-file-twice", "One name, two files.", listing([good[0], good[0]]), "artifact.order")
    case("manifest-root-of-others", "The subject's digest is that of other files.",
         manifest(subject=[{"name": "risk", "digest": {"sha256": "11" * 32}}]), "artifact.root")  # fmt: skip
    case("manifest-empty", "No model is nothing.", listing([]), "artifact.files")
    case(
        "manifest-leaves-its-folder",
        "Whoever fetches it would write somewhere else.",
        named_file("../a"),
        "artifact.name",
    )
    case("manifest-absolute", "Likewise.", named_file("/etc/passwd"), "artifact.name")
    case("manifest-through-itself", "A second spelling of a name.", named_file("a/./b"), "artifact.name")
    case("manifest-backslash", "On some machines it leads out of the folder.", named_file("..\\a"), "artifact.name")
    case("manifest-drive", "On some machines it is another disk.", named_file("c:a"), "artifact.name")
    case(
        "manifest-control-character", "What people see is not what is written.", named_file("a\u202eb"), "artifact.name"
    )
    case("manifest-decomposed", "Two spellings of one letter.", named_file("e\u0301"), "artifact.name")
    case("manifest-same-but-for-case", "One file on some machines.", named_file("A", "a"), "artifact.name")
    case("manifest-file-and-folder", "A file where another has its folder.", named_file("a", "a/b"), "artifact.name")
    case(
        "manifest-left-out",
        "The format leaves it out, so nobody would check it.",
        named_file(".git/config"),
        "artifact.name",
    )
    case("manifest-lists-its-signature", "The signature lies there.", named_file("model.sig"), "artifact.name")
    case("manifest-long-name", "No file system takes it.", named_file("a" * 256), "artifact.name")
    case("manifest-by-blake2", "One hash.", listing([{**good[0], "algorithm": "blake2b"}]), "artifact.manifest")
    case("manifest-of-shards", "Whole files only.",
         manifest(predicate={"serialization": {**SERIALIZATION, "method": "shards"}, "resources": good}), "artifact.manifest")  # fmt: skip
    case("manifest-following-links", "What a link leads to differs from place to place.",
         manifest(predicate={"serialization": {**SERIALIZATION, "allow_symlinks": True}, "resources": good}), "artifact.manifest")  # fmt: skip
    case(
        "manifest-of-a-run",
        "A statement of ours is no manifest.",
        payload=Turn().route.payload,
        code="artifact.manifest",
    )
    case("manifest-duplicate-member", "Which of the two is signed?",
         payload=jcs(manifest()).replace(b'"_type"', b'"_type":"x","_type"', 1), code="json.duplicate_key")  # fmt: skip
    twice = signed(jcs(manifest()))
    twice["dsseEnvelope"]["signatures"] *= 2
    case("manifest-signed-twice", "Whose word is it?", code="artifact.bundle", bundle=twice)

    raw = jcs(manifest())
    case("manifest-by-another-hub", "Signed by a key that is not this hub's.", code="artifact.key", expect="reject",
         bundle=signed(raw, OTHER_HUB))  # fmt: skip
    case("manifest-in-its-name", "Signed by another key, and says it was this hub's.", code="signature.invalid",
         expect="reject", bundle=signed(raw, OTHER_HUB, hint=signed(raw)["verificationMaterial"]["publicKey"]["hint"]))  # fmt: skip
    case("manifest-altered", "One file's digest was changed after signing.", code="signature.invalid", expect="reject",
         bundle=signed(jcs(manifest({**FILES, "config.json": "11" * 32})), message=pae(STATEMENT_PAYLOAD, raw)))  # fmt: skip


def folders(out: Writer) -> None:
    """Files held against a manifest (§2(4))."""

    def case(name: str, why: str, found: dict[str, str], code: str | None = None) -> None:
        out.case(
            f"artifact/files-{name}",
            why,
            spec="artifacts.md §2",
            run=["verify-manifest", "--key-document", "hub.json", "--files", "files.json", "model.sig"],
            expect="reject" if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            files={"hub.json": HUB.raw, "files.json": found, "model.sig": jcs(signed(jcs(manifest())))},
        )

    case("all-there", "Every file, and no other.", FILES)
    case(
        "one-missing", "A file is missing.", {k: v for k, v in FILES.items() if k != "weights.bin"}, "artifact.missing"
    )
    case("one-more", "A file that nobody signed.", {**FILES, "hook.py": "11" * 32}, "artifact.extra")
    case("one-tampered", "A file has other bytes.", {**FILES, "config.json": "11" * 32}, "artifact.digest")
    swapped = {**FILES, "config.json": FILES["weights.bin"], "weights.bin": FILES["config.json"]}
    case("exchanged", "Two files have each other's bytes.", swapped, "artifact.digest")


# --- changes --------------------------------------------------------------------------------------------------------


def changes(out: Writer) -> None:
    """The document of a change (§4(1), (4), (5))."""

    def case(
        name: str, why: str, code: str | None = None, event: str = "labelled", *, raw: bytes | None = None, **more: Any
    ) -> None:
        out.case(
            f"artifact/change-{name}",
            why,
            spec="artifacts.md §4",
            run=["decode", "artifact-change", "document.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_CHANGE" if code else None,
            files={"document.json": jcs(change_of(event, **more)) if raw is None else raw},
        )

    case("published", "Files are there, under a version.", event="published")
    case("declared", "A model whose bytes its provider keeps.", event="declared")
    case("labelled", "The first that a label means.")
    case("revoked", "Nobody should rely on it any more.", event="revoked")
    case("moved", "A label that means something else, and nothing is known of how the two are related.", **MOVED)
    case("again", "The same bytes under a newer version.",
         **{**MOVED, "artifact": A, "continuity": continuity("byte_identical")})  # fmt: skip
    derived = continuity("derivative", of=A, how="quantised")
    case("derived", "Declared to be made of what was there before.", **{**MOVED, "continuity": derived})
    case("compared", "Compared with what was there before.",
         **{**MOVED, "continuity": continuity("compared", evaluation="22" * 32)})  # fmt: skip
    claimed = {**MOVED, "artifact": DECLARED_ARTIFACT, "declared": DECLARED, "continuity": continuity("provider_claim")}
    case("claimed", "A provider says that it continues what was there.", **claimed)

    fields, event, kind = "artifact_change.fields", "artifact_change.event", "artifact_change.continuity"
    case("unknown-member", "A colour is none of its members.", fields, raw=jcs(change_of() | {"colour": "green"}))
    case("unknown-event", "Four events.", fields, raw=jcs(change_of() | {"event": "blessed"}))
    case("white-space", "The record commits to bytes, so a change has one spelling.", "json.spelling",
         raw=exact_text(change_of()).replace(",", ", ").encode())  # fmt: skip
    case("too-large", "At most 65,536 bytes are read.", "artifact_change.size", raw=jcs(change_of()) + b" " * 65_536)
    case("without-reason", "Why?", "artifact_change.text", reason="")
    case("by-nobody", "Who?", "artifact_change.text", by="")
    case("published-without-manifest", "What was signed?", event, "published", manifest=None)
    case("labelled-with-version", "A label points to an artifact, not to a version.", event, version="acme/risk@1")
    case("revoked-with-label", "An artifact is revoked, not its name.", event, "revoked", label=LABEL)
    case("labelled-without-continuity", "How far is it what it was?", event, continuity=None)
    case("revoked-with-past", "Only a label meant something before.", event, "revoked", before=B)
    case("label-by-one-word", "A label has an organisation and a model.", "artifact_change.label",
         label={**LABEL, "name": "prod"})  # fmt: skip
    case("label-in-capitals", "One spelling.", "artifact_change.label", label={**LABEL, "name": "Acme/risk:prod"})
    case("label-without-salt", "Names can be guessed.", "artifact_change.label", label={"name": LABEL["name"]})
    case("first-with-past", "The first follows nothing.", kind, before=B)
    case("second-without-past", "Not the first, and follows nothing.", kind, continuity=continuity("same_name"))
    case("identical-bytes-of-another", "Two artifacts have no identical bytes.", kind,
         **{**MOVED, "continuity": continuity("byte_identical")})  # fmt: skip
    case(
        "same-bytes-by-name",
        "The bytes are the same, and it says that nothing is known.",
        kind,
        **{**MOVED, "artifact": A},
    )
    case(
        "derived-from-nothing",
        "Made of what?",
        kind,
        **{**MOVED, "continuity": continuity("derivative", how="quantised")},
    )
    case(
        "derived-somehow", "Made how?", kind, **{**MOVED, "continuity": continuity("derivative", of=A, how="improved")}
    )
    case("compared-without-evaluation", "Compared by what?", kind, **{**MOVED, "continuity": continuity("compared")})
    case("named-with-evaluation", "Nothing is known, and there is an evaluation.", kind,
         **{**MOVED, "continuity": continuity("same_name", evaluation="22" * 32)})  # fmt: skip
    case("claimed-of-files", "Files are there, and no provider claims anything.", kind,
         **{**MOVED, "continuity": continuity("provider_claim")})  # fmt: skip
    for strong in (continuity("byte_identical"), derived, continuity("compared", evaluation="22" * 32)):
        case(f"declared-{strong['kind'].replace('_', '-')}", "Of a model that nobody shows there is only its provider's claim.",
             kind, **{**claimed, "continuity": strong})  # fmt: skip
    case("declared-another", "What is declared has another digest.", "artifact_change.declared", "declared", artifact=A)
    case("declared-with-manifest", "Its bytes are there, and are not.", "artifact_change.declared", "published",
         artifact=DECLARED_ARTIFACT, declared=DECLARED)  # fmt: skip
    case("seen-before-it-was", "Last seen before it was first seen.", "artifact_change.declared", "declared",
         declared={**DECLARED, "last_seen": when(START, plus_ms=-1)})  # fmt: skip


def payloads(out: Writer) -> None:
    """The predicate (§4)."""
    good = Change().statement

    case = Payloads(out, good, HUB, spec="artifacts.md §4")
    wrong = "statement.artifact"
    case("", "A label was set: which kind of change, and a commitment. Not which label, not which artifact.")
    case("unknown-event", "Four events.", put("event", "blessed"), wrong)
    case("unknown-continuity", "Six kinds.", put("continuity", "improved"), wrong)
    case("without-label", "Which label?", put("label", None), wrong)
    case("revoked-with-label", "An artifact is revoked, not its name.", put("event", "revoked"), wrong)
    case("names-the-label", "A name is no word for the log.", put("name", "acme/risk:prod"), "statement.predicate")
    case("label-as-text", "Its id is a digest.", put("label", "acme/risk:prod"), "encoding.hex")
    case("short-record", "A record has 32 bytes.", put("record", "11" * 31), "encoding.hex")
    case("under-a-runs-id", "It would stand in somebody's trace.", put("run", Turn().run), "statement.run")
    case("with-a-nonce", "It answers to no client.", put("nonce", "nonce-of-a-client-1"), "statement.predicate")
    case("subject-is-not-the-record", "in-toto tools would show another record than the predicate.",
         lambda value: value["subject"][0].update(digest={"holdfast-record-v1": "11" * 32}), "statement.subject")  # fmt: skip
    case("subject-as-parts", "A record is no tree of parts.",
         lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": value["predicate"]["record"]}), "statement.subject")  # fmt: skip
    case("subject-with-another-name", "The subject is called artifact.",
         lambda value: value["subject"][0].update(name="model"), "statement.subject")  # fmt: skip


def attesters(out: Writer) -> None:
    """Who may say it (statement.md §6)."""

    def case(name: str, why: str, made: Change, code: str | None = None) -> None:
        out.case(
            f"statement/artifact-{name}",
            why,
            spec="statement.md §6",
            run=["verify-statement", "--policy", "../../shared/policy.json", "--at", SEEN, "--trust",
                 f"../../shared/{TRUST}", "envelope.json"],
            expect="reject" if code else "accept",
            code=code,
            at=SEEN,
            bug="FORGED_STATEMENT" if code else None,
            files={"envelope.json": made.statement.entry},
        )  # fmt: skip

    case("by-a-hub", "A hub says what it did.", Change())
    case("by-a-gateway", "A gateway has no say in what a label means.", Change(node=GATEWAY), "statement.role")
    case("by-a-stranger", "Trust does not know it.", Change(node=STRANGER), "statement.unknown-key")
    case("in-the-hubs-name", "Signed by another.", Change(signer=OTHER_HUB.statement_key), "statement.signature")


def orders(out: Writer) -> None:
    """One order for the changes of a label (§4(7), statement.md §7(12), trace.md §2(10))."""

    def case(name: str, why: str, made: list[Change], verdicts: list[str]) -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        out.case(
            f"trace/artifact-{name}",
            why,
            spec="trace.md §2(10)",
            run=["verify-entries", "--policy", "../../shared/policy.json", "--at", SEEN, "--trust",
                 f"../../shared/{TRUST}", "entries.jsonl"],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug="BROKEN_TRACE" if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(item.statement.entry + b"\n" for item in made)},
        )  # fmt: skip

    published, first = Change("published"), Change()
    moved = Change(after=first, **MOVED)
    other_name = {"name": "acme/risk:test", "salt": named("another label salt").hex()}
    other = Change(name="other", label=other_name)
    revoked = Change("revoked", after=published)
    case("whole", "Published, labelled, moved, revoked.", [published, first, moved, revoked], ["ok"] * 4)
    case("two-labels", "Each label has an order of its own.", [first, other], ["ok"] * 2)
    case("two-hubs", "So has each hub.", [first, Change(node=OTHER_HUB)], ["ok"] * 2)
    case("told-again", "The same statement is no second change.", [first, moved, moved], ["ok"] * 3)
    back = {**MOVED, "artifact": A, "before": B, "at": when(START, plus_ms=200)}
    case(
        "back",
        "A label may mean again what it meant.",
        [first, moved, Change(name="back", after=moved, **back)],
        ["ok"] * 3,
    )
    at_once = Change(name="at once", after=first, **{**MOVED, "at": when(START, plus_ms=101)})
    case("two-at-once", "Two change a label after the same change: the second was made without seeing the first.",
         [first, moved, at_once], ["ok", "ok", "refuted:duplicate-artifact"])  # fmt: skip
    case(
        "begun-twice", "A label has one beginning.", [first, Change(name="again")], ["ok", "refuted:duplicate-artifact"]
    )
    case("after-another-label", "It follows a change of another label.",
         [first, other, Change(name="astray", after=other, **MOVED)], ["ok", "ok", "refuted:trace"])  # fmt: skip
    case("after-another-hubs", "It follows another hub's change.",
         [Change(node=OTHER_HUB), Change(name="astray", after=Change(node=OTHER_HUB), **MOVED)], ["ok", "refuted:trace"])  # fmt: skip
    case("after-nothing-known", "It follows what is not in the log.", [moved], ["refuted:parent"])
    case("after-a-publication", "A label's change follows changes of that label.",
         [published, Change(name="astray", after=published, **MOVED)], ["ok", "refuted:trace"])  # fmt: skip
    case("revoked-from-nowhere", "What was revoked?", [Change("revoked")], ["refuted:trace"])
    case(
        "revoked-label",
        "An artifact is revoked, not its label.",
        [first, Change("revoked", after=first)],
        ["ok", "refuted:trace"],
    )
    later = Change("revoked", "later", after=published, at=SEEN)
    case("revoked-twice", "Once is for good.", [published, revoked, later], ["ok", "ok", "refuted:duplicate-artifact"])
    case("published-after-something", "A publication follows nothing.",
         [published, Change("published", "second", after=published)], ["ok", "refuted:trace"])  # fmt: skip


def histories(out: Writer) -> None:
    """What opens changes, and whether those of a label follow each other (§4(2), §5(1))."""
    first = Change()
    moved = Change(after=first, **MOVED)
    back = Change(name="back", after=moved, **{**MOVED, "artifact": A, "before": B, "at": when(START, plus_ms=200)})

    def case(name: str, why: str, shown: list[dict[str, Any]], code: str | None = None) -> None:
        out.case(
            f"artifact/history-{name}",
            why,
            spec="artifacts.md §5",
            run=["verify-history", "changes.json"],
            expect="reject" if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=None if code else {"label": LABEL["name"], "artifact": shown_artifact(shown)},
            files={"changes.json": {"changes": shown}},
        )

    by_document = {item.opening()["document"]: item for item in (first, moved, back)}

    def shown_artifact(shown: list[dict[str, Any]]) -> str:
        return str(by_document[shown[-1]["document"]].value["artifact"])

    whole = [item.opening() for item in (first, moved, back)]
    gap, order, record = "artifact_change.history", "artifact_change.history", "artifact_change.record"
    case("whole", "Set, moved, moved back.", whole)
    case("from-the-middle", "A part of it, without a gap.", whole[1:])
    case("with-a-gap", "A change was left out.", [whole[0], whole[2]], gap)
    case("in-another-order", "Newest first.", whole[::-1], order)
    case("with-another-salt", "The record does not open.", [moved.opening(salt="11" * 32)], record)
    case(
        "with-another-document",
        "The document is another change's.",
        [moved.opening(document=whole[0]["document"])],
        record,
    )
    lied = Change(after=first, **{**MOVED, "before": "33" * 32})
    case("about-the-past", "It says that the label meant something else before.", [whole[0], lied.opening()], gap)
    said = Change(predicate={"continuity": "same_name"})
    case("said-otherwise", "The log was told another kind of continuity.", [said.opening()], "artifact_change.said")
    published = Change("published")
    case("of-publications", "A label's history is made of its changes.", [published.opening()], gap)
