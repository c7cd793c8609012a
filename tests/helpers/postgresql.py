"""A PostgreSQL server of the test's own: a fresh cluster in a folder, on a socket there, ended with the block.

Needs Debian's server programs (package ``postgresql``). PostgreSQL refuses to run as root, so root
starts it as ``postgres``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


def programs() -> Path | None:
    """Folder of ``initdb`` and ``pg_ctl``; None where there is no server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if found:
        return found[0].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


def why_not() -> str | None:
    """Why no server can be started here, or None."""
    if programs() is None:
        return "no PostgreSQL server here (Debian package postgresql)"
    if os.geteuid() == 0 and not _postgres_user():
        return "running as root and there is no postgres user to run the server as"
    return None


def _postgres_user() -> bool:
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start one; gives its SQLAlchemy URL."""
    binaries = programs()
    assert binaries is not None
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder.mkdir(parents=True)
    if as_user:
        shutil.chown(folder, "postgres")
        for parent in folder.parents:  # the server's user must be able to reach its folder
            if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, timeout=60, cwd=folder)

    run(str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")
