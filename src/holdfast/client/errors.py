"""An error that a node answered, back to the error it was (``conventions.md`` §6)."""

from __future__ import annotations

from holdfast.core import canonical
from holdfast.errors import (
    ConflictError,
    HoldfastError,
    MalformedError,
    RefusedError,
    UnavailableError,
    UndecidedError,
    UsageError,
)

_ERRORS: dict[str, type[HoldfastError]] = {
    error.kind: error
    for error in (MalformedError, RefusedError, ConflictError, UndecidedError, UnavailableError, UsageError)
}


def parse_error(status: int, body: bytes, where: str) -> HoldfastError:
    """The one error shape (``conventions.md`` §6) back to the error it was; anything else is ``gateway.answer``."""
    try:
        shown = canonical.decode(body)
        inner = shown["error"] if isinstance(shown, dict) else None
        code, message, hint = (inner or {}).get("code"), (inner or {}).get("message"), (inner or {}).get("hint")
    except (HoldfastError, KeyError, AttributeError):
        inner, code, message, hint = None, None, None, None
    if not isinstance(inner, dict) or not isinstance(code, str) or not isinstance(message, str):
        return UnavailableError("gateway.answer", f"{where} answered {status}")
    kind = _ERRORS.get(str(inner.get("type")), HoldfastError)
    return kind(code[:128], message[:2000], hint=hint[:2000] if isinstance(hint, str) else "", status=status)
