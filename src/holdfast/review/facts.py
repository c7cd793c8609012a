"""What the evidence of a case names: label, artifact, sources and rows (``spec/case.md`` §6(2)).

Facts lie beside a case so that others like it are found, and so that counts are kept for an artifact, not for a name.
They are read from what an appraisal has checked, and can be read again from the evidence at any time. A model's name is
a part of what was asked and answered: it is known where that part, or the document around it, is disclosed and matches
its signed root, and nowhere else.

No provider says which bytes it ran. What stands for the artifact is therefore *declared*: a digest over what the
provider calls itself and its model. It tells two declarations apart; that one declaration is one artifact is the
provider's word, and nothing here makes more of it.

Not covered: what follows when a label comes to mean another artifact (``review.labels``).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.artifacts import declared_artifact
from holdfast.core.encoding import time_encode
from holdfast.core.statements import Route
from holdfast.verifier.appraisal import Appraisal

MAX_NAME = 256
"""Longest name that is taken for one, in code points (``case.md`` §6(2))."""
KINDS = {"inputs": "source", "memory": "row"}
"""The lanes whose evidence is indexed, and what a piece of it is called."""
_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What a case's evidence names. Names come from outside and are content: they are shown as data, never believed."""

    run_at: str | None = None
    """When the closing statement claims to be made."""
    label: str | None = None
    upstream: str | None = None
    served: str | None = None
    fingerprint: str | None = None
    named: frozenset[tuple[str, str]] = frozenset()
    """(``source`` or ``row``, digest of the evidence)."""

    @property
    def artifact(self) -> str | None:
        """Digest (hex) of the declared artifact; None while nothing was answered, or the served name is not shown."""
        if self.upstream is None or self.served is None:
            return None
        return declared_artifact(self.upstream, self.served, self.fingerprint)


def facts_of(appraisal: Appraisal) -> Facts:
    """The facts of an appraised bundle."""
    evidence, closing = appraisal.evidence, appraisal.evidence.closing
    named = frozenset((kind, digest) for lane, kind in KINDS.items() for digest in appraisal.lanes[lane].evidence)
    label = _short(evidence.named("request", "model"))
    if closing is None:
        return Facts(label=label, named=named)
    body = evidence.route.statement.body if evidence.route is not None else None
    return Facts(
        time_encode(closing.statement.claimed_at),
        label,
        body.upstream if isinstance(body, Route) else None,
        _short(evidence.named("response", "model")),
        _short(evidence.named("response", "system_fingerprint")),
        named,
    )


def _short(value: str | None) -> str | None:
    return value if value is not None and 0 < len(value) <= MAX_NAME and value.isprintable() else None


def rounded(span_ms: int) -> int:
    """A span to two significant digits: what times to proof are kept and counted by (``case.md`` §6(3))."""
    if span_ms < 10**_DIGITS:
        return max(span_ms, 0)
    step: int = 10 ** (len(str(span_ms)) - _DIGITS)
    return round(span_ms / step) * step
