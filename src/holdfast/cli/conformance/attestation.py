"""Commands of attestation evidence and of the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of
from holdfast.core import canonical, registry, rounds, trust
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.eif import measure_image, parse_image
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile
from holdfast.core.encoding import b64_decode, hex_decode, time_decode, time_encode
from holdfast.core.keys import parse_key_document
from holdfast.errors import UsageError
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation, read_references
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript


def _roots(raw: bytes, form: str) -> tuple[bytes, ...]:
    if form == "insecure-dev":
        return (b64_decode(raw.decode("utf-8", "replace").strip(), 32),)
    return parse_certificates(raw)


def _verify_quote(arguments: Arguments) -> Answer:
    """``attestation.md`` §1: parse, verify, appraise. Without roots nobody is believed."""
    at, options = time_decode(arguments.one("at")), ("roots", "collateral", "binding", "key-document", "references")
    files = {name: None if (file := arguments.maybe(name)) is None else arguments.read(file) for name in options}
    nonce = arguments.maybe("nonce")
    if not arguments.rest or arguments.rest[0] not in FORMATS:
        raise UsageError("usage.kind", f"formats: {', '.join(FORMATS)}")
    form = arguments.rest.pop(0)
    evidence = EvidenceFile(arguments.file(), files["collateral"], files["binding"])
    document = None if (raw := files["key-document"]) is None else parse_key_document(raw)
    expected = Expected(
        start=at,
        end=at,
        key_document=None if document is None else document.digest,
        nonce=None if nonce is None else hex_decode(nonce),
        references=None if (raw := files["references"]) is None else read_references(canonical.decode(raw)),
        roles=None if document is None else document.roles,
        allow_debug=form == "insecure-dev",
    )
    record = Transcript()
    roots = () if (raw := files["roots"]) is None else _roots(raw, form)
    claims = verify_attestation(form, evidence, roots, at, record, key_document=expected.key_document)
    bound = appraise_attestation(claims, expected, record).bound
    return {
        "tee": claims.tee,
        "root": claims.root_digest,
        "debug": claims.debug,
        "key_document": bound.key_document,
        "tls_spki": bound.tls_spki,
        "hpke": bound.hpke,
        "nonce": None if claims.nonce is None else claims.nonce.hex(),
        "made_at": None if claims.made_at is None else time_encode(claims.made_at),
        "tcb": claims.tcb_status,
        "valid_from": time_encode(claims.valid_from),
        "valid_until": time_encode(claims.valid_until),
        "measurements": {name: value.hex() for name, value in claims.measurements.items()},
        "checks": [check.to_json() for check in record.checks],
    }


def _measure_image(arguments: Arguments) -> Answer:
    """``attestation.md`` §12."""
    image = parse_image(arguments.file())
    registers = measure_image(image)
    return {
        "version": image.version,
        "architecture": image.architecture,
        "memory": image.memory_bytes,
        "cpus": image.cpus,
        "sections": [[section.kind, len(section.data)] for section in image.sections],
        "registers": {name: value.hex() for name, value in registers.items()},
    }


def _registry_hash(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "a hash of what?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    match kind:
        case "verdict":
            value = fields_of(raw, "chain_id", "contract", "attestation", "evidence", "accepted")
            domain = rounds.ChainDomain(value["chain_id"], value["contract"])
            evidence = hex_decode(value["evidence"])
            digest = registry.verdict_digest(domain, value["attestation"], evidence, accepted=value["accepted"])
        case "measurement":
            value = fields_of(raw, "format", "tee", "registers")
            registers = {name: hex_decode(item) for name, item in value["registers"].items()}
            digest = registry.measurement_hash(value["format"], value["tee"], registers)
        case _:
            raise UsageError("usage.kind", f"nothing is called {kind}")
    return {"hash": digest.hex()}


_SUBMISSION = (
    "kind predecessor nonce document signing_key certificate payment measurement format evidence ohttp statement_key"
)


def _appraise_registration(arguments: Arguments) -> Answer:
    at = time_decode(arguments.one("at"))
    believed = trust.verify_trust(trust.parse_trust_chain(arguments.read(arguments.one("trust"))))
    value = fields_of(arguments.file(), *_SUBMISSION.split())
    ohttp_config = None
    if value["ohttp"] is not None:
        given = value["ohttp"]
        numbers = (given["key_id"], given["kem_id"], given["kdf_id"], given["aead_id"])
        ohttp_config = registry.OhttpConfig(*numbers, hex_decode(given["public_key"]), b64_decode(given["key_config"]))
    submission = registry.Submission(
        document=b64_decode(value["document"]),
        signing_key=b64_decode(value["signing_key"]),
        certificate=b64_decode(value["certificate"]),
        payment=value["payment"],
        measurement=hex_decode(value["measurement"], 32),
        form=value["format"],
        evidence=b64_decode(value["evidence"]),
        anchor=0,
        ohttp=ohttp_config,
        statement_key=hex_decode(value["statement_key"]),
    )
    circumstances = Circumstances(
        value["kind"], hex_decode(value["predecessor"], 32), hex_decode(value["nonce"], 32), at
    )
    found = appraise_registration(submission, circumstances, believed, Transcript())
    return {"tee_id": submission.tee_id.hex(), "key_document": found.document.digest}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "verify-quote": _verify_quote,
    "measure-image": _measure_image,
    "registry-hash": _registry_hash,
    "appraise-registration": _appraise_registration,
}
