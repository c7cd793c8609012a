"""The verifier of the pages (``web/static/verify``) over the same vectors as ours in Python, under Node.js.

It is written from ``spec/`` alone and shares no code with ``holdfast``. ``browser/not_covered.txt`` names every case
that it does not answer, with the reason; each other case has to come out as its ``case.json`` says. ``tests/web`` runs
it in a browser.
"""

import fnmatch
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.verifier.lanes import LANES

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "vectors"
CLIENT = HERE / "browser" / "client.mjs"
LIST = HERE / "browser" / "not_covered.txt"
NODE = shutil.which("node")
EXITS = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")


def load_cases():
    """Name, folder and ``case.json`` of every case."""
    for path in sorted(VECTORS.rglob("case.json")):
        yield path.parent.relative_to(VECTORS).as_posix(), path.parent, json.loads(path.read_text(encoding="utf-8"))


def not_covered():
    """Patterns of the list, each with its reason."""
    reason, found = "", {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line:
            found[line] = reason
    return found


def is_covered(name, patterns):
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def some_of(cases, each=1):
    """The first few of every suite, operation and expectation."""
    seen = {}
    for case in cases:
        key = case[0].split("/")[0], case[2]["operation"], case[2]["expect"]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= each:
            yield case


def ask(cases):
    """The client's answer to each case, all by one process."""
    lines = "".join(
        json.dumps({"folder": str(folder), "run": case["run"], "files": case.get("files")}) + "\n"
        for _, folder, case in cases
    )
    done = subprocess.run(
        [NODE, str(CLIENT), "--cases"], input=lines, capture_output=True, encoding="utf-8", timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contains(whole, part):
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return whole == part


def complaint(case, answer):
    """What is wrong with an answer, or None."""
    wanted = case["expect"], case.get("code", answer.get("code"))
    given = answer["verdict"], answer.get("code")
    if wanted != given:
        return f"expected {wanted}, got {given}"
    return None if contains(answer, case.get("result", {})) else f"another result: {answer}"


@pytest.mark.slow
def test_the_pages_verifier_answers_every_covered_case_as_the_vectors_say(request):
    cases = [case for case in load_cases() if is_covered(case[0], not_covered())]
    if request.config.getoption("--cases", "some") == "some":
        cases = list(some_of(cases))
    answers = ask(cases)
    assert len(answers) == len(cases)
    pairs = zip(cases, answers, strict=True)
    problems = {name: why for (name, _, case), answer in pairs if (why := complaint(case, answer)) is not None}
    assert not problems, json.dumps(problems, indent=1, ensure_ascii=False)


@pytest.mark.slow
def test_no_case_that_passes_is_listed_as_not_covered(request):
    cases = [case for case in load_cases() if not is_covered(case[0], not_covered())]
    if request.config.getoption("--cases", "some") == "some":
        cases = list(some_of(cases))
    pairs = zip(cases, ask(cases), strict=True)
    healed = [name for (name, _, case), answer in pairs if complaint(case, answer) is None]
    assert not healed, f"these pass now; take them off the list: {healed}"


def test_each_line_of_the_list_names_a_case_and_has_a_reason():
    names = [name for name, _, _ in load_cases()]
    for pattern, reason in not_covered().items():
        assert fnmatch.filter(names, pattern), pattern
        assert reason, pattern


def test_the_list_and_the_covered_cases_are_told_in_the_protocol():
    text = (HERE / "PROTOCOL.md").read_text(encoding="utf-8")
    suites = {name.split("/")[0] for name, _, _ in load_cases() if is_covered(name, not_covered())}
    line = next(line for line in text.splitlines() if line.startswith("It answers cases of"))
    assert line == f"It answers cases of {', '.join(f'`{suite}`' for suite in sorted(suites))}."


def test_a_command_that_the_pages_have_not_is_a_wrong_command_line():
    for words in ([], ["verify-quote", "snp", "x"], ["decode", "walrus-id", "x"], ["fold"], ["fold", "no-such-file"]):
        done = subprocess.run([NODE, str(CLIENT), *words], capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 2
        assert json.loads(done.stdout)["verdict"] == "usage"


def test_answers_end_in_the_exit_code_of_the_protocol():
    for name, folder, case in some_of(list(load_cases()) if NODE else [], each=1):
        if name.split("/")[0] not in {"json", "marks", "finality"}:
            continue
        done = subprocess.run([NODE, str(CLIENT), *case["run"]], cwd=folder, capture_output=True, check=False)
        assert done.returncode == EXITS[case["expect"]], name


def test_every_lane_is_told_and_no_other():
    case = next(case for case in load_cases() if case[0] == "lanes/settled")
    assert list(ask([case])[0]["lanes"]) == [*LANES]


def test_a_requirement_is_met_contradicted_or_open_in_every_lane():
    name, folder, case = next(case for case in load_cases() if case[0] == "lanes/settled")
    for requirement, verdict in (
        ("payment=not_applicable", "accept"),
        ("memory=proven", "reject"),
        ("artifact=proven", "undecided"),
    ):
        words = [*case["run"][:-1], "--require", requirement, case["run"][-1]]
        assert ask([(name, folder, {"run": words})])[0]["verdict"] == verdict


def test_hashes_and_signatures_are_those_of_another_library():
    rounds = os.environ.get("HOLDFAST_EXAMPLES", "10")
    done = subprocess.run(
        [NODE, str(HERE / "browser" / "oracle.mjs"), rounds],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["compared"] > 100
    assert found["differed"] == []
