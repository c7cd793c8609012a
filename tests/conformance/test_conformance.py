"""Drive a conformance client over /vectors as a stranger would: a process, a folder, an exit code, one line of JSON.

``pytest tests/conformance --cases=all`` runs every case; without that a few of each operation stand for the rest, since
``tests/vectors`` runs all of them in one process.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "vectors"
EXITS = {"accept": 0, "malformed": 1, "reject": 1, "undecided": 3}
OURS = str(HERE / "holdfast-client")


def load_cases():
    for path in sorted(VECTORS.rglob("case.json")):
        yield path.parent.relative_to(VECTORS).as_posix(), path.parent, json.loads(path.read_text(encoding="utf-8"))


def some_of(cases, each=1):
    """The first few of every operation and expectation."""
    seen = {}
    for case in cases:
        key = case[2]["operation"], case[2]["expect"]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= each:
            yield case


def ask(client, words, folder):
    """Run the client; returns exit code and what it printed."""
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "LC_ALL": "C.UTF-8"}
    done = subprocess.run([client, *words], cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def contains(whole, part):
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return whole == part


def complaint(client, case, folder):
    """What is wrong with the client's answer, or None."""
    code, printed, errors = ask(client, case["run"], folder)
    if printed.count("\n") != 1:
        return f"expected one line, got {printed!r} {errors[-500:]}"
    answer = json.loads(printed)
    wanted = EXITS[case["expect"]], case["expect"], case.get("code", answer.get("code"))
    given = code, answer.get("verdict"), answer.get("code")
    if wanted != given:
        return f"expected {wanted}, got {given}"
    if not isinstance(answer.get("checks"), list):
        return "no list of checks"
    return None if contains(answer, case.get("result", {})) else "another result"


def expected_failures():
    lines = (HERE / "expected_failures.txt").read_text(encoding="utf-8").splitlines()
    return {line.split("#")[0].strip() for line in lines} - {""}


@pytest.mark.slow
def test_client_passes_the_vectors(request):
    client = request.config.getoption("--client", None) or OURS
    cases = list(load_cases())
    if request.config.getoption("--cases", "some") == "some":
        cases = list(some_of(cases))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda case: complaint(client, case[2], case[1]), cases))
    problems = {name: text for (name, _, _), text in zip(cases, found, strict=True) if text is not None}
    expected = expected_failures() if client == OURS else set()
    unexpected = {name: text for name, text in problems.items() if name not in expected}
    assert not unexpected, json.dumps(unexpected, indent=1, ensure_ascii=False)
    healed = expected & {name for name, _, _ in cases} - problems.keys()
    assert not healed, f"these pass now; take them off the list: {sorted(healed)}"


def test_expected_failures_name_cases():
    assert expected_failures() <= {name for name, _, _ in load_cases()}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["verify-everything"],
        ["fold"],
        ["fold", "no-such-file"],
        ["fold", "events.jsonl", "more"],
        ["map-parts", "--document", "response", "--run"],
        ["verify-bundle", "--policy", "p", "--at", "2026-01-01T00:00:00.000Z", "--require", "truth=proven", "b"],
    ],
)
def test_wrong_command_lines_are_usage(words):
    code, printed, _ = ask(OURS, words, VECTORS / "fold" / "text")
    assert code == 2
    assert json.loads(printed)["verdict"] == "usage"


def test_every_operation_stands_in_the_protocol():
    protocol = (HERE / "PROTOCOL.md").read_text(encoding="utf-8")
    for operation in sorted({case["operation"] for _, _, case in load_cases()}):
        assert f"| `{operation}" in protocol, operation
