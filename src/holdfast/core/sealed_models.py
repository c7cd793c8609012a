"""Models that only some can read: sealed before they are sent, the key wrapped for each reader (``spec/artifacts.md``
§11).

A sealed model is an artifact like any other, whose files are pieces of ciphertext, a sealed index that says what they
are pieces of, and a list of wraps. Whoever has a reader's key opens the wrap, with it the index, with it the pieces; a
hub and its store see sizes and how many readers there are.

Rules: pure, so that wraps are made elsewhere (``adapters.wraps_hpke``); what opens is the content that the index names
or nothing; names in an index are those of an artifact (``artifacts.md`` §1(2)).

Not covered: who the readers are (their keys are named by an id), and taking a key back from one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast.core import canonical
from holdfast.core.artifacts import Manifest, build_manifest
from holdfast.core.blob_sealing import SECRET_BYTES, open_blob
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256_hex
from holdfast.core.keys import PublicKey
from holdfast.core.wraps import SUITE
from holdfast.errors import MalformedError, RefusedError

INDEX_TYPE = "urn:holdfast:sealed-model:v1"
"""``type`` of the index (§11(2))."""
READERS_TYPE = "urn:holdfast:sealed-readers:v1"
"""``type`` of the list of wraps (§11(3))."""
INFO = b"urn:holdfast:model-key:v1\x00"
"""``info`` of a wrap (§11(3))."""
FOLDER = "sealed/"
INDEX, READERS = FOLDER + "index", FOLDER + "readers.json"
PIECE_BYTES = 8 << 20
"""Content of one piece; only a file's last one has less."""
WRAP_BYTES = 32 + 2 * SECRET_BYTES + 16
"""An encapsulated X25519 key, the data key with the digest of the index, and a GCM tag."""
MAX_READERS = 256


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file as the index tells it: its name, SHA-256 (hex) and bytes, and the SHA-256 (hex) of what each piece is."""

    name: str
    digest: str
    size: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedIndex:
    """What is sealed. ``model`` is for people."""

    model: str
    files: tuple[SealedFile, ...]

    @property
    def manifest(self) -> Manifest:
        """The files in the clear, as an artifact."""
        return build_manifest(self.model, {file.name: file.digest for file in self.files})

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is sealed as the index."""
        files: list[canonical.JSON] = [
            {"name": file.name, "sha256": file.digest, "bytes": file.size, "pieces": list(file.pieces)}
            for file in self.files
        ]
        return canonical.encode({"type": INDEX_TYPE, "model": self.model, "files": files})


def piece_name(number: int) -> str:
    """The file of the artifact that holds a piece, counted through all files from 0."""
    return f"{FOLDER}{number:06}"


def is_sealed(names: Iterable[str]) -> bool:
    """Whether the files of an artifact are those of a sealed model."""
    return READERS in names


# --- the index and the readers ----------------------------------------------------------------------------------------


def parse_index(raw: bytes) -> SealedIndex:
    """An opened index; raises ``sealed_model.index``, ``artifact.*`` or ``json.*``."""
    value = canonical.decode_signed(raw)
    if (
        value.keys() != {"type", "model", "files"}
        or value["type"] != INDEX_TYPE
        or not isinstance(value["files"], list)
    ):
        raise MalformedError("sealed_model.index", f"not a {INDEX_TYPE}")
    found = SealedIndex(value["model"], tuple(_file(item) for item in value["files"]))
    if [file.name for file in found.manifest.files] != [file.name for file in found.files]:
        raise MalformedError("sealed_model.index", "files of a sealed model stand in the order of their names")
    return found


