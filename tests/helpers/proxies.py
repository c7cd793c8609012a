"""A running ``holdfast proxy``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def proxying(key: str | None, *options: str) -> Iterator[dict[str, Any]]:
    """What ``holdfast proxy`` says once it listens; ended with Ctrl-C. ``key`` is the workspace's, None where the
    options say whose."""
    own = {} if key is None else {"HOLDFAST_KEY": key}
    command = [sys.executable, "-m", "holdfast.cli", "proxy", "--listen", "127.0.0.1:0", "--json", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | own)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line == "}\n":
                break
        yield json.loads(said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()
