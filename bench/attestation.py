"""Attestations: documents a second on one core, cold and with the part remembered that many documents share.

Evidence is the vectors' (throw-away vendors), and real documents where they lie in ``../shared/data/attestation``.
*Cold* forgets every chain and collateral before each document; *cached* keeps what does not depend on it. For DCAP the
peer is ``dcap-qvl`` (Rust) on the same quote in the same run, when it is installed: it parses collateral once and
checks all of it every time.

Figures wanted: Nitro >= 170/s cold and >= 480/s cached, TDX >= 900/s cached; each line says whether it is met. The
first line says how many signatures this machine verifies at the same time, since that is what the figures are made of:
five of P-384 for a cold Nitro document, two for a cached one.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from figures import at_least, figure, no_peer, ratio

from holdfast.core.attestation import certificates
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.evidence import EvidenceFile
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.roots import vendor_roots
from holdfast.verifier.attestation import chain, dcap
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import Transcript

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "vectors"
REAL = ROOT.parent / "shared" / "data" / "attestation"
MADE_AT = dt.datetime(2026, 1, 1, 0, 10, tzinfo=dt.UTC)
WANTED = {("nitro", "cold"): at_least(170), ("nitro", "cached"): at_least(480), ("tdx", "cached"): at_least(900)}
"""By kind of evidence, real or made. Many quotes are judged by one collateral: that is what is wanted of TDX."""


def forget() -> None:
    """Everything that is remembered."""
    for function in (
        chain.verify_authorities,
        chain._elliptic,  # noqa: SLF001
        chain._rsa,  # noqa: SLF001
        certificates.parse_authority,
        dcap.verify_collateral,
        dcap._platform,  # noqa: SLF001
    ):
        function.cache_clear()


def rate(call: Callable[[], object], seconds: float) -> float:
    """Calls in a second of one core: its own time is counted, so that neighbours take nothing off; best of five."""
    call()
    best = 0.0
    for _ in range(5):
        count, began = 0, time.process_time()
        while time.process_time() - began < seconds / 5:
            call()
            count += 1
        best = max(best, count / (time.process_time() - began))
    return best


def signatures(curve: ec.EllipticCurve, algorithm: hashes.HashAlgorithm, seconds: float) -> float:
    """Verified ECDSA signatures a second."""
    key = ec.generate_private_key(curve)
    message, scheme = bytes(1000), ec.ECDSA(algorithm)
    signed, public = key.sign(message, scheme), key.public_key()
    return rate(lambda: public.verify(signed, message, scheme), seconds)


Sample = tuple[str, EvidenceFile, tuple[bytes, ...], dt.datetime]


def samples() -> dict[str, Sample]:
    """Format, evidence, roots and time by name."""

    def made(name: str, form: str, vendor: str, collateral: str | None) -> Sample:
        shared = VECTORS / "shared"
        given = None if collateral is None else (shared / collateral).read_bytes()
        evidence = (VECTORS / "attestation" / name / "evidence.bin").read_bytes()
        return (
            form,
            EvidenceFile(evidence, given),
            parse_certificates((shared / f"{vendor}-root.pem").read_bytes()),
            MADE_AT,
        )

    found = {
        "nitro (made)": made("nitro-document", "aws-nitro", "nitro", None),
        "tdx (made)": made("dcap-tdx", "intel-dcap", "dcap", "dcap-collateral.json"),
        "snp (made)": made("snp-report", "amd-sev-snp", "snp", "snp-chain.pem"),
        "nvidia (made)": made("nvidia-report", "nvidia", "nvidia", "nvidia-chain.pem"),
    }
    if not REAL.is_dir():
        print(f"no real documents in {REAL.name} beside the project: those of the vectors only")
        return found

    def real(form: str, evidence: bytes, at: str, *collateral: str) -> Sample:
        given = b"".join((REAL / name).read_bytes() for name in collateral) or None
        return form, EvidenceFile(evidence, given), vendor_roots(form), dt.datetime.fromisoformat(at)

    nitro = base64.b64decode((REAL / "nitro" / "og-evm-attestation_doc.b64").read_bytes())
    gpu = bytes.fromhex((REAL / "nvidia" / "hopperAttestationReport.txt").read_text())
    quote, report = ((REAL / name).read_bytes() for name in ("tdx/tdx_quote", "snp/attestation.bin"))
    chips = ("snp/kds_vcek.der", "snp/milan_ask.der", "snp/milan_ark.der")
    return {
        "nitro": real("aws-nitro", nitro, "2026-02-12T17:56:02Z"),
        "tdx": real("intel-dcap", quote, "2025-06-22T00:00:00Z", "tdx/tdx_quote_collateral.json"),
        "snp": real("amd-sev-snp", report, "2026-11-29T00:00:00Z", *chips),
        "nvidia": real("nvidia", gpu, "2026-11-29T00:00:00Z", "nvidia/hopperCertChain.txt"),
        **found,
    }


def peer(sample: Sample, seconds: float) -> float | None:
    """``dcap-qvl`` on the same quote; None when it is not installed."""
    try:
        library: Any = importlib.import_module("dcap_qvl")
    except ImportError:
        return None
    _, file, _, at = sample
    collateral = library.QuoteCollateralV3.from_json((file.collateral or b"").decode())
    return rate(lambda: library.verify(file.evidence, collateral, int(at.timestamp())), seconds)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    found = samples()
    print(
        f"this machine, one core: P-384 {signatures(ec.SECP384R1(), hashes.SHA384(), seconds):,.0f} signatures/s, ",
        end="",
    )
    print(f"P-256 {signatures(ec.SECP256R1(), hashes.SHA256(), seconds):,.0f} signatures/s")
    for name, sample in found.items():
        form, file, roots, at = sample

        def once(form: str = form, file: EvidenceFile = file, roots: Any = roots, at: dt.datetime = at) -> None:
            verify_attestation(form, file, roots, at, Transcript())

        def cold(once: Callable[[], None] = once) -> None:
            forget()
            once()

        for kind, call in (("cold", cold), ("cached", once)):
            figure(f"{name}, {kind}", rate(call, seconds), "/s", WANTED.get((name.partition(" ")[0], kind)))
        if name == "nitro":
            figure("nitro, parsed and not verified", rate(lambda file=file: parse_nitro(file.evidence), seconds), "/s")
        if name == "tdx":
            theirs = peer(sample, seconds)
            if theirs is None:
                no_peer("dcap-qvl", "it is not installed")
            else:
                figure("dcap-qvl on the same quote", theirs, "/s")
                ratio("dcap-qvl, collateral checked each time", rate(cold, seconds), theirs)
                ratio("dcap-qvl, collateral remembered", rate(once, seconds), theirs)


if __name__ == "__main__":
    main()
