"""The simulated module: the interface, the error names and the chain of the real one, and a mark on all of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from pathlib import Path

import pytest

from holdfast.adapters.enclave_insecure import (
    INSECURE_REGISTERS,
    InsecureEnclave,
    load_or_create_insecure_root,
    make_insecure_root,
)
from holdfast.adapters.enclave_nitro import NitroEnclave
from holdfast.core.attestation import cbor, nsm
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.roots import INSECURE_ORGANISATION
from holdfast.errors import DevelopmentModeWarning, UnavailableError, UsageError
from holdfast.verifier.attestation.nitro import verify_nitro
from holdfast.verifier.transcript import Transcript
from tests.helpers.clock import START, FakeClock
from tests.helpers.enclaves import make_enclave, make_module


def errors(*requests: bytes) -> set[str]:
    """What a fresh module says to each."""
    return {cbor.decode(make_module().request(message))["Error"] for message in requests}


def named(name: str, **arguments: object) -> bytes:
    return cbor.encode({name: arguments})


def test_what_is_no_request_is_an_invalid_operation() -> None:
    wrong = [b"", b"\xff", cbor.encode("Unheard"), named("Unheard"), named("DescribePCR"), cbor.encode(["GetRandom"])]
    wrong += [named("DescribePCR", index="0"), named("DescribePCR", index=True), named("LockPCR", index=-1)]
    wrong += [named("ExtendPCR", index=16), named("ExtendPCR", index=16, data=1), named("Attestation", nonce="text")]
    wrong += [named("LockPCR", index=16, more=1)]
    assert errors(*wrong) == {"InvalidOperation"}


def test_registers_that_do_not_exist_are_an_invalid_index() -> None:
    wrong = [named("DescribePCR", index=32), named("LockPCR", index=32), named("LockPCRs", range=33)]
    assert errors(*wrong, named("ExtendPCR", index=32, data=b"")) == {"InvalidIndex"}


def test_locked_registers_are_read_only() -> None:
    assert errors(named("ExtendPCR", index=0, data=b"x"), named("LockPCR", index=15)) == {"ReadOnlyIndex"}


def test_what_is_too_large_is_named() -> None:
    wrong = [named("Attestation", **{name: bytes(most + 1)}) for name, most in nsm.MAX_INPUTS.items()]
    assert errors(*wrong, bytes(nsm.MAX_REQUEST_BYTES + 1)) == {"InputTooLarge"}


def test_making_one_warns() -> None:
    with pytest.warns(DevelopmentModeWarning, match="simulated"):
        InsecureEnclave(make_module())


def test_it_describes_itself_as_simulated() -> None:
    enclave = make_enclave()
    found = enclave.describe()
    assert found.module_id.startswith("i-INSECURE")
    assert found.locked_pcrs == tuple(range(16))
    assert enclave.simulated
    assert enclave.describe_register(0) == (INSECURE_REGISTERS[0], True)
    assert b"INSECURE" in INSECURE_REGISTERS[0]


def test_registers_extend_as_hashes_and_lock_for_good() -> None:
    enclave = make_enclave()
    value = hashlib.sha384(bytes(48) + b"data").digest()
    assert enclave.extend_register(16, b"data") == value
    assert enclave.extend_register(16, b"more") == hashlib.sha384(value + b"more").digest()
    enclave.lock_register(16)
    with pytest.raises(UsageError) as caught:
        enclave.extend_register(16, b"data")
    assert caught.value.code == "nsm.refused"
    enclave.lock_registers(18)
    assert enclave.describe().locked_pcrs == tuple(range(18))
    assert set(parse_nitro(enclave.attest(b"", None)).pcrs) == set(range(18))


def test_random_bytes_differ() -> None:
    enclave = make_enclave()
    assert len(enclave.random()) == 256
    assert enclave.random() != enclave.random()


def test_a_document_verifies_up_to_its_root_and_no_other() -> None:
    root = make_insecure_root(START)
    document = parse_nitro(make_enclave(root=root).attest(b"data", b"nonce"))
    found = verify_nitro(document, (root.certificate,), START, Transcript())
    assert (found.nonce, found.report_data, found.debug) == (b"nonce", b"data", False)
    assert [parse_certificate(raw).path_length for raw in document.authorities] == [0, 1, 2, None]
    with pytest.raises(Exception, match="root"):
        verify_nitro(document, (make_insecure_root(START).certificate,), START, Transcript())


def test_every_certificate_carries_the_mark() -> None:
    document = parse_nitro(make_enclave().attest(b"", None))
    for raw in (document.certificate, *document.authorities):
        found = parse_certificate(raw)
        assert INSECURE_ORGANISATION.encode() in found.subject
        assert INSECURE_ORGANISATION.encode() in found.issuer


def test_certificates_are_made_anew_before_they_run_out() -> None:
    """Whenever it is asked, its document is good for two hours at least."""
    clock = FakeClock()
    root = make_insecure_root(START)
    enclave = make_enclave(clock, root)
    leaves = set()
    for _ in range(60):
        document = parse_nitro(enclave.attest(b"", None))
        found = verify_nitro(document, (root.certificate,), clock.now(), Transcript())
        assert found.valid_until - clock.now() >= dt.timedelta(hours=2)
        leaves.add(document.certificate)
        asyncio.run(clock.advance(45 * 60))
    assert 15 <= len(leaves) <= 40


def test_a_root_is_kept_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "root.pem"
    made = load_or_create_insecure_root(path, START)
    assert path.stat().st_mode & 0o077 == 0
    again = load_or_create_insecure_root(path, START + dt.timedelta(days=9))
    assert again.certificate == made.certificate
    assert NitroEnclave(make_module(root=again)).attest(b"", None)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_that_is_no_root_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "root.pem"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises((UsageError, UnavailableError)) as caught:
        load_or_create_insecure_root(path, START)
    assert caught.value.code == "signer.key"
