"""What ``holdfast.ports.fetch`` promises of resolvers, over real UDP and TCP, with servers that misbehave."""

import asyncio

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.fetch_dns import DNSFetcher
from holdfast.core.admissions import parse_admission
from holdfast.core.dns_reads import build_question
from holdfast.core.encoding import sha256_hex
from holdfast.core.readings import read_body
from holdfast.core.sources import resolve
from holdfast.errors import HoldfastError
from holdfast.nodes.data.service import replay
from holdfast.ports.fetch import Observed
from tests.helpers.dns import DNSServer, address, answer, named, record
from tests.helpers.sources import data_world, dns_definition, registry_of

pytestmark = pytest.mark.enable_socket
NAME = "www.a.example"
GOOD = record(NAME, "A", address("192.0.2.1"))


def framed(message, size=None):
    return (len(message) if size is None else size).to_bytes(2, "big") + message


async def fetch(definition, **parameters):
    seen = Observed()
    try:
        await DNSFetcher(SystemClock()).fetch(resolve(definition, parameters), None, seen)
    except HoldfastError as error:
        return error.code, seen
    return "admitted", seen


def ask(udp, tcp=lambda _: [], **request):
    async def work():
        async with DNSServer(udp, tcp).listening() as server:
            definition = dns_definition(server.port, request=request)
            return server, definition, *await fetch(definition)

    return asyncio.run(work())


def test_an_answer_comes_with_what_was_observed():
    server, definition, code, seen = ask(lambda question: [answer(question, GOOD)])
    [(channel, sent)] = server.questions
    assert (code, channel) == ("admitted", "udp")
    assert read_body(definition, seen.body, None).extraction.value.text == "192.0.2.1"
    plain = build_question(NAME, "A", 0)
    assert (seen.exchange.request_digest, sent[2:]) == (sha256_hex(plain), plain[2:])
    assert seen.exchange.answer == (sha256_hex(seen.body), len(seen.body))
    facts = {"resolver": f"127.0.0.1:{server.port}", "authenticated": "false", "response-code": "0"}
    assert (seen.exchange.channel, seen.exchange.facts, seen.exchange.template) == ("udp", facts, definition.template)
    assert (seen.http, seen.tls, seen.request) == (None, None, None)
    assert seen.requested <= seen.first_byte


def test_that_a_resolver_verified_is_told_as_what_it_said():
    _, _, _, seen = ask(lambda question: [answer(question, GOOD, flags=0x81A0)])
    assert seen.exchange.facts["authenticated"] == "true"


def test_what_answers_something_else_is_as_if_it_had_not_come():
    def forged(question):
        evil = record(NAME, "A", address("203.0.113.9"))
        other = build_question("www.b.example", "A", int.from_bytes(question[:2], "big"))
        wrong = (int.from_bytes(question[:2], "big") + 1) % 65_536
        return [
            answer(question, evil, id=wrong),
            answer(other, evil),
            question,
            b"",
            answer(question, evil)[:-1],
            answer(question, GOOD),
        ]

    _, definition, code, seen = ask(forged)
    assert (code, read_body(definition, seen.body, None).extraction.value.text) == ("admitted", "192.0.2.1")


def test_a_lost_question_is_sent_again():
    came = []

    def second(question):
        came.append(question)
        return [answer(question, GOOD)] if len(came) == 2 else []

    _, _, code, _ = ask(second)
    assert (code, len(set(came))) == ("admitted", 1)


def test_what_is_cut_off_is_asked_for_over_tcp():
    server, _, code, seen = ask(
        lambda question: [answer(question, flags=0x8380)], lambda question: [framed(answer(question, GOOD))]
    )
    assert ([channel for channel, _ in server.questions], code, seen.exchange.channel) == (
        ["udp", "tcp"],
        "admitted",
        "tcp",
    )


@pytest.mark.parametrize(
    ("tcp", "code"),
    [
        (
            lambda question: [framed(answer(question, GOOD, id=1 ^ int.from_bytes(question[:2], "big")))],
            "source.protocol",
        ),
        (lambda question: [framed(answer(question, GOOD)[:-1])], "source.protocol"),
        (lambda question: [framed(answer(question, flags=0x8380))], "source.truncated"),
        (lambda question: [framed(answer(question, GOOD), 500)], "source.truncated"),
        (lambda _: [], "source.truncated"),
    ],
)
def test_tcp_that_answers_something_else_or_half_is_refused(tcp, code):
    _, _, found, seen = ask(lambda question: [answer(question, flags=0x8380)], tcp)
    assert (found, seen.exchange.channel, seen.exchange.answer, seen.body) == (code, "tcp", None, b"")


@pytest.mark.parametrize("number", [1, 2, 3, 5, 15])
def test_a_resolver_that_has_no_answer_is_refused_and_what_it_said_is_told(number):
    _, _, code, seen = ask(lambda question: [answer(question, flags=0x8180 | number)])
    assert (code, seen.exchange.facts["response-code"], seen.body) == ("source.status", str(number), b"")


def test_silence_ends():
    server, _, code, seen = ask(lambda _: [], seconds=1)
    assert (code, seen.exchange.answer, seen.first_byte) == ("source.timeout", None, None)
    assert len(server.questions) >= 2


def test_where_nobody_listens_nothing_is_admitted():
    async def work():
        async with DNSServer(lambda _: []).listening() as server:
            port = server.port
        return await fetch(dns_definition(port))

    code, seen = asyncio.run(work())
    assert (code, seen.exchange.answer) == ("source.unreachable", None)


def test_a_node_admits_refuses_loops_and_replays_without_the_resolver(tmp_path):
    def looped(question):
        return [answer(question, record(NAME, "CNAME", named("b.example")), record("b.example", "CNAME", named(NAME)))]

    async def work():
        async with DNSServer(lambda question: [answer(question, GOOD)]).listening() as server:
            world = data_world(tmp_path / "node", registry_of(dns_definition(server.port)))
            shown = await world.service.admit("anybody", "names", {})
            server.udp = looped
            refused = await world.service.admit("anybody", "names", {})
            outside = await world.service.admit("anybody", "names", {"zone": "A~"})
        await world.close()
        return world, shown, refused, outside

    world, shown, refused, outside = asyncio.run(work())
    assert parse_admission(shown.document).value.text == "192.0.2.1"
    assert replay(shown, world.service.kept.bodies.get)["text"] == "192.0.2.1"
    assert parse_admission(refused.document).refusal.code == "schema"
    assert parse_admission(outside.document).refusal.code == "parameters"
