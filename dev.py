"""The project's two commands, with nothing but Python 3.11 or newer installed.

    python3 dev.py up      make the environment if needed, start everything here, print where to go
    python3 dev.py test    make the environment if needed, run the tests

and one word per habit (``python3 dev.py help``); ``make WORD`` calls the same. Arguments after the word are passed on:
``python3 dev.py up --port 9000``, ``python3 dev.py test -k merkle``.

The environment is ``.venv`` beside this file (``HOLDFAST_VENV`` names another folder). It is made with the standard
library's ``venv`` and ``pip``, with the versions of ``requirements/pinned.txt``, and made again only when these, the
project's dependencies, the Python or the place change. An install that was interrupted is never trusted: the stamp that
says "complete" is written last, and an environment that was left in the middle is cleared.

This file stays readable by old Pythons (3.6) so that they can be told what is wrong instead of failing to parse it.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Callable, Dict, Iterator, List, Optional, Tuple

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.abspath(os.environ.get("HOLDFAST_VENV") or os.path.join(ROOT, ".venv"))
PINS = os.path.join(ROOT, "requirements", "pinned.txt")
STAMP = os.path.join(VENV, "holdfast-stamp.json")
"""Written last; says what is completely installed."""
MARKER = VENV + ".installing"
"""Written first, removed last; while it is there the environment is not whole."""
LOG = os.path.join(VENV, "holdfast-install.log")
MINIMUM = (3, 11)
BEST = ((3, 12), (3, 11))
"""Versions that every dependency has builds for; a newer Python lacks the embedded chain (docs/adr/0013)."""
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
FULL_COUNTS = {
    "HOLDFAST_EXAMPLES": "100",
    "HOLDFAST_KILLS": "20",
    "HOLDFAST_PAYMENTS": "10000",
    "HOLDFAST_SCHEDULES": "1000",
}
"""What continuous integration asks of the property and crash tests; the defaults are short."""
OFFLINE = ["tests/unit", "tests/vectors", "tests/properties"]
"""Tests that must pass with the network namespace removed."""
CONFORMANCE = ["tests/conformance", "--cases=all"]
"""The vectors through the command line, every one in a process of its own; elsewhere a few stand for the rest."""
ON_EVERY_CORE = ["-n", "logical", "--maxprocesses=8", "--dist=worksteal"]
"""One process of tests per core (docs/adr/0059). Neighbours stay together: what a file's tests share is made once."""

NETWORK_SIGNS = (
    "name resolution",
    "Name or service not known",
    "nodename nor servname",
    "getaddrinfo failed",
    "NewConnectionError",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Connection timed out",
    "ProxyError",
)
"""What pip prints when it reached nobody."""


class StopError(Exception):
    """Something a person has to do first; the text says what."""


def main(arguments: "List[str]") -> int:
    """Run one word; the exit code is the word's."""
    better = better_python()
    if better is not None:
        sys.stderr.write("[dev] using %s: this is Python %d.%d\n" % (better, *sys.version_info[:2]))
        sys.stderr.flush()
        return hand_over(better, arguments)
    if sys.version_info[:2] < MINIMUM:
        found = "%d.%d" % sys.version_info[:2]
        sys.stderr.write("Holdfast needs Python 3.11 or newer; this is Python %s (%s).\n" % (found, sys.executable))
        sys.stderr.write("If a newer one is installed, name it: python3.11 dev.py %s\n" % " ".join(arguments))
        return 2
    word, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    word = "help" if word in ("-h", "--help") else word
    if word not in WORDS:
        sys.stderr.write("unknown word %r\n\n%s\n" % (word, usage()))
        return 2
    try:
        return int(WORDS[word][1](rest))
    except StopError as stop:
        sys.stderr.write("\n%s\n" % stop)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; nothing half-made will be used\n")
        return 130


