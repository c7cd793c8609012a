"""What a final round refuted is believed from the round alone, and from nothing less."""

import dataclasses

import pytest

from holdfast.core import rounds
from holdfast.errors import HoldfastError, RefusedError, UndecidedError
from holdfast.verifier.overturned import refuted_statements
from tests.helpers.network import Network

NETWORK = Network(verdict="refuted:signature")
CANDIDATE = NETWORK.candidate()
BLOB = rounds.verdict_blob(NETWORK.verdicts())


def messages(count, candidate=CANDIDATE):
    return [
        rounds.parse_finality_message(node.finality(NETWORK.domain, candidate)) for node in NETWORK.full_nodes[:count]
    ]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_a_quorum_nothing_is_refuted(count):
    with pytest.raises(UndecidedError) as caught:
        refuted_statements(CANDIDATE, messages(count), BLOB, NETWORK.trust())
    assert caught.value.code == "round.not_final"


def test_messages_about_another_content_are_no_quorum():
    other = dataclasses.replace(CANDIDATE, size=CANDIDATE.size + 1)
    with pytest.raises(HoldfastError):
        refuted_statements(CANDIDATE, messages(4, other), BLOB, NETWORK.trust())


def test_another_rounds_verdicts_are_refused():
    other = rounds.verdict_blob(Network().verdicts())
    with pytest.raises(RefusedError) as caught:
        refuted_statements(CANDIDATE, messages(4), other, NETWORK.trust())
    assert caught.value.code == "round.blob_id"


def test_verdicts_under_another_root_are_refused():
    candidate = dataclasses.replace(CANDIDATE, verdict_root=bytes(32))
    with pytest.raises(RefusedError) as caught:
        refuted_statements(candidate, messages(4, candidate), BLOB, NETWORK.trust())
    assert caught.value.code == "round.verdict_root"


def test_a_final_round_names_what_it_refuted_and_nothing_else():
    found = refuted_statements(CANDIDATE, messages(3), BLOB, NETWORK.trust())
    assert found == {NETWORK.digests()[1]: "refuted:signature"}
