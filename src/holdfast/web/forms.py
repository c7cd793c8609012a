"""Forms as browsers send them, read strictly: URL-encoded, each field at most once, few of them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from holdfast.errors import MalformedError

MAX_FIELDS = 16
"""Fields of one form."""


async def read_form(request: Request) -> dict[str, str]:
    """A form's fields, each at most once. Raises ``panel.form``."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise MalformedError("panel.form", "a form of this panel is URL-encoded", status=415)
    try:
        text = (await request.body()).decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise MalformedError("panel.form", "the form is damaged") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedError("panel.form", "a field of the form comes twice")
    return fields


def only(fields: dict[str, str], *names: str) -> dict[str, str]:
    """Exactly these fields; a browser sends line ends as CR LF, which are one. Raises ``panel.form``."""
    if fields.keys() != set(names):
        raise MalformedError("panel.form", f"this form has the fields {', '.join(names) or 'token'} and no other")
    return {name: value.replace("\r\n", "\n") for name, value in fields.items()}


def local_path(target: str | None) -> str:
    """A path on this site to go on to; anything else becomes the first page."""
    parts = urlsplit(target or "/")
    good = not parts.scheme and not parts.netloc and parts.path.startswith("/") and not parts.path.startswith("//")
    if not good or "\\" in (target or "") or parts.path.startswith("/sign-in"):
        return "/"
    return parts.path
