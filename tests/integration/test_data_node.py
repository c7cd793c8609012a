"""A data node over real TLS sessions: what it admits, what it refuses and signs as well, and what replaying says."""

import asyncio
import dataclasses
import datetime as dt
import json

import pytest
from starlette.testclient import TestClient

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import WriteAheadLog
from holdfast.cli.demo_data import answer_question
from holdfast.client.data import judge_admission
from holdfast.client.log_writer import Accepted
from holdfast.core import canonical
from holdfast.core.admissions import parse_admission, parse_presented, verify_admission, verify_observation
from holdfast.core.encoding import time_encode
from holdfast.core.keys import verify_signature
from holdfast.core.quantities import Rule
from holdfast.core.statements import parse_envelope, parse_statement, pre_authentication_encoding
from holdfast.errors import HoldfastError
from holdfast.nodes.data.app import Caller, create_app
from holdfast.nodes.data.delivery import Delivery
from holdfast.nodes.data.limits import Windows
from holdfast.nodes.data.peers import Peer, Peers, open_presented
from holdfast.nodes.data.service import Query, replay
from holdfast.ports.settings import Secret
from tests.helpers.sources import SourceServer, authority, data_world, definition_of, rate_body, registry_of, whole
from tests.helpers.tls import certificate

pytestmark = pytest.mark.enable_socket
AUTHORITY = authority()


def server(folder, **change):
    return SourceServer(certificate(issuer=AUTHORITY, name="localhost"), folder, **change)


async def admit_from(source, folder, workspace="anybody", **change):
    """One admission of what a server answers, and the world it was made in."""
    world = data_world(folder / "node", registry_of(definition_of(source, AUTHORITY, **change)))
    try:
        return world, await world.service.admit(workspace, "rates", {})
    finally:
        await world.close()


def admission_of(tmp_path, answer, **change):
    async def work():
        async with server(tmp_path, answer=answer).listening() as source:
            pins = {"pins": [source.shows.spki], **change.pop("request", {})}
            return await admit_from(source, tmp_path, request=pins, **change)

    world, shown = asyncio.run(work())
    return world, shown, parse_admission(shown.document)


def test_an_honest_answer_is_admitted_signed_and_holds(tmp_path):
    world, shown, document = admission_of(tmp_path, lambda: whole(rate_body("1.2500")))
    assert (document.event, document.value.text) == ("admitted", "1.25")
    assert document.observation.pinned
    envelope = parse_envelope(shown.envelope)
    statement = parse_statement(envelope)
    key = world.document.key_for("statement")
    verify_signature(key, pre_authentication_encoding(envelope.payload), envelope.signature)
    assert verify_admission(statement, shown.document, shown.salt) == document
    verify_observation(document, shown.definition)
    assert b"1.25" not in envelope.payload  # nothing that was asked or answered stands in the log
    assert statement.claimed_at.second == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda: whole(rate_body(age_s=31)), "stale"),
        (lambda: whole(rate_body(age_s=-60)), "clock_skew"),
        (lambda: whole(rate_body(), date=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)), "clock_skew"),
        (lambda: whole(rate_body("11")), "range"),
        (lambda: whole(rate_body("-1")), "range"),
        (lambda: whole(rate_body("free")), "schema"),
        (lambda: whole(b'{"rate":"1"}'), "schema"),
        (lambda: whole(b'{"rate":1,"rate":2}'), "schema"),
        (lambda: whole(b"{}", status="503 Busy"), "status"),
        (lambda: whole(b"{}", status="999 Odd"), "protocol"),
        (lambda: whole(rate_body(), status="503 Busy") + whole(rate_body()), "status"),
        (lambda: whole(b"{}", status="302 Found", location="https://elsewhere.example/"), "redirected"),
        (lambda: whole(rate_body(), content_type="text/plain"), "content_type"),
        (lambda: whole(rate_body(), content_encoding="gzip"), "encoding"),
        (lambda: b"HTTP/1.1 200 OK\r\n\r\n", "truncated"),
    ],
)
def test_what_is_not_believable_is_refused_and_the_refusal_is_signed(tmp_path, answer, code):
    world, shown, document = admission_of(tmp_path, answer)
    assert (document.event, document.refusal.code, document.value) == ("refused", code, None)
    assert open_presented(shown, world.document)[1] == document
    lane = judge_admission(shown, None)
    assert (lane.state, lane.basis) == ("unknown", None)
    assert world.metrics.counts["holdfast_data_admissions_total", "rates", code] == 1


