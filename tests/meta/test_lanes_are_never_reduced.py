"""Nothing anywhere turns the lanes of a run into one boolean, number, word or colour (``spec/lanes.md`` §1).

Looked at: types and functions of every layer of the source, what appraisals, the gateway and the panel's pages show as
JSON, both OpenAPI documents, the tables of the database, and the templates, scripts and styles of the pages. What may
look at all lanes and answer with one value does so only relative to a named requirement; it stands in
:data:`RELATIVE_TO_A_REQUIREMENT`. Each detector is fed an example of what it is there for, at the end.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes

import holdfast
from holdfast.core.bundles import parse_bundle
from holdfast.nodes.gateway import openapi
from holdfast.nodes.panel import openapi as panel_openapi
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES, STATES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.web import openapi as pages_openapi
from holdfast.web.app import create_app as create_pages
from tests.helpers import asgi
from tests.helpers.agent_pages import agent_pages, open_agent
from tests.helpers.case_world import HOST, CaseWorld, play_cases
from tests.helpers.hub_pages import Asked, filled
from tests.helpers.live_pages import add_webhooks
from tests.helpers.memory import MemoryWorld
from tests.helpers.memory_pages import asked as asked_memory
from tests.helpers.network import Network, at
from tests.helpers.source_pages import AskedSources

SOURCE = Path(__file__).parents[2] / "src" / "holdfast"
MODULES = sorted(SOURCE.rglob("*.py"))
WEB = SOURCE / "web"
REDUCING = re.compile(
    r"(?:^|[_\W])(?:overall|verified|is_valid|is_ok|all_ok|all_proven|all_good|score|rating|grade|trust_level|"
    r"trustworthy|green|red_flag|traffic_light|badge|seal_of|approved|passed|passing|worst|summary_state|"
    r"overall_state|lane_summary|lanes_ok|lanes_state)(?:$|[_\W])"
)
"""Names that one value for all lanes would have."""
RELATIVE_TO_A_REQUIREMENT = {
    ("cli/verify.py", "exit_of"),
    ("review/export.py", "_check_place"),
    ("review/reading.py", "place"),
}
"""The exit code is an answer to what was required, and to nothing else (``lanes.md`` §5). The others hold exported
events against their order, and count the moments before one: they read no lane."""
OF_ANOTHER_WIRE = {"nodes/memory/service.py": {"rerank_score"}, "adapters/renderer/scene.py": {"green"}}
"""MemSync's name for how close a row is to a query: a member of its answers, where no lane is.
And a colour to draw with."""
FACTS_BESIDE_LANES = {
    "admitted", "asked_again", "claimed_until", "development", "flags", "fresh", "known", "news", "next", "number",
    "place", "position", "released_early", "retold", "stale",
    "trust_development",
}  # fmt: skip
"""Booleans and numbers that stand beside lanes and say something else: looked at by a person, here."""
FOLDING_FILTERS = {
    "count", "first", "groupby", "join", "last", "length", "max", "min", "reject", "rejectattr", "select", "selectattr",
    "sum", "unique",
}  # fmt: skip
"""What makes one value, or a chosen few, of many."""
OF_ONE_EVENT = {("deliveries", "state")}
"""A delivery of a webhook tells of one event: the gate's word under the policy that its body names."""
NAMES_OF_LANES = {(name, "lanes | join") for name in ("_parts.html", "evidence.html", "report.html")}
"""Lists of the names of lanes, which are no fold of their states."""
MARKS = re.compile("[\u2705\u2713\u2714\u274c\u2717\u2718\U0001f7e2\U0001f534\U0001f6e1\U0001f512]")
"""Ticks, crosses, lamps, shields and padlocks."""


