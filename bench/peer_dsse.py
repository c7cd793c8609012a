"""securesystemslib's DSSE envelopes, as in-toto and TUF sign and check them; run with the interpreter that has it.

It signs a payload and checks the envelope's signature, and nothing else: no statement is built or parsed, no key is
looked up in a trust document. Prints one JSON line: microseconds of CPU to sign and write one, and to read and check
one.
"""

from __future__ import annotations

import json
import sys
import time

from securesystemslib.dsse import Envelope  # type: ignore[import-not-found]
from securesystemslib.signer import CryptoSigner  # type: ignore[import-not-found]

TIMES = 2_000


def main() -> None:
    """``peer_dsse.py PAYLOAD_BYTES``."""
    payload = (b'{"padding":"' + b"0" * int(sys.argv[1]))[: int(sys.argv[1]) - 2] + b'"}'
    signer = CryptoSigner.generate_ed25519()

    def sign() -> bytes:
        envelope = Envelope(payload, "application/vnd.in-toto+json", {})
        envelope.sign(signer)
        return json.dumps(envelope.to_dict()).encode()

    raw = sign()

    def check() -> None:
        Envelope.from_dict(json.loads(raw)).verify([signer.public_key], 1)

    found = {}
    for name, call in (("sign_us", sign), ("check_us", check)):
        began = time.process_time()
        for _ in range(TIMES):
            call()
        found[name] = (time.process_time() - began) / TIMES * 1e6
    print(json.dumps(found))


if __name__ == "__main__":
    main()
