"""The models on offer, read strictly from what the gateway says."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.panel.models import Price, parse_models
from holdfast.verifier.lanes import LANES


def offered(**members: Any) -> dict[str, Any]:
    return {"data": [{"id": "m", "object": "model", "created": 0, "owned_by": "o", **members}]}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "panel.shape"),
        ({}, "panel.shape"),
        ({"data": "m"}, "panel.shape"),
        ({"data": ["m"]}, "panel.shape"),
        (offered(id=1), "panel.shape"),
        (offered(owned_by=None), "panel.shape"),
        (offered(holdfast=[]), "panel.shape"),
        (offered(holdfast={"upstream": 1}), "panel.shape"),
        (offered(holdfast={"prices": []}), "panel.shape"),
        (offered(holdfast={"prices": {"input": "free"}}), "pricing.decimal"),
        (offered(holdfast={"prices": {"input": 1}}), "pricing.decimal"),
    ],
)
def test_what_is_no_list_of_models_is_refused(value: object, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_models(value)
    assert caught.value.code == code


def test_a_model_tells_its_prices_in_the_order_of_a_charge() -> None:
    prices = {"search": "0.01", "output": "0.6", "input": "0.15", "video": "9"}
    (model,) = parse_models(offered(holdfast={"upstream": "openai", "prices": prices}))
    assert model.prices == (Price("input", "0.15"), Price("output", "0.6"), Price("search", "0.01"))
    assert model.price_words == "$0.15 / $0.6 per million"
    assert model.upstream == "openai"


def test_a_model_without_prices_names_none() -> None:
    (model,) = parse_models(offered())
    assert (model.prices, model.price_words, model.upstream) == ((), "", "")


def test_the_name_of_a_model_proves_nothing_about_it() -> None:
    (model,) = parse_models(offered(id="zkml-proven-gpt"))
    best = {ceiling.lane: (ceiling.state, ceiling.basis) for ceiling in model.at_best}
    assert tuple(best) == LANES
    assert best["artifact"] == ("unknown", "provider_claim")
    assert best["computation"] == ("unknown", None)
    assert {state for state, _ in best.values()} <= {"proven", "unknown", "not_applicable"}
    assert [lane for lane, (state, _) in best.items() if state == "proven"] == [
        "enclave",
        "bytes",
        "inputs",
        "memory",
        "route",
        "payment",
        "settlement",
    ]
    assert model.to_json()["at_best"].keys() == best.keys()
