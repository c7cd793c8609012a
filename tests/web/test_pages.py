"""The pages and their JSON twins, over real sockets in front of fake nodes."""

from __future__ import annotations

import asyncio
import gzip
import html
import json
import posixpath
import re
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest

from holdfast.ports.settings import Secret
from holdfast.verifier.lanes import LANES
from holdfast.web.assets import FOLDER, Asset, Assets
from tests.helpers.fake_gateway import ANSWER, FakeGateway, four_nodes
from tests.helpers.panel import PanelWorld, open_panel

pytestmark = pytest.mark.enable_socket

ACCESS_KEY = Secret("correct horse battery staple", "env:ACCESS")
UNKNOWN = "0192a3b4-c5d6-4e8f-9a0b-1c2d3e4f5a6b"
PAGES = ("/", "/chat", "/rounds", "/rounds/7", "/about", "/nothing", f"/runs/{UNKNOWN}")


def visible(page: str) -> str:
    """The text of a page, roughly as it reads."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


class Tags(HTMLParser):
    """Collects tags with their attributes, and complains about elements that do not nest."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> list[tuple[str, dict[str, str | None]]]:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags.tags


async def settled_run(panel: PanelWorld, stages: int = 6) -> str:
    run = panel.gateway.add_run()
    run.answer = "Because it holds."
    for _ in range(stages):
        await panel.gateway.advance(run)
    return run.run


# ---- who gets in --------------------------------------------------------------------------------------------------


def test_another_host_name_gets_nothing_but_a_refusal():
    async def check() -> None:
        async with open_panel() as panel:
            status, body = await panel.get("/index.json", headers={"host": "evil.example"})
            assert status == 421
            assert json.loads(body)["error"]["code"] == "panel.host"

    asyncio.run(check())


def test_probes_are_answered_under_any_name():
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            assert (await panel.get("/healthz", headers={"host": "10.0.0.7"}))[0] == 200

    asyncio.run(check())


@pytest.mark.parametrize(
    "path", ["/index.json", f"/runs/{UNKNOWN}.json", "/rounds.json", f"/events?run={UNKNOWN}", "/metrics"]
)
def test_without_a_sign_in_programs_get_the_one_error_shape(path):
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            status, body = await panel.get(path, accept="application/json")
            assert status == 401
            assert json.loads(body)["error"]["code"] == "panel.sign_in"

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/", "/rounds", "/about", f"/runs/{UNKNOWN}"])
def test_without_a_sign_in_people_are_asked_to_sign_in(path):
    async def check() -> None:
        async with (
            open_panel(access_key=ACCESS_KEY) as panel,
            panel.http.get(panel.url + path, headers={"accept": "text/html"}, allow_redirects=False) as answer,
        ):
            assert answer.status == 303
            assert answer.headers["location"] == f"/sign-in?next={path}"

    asyncio.run(check())


def test_the_right_key_opens_the_panel_and_leads_back():
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            form = {"key": ACCESS_KEY.reveal(), "next": "/rounds"}
            target, headers = panel.url + "/sign-in", {"origin": panel.url}
            async with panel.http.post(target, data=form, headers=headers, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["location"]) == (303, "/rounds")
                assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
            status, page = await panel.get("/rounds")
            assert status == 200
            assert "Sign out" in visible(page)
            form = {"token": await panel.token()}
            async with panel.http.post(panel.url + "/sign-out", data=form, headers=headers) as answer:
                assert answer.url.path == "/sign-in"
            assert (await panel.get("/rounds"))[0] == 303

    asyncio.run(check())


@pytest.mark.parametrize(
    ("form", "origin", "code"),
    [
        ({"key": "wrong"}, None, "not the access key"),
        ({"key": ACCESS_KEY.reveal()}, "http://evil.example", "did not come from a page of this panel"),
    ],
)
def test_a_wrong_key_or_a_foreign_form_does_not_sign_in(form, origin, code):
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            headers = {"origin": origin or panel.url}
            async with panel.http.post(panel.url + "/sign-in", data=form, headers=headers) as answer:
                assert answer.status == 403
                assert "set-cookie" not in answer.headers
                assert code in visible(await answer.text())

    asyncio.run(check())


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/sign-in", ""]
)
def test_signing_in_never_leads_to_another_site(target):
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            form, headers = {"key": ACCESS_KEY.reveal(), "next": target}, {"origin": panel.url}
            url = panel.url + "/sign-in"
            async with panel.http.post(url, data=form, headers=headers, allow_redirects=False) as answer:
                assert answer.headers["location"] == "/"

    asyncio.run(check())


