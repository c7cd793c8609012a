"""OpenGradient's answer format: opengradient.md §2 to §8."""

from __future__ import annotations

from typing import Any

from reference import opengradient, x509
from reference.cases import Writer
from reference.signing import keccak256
from reference.text import b64, exact_text, named, parse

CHAT, COMPLETION = "chat.completions", "completions"
TIME = 1_700_000_000
USER = {"role": "user", "content": "What holds?"}
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]


def write(out: Writer) -> None:
    """Write the suite."""
    requests(out)
    outputs(out)
    answers(out)
    digests(out)


def requests(out: Writer) -> None:
    """§2."""

    def case(name: str, why: str, text: str, code: str | None = None, endpoint: str = CHAT, **more: Any) -> None:
        result = None
        if code is None:
            canonical = opengradient.canonical(endpoint, parse(text.encode()))
            result = {"text": canonical.decode(), "hash": keccak256(canonical).hex()}
        out.case(
            f"opengradient/request-{name}",
            why,
            spec="opengradient.md §2",
            run=["opengradient-request", endpoint, "request.json"],
            expect="malformed" if code else "accept",
            code=code,
            result=result,
            files={"request.json": text},
            **more,
        )

    def chat(*messages: str, more: str = "") -> str:
        return '{"model":"gpt-5","messages":[' + ",".join(messages or (exact_text(USER),)) + "]" + more + "}"

    case(
        "published",
        "A system text outside ASCII, a part of text and an image, of which only the type is hashed.",
        chat(
            '{"role":"system","content":"You are café"}',
            '{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:x"}}]}',
            more=',"max_tokens":100,"temperature":0,"web_search":true',
        ),
    )
    case("least", "Nothing but model and a message: the temperature is 0.0 all the same.", chat())
    case("temperature-of-one", "An integer temperature is a double: 1.0.", chat(more=',"temperature":1'))
    case("temperature-null", "Null is as absent.", chat(more=',"temperature":null,"max_tokens":null'))
    case(
        "numbers",
        "Doubles as the fewest digits that read back, exponents below 1e-4 and from 1e16 on; integers of any size as they are.",
        chat(
            more=',"temperature":0.7,"max_tokens":100.0,"stop":["a"],"tools":[1e5,1E-5,1e16,123456789012345678901234567890,-0,-0.0,0.10000000000000000555,5e-324,9007199254740993.0]'
        ),
    )
    case(
        "characters",
        "Control characters, the delete character, the slash, quotes, a pair of surrogates.",
        chat(exact_text({"role": "user", "content": '\x00\x1f\x7f/"\\\b\f\n\r\t\u2028é€😀'})),
    )
    case(
        "names-by-code-point",
        "Members are in the order of code points, not of UTF-16 units as in our own canonical JSON: U+FF5E is before U+1F600.",
        chat(more=',"response_format":{"😀":1,"～":2,"b":3,"a":4,"B":5,"":6}'),
    )
    case(
        "every-role",
        "Each role has its members; developer counts as system.",
        chat(
            '{"role":"developer","content":"d","name":"x"}',
            '{"role":"system"}',
            '{"role":"user","content":"u","name":"x"}',
            '{"role":"assistant","content":null,"tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{}","strict":true},"index":0},{"type":"custom"}]}',
            '{"role":"assistant","content":[]}',
            '{"role":"assistant","content":[{"type":"text","text":"kept"}],"tool_calls":[]}',
            '{"role":"tool","content":"42","tool_call_id":"c1"}',
            '{"role":"function","content":"42","name":"f"}',
        ),
    )
    case(
        "attachments",
        "A file's name is hashed, its bytes and an image's address are not; text that is null is empty.",
        chat(
            '{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:y"}},{"type":"file","filename":"b.pdf"},{"type":"file","file":{"filename":""}},{"type":"text","text":null},{"type":"text"}]}'
        ),
    )
    case(
        "what-is-not-hashed",
        "tool_choice, n, top_p, seed, user, metadata, stream and unknown members are not in the hash; empty lists, zero and false count as absent.",
        chat(
            more=',"tool_choice":"auto","n":1,"top_p":0.5,"seed":7,"user":"u","metadata":{"a":1},"stream":true,"other":1e999,"stop":[],"tools":[],"response_format":{},"web_search":0,"reasoning_effort":"High"'
        ),
    )
    case(
        "tools",
        "Tools, a response format, stop and effort are hashed as they are.",
        chat(
            more=',"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"b":{"type":"number","minimum":0.5},"a":{}}}}}],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}},"stop":"END","reasoning_effort":"low","web_search":"yes"'
        ),
    )
    case(
        "completion",
        "A completion has a prompt and no messages, tools or format.",
        '{"model":"m","prompt":"Say é","max_tokens":5,"tools":[1],"reasoning_effort":"low"}',
        endpoint=COMPLETION,
    )
    for name, why, text in (
        ("no-model", "A model is named.", '{"messages":[{"role":"user","content":"a"}]}'),
        ("no-messages", "There is a message.", '{"model":"m","messages":[]}'),
        ("message-no-object", "A message is an object.", chat('"hello"')),
        ("unknown-role", "A role that the format does not name.", chat('{"role":"critic","content":"a"}')),
        (
            "number-as-content",
            "A user's content is a text or parts; str() of anything else is Python's alone.",
            chat('{"role":"user","content":7}'),
        ),
        (
            "object-as-content",
            "The repr of a Python dict is no form that others can write.",
            chat('{"role":"user","content":{"a":1}}'),
        ),
        ("part-without-type", "A part has a type.", chat('{"role":"user","content":[{"text":"a"}]}')),
        (
            "part-text-number",
            "The text of a part is a text.",
            chat('{"role":"user","content":[{"type":"text","text":7}]}'),
        ),
        ("tools-no-list", "tools is a list.", chat(more=',"tools":{"a":1}')),
        (
            "tool-calls-no-list",
            "tool_calls is a list.",
            chat('{"role":"assistant","content":"a","tool_calls":{"a":1}}'),
        ),
        (
            "tool-call-no-object",
            "A call is an object.",
            chat('{"role":"assistant","content":"a","tool_calls":["f"]}'),
        ),
        ("temperature-text", "A temperature is a number.", chat(more=',"temperature":"0.5"')),
        ("temperature-true", "True is no temperature, whatever float() makes of it.", chat(more=',"temperature":true')),
    ):
        case(name, why, text, "opengradient.request", bug="PARSER_DIFFERENCE")
    case(
        "several-prompts",
        "Only one text is signed, so only one prompt is taken.",
        '{"model":"m","prompt":["a","b"]}',
        "opengradient.request",
        endpoint=COMPLETION,
        bug="OMISSION",
    )
    for name, why, number in (
        ("infinite", "Beyond every double: Python would write Infinity, which is no JSON.", "1e400"),
        ("infinite-negative", "The same below zero.", "-1e309"),
        ("too-many-digits", "An integer of 4,301 digits.", "1" * 4301),
    ):
        case(f"number-{name}", why, chat(more=f',"tools":[{number}]'), "opengradient.number", bug="PARSER_DIFFERENCE")
    case(
        "temperature-infinite",
        "A temperature that is an integer beyond every double.",
        chat(more=f',"temperature":{"9" * 400}'),
        "opengradient.number",
        bug="PARSER_DIFFERENCE",
    )


