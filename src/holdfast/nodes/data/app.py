"""The data node's HTTP shape (``spec/admission.md`` §7, ``spec/sources.md`` §9)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.core import canonical
from holdfast.core.admissions import SALT_BYTES, Presented
from holdfast.core.encoding import hex_decode, time_encode
from holdfast.core.quantities import parse_rule
from holdfast.core.sources import Definition, match_url
from holdfast.core.statements import parse_envelope
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes import edge
from holdfast.nodes.data.keeping import Glance, document_of
from holdfast.nodes.data.service import DataService, Query
from holdfast.nodes.edge import Edge, Lifespan, Limits, Readiness, bearer_token, json_response, read_json
from holdfast.ports.settings import Secret
from holdfast.verifier.lanes import Lane

SHOWN = 100
"""Most admissions that a source's page shows."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who may ask: a workspace, or a gateway that also reads for the workspaces that it names."""

    workspace: str
    key: Secret
    reads_for_others: bool = False


def create_app(
    service: DataService,
    *,
    identity: Callable[[], dict[str, Any]],
    callers: Sequence[Caller],
    readiness: Readiness,
    lifespan: Lifespan,
    metrics: Callable[[], bytes],
) -> Edge:
    """The node as an ASGI app. Without callers nobody may ask."""

    def caller(request: Request) -> Caller:
        """Whose key this is; every key is compared, in constant time."""
        token = bearer_token(request.headers.get("authorization")).encode("utf-8")
        found = [item for item in callers if hmac.compare_digest(token, item.key.reveal().encode("utf-8"))]
        if not found:
            raise RefusedError("auth.wrong", "this key is not known here", status=401)
        return found[0]

    def workspace(request: Request) -> str:
        return caller(request).workspace

    async def ask(request: Request) -> Response:
        name, asked = workspace(request), await read_json(request)
        if asked.keys() == {"quorum"}:
            queries, rule = _quorum(asked["quorum"])
            return json_response(_presented(await service.admit_quorum(name, queries, parse_rule(rule))))
        source, parameters = _question(service, name, asked)
        return json_response(_presented(await service.admit(name, source, parameters)))

    async def attempt(request: Request) -> Response:
        name = workspace(request)
        source, parameters = _question(service, name, await read_json(request))
        judged = await service.judge(name, source, parameters)
        definition = None if judged.definition is None else judged.definition.decode()
        return json_response({"document": judged.document.raw.decode(), "definition": definition})

    async def find(request: Request) -> Response:
        if "x-holdfast-capability" in request.headers:
            return json_response(_presented(service.kept.find(*_capability(request))))
        asker = caller(request)
        named = request.headers.get("x-holdfast-workspace", asker.workspace)
        if named != asker.workspace and not asker.reads_for_others:
            raise RefusedError(
                "admission.unknown",
                "this key reads for its own workspace alone",
                hint="the node's settings say who reads for others (reads_for_others)",
                status=404,
            )
        return json_response(_presented(service.kept.find_of(named, _digest(request))))

    async def replay(request: Request) -> Response:
        workspace(request)
        return json_response(service.replay(*_capability(request)))

    async def who(_: Request) -> Response:
        return json_response(identity())

    routes: list[BaseRoute] = [
        Route("/v1/admit", ask, methods=["POST"]),
        Route("/v1/try", attempt, methods=["POST"]),
        Route("/v1/admissions/{digest}", find),
        Route("/v1/admissions/{digest}/replay", replay, methods=["POST"]),
        Route("/v1/identity", who),
        *_sources(service, workspace),
    ]
    limits = Limits(body_bytes=256 << 10, body_seconds=30)
    return edge.create_app(routes, readiness=readiness, metrics=metrics, lifespan=lifespan, limits=limits)


