"""What a node can be told: frozen dataclasses whose fields carry their own help (``docs/operate/configuration.md``).

A node's ``config.py`` declares one frozen dataclass::

    @dataclass(frozen=True, slots=True)
    class LogConfig:
        listen: str = setting("127.0.0.1:8600", "Address and port to listen on")
        batch_ms: int = setting(250, "Longest wait before a batch is sequenced", minimum=1, maximum=10_000)
        token: Secret | None = setting(None, "Bearer token that writers present, as file:… or env:…")

Rules: every field has help; every limit is a field; a field without a default must be given. Field types are ``str``,
``int``, ``float``, ``bool``, ``Path``, :class:`Secret`, any of them ``| None``, ``tuple[T, ...]`` of them, and
``tuple[D, ...]`` of another dataclass made the same way. This module declares; reading files and the environment is
``adapters/settings_toml.py``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from holdfast.errors import UsageError

PLAIN_TYPES: tuple[type, ...] = (str, int, float, bool, Path)
"""The scalar types a setting may have, besides :class:`Secret`."""


class Secret:
    """A secret and where it came from. Printing, logging or comparing it never shows the value."""

    __slots__ = ("_value", "reference")

    def __init__(self, value: str, reference: str) -> None:
        self._value = value
        self.reference = reference

    def reveal(self) -> str:
        """The secret itself; call it where it is used and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reference == other.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __reduce__(self) -> typing.NoReturn:
        raise UsageError("settings.secret", "a secret is not serialised", hint="pass the reference instead")


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",  # noqa: A002 (the word people know)
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one field: its default (none: it must be given), what it is for, and the values it may take."""
    if not help:
        raise UsageError("settings.help", "a setting says what it is for")
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class SettingInfo:
    """One declared field, ready for help texts and for the loader."""

    name: str
    type: Any
    optional: bool
    """Whether ``None`` is a value (the field is ``T | None``)."""
    item: Any
    """For ``tuple[T, ...]`` the ``T``; otherwise ``None``."""
    default: Any
    """``dataclasses.MISSING`` when the field must be given."""
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    @property
    def type_name(self) -> str:
        """The type as the documentation shows it."""
        if self.item is not None:
            return "list of tables" if dataclasses.is_dataclass(self.item) else f"list of {self.item.__name__.lower()}"
        names = {str: "string", int: "integer", float: "number", bool: "true or false", Path: "path", Secret: "secret"}
        return names[self.type]


def describe(config: type) -> tuple[SettingInfo, ...]:
    """The fields of a config dataclass. Raises ``settings.declaration`` for one the loader could not read."""
    hints = typing.get_type_hints(config)
    return tuple(_info(config, field, hints[field.name]) for field in dataclasses.fields(config))


def _info(config: type, field: dataclasses.Field[Any], hint: Any) -> SettingInfo:
    optional, item = False, None
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        members = [member for member in typing.get_args(hint) if member is not types.NoneType]
        optional = len(members) < len(typing.get_args(hint))
        hint = members[0] if len(members) == 1 else None
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        item = arguments[0] if len(arguments) == 2 and arguments[1] is Ellipsis else None
        readable = item in PLAIN_TYPES or dataclasses.is_dataclass(item)
    else:
        readable = hint in PLAIN_TYPES or hint is Secret
    if not readable or "help" not in field.metadata:
        raise UsageError("settings.declaration", f"{config.__name__}.{field.name} is not declared with setting()")
    return SettingInfo(
        field.name,
        hint,
        optional,
        item,
        field.default,
        field.metadata["help"],
        field.metadata["minimum"],
        field.metadata["maximum"],
        field.metadata["choices"],
    )