def test_a_program_reads_with_the_access_key_and_changes_nothing_with_it():
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            headers = {"authorization": f"Bearer {ACCESS_KEY.reveal()}"}
            assert (await panel.get("/index.json", headers=headers))[0] == 200
            assert (await panel.get("/index.json", headers={"authorization": "Bearer wrong"}))[0] == 403
            async with panel.http.post(panel.url + "/ask", json={}, headers=headers) as answer:
                assert answer.status == 401

    asyncio.run(check())


def test_what_is_refused_and_what_is_silent_is_counted():
    async def check() -> None:
        async with open_panel(nodes=four_nodes(), log="http://127.0.0.1:1") as panel:
            await panel.get("/", headers={"host": "evil.example"})
            await panel.get("/rounds")
            async with await ask(panel) as answer:
                await answer.read()
            text = (await panel.get("/metrics"))[1]
            assert 'holdfast_panel_refusals_total{code="panel.host"} 1.0' in text
            assert 'holdfast_panel_node_failures_total{code="panel.silent",node="log"} 1.0' in text
            assert 'holdfast_panel_questions_total{outcome="answered"} 1.0' in text
            assert "holdfast_panel_streams 0.0" in text

    asyncio.run(check())


# ---- changes come from our own pages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drop", "change", "code"),
    [
        ("origin", {}, "panel.origin"),
        ("", {"origin": "http://evil.example"}, "panel.origin"),
        ("", {"origin": "null"}, "panel.origin"),
        ("", {"sec-fetch-site": "cross-site"}, "panel.origin"),
        ("x-holdfast-token", {}, "panel.token"),
        ("", {"x-holdfast-token": "0" * 64}, "panel.token"),
    ],
)
def test_a_question_from_elsewhere_never_reaches_the_gateway(drop, change, code):
    async def check() -> None:
        async with open_panel() as panel:
            headers = {**await panel.change_headers(), **change}
            headers.pop(drop, None)
            body = {"model": "holdfast-responder", "messages": [{"role": "user", "content": "Hello"}]}
            async with panel.http.post(panel.url + "/ask", json=body, headers=headers) as answer:
                assert answer.status == 403
                assert (await answer.json())["error"]["code"] == code
            assert panel.gateway.asked == []

    asyncio.run(check())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model":1,"messages":[]}',
        b'{"model":"x","messages":[]}',
        b'{"model":"x","messages":[{"role":"user","content":" "}]}',
        b'{"model":"x","messages":[{"role":"tool","content":"a"}]}',
        b'{"model":"x","messages":[{"role":"assistant","content":"a"}]}',
        b'{"model":"x","messages":[{"role":"user","content":"a"}],"tools":[]}',
        b'{"model":"x","model":"y","messages":[{"role":"user","content":"a"}]}',
    ],
)
def test_a_malformed_question_gets_the_one_error_shape(body):
    async def check() -> None:
        async with open_panel() as panel:
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/ask", data=body, headers=headers) as answer:
                assert answer.status == 400
                assert set((await answer.json())["error"]) == {"message", "type", "param", "code", "hint"}
            assert panel.gateway.asked == []

    asyncio.run(check())


def test_a_question_beyond_the_limit_is_refused():
    async def check() -> None:
        async with open_panel(max_ask_bytes=2048) as panel:
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/ask", data=b"x" * 4096, headers=headers) as answer:
                assert answer.status == 413

    asyncio.run(check())


# ---- asking ---------------------------------------------------------------------------------------------------------


async def ask(panel: PanelWorld) -> aiohttp.ClientResponse:
    body = {"model": "holdfast-responder", "messages": [{"role": "user", "content": "Hello"}]}
    return await panel.http.post(panel.url + "/ask", json=body, headers=await panel.change_headers())


