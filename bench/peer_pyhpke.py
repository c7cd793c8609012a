"""pyhpke's HPKE contexts, on which an OHTTP of its own could be built; run with the interpreter that has it.

It sets contexts up and seals and opens with them, and nothing else: no key configuration is read and no message framed.
Prints one JSON line: microseconds of CPU to seal a request, to open one, and to seal and open one chunk.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from pyhpke import AEADId, CipherSuite, KDFId, KEMId  # type: ignore[import-not-found]

AEADS = {"aes-128-gcm": AEADId.AES128_GCM, "chacha20-poly1305": AEADId.CHACHA20_POLY1305}
INFO = b"message/bhttp request\x00\x01\x00\x20\x00\x01\x00\x01"


def microseconds(call: Callable[[], object], times: int) -> float:
    """Of one call, on average; the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _ in range(times):
            call()
        best = min(best, (time.process_time() - began) / times * 1e6)
    return best


def main() -> None:
    """``peer_pyhpke.py SUITE REQUEST_BYTES CHUNK_BYTES``."""
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADS[sys.argv[1]])
    request, chunk = (bytes(int(size)) for size in sys.argv[2:4])
    pair = suite.kem.derive_key_pair(bytes(range(32)))

    def seal() -> tuple[bytes, bytes]:
        enc, context = suite.create_sender_context(pair.public_key, INFO)
        return enc, context.seal(request)

    enc, sealed = seal()

    def opened() -> bytes:
        found: bytes = suite.create_recipient_context(enc, pair.private_key, INFO).open(sealed)
        return found

    enc_of_chunks, sender = suite.create_sender_context(pair.public_key, INFO)
    recipient = suite.create_recipient_context(enc_of_chunks, pair.private_key, INFO)
    chunks: list[bytes] = []
    found = {
        "seal_us": microseconds(seal, 1_000),
        "open_us": microseconds(opened, 1_000),
        "seal_chunk_us": microseconds(lambda: chunks.append(sender.seal(chunk)), 10_000),
    }
    waiting = iter(chunks)
    found["open_chunk_us"] = microseconds(lambda: recipient.open(next(waiting)), 10_000)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
