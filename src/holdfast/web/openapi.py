"""The JSON twins of the pages, added to the panel's OpenAPI document (``nodes/panel/openapi.py``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from holdfast.nodes.panel.openapi import (
    AFTER,
    CASE,
    QUEUE,
    RUN,
    SEQ,
    STATE,
    TOKEN,
    answer,
    closed,
    listed,
    place,
    query,
    ref,
)
from holdfast.nodes.panel.openapi import document as panel_document
from holdfast.review.background import ALIKE
from holdfast.verifier.lanes import LANES, STATES
from holdfast.web.filters import MARKS

_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def twins() -> dict[str, Any]:
    """By path: what each twin says."""
    start = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
    filters = (
        STATE,
        query("lane", {"enum": list(LANES)}),
        query("is", {"enum": list(STATES)}),
        query("claimed", {"const": "me"}),
        *(query(name, {"const": "1"}) for name in MARKS),
        query("subject", {"type": "string", "minLength": 1, "maxLength": 512}),
        query("since", {"type": "string", "format": "date"}),
        AFTER,
    )
    child = place("child", {"type": "string", "format": "uuid"})
    known = place("known", {"type": "integer", "minimum": 1, "maximum": 10**15})
    found = {
        "/about.json": answer("The words that the pages use", {"type": "object"}),
        "/chat.json": answer(
            "Models with prices and what they can prove, and the cells of a turn's strip",
            {
                "type": "object",
                "required": ["models", "strip", "payee", "credit", "faucet", "paid_is_no_evidence_of", "trouble"],
            },
        ),
        "/memory.json": answer(
            "Words of a memory's rows, and what can be asked of its node with its owner's key",
            {
                "type": "object",
                "required": ["standings", "writers", "sources", "events", "acts", "key_kept_by"],
            },
        ),
        "/runs/{run}/memory.json": answer(
            "Rows of memory that went before a run's model, as far as they are shown",
            {"type": "object", "required": ["run", "recalled", "asks_again", "trouble"]},
            RUN,
        ),
        "/agents.json": answer(
            "Agent runs",
            {"type": "object", "required": ["agents", "next"]},
            query("name", {"type": "string", "minLength": 1, "maxLength": 64}),
            query("state", {"enum": ["open", "closed"]}),
            query("before", start),
        ),
        "/agents/{run}.json": answer(
            "An agent run as a tree, lanes side by side, with the cases of its acts",
            {"type": "object", "required": ["run", "name", "children", "differing", "spent", "cases", "unseen"]},
            RUN,
            query("after", start),
        ),
        "/agents/{run}/with.json": answer(
            "Other runs of the same agent", {"type": "object", "required": ["run", "name", "others"]}, RUN
        ),
        "/agents/{run}/with/{other}.json": answer(
            "Two runs of one agent beside each other, step by step and lane by lane",
            {"type": "object", "required": ["one", "other", "pairs"]},
            RUN,
            place("other", {"type": "string", "format": "uuid"}),
        ),
        "/agents/{run}/steps/{child}.json": answer(
            "One run below an agent run",
            {"type": "object", "required": ["run", "what", "title", "lanes", "agent", "case"]},
            RUN,
            child,
        ),
        "/verify.json": answer("The lanes that the page judges", {"type": "object", "required": ["judged"]}),
        "/verify/trust.json": answer(
            "The panel's trust file, for the page to check", {"type": "object", "required": ["trust", "pinned"]}
        ),
        "/verify/gateway.json": answer(
            "The key document that the gateway shows, for the page to check",
            {"type": "object", "required": ["key_document"]},
        ),
        "/queues.json": answer("Queues", {"type": "object", "required": ["queues"]}),
        "/queues/{queue}.json": answer("The rows of a queue", ref("QueuePage"), QUEUE, *filters),
        "/queues/{queue}.csv": answer(
            "The same as CSV, a column for each lane", {"type": "string"}, QUEUE, *filters, content_type="text/csv"
        ),
        "/cases/{case}.json": answer("A case file", ref("CasePage"), CASE),
        "/cases/{case}/at/{seq}.json": answer("What was shown at an event", ref("Reading"), CASE, SEQ),
        "/cases/{case}/known/{known}.json": answer("What was shown when evidence came", ref("Reading"), CASE, known),
        "/cases/{case}/evidence/{digest}.json": answer(
            "The items behind a digest", ref("Items"), CASE, place("digest", _DIGEST)
        ),
        "/cases/{case}/report.json": answer("The evidence report", ref("Report"), CASE),
        "/statistics.json": answer(
            "Counts over cases, by label and artifact",
            {"type": "object", "required": ["queue", "queues", "series", "moves"]},
            query("queue", {"type": "string", "minLength": 1, "maxLength": 64}),
        ),
        "/models.json": answer(
            "Models of the hub",
            {"type": "object", "required": ["models", "more", "in_folders"]},
            *(query(name, {"type": "string", "maxLength": 200}) for name in ("q", "tag", "licence", "organisation")),
            query("after", {"type": "string", "maxLength": 200}),
        ),
        "/sources.json": answer(
            "Sources of the data node", {"type": "object", "required": ["version", "digest", "sources"]}
        ),
        "/sources/{source}.json": answer(
            "A source, its definition and its newest admissions",
            {"type": "object", "required": ["id", "digest", "definition", "admissions"]},
            place("source", {"type": "string", "pattern": "^[a-z0-9]+(?:[._-][a-z0-9]+)*$", "maxLength": 64}),
        ),
        "/models/{organisation}/{model}.json": answer(
            "A model with its versions and labels",
            {"type": "object", "required": ["model", "published", "label_changes", "card"]},
            place("organisation", {"type": "string"}),
            place("model", {"type": "string"}),
        ),
        "/artifacts/{artifact}.json": answer(
            "An artifact and its lineage",
            {"type": "object", "required": ["artifact", "lineage"]},
            place("artifact", _DIGEST),
        ),
        "/artifacts/{artifact}/from/{before}.json": answer(
            "What differs between two artifacts",
            {"type": "object", "required": ["before", "after", "comparable", "files", "tensors"]},
            place("artifact", _DIGEST),
            place("before", _DIGEST),
        ),
        "/account.json": answer("One's own account", {"type": "object", "required": ["name", "roles", "sessions"]}),
        "/people.json": answer("Accounts and keys", {"type": "object", "required": ["people", "keys"]}),
        "/people/keys.json": answer("API keys", {"type": "object", "required": ["workspace", "keys"]}),
        "/audit.json": answer("The audit chains", {"type": "object", "required": ["chains"]}),
        "/recall.json": answer("What a recall would reach now", ref("RecallPlan"), query("evidence", _DIGEST)),
        "/webhooks.json": answer(
            "Endpoints and deliveries",
            {"type": "object", "required": ["webhooks", "dead", "waiting", "dropped"]},
            *(query(name, start) for name in ("dead", "waiting", "dropped")),
        ),
    }
    asked = {
        "/runs/{run}/influence.json": (RUN,),
        "/cases/{case}/influence.json": (CASE,),
        "/agents/{run}/steps/{child}/influence.json": (RUN, child),
    }
    return {path: {"get": operation} for path, operation in found.items()} | {
        path: {"post": _influence(*of)} for path, of in asked.items()
    }


def _influence(*of: dict[str, Any]) -> dict[str, Any]:
    """Asking a run again without rows of memory."""
    rows = listed({"type": "string", "pattern": "^(?:mem_[0-9a-f]{32}|[0-9a-f]{64})$"}) | {
        "minItems": 1,
        "uniqueItems": True,
    }
    body = closed({"without": {"anyOf": [{"const": "all"}, rows]}})
    told = {"type": "object", "required": ["run", "original", "control", "answer", "control_differs", "proves"]}
    return answer("A run asked again without rows of memory or admitted facts: no proof", told, *of, TOKEN, body=body)


def _schemas(known: dict[str, Any]) -> dict[str, Any]:
    """The shapes that only twins have. ``known`` are the panel's."""
    file = known["Case"]
    row = {name: schema for name, schema in file["properties"].items() if name != "events"}
    dependants = known["Dependants"]["properties"]["dependants"]
    whole = {**file["properties"], "dependants": dependants}
    page = {**whole, **_background()}
    report = {
        **whole,
        "policy_document": {"type": "object"},
        "head": {"type": "object", "required": ["seq", "digest"]},
    }
    text, maybe = {"type": "string"}, {"type": ["string", "null"]}
    lanes_or_none = {"anyOf": [{"type": "null"}, ref("Lanes")]}
    reading = {
        "at": row["opened_at"],
        "code": text,
        "event": ref("Event"),
        "state": row["state"],
        "policy": maybe,
        "trust": maybe,
        "known": {"type": ["integer", "null"]},
        "reasons": row["reasons"],
        "then": lanes_or_none,
        "arrived": lanes_or_none,
        "now": ref("Lanes"),
        "differing": listed(text),
        "stops": listed(closed({"path": text, "code": text, "at": row["opened_at"]})),
    }
    item = closed({"position": row["known"], "words": text, "item": {"type": "object"}, "statement": {}})
    items = {"digest": _DIGEST, "items": listed(item)}
    found = {"CasePage": page, "Report": report, "Reading": reading, "QueueRow": row, "Items": items}
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


