"""The receiver that the how-to shows takes what the panel sends, once and in order, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.encoding import time_decode
from holdfast.review.webhooks import headers as sent_headers
from tests.helpers.webhooks import SECRET, hook

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "webhooks.md"
AT = time_decode("2026-01-01T12:00:00.000Z")
NOW = AT.timestamp()
BODY = b'{"case":"c","event":{"seq":8},"state":"CLEAR"}'
LATER = BODY.replace(b"8", b"9")


@pytest.fixture
def receive() -> Callable[..., Any]:
    (code,) = re.findall(r"```python\n(.*?)```", HOWTO.read_text("utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope["receive"]  # type: ignore[no-any-return]


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return dict(sent_headers(hook(secret=secret), "d" * 64, body, AT))


@pytest.mark.parametrize(
    ("headers", "body", "now"),
    [
        (signed(BODY), LATER, NOW),
        (signed(BODY), BODY, NOW + 301),
        (signed(BODY), BODY, NOW - 301),
        (signed(BODY) | {"webhook-id": "e" * 64}, BODY, NOW),
        (signed(BODY) | {"webhook-signature": "v1,AAAA"}, BODY, NOW),
        (signed(BODY) | {"webhook-timestamp": str(int(NOW) + 1)}, BODY, NOW),
    ],
)
def test_what_does_not_come_from_the_panel_is_refused(
    receive: Callable[..., Any], headers: dict[str, str], body: bytes, now: float
) -> None:
    newest: dict[str, int] = {}
    with pytest.raises(ValueError, match=r"signature|old"):
        receive(SECRET, headers, body, newest, now)
    assert newest == {}


def test_a_delivery_is_taken_in_once_and_what_is_older_never_again(receive: Callable[..., Any]) -> None:
    newest: dict[str, int] = {}
    assert receive(SECRET, signed(BODY), BODY, newest, NOW)["state"] == "CLEAR"
    assert receive(SECRET, signed(BODY), BODY, newest, NOW) is None
    assert receive(SECRET, signed(LATER), LATER, newest, NOW) is not None
    assert receive(SECRET, signed(BODY), BODY, newest, NOW) is None


def test_the_old_secret_goes_on_working_while_both_sign(receive: Callable[..., Any]) -> None:
    new = "whsec_" + "QUFB" * 11
    both = signed(BODY, f"{new} {SECRET}")
    for secret in (new, SECRET):
        assert receive(secret, both, BODY, {}, NOW) is not None


def test_the_how_to_names_the_settings_and_commands_that_there_are() -> None:
    text = HOWTO.read_text("utf-8")
    configured = (HOWTO.parents[1] / "operate" / "configuration.md").read_text("utf-8")
    settings = set(re.findall(r"`(webhook_[a-z_]+)`", text))
    assert settings
    assert all(f"| `{name}` |" in configured for name in settings)
    commands = (HOWTO.parents[1] / "operate" / "commands.md").read_text("utf-8")
    acts = re.findall(r"^holdfast (queue webhooks [a-z]+)", text, re.MULTILINE)
    assert len(acts) == 5
    assert all(f"## holdfast {act}\n" in commands for act in acts)
