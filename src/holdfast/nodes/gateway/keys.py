"""API keys of workspaces, kept as digests. With none configured nobody may ask: there is no open default."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError
from holdfast.nodes.edge import bearer_token
from holdfast.nodes.gateway.config import WorkspaceKey


class Workspaces:
    """Which workspace an ``Authorization`` header speaks for."""

    def __init__(self, keys: Sequence[WorkspaceKey]) -> None:
        self._names = {sha256(item.key.reveal().encode()): item.name for item in keys}

    def name(self, authorization: bytes | None) -> str:
        """The workspace; raises ``auth.missing`` or ``auth.wrong`` (401). Looking digests up leaks no key by timing."""
        token = bearer_token(authorization.decode("latin-1") if authorization is not None else None)
        found = self._names.get(sha256(token.encode()))
        if found is None:
            raise RefusedError("auth.wrong", "this key is not known here", status=401)
        return found