def better_python() -> "Optional[str]":
    """Another installed Python that suits better than this one; ``None`` when this one is right or none is found."""
    if sys.version_info[:2] in BEST or os.environ.get("HOLDFAST_PYTHON_CHOSEN"):
        return None
    names = ["python%d.%d" % version for version in BEST]
    if sys.version_info[:2] < MINIMUM:
        names += ["python3.14", "python3.13"]
    probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    for name in names:
        path = shutil.which(name)
        if path is not None:
            with contextlib.suppress(OSError):
                if subprocess.call([path, "-c", probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
                    return path
    return None


def hand_over(path: str, arguments: "List[str]") -> int:
    """Go on in another Python."""
    values = {**os.environ, "HOLDFAST_PYTHON_CHOSEN": "1"}
    command = [path, os.path.abspath(__file__), *arguments]
    if os.name != "nt":
        os.execve(path, command, values)
    return subprocess.call(command, env=values)


def usage() -> str:
    """The words and what they do."""
    lines = ["python3 dev.py WORD [ARGUMENTS]", ""]
    return "\n".join(lines + ["  %-12s %s" % (word, about) for word, (about, _) in WORDS.items()])


# --- the environment ------------------------------------------------------------------------------------------------


def fingerprint() -> str:
    """What the environment depends on; when it changes, the environment is brought up to date."""
    import tomllib  # noqa: PLC0415 (3.11 and newer only)

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)
    with open(PINS, "rb") as file:
        pins = file.read()
    wanted = {name: project["project"].get(name) for name in ("dependencies", "optional-dependencies", "scripts")}
    about = [wanted, project["build-system"], ROOT, VENV, list(sys.version_info[:2])]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode() + pins).hexdigest()


def installed_extras() -> "Optional[List[str]]":
    """The extras that are completely installed for the present fingerprint; ``None`` when nothing can be trusted."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        if stamp["fingerprint"] != fingerprint() or os.path.exists(MARKER) or not os.path.exists(python()):
            return None
        return list(stamp["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def python() -> str:
    """The environment's Python."""
    return os.path.join(BIN, "python.exe" if os.name == "nt" else "python")


def ensure(*extras: str) -> None:
    """Make the environment hold the project with at least these extras."""
    with only_one():
        present = installed_extras()
        if present is not None and set(extras) <= set(present):
            return
        install(sorted(set(extras) | set(present or stamped_before())))