def _file(value: object) -> SealedFile:
    if not isinstance(value, dict) or value.keys() != {"name", "sha256", "bytes", "pieces"}:
        raise MalformedError("sealed_model.index", "a sealed file has exactly name, sha256, bytes and pieces")
    size, pieces = value["bytes"], value["pieces"]
    if type(size) is not int or size < 0 or not isinstance(pieces, list) or len(pieces) != -(-size // PIECE_BYTES):
        raise MalformedError("sealed_model.index", "a sealed file has other pieces than its bytes need")
    digests = tuple(hex_decode(piece, 32).hex() for piece in pieces)
    return SealedFile(value["name"], hex_decode(value["sha256"], 32).hex(), size, digests)


def build_readers(wraps: Mapping[str, bytes]) -> bytes:
    """The list of wraps, by id (hex) of the key that each is for."""
    listed: list[canonical.JSON] = [{"key": key, "wrap": b64_encode(wraps[key])} for key in sorted(wraps)]
    return canonical.encode({"type": READERS_TYPE, "readers": listed})


def parse_readers(raw: bytes) -> Mapping[str, bytes]:
    """Wraps by the ids of their keys; raises ``sealed_model.readers``, ``json.*`` or ``encoding.*``."""
    value = canonical.decode_signed(raw)
    listed = value.get("readers")
    if value.keys() != {"type", "readers"} or value["type"] != READERS_TYPE or not isinstance(listed, list):
        raise MalformedError("sealed_model.readers", f"not a {READERS_TYPE}")
    found: dict[str, bytes] = {}
    for item in listed:
        if not isinstance(item, dict) or item.keys() != {"key", "wrap"}:
            raise MalformedError("sealed_model.readers", "a reader has exactly key and wrap")
        found[hex_decode(item["key"], 32).hex()] = b64_decode(item["wrap"])
    if list(found) != sorted(found) or len(found) != len(listed) or not 1 <= len(found) <= MAX_READERS:
        raise MalformedError("sealed_model.readers", f"1 to {MAX_READERS} readers, by their keys, each once")
    return found


def open_readers(private: bytes, raw: bytes) -> tuple[bytes, bytes]:
    """The data key and the digest of the index (32 bytes each), with a reader's X25519 private key (32 bytes).

    Raises ``sealed_model.reader`` where none of the wraps is for this key, and ``wrap.open`` where one does not open.
    """
    key = X25519PrivateKey.from_private_bytes(private)
    own = PublicKey("hpke", "x25519", key.public_key().public_bytes_raw()).key_id
    wrap = parse_readers(raw).get(own)
    if wrap is None:
        raise RefusedError(
            "sealed_model.reader", "this model is not sealed for this key", hint="ask who published it to add yours"
        )
    try:
        opened = SUITE.decrypt(wrap, key, info=INFO)
    except (InvalidTag, ValueError) as error:
        raise RefusedError("wrap.open", "the wrap for this key does not open: it was changed") from error
    if len(opened) != 2 * SECRET_BYTES:
        raise RefusedError("wrap.open", "the wrap for this key holds something else than a key and a digest")
    return opened[:SECRET_BYTES], opened[SECRET_BYTES:]


# --- opening ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A sealed model whose index was opened."""

    secret: bytes
    index: SealedIndex

    def piece(self, digest: str, sealed: bytes) -> bytes:
        """The content of a piece; raises ``blob.*``."""
        return open_blob(self.secret, hex_decode(digest, 32), sealed)

    def numbered(self) -> Iterator[tuple[SealedFile, Sequence[tuple[str, str]]]]:
        """Each file with the names of its pieces' files and their digests."""
        number = 0
        for file in self.index.files:
            yield file, [(piece_name(number + place), digest) for place, digest in enumerate(file.pieces)]
            number += len(file.pieces)


def open_model(private: bytes, readers: bytes, index: bytes) -> OpenedModel:
    """Open the index with a reader's key. Raises ``sealed_model.*``, ``wrap.open``, ``blob.*``, ``artifact.*``,
    ``json.*`` or ``encoding.*``."""
    secret, digest = open_readers(private, readers)
    return OpenedModel(secret, parse_index(open_blob(secret, digest, index)))


def open_files(private: bytes, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a sealed model in the clear, from the files of its artifact. Raises as :func:`open_model`, and
    ``sealed_model.piece``."""
    if INDEX not in files or READERS not in files:
        raise MalformedError("sealed_model.piece", f"a sealed model has {INDEX} and {READERS}")
    opened = open_model(private, files[READERS], files[INDEX])
    found = {}
    for file, pieces in opened.numbered():
        missing = next((name for name, _ in pieces if name not in files), None)
        if missing is not None:
            raise MalformedError("sealed_model.piece", f"the piece {missing} of a sealed model is not there")
        found[file.name] = b"".join(opened.piece(digest, files[name]) for name, digest in pieces)
        check_file(file, sha256_hex(found[file.name]), len(found[file.name]))
    return found


def check_file(file: SealedFile, digest: str, size: int) -> None:
    """What was opened is the file; raises ``sealed_model.file``."""
    if (digest, size) != (file.digest, file.size):
        raise RefusedError("sealed_model.file", f"the pieces of {file.name!r} are not the file that the index names")
