"""Stand-ins for the nodes the panel talks to: a gateway and full nodes, with the shapes the real ones have.

``FakeGateway`` answers with a fixed text in small pieces, binds a streamed one with marks and closing statements as a
real one does (``bound_answer``), and checks nothing. Its runs move only when a test says so (``advance``), or by
themselves when ``auto_s`` is set: answered, logged, proposed, voted, final.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import uuid
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.helpers.bound_answer import Alter, BoundAnswer, identity

KEY = "hf_test_key_of_a_development_workspace"
ANSWER = (
    "A holdfast is the part of a kelp that grips the rock. It draws nothing from it: no water, no food. "
    "It only holds, so that everything above it can move.\n\nHere the word means the same. "
    "The answer above moves at once; what holds it, statement by statement, follows in the open."
)
LANE_DEFAULTS: dict[str, tuple[str, str | None, str, str]] = {
    "enclave": (
        "unknown",
        "development",
        "The gateway signs with a software key made for development. Nothing attests where it is kept.",
        "That the answer is any good.",
    ),
    "bytes": ("pending", None, "The run is open; its closing statement does not exist yet.", "That they are true."),
    "artifact": (
        "unknown",
        "provider_claim",
        "The upstream calls its model holdfast-responder. Nothing here shows which bytes ran.",
        "That a same name is a same model.",
    ),
    "computation": (
        "unknown",
        None,
        "The gateway saw what came back from the upstream, not how it was made.",
        "More than its mode can.",
    ),
    "inputs": ("not_applicable", None, "No outside facts were admitted.", "That a source was right."),
    "memory": ("not_applicable", None, "No memory rows were carried in.", "That a kept row is still true."),
    "route": (
        "proven",
        "signature",
        "Upstream builtin, asked directly: no fallback, no cache, rewrites: holdfast-removed.",
        "That another route would agree.",
    ),
    "privacy": (
        "unknown",
        None,
        "The gateway saw the plaintext and the caller's address. The upstream runs inside the gateway.",
        "What a hop's operator did with it.",
    ),
    "payment": ("not_applicable", None, "No payment was asked or offered.", "That anything was proved."),
    "settlement": (
        "pending",
        None,
        "Answered. The statements are on their way to the log.",
        "That waiting is failing.",
    ),
    "judgement": (
        "not_applicable",
        None,
        "Nobody has decided anything about this run.",
        "Anything about the machinery.",
    ),
}
STAGES = ("answered", "logged", "cosigned", "proposed", "voted", "final")


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _time(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class FakeRun:
    """One run: its lanes and chronology, and an event for whoever follows it."""

    def __init__(self, run: str, now: dt.datetime, messages: list[Any]) -> None:
        self.run = run
        self.created = now
        self.capability = _hex(f"secret of {run}")
        self.messages = messages
        self.answer = ""
        self.bound: BoundAnswer | None = None
        """What binds its streamed answer."""
        self.outcome: str | None = None
        self.stage = -1
        self.lanes = {
            name: {"state": state, "basis": basis, "says": says, "does_not_say": never, "evidence": []}
            for name, (state, basis, says, never) in LANE_DEFAULTS.items()
        }
        self.chronology: list[dict[str, Any]] = []
        self.payments: list[dict[str, Any]] = []
        self.payment: dict[str, Any] | None = None
        """Both sides of its payment; None where nothing was paid."""
        self.changed = asyncio.Condition()
        self.version = 0

    def note(self, now: dt.datetime, code: str, says: str, evidence: str | None = None) -> None:
        """Add one moment."""
        time = "claimed" if code in {"routed", "answered"} else "observed"
        known = len(self.chronology) + 1
        moment = {"at": _time(now), "code": code, "says": says, "time": time, "evidence": evidence, "known": known}
        self.chronology.append(moment)

    def view(self) -> dict[str, Any]:
        """The answer of ``GET /v1/runs/{id}``."""
        return ({"payments": self.payments} if self.payments else {}) | {
            "run": self.run,
            "created": _time(self.created),
            "kind": "chat.completions",
            "outcome": self.outcome,
            "lanes": self.lanes,
            "chronology": self.chronology,
            "trust": {"digest": _hex("trust"), "pinned": "first use", "development": True},
            "policy": {"name": "default", "digest": _hex("policy")},
            "known": len(self.chronology),
        }


class FakeGateway:
    """The gateway's API as far as the panel uses it."""

    def __init__(self, *, piece_s: float = 0.0, auto_s: float | None = None, key: str = KEY) -> None:
        self.piece_s = piece_s
        self.auto_s = auto_s
        self.key = key
        self.runs: dict[str, FakeRun] = {}
        self.models = ["holdfast-responder", "llama3.2:3b", "gpt-4o-mini"]
        self.prices: dict[str, dict[str, str]] = {}
        """Prices by model; a model without any names none."""
        self.answer = ANSWER
        """What every question is answered with."""
        self.images: tuple[str, ...] = ()
        """URLs of the images that stand in every answer."""
        self.outputs: dict[str, list[str]] = {}
        """What models are said to give."""
        self.served = "holdfast-responder"
        self.said_of_files: dict[str, Any] = {}
        """What the last frame says of files that a question brought."""
        """What the answers call their model."""
        self.down = False
        self.break_after: int | None = None
        """Break the connection after this many pieces."""
        self.hold_after: int | None = None
        """Send no more than this many pieces before ``go`` is set."""
        self.go = asyncio.Event()
        self.fail = False
        """Every question fails at the upstream."""
        self.disconnected: list[str] = []
        """Runs whose reader went away before the end."""
        self.followers = 0
        """Open event streams."""
        self.route: dict[str, Any] | None = None
        """What the first mark of every answer says of its route."""
        self.policies: list[str | None] = []
        """The conversation's route policy that came with each question."""
        self.asked: list[dict[str, Any]] = []
        self.memory_keys: list[str | None] = []
        """Of each question, the key of the rows that were to go along."""
        self.nonces: list[str | None] = []
        """What was drawn for each question that is streamed."""
        self.other_nonce: str | None = None
        """Signed in place of what was drawn."""
        self.first_delta: dict[str, Any] = {}
        """More members of the first delta of every answer."""
        self.named = True
        """Whether it shows its key document."""
        self.alter: Alter | None = None
        """What is done to a streamed answer after it was bound; then it is sent at once."""
        self._tasks: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The ASGI app."""
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/identity", self._identity),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/runs", self._runs),
                Route("/v1/runs/{run}", self._run),
                Route("/v1/runs/{run}/events", self._events),
                Route("/v1/runs/{run}/bundle", self._bundle),
                Route("/v1/runs/{run}/payment", self._payment),
            ]
        )

    def now(self) -> dt.datetime:
        """The real time: the fake is driven by real browsers."""
        return dt.datetime.now(dt.UTC)

    async def advance(self, run: FakeRun) -> None:
        """Move a run one stage towards final."""
        run.stage += 1
        stage, lanes, now = STAGES[run.stage], run.lanes, self.now()
        execution, route = _hex(f"execution {run.run}"), _hex(f"route {run.run}")
        settlement = lanes["settlement"]
        if stage == "answered":
            run.outcome = "complete"
            lanes["bytes"].update(
                state="proven",
                basis="signature",
                says="Request and response match the signed roots, 14 of 14 disclosed parts. The key is unattested.",
                evidence=[execution, route],
            )
            lanes["route"]["evidence"] = [route]
            run.note(now, "answered", "The closing statement says generated, outcome complete.", execution)
        elif stage == "logged":
            settlement["says"] = "Logged at index 41 and 42. Waiting for a round."
            settlement["evidence"] = [_hex("checkpoint")]
            run.note(now, "logged", "Both statements are in holdfast.local/log/1 at index 41 and 42.", execution)
        elif stage == "cosigned":
            run.note(now, "cosigned", "Cosigned by 4 of 4 full nodes.", _hex("checkpoint"))
        elif stage == "proposed":
            settlement["says"] = "Round 7 is proposed up to log size 43. No votes yet."
            run.note(now, "proposed", "Round 7, attempt 0, up to log size 43.", _hex("candidate"))
        elif stage == "voted":
            settlement["says"] = "2 of 4 full nodes have voted in round 7. More than 2/3 of the stake is needed."
            run.note(now, "voted", "full-1 votes for round 7.")
            run.note(now, "voted", "full-3 votes for round 7.")
        elif stage == "final":
            settlement.update(
                state="proven",
                basis="development",
                says="Final in round 7 with verdict ok for both statements, on a development chain.",
                evidence=[_hex("finality"), _hex("checkpoint")],
            )
            run.note(now, "final", "Round 7 is final: 4 of 4 finality messages.", _hex("finality"))
        await self.changed(run)

    async def changed(self, run: FakeRun) -> None:
        """Tell the followers of a run."""
        async with run.changed:
            run.version += 1
            run.changed.notify_all()

    def add_run(self, question: str = "What is a holdfast?") -> FakeRun:
        """A run that was asked and not answered yet."""
        run = FakeRun(str(uuid.uuid4()), self.now(), [{"role": "user", "content": question}])
        run.note(run.created, "asked", "One request for chat.completions, to be streamed.")
        run.note(run.created, "routed", "The route statement is signed: upstream builtin.", _hex(f"route {run.run}"))
        self.runs[run.run] = run
        return run

    def _refuse(self, request: Request) -> Response | None:
        if self.down:
            return JSONResponse(_error("gateway.down", "the gateway is being restarted"), 503)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse(_error("auth.wrong", "this key is not known here"), 401)
        return None

    async def _identity(self, _: Request) -> Response:
        return JSONResponse(identity() if self.named else {})

    async def _models(self, request: Request) -> Response:
        data = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "x",
                "holdfast": {"upstream": "builtin", "outputs": self.outputs.get(name, [])}
                | ({"prices": self.prices[name]} if name in self.prices else {}),
            }
            for name in self.models
        ]
        return self._refuse(request) or JSONResponse({"object": "list", "data": data})

    async def _chat(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        body = await request.json()
        self.asked.append(body)
        self.policies.append(request.headers.get("x-holdfast-route"))
        self.memory_keys.append(request.headers.get("x-holdfast-memory-key"))
        if body["model"] not in self.models:
            return JSONResponse(_error("model.unknown", f"no upstream serves {body['model']!r}"), 404)
        run = self.add_run(body["messages"][-1]["content"])
        run.messages = body["messages"]
        headers = {"x-holdfast-run": run.run, "x-holdfast-capability": run.capability}
        if self.fail:
            return JSONResponse(
                _error("upstream.status", "the upstream answered with status 500"), 502, headers=headers
            )
        if body.get("stream"):
            nonce = self.other_nonce or request.headers.get("x-holdfast-nonce")
            self.nonces.append(nonce)
            run.bound = BoundAnswer(run.run, bytes.fromhex(run.capability), await request.body(), nonce, self.route)
            return StreamingResponse(self._shown(run), media_type="text/event-stream", headers=headers)
        run.answer = self.answer
        await self.advance(run)
        message = {"role": "assistant", "content": self.answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        extra = {"run": run.run, "capability": run.capability}
        return JSONResponse(
            {"id": "x", "object": "chat.completion", "choices": [choice], "holdfast": extra}, headers=headers
        )

    async def _shown(self, run: FakeRun) -> Any:
        complete = False
        try:
            if self.alter is not None:
                events = [text async for text in self._stream(run)]
                for text in self.alter(events):
                    yield b"data: " + text + b"\n\n"
            else:
                async for text in self._stream(run):
                    yield b"data: " + text + b"\n\n"
            yield b"data: [DONE]\n\n"
            complete = True
            if self.auto_s is not None:
                task = asyncio.create_task(self._settle(run))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            if not complete:
                self.disconnected.append(run.run)

    async def _stream(self, run: FakeRun) -> Any:
        """The texts of an answer's events, each bound before it goes out."""
        bound = run.bound
        assert bound is not None

        def frame(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            return {
                "id": "x",
                "object": "chat.completion.chunk",
                "model": self.served,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }

        marks = 0
        yield bound.event(
            frame({"role": "assistant", "content": "", **self.first_delta}), run=run.run, capability=run.capability
        )
        for index, word in enumerate(self.answer.split(" ")):
            if self.break_after is not None and index >= self.break_after:
                raise ConnectionError
            if index == self.hold_after:
                await self.go.wait()
            piece = word if index == 0 else f" {word}"
            run.answer += piece
            if index % 6 == 0:
                marks += 1
                run.note(self.now(), "marked", f"Mark {marks} covers {len(run.answer)} characters.")
            told = {"route": self.route} if index == 0 and self.route is not None else {}
            yield bound.event(frame({"content": piece}), mark=index % 6 == 0, **told)
            await asyncio.sleep(self.piece_s)
        if self.images:
            images = [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
            yield bound.event(frame({"images": images}))
        await self.advance(run)
        yield bound.last(frame({}, "stop"), **self.said_of_files)

    async def _settle(self, run: FakeRun) -> None:
        while run.stage < len(STAGES) - 1:
            await asyncio.sleep(self.auto_s or 0)
            await self.advance(run)

    async def _runs(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        limit = int(request.query_params.get("limit", "20"))
        newest = sorted(self.runs.values(), key=lambda run: run.created, reverse=True)[:limit]
        rows = [
            {
                "run": run.run,
                "created": _time(run.created),
                "kind": "chat.completions",
                "outcome": run.outcome,
                "lanes": {name: lane["state"] for name, lane in run.lanes.items()},
            }
            for run in newest
        ]
        return JSONResponse({"runs": rows})

    def _find(self, request: Request) -> FakeRun | None:
        return self.runs.get(request.path_params["run"])

    async def _run(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        run = self._find(request)
        if run is None:
            return JSONResponse(_error("run.unknown", "no run with this id is known here"), 404)
        return JSONResponse(run.view())

    async def _payment(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        run = self._find(request)
        if run is None or run.payment is None:
            return JSONResponse(_error("run.unknown", "there is no payment here"), 404)
        return JSONResponse(run.payment)

    async def _bundle(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        run = self._find(request)
        if run is None:
            return JSONResponse(_error("run.unknown", "no run with this id is known here"), 404)
        asked = json.dumps({"model": "holdfast-responder", "messages": run.messages})
        message: dict[str, Any] = {"role": "assistant", "content": run.answer}
        if self.images:
            message["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
        answered = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        at = _time(run.created)
        journal: list[dict[str, Any]] = [{"kind": "note", "at": at, "code": "asked"}]
        if run.bound is not None:
            asked, answered = run.bound.request.decode(), run.bound.response.decode()
            journal += [{"kind": "statement", "at": at, "envelope": envelope} for envelope in run.bound.envelopes]
        disclosed = [
            {"kind": "document", "at": at, "document": "request", "text": asked, "secret": run.capability},
            {"kind": "document", "at": at, "document": "response", "text": answered, "secret": run.capability},
        ]
        if request.headers.get("x-holdfast-capability") == run.capability:
            journal += disclosed
        return JSONResponse({"type": "urn:holdfast:bundle:v1", "run": run.run, "exported_at": at, "journal": journal})

    async def _events(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        run = self._find(request)
        if run is None:
            return JSONResponse(_error("run.unknown", "no run with this id is known here"), 404)

        async def events() -> Any:
            self.followers += 1
            try:
                seen = -1
                while True:
                    async with run.changed:
                        await run.changed.wait_for(lambda: run.version != seen)  # noqa: B023
                        seen = run.version
                    yield b"event: run\ndata: " + json.dumps(run.view()).encode() + b"\n\n"
            finally:
                self.followers -= 1

        return StreamingResponse(events(), media_type="text/event-stream")


class FakeLog:
    """A log's newest checkpoint."""

    def __init__(self) -> None:
        self.note = (
            "holdfast.local/log/1\n49\n" + base64.b64encode(bytes(31) + b"1").decode() + "\n\n"
            "\u2014 holdfast.local/log/1 " + base64.b64encode(bytes(68)).decode() + "\n"
            "\u2014 full-1.holdfast.local " + base64.b64encode(bytes(76)).decode() + "\n"
        )

    def app(self) -> Starlette:
        """The ASGI app."""
        return Starlette(routes=[Route("/checkpoint", self._checkpoint)])

    async def _checkpoint(self, _: Request) -> Response:
        return Response(self.note, media_type="text/plain; charset=utf-8")


class FakeFullNode:
    """A full node's status and rounds. ``rounds`` maps number to the JSON it answers with."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.voter = "0x" + _hex(name)[:40]
        self.rounds: dict[int, dict[str, Any]] = {}
        self.down = False
        self.doing = "waiting for the votes of others"
        self.forgery = ""
        """Added to every verdict blob this node serves."""

    def app(self) -> Starlette:
        """The ASGI app."""
        return Starlette(
            routes=[
                Route("/v1/status", self._status),
                Route("/v1/rounds", self._rounds),
                Route("/v1/rounds/{number:int}", self._round),
                Route("/v1/verdicts/{blob_id}", self._verdicts),
            ]
        )

    def add(self, number: int, state: str, voters: list[str], *, attempt: int = 0, finality: bool = False) -> None:
        """A round as this node tells it."""
        candidate = {
            "origin": "holdfast.local/log/1",
            "epoch": 1,
            "number": number,
            "attempt": attempt,
            "previous": _hex(f"content {number - 1}") if number > 1 else "0" * 64,
            "size": number * 6 + 1,
            "root": _hex(f"root {number}"),
            "verdict_root": _hex(f"verdicts {number}"),
            "blob_id": _hex(verdict_blob(number)),
        }
        self.rounds[number] = {
            "number": number,
            "attempt": attempt,
            "state": state,
            "candidate": None if state == "open" else candidate,
            "votes": [{"voter": voter, "vote": None} for voter in voters],
            "finality": {"content": _hex(f"content {number}")} if finality else None,
        }

    async def _status(self, _: Request) -> Response:
        if self.down:
            return JSONResponse(_error("node.down", "not now"), 503)
        about = {"origin": "holdfast.local/log/1", "doing": self.doing, "abstains": "", "problems": {}}
        return JSONResponse({"name": self.name, "address": self.voter, "rounds": [about]})

    async def _verdicts(self, request: Request) -> Response:
        blobs = {_hex(verdict_blob(number)): verdict_blob(number) for number in self.rounds}
        return Response(blobs[request.path_params["blob_id"]] + self.forgery, media_type="text/plain")

    async def _rounds(self, _: Request) -> Response:
        return JSONResponse({"rounds": [self.rounds[number] for number in sorted(self.rounds)]})

    async def _round(self, request: Request) -> Response:
        value = self.rounds.get(request.path_params["number"])
        return JSONResponse(_error("round.unknown", "no such round"), 404) if value is None else JSONResponse(value)


def verdict_blob(number: int) -> str:
    """The verdicts of a round that covers six entries."""
    codes = ("ok", "ok", "ok", "refuted:statement.signature", "ok", "cannot_tell")
    return "".join(f"{number * 6 - 5 + i} {_hex(f'entry {number} {i}')} {code}\n" for i, code in enumerate(codes))


def four_nodes() -> list[FakeFullNode]:
    """Four full nodes: rounds 1 to 6 final, round 7 with two votes, round 8 open."""
    nodes = [FakeFullNode(f"full-{number}") for number in range(1, 5)]
    voters = [node.voter for node in nodes]
    for node in nodes:
        for number in range(1, 7):
            node.add(number, "final", voters, attempt=1 if number == 4 else 0, finality=True)
        node.add(7, "voting", [voters[0], voters[2]])
        node.add(8, "open", [])
    return nodes


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "unavailable", "param": None, "code": code, "hint": ""}}
