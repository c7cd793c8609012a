"""What a client checks before it asks: each refusal comes before any prompt or key has left."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.client.gateway import IDENTITY_FOR_S
from holdfast.client.identity import parse_attestation, parse_identity
from holdfast.client.turns import Attester
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.verifier.identity import Channel, Requirements
from tests.helpers.attested import MEASUREMENT, Machine, in_debug_mode, with_keys
from tests.helpers.network import FROM, Network, at
from tests.helpers.signed_gateway import PIECES, FixedClock, SignedGateway

REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
MACHINE, STRANGER = Machine(), Machine().under_another_root()
TLS = "ab" * 32
CONFIGURATION = b"\x01\x00\x20" + bytes(range(32)) + b"\x00\x04\x00\x01\x00\x01"
SEALED = Channel("sealed")


def world(**members: Any) -> tuple[SignedGateway, Trust]:
    """A gateway in an enclave, and a trust that admits it and its measurements."""
    network = with_keys(Network(development=False), **members)
    gateway = SignedGateway(network)
    gateway.attest = lambda nonce: MACHINE.shown(network.gateway_document, nonce)
    return gateway, network.trust(**MACHINE.trust(network))


def ask(gateway: SignedGateway, trust: Trust | None, **options: Any) -> Attester:
    """Ask one question; nothing but the public questions may have gone out when it is refused."""
    client = gateway.client(trust, **options)
    try:
        return asyncio.run(client.ask(REQUEST)).attester
    except HoldfastError:
        assert all(method == "GET" for method, _, _ in gateway.requests), "a prompt has left"
        assert all("authorization" not in headers for _, _, headers in gateway.requests), "the key has left"
        raise


def refusal(gateway: SignedGateway, trust: Trust | None, **options: Any) -> HoldfastError:
    with pytest.raises(HoldfastError) as refused:
        ask(gateway, trust, **options)
    return refused.value


def showing(gateway: SignedGateway, make: Callable[[bytes | None], dict[str, Any] | None]) -> SignedGateway:
    gateway.attest = make
    return gateway


# What hardware has to show


@pytest.mark.parametrize(
    ("shown", "code", "kind"),
    [
        ("nothing", "identity.attestation", UndecidedError),
        ("a development stand-in", "identity.attestation", RefusedError),
        ("an old one", "identity.stale", UndecidedError),
        ("another nonce", "attestation.nonce", RefusedError),
        ("no nonce", "attestation.nonce", RefusedError),
        ("another key document", "attestation.binding", RefusedError),
        ("a debug enclave", "attestation.debug", RefusedError),
        ("another vendor's root", "attestation.root", RefusedError),
        ("what ran out", "enclave.expired", UndecidedError),
        ("what is yet to come", "enclave.not_yet", UndecidedError),
        ("a format that nobody knows", "enclave.format", UndecidedError),
        ("bytes that are none", "snp.size", RefusedError),
        ("another TLS key", "identity.tls", RefusedError),
        ("other OHTTP keys", "identity.ohttp", RefusedError),
    ],
)
def test_without_the_attestation_that_is_required_nothing_is_asked(
    shown: str, code: str, kind: type[HoldfastError]
) -> None:
    gateway, trust = world(tls=TLS, ohttp=(CONFIGURATION,))
    document = gateway.network.gateway_document
    stranger = with_keys(Network(), payment="0x" + "11" * 20).gateway_document
    old = MACHINE.shown(document, b"\x01" * 32)
    to_come = Machine(start=time_encode(at(6)))
    ran_out = Machine(end=time_encode(at(4)))
    makers: dict[str, Callable[[bytes | None], dict[str, Any] | None]] = {
        "nothing": lambda _: None,
        "a development stand-in": lambda nonce: gateway._vouched(None) if nonce is None else None,
        "an old one": lambda nonce: old | MACHINE.shown(document, None) if nonce is None else None,
        "another nonce": lambda _: old,
        "no nonce": lambda _: MACHINE.shown(document, None),
        "another key document": lambda nonce: MACHINE.shown(stranger, nonce),
        "a debug enclave": lambda nonce: MACHINE.shown(document, nonce, change=in_debug_mode),
        "another vendor's root": lambda nonce: STRANGER.shown(document, nonce),
        "what ran out": lambda nonce: ran_out.shown(document, nonce),
        "what is yet to come": lambda nonce: to_come.shown(document, nonce),
        "a format that nobody knows": lambda _: {"format": "tpm", "evidence": b64_encode(b"?")},
        "bytes that are none": lambda _: {"format": "amd-sev-snp", "evidence": b64_encode(b"?")},
        "another TLS key": lambda nonce: MACHINE.shown(dataclasses.replace(document, tls="cd" * 32), nonce),
        "other OHTTP keys": lambda nonce: MACHINE.shown(dataclasses.replace(document, ohttp=()), nonce),
    }
    error = refusal(showing(gateway, makers[shown]), trust, channel=Channel("pinned", TLS))
    assert (error.code, type(error)) == (code, kind)
    assert not any(path.startswith("/v1/chat") for _, path, _ in gateway.requests)


def test_a_debug_enclave_that_trust_admits_is_still_no_hardware() -> None:
    gateway, _ = world()
    document = gateway.network.gateway_document
    members = MACHINE.trust(gateway.network)
    members["measurements"][0]["debug"] = True
    gateway.attest = lambda nonce: MACHINE.shown(document, nonce, change=in_debug_mode)
    assert refusal(gateway, gateway.network.trust(**members)).code == "identity.attestation"


def test_other_measurements_than_trust_admits_are_refused() -> None:
    gateway, trust = world()
    document = gateway.network.gateway_document

    def other(report: bytearray) -> None:
        report[0x90:0xC0] = bytes(48)

    assert bytes(48).hex() != MEASUREMENT
    gateway.attest = lambda nonce: MACHINE.shown(document, nonce, change=other)
    assert refusal(gateway, trust).code == "attestation.measurement"


@pytest.mark.parametrize("measurements", [[], "over"])
def test_a_measurement_that_trust_took_back_is_refused(measurements: Any) -> None:
    gateway, _ = world()
    members = MACHINE.trust(gateway.network)
    if measurements == "over":
        measurements = [{**members["measurements"][0], "valid_until": time_encode(at(4))}]
    trust = gateway.network.trust(**{**members, "measurements": measurements})
    assert refusal(gateway, trust).code == "attestation.measurement"


def test_a_node_that_trust_has_revoked_is_not_asked_for_an_attestation() -> None:
    gateway, _ = world()
    document = gateway.network.gateway_document
    revoked = {"at": time_encode(at(1)), "suspect_since": time_encode(at(1)), "reason": "stolen"}
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(at(99))}
    nodes = [{"key_document": b64_encode(document.raw), "revoked": revoked, **span}]
    members = MACHINE.trust(gateway.network, nodes=nodes, logs=[], epochs=[])
    assert refusal(gateway, gateway.network.trust(**members)).code == "gateway.trust"
    assert [path for _, path, _ in gateway.requests] == ["/v1/identity"]


def test_without_trust_a_required_attestation_cannot_be_judged() -> None:
    gateway, _ = world()
    assert refusal(gateway, None, requirements=Requirements("development")).code == "identity.attestation"


# What is required where nobody says


@pytest.mark.parametrize(
    ("development", "asked", "attested", "fresh"),
    [
        (None, Requirements(), "none", False),
        (True, Requirements(), "development", False),
        (False, Requirements(), "hardware", True),
        (False, Requirements("development"), "development", False),
        (False, Requirements(fresh=False), "hardware", False),
        (True, Requirements("hardware"), "hardware", True),
    ],
)
def test_whoever_says_nothing_gets_what_trust_is_for(
    development: bool | None, asked: Requirements, attested: str, fresh: bool
) -> None:
    trust = None if development is None else Network(development=development).trust()
    assert asked.under(trust) == Requirements(attested, fresh)  # type: ignore[arg-type]


def test_a_gateway_that_shows_nothing_is_refused_under_development_trust_too() -> None:
    gateway = showing(SignedGateway(), lambda _: None)
    assert refusal(gateway, Network().trust()).code == "identity.attestation"


def test_whoever_requires_nothing_is_told_what_is_missing() -> None:
    gateway, trust = world()
    checked = ask(showing(gateway, lambda _: None), trust, requirements=Requirements("none")).checked
    assert (checked.enclave, checked.form, checked.fresh) == (None, None, False)
    assert "identity.attestation" in [check.code for check in checked.transcript if check.answer == "cannot_tell"]
    assert "it shows no attestation" in checked.says
    assert not any("nonce" in path for _, path, _ in gateway.requests)


def test_whoever_requires_nothing_is_told_what_is_wrong() -> None:
    gateway, trust = world()
    document = dataclasses.replace(gateway.network.gateway_document, tls="cd" * 32)
    checked = ask(
        showing(gateway, lambda nonce: MACHINE.shown(document, nonce)), trust, requirements=Requirements("none")
    ).checked
    assert [check.code for check in checked.transcript if check.answer == "no"] == ["identity.tls"]
    gateway, trust = world()
    bad = {"format": "amd-sev-snp", "evidence": b64_encode(b"?")}
    checked = ask(showing(gateway, lambda _: bad), trust, requirements=Requirements("none")).checked
    assert checked.enclave == "bad"
    assert "counts for nothing here" in checked.says


# What holds


def test_what_was_checked_is_a_value_with_its_transcript() -> None:
    gateway, trust = world(tls=TLS, ohttp=(CONFIGURATION,))
    attester = ask(gateway, trust, channel=Channel("pinned", TLS))
    checked = attester.checked
    assert (checked.admitted, checked.enclave, checked.form, checked.fresh) == (True, "hardware", "amd-sev-snp", True)
    assert not [check for check in checked.transcript if check.answer == "no"]
    said = [check.says for check in checked.transcript if check.answer == "yes"]
    for sentence in (
        "The attestation answers the nonce that was given: it is fresh.",
        "The attestation binds the TLS key that the document names.",
        "The attestation binds the OHTTP key configurations that the document names.",
    ):
        assert sentence in said
    assert checked.says == (
        "gateway: admitted by trust; its keys are held by an enclave with admitted measurements (amd-sev-snp, made "
        "now, for this client); TLS ends at the key that its key document names"
    )
    told = checked.to_json()
    assert told["node"] == gateway.network.gateway_document.digest
    assert told["required"] == {"attested": "hardware", "fresh": True}
    assert isinstance(told["transcript"], list)
    assert len(told["transcript"]) == len(checked.transcript)


def test_every_client_draws_a_nonce_of_its_own() -> None:
    gateway, trust = world()
    ask(gateway, trust)
    ask(gateway, trust)
    nonces = [path for _, path, _ in gateway.requests if "nonce=" in path]
    assert len(set(nonces)) == 2
    assert all(len(path.partition("=")[2]) == 64 for path in nonces)


@pytest.mark.parametrize(("busy", "code"), [(3, ""), (4, "identity.stale")])
def test_a_gateway_that_is_busy_is_asked_again_before_it_is_given_up(busy: int, code: str) -> None:
    gateway, trust = world()
    gateway.busy = busy
    if code:
        assert refusal(gateway, trust).code == code
    else:
        assert ask(gateway, trust).checked.fresh is True
    nonces = [path for _, path, _ in gateway.requests if "nonce=" in path]
    assert len(nonces) == 4
    assert len(set(nonces)) == 1


def test_an_attestation_made_for_nobody_is_enough_for_whoever_says_so() -> None:
    gateway, trust = world()
    document = gateway.network.gateway_document
    showing(gateway, lambda nonce: MACHINE.shown(document, None) if nonce is None else None)
    checked = ask(gateway, trust, requirements=Requirements("hardware", fresh=False)).checked
    assert (checked.enclave, checked.fresh) == ("hardware", False)
    assert "identity.stale" in [check.code for check in checked.transcript]
    assert "made for nobody in particular" in checked.says


def test_a_stand_in_never_reads_like_an_enclave() -> None:
    checked = ask(SignedGateway(), Network().trust()).checked
    assert checked.enclave == "development"
    assert checked.says == (
        "gateway: admitted by trust; its attestation is a development stand-in (insecure-dev), no enclave; "
        "no TLS: whoever sees the network between reads along"
    )


def test_the_identity_is_checked_again_after_a_while() -> None:
    class Moving(FixedClock):
        elapsed = 0.0

        def monotonic(self) -> float:
            return self.elapsed

    gateway, trust = world()
    client, clock = gateway.client(trust), Moving()
    client._clock = clock

    async def turns() -> None:
        await client.ask(REQUEST)
        clock.elapsed = IDENTITY_FOR_S
        await client.ask(REQUEST)
        assert sum(path == "/v1/identity" for _, path, _ in gateway.requests) == 1
        clock.elapsed = 2 * IDENTITY_FOR_S + 1
        gateway.attest = lambda _: None
        with pytest.raises(UndecidedError):
            await client.ask(REQUEST)
        with pytest.raises(UndecidedError):
            await client.ask(REQUEST)

    asyncio.run(turns())
    assert sum(path == "/v1/chat/completions" for _, path, _ in gateway.requests) == 2


# Where the connection ends


@pytest.mark.parametrize(
    ("members", "channel", "attested"),
    [
        ({"tls": TLS}, Channel("pinned", "cd" * 32), "hardware"),
        ({}, Channel("pinned", TLS), "none"),
        ({"tls": TLS}, Channel("pinned"), "none"),
        ({"tls": TLS}, Channel("web"), "none"),
        ({}, Channel("web"), "hardware"),
    ],
)
def test_a_connection_that_ends_elsewhere_is_refused(members: dict[str, Any], channel: Channel, attested: Any) -> None:
    gateway, trust = world(**members)
    assert refusal(gateway, trust, channel=channel, requirements=Requirements(attested)).code == "identity.tls"


def test_a_key_that_nobody_vouches_for_is_no_reason_to_refuse_the_webs_authorities() -> None:
    gateway, _ = world(tls=TLS)
    checked = ask(gateway, None, channel=Channel("web")).checked
    assert (checked.admitted, checked.channel.kind) == (False, "web")
    assert "identity.tls" in [check.code for check in checked.transcript if check.answer == "cannot_tell"]


def test_nothing_is_sealed_to_a_gateway_without_a_key_for_it() -> None:
    gateway, trust = world()
    assert refusal(gateway, trust, channel=SEALED).code == "identity.ohttp"


@pytest.mark.parametrize(
    ("members", "channel", "attested", "words"),
    [
        ({}, Channel("web"), "none", "the web's authorities"),
        ({}, Channel("plain"), "hardware", "no TLS"),
    ],
)
def test_what_is_known_of_the_way_is_said(members: dict[str, Any], channel: Channel, attested: Any, words: str) -> None:
    gateway, trust = world(**members)
    attester = ask(gateway, trust, channel=channel, requirements=Requirements(attested))
    assert words in attester.checked.says
    assert attester.checked.to_json()["channel"] == channel.kind


# Bytes from outside


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, MalformedError),
        ({}, MalformedError),
        ({"node": "ab" * 32, "key_document": b64_encode(Network().gateway_document.raw)}, RefusedError),
        ({"node": Network().log_document.digest, "key_document": b64_encode(Network().log_document.raw)}, RefusedError),
    ],
)
def test_an_identity_of_another_shape_is_refused(value: Any, kind: type[HoldfastError]) -> None:
    with pytest.raises(kind):
        parse_identity(value, "http://gateway.test")


@pytest.mark.parametrize("value", [[], {}, {"format": "A B", "evidence": ""}, {"format": "x", "evidence": 7}])
def test_an_attestation_of_another_shape_is_malformed(value: Any) -> None:
    with pytest.raises(MalformedError):
        parse_attestation(value, Network().gateway_document)


def test_the_text_that_was_checked_for_comes_whole() -> None:
    gateway, trust = world()
    assert asyncio.run(gateway.client(trust).ask(REQUEST)).turn.text == "".join(PIECES)
