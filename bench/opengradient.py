"""Checking an answer as OpenGradient's client does, with their code and with ours, and checking what Holdfast signs.

The same request, the same answer. Their client, once the answer is open: the request's hash from the canonical fields,
the output's hash, the RSA-PSS signature over both and a time. ``core/opengradient.py`` does the same from the raw
bytes, read strictly. Then our own: a bundle read strictly, two signed statements of an admitted node, their order and
nonce, every part of the whole request and the whole response cut, salted and compared. Figures wanted: the same checks
at least as fast as theirs, and requests sealed as fast.

Their script is in a folder of its own: from here it would import this file instead of their package.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import peers  # beside this file
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from figures import at_least, figure, no_peer, ratio

from holdfast.client.turns import BoundTurn, check_turn
from holdfast.core import canonical
from holdfast.core.evm import keccak256
from holdfast.core.hpke import CHACHA20_POLY1305
from holdfast.core.ohttp import GatewayKey, encapsulate
from holdfast.core.opengradient import (
    AnswerSignature,
    canonical_request,
    message_hash,
    output_text,
    tee_id_of,
    verify_answer,
)
from holdfast.core.trust import Trust
from tests.helpers.network import Network, at
from tests.helpers.signed_gateway import SignedGateway

TIMESTAMP = 1_767_225_600
TURNS = [
    {"role": role, "content": f"{number}: " + "one thing and what it does not say, " * 5}
    for number in range(5)
    for role in ("user", "assistant")
]
REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [*TURNS, {"role": "user", "content": "What is a lane?"}],
    "temperature": 0.0,
    "max_tokens": 100,
}


def median_us(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Median processor time of one call: what a neighbour takes from the core is not ours."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e6


def signed(request: bytes, answer: dict[str, Any], key: rsa.RSAPrivateKey, der: bytes) -> bytes:
    """The answer with the members that OpenGradient's gateway puts beside it."""
    asked, exact = (canonical.decode_exact(raw) for raw in (request, json.dumps(answer).encode()))
    request_hash = keccak256(canonical_request("chat.completions", asked))
    output_hash = keccak256(output_text("chat.completions", exact).encode())
    digest = message_hash(request_hash, output_hash, TIMESTAMP)
    signature = key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    found = AnswerSignature(signature, request_hash, output_hash, TIMESTAMP, tee_id_of(der))
    return json.dumps({**answer, **found.to_json()}).encode()


async def asked(gateway: SignedGateway, trust: Trust) -> tuple[BoundTurn, bytes]:
    """A whole answer of a gateway of ours, and its bundle."""
    client = gateway.client(trust)
    bound = await client.ask(REQUEST)
    return bound, await client.bundle(bound.turn.run, bound.turn.capability)


def main() -> None:
    """Everything once."""
    network = Network()
    trust = network.trust()
    bound, bundle = asyncio.run(asked(SignedGateway(network), trust))
    turn = bound.turn
    key = rsa.generate_private_key(65537, 2048)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    answer = signed(turn.request, canonical.decode(canonical.encode_exact(turn.response)), key, der)

    def as_theirs() -> None:
        request = canonical.decode_exact(turn.request)
        verify_answer("chat.completions", request, canonical.decode_exact(answer), der)

    theirs_here = median_us(as_theirs)
    figure("check an answer as OpenGradient's client does, our code", theirs_here, "us")
    ours = median_us(lambda: check_turn(bundle, turn, bound.attester, trust, at(5)))
    figure("check what Holdfast signs: statements, whole request and answer", ours, "us")
    configuration = GatewayKey(1, os.urandom(32), (CHACHA20_POLY1305,)).configuration
    seal = median_us(lambda: encapsulate(configuration, CHACHA20_POLY1305, os.urandom(32), turn.request))
    figure("seal that request to a gateway's key, our code", seal, "us")
    given = {
        "request": turn.request.decode(),
        "answer": answer.decode(),
        "key": der.hex(),
        "hpke": configuration.public.hex(),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answer.json")
        path.write_text(json.dumps({**given, "hpke": configuration.public.hex()}))
        try:
            found = peers.run("opengradient", "apart/opengradient_checks.py", str(path))
        except peers.MissingError as error:
            no_peer("opengradient", str(error))
            return
    figure("check an answer as OpenGradient's client does, their code", found["verify_us"], "us")
    figure("seal that request to a gateway's key, their code", found["seal_us"], "us")
    ratio("opengradient: the same checks a second", found["verify_us"], theirs_here, at_least(1))
    ratio("opengradient: answers checked a second", found["verify_us"], ours, note="(ours checks all that was signed)")
    ratio("opengradient: requests sealed a second", found["seal_us"], seal, at_least(1), "(theirs is pyhpke)")


if __name__ == "__main__":
    main()
