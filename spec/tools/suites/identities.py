"""What a node says of its own keys, and how a route says that a request came sealed (statement.md §4.1, §4.5)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from reference.cases import Writer
from reference.signing import Node
from reference.text import b64, exact_text, named, sha, unb64, when
from reference.world import (
    AT,
    START,
    STRANGER,
    Statement,
    Story,
    Turn,
    admit,
    private_run_id,
    statement,
    trust_value,
    usual_trust,
)

from .bundles import GOOD, Bundles
from .kinds import SEEN, Attesters, Payloads, put

SIGNED_AT = when(START, plus_ms=2500)
TRUST = "trust-with-sealed-gateway.json"


def configuration(name: str, key_id: int = 1) -> bytes:
    """RFC 9458 §3.1: an X25519 key with both symmetric suites of the private path."""
    return bytes([key_id]) + bytes.fromhex("0020") + named(name) + bytes.fromhex("00080001000100010003")


def keys(*configurations: bytes) -> bytes:
    """RFC 9458 §3.2: ``application/ohttp-keys``."""
    return b"".join(len(item).to_bytes(2) + item for item in configurations)


CONFIGURATION = configuration("ohttp/sealed")
TLS = named("tls/sealed")
SEALED = Node(
    "sealed.example",
    ["gateway"],
    ["statement"],
    members={"ohttp": [b64(CONFIGURATION)], "tls": TLS.hex(), "predecessor": "22" * 32},
)
"""A gateway that is reached over the private path."""
PLAIN = Node("plain.example", ["gateway"], ["statement"])
"""A gateway that is not."""
RELAY = "33" * 32
PATH = {"config": sha(CONFIGURATION).hex(), "suite": "aes-128-gcm", "profile": "binary-http", "relay": RELAY}
MINUTE = START


def trust_with_sealed(**change: Any) -> dict[str, Any]:
    """The usual trust, and both gateways."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(SEALED), admit(PLAIN)], **change)


