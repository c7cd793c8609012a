"""Who gets through to the panel's pages."""

from __future__ import annotations

import pytest

from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.panel.access import Access, is_loopback
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.server import split_listen
from holdfast.ports.settings import Secret
from tests.helpers.panel import ManualClock

ACCESS_KEY = Secret("correct horse battery staple", "env:ACCESS")
HOST = "127.0.0.1:8700"


def access(clock: ManualClock | None = None, **config: object) -> Access:
    values = {"workspace_key": Secret("workspace", "env:W"), **config}
    return Access(PanelConfig(**values), clock or ManualClock())  # type: ignore[arg-type]


@pytest.mark.parametrize("listen", ["0.0.0.0:8700", "192.0.2.7:80", "[::]:8700", "panel.example:443"])
def test_off_loopback_without_an_access_key_it_refuses_to_start(listen):
    with pytest.raises(UsageError) as refusal:
        access(listen=listen)
    assert refusal.value.code == "panel.open"


@pytest.mark.parametrize("listen", ["127.0.0.1:8700", "localhost:1", "[::1]:8700", "127.3.2.1:0"])
def test_on_loopback_it_starts_without_an_access_key(listen):
    assert access(listen=listen).required is False


@pytest.mark.parametrize("listen", ["", "8700", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:70000", "a:b"])
def test_an_address_without_host_and_port_is_refused(listen):
    with pytest.raises(UsageError) as refusal:
        split_listen(listen)
    assert refusal.value.code == "settings.listen"


def test_addresses_keep_their_brackets_outside():
    assert split_listen("[::1]:8700") == ("::1", 8700)
    assert is_loopback("::1")
    assert not is_loopback("holdfast.example")


def test_an_access_key_that_can_be_guessed_is_refused():
    with pytest.raises(UsageError) as refusal:
        access(access_key=Secret("hunter2", "env:A"))
    assert refusal.value.code == "panel.access_key"


@pytest.mark.parametrize(
    "host", [None, "evil.example", "evil.example:8700", "127.0.0.1.evil.example", "localhost.", "", ":"]
)
def test_another_host_name_is_refused_so_that_dns_rebinding_reads_nothing(host):
    with pytest.raises(RefusedError) as refusal:
        access().check_host(host)
    assert refusal.value.code == "panel.host"
    assert refusal.value.status == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8700", "LOCALHOST:8700", "[::1]:8700", "localhost", "holdfast.example"])
def test_loopback_names_and_public_origins_are_answered(host):
    access(public_origins=("https://holdfast.example",)).check_host(host)


@pytest.mark.parametrize("origin", ["holdfast.example", "ftp://x", "https://x/path", "https://", "https://x?y"])
def test_a_public_origin_is_scheme_and_host_only(origin):
    with pytest.raises(UsageError) as refusal:
        access(public_origins=(origin,))
    assert refusal.value.code == "panel.origin"


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, None),
        ("null", "same-origin"),
        ("http://evil.example", "cross-site"),
        ("http://127.0.0.1:8701", "same-site"),
        ("http://127.0.0.1:8700", "same-site"),
        ("http://127.0.0.1:8700", "cross-site"),
        ("http://127.0.0.1:8700", "none"),
    ],
)
def test_a_change_from_elsewhere_is_refused_even_with_the_token(origin, site):
    guard = access()
    session = guard.open_session(signed_in=False)
    with pytest.raises(RefusedError) as refusal:
        guard.check_change(session, HOST, origin, site, session.token)
    assert refusal.value.code == "panel.origin"


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_a_change_without_the_sessions_token_is_refused(token):
    guard = access()
    with pytest.raises(RefusedError) as refusal:
        guard.check_change(guard.open_session(signed_in=False), HOST, f"http://{HOST}", "same-origin", token)
    assert refusal.value.code == "panel.token"


def test_the_token_of_another_session_is_refused():
    guard = access()
    mine, other = guard.open_session(signed_in=False), guard.open_session(signed_in=False)
    with pytest.raises(RefusedError) as refusal:
        guard.check_change(mine, HOST, f"http://{HOST}", "same-origin", other.token)
    assert refusal.value.code == "panel.token"


def test_a_change_from_our_own_page_with_its_token_goes_through():
    guard = access()
    session = guard.open_session(signed_in=False)
    guard.check_change(session, HOST, f"http://{HOST}", "same-origin", session.token)
    guard.check_change(session, HOST, f"http://{HOST}", None, session.token)


def test_a_cookie_with_any_changed_character_opens_nothing():
    guard = access(access_key=ACCESS_KEY)
    cookie = guard.open_session(signed_in=True).cookie
    assert guard.read_session(cookie) is not None
    for index, character in enumerate(cookie):
        other = "0" if character != "0" else "1"
        assert guard.read_session(cookie[:index] + other + cookie[index + 1 :]) is None


@pytest.mark.parametrize("cookie", [None, "", "...", "a.b.c.d", "1.s.2", "é.s.x.y", "." * 64])
def test_a_cookie_that_is_none_opens_nothing(cookie):
    assert access(access_key=ACCESS_KEY).read_session(cookie) is None


def test_an_open_session_is_no_sign_in():
    open_panel, closed_panel = access(), access(access_key=ACCESS_KEY)
    assert closed_panel.read_session(open_panel.open_session(signed_in=True).cookie) is None
    assert closed_panel.read_session(closed_panel.open_session(signed_in=False).cookie) is None


def test_a_session_ends_when_its_time_is_over():
    clock = ManualClock()
    guard = access(clock, access_key=ACCESS_KEY, session_hours=2)
    cookie = guard.open_session(signed_in=True).cookie
    clock.seconds = 2 * 3600 - 1
    assert guard.read_session(cookie) is not None
    clock.seconds = 2 * 3600
    assert guard.read_session(cookie) is None


def test_a_new_access_key_ends_every_session():
    cookie = access(access_key=ACCESS_KEY).open_session(signed_in=True).cookie
    assert access(access_key=ACCESS_KEY).read_session(cookie) is not None
    assert access(access_key=Secret("another key of some length", "env:B")).read_session(cookie) is None


def test_wrong_keys_are_refused_and_soon_not_even_looked_at():
    clock = ManualClock()
    guard = access(clock, access_key=ACCESS_KEY, sign_in_failures_per_minute=3)
    for _ in range(3):
        with pytest.raises(RefusedError) as refusal:
            guard.sign_in("wrong")
        assert refusal.value.code == "panel.access_key"
    with pytest.raises(RefusedError) as refusal:
        guard.sign_in(ACCESS_KEY.reveal())
    assert refusal.value.code == "panel.too_many"
    clock.seconds = 61
    assert guard.sign_in(ACCESS_KEY.reveal()).signed_in


def test_without_an_access_key_nothing_signs_in():
    with pytest.raises(RefusedError):
        access().sign_in("")


def test_the_cookie_is_strict_and_out_of_reach_of_scripts():
    guard = access(access_key=ACCESS_KEY, public_origins=("https://holdfast.example",))
    header = guard.cookie_header(guard.open_session(signed_in=True))
    assert all(part in header for part in ("; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"))
    assert "Secure" not in access().cookie_header(None)
    assert "Max-Age=0" in access().cookie_header(None)


def test_two_panels_on_one_host_keep_their_cookies_apart():
    other = Access(PanelConfig(workspace_key=Secret("other", "env:O")), ManualClock())
    assert access().cookie_name != other.cookie_name
