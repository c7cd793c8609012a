"""Trust documents that a command line names."""

from __future__ import annotations

from holdfast.cli.conformance.arguments import Arguments
from holdfast.core import trust


def trust_versions(arguments: Arguments, name: str) -> tuple[trust.TrustVersion, ...]:
    return trust.parse_trust_chain(arguments.read(name))


def read_trust(arguments: Arguments) -> trust.Trust | None:
    name = arguments.maybe("trust")
    return None if name is None else trust.verify_trust(trust_versions(arguments, name))
