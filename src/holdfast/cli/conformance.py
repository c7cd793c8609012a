"""The conformance client: one command for each operation of ``/vectors`` (``tests/conformance/PROTOCOL.md``).

``run`` takes a command line and answers with an exit code and one JSON object; ``main`` prints it. Exit codes: 0
accept, 1 reject (which includes malformed), 2 usage, 3 undecided. It holds no logic: each command parses its files and
calls one or two public functions of ``core`` and ``verifier``. Files are read here and nowhere below.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from holdfast.core import (
    binary_http,
    canonical,
    images,
    memory,
    merkle,
    notes,
    ohttp,
    opengradient,
    parts,
    pricing,
    quilt,
    registry,
    rounds,
    statements,
    tiles,
    trust,
    walrus,
    x402,
)
from holdfast.core.addresses import check_address, parse_address, parse_network
from holdfast.core.admissions import parse_admission, verify_observation, verify_quorum
from holdfast.core.artifact_changes import parse_change, verify_change, verify_history
from holdfast.core.artifacts import parse_model_signature, verify_files, verify_model_signature
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.eif import measure_image, parse_image
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile
from holdfast.core.blob_sealing import open_blob
from holdfast.core.bundles import parse_bundle
from holdfast.core.circuits import quantise, same_circuit, show_instance
from holdfast.core.context import parse_context
from holdfast.core.decisions import parse_decision_document
from holdfast.core.dialects import Dialect, Speaking
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.dialects.openai import find_profile
from holdfast.core.dns_reads import TYPES, DnsRead, read_answer
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex, time_decode, time_encode
from holdfast.core.evm import address_of, keccak256
from holdfast.core.expectations import admit_value, parse_expectation
from holdfast.core.extraction import extract, parse_extraction
from holdfast.core.files import chunks_of, parse_file_document
from holdfast.core.fold import Fold
from holdfast.core.hpke import AEAD
from holdfast.core.inference import Tensor, make_tensor, parse_inference
from holdfast.core.keys import parse_key_document
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.messages.fold import fold_of
from holdfast.core.opengradient_settlement import build_batch, parse_row, row_id
from holdfast.core.payments import parse_payment_document, verify_amounts
from holdfast.core.pricing import parse_decimal
from holdfast.core.proofs import parse_proof_document, verify_proof_document
from holdfast.core.quotes import find_quotes
from holdfast.core.recalls import parse_recall_document
from holdfast.core.rotation import parse_rotation, verify_lineage
from holdfast.core.sealing import open_sealed_answer
from holdfast.core.sources import parse_registry, parse_registry_toml
from holdfast.core.witness import parse_add_checkpoint
from holdfast.core.wraps import open_wrap
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError, UsageError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation, read_references
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.checks import (
    CheckPolicy,
    EntryCheck,
    KnownStatement,
    check_entry,
    refuse_attester,
    refuse_time,
)
from holdfast.verifier.children import verify_children
from holdfast.verifier.gate import Decision, History, LaneVector, Release, decide
from holdfast.verifier.lanes import Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy, parse_requirement
from holdfast.verifier.queue_policy import parse_queue_policy, parse_queue_policy_document
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.route_policy import SOURCES, Candidate, RoutePolicies, decide_route, parse_route_policy
from holdfast.verifier.transcript import Transcript

Answer: TypeAlias = dict[str, Any]
"""What a command says besides verdict and code."""


_SPEAKING: Mapping[str, Speaking] = {"anthropic": AnthropicDialect(), "gemini": GeminiDialect()}
"""Dialects that shape answers, by name."""


class Arguments:
    """A command line: options in any number, then files. Every option takes one value."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self.options: dict[str, list[str]] = {}
        self.rest: list[str] = []
        queue = list(words)
        while queue:
            word = queue.pop(0)
            if not word.startswith("--"):
                self.rest.append(word)
            elif queue:
                self.options.setdefault(word[2:], []).append(queue.pop(0))
            else:
                raise UsageError("usage.option", f"{word} needs a value")

    def one(self, name: str) -> str:
        """The value of an option that must be there once."""
        values = self.options.pop(name, [])
        if len(values) != 1:
            raise UsageError("usage.option", f"--{name} is given once")
        return values[0]

    def maybe(self, name: str) -> str | None:
        """The value of an option that may be there."""
        return self.one(name) if name in self.options else None

    def many(self, name: str) -> list[str]:
        """All values of an option."""
        return self.options.pop(name, [])

    def file(self) -> bytes:
        """The bytes of the next file; the last argument of every command."""
        if not self.rest:
            raise UsageError("usage.file", "a file is missing")
        return self.read(self.rest.pop(0))

    def read(self, name: str) -> bytes:
        """The bytes of a named file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise UsageError("usage.file", f"cannot read {name}") from error

    def end(self) -> None:
        """Refuse what nobody asked for."""
        if self.rest or self.options:
            raise UsageError("usage.option", "unknown arguments")


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise UsageError("usage.number", f"{text!r} is not a number")
    return int(text)


def _fields(raw: bytes, *names: str) -> dict[str, Any]:
    value = canonical.decode_object(raw)
    if value.keys() != set(names):
        raise UsageError("usage.file", f"expected exactly {', '.join(names)}")
    return value


def _hold_admission(raw: bytes) -> None:
    """A document, and whether it holds by itself (``admission.md`` §3(6), §5(4))."""
    document = parse_admission(raw)
    verify_observation(document)
    verify_quorum(document, {})


def _decode(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "what should be decoded?")
    kind = arguments.rest.pop(0)
    raw = arguments.file()
    decoders: dict[str, Callable[[bytes], object]] = {
        "json": canonical.decode,
        "canonical": canonical.decode_signed,
        "hex": lambda value: hex_decode(value.decode("utf-8", "replace")),
        "base64": lambda value: b64_decode(value.decode("utf-8", "replace")),
        "time": lambda value: time_decode(value.decode("utf-8", "replace")),
        "vkey": lambda value: notes.parse_vkey(value.decode("utf-8", "replace")),
        "key-document": parse_key_document,
        "walrus-id": lambda value: walrus.parse_id(value.decode("utf-8", "replace")),
        "walrus-patch-id": lambda value: quilt.parse_patch_id(value.decode("utf-8", "replace")),
        "decision-document": parse_decision_document,
        "payment-document": lambda value: verify_amounts(parse_payment_document(value)),
        "proof-document": parse_proof_document,
        "admission-document": _hold_admission,
        "artifact-change": parse_change,
        "recall-document": parse_recall_document,
        "file-document": parse_file_document,
        "context": lambda value: parse_context(value.decode("utf-8", "replace")),
        "add-checkpoint": parse_add_checkpoint,
        "verdict-blob": rounds.parse_verdict_blob,
    }
    if kind not in decoders:
        raise UsageError("usage.kind", f"unknown kind {kind}")
    decoders[kind](raw)
    return {}


def _file_chunks(arguments: Arguments) -> Answer:
    """``files.md`` §4: where a file's text is divided."""
    chunks = chunks_of(parse_file_document(arguments.file()))
    return {"chunks": [[chunk.page, chunk.start, chunk.end] for chunk in chunks]}