def test_an_answer_streams_piece_by_piece():
    async def check() -> None:
        async with open_panel(FakeGateway(piece_s=0.01)) as panel:
            arrived: list[float] = []
            text = ""
            async with await ask(panel) as answer:
                assert answer.headers["x-holdfast-run"] in panel.gateway.runs
                assert answer.headers["x-accel-buffering"] == "no"
                async for line in answer.content:
                    if line.startswith(b"data: {"):
                        arrived.append(time.monotonic())
                        text += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            assert text == ANSWER
            assert arrived[-1] - arrived[0] > 0.3

    asyncio.run(check())


def test_the_runs_secret_reaches_the_page_that_asked_and_no_other():
    async def check() -> None:
        async with open_panel() as panel:
            async with await ask(panel) as answer:
                headers, body = answer.headers, await answer.text()
            run = next(iter(panel.gateway.runs.values()))
            assert headers["x-holdfast-capability"] == run.capability
            assert '"run"' in body
            for path in ("/", "/index.json", f"/runs/{run.run}", f"/runs/{run.run}.json", "/chat"):
                async with panel.http.get(panel.url + path) as other:
                    assert run.capability not in await other.text(), path
                    assert "x-holdfast-capability" not in other.headers, path

    asyncio.run(check())


def test_an_answers_events_reach_the_page_byte_for_byte():
    async def check() -> None:
        sent: list[bytes] = []

        def keep(events: list[bytes]) -> list[bytes]:
            sent.extend(text.replace(b'"model"', b'"n": 1.50,  "model"') for text in events)
            return sent

        async with open_panel() as panel:
            panel.gateway.alter = keep
            async with await ask(panel) as answer:
                body = await answer.read()
        assert body == b"".join(b"data: " + text + b"\n\n" for text in [*sent, b"[DONE]"])

    asyncio.run(check())


def test_a_reader_who_leaves_ends_the_answer_upstream():
    async def check() -> None:
        async with open_panel(FakeGateway(piece_s=0.02)) as panel:
            answer = await ask(panel)
            await answer.content.readline()
            answer.close()
            async with asyncio.timeout(30):
                while not panel.gateway.disconnected or panel.service.open_streams:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(check())


def test_an_answer_that_breaks_off_says_so_in_its_last_event():
    async def check() -> None:
        gateway = FakeGateway()
        gateway.break_after = 4
        async with open_panel(gateway) as panel:
            async with await ask(panel) as answer:
                events = (await answer.text()).strip().split("\n\n")
            assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "panel.broken_off"

    asyncio.run(check())


def test_the_gateways_refusal_arrives_in_its_own_words():
    async def check() -> None:
        async with open_panel() as panel:
            body = {"model": "none", "messages": [{"role": "user", "content": "Hello"}]}
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/ask", json=body, headers=headers) as answer:
                assert answer.status == 404
                assert (await answer.json())["error"]["code"] == "model.unknown"

    asyncio.run(check())


def test_a_run_that_failed_at_once_can_still_be_opened():
    async def check() -> None:
        gateway = FakeGateway()
        gateway.fail = True
        async with open_panel(gateway) as panel, await ask(panel) as answer:
            assert answer.status == 502
            assert (await answer.json())["error"]["code"] == "upstream.status"
            assert answer.headers["x-holdfast-run"] in gateway.runs

    asyncio.run(check())


def test_more_streams_than_allowed_are_refused_until_one_ends():
    async def check() -> None:
        async with open_panel(FakeGateway(piece_s=0.05), max_streams=1) as panel:
            first = await ask(panel)
            await first.content.readline()
            async with await ask(panel) as second:
                assert second.status == 503
                assert (await second.json())["error"]["code"] == "panel.streams"
            first.close()
            async with asyncio.timeout(30):
                while panel.service.open_streams:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            async with await ask(panel) as third:
                assert third.status == 200

    asyncio.run(check())


