"""images: requests, answers and containers of images (images.md), and how they are counted. One change in each case."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from reference import pictures
from reference.cases import Writer
from reference.text import SpecError, parse


def chunk(name: bytes, body: bytes, crc: int = 0) -> bytes:
    """One chunk of a PNG; ``crc`` is by how much its checksum is wrong."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ crc)


def png(width: int = 2, height: int = 1, *, noise: int = 0, tail: bytes = b"", **change: Any) -> bytes:
    """A grey PNG, small, or with that many bytes of noise in it."""
    header = struct.pack(">II", width, height) + bytes([8, 0, 0, 0, 0]) + change.get("more", b"")
    rows = zlib.compress((b"\0" + bytes(width)) * height) if width * height < 1000 else b"x"
    pieces = [chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    if noise:
        pieces[1:1] = [chunk(b"noIz", bytes(noise))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(change.get("pieces", pieces)) + tail


FRAME = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 3, 5) + b"\x01\x01\x11\x00"
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x12\x34\xff\x00\x56"
EOI = b"\xff\xd9"


def jpeg(*pieces: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(pieces or (b"\xff\xe0\x00\x04JF", FRAME, SCAN, EOI))


PICTURE = b"," + struct.pack("<HHHHB", 0, 0, 4, 3, 0) + b"\x02\x02\x4c\x01\x00"


def gif(*pieces: bytes, packed: int = 0) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 4, 3, packed, 0, 0) + b"".join(pieces or (PICTURE, b";"))


def riff(*chunks: tuple[bytes, bytes], longer: int = 0) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4 + longer) + b"WEBP" + body


LOSSLESS = (b"VP8L", b"\x2f" + struct.pack("<I", (7 - 1) | (9 - 1) << 14) + bytes(8))
LOSSY = (b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 6, 8) + bytes(4))
EXTENDED = (b"VP8X", bytes(4) + (299).to_bytes(3, "little") + (199).to_bytes(3, "little"))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(out: Writer) -> None:
    """Write the suite."""
    containers(out)
    requests(out)
    answers(out)
    urls(out)
    counts(out)
    credentials(out)


def told(name: str, read: Callable[[], Any], code: str | None) -> Any:
    """What the reference says; it has to refuse what the case says is refused."""
    try:
        result, found = read(), None
    except SpecError as error:
        result, found = None, error.code
    if found != code:
        raise SystemExit(f"images/{name}: the reference says {found}, the case {code}")
    return result


