"""Artifacts: the exact bytes of a model, named by their files (``spec/artifacts.md`` §1 to §3).

``build_manifest`` lists files with their digests; ``manifest_payload`` writes the list as OpenSSF Model Signing has it
(an in-toto statement with predicate ``https://model_signing/signature/v1.0``), and ``build_model_signature`` puts it
into the bundle that their tool reads. ``parse_model_signature`` reads such a bundle, made here or by their tool;
``verify_model_signature`` checks its signature; ``verify_files`` holds files against a manifest.

Rules: a file has one name and a name one file, in one order; what could leave the folder, or be two files on one
machine and one on another, is refused. The model's name and its signer are no part of the artifact: the same files are
the same artifact wherever they come from.

Not covered: what a label means (``core.artifact_changes``) and what is inside of the files (``core.formats``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256, sha256_hex
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.statements import PAYLOAD_TYPE, STATEMENT_TYPE, pre_authentication_encoding
from holdfast.errors import MalformedError, RefusedError, UsageError

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
"""``predicateType`` of a manifest (OpenSSF Model Signing 1.0)."""
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""``mediaType`` of the bundle that a manifest is signed in (Sigstore bundle 0.3)."""
SERIALIZATION: Mapping[str, canonical.JSON] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
"""How the manifest came about: one digest a file, no symbolic links followed."""
SIGNATURE_NAME = "model.sig"
"""What the signature is called beside the files; no file of an artifact has this name."""
LEFT_OUT = (".git", ".gitattributes", ".github", ".gitignore")
"""Names at the top of a folder that the format leaves out (Model Signing's default ``ignore_paths``)."""
ARTIFACT_DOMAIN = b"urn:holdfast:artifact-id:v1\x00"
"""What the preimage of an artifact's digest begins with (``artifacts.md`` §1(3))."""
DECLARED_TYPE = "urn:holdfast:declared-artifact:v1"
"""``type`` of what a declared artifact is the digest of (``artifacts.md`` §3)."""
MAX_FILES = 10_000
"""Most files of one artifact."""
MAX_NAME_BYTES = 512
"""Longest name of a file, as UTF-8."""
MAX_COMPONENT_BYTES = 255
"""Longest part of a name between two slashes: what file systems take."""
MAX_SIGNATURE_BYTES = 8 << 20
"""Larger signed manifests are refused unread."""
MAX_MODEL_NAME = 128
"""Longest name of a model in a manifest, in characters."""
_P256_BYTES = 32


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of an artifact: its name below the folder, with ``/``, and the SHA-256 of its bytes in hex."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a model in their one order. ``model`` is for people and no part of :attr:`artifact`."""

    model: str
    files: tuple[ModelFile, ...]

    @property
    def artifact(self) -> str:
        """Digest (hex) that names the artifact (``artifacts.md`` §1(3)): of the files' names and digests alone."""
        return sha256_hex(ARTIFACT_DOMAIN + canonical.encode(_resources(self.files)))

    @property
    def root(self) -> str:
        """Model Signing's own digest (hex): SHA-256 over the files' digests in order. It binds no names."""
        return sha256(b"".join(bytes.fromhex(file.digest) for file in self.files)).hex()


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """A signed manifest as it was read. Nothing in it is believed yet."""

    raw: bytes
    payload: bytes
    """The exact bytes of the in-toto statement."""
    signature: bytes
    """ECDSA, ``r ‖ s``, 64 bytes."""
    hint: str
    """SHA-256 (hex) of the PEM of the key that is said to have signed."""
    manifest: Manifest


# --- manifests --------------------------------------------------------------------------------------------------------


def order_of(name: str) -> list[str]:
    """What files are ordered by: the parts of their names, as Model Signing orders paths."""
    return name.split("/")


def check_name(name: object) -> str:
    """The name of a file of an artifact; raises ``artifact.name`` and says which it is."""
    if not isinstance(name, str) or not name:
        raise MalformedError("artifact.name", "a file of an artifact has a name")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise MalformedError("artifact.name", f"{name!r} leads out of its folder or back into it")
    if not name.isprintable() or any(letter in name for letter in "\\:"):
        raise MalformedError("artifact.name", f"{name!r} has a character that means something else on some machine")
    if len(name.encode()) > MAX_NAME_BYTES or any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        raise MalformedError("artifact.name", f"{name[:40]!r}… is longer than file systems take")
    if unicodedata.normalize("NFC", name) != name:
        raise MalformedError("artifact.name", f"{name!r} is not in Unicode's composed form, so it has two spellings")
    if parts[0] in LEFT_OUT or name == SIGNATURE_NAME:
        raise MalformedError("artifact.name", f"{name!r} is left out of every manifest")
    return name


def build_manifest(model: str, digests: Mapping[str, str]) -> Manifest:
    """The manifest of files given by name and SHA-256 (hex), in their one order. Raises ``artifact.*``."""
    files = [ModelFile(name, digests[name]) for name in sorted(digests, key=order_of)]
    return _checked(model, files)


