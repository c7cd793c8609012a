"""The direct way to a gateway: which transports a URL asks for (``spec/client.md`` §3).

* ``https://`` of a gateway whose TLS key an admitted key document names: the certificate is learned with one handshake
  that sends nothing, and from then on every connection ends at exactly that certificate.
* Any other ``https://``: the web's authorities and the host name decide, and what was checked says so.
* ``http://`` on this machine; elsewhere only for a caller who says ``insecure_plain_http``.

Not covered: whether it is the gateway's own key document that names the key (``verifier.identity``).
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.core.attestation.certificates import read_spki
from holdfast.core.encoding import sha256_hex
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError, UsageError
from holdfast.ports.http import HTTP
from holdfast.ports.http_stream import EventHTTP
from holdfast.verifier.identity import PLAIN, Channel


@dataclass(frozen=True, slots=True)
class Transport:
    """Connections to one gateway, and what is known of where they end."""

    http: HTTP
    events: EventHTTP
    channel: Channel


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@contextlib.asynccontextmanager
async def open_direct(url: str, trust: Trust | None, *, insecure_plain_http: bool = False) -> AsyncGenerator[Transport]:
    """Transports to a gateway; they close at the end. Raises ``client.url``, ``client.plain_http`` or as they do."""
    from holdfast.adapters.http_aiohttp import AiohttpHTTP  # noqa: PLC0415 - picked where they are wanted
    from holdfast.adapters.http_stream_aiohttp import AiohttpEvents  # noqa: PLC0415

    channel, certificate = await _choose(url, trust, insecure_plain_http=insecure_plain_http)
    context = None
    if certificate is not None:
        from holdfast.adapters.tls_pinning import pinned_context  # noqa: PLC0415

        context = pinned_context(certificate)
    http, events = AiohttpHTTP(tls=context), AiohttpEvents(tls=context)
    try:
        yield Transport(http, events, channel)
    finally:
        await http.close()
        await events.close()


async def _choose(url: str, trust: Trust | None, *, insecure_plain_http: bool) -> tuple[Channel, bytes | None]:
    """The channel, and the certificate that it is pinned to, if any."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError("client.url", f"{url!r} is not an http:// or https:// URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("client.url", f"{url!r} is not an http:// or https:// URL")
    if parts.scheme == "http":
        if not insecure_plain_http and not is_loopback(host):
            raise UsageError(
                "client.plain_http",
                f"{url} has no TLS: prompts and the workspace key could be read on the way",
                hint="use its https:// URL; or say --insecure-plain-http (insecure_plain_http=True) if you own the way",
            )
        return PLAIN, None
    if trust is None:
        return Channel("web"), None
    from holdfast.adapters.tls_pinning import fetch_certificate  # noqa: PLC0415

    certificate = await fetch_certificate(host, port or 443)
    try:
        spki = sha256_hex(read_spki(certificate))
    except MalformedError:
        return Channel("web"), None  # whatever it is, it is no certificate for a key of a key document
    if any(admission.key_document.tls == spki for admission in trust.current.nodes):
        return Channel("pinned", spki), certificate
    return Channel("web"), None
