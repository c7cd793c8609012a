"""``python -m holdfast.cli.conformance COMMAND …``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from holdfast.cli.conformance.commands import run


def main() -> None:
    """Answer one command line on standard output and exit with its code."""
    code, answer = run(sys.argv[1:], Path.cwd())
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n")
    sys.stdout.buffer.flush()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
