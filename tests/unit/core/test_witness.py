"""The add-checkpoint messages of C2SP tlog-witness, refusals first."""

import pytest

from holdfast.core import notes, witness
from holdfast.errors import HoldfastError, MalformedError

NOTE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501
REQUEST = (
    b"old 20852014\n"
    b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
    b"jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    b"5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
    b"/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
    b"\n" + NOTE
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"old 1\n",
        b"old 01\n\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 9223372036854775808\n\n" + NOTE,
        b"new 1\n\n" + NOTE,
        b"old 1 \n\n" + NOTE,
        b"old 1\nAAAA\n\n" + NOTE,
        b"old \xd9\xa3\n\n" + NOTE,
        b"old 1\n" + b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 64 + b"\n" + NOTE,
        b"old 1\n\n" + b"a" * witness.MAX_REQUEST_BYTES,
    ],
)
def test_other_bytes_are_no_request(raw: bytes) -> None:
    with pytest.raises(HoldfastError) as caught:
        witness.parse_add_checkpoint(raw)
    assert caught.value.code in {"witness.request", "encoding.base64"}


@pytest.mark.parametrize("raw", [b"", b"1", b"01\n", b"1\n\n", b"9223372036854775808\n", b"-1\n", b"a\n"])
def test_other_bytes_are_no_size(raw: bytes) -> None:
    with pytest.raises(MalformedError, match=r"witness\.size"):
        witness.parse_size(raw)


def test_the_tlog_witness_example_keeps_its_bytes() -> None:
    request = witness.parse_add_checkpoint(REQUEST)
    assert (request.old_size, len(request.proof), request.note) == (20852014, 4, NOTE)
    assert witness.build_add_checkpoint(request.old_size, request.proof, request.note) == REQUEST


def test_a_first_request_has_no_proof() -> None:
    raw = witness.build_add_checkpoint(0, [], NOTE)
    assert raw.startswith(b"old 0\n\nexample.com")
    assert witness.parse_add_checkpoint(raw) == witness.AddCheckpoint(0, (), NOTE)


def test_sizes_round_trip() -> None:
    for size in (0, 1, 20852014, 2**63 - 1):
        assert witness.parse_size(witness.build_size(size)) == size


def test_the_answer_example_keeps_its_bytes() -> None:
    lines = (
        "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatV"
        "s0pWh6Up69HVOw==\n"
        "— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3"
        "rXXvpysAdyP3wQ==\n"
    ).encode()
    assert witness.build_cosignatures(notes.parse_signature_lines(lines)) == lines