def _file_quotes(arguments: Arguments) -> Answer:
    """``files.md`` §8: what an answer repeats of a file of which every chunk was shown."""
    answer = arguments.read(arguments.one("answer")).decode()
    document = parse_file_document(arguments.file())
    found = find_quotes(answer, [(document, chunks_of(document))])
    return {"quotes": [[item.answer_start, item.answer_end, item.page, item.start, item.end] for item in found]}


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


def _circuit_numbers(arguments: Arguments) -> Answer:
    """``inference.md`` §5(2): numbers as a circuit takes them."""
    scale = _integer(arguments.one("scale"))
    numbers = canonical.decode_exact(arguments.file())
    return {"instances": [show_instance(quantise(float(number), scale)) for number in numbers]}


def _same_circuit(arguments: Arguments) -> Answer:
    """``inference.md`` §5(5): whether two settings are of one circuit."""
    return {"same": same_circuit(arguments.read(arguments.one("other")), arguments.file())}


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
    for item in _fields(arguments.file(), "changes")["changes"]:
        statement = statements.parse_statement(statements.parse_envelope(b64_decode(item["envelope"])))
        change = verify_change(statement, b64_decode(item["document"]), hex_decode(item["salt"]))
        opened.append((statement, change))
    verify_history(opened)
    last = opened[-1][1]
    return {"label": last.label.name if last.label else None, "artifact": last.artifact}


def _verify_lineage(arguments: Arguments) -> Answer:
    value = _fields(arguments.file(), "documents", "rotations")
    documents = [parse_key_document(b64_decode(item)) for item in value["documents"]]
    rotations = [parse_rotation(b64_decode(item)) for item in value["rotations"]]
    return {"first": verify_lineage(documents, rotations)}


def _part_list(found: Sequence[parts.Part]) -> list[list[str]]:
    return [[part.label.decode(), part.data.decode()] for part in found]


def _map_parts(arguments: Arguments) -> Answer:
    document, run = arguments.one("document"), arguments.one("run")
    secret = hex_decode(arguments.one("secret"), 32)
    made = parts.commit(document, arguments.file(), parts.pseudo_random_key(run, secret))
    return {"root": made.tree.root.hex(), "size": made.tree.size, "parts": _part_list(made.parts)}


def _read_inference(arguments: Arguments) -> Answer:
    declared = dict(item.partition("=")[::2] for item in arguments.many("input"))
    found = parse_inference(canonical.decode_exact(arguments.file()))
    items = []
    for number, item in enumerate(found.items):
        read = {name: make_tensor(value, declared[name], f"{number}.{name}") for name, value in item.items()}
        items.append({name: _shown_tensor(tensor) for name, tensor in read.items()})
    return {"model": found.model, "mode": found.mode, "inputs": items}


def _shown_image(found: images.Image) -> Answer:
    return {"kind": found.kind, "width": found.width, "height": found.height, "bytes": found.size_bytes}


def _read_image(arguments: Arguments) -> Answer:
    return _shown_image(images.parse_image(arguments.file()))


def _read_image_url(arguments: Arguments) -> Answer:
    return _shown_image(images.parse_data_url(arguments.file().decode())[0])


def _read_image_request(arguments: Arguments) -> Answer:
    return dataclasses.asdict(images.parse_request(_exact_object(arguments.file())))


def _read_image_answer(arguments: Arguments) -> Answer:
    count = _integer(arguments.one("count"))
    found = images.parse_answer(_exact_object(arguments.file()), count)
    return {"images": [_shown_image(image) for image in found]}


def _count_images(arguments: Arguments) -> Answer:
    return {"images": images.count_images(_exact_object(arguments.file()))}


def _shown_tensor(tensor: Tensor) -> list[Any]:
    data = tensor.data.hex() if isinstance(tensor.data, bytes) else list(tensor.data)
    return [tensor.dtype, list(tensor.shape), data]


