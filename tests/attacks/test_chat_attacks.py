"""Somebody who wants a chat to go, to say or to show otherwise than was asked, at the gateway's own door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.live_gateway import LiveGateway, question, serving

pytestmark = pytest.mark.enable_socket

NOBODY = '{"providers":{"allow":["nobody"]}}'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"x-holdfast-route: {NOBODY}", 'x-holdfast-route: {"fallback":"none"}'),
        ("x-holdfast-settlement: private", "X-Holdfast-Settlement: batch"),
        ("x-holdfast-nonce: nonce-of-the-first-1", "x-holdfast-nonce: nonce-of-the-second-1"),
        ("x-holdfast-queue: first", "x-holdfast-queue: second"),
        ("x-settlement-type: private", "x-settlement-type: batch"),
        ("authorization: Bearer of-somebody-else", "accept: */*"),
    ],
)
def test_of_two_headers_that_say_what_is_asked_none_is_chosen(gateway: LiveGateway, first: str, second: str) -> None:
    before = gateway.runs()
    for headers in ([first, second], [second, first]):
        reply = gateway.post(question(), headers=headers)
        assert (reply.status, reply.code) == (400, "request.conflict")
    assert gateway.runs() == before