def _sources(service: DataService, workspace: Callable[[Request], str]) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        name = workspace(request)
        found = [item for item in service.registry.sources.values() if item.may(name)]
        shown = [_summary(service, item) for item in found]
        registry = service.registry
        return json_response({"version": registry.version, "digest": registry.digest, "sources": shown})

    async def one(request: Request) -> Response:
        found = service.definition(workspace(request), request.path_params["id"])
        recent = list(service.kept.recent.get(found.id, ()))[-SHOWN:]
        definition = canonical.decode(found.raw)
        more = {"definition": definition, "admissions": [_glance(item) for item in reversed(recent)]}
        return json_response({**_summary(service, found), **more})

    return [Route("/v1/sources", listed), Route("/v1/sources/{id}", one)]


def _summary(service: DataService, found: Definition) -> dict[str, Any]:
    recent = service.kept.recent.get(found.id, ())
    refused = sum(1 for item in recent if item.outcome != "admitted")
    return {
        "id": found.id,
        "version": found.version,
        "title": found.title,
        "kind": found.kind,
        "unit": found.unit,
        "digest": found.digest,
        "parameters": {name: item.to_json() for name, item in found.parameters.items()},
        "fresh_s": found.expect.fresh_s,
        "recent": {
            "asked": len(recent),
            "refused": refused,
            "last": time_encode(recent[-1].at) if recent else None,
        },
    }


def _glance(item: Glance) -> dict[str, Any]:
    return {
        "digest": item.digest,
        "at": time_encode(item.at),
        "outcome": item.outcome,
        "value": item.value,
        "age_s": item.age_s,
    }


def _presented(shown: Presented) -> dict[str, Any]:
    """An admission with what opens it, and beside that the same for people. A node never calls its own word proven."""
    envelope, document = parse_envelope(shown.envelope), document_of(shown)
    told = "Nothing was admitted" if document.value is None else "The node that answers admitted this"
    lane = Lane("inputs", "unknown", "signature", f"{told}, by its own word; whoever holds trust judges it.")
    return {
        "digest": envelope.digest,
        **shown.to_json(),
        "value": None if document.value is None else document.value.to_json(),
        "statement": canonical.decode(envelope.payload),
        "lane": lane.to_json(),
    }


def _capability(request: Request) -> tuple[str, bytes]:
    """The digest in the path and the salt in the header; anything else is an admission that there is not."""
    try:
        return _digest(request), hex_decode(request.headers.get("x-holdfast-capability", ""), SALT_BYTES)
    except MalformedError as error:
        raise RefusedError("admission.unknown", "there is no such admission for this capability", status=404) from error


def _digest(request: Request) -> str:
    try:
        return hex_decode(request.path_params["digest"], 32).hex()
    except MalformedError as error:
        raise RefusedError("admission.unknown", "there is no such admission for this capability", status=404) from error


def _question(service: DataService, workspace: str, asked: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What is asked of which source (``admission.md`` §7(1)). Raises ``source.question`` and ``sources.unknown``."""
    if asked.keys() == {"url"} and isinstance(asked["url"], str):
        mine = [item for item in service.registry.sources.values() if item.may(workspace)]
        return match_url(mine, asked["url"])
    source, parameters = asked.get("source"), asked.get("parameters")
    if asked.keys() != {"source", "parameters"} or not isinstance(source, str) or not isinstance(parameters, dict):
        raise UsageError("source.question", "a question has source and parameters, or url, or quorum")
    return source, parameters


def _quorum(value: Any) -> tuple[list[Query], Any]:
    if not isinstance(value, dict) or value.keys() != {"queries", "rule"} or not isinstance(value["queries"], list):
        raise UsageError("source.question", "a quorum has queries and a rule")
    if not 1 <= len(value["queries"]) <= 64:
        raise UsageError("source.question", "a quorum has 1 to 64 queries")
    queries = []
    for item in value["queries"]:
        if not isinstance(item, dict) or item.keys() != {"source", "parameters", "node"}:
            raise UsageError("source.question", "a query has source, parameters and node")
        source, parameters, node = item["source"], item["parameters"], item["node"]
        if not isinstance(source, str) or not isinstance(parameters, dict) or not isinstance(node, str | None):
            raise UsageError("source.question", "source and node are texts, parameters an object")
        queries.append(Query(source, parameters, node))
    return queries, value["rule"]