def outputs(out: Writer) -> None:
    """§3."""

    def case(name: str, why: str, answer: Any, code: str | None = None, endpoint: str = CHAT, **more: Any) -> None:
        result = None
        if code is None:
            text = opengradient.output(endpoint, answer)
            result = {"text": text, "hash": keccak256(text.encode()).hex()}
        out.case(
            f"opengradient/output-{name}",
            why,
            spec="opengradient.md §3",
            run=["opengradient-output", endpoint, "answer.json"],
            expect="malformed" if code else "accept",
            code=code,
            result=result,
            files={"answer.json": answer},
            **more,
        )

    def said(message: Any, reason: str | None = "stop") -> dict[str, Any]:
        return {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}

    case("text", "The text of the first choice.", said({"role": "assistant", "content": "hello"}))
    case("empty", "No content is the empty text.", said({"role": "assistant", "content": None}))
    case("tool-calls", "A choice that ended in tool calls.", said({"content": None, "tool_calls": CALLS}, "tool_calls"))
    case(
        "tool-calls-with-more",
        "What a stream leaves beside id, type and function is not in the text, and neither is the text beside the calls.",
        said({"content": "I call f.", "tool_calls": [{**CALLS[0], "index": 0}]}, "tool_calls"),
    )
    case(
        "tool-calls-with-less",
        "A call without id or type, as some servers make it, and one whose arguments never came.",
        said(
            {"tool_calls": [{"function": {"name": "f"}}, {"id": None, "type": None, "function": {"name": None}}]},
            "tool_calls",
        ),
    )
    case(
        "tool-calls-and-stop",
        "Calls of a choice that ended otherwise: the text is hashed.",
        said({"content": "no", "tool_calls": CALLS}),
    )
    case("completion", "The text of a completion.", {"choices": [{"text": "done é"}]}, endpoint=COMPLETION)
    for name, why, answer in (
        ("no-choices", "There is a choice.", {"choices": []}),
        ("no-message", "A choice of a chat has a message.", {"choices": [{"text": "a"}]}),
        ("parts", "The content of an answer is a text.", said({"content": [{"type": "text", "text": "a"}]})),
        (
            "arguments-object",
            "Arguments are a text that holds JSON.",
            said({"tool_calls": [{**CALLS[0], "function": {"name": "f", "arguments": {}}}]}, "tool_calls"),
        ),
        ("calls-no-objects", "A call is an object.", said({"tool_calls": ["f"]}, "tool_calls")),
        ("calls-no-list", "Calls are a list.", said({"tool_calls": {"id": "c1"}}, "tool_calls")),
    ):
        case(name, why, answer, "opengradient.answer", bug="PARSER_DIFFERENCE")


