"""Leading agents: programs beside the nodes, which speak to them as any client does (``spec/agent-files.md``)."""