def test_asking_works_without_scripts_and_goes_on():
    async def check() -> None:
        async with open_panel() as panel:
            headers = {"origin": panel.url}
            form = {
                "prompt": "What <b>is</b> it?",
                "model": "holdfast-responder",
                "token": await panel.token(),
                "history": "",
            }
            async with panel.http.post(panel.url + "/", data=form, headers=headers) as answer:
                assert answer.status == 200
                page = await answer.text()
            assert "&lt;b&gt;is&lt;/b&gt;" in page
            assert "A holdfast is the part of a kelp" in visible(page)
            history = re.search(r'name="history" value="([^"]*)"', page)
            assert history is not None
            form = {**form, "prompt": "And then?", "history": html.unescape(history[1])}
            async with panel.http.post(panel.url + "/", data=form, headers=headers) as answer:
                assert visible(await answer.text()).count("A holdfast is the part") == 2
            assert [message["role"] for message in panel.gateway.asked[-1]["messages"]] == ["user", "assistant", "user"]

    asyncio.run(check())


@pytest.mark.parametrize(
    "history", ["{", "{}", "[1]", '[{"question":"a"}]', '[{"question":"a","answer":"b","run":"../x"}]']
)
def test_a_damaged_history_in_the_form_is_refused(history):
    async def check() -> None:
        async with open_panel() as panel:
            form = {"prompt": "a", "model": "holdfast-responder", "token": await panel.token(), "history": history}
            async with panel.http.post(panel.url + "/", data=form, headers={"origin": panel.url}) as answer:
                assert answer.status in {400, 404}
            assert panel.gateway.asked == []

    asyncio.run(check())


# ---- live lanes -----------------------------------------------------------------------------------------------------


async def next_event(response: aiohttp.ClientResponse, name: str) -> dict[str, object]:
    async with asyncio.timeout(30):
        while True:
            line = await response.content.readline()
            assert line, "the stream ended"
            if line == f"event: {name}\n".encode():
                return json.loads((await response.content.readline())[6:])


def test_lanes_change_live_for_several_runs_on_one_stream():
    async def check() -> None:
        async with open_panel() as panel:
            first, second = panel.gateway.add_run(), panel.gateway.add_run()
            async with panel.http.get(f"{panel.url}/events?run={first.run}&run={second.run}") as stream:
                assert stream.content_type == "text/event-stream"
                seen = {(await next_event(stream, "run"))["run"] for _ in range(2)}
                assert seen == {first.run, second.run}
                await panel.gateway.advance(second)
                event = await next_event(stream, "run")
                assert event["run"] == second.run
                assert event["lanes"]["bytes"]["state"] == "proven"

    asyncio.run(check())


def test_a_closed_stream_leaves_nothing_open_upstream():
    async def check() -> None:
        async with open_panel() as panel:
            run = panel.gateway.add_run()
            async with panel.http.get(f"{panel.url}/events?run={run.run}") as stream:
                await next_event(stream, "run")
                assert panel.gateway.followers == 1
            async with asyncio.timeout(30):
                while panel.gateway.followers or panel.service.open_streams:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    asyncio.run(check())


def test_a_silent_gateway_is_told_on_the_stream_and_it_goes_on():
    async def check() -> None:
        gateway = FakeGateway()
        async with open_panel(gateway) as panel:
            run = gateway.add_run()
            gateway.down = True
            async with panel.http.get(f"{panel.url}/events?run={run.run}") as stream:
                trouble = await next_event(stream, "trouble")
                assert trouble == {"run": run.run, "says": "the gateway is being restarted", "over": False}
                gateway.down = False
                assert (await next_event(stream, "run"))["run"] == run.run

    asyncio.run(check())


def test_an_unknown_run_is_told_once_and_not_asked_for_again():
    async def check() -> None:
        async with open_panel() as panel, panel.http.get(f"{panel.url}/events?run={UNKNOWN}") as stream:
            assert (await next_event(stream, "trouble"))["over"] is True

    asyncio.run(check())


@pytest.mark.parametrize("query", ["", "?run=", "?run=nope", "?" + "&".join([f"run={UNKNOWN}"] * 13)])
def test_a_stream_of_nothing_or_of_too_much_is_refused(query):
    async def check() -> None:
        async with open_panel() as panel:
            assert (await panel.get("/events" + query))[0] in {400, 404}

    asyncio.run(check())


# ---- reading --------------------------------------------------------------------------------------------------------


