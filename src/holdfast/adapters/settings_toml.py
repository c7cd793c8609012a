"""Settings from one TOML file, the environment and the command line, each value with where it came from.

Rules, later wins: the default in the node's ``config.py``, the file (one table per node), the environment
(``HOLDFAST_<NODE>_<FIELD>``), the caller (command-line options). What nobody declared is refused, so a misspelt limit
cannot be ignored. Environment values of strings and paths are written bare; all others as TOML values.

A secret is given by reference only, ``file:PATH`` or ``env:NAME``; it is resolved here and shown nowhere.
Not covered: what a value means; each node checks its own combinations.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from holdfast.errors import UsageError
from holdfast.ports.settings import Secret, SettingInfo, describe

ENVIRONMENT_PREFIX = "HOLDFAST_"
"""Every override starts so; what follows is the table and the field in capitals."""
MAX_FILE_BYTES = 1 << 20
"""A larger settings file is refused unread."""

Config = TypeVar("Config")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as ``holdfast config show`` prints it; ``shown`` never holds a secret."""

    table: str
    name: str
    shown: str
    source: str
    """``default``, ``file``, ``environment`` or ``caller``, with the detail after a space."""
    help: str


class Settings:
    """Values read once, with their provenance. Ask with :meth:`table`; list with :attr:`rows`."""

    def __init__(self, configs: dict[str, Any], rows: tuple[Row, ...]) -> None:
        self._configs = configs
        self.rows = rows

    def table(self, name: str, config: type[Config]) -> Config:
        """The values of one table. Raises ``settings.table`` when it was not asked for at loading."""
        value = self._configs.get(name)
        if not isinstance(value, config):
            raise UsageError("settings.table", f"no settings were loaded for {name!r} as {config.__name__}")
        return value


