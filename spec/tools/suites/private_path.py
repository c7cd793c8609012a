"""ohttp and binary-http: ohttp.md, with the examples of RFC 9458, the chunked draft and RFC 9292."""

from __future__ import annotations

from typing import Any

from reference import oblivious
from reference.cases import Writer
from reference.sealed import public_of
from reference.text import b64, named

PRIVATE, OTHER = named("ohttp/gateway"), named("ohttp/another gateway")
PUBLIC = public_of(PRIVATE)
EPHEMERAL, OTHER_EPHEMERAL = named("ohttp/ephemeral"), named("ohttp/another ephemeral")
BOTH = [(1, 1), (1, 3)]
KEY_ID = 1
QUESTION = b'{"model":"small-1","messages":[{"role":"user","content":"Does it hold?"}]}'
EVENTS = [b'data: {"choices":[{"delta":{"content":"It"}}]}\n\n', b"data: [DONE]\n\n", b""]
NONCES = {1: named("ohttp/nonce")[:16], 3: named("ohttp/nonce")}


def same(what: str, made: bytes, printed: str) -> None:
    """The second reading agrees with what an RFC prints, or there are no vectors."""
    if made.hex() != printed.replace(" ", ""):
        raise SystemExit(f"{what}: made {made.hex()}")


def write(out: Writer) -> None:
    """Write both suites."""
    configurations(out)
    examples(out)
    requests(out)
    responses(out)
    messages(out)


# --- §3 -------------------------------------------------------------------------------------------------------------


def configurations(out: Writer) -> None:
    """Key configurations."""
    good = oblivious.configuration(KEY_ID, PUBLIC, BOTH)
    names = [oblivious.NAMES[1], oblivious.NAMES[3]]

    def case(
        name: str, why: str, data: bytes, code: str | None = None, keys: Any = None, bug: str | None = None
    ) -> None:
        out.case(
            f"ohttp/keys-{name}",
            why,
            spec="ohttp.md §3",
            run=["read-ohttp-keys", "keys.bin"],
            expect="accept" if code is None else "reject" if code == "ohttp.suite" else "malformed",
            code=code,
            bug=bug,
            result=None if code else {"keys": keys},
            files={"keys.bin": data},
        )

    entry = [KEY_ID, PUBLIC.hex(), names]
    case("one", "The one configuration of a gateway.", oblivious.listed(good), keys=[entry])
    second = oblivious.configuration(2, public_of(OTHER), [(1, 3)])
    case(
        "two",
        "Two keys, as while one replaces the other.",
        oblivious.listed(good, second),
        keys=[entry, [2, public_of(OTHER).hex(), names[1:]]],
    )
    stranger = oblivious.configuration(9, bytes(65), [(1, 1)], kem=0x0010)
    case(
        "another-kem-is-passed-over",
        "A configuration of another KEM beside one that is known: a reader takes what it knows.",
        oblivious.listed(stranger, good),
        keys=[entry],
    )
    case(
        "another-suite-is-left-out",
        "A suite that nobody here knows, listed first.",
        oblivious.listed(oblivious.configuration(KEY_ID, PUBLIC, [(1, 2), *BOTH])),
        keys=[entry],
    )
    case(
        "only-another-kem",
        "Only a KEM that is not known.",
        oblivious.listed(stranger),
        "ohttp.suite",
        bug="DOWNGRADE",
    )
    case(
        "only-another-kdf",
        "HKDF-SHA384 with AES-128-GCM.",
        oblivious.listed(oblivious.configuration(KEY_ID, PUBLIC, [(2, 1)])),
        "ohttp.suite",
        bug="DOWNGRADE",
    )
    case("none", "A list of nothing.", b"", "ohttp.suite", bug="DOWNGRADE")
    case(
        "one-id-twice",
        "Two configurations of one id: the gateway would open with one what was sealed to the other.",
        oblivious.listed(good, oblivious.configuration(KEY_ID, public_of(OTHER), BOTH)),
        "ohttp.key_config",
        bug="SUBSTITUTION",
    )
    for name, why, data in (
        ("cut", "The last byte is missing.", oblivious.listed(good)[:-1]),
        ("half-a-length", "The list ends inside a length.", oblivious.listed(good) + b"\x00"),
        ("no-suites", "A key with no suite.", oblivious.listed(oblivious.configuration(KEY_ID, PUBLIC, []))),
        ("suite-twice", "A suite that is listed twice.", oblivious.listed(good[:35] + b"\0\x08" + good[37:41] * 2)),
        ("more-than-its-suites", "A byte stands behind the suites.", oblivious.listed(good + b"\x00")),
        ("half-a-suite", "A suite of two bytes.", oblivious.listed(good[:35] + b"\0\x02" + good[37:39])),
    ):
        case(name, why, data, "ohttp.key_config", bug="PARSER_DIFFERENCE")