def answers(out: Writer) -> None:
    """§4 and §5."""
    key, other = x509.rsa("opengradient"), x509.rsa("opengradient/other")
    request = {"model": "gpt-5", "messages": [USER], "max_tokens": 100}
    request_hash = keccak256(opengradient.canonical(CHAT, request))
    output_hash = keccak256(b"It holds.")
    tee_id = keccak256(key.spki)

    def signed(**change: Any) -> dict[str, Any]:
        signature = bytes.fromhex(opengradient.sign(key, opengradient.answer_hash(request_hash, output_hash, TIME)))
        choice = {"index": 0, "message": {"role": "assistant", "content": "It holds."}, "finish_reason": "stop"}
        members = {
            "choices": [choice],
            "tee_signature": b64(signature),
            "tee_request_hash": request_hash.hex(),
            "tee_output_hash": output_hash.hex(),
            "tee_timestamp": TIME,
            "tee_id": "0x" + tee_id.hex(),
            **change,
        }
        return {name: value for name, value in members.items() if value is not ...}

    def case(name: str, why: str, answer: Any, code: str | None = None, spki: bytes = key.spki, **more: Any) -> None:
        malformed = code in {"opengradient.answer", "opengradient.hash", "opengradient.key", "encoding.base64"}
        result = {"tee_id": tee_id.hex(), "timestamp": TIME, "request_hash": request_hash.hex()}
        out.case(
            f"opengradient/answer-{name}",
            why,
            spec="opengradient.md §5",
            run=["verify-opengradient", "--key", "key.b64", "--request", "request.json", CHAT, "answer.json"],
            expect="malformed" if malformed else "reject" if code else "accept",
            code=code,
            result=None if code else result,
            files={"key.b64": b64(spki), "request.json": more.pop("request", request), "answer.json": answer},
            **more,
        )

    case("good", "An answer that its gateway signed.", signed())
    case(
        "other-spellings",
        "Hashes with 0x, an id without, letters of either case: as their other services write them.",
        signed(
            tee_request_hash="0x" + request_hash.hex().upper(),
            tee_output_hash="0x" + output_hash.hex(),
            tee_id=tee_id.hex().upper(),
        ),
    )
    case(
        "of-another-key",
        "The answer names the key that was asked for, and is signed by it; the reader knows another.",
        signed(),
        "opengradient.tee_id",
        other.spki,
        bug="SUBSTITUTION",
    )
    forged = bytes.fromhex(opengradient.sign(other, opengradient.answer_hash(request_hash, output_hash, TIME)))
    case(
        "signed-by-another",
        "Signed by a key of the attacker's, under the id of the real one.",
        signed(tee_signature=b64(forged)),
        "opengradient.signature",
        bug="SUBSTITUTION",
    )
    case(
        "to-another-request",
        "An answer to a request that asked for fewer tokens.",
        signed(),
        "opengradient.request_hash",
        request={**request, "max_tokens": 10},
        bug="SUBSTITUTION",
    )
    changed = {"index": 0, "message": {"role": "assistant", "content": "It falls."}, "finish_reason": "stop"}
    case(
        "changed-text",
        "The text was changed on the way.",
        signed(choices=[changed]),
        "opengradient.output_hash",
        bug="TAMPERING",
    )
    case(
        "later-time",
        "The time was moved by one second.",
        signed(tee_timestamp=TIME + 1),
        "opengradient.signature",
        bug="TAMPERING",
    )
    heartbeat = bytes.fromhex(opengradient.sign(key, opengradient.heartbeat(tee_id, TIME)))
    case(
        "of-a-heartbeat",
        "The signature of a heartbeat of the same key.",
        signed(tee_signature=b64(heartbeat)),
        "opengradient.signature",
        bug="SUBSTITUTION",
    )
    short = x509.RSA("opengradient").sign(opengradient.answer_hash(request_hash, output_hash, TIME), "sha384")
    case(
        "of-another-scheme",
        "PSS with SHA-384 by the same key.",
        signed(tee_signature=b64(short)),
        "opengradient.signature",
        bug="DOWNGRADE",
    )
    for name in ("tee_signature", "tee_request_hash", "tee_output_hash", "tee_timestamp", "tee_id"):
        case(
            f"without-{name.replace('_', '-')}",
            f"{name} is missing: an answer is signed whole or not at all.",
            signed(**{name: ...}),
            "opengradient.answer",
            bug="OMISSION",
        )
    case(
        "time-as-text",
        "The time is an integer.",
        signed(tee_timestamp=str(TIME)),
        "opengradient.answer",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "time-too-late",
        "A time beyond 64 bits.",
        signed(tee_timestamp=2**63),
        "opengradient.answer",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "hash-cut-short",
        "A hash of 31 bytes.",
        signed(tee_output_hash=output_hash.hex()[2:]),
        "opengradient.hash",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "signature-cut-short",
        "A signature of 255 bytes.",
        signed(tee_signature=b64(forged[:-1])),
        "encoding.base64",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "key-with-more",
        "A byte after the key.",
        signed(),
        "opengradient.key",
        key.spki + b"\x00",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "key-of-294-other-bytes",
        "294 bytes that are no key.",
        signed(),
        "opengradient.key",
        named("no key", 294),
        bug="PARSER_DIFFERENCE",
    )