def test_the_page_of_a_run_can_be_read_without_scripts():
    async def check() -> None:
        async with open_panel() as panel:
            run = await settled_run(panel)
            status, page = await panel.get(f"/runs/{run}")
            text = visible(page)
            assert status == 200
            for lane in panel.gateway.runs[run].lanes.values():
                assert lane["says"] in text
                assert lane["does_not_say"] in text
                assert all(digest in page for digest in lane["evidence"])
            assert "ahead of its proof" in text
            assert f"holdfast verify holdfast-{run}.json --trust trust.json" in text
            assert f"/runs/{run}/bundle" in page

    asyncio.run(check())


def test_what_each_hop_could_see_stands_in_a_table_of_the_privacy_lane_alone():
    seen = {"identity": "yes", "plaintext": "no", "sizes": "yes", "timing": "unknown"}
    hops = [{"hop": "relay", "node": "ab" * 32, **seen}, {"hop": "panel", "node": None, **seen}]

    async def check() -> None:
        async with open_panel() as panel:
            run = await settled_run(panel)
            before = (await panel.get(f"/runs/{run}"))[1]
            assert before.count('class="lane-hops" hidden') == 1  # nothing is told yet; scripts may fill it
            panel.gateway.runs[run].lanes["privacy"]["hops"] = hops
            _, page = await panel.get(f"/runs/{run}")
            table = page.partition('class="lane-hops"')[2].partition("</table>")[0]
            assert visible(table).split()[-11:] == [
                "relay", "ab" * 6, "yes", "no", "yes", "unknown", "panel", "yes", "no", "yes", "unknown",
            ]  # fmt: skip
            labels = re.findall(r'data-label="(\w+)"', table)
            assert (
                labels == ["Hop", "identity", "plaintext", "sizes", "timing"] * 2
            )  # on a phone each stands for itself
            assert page.count('class="lane-hops"') == 1
            twin = json.loads((await panel.get(f"/runs/{run}.json"))[1])
            assert twin["lanes"]["privacy"]["hops"] == hops

    asyncio.run(check())


def test_a_payment_whose_document_is_shown_is_told_line_by_line():
    lines = ["Taken: 70 base units (0.00007 of <b>).", "It is no evidence of: computation."]

    async def check() -> None:
        async with open_panel() as panel:
            run = await settled_run(panel)
            assert "Payments" not in visible((await panel.get(f"/runs/{run}"))[1])
            panel.gateway.runs[run].payments = [{"digest": "ab" * 32, "lines": lines}]
            page = (await panel.get(f"/runs/{run}"))[1]
            text = visible(page)
            assert "What was paid for, and what that does not show" in text
            assert "It is no evidence of: computation." in text
            assert "of &lt;b&gt;" in page
            twin = json.loads((await panel.get(f"/runs/{run}.json"))[1])
            assert twin["payments"] == [{"digest": "ab" * 32, "lines": lines}]

    asyncio.run(check())


def test_the_twin_of_a_run_has_its_lanes_in_order_and_no_value_for_all_of_them():
    async def check() -> None:
        async with open_panel() as panel:
            run = await settled_run(panel)
            value = json.loads((await panel.get(f"/runs/{run}.json"))[1])
            assert list(value["lanes"]) == list(LANES)
            beside = {"created", "kind", "outcome", "chronology", "trust", "policy", "known"}
            assert set(value) == {"run", "lanes", *beside}

    asyncio.run(check())


def test_texts_are_shown_for_runs_asked_here_and_for_no_others():
    async def check() -> None:
        async with open_panel() as panel:
            async with await ask(panel) as answer:
                mine = answer.headers["x-holdfast-run"]
                await answer.read()
            other = await settled_run(panel)
            assert "A holdfast is the part of a kelp" in visible((await panel.get(f"/runs/{mine}"))[1])
            text = visible((await panel.get(f"/runs/{other}"))[1])
            assert "Because it holds" not in text
            assert "needs the run's capability" in text

    asyncio.run(check())


def test_the_bundle_is_the_gateways_bytes_as_a_file():
    async def check() -> None:
        async with open_panel() as panel:
            run = await settled_run(panel)
            async with panel.http.get(f"{panel.url}/runs/{run}/bundle") as answer:
                assert answer.headers["content-disposition"] == f'attachment; filename="holdfast-{run}.json"'
                assert (await answer.json())["run"] == run

    asyncio.run(check())