def _verify_part(arguments: Arguments) -> Answer:
    tree = statements.Tree(hex_decode(arguments.one("root"), 32), _integer(arguments.one("size")))
    part = parts.verify_part(parts.parse_disclosed_part(canonical.decode(arguments.file())), tree)
    return {"label": part.label.decode()}


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
    key = ohttp.GatewayKey(_integer(arguments.one("key-id")), hex_decode(arguments.one("private"), 32))
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


def _events(raw: bytes) -> list[Any]:
    return [canonical.decode_exact(line) for line in raw.split(b"\n") if line]


def _fold(arguments: Arguments) -> Answer:
    fold = fold_of(arguments.maybe("endpoint") or "chat.completions")
    for event in _events(arguments.file()):
        fold.add(event)
    return {"parts": _part_list(parts.map_parts("response", fold.document()))}


def _dialect_request(arguments: Arguments) -> Answer:
    name = arguments.one("dialect")
    dialect: Dialect = _SPEAKING[name] if name in _SPEAKING else find_profile(name)
    try:
        prepared = dialect.prepare("chat.completions", canonical.decode_exact(arguments.file()))
    except UsageError as error:
        if error.code != "request.dialect":
            raise
        raise MalformedError(error.code, error.message) from error
    return {
        "path": prepared.path,
        "rewrites": list(prepared.rewrites),
        "ignored": list(prepared.ignored),
        "parts": _part_list(parts.map_parts("sent", prepared.document)),
    }


def _dialect_answer(arguments: Arguments) -> Answer:
    dialect, created = _SPEAKING[arguments.one("dialect")], _integer(arguments.one("created"))
    document = dialect.whole(canonical.decode_exact(arguments.file()), created)
    return {"parts": _part_list(parts.map_parts("response", document))}


def _dialect_stream(arguments: Arguments) -> Answer:
    reader = _SPEAKING[arguments.one("dialect")].reader(_integer(arguments.one("created")))
    fold = Fold()
    for event in _events(arguments.file()):
        for chunk in reader.take(event):
            fold.add(chunk)
    for chunk in reader.end():
        fold.add(chunk)
    return {"parts": _part_list(parts.map_parts("response", fold.document()))}


def _verify_marks(arguments: Arguments) -> Answer:
    run, secret = arguments.one("run"), hex_decode(arguments.one("secret"), 32)
    key = parse_key_document(arguments.read(arguments.one("key-document"))).key_for("statement")
    if key is None:
        raise UsageError("usage.key", "the key document has no statement key")
    chain = MarkChain(parts.pseudo_random_key(run, secret))
    answer: Answer = {"seq": 0, "parts": None, "covered": 0}
    for number, event in enumerate(_events(arguments.file()), start=1):
        chain.add(event)
        carried = event.get("holdfast")
        if isinstance(carried, dict) and "mark" in carried:
            mark, signature = parse_mark(carried["mark"])
            verify_mark(mark, signature, chain=chain, run=run, key=key)
            answer = {"seq": mark.seq, "parts": mark.parts.hex(), "covered": number}
    return answer


def _parse_statement(arguments: Arguments) -> Answer:
    statement = statements.parse_statement(statements.parse_envelope(arguments.file()))
    return {"kind": statement.kind, "digest": statement.digest, "run": statement.run, "attester": statement.attester}


def _trust_versions(arguments: Arguments, name: str) -> tuple[trust.TrustVersion, ...]:
    return trust.parse_trust_chain(arguments.read(name))


def _trust(arguments: Arguments) -> trust.Trust | None:
    name = arguments.maybe("trust")
    return None if name is None else trust.verify_trust(_trust_versions(arguments, name))


class _Log:
    """What was said of the entries so far, in the shape ``check_entry`` asks for."""

    def __init__(self) -> None:
        self.statements: dict[str, KnownStatement] = {}
        self.closings: dict[tuple[str, str], str] = {}
        self.heads: dict[tuple[str, str], int] = {}
        self.payments: dict[tuple[str, str], str] = {}

    def known(self, digest: str) -> KnownStatement | None:
        return self.statements.get(digest)

    def closing(self, run: str, attester: str) -> str | None:
        return self.closings.get((run, attester))

    def head(self, attester: str, journal: str, before: int) -> int | None:
        del before  # entries are judged in their order
        return self.heads.get((attester, journal))

    def paid(self, step: str, attester: str) -> str | None:
        return self.payments.get((step, attester))

    def remember(self, check: EntryCheck, index: int) -> None:
        known = check.remember(index)
        if known is None:
            return
        self.statements.setdefault(check.digest, known)
        if check.code == "ok" and known.closing:
            self.closings.setdefault((known.run, known.attester), check.digest)
        if check.code == "ok" and known.journal is not None and known.seq is not None:
            self.heads[known.attester, known.journal] = known.seq
        if check.code == "ok" and known.pays is not None:
            self.payments.setdefault((known.pays, known.attester), check.digest)


def _bounds(arguments: Arguments) -> CheckPolicy:
    name = arguments.maybe("policy")
    return parse_policy(arguments.read(name) if name else DEFAULT_POLICY).bounds