def names_in(value: Any) -> Iterator[str]:
    """Every member name below a JSON value."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


# --- types and functions --------------------------------------------------------------------------------------------


def all_types() -> list[type]:
    """Every dataclass and named tuple of every layer."""
    found = {}
    for info in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if info.name.endswith("__main__") or ".builtin" in info.name:
            continue
        module = importlib.import_module(info.name)
        for item in vars(module).values():
            mine = inspect.isclass(item) and item.__module__ == info.name
            if mine and (dataclasses.is_dataclass(item) or hasattr(item, "_fields")):
                found[f"{item.__module__}.{item.__qualname__}"] = item
    return list(found.values())


def reducing_members(kind: type) -> list[str]:
    """Public members that one value for all lanes would be called, and what makes a type one value by itself."""
    public = sorted({name for name in (*dir(kind), *inspect.get_annotations(kind)) if not name.startswith("_")})
    found = [name for name in public if REDUCING.search(name)]
    single = {"__bool__", "__int__", "__float__"} | ({"__lt__"} if carries_lanes(kind) else set())
    return found + sorted(single & vars(kind).keys())


def carries_lanes(kind: type) -> bool:
    return kind.__name__ in carriers()


@pytest.mark.parametrize("kind", all_types(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_type_of_any_layer_has_a_field_for_all_lanes(kind: type) -> None:
    assert reducing_members(kind) == []


def plain_fields(kind: type) -> list[str]:
    """Fields that are one boolean or number."""
    names = inspect.get_annotations(kind)
    return [name for name, told in names.items() if re.fullmatch(r"(?:bool|int|float)(?: \| None)?", str(told))]


def test_beside_lanes_no_type_has_a_boolean_or_a_number_that_nobody_has_looked_at() -> None:
    found = {name for kind in all_types() if carries_lanes(kind) for name in plain_fields(kind)}
    assert found <= FACTS_BESIDE_LANES, found - FACTS_BESIDE_LANES


def test_an_appraisal_is_its_lanes_and_what_they_were_made_from() -> None:
    """A new field is looked at by a person, here."""
    assert {field.name for field in dataclasses.fields(Appraisal)} == {
        "run", "lanes", "transcript", "at", "known", "bundle_digest", "policy_name", "policy_digest",
        "trust_digest", "trust_pin", "trust_development", "dated", "relied", "overturned", "evidence",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(Lane)} == {
        "name", "state", "basis", "says", "evidence", "deviations", "hops",
    }  # fmt: skip


def annotations_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    """(name, annotation) of each parameter."""
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield argument.arg, ast.unparse(argument.annotation) if argument.annotation else ""


PLURAL = re.compile(r"\[(?:[^\[\]]*, )?(?:Lane|LaneView)\b|\bLanes\b")
"""An annotation of many lanes."""


@functools.cache
def carriers() -> frozenset[str]:
    """Types that hold the lanes of a run, at any remove: an appraisal, a lane vector, a row, a file with its row."""
    fields: dict[str, list[tuple[str, str]]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                fields.setdefault(node.name, []).extend(
                    (item.target.id, ast.unparse(item.annotation))
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                )
    found: set[str] = set()
    while True:
        more = {
            name
            for name, members in fields.items()
            for member, told in members
            if PLURAL.search(told) or (member == "lanes" and "[" in told) or found & set(re.findall(r"\w+", told))
        }
        if more <= found:
            return frozenset(found)
        found |= more


def takes_all_lanes(function: ast.FunctionDef | ast.AsyncFunctionDef, owner: str = "") -> bool:
    """Whether a function is given the lanes of a run: as such, in something that carries them, or as its own."""
    if owner in carriers() and [name for name, _ in annotations_of(function)][:1] == ["self"]:
        return True
    return any(
        PLURAL.search(told) or carriers() & set(re.findall(r"\w+", told)) or name in {"lanes", "states", "appraisal"}
        for name, told in annotations_of(function)
    )


def reduces(function: ast.FunctionDef | ast.AsyncFunctionDef, owner: str = "") -> bool:
    """Whether it makes one boolean, number or closed word of them."""
    told = ast.unparse(function.returns) if function.returns is not None else ""
    single = re.fullmatch(r"(?:bool|int|float|Literal\[.*\])(?: \| None)?", told)
    return single is not None and takes_all_lanes(function, owner)


def owned(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with the class that it is a method of."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield owner, node
        yield from owned(node, node.name if isinstance(node, ast.ClassDef) else owner)


def test_no_function_turns_all_lanes_into_one_number_or_boolean() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), function.name)
        for path in MODULES
        for owner, function in owned(ast.parse(path.read_text("utf-8")))
        if reduces(function, owner)
    }
    assert found == RELATIVE_TO_A_REQUIREMENT


def test_the_types_that_carry_lanes_are_known() -> None:
    assert {"Appraisal", "LaneVector", "CaseView", "CaseFile", "HandOut", "Reading", "RunView"} <= carriers()
    assert not {"Case", "Event", "Lane", "Desk", "Delivery"} & carriers()


def told(tree: ast.Module) -> Iterator[str]:
    """Names with which a module speaks to others: functions, classes, their fields, and members of JSON it writes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Dict):
            yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if "builtin" not in path.parts],
    ids=lambda path: path.relative_to(SOURCE).as_posix(),
)
def test_no_name_in_the_source_speaks_of_one_result(path: Path) -> None:
    """The responder, which ranks passages of its corpus, is left out; so are verified *things*, as in
    ``verified_signatures``."""
    names = set(told(ast.parse(path.read_text("utf-8")))) - OF_ANOTHER_WIRE.get(
        path.relative_to(SOURCE).as_posix(), set()
    )
    assert [name for name in names if REDUCING.search(re.sub(r"^_?verified_(?=[a-z])", "", name))] == []


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settled", [True, False])
def test_an_appraisal_shows_eleven_lanes_and_no_result_beside_them(settled: bool) -> None:
    network = Network()
    bundle = parse_bundle(network.bundle(finality=4 if settled else 0))
    shown = appraise(bundle, network.trust(), parse_policy(DEFAULT_POLICY), at(10)).to_json()
    assert [name for name in names_in(shown) if REDUCING.search(name)] == []
    beside = {name: value for name, value in shown.items() if name != "lanes"}
    assert not [value for value in beside.values() if isinstance(value, bool | float) or value in STATES]
    assert list(shown["lanes"]) == list(LANES)  # type: ignore[arg-type]


