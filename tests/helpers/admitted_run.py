"""A run that was given admissions: the network's run, with blocks in what went upstream, and everything that opens
them. Every argument changes one thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.blocks import block_of
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.parts import commit
from holdfast.core.trust import Trust
from tests.helpers.admissions import DataNode, Signed
from tests.helpers.network import REQUEST, SECRET, Network, at

DATA = DataNode()
OTHER_DATA = DataNode("data-2")


@dataclass
class AdmittedRun:
    """The evidence of one run and its admissions."""

    admissions: Sequence[Signed]
    named: Sequence[str] | None = None
    """Digests that the route names; those of the admissions where it is None."""
    blocks: Sequence[str] | None = None
    """What stands in the prompt; the admissions' own blocks where it is None."""
    role: str = "user"
    used_seconds: float = 0.2
    answer: str = "One question about a run."
    show_documents: bool = True
    show_sent: bool = True
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        self.network.others = [DATA.document, OTHER_DATA.document]
        response = json.loads(self.network.response)
        response["choices"][0]["message"]["content"] = self.answer
        self.network.response = json.dumps(response).encode()

    @property
    def trust(self) -> Trust:
        return self.network.trust()

    @property
    def sent(self) -> bytes:
        """What went upstream."""
        blocks = self.blocks
        if blocks is None:
            blocks = [block_of(item.document, item.digest) for item in self.admissions]
        request = json.loads(REQUEST)
        request["messages"] = [*({"role": self.role, "content": block} for block in blocks), *request["messages"]]
        return json.dumps(request).encode()

    def route(self) -> bytes:
        named = [item.digest for item in self.admissions] if self.named is None else self.named
        body: dict[str, Any] = {
            "rewrites": ["admitted"],
            "sent": commit("sent", self.sent, self.network.key).tree.to_json(),
        }
        if named:
            body["admitted_at"] = time_encode(at(self.used_seconds))
        return self.network.route(parents=list(named), body=body, claimed_at=at(max(0.5, self.used_seconds)))

    def statements(self) -> list[bytes]:
        """Envelopes, parents first."""
        route = self.route()
        closing = self.network.execution(parents=[sha256_hex(route)], claimed_at=at(max(0.5, self.used_seconds)))
        given = {each.digest: each.envelope for item in self.admissions for each in (*item.members, item)}
        return [*given.values(), self.network.seal(route), self.network.seal(closing)]

    def journal(self) -> list[dict[str, Any]]:
        """Evidence items, with the answer disclosed."""
        items: list[dict[str, Any]] = [
            {"kind": "statement", "at": time_encode(at(1)), "envelope": canonical.decode(envelope)}
            for envelope in self.statements()
        ]
        if self.show_documents:
            opened = {each.digest: each for item in self.admissions for each in (*item.members, item)}
            items += [dict(item.opening(at(1))) for item in opened.values()]
        texts = {"response": self.network.response} | ({"sent": self.sent} if self.show_sent else {})
        items += [
            {
                "kind": "document",
                "at": time_encode(at(1)),
                "document": name,
                "text": text.decode(),
                "secret": SECRET.hex(),
            }
            for name, text in texts.items()
        ]
        return items
