"""OpenGradient's own checks of an answer, and its sealing of a request; run with the interpreter that has the package.

Reads a JSON file with ``request`` and ``answer`` (texts), ``key`` (hex DER) and ``hpke`` (hex, X25519), does what
its confidential client does between an opened answer and showing it, seals the request as it would, and prints one JSON
line: microseconds of CPU for each.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from opengradient.client.tee_ohttp import encapsulate_request
from opengradient.client.tee_verify import (
    build_inner_request,
    pem_from_der,
    response_content_for_hash,
    verify_response,
)

SECONDS = 1.0


def median_us(call: Callable[[], object]) -> float:
    """Median processor time of one call."""
    times = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e6


def main() -> None:
    """``opengradient_checks.py FILE``."""
    given = json.loads(Path(sys.argv[1]).read_text())
    pem = pem_from_der(bytes.fromhex(given["key"]))
    request = json.loads(given["request"])

    def verify() -> None:
        _, canonical = build_inner_request(request)
        answer = json.loads(given["answer"])
        text = response_content_for_hash(answer)
        verify_response(canonical_request=canonical, response_body=answer, response_content=text, signing_key_pem=pem)

    hpke, body = bytes.fromhex(given["hpke"]), given["request"].encode()
    found = {"verify_us": median_us(verify), "seal_us": median_us(lambda: encapsulate_request(hpke, body))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