def _background() -> dict[str, Any]:
    """What a case file shows beyond the case itself (``background.background_json``)."""
    moment = {"type": "object", "required": ["at", "event"]}
    check = {"type": "object", "required": ["number", "spec", "answer", "says", "code", "lanes"]}
    decided = {"type": "object", "required": ["event", "at", "person", "role", "act", "reason", "lanes_digest"]}
    moved = {"type": ["object", "null"], "required": ["label", "from", "to", "at", "closed"]}
    return {
        "chronology": listed(moment),
        "transcript": listed(check),
        "evidence": {"type": "object", "additionalProperties": {"type": "string"}},
        "recalled": {"type": ["object", "null"], "required": ["rows", "kept_out", "compared"]},
        "payment": {"type": ["object", "null"], "required": ["run", "steps", "charged", "checks", "not_evidence_of"]},
        "decided": listed(decided),
        "facts": {"type": ["object", "null"], "required": ["run_at", "label", "artifact"]},
        "label_moved": moved,
        "alike": {
            "type": "object",
            "properties": dict.fromkeys(ALIKE, listed({"type": "string"})),
            "additionalProperties": False,
        },
    }


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """OpenAPI 3.1 of the panel with its pages, as a JSON value."""
    panel = panel_document()
    components = panel["components"]
    schemas = {**components["schemas"], **_schemas(components["schemas"])}
    return {**panel, "paths": {**panel["paths"], **twins()}, "components": {**components, "schemas": schemas}}
