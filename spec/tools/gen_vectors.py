"""Write every case below vectors/ from the specification alone. Same input, same bytes; nothing is read but the clock of no one.

Run it with ``make vectors``: the diff must be empty. It imports nothing of the implementation.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reference.cases import Writer
from suites import documents, logs, texts

SUITES = (texts, documents, logs)


def main() -> None:
    """Generate all suites, or fail loudly."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "vectors"
    out = Writer(target)
    world = None
    for suite in SUITES:
        suite.write(out, world)
    print(out.summary())
    if any(name == "holdfast" or name.startswith("holdfast.") for name in sys.modules):
        raise SystemExit("the generator must share no code with the implementation")


if __name__ == "__main__":
    main()
