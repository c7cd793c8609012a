"""The circuit of a model: its settings, and numbers as the circuit has them (``spec/inference.md`` §5).

A circuit computes with integers of a prime field. A float enters it as the nearest integer multiple of ``2^-scale``
(:func:`quantise`) and leaves it as one (:func:`rescale`). ``parse_settings`` reads what EZKL writes of a circuit and
refuses every circuit that would prove less than inputs, outputs and weights; ``same_circuit`` says whether two settings
are of one circuit, whatever order they list things in.

Not covered: whether a model compiles to a circuit, and proving (``adapters.prover_ezkl``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError, RefusedError

FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""Order of the scalar field of BN254, in which circuits compute."""
MAX_SETTINGS_BYTES = 1 << 20
"""Larger settings are refused unread (``inference.md`` §5(2))."""
MAX_SCALE = 60
"""Largest exponent of a scale that is read (``inference.md`` §5(2))."""
MAX_LOG_ROWS = 26
"""Largest binary logarithm of a circuit's rows (``inference.md`` §5(2))."""
_EXACT = 1 << 53
"""From here on not every integer is a double."""
_FLOAT = "F32"
"""EZKL's name of the type that the inputs and outputs of a circuit have."""
_PROVES = {"input_visibility": "Public", "output_visibility": "Public", "param_visibility": "Fixed"}
"""What a circuit must show: inputs and outputs in the open, the weights within the verification key."""


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """What of a circuit's settings decides how its public numbers are read."""

    raw: bytes
    version: str
    log_rows: int
    rows: int
    """Rows that the circuit needs, of the ``2^log_rows`` that it has."""
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of every input, then of every output."""

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.shapes[: len(self.input_scales)]

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.shapes[len(self.input_scales) :]

    @property
    def instances(self) -> int:
        """How many public numbers it has."""
        return sum(math.prod(shape) for shape in self.shapes)


def parse_settings(raw: bytes) -> CircuitSettings:
    """EZKL's settings of a circuit; raises ``circuit.settings`` and ``json.*`` (malformed), ``circuit.visibility`` and
    ``circuit.type`` (refused)."""
    if len(raw) > MAX_SETTINGS_BYTES:
        raise _malformed(f"settings have at most {MAX_SETTINGS_BYTES} bytes")
    value = canonical.decode_exact(raw)
    if not isinstance(value, dict) or not isinstance(value.get("run_args"), dict):
        raise _malformed("settings are an object with run_args")
    arguments = value["run_args"]
    _refuse_weak(arguments, value)
    inputs, outputs = (_scales(value.get(name)) for name in ("model_input_scales", "model_output_scales"))
    shapes = _shapes(value.get("model_instance_shapes"))
    if not inputs or not outputs or len(shapes) != len(inputs) + len(outputs):
        raise _malformed("settings have a scale and a shape for every input and output")
    version = value.get("version")
    if not isinstance(version, str) or not 0 < len(version) <= 64:
        raise _malformed("settings name the version that made them")
    return CircuitSettings(
        raw,
        str(version),
        _integer(arguments.get("logrows"), MAX_LOG_ROWS),
        _integer(value.get("num_rows"), 1 << 48),
        inputs,
        outputs,
        shapes,
    )


def _refuse_weak(arguments: dict[str, Any], value: dict[str, Any]) -> None:
    """A circuit that hides an input or leaves a weight open, or that does not hold its numbers to their range, proves
    something else than a run of the model."""
    for name, wanted in _PROVES.items():
        if arguments.get(name) != wanted:
            raise RefusedError("circuit.visibility", f"{name} of the circuit is not {wanted}")
    if arguments.get("ignore_range_check_inputs_outputs") is not False:
        raise RefusedError("circuit.visibility", "the circuit does not check the range of its inputs and outputs")
    kinds = (value.get("input_types"), value.get("output_types"))
    if any(not isinstance(kind, list) or not kind or set(map(str, kind)) != {_FLOAT} for kind in kinds):
        raise RefusedError("circuit.type", "a circuit is made of a model whose inputs and outputs are float32")


def same_circuit(one: bytes, other: bytes) -> bool:
    """Whether two settings that parse say the same, apart from when they were made and from the order of lists that
    have none."""
    return _normal(one) == _normal(other)


def _normal(raw: bytes) -> bytes:
    value = dict(canonical.decode_exact(raw))
    value.pop("timestamp", None)
    for name in ("required_lookups", "required_range_checks"):
        value[name] = _sorted(value.get(name))
    einsums = value.get("einsum_params")
    if isinstance(einsums, dict):
        value["einsum_params"] = {**einsums, "equations": _sorted(einsums.get("equations"))}
    return canonical.encode_exact(_ordered(value))


def _sorted(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return sorted((_ordered(item) for item in value), key=canonical.encode_exact)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _scales(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 64:
        raise _malformed("scales are a list of integers")
    return tuple(_integer(item, MAX_SCALE) for item in value)


def _shapes(value: object) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(shape, list) and len(shape) <= 8 for shape in value):
        raise _malformed("shapes are a list of lists of at most 8 dimensions")
    shapes = tuple(tuple(_integer(size, 1 << 26) for size in shape) for shape in value)
    if sum(math.prod(shape) for shape in shapes) > 1 << 16:
        raise _malformed("a circuit has at most 65536 public numbers")
    return shapes


def _integer(value: object, most: int) -> int:
    if not isinstance(value, NumberText) or not value.isdigit() or len(value) > 16 or int(value) > most:
        raise _malformed(f"a number of settings is an integer from 0 to {most}")
    return int(value)


def _malformed(message: str) -> MalformedError:
    return MalformedError("circuit.settings", message)


# --- numbers ----------------------------------------------------------------------------------------------------------


def quantise(value: float, scale: int) -> int:
    """The integer that stands for a float in a circuit: ``value · 2^scale``, rounded to the nearest, halves away from
    zero, in exact arithmetic; raises ``circuit.number`` for what is not finite or has 63 bits or more."""
    if not math.isfinite(value):
        raise MalformedError("circuit.number", "a circuit has no number that is not finite")
    over, under = abs(value).as_integer_ratio()
    found = ((over << scale + 1) + under) // (2 * under)
    if found >> 62:
        raise MalformedError("circuit.number", "the number is too large for the circuit's scale")
    return -found if value < 0 else found


def rescale(number: int, scale: int) -> float:
    """The double that an integer of a circuit stands for, exactly; raises ``circuit.number`` from ``2^53`` on."""
    if abs(number) >= _EXACT:
        raise RefusedError("circuit.number", "an output of the circuit is too large to be written exactly")
    return math.ldexp(number, -scale)


def show_instance(number: int) -> str:
    """An integer as an element of the field: 32 bytes, little-endian, hex."""
    return (number % FIELD).to_bytes(32, "little").hex()


def parse_instance(text: object) -> int:
    """An element of the field as the integer nearest to zero that it stands for; raises ``circuit.number`` and
    ``encoding.hex``."""
    number = int.from_bytes(hex_decode(text, 32), "little")
    if number >= FIELD:
        raise MalformedError("circuit.number", "an instance is an element of the circuit's field")
    return number - FIELD if number > FIELD // 2 else number


def field_elements(instances: Sequence[str]) -> list[int]:
    """Elements of the field as the integers from 0 that contracts take; raises as :func:`parse_instance`."""
    return [parse_instance(item) % FIELD for item in instances]


def split_instances(settings: CircuitSettings, instances: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Public numbers by input and by output, each in row-major order; raises ``circuit.instances``."""
    if len(instances) != settings.instances:
        raise MalformedError("circuit.instances", f"the circuit has {settings.instances} public numbers")
    numbers = [parse_instance(item) for item in instances]
    found, place = [], 0
    for shape in settings.shapes:
        size = math.prod(shape)
        found.append(numbers[place : place + size])
        place += size
    return found[: len(settings.input_scales)], found[len(settings.input_scales) :]
