"""The hub's HTTP shape (``spec/artifacts.md`` §7)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from holdfast.core.encoding import hex_decode
from holdfast.errors import RefusedError, UsageError
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Limits, json_response, read_json
from holdfast.nodes.hub.service import HubService

LONGEST_WAIT_S = 25.0
"""How long somebody who follows changes may wait for the next one."""
_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})\Z")
_FRESH = {"cache-control": "no-store"}
_KEPT = {"cache-control": "public, max-age=31536000, immutable"}
"""For what is named by its digest."""


def create_app(
    service: HubService,
    metrics: Callable[[], bytes] | None = None,
    close: Callable[[], Awaitable[None]] | None = None,
) -> Edge:
    """The hub as an ASGI app; its lifespan settles what the log has not answered, and calls ``close`` last."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        service.files.attach(asyncio.get_running_loop())
        working = asyncio.create_task(service.run(), name="hub-clerk")
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            if close is not None:
                await close()

    limits = Limits(body_bytes=service.config.chunk_bytes, body_seconds=service.config.chunk_seconds)
    routes = [*_uploads(service), *_acts(service), *_reads(service), *_artifacts(service)]
    return edge.create_app(routes, readiness=service.waiting_for, metrics=metrics, lifespan=lifespan, limits=limits)


def _uploads(service: HubService) -> list[BaseRoute]:
    async def begin(request: Request) -> Response:
        service.publisher(request.headers.get("authorization"))
        asked = await read_json(request)
        size = asked.get("size")
        if type(size) is not int:
            raise UsageError("hub.file_size", "size is the file's number of bytes", param="size")
        return json_response(await service.begin_upload(_digest(asked.get("digest")), size))

    async def write(request: Request) -> Response:
        service.publisher(request.headers.get("authorization"))
        digest = _digest(request.path_params["digest"])
        offset, size = _integer(request, "offset"), _integer(request, "size")
        return json_response(await service.write_upload(digest, offset, size, request.stream()))

    return [
        Route("/v1/hub/uploads", begin, methods=["POST"]),
        Route("/v1/hub/uploads/{digest}", write, methods=["PUT"]),
    ]


def _acts(service: HubService) -> list[BaseRoute]:
    async def publish(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.publish(caller, _model(request), await read_json(request)), 201)

    async def card(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.write_card(caller, _model(request), await read_json(request)))

    async def label(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.label(caller, _label(request), await read_json(request)), 201)

    async def declare(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.declare(caller, await read_json(request)), 201)

    async def revoke(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.revoke(caller, _artifact(request), await read_json(request)))

    async def sign(request: Request) -> Response:
        caller = service.publisher(request.headers.get("authorization"))
        return json_response(await service.sign(caller, _artifact(request), await read_json(request)), 201)

    return [
        Route("/v1/hub/artifacts/{artifact}/signatures", sign, methods=["POST"]),
        Route("/v1/hub/models/{organisation}/{model}/versions", publish, methods=["POST"]),
        Route("/v1/hub/models/{organisation}/{model}/card", card, methods=["PUT"]),
        Route("/v1/hub/models/{organisation}/{model}/labels/{label}", label, methods=["POST"]),
        Route("/v1/hub/declared", declare, methods=["POST"]),
        Route("/v1/hub/artifacts/{artifact}/revoke", revoke, methods=["POST"]),
    ]


def _reads(service: HubService) -> list[BaseRoute]:
    def reader(request: Request) -> None:
        service.reader(request.headers.get("authorization"))

    async def models(request: Request) -> Response:
        reader(request)
        return json_response(service.models(request.query_params), headers=_FRESH)

    async def model(request: Request) -> Response:
        reader(request)
        return json_response(service.model_json(service.shelf.find_model(_model(request))), headers=_FRESH)

    async def history(request: Request) -> Response:
        reader(request)
        return json_response(service.history(_label(request)), headers=_FRESH)

    async def resolve(request: Request) -> Response:
        reader(request)
        return json_response(service.resolve(request.query_params.get("label", "")), headers=_FRESH)

    async def changes(request: Request) -> Response:
        reader(request)
        after, limit = _integer(request, "after", 0), _integer(request, "limit", 200)
        wait_s = min(_integer(request, "wait_s", 0), LONGEST_WAIT_S)
        return json_response(await service.changes(after, limit, wait_s), headers=_FRESH)

    async def diff(request: Request) -> Response:
        reader(request)
        before, after = _digest(request.query_params.get("before")), _digest(request.query_params.get("after"))
        return json_response(await service.diff(before, after))

    async def key(_: Request) -> Response:
        return Response(service.key(), media_type="application/x-pem-file")

    return [
        Route("/v1/hub/models", models),
        Route("/v1/hub/models/{organisation}/{model}", model),
        Route("/v1/hub/models/{organisation}/{model}/labels/{label}", history),
        Route("/v1/hub/resolve", resolve),
        Route("/v1/hub/changes", changes),
        Route("/v1/hub/diff", diff),
        Route("/v1/hub/key.pem", key),
    ]


