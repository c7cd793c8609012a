"""TLS keys and certificates in files: what is no pair is refused, and what is made can be pinned for years."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509

from holdfast.adapters.tls_files import load_certificate, load_or_create_certificate, server_context, spki_digest
from holdfast.errors import HoldfastError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def made(folder: Path, name: str = "a") -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    load_or_create_certificate(key, certificate, ["127.0.0.1", "gateway.test"], NOW)
    return key, certificate


def test_the_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    key, certificate = made(tmp_path, "a")[0], made(tmp_path, "b")[1]
    with pytest.raises(HoldfastError, match="is not the certificate of the key") as refused:
        server_context(key, certificate)
    assert refused.value.code == "tls.files"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key, certificate = made(tmp_path)
    key.chmod(0o644)
    with pytest.raises(HoldfastError) as refused:
        server_context(key, certificate)
    assert refused.value.code == "signer.permissions"


@pytest.mark.parametrize("text", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "a.pem").write_bytes(text)
    with pytest.raises(HoldfastError) as refused:
        load_certificate(tmp_path / "a.pem")
    assert refused.value.code == "tls.files"


def test_a_new_certificate_is_a_leaf_that_lives_long_and_names_its_hosts(tmp_path: Path) -> None:
    _, path = made(tmp_path)
    certificate = x509.load_der_x509_certificate(load_certificate(path))
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["gateway.test"]
    assert certificate.not_valid_after_utc - NOW > dt.timedelta(days=365 * 20)
    certificate.verify_directly_issued_by(certificate)


def test_a_second_start_finds_the_same_certificate(tmp_path: Path) -> None:
    key, path = made(tmp_path)
    first = load_certificate(path)
    again = load_or_create_certificate(key, path, ["other.test"], NOW)
    assert (again, spki_digest(again)) == (first, spki_digest(first))


def test_an_older_protocol_than_tls_1_2_is_not_spoken(tmp_path: Path) -> None:
    key, certificate = made(tmp_path)
    assert server_context(key, certificate).minimum_version.name == "TLSv1_2"