def test_recent_runs_show_eleven_shapes_each_and_their_words():
    async def check() -> None:
        async with open_panel() as panel:
            await settled_run(panel)
            page = (await panel.get("/"))[1]
            listed = page[page.index('class="sheet runs"') : page.index("</ul>")]
            assert listed.count('class="shape"') == len(LANES)
            assert "bytes proven, artifact unknown" in listed
            value = json.loads((await panel.get("/index.json"))[1])
            assert value["models"] == panel.gateway.models
            assert list(value["runs"][0]["lanes"]) == list(LANES)

    asyncio.run(check())


def test_rounds_show_who_voted_and_who_does_not_answer():
    async def check() -> None:
        nodes = four_nodes()
        async with open_panel(nodes=nodes) as panel:
            value = json.loads((await panel.get("/rounds.json"))[1])
            assert [item["number"] for item in value["rounds"]] == [8, 7, 6, 5, 4, 3, 2, 1]
            assert list(value["rounds"][1]["votes"]) == [nodes[0].voter, nodes[2].voter]
            nodes[1].down = True
            text = visible((await panel.get("/rounds"))[1])
            assert "full-2 not now" in text
            assert "full-1 waiting for the votes of others" in text

    asyncio.run(check())


def test_one_round_shows_each_nodes_own_account():
    async def check() -> None:
        nodes = four_nodes()
        nodes[3].rounds[7]["candidate"]["root"] = "ee" * 32
        async with open_panel(nodes=nodes) as panel:
            page = (await panel.get("/rounds/7"))[1]
            assert "as full-1, full-2, full-3 tell it" in visible(page)
            assert "as full-4 tells it" in visible(page)
            assert "ee" * 32 in page
            assert (await panel.get("/rounds/99"))[0] == 404

    asyncio.run(check())


def test_a_round_lists_its_verdicts_with_their_codes():
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            page = (await panel.get("/rounds/6"))[1]
            assert visible(page).count("refuted:statement.signature") == 1
            value = json.loads((await panel.get("/rounds/6.json"))[1])
            assert [line["index"] for line in value["verdicts"]] == [31, 32, 33, 34, 35, 36]

    asyncio.run(check())


def test_verdicts_that_are_not_the_candidates_are_taken_from_another_node_or_not_shown():
    async def check() -> None:
        nodes = four_nodes()
        nodes[0].forgery = "99 " + "00" * 32 + " ok\n"
        async with open_panel(nodes=nodes) as panel:
            assert len(json.loads((await panel.get("/rounds/6.json"))[1])["verdicts"]) == 6
            for node in nodes:
                node.forgery = nodes[0].forgery
            assert "verdicts" not in json.loads((await panel.get("/rounds/6.json"))[1])

    asyncio.run(check())


def test_rounds_stand_beside_what_the_log_holds():
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            text = visible((await panel.get("/rounds"))[1])
            assert "The log holds 49 entries" in text
            assert "Final rounds cover 37 of them." in text
        async with open_panel(nodes=four_nodes(), log="http://127.0.0.1:1") as panel:
            assert "The log does not answer." in visible((await panel.get("/rounds"))[1])

    asyncio.run(check())


@pytest.mark.parametrize("number", ["-1", "01", "x", "1.5", "٣", "9" * 30])
def test_a_round_without_a_proper_number_is_not_found(number):
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            assert (await panel.get(f"/rounds/{number}"))[0] == 404
            assert (await panel.get(f"/rounds/{number}.json"))[0] == 404

    asyncio.run(check())


@pytest.mark.parametrize("run", ["x", UNKNOWN, UNKNOWN.upper(), "..%2f..%2fv1%2fmodels", UNKNOWN + ".json"])
def test_an_unknown_run_is_not_found(run):
    async def check() -> None:
        async with open_panel() as panel:
            status, page = await panel.get(f"/runs/{run}")
            assert status == 404
            assert "<h1>" in page or json.loads(page)["error"]

    asyncio.run(check())


def test_the_first_page_stands_when_the_gateway_does_not():
    async def check() -> None:
        async with open_panel(gateway=None, workspace_key=Secret("wrong key", "env:W")) as panel:
            status, page = await panel.get("/")
            assert status == 200
            assert "This key is not known here." in visible(page)
        async with open_panel(read_timeout_ms=200) as panel:
            panel.gateway.down = True
            status, page = await panel.get("/")
            assert status == 200
            assert "The gateway is being restarted." in visible(page)
            assert 'id="prompt"' in page

    asyncio.run(check())


