"""Commands of stored blobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, integer
from holdfast.core import quilt, walrus
from holdfast.core.blob_sealing import open_blob
from holdfast.core.encoding import b64_encode, hex_decode


def _walrus_blob_id(arguments: Arguments) -> Answer:
    shards = integer(arguments.one("shards"))
    return {"id": walrus.encode_id(walrus.blob_id(arguments.file(), shards))}


def _verify_walrus_blob(arguments: Arguments) -> Answer:
    shards, identifier = integer(arguments.one("shards")), walrus.parse_id(arguments.one("id"))
    walrus.verify_blob(arguments.file(), identifier, shards)
    return {}


def _read_quilt(arguments: Arguments) -> Answer:
    shards = integer(arguments.one("shards"))
    return {
        "patches": [
            {
                "identifier": placed.patch.identifier,
                "start": placed.start,
                "end": placed.end,
                "tags": dict(placed.patch.tags),
                "data": b64_encode(placed.patch.data),
            }
            for placed in quilt.parse_quilt(arguments.file(), shards)
        ]
    }


def _open_blob(arguments: Arguments) -> Answer:
    secret, digest = hex_decode(arguments.one("secret"), 32), hex_decode(arguments.one("digest"), 32)
    return {"data": b64_encode(open_blob(secret, digest, arguments.file()))}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "walrus-blob-id": _walrus_blob_id,
    "verify-walrus-blob": _verify_walrus_blob,
    "read-quilt": _read_quilt,
    "open-blob": _open_blob,
}
