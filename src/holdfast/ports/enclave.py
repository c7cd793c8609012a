"""What a node asks of the enclave it runs in: evidence of itself, made now (``spec/attestation.md`` §11).

Not covered: verifying evidence (``verifier/attestation``); a node presents evidence and never judges its own.
"""

from __future__ import annotations

from typing import Protocol


class Enclave(Protocol):
    """An enclave that attests, or what stands in for one and says so."""

    @property
    def format(self) -> str:
        """The format of its evidence (``attestation.md`` §2): ``aws-nitro``, ``intel-dcap``, ``amd-sev-snp``."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether there is no enclave: what it makes never counts as hardware's, whatever is configured."""
        ...

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        """Evidence as a bundle holds it (``attestation.md`` §2): a Nitro document, or an evidence file.

        ``user_data`` is a binding record (``attestation.md`` §5); where the format is ``aws-nitro``, any bytes up to
        512. ``nonce`` has 1 to 512 bytes, or is None. Blocks for milliseconds up to seconds: callers use a thread, and
        may call from several. Raises ``enclave.input`` or ``nsm.refused`` (usage) for what cannot be attested,
        ``enclave.device``, ``enclave.answer``, ``enclave.collateral`` or ``nsm.failed`` (unavailable) when the
        hardware does not do its part.
        """
        ...
