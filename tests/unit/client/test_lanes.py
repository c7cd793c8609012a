"""Hops as gateways and panels tell them: known words, or a refusal in the reader's own code."""

from __future__ import annotations

import pytest

from holdfast.client.lanes import parse_hops
from holdfast.errors import MalformedError
from holdfast.verifier.lanes import Hop

RELAY = Hop("relay", "ab" * 32, "yes", "no", "yes", "yes")


@pytest.mark.parametrize(
    "value",
    [
        {},
        "relay",
        None,
        ["relay"],
        [{}],
        [{**RELAY.to_json(), "hop": "somebody"}],
        [{**RELAY.to_json(), "hop": ["relay"]}],
        [{**RELAY.to_json(), "plaintext": "perhaps"}],
        [{**RELAY.to_json(), "timing": None}],
        [{**RELAY.to_json(), "node": 7}],
    ],
)
def test_a_hop_that_is_not_known_is_refused(value: object) -> None:
    with pytest.raises(MalformedError) as refused:
        parse_hops(value, "gateway.run")
    assert refused.value.code == "gateway.run"


def test_hops_read_as_they_were_told() -> None:
    upstream = Hop("upstream", None, "unknown", "yes", "yes", "yes")
    assert parse_hops([RELAY.to_json(), upstream.to_json()], "panel.answer") == (RELAY, upstream)
