"""The gateway: an OpenAI-compatible API whose every turn is bound, signed, logged and settled."""
