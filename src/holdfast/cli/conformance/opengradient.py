"""Commands of OpenGradient's wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, exact_object, fields_of
from holdfast.core import opengradient
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.evm import keccak256
from holdfast.errors import UsageError


def _opengradient_endpoint(arguments: Arguments) -> str:
    if not arguments.rest or arguments.rest[0] not in opengradient.ENDPOINTS:
        raise UsageError("usage.kind", f"an endpoint is one of {', '.join(opengradient.ENDPOINTS)}")
    return arguments.rest.pop(0)


def _opengradient_request(arguments: Arguments) -> Answer:
    endpoint = _opengradient_endpoint(arguments)
    text = opengradient.canonical_request(endpoint, exact_object(arguments.file()))
    return {"text": text.decode(), "hash": keccak256(text).hex()}


def _opengradient_output(arguments: Arguments) -> Answer:
    endpoint = _opengradient_endpoint(arguments)
    text = opengradient.output_text(endpoint, exact_object(arguments.file()))
    return {"text": text, "hash": keccak256(text.encode()).hex()}


def _opengradient_hash(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "a hash of what?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    match kind:
        case "answer":
            value = fields_of(raw, "request_hash", "output_hash", "timestamp")
            both = (opengradient.parse_hash(value["request_hash"]), opengradient.parse_hash(value["output_hash"]))
            digest = opengradient.message_hash(*both, value["timestamp"])
        case "heartbeat":
            value = fields_of(raw, "tee_id", "timestamp")
            digest = opengradient.heartbeat_hash(opengradient.parse_hash(value["tee_id"]), value["timestamp"])
        case "ohttp":
            value = fields_of(raw, "tee_id", "key_id", "kem_id", "kdf_id", "aead_id", "public_key", "key_config")
            numbers = (value["key_id"], value["kem_id"], value["kdf_id"], value["aead_id"])
            key, config = hex_decode(value["public_key"]), b64_decode(value["key_config"])
            digest = opengradient.ohttp_hash(opengradient.parse_hash(value["tee_id"]), *numbers, key, config)
        case "attestation":
            value = fields_of(raw, "certificate", "key")
            digest = opengradient.attestation_data(b64_decode(value["certificate"]), b64_decode(value["key"]))
        case _:
            raise UsageError("usage.kind", f"nothing is called {kind}")
    return {"hash": digest.hex()}


def _verify_opengradient(arguments: Arguments) -> Answer:
    key = b64_decode(arguments.read(arguments.one("key")).decode("ascii").strip())
    request = exact_object(arguments.read(arguments.one("request")))
    endpoint = _opengradient_endpoint(arguments)
    found = opengradient.verify_answer(endpoint, request, exact_object(arguments.file()), key)
    return {
        "tee_id": found.tee_id.hex(),
        "request_hash": found.request_hash.hex(),
        "output_hash": found.output_hash.hex(),
        "timestamp": found.timestamp,
    }


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "opengradient-request": _opengradient_request,
    "opengradient-output": _opengradient_output,
    "opengradient-hash": _opengradient_hash,
    "verify-opengradient": _verify_opengradient,
}
