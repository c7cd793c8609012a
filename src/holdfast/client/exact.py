"""Somebody else's request as a question of this client: its exact bytes, and what it asks of Holdfast itself.

Rules: the body is read strictly and sent as it is; of the headers only ``x-holdfast-*`` options go on, never a key,
cookie or name of a program; what the gateway is to decide is left to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.client.turns import Question
from holdfast.core import canonical
from holdfast.errors import UsageError

PASSED_ON = ("x-holdfast-memory-key", "x-holdfast-subject")
"""Headers that go on as they are."""


def parse_question(endpoint: str, body: bytes, headers: Mapping[str, str]) -> tuple[Question, bool]:
    """A question, and whether it asks for a stream. Raises ``json.*`` or ``proxy.sealed``."""
    value = canonical.decode_object(body)
    given = value.get("holdfast")
    options = given if isinstance(given, dict) else {}

    def option(name: str) -> str | None:
        found = options.get(name, headers.get("x-holdfast-" + name.replace("_", "-")))
        return found if isinstance(found, str) else None

    if options.get("sealed") is True or headers.get("x-holdfast-sealed") == "true":
        raise UsageError("proxy.sealed", "a sealed answer has nothing to check here", hint="ask the gateway itself")
    question = Question(
        value,
        endpoint,
        option("parent_run"),
        option("settlement"),
        option("queue"),
        None,
        body=body,
        nonce=option("nonce"),
        headers={name: headers[name] for name in PASSED_ON if name in headers},
    )
    return question, value.get("stream") is True
