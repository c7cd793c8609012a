"""Structured logs: one JSON object a line, on standard error.

Each line has ``at``, ``level``, ``logger``, ``message`` and ``node``; whatever a caller passed as ``extra`` follows
under its own name. Values that are not JSON are written as their ``repr``, which for a ``Secret`` is its reference, so
no secret reaches a log by being formatted. No node logs prompts or answers; this adapter cannot check that.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import IO, Any

from holdfast.core.encoding import time_encode

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
"""Attributes every record has; anything else came in as ``extra``."""
LEVELS = ("debug", "info", "warning", "error")
"""The names that settings use."""


class JSONFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """One line without line breaks."""
        line: dict[str, Any] = {
            "at": time_encode(dt.datetime.fromtimestamp(record.created, dt.UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._node:
            line["node"] = self._node
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=repr, skipkeys=True)


def configure_logging(node: str = "", level: str = "info", stream: IO[str] | None = None) -> None:
    """Send every log of this process, uvicorn's included, to ``stream`` (standard error) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONFormatter(node))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    logging.getLogger("uvicorn.error").setLevel("WARNING" if level != "debug" else "DEBUG")