def _verify_statement(arguments: Arguments) -> Answer:
    """Steps 1 to 6 of ``statement.md`` §7; ``--at`` is when the statement was first seen."""
    bounds, at, believed = _bounds(arguments), time_decode(arguments.one("at")), _trust(arguments)
    statement = statements.parse_statement(statements.parse_envelope(arguments.file()))
    if believed is None:
        raise UndecidedError("trust.missing", "no trust, no judgement")
    why = refuse_attester(statement, believed, until=at) or refuse_time(statement, at, bounds)
    if why is not None:
        raise RefusedError(f"statement.{why}", f"the statement is refused: {why}")
    return {"kind": statement.kind, "digest": statement.digest}


def _verify_entries(arguments: Arguments) -> Answer:
    """All steps of ``statement.md`` §7 for entries of one log, one a line; ``--at`` is when they were first seen."""
    bounds, at, believed = _bounds(arguments), time_decode(arguments.one("at")), _trust(arguments)
    if believed is None:
        raise UndecidedError("trust.missing", "no trust, no judgement")
    log, verdicts = _Log(), []
    for index, line in enumerate(arguments.file().split(b"\n")[:-1]):
        check = check_entry(line, index=index, seen_at=at, trust=believed, policy=bounds, history=log)
        log.remember(check, index)
        verdicts.append(check.code)
    refuted = [code for code in verdicts if code.startswith("refuted:")]
    if refuted:
        raise _Refused("statement." + refuted[0].removeprefix("refuted:"), {"verdicts": verdicts})
    return {"verdicts": verdicts}


class _Refused(Exception):  # noqa: N818 - carries an answer, not an error
    """A refusal that still has something to say."""

    def __init__(self, code: str, answer: Answer) -> None:
        super().__init__(code)
        self.code = code
        self.answer = answer


def _verify_trust(arguments: Arguments) -> Answer:
    pin, accepted = arguments.maybe("pin"), arguments.maybe("accepted")
    before = None
    if accepted is not None:
        last = _trust_versions(arguments, accepted)[-1]
        before = (last.version, last.digest)
    found = trust.verify_trust(trust.parse_trust_chain(arguments.file()), pin=pin, accepted=before)
    return {"version": found.version, "digest": found.digest, "pin": found.pin, "development": found.development}


def _verify_children(arguments: Arguments) -> Answer:
    value = _fields(arguments.file(), "parent", "answer", "children")
    parsed = {
        run: statements.parse_statement(statements.parse_envelope(canonical.encode(envelope)))
        for run, envelope in [(item["run"], item["envelope"]) for item in value["children"]]
    }
    parent = statements.parse_statement(statements.parse_envelope(canonical.encode(value["parent"])))
    found = verify_children(parent, value["answer"], parsed)
    return {"missing": [child.run for child in found.missing]}


def _verify_inclusion(arguments: Arguments) -> Answer:
    value = _fields(arguments.file(), "entry", "index", "size", "proof", "root")
    proof = [hex_decode(step) for step in value["proof"]]
    leaf = merkle.leaf_hash(b64_decode(value["entry"]))
    merkle.verify_inclusion(leaf, value["index"], value["size"], proof, hex_decode(value["root"], 32))
    return {}


def _verify_consistency(arguments: Arguments) -> Answer:
    value = _fields(arguments.file(), "old_size", "old_root", "new_size", "new_root", "proof")
    old, new = hex_decode(value["old_root"], 32), hex_decode(value["new_root"], 32)
    proof = [hex_decode(step) for step in value["proof"]]
    merkle.verify_consistency(value["old_size"], old, value["new_size"], new, proof)
    return {}


def _verify_checkpoint(arguments: Arguments) -> Answer:
    origin, key = arguments.one("origin"), notes.parse_vkey(arguments.one("key"))
    witnesses = [notes.parse_vkey(text) for text in arguments.many("cosigner")]
    found = notes.verify_checkpoint(arguments.file(), origin, [key])
    cosigned = notes.verify_cosignatures(found.note, witnesses)
    return {
        "size": found.size,
        "root": found.root.hex(),
        "cosignatures": sorted([item.key.name, item.time] for item in cosigned),
    }


def _verify_extension(arguments: Arguments) -> Answer:
    origin, keys = arguments.one("origin"), [notes.parse_vkey(arguments.one("key"))]
    old = notes.verify_checkpoint(arguments.read(arguments.one("old")), origin, keys)
    proof = [hex_decode(step) for step in canonical.decode(arguments.read(arguments.one("proof")))]
    new = notes.verify_checkpoint(arguments.file(), origin, keys)
    notes.verify_extension(old, new, proof)
    return {"size": new.size}


def _read_tile(arguments: Arguments) -> Answer:
    tile = tiles.parse_path(arguments.one("path"))
    raw = arguments.file()
    if tile.level == tiles.ENTRIES:
        hashes = [merkle.leaf_hash(entry) for entry in tiles.parse_bundle(raw, tile.width)]
    else:
        hashes = tiles.parse_hashes(raw, tile.width)
    return {"level": tile.level, "index": tile.index, "width": tile.width, "root": merkle.root(hashes).hex()}


def _domain_and_stakes(
    believed: trust.Trust | None, origin: str, number: int
) -> tuple[rounds.ChainDomain, dict[str, int]]:
    """Where votes of a round are recorded, and the stake of each vote key's address, as trust says."""
    chain = believed.chain(origin) if believed else None
    epoch = believed.epoch(origin, number) if believed else None
    if believed is None or chain is None or epoch is None:
        raise UndecidedError("trust.epoch", "trust names no chain or no epoch for this round")
    stakes = {}
    for node, stake in epoch.stakes.items():
        admission = believed.admission(node)
        key = admission.key_document.key_for("vote") if admission else None
        if key is not None:
            stakes[address_of(key.public)] = stake
    return rounds.ChainDomain(chain.chain_id, chain.contract), stakes


