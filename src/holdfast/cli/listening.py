"""How commands listen on this machine: ``holdfast proxy`` and ``holdfast mcp serve``."""

from __future__ import annotations

import socket

from holdfast.errors import UnavailableError


def open_listener(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket and the base URL that it is at; raises ``node.listen``."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UnavailableError("node.listen", f"cannot listen on {host}:{port}: {error.strerror}") from error
    name, number = listener.getsockname()[:2]
    return listener, f"http://{f'[{name}]' if ':' in name else name}:{number}"
