"""The gateway keeps to the OpenAPI document it serves: every path in it, every answer as it says, whatever is sent.

Requests are made from the document by schemathesis, the same ones in every run.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
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

from holdfast.nodes.gateway import app, oblivious
from holdfast.nodes.gateway.openapi import document
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, head, question, serving

pytestmark = pytest.mark.enable_socket
EXAMPLES = max(5, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 6)
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)


@schemathesis.serializer("message/ohttp-req", "message/ohttp-chunked-req")
def sealed(_: Any, value: Any) -> bytes:
    """What a stranger's tool makes of a body without a form: any bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with serving(tmp_path_factory.mktemp("gateway"), default_model="holdfast-builtin") as live:
        live.post(question())
        yield live


@pytest.fixture(scope="module")
def described(gateway: LiveGateway) -> BaseSchema:
    return schemathesis.openapi.from_url(gateway.url + "/openapi.json")


MISSING = ("run.unknown", "agent.none", "ohttp.config", "payment.off", "alpha.off", "file.unknown")
"""Codes of what a path could have led to, and did not here."""
OPERATIONS = [
    (path, method) for path, operations in document()["paths"].items() for method in operations if path != "/v1/ohttp"
]
"""Sealed requests are no JSON that could be generated: ``test_oblivious.py`` has what is wrong with them."""


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(
    described: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = described[path][method.upper()]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def one(case: Case[Any]) -> None:
        case.call_and_validate(headers={"authorization": f"Bearer {KEY}"}, checks=list(CHECKS), timeout=10)

    with contextlib.suppress(Unsatisfiable):  # some operations take nothing, so nothing about them can be wrong
        one()


def paths() -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"]
    return found


def test_the_document_names_every_path_that_is_served_and_no_other(gateway: LiveGateway) -> None:
    of_a_run = {"/v1/runs/{run}"}
    of_a_run |= {
        f"/v1/runs/{{run}}/{name}" for name in ("events", "bundle", "payment", "wrap", "recompute", "influence")
    }
    of_a_run |= {
        f"/v1/runs/{{run}}/{name}" for name in ("children", "led", "tree", "tree/events", "steps", "close", "amend")
    }
    of_a_run |= {"/v1/models/{model}", "/v1/traces"}
    of_files = {"/v1/files", "/v1/files/{file_id}", "/v1/files/{file_id}/content"}
    served = {*of_files, *app.ENDPOINTS, *app._READS, *oblivious.PATHS, *of_a_run, f"{app.ALPHA_RESULTS}{{id}}"}
    assert paths().keys() == served
    for path, operations in paths().items():
        asked = path.replace("{run}", "01900000-0000-7000-8000-000000000001").replace("{model}", MODEL)
        for method in operations:
            reply = gateway.send(head(method.upper(), asked, ["content-length: 0"]))
            assert reply.status != 405, path
            assert reply.status != 404 or reply.code in MISSING


@pytest.mark.parametrize("path", ["/v1/identity", "/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_what_the_document_calls_public_needs_no_key(gateway: LiveGateway, path: str) -> None:
    assert paths()[path]["get"]["security"] == []
    assert gateway.send(head("GET", path, key=None)).status == 200


def test_only_the_paths_of_one_run_take_its_capability(gateway: LiveGateway) -> None:
    headers = gateway.post(question()).headers
    own = [f"x-holdfast-capability: {headers['x-holdfast-capability']}", "content-length: 0"]
    for path, operations in paths().items():
        for method, operation in operations.items():
            if path.endswith("/events") or operation.get("security") == []:
                continue
            asked = path.replace("{run}", headers["x-holdfast-run"]).replace("{model}", MODEL)
            status = gateway.send(head(method.upper(), asked, own, key=None)).status
            # Nothing is paid here, what goes to no queue is not wrapped, no inference node computed a chat, and no
            # memory went before it; it is no agent run.
            none = dict.fromkeys(("recompute", "influence", "steps", "close"), 400)
            answered = {"payment": 404, "wrap": 404, "tree": 404, **none}.get(path.rpartition("/")[2], 200)
            assert status == (answered if {"capability": []} in operation.get("security", []) else 401), path


def test_everything_else_needs_one(gateway: LiveGateway) -> None:
    for path, operations in paths().items():
        for method, operation in operations.items():
            if operation.get("security") != []:
                asked = path.replace("{run}", "01900000-0000-7000-8000-000000000001").replace("{model}", MODEL)
                assert gateway.send(head(method.upper(), asked, ["content-length: 0"], key=None)).status == 401, path


def test_every_reference_of_the_document_leads_somewhere() -> None:
    text = str(document())
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert names == document()["components"]["schemas"].keys()


def test_metrics_say_what_happened_in_closed_words(gateway: LiveGateway) -> None:
    gateway.post(question())
    text = gateway.send(head("GET", "/metrics", key=None)).body.decode()
    assert re.search(r'holdfast_gateway_runs_total\{endpoint="chat.completions",outcome="complete"\} [1-9]', text)
    assert KEY not in text
