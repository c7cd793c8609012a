"""What a case's evidence shows of its turn: how it was asked always, what was said only to whoever opened it.

Everything here comes from parts and documents that match the roots in the run's statements (``parts.md`` §4, §8). The
first half, :class:`Asked`, is disclosed with every run that names a queue (``sealed.md`` §3); the second,
:class:`Content`, needs the documents (§4).

Pure. Not covered: fetching documents (``nodes/panel/contents.py``), and whether the statements hold (the lanes).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.core.metadata import SAMPLING, is_metadata, path_of
from holdfast.core.parts import Part, map_parts
from holdfast.core.statements import Execution, Route
from holdfast.errors import RefusedError
from holdfast.review.decisions import add_items
from holdfast.review.pictures import Pictures, pictures_of
from holdfast.review.step_contents import StepContent, step_content
from holdfast.verifier.checks import CheckPolicy
from holdfast.verifier.evidence import Evidence
from holdfast.verifier.judgement import rule_in_request
from holdfast.verifier.reading import check_evidence
from holdfast.verifier.transcript import Transcript

MOST_IMAGE_TEXT = 512
"""Characters of an image part that are shown as they are."""
FRAMING_ROLES = ("system", "developer")
"""Messages that frame a question rather than ask it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How the question was put, and who is said to have answered. Texts as the documents have them."""

    label: str | None = None
    """The model that was asked for."""
    served: str | None = None
    """The model that the answer names: the provider's word."""
    fingerprint: str | None = None
    sampling: tuple[tuple[str, str], ...] = ()
    """Parameters that the request sets, in the order of ``sealed.md`` §3; what it leaves out the provider chose."""
    rule: Mapping[str, str] = field(default_factory=dict)
    """What the request records of how to decide: any of ``rule``, ``threshold``, ``framing``."""
    finish: tuple[str, ...] = ()
    """Why each choice ended."""
    usage: tuple[tuple[str, str], ...] = ()
    """Token counts, as the provider reports them."""
    withheld: Mapping[str, int] = field(default_factory=dict)
    """By document: how many of its parts are not shown."""

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "served": self.served,
            "fingerprint": self.fingerprint,
            "sampling": dict(self.sampling),
            "rule": dict(self.rule),
            "finish": list(self.finish),
            "usage": dict(self.usage),
            "withheld": dict(self.withheld),
        }


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One part as it is shown: its document, type and path (``parts.md`` §3), and its bytes as a text."""

    document: str
    kind: str
    path: str
    text: str
    metadata: bool
    """Whether it is disclosed without opening the case."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was asked and answered."""

    framing: tuple[str, ...]
    """System and developer messages."""
    said: tuple[tuple[str, str], ...]
    """(who, text), in order: everything else that was said."""
    parts: tuple[ShownPart, ...]
    pictures: Pictures = field(default_factory=lambda: Pictures(""))
    """The images of the answer."""
    step: StepContent | None = None
    """Of a step or an agent run: what it says of itself."""


def evidence_of(raw: bytes, at: dt.datetime) -> Evidence:
    """The evidence in a bundle, as far as it can be checked without trust: disclosures against roots."""
    return check_evidence(parse_bundle(raw), None, CheckPolicy(), at, None, Transcript())


def attester_in(raw: bytes, at: dt.datetime) -> str:
    """Digest of the key document by which a run was closed, as its statement says; empty where there is none."""
    closing = evidence_of(raw, at).closing
    return closing.statement.attester if closing is not None else ""


def asked_of(evidence: Evidence) -> Asked:
    """How the question was put, from what is disclosed."""
    request, response = (_by_path(_parts_of(evidence, document)) for document in ("request", "response"))
    finish = [text for path, text in sorted(response.items()) if path.endswith("/finish_reason")]
    return Asked(
        label=request.get("/model"),
        served=response.get("/model"),
        fingerprint=response.get("/system_fingerprint"),
        sampling=tuple((name, request[f"/{name}"]) for name in SAMPLING if f"/{name}" in request),
        rule=rule_in_request(evidence),
        finish=tuple(finish),
        usage=tuple((path[7:], text) for path, text in response.items() if path.startswith("/usage/")),
        withheld=_withheld(evidence),
    )


def add_documents(kept: bytes, whole: bytes, at: dt.datetime) -> bytes:
    """A case's bundle with the documents of its run's whole one. Neither is believed yet (:func:`content_of`)."""
    items = canonical.decode_object(whole)["journal"]
    parse_bundle(whole)
    return add_items(kept, [item for item in items if item["kind"] in ("document", "file")], at)