def _verify_candidate(arguments: Arguments) -> Answer:
    previous_size, blob = _integer(arguments.one("previous-size")), arguments.read(arguments.one("blob"))
    candidate = rounds.parse_candidate(canonical.decode(arguments.file()))
    rounds.verify_verdicts(candidate, previous_size, blob)
    return {"content": candidate.content.hex()}


def _verify_vote(arguments: Arguments) -> Answer:
    believed = _trust(arguments)
    vote = rounds.parse_vote(canonical.decode(arguments.file()))
    domain, stakes = _domain_and_stakes(believed, vote.origin, vote.number)
    return {"signer": rounds.verify_vote(domain, vote, stakes).signer}


def _verify_finality(arguments: Arguments) -> Answer:
    believed = _trust(arguments)
    value = _fields(arguments.file(), "round", "messages")
    candidate = rounds.parse_candidate(value["round"])
    messages = [rounds.parse_finality_message(item) for item in value["messages"]]
    domain, stakes = _domain_and_stakes(believed, candidate.origin, candidate.number)
    final = rounds.verify_finality(domain, messages, stakes)
    if (final.origin, final.epoch, final.number, final.content) != (
        candidate.origin,
        candidate.epoch,
        candidate.number,
        candidate.content,
    ):
        raise RefusedError("round.mixed", "the messages are about another content")
    return {"content": final.content.hex(), "stake_for": final.stake_for, "stake_total": final.stake_total}


def _verify_verdict(arguments: Arguments) -> Answer:
    value = _fields(arguments.file(), "index", "digest", "code", "position", "size", "proof", "verdict_root")
    code = rounds.parse_verdict_code(value["code"])
    entry = rounds.VerdictEntry(value["index"], hex_decode(value["digest"], 32), code)
    proof = [hex_decode(step) for step in value["proof"]]
    root = hex_decode(value["verdict_root"], 32)
    rounds.verify_verdict_inclusion(entry, value["position"], value["size"], proof, root)
    return {}


def _verify_offence(arguments: Arguments) -> Answer:
    believed = _trust(arguments)
    value = _fields(arguments.file(), "offence", "first", "second")
    if value["offence"] == "vote":
        first, second = rounds.parse_vote(value["first"]), rounds.parse_vote(value["second"])
        domain, _ = _domain_and_stakes(believed, first.origin, first.number)
        return {"signer": rounds.verify_double_vote(domain, first, second)}
    one, other = rounds.parse_finality_message(value["first"]), rounds.parse_finality_message(value["second"])
    domain, _ = _domain_and_stakes(believed, one.origin, one.number)
    return {"signer": rounds.verify_double_finality(domain, one, other)}


def _parse_payment(arguments: Arguments) -> Answer:
    """``payments.md`` §1 and §2: the object again, as it is written here."""
    if not arguments.rest:
        raise UsageError("usage.kind", "which object?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    parsers: dict[str, Callable[[Any], Any]] = {
        "payload": x402.parse_payload,
        "requirements": x402.parse_requirements,
        "required": x402.parse_payment_required,
        "verify-response": x402.parse_verify_response,
        "settle-response": x402.parse_settle_response,
    }
    name, _, form = kind.partition(":")
    if name not in parsers or form not in ("", "header"):
        raise UsageError("usage.kind", f"unknown kind {kind}")
    value = x402.parse_header(raw.decode("utf-8", "replace")) if form else canonical.decode_object(raw)
    return {"object": parsers[name](value).to_json()}


def _build_settlement(arguments: Arguments) -> Answer:
    """``opengradient.md`` §11(1 to 3): header values of rows to their batch."""
    batch = build_batch([parse_row(header) for header in _fields(arguments.file(), "rows")["rows"]])
    return {
        "root": batch.root.hex(),
        "jobs": [row_id(row) for row in batch.rows],
        "document": canonical.decode(batch.document),
        "blob": sha256_hex(batch.document),
    }


def _charge(arguments: Arguments) -> Answer:
    """``pricing.md`` §4 and §5: what a request may cost, and what it costs."""
    value = _fields(arguments.file(), "card", "model", "rate", "usage", "most")
    card, rate = pricing.parse_price_card(value["card"].encode()), pricing.parse_rate(value["rate"])
    prices, most, usage = card.prices(value["model"]), value["most"], value["usage"]
    cap = None
    if most is not None:
        asked = pricing.most_usage(prices, most["size"], most["output"], most["images"])
        cap = pricing.cap(prices, asked, rate)
    used = None if usage is None else pricing.Usage(**usage)
    return {
        "cap": None if cap is None else str(cap),
        "charge": pricing.charge(prices, used, rate, at_most=cap).to_json(),
    }


def _memory_standing(arguments: Arguments) -> Answer:
    """``memory.md`` §3 and §5: a history to its row, and how that stands at a time."""
    at = time_decode(arguments.one("at"))
    value = _fields(arguments.file(), "history")
    row = memory.parse_history([event.encode() for event in value["history"]])
    return {
        "standing": memory.standing_of(row, at),
        "authority": row.authority,
        "digest": row.digest,
        "head": row.head,
        "earned": None if row.earned is None else time_encode(row.earned),
        "valid_until": None if row.valid_until is None else time_encode(row.valid_until),
    }