def _artifacts(service: HubService) -> list[BaseRoute]:
    def reader(request: Request) -> None:
        service.reader(request.headers.get("authorization"))

    async def artifact(request: Request) -> Response:
        reader(request)
        return json_response(service.artifact_json(service.shelf.find_artifact(_artifact(request))), headers=_FRESH)

    async def signature(request: Request) -> Response:
        reader(request)
        found = service.signature(service.shelf.find_artifact(_artifact(request)))
        return Response(found, media_type="application/vnd.dev.sigstore.bundle.v0.3+json", headers=_KEPT)

    async def signatures(request: Request) -> Response:
        reader(request)
        return json_response(service.signatures_json(service.shelf.find_artifact(_artifact(request))), headers=_FRESH)

    async def bom(request: Request) -> Response:
        reader(request)
        found = service.bom(service.shelf.find_artifact(_artifact(request)))
        return Response(found, media_type="application/vnd.cyclonedx+json; version=1.6", headers=_FRESH)

    async def lineage(request: Request) -> Response:
        reader(request)
        return json_response(service.lineage(_artifact(request)), headers=_FRESH)

    async def file(request: Request) -> Response:
        reader(request)
        found = service.shelf.find_artifact(_artifact(request))
        name = request.path_params["name"]
        listed = {each.name: each.digest for each in found.manifest.files} if found.manifest else {}
        if name not in listed:
            raise UsageError("hub.unknown", f"{name[:128]!r} is no file of this artifact", status=404)
        return await _send(service, request, listed[name])

    async def blob(request: Request) -> Response:
        """An evaluation that a change names, or any other file that was sent."""
        reader(request)
        return await _send(service, request, _digest(request.path_params["digest"]))

    return [
        Route("/v1/hub/artifacts/{artifact}", artifact),
        Route("/v1/hub/artifacts/{artifact}/model.sig", signature),
        Route("/v1/hub/artifacts/{artifact}/signatures", signatures),
        Route("/v1/hub/artifacts/{artifact}/bom.json", bom),
        Route("/v1/hub/artifacts/{artifact}/lineage", lineage),
        Route("/v1/hub/artifacts/{artifact}/files/{name:path}", file),
        Route("/v1/hub/files/{digest}", blob),
    ]


async def _send(service: HubService, request: Request, digest: str) -> Response:
    """A file, or from an offset on. Named by its digest, so that nothing about it is ever stale."""
    size = await asyncio.to_thread(service.files.size, digest)
    if size is None:
        raise UsageError("hub.unknown", f"there is no file {digest[:12]}… here", status=404)
    begin, end, status = _range(request.headers.get("range"), size)
    headers = {
        **_KEPT,
        "content-length": str(end - begin),
        "accept-ranges": "bytes",
        "etag": f'"{digest}"',
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    if status == 206:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"

    def pieces() -> Iterator[bytes]:
        for piece in service.files.pieces(digest, begin, end):
            service.metrics.count("holdfast_hub_sent_bytes_total", amount=len(piece))
            yield piece

    return StreamingResponse(
        iterate_in_threadpool(pieces()), status, headers=headers, media_type="application/octet-stream"
    )


def _range(value: str | None, size: int) -> tuple[int, int, int]:
    """Where to begin and end, and the status. A range that is none, or of several parts, is answered whole."""
    match = _RANGE.match(value) if value is not None else None
    if match is None:
        return 0, size, 200
    begin = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    if begin >= size or begin >= end:
        raise RefusedError("hub.range", f"the file has {size} bytes", status=416)
    return begin, end, 206


def _digest(value: object) -> str:
    return hex_decode(value, 32).hex()


def _artifact(request: Request) -> str:
    return _digest(request.path_params["artifact"])


def _model(request: Request) -> str:
    return f"{request.path_params['organisation']}/{request.path_params['model']}"


def _label(request: Request) -> str:
    return f"{_model(request)}:{request.path_params['label']}"


def _integer(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise UsageError("request.number", f"{name} is a whole number", param=name)
    return int(text)
