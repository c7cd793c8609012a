"""The blob store's HTTP shape: that of Walrus' publisher and aggregator (``spec/walrus.md`` §7).

``PUT /v1/blobs``                                   keep the body; needs the token
``GET /v1/blobs/{id}``                              a blob
``GET /v1/blobs/by-quilt-patch-id/{id}``            a patch by its own id
``GET /v1/blobs/by-quilt-id/{id}/{identifier}``     a patch by the id of its quilt and its identifier
``GET /v1/store``                                   how many shards ids are computed for, and the largest blob

Errors have Holdfast's one shape, with the status that Walrus' own have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.core import walrus
from holdfast.core.quilt import PlacedPatch
from holdfast.errors import MalformedError
from holdfast.nodes import edge
from holdfast.nodes.blobs.service import BlobStore
from holdfast.nodes.edge import Edge, Limits, json_response, require_token

IMMUTABLE = "public, max-age=31536000, immutable"
"""What has an id never changes."""
_BYTES = "application/octet-stream"
_EPOCHS = re.compile(r"[1-9]\d{0,5}\Z", re.ASCII)


def create_app(store: BlobStore, metrics: Callable[[], bytes] | None = None) -> Edge:
    """The store as an ASGI app."""
    limits = Limits(body_bytes=store.config.blob_bytes, body_seconds=300)
    return edge.create_app(_routes(store), readiness=dict, metrics=metrics, limits=limits)


def _stored(store: BlobStore, identifier: str, size: int, epochs: int, *, new: bool) -> dict[str, Any]:
    """A publisher's answer. Epochs are counted from 0, for a store of one's own has no others."""
    if not new:
        return {"alreadyCertified": {"blobId": identifier, "endEpoch": epochs}}
    encoded = walrus.encoding_of(store.config.shards).encoded_bytes(size)
    return {
        "newlyCreated": {
            "blobObject": {
                "blobId": identifier,
                "size": size,
                "encodingType": "RS2",
                "registeredEpoch": 0,
                "certifiedEpoch": 0,
                "storage": {"startEpoch": 0, "endEpoch": epochs, "storageSize": encoded},
                "deletable": False,
            },
            "resourceOperation": {"registerFromScratch": {"encodedLength": encoded, "epochsAhead": epochs}},
            "cost": 0,
        }
    }


def _routes(store: BlobStore) -> list[BaseRoute]:
    async def put(request: Request) -> Response:
        token = store.config.token
        require_token(request.headers.get("authorization"), *([token] if token is not None else []))
        epochs = request.query_params.get("epochs", "1")
        if not _EPOCHS.match(epochs):
            raise MalformedError("blob.epochs", "epochs is a number from 1 on", param="epochs")
        data = await request.body()
        identifier, new = await store.put(data)
        return json_response(_stored(store, identifier, len(data), int(epochs), new=new))

    async def get(request: Request) -> Response:
        data = store.get(request.path_params["id"])
        return Response(data, headers={"cache-control": IMMUTABLE}, media_type=_BYTES)

    async def patch(request: Request) -> Response:
        return _patch(store.patch(request.path_params["id"]))

    async def patch_named(request: Request) -> Response:
        return _patch(store.patch_named(request.path_params["id"], request.path_params["identifier"]))

    async def about(_: Request) -> Response:
        return json_response({"shards": store.config.shards, "blob_bytes": store.config.blob_bytes})

    return [
        Route("/v1/blobs", put, methods=["PUT"]),
        Route("/v1/blobs/by-quilt-patch-id/{id}", patch),
        Route("/v1/blobs/by-quilt-id/{id}/{identifier:path}", patch_named),
        Route("/v1/blobs/{id}", get),
        Route("/v1/store", about),
    ]


def _patch(item: PlacedPatch) -> Response:
    return Response(item.patch.data, headers={"cache-control": IMMUTABLE}, media_type=_BYTES)
