"""What a worker that reads hostile bytes gives up before it looks at them: loaded by workers, by path, and by nobody
else. It imports nothing of Holdfast.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
"""Linux ``prctl``: end with the parent; nothing run from here may gain privileges."""


def give_up(memory_bytes: int, cpu_s: int, descriptors: int) -> None:
    """Bound this process: memory and processor time beyond what it has used, no writing, core dumps, children or new
    privileges, and no descriptor behind ``descriptors``: no file, and no connection. What the system does not know, it
    does without; the parent's clock bounds the time."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    in_use = 0
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    for kind, bound in (
        (resource.RLIMIT_AS, in_use + memory_bytes),
        (resource.RLIMIT_CPU, spent + cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, descriptors),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))
