"""What a page may send in a conversation: roles, texts, and files with their questions."""

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.panel.app import parse_messages

TEXT = {"type": "text", "text": "How long?"}
FILE = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:;base64,aGk="}}


def test_a_question_may_bring_files():
    messages = [{"role": "user", "content": [TEXT, FILE]}]
    assert parse_messages(messages) == messages


@pytest.mark.parametrize(
    "content",
    [
        [],
        [FILE],
        [{"type": "text", "text": "  "}, FILE],
        [TEXT, "hi"],
        [TEXT, {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}],
        [TEXT, {"type": "file", "file": {"file_id": "file-1"}}],
        [TEXT, {**FILE, "trusted": True}],
        [TEXT, {"type": "file", "file": {**FILE["file"], "file_id": "file-1"}}],
        [{"type": "text", "text": 7}],
        7,
    ],
)
def test_a_page_sends_nothing_else_in_a_message(content):
    with pytest.raises(MalformedError) as caught:
        parse_messages([{"role": "user", "content": content}])
    assert caught.value.code == "panel.messages"