def _verify_payment(arguments: Arguments) -> Answer:
    """``payments.md`` §5(1 to 3); a refusal says x402's reason too."""
    at, facilitator = _integer(arguments.one("at")), arguments.one("facilitator")
    charge = arguments.maybe("charge")
    value = _fields(arguments.file(), "payload", "requirements")
    payload, asked = x402.parse_payload(value["payload"]), x402.parse_requirements(value["requirements"])
    if charge is not None:
        asked = dataclasses.replace(asked, amount=_integer(charge))
    try:
        found = x402.verify_payment(payload, asked, at=at, facilitator=facilitator, settling=charge is not None)
    except RefusedError as error:
        raise _Refused(error.code, {"reason": x402.reason_of(error.code, x402.method_of(payload))}) from error
    return {
        "method": found.method,
        "payer": found.payer,
        "amount": str(found.amount),
        "cap": str(found.cap),
        "identity": found.identity.hex(),
        "job": x402.job_id_of(found.identity),
        "sponsored": found.permit is not None,
    }


def _parse_sources(arguments: Arguments) -> Answer:
    """``sources.md`` §1 to §5: a registry in either form."""
    form, raw = arguments.one("form"), arguments.file()
    found = parse_registry(raw) if form == "json" else parse_registry_toml(raw.decode("utf-8"))
    return {"digest": found.digest, "sources": {name: item.digest for name, item in found.sources.items()}}


def _read_dns(arguments: Arguments) -> Answer:
    """``sources.md`` §4(9): what the message of a resolver's answer means."""
    record = arguments.one("record")
    if record not in TYPES:
        raise UsageError("sources.request", f"a record is one of {', '.join(sorted(TYPES))}")
    return read_answer(DnsRead("", "", record, 1), arguments.file())


def _extract_value(arguments: Arguments) -> Answer:
    """``sources.md`` §6 and §7: the value in a body."""
    rules = _fields(arguments.read(arguments.one("rules")), "extract", "expect")
    found = extract(parse_extraction(rules["extract"]), arguments.file())
    return {"value": admit_value(parse_expectation(rules["expect"]), found.value)}


def _check_address(arguments: Arguments) -> Answer:
    """``sources.md`` §5."""
    value = _fields(arguments.file(), "address", "ranges")
    address = parse_address(value["address"])
    if address is None:
        raise MalformedError("sources.address", "not an address")
    check_address(address, [parse_network(item) for item in value["ranges"]])
    return {}


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


def _check_policy(arguments: Arguments) -> Answer:
    policy = parse_policy(arguments.file())
    return {"name": policy.name, "digest": policy.digest}


def _verify_bundle(arguments: Arguments) -> Answer:
    """``lanes.md`` §5. The code of a refusal is that of the first check that says no, else ``require.<lane>``."""
    policy = parse_policy(arguments.read(arguments.one("policy")))
    at, known = time_decode(arguments.one("at")), arguments.maybe("known")
    requirements = [parse_requirement(text) for text in arguments.many("require")]
    believed = _trust(arguments)
    bundle = parse_bundle(arguments.file())
    result = appraise(bundle, believed, policy, at, None if known is None else _integer(known))
    lanes = {name: [lane.state, lane.basis] for name, lane in result.lanes.items()}
    answer: Answer = {"lanes": lanes, "checks": [check.to_json() for check in result.transcript], "known": result.known}
    if any(lane.state == "refuted" for lane in result.lanes.values()):
        says_no = (check.code for check in result.transcript if check.answer == "no")
        raise _Refused(next((code for code in says_no if code), "lane.refuted"), answer)
    if believed is None:
        raise _Undecided("trust.missing", answer)
    answers = {item.lane: item.answer(result.lanes[item.lane]) for item in requirements}
    unmet = [lane for lane, given in answers.items() if given == "no"]
    if unmet:
        raise _Refused(f"require.{unmet[0]}", answer)
    open_still = [lane for lane, given in answers.items() if given == "cannot_tell"]
    if open_still:
        raise _Undecided(f"require.{open_still[0]}", answer)
    return answer


def _decide_route(arguments: Arguments) -> Answer:
    value = canonical.decode_signed(arguments.file())
    force = RoutePolicies(
        tuple(zip(SOURCES, (parse_route_policy(policy) for policy in value["policies"]), strict=False))
    )
    starts, follow = ([_candidate(item) for item in value[name]] for name in ("starts", "follow"))
    return {"order": [item.code for item in decide_route(force, starts, lambda _start: follow)]}


def _candidate(value: dict[str, Any]) -> Candidate:
    most = value["most_usd"]
    return Candidate(**(value | {"most_usd": None if most is None else parse_decimal(most)}))


def _check_queue_policy(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "toml or canonical?")
    form, raw = arguments.rest.pop(0), arguments.file()
    if form not in ("toml", "canonical"):
        raise UsageError("usage.kind", f"unknown form {form}")
    if form == "canonical":
        policy = parse_queue_policy_document(raw)
    else:
        policy = parse_queue_policy(raw.decode("utf-8", "surrogateescape"))
    return {"name": policy.name, "digest": policy.digest, "document": policy.document.decode()}


def _vector(value: dict[str, Any]) -> LaneVector:
    """Lanes as a case writes them: each with ``state``, ``basis``, ``says``, ``evidence`` and ``dated``, and with
    ``deviations`` where there are any."""
    lanes = {
        name: Lane(
            name, lane["state"], lane["basis"], lane["says"], tuple(lane["evidence"]), tuple(lane.get("deviations", ()))
        )
        for name, lane in value["lanes"].items()
    }
    return LaneVector(value["run"], lanes, {name: _maybe_time(lane["dated"]) for name, lane in value["lanes"].items()})


