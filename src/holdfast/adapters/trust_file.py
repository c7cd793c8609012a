"""The trust root in a file: read again when it changes, never rolled back (``spec/trust.md`` §2).

The last accepted (version, digest) is kept beside the node's own state, so a restart does not forget it. A file that
does not verify, ends earlier or forks leaves the last good trust in force; :attr:`TrustFile.trouble` says why.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from holdfast.core import canonical
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.storage import Storage

_LOG = logging.getLogger("holdfast.trust")
_ACCEPTED = "trust-accepted.json"


class TrustFile:
    """Call it for the trust in force."""

    def __init__(self, path: Path, storage: Storage, pin: str | None = None) -> None:
        self._path = path
        self._storage = storage
        self._pin = pin
        self._seen: tuple[int, int] | None = None
        self._refused = ""
        self._accepted = self._load_accepted()
        self.trouble = ""
        """Why the file as it stands now is not in force, or empty."""
        self._trust = self._read()

    def __call__(self) -> Trust:
        """The trust in force; looks at the file's time and size, and reads it when they changed."""
        try:
            if self._stamp() != self._seen:
                self._trust = self._read()
            self.trouble = self._refused
        except HoldfastError as error:
            if error.message != self.trouble:
                _LOG.error("the trust file is not accepted: %s", error, extra={"code": error.code})
            self.trouble = error.message
        return self._trust

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise UnavailableError("trust.file", f"cannot read {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size

    def _read(self) -> Trust:
        stamp = self._stamp()
        try:
            raw = self._path.read_bytes()
        except OSError as error:
            raise UnavailableError("trust.file", f"cannot read {self._path}: {error.strerror}") from error
        try:
            trust = verify_trust(parse_trust_chain(raw), pin=self._pin, accepted=self._accepted)
        except HoldfastError as error:
            self._seen, self._refused = stamp, error.message
            raise
        accepted = (trust.version, trust.digest)
        if accepted != self._accepted:
            self._storage.save(_ACCEPTED, json.dumps({"version": accepted[0], "digest": accepted[1]}).encode())
            self._accepted = accepted
        self._seen, self._refused = stamp, ""
        return trust

    def _load_accepted(self) -> tuple[int, str] | None:
        raw = self._storage.load(_ACCEPTED)
        if raw is None:
            return None
        value = canonical.decode_object(raw)
        version, digest = value.get("version"), value.get("digest")
        if not isinstance(version, int) or not isinstance(digest, str):
            raise UnavailableError("trust.file", f"{_ACCEPTED} is damaged: it says which trust was accepted last")
        return version, digest
