"""The gateway's OpenAPI document: what a stranger's tool may rely on. Served at ``/openapi.json``."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.verifier.lanes import BASES, LANES, STATES


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ERRORS = {
    code: _json(_ref("Error"), description)
    for code, description in {
        "400": "Malformed, or it makes no sense here",
        "401": "No key, or an unknown one",
        "403": "A check failed",
        "404": "Nothing there for this key",
        "405": "Another method",
        "408": "The body came too slowly",
        "410": "Past its retention",
        "413": "Too large",
        "422": "Passed on from the upstream",
        "429": "Passed on from the upstream",
        "500": "A bug on our side",
        "502": "The upstream failed",
        "503": "Busy, or something is silent",
        "504": "The upstream took too long",
    }.items()
}
_RUN_PARAMETER = {"name": "run", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_TEXT: dict[str, Any] = {"type": "string"}


def _ask(summary: str, request: str, answer: str) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(request)}}},
            "responses": {
                "200": {
                    "description": "The answer; with stream, server-sent events",
                    "headers": {"x-holdfast-run": {"schema": _TEXT}, "x-holdfast-capability": {"schema": _TEXT}},
                    "content": {
                        "application/json": {"schema": _ref(answer)},
                        "text/event-stream": {"schema": _TEXT},
                    },
                },
                **_ERRORS,
            },
        }
    }


def _get(summary: str, schema: dict[str, Any], *parameters: dict[str, Any], public: bool = False) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": _json(schema, summary), **_ERRORS},
    }
    if public:
        operation["security"] = []
    return {"get": operation}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """OpenAPI 3.1 as a JSON value."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast gateway",
            "version": "1",
            "description": "OpenAI-compatible answers, every one with evidence.",
        },
        "security": [{"workspace": []}, {"capability": []}],
        "paths": {
            "/v1/chat/completions": _ask("Ask, as a chat", "ChatRequest", "Answer"),
            "/v1/completions": _ask("Ask, as a text completion", "CompletionRequest", "Answer"),
            "/v1/models": _get("Models on offer", {"type": "object", "required": ["object", "data"]}),
            "/v1/identity": _get("Key document and attestation", {"type": "object"}, public=True),
            "/v1/runs": _get(
                "The workspace's newest runs",
                _ref("Runs"),
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 200}},
            ),
            "/v1/runs/{run}": _get("Lanes and chronology of a run", _ref("Run"), _RUN_PARAMETER),
            "/v1/runs/{run}/bundle": _get("Everything an offline verifier needs", {"type": "object"}, _RUN_PARAMETER),
        },
        "components": {"securitySchemes": _SECURITY, "schemas": _schemas()},
    }


_SECURITY = {
    "workspace": {"type": "http", "scheme": "bearer"},
    "capability": {"type": "apiKey", "in": "header", "name": "x-holdfast-capability"},
}


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
            },
            "additionalProperties": False,
        },
        "ChatRequest": {
            "type": "object",
            "required": ["model", "messages"],
            "properties": {
                "model": _TEXT,
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["role"], "properties": {"role": _TEXT}},
                },
                "stream": {"type": ["boolean", "null"]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "CompletionRequest": {
            "type": "object",
            "required": ["model", "prompt"],
            "properties": {
                "model": _TEXT,
                "prompt": {"type": ["string", "array"]},
                "stream": {"type": ["boolean", "null"]},
                "holdfast": _ref("Holdfast"),
            },
        },
        "Answer": {
            "type": "object",
            "required": ["holdfast"],
            "properties": {"holdfast": {"type": "object", "required": ["run", "capability", "statements"]}},
        },
        "Lane": lane,
        "Lanes": {
            "type": "object",
            "required": list(LANES),
            "properties": {name: _ref("Lane") for name in LANES},
            "additionalProperties": False,
        },
        "Run": {
            "type": "object",
            "required": ["run", "lanes", "chronology"],
            "properties": {
                "run": _TEXT,
                "lanes": _ref("Lanes"),
                "chronology": {"type": "array", "items": {"type": "object", "required": ["at", "code", "says"]}},
            },
        },
        "Runs": {"type": "object", "required": ["runs"], "properties": {"runs": {"type": "array"}}},
    }
