"""A page's nonce on its way to the gateway."""

from __future__ import annotations

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.panel.nonces import HEADER, drawn


@pytest.mark.parametrize("value", ["", "short", "a" * 65, "sixteen letters\n", "a" * 15 + "é", "a" * 16 + "\r\nx: y"])
def test_what_no_statement_could_hold_is_refused(value: str) -> None:
    with pytest.raises(MalformedError) as refused:
        drawn({HEADER: value})
    assert refused.value.code == "panel.nonce"


def test_a_nonce_is_passed_on_as_it_came_and_none_is_made() -> None:
    assert drawn({HEADER: "Aa0_-" * 4}) == {HEADER: "Aa0_-" * 4}
    assert drawn({}) == {}
