"""The JSON twins of the pages, added to the panel's OpenAPI document (``nodes/panel/openapi.py``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.nodes.panel.openapi import AFTER, CASE, QUEUE, SEQ, STATE, answer, listed, query, ref
from holdfast.nodes.panel.openapi import document as panel_document

_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def twins() -> dict[str, Any]:
    """By path: what each twin says."""
    start = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
    found = {
        "/about.json": answer("The words that the pages use", {"type": "object"}),
        "/queues.json": answer("Queues", {"type": "object", "required": ["queues"]}),
        "/queues/{queue}.json": answer("The rows of a queue", ref("QueuePage"), QUEUE, STATE, AFTER),
        "/queues/{queue}.csv": answer(
            "The same as CSV, a column for each lane", {"type": "string"}, QUEUE, STATE, AFTER, content_type="text/csv"
        ),
        "/cases/{case}.json": answer("A case file", ref("CasePage"), CASE),
        "/cases/{case}/at/{seq}.json": answer("What was shown at an event", ref("Reading"), CASE, SEQ),
        "/cases/{case}/report.json": answer("The evidence report", ref("Report"), CASE),
        "/account.json": answer("One's own account", {"type": "object", "required": ["name", "roles", "sessions"]}),
        "/people.json": answer("Accounts and keys", {"type": "object", "required": ["people", "keys"]}),
        "/audit.json": answer("The audit chains", {"type": "object", "required": ["chains"]}),
        "/recall.json": answer("What a recall would reach now", ref("RecallPlan"), query("evidence", _DIGEST)),
        "/webhooks.json": answer(
            "Endpoints and deliveries",
            {"type": "object", "required": ["webhooks", "dead", "waiting", "dropped"]},
            *(query(name, start) for name in ("dead", "waiting", "dropped")),
        ),
    }
    return {path: {"get": operation} for path, operation in found.items()}


def _schemas(known: dict[str, Any]) -> dict[str, Any]:
    """The shapes that only twins have. ``known`` are the panel's."""
    file = known["Case"]
    row = {name: schema for name, schema in file["properties"].items() if name != "events"}
    dependants = known["Dependants"]["properties"]["dependants"]
    page = {**file["properties"], "dependants": dependants}
    report = {
        **page,
        "policy_document": {"type": "object"},
        "head": {"type": "object", "required": ["seq", "digest"]},
    }
    reading = {
        "event": ref("Event"),
        "state": row["state"],
        "policy": {"type": ["string", "null"]},
        "reasons": row["reasons"],
        "then": {"anyOf": [{"type": "null"}, ref("Lanes")]},
        "now": ref("Lanes"),
        "differing": listed({"type": "string"}),
    }
    found = {"CasePage": page, "Report": report, "Reading": reading, "QueueRow": row}
    shaped = {
        name: {"type": "object", "required": [*members], "properties": members, "additionalProperties": False}
        for name, members in found.items()
    }
    queue = {name: schema for name, schema in known["Queue"]["properties"].items() if name != "policy_document"}
    queue |= {"document": {"type": "string"}, "cases": listed(ref("QueueRow"))}
    shaped["QueuePage"] = {
        "type": "object",
        "required": [*queue],
        "properties": queue,
        "additionalProperties": False,
    }
    return shaped


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """OpenAPI 3.1 of the panel with its pages, as a JSON value."""
    panel = panel_document()
    components = panel["components"]
    schemas = {**components["schemas"], **_schemas(components["schemas"])}
    return {**panel, "paths": {**panel["paths"], **twins()}, "components": {**components, "schemas": schemas}}
