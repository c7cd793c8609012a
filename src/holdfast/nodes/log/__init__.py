"""The log node: orders statements into an append-only tree and signs its checkpoints. See README.md."""
