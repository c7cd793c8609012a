"""What providers of OpenAI's shape are known to do with parameters (``spec/dialects.md`` §7)."""

from __future__ import annotations

import pytest

from holdfast.core.canonical import NumberText
from holdfast.core.dialects.openai import LOCAL, PLAIN, PROFILES, find_profile
from holdfast.errors import UsageError


def chat(model="m", **more):
    return {"model": model, "messages": [], **more}


def prepare(profile, document):
    return find_profile(profile).prepare("chat.completions", document)


def test_a_profile_that_nobody_knows_is_refused():
    with pytest.raises(UsageError, match="no profile"):
        find_profile("acme")


@pytest.mark.parametrize("name", [None, "openai", "openrouter", "ark", "nous", "together"])
def test_where_nothing_is_known_the_very_same_document_goes_up(name):
    document = chat(seed=NumberText("1"), made_up=True)
    prepared = prepare(name, document)
    assert prepared.document is document
    assert (prepared.rewrites, prepared.ignored, prepared.path) == ((), (), "/chat/completions")


def test_what_a_provider_reads_past_goes_up_and_is_named():
    document = chat(user="u", logit_bias={}, n=None, tools=[])
    prepared = prepare("ollama", document)
    assert prepared.document is document
    assert prepared.ignored == ("logit_bias", "user")


def test_what_a_provider_refuses_is_left_out_and_named():
    prepared = prepare("groq", chat(logprobs=True, n=NumberText("2"), temperature=NumberText("0.10")))
    assert prepared.document == chat(temperature="0.10")
    assert (prepared.rewrites, prepared.ignored) == (("parameters-removed",), ("logprobs", "n"))
    assert prepare("groq", chat(n=NumberText("1"))).ignored == ()


def test_what_a_provider_calls_otherwise_is_renamed_in_its_place():
    prepared = prepare("mistral", chat(max_completion_tokens=NumberText("5"), seed=NumberText("7")))
    assert prepared.document == chat(max_tokens="5", random_seed="7")
    assert (prepared.rewrites, prepared.ignored) == (("parameters-renamed",), ())


def test_a_name_that_is_there_already_is_not_written_over():
    document = chat(max_completion_tokens=NumberText("5"), max_tokens=NumberText("7"))
    assert prepare("ollama", document).document is document


def test_some_models_heed_less():
    given = {"temperature": NumberText("1"), "logprobs": True, "seed": NumberText("1")}
    assert prepare("deepseek", chat("deepseek-chat", **given)).ignored == ("seed",)
    reasoner = prepare("deepseek", chat("deepseek-reasoner", **given))
    assert reasoner.ignored == ("logprobs", "seed", "temperature")
    assert "logprobs" not in reasoner.document


def test_the_responders_of_this_process_name_everything_that_changes_nothing():
    document = chat(temperature=NumberText("1"), tools=[], stop=["x"], max_tokens=NumberText("3"))
    assert LOCAL.prepare("chat.completions", document).ignored == ("temperature", "tools")


def test_completions_go_to_their_own_path():
    assert PLAIN.prepare("completions", {"model": "m", "prompt": "x"}).path == "/completions"


def test_every_profile_is_found_by_its_word():
    assert all(find_profile(name).profile == name for name in PROFILES)