def _checked(model: object, files: Sequence[ModelFile]) -> Manifest:
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL_NAME or not model.isprintable():
        raise MalformedError("artifact.model", f"a model's name has 1 to {MAX_MODEL_NAME} printable characters")
    if not 1 <= len(files) <= MAX_FILES:
        raise MalformedError("artifact.files", f"an artifact has 1 to {MAX_FILES} files")
    before: ModelFile | None = None
    folded: dict[str, str] = {}
    for file in files:
        check_name(file.name)
        hex_decode(file.digest, 32)
        if before is not None and order_of(before.name) >= order_of(file.name):
            twice = before.name == file.name
            says = "stands there twice" if twice else f"stands behind {before.name!r}, and belongs before it"
            raise MalformedError("artifact.order", f"{file.name!r} {says}")
        before = file
        _refuse_clash(file.name, folded)
    return Manifest(model, tuple(files))


def _refuse_clash(name: str, folded: dict[str, str]) -> None:
    """Two names that are one on some machine, and a file where another has its folder."""
    parts = name.split("/")
    for length in range(1, len(parts) + 1):
        path = "/".join(parts[:length])
        shown = path if length == len(parts) else path + "/"
        known = folded.setdefault(unicodedata.normalize("NFC", path.casefold()), shown)
        if known != shown or (length == len(parts) and known != name):
            raise MalformedError("artifact.name", f"{shown!r} and {known!r} are one on some machines")


def _resources(files: Iterable[ModelFile]) -> list[canonical.JSON]:
    return [{"name": file.name, "algorithm": "sha256", "digest": file.digest} for file in files]


def manifest_payload(manifest: Manifest) -> bytes:
    """The in-toto statement that is signed (``artifacts.md`` §2), canonical JSON."""
    return canonical.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": manifest.model, "digest": {"sha256": manifest.root}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"serialization": dict(SERIALIZATION), "resources": _resources(manifest.files)},
        }
    )


def parse_manifest(payload: bytes) -> Manifest:
    """The bytes of the statement to a :class:`Manifest`; any spelling of JSON, since their signers write another than
    ours. Raises ``artifact.*``, ``json.*`` or ``encoding.hex``."""
    value = canonical.decode_object(payload)
    if value.keys() != {"_type", "subject", "predicateType", "predicate"} or value["_type"] != STATEMENT_TYPE:
        raise MalformedError("artifact.manifest", "not an in-toto Statement v1")
    if value["predicateType"] != PREDICATE_TYPE:
        raise MalformedError("artifact.manifest", f"not a manifest of {PREDICATE_TYPE}")
    predicate, subject = value["predicate"], value["subject"]
    if not isinstance(predicate, dict) or predicate.keys() != {"serialization", "resources"}:
        raise MalformedError("artifact.manifest", "a manifest has exactly serialization and resources")
    _check_serialization(predicate["serialization"])
    if not isinstance(predicate["resources"], list):
        raise MalformedError("artifact.manifest", "resources are a list")
    manifest = _checked(_subject_name(subject), [_file(item) for item in predicate["resources"]])
    if subject[0]["digest"] != {"sha256": manifest.root}:
        raise MalformedError("artifact.root", "the subject's digest is not that of the files that are listed")
    return manifest


def _subject_name(subject: object) -> object:
    if not isinstance(subject, list) or len(subject) != 1 or not isinstance(subject[0], dict):
        raise MalformedError("artifact.manifest", "a manifest has exactly one subject")
    if subject[0].keys() != {"name", "digest"}:
        raise MalformedError("artifact.manifest", "a subject has exactly name and digest")
    return subject[0]["name"]


def _check_serialization(value: object) -> None:
    if not isinstance(value, dict) or {key: value.get(key) for key in SERIALIZATION} != SERIALIZATION:
        raise MalformedError("artifact.manifest", "only whole files by SHA-256, without symbolic links, are read")
    ignored = value.get("ignore_paths", [])
    if value.keys() - {"ignore_paths"} != SERIALIZATION.keys() or not isinstance(ignored, list):
        raise MalformedError("artifact.manifest", "a serialization with other members")


def _file(value: object) -> ModelFile:
    if not isinstance(value, dict) or value.keys() != {"name", "algorithm", "digest"} or value["algorithm"] != "sha256":
        raise MalformedError("artifact.manifest", "a resource has exactly name, algorithm sha256 and digest")
    return ModelFile(value["name"], value["digest"])


# --- signed manifests -------------------------------------------------------------------------------------------------


def key_hint(key: PublicKey) -> str:
    """How a bundle names a P-256 key: SHA-256 (hex) of its PEM. Raises ``artifact.key`` for another kind of key."""
    return sha256_hex(key_pem(key))


