"""Which images of a run a page may show: those whose bytes are one, and never what lies elsewhere."""

from __future__ import annotations

import pytest

from holdfast.core.encoding import b64_encode
from holdfast.review.pictures import pictures_of
from tests.helpers.images import data_url, png


def chat(*urls: object) -> dict[str, object]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"choices": [{"message": {"content": "", "images": images}}]}


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/1.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        data_url(b"<svg/>"),
        data_url(png(), "gif"),
        7,
    ],
)
def test_what_is_no_image_is_told_and_not_shown(url: object):
    found = pictures_of({"prompt": "a"}, chat(url))
    assert found.shown == ()
    [(path, why)] = found.hidden
    assert path == "/choices/0/message/images/0/image_url/url"
    assert why


def test_an_image_of_a_chat_is_shown_under_what_the_user_said_last():
    request = {"messages": [{"role": "user", "content": "a dot"}, {"role": "assistant", "content": "b"}]}
    found = pictures_of(request, chat(data_url(png())))
    assert (found.prompt, [picture.data for picture in found.shown]) == ("a dot", [png()])
    assert found.shown[0].url == data_url(png())


def test_images_of_an_answer_keep_their_captions_and_the_kind_that_they_are():
    response = {"data": [{"b64_json": b64_encode(png()), "revised_prompt": "A dot."}, {"b64_json": "AA=="}]}
    found = pictures_of({"prompt": "a dot"}, response)
    [picture] = found.shown
    assert (picture.caption, picture.image.kind, picture.path) == ("A dot.", "png", "/data/0/b64_json")
    assert [path for path, _ in found.hidden] == ["/data/1/b64_json"]


@pytest.mark.parametrize("value", [None, [], "x", {}, {"data": 1, "choices": "x"}, {"choices": [7, {"message": []}]}])
def test_documents_of_any_shape_are_read(value: object):
    found = pictures_of(value, value)
    assert (found.shown, found.hidden, found.prompt) == ((), (), "")
