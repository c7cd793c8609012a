"""The panel's OpenAPI document: what a stranger's tool may rely on. Served at ``/openapi.json``.

It describes what programs ask; the pages have JSON twins, which ``holdfast.web.openapi`` adds. Lanes are eleven members
wherever they stand, each with a state of its own, and a case's ``state`` never stands without the ``policy`` that it
answers to. Not covered: the server-sent events of ``/events`` and ``/ask`` beyond their content type.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.nodes.panel.memory import ACTS, KEY_HEADER
from holdfast.review.roles import ROLES
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import BASES, HOPS, LANES, SIGHTS, STATES

Schema = dict[str, Any]
_STATUS = {
    "400": "Malformed, or it makes no sense here",
    "401": "Sign in first, or an unknown key",
    "403": "Not for these roles or scopes, or a check failed",
    "404": "Nothing there",
    "405": "Another method",
    "408": "The body came too slowly",
    "409": "It stands otherwise by now",
    "410": "Past its retention",
    "413": "Too large",
    "415": "Another content type",
    "421": "Not a name of this panel",
    "429": "Too many attempts; wait",
    "431": "The headers are too large",
    "500": "A bug on our side",
    "502": "The gateway answered something else",
    "503": "Busy, or something is silent",
    "504": "The gateway took too long",
}
_TEXT: Schema = {"type": "string"}
_MAYBE: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_UUID: Schema = {"type": "string", "format": "uuid"}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_MAYBE_DIGEST: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_WORD: Schema = {"enum": list(GATE_STATES)}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-z0-9]+(?:[._-][a-z0-9]+)*$"}
_POSITION: Schema = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema, most: int | None = None) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def closed(members: Schema, *optional: str) -> Schema:
    """An object with exactly these members; ``optional`` ones may be missing."""
    return {
        "type": "object",
        "required": [name for name in members if name not in optional],
        "properties": members,
        "additionalProperties": False,
    }


def query(name: str, schema: Schema, *, required: bool = False) -> Schema:
    """A parameter after the question mark."""
    return {"name": name, "in": "query", "required": required, "schema": schema}


def place(name: str, schema: Schema) -> Schema:
    """A parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def answer(
    summary: str,
    schema: Schema,
    *parameters: Schema,
    content_type: str = "application/json",
    body: Schema | None = None,
    body_type: str = "application/json",
    codes: tuple[str, ...] = ("200",),
) -> Schema:
    """One operation: what it says, what it takes, and how it fails."""
    done = {"description": summary, "content": {content_type: {"schema": schema}}}
    failed = {"content": {"application/json": {"schema": ref("Error")}}}
    operation: Schema = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": dict.fromkeys(codes, done)
        | {code: {"description": says, **failed} for code, says in _STATUS.items()},
    }
    if body is not None:
        operation["requestBody"] = {"required": bool(body.get("required")), "content": {body_type: {"schema": body}}}
    return operation


CASE, RUN = place("case", _UUID), place("run", _UUID)
QUEUE, SEQ = place("queue", _NAME), place("seq", {"type": "integer", "minimum": 1, "maximum": 10**15})
AFTER, STATE = query("after", _POSITION), query("state", _WORD)
LIMIT = query("limit", {"type": "integer", "minimum": 1, "maximum": 100})
_DELIVERY, _WEBHOOK = place("delivery", _DIGEST), place("webhook", _DIGEST)
_LEASE = {"type": "integer", "minimum": 1, "maximum": 86_400}
_HELD = closed({"consumer": _NAME, "key": _DIGEST})
_WORDS: Schema = {"type": "string", "minLength": 1, "maxLength": 4_000}
_ACT = {"reason": _WORDS, "role": {"enum": list(ROLES)}, "lanes": _DIGEST}


TOKEN = {"name": "x-holdfast-token", "in": "header", "required": True, "schema": _DIGEST}
_ROUTE = {
    "name": "x-holdfast-route",
    "in": "header",
    "description": "The conversation's route policy, which the gateway reads",
    "schema": _TEXT,
}
_NONCE = {
    "name": "x-holdfast-nonce",
    "in": "header",
    "description": "What the page drew for this question; it comes back in what is signed",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"},
}
_MEMORY_KEY = {"name": KEY_HEADER, "in": "header", "schema": {"type": "string", "maxLength": 512}}