# --- examples of the standards --------------------------------------------------------------------------------------


def seal_case(
    out: Writer,
    name: str,
    why: str,
    spec: str,
    config: bytes,
    ephemeral: bytes,
    content: bytes,
    message: bytes,
    aead: int,
) -> None:
    """A request that is made byte for byte."""
    out.case(
        f"ohttp/{name}",
        why,
        spec=spec,
        run=[
            "seal-ohttp-request",
            "--suite",
            oblivious.NAMES[aead],
            "--ephemeral",
            ephemeral.hex(),
            "--configuration",
            "configuration.bin",
            "content.bin",
        ],
        result={"message": b64(message)},
        files={"configuration.bin": config, "content.bin": content},
    )


def examples(out: Writer) -> None:
    """RFC 9458 appendix A, and the example of the chunked draft."""
    content = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
    private = bytes.fromhex("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a")
    ephemeral = bytes.fromhex("bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73")
    config = oblivious.configuration(1, public_of(private), BOTH)
    same(
        "RFC 9458 key configuration",
        config,
        "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003",
    )
    context = oblivious.request_context(public_of(private), ephemeral, 1, 1)
    message = oblivious.request(context, 1, content)
    same(
        "RFC 9458 request",
        message,
        "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525",
    )
    same("RFC 9458 secret", context.export(b"message/bhttp response", 16), "62d87a6ba569ee81014c2641f52bea36")
    answer = oblivious.response(context, bytes.fromhex("c789e7151fcba46158ca84b04464910d"), bytes.fromhex("0140c8"))
    same("RFC 9458 response", answer, "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd")
    seal_case(
        out,
        "rfc-9458-request-made",
        "RFC 9458, appendix A: the request, byte for byte.",
        "ohttp.md §4(1)",
        config,
        ephemeral,
        content,
        message,
        1,
    )
    open_request(
        out, "rfc-9458-request", "RFC 9458, appendix A: the request.", message, private=private, content=content
    )
    open_response(
        out,
        "rfc-9458-response",
        "RFC 9458, appendix A: the response.",
        answer,
        config=config,
        ephemeral=ephemeral,
        chunks=[bytes.fromhex("0140c8")],
    )

    private = bytes.fromhex("1c190d72acdbe4dbc69e680503bb781a932c70a12c8f3754434c67d8640d8698")
    ephemeral = bytes.fromhex("b26d565f3f875ed480d1abced3d665159650c99174fd0b124ac4bda0c64ae324")
    config = oblivious.configuration(1, public_of(private), BOTH)
    same(
        "draft key configuration",
        config,
        "010020668eb21aace159803974a4c67f08b4152d29bed10735fd08f98ccdd6fe09570800080001000100010003",
    )
    context = oblivious.request_context(public_of(private), ephemeral, 1, 1, chunked=True)
    pieces = oblivious.chunked_request(context, 1, [content[:12], content[12:], b""])
    same(
        "draft request",
        b"".join(pieces),
        "010020000100018811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032 1c2ad24942d4d692563012f2980c8fef437a336b9b2fc938ef77a5834f"
        "1d2e33d8fd25577afe31bd1c79d094f76b6250ae6549b473ecd950501311 001c6c1395d0ef7c1022297966307b8a7f",
    )
    same("draft secret", context.export(b"message/bhttp chunked response", 16), "1d4484834ae36102a6ac42a5523454d9")
    chunks = [b"\x01", b"\x40\xc8", b""]
    answers = oblivious.chunked_response(context, bytes.fromhex("bcce7f4cb921309ba5d62edf1769ef09"), chunks)
    same(
        "draft response",
        b"".join(answers),
        "bcce7f4cb921309ba5d62edf1769ef09 1179bf1cc87fa0e2c02de4546945aa3d1e48 12b348b5bd4c594c16b6170b07b475845d1f32 00ed9d8a796617a5b27265f4d73247f639",
    )
    open_request(
        out,
        "chunked-draft-request",
        "The example of the chunked draft: the request.",
        b"".join(pieces),
        private=private,
        form="chunked",
        content=content,
    )
    open_response(
        out,
        "chunked-draft-response",
        "The example of the chunked draft: the response.",
        b"".join(answers),
        config=config,
        ephemeral=ephemeral,
        request="chunked",
        form="chunked",
        chunks=chunks,
    )