def identity_run(attester: str) -> str:
    """§4.5(1)."""
    digest = hashlib.sha256(b"urn:holdfast:identity-run:v1" + b"\x00" + bytes.fromhex(attester)).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def identity(
    node: Node = SEALED,
    *,
    at: str = SIGNED_AT,
    signer: Any = None,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Statement:
    """What a node's key document says, said by the node."""
    members = node.document
    ohttp = [configuration_of(item) for item in members.get("ohttp", [])]
    return statement(
        "identity",
        node,
        run=identity_run(node.id),
        claimed_at=at,
        parents=[],
        subject=("key_document", bytes.fromhex(node.id)),
        body={
            "ohttp": sha(keys(*ohttp)).hex() if ohttp else None,
            "tls": members.get("tls"),
            "predecessor": members.get("predecessor"),
        },
        nonce=None,
        signer=signer,
        change=change,
    )


def configuration_of(text: str) -> bytes:
    """One element of ``ohttp``."""
    return unb64(text)


def sealed_turn(
    path: Any = None, *, run: str | None = None, at: str = MINUTE, node: Node = SEALED, **more: Any
) -> Turn:
    """A run whose route says that its request came sealed."""

    def with_path(value: dict[str, Any]) -> None:
        value["predicate"]["path"] = PATH if path is None else path

    return Turn(
        "sealed",
        run=run or private_run_id("sealed"),
        node=node,
        route_at=at,
        execution_at=at,
        route_change=with_path,
        **more,
    )


def write(out: Writer) -> None:
    """Write all of them."""
    out.shared(TRUST, exact_text(trust_with_sealed()) + "\n")
    payloads(out)
    paths(out)
    attesters(out)
    entries(out)
    bundles(Bundles(out))


# --- payloads -------------------------------------------------------------------------------------------------------


def payloads(out: Writer) -> None:
    """The predicate of an identity (§4.5)."""
    good = identity()

    case = Payloads(out, good, SEALED, spec="statement.md §4.5")

    case("", "A node says under which keys it is reached: three digests.")
    case("of-nothing", "A node without private path, TLS or past.", lambda value: value["predicate"].update(nothing()))
    case("names-an-address", "Where a node is reached is no word for the log.", put("url", "x"), "statement.predicate")
    case("without-ohttp", "Which keys?", lambda value: value["predicate"].pop("ohttp"), "statement.predicate")
    case("ohttp-as-list", "One digest over all of them.", put("ohttp", ["11" * 32]), "encoding.hex")
    case("ohttp-in-base64", "Digests are hex.", put("ohttp", b64(bytes(32))), "encoding.hex")
    case("short-tls", "A digest has 32 bytes.", put("tls", "11" * 31), "encoding.hex")
    case("predecessor-in-capitals", "One spelling.", put("predecessor", "AA" * 32), "encoding.hex")
    case(
        "of-another-document",
        "A node tells of its own key document and of no other.",
        lambda value: value["subject"][0].update(digest={"sha256": STRANGER.id}),
        "statement.subject",
    )
    case(
        "subject-as-parts",
        "A key document is no tree of parts.",
        lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": SEALED.id}),
        "statement.subject",
    )
    case(
        "subject-with-another-name",
        "The subject of an identity is called key_document.",
        lambda value: value["subject"][0].update(name="keys"),
        "statement.subject",
    )
    case("under-a-runs-id", "It would stand in somebody's trace.", put("run", Turn().run), "statement.run")
    case(
        "under-another-nodes-id",
        "Its run id is made of its own attester.",
        put("run", identity_run(STRANGER.id)),
        "statement.run",
    )
    case("with-a-parent", "It follows from nothing.", put("parents", ["11" * 32]), "statement.predicate")
    case("with-a-nonce", "It answers to no client.", put("nonce", "nonce-of-a-client-1"), "statement.predicate")
    case("with-a-parent-run", "No run began it.", put("parent_run", Turn().run), "statement.predicate")


def nothing() -> dict[str, Any]:
    """All three members of a node that has none of it."""
    return {"ohttp": None, "tls": None, "predecessor": None}


def paths(out: Writer) -> None:
    """The member ``path`` of a route (§4.1)."""

    def case(name: str, why: str, turn: Turn, code: str | None = None) -> None:
        out.case(
            f"statement/path-{name}",
            why,
            spec="statement.md §4.1",
            run=["parse-statement", "envelope.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_STATEMENT" if code else None,
            files={"envelope.json": turn.route.entry},
        )

    def altered(**change: Any) -> Turn:
        return sealed_turn({**PATH, **change})

    case("sealed", "The request came sealed to a key of the gateway's.", sealed_turn())
    case("by-an-unknown-relay", "A relay that the gateway does not know.", altered(relay=None))
    case("json", "The profile of the JSON body alone.", altered(suite="chacha20-poly1305", profile="json"))
    case("as-text", "A word is no path.", sealed_turn("sealed"), "statement.path")
    case("true", "Sealed how?", sealed_turn({"sealed": True}), "statement.path")
    case(
        "without-relay",
        "Unknown is said.",
        sealed_turn({k: v for k, v in PATH.items() if k != "relay"}),
        "statement.path",
    )
    case("names-the-caller", "Who asked is no word for the log.", altered(caller="192.0.2.1"), "statement.path")
    case("unknown-suite", "Suites are a closed list.", altered(suite="aes-256-gcm"), "statement.path")
    case("suite-as-number", "By its word.", altered(suite=1), "statement.path")
    case("unknown-profile", "Profiles are a closed list.", altered(profile="http"), "statement.path")
    case("short-config", "A digest has 32 bytes.", altered(config="11" * 31), "encoding.hex")
    case("relay-by-name", "A relay is its key document.", altered(relay="relay.example"), "encoding.hex")
    case(
        "timed-run", "A run id that tells the time of a sealed request.", sealed_turn(run=Turn().run), "statement.path"
    )
    case(
        "to-the-millisecond",
        "A claimed time that tells it.",
        sealed_turn(at=when(START, plus_ms=120)),
        "statement.path",
    )


# --- attesters ------------------------------------------------------------------------------------------------------


def attesters(out: Writer) -> None:
    """Who may sign one (§6, §7)."""

    case = Attesters(out, "identity", TRUST)
    case("by-a-gateway", "Signed by an admitted gateway.", identity())
    panel = Node("panel-of-keys.example", ["panel"], ["statement"])
    admitted = usual_trust(nodes=[*trust_value(2)["nodes"], admit(panel)])
    case("by-a-panel", "A panel is reached by people, over pages.", identity(panel), "statement.role", trust=admitted)
    case("by-a-stranger", "Trust does not know this node.", identity(STRANGER), "statement.unknown-key")
    case(
        "in-its-name",
        "The gateway is named, the signature is a stranger's.",
        identity(signer=STRANGER.statement_key),
        "statement.signature",
    )
    case(
        "backdated",
        "First seen an hour after it claims: what was shown to callers until then is not told.",
        identity(),
        "statement.backdated",
        at=when(START, plus_ms=3_600_000),
    )


def entries(out: Writer) -> None:
    """It says what the key document says (§7(10))."""

    def case(name: str, why: str, made: list[Statement], verdicts: list[str]) -> None:
        refuted = [code.removeprefix("refuted:") for code in verdicts if code.startswith("refuted:")]
        out.case(
            f"trace/identity-{name}",
            why,
            spec="statement.md §7",
            run=[
                "verify-entries",
                "--policy",
                "../../shared/policy.json",
                "--at",
                SEEN,
                "--trust",
                f"../../shared/{TRUST}",
                "entries.jsonl",
            ],
            expect="reject" if refuted else "accept",
            code=f"statement.{refuted[0]}" if refuted else None,
            at=SEEN,
            bug="SUBSTITUTION" if refuted else None,
            result={"verdicts": verdicts},
            files={"entries.jsonl": b"".join(item.entry + b"\n" for item in made)},
        )

    def said(member: str, to: str | None, node: Node = SEALED) -> Statement:
        return identity(node, change=lambda value: value["predicate"].__setitem__(member, to))

    wrong = "refuted:identity"
    case("as-in-its-document", "What the key document says.", [identity(), identity(PLAIN)], ["ok", "ok"])
    case(
        "again",
        "Told a second time, at a later time: the node started again.",
        [identity(), identity(at=SEEN)],
        ["ok"] * 2,
    )
    case("other-keys", "Keys that the key document does not name.", [said("ohttp", "44" * 32)], [wrong])
    case("hidden-keys", "Keys that the key document names and the statement hides.", [said("ohttp", None)], [wrong])
    case(
        "keys-of-its-own",
        "A private path that the key document knows nothing of.",
        [said("ohttp", "44" * 32, PLAIN)],
        [wrong],
    )
    one = sha(CONFIGURATION).hex()
    case("one-configuration", "The digest is over the list, not over its one member.", [said("ohttp", one)], [wrong])
    case("other-tls", "A TLS key that the key document does not name.", [said("tls", "44" * 32)], [wrong])
    case("other-predecessor", "A past that the key document does not tell.", [said("predecessor", "44" * 32)], [wrong])


# --- the lanes of runs ----------------------------------------------------------------------------------------------


def bundles(b: Bundles) -> None:
    """It says nothing about any run (lanes.md §3(11))."""

    def case(name: str, why: str, made: Statement) -> None:
        story = Story()
        story.add("statement", 9000, envelope=made.envelope)
        b.case(f"identity-{name}", why, story, GOOD, spec="lanes.md §3(11)", trust=TRUST, at=AT)

    case("in-a-runs-evidence", "Whoever adds one to a bundle unsays nothing of the run.", identity())
    case("forged-in-a-runs-evidence", "Not even with a bad signature.", identity(signer=STRANGER.statement_key))
