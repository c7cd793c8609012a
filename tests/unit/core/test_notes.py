"""Signed notes, checkpoints and cosignatures, refusals first, then byte-exact notes made by other implementations."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.core import merkle, notes
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError

# The example of C2SP signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

# The example of Go's sumdb note, with its private key: Ed25519 is deterministic, so signing must give these bytes.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT
    + (
        "\n— PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    ).encode()
)

# A checkpoint of a public Certificate Transparency log with cosignatures of public witnesses, as published.
PUBLIC_CHECKPOINT = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIg\
IpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei5\
9RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4Ascyl\
P3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmN\
WVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAW\
fBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFY\
e/TmN9DAg==
""".encode()
PUBLIC_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
PUBLIC_WITNESSES = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
]

# The examples of C2SP tlog-checkpoint and tlog-cosignature.
SOFA = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()  # noqa: E501

LOG = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
LOG_KEY = notes.VerifierKey("holdfast.local/log/1", notes.ED25519, LOG.public_key().public_bytes_raw())
WITNESS_KEY = notes.VerifierKey("full-1", notes.COSIGNATURE, WITNESS.public_key().public_bytes_raw())


def signed(size: int = 3, root: bytes = bytes(32), origin: str = "holdfast.local/log/1", *extensions: str) -> bytes:
    checkpoint = notes.Checkpoint(origin, size, root, extensions)
    return notes.sign_checkpoint(checkpoint, LOG_KEY, LOG.sign)


def verified(size: int, root: bytes) -> notes.VerifiedCheckpoint:
    return notes.verify_checkpoint(signed(size, root), "holdfast.local/log/1", [LOG_KEY])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "note.structure"),
        (b"text\n", "note.structure"),
        (b"text\n\n", "note.signature_line"),
        (b"text\n\n\n", "note.signature_line"),
        (b"text\x00\n\n", "note.control"),
        (b"text\t\n\n", "note.control"),
        (b"text\r\n\n\xe2\x80\x94 a AAAAAAA=\r\n", "note.control"),
        (b"\xff\n\n", "note.utf8"),
        ("text\n\n— a AAAAAAA=".encode(), "note.signature_line"),
        (b"text\n\n- a AAAAAAA=\n", "note.signature_line"),
        ("text\n\n—a AAAAAAA=\n".encode(), "note.signature_line"),
        ("text\n\n— a\n".encode(), "note.signature_line"),
        ("text\n\n—  AAAAAAA=\n".encode(), "note.signature_line"),
        ("text\n\n— a+b AAAAAAA=\n".encode(), "note.signature_line"),
        ("text\n\n— a\u00a0b AAAAAAA=\n".encode(), "note.signature_line"),
        ("text\n\n— a AAAAAA==\n".encode(), "note.signature_line"),
        ("text\n\n— a AAAAAAA\n".encode(), "encoding.base64"),
        ("text\n\n— a AAAAAAB=\n".encode(), "encoding.base64"),
        ("text\n\n— a  AAAAAAA=\n".encode(), "encoding.base64"),
        (("text\n\n" + "— a AAAAAAA=\n" * 101).encode(), "note.signature_line"),
        (b"a" * (notes.MAX_NOTE_BYTES + 1), "note.size"),
    ],
)
def test_bytes_that_are_no_note_are_malformed(raw: bytes, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        notes.parse_note(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "note.vkey"),
        ("name", "note.vkey"),
        ("PeterNeumann+c74f20a3", "note.vkey"),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note.vkey"),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note.vkey"),
        ("PeterNeumanN+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note.vkey"),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note.key_name"),
        ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10==", "encoding.base64"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note.key_type"),
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "encoding.base64"),
        ("name+00000000+AQ==", "note.key"),
        ("name+00000000+ ", "encoding.base64"),
    ],
)
def test_text_that_is_no_verifier_key_is_malformed(text: str, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        notes.parse_vkey(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"origin\n3\n", "checkpoint.lines"),
        (b"\n3\nAAAA\n", "checkpoint.lines"),
        (b"origin\n3\n" + b"A" * 43 + b"=\n\n", "checkpoint.lines"),
        (b"origin\n3\n" + b"A" * 43 + b"=", "checkpoint.lines"),
        (b"origin\n03\n" + b"A" * 43 + b"=\n", "checkpoint.size"),
        (b"origin\n-3\n" + b"A" * 43 + b"=\n", "checkpoint.size"),
        ("origin\n３\n".encode() + b"A" * 43 + b"=\n", "checkpoint.size"),
        (b"origin\n9223372036854775808\n" + b"A" * 43 + b"=\n", "checkpoint.size"),
        (b"origin\n99999999999999999999\n" + b"A" * 43 + b"=\n", "checkpoint.size"),
        (b"origin\n3\nAAAA\n", "encoding.base64"),
        (b"origin\n0\n" + b"A" * 43 + b"=\n", "checkpoint.root"),
    ],
)
def test_text_that_is_no_checkpoint_is_malformed(text: bytes, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        notes.parse_checkpoint_text(text)
    assert caught.value.code == code


def test_a_note_without_a_known_signature_is_refused() -> None:
    note = notes.parse_note(signed())
    for keys in ([], [WITNESS_KEY], [notes.VerifierKey("other", notes.ED25519, LOG_KEY.public)]):
        with pytest.raises(RefusedError, match=r"note\.unsigned"):
            notes.verify_note(note, keys)


def test_a_bad_signature_by_a_known_key_refuses_the_whole_note() -> None:
    good = notes.parse_note(signed())
    forged = notes.NoteSignature(LOG_KEY.name, LOG_KEY.key_id, bytes(64))
    short = notes.NoteSignature(LOG_KEY.name, LOG_KEY.key_id, bytes(63))
    for bad in (forged, short):
        with pytest.raises(RefusedError, match=r"note\.signature"):
            notes.verify_note(good.with_signatures([bad]), [LOG_KEY])


def test_every_flipped_byte_of_a_checkpoint_is_refused() -> None:
    raw = signed(3, bytes(range(32)))
    for place in range(len(raw)):
        for bit in (0x01, 0x20):
            altered = raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
            with pytest.raises(HoldfastError):
                notes.verify_checkpoint(altered, "holdfast.local/log/1", [LOG_KEY])


def test_another_logs_checkpoint_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"checkpoint\.origin"):
        notes.verify_checkpoint(signed(), "holdfast.local/log/2", [LOG_KEY])


