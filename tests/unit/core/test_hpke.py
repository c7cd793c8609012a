"""HPKE contexts against RFC 9180's own vectors (A.1.1 and A.2.1, base mode), and what they refuse."""

import pytest

from holdfast.core.hpke import (
    AES_128_GCM,
    CHACHA20_POLY1305,
    Opener,
    RecipientKey,
    Sealer,
    derive_key_pair,
    expand,
    setup_sender,
)
from holdfast.errors import MalformedError, RefusedError, UsageError

INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
PLAINTEXT = bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479")
VECTORS = {
    "A.1.1": {
        "aead": AES_128_GCM,
        "ikm_e": "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234",
        "sk_e": "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        "ikm_r": "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
        "sk_r": "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "pk_r": "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
        "enc": "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        "key": "4531685d41d65f03dc48f6b8302c05b0",
        "base_nonce": "56d890e5accaaf011cff4b7d",
        "sealed": {
            0: "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
            1: "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84",
            2: "498dfcabd92e8acedc281e85af1cb4e3e31c7dc394a1ca20e173cb72516491588d96a19ad4a683518973dcc180",
            4: "583bd32bc67a5994bb8ceaca813d369bca7b2a42408cddef5e22f880b631215a09fc0012bc69fccaa251c0246d",
            255: "7175db9717964058640a3a11fb9007941a5d1757fda1a6935c805c21af32505bf106deefec4a49ac38d71c9e0a",
            256: "957f9800542b0b8891badb026d79cc54597cb2d225b54c00c5238c25d05c30e3fbeda97d2e0e1aba483a2df9f2",
        },
        "exports": {
            "": "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee",
            "00": "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5",
            "54657374436f6e74657874": "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931",
        },
    },
    "A.2.1": {
        "aead": CHACHA20_POLY1305,
        "ikm_e": "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
        "sk_e": "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
        "ikm_r": "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
        "sk_r": "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        "pk_r": "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
        "enc": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        "key": "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91",
        "base_nonce": "5c4d98150661b848853b547f",
        "sealed": {
            0: "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
            1: "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
            2: "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b",
            4: "63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16",
            255: "18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c",
            256: "7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b",
        },
        "exports": {
            "": "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e",
            "00": "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69",
            "54657374436f6e74657874": "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53",
        },
    },
}


def raw(case, name):
    return bytes.fromhex(VECTORS[case][name])


@pytest.fixture(params=VECTORS)
def case(request):
    return request.param


def test_key_pairs_follow_from_their_randomness(case):
    assert derive_key_pair(raw(case, "ikm_e")) == raw(case, "sk_e")
    assert derive_key_pair(raw(case, "ikm_r")) == raw(case, "sk_r")
    assert RecipientKey(raw(case, "sk_r")).public == raw(case, "pk_r")


def test_both_sides_derive_what_the_rfc_prints(case):
    vector = VECTORS[case]
    enc, sender = setup_sender(vector["aead"], raw(case, "pk_r"), raw(case, "sk_e"), INFO)
    recipient = RecipientKey(raw(case, "sk_r")).setup(vector["aead"], enc, INFO)
    assert enc == raw(case, "enc")
    for side in (sender, recipient):
        assert (side.key, side.base_nonce) == (raw(case, "key"), raw(case, "base_nonce"))
        assert {context: side.export(bytes.fromhex(context), 32).hex() for context in vector["exports"]} == vector[
            "exports"
        ]


def test_messages_of_a_context_in_order(case):
    vector = VECTORS[case]
    enc, sender = setup_sender(vector["aead"], raw(case, "pk_r"), raw(case, "sk_e"), INFO)
    sealer, opener = sender.sealer(), RecipientKey(raw(case, "sk_r")).setup(vector["aead"], enc, INFO).opener()
    for number in range(257):
        aad = f"Count-{number}".encode()
        sealed = sealer.seal(PLAINTEXT, aad)
        assert vector["sealed"].get(number, sealed.hex()) == sealed.hex()
        assert opener.open(sealed, aad) == PLAINTEXT


def test_a_message_out_of_order_is_refused_and_does_not_advance(case):
    aead, key, nonce = VECTORS[case]["aead"], raw(case, "key"), raw(case, "base_nonce")
    sealer, opener = Sealer(aead, key, nonce), Opener(aead, key, nonce)
    first, second = sealer.seal(b"first"), sealer.seal(b"second")
    for wrong in (second, first[:-1], b"", bytes([first[0] ^ 1]) + first[1:]):
        with pytest.raises(RefusedError) as caught:
            opener.open(wrong)
        assert caught.value.code == "hpke.open"
    assert [opener.open(first), opener.open(second)] == [b"first", b"second"]
    with pytest.raises(RefusedError):
        opener.open(second)


def test_a_context_never_uses_a_nonce_twice():
    sealer = Sealer(AES_128_GCM, bytes(16), bytes(12))
    sealer._sequence = (1 << 96) - 1
    with pytest.raises(UsageError) as caught:
        sealer.seal(b"")
    assert caught.value.code == "hpke.sequence"


@pytest.mark.parametrize(
    "public", [bytes(32), (1).to_bytes(32, "little"), b"short"], ids=["zero", "small-order", "short"]
)
def test_a_public_key_that_gives_no_secret_is_malformed(public):
    with pytest.raises(MalformedError) as caught:
        setup_sender(AES_128_GCM, public, raw("A.1.1", "sk_e"), INFO)
    assert caught.value.code == "hpke.key"
    with pytest.raises(MalformedError) as caught:
        RecipientKey(raw("A.1.1", "sk_r")).setup(AES_128_GCM, public, INFO)
    assert caught.value.code == "hpke.key"


def test_private_keys_and_randomness_have_their_size():
    for call in (lambda: RecipientKey(bytes(31)), lambda: derive_key_pair(bytes(31))):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "hpke.key"
    with pytest.raises(UsageError) as caught:
        expand(bytes(32), b"", 33)
    assert caught.value.code == "hpke.export"


def test_a_context_is_of_its_info_and_suite():
    enc, sender = setup_sender(AES_128_GCM, raw("A.1.1", "pk_r"), raw("A.1.1", "sk_e"), INFO)
    sealed = sender.sealer().seal(PLAINTEXT)
    recipient = RecipientKey(raw("A.1.1", "sk_r"))
    for aead, info in ((AES_128_GCM, INFO + b"x"), (CHACHA20_POLY1305, INFO)):
        with pytest.raises(RefusedError):
            recipient.setup(aead, enc, info).opener().open(sealed)
