"""The private path: a client whose every request is sealed to its gateway and handed on by a relay (``client.md`` §4).

The plan, in this order; the first step that fails raises, and there is no client then:

1. The relay shows the gateway's keys with proof: trust admits the key document, the log holds its identity statement,
   and a quorum has cosigned that log (``verifier.keys_proof``). So this client is shown the keys that all are shown.
2. The attestation beside them is what is required, and binds these keys (``verifier.identity``). One made before
   anybody asked will do here: what follows is sealed to a key, and says nothing yet.
3. Through the relay, sealed: who opens the requests is asked who it is, and for an attestation with a nonce of this
   client, like on the direct path. It must be the node of the first step.

The workspace key is the relay's business and is never sealed: the gateway learns no account of this client. Whether the
signed route tells of this very way is checked with every answer (``answer.path``).

Never does a client of this kind take the direct path by itself. A caller who names one (:class:`Direct`) gets it when
the private path is not there, and every such turn says so (:attr:`Turn.fell_back`).

Not covered: sizes and times, which relay and gateway see; and a relay that acts together with the gateway.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from holdfast.adapters.http_oblivious import ObliviousEvents, ObliviousHTTP, RelayRoute
from holdfast.client.channels import Transport, open_direct
from holdfast.client.errors import parse_error
from holdfast.client.gateway import Fallback, GatewayClient, connect
from holdfast.core import canonical
from holdfast.core.bundles import AttestationItem
from holdfast.core.encoding import b64_decode, hex_decode, sha256_hex
from holdfast.core.hpke import AEAD
from holdfast.core.keys import parse_key_document
from holdfast.core.keys_proof import MAX_KEYS_PROOF_BYTES, KeysProof, parse_keys_proof
from holdfast.core.ohttp import SUITES, KeyConfiguration, parse_key_configuration
from holdfast.core.statements import SealedPath
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.verifier.identity import Channel, Requirements, check_identity
from holdfast.verifier.keys_proof import verify_keys_proof

INSIDE = "https://gateway"
"""Origin of the requests inside: the relay chooses the gateway, and the sealed request names no host."""
_SUITES = {suite.name: suite for suite in SUITES}


@dataclass(frozen=True, slots=True)
class Direct:
    """The direct way, for a caller who would rather be seen than not be answered."""

    url: str
    key: str | None
    """The workspace key at the gateway itself."""


@contextlib.asynccontextmanager
async def connect_private(
    relay: str,
    key: str | None,
    *,
    trust: Trust,
    requirements: Requirements | None = None,
    gateway: str | None = None,
    suite: str = "aes-128-gcm",
    pad_bytes: int | None = None,
    direct: Direct | None = None,
    insecure_plain_http: bool = False,
) -> AsyncGenerator[GatewayClient]:
    """A client over a relay, with connections that close at the end; see the module.

    ``relay`` is its base URL and ``key`` the key that it knows this caller by. ``gateway`` is the digest (hex) of the
    gateway's key document; None takes the relay's own choice among those that trust admits. ``suite`` is
    ``aes-128-gcm`` or ``chacha20-poly1305``. ``pad_bytes`` hides the size of requests within so many bytes
    (``ohttp.md`` §7). Raises ``keys_proof.*``, ``private.*``, ``identity.*`` and what
    :func:`~holdfast.client.gateway.connect` does.
    """
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - picked where it is wanted

    clock = SystemClock()
    made: list[GatewayClient] = []
    async with contextlib.AsyncExitStack() as stack:

        async def instead(error: UnavailableError) -> GatewayClient:
            """The direct client, made when it is first needed: until then the gateway sees no address."""
            if direct is None:
                raise error
            if not made:
                there = connect(
                    direct.url,
                    direct.key,
                    trust=trust,
                    requirements=requirements,
                    insecure_plain_http=insecure_plain_http,
                )
                made.append(await stack.enter_async_context(there))
            made[0].fell_back = error.code
            return made[0]

        try:
            way = await stack.enter_async_context(open_direct(relay, trust, insecure_plain_http=insecure_plain_http))
            client = await open_private(
                relay,
                key,
                way=way,
                clock=clock,
                trust=trust,
                requirements=requirements,
                gateway=gateway,
                suite=suite,
                pad_bytes=pad_bytes,
                instead=None if direct is None else instead,
            )
        except UnavailableError as error:
            client = await instead(error)
        yield client


async def open_private(
    relay: str,
    key: str | None,
    *,
    way: Transport,
    clock: Clock,
    trust: Trust,
    requirements: Requirements | None = None,
    gateway: str | None = None,
    suite: str = "aes-128-gcm",
    pad_bytes: int | None = None,
    instead: Fallback | None = None,
) -> GatewayClient:
    """As :func:`connect_private`, with everything of the world handed in: ``way`` leads to the relay."""
    url = relay.rstrip("/")
    if suite not in _SUITES:
        raise UsageError("private.suite", f"a suite is {' or '.join(_SUITES)}", param="suite")
    if gateway is not None:
        hex_decode(gateway, 32)
    required = (requirements or Requirements()).under(trust)
    proof = await fetch_proof(url, way.http, gateway)
    keys = verify_keys_proof(proof, trust, clock.now())
    if gateway is not None and keys.document.digest != gateway:
        raise RefusedError("private.gateway", "the relay shows the keys of another gateway than the one that was named")
    configuration = choose_configuration(keys.ohttp, _SUITES[suite])
    path = SealedPath(sha256_hex(configuration.encoded), suite, "binary-http", await _fetch_relay(url, way.http))
    channel = Channel("sealed", path=path, keys=keys)
    shown = proof.attestation
    check_identity(
        keys.document,
        None if shown is None else AttestationItem(keys.document.digest, shown.format, shown.evidence),
        trust=trust,
        requirements=Requirements(required.attested, fresh=False),
        channel=channel,
        at=clock.now(),
    )
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    route = RelayRoute(
        f"{url}/v1/ohttp",
        configuration,
        suite=_SUITES[suite],
        headers={**headers, "x-tee-id": keys.document.digest},
        bucket_bytes=pad_bytes,
        now=clock.now,
    )
    client = GatewayClient(
        INSIDE,
        None,
        http=ObliviousHTTP(route, way.http),
        events=ObliviousEvents(route, way.events),
        clock=clock,
        trust=trust,
        requirements=required,
        channel=channel,
        fallback=instead,
    )
    await client.attester()
    return client


def choose_configuration(configurations: tuple[bytes, ...], suite: AEAD) -> KeyConfiguration:
    """The first key configuration of a key document that offers a suite; raises ``private.suite``."""
    for encoded in configurations:
        try:
            found = parse_key_configuration(encoded)
        except HoldfastError:
            continue  # of another KEM, say: it is the gateway's own, and not for this client
        if suite in found.suites:
            return found
    raise RefusedError("private.suite", f"the gateway offers no key that this client can use with {suite.name}")


async def fetch_proof(url: str, http: HTTP, gateway: str | None = None) -> KeysProof:
    """The keys with proof, as the relay shows them to everybody: asked for without the caller's key. Unchecked."""
    query = "" if gateway is None else f"?gateway={gateway}"
    answer = await http.request(
        "GET", f"{url}/v1/ohttp/keys/proof{query}", timeout_s=30.0, max_bytes=MAX_KEYS_PROOF_BYTES
    )
    if answer.status != 200:
        raise parse_error(answer.status, answer.body, url)
    return parse_keys_proof(answer.body)


async def _fetch_relay(url: str, http: HTTP) -> str | None:
    """The digest of the relay's key document, as it says itself; None where it does not say."""
    answer = await http.request("GET", f"{url}/v1/identity", timeout_s=30.0, max_bytes=1 << 20)
    if answer.status != 200:
        return None
    value = canonical.decode_object(answer.body)
    document = parse_key_document(b64_decode(value.get("key_document")))
    if document.digest != value.get("node") or "relay" not in document.roles:
        raise RefusedError("private.relay", f"{url} shows a key document that is not a relay's own")
    return document.digest
