"""What ``holdfast.ports.fetch `` promises, over real TLS sessions with servers that misbehave on purpose."""

import asyncio
import datetime as dt
import gzip
import ssl

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.fetch_https import PLACEHOLDER, HTTPSFetcher
from holdfast.core.addresses import parse_address
from holdfast.core.encoding import sha256_hex
from holdfast.core.sources import resolve
from holdfast.errors import HoldfastError
from holdfast.ports.fetch import Observed
from holdfast.ports.settings import Secret
from tests.helpers.sources import LOOPBACK, SourceServer, authority, definition_of, rate_body, whole
from tests.helpers.tls import certificate

pytestmark = pytest.mark.enable_socket
AUTHORITY = authority()


def server(folder, **change):
    return SourceServer(certificate(issuer=AUTHORITY, name="localhost"), folder, **change)


async def ask(definition, *, resolver=None, credential=None, seen=None, **parameters):
    fetcher = HTTPSFetcher(SystemClock(), *([resolver] if resolver else []))
    seen = seen or Observed()
    try:
        await fetcher.fetch(resolve(definition, parameters), credential, seen)
    finally:
        await fetcher.close()
    return seen


async def refused(definition, **more):
    seen = Observed()
    with pytest.raises(HoldfastError) as caught:
        await ask(definition, seen=seen, **more)
    return caught.value.code, seen


def run(work):
    return asyncio.run(work)


# --- what is observed -------------------------------------------------------------------------------------------------


