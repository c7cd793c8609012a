"""Folding a stream: total rules; what cannot be merged is refused, never guessed."""

from __future__ import annotations

import copy

import pytest

from holdfast.core import canonical
from holdfast.core.fold import MAX_INDEX, Fold
from holdfast.errors import MalformedError


def events(*texts):
    return [canonical.decode_exact(text.encode()) for text in texts]


def folded(*texts):
    fold = Fold()
    for event in events(*texts):
        fold.add(event)
    return canonical.encode_exact(fold.document()).decode()


def delta(text, index="0"):
    return f'{{"choices":[{{"index":{index},"delta":{text}}}]}}'


def refusal(*texts):
    with pytest.raises(MalformedError) as refused:
        folded(*texts)
    assert refused.value.code == "stream.fold"


@pytest.mark.parametrize("event", ["[]", '"x"', "1", "null"])
def test_an_event_is_an_object(event):
    refusal(event)


@pytest.mark.parametrize("choices", ["{}", "null", '"x"', "[1]", "[null]", "[[]]"])
def test_choices_are_an_array_of_objects(choices):
    refusal(f'{{"choices":{choices}}}')


@pytest.mark.parametrize("index", ['"0"', "null", "true", "-1", "1.0", "1e0", str(MAX_INDEX + 1), "9" * 5000, "[]"])
def test_an_index_is_a_small_integer(index):
    refusal(delta('{"content":"a"}', index))
    refusal(delta(f'{{"tool_calls":[{{"index":{index}}}]}}'))


def test_the_largest_index_passes():
    assert f'"index":{MAX_INDEX}' in folded(delta('{"content":"a"}', str(MAX_INDEX)))


@pytest.mark.parametrize("value", ["1", '"x"', "[]", "true"])
def test_a_delta_is_an_object_or_null(value):
    refusal(delta(value))


KINDS = ['"a"', "1", "true", '{"b":1}', '["b"]', '[{"index":0}]']


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_a_member_keeps_its_kind(first, second):
    texts = [delta(f'{{"x":{value}}}') for value in (first, second)]
    if KINDS.index(first) == KINDS.index(second):
        folded(*texts)
    else:
        refusal(*texts)


@pytest.mark.parametrize("name", ["role", "id", "type", "name"])
def test_names_do_not_grow_and_those_that_are_acted_on_do_not_change(name):
    once = delta(f'{{"{name}":"a"}}')
    for again in ('"a"', '""', "null"):
        assert f'"{name}":"a"' in folded(once, delta(f'{{"{name}":{again}}}'))
        assert f'"{name}":"a"' in folded(delta(f'{{"{name}":{again}}}'), once)
    if name in ("role", "name"):
        refusal(once, delta(f'{{"{name}":"b"}}'))
    else:
        assert f'"{name}":"b"' in folded(once, delta(f'{{"{name}":"b"}}'))
    refusal(delta(f'{{"{name}":1}}'), delta(f'{{"{name}":"b"}}'))


@pytest.mark.parametrize("name", ["text", "logprobs"])
def test_text_and_log_probabilities_keep_their_kind(name):
    refusal(f'{{"choices":[{{"{name}":"a"}}]}}', f'{{"choices":[{{"{name}":{{"a":1}}}}]}}')


def test_a_choice_has_a_message_or_deltas_and_not_both():
    message, grown = '{"choices":[{"message":{"content":"a"}}]}', delta('{"content":"b"}')
    refusal(message, grown)
    refusal(grown, message)
    refusal('{"choices":[{"message":{},"delta":{}}]}')
    refusal('{"choices":[{"delta":{},"message":"x"}]}')
    assert folded('{"choices":[{"message":null}]}', grown, '{"choices":[{"message":null}]}') == folded(grown)
    assert folded(message) == '{"choices":[{"index":0,"message":{"content":"a"}}]}'


def test_an_event_is_not_changed_by_being_folded():
    given = events(
        delta('{"a":{"b":"x"},"c":["y"],"d":[{"index":0,"e":"z"}],"f":[]}'),
        delta('{"a":{"b":"x"},"c":["y"],"d":[{"index":0,"e":"z"}],"f":[{"index":1}]}'),
        '{"choices":[{"message":{"content":"a"},"index":1}],"usage":{"n":1}}',
    )
    before = copy.deepcopy(given)
    fold = Fold()
    for event in given:
        fold.add(event)
    first = fold.document()
    assert given == before
    assert fold.document() == first


def test_empty_arrays_go_with_both_sorts():
    assert '"x":[]' in folded(delta('{"x":[]}'), delta('{"x":[]}'))
    assert '"x":["a"]' in folded(delta('{"x":[]}'), delta('{"x":["a"]}'), delta('{"x":[]}'))
    indexed = '[{"index":0,"a":"b"}]'
    assert f'"x":{indexed}' in folded(delta('{"x":[]}'), delta(f'{{"x":{indexed}}}'), delta('{"x":[]}'))


def test_null_is_overruled_and_overrules_nothing():
    assert '"x":"a"' in folded(delta('{"x":null}'), delta('{"x":"a"}'), delta('{"x":null}'))
    assert '"x":null' in folded(delta('{"x":null}'), delta("{}"))
    assert folded('{"id":null}', '{"id":"a"}', '{"id":null}') == '{"id":"a"}'


def test_members_of_a_choice_keep_the_last_value_that_is_not_null():
    texts = [f'{{"choices":[{{"finish_reason":{value}}}]}}' for value in ("null", '"stop"', "null")]
    assert folded(*texts) == '{"choices":[{"index":0,"finish_reason":"stop"}]}'


def test_numbers_keep_their_text():
    assert '"x":1.50' in folded(delta('{"x":1}'), delta('{"x":1.50}'))


def test_a_chunk_becomes_a_completion_and_nothing_else_does():
    assert folded('{"object":"chat.completion.chunk"}') == '{"object":"chat.completion"}'
    assert folded('{"object":"text_completion"}') == '{"object":"text_completion"}'


def test_an_event_carries_content_when_it_shows_something():
    fold = Fold()
    shows = [
        (delta("null"), False),
        (delta('{"role":"assistant","content":""}'), False),
        (delta('{"role":"assistant","content":null}'), False),
        (delta('{"content":"a"}'), True),
        (delta('{"tool_calls":[{"index":0}]}'), True),
        ('{"choices":[{"text":""}]}', False),
        ('{"choices":[{"text":"a"}]}', True),
        ('{"choices":[]}', False),
        ('{"usage":{"total_tokens":1}}', False),
    ]
    for text, expected in shows:
        assert fold.add(events(text)[0]) is expected, text


def test_a_stream_is_finished_when_each_choice_that_began_is():
    fold = Fold()
    assert not fold.all_finished
    fold.add(events(delta('{"content":"a"}'))[0])
    fold.add(events(delta('{"content":"a"}', "1"))[0])
    assert not fold.all_finished
    for index in (0, 1):
        fold.add(events(f'{{"choices":[{{"index":{index},"finish_reason":"stop"}}]}}')[0])
        assert fold.all_finished is (index == 1)
