"""Who may read and who may ask: hosts, sign-in, sessions and the token that a form carries.

Rules:

* Bound to loopback, the panel is open to whoever can reach that port on this machine; bound to anything else it does
  not start without an access key.
* A request names a host that is ours (loopback, or a configured public origin). Anything else is refused, so a page
  on the internet that points its own name at 127.0.0.1 reads nothing (DNS rebinding).
* A request that changes something comes from our own origin *and* carries the session's token. A cookie alone moves
  nothing.
* Sessions of nobody in particular are stateless: an expiry, a random id and an HMAC under a key derived from the
  workspace key and the access key. A new access key ends all of them.
* Sessions of people with accounts are none of these: their cookie is a random token that the people's store knows
  (``review.people``), so they end there and at once. The access key names nobody: while nobody has an account it lets
  in to read and ask, and afterwards it opens the door alone (``people.py``).

Not covered: what the gateway lets the workspace key do, and what a person may do (``people.py`` asks).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.server import split_listen
from holdfast.ports.clock import Clock
from holdfast.review.people import form_token
from holdfast.review.roles import Principal

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Host names under which a panel on loopback answers."""


def is_loopback(host: str) -> bool:
    """Whether this host is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session: ``token`` goes into forms, ``cookie`` into the cookie."""

    cookie: str
    token: str
    signed_in: bool
    person: Principal | None = None
    """Who it is, where an account signed in."""

    @classmethod
    def of_person(cls, token: str, person: Principal) -> Session:
        """The session of somebody with an account, by the token in their cookie."""
        return cls(token, form_token(token), signed_in=True, person=person)


class Access:
    """Decides who gets through; raises ``panel.*`` :class:`RefusedError`. Remembers wrong keys by time, no sessions."""

    def __init__(self, config: PanelConfig, clock: Clock) -> None:
        host, self.port = split_listen(config.listen)
        if not is_loopback(host) and config.access_key is None:
            raise UsageError(
                "panel.open",
                f"listening on {host} would let everybody on that network ask and read",
                hint="set access_key = file:… (or env:…), or listen on 127.0.0.1",
                param="access_key",
            )
        self._config = config
        self._clock = clock
        self._origins = {_origin(origin) for origin in config.public_origins}
        self._public_hosts = {urlsplit(origin).netloc for origin in self._origins}
        self._any_host = not is_loopback(host) and not self._origins
        workspace = config.workspace_key.reveal() if config.workspace_key else ""
        access = config.access_key.reveal() if config.access_key else ""
        if config.access_key is not None and len(access) < 16:
            raise UsageError("panel.access_key", "an access key has at least 16 characters", param="access_key")
        self._access_key = access.encode()
        root = hashlib.sha256(b"holdfast/panel/v1\x00" + workspace.encode() + b"\x00" + access.encode()).digest()
        self._session_key = hmac.digest(root, b"session", "sha256")
        self._token_key = hmac.digest(root, b"token", "sha256")
        self.cookie_name = f"holdfast_{hmac.digest(root, b'name', 'sha256').hex()[:8]}"
        self.required = config.access_key is not None
        self.secure = bool(self._origins) and all(origin.startswith("https://") for origin in self._origins)
        self._failures: deque[float] = deque(maxlen=config.sign_in_failures_per_minute)

    def check_host(self, host: str | None) -> None:
        """Refuse requests for a name that is not ours (``panel.host``)."""
        if host is None:
            raise RefusedError("panel.host", "a request names its host", status=421)
        name = host.lower()
        bare = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
        if name in self._public_hosts or bare in LOOPBACK_NAMES or self._any_host:
            return
        hint = "add its origin to public_origins if people reach the panel by this name"
        raise RefusedError("panel.host", f"this panel does not answer for {bare[:80]!r}", hint=hint, status=421)

    def check_change(
        self, session: Session, host: str, origin: str | None, site: str | None, token: str | None
    ) -> None:
        """A request that changes something: same origin and the session's token (``panel.origin``, ``panel.token``)."""
        self.check_origin(host, origin, site)
        if token is None or not hmac.compare_digest(token.encode(), session.token.encode()):
            hint = "reload the page and send it again"
            raise RefusedError("panel.token", "this page is older than the panel's keys or the session", hint=hint)

    @staticmethod
    def check_origin(host: str, origin: str | None, site: str | None) -> None:
        """A request from one of our own pages (``panel.origin``): browsers say where a POST comes from."""
        ours = {f"http://{host.lower()}", f"https://{host.lower()}"}
        if origin is None or origin not in ours or site not in (None, "same-origin"):
            raise RefusedError("panel.origin", "this request did not come from a page of this panel")

    def open_session(self, *, signed_in: bool) -> Session:
        """A fresh session."""
        expires = int(self._clock.now().timestamp()) + self._config.session_hours * 3600
        body = f"{expires:x}.{'s' if signed_in else 'a'}.{secrets.token_hex(16)}"
        return self._session(body, signed_in)

    def read_session(self, cookie: str | None) -> Session | None:
        """The session of a cookie, or nothing when it is missing, altered, over, or not signed in where one must be."""
        if cookie is None or cookie.count(".") != 3:
            return None
        body, _, mac = cookie.rpartition(".")
        try:
            claimed = hex_decode(mac, 32)
        except MalformedError:
            return None
        if not hmac.compare_digest(claimed, hmac.digest(self._session_key, body.encode(), "sha256")):
            return None
        expires, kind, _ = body.split(".")
        if int(expires, 16) <= self._clock.now().timestamp():
            return None
        signed_in = kind == "s"
        return self._session(body, signed_in) if signed_in or not self.required else None

    def sign_in(self, key: str) -> Session:
        """A signed-in session for the right key. Raises ``panel.access_key`` or ``panel.too_many``."""
        now = self._clock.monotonic()
        if len(self._failures) == self._failures.maxlen and now - self._failures[0] < 60:
            raise RefusedError("panel.too_many", "too many wrong keys; wait a minute", status=429)
        if not self.required or not hmac.compare_digest(key.encode(), self._access_key):
            self._failures.append(now)
            raise RefusedError("panel.access_key", "that is not the access key", status=403)
        return self.open_session(signed_in=True)

    def cookie_header(self, session: Session | None) -> str:
        """The ``Set-Cookie`` value for a session, or the one that ends it."""
        value, age = (session.cookie, "") if session else ("", "; Max-Age=0")
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie_name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}"

    def _session(self, body: str, signed_in: bool) -> Session:
        mac = hmac.digest(self._session_key, body.encode(), "sha256").hex()
        token = hmac.digest(self._token_key, body.encode(), "sha256").hex()
        return Session(f"{body}.{mac}", token, signed_in)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"} or parts.query:
        raise UsageError("panel.origin", f"{text!r} is no origin like https://holdfast.example", param="public_origins")
    return f"{parts.scheme}://{parts.netloc.lower()}"
