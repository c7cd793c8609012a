"""What a gateway and a panel tell of a lane's hops, read strictly (``spec/lanes.md`` §1)."""

from __future__ import annotations

from holdfast.errors import MalformedError
from holdfast.verifier.lanes import HOPS, SIGHTS, Hop

_SEEN = ("identity", "plaintext", "sizes", "timing")


def parse_hops(value: object, code: str) -> tuple[Hop, ...]:
    """The ``hops`` of a lane; raises ``code``."""
    if not isinstance(value, list):
        raise MalformedError(code, "hops are a list")
    return tuple(_parse_hop(item, code) for item in value)


def _parse_hop(value: object, code: str) -> Hop:
    fields = value if isinstance(value, dict) else {}
    node, seen = fields.get("node"), [fields.get(name) for name in _SEEN]
    known = fields.get("hop") in HOPS and all(sight in SIGHTS for sight in seen)
    if not known or not (node is None or isinstance(node, str)):
        raise MalformedError(code, "a hop is one that is known, and could see something or not")
    return Hop(str(fields["hop"]), node, *map(str, seen))