def _paths() -> Schema:
    """By path and method."""
    act = "A person's act; the case as it left it"
    return {
        "/index.json": {"get": answer("Models on offer and the newest runs", ref("Index"))},
        "/runs/{run}.json": {"get": answer("Lanes and chronology of a run", ref("Run"), RUN)},
        "/runs/{run}/bundle": {"get": answer("Everything an offline verifier needs", {"type": "object"}, RUN)},
        "/cases/{case}/events": {
            "get": answer("Tells that a case has moved", _TEXT, CASE, content_type="text/event-stream")
        },
        "/queues/{queue}/events": {
            "get": answer("Tells that a queue has moved", _TEXT, QUEUE, content_type="text/event-stream")
        },
        "/agents/{run}/events": {
            "get": answer("Tells that an agent run has moved", _TEXT, RUN, content_type="text/event-stream")
        },
        "/runs/{run}/payment.json": {
            "get": answer(
                "Both sides of a run's payment",
                {"type": "object", "required": ["run", "steps", "charged", "checks", "not_evidence_of"]},
                place("run", _UUID),
            )
        },
        "/events": {
            "get": answer(
                "Runs whenever they change",
                _TEXT,
                query("run", listed(_UUID, 64) | {"minItems": 1}, required=True),
                content_type="text/event-stream",
            )
        },
        "/ask": {
            "post": answer("Ask from a page", _TEXT, content_type="text/event-stream", body=ref("Question"))
            | {"parameters": [TOKEN, _MEMORY_KEY, _ROUTE, _NONCE]}
        },
        "/memory/acts/{act}": {
            "post": answer(
                "What a memory node answers to an act of a page, with the key that came with it",
                {"type": "object"},
                place("act", {"enum": [*ACTS]}),
                TOKEN,
                _MEMORY_KEY,
                body={"type": "object"},
            )
        },
        "/private/keys.json": {"get": answer("A gateway's keys for sealed questions, with proof", {"type": "object"})},
        "/private/ohttp": {
            "post": answer(
                "A sealed question, passed to a relay; its answer is sealed too",
                {"type": "string", "contentEncoding": "binary"},
                TOKEN,
                content_type="message/ohttp-chunked-res",
                body={"type": "string", "contentEncoding": "binary"},
                body_type="message/ohttp-req",
            )
        },
        "/pay/faucet": {
            "post": answer(
                "Test tokens of a development chain for a wallet",
                closed({"address": _TEXT, "network": _TEXT, "transaction": _TEXT}),
                body=closed({"address": _TEXT}),
            )
            | {"parameters": [TOKEN]}
        },
        "/rounds.json": {"get": answer("Rounds as each full node tells them", ref("Rounds"))},
        "/rounds/{number}.json": {"get": answer("One round", ref("Rounds"), place("number", _COUNT))},
        "/v1/session": {
            "post": answer("Begin a person's session", ref("Session"), body=closed({"name": _TEXT, "password": _TEXT}))
        },
        "/v1/session/end": {"post": answer("End it", ref("Session"))},
        "/v1/cases": {
            "get": answer(
                "Cases, oldest first", ref("Cases"), query("run", _UUID), query("queue", _NAME), STATE, AFTER, LIMIT
            ),
            "post": answer(
                "Open a case for a run whose caller named no queue",
                ref("Case"),
                body=closed({"run": _UUID, "queue": _NAME, "subject": _WORDS}, "subject"),
                codes=("200", "201"),
            ),
        },
        "/v1/cases/{case}": {"get": answer("A case with its journal and its policy", ref("CaseFile"), CASE)},
        "/v1/cases/{case}/export": {"get": answer("A case as it lies in the journal", ref("Export"), CASE)},
        "/v1/cases/{case}/dependants": {
            "post": answer(
                "Say what relied on a case",
                ref("Dependants"),
                CASE,
                body=closed({"case": _UUID, "reference": _WORDS}, "case", "reference"),
            )
        },
        "/v1/cases/{case}/done": {"post": answer("The work on a hand-out is done", ref("Handed"), CASE, body=_HELD)},
        "/v1/cases/{case}/give-back": {"post": answer("Somebody else may do it", ref("Handed"), CASE, body=_HELD)},
        "/v1/cases/{case}/unseal": {
            "post": answer("The run's capability, for a caller that was given its answer sealed", ref("Unsealed"), CASE)
        },
        "/v1/cases/{case}/view": {"post": answer("Open a case in one's own name", ref("Opened"), CASE)},
        "/v1/cases/{case}/claim": {"post": answer(act, ref("Case"), CASE, body=closed({"lease_s": _LEASE}, "lease_s"))},
        "/v1/cases/{case}/let-go": {"post": answer(act, ref("Case"), CASE)},
        "/v1/cases/{case}/comment": {"post": answer(act, ref("Case"), CASE, body=closed({"text": _WORDS}))},
        "/v1/cases/{case}/decide": {
            "post": answer(
                act, ref("Case"), CASE, body=closed({"act": {"enum": ["approve", "reject"]}, **_ACT}, "role", "lanes")
            )
        },
        "/v1/cases/{case}/amend": {
            "post": answer(
                "Deny an act, and propose another in its place",
                ref("Case"),
                CASE,
                body=closed({"arguments": _TEXT, "reason": _WORDS, "lanes": _DIGEST}, "lanes"),
            )
        },
        "/v1/cases/{case}/release": {
            "post": answer(act, ref("Case"), CASE, body=closed({"until": _TIME, **_ACT}, "role", "lanes"))
        },
        "/v1/cases/{case}/reopen": {
            "post": answer(act, ref("Case"), CASE, body=closed({"reason": _WORDS, "lanes": _DIGEST}, "lanes"))
        },
        "/v1/recall": {
            "get": answer(
                "What a recall would reach now", ref("RecallPlan"), query("evidence", _DIGEST, required=True)
            ),
            "post": answer(
                "Recall everything that relied on evidence",
                ref("Recalled"),
                body=closed({"evidence": _DIGEST, "cause": _WORDS}),
            ),
        },
        "/v1/queues": {"get": answer("Queues, their policies and how many cases stand where", ref("Queues"))},
        "/v1/queues/{queue}/next": {
            "get": answer(
                "The oldest case that the gate lets through now, under a lease",
                ref("Next"),
                QUEUE,
                query("consumer", _NAME),
                query("include", {"const": "hold"}),
                query("lease_s", _LEASE),
            )
        },
        "/v1/queues/{queue}/check": {
            "post": answer(
                "What a policy would move, and why",
                ref("PolicyChange"),
                QUEUE,
                body=_TEXT,
                body_type="application/toml",
            )
        },
        "/v1/queues/{queue}/policy": {
            "post": answer(
                "Give a queue a policy", ref("PolicyChange"), QUEUE, body=_TEXT, body_type="application/toml"
            )
        },
        "/v1/webhooks": {"get": answer("Endpoints and what stands in the way", ref("Webhooks"))},
        **{
            f"/v1/webhooks/{stands}": {"get": answer(f"Deliveries: {stands}", ref("Deliveries"), AFTER, LIMIT)}
            for stands in ("waiting", "dead", "dropped")
        },
        "/v1/webhooks/dead/{delivery}/replay": {
            "post": answer("Send a dead letter again", ref("Moved"), _DELIVERY, codes=("202",))
        },
        "/v1/webhooks/dead/{delivery}/drop": {
            "post": answer("Give a dead letter up for good", ref("Moved"), _DELIVERY)
        },
        "/v1/webhooks/{webhook}/enable": {"post": answer("Send to an endpoint again", ref("Enabled"), _WEBHOOK)},
        "/healthz": {"get": answer("The process answers", closed({"alive": {"const": True}}))},
        "/readyz": {"get": answer("The node can do its work", closed({"ready": {"const": True}}))},
        "/metrics": {"get": answer("Prometheus metrics", _TEXT, content_type="text/plain")},
        "/openapi.json": {"get": answer("This document", {"type": "object"})},
    }


