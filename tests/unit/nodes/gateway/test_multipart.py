"""Forms with files, strictly (RFC 7578)."""

import pytest

from holdfast.errors import MalformedError
from holdfast.nodes.gateway.multipart import MOST_PARTS, Field, parse_form

TYPE = "multipart/form-data; boundary=mark"


def form(*parts, end=b"--mark--\r\n"):
    return b"".join(b"--mark\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + end


FILE = (
    b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain',
    b"a\r\n--mar\r\nb",
)
PURPOSE = (b'Content-Disposition: form-data; name="purpose"', b"user_data")


@pytest.mark.parametrize(
    "kind", [TYPE, 'multipart/form-data; charset=utf-8; boundary="mark"', "Multipart/Form-Data;boundary=mark"]
)
def test_fields_are_read_by_their_names_with_their_bytes_as_they_are(kind):
    assert parse_form(kind, form(PURPOSE, FILE)) == {
        "purpose": Field(None, b"user_data"),
        "file": Field("a.txt", b"a\r\n--mar\r\nb"),
    }


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (b'filename="a \\"b\\".txt"', 'a "b".txt'),
        (b'filename="a%22b%0D%0A.txt"', 'a"b\r\n.txt'),
        (b"filename=\"x\"; filename*=UTF-8''%e2%82%ac.txt", "\u20ac.txt"),
        ('filename="\u20ac.txt"'.encode(), "\u20ac.txt"),
        (b"filename=plain.txt", "plain.txt"),
        (b'filename="../../etc/passwd"', "../../etc/passwd"),
    ],
)
def test_a_filename_is_the_text_that_its_sender_meant(said, name):
    head = b'Content-Disposition: form-data; name="file"; ' + said
    assert parse_form(TYPE, form((head, b"")))["file"].filename == name


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", form(FILE)),
        ("multipart/form-data", form(FILE)),
        ("multipart/form-data; boundary=" + "x" * 71, form(FILE)),
        (TYPE, b""),
        (TYPE, b"--mark\r\n"),
        (TYPE, b"preamble\r\n" + form(FILE)),
        (TYPE, form(FILE, end=b"")),
        (TYPE, form(FILE, end=b"--mark\r\n")),
        (TYPE, form(FILE, FILE)),
        (TYPE, form(*[(b'Content-Disposition: form-data; name="%d"' % n, b"") for n in range(MOST_PARTS + 1)])),
        (TYPE, form((b"Content-Type: text/plain", b"x"))),
        (TYPE, form((b"Content-Disposition: form-data", b"x"))),
        (TYPE, form((b'Content-Disposition: attachment; name="file"', b"x"))),
        (TYPE, form((b'X: y\r\nContent-Disposition: form-data; name="f"; x="' + b"y" * 5000 + b'"', b"x"))),
        (TYPE, b"--mark\r\nContent-Disposition: form-data\r\n--mark--"),
    ],
)
def test_what_is_no_form_is_refused(kind, body):
    with pytest.raises(MalformedError) as caught:
        parse_form(kind, body)
    assert caught.value.code == "request.form"
