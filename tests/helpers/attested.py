"""A machine with SEV-SNP for tests: reports for any key document and nonce, at the time of ``tests.helpers.network``.

It is the vectors' throw-away vendor (``spec/tools/reference``), which shares no code with the product. A trust document
that names its root as no development root takes it for real hardware, which is what tests of refusals start from: of
AMD's roots not all are known, so trust may name them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.core.attestation.certificates import build_pem
from holdfast.core.attestation.evidence import EvidenceFile, build_evidence_file
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import KeyDocument, build_key_document
from tests.helpers.network import FROM, UNTIL, Network

TOOLS = str(Path(__file__).resolve().parents[2] / "spec" / "tools")
sys.path.insert(0, TOOLS)
from reference import hardware  # noqa: E402
from reference.text import named  # noqa: E402
from reference.x509 import EC, authority_extensions, certificate  # noqa: E402

sys.path.remove(TOOLS)

MEASUREMENT = named("snp/measurement", 48).hex()
"""What the machine was started with."""


def in_debug_mode(report: bytearray) -> None:
    """Bit 19 of the policy: the host may look inside."""
    report[8:16] = (0x30000 | 1 << 19).to_bytes(8, "little")


@functools.cache
def _vendor() -> hardware.SNP:
    """Its keys are slow to make."""
    return hardware.SNP()


class Machine:
    """A chip with its chain. ``life`` are the ends of its certificate's life, by default as long as the vendor's."""

    def __init__(self, **life: str) -> None:
        self.vendor = _vendor()
        self.root = self.vendor.root
        self.chain = [self.vendor.leaf_certificate(**life), *self.vendor.chain[1:]]

    def under_another_root(self) -> Machine:
        """The same chip under a root that nobody knows."""
        key, name = EC("snp/another root"), "ARK-Another"
        span = {"start": hardware.LONG_AGO, "end": hardware.FAR}
        root = certificate(name, key, name, key, authority_extensions(), **span)
        issuer = certificate("SEV-Test", self.vendor.ask, name, key, authority_extensions(0), **span)
        self.chain = [self.chain[0], issuer, root]
        return self

    def evidence(
        self, document: KeyDocument, nonce: bytes | None, change: Callable[[bytearray], None] | None = None
    ) -> bytes:
        """An evidence file that binds a key document with its TLS and OHTTP keys; ``change`` edits the report."""
        tls = bytes(32) if document.tls is None else bytes.fromhex(document.tls)
        record = hardware.binding(document.digest, tls, document.ohttp_digest or bytes(32))
        report = self.vendor.report(report_data=hardware.report_data(record, nonce), change=change)
        return build_evidence_file(EvidenceFile(report, build_pem(tuple(self.chain)), record))

    def shown(self, document: KeyDocument, nonce: bytes | None, **options: Any) -> dict[str, Any]:
        """The same as a gateway shows it."""
        return {"format": "amd-sev-snp", "evidence": b64_encode(self.evidence(document, nonce, **options))}

    def trust(self, network: Network, **change: Any) -> dict[str, Any]:
        """Members of a trust version that admits this machine as hardware; ``change`` replaces them."""
        root = {"kind": "amd-sev-snp", "certificate": b64_encode(self.root), "development": False}
        insecure = {
            "kind": "insecure-dev",
            "certificate": b64_encode(network.enclave_root.key.public),
            "development": True,
        }
        measurement = {
            "kind": "amd-sev-snp",
            "role": "gateway",
            "value": {"measurement": MEASUREMENT},
            "valid_from": time_encode(FROM),
            "valid_until": time_encode(UNTIL),
            "debug": False,
        }
        return {"development": False, "enclave_roots": [root, insecure], "measurements": [measurement], **change}


def with_keys(network: Network, **members: Any) -> Network:
    """The network with a gateway whose key document has more members (``tls``, ``ohttp``)."""
    network.gateway_document = build_key_document("gateway", ["gateway"], "test", [network.gateway.key], **members)
    return network
