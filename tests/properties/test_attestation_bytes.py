"""Evidence from outside: whatever arrives, only our own errors come out, and nothing damaged is accepted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attestation import cbor, nsm
from holdfast.core.attestation.certificates import (
    build_pem,
    parse_certificate,
    parse_certificates,
    parse_pem,
    parse_revocations,
)
from holdfast.core.attestation.dcap import parse_collateral, parse_identity, parse_pck, parse_quote, parse_tcb_info
from holdfast.core.attestation.eif import build_image, measure_image, parse_image
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile, parse_evidence, parse_evidence_file
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.nvidia import parse_nvidia
from holdfast.core.attestation.reference import parse_reference_value
from holdfast.core.attestation.snp import parse_certificate_table, parse_snp
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from tests.helpers.attestations import VECTORS, made, shared, vector, verify
from tests.helpers.enclaves import make_module
from tests.helpers.tsm import table

GOOD = ["nitro-bound", "snp-bound", "dcap-tdx-bound", "dcap-tdx-version-5", "nvidia-report"]
COLLATERAL = json.loads(shared("dcap-collateral.json"))
SEEDS = {
    parse_nitro: [vector("nitro-bound"), vector("nitro-indefinite-payload")],
    parse_snp: [vector("snp-bound")],
    parse_image: [(VECTORS / "image" / name / "image.eif").read_bytes() for name in ("usual", "signed")],
    parse_certificate_table: [table(vcek=b"certificate", ask=b"another")],
    nsm.parse_request: [nsm.build_request("ExtendPCR", index=16, data=b"data"), nsm.build_request("GetRandom")],
    parse_quote: [vector("dcap-tdx"), vector("dcap-tdx-version-5"), vector("dcap-sgx")],
    parse_nvidia: [vector("nvidia-report")],
    parse_certificate: [*parse_certificates(shared("snp-chain.pem")), parse_quote(vector("dcap-tdx")).chain[0]],
    parse_pem: [shared("snp-chain.pem")],
    parse_certificates: [b"".join(parse_certificates(shared("snp-chain.pem")))],
    parse_revocations: [bytes.fromhex(COLLATERAL["pck_crl"])],
    parse_collateral: [shared("dcap-collateral.json")],
    parse_tcb_info: [COLLATERAL["tcb_info"].encode()],
    parse_identity: [COLLATERAL["qe_identity"].encode()],
    parse_evidence_file: [
        b'{"type":"urn:holdfast:attestation-evidence:v1","evidence":"","collateral":null,"binding":null}'
    ],
}
"""Every parser of bytes from outside, with bytes that it reads."""


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with a few pieces cut out, repeated, or overwritten."""
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 40)))
        raw = raw[:at] + draw(st.one_of(st.just(b""), st.just(raw[at:end] * 2), st.binary(max_size=40))) + raw[end:]
    return raw


@pytest.mark.parametrize("parser", SEEDS, ids=lambda parser: parser.__name__)
@given(data=st.data())
def test_only_our_own_errors_come_out_of_a_parser(parser, data):
    raw = data.draw(st.one_of(damaged(SEEDS[parser]), st.binary(max_size=600)))
    try:
        parser(raw)
    except (MalformedError, UndecidedError):
        return


@given(data=st.data())
def test_only_our_own_errors_come_out_of_a_platforms_extension(data):
    certificate = parse_certificate(parse_quote(vector("dcap-tdx")).chain[0])
    name = "1.2.840.113741.1.13.1"
    fields = {field: getattr(certificate, field) for field in certificate.__dataclass_fields__}
    extensions = {name: data.draw(damaged([certificate.extensions[name]]))}
    try:
        parse_pck(type(certificate)(**{**fields, "extensions": extensions}))
    except MalformedError:
        return


