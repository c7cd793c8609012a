"""What may be a password, and what a stored hash may ask for."""

from __future__ import annotations

import argon2
import pytest

from holdfast.adapters.passwords_argon2 import Argon2Passwords
from holdfast.errors import MalformedError, RefusedError
from holdfast.review.passwords import COMMON, LEAST_BYTES, check_password, normal_form
from tests.helpers.people import Counted

NAMES = ("ada@holdfast", "Ada King Lovelace")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenbytes",
        "ada@holdfast",
        "ADA@Holdfast",
        " ada@holdfast ",
        "ada@holdfastada@holdfast",
        "Ada King Lovelace",
        "aaaaaaaaaaaa",
        "abcabcabcabcabc",
        "1212121212121212",
        "abcdabcdabcd",
        "password1234",
        "PassWord1234",
        "correct horse battery staple",
        "qwertyuiop12qwertyuiop12",
        "            ",
        "x" * 1025,
        "é" * 513,
        "\ud800" + "a" * 20,
    ],
)
def test_what_anybody_would_try_is_no_password(password: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_password(password, NAMES)
    assert refused.value.code == "people.password"
    assert refused.value.status == 400
    assert password.strip() == "" or len(password) < 6 or password not in str(refused.value.to_json())


@pytest.mark.parametrize(
    "password",
    ["twelve bytes", "seven brown boats", "ЖЖЖ другой язык", "ада и король 12", "x1" * 5 + "yz", "🜁 air 🜃 earth"],
)
def test_length_is_all_that_is_asked_for(password: str) -> None:
    assert check_password(password, NAMES) == password.encode()


def test_the_longest_password_is_taken_whole() -> None:
    longest = ("seven brown boats at noon " * 40)[:1023] + "!"
    assert len(check_password(longest, NAMES)) == 1024
    passwords = Argon2Passwords(8, 1, 1, Counted())
    phc = passwords.hash(longest.encode())
    assert not passwords.matches(phc, longest[:-1].encode() + b"?")


def test_one_password_typed_on_two_keyboards_is_one_password() -> None:
    assert normal_form("cafe\u0301 au lait 12") == normal_form("caf\u00e9 au lait 12")


def test_every_password_of_the_list_could_have_been_chosen() -> None:
    assert [word for word in COMMON if len(word) < LEAST_BYTES or word != word.casefold()] == []
    assert len(COMMON) > 100


# --- hashes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def passwords() -> Argon2Passwords:
    return Argon2Passwords(8, 1, 1, Counted())


@pytest.mark.parametrize(
    "phc",
    [
        "",
        "plain text",
        "$argon2id$",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA",
        "$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=9999999,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$argon2d$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_a_stored_hash_that_is_none_of_ours_is_not_computed(passwords: Argon2Passwords, phc: str) -> None:
    with pytest.raises(MalformedError) as refused:
        passwords.matches(phc, b"seven brown boats")
    assert refused.value.code == "people.hash"


def test_the_decoy_is_nobodys(passwords: Argon2Passwords) -> None:
    assert not passwords.matches(passwords.decoy, b"")
    assert not passwords.matches(passwords.decoy, b"seven brown boats")


def test_a_hash_is_of_one_password_and_has_its_own_salt(passwords: Argon2Passwords) -> None:
    one, two = passwords.hash(b"seven brown boats"), passwords.hash(b"seven brown boats")
    assert one != two
    assert passwords.matches(one, b"seven brown boats")
    assert not passwords.matches(one, b"Seven brown boats")
    assert argon2.extract_parameters(one).type is argon2.Type.ID


def test_another_cost_makes_a_hash_outdated(passwords: Argon2Passwords) -> None:
    phc = passwords.hash(b"seven brown boats")
    assert not passwords.outdated(phc)
    assert Argon2Passwords(16, 1, 1, Counted()).outdated(phc)
    assert Argon2Passwords(16, 1, 1, Counted()).matches(phc, b"seven brown boats")
