"""Statements, bundles, appraisal: what one costs on one core, and how large a bundle is.

Uses the evidence of ``tests/helpers`` (a complete small network made from real keys), so nothing needs to run.
Figures wanted: statement build + sign <= 200 us, bundle verify <= 10 ms and <= 12 KB without disclosures. Peer in the
same run: securesystemslib's DSSE envelopes, which sign and check a payload of the same size and know nothing of what it
says. Nothing that pip installs appraises such a bundle.

``python bench/verify.py --bundle FILE --trust FILE`` measures a bundle of your own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import peers  # beside this file
from cryptography.hazmat.primitives.asymmetric import ed25519
from figures import at_most, figure, no_peer, ratio

from holdfast.adapters.signer_files import FileSigner
from holdfast.core import parts
from holdfast.core.bundles import parse_bundle
from holdfast.core.keys import verify_signature
from holdfast.core.statements import Execution, parse_envelope, parse_statement, pre_authentication_encoding
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.nodes.gateway.turn import Identity, Opening, close_statements
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy

RUN = "01900000-0000-7000-8000-000000000001"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 60}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 70},
    }
).encode()


def median_us(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Median processor time of one call: what a neighbour takes from the core is not ours."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e6


def statements() -> None:
    """A whole answer to its two signed statements."""
    signer = FileSigner(ed25519.Ed25519PrivateKey.generate(), "statement")
    identity = Identity("a" * 64, signer, signer.key.key_id)
    key = parts.pseudo_random_key(RUN, bytes(32))
    tree = parts.commit("request", ANSWER, key).tree
    opening = Opening(RUN, "", "w", "chat.completions", False, "batch", None, None, tree, tree, (), "stub", "0" * 64)
    execution = Execution("generated", "complete", tree, None, "stub")
    both = median_us(lambda: close_statements(identity, opening, execution, now=NOW, key=key))
    commit = median_us(lambda: parts.commit("response", ANSWER, key))
    figure(f"cut, salt and hash an answer of {tree.size} parts", commit, "us")
    figure("build and sign one statement (of a pair)", both / 2, "us", at_most(200))
    envelope = close_statements(identity, opening, execution, now=NOW, key=key)[1].envelope
    admitted = signer.key

    def check() -> None:
        read = parse_envelope(envelope)
        parse_statement(read)
        verify_signature(admitted, pre_authentication_encoding(read.payload), read.signature)

    checked = median_us(check)
    figure("read a statement strictly and check its signature", checked, "us")
    peer = "securesystemslib, DSSE"
    try:
        found = peers.run("securesystemslib", "peer_dsse.py", str(len(parse_envelope(envelope).payload)))
    except peers.MissingError as error:
        no_peer(peer, str(error))
        return
    ratio(f"{peer}: statements signed", found["sign_us"], both / 2, note="(ours builds the statement too)")
    ratio(f"{peer}: statements checked", found["check_us"], checked, note="(ours reads the statement too)")


def bundle(path: Path, trust_path: Path) -> None:
    """Parse and appraise one bundle."""
    raw, chain = path.read_bytes(), trust_path.read_bytes()
    policy = parse_policy(DEFAULT_POLICY)

    def whole() -> None:
        trust = verify_trust(parse_trust_chain(chain))
        found = parse_bundle(raw)
        appraise(found, trust, policy, found.exported_at)

    trust = verify_trust(parse_trust_chain(chain))
    found = parse_bundle(raw)
    figure("verify a bundle, trust file and all", median_us(whole) / 1000, "ms", at_most(10))
    alone = median_us(lambda: appraise(found, trust, policy, found.exported_at))
    figure("appraise a parsed bundle", alone / 1000, "ms")
    figure("size of the bundle", len(raw) / 1024, "KB", at_most(12))


def main() -> None:
    """Command line."""
    vectors = Path(__file__).parent.parent / "vectors"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=vectors / "lanes" / "settled" / "bundle.json")
    parser.add_argument("--trust", type=Path, default=vectors / "shared" / "trust.json")
    options = parser.parse_args()
    statements()
    bundle(options.bundle, options.trust)


if __name__ == "__main__":
    main()