def _maybe_time(text: str | None) -> dt.datetime | None:
    return None if text is None else time_decode(text)


def _lane_vector(arguments: Arguments) -> Answer:
    vector = _vector(_fields(arguments.file(), "run", "lanes"))
    return {"digest": vector.digest, "document": vector.document.decode()}


def _decide(arguments: Arguments) -> Answer:
    """``gate.md`` §4. What is neither CLEAR nor PROVISIONAL is refused, with the code of its first reason."""
    policy = parse_queue_policy_document(arguments.read(arguments.one("policy")))
    at = time_decode(arguments.one("at"))
    value = _fields(arguments.file(), "run", "lanes", "decisions", "release", "history")
    decisions = [
        Decision(
            item["person"],
            item["role"],
            item["act"],
            time_decode(item["at"]),
            item["lanes"],
            item["policy"],
            item["requester"],
        )
        for item in value["decisions"]
    ]
    given, past = value["release"], value["history"]
    release = given and Release(
        given["person"],
        given["role"],
        time_decode(given["at"]),
        time_decode(given["until"]),
        given["policy"],
        given["requester"],
    )
    moved_at = past["label_moved_at"]
    history = History(
        past["relied"],
        tuple(past["recalled"]),
        past["released_early"],
        None if moved_at is None else time_decode(moved_at),
    )
    found = decide(policy, _vector(value), decisions, release, history, at)
    answer: Answer = {
        "state": found.state,
        "reasons": [[reason.code, reason.lane] for reason in found.reasons],
        "clear_until": None if found.clear_until is None else time_encode(found.clear_until),
        "released_early": found.released_early,
        "policy": found.policy_digest,
        "vector": found.lanes_digest,
        "checks": [reason.to_json() for reason in found.reasons],
    }
    if found.state not in ("CLEAR", "PROVISIONAL"):
        raise _Refused(found.reasons[0].code, answer)
    return answer


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


class _Undecided(_Refused):
    """As :class:`_Refused`, when the answer is not there yet."""


def _opengradient_endpoint(arguments: Arguments) -> str:
    if not arguments.rest or arguments.rest[0] not in opengradient.ENDPOINTS:
        raise UsageError("usage.kind", f"an endpoint is one of {', '.join(opengradient.ENDPOINTS)}")
    return arguments.rest.pop(0)


def _opengradient_request(arguments: Arguments) -> Answer:
    endpoint = _opengradient_endpoint(arguments)
    text = opengradient.canonical_request(endpoint, _exact_object(arguments.file()))
    return {"text": text.decode(), "hash": keccak256(text).hex()}


def _opengradient_output(arguments: Arguments) -> Answer:
    endpoint = _opengradient_endpoint(arguments)
    text = opengradient.output_text(endpoint, _exact_object(arguments.file()))
    return {"text": text, "hash": keccak256(text.encode()).hex()}


