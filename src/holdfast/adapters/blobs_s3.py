"""Blobs in a bucket of S3, or of a store that speaks its API (:mod:`holdfast.ports.blobs`).

Rules: a blob is an object ``PREFIXab/cdef…`` by SHA-256, and there when the store said so; S3 is told the digest with
the bytes and refuses others. What comes back is hashed again, and never taken when it is longer than a blob can be.
Content that is private is sealed before it comes here (``spec/walrus.md`` §6).

The client is ``boto3``'s, which blocks: its calls run in threads. Not covered: making the bucket, and who may read it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from typing import Any

from holdfast.core.encoding import hex_decode, sha256_hex
from holdfast.errors import UnavailableError, UsageError
from holdfast.ports.settings import Secret

MAX_BLOB_BYTES = 256 << 20
"""Largest object that is taken for a blob."""
CONNECT_S, READ_S, ATTEMPTS = 5, 60, 3
"""How long a connection and an answer may take, and how often a call is tried."""


def make_client(endpoint: str | None, region: str, access_key: str | None, secret_key: Secret | None) -> Any:
    """A client for a store at ``endpoint`` (AWS where None). Without keys it takes those that the machine gives it, as
    AWS' tools do. Raises ``blob.no_s3`` where ``boto3`` is not installed, ``blob.s3_keys`` for half a key."""
    try:
        import boto3  # noqa: PLC0415 - an extra of the package
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as error:
        raise UnavailableError("blob.no_s3", "boto3 is not installed", hint="pip install 'holdfast[s3]'") from error
    if (access_key is None) != (secret_key is None):
        raise UsageError("blob.s3_keys", "an access key and its secret belong together")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=None if secret_key is None else secret_key.reveal(),
        config=Config(
            connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"max_attempts": ATTEMPTS, "mode": "standard"}
        ),
    )


class S3Blobs:
    """Blobs of one bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        """``client`` is what :func:`make_client` gives."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def _name(self, digest: str) -> str:
        hex_decode(digest, 32)
        return f"{self._prefix}{digest[:2]}/{digest[2:]}"

    async def put(self, data: bytes) -> str:
        digest = sha256_hex(data)
        await asyncio.to_thread(self._put, self._name(digest), digest, data)
        return digest

    async def get(self, digest: str) -> bytes | None:
        data = await asyncio.to_thread(self._get, self._name(digest))
        if data is not None and sha256_hex(data) != digest:
            raise UnavailableError("blob.corrupt", f"the blob {digest} is damaged", hint="restore it from a copy")
        return data

    def _put(self, name: str, digest: str, data: bytes) -> None:
        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        with _told():
            self._client.put_object(Bucket=self._bucket, Key=name, Body=data, ChecksumSHA256=checksum)

    def _get(self, name: str) -> bytes | None:
        with _told():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=name)
            except self._client.exceptions.NoSuchKey:
                return None
            data: bytes = answer["Body"].read(MAX_BLOB_BYTES + 1)
        return data


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns what the client raises into ``blob.s3``."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise UnavailableError(
            "blob.s3",
            f"the store does not take or give the blob: {error}"[:300],
            hint="look at the endpoint, the bucket and the keys in the settings",
        ) from error
