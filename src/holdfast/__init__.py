"""Holdfast: verifiable AI inference. Nodes answer fast, full nodes verify afterwards, and work moves on proof."""

__version__ = "0.1.0.dev0"
"""Version of the software; ``pyproject.toml`` reads it from here."""