def test_everything_of_a_session_and_a_request_is_observed(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            definition = definition_of(source, AUTHORITY, request={"pins": [source.shows.spki]})
            return source, definition, await ask(definition, pair="BTC-USD")

    source, definition, seen = run(work())
    [sent] = source.requests
    assert sent.startswith(b"GET /rate/BTC-USD HTTP/1.1\r\nhost: localhost:")
    assert (seen.request.digest, seen.request.size) == (sha256_hex(sent), len(sent))
    assert (seen.request.method, seen.request.template) == ("GET", definition.template)
    tls = seen.tls
    assert (tls.protocol, tls.family, tls.sni) == ("TLSv1.3", "ipv4", "localhost")
    assert (tls.certificate, tls.spki) == (sha256_hex(source.shows.raw), source.shows.spki)
    assert tls.chain == (sha256_hex(source.shows.raw), sha256_hex(AUTHORITY.raw))
    assert (tls.roots.store, tls.roots.anchor) == ("definition", sha256_hex(AUTHORITY.raw))
    assert seen.http.status == 200
    assert seen.http.body_digest == sha256_hex(seen.body)
    assert seen.requested <= seen.first_byte <= dt.datetime.now(dt.UTC)


def test_tls_1_2_is_a_session_and_says_so(tmp_path):
    async def work():
        async with server(tmp_path, protocol=ssl.TLSVersion.TLSv1_2).listening() as source:
            return await ask(definition_of(source, AUTHORITY))

    assert run(work()).tls.protocol == "TLSv1.2"


def test_a_credential_is_sent_and_never_digested(tmp_path):
    use = {"secret": {"name": "rates-key", "header": "authorization", "prefix": "Bearer "}}

    async def work():
        async with server(tmp_path).listening() as source:
            definition = definition_of(source, AUTHORITY, request=use)
            seen = await ask(definition, credential=Secret("hunter2", "env:X"))
            missing, _ = await refused(definition)
            injected, _ = await refused(definition, credential=Secret("a\r\nx-evil: 1", "env:X"))
            return source.requests, seen, missing, injected

    [sent], seen, missing, injected = run(work())
    assert b"authorization: Bearer hunter2\r\n" in sent
    assert seen.request.digest == sha256_hex(sent.replace(b"hunter2", PLACEHOLDER))
    assert (missing, injected) == ("source.credential", "source.credential")


def test_a_connection_is_kept_and_a_closed_one_is_asked_anew(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            definition = definition_of(source, AUTHORITY)
            fetcher = HTTPSFetcher(SystemClock())
            facts = []
            for _ in range(3):
                seen = Observed()
                await fetcher.fetch(resolve(definition, {}), None, seen)
                facts.append(seen.tls)
            before = source.connections
            for idle in fetcher._idle.values():
                for connection in idle:
                    connection._transport.abort()
                    connection.closed = False  # as when the other side's end is still on its way
            await fetcher.fetch(resolve(definition, {}), None, Observed())
            await fetcher.close()
            return before, source.connections, facts

    before, after, facts = run(work())
    assert (before, after) == (1, 2)
    assert len(set(facts)) == 1


# --- addresses --------------------------------------------------------------------------------------------------------


def test_loopback_is_not_reached_unless_the_definition_says_so(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            code, seen = await refused(definition_of(source, AUTHORITY, request={"addresses": []}))
            return source.connections, code, seen

    connections, code, seen = run(work())
    assert (connections, code, seen.request) == (0, "source.address", None)


def test_a_name_with_one_bad_address_is_not_reached_at_its_good_one(tmp_path):
    async def both(host, port):
        return [parse_address("127.0.0.1"), parse_address("169.254.169.254")]

    async def work():
        async with server(tmp_path).listening() as source:
            code, _ = await refused(definition_of(source, AUTHORITY), resolver=both)
            return source.connections, code

    assert run(work()) == (0, "source.address")


def test_the_connection_goes_to_the_address_that_was_looked_at(tmp_path):
    """A name that is rebound after it was looked at leads nowhere else: it is resolved once for each connection."""
    asked = []

    async def rebinding(host, port):
        asked.append(host)
        return [parse_address("127.0.0.1" if len(asked) == 1 else "10.0.0.1")]

    async def work():
        async with server(tmp_path).listening() as source:
            await ask(definition_of(source, AUTHORITY), resolver=rebinding)

    run(work())
    assert asked == ["localhost"]


# --- who answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shows",
    [
        certificate(name="localhost"),
        certificate(issuer=AUTHORITY, days=-1),
        certificate(issuer=certificate(authority=True, name="other"), name="localhost"),
    ],
    ids=["self-signed", "expired", "another authority's"],
)
def test_a_wrong_certificate_gets_no_request(tmp_path, shows):
    async def work():
        async with SourceServer(shows, tmp_path).listening() as source:
            code, seen = await refused(definition_of(source, AUTHORITY))
            return source.requests, code, seen.tls

    assert run(work()) == ([], "source.certificate", None)


def test_the_machines_own_roots_do_not_vouch_for_a_local_authority(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            return await refused(definition_of(source, None))

    assert run(work())[0] == "source.certificate"


def test_a_changed_key_gets_no_request_even_under_the_same_authority(tmp_path):
    async def work():
        source = server(tmp_path)
        pin = source.shows.spki
        source.shows = certificate(issuer=AUTHORITY, name="localhost")
        async with source.listening():
            code, _ = await refused(definition_of(source, AUTHORITY, request={"pins": [pin]}))
            return source.requests, code

    assert run(work()) == ([], "source.certificate")


def test_a_server_without_tls_gives_no_session(tmp_path):
    async def work():
        async def plain(reader, writer):
            writer.write(whole(rate_body()))
            writer.close()

        listening = await asyncio.start_server(plain, "127.0.0.1", 0)
        source = server(tmp_path, port=listening.sockets[0].getsockname()[1])
        code, _ = await refused(definition_of(source, AUTHORITY))
        listening.close()
        return code

    assert run(work()) == "source.tls"


def test_nobody_there_is_unreachable(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            pass
        return (await refused(definition_of(source, AUTHORITY)))[0]

    assert run(work()) == "source.unreachable"


# --- what comes -------------------------------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7D0\r\n" + b"x" * 2000
BOMB = gzip.compress(b"\0" * (4 << 20))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(b"{}", status="500 Oops"), "source.status"),
        (whole(b"{}", status="204 Nothing"), "source.status"),
        (whole(b"<p>", content_type="text/html"), "source.content_type"),
        (whole(b"{}", content_type="application/json-seq"), "source.content_type"),
        (whole(BOMB, content_encoding="gzip"), "source.encoding"),
        (whole(b"x" * 2000), "source.size"),
        (CHUNKED, "source.size"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: " + b"y" * 70_000 + b"\r\n\r\n", "source.size"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}", "source.truncated"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", "source.protocol"),
        (b"SSH-2.0-hello\r\n\r\n", "source.protocol"),
        (whole(b"{}", status="302 Found", location="https://elsewhere.example/"), "source.redirected"),
        (whole(b"{}", status="302 Found", location="http://localhost/"), "source.redirected"),
        (whole(b"{}", status="302 Found", location="//elsewhere.example/"), "source.redirected"),
        (whole(b"{}", status="302 Found", location="javascript:alert(1)"), "source.redirected"),
        (whole(b"{}", status="302 Found", location="/again"), "source.redirected"),
        (whole(b"{}", status="302 Found"), "source.redirected"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_for_what_it_is(tmp_path, answer, code):
    async def work():
        async with server(tmp_path, answer=lambda: answer).listening() as source:
            limits = {"bytes": 1000, "redirects": 2}
            return (await refused(definition_of(source, AUTHORITY, request=limits)))[0], len(source.requests)

    found, asked = run(work())
    assert found == code
    assert asked <= 3


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", b"HTTP/1.1 20", b""])
def test_an_answer_that_breaks_off_is_refused(tmp_path, sent):
    async def breaks(source, head, writer):
        writer.write(sent)
        await writer.drain()

    async def work():
        async with server(tmp_path, handler=breaks).listening() as source:
            return (await refused(definition_of(source, AUTHORITY)))[0]

    assert run(work()) == ("source.truncated" if b"200 OK" in sent else "source.unreachable")


def test_a_slow_answer_is_given_up(tmp_path):
    async def never(source, head, writer):
        await asyncio.sleep(30)

    async def work():
        async with server(tmp_path, handler=never).listening() as source:
            code, seen = await refused(definition_of(source, AUTHORITY, request={"seconds": 1}))
            return code, seen.request is not None, seen.http

    assert run(work()) == ("source.timeout", True, None)


def test_a_redirect_on_the_same_origin_is_followed_and_told(tmp_path):
    async def work():
        source = server(tmp_path)
        answers = [whole(b"{}", status="302 Found", location="/other"), whole(rate_body())]
        source.answer = lambda: answers.pop(0)
        async with source.listening():
            return source, await ask(definition_of(source, AUTHORITY, request={"redirects": 1}))

    source, seen = run(work())
    assert seen.http.hosts == (f"localhost:{source.port}",)
    assert source.requests[1].startswith(b"GET /other HTTP/1.1\r\n")


def test_the_loopback_ranges_of_these_tests_are_no_default():
    assert LOOPBACK == ["127.0.0.0/8", "::1/128"]
