"""The part of the gateway's OpenAPI document that tells of agent runs (``spec/agents.md``)."""

from __future__ import annotations

from typing import Any

from holdfast.core.agents import EFFECTS, KINDS, MAX_GOAL, MAX_NAME, MOST_DEPTH, MOST_STEPS, MOST_TOOLS
from holdfast.core.otlp import JSON, PROTOBUF
from holdfast.core.statements import ENDPOINTS
from holdfast.nodes.gateway.traces import PATH as TRACES
from holdfast.verifier.lanes import BASES, LANES, STATES

_TEXT = {"type": "string"}
_CODE = {"type": "string", "maxLength": 64, "pattern": "^[a-z0-9]+(?:[._-][a-z0-9]+)*$"}
_RUN = {"type": "string", "format": "uuid"}
_RETRY_PARAMETER = {
    "name": "idempotency-key",
    "in": "header",
    "description": "The same request under the same key is answered as before (agents.md §7)",
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
}
_REQUESTER_PARAMETER = {
    "name": "x-holdfast-requester",
    "in": "header",
    "description": "Who asks for it: a name of an account. The panel's key names any, a person's key its own",
    "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._@+-]{0,63}$"},
}
_RUN_PARAMETER = {"name": "run", "in": "path", "required": True, "schema": _RUN}
_USD = {"type": "string", "pattern": "^(?:0|[1-9][0-9]*)(?:\\.[0-9]*[1-9])?$"}
_PLACE = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_LANE = {"state": {"enum": list(STATES)}, "basis": {"enum": [*BASES, None]}}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_TOOL = _object(
    {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        "effect": {"enum": list(EFFECTS), "description": "What calling it does outside"},
        "queue": {**_CODE, "description": "The review queue of its acts, exactly where the effect is not read"},
    },
    ("queue",),
)
_AGENT = _object(
    {
        "name": _CODE,
        "goal": {"type": "string", "maxLength": MAX_GOAL},
        "tools": {"type": "array", "maxItems": MOST_TOOLS, "items": _TOOL},
        "limits": _object(
            {
                "steps": {"type": "integer", "minimum": 1, "maximum": MOST_STEPS},
                "depth": {"type": "integer", "minimum": 1, "maximum": MOST_DEPTH},
                "spend": {**_USD, "description": "US dollars that its children may cost"},
            },
            ("steps", "depth", "spend"),
        ),
    },
    ("goal", "limits"),
)
_SPEND: dict[str, Any] = {
    "description": "Of an agent run: what its children cost, and what is held for those that are open",
    "oneOf": [
        {"type": "null"},
        _object(
            {
                "unit": {"const": "USD"},
                "limit": {"oneOf": [{"type": "null"}, _USD]},
                "spent": {"oneOf": [{"type": "null"}, _USD]},
                "held": _USD,
            }
        ),
    ],
}
_MAYBE = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_NEXT = {"type": ["integer", "null"], "description": "Where the rest begins; null where this is all"}
_LED = {
    "run": _RUN,
    "name": _CODE,
    "opened_at": _TEXT,
    "closed_at": _MAYBE,
    "outcome": _MAYBE,
    "queue": _MAYBE,
    "parent_run": _MAYBE,
    "settlement": _TEXT,
    "tools": {"type": "array", "items": _TOOL},
    "limits": {"type": "object"},
}
"""What is told of an agent run."""
_LOOKED: dict[str, Any] = {
    "lanes": {**_object({name: _object(_LANE) for name in LANES}), "type": ["object", "null"]},
    "rests": {
        "anyOf": [
            {"type": "null"},
            _object(
                {
                    "upstream": _TEXT,
                    "label": _MAYBE,
                    "served": _MAYBE,
                    "artifact": {
                        "anyOf": [{"type": "null"}, _object({"digest": _TEXT, "basis": {"enum": list(BASES)}})]
                    },
                    "admissions": {"type": "array", "items": _TEXT},
                    "recall": _MAYBE,
                }
            ),
        ]
    },
    "cost": {"anyOf": [{"type": "null"}, _object({"usd": _MAYBE, "event": _TEXT})]},
}
"""What was found of a run: lanes null where it was not looked at yet, rests and cost null where there is none."""
_BELOW = {"type": "array", "items": {"$ref": "#/components/schemas/AgentChild"}}
_ENDED = {"result": {}, "error": {"type": "string", "minLength": 1}}
_STEP = {
    "oneOf": [
        _object({"kind": {"const": "tool"}, "tool": _TEXT, "arguments": {"type": "object"}, **_ENDED}, tuple(_ENDED)),
        _object({"kind": {"const": "reserved"}, "of": _RUN}),
        _object({"kind": {"const": "outcome"}, "of": _RUN, **_ENDED}, tuple(_ENDED)),
        _object(
            {
                "kind": {"const": "hint"},
                "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
                "attributes": {"type": "object"},
            }
        ),
    ]
}
SCHEMAS: dict[str, Any] = {
    "AgentRequest": _object({"agent": _AGENT}),
    "AgentStep": _STEP,
    "AgentAmendment": _object({"arguments": {"type": "object"}}),
    "AgentEnd": {"oneOf": [_object({"result": {}}), _object({"error": _ENDED["error"]})]},
    "LedRun": _object(
        {
            "run": _RUN,
            "capability": _TEXT,
            "attester": _TEXT,
            "settlement": _TEXT,
            "queue": _CODE,
            "statements": {"type": "array", "items": _object({"kind": _TEXT, "digest": _TEXT})},
        },
        ("queue", "statements"),
    ),
    "Agents": _object(
        {"agents": {"type": "array", "items": _object({**_LED, "children": _COUNT, "spend": _SPEND})}, "next": _NEXT}
    ),
    "AgentTree": _object({**_LED, **_LOOKED, "children": _BELOW, "next": _NEXT, "spend": _SPEND}),
    "AgentChild": _object(
        {
            "run": _RUN,
            "kind": {"enum": list(ENDPOINTS)},
            "opened_at": _TEXT,
            "closed_at": _MAYBE,
            "outcome": _MAYBE,
            "queue": _MAYBE,
            "asked_again": {**_COUNT, "description": "How often it was asked again without what it stood on"},
            "step": {
                "anyOf": [
                    {"type": "null"},
                    _object(
                        {
                            "kind": {"enum": list(KINDS)},
                            "tool": _MAYBE,
                            "act": {"type": "boolean"},
                            "of": _MAYBE,
                        }
                    ),
                ]
            },
            **_LOOKED,
            "agent": _object({"name": _CODE, "tools": {"type": "array", "items": _TOOL}}),
            "children": _BELOW,
            "next": _NEXT,
        },
        ("agent", "children", "next"),
    ),
    "Led": _object(
        {
            "run": _RUN,
            "act": {
                "description": "Of an act: its tool, and what that does outside, as its agent run declared it",
                "oneOf": [{"type": "null"}, _object({"tool": _TEXT, "effect": {"enum": list(EFFECTS)}})],
            },
            "under": {
                "description": "Agent runs, and before which place the run came after what is below them",
                "type": "array",
                "items": _object({"run": _RUN, "before": _PLACE}),
            },
            "children": {
                "type": "array",
                "items": _object(
                    {
                        "run": _RUN,
                        "under": {"type": "array", "items": _RUN},
                        "place": _PLACE,
                        "evidence": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
                    }
                ),
            },
            "more": {"type": "boolean"},
        }
    ),
    "Children": _object(
        {
            "run": _RUN,
            "kind": {"enum": list(ENDPOINTS)},
            "outcome": {"type": ["string", "null"]},
            "children": {
                "type": "array",
                "items": _object(
                    {
                        "run": _RUN,
                        "kind": {"enum": list(ENDPOINTS)},
                        "opened_at": _TEXT,
                        "closed_at": {"type": ["string", "null"]},
                        "outcome": {"type": ["string", "null"]},
                        "queue": {"type": ["string", "null"]},
                        "lanes": _object({name: _object(_LANE) for name in LANES}),
                    }
                ),
            },
            "lanes": _object(
                {
                    name: {"type": "array", "items": _object({**_LANE, "runs": {"type": "array", "items": _RUN}})}
                    for name in LANES
                }
            ),
            "differing": {"type": "array", "items": {"enum": list(LANES)}},
            "spend": _SPEND,
        }
    ),
}


