"""Write every case below vectors/ from the specification alone. Same input, same bytes; nothing is read but the clock of no one.

Run it with ``make vectors``: the diff must be empty. It imports nothing of the implementation.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reference import world
from reference.cases import Writer
from reference.text import exact_text, jcs
from suites import (
    acts,
    admissions,
    agent_files,
    agents,
    artifacts,
    attestations,
    bundles,
    contexts,
    decisions,
    dialects,
    documents,
    embeddings,
    enclaves,
    files,
    flows,
    gate,
    identities,
    images,
    inferences,
    journals,
    labels,
    logs,
    memory,
    opengradient,
    orders,
    payment_statements,
    payments,
    pictures,
    prices,
    privacy,
    private_path,
    proofs,
    recalls,
    registrations,
    routes,
    sealed,
    settled,
    sources,
    spans,
    statements,
    texts,
    trusts,
    walrus,
    workflows,
)

SUITES = (
    texts,
    documents,
    contexts,
    dialects,
    agents,
    acts,
    orders,
    spans,
    agent_files,
    files,
    logs,
    statements,
    trusts,
    attestations,
    images,
    inferences,
    proofs,
    settled,
    bundles,
    enclaves,
    decisions,
    journals,
    identities,
    payment_statements,
    admissions,
    recalls,
    artifacts,
    labels,
    privacy,
    routes,
    gate,
    sealed,
    opengradient,
    private_path,
    payments,
    pictures,
    embeddings,
    prices,
    registrations,
    walrus,
    memory,
    sources,
    workflows,
    flows,
)


def main() -> None:
    """Generate all suites, or fail loudly."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "vectors"
    out = Writer(target)
    out.shared("trust.json", exact_text(world.usual_trust()) + "\n")
    out.shared("policy.json", jcs(world.POLICY))
    for suite in SUITES:
        suite.write(out)
    out.flush()
    print(out.summary())
    if any(name == "holdfast" or name.startswith("holdfast.") for name in sys.modules):
        raise SystemExit("the generator must share no code with the implementation")


if __name__ == "__main__":
    main()