def digests(out: Writer) -> None:
    """§4, §6, §7, §8."""
    tee_id, public = b"\x11" * 32, bytes(range(32))
    config = bytes.fromhex("010020") + public + bytes.fromhex("000400010003")
    certificate, spki = named("certificate", 700), x509.rsa("opengradient").spki
    request_hash = "92d978040be2879555bce54120af9f2f4061f16e937e4fbb8744a877c92f268b"
    hello = keccak256(b"hello")

    def case(name: str, why: str, section: str, kind: str, value: Any, digest: bytes) -> None:
        out.case(
            f"opengradient/{name}",
            why,
            spec=f"opengradient.md §{section}",
            run=["opengradient-hash", kind, "value.json"],
            result={"hash": digest.hex()},
            files={"value.json": value},
        )

    case(
        "hash-of-an-answer",
        "The hash that an answer's signature is over.",
        "4",
        "answer",
        {"request_hash": request_hash, "output_hash": hello.hex(), "timestamp": TIME},
        opengradient.answer_hash(bytes.fromhex(request_hash), hello, TIME),
    )
    case(
        "hash-of-a-heartbeat",
        "The hash that a heartbeat's signature is over.",
        "7",
        "heartbeat",
        {"tee_id": tee_id.hex(), "timestamp": TIME},
        opengradient.heartbeat(tee_id, TIME),
    )
    numbers = (1, 0x20, 1, 3)
    case(
        "hash-of-a-key-configuration",
        "The hash that signs an oblivious key configuration.",
        "6",
        "ohttp",
        {
            "tee_id": tee_id.hex(),
            **dict(zip(("key_id", "kem_id", "kdf_id", "aead_id"), numbers, strict=True)),
            "public_key": public.hex(),
            "key_config": b64(config),
        },
        opengradient.configuration(tee_id, numbers, public, config),
    )
    case(
        "user-data",
        "The bytes that bind a TLS certificate and the signing key to an attestation.",
        "8",
        "attestation",
        {"certificate": b64(certificate), "key": b64(spki)},
        opengradient.user_data(certificate, spki),
    )