def operations(errors: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Operations by path; ``errors`` are the answers that every one of them can give."""
    capability = {"parameters": [_RUN_PARAMETER, _RETRY_PARAMETER], "security": [{"capability": []}]}
    return {
        "/v1/runs": {"post": _post("Open an agent run", "AgentRequest", errors)},
        "/v1/runs/{run}/steps": {
            "post": {
                **_post("Record a step of an agent run that is open, or tell of an act to itself", "AgentStep", errors),
                **capability,
            }
        },
        "/v1/runs/{run}/amend": {
            "post": {
                **_post("Propose other arguments in the place of an act", "AgentAmendment", errors),
                "parameters": [_RUN_PARAMETER, _RETRY_PARAMETER, _REQUESTER_PARAMETER],
            }
        },
        "/v1/runs/{run}/close": {
            "post": {**_post("Close an agent run over its children", "AgentEnd", errors), **capability}
        },
        TRACES: {"post": _spans(errors)},
    }


def _spans(errors: dict[str, Any]) -> dict[str, Any]:
    """OpenTelemetry's own shapes; of JSON, what is told back."""
    kept = _object({"trace": _TEXT, "span": _TEXT, "run": _RUN, "capability": _TEXT})
    lost = _object({"rejectedSpans": _TEXT, "errorMessage": _TEXT})
    taken = _object({"holdfast": {"type": "array", "items": kept}, "partialSuccess": lost}, ("partialSuccess",))
    return {
        "summary": "Keep spans (OTLP) as hints below the agent runs that they name",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"type": "object"}}, PROTOBUF: {"schema": {"type": "string"}}},
        },
        "responses": {
            "200": {
                "description": "How many spans were not kept, and why",
                "content": {JSON: {"schema": taken}, PROTOBUF: {"schema": {"type": "string"}}},
            },
            **errors,
        },
    }


def _post(summary: str, asked: str, errors: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": [_RETRY_PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(asked)}}},
        "responses": {
            "200": {
                "description": "The run, its capability, and what was signed of it",
                "content": {"application/json": {"schema": _ref("LedRun")}},
            },
            **errors,
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
