"""A streamed answer that is bound as a real gateway binds it: marks over its events, and the statements that close it.

``alter`` changes the events on their way out, after they were signed: what a hostile gateway, panel or line can do.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from holdfast.core import canonical, statements
from holdfast.core.attempts import SERVED, Attempt, failed_before
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.fold import Fold
from holdfast.core.marks import MarkChain
from holdfast.core.parts import commit, commit_parts, map_parts, pseudo_random_key
from holdfast.core.statements import Execution, MarkReference, Route, Tree
from tests.helpers.network import Network


@cache
def network() -> Network:
    """The keys that everything here is signed with."""
    return Network()


def identity() -> dict[str, str]:
    """What ``/v1/identity`` answers."""
    document = network().gateway_document
    return {"node": document.digest, "key_document": b64_encode(document.raw)}


class BoundAnswer:
    """One run. ``request`` is the body that asked for it, ``nonce`` what came along, ``way`` what its events told of
    its route, which is what it signs too."""

    def __init__(
        self, run: str, secret: bytes, request: bytes, nonce: str | None = None, way: dict[str, Any] | None = None
    ) -> None:
        self.run = run
        self.request = request
        self.nonce = nonce
        self.way = way
        self._key = pseudo_random_key(run, secret)
        self._chain = MarkChain(self._key)
        self._fold = Fold()
        self.envelopes: list[dict[str, Any]] = []
        """The closing statements, once it is closed."""

    def event(self, value: dict[str, Any], *, mark: bool = False, **carrier: Any) -> bytes:
        """The text of the next event."""
        exact = canonical.decode_exact(json.dumps(value).encode())
        self._chain.add(exact)
        self._fold.add(exact)
        if mark:
            carrier["mark"] = self._mark()
        return json.dumps({**value, "holdfast": carrier} if carrier else value).encode()

    def _mark(self) -> dict[str, Any]:
        mark = self._chain.seal()
        return mark.to_json(network().gateway.sign(mark.message(self.run)))

    def last(self, value: dict[str, Any], **carrier: Any) -> bytes:
        """The text of the last event, with its mark; closes the run."""
        exact = canonical.decode_exact(json.dumps(value).encode())
        self._chain.add(exact)
        self._fold.add(exact)
        mark = self._mark()
        carrier = {"run": self.run, "mark": mark, "statements": self._close(), **carrier}
        return json.dumps({**value, "holdfast": carrier}).encode()

    @property
    def response(self) -> bytes:
        """The response document that the events come to."""
        return canonical.encode_exact(self._fold.document())

    def _close(self) -> list[dict[str, str]]:
        request = commit("request", self.request, self._key).tree
        response = commit_parts("response", map_parts("response", self._fold.document()), self._key).tree
        marks = MarkReference(self._chain.seq, self._chain.value)
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        more = {"claimed_at": now, "nonce": self.nonce, "way": self.way}
        payloads = closing(self.run, request, request, response, marks=marks, **more)
        self.envelopes = [canonical.decode_object(network().seal(payload)) for payload in payloads]
        return [
            {"kind": kind, "digest": sha256_hex(payload)}
            for kind, payload in zip(("route", "execution"), payloads, strict=True)
        ]


def closing(
    run: str,
    request: Tree,
    sent: Tree,
    response: Tree,
    *,
    marks: MarkReference | None = None,
    rewrites: tuple[str, ...] = (),
    claimed_at: dt.datetime,
    nonce: str | None = None,
    way: dict[str, Any] | None = None,
) -> tuple[bytes, bytes]:
    """The payloads of a route and of the execution statement that closes its run. ``way`` is an account of the route as
    events tell it, the last attempt under way."""
    common: dict[str, Any] = {
        "run": run,
        "attester": network().gateway_document.digest,
        "claimed_at": claimed_at,
        "nonce": nonce,
    }
    route = Route(
        request, sent, "chat.completions", "stub", rewrites, (), cached=False, settlement="batch", streamed=True
    )
    if way is not None:
        made = tuple(Attempt(**{**item, "end": item["end"] or SERVED}) for item in way["attempts"])
        again = way.get("cached_run")
        fell = failed_before(made)
        route = replace(
            route,
            upstream=way["upstream"],
            attempts=made,
            fallback_from=fell,
            cached=again is not None,
            cached_run=again,
        )
    asked = statements.build_payload(
        "route", **common, parents=[], subject=("request", request.root), body=statements.route_body(route)
    )
    closed = statements.build_payload(
        "execution",
        **common,
        parents=[sha256_hex(asked)],
        subject=("response", response.root),
        body=statements.execution_body(Execution("generated", "complete", response, marks, route.upstream)),
    )
    return asked, closed


Alter = Callable[[list[bytes]], list[bytes]]
"""What is done to the texts of all events of an answer before any is sent."""
