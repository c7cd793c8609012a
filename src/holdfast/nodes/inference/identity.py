"""Who signs for an inference node."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.statements import build_envelope, pre_authentication_encoding
from holdfast.ports.signer import Signer


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: the digest (hex) of this node's key document, and the key that it names."""

    attester: str
    signer: Signer

    def envelope(self, payload: bytes) -> bytes:
        """Sign a statement's payload."""
        key_id = self.signer.key.key_id
        return build_envelope(payload, key_id, self.signer.sign(pre_authentication_encoding(payload)))