@pytest.mark.parametrize("name", GOOD)
@given(data=st.data())
def test_nothing_damaged_is_accepted(name, data):
    form, file, roots = made(name)
    raw = data.draw(damaged([file.evidence]))
    if raw.rstrip(b"\0") == file.evidence.rstrip(b"\0"):
        return
    with pytest.raises((MalformedError, RefusedError, UndecidedError)):
        verify(form, EvidenceFile(raw, file.collateral), roots)


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith("nitro")])
@given(data=st.data())
def test_only_our_own_errors_come_out_of_damaged_collateral(name, data):
    form, file, roots = made(name)
    collateral = data.draw(damaged([file.collateral]))
    try:
        verify(form, EvidenceFile(file.evidence, collateral), roots)
    except HoldfastError:
        return


@given(st.sampled_from(FORMATS), st.binary(max_size=200), st.binary(max_size=200))
def test_noise_is_nothing(form, evidence, collateral):
    roots = parse_certificates(shared("nitro-root.pem"))
    with pytest.raises(HoldfastError):
        verify(form, EvidenceFile(evidence, collateral), roots)
    for raw in (evidence, b"{" + evidence):
        try:
            parse_evidence(form, raw)
        except MalformedError:
            continue


NAMES = st.sampled_from(
    ["pcr0", "tee", "tcb", "least", "measurement", "mr_td", "rt_mr1", "rt_mr2", "mr_enclave", "snp", "x"]
)


@given(
    st.sampled_from(FORMATS),
    st.dictionaries(
        NAMES,
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(-5, 70000),
                st.sampled_from(["00" * 48, "00" * 32, "tdx", "sgx", ""]),
            ),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
            max_leaves=6,
        ),
        max_size=5,
    ),
)
def test_only_our_own_errors_come_out_of_a_reference_value(form, value):
    try:
        parse_reference_value(form, value)
    except MalformedError:
        return


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_certificates_as_pem_come_back(raw):
    assert parse_pem(build_pem(tuple(raw))) == tuple(raw)


@given(st.sampled_from(sorted(nsm.REQUESTS)), st.binary(max_size=600))
def test_only_our_own_errors_come_out_of_a_modules_answer(name, raw):
    for answer in (raw, nsm.build_response(name, {"data": raw}), nsm.build_response(name, {"document": raw})):
        try:
            nsm.parse_response(answer, name)
        except HoldfastError:
            continue


MODULE = make_module()


@given(data=st.data())
def test_whatever_a_simulated_module_is_sent_it_answers_as_one(data):
    """Never an exception: an answer to the request, or an error that a module names."""
    numbers = st.integers(-1, 300) | st.booleans() | st.none() | st.binary(max_size=4)
    arguments = st.dictionaries(
        st.sampled_from(["index", "data", "range", "user_data", "nonce", "public_key", "x"]),
        numbers | st.binary(max_size=1100) | st.text(max_size=4),
        max_size=4,
    )
    names = st.sampled_from(sorted(nsm.REQUESTS))
    requests = st.builds(lambda name, members: cbor.encode({name: members}), names, arguments)
    raw = data.draw(st.one_of(requests, damaged([nsm.build_request("LockPCR", index=20)]), st.binary(max_size=60)))
    answer = cbor.decode(MODULE.request(raw), booleans=True)
    if isinstance(answer, dict) and "Error" in answer:
        assert answer["Error"] in nsm.ERRORS
    else:
        assert (answer if isinstance(answer, str) else next(iter(answer))) in nsm.REQUESTS


PLAIN = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=40)
NESTED = st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=5), PLAIN, max_size=3)


@given(PLAIN | st.lists(NESTED, max_size=3) | st.dictionaries(st.text(max_size=5), NESTED, max_size=3))
def test_cbor_comes_back(value):
    assert cbor.decode(cbor.encode(value), booleans=True) == value


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_an_image_is_read_as_it_was_built_and_measures_what_is_in_it(kernel, cmdline, ramdisks):
    raw = build_image(kernel, cmdline, ramdisks, b"{}")
    image = parse_image(raw)
    assert [bytes(section.data) for section in image.sections] == [kernel, cmdline, b"{}", *ramdisks]
    assert build_image(kernel, cmdline, ramdisks, b"{}") == raw
    other = measure_image(parse_image(build_image(kernel, cmdline + b" ", ramdisks, b"{}")))
    assert {name for name, value in measure_image(image).items() if other[name] != value} == {"pcr0", "pcr1"}
