"""The client library: verifies before it trusts."""
