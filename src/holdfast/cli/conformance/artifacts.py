"""Commands of artifacts: manifests, histories of labels, circuits, proofs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of, integer
from holdfast.core import canonical, statements
from holdfast.core.artifact_changes import verify_change, verify_history
from holdfast.core.artifacts import parse_model_signature, verify_files, verify_model_signature
from holdfast.core.circuits import quantise, same_circuit, show_instance
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.keys import parse_key_document
from holdfast.core.proofs import verify_proof_document
from holdfast.core.rotation import parse_rotation, verify_lineage
from holdfast.errors import UsageError


def _verify_manifest(arguments: Arguments) -> Answer:
    """``artifacts.md`` §1, §2: a signed manifest, and, where they are given, whether files are its."""
    document = parse_key_document(arguments.read(arguments.one("key-document")))
    files = arguments.maybe("files")
    key = document.key_for("statement")
    if key is None:
        raise UsageError("usage.file", "the key document has no statement key")
    manifest = verify_model_signature(parse_model_signature(arguments.file()), key)
    if files is not None:
        verify_files(manifest, canonical.decode_object(arguments.read(files)))
    return {"artifact": manifest.artifact, "root": manifest.root}


def _verify_history(arguments: Arguments) -> Answer:
    """``artifacts.md`` §5(1): changes of one label with what opens them, in order; no signature is checked."""
    opened = []
    for item in fields_of(arguments.file(), "changes")["changes"]:
        statement = statements.parse_statement(statements.parse_envelope(b64_decode(item["envelope"])))
        change = verify_change(statement, b64_decode(item["document"]), hex_decode(item["salt"]))
        opened.append((statement, change))
    verify_history(opened)
    last = opened[-1][1]
    return {"label": last.label.name if last.label else None, "artifact": last.artifact}


def _verify_lineage(arguments: Arguments) -> Answer:
    value = fields_of(arguments.file(), "documents", "rotations")
    documents = [parse_key_document(b64_decode(item)) for item in value["documents"]]
    rotations = [parse_rotation(b64_decode(item)) for item in value["rotations"]]
    return {"first": verify_lineage(documents, rotations)}


def _circuit_numbers(arguments: Arguments) -> Answer:
    """``inference.md`` §5(2): numbers as a circuit takes them."""
    scale = integer(arguments.one("scale"))
    numbers = canonical.decode_exact(arguments.file())
    return {"instances": [show_instance(quantise(float(number), scale)) for number in numbers]}


def _same_circuit(arguments: Arguments) -> Answer:
    """``inference.md`` §5(5): whether two settings are of one circuit."""
    return {"same": same_circuit(arguments.read(arguments.one("other")), arguments.file())}


def _verify_proof(arguments: Arguments) -> Answer:
    """``inference.md`` §5(5): what a ``proved`` statement commits to, held against the ``computed`` one. The proof
    itself is not verified."""
    salt = hex_decode(arguments.one("salt"))
    computed, proved = (
        statements.parse_statement(statements.parse_envelope(arguments.read(arguments.one(name))))
        for name in ("computed", "proved")
    )
    document = verify_proof_document(proved, computed, arguments.file(), salt)
    return {"instances": len(document.instances), "inputs": list(document.inputs)}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "circuit-numbers": _circuit_numbers,
    "same-circuit": _same_circuit,
    "verify-proof": _verify_proof,
    "verify-manifest": _verify_manifest,
    "verify-history": _verify_history,
    "verify-lineage": _verify_lineage,
}
