"""Anthropic's Messages as a way to ask: what an upstream is sent for them, and what its answer comes to as a message
(``spec/messages.md``).

Pure. ``request`` makes the chat that is sent on, ``answer`` the message or the events of one, ``fold`` the document
that a stream comes to. The other direction, asking a provider that speaks Messages, is an upstream's affair.
"""

from __future__ import annotations

ENDPOINT = "messages"
"""As statements name it (``statement.md`` §4.1)."""
VERSIONS = ("2023-06-01", "2026-10-21")
"""Values of ``anthropic-version`` that are known. The later one takes parameters away that a chat has: they are passed
on all the same."""
THINKING = "anthropic-claude-v1"
"""Marks thinking that came with its signature, in ``reasoning_details`` of a chat."""
