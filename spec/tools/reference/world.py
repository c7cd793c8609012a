"""A complete small network and the evidence it leaves: root keys, trust, gateway, log, four full nodes, runs, rounds.

Everything is a function of names and fixed times. Suites take the good world and change one thing.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import notes, parts, rounds, tree
from .signing import TRUST_PAYLOAD, Ed25519, Node, envelope
from .text import b64, exact_text, jcs, named, parse, posix_ms, sha, unb64, when

START = "2026-01-01T00:00:00.000Z"
"""When the run begins."""
AT = "2026-01-01T00:10:00.000Z"
"""When validity is judged."""
ORIGIN = "log.example/1"
CHAIN_ID = 84532
CONTRACT = "0x" + named("contract", 20).hex()
LONG_AGO = "2025-12-01T00:00:00.000Z"
FAR_AHEAD = "2027-01-01T00:00:00.000Z"

REQUEST = """{"model":"small-1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Does it hold?"}],
"temperature":0.70,"stream":false,"holdfast":{"nonce":"nonce-of-a-client-1"}}"""
SENT = """{"model":"small-1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Does it hold?"}],
"temperature":0.70,"stream":false}"""
RESPONSE = """{"id":"chatcmpl-1","object":"chat.completion","created":1767225601,"model":"small-1","choices":[{"index":0,
"message":{"role":"assistant","content":"It holds."},"finish_reason":"stop"}],"usage":{"prompt_tokens":17,
"completion_tokens":3,"total_tokens":20}}"""


def run_id(name: str, moment: str = START) -> str:
    """A UUID of version 7 from a name and a time."""
    bits = (posix_ms(moment) << 80) | int.from_bytes(named("run/" + name, 10), "big")
    return _uuid(bits, 7)


def private_run_id(name: str) -> str:
    """A UUID of version 4 from a name."""
    return _uuid(int.from_bytes(named("run/" + name, 16), "big"), 4)


def _uuid(bits: int, version: int) -> str:
    bits = bits & ~(0xF << 76) | version << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


GATEWAY = Node("gateway.example", ["gateway"], ["statement"])
HARDWARE_GATEWAY = Node("gateway-p256.example", ["gateway"], ["statement"], p256=True)
STRANGER = Node("stranger.example", ["gateway"], ["statement"])
DATA = Node("data.example", ["data"], ["statement"])
PANEL = Node("panel.example", ["panel"], ["statement"])
LOG = Node("log.example", ["log"], ["log"])
OTHER_LOG = Node("other-log.example", ["log"], ["log"])
FULL = [Node(f"full-{number}.example", ["full"], ["cosignature", "vote"]) for number in (1, 2, 3, 4)]
LATE = Node("late.example", ["full"], ["cosignature", "vote"])
"""A full node that trust admits but no epoch gives stake."""
OUTSIDER = Node("outsider.example", ["full"], ["cosignature", "vote"])
"""A full node that trust does not know."""
ROOTS = [Ed25519(f"root/{number}") for number in range(5)]
SEPARATOR = rounds.domain(CHAIN_ID, CONTRACT)


# --- trust ----------------------------------------------------------------------------------------------------------


def admit(node: Node, *, start: str = LONG_AGO, end: str = FAR_AHEAD, revoked: Any = None) -> dict[str, Any]:
    """One element of ``nodes``."""
    return {"key_document": b64(node.raw), "valid_from": start, "valid_until": end, "revoked": revoked}


def root_of(keys: Sequence[Any], threshold: int) -> dict[str, Any]:
    """The ``root`` member."""
    return {"threshold": threshold, "keys": [{"algorithm": key.algorithm, "public": b64(key.public)} for key in keys]}


def trust_value(version: int, **change: Any) -> dict[str, Any]:
    """One trust version as a value."""
    value = {
        "type": "urn:holdfast:trust:v1",
        "version": version,
        "issued_at": when(LONG_AGO, plus_ms=version * 86_400_000),
        "expires_at": FAR_AHEAD,
        "development": False,
        "root": root_of(ROOTS[:3], 2),
        "nodes": [admit(node) for node in (GATEWAY, HARDWARE_GATEWAY, DATA, LOG, *FULL, LATE)],
        "logs": [{"origin": ORIGIN, "node": LOG.id, "valid_from": LONG_AGO, "valid_until": FAR_AHEAD}],
        "epochs": [
            {
                "origin": ORIGIN,
                "number": 1,
                "first_round": 1,
                "stakes": [{"node": node.id, "stake": 100} for node in FULL],
                "valid_from": LONG_AGO,
                "valid_until": FAR_AHEAD,
            }
        ],
        "chains": [
            {
                "origin": ORIGIN,
                "chain_id": CHAIN_ID,
                "contract": CONTRACT,
                "finality_depth": 4,
                "development": False,
            }
        ],
        "enclave_roots": [],
        "measurements": [],
    }
    return {**value, **change}


def first_version(**change: Any) -> dict[str, Any]:
    """Version 1 admits nobody yet; it only says who the roots are."""
    nothing: dict[str, Any] = {"nodes": [], "logs": [], "epochs": [], "chains": []}
    return trust_value(1, **{**nothing, **change})


def sign_trust(value: dict[str, Any], keys: Sequence[Any]) -> dict[str, Any]:
    """A trust version in its envelope."""
    return envelope(jcs(value), list(keys), TRUST_PAYLOAD)


def trust_file(*versions: dict[str, Any]) -> dict[str, Any]:
    """A trust file."""
    return {"type": "urn:holdfast:trust-chain:v1", "versions": list(versions)}


def usual_trust(**change: Any) -> dict[str, Any]:
    """Two versions; the second admits the network. ``change`` goes into the second."""
    return trust_file(sign_trust(first_version(), ROOTS[:2]), sign_trust(trust_value(2, **change), ROOTS[:2]))


def trust_digest(file: dict[str, Any], position: int = -1) -> str:
    """SHA-256 of one version's payload."""
    return sha(unb64(file["versions"][position]["payload"])).hex()


