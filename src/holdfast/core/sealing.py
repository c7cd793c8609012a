"""Documents encrypted under their run's secret: as a gateway stores them, and as a sealed answer carries them.

AES-256-GCM with a key derived from the run secret for each document (``spec/sealed.md`` §5(3)): whoever has the
capability opens it, and nobody else does, the gateway that keeps it included.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.parts import derive_salt, pseudo_random_key
from holdfast.core.statements import is_run_id
from holdfast.errors import MalformedError, RefusedError

SEALED_OBJECT = "holdfast.sealed"
"""``object`` of a sealed answer's body (``sealed.md`` §5(2))."""
SEALED_SUITE = "A256GCM"
"""``suite`` of its ciphertext: AES-256-GCM, in the word of RFC 7518 §5.1."""
_NONCE = bytes(12)
"""Each key encrypts one text, so a fixed nonce is used once (NIST SP 800-38D §8.2)."""


def seal_document(key: bytes, document: str, text: bytes) -> bytes:
    """Encrypt a document's JSON text; ``key`` is the run's pseudo-random key (``parts.md`` §4)."""
    return AESGCM(derive_salt(key, f"store/{document}", 32)).encrypt(_NONCE, text, document.encode())


def open_document(key: bytes, document: str, sealed: bytes) -> bytes:
    """The text again; raises ``run.capability`` when the key is another run's or the text was changed."""
    try:
        return AESGCM(derive_salt(key, f"store/{document}", 32)).decrypt(_NONCE, sealed, document.encode())
    except InvalidTag as error:
        raise RefusedError("run.capability", "this capability does not open the stored parts", status=403) from error


def sealed_member(ciphertext: bytes) -> dict[str, str]:
    """The ``sealed`` member of a sealed answer's carrier."""
    return {"document": "response", "suite": SEALED_SUITE, "ciphertext": b64_encode(ciphertext)}


def open_sealed_answer(answer: object, secret: bytes) -> bytes:
    """The response document's JSON text of a sealed answer's body (a decoded JSON object), with the run secret.

    Raises ``sealed.fields`` for what is no sealed answer and ``run.capability`` when the secret is another run's.
    Whether the text is what was signed, ``core.parts.verify_document`` says.
    """
    run, ciphertext = _sealed_member_of(answer)
    return open_document(pseudo_random_key(run, secret), "response", b64_decode(ciphertext))


def _sealed_member_of(answer: object) -> tuple[str, str]:
    """The run and the ciphertext of a sealed answer's body."""
    holdfast = answer.get("holdfast") if isinstance(answer, dict) and answer.get("object") == SEALED_OBJECT else None
    sealed = holdfast.get("sealed") if isinstance(holdfast, dict) else None
    run = holdfast.get("run") if isinstance(holdfast, dict) else None
    if (
        not is_run_id(run)
        or not isinstance(sealed, dict)
        or sealed.keys() != {"document", "suite", "ciphertext"}
        or (sealed["document"], sealed["suite"]) != ("response", SEALED_SUITE)
    ):
        raise MalformedError("sealed.fields", "this is no sealed answer of a gateway")
    return str(run), sealed["ciphertext"]
