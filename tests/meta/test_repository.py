"""Promises of the repository about itself: layers, codes, citations, settings, words that must not appear."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import holdfast.nodes
from holdfast.ports.settings import describe

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "holdfast"
MODULES = sorted(SOURCE.rglob("*.py"))
TEXT = {
    ".md",
    ".py",
    ".toml",
    ".txt",
    ".json",
    ".yaml",
    ".yml",
    ".html",
    ".css",
    ".js",
    ".mjs",
    ".vy",
    ".svg",
    ".sh",
    "",
}


def tracked() -> list[Path]:
    """Files of the repository: what git knows, or everything outside hidden and built folders in an export."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    skipped = {".venv", ".git", "build", "dist", "__pycache__", "node_modules"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)]


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file."""
    for path in tracked():
        if path.suffix in TEXT:
            try:
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def tool(path: str) -> ModuleType:
    """A script of the repository, imported."""
    spec = importlib.util.spec_from_file_location(f"tool_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# --- layers ---------------------------------------------------------------------------------------------------------


def test_imports_point_down_and_core_is_pure() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-logo"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_core_and_verifier_parse_run_ids_and_never_draw_them() -> None:
    """``uuid`` is allowed there for parsing; its generators read the clock and the system's randomness."""
    drawn = re.compile(r"\buuid[1345678]\b|\bgetnode\b|\bdatetime\.(?:now|utcnow|today)\b")
    pure = [path for name in ("core", "verifier") for path in (SOURCE / name).rglob("*.py")]
    assert [path.name for path in pure if drawn.search(path.read_text("utf-8"))] == []


def test_the_base_install_needs_no_node_dependency() -> None:
    """``holdfast verify`` runs on the base dependencies: importing it loads nothing of the ``node`` extra."""
    extra = {
        "aiohttp",
        "argon2",
        "httptools",
        "jinja2",
        "prometheus_client",
        "pyrevm",
        "rich",
        "sqlalchemy",
        "starlette",
        "uvicorn",
    }
    program = (
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({sorted(extra | {'web3', 'uvloop', 'msgspec'})!r}))\n"
        "for name in ('holdfast.cli.main', 'holdfast.verifier.appraisal'): importlib.import_module(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# --- codes and citations --------------------------------------------------------------------------------------------


def test_every_error_code_is_a_literal_in_dotted_lower_case() -> None:
    names = list(tool("spec/tools/list_codes.py").collect())
    assert len(names) > 50
    assert [name for name in names if not re.fullmatch(r"[a-z0-9_]+(?:\.(?:[a-z0-9_]+|<[a-z_]+>))+", name)] == []


def test_every_error_code_is_listed_in_the_specification() -> None:
    listed = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "spec" / "codes.md").read_text("utf-8"), re.MULTILINE))
    raised = set(tool("spec/tools/list_codes.py").collect())
    assert sorted(raised - listed) == [], "run: make docs"
    assert sorted(listed - raised) == [], "run: make docs"


CITATION = re.compile(r"(?<![a-z-])([a-z]+(?:-[a-z]+)*)\.md`{0,2}\)?,? §\s?(\d+(?:\.\d+)*)")


def sections(name: str) -> set[str]:
    """The section numbers of one spec file; numbered paragraphs count as the section's children."""
    found: set[str] = set()
    current = ""
    for line in (ROOT / "spec" / f"{name}.md").read_text("utf-8").splitlines():
        if heading := re.match(r"#{2,4} §?(\d+(?:\.\d+)*)\.?\s", line):
            current = heading.group(1)
            found.add(current)
        elif paragraph := re.match(r"(\d+)\. ", line):
            found.add(f"{current}.{paragraph.group(1)}")
    return found


def test_every_cited_section_exists() -> None:
    known = {path.stem: sections(path.stem) for path in (ROOT / "spec").glob("*.md")}
    wrong = [
        f"{name}: {file}.md §{section}"
        for name, text in texts()
        for file, section in CITATION.findall(text)
        if not name.startswith("docs/adr/") and section not in known.get(file, set())
    ]
    assert wrong == []


LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def test_every_relative_link_leads_somewhere() -> None:
    wrong = []
    for path in tracked():
        if path.suffix == ".md":
            prose = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
            targets = [item for item in LINK.findall(prose) if "://" not in item and not item.startswith("mailto:")]
            wrong += [f"{path.relative_to(ROOT)}: {item}" for item in targets if not (path.parent / item).exists()]
    assert wrong == []


# --- settings and dependencies --------------------------------------------------------------------------------------


def configs() -> list[type]:
    """The config dataclasses of every node."""
    found: list[type] = []
    for module in pkgutil.iter_modules(holdfast.nodes.__path__, "holdfast.nodes."):
        if module.ispkg and importlib.util.find_spec(f"{module.name}.config"):
            loaded = importlib.import_module(f"{module.name}.config")
            classes = [value for _, value in inspect.getmembers(loaded, inspect.isclass)]
            found += [item for item in classes if item.__module__ == loaded.__name__ and dataclasses.is_dataclass(item)]
    return found


def test_every_setting_says_what_it_is_for() -> None:
    assert configs()
    for config in configs():
        for info in describe(config):
            assert len(info.help) > 3, f"{config.__name__}.{info.name}"
            assert not info.help.endswith("."), f"{config.__name__}.{info.name}: a phrase, not a sentence"


def test_every_setting_is_in_the_manual() -> None:
    text = (ROOT / "docs" / "operate" / "configuration.md").read_text("utf-8")
    nodes = {config.__module__.split(".")[2] for config in configs()}
    assert sorted(node for node in nodes if f"<!-- generated: settings {node} -->" not in text) == []