def key_pem(key: PublicKey) -> bytes:
    """A P-256 key as PEM SubjectPublicKeyInfo, as their tool is given it. Raises ``artifact.key``."""
    if key.algorithm != "p256":
        raise UsageError("artifact.key", f"manifests are signed with p256 keys, and this is {key.algorithm}")
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public)
    return point.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_key_pem(raw: bytes) -> PublicKey:
    """A P-256 key from PEM SubjectPublicKeyInfo; raises ``artifact.key``."""
    try:
        key = serialization.load_pem_public_key(raw)
    except ValueError as error:
        raise UsageError("artifact.key", "this is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError("artifact.key", "manifests are signed with P-256 keys")
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return PublicKey("statement", "p256", point)


def build_model_signature(payload: bytes, key: PublicKey, signature: bytes) -> bytes:
    """The bundle for a payload that was signed with a P-256 key; ``signature`` is ``r ‖ s`` over the DSSE
    pre-authentication encoding (:func:`holdfast.core.statements.pre_authentication_encoding`)."""
    r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
    der = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
    return canonical.encode(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key_hint(key)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": b64_encode(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64_encode(der), "keyid": ""}],
            },
        }
    )


def parse_model_signature(raw: bytes) -> ModelSignature:
    """A bundle by a P-256 key to a :class:`ModelSignature`; checks no signature. Raises ``artifact.*``, ``json.*`` or
    ``encoding.*``."""
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise MalformedError("artifact.size", f"a signed manifest has at most {MAX_SIGNATURE_BYTES} bytes")
    value = canonical.decode_object(raw)
    if value.keys() != {"mediaType", "verificationMaterial", "dsseEnvelope"} or value["mediaType"] != BUNDLE_TYPE:
        raise MalformedError("artifact.bundle", f"not a bundle of {BUNDLE_TYPE}")
    material, envelope = value["verificationMaterial"], value["dsseEnvelope"]
    hint = _member(_member(material, "publicKey", {"publicKey", "tlogEntries"}), "hint", {"hint"})
    members = {"payload", "payloadType", "signatures"}
    if _member(envelope, "payloadType", members) != PAYLOAD_TYPE:
        raise MalformedError("artifact.bundle", f"what is signed is not {PAYLOAD_TYPE}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise MalformedError("artifact.bundle", "a manifest is signed once")
    encoded = b64_decode(_member(signatures[0], "sig", {"sig", "keyid"}))
    try:
        r, s = decode_dss_signature(encoded)
        signature = r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)
    except (ValueError, OverflowError) as error:
        raise MalformedError("artifact.bundle", "a signature is ECDSA over P-256, in DER") from error
    payload = b64_decode(envelope["payload"])
    return ModelSignature(raw, payload, signature, hex_decode(hint, 32).hex(), parse_manifest(payload))


def _member(value: object, name: str, members: set[str]) -> Any:
    if not isinstance(value, dict) or value.keys() != members:
        raise MalformedError("artifact.bundle", f"expected exactly {', '.join(sorted(members))}")
    return value[name]


def verify_model_signature(signed: ModelSignature, key: PublicKey) -> Manifest:
    """The manifest, once ``key`` is found to have signed it. Raises ``artifact.key`` where the bundle names another, or
    ``signature.invalid``."""
    if signed.hint != key_hint(key):
        raise RefusedError("artifact.key", "the manifest says that another key signed it")
    verify_signature(key, pre_authentication_encoding(signed.payload), signed.signature)
    return signed.manifest


# --- files ------------------------------------------------------------------------------------------------------------


def verify_files(manifest: Manifest, found: Mapping[str, str]) -> None:
    """Hold files, by name and SHA-256 (hex), against a manifest. Raises ``artifact.missing``, ``artifact.extra`` or
    ``artifact.digest``, each with the name of the first such file."""
    listed = {file.name: file.digest for file in manifest.files}
    for name in listed:
        if name not in found:
            raise RefusedError("artifact.missing", f"{name!r} is missing", param=name)
    for name in sorted(found, key=order_of):
        if name not in listed:
            raise RefusedError("artifact.extra", f"{name!r} is no file of this artifact", param=name)
    for name, digest in listed.items():
        refuse_digest(name, digest, found[name])


def refuse_digest(name: str, expected: str, found: str) -> None:
    """Raise ``artifact.digest`` unless a file is what its manifest says."""
    if found != expected:
        says = f"{name!r} is not what the manifest says: SHA-256 {found[:12]}…, and not {expected[:12]}…"
        raise RefusedError("artifact.digest", says, param=name)


# --- models whose bytes nobody shows ----------------------------------------------------------------------------------


def declared_artifact(upstream: str, model: str, fingerprint: str | None) -> str:
    """The digest (hex) that stands for what a provider says it ran (``artifacts.md`` §3): the code of the upstream, the
    model by the provider's own words, and its ``system_fingerprint`` where it tells one."""
    declared = {"type": DECLARED_TYPE, "upstream": upstream, "model": model, "system_fingerprint": fingerprint}
    return sha256_hex(canonical.encode_known(declared))
