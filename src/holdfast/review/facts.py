"""What the evidence of a case names: label, artifact, sources and rows (``spec/case.md`` §6(2)).

Facts lie beside a case so that others like it are found, and so that counts are kept for an artifact, not for a name.
They are read from what an appraisal has checked, and can be read again from the evidence at any time. A model's name is
a part of what was asked and answered: it is known where that part, or the document around it, is disclosed and matches
its signed root, and nowhere else.

Where an inference node signed which artifact was in memory when it ran, that is the artifact. No other provider says
which bytes it ran. What stands for the artifact is then *declared*: a digest over what the provider calls itself and
its model. It tells two declarations apart; that one declaration is one artifact is the provider's word, and nothing
here makes more of it.

Not covered: what follows when a label comes to mean another artifact (``review.labels``).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.artifacts import declared_artifact
from holdfast.core.encoding import time_encode
from holdfast.core.statements import Execution, Route
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.computation import computed_of
from holdfast.verifier.evidence import Evidence

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
    computed: str | None = None
    """The artifact (hex) that an inference node says was in memory when it ran."""
    named: frozenset[tuple[str, str]] = frozenset()
    """(``source`` or ``row``, digest of the evidence)."""

    @property
    def artifact(self) -> str | None:
        """Digest (hex) of what ran, or of what is declared of it; None while nothing was answered, or the served name
        is not shown."""
        if self.computed is not None:
            return self.computed
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
        _computed(evidence),
        named,
    )


def artifact_basis(upstream: str | None) -> str:
    """What an artifact that is kept with an upstream, or without one, rests on: what that provider claims, or the
    signature of the node that computed."""
    return "signature" if upstream is None else "provider_claim"


def _computed(evidence: Evidence) -> str | None:
    found = computed_of(evidence)
    body = None if found is None else found.statement.body
    return body.computation.artifact if isinstance(body, Execution) and body.computation is not None else None


def _short(value: str | None) -> str | None:
    return value if value is not None and 0 < len(value) <= MAX_NAME and value.isprintable() else None


def rounded(span_ms: int) -> int:
    """A span to two significant digits: what times to proof are kept and counted by (``case.md`` §6(3))."""
    if span_ms < 10**_DIGITS:
        return max(span_ms, 0)
    step: int = 10 ** (len(str(span_ms)) - _DIGITS)
    return round(span_ms / step) * step