def test_every_node_says_what_its_owner_could_do() -> None:
    folders = [path.parent for path in (SOURCE / "nodes").glob("*/__init__.py")]
    assert folders
    for folder in folders:
        assert (folder / "__main__.py").exists(), f"{folder.name} cannot be started"
        text = (folder / "README.md").read_text("utf-8").lower()
        assert "may see" in text, folder.name
        assert "must prove" in text, folder.name
        assert "attacker" in text, folder.name


def pins() -> dict[str, Version]:
    found = {}
    for line in (ROOT / "requirements" / "pinned.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            [clause] = requirement.specifier
            assert clause.operator == "==", line
            assert requirement.url is None, line
            found[canonicalize_name(requirement.name)] = Version(clause.version)
    return found


def dependencies() -> list[Requirement]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in project["dependencies"] + extras]


def test_every_dependency_is_pinned_within_its_range() -> None:
    known = pins()
    for requirement in dependencies():
        version = known.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements/pinned.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} and {version}"


def test_every_dependency_has_a_reason() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert [item.name for item in dependencies() if f"| `{item.name}` |" not in text] == []


# --- words ----------------------------------------------------------------------------------------------------------


def test_every_module_says_what_it_does() -> None:
    missing = [
        path.relative_to(ROOT).as_posix() for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert missing == []


def test_nothing_in_the_product_is_left_to_do() -> None:
    words = re.compile(
        r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error", "no " + "cover"]) + r")\b"
    )
    wrong = [name for name, text in texts() if name.startswith(("src/", "contracts/", "dev.py")) and words.search(text)]
    assert wrong == []


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    places = {str(ROOT) + "/", str(Path.home()) + "/", "/ho" + "me/", "/Us" + "ers/"}
    wrong = [f"{name}: {place}" for name, text in texts() for place in places if len(place) > 2 and place in text]
    assert wrong == []


def test_no_package_index_is_named() -> None:
    hosts = re.compile(
        "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)", "index" + r"\.crates"])
    )
    assert [name for name, text in texts() if hosts.search(text)] == []


FLATTENING = {
    "verified",
    "overall",
    "score",
    "trust_score",
    "overall_state",
    "overall_status",
    "is_valid",
    "trusted",
    "grade",
}
"""Keys that would reduce a vector of lanes to one value."""


def test_no_answer_of_ours_flattens_the_lanes() -> None:
    """No dict display, keyword or dataclass field in the source is named like a verdict over all lanes."""
    wrong = []
    built_in = SOURCE / "adapters" / "builtin"  # the responder's retrieval scores questions, not runs
    for path in (path for path in MODULES if not path.is_relative_to(built_in)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Dict):
                names = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in names if name in FLATTENING]
    assert wrong == []


def test_no_schema_of_ours_flattens_the_lanes() -> None:
    wrong = []
    for path in [*SOURCE.rglob("*.json"), *SOURCE.rglob("*.yaml")]:
        text = path.read_text("utf-8")
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in FLATTENING if re.search(rf'"?{name}"?\s*:', text)]
    assert wrong == []


def keys(value: object) -> Iterator[str]:
    """Every member name of a JSON value, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_the_gateways_description_flattens_nothing() -> None:
    document = importlib.import_module("holdfast.nodes.gateway.openapi").document()
    assert FLATTENING & set(keys(document)) == set()
    assert list(document["components"]["schemas"]["Lanes"]["properties"]) == LANES


LANES = ["enclave", "bytes", "artifact", "computation", "inputs", "memory", "route", "privacy", "payment"]
LANES += ["settlement", "judgement"]


def test_the_readme_names_every_lane_in_order() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [row for row in rows if row in LANES] == LANES


# --- commands in the documents --------------------------------------------------------------------------------------


def commands() -> list[tuple[str, list[str]]]:
    """Every ``holdfast …`` line in a code block of the documents, as words."""
    found = []
    for name, text in texts():
        if name.endswith(".md"):
            for block in re.findall(r"^```(?:console|sh|shell)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
                for line in block.replace("\\\n", " ").splitlines():
                    words = line.removeprefix("$ ").strip().split("  #")[0].split()
                    if words[:1] == ["holdfast"]:
                        found.append((name, words[1:]))
    return found


def test_every_command_in_the_documents_exists() -> None:
    import click  # noqa: PLC0415 (part of the base install)

    main = importlib.import_module("holdfast.cli.main")
    root = next(value for _, value in inspect.getmembers(main) if isinstance(value, click.Group))
    shown = commands()
    assert shown
    for name, words in shown:
        command: click.Command = root
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(click.Context(command), rest[0])
            assert found is not None, f"{name}: holdfast {' '.join(words)}"
            command = found
            rest = rest[1:]
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts} | {
            "--help"
        }
        used = [word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
        assert [word for word in used if word not in known] == [], f"{name}: holdfast {' '.join(words)}"


def test_the_readme_shows_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "python3 dev.py up" in text
    assert "python3 dev.py test" in text


def test_generated_blocks_in_the_documents_are_current() -> None:
    assert tool("docs/refresh.py").stale() == [], "run: make docs"


@pytest.mark.parametrize("path", sorted((ROOT / "src/holdfast/ports").glob("*.py")), ids=lambda path: path.stem)
def test_every_port_has_a_contract_suite(path: Path) -> None:
    if "(Protocol)" not in path.read_text("utf-8"):
        pytest.skip("declares no Protocol")
    suites = "\n".join(suite.read_text("utf-8") for suite in (ROOT / "tests" / "contracts").glob("*.py"))
    assert f"holdfast.ports.{path.stem} " in suites or f"test_{path.stem}" in {
        suite.stem for suite in (ROOT / "tests" / "contracts").glob("*.py")
    }


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    pages = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [name for name in pages if f"]({name})" not in index] == []
    assert [name[:4] for name in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
