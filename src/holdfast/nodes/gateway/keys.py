"""API keys of workspaces, kept as digests. With none configured nobody may ask: there is no open default."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.edge import bearer_token
from holdfast.nodes.gateway.config import WorkspaceKey

PERSON = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}\Z")
"""A name of an account (``people.md`` §2), in its one spelling."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom an API key speaks for."""

    workspace: str
    person: str | None
    """The one person whose key it is; None for a key of programs or of many."""
    relay: str | None = None
    """Digest (hex) of the key document of the relay whose key it is; None for everybody else's."""
    shared: bool = False
    """Whether many have the key: then it reads nothing back."""
    asks_for_others: bool = False
    """Whether it is a panel's, which knows who asks and may name them."""


class Workspaces:
    """Which workspace an ``Authorization`` header speaks for."""

    def __init__(self, keys: Sequence[WorkspaceKey], relays: Mapping[str, str] | None = None) -> None:
        """``relays``: by workspace, the digest of the key document of the relay that it is for."""
        for item in keys:
            if item.person is not None and PERSON.match(item.person) is None:
                raise UsageError(
                    "gateway.person", f"{item.person[:64]!r} is no name of an account", param="workspaces.person"
                )
        self._callers = {
            sha256(item.key.reveal().encode()): Caller(
                item.name, item.person, (relays or {}).get(item.name), item.shared, item.asks_for_others
            )
            for item in keys
        }

    def name(self, authorization: bytes | None) -> str:
        """The workspace; raises as :meth:`caller`."""
        return self.caller(authorization).workspace

    def reader(self, authorization: bytes | None) -> str:
        """The workspace whose runs are read; raises as :meth:`caller`, and ``auth.capability`` (401) for a key that
        many have: with it each would read what the others asked."""
        found = self.caller(authorization)
        if found.shared:
            hint = "send x-holdfast-capability, which came with the answer"
            raise RefusedError(
                "auth.capability", "many have this key: a run is read by its capability", hint=hint, status=401
            )
        return found.workspace

    def caller(self, authorization: bytes | None) -> Caller:
        """Who asks; raises ``auth.missing`` or ``auth.wrong`` (401). Looking digests up leaks no key by timing."""
        token = bearer_token(authorization.decode("latin-1") if authorization is not None else None)
        found = self._callers.get(sha256(token.encode()))
        if found is None:
            raise RefusedError("auth.wrong", "this key is not known here", status=401)
        return found
