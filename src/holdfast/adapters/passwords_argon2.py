"""Password hashes: argon2id (RFC 9106) as PHC strings, through argon2-cffi, which lets other threads run meanwhile.

A stored hash names its own cost, so a change of settings applies to new hashes and old ones are made anew at the next
sign-in. A stored hash that asks for more memory than :data:`MOST_MEMORY_KIB` is not computed: whoever can write the
table must not be able to take the process down with it.
"""

from __future__ import annotations

from collections.abc import Callable

import argon2
from argon2.low_level import Type, hash_secret_raw

from holdfast.errors import MalformedError

SALT_BYTES = 16
"""RFC 9106 §3.1."""
HASH_BYTES = 32
"""Twice what RFC 9106 §4 asks of a password hash."""
MOST_MEMORY_KIB = 1 << 20
"""1 GiB, the most that the setting allows."""
MOST_PASSES = 64
"""The most that the setting allows."""


class Argon2Passwords:
    """Makes and checks hashes. Blocks for as long as the settings make it: call it from a worker thread.

    ``random_bytes`` gives that many random bytes (salts).
    """

    def __init__(self, memory_kib: int, passes: int, lanes: int, random_bytes: Callable[[int], bytes]) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=lanes, hash_len=HASH_BYTES, salt_len=SALT_BYTES
        )
        self._random_bytes = random_bytes
        self.decoy = self.hash(random_bytes(32))
        """A hash that no password has: checked where there is no account, so that it takes as long."""

    def hash(self, password: bytes) -> str:
        """A new PHC string with a salt of its own."""
        return self._hasher.hash(password, salt=self._random_bytes(SALT_BYTES))

    def matches(self, phc: str, password: bytes) -> bool:
        """Whether this is the password. Raises ``people.hash`` for a stored hash that is none of ours."""
        self._parameters(phc)
        try:
            return self._hasher.verify(phc, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError) as error:
            raise MalformedError("people.hash", "a stored password hash cannot be checked", status=500) from error

    def outdated(self, phc: str) -> bool:
        """Whether a hash was made with other settings than today's."""
        return self._hasher.check_needs_rehash(phc)

    @staticmethod
    def _parameters(phc: str) -> argon2.Parameters:
        try:
            found = argon2.extract_parameters(phc)
        except (argon2.exceptions.InvalidHashError, ValueError) as error:
            raise MalformedError("people.hash", "a stored password hash is none of ours", status=500) from error
        if found.type is not Type.ID or found.memory_cost > MOST_MEMORY_KIB or found.time_cost > MOST_PASSES:
            raise MalformedError("people.hash", "a stored password hash asks for what no setting allows", status=500)
        return found


def derive_key(passphrase: bytes, salt: bytes, memory_kib: int, passes: int, threads: int) -> bytes:
    """32 bytes that follow from a passphrase (argon2id). Blocks as long as the cost says. Raises ``people.hash`` for a
    cost that no setting allows."""
    if not 8 * threads <= memory_kib <= MOST_MEMORY_KIB or not 1 <= passes <= MOST_PASSES or not 1 <= threads <= 64:
        raise MalformedError("people.hash", "a stored wrap asks for what no setting allows", status=500)
    return hash_secret_raw(passphrase, salt, passes, memory_kib, threads, HASH_BYTES, Type.ID)