def test_empty_states_say_what_would_be_there():
    async def check() -> None:
        async with open_panel() as panel:
            assert "No runs yet" in visible((await panel.get("/"))[1])
            assert "No full nodes are configured" in visible((await panel.get("/rounds"))[1])

    asyncio.run(check())


def test_what_a_node_says_is_never_markup():
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
            run = panel.gateway.add_run()
            run.outcome = attack
            for lane in run.lanes.values():
                lane.update(says=attack, does_not_say=attack, evidence=[attack])
            run.note(panel.gateway.now(), attack, attack, attack)
            panel.gateway.models = [attack]
            panel.nodes[0].doing = attack
            panel.nodes[0].rounds[7]["state"] = attack
            for path in ("/", "/chat", f"/runs/{run.run}", "/rounds", "/rounds/7"):
                tags = parse((await panel.get(path))[1])
                assert not [tag for tag, _ in tags if tag == "img"]
                assert not [attrs for tag, attrs in tags if tag == "script" and not attrs.get("src")]

    asyncio.run(check())


# ---- what every page promises -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_security_headers(path):
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:  # noqa: SIM117
            async with panel.http.get(panel.url + path, headers={"accept": "text/html"}) as answer:
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "same-origin"
                assert answer.headers["cache-control"] == "no-store"

    asyncio.run(check())


def test_scripts_and_styles_carry_what_keeps_them_scripts_and_styles_and_anything_else_what_pages_do():
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            page = (await panel.get("/verify"))[1]
            found = {name.rpartition(".")[2]: name for name in re.findall(r"/static/[0-9a-f]+/[a-z_./]+", page)}
            found["missing"] = found["js"] + ".js"
            assert found.keys() == {"js", "css", "svg", "missing"}
            for kind, path in found.items():
                async with panel.http.get(panel.url + path) as answer:
                    assert answer.headers["x-content-type-options"] == "nosniff"
                    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
                    assert ("content-security-policy" in answer.headers) == (kind in ("svg", "missing")), kind

    asyncio.run(check())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_nests_and_has_nothing_inline_and_nothing_external(path):
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            run = await settled_run(panel)
            tags = parse((await panel.get(path.replace(UNKNOWN, run)))[1])
            for tag, attributes in tags:
                assert tag != "style"
                assert "style" not in attributes
                assert not [name for name in attributes if name.startswith("on")]
                for name in ("src", "href", "action"):
                    assert (attributes.get(name) or "/").startswith(("/", "#"))
                if tag == "script":
                    assert attributes.get("src")

    asyncio.run(check())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_its_landmarks_one_heading_and_unique_ids(path):
    async def check() -> None:
        async with open_panel(nodes=four_nodes()) as panel:
            run = await settled_run(panel)
            tags = parse((await panel.get(path.replace(UNKNOWN, run)))[1])
            names = [tag for tag, _ in tags]
            assert all(names.count(tag) == 1 for tag in ("header", "nav", "main", "footer", "h1", "title"))
            ids = [attributes["id"] for _, attributes in tags if attributes.get("id")]
            assert len(ids) == len(set(ids))
            labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
            for tag, attributes in tags:
                if tag in {"textarea", "select"} or (tag == "input" and attributes.get("type") != "hidden"):
                    assert attributes.get("id") in labelled or attributes.get("aria-label")

    asyncio.run(check())


def test_the_sign_in_page_keeps_the_same_promises():
    async def check() -> None:
        async with open_panel(access_key=ACCESS_KEY) as panel:
            tags = parse((await panel.get("/sign-in"))[1])
            assert ("label", {"for": "key"}) in tags
            assert [attributes["src"] for tag, attributes in tags if tag == "script"] == [f"{Assets().prefix}/theme.js"]

    asyncio.run(check())


def test_no_page_has_a_word_for_all_lanes_together():
    words = re.compile(r"\b(verified|score|overall result:|all clear|trusted ✓|✓|✔|passed)\b", re.IGNORECASE)
    for path in [*FOLDER.rglob("*.js"), *(FOLDER.parent / "templates").glob("*.html")]:
        assert words.search(path.read_text()) is None, path