POLICY = {
    "type": "urn:holdfast:policy:v1",
    "name": "vectors",
    "max_span_s": 600,
    "max_skew_s": 30,
    "require": {},
}


# --- statements -----------------------------------------------------------------------------------------------------


class Statement:
    """A statement, its payload, its envelope and its digest."""

    def __init__(self, value: dict[str, Any], signer: Any) -> None:
        self.value = value
        self.payload = jcs(value)
        self.envelope = envelope(self.payload, [signer])
        self.entry = jcs(self.envelope)
        self.digest = sha(self.payload).hex()


def statement(
    kind: str,
    node: Node,
    *,
    run: str,
    claimed_at: str,
    parents: Sequence[str],
    subject: tuple[str, bytes],
    body: dict[str, Any],
    nonce: str | None = "nonce-of-a-client-1",
    signer: Any = None,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Statement:
    """Build and sign one statement; ``change`` may edit the value before it is signed."""
    predicate = {
        **body,
        "run": run,
        "attester": node.id,
        "claimed_at": claimed_at,
        "parents": sorted(parents),
    }
    if nonce is not None:
        predicate["nonce"] = nonce
    own = {
        "decision": "holdfast-record-v1",
        "payment": "holdfast-record-v1",
        "recall": "holdfast-record-v1",
        "artifact": "holdfast-record-v1",
        "admission": "holdfast-record-v1",
        "journal": "holdfast-journal-v1",
        "identity": "sha256",
    }
    names = own.get(kind, "holdfast-parts-v1")
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": subject[0], "digest": {names: subject[1].hex()}}],
        "predicateType": f"urn:holdfast:{kind}:v1",
        "predicate": predicate,
    }
    if change is not None:
        change(value)
    return Statement(value, signer or node.statement_key)