def test_a_cosignature_is_no_log_signature() -> None:
    checkpoint = notes.Checkpoint("holdfast.local/log/1", 3, bytes(32))
    line = notes.sign_note(checkpoint.text, WITNESS_KEY, WITNESS.sign, 5)
    with pytest.raises(RefusedError, match=r"note\.unsigned"):
        notes.verify_checkpoint(notes.Note(checkpoint.text, (line,)).raw, "holdfast.local/log/1", [WITNESS_KEY])


def test_a_cosignature_with_another_time_is_refused() -> None:
    note = notes.parse_note(signed())
    line = notes.sign_note(note.text, WITNESS_KEY, WITNESS.sign, 1_800_000_000)
    for value in (
        (1_800_000_001).to_bytes(8) + line.signature[8:],
        line.signature[:-1],
        b"\xff" * 8 + line.signature[8:],
    ):
        altered = notes.NoteSignature(line.claimed_name, line.key_id, value)
        with pytest.raises(RefusedError, match=r"note\.signature"):
            notes.verify_cosignatures(note.with_signatures([altered]), [WITNESS_KEY])


def test_a_time_belongs_to_cosignatures_only() -> None:
    with pytest.raises(MalformedError, match=r"note\.key_type"):
        notes.sign_note(b"x\n", LOG_KEY, LOG.sign, 5)
    with pytest.raises(MalformedError, match=r"note\.key_type"):
        notes.sign_note(b"x\n", WITNESS_KEY, WITNESS.sign)
    with pytest.raises(MalformedError, match=r"note\.signature"):
        notes.sign_note(b"x\n", WITNESS_KEY, WITNESS.sign, 2**63)


def test_a_checkpoint_that_does_not_parse_is_not_signed() -> None:
    with pytest.raises(MalformedError, match=r"checkpoint\.lines"):
        signed(3, bytes(32), "two\nlines\n")


def test_two_roots_for_one_size_are_an_equivocation() -> None:
    first, second = verified(3, bytes(32)), verified(3, bytes(31) + b"\x01")
    for check in (notes.refuse_equivocation, lambda old, new: notes.verify_extension(old, new, [])):
        with pytest.raises(notes.EquivocationError) as caught:
            check(first, second)
        assert caught.value.code == "log.equivocation"
        assert isinstance(caught.value, ConflictError)
        again = [notes.verify_checkpoint(raw, "holdfast.local/log/1", [LOG_KEY]) for raw in caught.value.evidence]
        assert (again[0].size, again[0].root != again[1].root) == (again[1].size, True)
    notes.refuse_equivocation(first, first)
    notes.refuse_equivocation(first, verified(4, bytes(32)))