def _opengradient_hash(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "a hash of what?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    match kind:
        case "answer":
            value = _fields(raw, "request_hash", "output_hash", "timestamp")
            both = (opengradient.parse_hash(value["request_hash"]), opengradient.parse_hash(value["output_hash"]))
            digest = opengradient.message_hash(*both, value["timestamp"])
        case "heartbeat":
            value = _fields(raw, "tee_id", "timestamp")
            digest = opengradient.heartbeat_hash(opengradient.parse_hash(value["tee_id"]), value["timestamp"])
        case "ohttp":
            value = _fields(raw, "tee_id", "key_id", "kem_id", "kdf_id", "aead_id", "public_key", "key_config")
            numbers = (value["key_id"], value["kem_id"], value["kdf_id"], value["aead_id"])
            key, config = hex_decode(value["public_key"]), b64_decode(value["key_config"])
            digest = opengradient.ohttp_hash(opengradient.parse_hash(value["tee_id"]), *numbers, key, config)
        case "attestation":
            value = _fields(raw, "certificate", "key")
            digest = opengradient.attestation_data(b64_decode(value["certificate"]), b64_decode(value["key"]))
        case _:
            raise UsageError("usage.kind", f"nothing is called {kind}")
    return {"hash": digest.hex()}


def _verify_opengradient(arguments: Arguments) -> Answer:
    key = b64_decode(arguments.read(arguments.one("key")).decode("ascii").strip())
    request = _exact_object(arguments.read(arguments.one("request")))
    endpoint = _opengradient_endpoint(arguments)
    found = opengradient.verify_answer(endpoint, request, _exact_object(arguments.file()), key)
    return {
        "tee_id": found.tee_id.hex(),
        "request_hash": found.request_hash.hex(),
        "output_hash": found.output_hash.hex(),
        "timestamp": found.timestamp,
    }


def _registry_hash(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "a hash of what?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    match kind:
        case "verdict":
            value = _fields(raw, "chain_id", "contract", "attestation", "evidence", "accepted")
            domain = rounds.ChainDomain(value["chain_id"], value["contract"])
            evidence = hex_decode(value["evidence"])
            digest = registry.verdict_digest(domain, value["attestation"], evidence, accepted=value["accepted"])
        case "measurement":
            value = _fields(raw, "format", "tee", "registers")
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
    value = _fields(arguments.file(), *_SUBMISSION.split())
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


def _exact_object(raw: bytes) -> dict[str, Any]:
    value = canonical.decode_exact(raw)
    if not isinstance(value, dict):
        raise MalformedError("json.object", "expected a JSON object")
    return value


def _walrus_blob_id(arguments: Arguments) -> Answer:
    shards = _integer(arguments.one("shards"))
    return {"id": walrus.encode_id(walrus.blob_id(arguments.file(), shards))}


def _verify_walrus_blob(arguments: Arguments) -> Answer:
    shards, identifier = _integer(arguments.one("shards")), walrus.parse_id(arguments.one("id"))
    walrus.verify_blob(arguments.file(), identifier, shards)
    return {}


def _open_blob(arguments: Arguments) -> Answer:
    secret, digest = hex_decode(arguments.one("secret"), 32), hex_decode(arguments.one("digest"), 32)
    return {"data": b64_encode(open_blob(secret, digest, arguments.file()))}


def _read_quilt(arguments: Arguments) -> Answer:
    shards = _integer(arguments.one("shards"))
    return {
        "patches": [
            {
                "identifier": placed.patch.identifier,
                "start": placed.start,
                "end": placed.end,
                "tags": dict(placed.patch.tags),
                "data": b64_encode(placed.patch.data),
            }
            for placed in quilt.parse_quilt(arguments.file(), shards)
        ]
    }


COMMANDS: dict[str, Callable[[Arguments], Answer]] = {
    "decode": _decode,
    "map-parts": _map_parts,
    "read-inference": _read_inference,
    "circuit-numbers": _circuit_numbers,
    "same-circuit": _same_circuit,
    "file-chunks": _file_chunks,
    "file-quotes": _file_quotes,
    "verify-proof": _verify_proof,
    "verify-part": _verify_part,
    "fold": _fold,
    "dialect-request": _dialect_request,
    "dialect-answer": _dialect_answer,
    "dialect-stream": _dialect_stream,
    "verify-marks": _verify_marks,
    "parse-statement": _parse_statement,
    "verify-manifest": _verify_manifest,
    "verify-history": _verify_history,
    "verify-statement": _verify_statement,
    "verify-entries": _verify_entries,
    "verify-trust": _verify_trust,
    "verify-children": _verify_children,
    "verify-inclusion": _verify_inclusion,
    "verify-consistency": _verify_consistency,
    "verify-checkpoint": _verify_checkpoint,
    "verify-extension": _verify_extension,
    "read-tile": _read_tile,
    "verify-candidate": _verify_candidate,
    "verify-vote": _verify_vote,
    "verify-finality": _verify_finality,
    "verify-verdict": _verify_verdict,
    "verify-offence": _verify_offence,
    "check-policy": _check_policy,
    "verify-bundle": _verify_bundle,
    "check-queue-policy": _check_queue_policy,
    "decide-route": _decide_route,
    "lane-vector": _lane_vector,
    "decide": _decide,
    "verify-lineage": _verify_lineage,
    "open-wrap": _open_wrap,
    "open-sealed": _open_sealed,
    "verify-quote": _verify_quote,
    "read-ohttp-keys": _read_ohttp_keys,
    "seal-ohttp-request": _seal_ohttp_request,
    "open-ohttp-request": _open_ohttp_request,
    "open-ohttp-response": _open_ohttp_response,
    "read-binary-http": _read_binary_http,
    "measure-image": _measure_image,
    "read-image": _read_image,
    "read-image-url": _read_image_url,
    "read-image-request": _read_image_request,
    "read-image-answer": _read_image_answer,
    "count-images": _count_images,
    "opengradient-request": _opengradient_request,
    "opengradient-output": _opengradient_output,
    "opengradient-hash": _opengradient_hash,
    "verify-opengradient": _verify_opengradient,
    "registry-hash": _registry_hash,
    "appraise-registration": _appraise_registration,
    "parse-payment": _parse_payment,
    "verify-payment": _verify_payment,
    "charge": _charge,
    "memory-standing": _memory_standing,
    "parse-sources": _parse_sources,
    "extract-value": _extract_value,
    "read-dns": _read_dns,
    "check-address": _check_address,
    "build-settlement": _build_settlement,
    "walrus-blob-id": _walrus_blob_id,
    "verify-walrus-blob": _verify_walrus_blob,
    "read-quilt": _read_quilt,
    "open-blob": _open_blob,
}
"""Every command of the protocol."""


def run(words: Sequence[str], folder: Path) -> tuple[int, Answer]:
    """One command line, with file names relative to ``folder``: the exit code and the answer to print."""

    def say(code: int, verdict: str, reason: str | None, more: Answer) -> tuple[int, Answer]:
        return code, {"verdict": verdict, "code": reason, "checks": [], **more}

    try:
        if not words or words[0] not in COMMANDS:
            raise UsageError("usage.command", f"commands: {', '.join(COMMANDS)}")
        arguments = Arguments(words[1:], folder)
        answer = COMMANDS[words[0]](arguments)
        arguments.end()
        return say(0, "accept", None, answer)
    except _Undecided as undecided:
        return say(3, "undecided", undecided.code, undecided.answer)
    except _Refused as refused:
        return say(1, "reject", refused.code, refused.answer)
    except HoldfastError as error:
        if isinstance(error, UsageError):
            return say(2, "usage", error.code, {"message": error.message})
        if isinstance(error, UndecidedError):
            return say(3, "undecided", error.code, {"message": error.message})
        verdict = "malformed" if isinstance(error, MalformedError) else "reject"
        return say(1, verdict, error.code, {"message": error.message})


def main() -> None:
    """Answer one command line on standard output and exit with its code."""
    code, answer = run(sys.argv[1:], Path.cwd())
    sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n")
    sys.stdout.buffer.flush()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