def containers(out: Writer) -> None:
    """§3."""

    def case(name: str, why: str, data: bytes, code: str | None = None) -> None:
        out.case(
            f"images/{name}",
            why,
            spec="images.md §3",
            run=["read-image", "image.bin"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_IMAGE" if code else None,
            result=told(name, lambda: pictures.read(data), code),
            files={"image.bin": data},
        )

    case("png", "Header, data and end.", png())
    case("png-with-more-chunks", "Chunks that nobody knows are carried.", png(noise=9))
    case("png-of-the-longest-side", "Sides of 16,384 pixels.", png(16384, 16384))
    case("png-too-wide", "A side more than that: whoever unpacks it holds gigabytes.", png(16385, 1), "image.sides")
    case("png-without-height", "Nothing to see.", png(2, 0), "image.sides")
    case(
        "png-checksum",
        "A bit was lost on the way.",
        png(
            pieces=[
                chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), 1),
                chunk(b"IDAT", b""),
                chunk(b"IEND", b""),
            ]
        ),
        "image.bytes",
    )
    case(
        "png-tail",
        "What lies behind the end is in no picture, and was delivered.",
        png(tail=b"<script>"),
        "image.bytes",
    )
    case(
        "png-without-data",
        "A header and an end.",
        png(pieces=[chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), chunk(b"IEND", b"")]),
        "image.bytes",
    )
    case(
        "png-header-not-first",
        "Sides that come too late.",
        png(pieces=[chunk(b"noIz", b""), chunk(b"IHDR", bytes(13)), chunk(b"IDAT", b""), chunk(b"IEND", b"")]),
        "image.bytes",
    )
    case("png-long-header", "A header of 14 bytes.", png(more=b"\0"), "image.bytes")
    case("png-cut", "The end is missing.", png()[:-12], "image.bytes")
    case(
        "png-chunk-beyond-the-end",
        "A length that points outside.",
        png()[:-12] + b"\xff\xff\xff\xffIEND",
        "image.bytes",
    )
    case("png-signature-alone", "Eight bytes.", png()[:8], "image.bytes")
    case("jpeg", "A frame before the scan.", jpeg())
    case(
        "jpeg-with-fill-bytes",
        "Fill bytes, and a marker that stands alone.",
        jpeg(b"\xff\xff\xff\x01", FRAME, SCAN, EOI),
    )
    case("jpeg-progressive", "Another kind of frame.", jpeg(FRAME.replace(b"\xc0", b"\xc2", 1), SCAN, EOI))
    case(
        "jpeg-without-frame",
        "Tables are no frame: nobody knows the sides.",
        jpeg(FRAME.replace(b"\xc0", b"\xc4", 1), SCAN, EOI),
        "image.bytes",
    )
    case(
        "jpeg-short-frame",
        "A frame too short for its sides.",
        jpeg(b"\xff\xc0\x00\x04\x08\x00", SCAN, EOI),
        "image.bytes",
    )
    case("jpeg-without-scan", "Only tables.", jpeg(FRAME, EOI), "image.bytes")
    case("jpeg-cut", "The end of the image is missing.", jpeg(FRAME, SCAN), "image.bytes")
    case("jpeg-tail", "Bytes behind the end.", jpeg(FRAME, SCAN, EOI, b"PK"), "image.bytes")
    case(
        "jpeg-segment-of-one-byte",
        "A length shorter than itself.",
        jpeg(b"\xff\xe0\x00\x01", FRAME, SCAN, EOI),
        "image.bytes",
    )
    case(
        "jpeg-no-height",
        "A height that a later marker would tell.",
        jpeg(FRAME.replace(b"\x08\x00\x03", b"\x08\x00\x00", 1), SCAN, EOI),
        "image.sides",
    )
    case("gif", "One picture.", gif())
    case(
        "gif-with-tables-and-extensions",
        "Colour tables and a comment are stepped over.",
        gif(
            b"\0" * 12,
            b"!\xfe\x03abc\x00",
            PICTURE.replace(b"\x00\x02\x02\x4c", b"\x80" + bytes(6) + b"\x02\x02\x4c", 1),
            b";",
            packed=0x81,
        ),
    )
    case("gif-without-picture", "A screen alone.", gif(b";"), "image.bytes")
    case("gif-tail", "Bytes behind the trailer.", gif(PICTURE, b";", b";"), "image.bytes")
    case("gif-cut", "No trailer.", gif(PICTURE), "image.bytes")
    case("gif-unknown-block", "A block that is none.", gif(PICTURE, b"?", b";"), "image.bytes")
    case("gif-head-alone", "Ten bytes.", gif()[:10], "image.bytes")
    case("webp-lossless", "Sides in 14 bits each.", riff(LOSSLESS))
    case("webp-lossy", "Sides after the start code.", riff(LOSSY))
    case("webp-extended", "Sides of the canvas.", riff(EXTENDED, LOSSY))
    case("webp-other-length", "A RIFF that says it is longer than its bytes.", riff(LOSSLESS, longer=2), "image.bytes")
    case(
        "webp-chunk-beyond-the-end",
        "A chunk that does not end with the file.",
        riff((b"VP8L", LOSSLESS[1]))[:-13] + bytes(15),
        "image.bytes",
    )
    case("webp-first-chunk", "Metadata first.", riff((b"EXIF", bytes(10)), LOSSY), "image.bytes")
    case("webp-lossless-signature", "No lossless stream.", riff((b"VP8L", bytes(13))), "image.bytes")
    case("webp-start-code", "No key frame.", riff((b"VP8 ", bytes(14))), "image.bytes")
    case("webp-short", "Fewer than 30 bytes.", riff((b"VP8L", LOSSLESS[1][:5])), "image.bytes")
    case("svg", "SVG is a program, and no image here.", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image.format")
    case("bitmap", "Another format.", b"BM" + bytes(60), "image.format")
    case("nothing", "No bytes.", b"", "image.format")


def requests(out: Writer) -> None:
    """§1."""

    def case(name: str, why: str, text: str, code: str | None = None) -> None:
        out.case(
            f"images/{name}",
            why,
            spec="images.md §1",
            run=["read-image-request", "request.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_REQUEST" if code else None,
            result=told(name, lambda: pictures.request(parse(text.encode())), code),
            files={"request.json": text},
        )

    case("request", "A prompt alone.", '{"model":"m","prompt":"a red circle"}')
    case(
        "request-with-all",
        "What is not named is the upstream's to read.",
        '{"model":"m","prompt":"a","n":10,"size":"1024x1536","response_format":"b64_json","output_format":"webp","quality":"high","seed":7,"x":null}',
    )
    case(
        "request-with-nulls",
        "null is as good as nothing.",
        '{"prompt":"a","n":null,"size":null,"response_format":null,"output_format":null}',
    )
    case("request-auto", "A size that the upstream chooses.", '{"prompt":"a","size":"auto"}')
    case("request-longest-prompt", "32,000 characters, however many bytes.", '{"prompt":"' + "é" * 32000 + '"}')
    case("request-prompt-too-long", "One more.", '{"prompt":"' + "é" * 32001 + '"}', "image.prompt")
    case("request-empty-prompt", "Nothing asked.", '{"prompt":""}', "image.prompt")
    case("request-number-for-prompt", "A number is no text.", '{"prompt":7}', "image.prompt")
    case("request-list-of-prompts", "One prompt a request.", '{"prompt":["a"]}', "image.prompt")
    case(
        "request-url",
        "What lies behind a URL can change after the answer: no part binds it.",
        '{"prompt":"a","response_format":"url"}',
        "image.url",
    )
    case(
        "request-other-response-format",
        "Another word.",
        '{"prompt":"a","response_format":"png"}',
        "image.response_format",
    )
    case("request-svg", "SVG is a program.", '{"prompt":"a","output_format":"svg"}', "image.format")
    for name, count in (
        ("none", "0"),
        ("eleven", "11"),
        ("half", "1.5"),
        ("exponent", "1e0"),
        ("text", '"2"'),
        ("true", "true"),
    ):
        case(
            f"request-count-{name}",
            "n is a whole number from 1 to 10, in its one spelling: two readers, one price.",
            f'{{"prompt":"a","n":{count}}}',
            "image.count",
        )
    for name, size in (
        ("words", '"large"'),
        ("one-side", '"512"'),
        ("zero", '"0x512"'),
        ("leading-zero", '"0512x512"'),
        ("six-digits", '"100000x1"'),
        ("number", "512"),
        ("line", '"1x1\\n"'),
    ):
        case(f"request-size-{name}", "Two sides, or auto.", f'{{"prompt":"a","size":{size}}}', "image.sides")


def answers(out: Writer) -> None:
    """§2."""

    def case(name: str, why: str, value: Any, code: str | None = None, count: int = 1) -> None:
        text = json.dumps(value, separators=(",", ":"))
        result = told(name, lambda: pictures.answer(parse(text.encode()), count), code)
        out.case(
            f"images/{name}",
            why,
            spec="images.md §2",
            run=["read-image-answer", "--count", str(count), "answer.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_ANSWER" if code else None,
            result=None if result is None else {"images": result},
            files={"answer.json": text},
        )

    def item(data: bytes, **more: Any) -> dict[str, Any]:
        return {"b64_json": b64(data), **more}

    case(
        "answer",
        "One image, and what the upstream made of the prompt.",
        {"created": 1, "data": [item(png(), revised_prompt="A dot.", url=None)]},
    )
    case(
        "answer-two-of-three",
        "An upstream may give fewer than were asked.",
        {"data": [item(png()), item(jpeg())]},
        count=3,
    )
    case(
        "answer-kind",
        "The kind that is claimed is the kind that is there.",
        {"output_format": "jpeg", "data": [item(jpeg())]},
    )
    case(
        "answer-other-kind",
        "A PNG that is called a JPEG.",
        {"output_format": "jpeg", "data": [item(png())]},
        "image.format",
    )
    case("answer-of-nothing", "No image.", {"data": []}, "image.count")
    case("answer-without-data", "Another shape.", {"images": [item(png())]}, "image.count")
    case(
        "answer-of-too-many", "Two where one was asked, and paid.", {"data": [item(png()), item(png())]}, "image.count"
    )
    case("answer-of-texts", "Base64 where an object belongs.", {"data": [b64(png())]}, "image.count")
    case(
        "answer-url",
        "Bytes that somebody else may change: nothing is fetched.",
        {"data": [{"url": "https://images.example/1.png"}]},
        "image.url",
    )
    case(
        "answer-url-beside-bytes",
        "A URL beside them would be shown by clients that take it first.",
        {"data": [item(png(), url="https://images.example/1.png")]},
        "image.url",
    )
    case("answer-without-bytes", "Neither.", {"data": [{"revised_prompt": "A dot."}]}, "image.base64")
    case(
        "answer-loose-base64",
        "A second spelling of the same bytes.",
        {"data": [{"b64_json": b64(png()).rstrip("=") + "\n"}]},
        "image.base64",
    )
    case("answer-number", "A number is no base64.", {"data": [{"b64_json": 1234}]}, "image.base64")
    case("answer-broken-image", "What does not decode is not delivered.", {"data": [item(png()[:-1])]}, "image.bytes")
    case("answer-html", "A page in the place of an image.", {"data": [item(b"<html>")]}, "image.format")


def urls(out: Writer) -> None:
    """§4."""

    def case(name: str, why: str, text: str, code: str | None = None) -> None:
        out.case(
            f"images/{name}",
            why,
            spec="images.md §4",
            run=["read-image-url", "url.txt"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_IMAGE" if code else None,
            result=told(name, lambda: pictures.data_url(text), code),
            files={"url.txt": text},
        )

    case("url-png", "The bytes stand in the URL.", "data:image/png;base64," + b64(png()))
    case("url-gif", "Four kinds.", "data:image/gif;base64," + b64(gif()))
    case("url-of-another-kind", "A GIF that is called a PNG.", "data:image/png;base64," + b64(gif()), "image.format")
    case(
        "url-svg",
        "A program that is called an image, and says so.",
        "data:image/svg+xml;base64," + b64(b"<svg/>"),
        "image.url",
    )
    case("url-svg-as-png", "The same, in disguise.", "data:image/png;base64," + b64(b"<svg/>"), "image.format")
    case("url-https", "Whoever fetches it shows what was never signed.", "https://images.example/1.png", "image.url")
    case("url-with-parameters", "One spelling.", "data:image/png;charset=utf-8;base64," + b64(png()), "image.url")
    case("url-percent-encoded", "Bytes in another encoding.", "data:image/png,%89PNG", "image.url")
    case("url-loose-base64", "Line breaks in base64.", "data:image/png;base64,\n" + b64(png()), "image.base64")


def counts(out: Writer) -> None:
    """§5."""

    def case(name: str, why: str, value: Any) -> None:
        out.case(
            f"images/{name}",
            why,
            spec="images.md §5",
            run=["count-images", "response.json"],
            result={"images": pictures.counted(value)},
            files={"response.json": value},
        )

    case(
        "counted-answer",
        "Two images made.",
        {"data": [{"b64_json": "AA=="}, {"b64_json": "AA==", "revised_prompt": "a"}]},
    )
    case(
        "counted-vectors",
        "Vectors are no images.",
        {"object": "list", "data": [{"object": "embedding", "embedding": [0.5]}]},
    )
    images = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    case(
        "counted-chat",
        "One in each of two choices.",
        {"choices": [{"message": {"content": "", "images": images}}, {"message": {"images": images}}, {"text": "t"}]},
    )
    case("counted-text", "None.", {"choices": [{"message": {"content": "a"}}]})


RUN, OTHER_RUN = "018f4e9a-1111-7abc-8def-0123456789ab", "018f4e9a-2222-7abc-8def-0123456789ab"
ATTESTER = "ab" * 32


def credentials(out: Writer) -> None:
    """images.md §6(2): the assertion, beside the image that a reader looks at."""
    usual = {"type": "urn:holdfast:image:v1", "run": RUN, "attester": ATTESTER, "image": 1}

    def case(name: str, why: str, value: Any, names: str | None, image: int = 1) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        out.case(
            f"images/credentials-{name}",
            why,
            spec="images.md §6",
            run=["image-claim", "--run", RUN, "--attester", ATTESTER, "--image", str(image), "assertion.json"],
            expect="accept" if names else "malformed",
            code=None if names else "image.credentials",
            bug=None if names else "SUBSTITUTION",
            result={"names": names} if names else None,
            files={"assertion.json": text.encode()},
        )

    case("of-this-image", "The second image of its run.", usual, "this_image")
    case("of-another-image", "Another image of the same run.", usual, "another_image", 0)
    case("of-another-run", "Pasted in from another run's image.", {**usual, "run": OTHER_RUN}, "another_run")
    case("of-another-gateway", "The same run id, by another gateway.", {**usual, "attester": "cd" * 32}, "another_run")
    why = "A reader that guesses what a loose assertion means can be led to any run."
    case("without-attester", why, {key: usual[key] for key in usual if key != "attester"}, None)
    case("with-more", why, {**usual, "prompt": "a cat"}, None)
    case("of-another-type", why, {**usual, "type": "urn:holdfast:image:v2"}, None)
    case("of-no-run", why, {**usual, "run": "018f4e9a"}, None)
    case("of-a-run-in-capitals", why, {**usual, "run": RUN.upper()}, None)
    case("with-a-long-digest", why, {**usual, "attester": "ab" * 33}, None)
    case("with-a-negative-image", why, {**usual, "image": -1}, None)
    case("with-an-image-as-text", why, {**usual, "image": "1"}, None)
    case("with-half-an-image", why, json.dumps(usual).replace(": 1}", ": 1.5}"), None)
    case("with-true-for-an-image", why, {**usual, "image": True}, None)
    case("as-a-list", why, [usual], None)
