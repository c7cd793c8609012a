"""Nothing anywhere turns the lanes of a run into one boolean, number, word or colour (``spec/lanes.md`` §1).

Looked at: types and functions of the source, what appraisals and the gateway show as JSON, the OpenAPI document, the
tables of the database, and the templates, scripts and styles of the pages. What may look at all lanes and answer with
one value does so only relative to a named requirement; it stands in :data:`RELATIVE_TO_A_REQUIREMENT`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes

import holdfast.verifier
from holdfast.core.bundles import parse_bundle
from holdfast.nodes.gateway import openapi
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.lanes import LANES, STATES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import Network, at

SOURCE = Path(__file__).parents[2] / "src" / "holdfast"
MODULES = sorted(SOURCE.rglob("*.py"))
WEB = SOURCE / "web"
REDUCING = re.compile(
    r"(?:^|[_\W])(?:overall|verified|is_valid|is_ok|all_ok|all_proven|all_good|score|rating|grade|trust_level|"
    r"trustworthy|green|red_flag|traffic_light|badge|seal_of|approved|passed|passing|worst|summary_state|"
    r"overall_state|lane_summary|lanes_ok|lanes_state)(?:$|[_\W])"
)
"""Names that one value for all lanes would have."""
RELATIVE_TO_A_REQUIREMENT = {("cli/verify.py", "exit_of")}
"""The exit code is an answer to what was required, and to nothing else (``lanes.md`` §5)."""
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


def verifier_types() -> list[type]:
    """Every dataclass of the verifier."""
    found = []
    for info in pkgutil.iter_modules(holdfast.verifier.__path__, "holdfast.verifier."):
        module = importlib.import_module(info.name)
        found += [
            item
            for item in vars(module).values()
            if inspect.isclass(item) and dataclasses.is_dataclass(item) and item.__module__ == info.name
        ]
    return found


@pytest.mark.parametrize("kind", verifier_types(), ids=lambda kind: kind.__name__)
def test_no_type_of_the_verifier_has_a_field_for_all_lanes(kind: type) -> None:
    public = [name for name in dir(kind) if not name.startswith("_")]
    assert [name for name in public if REDUCING.search(name)] == []
    assert not {"__bool__", "__int__", "__float__", "__lt__"} & vars(kind).keys()


def test_an_appraisal_is_its_lanes_and_what_they_were_made_from() -> None:
    """A new field is looked at by a person, here."""
    assert {field.name for field in dataclasses.fields(Appraisal)} == {
        "run", "lanes", "transcript", "at", "known", "bundle_digest", "policy_name", "policy_digest",
        "trust_digest", "trust_pin", "trust_development", "dated", "evidence",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(Lane)} == {"name", "state", "basis", "says", "evidence"}


def annotations_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    """(name, annotation) of each parameter."""
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        yield argument.arg, ast.unparse(argument.annotation) if argument.annotation else ""


def takes_all_lanes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is given the lanes of a run."""
    return any(
        re.search(r"\bAppraisal\b|\[(?:str, )?Lane\b|\bLanes\b", annotation) or name in {"lanes", "states", "appraisal"}
        for name, annotation in annotations_of(function)
    )


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path.relative_to(SOURCE).as_posix(), node


def test_no_function_turns_all_lanes_into_one_number_or_boolean() -> None:
    found = {
        (path, function.name)
        for path, function in functions()
        if takes_all_lanes(function)
        and function.returns is not None
        and re.search(r"\b(?:bool|int|float|Literal)\b", ast.unparse(function.returns).partition("[")[0])
    }
    assert found == RELATIVE_TO_A_REQUIREMENT


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
    names = set(told(ast.parse(path.read_text("utf-8"))))
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


def schemas_with_lanes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object schema of the OpenAPI document that has a member ``lanes``."""
    if isinstance(value, dict):
        if "lanes" in value.get("properties", {}):
            yield value
        for item in value.values():
            yield from schemas_with_lanes(item)
    elif isinstance(value, list):
        for item in value:
            yield from schemas_with_lanes(item)


def several(value: Any) -> list[Any]:
    """One value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema behind its reference."""
    found = schema
    for step in schema.get("$ref", "#").split("/")[1:]:
        found = openapi.document()[step] if step == "components" else found[step]
    return found


def test_the_api_shows_lanes_as_eleven_members_and_never_as_one() -> None:
    found = list(schemas_with_lanes(openapi.document()))
    assert len(found) >= 2
    for schema in found:
        lanes = resolved(schema["properties"]["lanes"])
        assert list(lanes["properties"]) == list(LANES)
        assert lanes["additionalProperties"] is False
        assert set(lanes["required"]) == set(LANES)
        assert schema["additionalProperties"] is False
        for name, member in schema["properties"].items():
            if name == "lanes":
                continue
            assert not REDUCING.search(name)
            assert not set(member.get("enum", ())) & set(STATES)
            assert not {"boolean", "number"} & {str(kind) for kind in several(member.get("type"))}


def test_no_member_anywhere_in_the_api_speaks_of_one_result() -> None:
    assert [name for name in names_in(openapi.document()) if REDUCING.search(name)] == []


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


def test_no_table_keeps_a_result_for_all_lanes() -> None:
    assert tables(), "where are the tables?"
    for table in tables():
        names = [column.name for column in table.columns]
        # A state is kept for one lane at a time or not at all: then the lane is what its row is found by.
        by_lane = {"lane", "state"} if "lane" in table.primary_key.columns else set()
        assert [name for name in names if name in {"state", "lanes", "lane"} - by_lane] == [], table.name
        assert [name for name in names if REDUCING.search(name)] == [], table.name
        assert not [column.name for column in table.columns if str(column.type) in {"BOOLEAN", "FLOAT"}], table.name


# --- the pages ------------------------------------------------------------------------------------------------------

TEMPLATES = sorted((WEB / "templates").glob("*.html"))
STATIC = sorted(path for path in (WEB / "static").rglob("*") if path.suffix in {".js", ".mjs", ".css"})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_asks_for_one_result(path: Path) -> None:
    tree = jinja2.Environment(autoescape=True).parse(path.read_text("utf-8"))
    names = {node.attr for node in tree.find_all(nodes.Getattr)} | {node.name for node in tree.find_all(nodes.Name)}
    names |= {node.name for node in tree.find_all(nodes.Filter)} | {node.name for node in tree.find_all(nodes.Test)}
    assert [name for name in sorted(names) if REDUCING.search(name)] == []


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


def test_a_function_that_folds_lanes_would_be_found() -> None:
    text = "def is_fine(lanes: Mapping[str, Lane]) -> bool: ..."
    function = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    assert takes_all_lanes(function)
