"""What may be a password (``people.md`` §2): long enough, not endless, not the name, not one that everybody tries.

No composition rules: length is what guessing costs. Text is taken in Unicode's composed form (NFC), so that one
password typed on two keyboards is one password.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from holdfast.errors import RefusedError

LEAST_BYTES = 12
"""Of UTF-8."""
MOST_BYTES = 1024
"""Of UTF-8; beyond it only the hash gets more work."""
LONGEST_REPEATED = 4
"""A password that only repeats so many characters is as good as those."""
_WORDS = """
    000000000000 012345678910 0123456789ab 0987654321qw 111122223333 112233445566 121212121212 123123123123
    123412341234 123456789012 12345678901234567890 1234567890ab 1234567890abc 1234567890qw 1234567890qwertyuiop
    1234567891011 123456789abc 123456789qwe 1234qwerasdf 1234qwerasdfzxcv 123qweasdzxc 1q2w3e4r5t6y 1q2w3e4r5t6y7u8i
    1qaz2wsx3edc 1qaz2wsx3edc4rfv 1qazxsw23edc 987654321098 abcabcabcabc abcd12345678 abcdefgh1234 abcdefghijkl
    abcdefghijklm abcdefghijklmnopqrstuvwxyz admin1234567 admin12345678 administrator administrator1 adminpassword
    asdfasdfasdf asdfghjkl123 asdfghjkl1234 asdfghjklqwertyuiop changeme1234 changeme12345 changemechangeme
    changemenow1 changemeplease correcthorsebatterystaple default12345 defaultpassword dragon123456 football1234
    hello123456789 helloworld12 helloworld123 holdfast1234 holdfast12345 holdfastadmin holdfasthold holdfastholdfast
    holdfastpassword iloveyou1234 iloveyou12345 iloveyouforever letmein12345 letmein123456 letmeinletmein
    letmeinplease liverpool123 manchester123 master123456 masterpassword monkey123456 mypassword12 mypassword123
    mypassword1234 newpassword1 newpassword123 p@ssw0rd1234 p@ssword1234 passphrase123 passw0rd1234 passw0rd12345
    password0000 password1111 password1234 password12345 password123456 password2024 password2025 password2026
    passwordpass passwordpassword poiuytrewq12 princess1234 q1w2e3r4t5y6 qazwsxedc123 qazwsxedcrfv qwer1234asdf
    qwerasdfzxcv qwerty123456 qwerty1234567 qwertyqwerty qwertyuiop12 qwertyuiop123 qwertyuiop1234 qwertyuiop123456
    qwertyuiop[] qwertyuiopas qwertyuiopasdf qwertyuiopasdfghjkl qwertyuiopasdfghjklzxcvbnm rootpassword secret123456
    secretpassword sunshine1234 superman1234 supersecret1 supersecret123 temporarypassword temppassword test12345678
    testpassword testpassword1 thisisapassword thisismypassword trustno1trustno1 welcome12345 welcome123456
    welcomewelcome whatever1234 zaq12wsxcde3 zxcvbnm12345 zxcvbnm123456 zxcvbnmasdfghjkl
"""
COMMON = frozenset(_WORDS.split()) | {"correct horse battery staple", "let me in please", "this is my password"}
"""Long passwords that people choose when they are told to choose a long one; compared without regard to case."""


def normal_form(password: str) -> bytes:
    """The bytes that are hashed. Raises ``people.password`` for text that has no bytes."""
    try:
        return unicodedata.normalize("NFC", password).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RefusedError("people.password", "that is no text", status=400, param="password") from error


def check_password(password: str, names: Iterable[str]) -> bytes:
    """The bytes of a new password; ``names`` are what its owner is called. Raises ``people.password``."""
    raw = normal_form(password)
    folded = unicodedata.normalize("NFC", password).casefold().strip()
    if len(raw) < LEAST_BYTES:
        raise _refusal(f"a password has at least {LEAST_BYTES} characters", "a few words that you can remember")
    if len(raw) > MOST_BYTES:
        raise _refusal(f"a password has at most {MOST_BYTES} bytes", "shorten it")
    shortest = _repeated(folded)
    if any(shortest in (name.casefold().strip(), _repeated(name.casefold().strip())) for name in names):
        raise _refusal("your name is no password", "everybody knows it; a few words that go with nothing")
    if len(shortest) <= LONGEST_REPEATED or folded in COMMON or shortest in COMMON:
        raise _refusal("this is one of the first passwords that anybody would try", "a few words that go with nothing")
    return raw


def _repeated(text: str) -> str:
    """The shortest piece that, said again and again, makes the text; the text itself if there is none."""
    place = (text + text).find(text, 1)
    return text[:place] if place > 0 else text


def _refusal(says: str, hint: str) -> RefusedError:
    return RefusedError("people.password", says, hint=hint, status=400, param="password")