def load(
    path: Path | None,
    environment: Mapping[str, str],
    tables: Mapping[str, type],
    caller: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read every table in ``tables`` (name to config dataclass). Raises ``settings.*`` :class:`UsageError`.

    ``path`` may be ``None`` (no file). ``environment`` is handed in by ``__main__``. ``caller`` holds values that are
    already of the right type.
    """
    file = _read(path)
    for name in file:
        if name not in tables:
            raise UsageError("settings.unknown", f"{path}: unknown table [{name}]", hint=_known("tables", tables))
    configs: dict[str, Any] = {}
    rows: list[Row] = []
    for name, config in tables.items():
        given = file.get(name, {})
        if not isinstance(given, dict):
            raise UsageError("settings.type", f"{path}: [{name}] is a table", param=name)
        layer = _Layer(name, str(path), environment, dict((caller or {}).get(name, {})), set(tables))
        configs[name] = layer.build(config, given, rows)
    return Settings(configs, tuple(rows))


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise UsageError("settings.size", f"{path}: larger than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError("settings.file", f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("settings.syntax", f"{path}: {error}") from error


def _known(what: str, names: Mapping[str, Any] | set[str]) -> str:
    return f"known {what}: {', '.join(sorted(names))}"


def _prefix(table: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{table.upper().replace('-', '_')}_"


class _Layer:
    """One table on its way from text to a config dataclass."""

    def __init__(
        self, table: str, path: str, environment: Mapping[str, str], caller: dict[str, Any], tables: set[str]
    ) -> None:
        self.table = table
        self.path = path
        self.environment = environment
        self.caller = caller
        self.prefix = _prefix(table)
        self.longer = tuple(
            _prefix(other) for other in tables if _prefix(other).startswith(self.prefix) and other != table
        )
        """Prefixes of tables whose name goes on where ours ends: ``HOLDFAST_FULL_1_…`` is not for ``[full]``."""

    def build(self, config: type, given: dict[str, Any], rows: list[Row]) -> Any:
        infos = {info.name: info for info in describe(config)}
        ours = [key for key in self.environment if key.startswith(self.prefix) and not key.startswith(self.longer)]
        overrides = {key[len(self.prefix) :].lower(): key for key in ours}
        for name, where in (
            *((name, self.path) for name in given),
            *overrides.items(),
            *((name, "the caller") for name in self.caller),
        ):
            if name not in infos:
                message = f"{where}: unknown setting {self.table}.{name}"
                raise UsageError("settings.unknown", message, param=name, hint=_known("settings", set(infos)))
        values: dict[str, Any] = {}
        for name, info in infos.items():
            value, source = self._one(info, given, overrides)
            values[name] = value
            rows.append(Row(self.table, name, _shown(value), source, info.help))
        return config(**values)

    def _one(self, info: SettingInfo, given: dict[str, Any], overrides: dict[str, str]) -> tuple[Any, str]:
        name = f"{self.table}.{info.name}"
        if info.name in self.caller:
            return self.caller[info.name], "caller"
        if info.name in overrides:
            variable = overrides[info.name]
            return self._value(
                info, _from_text(info, self.environment[variable], name), name
            ), f"environment {variable}"
        if info.name in given:
            return self._value(info, given[info.name], name), f"file {self.path}"
        if info.default is dataclasses.MISSING:
            variable = self.prefix + info.name.upper()
            raise UsageError("settings.missing", f"{name} must be given", param=info.name, hint=f"or set {variable}")
        return info.default, "default"

    def _value(self, info: SettingInfo, raw: Any, name: str) -> Any:
        if info.item is not None:
            if not isinstance(raw, list):
                raise UsageError("settings.type", f"{name} is a list", param=info.name)
            return tuple(self._item(info, item, f"{name}[{index}]") for index, item in enumerate(raw))
        return self._scalar(info, info.type, raw, name)

    def _item(self, info: SettingInfo, raw: Any, name: str) -> Any:
        if not dataclasses.is_dataclass(info.item):
            return self._scalar(info, info.item, raw, name)
        if not isinstance(raw, dict) or not isinstance(info.item, type):
            raise UsageError("settings.type", f"{name} is a table", param=info.name)
        infos = {inner.name: inner for inner in describe(info.item)}
        for key in raw:
            if key not in infos:
                hint = _known("settings", set(infos))
                raise UsageError("settings.unknown", f"unknown setting {name}.{key}", param=key, hint=hint)
        values: dict[str, Any] = {}
        for key, inner in infos.items():
            if key in raw:
                values[key] = self._value(inner, raw[key], f"{name}.{key}")
            elif inner.default is dataclasses.MISSING:
                raise UsageError("settings.missing", f"{name}.{key} must be given", param=key)
        return info.item(**values)

    def _scalar(self, info: SettingInfo, kind: Any, raw: Any, name: str) -> Any:
        if kind is Secret:
            return self._secret(raw, name)
        if kind is Path and isinstance(raw, str):
            return Path(raw).expanduser()
        if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
            raw = float(raw)
        if type(raw) is not kind:
            raise UsageError("settings.type", f"{name} is a {kind.__name__}", param=info.name)
        if info.choices and raw not in info.choices:
            raise UsageError("settings.choice", f"{name} is one of {', '.join(info.choices)}", param=info.name)
        if isinstance(raw, int | float):
            if info.minimum is not None and raw < info.minimum:
                raise UsageError("settings.range", f"{name} is at least {info.minimum}", param=info.name)
            if info.maximum is not None and raw > info.maximum:
                raise UsageError("settings.range", f"{name} is at most {info.maximum}", param=info.name)
        return raw

    def _secret(self, raw: Any, name: str) -> Secret:
        kind, _, where = raw.partition(":") if isinstance(raw, str) else ("", "", "")
        if kind == "env" and where:
            value = self.environment.get(where)
            if not value:
                raise UsageError("settings.secret", f"{name}: the environment variable {where} is not set")
            return Secret(value, f"env:{where}")
        if kind == "file" and where:
            try:
                value = Path(where).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError("settings.secret", f"{name}: cannot read {where}") from error
            if not value:
                raise UsageError("settings.secret", f"{name}: {where} is empty")
            return Secret(value, f"file:{where}")
        raise UsageError("settings.secret", f"{name} is given by reference", hint="write file:PATH or env:NAME")


def _from_text(info: SettingInfo, text: str, name: str) -> Any:
    if info.item is None and info.type in (str, Path, Secret):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise UsageError("settings.syntax", f"{name}: {text!r} is not a TOML value", param=info.name) from error


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{field.name} = {_shown(getattr(value, field.name))}" for field in dataclasses.fields(value))
        return "{" + inner + "}"
    return "" if value is None else str(value)