def content_of(raw: bytes, at: dt.datetime) -> Content | None:
    """What a bundle with documents shows; None when it has none. Raises ``content.mismatch`` when a document is not
    what was signed: then nothing of it is shown."""
    evidence = evidence_of(raw, at)
    wrong = [says for code, says in evidence.refusals["bytes"] if code.startswith(("parts.", "json."))]
    if wrong:
        raise RefusedError("content.mismatch", f"what the gateway keeps is not what was signed: {wrong[0]}")
    if not evidence.documents:
        return None
    shown = [
        _shown(document, part, metadata=meta)
        for document in ("request", "response")
        for part in _parts_of(evidence, document)
        for meta in (is_metadata(document, part.label),)
    ]
    said = _said(evidence.documents)
    framing = tuple(text for who, text in said if who in FRAMING_ROLES)
    asked, answered = (
        canonical.decode(evidence.documents.get(name, "{}").encode()) for name in ("request", "response")
    )
    rest = tuple(item for item in said if item[0] not in FRAMING_ROLES)
    return Content(framing, rest, tuple(shown), pictures_of(asked, answered), _step(evidence))


def _step(evidence: Evidence) -> StepContent | None:
    route = evidence.route.statement.body if evidence.route is not None else None
    request = evidence.documents.get("request")
    if not isinstance(route, Route) or route.endpoint not in ("agent", "step") or request is None:
        return None
    return step_content(request, evidence.documents.get("response"))


def _shown(document: str, part: Part, *, metadata: bool) -> ShownPart:
    """A part as it is shown. Of an image as large as one is, the size and the digest of its text: nobody reads it."""
    kind, text = part.label.split(b"|")[0].decode(), part.data.decode()
    if kind == "image" and len(text) > MOST_IMAGE_TEXT:
        text = f"{len(text)} characters, SHA-256 {sha256_hex(part.data)}"
    return ShownPart(document, kind, path_of(part.label), text, metadata)


def _parts_of(evidence: Evidence, document: str) -> Sequence[Part]:
    """The parts of a document that are shown: all of it, or those that were disclosed singly."""
    text = evidence.documents.get(document)
    if text is None:
        return evidence.parts.get(document, ())
    return map_parts(document, canonical.decode_exact(text.encode()))


def _by_path(parts: Sequence[Part]) -> dict[str, str]:
    """Texts by path; a null says no more than a member that is not there."""
    found = {}
    for part in parts:
        kind = part.label.split(b"|")[3]
        if kind in (b"s", b"n") or (kind == b"l" and part.data != b"null"):
            found[path_of(part.label)] = part.data.decode()
    return found


def _withheld(evidence: Evidence) -> dict[str, int]:
    route = evidence.route.statement.body if evidence.route else None
    closing = evidence.closing.statement.body if evidence.closing else None
    sizes = {
        "request": route.request.size if isinstance(route, Route) else 0,
        "response": closing.response.size if isinstance(closing, Execution) and closing.response else 0,
    }
    return {document: size - len(set(_parts_of(evidence, document))) for document, size in sizes.items() if size}


def _said(documents: Mapping[str, str]) -> list[tuple[str, str]]:
    """(who, text) of the messages and choices, in their order."""
    request = canonical.decode(documents.get("request", "{}").encode())
    response = canonical.decode(documents.get("response", "{}").encode())
    said: list[tuple[str, str]] = []
    if isinstance(request, dict):
        prompt = request.get("prompt")
        said += [("user", text) for text in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(text, str)]
        for message in request["messages"] if isinstance(request.get("messages"), list) else []:
            who = message.get("role") if isinstance(message, dict) else None
            said.append((who if isinstance(who, str) else "message", message_text(message)))
    choices = response.get("choices") if isinstance(response, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            text = choice.get("text")
            said.append(("assistant", text if isinstance(text, str) else message_text(choice.get("message"))))
    return said


def message_text(message: object) -> str:
    """The readable text of one chat message; parts that are no text are named in brackets, tool calls told."""
    fields = message if isinstance(message, dict) else {}
    content, pieces = fields.get("content"), []
    if isinstance(content, str):
        pieces.append(content)
    elif isinstance(content, list):
        for part in content:
            known = part if isinstance(part, dict) else {}
            text = known.get("text")
            pieces.append(text if isinstance(text, str) else f"[{known.get('type', 'part')}]")
    calls = fields.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        named = function if isinstance(function, dict) else {}
        pieces.append(f"[calls {named.get('name', 'a tool')}({named.get('arguments', '')})]")
    return "\n".join(pieces)