_LANE = {
    "state": {"enum": list(STATES)},
    "basis": {"enum": [*BASES, None]},
    "says": _TEXT,
    "does_not_say": _TEXT,
    "evidence": listed(_TEXT),
    "hops": listed(ref("Hop")),
}
_SEEN: Schema = {"enum": list(SIGHTS)}
_ROW = {
    "id": _UUID,
    "queue": _TEXT,
    "run": _UUID,
    "subject": _MAYBE,
    "state": _WORD,
    "reasons": listed(ref("Reason")),
    "lanes": ref("Lanes"),
    "lanes_digest": _MAYBE_DIGEST,
    "policy": _DIGEST,
    "known": _COUNT,
    "opened_at": _TIME,
    "changed_at": _TIME,
    "clear_until": _MAYBE_TIME,
    "released_early": {"type": "boolean"},
    "claimed_by": _MAYBE,
    "claimed_until": _MAYBE_TIME,
    "handed_at": _MAYBE_TIME,
    "flags": _COUNT,
    "position": _COUNT,
    "stale": {"type": "boolean"},
}
_FILE = {**_ROW, "events": listed(ref("Event"))}
_RUN_FACTS = {"run": _UUID, "created": _TEXT, "kind": _TEXT, "outcome": _MAYBE}
_PLANNED = {"case": _UUID, "queue": _TEXT, "run": _UUID, "subject": _MAYBE, "state": _WORD}