def test_an_extension_needs_its_proof() -> None:
    leaves = [merkle.leaf_hash(bytes([count])) for count in range(5)]
    old, new = verified(3, merkle.root(leaves[:3])), verified(5, merkle.root(leaves))
    notes.verify_extension(old, new, merkle.consistency_proof(leaves, 3))
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        notes.verify_extension(old, new, [])
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        notes.verify_extension(new, old, [])
    key = notes.VerifierKey("other", notes.ED25519, LOG_KEY.public)
    raw = notes.sign_checkpoint(notes.Checkpoint("other", 5, new.root), key, LOG.sign)
    with pytest.raises(RefusedError, match=r"checkpoint\.origin"):
        notes.verify_extension(old, notes.verify_checkpoint(raw, "other", [key]), [])


def test_the_signed_note_example_verifies() -> None:
    key = notes.parse_vkey(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    note = notes.parse_note(EXAMPLE_NOTE)
    assert note.raw == EXAMPLE_NOTE
    assert note.text == b"This is an example message.\n"
    assert [found.key for found in notes.verify_note(note, [key])] == [key]


def test_our_signature_equals_the_go_implementations() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(GO_SEED)
    key = notes.VerifierKey("PeterNeumann", notes.ED25519, private.public_key().public_bytes_raw())
    assert str(key) == GO_KEY
    assert notes.parse_vkey(GO_KEY) == key
    assert notes.Note(GO_TEXT, (notes.sign_note(GO_TEXT, key, private.sign),)).raw == GO_NOTE
    notes.verify_note(notes.parse_note(GO_NOTE), [key])


def test_a_public_logs_checkpoint_and_its_cosignatures_verify() -> None:
    log = notes.parse_vkey(PUBLIC_LOG)
    found = notes.verify_checkpoint(PUBLIC_CHECKPOINT, "arche2025h1.staging.ct.transparency.dev", [log])
    assert (found.size, found.raw, found.key) == (1_432_088_532, PUBLIC_CHECKPOINT, log)
    cosignatures = notes.verify_cosignatures(found.note, [notes.parse_vkey(text) for text in PUBLIC_WITNESSES])
    assert [found.time for found in cosignatures] == [1779573024] * 4
    with pytest.raises(RefusedError, match=r"note\.signature"):
        notes.verify_checkpoint(
            PUBLIC_CHECKPOINT.replace(b"1432088532", b"1432088533"), "arche2025h1.staging.ct.transparency.dev", [log]
        )


def test_the_tlog_cosignature_example_keeps_its_bytes() -> None:
    note = notes.parse_note(SOFA)
    assert note.raw == SOFA
    checkpoint = notes.parse_checkpoint_text(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert int.from_bytes(note.signatures[1].signature[:8]) == 1679315147
    message = notes.cosignature_message(note.text, 1679315147)
    assert message.startswith(b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n")


def test_unknown_signature_lines_are_kept_and_ignored() -> None:
    strange = notes.NoteSignature("post-quantum.example", b"\x01\x02\x03\x04", bytes(2428))
    note = notes.parse_note(signed()).with_signatures([strange])
    again = notes.parse_note(note.raw)
    assert again.signatures[1] == strange
    assert notes.verify_checkpoint(again.raw, "holdfast.local/log/1", [LOG_KEY]).size == 3


def test_cosignatures_are_merged_once() -> None:
    note = notes.parse_note(signed())
    line = notes.sign_note(note.text, WITNESS_KEY, WITNESS.sign, 1_800_000_000)
    merged = note.with_signatures([line]).with_signatures([line])
    assert merged.signatures == (note.signatures[0], line)
    found = notes.verify_cosignatures(notes.parse_note(merged.raw), [WITNESS_KEY, LOG_KEY])
    assert [(item.key, item.time) for item in found] == [(WITNESS_KEY, 1_800_000_000)]


def test_extension_lines_are_signed() -> None:
    raw = signed(3, bytes(32), "holdfast.local/log/1", "extra")
    found = notes.verify_checkpoint(raw, "holdfast.local/log/1", [LOG_KEY])
    assert found.checkpoint.extensions == ("extra",)


def test_a_note_text_may_hold_empty_lines() -> None:
    text = "Ognuno sta solo\n\ned è subito sera.\n".encode()
    note = notes.Note(text, (notes.sign_note(text, LOG_KEY, LOG.sign),))
    assert notes.parse_note(note.raw) == note
