"""Evidence of one run whose request and answer name models, and what they were given to go on.

:func:`told` is the whole story of :class:`~tests.helpers.network.Network` with the names disclosed: as parts, or as
whole documents. A case of it in each of several queues is several cases of one label.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.admission_body import AdmissionBody
from holdfast.core.bundles import build_bundle
from holdfast.core.encoding import b64_encode, sha256, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.parts import Commitment, disclose
from holdfast.core.statements import build_envelope, build_payload, pre_authentication_encoding
from holdfast.core.trust import Trust
from tests.helpers.admissions import run_of
from tests.helpers.network import FROM, RUN, SECRET, UNTIL, Network, at, ed25519_signer
from tests.helpers.review import STAGES

CARRIER = ed25519_signer("carrier", "statement")
CARRIER_DOCUMENT = build_key_document("carrier", ["data", "memory"], "test", [CARRIER.key])
"""A node that admits facts and recalls rows; :func:`wide_trust` admits it."""
NAMES = (b"model|-|-|s|/model", b"model|-|-|s|/system_fingerprint", b"model|-|-|l|/system_fingerprint")
"""Labels of the parts that name models."""


@dataclass
class Named(Network):
    """A network whose run was answered at ``seconds``, having been carried ``sources`` and ``rows``."""

    seconds: float = 0.5
    sources: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def carried(self) -> list[bytes]:
        """Payloads of the admissions and recalls, each named after what it carries."""
        given: dict[str, Any] = {"attester": CARRIER_DOCUMENT.digest, "parents": []}
        recalls = [
            build_payload(
                "recall",
                run=RUN,
                claimed_at=at(0.1),
                subject=("recall", sha256(name.encode())),
                body={"model": "00" * 32, "record": sha256(name.encode()).hex()},
                **given,
            )
            for name in self.rows
        ]
        return [*(self._admission(name) for name in self.sources), *recalls]

    def _admission(self, name: str) -> bytes:
        record = sha256(name.encode())
        body = AdmissionBody("admitted", record, at(60), None).to_json()
        return build_payload(
            "admission",
            run=run_of(name),
            claimed_at=at(0),
            subject=("admission", record),
            body=body,
            attester=CARRIER_DOCUMENT.digest,
            parents=[],
        )

    def route(self, **changes: Any) -> bytes:
        """The route, at its time and with what was carried in."""
        parents = [sha256_hex(payload) for payload in self.carried()]
        body = {"admitted_at": time_encode(at(0))} if self.sources else {}
        return super().route(**({"claimed_at": at(self.seconds), "parents": parents, "body": body} | changes))

    def execution(self, **changes: Any) -> bytes:
        """The execution, at its time."""
        return super().execution(**({"claimed_at": at(self.seconds)} | changes))


def named_parts(document: str, commitment: Commitment) -> list[dict[str, Any]]:
    """The parts of a document that name models, disclosed."""
    return [
        disclose(document, commitment, place).to_json()
        for place, part in enumerate(commitment.parts)
        if part.label in NAMES
    ]


def documents(label: str, served: str, fingerprint: str | None) -> tuple[bytes, bytes]:
    """A request and an answer that name these."""
    request = {"model": label, "messages": [{"role": "user", "content": "What is a lane?"}]}
    message = {"role": "assistant", "content": "One question about a run."}
    response: dict[str, Any] = {"id": "chatcmpl-1", "model": served, "choices": [{"index": 0, "message": message}]}
    if fingerprint is not None:
        response["system_fingerprint"] = fingerprint
    return json.dumps(request).encode(), json.dumps(response).encode()


def _sealed(payload: bytes) -> bytes:
    return build_envelope(payload, CARRIER.key.key_id, CARRIER.sign(pre_authentication_encoding(payload)))


@functools.cache
def wide_trust() -> Trust:
    """The network's trust, which admits the carrier too."""
    network = Network()
    nodes = canonical.decode_object(network.trust_version())["nodes"]
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
    nodes.append({"key_document": b64_encode(CARRIER_DOCUMENT.raw), "revoked": None, **span})
    return network.trust(nodes=nodes)


@functools.cache
def told(
    label: str = "small-1",
    served: str = "small-1-2026",
    fingerprint: str | None = "fp_1",
    *,
    seconds: float = 0.5,
    stage: str = "settled",
    exported: float = 10,
    whole: bool = False,
    shown: bool = True,
    sources: tuple[str, ...] = (),
    rows: tuple[str, ...] = (),
) -> bytes:
    """A bundle. ``whole``: both documents instead of parts; ``shown`` False: nothing of them."""
    request, response = documents(label, served, fingerprint)
    options = dict(STAGES[stage])
    cut, verdict = options.pop("cut", None), options.pop("verdict", "ok")
    network = Named(request=request, response=response, verdict=verdict, seconds=seconds, sources=sources, rows=rows)
    journal = network.journal(disclosed=False, **options)[:cut]
    last = journal[-1]["at"]
    journal += [
        {"kind": "statement", "at": last, "envelope": canonical.decode(_sealed(payload))}
        for payload in network.carried()
    ]
    if shown and whole:
        journal += [
            {"kind": "document", "at": last, "document": name, "text": text.decode(), "secret": SECRET.hex()}
            for name, text in (("request", request), ("response", response))
        ]
    elif shown:
        parts = named_parts("request", network.request_parts) + named_parts("response", network.response_parts)
        journal.append({"kind": "parts", "at": last, "parts": parts})
    return build_bundle(RUN, at(exported), journal)


def told_at(moment: float) -> str:
    """The time at which a run is closed that was told to be answered then, as facts have it."""
    return time_encode(at(moment))