# --- §4: requests ---------------------------------------------------------------------------------------------------


def open_request(
    out: Writer,
    name: str,
    why: str,
    message: bytes,
    code: str | None = None,
    *,
    private: bytes = PRIVATE,
    form: str = "single",
    content: bytes = QUESTION,
    bug: str | None = None,
) -> None:
    """A request at a gateway with one key of id 1."""
    out.case(
        f"ohttp/{name}",
        why,
        spec="ohttp.md §4",
        run=["open-ohttp-request", "--private", private.hex(), "--key-id", "1", "--form", form, "request.bin"],
        expect=expects(code),
        code=code,
        bug=bug,
        result=None if code else {"content": b64(content)},
        files={"request.bin": message},
    )


def expects(code: str | None) -> str:
    """Bad bytes, or a check that said no."""
    if code is None:
        return "accept"
    return "malformed" if code in {"ohttp.truncated", "ohttp.chunk"} else "reject"


def flipped(data: bytes, place: int) -> bytes:
    """One bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def requests(out: Writer) -> None:
    """Requests of both suites, single-shot and chunked, and what is wrong with others."""
    config = oblivious.configuration(KEY_ID, PUBLIC, BOTH)
    for aead, name in oblivious.NAMES.items():
        made = oblivious.request(oblivious.request_context(PUBLIC, EPHEMERAL, KEY_ID, aead), KEY_ID, QUESTION)
        open_request(out, f"request-{name}", "A sealed request, as clients of either profile send it.", made)
        seal_case(
            out,
            f"request-{name}-made",
            "The same request, made.",
            "ohttp.md §4(1)",
            config,
            EPHEMERAL,
            QUESTION,
            made,
            aead,
        )

    def single(**more: Any) -> bytes:
        return oblivious.request(oblivious.request_context(PUBLIC, EPHEMERAL, KEY_ID, 1, **more), KEY_ID, QUESTION)

    good = single()
    open_request(out, "request-changed", "One bit of the ciphertext.", flipped(good, 60), "ohttp.open", bug="TAMPERING")
    open_request(
        out, "request-changed-enc", "One bit of the encapsulated key.", flipped(good, 12), "ohttp.open", bug="TAMPERING"
    )
    open_request(out, "request-longer", "A byte behind it.", good + b"\x00", "ohttp.open", bug="TAMPERING")
    open_request(out, "request-cut", "Its last byte is missing.", good[:-1], "ohttp.open", bug="TRUNCATION")
    open_request(
        out, "request-no-content", "It ends before a tag could.", good[: 39 + 15], "ohttp.truncated", bug="TRUNCATION"
    )
    open_request(out, "request-empty", "Nothing at all.", b"", "ohttp.truncated", bug="PARSER_DIFFERENCE")
    open_request(
        out,
        "request-other-key",
        "Sealed to another gateway's key.",
        good,
        "ohttp.open",
        private=OTHER,
        bug="SUBSTITUTION",
    )
    wrong_id = oblivious.request(oblivious.request_context(PUBLIC, EPHEMERAL, 2, 1), 2, QUESTION)
    open_request(
        out,
        "request-other-key-id",
        "A key id that the gateway does not have.",
        wrong_id,
        "ohttp.key_id",
        bug="SUBSTITUTION",
    )
    for name, why, head in (
        ("other-kem", "Its header names another KEM.", oblivious.header(KEY_ID, 1, kem=0x0010)),
        ("other-kdf", "Its header names another KDF.", oblivious.header(KEY_ID, 1, kdf=2)),
        (
            "aes-256",
            "Its header names AES-256-GCM, which the configuration does not offer.",
            oblivious.header(KEY_ID, 2),
        ),
        ("export-only", "Its header names the AEAD that seals nothing.", oblivious.header(KEY_ID, 0xFFFF)),
    ):
        open_request(out, f"request-{name}", why, head + good[7:], "ohttp.suite", bug="DOWNGRADE")
    swapped = oblivious.header(KEY_ID, 3) + good[7:]
    open_request(
        out,
        "request-suite-swapped",
        "Sealed with AES-128-GCM, its header rewritten to the other suite that is offered: the header is bound into the key.",
        swapped,
        "ohttp.open",
        bug="DOWNGRADE",
    )
    open_request(
        out,
        "request-other-label",
        "Sealed for another content type.",
        single(label=b"message/bhttp query"),
        "ohttp.open",
        bug="DOMAIN_CONFUSION",
    )
    open_request(
        out,
        "request-of-small-order",
        "An encapsulated key of small order: whoever sends it knows the shared secret without the gateway's key.",
        good[:7] + bytes(32) + good[39:],
        "ohttp.open",
        bug="WEAK_KEY",
    )

    def pieces(aead: int = 1, chunks: list[bytes] | None = None) -> list[bytes]:
        context = oblivious.request_context(PUBLIC, EPHEMERAL, KEY_ID, aead, chunked=True)
        return oblivious.chunked_request(context, KEY_ID, chunks or [QUESTION[:20], QUESTION[20:], b""])

    def case(name: str, why: str, message: bytes, code: str | None = None, **more: Any) -> None:
        open_request(out, f"chunked-request-{name}", why, message, code, form="chunked", **more)

    for aead, name in oblivious.NAMES.items():
        case(name, "A request in three chunks.", b"".join(pieces(aead)))
    case("one-chunk", "A request in its last chunk alone.", b"".join(pieces(chunks=[QUESTION])))
    sealed = pieces()
    case(
        "reordered",
        "Two chunks in the other order.",
        b"".join(sealed[at] for at in (0, 2, 1, 3)),
        "ohttp.open",
        bug="REORDER",
    )
    case(
        "repeated",
        "A chunk that is sent twice.",
        b"".join(sealed[at] for at in (0, 1, 1, 2, 3)),
        "ohttp.open",
        bug="REPLAY",
    )
    case("dropped", "A chunk is missing.", b"".join(sealed[at] for at in (0, 2, 3)), "ohttp.open", bug="TRUNCATION")
    case(
        "without-the-last", "It ends before its last chunk.", b"".join(sealed[:3]), "ohttp.truncated", bug="TRUNCATION"
    )
    case(
        "single-as-chunked",
        "A single-shot request that is offered as chunked.",
        good[:39] + b"\x00" + good[39:],
        "ohttp.open",
        bug="DOMAIN_CONFUSION",
    )
    open_request(
        out,
        "chunked-request-as-single",
        "A chunked request that is offered as single-shot.",
        sealed[0] + pieces(chunks=[QUESTION])[1][1:],
        "ohttp.open",
        bug="DOMAIN_CONFUSION",
    )


# --- §4: responses --------------------------------------------------------------------------------------------------


def open_response(
    out: Writer,
    name: str,
    why: str,
    message: bytes,
    code: str | None = None,
    *,
    config: bytes | None = None,
    ephemeral: bytes = EPHEMERAL,
    aead: int = 1,
    request: str = "single",
    form: str = "single",
    chunks: list[bytes] | None = None,
    bug: str | None = None,
) -> None:
    """A response at the client that holds this ephemeral key."""
    out.case(
        f"ohttp/{name}",
        why,
        spec="ohttp.md §4",
        run=[
            "open-ohttp-response",
            "--suite",
            oblivious.NAMES[aead],
            "--ephemeral",
            ephemeral.hex(),
            "--configuration",
            "configuration.bin",
            "--request",
            request,
            "--form",
            form,
            "response.bin",
        ],
        expect=expects(code),
        code=code,
        bug=bug,
        result=None if code else {"chunks": [b64(chunk) for chunk in chunks or []]},
        files={
            "configuration.bin": config or oblivious.configuration(KEY_ID, PUBLIC, BOTH),
            "response.bin": message,
        },
    )


def responses(out: Writer) -> None:
    """Responses of both suites and both kinds, and what is wrong with others."""

    def context(aead: int, ephemeral: bytes = EPHEMERAL, *, chunked: bool = False) -> oblivious.Context:
        return oblivious.request_context(PUBLIC, ephemeral, KEY_ID, aead, chunked=chunked)

    for aead, suite in oblivious.NAMES.items():
        nonce = NONCES[aead]
        single = oblivious.response(context(aead), nonce, b"It holds.")
        open_response(out, f"response-{suite}", "A sealed answer.", single, aead=aead, chunks=[b"It holds."])
        stream = oblivious.chunked_response(context(aead), nonce, EVENTS)

        def case(
            name: str,
            why: str,
            message: bytes,
            code: str | None = None,
            *,
            suite: str = suite,
            aead: int = aead,
            **more: Any,
        ) -> None:
            open_response(
                out,
                f"chunked-response-{suite}{name}",
                why,
                message,
                code,
                aead=aead,
                form="chunked",
                chunks=EVENTS,
                **more,
            )

        case("", "An answer in chunks to a single-shot request, as event streams are sent.", b"".join(stream))
        for name, why, order in (
            ("-reordered", "A relay sends two chunks in the other order.", (0, 2, 1, 3)),
            ("-repeated", "A relay sends a chunk twice.", (0, 1, 1, 2, 3)),
            ("-dropped", "A relay drops a chunk.", (0, 2, 3)),
            ("-only-the-last", "A relay drops all chunks but the last.", (0, 3)),
            ("-last-twice", "A relay sends the last chunk twice.", (0, 1, 2, 3, 3)),
            ("-something-after-the-last", "A relay sends a chunk again after the last one.", (0, 1, 2, 3, 1)),
        ):
            case(name, why, b"".join(stream[at] for at in order), "ohttp.open", bug="REORDER")
        case(
            "-cut-at-a-chunk",
            "A relay stops between two chunks: what came is true and not all.",
            b"".join(stream[:3]),
            "ohttp.truncated",
            bug="TRUNCATION",
        )
        case(
            "-cut-in-a-chunk",
            "A relay stops inside a chunk.",
            b"".join(stream[:3])[:-1],
            "ohttp.truncated",
            bug="TRUNCATION",
        )
        case(
            "-cut-in-the-last",
            "The last chunk ends before its tag.",
            b"".join(stream)[:-1],
            "ohttp.truncated",
            bug="TRUNCATION",
        )
        case(
            "-billing-frame",
            "A frame in the clear stands between chunks, which a relay should have taken out.",
            stream[0] + stream[1] + b"\n--billing--\n" + b"".join(stream[2:]),
            "ohttp.chunk",
            bug="PARSER_DIFFERENCE",
        )
        case(
            "-byte-after",
            "A byte stands after the last chunk.",
            b"".join(stream) + b"\x00",
            "ohttp.open",
            bug="TAMPERING",
        )
        case(
            "-changed", "One bit of a chunk.", flipped(b"".join(stream), len(nonce) + 5), "ohttp.open", bug="TAMPERING"
        )
        case("-changed-nonce", "One bit of the nonce.", flipped(b"".join(stream), 0), "ohttp.open", bug="TAMPERING")
        case(
            "-marked-last",
            "A relay writes the sign of the last chunk before the first one and stops: the answer would look whole.",
            stream[0] + b"\x00" + stream[1][1 if len(stream[1]) < 65 else 2 :],
            "ohttp.open",
            bug="TRUNCATION",
        )
        case(
            "-longer-length",
            "A length in more bytes than it needs: RFC 9000 allows it, and nothing signs lengths.",
            stream[0]
            + oblivious.number(len(EVENTS[0]) + 16, size=8)
            + stream[1][1 if len(stream[1]) < 65 else 2 :]
            + b"".join(stream[2:]),
        )
    single, stream = (
        oblivious.response(context(1), NONCES[1], b"It holds."),
        oblivious.chunked_response(context(1), NONCES[1], EVENTS),
    )
    open_response(
        out, "response-changed", "One bit of the ciphertext.", flipped(single, 20), "ohttp.open", bug="TAMPERING"
    )
    open_response(out, "response-cut", "Its last byte is missing.", single[:-1], "ohttp.open", bug="TRUNCATION")
    open_response(
        out, "response-no-content", "It ends before a tag could.", single[:31], "ohttp.truncated", bug="TRUNCATION"
    )
    open_response(
        out,
        "response-to-another-request",
        "The answer to another request of the same client: a relay that keeps answers could show one again.",
        oblivious.response(context(1, OTHER_EPHEMERAL), NONCES[1], b"It holds."),
        "ohttp.open",
        bug="REPLAY",
    )
    open_response(
        out,
        "chunked-response-to-another-request",
        "A stream that answers another request.",
        b"".join(oblivious.chunked_response(context(1, OTHER_EPHEMERAL), NONCES[1], EVENTS)),
        "ohttp.open",
        form="chunked",
        bug="REPLAY",
    )
    open_response(
        out,
        "response-other-suite",
        "Sealed under the other suite.",
        oblivious.response(context(3), NONCES[3], b"It holds."),
        "ohttp.open",
        bug="DOWNGRADE",
    )
    open_response(
        out,
        "response-as-chunked",
        "A single-shot response that is offered as a chunked one: each kind has keys of its own.",
        single[:16] + b"\x00" + single[16:],
        "ohttp.open",
        form="chunked",
        bug="DOMAIN_CONFUSION",
    )
    lone = oblivious.chunked_response(context(1), NONCES[1], [b"It holds."])
    open_response(
        out,
        "chunked-response-as-single",
        "A chunked response that is offered as a single-shot one.",
        lone[0] + lone[1][1:],
        "ohttp.open",
        bug="DOMAIN_CONFUSION",
    )
    open_response(
        out,
        "chunked-response-impossible-length",
        "A chunk shorter than its tag.",
        stream[0] + b"\x0f" + bytes(15),
        "ohttp.chunk",
        form="chunked",
        bug="PARSER_DIFFERENCE",
    )
    open_response(
        out,
        "chunked-response-to-a-chunked-request",
        "Request and response in chunks.",
        b"".join(oblivious.chunked_response(context(1, chunked=True), NONCES[1], EVENTS)),
        request="chunked",
        form="chunked",
        chunks=EVENTS,
    )
    open_response(
        out,
        "chunked-response-with-empty-chunks",
        "Chunks without content: the draft allows them.",
        b"".join(oblivious.chunked_response(context(1), NONCES[1], [b"", b"It holds.", b"", b""])),
        form="chunked",
        chunks=[b"", b"It holds.", b"", b""],
    )


# --- §5 -------------------------------------------------------------------------------------------------------------

HELLO = [
    (b"user-agent", b"curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
    (b"host", b"www.example.com"),
    (b"accept-language", b"en, mi"),
]
POST = (b"POST", b"https", b"gateway.example", b"/v1/chat/completions")
JSON = [(b"content-type", b"application/json")]


def messages(out: Writer) -> None:
    """Binary HTTP."""

    def case(
        name: str,
        why: str,
        data: bytes,
        code: str | None = None,
        *,
        kind: str = "request",
        result: dict[str, Any] | None = None,
        bug: str = "PARSER_DIFFERENCE",
    ) -> None:
        out.case(
            f"binary-http/{name}",
            why,
            spec="ohttp.md §5",
            run=["read-binary-http", kind, "message.bin"],
            expect="malformed" if code else "accept",
            code=code,
            bug=bug if code else None,
            result=result,
            files={"message.bin": data},
        )

    def texts(lines: oblivious.Lines) -> list[list[str]]:
        return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in lines]

    control = (b"GET", b"https", b"", b"/hello.txt")
    known = oblivious.http_request(control, HELLO, [], [], known=True)
    same(
        "RFC 9292 request",
        known,
        "0003474554056874747073000a2f68656c6c6f2e747874406c0a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e31362e3320"
        "4f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d6c616e677561676506656e2c206d690000",
    )
    shown = {
        "method": "GET",
        "scheme": "https",
        "authority": "",
        "path": "/hello.txt",
        "fields": texts(HELLO),
        "content": "",
        "trailers": [],
    }
    case("rfc-9292-request", "RFC 9292 §5.1, known length.", known, result=shown)
    case("rfc-9292-request-truncated", "The same without its two empty sections.", known[:-2], result=shown)
    open_ended = oblivious.http_request(control, HELLO, [], [], known=False) + bytes(10)
    case(
        "rfc-9292-request-indeterminate",
        "RFC 9292 §5.1, indeterminate length, with ten bytes of padding.",
        open_ended,
        result=shown,
    )
    case(
        "rfc-9292-request-indeterminate-truncated",
        "The same without what may be left out.",
        open_ended[:-12],
        result=shown,
    )
    early = [
        (102, [(b"running", b'"sleep 15"')]),
        (103, [(b"link", b"</style.css>; rel=preload; as=style"), (b"link", b"</script.js>; rel=preload; as=script")]),
    ]
    lines = [
        (b"date", b"Mon, 27 Jul 2009 12:28:53 GMT"),
        (b"server", b"Apache"),
        (b"last-modified", b"Wed, 22 Jul 2009 19:15:56 GMT"),
        (b"etag", b'"34aa387-d-1568eb00"'),
        (b"accept-ranges", b"bytes"),
        (b"content-length", b"51"),
        (b"vary", b"Accept-Encoding"),
        (b"content-type", b"text/plain"),
    ]
    hello = b"Hello World! My content includes a trailing CRLF.\r\n"
    case(
        "rfc-9292-response-interim",
        "RFC 9292 §5.2: interim responses before the final one.",
        oblivious.http_response(200, lines, [hello], [], known=False, early=early),
        kind="response",
        result={
            "status": 200,
            "fields": texts(lines),
            "content": b64(hello),
            "informational": [[code, texts(fields)] for code, fields in early],
        },
    )
    trailer = oblivious.http_response(
        200, [], [b"This content contains CRLF.\r\n"], [(b"trailer", b"text")], known=True
    )
    same(
        "RFC 9292 trailer",
        trailer,
        "0140c8001d5468697320636f6e74656e7420636f6e7461696e732043524c462e0d0a0d07747261696c65720474657874",
    )
    case(
        "rfc-9292-response-trailer",
        "RFC 9292 §5.2: a trailer.",
        trailer,
        kind="response",
        result={"status": 200, "content": b64(b"This content contains CRLF.\r\n"), "trailers": [["trailer", "text"]]},
    )

    def post(
        lines: oblivious.Lines = JSON, content: bytes = QUESTION, *, known: bool = True, control: Any = POST
    ) -> bytes:
        return oblivious.http_request(control, lines, [content[:9], content[9:]], [], known=known)

    case(
        "chat",
        "A chat request of known length.",
        post(),
        result={"method": "POST", "path": "/v1/chat/completions", "content": b64(QUESTION)},
    )
    case("chat-in-pieces", "The same in pieces.", post(known=False), result={"content": b64(QUESTION)})
    case(
        "chat-padded",
        "The same, padded to 4,096 bytes.",
        post() + bytes(4096 - len(post())),
        result={"content": b64(QUESTION)},
    )
    events = oblivious.http_response(200, [(b"content-type", b"text/event-stream")], EVENTS[:2], [], known=False)
    case(
        "events",
        "A stream of events.",
        events,
        kind="response",
        result={"status": 200, "content": b64(b"".join(EVENTS))},
    )
    case(
        "longer-lengths",
        "Lengths in more bytes than they need.",
        b"\x40\x00" + b"".join(oblivious.number(len(part), size=4) + part for part in POST),
        result={"method": "POST", "fields": [], "content": ""},
    )

    case(
        "padding-of-something",
        "Padding that is not zeros would carry what nobody looks at.",
        post() + bytes(20) + b"x",
        "bhttp.padding",
    )
    case("cut-in-a-field", "It ends inside a field.", known[:60], "bhttp.truncated", bug="TRUNCATION")
    case("cut-in-the-content", "It ends inside its content.", post()[:-9], "bhttp.truncated", bug="TRUNCATION")
    case("cut-in-control-data", "It ends inside its control data.", known[:12], "bhttp.truncated", bug="TRUNCATION")
    case(
        "open-ended-cut-in-the-content",
        "Pieces without their end: the answer would look whole.",
        events[:-2],
        "bhttp.truncated",
        kind="response",
        bug="TRUNCATION",
    )
    case("empty", "Nothing at all.", b"", "bhttp.truncated")
    case(
        "response-as-request",
        "A response where a request is expected.",
        trailer,
        "bhttp.framing",
        bug="DOMAIN_CONFUSION",
    )
    case(
        "request-as-response",
        "A request where a response is expected.",
        known,
        "bhttp.framing",
        kind="response",
        bug="DOMAIN_CONFUSION",
    )
    case("unknown-framing", "A framing that does not exist.", b"\x04" + known[1:], "bhttp.framing")
    for name, why, line in (
        (
            "upper-case-name",
            "HTTP/2 forbids it: two programs would not agree whether a field is there.",
            (b"Content-Type", b"text/plain"),
        ),
        ("name-with-a-blank", "A name that is no token.", (b"content type", b"text/plain")),
        ("empty-name", "A name of nothing.", (b"", b"x")),
        ("pseudo-field", "Control data smuggled in as a field.", (b":path", b"/admin")),
        (
            "line-ends",
            "A value with a line end becomes two fields in HTTP/1.1.",
            (b"a", b"x\r\nauthorization: Bearer y"),
        ),
        ("nul", "A value with a NUL.", (b"a", b"x\x00")),
        ("blank-at-the-edge", "A blank that one program strips and another one keeps.", (b"a", b"x ")),
        (
            "transfer-encoding",
            "A length that HTTP/1.1 would believe instead of the message's.",
            (b"transfer-encoding", b"chunked"),
        ),
        ("connection", "A field of a connection: it names others to be dropped.", (b"connection", b"authorization")),
        ("upgrade", "A field of a connection.", (b"upgrade", b"websocket")),
        ("te", "te may say trailers and nothing else.", (b"te", b"gzip")),
    ):
        case(f"field-{name}", why, post([*JSON, line]), "bhttp.field", bug="SMUGGLING")
        case(f"field-{name}-open-ended", why, post([*JSON, line], known=False), "bhttp.field", bug="SMUGGLING") if line[
            0
        ] else None
    for name, why, changed in (
        ("method", "A method with a blank.", (b"GE T", *POST[1:])),
        ("no-scheme", "No scheme.", (POST[0], b"", *POST[2:])),
        ("user", "User information in the authority.", (*POST[:2], b"user@gateway.example", POST[3])),
        ("no-path", "No path.", (*POST[:3], b"")),
        ("whole-uri", "A whole URI as path.", (*POST[:3], b"https://other.example/")),
        ("fragment", "A path with a fragment.", (*POST[:3], b"/v1#x")),
        ("path-with-a-line-end", "A path with a line end.", (*POST[:3], b"/v1\r\nhost: other")),
        ("asterisk", "The asterisk with another method than OPTIONS.", (*POST[:3], b"*")),
    ):
        case(f"control-{name}", why, post(control=changed), "bhttp.control", bug="SMUGGLING")
    case(
        "control-other-host",
        "A host field that names another authority.",
        post([(b"host", b"other.example")]),
        "bhttp.control",
        bug="SMUGGLING",
    )
    case(
        "control-two-hosts",
        "Two host fields.",
        post([(b"host", b"gateway.example")] * 2),
        "bhttp.control",
        bug="SMUGGLING",
    )
    case(
        "length-too-small",
        "A content-length that is less than the content.",
        post([(b"content-length", b"9")]),
        "bhttp.content_length",
        bug="SMUGGLING",
    )
    case(
        "length-too-large",
        "A content-length that is more than the content.",
        post([(b"content-length", b"999")]),
        "bhttp.content_length",
        bug="SMUGGLING",
    )
    for status in (99, 600):
        case(
            f"status-{status}",
            "No status of HTTP.",
            b"\x01" + oblivious.number(status),
            "bhttp.status",
            kind="response",
        )
    case(
        "only-interim",
        "An interim response and no final one.",
        b"\x01" + oblivious.number(103) + b"\x00",
        "bhttp.truncated",
        kind="response",
        bug="TRUNCATION",
    )
    huge = oblivious.number((1 << 62) - 1)
    case("huge-method", "A length that no memory holds.", b"\x00" + huge, "bhttp.size", bug="EXHAUSTION")
    case(
        "huge-section",
        "A section that no memory holds.",
        b"\x01\x40\xc8" + huge,
        "bhttp.size",
        kind="response",
        bug="EXHAUSTION",
    )
    case(
        "huge-content",
        "Content that no memory holds.",
        b"\x01\x40\xc8\x00" + huge,
        "bhttp.size",
        kind="response",
        bug="EXHAUSTION",
    )
    case("many-fields", "257 fields.", post([(b"a", b"")] * 257), "bhttp.size", bug="EXHAUSTION")
    case(
        "many-interim",
        "17 interim responses.",
        b"\x01" + (oblivious.number(102) + b"\x00") * 17 + b"\x40\xc8",
        "bhttp.size",
        kind="response",
        bug="EXHAUSTION",
    )
