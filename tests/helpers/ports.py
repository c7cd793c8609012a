"""Ports of loopback for servers that have to be told theirs before they start.

Between finding a port free and a server's taking it, nobody else may take it. So they come from below those that
systems hand out by themselves; tests that run at the same time, in processes of their own, look in different places;
and one process goes on from where it was. A server that can listen on port 0 and say where needs none of this.
"""

from __future__ import annotations

import contextlib
import os
import socket

FIRST, LANES, LANE = 20_000, 31, 400
"""31 lanes of 400 ports, which end where Linux begins to hand out its own (32,768)."""
_lane = FIRST + os.getpid() % LANES * LANE
_used = 0


def free_ports(count: int = 1) -> int:
    """The first of ``count`` neighbouring ports that are free now."""
    global _used
    for _ in range(2 * LANE // count):
        base = _lane + (_used if _used + count <= LANE else 0)
        _used = base + count - _lane
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(base, base + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return base
    raise RuntimeError("no free ports")
