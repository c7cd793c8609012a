"""Any change to anything that can be seen of a turn is caught, by the Python verifier and by that of the pages alike.

``HOLDFAST_EXAMPLES`` sets how many changes are tried; the numbers of what was tried and caught are printed.
"""

import os

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.errors import MalformedError, RefusedError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.conformance.test_browser_verifier import NODE, ask
from tests.helpers.bound_answer import network
from tests.helpers.network import at
from tests.helpers.visible import corpus

EXAMPLES = int(os.environ.get("HOLDFAST_EXAMPLES", "30"))
RUNS = max(2, EXAMPLES // 10)
EACH = EXAMPLES


def judged_in_python(raw):
    """The state of the lane ``bytes``; *malformed* where nothing could be read, also a part that is none."""
    try:
        bundle = parse_bundle(raw)
    except (MalformedError, RefusedError):
        return "malformed"
    return appraise(bundle, network().trust(), parse_policy(DEFAULT_POLICY), at(5)).lanes["bytes"].state


def judged_in_pages(raws):
    """The same by the verifier of the pages, for many."""
    trust, policy = b64_encode(network().trust_file()), b64_encode(DEFAULT_POLICY)
    words = ["verify-bundle", "--policy", "policy", "--at", time_encode(at(5)), "--trust", "trust", "bundle"]
    cases = [{"run": words, "files": {"policy": policy, "trust": trust, "bundle": b64_encode(raw)}} for raw in raws]
    for answer in ask([("", "", case) for case in cases]):
        yield answer["verdict"] if "lanes" not in answer else answer["lanes"]["bytes"][0]


CAUGHT = {"refuted", "malformed"}


def tell(who, tried, missed):
    print(f"{who}: {len(tried) - len(missed)} of {len(tried)} changes caught")  # noqa: T201
    assert missed == []


def test_every_change_to_what_is_seen_is_caught_in_python():
    tried, missed = [], []
    for run, changes in corpus(RUNS, EACH):
        assert judged_in_python(run.raw) == "proven"
        tried += changes
        missed += [item.what for item in changes if judged_in_python(item.raw) not in CAUGHT]
    tell("Python", tried, missed)


@pytest.mark.skipif(NODE is None, reason="there is no Node.js on the PATH")
def test_every_change_to_what_is_seen_is_caught_by_the_pages():
    whole = list(corpus(RUNS, EACH))
    assert set(judged_in_pages([run.raw for run, _ in whole])) == {"proven"}
    tried = [item for _, changes in whole for item in changes]
    states = judged_in_pages([item.raw for item in tried])
    missed = [item.what for item, state in zip(tried, states, strict=True) if state not in CAUGHT]
    tell("Pages", tried, missed)


def test_the_corpus_changes_every_kind_of_thing_that_is_seen():
    seen = " ".join(item.what for _, changes in corpus(2, 200) for item in changes)
    for what in (
        "text|",
        "tool_call|",
        "image|",
        "citation|",
        "usage|",
        "finish_reason|",
        "model|",
        "reversed",
        "gone",
    ):
        assert what in seen, what
