"""Whatever a gateway or relay says of itself, a client refuses it with an error of ours, and asks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.channels import Transport
from holdfast.client.gateway import GatewayClient
from holdfast.client.identity import parse_identity
from holdfast.client.private import open_private
from holdfast.core.attestation.certificates import read_spki
from holdfast.core.encoding import b64_encode
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.http import Answer
from holdfast.ports.http_stream import EventAnswer
from holdfast.verifier.identity import PLAIN
from tests.helpers.attestations import shared
from tests.helpers.network import Network
from tests.helpers.relayed import World
from tests.helpers.signed_gateway import FixedClock
from tests.helpers.tls import certificate

NETWORK = Network()
TRUST = NETWORK.trust()
DOCUMENT = NETWORK.gateway_document
CERTIFICATE = certificate().raw
CHAIN = shared("snp-chain.pem")
WORLD = World()
PROOF = WORLD.proof()

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["insecure-dev", "aws-nitro"])
)
VALUES = st.recursive(
    LEAVES | st.binary(max_size=80).map(b64_encode),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ATTESTATIONS = VALUES | st.fixed_dictionaries({"format": LEAVES, "evidence": VALUES})
IDENTITIES = VALUES | st.fixed_dictionaries(
    {
        "node": st.just(DOCUMENT.digest) | VALUES,
        "key_document": st.just(b64_encode(DOCUMENT.raw)) | VALUES,
        "attestation": ATTESTATIONS,
    }
)
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 404, 429, 500])


class Told:
    """Answers every question with the next of these, and then is silent. Implements both HTTP ports."""

    def __init__(self, *answers: Answer) -> None:
        self.left = list(answers)
        self.asked: list[str] = []

    async def request(self, method: str, url: str, **_: Any) -> Answer:
        self.asked.append(f"{method} {url}")
        if not self.left:
            raise UnavailableError("http.unreachable", url)
        return self.left.pop(0)

    @contextlib.asynccontextmanager
    async def open(self, method: str, url: str, **_: Any) -> AsyncGenerator[EventAnswer]:
        self.asked.append(f"{method} {url}")
        raise UnavailableError("http.unreachable", url)
        yield


def bytes_of(value: object) -> st.SearchStrategy[bytes]:
    return st.just(json.dumps(value).encode())


BODIES = st.binary(max_size=120) | IDENTITIES.flatmap(bytes_of) | ATTESTATIONS.flatmap(bytes_of)


@given(st.lists(st.tuples(STATUSES, BODIES), max_size=2), st.booleans())
def test_a_gateway_that_says_anything_is_believed_nothing(answers: list[tuple[int, bytes]], trusting: bool) -> None:
    told = Told(*(Answer(status, body) for status, body in answers))
    client = GatewayClient(
        "http://gateway.test", "key", http=told, events=told, clock=FixedClock(), trust=TRUST if trusting else None
    )
    with contextlib.suppress(HoldfastError):
        asyncio.run(client.attester())
        assert answers[0][0] == 200
    assert all(item.startswith("GET http://gateway.test/v1/") for item in told.asked)


@given(IDENTITIES)
def test_an_identity_parses_or_is_refused(value: object) -> None:
    with contextlib.suppress(HoldfastError):
        document, _ = parse_identity(value, "here")
        assert document.digest == DOCUMENT.digest


@given(st.binary(max_size=200) | st.integers(0, len(CERTIFICATE) - 1).map(lambda place: flipped(CERTIFICATE, place)))
def test_a_certificate_shows_its_key_or_is_refused(raw: bytes) -> None:
    with contextlib.suppress(HoldfastError):
        assert read_spki(raw) in raw


def flipped(raw: bytes, place: int, by: int = 0x55) -> bytes:
    return raw[:place] + bytes([raw[place] ^ by]) + raw[place + 1 :]


@given(
    st.integers(0, len(PROOF) - 1).map(lambda place: flipped(PROOF, place)) | BODIES,
    st.tuples(STATUSES, BODIES),
)
def test_a_relay_that_says_anything_seals_nothing_to_anybody(proof: bytes, identity: tuple[int, bytes]) -> None:
    """What can be changed without notice is evidence, and that is judged."""
    told = Told(Answer(200, proof), Answer(*identity))
    way: Mapping[str, Any] = {
        "way": Transport(told, told, PLAIN),
        "clock": FixedClock(),
        "trust": WORLD.network.trust(),
    }
    with contextlib.suppress(HoldfastError):
        asyncio.run(open_private("http://relay.test", "key", **way))
        raise AssertionError("there is a client, and nobody answered what was sealed")
    assert all(item.startswith("GET http://relay.test/v1/") or item == SEALED for item in told.asked)


SEALED = "POST http://relay.test/v1/ohttp"
"""Who answers is asked sealed, once everything before held."""
