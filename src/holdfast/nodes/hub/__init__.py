"""The hub: artifacts, their versions, and what labels mean (``spec/artifacts.md``)."""