def _schemas() -> Schema:
    return {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": closed(
                    {
                        "message": _TEXT,
                        "type": {
                            "enum": ["malformed", "refused", "conflict", "undecided", "unavailable", "usage", "error"]
                        },
                        "param": _MAYBE,
                        "code": _TEXT,
                        "hint": _TEXT,
                    }
                )
            },
        },
        "Lane": closed(_LANE, "hops"),
        "Hop": closed(
            {
                "hop": {"enum": list(HOPS)},
                "node": _MAYBE,
                "identity": _SEEN,
                "plaintext": _SEEN,
                "sizes": _SEEN,
                "timing": _SEEN,
            }
        ),
        "Lanes": closed({name: ref("Lane") for name in LANES}),
        "LaneStates": closed({name: {"enum": list(STATES)} for name in LANES}),
        "Reason": closed({"code": _TEXT, "lane": {"enum": [*LANES, None]}, "says": _TEXT}),
        "Event": closed(
            {
                "seq": _COUNT,
                "digest": _DIGEST,
                "at": _TIME,
                "kind": _TEXT,
                "actor": closed({"kind": _TEXT, "id": _TEXT, "key": _TEXT}, "key"),
                "cause": _MAYBE,
                "lanes": _MAYBE_DIGEST,
                "policy": _MAYBE_DIGEST,
                "body": {"type": "object"},
            }
        ),
        "Row": closed({**_ROW, "evidence": _TEXT}),
        "Case": closed(_FILE),
        "CaseFile": closed({**_FILE, "policy_document": {"type": "object"}}),
        "Opened": closed({**_FILE, "policy_document": {"type": "object"}, "bundle": _TEXT, "unread": _MAYBE}),
        "Unsealed": closed({"case": _UUID, "run": _UUID, "state": _WORD, "policy": _DIGEST, "capability": _DIGEST}),
        "Cases": closed({"cases": listed(ref("Case"), 100), "after": {"type": ["integer", "null"]}}),
        "Export": {"type": "object", "required": ["type", "case", "events"]},
        "Dependants": closed(
            {
                "case": _UUID,
                "dependants": listed(closed({"kind": {"enum": ["case", "reference"]}, "target": _TEXT})),
            }
        ),
        "Handed": closed({"case": _UUID, "state": _WORD, "policy": _DIGEST}),
        "RecallPlan": closed(
            {
                "evidence": _DIGEST,
                "direct": listed(closed(_PLANNED)),
                "dependants": listed(closed(_PLANNED)),
                "references": listed(ref("Reference")),
                "recalled_already": _COUNT,
                "acts": listed(ref("TakenAct")),
            }
        ),
        "Recalled": closed(
            {"cases": listed(_UUID), "references": listed(ref("Reference")), "acts": listed(ref("TakenAct"))}
        ),
        "TakenAct": closed(
            {
                "case": _UUID,
                "queue": _TEXT,
                "run": _TEXT,
                "tool": _TEXT,
                "effect": {"enum": ["write", "pay", "send"]},
                "taken": {"enum": ["handed_over", "handed_out"]},
            }
        ),
        "Reference": closed({"case": _UUID, "reference": _TEXT}),
        "Queues": closed({"queues": listed(ref("Queue")), "trouble": {"type": "object"}}),
        "Queue": closed(
            {
                "name": _TEXT,
                "policy": _DIGEST,
                "policy_document": {"type": "object"},
                "authored": {"type": "boolean"},
                "counts": {"type": "object", "properties": dict.fromkeys(GATE_STATES, _COUNT)},
            }
        ),
        "Next": closed(
            {
                "queue": _TEXT,
                "handed": {
                    "anyOf": [
                        {"type": "null"},
                        closed(
                            {
                                "case": ref("Row"),
                                "consumer": _TEXT,
                                "key": _DIGEST,
                                "until": _TIME,
                                "capability": _MAYBE_DIGEST,
                            }
                        ),
                    ]
                },
                "held": listed(ref("Row")),
            },
            "held",
        ),
        "PolicyChange": closed(
            {
                "queue": _TEXT,
                "before": _MAYBE_DIGEST,
                "after": _DIGEST,
                "moves": listed(
                    closed(
                        {
                            "case": _UUID,
                            "run": _UUID,
                            "before": _WORD,
                            "after": _WORD,
                            "reasons": listed(ref("Reason")),
                        }
                    )
                ),
                "seen": _COUNT,
                "left": _COUNT,
            }
        ),
        "Webhooks": closed({"webhooks": listed(ref("Webhook")), "followed": _COUNT}),
        "Webhook": closed(
            {
                "id": _DIGEST,
                "queue": _TEXT,
                "endpoint": _TEXT,
                "states": listed(_WORD),
                "begins_after": _COUNT,
                "deliveries": closed(dict.fromkeys(("waiting", "delivered", "dropped", "dead"), _COUNT)),
                "disabled": {"anyOf": [{"type": "null"}, closed({"at": _TIME, "note": _TEXT})]},
                "trouble": _MAYBE,
            }
        ),
        "Deliveries": closed({"deliveries": listed(ref("Delivery"), 100), "after": {"type": ["integer", "null"]}}),
        "Delivery": closed(
            {
                "delivery": _DIGEST,
                "webhook": _DIGEST,
                "queue": _MAYBE,
                "endpoint": _MAYBE,
                "case": _UUID,
                "event": _COUNT,
                "state": _WORD,
                "at": _TIME,
                "attempts": _COUNT,
                "next_at": _MAYBE_TIME,
                "ended_at": _MAYBE_TIME,
                "note": _TEXT,
                "position": _COUNT,
            }
        ),
        "Moved": closed({"delivery": _DIGEST, "stands": {"enum": ["waiting", "dropped"]}}),
        "Enabled": closed({"webhook": _DIGEST, "disabled": {"type": "null"}}),
        "Session": closed(
            {
                "who": {
                    "anyOf": [
                        {"type": "null"},
                        closed({"id": _TEXT, "name": _TEXT, "display": _TEXT, "roles": listed({"enum": list(ROLES)})}),
                    ]
                },
                "token": _MAYBE_DIGEST,
            }
        ),
        "QuestionPart": {
            "anyOf": [
                closed({"type": {"const": "text"}, "text": _TEXT}),
                closed({"type": {"const": "file"}, "file": closed({"filename": _TEXT, "file_data": _TEXT})}),
            ]
        },
        "Question": closed(
            {
                "model": _TEXT,
                "messages": listed(
                    closed(
                        {
                            "role": {"enum": ["user", "assistant", "system"]},
                            "content": {"anyOf": [_TEXT, listed(ref("QuestionPart"))]},
                        }
                    ),
                    400,
                )
                | {"minItems": 1},
                "memory": _TEXT | {"minLength": 1, "maxLength": 256},
            },
            "memory",
        ),
        "Index": closed({"models": listed(_TEXT), "runs": listed(ref("ListedRun"))}),
        "ListedRun": closed({**_RUN_FACTS, "lanes": ref("LaneStates")}),
        "Run": closed(
            {
                **_RUN_FACTS,
                "lanes": ref("Lanes"),
                "chronology": listed({"type": "object", "required": ["at", "code", "says"]}),
                "payments": listed(closed({"digest": _TEXT, "lines": listed(_TEXT)})),
                "trust": {"type": "object", "required": ["digest", "pinned", "development"]},
                "policy": {"type": "object", "required": ["name", "digest"]},
                "known": _COUNT,
            },
            "payments",
        ),
        "Rounds": {"type": "object", "required": ["rounds"]},
    }


@lru_cache(maxsize=1)
def document() -> Schema:
    """OpenAPI 3.1 as a JSON value."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast panel",
            "version": "1",
            "description": "Cases, queues and what the gate says of them, relative to a named policy.",
        },
        "security": [{"key": []}, {"session": [], "token": []}, {}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key of the panel"},
                "session": {"type": "apiKey", "in": "cookie", "name": "holdfast"},
                "token": {"type": "apiKey", "in": "header", "name": "x-holdfast-token"},
            },
            "schemas": _schemas(),
        },
    }
