"""The two verifiers say the same of every lane, also where something is changed, gone or not trusted.

A third of ``HOLDFAST_EXAMPLES`` changes of each bundle are tried; what was tried and missed is printed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, time_decode, time_encode
from holdfast.core.proofs import verify_proof_document
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import parse_policy
from tests.conformance.test_browser_verifier import NODE, ask, load_cases
from tests.helpers.lane_changes import BASES, Base, changes, flip_text

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")]

EACH = max(8, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 3)
UNREAD = "malformed"
"""What is said of every lane of a bundle that is none."""
Lanes = dict[str, list[str | None]]


class Asked(NamedTuple):
    """One question to both verifiers. No trust file is none."""

    what: str
    raw: bytes
    trust: bytes | None
    policy: bytes
    at: dt.datetime
    known: int | None = None

    def of_python(self) -> Lanes | str:
        trust = verify_trust(parse_trust_chain(self.trust)) if self.trust is not None else None
        try:
            bundle = parse_bundle(self.raw)
        except HoldfastError:
            return UNREAD
        lanes = appraise(bundle, trust, parse_policy(self.policy), self.at, self.known).lanes
        return {name: [lane.state, lane.basis] for name, lane in lanes.items()}

    def of_pages(self) -> dict[str, Any]:
        """The case for the client of the pages' verifier."""
        words = ["verify-bundle", "--policy", "policy", "--at", time_encode(self.at)]
        files = {"policy": b64_encode(self.policy), "bundle": b64_encode(self.raw)}
        if self.trust is not None:
            words += ["--trust", "trust"]
            files["trust"] = b64_encode(self.trust)
        if self.known is not None:
            words += ["--known", str(self.known)]
        return {"run": [*words, "bundle"], "files": files}


def both(asked: Sequence[Asked]) -> Iterator[tuple[Asked, Lanes | str, Lanes | str]]:
    """What each says of each question; all of the pages' by one process."""
    answers = ask([("", "", item.of_pages()) for item in asked])
    for item, answer in zip(asked, answers, strict=True):
        yield item, item.of_python(), answer.get("lanes", UNREAD)


def as_it_is(base: Base) -> Asked:
    raw = json.dumps(base.bundle).encode()
    return Asked(base.case, raw, base.file("trust"), base.file("policy"), time_decode(base.option("at")))


def test_every_change_is_caught_by_both_and_means_the_same_to_both():
    whole = {base.case: as_it_is(base) for base in BASES}
    stood = {item.what: lanes for item, lanes, _ in both(list(whole.values()))}
    tried = [(base, item) for base in BASES for item in changes(base, EACH)]
    asked = [whole[base.case]._replace(what=item.what, raw=item.raw) for base, item in tried]
    missed, apart = [], {}
    for (base, change), (_, python, pages) in zip(tried, both(asked), strict=True):
        if python != pages:
            apart[change.what] = (python, pages)
        before = stood[base.case]
        for who, after in (("Python", python), ("Pages", pages)):
            same = after != UNREAD and all(after[lane] == before[lane] for lane in (base.lane, "bytes"))
            if same and not change.gone:
                missed.append(f"{who}: {change.what}")
    print(f"{len(tried)} changes of {len(BASES)} bundles, {len(missed)} missed")  # noqa: T201
    assert missed == []
    assert apart == {}


def test_what_is_not_there_is_read_the_same_by_both():
    asked = []
    for whole in map(as_it_is, BASES):
        years = dt.timedelta(days=400)
        asked += [
            whole._replace(what=f"{whole.what}: without trust", trust=None),
            whole._replace(what=f"{whole.what}: years before", at=whole.at - years),
            whole._replace(what=f"{whole.what}: years after", at=whole.at + years),
            *(whole._replace(what=f"{whole.what}: known {known}", known=known) for known in (1, 3, 6, 10)),
        ]
    assert {item.what: (python, pages) for item, python, pages in both(asked) if python != pages} == {}


def whole_cases() -> list[Asked]:
    """The bundles of ``vectors/bundle`` that come with trust that holds and a policy that can be read."""
    found = []
    for _, folder, case in load_cases():
        if case["operation"] != "verify-bundle":
            continue
        words = case["run"]
        given = {name: words[words.index(name) + 1] for name in ("--trust", "--policy", "--at") if name in words}
        with contextlib.suppress(HoldfastError, KeyError, ValueError):
            trust, policy = ((folder / given[name]).read_bytes() for name in ("--trust", "--policy"))
            verify_trust(parse_trust_chain(trust))
            parse_policy(policy)
            raw = (folder / words[-1]).read_bytes()
            json.loads(raw)["journal"]
            found.append(Asked(folder.name, raw, trust, policy, time_decode(given["--at"])))
    return found


def test_bundles_of_two_runs_mixed_into_one_mean_the_same_to_both():
    source, whole, asked = Random("mixed"), whole_cases(), []
    assert len(whole) > 300
    for _ in range(10 * EACH):
        one, two = source.sample(whole, 2)
        mixed, other = json.loads(one.raw), json.loads(two.raw)
        share = source.choice((0.1, 0.5, 0.9))
        journal = [item for item in mixed["journal"] if source.random() < 0.85]
        journal += [item for item in other["journal"] if source.random() < share]
        raw = json.dumps({**mixed, "journal": journal}, ensure_ascii=False).encode()
        asked.append(one._replace(what=f"{one.what} and {two.what}", raw=raw))
    asked += [item._replace(what=f"{item.what}, without trust", trust=None) for item in asked[::3]]
    assert {item.what: (python, pages) for item, python, pages in both(asked) if python != pages} == {}


class Proof(NamedTuple):
    """An accepted case of ``vectors/proof``: its words, its files in base64, and the same as values."""

    words: list[str]
    files: dict[str, str]
    computed: Statement
    proved: Statement
    salt: bytes
    text: str

    def is_refused(self, text: str) -> bool:
        try:
            verify_proof_document(self.proved, self.computed, text.encode(), self.salt)
        except HoldfastError:
            return True
        return False


def proofs() -> Iterator[Proof]:
    for _, folder, case in load_cases():
        if case["operation"] == "verify-proof" and case["expect"] == "accept":
            words = case["run"]
            raw = {word: (folder / word).read_bytes() for word in words if (folder / word).is_file()}
            option = {name: words[words.index(f"--{name}") + 1] for name in ("computed", "proved", "salt")}
            computed, proved = (parse_statement(parse_envelope(raw[option[name]])) for name in ("computed", "proved"))
            files = {name: b64_encode(data) for name, data in raw.items()}
            yield Proof(words, files, computed, proved, bytes.fromhex(option["salt"]), raw[words[-1]].decode())


def test_every_change_of_a_proofs_document_is_refused_by_both():
    source, tried = Random("proof"), []
    for proof in proofs():
        assert not proof.is_refused(proof.text)
        tried += [(proof, *flip_text(source, proof.text)) for _ in range(EACH)]
    assert tried
    cases = [
        {"run": one.words, "files": {**one.files, one.words[-1]: b64_encode(text.encode())}} for one, text, _ in tried
    ]
    answers = ask([("", "", case) for case in cases])
    taken = [place for (_, _, place), answer in zip(tried, answers, strict=True) if answer["verdict"] == "accept"]
    taken += [place for one, text, place in tried if not one.is_refused(text)]
    assert taken == []