def test_an_unpinned_key_is_refused_before_anything_is_asked(tmp_path):
    _, _, document = admission_of(tmp_path, lambda: whole(rate_body()), request={"pins": ["00" * 32]})
    assert (document.refusal.code, document.observation.request) == ("certificate", None)


def test_parameters_that_the_definition_does_not_take_are_a_signed_refusal(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            world = data_world(tmp_path / "node", registry_of(definition_of(source, AUTHORITY)))
            shown = await world.service.admit("anybody", "rates", {"pair": "../../admin"})
            await world.close()
            return source.requests, parse_admission(shown.document)

    requests, document = asyncio.run(work())
    assert (requests, document.refusal.code) == ([], "parameters")


class Written:
    """A log that takes what it is handed."""

    def __init__(self):
        self.entries = []

    async def append(self, entries):
        self.entries += entries
        return [Accepted("00" * 32, place, None) for place in range(len(entries))]


def test_what_was_admitted_is_handed_to_the_log(tmp_path):
    world, shown, _ = admission_of(tmp_path, lambda: whole(rate_body()))
    storage = FileStorage(tmp_path / "node")
    records, log = WriteAheadLog(storage, "wal", 1 << 20), Written()
    delivery = Delivery(records, storage, world.service.kept, log, SystemClock(), MemoryMetrics())
    assert asyncio.run(delivery.deliver())
    assert log.entries == [shown.envelope]
    assert not asyncio.run(delivery.deliver())


# --- what nobody could read -------------------------------------------------------------------------------------------

WIDE = "\U0001f4a7" * 65_536
TEXT = {"type": "text", "minimum": None, "maximum": None}


def test_a_value_that_no_document_can_hold_is_refused_and_the_node_starts_again(tmp_path):
    answer = json.dumps({"rate": WIDE, "at": time_encode(dt.datetime.now(dt.UTC))}).encode()
    world, shown, document = admission_of(tmp_path, lambda: whole(answer), expect=TEXT)
    assert (document.refusal.code, document.observation.extraction) == ("size", None)
    again = data_world(tmp_path / "node", world.service.registry)
    assert again.service.kept.find(parse_envelope(shown.envelope).digest, shown.salt) == shown


@pytest.mark.parametrize("name", ["pair_", "a__b"])
def test_a_name_that_no_document_can_hold_is_none_of_a_parameter(tmp_path, name):
    async def work():
        async with server(tmp_path).listening() as source:
            world = data_world(tmp_path / "node", registry_of(definition_of(source, AUTHORITY)))
            with pytest.raises(HoldfastError) as caught:
                await world.service.admit("anybody", "rates", {name: "x"})
            await world.close()
            return len(world.service.kept), caught.value.code

    assert asyncio.run(work()) == (0, "sources.value")


def test_a_quorum_that_no_document_can_hold_is_none(tmp_path):
    answer = json.dumps({"rate": WIDE[:30_000], "at": time_encode(dt.datetime.now(dt.UTC))}).encode()

    async def work():
        async with server(tmp_path, answer=lambda: whole(answer)).listening() as source:
            found = [definition_of(source, AUTHORITY, id=name, expect=TEXT) for name in ("one", "two", "three")]
            world = data_world(tmp_path / "node", registry_of(*found))
            queries = [Query(item.id, {}, None) for item in found]
            with pytest.raises(HoldfastError) as caught:
                await world.service.admit_quorum("anybody", queries, Rule("exact", 2))
            await world.close()
            return world, caught.value.code

    world, code = asyncio.run(work())
    assert code == "admission.size"
    assert len(data_world(tmp_path / "node", world.service.registry).service.kept) == 3


# --- tampering and replaying ------------------------------------------------------------------------------------------


def test_a_byte_changed_in_body_extraction_or_time_is_caught(tmp_path):
    world, shown, document = admission_of(tmp_path, lambda: whole(rate_body()))
    kept = world.service.kept
    assert replay(shown, kept.bodies.get)["text"] == "1.25"
    seen = document.observation
    statement = parse_statement(parse_envelope(shown.envelope))

    def forged(**change):
        return dataclasses.replace(document, observation=dataclasses.replace(seen, **change)).raw

    value = dataclasses.replace(seen.extraction.value, text="1.26")
    later = dataclasses.replace(seen.times, source=seen.times.source + dt.timedelta(milliseconds=1))
    body = dataclasses.replace(seen.http, body_digest="00" * 32)
    for change in (
        {"extraction": dataclasses.replace(seen.extraction, value=value)},
        {"times": later},
        {"http": body},
    ):
        raw = forged(**change)
        with pytest.raises(HoldfastError) as caught:
            verify_admission(statement, raw, shown.salt)
        assert caught.value.code == "admission.record"
        with pytest.raises(HoldfastError) as caught:
            replay(dataclasses.replace(shown, document=raw), kept.bodies.get)
        assert caught.value.code in ("source.replay", "source.body_gone")


def test_a_body_that_was_changed_on_disk_is_not_replayed(tmp_path):
    world, shown, _ = admission_of(tmp_path, lambda: whole(rate_body()))
    [path] = (tmp_path / "node" / "bodies").iterdir()
    path.write_bytes(path.read_bytes().replace(b"1.25", b"1.26"))
    with pytest.raises(HoldfastError) as caught:
        replay(shown, world.service.kept.bodies.get)
    assert caught.value.code == "source.body_gone"


def test_what_was_admitted_is_there_after_a_restart_for_whoever_has_its_salt(tmp_path):
    world, shown, document = admission_of(tmp_path, lambda: whole(rate_body()))
    digest = parse_envelope(shown.envelope).digest
    again = data_world(tmp_path / "node", world.service.registry)
    assert again.service.kept.find(digest, shown.salt) == shown
    assert again.service.replay(digest, shown.salt)["equal"]
    for wrong in [(digest, bytes(32)), ("00" * 32, shown.salt)]:
        with pytest.raises(HoldfastError) as caught:
            again.service.kept.find(*wrong)
        assert caught.value.code == "admission.unknown"
    assert again.service.kept.recent["rates"][0].at == document.at


# --- who may ask ------------------------------------------------------------------------------------------------------


def app_of(world):
    return create_app(
        world.service,
        identity=dict,
        callers=[
            Caller("alpha", Secret("alpha-key", "env:A")),
            Caller("beta", Secret("beta-key", "env:B")),
            Caller("gateway", Secret("gateway-key", "env:G"), reads_for_others=True),
        ],
        readiness=dict,
        lifespan=None,
        metrics=lambda: b"",
    )


def test_over_http_a_workspace_asks_what_it_may_and_reads_it_again(tmp_path):
    async def prepare():
        async with server(tmp_path).listening() as source:
            hidden = definition_of(source, AUTHORITY, id="hidden", workspaces=["beta"])
            return definition_of(source, AUTHORITY), hidden

    mine, hidden = asyncio.run(prepare())
    world = data_world(tmp_path / "node", registry_of(mine, hidden))
    client = TestClient(app_of(world))
    key = {"authorization": "Bearer alpha-key"}
    assert client.get("/v1/sources").status_code == 401
    assert client.get("/v1/sources", headers={"authorization": "Bearer x"}).json()["error"]["code"] == "auth.wrong"
    listed = client.get("/v1/sources", headers=key).json()
    assert [item["id"] for item in listed["sources"]] == ["rates"]
    asked = client.post("/v1/admit", headers=key, json={"source": "hidden", "parameters": {}})
    assert (asked.status_code, asked.json()["error"]["code"]) == (404, "sources.unknown")
    for wrong in ({"source": "rates"}, {"source": "rates", "parameters": {}, "more": 1}, {"quorum": {}}, {}):
        assert client.post("/v1/admit", headers=key, json=wrong).json()["error"]["code"] == "source.question"
    given = client.post("/v1/admit", headers=key, json={"source": "rates", "parameters": {}}).json()
    assert {"value", "statement", "envelope", "lane"} <= given.keys()
    assert (given["value"], given["lane"]["state"]) == (None, "unknown")
    shown = parse_presented(given)  # nobody listens there any more: a signed refusal
    assert parse_admission(shown.document).refusal.code == "unreachable"
    where = f"/v1/admissions/{given['digest']}"
    assert client.get(where).status_code == 401
    assert client.get(where, headers={"x-holdfast-capability": "00" * 32}).status_code == 404
    assert client.get(where, headers={"x-holdfast-capability": given["salt"]}).json() == given
    one = client.get("/v1/sources/rates", headers=key).json()
    assert [item["outcome"] for item in one["admissions"]] == ["unreachable"]
    tried = client.post("/v1/try", headers=key, json={"source": "rates", "parameters": {}}).json()
    assert parse_admission(tried["document"].encode()).event == "refused"
    assert len(world.service.kept) == 1
    asyncio.run(world.close())


def test_a_digest_alone_is_enough_for_whoever_asked_and_for_a_gateway_that_reads_for_it(tmp_path):
    world, shown, _ = admission_of(tmp_path, lambda: whole(rate_body()), workspace="alpha")
    client = TestClient(app_of(world))
    where = f"/v1/admissions/{parse_envelope(shown.envelope).digest}"

    def read(key, **named):
        answer = client.get(where, headers={"authorization": f"Bearer {key}", **named})
        return answer.status_code, answer.json().get("error", {}).get("code")

    of_alpha, of_beta = {"x-holdfast-workspace": "alpha"}, {"x-holdfast-workspace": "beta"}
    for refused in (
        read("beta-key"),
        read("beta-key", **of_alpha),
        read("gateway-key"),
        read("gateway-key", **of_beta),
        read("alpha-key", **of_beta),
    ):
        assert refused == (404, "admission.unknown")
    assert read("stranger") == (401, "auth.wrong")
    assert read("alpha-key") == read("gateway-key", **of_alpha) == (200, None)
    again = data_world(tmp_path / "node", world.service.registry)
    assert again.service.kept.find_of("alpha", parse_envelope(shown.envelope).digest) == shown


def test_a_source_is_asked_no_more_often_than_it_says(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            definition = definition_of(source, AUTHORITY, rate={"requests": 2, "seconds": 60})
            world = data_world(tmp_path / "node", registry_of(definition))
            for _ in range(2):
                await world.service.admit("anybody", "rates", {})
            with pytest.raises(HoldfastError) as caught:
                await world.service.admit("somebody else", "rates", {})
            await world.close()
            return len(source.requests), caught.value

    asked, error = asyncio.run(work())
    assert (asked, error.code, error.status) == (2, "source.rate", 429)


def test_one_workspace_cannot_use_up_a_node(tmp_path):
    async def work():
        async with server(tmp_path).listening() as source:
            definition = definition_of(source, AUTHORITY)
        windows = Windows(SystemClock(), 1)
        windows.take(definition, "alpha")
        windows.take(definition, "beta")
        with pytest.raises(HoldfastError) as caught:
            windows.take(definition, "alpha")
        return caught.value.code

    assert asyncio.run(work()) == "source.rate"


# --- quorums ----------------------------------------------------------------------------------------------------------


class Wire:
    """Carries a node's questions to another node's app, as HTTP would."""

    def __init__(self, clients):
        self.clients = clients

    async def request(self, method, url, *, body=b"", headers=None, timeout_s=0, max_bytes=0):
        found = self.clients[url.removesuffix("/v1/admit")]
        text = json.loads(body)
        shown = await found.admit("node", text["source"], text["parameters"])
        answer = {"digest": parse_envelope(shown.envelope).digest, **shown.to_json()}

        class Answer:
            status = 200
            body = canonical.encode(answer)

        return Answer()


async def quorum_of(tmp_path, rates, rule, *, liar=False):
    """Two nodes, a source for each of which the second says what it likes."""
    first, second = (server(tmp_path, answer=lambda rate=rate: whole(rate_body(rate))) for rate in rates)
    async with first.listening(), second.listening():
        other = data_world(tmp_path / "b", registry_of(definition_of(second, AUTHORITY)), name="data-b")
        signer = data_world(tmp_path / "c", registry_of(definition_of(second, AUTHORITY)), name="data-c")
        document = signer.document if liar else other.document
        peers = Peers(Wire({"b": other.service}), {"b": Peer("b", Secret("k", "env:K"), document)})
        world = data_world(tmp_path / "a", registry_of(definition_of(first, AUTHORITY)), peers=peers)
        queries = [Query("rates", {}, None), Query("rates", {}, "b")]
        try:
            return world, await world.service.admit_quorum("anybody", queries, rule)
        finally:
            for each in (world, other, signer):
                await each.close()


def test_two_nodes_that_agree_give_their_median(tmp_path):
    world, shown = asyncio.run(quorum_of(tmp_path, ["1.25", "1.27"], Rule("spread", 2, "0.05")))
    document = open_presented(shown, world.document)[1]
    assert (document.event, document.value.text, len(shown.members)) == ("combined", "1.26", 2)


def test_two_nodes_that_disagree_show_their_disagreement_and_no_value(tmp_path):
    world, shown = asyncio.run(quorum_of(tmp_path, ["1.25", "2.25"], Rule("spread", 2, "0.05")))
    document = open_presented(shown, world.document)[1]
    assert (document.quorum.outcome.agreed, document.value, document.quorum.outcome.spread) == (False, None, "1")
    assert sorted(item.value.text for item in document.quorum.observations) == ["1.25", "2.25"]


def test_a_peer_that_signs_with_another_key_is_not_in_the_quorum(tmp_path):
    _, shown = asyncio.run(quorum_of(tmp_path, ["1.25", "1.27"], Rule("spread", 2, "0.05"), liar=True))
    document = parse_admission(shown.document)
    assert (len(shown.members), document.value) == (1, None)


def test_the_demonstration_answers_zones_and_exchanges_and_nothing_else():
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    answer = answer_question(b"GET /clock?zone=utc%2B1 HTTP/1.1\r\nhost: localhost\r\n\r\n", now)
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (told["now"], told["at"], told["demonstration"]) == ("2026-01-01T01:00:00.000+01:00", time_encode(now), True)
    quoted = [answer_question(b"GET /price?exchange=%b HTTP/1.1\r\n\r\n" % name, now) for name in (b"north", b"south")]
    assert [json.loads(item.partition(b"\r\n\r\n")[2])["price"] for item in quoted] == ["1.0890", "1.0897"]
    assert answer_question(b"GET /price?exchange=west HTTP/1.1\r\n\r\n", now).startswith(b"HTTP/1.1 404")
    assert answer_question(b"GET /etc HTTP/1.1\r\n\r\n", now).startswith(b"HTTP/1.1 404")
