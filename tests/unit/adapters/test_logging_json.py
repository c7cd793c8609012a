"""Logs are one JSON object a line, and secrets do not get into them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from holdfast.adapters.logging_json import JSONFormatter, configure_logging
from holdfast.ports.settings import Secret


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    configure_logging("log-1", "info", text)
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_secret_is_logged_as_its_reference(stream: io.StringIO) -> None:
    secret = Secret("correct horse", "file:token")
    logging.getLogger("x").info("loaded %s", secret, extra={"token": secret, "nested": {"token": secret}})
    assert "correct horse" not in stream.getvalue()
    assert "file:token" in stream.getvalue()


def test_a_line_break_in_a_message_does_not_make_a_second_line(stream: io.StringIO) -> None:
    logging.getLogger("x").warning("one\ntwo %s", '{"level":"error"}')
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["level"] == "warning"


def test_extra_cannot_replace_our_own_fields(stream: io.StringIO) -> None:
    logging.getLogger("x").info("hello", extra={"at": "never", "level": "none", "node": "other", "size": 7})
    line = json.loads(stream.getvalue())
    assert line["at"].endswith("Z")
    assert (line["level"], line["node"], line["size"]) == ("info", "log-1", 7)


def test_a_traceback_is_one_field(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("it broke")
    line = json.loads(stream.getvalue())
    assert "ValueError: broken" in line["traceback"]


def test_lower_levels_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("x").debug("noise")
    logging.getLogger("uvicorn.error").info("noise")
    assert stream.getvalue() == ""


def test_without_a_node_name_the_field_is_absent() -> None:
    record = logging.makeLogRecord({"msg": "hello", "levelname": "INFO", "name": "x"})
    assert "node" not in json.loads(JSONFormatter().format(record))