def stamped_before() -> "List[str]":
    """The extras of an outdated stamp: whoever had the tests' tools keeps them."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return [str(extra) for extra in json.load(file)["extras"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


@contextlib.contextmanager
def only_one() -> "Iterator[None]":
    """One install at a time, over all processes of this machine."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        yield
        return
    name = "holdfast-dev-%s.lock" % hashlib.sha256(VENV.encode()).hexdigest()[:16]
    with open(os.path.join(tempfile.gettempdir(), name), "a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another install of this environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(extras: "List[str]") -> None:
    """Create or bring up to date. Raises :class:`StopError` with what a person can do."""
    started = time.monotonic()
    usable = not os.path.exists(MARKER) and works()
    if not usable:
        refuse_to_clear()
    replace(MARKER, "an install was interrupted here; the next run starts from scratch\n")
    forget(STAMP)
    if not usable:
        create()
    target = "%s[%s]" % (ROOT, ",".join(extras))
    say("installing Holdfast with pinned dependencies (%s); this happens once" % ", ".join(extras))
    command = [python(), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--constraint", PINS]
    if not run_pip([*command, "--editable", target]):
        forget(MARKER)  # pip gave up before it touched anything: what was there is as good as before
        raise StopError(explain())
    replace(STAMP, json.dumps({"fingerprint": fingerprint(), "extras": extras}))
    forget(MARKER)
    say("environment ready after %.0f s" % (time.monotonic() - started))


def works() -> bool:
    """Whether the environment's Python runs, is the one we run on, and has pip."""
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    try:
        found = subprocess.run([python(), "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and found.stdout.decode().strip() == "%d.%d" % sys.version_info[:2]


def refuse_to_clear() -> None:
    """Stop where making an environment cannot work, or would remove what is not ours."""
    import importlib.util  # noqa: PLC0415 (only when an environment is made)

    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise StopError(
            "This Python cannot make virtual environments: its venv module is incomplete.\n"
            "On Debian or Ubuntu:  sudo apt install python%d.%d-venv   (then run the same command again)\n"
            "Elsewhere: install Python from your system's packages with its full standard library."
            % sys.version_info[:2]
        )
    ours = os.path.exists(os.path.join(VENV, "pyvenv.cfg")) or os.path.exists(MARKER)
    if os.path.isdir(VENV) and os.listdir(VENV) and not ours:
        raise StopError("%s exists and is not an environment; move it away or set HOLDFAST_VENV" % VENV)


def create() -> None:
    """A fresh environment; what was there is cleared."""
    say("creating %s" % os.path.relpath(VENV))
    os.makedirs(VENV, exist_ok=True)
    command = [sys.executable, "-m", "venv", "--clear", VENV]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode != 0 or not works():
        text = result.stdout.decode("utf-8", "replace").strip()
        hint = "On Debian or Ubuntu this usually means:  sudo apt install python%d.%d-venv" % sys.version_info[:2]
        raise StopError("Could not create %s.\n%s\n%s" % (VENV, text[-2000:], hint))


def run_pip(command: "List[str]") -> bool:
    """Run pip with one short line of progress; the full output goes to a log.

    ``True``: installed. ``False``: it failed and changed nothing. Raises :class:`StopError` when it failed half-way.
    """
    shown = Progress()
    with open(LOG, "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            for raw in process.stdout or []:
                line = raw.decode("utf-8", "replace").rstrip()
                log.write(line + "\n")
                shown.line(line)
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    shown.end()
    if code != 0 and shown.unpacking:
        raise StopError(explain())
    return code == 0


def explain() -> str:
    """What went wrong with pip, in one paragraph and its own last words."""
    with open(LOG, encoding="utf-8") as file:
        text = file.read()
    words = "\n".join("  " + line for line in text.splitlines()[-8:])
    if any(sign in text for sign in NETWORK_SIGNS):
        reason = (
            "The package index could not be reached. Check the network, or set HTTPS_PROXY or pip's own\n"
            "configuration (index-url) if you are behind a proxy or a mirror, and run the same command again."
        )
    elif "No space left" in text:
        reason = "The disk is full."
    elif "No matching distribution" in text or "Could not find a version" in text:
        reason = "A pinned package has no build for this Python or platform; Python 3.11 or 3.12 is the best choice."
    else:
        reason = "Installing the dependencies failed."
    return "%s\npip's last words:\n%s\n(all of it: %s)" % (reason, words, os.path.relpath(LOG))


class Progress:
    """pip's chatter as one line on a terminal, and as a line every few seconds elsewhere."""

    STEP = re.compile(
        r"^(Collecting|Installing collected packages|Building|Successfully installed|Obtaining)\b\s*:?\s*(\S*)"
    )

    def __init__(self) -> None:
        self.count = 0
        self.unpacking = False
        self.terminal = sys.stderr.isatty()
        self.last = 0.0

    def line(self, text: str) -> None:
        """One line of pip's output."""
        match = self.STEP.match(text.strip())
        if match is None:
            return
        verb, name = match.groups()
        self.count += verb == "Collecting"
        if verb == "Collecting":
            self.show("%3d packages, now %s" % (self.count, re.split(r"[<>=!~\[;( ]", name)[0]))
        elif verb.startswith("Installing"):
            self.unpacking = True
            self.show("unpacking %d packages" % self.count, now=True)

    def show(self, text: str, now: bool = False) -> None:
        """Print, not too often."""
        if self.terminal:
            sys.stderr.write("\r  %-70s" % text[:70])
            sys.stderr.flush()
        elif now or time.monotonic() - self.last > 5:
            self.last = time.monotonic()
            say("  " + text)

    def end(self) -> None:
        """Clear the line."""
        if self.terminal:
            sys.stderr.write("\r%-74s\r" % "")


def replace(path: str, text: str) -> None:
    """Write a file whole or not at all."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def forget(path: str) -> None:
    """Remove a file that may not be there."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def say(text: str) -> None:
    """One line about what we are doing, on standard error: standard output belongs to the command."""
    sys.stderr.write("[dev] %s\n" % text)
    sys.stderr.flush()


# --- the words ------------------------------------------------------------------------------------------------------


def environment(**more: str) -> "Dict[str, str]":
    """The variables a command of the environment runs with."""
    values = {**os.environ, "VIRTUAL_ENV": VENV, "PATH": BIN + os.pathsep + os.environ.get("PATH", ""), **more}
    values.pop("PYTHONHOME", None)
    return values


def tool(*command: str) -> "List[str]":
    """A command line of a module or script in the environment."""
    name, rest = command[0], list(command[1:])
    if name == "python":
        return [python(), *rest]
    if name == "pytest":
        return [python(), "-m", "pytest", *rest]
    return [os.path.join(BIN, name + (".exe" if os.name == "nt" else "")), *rest]


def call(*command: str, **more: str) -> int:
    """Run one command of the environment from the project's root; its exit code."""
    return subprocess.call(tool(*command), cwd=ROOT, env=environment(**more))


def all_of(*commands: "Tuple[str, ...]") -> int:
    """Run every command even if one fails; the first failure is the result."""
    codes = []
    for command in commands:
        say(" ".join(command))
        codes.append(call(*command))
    return next((code for code in codes if code), 0)


def up(rest: "List[str]") -> int:
    """Start everything on this machine."""
    return holdfast(["up", *rest])


def holdfast(rest: "List[str]") -> int:
    """Any command of ``holdfast``."""
    ensure("node")
    command = tool("holdfast", *rest)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(command[0], command, environment())  # Ctrl-C then reaches `holdfast up` itself
    return subprocess.call(command, env=environment())


def show_words(_: "List[str]") -> int:
    """Print the words."""
    print(usage())
    return 0


def setup(_: "List[str]") -> int:
    """The environment with every extra, and the git hooks."""
    ensure("dev", "node")
    if os.path.isdir(os.path.join(ROOT, ".git")):
        return call("pre-commit", "install")
    return 0


def fix(_: "List[str]") -> int:
    """Format, and apply safe fixes."""
    ensure("dev", "node")
    return all_of(("ruff", "format", "."), ("ruff", "check", "--fix", "."))


def lint(_: "List[str]") -> int:
    """Style, types, layers, spelling. Changes nothing."""
    ensure("dev", "node")
    return all_of(
        ("ruff", "format", "--check", "--quiet", "."),
        ("ruff", "check", "--quiet", "."),
        ("mypy",),
        ("lint-imports", "--no-logo"),
        ("codespell",),
    )


def test(rest: "List[str]") -> int:
    """The tests, on every core, without those that are marked slow; ``--slow`` runs these too, and with ``CI=true``
    every check there is runs, with full counts.

    Chosen tests run in one process, as pytest runs them: a debugger works, and what is printed comes in order.
    """
    ensure("dev", "node")
    if not rest and in_ci():
        return everything()
    if not rest:
        code = call("pytest", "-q", *ON_EVERY_CORE, "-m", "not slow", "tests")
        say("LEFT OUT: tests that are marked slow (whole networks, browsers, crashes); dev.py test --slow runs all")
        return code
    if rest == ["--slow"]:
        return call("pytest", "-q", *ON_EVERY_CORE, "tests")
    paths = [] if any(not argument.startswith("-") and os.path.exists(argument) for argument in rest) else ["tests"]
    return call("pytest", "-q", *paths, *rest)


def in_ci() -> bool:
    """Whether everything has to be shown, and what cannot be is a failure."""
    return os.environ.get("CI", "").lower() == "true"


def offline(rest: "List[str]") -> int:
    """Unit, vector and property tests in a network namespace without a network.

    Where that cannot be made, nothing was shown: said aloud, and with ``CI=true`` a failure.
    """
    ensure("dev", "node")
    prefix = no_network()
    if prefix is None:
        say("SKIPPED offline: this system cannot remove the network namespace (unshare --map-root-user --net)")
        return 1 if in_ci() else 0
    command = [*prefix, *tool("pytest", "-q", *ON_EVERY_CORE, *OFFLINE, *rest)]
    return subprocess.call(command, cwd=ROOT, env=environment())


def no_network() -> "Optional[List[str]]":
    """The command prefix that removes the network, or ``None`` where that is not possible."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        possible = subprocess.call([*prefix, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return None
    return prefix if possible else None


def conformance(rest: "List[str]") -> int:
    """Drive the command line over the vectors as a stranger would."""
    ensure("dev", "node")
    return call("pytest", "-q", *CONFORMANCE, *rest)


def vectors(_: "List[str]") -> int:
    """Make the vectors again with the independent generator; the difference must be empty."""
    ensure("dev", "node")
    code = call("python", os.path.join("spec", "tools", "gen_vectors.py"))
    return code or subprocess.call(["git", "diff", "--exit-code", "--stat", "--", "vectors"], cwd=ROOT)


def docs(rest: "List[str]") -> int:
    """Refresh the generated blocks in the documents."""
    ensure("dev", "node")
    return call("python", os.path.join("docs", "refresh.py"), *rest)


def bench(rest: "List[str]") -> int:
    """Run the measurements."""
    ensure("dev", "node")
    return call("python", "-m", "bench", *rest)


def check(_: "List[str]") -> int:
    """Everything a change needs before review."""
    return next((code for code in (lint([]), test(["--slow"]), offline([]), conformance([])) if code), 0)


def package(_: "List[str]") -> int:
    """Install the base package alone, as a verifier would, and drive it over the vectors."""
    ensure("dev", "node")
    with tempfile.TemporaryDirectory() as folder:
        alone = os.path.join(folder, "python")
        inside = os.path.join(alone, os.path.relpath(python(), VENV))
        source = os.path.join(folder, "source")  # building in the tree would leave, and later reuse, old files
        os.mkdir(source)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(os.path.join(ROOT, name), source)
        shutil.copytree(
            os.path.join(ROOT, "src"), os.path.join(source, "src"), ignore=shutil.ignore_patterns("*.egg-info", "__py*")
        )
        install_command = [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", PINS, source]
        for command in ([sys.executable, "-m", "venv", alone], install_command):
            code = subprocess.call(command, cwd=folder)
            if code:
                return code
        client = os.path.join(folder, "client")
        with open(client, "w", encoding="utf-8") as file:
            file.write('#!/bin/sh\nexec "%s" -m holdfast.cli.conformance "$@"\n' % inside)
        os.chmod(client, 0o755)
        return call("pytest", "-q", "tests/conformance", "--cases=some", "--client", client)


def everything() -> int:
    """What continuous integration runs: each step even if one fails, then one closing summary.

    No test runs twice: those that need no network run without one, the vectors go through the command line in a step
    of their own, and the last step is the rest.
    """
    started = time.monotonic()
    system_packages()
    steps = [("lint", lint([])), ("package", package([]))]
    wanted = {name: os.environ.get(name, value) for name, value in FULL_COUNTS.items()}
    say("all tests, with %s" % " ".join("%s=%s" % item for item in wanted.items()))
    more = {**wanted, **fetched()}
    parts: "List[Tuple[str, List[str], List[str]]]" = [("conformance", [], CONFORMANCE)]
    prefix = no_network()
    if prefix is None:
        steps.append(("offline", offline([])))  # says why, and is a failure; the tests themselves run with the rest
    else:
        parts.insert(0, ("offline", prefix, [*ON_EVERY_CORE, *OFFLINE]))
    done = [path for _, _, paths in parts for path in paths if os.path.exists(os.path.join(ROOT, path))]
    parts.append(("tests", [], [*ON_EVERY_CORE, "tests", *("--ignore=" + path for path in done)]))
    counts: "Dict[str, int]" = {}
    codes = []
    for name, before, arguments in parts:
        say(name + ": pytest " + " ".join(arguments))
        found, code = counted_pytest(before, arguments, more)
        codes.append(code)
        if code not in (0, 1):
            found["error"] = max(1, found.get("error", 0))
        for outcome, number in found.items():
            counts[outcome] = counts.get(outcome, 0) + number
    failed = [name for name, result in steps if result != 0]
    if failed:
        print("=" * 27 + " steps that failed " + "=" * 27)
        for name in failed:
            print("FAILED %s" % name)
        counts["failed"] = counts.get("failed", 0) + len(failed)
    order = ["failed", "error", "passed", "skipped", "deselected", "xfailed", "warnings"]
    text = ", ".join("%d %s" % (counts[name], name) for name in order if counts.get(name))
    print((" %s in %.2fs " % (text or "nothing ran", time.monotonic() - started)).center(80, "="))
    return 1 if failed or any(codes) else 0


def fetched() -> "Dict[str, str]":
    """Programs of others that some tests run, each fetched where it can be had: where they are, as variables."""
    found = {**javascript_client(), **walrus_wasm(), **converters(), **other_clients(), **s3_server(), **real_anvil()}
    return {**found, **opengradient_clients(), **x402_clients(), **zkml_prover(), **solidity_compiler()}


def counted_pytest(before: "List[str]", arguments: "List[str]", more: "Dict[str, str]") -> "Tuple[Dict[str, int], int]":
    """Run pytest behind another command or none, show its output as it comes, and return its counts and exit code."""
    command = [*before, *tool("pytest", "--durations=15", *arguments)]
    values = environment(PYTHONUNBUFFERED="1", **more)
    last = ""
    with subprocess.Popen(command, cwd=ROOT, env=values, stdout=subprocess.PIPE) as process:
        try:
            for raw in process.stdout or []:
                line = raw.decode("utf-8", "replace")
                sys.stdout.write(line)
                sys.stdout.flush()
                last = line.strip() or last
        except BaseException:
            process.terminate()
            raise
    code = process.returncode
    found = re.findall(r"(\d+) (failed|passed|skipped|error|warning|xfailed|deselected)", last)
    return {"warnings" if name == "warning" else name: int(number) for number, name in found}, code


CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def system_packages() -> None:
    """Have a browser and a database server for the tests that want them; they skip with a reason where they are not."""
    missing = []
    if not any(shutil.which(name) for name in CHROMIUM):
        missing.append("chromium")
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb") and not shutil.which("initdb"):
        missing.append("postgresql")
    if not missing:
        return
    names = " and ".join(missing)
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
        say("no " + names + " here: the tests that need it will be skipped")
        return
    say("installing " + names + " for the tests")
    quiet = environment(DEBIAN_FRONTEND="noninteractive")
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *missing]):
        try:
            code = subprocess.call(["apt-get", *arguments], stdout=subprocess.DEVNULL, env=quiet, timeout=900)
        except subprocess.TimeoutExpired:
            code = 1
        if code != 0:
            say(names + " could not be installed: the tests that need it will be skipped")
            return


WALRUS_WASM = "@mysten/walrus-wasm@0.3.0"
"""Walrus' own encoder; the bench has the same version."""
JAVASCRIPT_CLIENT = "openai@6.49.0"
ANVIL = "@foundry-rs/anvil@1.7.1"
"""Newer ones may start differently: the adapter's options were measured with this one."""


def javascript_client() -> "Dict[str, str]":
    """Where OpenAI's JavaScript client is, as a variable for the test that runs it; it is fetched where npm can."""
    if os.environ.get("HOLDFAST_NODE_MODULES"):
        return {}
    modules = from_npm("javascript", JAVASCRIPT_CLIENT, "openai", "the test of OpenAI's JavaScript client")
    return {"HOLDFAST_NODE_MODULES": modules} if modules else {}


def walrus_wasm() -> "Dict[str, str]":
    """Where Walrus' own encoder is, as a variable for the test that compares ids; it is fetched where npm can."""
    if os.environ.get("HOLDFAST_WALRUS"):
        return {}
    inside = os.path.join("@mysten", "walrus-wasm")
    modules = from_npm("walrus", WALRUS_WASM, inside, "the test against Walrus' own encoder")
    return {"HOLDFAST_WALRUS": modules} if modules else {}


CLIENTS = os.path.join(ROOT, "requirements", "clients.txt")
"""Anthropic's client, and what agents are written with elsewhere, at exact versions."""


def other_clients() -> "Dict[str, str]":
    """Where the Python with clients of others is, as a variable for the tests that ask with them."""
    if os.environ.get("HOLDFAST_CLIENTS"):
        return {}
    return packages_apart(
        "clients",
        CLIENTS,
        "HOLDFAST_CLIENTS",
        "the tests of clients and agents that others wrote",
        "anthropic, langgraph, openai-agents, pydantic-ai-slim and OpenTelemetry's exporter: about 240 MB",
    )


CONVERTERS = os.path.join(ROOT, "requirements", "convert.txt")
"""What the how-to for converting models installs, at exact versions."""


def converters() -> "Dict[str, str]":
    """Where the Python that converts models is, as a variable for the test that runs the how-to."""
    if os.environ.get("HOLDFAST_CONVERT"):
        return {}
    return packages_apart(
        "convert",
        CONVERTERS,
        "HOLDFAST_CONVERT",
        "the test of converting models",
        "scikit-learn and skl2onnx: about 200 MB",
    )


S3 = os.path.join(ROOT, "requirements", "s3.txt")
"""An S3 server that runs on this machine, at exact versions."""


def s3_server() -> "Dict[str, str]":
    """Where the Python that serves S3 is, as a variable for the tests that keep blobs there."""
    if os.environ.get("HOLDFAST_S3"):
        return {}
    return packages_apart("s3", S3, "HOLDFAST_S3", "the tests of blobs in S3", "moto's server: about 190 MB")


def real_anvil() -> "Dict[str, str]":
    """Where the real anvil is, as a variable for the tests that run on it; it is fetched where npm can.

    The package has one program for each platform; it is run as it is, without the script that npm would run.
    """
    if os.environ.get("HOLDFAST_ANVIL"):
        return {}
    what = "the tests on the real anvil"
    modules = from_npm("anvil", ANVIL, os.path.join("@foundry-rs", "anvil"), what)
    found = sorted(glob.glob(os.path.join(modules or "", "@foundry-rs", "anvil-*", "bin", "anvil*")))
    if modules and not found:
        say("SKIPPED " + what + ": " + ANVIL + " has no program for this platform")
    return {"HOLDFAST_ANVIL": found[0]} if modules and found else {}


def from_npm(folder: str, package: str, inside: str, what: str) -> "Optional[str]":
    """The ``node_modules`` that hold packages, kept beside the environment; ``None``, said aloud, without one."""
    prefix = os.path.join(VENV, folder)
    modules = os.path.join(prefix, "node_modules")
    if os.path.isdir(os.path.join(modules, inside)):
        return modules
    npm = shutil.which("npm")
    if npm is None or not shutil.which("node"):
        say("SKIPPED " + what + ": no Node.js and npm here")
        return None
    say("fetching " + package + " for " + what)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", prefix, *package.split()]
    try:
        code = subprocess.call(command, stdout=subprocess.DEVNULL, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        code = 1
    if code != 0:
        say("SKIPPED " + what + ": " + package + " could not be fetched")
        return None
    return modules


OPENGRADIENT = os.path.join(ROOT, "requirements", "opengradient.txt")
"""OpenGradient's published packages and everything they need, at exact versions."""


def opengradient_clients() -> "Dict[str, str]":
    """Where the Python with OpenGradient's packages is, as a variable for the tests that run them.

    They get an environment of their own beside ours, for they want a fork of a library that others know by the same
    name. It is made where a package index can be reached, and again when the versions or the Python change; a
    half-made one is never used.
    """
    if os.environ.get("HOLDFAST_OPENGRADIENT"):
        return {}
    return packages_apart(
        "opengradient",
        OPENGRADIENT,
        "HOLDFAST_OPENGRADIENT",
        "the tests of OpenGradient's own clients",
        "OpenGradient's packages: about 350 MB",
    )


X402 = os.path.join(ROOT, "requirements", "x402.txt")
"""x402's own Python client and everything it needs, at exact versions."""
X402_TYPESCRIPT = "@x402/fetch@2.27.0 @x402/evm@2.27.0 viem@2.57.20"
"""x402's TypeScript client: it pays as it does in browsers and in Node.js."""


def x402_clients() -> "Dict[str, str]":
    """Where the clients of x402's authors are, in Python and in TypeScript, as variables for the tests that pay."""
    what = "the tests of x402's own clients"
    found: "Dict[str, str]" = {}
    if not os.environ.get("HOLDFAST_X402"):
        found = packages_apart("x402", X402, "HOLDFAST_X402", what, "x402's package: about 130 MB")
    if os.environ.get("HOLDFAST_X402_MODULES"):
        return found
    modules = from_npm("x402-typescript", X402_TYPESCRIPT, os.path.join("@x402", "fetch"), what)
    return {**found, "HOLDFAST_X402_MODULES": modules} if modules else found


EZKL = os.path.join(ROOT, "requirements", "ezkl.txt")
"""EZKL at an exact version: nothing of ours depends on it, and nobody gets it but who asks for it."""


def zkml_prover() -> "Dict[str, str]":
    """Where the Python that has EZKL is, as a variable for the tests that prove."""
    if os.environ.get("HOLDFAST_ZKML"):
        return {}
    return packages_apart("zkml", EZKL, "HOLDFAST_ZKML", "the tests that prove runs", "EZKL: about 130 MB")


SOLC = "solc@0.8.37"
"""Compiles the contracts that EZKL writes; Permit2 has a compiler of its own (``contracts/permit2.py``)."""


def solidity_compiler() -> "Dict[str, str]":
    """Where Solidity's compiler is, as a variable for the tests of verifier contracts; it is fetched where npm can."""
    if os.environ.get("HOLDFAST_SOLC"):
        return {}
    modules = from_npm("solc", SOLC, "solc", "the tests of verifier contracts")
    return {"HOLDFAST_SOLC": os.path.join(modules, "solc", "solc.js")} if modules else {}


def packages_apart(name: str, requirements: str, variable: str, what: str, packages: str) -> "Dict[str, str]":
    """The Python of an environment beside ours with these requirements, as a variable; nothing, said aloud, without."""
    folder = os.path.join(VENV, name)
    inside = os.path.join(folder, os.path.relpath(python(), VENV))
    stamp = os.path.join(folder, "complete")
    with open(requirements, "rb") as file:
        wanted = hashlib.sha256(file.read() + sys.version.encode() + folder.encode()).hexdigest()
    with only_one():
        if not (os.path.exists(inside) and read_stamp(stamp) == wanted):
            say("installing %s, for %s, once" % (packages, what))
            reason = make_apart(folder, inside, ["-r", requirements])
            if reason:
                say("SKIPPED " + what + ": " + reason)
                return {}
            replace(stamp, wanted)
    return {variable: inside}


def read_stamp(path: str) -> str:
    """What a stamp says; an empty string where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def make_apart(folder: str, inside: str, requirements: "List[str]") -> str:
    """A fresh environment that has nothing of ours; why there is none, or an empty string."""
    started = time.monotonic()
    if subprocess.call([sys.executable, "-m", "venv", "--clear", folder]) != 0:
        return "this Python cannot make a virtual environment"
    command = [inside, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *requirements]
    try:
        installed = run_pip(command)
    except StopError:
        installed = False
    if not installed:
        return explain()
    say("installed after %.0f s" % (time.monotonic() - started))
    return ""


def opengradient(rest: "List[str]") -> int:
    """OpenGradient's own packages, unchanged, against a network of ours; where they cannot be had, a failure."""
    return peers("opengradient", opengradient_clients, rest)


def x402(rest: "List[str]") -> int:
    """The clients of x402's authors pay a network of ours; where they cannot be had, a failure."""
    return peers("x402", x402_clients, rest)


def zkml(rest: "List[str]") -> int:
    """Runs are proved by EZKL and checked by full nodes; where it cannot be had, a failure."""
    return peers("zkml", lambda: {**zkml_prover(), **solidity_compiler()}, rest)


def peers(name: str, fetch: "Callable[[], Dict[str, str]]", rest: "List[str]") -> int:
    """Run the tests of clients that others wrote, once they are here."""
    ensure("dev", "node")
    variables = fetch()
    variable = "HOLDFAST_" + name.upper()
    if variable not in variables and not os.environ.get(variable):
        return 1
    files = sorted(glob.glob(os.path.join(ROOT, "tests", "integration", "test_%s_*.py" % name)))
    return call("pytest", "-q", *files, *rest, **variables)


WORDS: "Dict[str, Tuple[str, Callable[[List[str]], int]]]" = {
    "help": ("List these words", show_words),
    "up": ("Start Holdfast on this machine", up),
    "holdfast": ("Run a holdfast command of the environment, like chat", holdfast),
    "setup": ("Create the environment and install the git hooks", setup),
    "fix": ("Format and apply safe fixes", fix),
    "lint": ("Style, types, layers, spelling (changes nothing)", lint),
    "test": ("Run the tests; --slow: also the slow ones; with CI=true everything, with full counts", test),
    "offline": ("Unit, vector and property tests with the network removed", offline),
    "conformance": ("Drive our own command line over the vectors as a stranger would", conformance),
    "opengradient": ("Run OpenGradient's own clients, unchanged, against a network of ours", opengradient),
    "x402": ("Let the clients of x402's authors pay a network of ours", x402),
    "zkml": ("Prove runs of models with EZKL, and check the proofs", zkml),
    "package": ("Install the base package alone and drive it over the vectors", package),
    "vectors": ("Make the vectors again; the difference must be empty", vectors),
    "docs": ("Refresh generated blocks in the documents", docs),
    "bench": ("Run the measurements", bench),
    "check": ("Everything a change needs before review", check),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