def test_static_files_are_kept_for_ever_under_a_name_of_their_bytes():
    async def check() -> None:
        async with open_panel() as panel:
            page = (await panel.get("/"))[1]
            for url in set(re.findall(r'"(/static/[^"]+)"', page)):
                async with panel.http.get(panel.url + url) as answer:
                    assert answer.status == 200
                    assert "immutable" in answer.headers["cache-control"]
            assert (await panel.get("/static/000000000000/base.css"))[0] == 404
            assert (await panel.get(f"{Assets().prefix}/../app.py"))[0] == 404
            assert (await panel.get(f"{Assets().prefix}/..%2fapp.py"))[0] == 404

    asyncio.run(check())


def test_a_changed_file_changes_the_name(tmp_path: Path):
    (tmp_path / "a.css").write_text("a")
    before = Assets(tmp_path).version
    (tmp_path / "a.css").write_text("b")
    assert Assets(tmp_path).version != before


def loads(page: str, files: Mapping[str, Asset]) -> set[str]:
    """The static files that a page names, and those that they name: modules and icons."""
    found, ahead = set[str](), set(re.findall(r'"/static/[^"/]+/([^"]+)"', page))
    while ahead:
        name = ahead.pop()
        found.add(name)
        named = re.findall(rb'(?:from |url\()"([^"]+)"', files[name].body)
        ahead |= {posixpath.normpath(posixpath.join(posixpath.dirname(name), other.decode())) for other in named}
        ahead -= found
    return found


def test_the_first_page_is_made_quickly_and_everything_it_loads_is_small():
    async def check() -> None:
        async with open_panel() as panel:
            for _ in range(30):
                await settled_run(panel, 1)
            await panel.get("/")
            durations = []
            for _ in range(15):
                started = time.process_time()
                page = (await panel.get("/"))[1]
                durations.append(time.process_time() - started)
            assert sorted(durations)[len(durations) // 2] < 0.1  # the aim is 20 ms
            files = Assets().files
            assert "ask.js" in (loaded := loads(page, files))
            assert "icons/proven.svg" in loaded
            assert "memory/page.js" not in loaded
            assert len(page) + sum(len(files[name].gzipped) for name in loaded) < 80_000
            checking = {name for name in files if name.startswith(("verify", "chat/che", "chat/clo", "chat/wit"))}
            sealing = {name for name in files if name.startswith("seal/")}
            leading = {name for name in files if name.startswith("agent")}
            assert leading & loaded == set()
            assert sum(len(files[name].gzipped) for name in files.keys() - checking - sealing - leading) < 90_000, (
                "what all load together"
            )
            assert sum(len(files[name].gzipped) for name in leading) < 5_000, "what pages of agent runs load"
            assert sum(len(files[name].gzipped) for name in checking) < 180_000, "what checks, of some pages"
            assert sum(len(files[name].gzipped) for name in sealing) < 14_000, "what seals, once somebody asks for it"

    asyncio.run(check())


LATER = ("verify/appraise.js", "verify/lanes/enclave.js", "verify/attestation/evidence.js", "seal/path.js")
"""What a page that asks gets when it is first needed, and not before."""


@pytest.mark.parametrize(
    ("path", "asked_for", "most"),
    [
        ("/", "", 80_000),
        ("/", "chat/answering.js", 160_000),
        ("/chat", "", 200_000),
        ("/verify", "", 250_000),
    ],
    ids=["first-page", "first-page-asking", "chat", "verify"],
)
def test_what_a_page_loads_before_its_first_answer_is_bounded(path: str, asked_for: str, most: int) -> None:
    """Bytes as they are transferred; the aim of each is 250 kB. The first page checks nothing before somebody types."""

    async def check() -> None:
        async with open_panel() as panel:
            page = (await panel.get(path))[1]
            files = Assets().files
            loaded = loads(page + (f'"/static/x/{asked_for}"' if asked_for else ""), files)
            assert len(gzip.compress(page.encode())) + sum(len(files[name].gzipped) for name in loaded) < most
            assert bool(loaded.intersection(LATER)) == (path == "/verify")
            assert set(LATER) <= files.keys()

    asyncio.run(check())
