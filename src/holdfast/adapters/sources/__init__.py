"""Definitions of public sources that are shipped: a start for a registry of one's own, and nobody's word for them.

They follow what their operators document; none was asked from where this was written (``docs/spec-gaps.md``). They name
no pins, since those keys change without notice: whoever relies on one adds them.
"""

from __future__ import annotations

from importlib.resources import files


def public_sources() -> str:
    """The registry as TOML."""
    return files(__package__).joinpath("public.toml").read_text("utf-8")
