"""Private keys in files, of any kind: read with care, and written whole or not at all.

A key is one file with mode 0600: unencrypted PKCS #8 PEM, or what its owner makes of it (``signer_secp256k1``). Files
that group or others may read are refused, so that a careless copy does not go unnoticed.

Not covered: what a key is for (``signer_files``, ``wraps_hpke``), keys in hardware, and encryption at rest.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from holdfast.errors import UnavailableError, UsageError


def read_private_key(path: Path) -> PrivateKeyTypes:
    """The key in a file. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    data = read_secret(path)
    try:
        return serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise UsageError("signer.key", f"{path} is not an unencrypted PKCS #8 key") from error


def read_secret(path: Path) -> bytes:
    """The bytes of a key file. Raises ``signer.file`` or ``signer.permissions``."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(1 << 16)
    except OSError as error:
        raise UnavailableError("signer.file", f"cannot read the key {path}: {error.strerror}") from error
    if mode & 0o077:
        message = f"the key {path} is open to others (mode {mode:04o})"
        raise UsageError("signer.permissions", message, hint=f"chmod 600 {path}")
    return data


def create_private_key(path: Path, private: PrivateKeyTypes) -> None:
    """Write a new key where there is none (:func:`create_secret`). Raises ``signer.file``."""
    create_secret(
        path,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def create_secret(path: Path, data: bytes) -> None:
    """Write the bytes of a new key under a temporary name, make them durable, then link them into place if nobody was
    first. Raises ``signer.file``."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return  # somebody else was first; theirs is the key
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UnavailableError("signer.file", f"cannot write the key {path}: {error.strerror}") from error