Document = dict[str, Any]
DOCUMENTS: list[Callable[[], Document]] = [openapi.document, panel_openapi.document, pages_openapi.document]


def objects_in(value: Any) -> Iterator[Document]:
    """Every object schema with members below a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield value
        for item in value.values():
            yield from objects_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)


def several(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


def resolved(schema: Document, document: Document) -> Document:
    """A schema behind its reference."""
    found = schema
    for step in schema.get("$ref", "#").split("/")[1:]:
        found = document[step] if step == "components" else found[step]
    return found


def is_digest(schema: Document) -> bool:
    """Whether lanes are named by their digest."""
    return "64" in str(schema.get("pattern", ""))


def flattened(document: Document) -> list[str]:
    """What a document says of lanes that is not eleven members by themselves; empty when there is nothing."""
    found = [f"the name {name}" for name in names_in(document) if REDUCING.search(name)]
    for schema in objects_in(document):
        members = schema["properties"]
        if set(members) == set(LANES):
            continue
        for name, member in members.items():
            if name in {"lanes", "now"} and not is_digest(member):
                lanes = resolved(member, document)
                closed = lanes.get("additionalProperties") is False and set(lanes.get("required", ())) == set(LANES)
                if list(lanes.get("properties", ())) != list(LANES) or not closed:
                    found.append(f"{name} is not the eleven lanes")
                elif schema.get("additionalProperties") is not False:
                    found.append(f"anything may stand beside {name}")
        if "lanes" not in members or is_digest(members["lanes"]):
            continue
        for name, member in members.items():
            if name not in {"lanes", *FACTS_BESIDE_LANES} and {"boolean", "number"} & {*several(member.get("type"))}:
                found.append(f"{name} is one value beside the lanes")
            if set(member.get("enum", ())) & set(STATES):
                found.append(f"{name} is a state beside the lanes")
            if set(member.get("enum", ())) & set(GATE_STATES) and "policy" not in schema.get("required", ()):
                found.append(f"{name} is the gate's word without its policy")
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=["gateway", "panel", "pages"])
def test_the_api_shows_lanes_as_eleven_members_and_never_as_one(document: Callable[[], Document]) -> None:
    assert flattened(document()) == []
    shown = [schema for schema in objects_in(document()) if "lanes" in schema["properties"]]
    assert len(shown) >= 2


# --- the JSON twins of the pages ------------------------------------------------------------------------------------


def flattened_json(value: Any) -> list[str]:
    """The same of a JSON value: wherever ``lanes`` stand they are eleven, and nothing beside them is a state."""
    found = [f"the name {name}" for name in names_in(value) if REDUCING.search(name)] if isinstance(value, dict) else []
    if isinstance(value, dict):
        for name, item in value.items():
            if name in {"lanes", "then", "now"} and isinstance(item, dict) and list(item) != list(LANES):
                found.append(f"{name} is not the eleven lanes")
        lanes = value.get("lanes")
        if isinstance(lanes, dict):
            beside = {name: item for name, item in value.items() if name not in {"lanes", *FACTS_BESIDE_LANES}}
            found += [f"{name} is one value beside the lanes" for name, item in beside.items() if type(item) in SINGLE]
            found += [f"{name} is a state beside the lanes" for name, item in beside.items() if item in [*STATES]]
            if value.get("state") in [*GATE_STATES] and not value.get("policy"):
                found.append("state is the gate's word without its policy")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [line for item in inner for line in flattened_json(item)]


SINGLE = (bool, float)
ROLES_SHOWN = ("admin", "approver", "reviewer", "auditor", "policy_owner")


def test_no_twin_of_a_page_shows_one_result(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        told = await add_webhooks(world)
        world.service.webhooks = told.webhooks
        hub, before, after, _ = await filled(tmp_path / "hub")
        world.service.hub = Asked(hub)
        world.service.sources = AskedSources(tmp_path / "data")
        keeper = MemoryWorld(tmp_path)
        world.service.memory, _ = asked_memory(keeper)
        app = create_pages(world.service)
        run = await world.ask()
        await world.pull()
        await world.look_at_all()
        await world.settle()
        await world.world.clock.advance(3)
        await world.look_at_all()
        await told.give_up()
        case = await world.case(run)
        asked = {
            "{case}": case["id"],
            "{run}": run,
            "{queue}": "default",
            "{seq}": str(case["events"][-1]["seq"]),
            "{known}": "2",
            "{organisation}/{model}": "acme/risk",
            "{source}": "rates",
            "{artifact}": after,
            "{before}": before,
            "{digest}": case["lanes"]["settlement"]["evidence"][0],
            "/recall.json": f"/recall.json?evidence={case['lanes']['settlement']['evidence'][0]}",
        }
        headers = [HOST, *await world.let_in("ada", *ROLES_SHOWN)]
        seen = set()
        told_here = {path: one for path, one in pages_openapi.twins().items() if not path.startswith("/agents")}
        twins = [path for path, operations in told_here.items() if "get" in operations]
        for path in [*twins, "/v1/cases", "/v1/queues", "/v1/cases/{case}"]:
            target = path
            for name, value in asked.items():
                target = target.replace(name, value)
            if target.endswith(".csv"):
                continue
            reply = await asgi.request(app, "GET", target, headers=headers)
            assert reply.status == 200, (path, reply.body)
            assert flattened_json(reply.json()) == [], path
            seen |= {path} if '"lanes"' in reply.body.decode() else set()
        assert {"/queues/{queue}.json", "/cases/{case}.json", "/cases/{case}/report.json"} <= seen
        await told.webhooks.close()
        await hub.close()
        keeper.close()

    play_cases(story, tmp_path)


@pytest.mark.enable_socket
def test_no_twin_of_an_agent_run_shows_one_result(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent_pages(tmp_path) as pages:
            agent, other = await pages.agent(), await open_agent(pages.world)
            for path in (p for p, told in pages_openapi.twins().items() if p.startswith("/agents") and "get" in told):
                target = path.replace("{run}", agent["run"]).replace("{child}", agent["act"])
                target = target.replace("{other}", other["run"])
                reply = await asgi.request(pages.cases.app, "GET", target, headers=[HOST])
                assert reply.status == 200, (path, reply.body)
                assert flattened_json(reply.json()) == [], path

    asyncio.run(main())


# --- the database ---------------------------------------------------------------------------------------------------


def tables() -> list[Any]:
    """Every SQL table that the source declares."""
    sqlalchemy = importlib.import_module("sqlalchemy")
    found: dict[str, Any] = {}
    for path in MODULES:
        if "sqlalchemy" not in path.read_text("utf-8") or "MetaData(" not in path.read_text("utf-8"):
            continue
        module = importlib.import_module("holdfast." + ".".join(path.relative_to(SOURCE).with_suffix("").parts))
        for value in vars(module).values():
            if isinstance(value, sqlalchemy.MetaData):
                found |= value.tables
    return list(found.values())


def flattened_columns(table: Any) -> list[str]:
    """Columns that would keep one result for all lanes."""
    named = [column.name for column in table.columns if REDUCING.search(column.name)]
    # A state is kept for one lane at a time or not at all: then the lane is what its row is found by.
    by_lane = {"lane", "state"} if "lane" in table.primary_key.columns else set()
    named += [column.name for column in table.columns if column.name in {"state", "lanes", "lane"} - by_lane]
    return named + [column.name for column in table.columns if str(column.type) in {"BOOLEAN", "FLOAT", "NUMERIC"}]


def test_no_table_keeps_a_result_for_all_lanes() -> None:
    assert len(tables()) > 10, "where are the tables?"
    for table in tables():
        assert [name for name in flattened_columns(table) if (table.name, name) not in OF_ONE_EVENT] == [], table.name


# --- the pages ------------------------------------------------------------------------------------------------------

TEMPLATES = sorted((WEB / "templates").glob("*.html"))
STATIC = sorted(path for path in (WEB / "static").rglob("*") if path.suffix in {".js", ".mjs", ".css"})


def flattened_template(text: str) -> list[str]:
    """What a template asks for that one result would be called, and filters that fold lanes."""
    tree = jinja2.Environment(autoescape=True).parse(text)
    names = {node.attr for node in tree.find_all(nodes.Getattr)} | {node.name for node in tree.find_all(nodes.Name)}
    names |= {node.name for node in tree.find_all(nodes.Filter)} | {node.name for node in tree.find_all(nodes.Test)}
    found = [name for name in sorted(names) if REDUCING.search(name)]
    for node in tree.find_all(nodes.Filter):
        inner = [item.attr for item in node.find_all(nodes.Getattr)] + [item.name for item in node.find_all(nodes.Name)]
        if node.name in FOLDING_FILTERS and "lanes" in inner and "lane" not in inner:
            found.append(f"lanes | {node.name}")
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_asks_for_one_result(path: Path) -> None:
    found = flattened_template(path.read_text("utf-8"))
    assert [line for line in found if (path.name, line) not in NAMES_OF_LANES] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_state_is_shown_for_one_lane_at_a_time(path: Path) -> None:
    text = path.read_text("utf-8")
    for value in re.findall(r'data-state="([^"]*)"', text):
        assert re.fullmatch(r"\{\{ ?(?:lane\.|item\.)?state ?\}\}|" + "|".join(STATES) + "|", value), value
    shown = [name for name in re.findall(r'(?:class|id|data-[a-z-]+)="([^"]*)"', text) if REDUCING.search(name)]
    assert shown == []


@pytest.mark.parametrize("path", [*TEMPLATES, *STATIC], ids=lambda path: path.name)
def test_no_page_shows_a_tick_a_lamp_or_a_shield(path: Path) -> None:
    assert MARKS.findall(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_no_script_or_style_knows_a_word_for_all_lanes(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)
    names = set(re.findall(r"[A-Za-z_][A-Za-z0-9_-]*", text))
    plain = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_") for name in names}
    assert [name for name in sorted(plain) if REDUCING.search(name)] == []


def test_scripts_do_not_fold_lanes_into_one_value() -> None:
    folding = re.compile(
        r"lanes\b[^;\n]{0,60}\.(?:every|some|reduce)\(|Object\.values\([^)]*lanes[^)]*\)\.(?:every|some|reduce)"
    )
    for path in STATIC:
        assert folding.findall(path.read_text("utf-8")) == [], path.name


# --- the detector itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["verified", "overall", "trust_score", "is_valid", "all_proven", "lane-summary".replace("-", "_")]
)
def test_the_words_are_found(name: str) -> None:
    assert REDUCING.search(name)


@pytest.mark.parametrize(
    "name", ["verify_part", "unverified", "verdict", "scored_lines_not", "proven", "VerifiedCheckpoint"]
)
def test_other_words_are_left_alone(name: str) -> None:
    assert not REDUCING.search(name)


@pytest.mark.parametrize(
    "text",
    [
        "def is_fine(lanes: Mapping[str, Lane]) -> bool: ...",
        "def is_fine(vector: LaneVector) -> bool: ...",
        "def weight(found: Appraisal | None) -> float: ...",
        "def count(view: CaseView) -> int | None: ...",
        "async def colour(file: CaseFile) -> Literal['green', 'red']: ...",
        "def is_fine(cells: Sequence[LaneView]) -> bool: ...",
        "class LaneVector:\n    def is_fine(self) -> bool: ...",
        "class RunView:\n    @property\n    def level(self) -> int: ...",
    ],
)
def test_a_function_that_folds_lanes_would_be_found(text: str) -> None:
    assert [function.name for owner, function in owned(ast.parse(text)) if reduces(function, owner)] != []


@pytest.mark.parametrize(
    "text",
    [
        "def state(lane: Lane) -> bool: ...",
        "def decide(policy: QueuePolicy, vector: LaneVector) -> GateResult: ...",
        "def count(rows: Sequence[CaseRow]) -> int: ...",
    ],
)
def test_one_lane_and_the_gate_are_left_alone(text: str) -> None:
    assert [function.name for owner, function in owned(ast.parse(text)) if reduces(function, owner)] == []


def test_a_type_that_folds_lanes_would_be_found() -> None:
    @dataclasses.dataclass
    class LaneVector:
        lanes: dict[str, Lane]
        trust_score: float

        def __lt__(self, other: object) -> bool:
            return False

    assert reducing_members(LaneVector) == ["trust_score", "__lt__"]
    assert plain_fields(LaneVector) == ["trust_score"]
    assert plain_fields(dataclasses.make_dataclass("Fold", [("lanes", dict), ("level", "int | None")])) == ["level"]


def test_a_schema_that_folds_lanes_would_be_found() -> None:
    eleven = {name: {"type": "string"} for name in LANES}
    lanes = {"type": "object", "required": list(LANES), "properties": eleven, "additionalProperties": False}

    def document(schema: Document) -> Document:
        whole = {"type": "object", "required": ["lanes", "policy"], "additionalProperties": False, **schema}
        return {"components": {"schemas": {"Row": whole}}}

    assert flattened(document({"properties": {"lanes": lanes, "says": {"type": "string"}}})) == []
    for more, says in (
        ({"overall": {"type": "string"}}, "the name overall"),
        ({"level": {"type": "number"}}, "level is one value beside the lanes"),
        ({"fine": {"type": ["boolean", "null"]}}, "fine is one value beside the lanes"),
        ({"result": {"enum": ["proven", "refuted"]}}, "result is a state beside the lanes"),
        ({"lanes": {"enum": ["proven"]}}, "lanes is not the eleven lanes"),
    ):
        assert says in flattened(document({"properties": {"lanes": lanes, **more}}))
    word = document({"properties": {"lanes": lanes, "state": {"enum": ["CLEAR"]}}, "required": ["lanes"]})
    assert flattened(word) == ["state is the gate's word without its policy"]
    loose = document({"properties": {"lanes": lanes}, "additionalProperties": True})
    assert flattened(loose) == ["anything may stand beside lanes"]


def test_a_twin_that_folds_lanes_would_be_found() -> None:
    lanes = {name: {"state": "proven"} for name in LANES}
    assert flattened_json({"lanes": lanes, "state": "CLEAR", "policy": "00"}) == []
    assert flattened_json([{"lanes": lanes, "state": "CLEAR"}]) == ["state is the gate's word without its policy"]
    assert flattened_json({"lanes": lanes, "level": 0.9}) == ["level is one value beside the lanes"]
    assert flattened_json({"lanes": lanes, "word": "proven"}) == ["word is a state beside the lanes"]
    assert flattened_json({"lanes": {"all": "proven"}}) == ["lanes is not the eleven lanes"]


def test_a_table_that_folds_lanes_would_be_found() -> None:
    sa = importlib.import_module("sqlalchemy")
    columns = [sa.Column("case", sa.String(36)), sa.Column("fine", sa.Boolean), sa.Column("trust_score", sa.Integer)]
    assert flattened_columns(sa.Table("fold", sa.MetaData(), *columns)) == ["trust_score", "fine"]


@pytest.mark.parametrize(
    "text",
    [
        "{{ case.lanes | selectattr('state', 'equalto', 'proven') | list | length }} of 11",
        "{% if lanes | map(attribute='state') | unique | list == ['proven'] %}fine{% endif %}",
        "{{ run.verified }}",
        "{{ case.lanes | map(attribute='word') | first }}",
    ],
)
def test_a_template_that_folds_lanes_would_be_found(text: str) -> None:
    assert flattened_template(text) != []
