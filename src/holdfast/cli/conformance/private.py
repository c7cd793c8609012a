"""Commands of the private path: Oblivious HTTP, wraps and sealed answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, integer
from holdfast.core import binary_http, canonical, ohttp
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.hpke import AEAD
from holdfast.core.sealing import open_sealed_answer
from holdfast.core.wraps import open_wrap
from holdfast.errors import UsageError


def _open_wrap(arguments: Arguments) -> Answer:
    private, run = hex_decode(arguments.one("private"), 32), arguments.one("run")
    return {"secret": open_wrap(private, run, b64_decode(arguments.file().decode("utf-8", "replace"))).hex()}


def _open_sealed(arguments: Arguments) -> Answer:
    secret = hex_decode(arguments.one("secret"), 32)
    return {"text": open_sealed_answer(canonical.decode(arguments.file()), secret).decode()}


def _read_ohttp_keys(arguments: Arguments) -> Answer:
    found = ohttp.parse_key_configurations(arguments.file())
    return {"keys": [[item.key_id, item.public.hex(), [suite.name for suite in item.suites]] for item in found]}


def _ohttp_suite(arguments: Arguments) -> AEAD:
    name = arguments.one("suite")
    found = [suite for suite in ohttp.SUITES if suite.name == name]
    if not found:
        raise UsageError("usage.option", f"{name} is no suite")
    return found[0]


def _is_chunked(arguments: Arguments, option: str) -> bool:
    form = arguments.one(option)
    if form not in {"single", "chunked"}:
        raise UsageError("usage.option", f"--{option} is single or chunked")
    return form == "chunked"


def _seal_ohttp_request(arguments: Arguments) -> Answer:
    suite, ephemeral = _ohttp_suite(arguments), hex_decode(arguments.one("ephemeral"), 32)
    configuration = ohttp.parse_key_configuration(arguments.read(arguments.one("configuration")))
    message, _ = ohttp.encapsulate(configuration, suite, ephemeral, arguments.file())
    return {"message": b64_encode(message)}


def _open_ohttp_request(arguments: Arguments) -> Answer:
    key = ohttp.GatewayKey(integer(arguments.one("key-id")), hex_decode(arguments.one("private"), 32))
    opened = ohttp.decapsulate_chunked if _is_chunked(arguments, "form") else ohttp.decapsulate
    content, context = opened({key.configuration.key_id: key}, arguments.file())
    return {"content": b64_encode(content), "suite": context.suite.name}


def _open_ohttp_response(arguments: Arguments) -> Answer:
    suite, ephemeral = _ohttp_suite(arguments), hex_decode(arguments.one("ephemeral"), 32)
    configuration = ohttp.parse_key_configuration(arguments.read(arguments.one("configuration")))
    if _is_chunked(arguments, "request"):
        _, context = ohttp.encapsulate_chunked(configuration, suite, ephemeral)
    else:
        _, context = ohttp.encapsulate(configuration, suite, ephemeral, b"")
    if _is_chunked(arguments, "form"):
        opener = context.chunk_opener()
        chunks = [*opener.feed(arguments.file()), opener.finish()]
    else:
        chunks = [context.open(arguments.file())]
    return {"chunks": [b64_encode(chunk) for chunk in chunks]}


def _read_binary_http(arguments: Arguments) -> Answer:
    kind = arguments.rest.pop(0) if arguments.rest else ""
    if kind == "request":
        request = binary_http.parse_request(arguments.file())
        shown = {name: getattr(request, name) for name in ("method", "scheme", "authority", "path")}
        return {**shown, **_message(request)}
    if kind == "response":
        response = binary_http.parse_response(arguments.file())
        early = [[code, _lines(fields)] for code, fields in response.informational]
        return {"status": response.status, "informational": early, **_message(response)}
    raise UsageError("usage.kind", "what should be read is a request or a response")


def _message(message: binary_http.Request | binary_http.Response) -> Answer:
    return {
        "fields": _lines(message.fields),
        "content": b64_encode(message.content),
        "trailers": _lines(message.trailers),
    }


def _lines(fields: binary_http.Fields) -> list[list[str]]:
    return [list(line) for line in fields]


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "open-wrap": _open_wrap,
    "open-sealed": _open_sealed,
    "read-ohttp-keys": _read_ohttp_keys,
    "seal-ohttp-request": _seal_ohttp_request,
    "open-ohttp-request": _open_ohttp_request,
    "open-ohttp-response": _open_ohttp_response,
    "read-binary-http": _read_binary_http,
}
