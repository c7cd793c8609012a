"""What a proxy is not started with: nothing listens and nothing is asked then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Outcome

GATEWAY = ("--gateway", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--listen", "0.0.0.0:0"], "proxy.listen"),
        (["--listen", "0.0.0.0:0", "--insecure-listen"], "proxy.listen"),
        (["--listen", "gateway.example:80"], "proxy.listen"),
        (["--listen", "8788"], "settings.listen"),
        (["--token-file", "nowhere"], "network.key"),
        (["--or-direct"], "proxy.relay"),
        (["--relay-key", "env:HOME"], "proxy.relay"),
        (["--private"], "proxy.relay"),
        (["--relay", "http://127.0.0.1:1", "--pay"], "proxy.pay"),
        (["--wallet", "w.toml"], "proxy.pay"),
        (["--require", "bytes=fine"], "require.syntax"),
        ([], "network.key"),
    ],
)
def test_what_makes_no_sense_is_usage(
    holdfast: Callable[..., Outcome], options: list[str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOLDFAST_KEY", raising=False)
    done = holdfast("proxy", *GATEWAY, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {code}: ")


def test_a_relay_is_asked_under_trust_alone(holdfast: Callable[..., Outcome]) -> None:
    done = holdfast("proxy", *GATEWAY, "--relay", "http://127.0.0.1:1", "--relay-key", "env:HOME")
    assert (done.code, done.err.startswith("error: trust.missing: ")) == (3, True)


def test_a_capability_is_named_once(holdfast: Callable[..., Outcome]) -> None:
    run = "019b76da-a800-70c8-9215-35f11ffa1fae"
    both = holdfast("run", "show", run, *GATEWAY, "--capability", "ab" * 32, "--journal", "runs.jsonl")
    assert (both.code, "usage.capability" in both.err) == (2, True)
    missing = holdfast("run", "show", run, *GATEWAY, "--journal", "nowhere.jsonl")
    assert (missing.code, "journal.file" in missing.err) == (2, True)