class Turn:
    """One run: its documents and its route and execution statements. Every argument changes one thing."""

    def __init__(
        self,
        name: str = "good",
        *,
        run: str | None = None,
        node: Node = GATEWAY,
        execution_node: Node | None = None,
        request: str = REQUEST,
        sent: str = SENT,
        response: str | None = RESPONSE,
        route_at: str = when(START, plus_ms=120),
        execution_at: str = when(START, plus_ms=1850),
        settlement: str = "batch",
        route_change: Callable[[dict[str, Any]], None] | None = None,
        execution_change: Callable[[dict[str, Any]], None] | None = None,
        execution_parents: Sequence[str] | None = None,
        route_signer: Any = None,
        execution_signer: Any = None,
        event: str = "generated",
        outcome: str = "complete",
        marks: dict[str, Any] | None = None,
        streamed: bool = False,
        parents: Sequence[str] = (),
        admitted_at: str | None = None,
        nonce: str | None = "nonce-of-a-client-1",
    ) -> None:
        self.run = run or run_id(name)
        self.secret = named("secret/" + name)
        self.texts = {"request": request, "sent": sent} | ({"response": response} if response else {})
        self.bound = {
            document: parts.Bound(parse(text.encode()), document, self.run, self.secret)
            for document, text in self.texts.items()
        }
        self.route = statement(
            "route",
            node,
            run=self.run,
            claimed_at=route_at,
            parents=parents,
            subject=("request", self.bound["request"].root),
            body={
                "request": self.bound["request"].named(),
                "sent": self.bound["sent"].named(),
                "endpoint": "chat.completions",
                "upstream": "small.provider",
                "rewrites": ["holdfast-removed"],
                "fallback_from": [],
                "cached": False,
                "settlement": settlement,
                "streamed": streamed,
                **({} if admitted_at is None else {"admitted_at": admitted_at}),
            },
            nonce=nonce,
            signer=route_signer,
            change=route_change,
        )
        about = "response" if response else "request"
        self.execution = statement(
            "execution",
            execution_node or node,
            run=self.run,
            claimed_at=execution_at,
            parents=[self.route.digest] if execution_parents is None else execution_parents,
            subject=(about, self.bound[about].root),
            body={
                "event": event,
                "outcome": outcome,
                "response": self.bound["response"].named() if response else None,
                "marks": marks,
                "upstream": "small.provider",
            },
            nonce=nonce,
            signer=execution_signer,
            change=execution_change,
        )


# --- log, rounds, bundle --------------------------------------------------------------------------------------------


def neighbour(name: str) -> list[bytes]:
    """Somebody else's two entries."""
    turn = Turn("neighbour/" + name)
    return [turn.route.entry, turn.execution.entry]


class Ledger:
    """A log of some entries under one checkpoint, and the rounds that settled it."""

    def __init__(
        self,
        entries: Sequence[bytes],
        *,
        first: int = 2,
        digests: dict[int, str] | None = None,
        codes: dict[int, str] | None = None,
        cosigned_at: str = when(START, plus_ms=3000),
        cosigned_by: Sequence[Node] = tuple(FULL),
        signed_by: Node = LOG,
        origin: str = ORIGIN,
        attempt: int = 0,
        epoch: int = 1,
        number: int = 2,
    ) -> None:
        self.entries = list(entries)
        self.leaves = [tree.leaf(entry) for entry in entries]
        self.root = tree.head(self.leaves)
        self.size = len(entries)
        self.origin = origin
        self.text = notes.checkpoint_text(origin, self.size, self.root)
        seconds = posix_ms(cosigned_at) // 1000
        self.cosignatures = [
            notes.cosignature_line(node.name, node.keys["cosignature"], self.text, seconds) for node in cosigned_by
        ]
        self.note = notes.note(self.text, notes.log_line(origin, signed_by.keys["log"], self.text), *self.cosignatures)
        digests = digests or {}
        rows = [
            (index, digests.get(index, entry_digest(entry)), (codes or {}).get(index, default_code(entry)))
            for index, entry in enumerate(entries)
        ]
        before = rounds.Verdicts(rows[:first])
        self.earlier = rounds.candidate(
            origin, number - 1, previous=bytes(32), size=first, root=tree.head(self.leaves[:first]), verdicts=before
        )
        self.verdicts = rounds.Verdicts(rows[first:])
        self.candidate = rounds.candidate(
            origin,
            number,
            previous=rounds.content(self.earlier),
            size=self.size,
            root=self.root,
            verdicts=self.verdicts,
            attempt=attempt,
            epoch=epoch,
        )

    def index(self, digest: str) -> int:
        """Where a statement stands."""
        return [entry_digest(entry) for entry in self.entries].index(digest)

    def finality(self, nodes: Sequence[Node]) -> list[dict[str, Any]]:
        """Finality messages of some nodes."""
        return [rounds.finality(SEPARATOR, node.keys["vote"], self.candidate) for node in nodes]


