"""The panel keeps to the OpenAPI document it serves: every route in it, every answer as it says, whatever is sent.

Requests are made from the document by schemathesis, the same ones in every run, as somebody who holds every role.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.routing import Route, Router

from holdfast.nodes.panel import app as panel
from holdfast.nodes.panel import openapi as programs
from holdfast.review.roles import OPERATOR, ROLES
from holdfast.web import app as pages_app
from holdfast.web.openapi import document
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.live_pages import LivePages, add_webhooks, live_pages

pytestmark = pytest.mark.enable_socket
EXAMPLES = max(3, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 12)
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)
OF_OTHERS = re.compile(r"/(?:agents|index|runs|rounds|ask|private|readyz)")
"""What the panel asks other nodes for. There are none here: it says so with a status that the document names."""
ENDLESS = {"/events", "/cases/{case}/events", "/queues/{queue}/events", "/agents/{run}/events"}
"""Streams have no end, so nobody can wait for one; tests of the pages follow it."""
NOT_TOLD = re.compile(
    r"/(?:sign-|static/|queues/\{queue\}/open|people/|account/|webhooks/[a-z]+$|recall$|cases/\{case\}/)"
)
"""Forms and files of the pages: they answer browsers."""


schemathesis.serializer.alias("application/toml", "text/plain")
schemathesis.serializer.alias("message/ohttp-req", "application/octet-stream")


@dataclass
class LivePanel:
    """A panel with pages, people and webhooks, on a thread of its own, and a case in each of two states."""

    url: str
    headers: dict[str, str]
    key: str
    clear: str
    held: str
    evidence: str


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePanel]:
    folder = tmp_path_factory.mktemp("panel")
    ready: list[LivePanel] = []
    begun, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with live_pages(folder) as pages:
            ready.append(await _in_use(pages))
            begun.set()
            await asyncio.to_thread(over.wait)

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(60)
        yield ready[0]
    finally:
        over.set()
        thread.join(60)


async def _in_use(pages: LivePages) -> LivePanel:
    clear = await pages.held()
    await pages.settle()
    await pages.told.give_up()
    held = await pages.held()
    sent = dict(await pages.world.let_in("ada", *ROLES))
    del sent["origin"]  # a program says nothing of where it comes from
    _, key = pages.world.people.add_key(OPERATOR, "first", "desk", ["queue:take"], days=1)
    lanes = (await pages.world.get(f"/v1/cases/{clear}", *pages.world.reader())).json()["lanes"]
    return LivePanel(pages.url, sent, key, clear, held, lanes["settlement"]["evidence"][0])


@pytest.fixture(scope="module")
def described(live: LivePanel) -> BaseSchema:
    return schemathesis.openapi.from_url(live.url + "/openapi.json")


OPERATIONS = [
    (path, method) for path, operations in document()["paths"].items() for method in operations if path not in ENDLESS
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(
    live: LivePanel, described: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = described[path][method.upper()]
    headers = {} if path.startswith("/v1/session") else live.headers
    checks = [check for check in CHECKS if check is not not_a_server_error or not OF_OTHERS.match(path)]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    def one(case: Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=checks, timeout=20)

    with contextlib.suppress(Unsatisfiable):  # some operations take nothing, so nothing about them can be wrong
        one()


def known_paths(live: LivePanel) -> list[str]:
    """Every GET of the document that needs nothing outside the panel, with what is there filled in."""
    found = []
    for path, operations in document()["paths"].items():
        if (
            "get" in operations
            and path not in ENDLESS
            and not re.match(
                r"/(?:agents|artifacts|index|memory|metrics|models|private|readyz|rounds|runs|sources)", path
            )
        ):
            found.append(path.replace("{case}", live.clear).replace("{queue}", "default"))
    return found


def test_what_is_there_is_answered_as_described(live: LivePanel, described: BaseSchema) -> None:
    """Examples made up by a machine find mostly what is not there; these ask for what is."""
    file = requests.get(f"{live.url}/cases/{live.clear}.json", headers=live.headers, timeout=20).json()
    seq = next(event["seq"] for event in file["events"] if event["lanes"])
    stops = requests.get(f"{live.url}/cases/{live.clear}/at/{seq}.json", headers=live.headers, timeout=20).json()[
        "stops"
    ]
    known = next(path for path in (stop["path"] for stop in stops) if path.startswith("known/")).partition("/")[2]
    asked = 0
    for path in known_paths(live):
        template = path.replace(live.clear, "{case}").replace("/queues/default", "/queues/{queue}")
        query = {"evidence": live.evidence} if "recall" in path else {"consumer": "desk-1"} if "next" in path else {}
        url = live.url + path.replace("{seq}", str(seq)).replace("{known}", known).replace("{digest}", live.evidence)
        machine = {"authorization": f"Bearer {live.key}"}
        headers = machine if "consumer" in query else live.headers
        answer = requests.get(url, params=query, headers=headers, timeout=20)
        assert answer.status_code == 200, (path, answer.text)
        described[template]["GET"].validate_response(answer)
        asked += 1
    assert asked > 15


def test_acts_on_a_case_are_answered_as_described(live: LivePanel, described: BaseSchema) -> None:
    for act, body in (("view", {}), ("claim", {"lease_s": 60}), ("comment", {"text": "as agreed?"}), ("let-go", {})):
        url = f"{live.url}/v1/cases/{live.held}/{act}"
        answer = requests.post(url, json=body, headers=live.headers, timeout=20)
        assert answer.status_code == 200, answer.text
        described[f"/v1/cases/{{case}}/{act}"]["POST"].validate_response(answer)
    answer = requests.post(
        f"{live.url}/v1/recall", json={"evidence": live.evidence, "cause": "a test"}, headers=live.headers, timeout=20
    )
    assert answer.json()["cases"] == [live.clear]
    described["/v1/recall"]["POST"].validate_response(answer)


# --- the document and the routes ------------------------------------------------------------------------------------


def routes_of(app: Any) -> set[tuple[str, str]]:
    """(path, method) of every route below the wrappers of an app."""
    while not isinstance(app, Router):
        app = getattr(app, "_app", None) or app.app
    found = set()
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r":[a-z]+\}", "}", route.path)
        found |= {(path, method.lower()) for method in route.methods or () if method != "HEAD"}
    return found


def told(value: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method) for path, operations in value["paths"].items() for method in operations}


def both_apps(folder: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The routes of the panel without its pages and with them."""
    found: list[set[tuple[str, str]]] = []

    async def story(world: CaseWorld) -> None:
        hooks = await add_webhooks(world)
        world.service.webhooks = hooks.webhooks
        found.extend([routes_of(panel.create_app(world.service)), routes_of(pages_app.create_app(world.service))])
        await hooks.webhooks.close()

    play_cases(story, folder)
    return found[0], found[1]


def test_the_document_names_every_route_for_programs_and_no_other(tmp_path: Path) -> None:
    served, with_pages = both_apps(tmp_path)
    assert told(programs.document()) == served
    twins = {(path, method) for path, method in with_pages - served if path.endswith((".json", ".csv"))}
    assert told(document()) == served | twins


def test_every_page_has_a_twin(tmp_path: Path) -> None:
    _, served = both_apps(tmp_path)
    pages = {path for path, method in served if method == "get" and "." not in path and not NOT_TOLD.match(path)}
    pages -= {path for path, _ in told(programs.document())}
    pages |= {"/cases/{case}/report", "/cases/{case}/at/{seq}", "/recall"}
    twins = {path.removesuffix(".json") for path, _ in told(document()) if path.endswith(".json")}
    assert pages - {"/"} <= twins
    assert "/index" in twins


def test_every_reference_of_the_document_leads_somewhere() -> None:
    for value in (programs.document(), document()):
        names = set(re.findall(r"#/components/schemas/(\w+)", str(value)))
        assert names == value["components"]["schemas"].keys()
