"""TLS that ends at one certificate: learn it, then accept it and no other (``spec/client.md`` §3).

:func:`fetch_certificate` shakes hands with whoever answers, keeps the certificate, and closes: nothing is sent.
:func:`pinned_context` then makes a context for connections that must end at exactly that certificate. It asks two
things of every handshake, before a byte of the application goes out:

1. The certificate is the only root that is believed, so no authority's word counts. Host names are not looked at: it is
   the key that is known, not an address.
2. The certificate is, byte for byte, the one that was learned. Without this a certificate that may sign others would
   vouch for any key.

Not covered: whether the learned certificate is the right one; its key must be one that a key document names
(``verifier.identity``). An expired certificate is refused like any other that does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

from holdfast.core.encoding import sha256
from holdfast.errors import RefusedError, UnavailableError

HANDSHAKE_S = 10.0
"""Longest time for learning a certificate."""


async def fetch_certificate(host: str, port: int, timeout_s: float = HANDSHAKE_S) -> bytes:
    """The certificate (DER) that somebody shows there. Nobody vouches for it; raises ``http.unreachable``."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.minimum_version = ssl.TLSVersion.TLSv1_3
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE  # the certificate is what is asked for here: nothing is sent to its owner
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=anyone)
    except (OSError, TimeoutError, ValueError) as error:
        why = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise UnavailableError("http.unreachable", f"no TLS with {host}:{port}: {why}") from error
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if shown is None:
        raise UnavailableError("http.unreachable", f"{host}:{port} shows no certificate")
    return shown


def pinned_context(certificate: bytes) -> ssl.SSLContext:
    """A context under which every handshake ends at this certificate (DER), or fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be a leaf, and is believed as it is
    context.load_verify_locations(cadata=certificate)
    digest = sha256(certificate)

    class Pinned(ssl.SSLObject):
        """A handshake that looks once more at whose certificate it was."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown: Any = self.getpeercert(binary_form=True)
            if shown is None or sha256(shown) != digest:
                raise ssl.SSLCertVerificationError(1, "another certificate than the one that was learned")

    context.sslobject_class = Pinned
    return context


def refused_certificate(what: str, why: Exception) -> RefusedError:
    """The error of a handshake that ended at a certificate which is not good here; nothing was sent."""
    return RefusedError(
        "http.certificate",
        f"{what}: {why}",
        hint="nothing was sent; a node whose certificate signs itself is known by a trust document that names its key",
    )