@functools.cache
def entry_digest(entry: bytes) -> str:
    """The digest an entry goes by: of the statement, or of the commitment."""
    if entry.startswith(b'{"commitment":'):
        return sha(entry).hex()
    value = parse(entry)
    return sha(unb64(value["payload"])).hex()


def default_code(entry: bytes) -> str:
    """What full nodes say of a good entry."""
    return "cannot_tell" if entry.startswith(b'{"commitment":') else "ok"


class Story:
    """A turn, a ledger, and the journal of a bundle in the order in which things became known."""

    def __init__(
        self,
        turn: Turn | None = None,
        *,
        extra: Sequence[Statement] = (),
        order: Callable[[list[bytes]], list[bytes]] | None = None,
        finality_by: Sequence[Node] = tuple(FULL),
        disclose: Sequence[str] = ("request", "sent", "response"),
        **ledger: Any,
    ) -> None:
        self.turn = turn = turn or Turn()
        own = [turn.route.entry, turn.execution.entry, *(item.entry for item in extra)]
        self.ledger = Ledger([*neighbour("before"), *(order(own) if order else own), *neighbour("after")], **ledger)
        log = self.ledger
        self.statements = [turn.route, turn.execution, *extra]
        self.journal: list[dict[str, Any]] = []
        self.add("statement", 150, envelope=turn.route.envelope)
        self.add("note", 200, code="upstream.connected")
        self.add("statement", 1900, envelope=turn.execution.envelope)
        for item in extra:
            self.add("statement", 1950, envelope=item.envelope)
        for document in disclose:
            if document in turn.texts:
                self.add("document", 1900, document=document, text=turn.texts[document], secret=turn.secret.hex())
        logged = [item for item in self.statements if item.entry in log.entries]
        for item in logged:
            self.add("entry", 2200, digest=item.digest, index=log.index(item.digest))
        for item in logged:
            index = log.index(item.digest)
            proof = [step.hex() for step in tree.inclusion(log.leaves, index)]
            self.add("inclusion", 2600, digest=item.digest, index=index, size=log.size, proof=proof)
        self.add("checkpoint", 3100, note=log.note)
        self.add("candidate", 5000, round=log.candidate)
        voters = [node.keys["vote"].address for node in FULL]
        self.add("votes", 6000, number=log.candidate["number"], attempt=log.candidate["attempt"], voters=voters)
        for item in logged:
            index = log.index(item.digest)
            if index >= 2:
                row = next(row for row in log.verdicts.rows if row[0] == index)
                self.add(
                    "verdict",
                    7000,
                    number=log.candidate["number"],
                    index=index,
                    digest=row[1],
                    code=row[2],
                    **log.verdicts.path(index),
                )
        if finality_by:
            self.add("finality", 8000, round=log.candidate, messages=log.finality(finality_by))

    def add(self, kind: str, after_ms: int, **members: Any) -> None:
        self.journal.append({"kind": kind, "at": when(START, plus_ms=after_ms), **members})

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The journal's items of one kind, to look at or to change."""
        return [item for item in self.journal if item["kind"] == kind]

    def without(self, *kinds: str) -> Story:
        """Leave kinds out."""
        self.journal = [item for item in self.journal if item["kind"] not in kinds]
        return self

    def position(self, kind: str, which: int = -1) -> int:
        """Journal position (from 1) of an item of a kind."""
        return [place for place, item in enumerate(self.journal, start=1) if item["kind"] == kind][which]

    def bundle(self) -> dict[str, Any]:
        """The bundle."""
        return {
            "type": "urn:holdfast:bundle:v1",
            "run": self.turn.run,
            "exported_at": when(START, plus_ms=60_000),
            "journal": copy.deepcopy(self.journal),
        }


def bundle_text(bundle: dict[str, Any]) -> str:
    """A bundle as a file: one journal item a line, so that a diff of two cases shows the mutation."""
    head = {member: value for member, value in bundle.items() if member != "journal"}
    items = ",\n".join(exact_text(item) for item in bundle["journal"])
    return exact_text(head)[:-1] + ',"journal":[\n' + items + "\n]}\n"
