"""Open the admissions of a run, and compare them with what the model was given (``spec/admission.md`` §3, §5, §8).

Nothing is fetched again: a document is held against its own record, its own rules, the definition that is shown with
it, the admissions that it combines, and the block in the prompt. ``verifier.inputs`` says what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.core.admissions import Admission, Observation, verify_admission, verify_observation, verify_quorum
from holdfast.core.blocks import QUOTED_ROLES, block_of, find_blocks
from holdfast.core.bundles import AdmissionItem
from holdfast.core.metadata import path_of
from holdfast.core.parts import Part
from holdfast.core.quantities import parse_decimal
from holdfast.core.sources import parse_source
from holdfast.core.statements import Statement
from holdfast.errors import HoldfastError
from holdfast.verifier.transcript import Transcript

_MESSAGE = re.compile(
    r"/messages/([0-9]+)/content(?:/[0-9]+/(?:text|content(?:/[0-9]+/text)?))?\Z"
    r"|/contents/([0-9]+)/parts/[0-9]+/(?:text|functionResponse/response/content)\Z"
)
"""Where texts of messages stand, also in the shapes of other providers (``dialects.md`` §2, §5)."""
_ROLE = re.compile(r"/(?:messages|contents)/([0-9]+)/role\Z")


@dataclass(slots=True)
class Admitted:
    """What is shown of a run's admissions, by the digests of their statements."""

    documents: dict[str, Admission] = field(default_factory=dict)
    """The document that opens a record, whether or not it holds."""
    whole: set[str] = field(default_factory=set)
    """Quorums of which every observation is shown; what is no quorum is whole by itself."""
    defined: set[str] = field(default_factory=set)
    """Those whose source's definition is shown, and is the one that was used."""
    in_context: set[str] = field(default_factory=set)
    """Those whose block stands in what is shown of the document that went upstream."""
    refusals: list[tuple[str, str]] = field(default_factory=list)
    """(code, sentence) of everything that is wrong with a document, a block, or which ones there are."""

    def refuse(self, record: Transcript, code: str, says: str, spec: str) -> None:
        self.refusals.append((code, says))
        record.note(("inputs",), spec, "no", says, code)


def check_admissions(
    items: Iterable[AdmissionItem],
    statements: Mapping[str, Statement],
    route: Statement | None,
    parts: Sequence[Part],
    whole: bool,
    record: Transcript,
) -> Admitted:
    """Check what opens admissions among ``statements``, and the blocks among the ``parts`` that are shown of the
    document that went upstream."""
    found = Admitted()
    for item in {(item.digest, item.raw, item.salt, item.definition): item for item in items}.values():
        _open(item, statements, found, record)
    shown = {digest: (statements[digest], document) for digest, document in found.documents.items()}
    for digest, document in found.documents.items():
        try:
            if verify_quorum(document, shown):
                found.whole.add(digest)
            if document.quorum is not None and not document.quorum.outcome.agreed:
                says = f"What quorum {digest[:12]} combines does not agree."
                record.note(("inputs",), "admission.md §5(5)", "no", says, "admission.disagreement")
        except HoldfastError as error:
            says = f"The quorum {digest[:12]} does not hold: {error.message}."
            found.refuse(record, error.code, says, "admission.md §5(4)")
    _check_context(_named(route, statements), parts, whole, found, record)
    return found


def _open(item: AdmissionItem, statements: Mapping[str, Statement], found: Admitted, record: Transcript) -> None:
    statement = statements.get(item.digest)
    if statement is None:
        says = f"Admission {item.digest[:12]} is none of this run."
        record.note(("inputs",), "admission.md §1", "cannot_tell", says, "admission.unbound")
        return
    name = f"admission {item.digest[:12]}"
    try:
        document = verify_admission(statement, item.raw, item.salt)
    except HoldfastError as error:
        says = f"What is shown as {name} is not what was signed: {error.message}."
        found.refuse(record, error.code, says, "admission.md §2(2)")
        return
    found.documents[item.digest] = document
    record.note(("inputs",), "admission.md §1(2)", "yes", f"The document of {name} is what was signed.")
    try:
        verify_observation(document, item.definition)
    except HoldfastError as error:
        found.refuse(record, error.code, f"The {name} does not hold: {error.message}.", "admission.md §3(6)")
        return
    if item.definition is not None and document.observation is not None:
        _check_definition(item.digest, document.observation, item.definition, found, record)
    record.note(("inputs",), "admission.md §3(6)", "yes", f"The {name} keeps the rules that it was made under.")


