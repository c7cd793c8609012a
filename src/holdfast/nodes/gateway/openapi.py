"""The gateway's OpenAPI document: what a stranger's tool may rely on. Served at ``/openapi.json``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.core.computations import COMPARISONS
from holdfast.core.decisions import MAX_TEXT
from holdfast.core.images import FORMATS, MAX_COUNT, MAX_PROMPT
from holdfast.core.inference import MAX_ITEMS, MAX_NAME, MODES
from holdfast.core.statements import ENDPOINTS
from holdfast.nodes.gateway.files_app import PURPOSES
from holdfast.nodes.gateway.openapi_agents import SCHEMAS, operations
from holdfast.verifier.lanes import BASES, LANES, STATES


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_STATUS = {
    "400": "Malformed, or it makes no sense here",
    "401": "No key, or an unknown one",
    "403": "A check failed",
    "404": "Nothing there for this key",
    "405": "Another method",
    "408": "The body came too slowly",
    "409": "Passed on from the upstream",
    "410": "Past its retention",
    "413": "Too large",
    "415": "Passed on from the upstream",
    "422": "Passed on from the upstream",
    "429": "Passed on from the upstream, or more attestations than this gateway makes in a minute",
    "431": "The headers are too large",
    "500": "A bug on our side",
    "502": "The upstream failed",
    "503": "Busy, or something is silent",
    "504": "The upstream took too long",
}


def _errors(codes: str = " ".join(_STATUS), shape: str = "Error") -> dict[str, Any]:
    return {code: _json(_ref(shape), _STATUS[code]) for code in codes.split()}


_PUBLIC_ERRORS = "400 404 405 431 500 503"
_READING_ERRORS = "400 401 403 404 405 410 431 500 503"
_RUN_PARAMETER = {"name": "run", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_TEXT: dict[str, Any] = {"type": "string"}
_CODE: dict[str, Any] = {"type": "string", "maxLength": 64, "pattern": "^[a-z0-9]+(?:[._-][a-z0-9]+)*$"}
_PLACE: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_RULE_TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_MODEL: dict[str, Any] = {"type": "string", "description": "Needed unless this gateway has a default model"}


_SETTLEMENT_TYPE: dict[str, Any] = {
    "name": "X-SETTLEMENT-TYPE",
    "in": "header",
    "description": "Settlement mode as OpenGradient's clients name it; where the gateway has their key, the answer "
    "carries their signature (tee_signature, tee_request_hash, tee_output_hash, tee_timestamp, tee_id)",
    "schema": {"enum": ["private", "batch", "individual"]},
}


_ROUTE = {
    "name": "x-holdfast-route",
    "in": "header",
    "description": "A conversation's route policy, as JSON (spec/routes.md); holdfast.route is a request's own",
    "schema": _TEXT,
}
_PAYMENT_HEADERS: list[dict[str, Any]] = [
    {
        "name": "PAYMENT-SIGNATURE",
        "in": "header",
        "description": "Where this gateway takes payments: an x402 payment payload, base64 of JSON",
        "schema": {"type": "string", "maxLength": 24_576},
    },
    {
        "name": "X-Upto-Session",
        "in": "header",
        "description": "Instead of one: the session that an earlier answer named",
        "schema": {"type": "string", "format": "uuid"},
    },
]


def _ask(summary: str, request: str, answer: str, *, error: str = "Error", unpaid: str = "Unpaid") -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "parameters": [_SETTLEMENT_TYPE, _ROUTE, *_PAYMENT_HEADERS],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(request)}}},
            "responses": {
                "200": {
                    "description": "The answer; with stream, server-sent events",
                    "headers": {
                        "x-holdfast-run": {"schema": _TEXT},
                        "x-holdfast-capability": {"schema": _TEXT},
                        "x-holdfast-upstream": {"schema": _CODE, "description": "Who serves, or was turned to last"},
                        "x-holdfast-queue": {"schema": _CODE, "description": "The review queue that was named, if any"},
                        "x-holdfast-ignored": {
                            "schema": _TEXT,
                            "description": "Parameters that the upstream does not heed, if any, joined by commas",
                        },
                        "x-holdfast-payment": {
                            "schema": {"enum": ["authorised", "credit"]},
                            "description": "How it is paid, if it is; nothing was taken yet where it is authorised",
                        },
                        "x-upto-session": {
                            "schema": _TEXT,
                            "description": "What pays for further requests, if anything",
                        },
                    },
                    "content": {
                        "application/json": {"schema": _ref(answer)},
                        "text/event-stream": {"schema": _TEXT},
                    },
                },
                "402": {
                    **_json(_ref(unpaid), "It costs something; PAYMENT-REQUIRED says what may be signed for it"),
                    "headers": {"PAYMENT-REQUIRED": {"schema": _TEXT}},
                },
                **_errors(shape=error),
            },
        }
    }


def _recompute() -> dict[str, Any]:
    return {
        "post": {
            "summary": "Have another inference node run a computed run again, for whoever holds its capability",
            "parameters": [_RUN_PARAMETER],
            "security": [{"capability": []}],
            "requestBody": {"required": False, "content": {"application/json": {"schema": _ref("RunAgain")}}},
            "responses": {"200": _json(_ref("RanAgain"), "How its answer compares"), **_errors()},
        }
    }


def _influence() -> dict[str, Any]:
    rows: dict[str, Any] = {"type": "array", "minItems": 1, "items": _TEXT}
    asked = {"type": "object", "properties": {"without": rows}, "additionalProperties": False}
    texts = ("run", "original", "control", "answer", "note")
    pair = {"type": "object", "properties": dict.fromkeys(("original", "answer"), _TEXT)}
    told = {
        **dict.fromkeys(texts, _TEXT),
        "without": {"type": "array", "items": _TEXT},
        "control_differs": {"type": "boolean"},
        "times": {"type": "integer", "minimum": 1},
        "most": {"type": "integer", "minimum": 1},
        "differences": {"type": "array", "items": pair},
    }
    answer = {"type": "object", "required": sorted(told), "properties": told, "additionalProperties": False}
    return {
        "post": {
            "summary": "Ask a chat again without what was looked up, for whoever holds its capability; no proof",
            "parameters": [_RUN_PARAMETER],
            "security": [{"capability": []}],
            "requestBody": {"required": False, "content": {"application/json": {"schema": asked}}},
            "responses": {"200": _json(answer, "Both answers, and where they differ"), **_errors()},
        }
    }


def _sealed() -> dict[str, Any]:
    kinds = ("message/ohttp-req", "message/ohttp-chunked-req")
    answers = ("message/ohttp-res", "message/ohttp-chunked-res")
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "post": {
            "summary": "A sealed request, for relays (RFC 9458)",
            "requestBody": {"required": True, "content": dict.fromkeys(kinds, binary)},
            "responses": {
                "200": {"description": "The sealed answer", "content": dict.fromkeys(answers, binary)},
                **_errors(),
            },
        }
    }


def _get(
    summary: str,
    schema: dict[str, Any],
    *parameters: dict[str, Any],
    public: bool = False,
    more: str = "",
    content_type: str = "application/json",
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {
            "200": {"description": summary, "content": {content_type: {"schema": schema}}},
            **_errors(f"{_PUBLIC_ERRORS if public else _READING_ERRORS} {more}"),
        },
    }
    if public:
        operation["security"] = []
    elif _RUN_PARAMETER in parameters:
        operation["security"] = [{"workspace": []}, {"capability": []}]
    return {"get": operation}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """OpenAPI 3.1 as a JSON value."""
    agents = operations(_errors())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast gateway",
            "version": "1",
            "description": "OpenAI-compatible answers, every one with evidence.",
        },
        "security": [{"workspace": []}],
        "paths": {
            "/v1/chat/completions": _ask("Ask, as a chat", "ChatRequest", "Answer"),
            "/v1/completions": _ask("Ask, as a text completion", "CompletionRequest", "Answer"),
            "/v1/images/generations": _ask("Have images made", "ImageRequest", "Images"),
            "/v1/messages": _ask(
                "Ask, as Anthropic's Messages are asked",
                "MessagesRequest",
                "MessagesAnswer",
                error="MessagesError",
                unpaid="MessagesError",
            ),
            "/v1/infer": _ask("Have an inference node run a model", "InferenceRequest", "Inferred"),
            "/v1/embeddings": _ask(
                "Vectors of texts, by an inference node's model whose card declares embeddings, or an upstream's",
                "Texts",
                "Listed",
            ),
            "/v1/classify": _ask("Labels of texts, by a model whose card declares classification", "Texts", "Listed"),
            **_files(),
            "/v1/models": _get("Models on offer", _ref("Models")),
            "/v1/models/{model}": _get(
                "One of them",
                _ref("Model"),
                {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 512}},
            ),
            "/v1/prices": _get(
                "The price card, and how one can pay; 404 where nothing costs anything", _ref("Prices"), public=True
            ),
            "/v1/account": _get("Credit of the workspace; 404 where nothing costs anything", _ref("Account")),
            "/v1/identity": _get("Key document and attestation", _ref("Identity"), public=True),
            "/v1/attestation": _get(
                "Evidence of the enclave that holds this gateway's keys; with a nonce it is made for this question",
                _ref("Attestation"),
                {
                    "name": "nonce",
                    "in": "query",
                    "description": "1 to 64 bytes in lower-case hex",
                    "schema": {"type": "string", "pattern": "^(?:[0-9a-f]{2}){1,64}$"},
                },
                public=True,
                more="404 429",
            ),
            "/v1/ohttp": _sealed(),
            "/v1/ohttp/keys": _get(
                "Key configurations that requests are sealed to (RFC 9458); 404 without a private path",
                _TEXT,
                public=True,
                content_type="application/ohttp-keys",
            ),
            "/v1/ohttp/config": _get(
                "The key as OpenGradient's clients read it, signed; 404 without such a signature",
                _ref("SealedConfiguration"),
                public=True,
            ),
            "/v1/network": _get("Where the log and the full nodes are, and the trust file", _ref("Network")),
            "/v1/openings": _get(
                "The workspace's runs that name a review queue, in the order of the write-ahead log",
                _ref("Openings"),
                {
                    "name": "after",
                    "in": "query",
                    "description": "0, or the end of an earlier answer",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                },
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
            ),
            "/v1/runs": {
                **_get(
                    "The workspace's newest runs",
                    _ref("Runs"),
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}},
                ),
                **agents["/v1/runs"],
            },
            "/v1/runs/{run}/children": _get(
                "The runs that name this one as their parent, their lanes side by side",
                _ref("Children"),
                _RUN_PARAMETER,
            ),
            "/v1/agents": _get(
                "The workspace's agent runs, newest first",
                _ref("Agents"),
                {"name": "name", "in": "query", "schema": _CODE},
                {"name": "state", "in": "query", "schema": {"enum": ["open", "closed"]}},
                {"name": "before", "in": "query", "description": "The next of an earlier answer", "schema": _PLACE},
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
            ),
            "/v1/runs/{run}/tree": _get(
                "An agent run with everything below it; what was not looked at in time has no lanes yet",
                _ref("AgentTree"),
                _RUN_PARAMETER,
                {"name": "after", "in": "query", "description": "The next of an earlier answer", "schema": _PLACE},
                {"name": "within_ms", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 60_000}},
            ),
            "/v1/runs/{run}/tree/events": _get(
                "A digest of the tree whenever it is another one: server-sent events named tree, without end",
                _TEXT,
                _RUN_PARAMETER,
                content_type="text/event-stream",
            ),
            "/v1/runs/{run}/led": _get(
                "What an act or an agent run came after, and the evidence of it",
                _ref("Led"),
                _RUN_PARAMETER,
                {
                    "name": "after",
                    "in": "query",
                    "description": "0, or the greatest place of an earlier answer",
                    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                },
            ),
            "/v1/runs/{run}/steps": agents["/v1/runs/{run}/steps"],
            "/v1/runs/{run}/close": agents["/v1/runs/{run}/close"],
            "/v1/runs/{run}/amend": agents["/v1/runs/{run}/amend"],
            "/v1/traces": agents["/v1/traces"],
            "/v1/runs/{run}": _get("Lanes and chronology of a run", _ref("Run"), _RUN_PARAMETER),
            "/v1/runs/{run}/events": _get(
                "The same whenever it changes: server-sent events named run, without end",
                _TEXT,
                _RUN_PARAMETER,
                content_type="text/event-stream",
            ),
            "/v1/runs/{run}/bundle": _get("Everything an offline verifier needs", _ref("Bundle"), _RUN_PARAMETER),
            "/v1/runs/{run}/payment": _get(
                "Both sides of the run's payment, checked (404 where answers cost nothing)",
                _ref("Payment"),
                _RUN_PARAMETER,
            ),
            "/v1/runs/{run}/wrap": _get(
                "The run's secret, encrypted to the panel that reviews it", _ref("Wrap"), _RUN_PARAMETER
            ),
            "/v1/runs/{run}/recompute": _recompute(),
            "/v1/runs/{run}/influence": _influence(),
            "/health": _get("Health, in OpenGradient's shape (404 without their key)", _ref("Health"), public=True),
            "/signing-key": _get("OpenGradient's signing key (404 without one)", _ref("SigningKey"), public=True),
            "/enclave/attestation": _get(
                "An attestation of the TLS certificate and OpenGradient's signing key, in base64",
                _TEXT,
                {
                    "name": "nonce",
                    "in": "query",
                    "required": True,
                    "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{40}$"},
                },
                public=True,
                content_type="text/plain",
            ),
            "/heartbeat/status": _get(
                "Heartbeats to the registry, in OpenGradient's shape", _ref("Heartbeat"), public=True
            ),
            "/artela-network/artela-rollkit/inference/tx/{id}": _get(
                "What came of a request on chain, in the shape of OpenGradient's Alpha, once it ended",
                {
                    "type": "object",
                    "required": ["inference_results"],
                    "properties": {"inference_results": {"type": "array", "items": {"type": "string"}}},
                    "additionalProperties": False,
                },
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
                public=True,
            ),
            "/healthz": _get("The process answers", _flag("alive"), public=True),
            "/readyz": _get("The node can do its work", _flag("ready"), public=True),
            "/metrics": _get("Prometheus metrics", _TEXT, public=True, content_type="text/plain"),
            "/openapi.json": _get("This document", {"type": "object"}, public=True),
        },
        "components": {"securitySchemes": _SECURITY, "schemas": {**_schemas(), **SCHEMAS}},
    }


def _files() -> dict[str, Any]:
    """Uploads (``files.md`` §6)."""
    one = {"name": "file_id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z0-9-]+$"}}
    form: dict[str, Any] = {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"enum": list(PURPOSES)}},
        "additionalProperties": False,
    }
    said = {
        "id": _TEXT,
        "object": {"const": "file"},
        "bytes": {"type": "integer", "minimum": 0},
        "created_at": {"type": "integer"},
        "expires_at": {"type": "integer"},
        "filename": _TEXT,
        "purpose": {"enum": list(PURPOSES)},
        "status": {"const": "processed"},
    }
    listed: dict[str, Any] = {"type": "object", "required": sorted(said), "properties": said}
    upload = {**listed, "properties": {**said, "holdfast": {"type": "object", "description": "What was read in it"}}}
    every = {"object": {"const": "list"}, "data": {"type": "array", "items": listed}, "has_more": {"const": False}}
    gone = {"id": _TEXT, "object": {"const": "file"}, "deleted": {"const": True}}
    keep = {
        "summary": "Keep a file for later requests of this workspace; its id opens it, and nothing else does",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {"200": _json(upload, "What is kept, and what was read in it"), **_errors()},
    }
    delete = {
        "summary": "Forget an upload, by its id or as it is listed",
        "parameters": [one],
        "responses": {"200": _json({"type": "object", "properties": gone}, "It is gone"), **_errors(_READING_ERRORS)},
    }
    binary = {"type": "string", "format": "binary"}
    content = _get("The file itself", binary, one, content_type="application/octet-stream")
    return {
        "/v1/files": {**_get("Uploads of this workspace", {"type": "object", "properties": every}), "post": keep},
        "/v1/files/{file_id}": {**_get("What is kept of an upload, by its whole id", upload, one), "delete": delete},
        "/v1/files/{file_id}/content": content,
    }


def _flag(name: str) -> dict[str, Any]:
    """An object that says one thing."""
    return {
        "type": "object",
        "required": [name],
        "properties": {name: {"const": True}},
        "additionalProperties": False,
    }


_SECURITY = {
    "workspace": {"type": "http", "scheme": "bearer"},
    "capability": {"type": "apiKey", "in": "header", "name": "x-holdfast-capability"},
}


_SEEN = ("identity", "plaintext", "sizes", "timing")
"""What a hop could see or not (``lanes.md`` §3(5))."""


def _schemas() -> dict[str, Any]:
    lane = {
        "type": "object",
        "required": ["state", "basis", "says", "does_not_say", "evidence"],
        "properties": {
            "state": {"enum": list(STATES)},
            "basis": {"enum": [*BASES, None]},
            "says": _TEXT,
            "does_not_say": _TEXT,
            "evidence": {"type": "array", "items": _TEXT},
            "hops": {"type": "array", "items": {"type": "object", "required": ["hop", "node", *_SEEN]}},
        },
        "additionalProperties": False,
    }
    return {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code", "hint"],
                    "properties": {
                        "message": _TEXT,
                        "type": {
                            "enum": ["malformed", "refused", "conflict", "undecided", "unavailable", "usage", "error"]
                        },
                        "param": {"type": ["string", "null"]},
                        "code": _TEXT,
                        "hint": _TEXT,
                    },
                    "additionalProperties": False,
                }
            },
        },
        "Holdfast": {
            "type": "object",
            "properties": {
                "nonce": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"},
                "parent_run": {"type": "string", "format": "uuid"},
                "settlement": {"enum": ["batch", "individual", "private"]},
                "queue": {**_CODE, "description": "The review queue that takes the run in"},
                "sealed": {
                    "type": "boolean",
                    "description": "Give the answer closed: whoever asked reads it once the queue's gate lets it go",
                },
                "require_parameters": {
                    "type": "boolean",
                    "description": "Refuse instead of asking an upstream that does not heed every parameter",
                },
                "cache": {
                    "type": "boolean",
                    "description": "Give an answer again that the very same request got before, and keep this one",
                },
                "credentials": {
                    "type": "boolean",
                    "description": "False: put no content credentials into the images. True is refused where the "
                    "gateway puts none in",
                },
                "decision_rule": {
                    "type": "object",
                    "description": "By what a decision about the answer is to be made",
                    "properties": dict.fromkeys(("rule", "threshold", "framing"), _RULE_TEXT),
                    "minProperties": 1,
                    "additionalProperties": False,
                },
                "admissions": {
                    "type": "array",
                    "description": "Facts from outside to put before the model: the digest of each, with its salt "
                    "where another workspace had it admitted, or what a data node presented of it, whole",
                    "items": {
                        "oneOf": [
                            {"type": "string"},
                            {
                                "type": "object",
                                "properties": {"digest": {"type": "string"}, "salt": {"type": "string"}},
                                "required": ["salt"],
                            },
                        ]
                    },
                    "minItems": 1,
                    "maxItems": 16,
                },
                "admit": {
                    "type": "object",
                    "description": "Let the model ask these sources for facts while it answers",
                    "properties": {
                        "sources": {"type": "array", "items": _CODE, "minItems": 1, "maxItems": 16},
                        "most": {"type": "integer", "minimum": 1, "maximum": 8},
                    },
                    "required": ["sources"],
                    "additionalProperties": False,
                },
                "memory": {
                    "type": "object",
                    "description": "Rows of a user's memory to be carried in, and whether what they say is handed over "
                    "afterwards; their key goes in x-holdfast-memory-key",
                    "required": ["user"],
                    "minProperties": 2,
                    "properties": {
                        "user": {"type": "string", "minLength": 1},
                        "recall": {"const": True},
                        "remember": {"const": True},
                    },
                    "additionalProperties": False,
                },
                "subject": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 4000,
                    "description": "What the case of the run is about; only together with queue",
                },
            },
            "additionalProperties": False,
        },
        "ChatRequest": {
            "type": "object",
            "required": ["messages"],
            "properties": {
                "model": _MODEL,
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT}},
                },
                "stream": {"type": ["boolean", "null"]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "MessagesRequest": {
            "type": "object",
            "required": ["messages", "max_tokens"],
            "properties": {
                "model": _MODEL,
                "max_tokens": {"type": "integer", "minimum": 1},
                "system": {"type": ["string", "array", "null"]},
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["role", "content"],
                        "properties": {
                            "role": {"enum": ["user", "assistant"]},
                            "content": {"type": ["string", "array"]},
                        },
                    },
                },
                "tools": {"type": ["array", "null"]},
                "stream": {"type": ["boolean", "null"]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "MessagesAnswer": {
            "type": "object",
            "required": ["type", "role", "content", "stop_reason", "usage", "holdfast"],
            "properties": {
                "type": {"const": "message"},
                "role": {"const": "assistant"},
                "content": {"type": "array", "items": {"type": "object", "required": ["type"]}},
                "stop_reason": {"type": ["string", "null"]},
                "usage": {"type": "object", "required": ["input_tokens", "output_tokens"]},
                "holdfast": {"type": "object"},
            },
        },
        "MessagesError": {
            "type": "object",
            "required": ["type", "error"],
            "properties": {
                "type": {"const": "error"},
                "error": {
                    "type": "object",
                    "required": ["message", "type", "kind", "param", "code", "hint"],
                    "properties": {"message": _TEXT, "type": _TEXT, "kind": _TEXT, "code": _TEXT, "hint": _TEXT},
                },
            },
        },
        "CompletionRequest": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "model": _MODEL,
                "prompt": {"type": ["string", "array"]},
                "stream": {"type": ["boolean", "null"]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "ImageRequest": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                "model": _MODEL,
                "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_PROMPT},
                "n": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_COUNT},
                "size": {"type": ["string", "null"], "description": "auto, or sides like 512x512"},
                "response_format": {"enum": ["b64_json", None]},
                "output_format": {"enum": [*FORMATS, None]},
                "stream": {"enum": [False, None]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "Images": {
            "type": "object",
            "required": ["data", "holdfast"],
            "properties": {
                "data": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_COUNT,
                    "items": {"type": "object", "required": ["b64_json"], "properties": {"b64_json": _TEXT}},
                },
                "holdfast": {"type": "object"},
            },
        },
        "InferenceRequest": {
            "type": "object",
            "required": ["model", "inputs"],
            "properties": {
                "model": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
                "inputs": {"type": ["object", "array"], "minProperties": 1, "minItems": 1, "maxItems": MAX_ITEMS},
                "mode": {"enum": list(MODES)},
                "outputs": {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True},
                "encoding": {"enum": ["json", "base64"]},
                "holdfast": _ref("Holdfast"),
            },
            "additionalProperties": False,
        },
        "Inferred": {
            "type": "object",
            "required": ["object", "model", "artifact", "mode", "outputs", "holdfast"],
            "properties": {
                "object": {"const": "inference"},
                "model": _TEXT,
                "artifact": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "mode": {"enum": list(MODES)},
                "outputs": {"type": ["object", "array"]},
                "holdfast": {"type": "object"},
            },
            "additionalProperties": False,
        },
        "Texts": {
            "type": "object",
            "required": ["model", "input"],
            "properties": {
                "model": {"type": "string", "minLength": 1},
                "input": {"type": ["string", "array"]},
                "encoding_format": {"enum": ["float", "base64"]},
                "dimensions": {"type": ["integer", "null"], "minimum": 1},
                "mode": {"enum": list(MODES)},
                "holdfast": _ref("Holdfast"),
            },
        },
        "Listed": {
            "type": "object",
            "required": ["data", "holdfast"],
            "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"type": "object"}}},
        },
        "RunAgain": {"type": "object", "properties": {"node": _TEXT}, "additionalProperties": False},
        "RanAgain": {
            "type": "object",
            "required": ["run", "comparison", "node", "statement", "computation"],
            "properties": {
                "run": _TEXT,
                "comparison": {"enum": list(COMPARISONS)},
                "node": _TEXT,
                "statement": _TEXT,
                "computation": {"type": "object"},
            },
            "additionalProperties": False,
        },
        "Answer": {
            "type": "object",
            "required": ["holdfast"],
            "properties": {
                "holdfast": {
                    "type": "object",
                    "required": ["run", "attester", "settlement", "outcome", "route", "statements"],
                    "oneOf": [{"required": ["capability"]}, {"required": ["sealed"]}],
                    "properties": {"memory": {"type": "object", "required": ["remembered"]}},
                }
            },
        },
        "Wrap": {
            "type": "object",
            "required": ["run", "panel", "wrap"],
            "properties": {"run": _TEXT, "panel": _TEXT, "wrap": _TEXT},
            "additionalProperties": False,
        },
        "Lane": lane,
        "Lanes": {
            "type": "object",
            "required": list(LANES),
            "properties": {name: _ref("Lane") for name in LANES},
            "additionalProperties": False,
        },
        "Network": {
            "type": "object",
            "required": ["log", "origin", "full_nodes", "trust"],
            "properties": {
                "log": _TEXT,
                "origin": _TEXT,
                "full_nodes": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "url"],
                        "properties": {"name": _TEXT, "url": _TEXT},
                    },
                },
                "trust": _TEXT,
            },
            "additionalProperties": False,
        },
        "Run": {
            "type": "object",
            "required": ["run", "created", "kind", "outcome", "lanes", "chronology", "known", "policy", "trust"],
            "properties": {
                "run": _TEXT,
                "created": _TEXT,
                "kind": {"enum": list(ENDPOINTS)},
                "outcome": {"type": ["string", "null"]},
                "lanes": _ref("Lanes"),
                "chronology": {"type": "array", "items": {"type": "object", "required": ["at", "code", "says"]}},
                "payments": {"type": "array", "items": {"type": "object", "required": ["digest", "lines"]}},
                "known": {"type": "integer", "minimum": 0},
                "policy": {"type": "object", "required": ["name", "digest"]},
                "trust": {"type": "object", "required": ["digest", "pinned", "development"]},
            },
            "additionalProperties": False,
        },
        "Openings": {
            "type": "object",
            "required": ["openings", "end", "round", "superseded"],
            "properties": {
                "openings": {"type": "array", "maxItems": 1000, "items": _ref("Opening")},
                "end": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "The next after: below it nothing more will appear",
                },
                "round": {"type": "integer", "minimum": 0, "description": "The newest final round that was seen"},
                "superseded": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Grows with every verdict seen that supersedes an earlier one",
                },
            },
            "additionalProperties": False,
        },
        "Opening": {
            "type": "object",
            "required": [
                "position",
                "run",
                "kind",
                "queue",
                "requester",
                "subject",
                "opened_at",
                "outcome",
                "closed_at",
            ],
            "properties": {
                "position": {"type": "integer", "minimum": 0},
                "run": _TEXT,
                "kind": {"enum": list(ENDPOINTS)},
                "queue": _CODE,
                "requester": {
                    "type": ["string", "null"],
                    "description": "The person whose key asked, where it is one's",
                },
                "subject": {"type": ["string", "null"], "description": "What the run's case is about"},
                "opened_at": _TEXT,
                "outcome": {"type": ["string", "null"]},
                "closed_at": {"type": ["string", "null"]},
            },
            "additionalProperties": False,
        },
        "Runs": {
            "type": "object",
            "required": ["runs"],
            "properties": {"runs": {"type": "array", "maxItems": 200, "items": _ref("ListedRun")}},
            "additionalProperties": False,
        },
        "ListedRun": {
            "type": "object",
            "required": ["run", "created", "kind", "outcome", "lanes"],
            "properties": {
                "run": _TEXT,
                "created": _TEXT,
                "kind": {"enum": list(ENDPOINTS)},
                "outcome": {"type": ["string", "null"]},
                "lanes": {
                    "type": "object",
                    "required": list(LANES),
                    "properties": {name: {"enum": list(STATES)} for name in LANES},
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
        "Models": {
            "type": "object",
            "required": ["object", "data"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": _ref("Model")},
                "has_more": {"const": False},
                "first_id": {"type": ["string", "null"]},
                "last_id": {"type": ["string", "null"]},
            },
            "additionalProperties": False,
        },
        "Model": {
            "type": "object",
            "required": ["id", "object", "created", "owned_by", "type", "display_name", "created_at", "holdfast"],
        },
        "Unpaid": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "object", "required": ["message", "type", "param", "code", "hint"]},
                "x402Version": {"const": 2},
                "accepts": {"type": "array"},
                "resource": {"type": "object"},
                "extensions": {"type": "object"},
            },
            "additionalProperties": False,
        },
        "Prices": {
            "type": "object",
            "required": ["payments", "price_card", "price_card_digest", "output_tokens", "free_credit", "x402"],
            "properties": {
                "payments": {"enum": ["optional", "required"]},
                "price_card": {"type": "object", "required": ["type", "unit", "models"]},
                "price_card_digest": _TEXT,
                "x402": {"type": ["object", "null"], "required": ["network", "asset", "pay_to", "methods", "timing"]},
            },
        },
        "Account": {
            "type": "object",
            "required": ["account", "unit", "granted", "spent", "held", "left"],
            "properties": {
                **dict.fromkeys(("account", "unit", "granted", "left"), _TEXT),
                "spent": {"type": ["string", "null"], "description": "Null for a relay"},
                "held": {"type": ["string", "null"], "description": "Null for a relay"},
            },
            "additionalProperties": False,
        },
        "SealedConfiguration": {
            "type": "object",
            "required": ["key_id", "kem_id", "kdf_id", "aead_id", "public_key", "key_config", "tee_id", "signature"],
            "properties": {"key_id": {"type": "integer"}, "public_key": _TEXT, "key_config": _TEXT, "tee_id": _TEXT},
        },
        "Identity": {
            "type": "object",
            "required": ["node", "key_document", "attestation", "statement"],
            "properties": {
                "node": _TEXT,
                "key_document": _TEXT,
                "attestation": {"type": ["object", "null"], "required": ["format", "evidence"]},
                "statement": {"type": ["object", "null"], "required": ["envelope", "index"]},
            },
            "additionalProperties": False,
        },
        "Health": {
            "type": "object",
            "required": ["status", "version", "tee_enabled", "uptime_seconds", "providers", "facilitator_url"],
            "properties": {"status": {"const": "OK"}, "tee_enabled": {"type": "boolean"}},
        },
        "SigningKey": {
            "type": "object",
            "required": ["public_key", "tee_id", "wallet_address", "hpke", "timestamp", "enclave_info", "measurements"],
            "properties": {"public_key": _TEXT, "tee_id": {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}},
        },
        "Heartbeat": {
            "type": "object",
            "required": ["enabled"],
            "properties": {"enabled": {"type": "boolean"}},
        },
        "Attestation": {
            "type": "object",
            "required": ["node", "key_document", "format", "simulated", "nonce", "evidence"],
            "properties": {
                "node": _TEXT,
                "key_document": _TEXT,
                "format": _TEXT,
                "simulated": {"type": "boolean", "description": "For people; a verifier goes by the evidence"},
                "nonce": {"type": ["string", "null"]},
                "evidence": {"type": "string", "contentEncoding": "base64"},
            },
            "additionalProperties": False,
        },
        "Payment": {
            "type": "object",
            "required": [
                "run",
                "lane",
                "steps",
                "offered",
                "signed",
                "claimed",
                "charged",
                "captured",
                "refund",
                "checks",
                "trouble",
                "not_evidence_of",
            ],
            "properties": {
                "run": _TEXT,
                "lane": {"type": "object"},
                "steps": {"type": "array", "items": {"type": "object", "required": ["event", "digest", "document"]}},
                "offered": {"type": ["object", "null"]},
                "signed": {"type": ["object", "null"]},
                "claimed": {"type": "object"},
                "charged": {"type": ["object", "null"]},
                "captured": {"type": ["object", "null"]},
                "refund": {"type": ["object", "null"]},
                "checks": {"type": "array", "items": {"type": "object", "required": ["answer", "says", "about"]}},
                "trouble": _TEXT,
                "stands": {"type": "object", "required": ["run", "authorization"]},
                "not_evidence_of": {"type": "array", "items": _TEXT},
            },
            "additionalProperties": False,
        },
        "Bundle": {
            "type": "object",
            "required": ["type", "run", "exported_at", "journal"],
            "properties": {
                "type": {"const": "urn:holdfast:bundle:v1"},
                "run": _TEXT,
                "exported_at": _TEXT,
                "journal": {"type": "array", "items": {"type": "object", "required": ["kind", "at"]}},
            },
            "additionalProperties": False,
        },
    }