def _check_definition(digest: str, seen: Observation, raw: bytes, found: Admitted, record: Transcript) -> None:
    """Whether what was asked, and what was asked of the answer, is what the definition says (``sources.md`` §2)."""
    try:
        definition = parse_source(raw)
    except HoldfastError:
        says = f"The definition of admission {digest[:12]} is not one that this reader knows."
        record.note(("inputs",), "sources.md §2", "cannot_tell", says, "admission.definition")
        return
    expect = definition.expect
    asked = [None if item is None else format(item, "f") for item in (expect.minimum, expect.maximum)]
    bounds, told = (
        [None if item is None else parse_decimal(item) for item in ends]
        for ends in (asked, seen.limits.range or (None, None))
    )
    same = (
        (seen.source.id, seen.source.version) == (definition.id, definition.version)
        and seen.template in (None, definition.template)
        and _is_over(seen, definition.exchange_kind)
        and (seen.limits.max_age_s, seen.limits.skew_s) == (expect.fresh_s, expect.skew_s)
        and seen.limits.pins == tuple(sorted(definition.pins))
        and told == bounds
    )
    if not same:
        says = f"Admission {digest[:12]} was not made as the definition says that it names."
        found.refuse(record, "admission.definition", says, "admission.md §3(6)")
        return
    found.defined.add(digest)
    record.note(("inputs",), "sources.md §2", "yes", f"Admission {digest[:12]} was made as its definition says.")


def _is_over(seen: Observation, kind: str | None) -> bool:
    """Whether what was observed is of the kind that the definition says (``admission.md`` §3(7))."""
    if seen.exchange is not None:
        return seen.exchange.kind == kind
    return kind is None or (seen.request, seen.tls, seen.http) == (None, None, None)


def _named(route: Statement | None, statements: Mapping[str, Statement]) -> list[str] | None:
    """Digests of the admissions that a route names; None where a parent is not here, so that nobody knows."""
    if route is None or any(digest not in statements for digest in route.parents):
        return None
    return [digest for digest in route.parents if statements[digest].kind == "admission"]


def _check_context(
    named: list[str] | None,
    parts: Sequence[Part],
    whole: bool,
    found: Admitted,
    record: Transcript,
) -> None:
    """Both ways: no block that the route does not name, and no admission without block (``admission.md`` §8(4))."""
    roles = {match[1]: part.data for part in parts if (match := _ROLE.match(path_of(part.label)))}
    spec = "admission.md §8(4)"
    for part in parts:
        place = _MESSAGE.match(path_of(part.label))
        for block in find_blocks(part.data.decode()) if place else ():
            if place and roles.get(place[1] or place[2], b"user").decode() not in QUOTED_ROLES:
                found.refuse(record, "admission.context", "A block stands where the system speaks.", spec)
            elif named is None:
                says = f"Whether the route names admission {block.digest[:12]} is not shown."
                record.note(("inputs",), spec, "cannot_tell", says, "admission.unbound")
            elif block.digest not in named:
                says = f"The model was given admission {block.digest[:12]}, which the route does not name."
                found.refuse(record, "admission.context", says, spec)
            else:
                _check_block(block.digest, block.text, found, record)
    for digest in named or ():
        if whole and digest not in found.in_context:
            says = f"The route names admission {digest[:12]}, and the model was not given it."
            found.refuse(record, "admission.context", says, spec)


def _check_block(digest: str, text: str, found: Admitted, record: Transcript) -> None:
    found.in_context.add(digest)
    document = found.documents.get(digest)
    if document is None:
        return
    if block_of(document, digest) != text:
        says = f"What the model was given as admission {digest[:12]} is not what was admitted."
        found.refuse(record, "admission.block", says, "admission.md §8(1)")
        return
    says = f"The model was given admission {digest[:12]} as it was admitted."
    record.note(("inputs",), "admission.md §8(1)", "yes", says)
