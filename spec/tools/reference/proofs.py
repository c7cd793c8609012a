"""inference.md §5: circuits' numbers, settings, proof documents and the records that commit to them."""

from __future__ import annotations

import base64
import hashlib
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from . import parts
from .text import jcs, named

ORDER = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
SRS = named("reference string", 32).hex()
KEY_OF_CIRCUIT = named("verification key of the circuit", 32) * 4
PROOF = named("proof", 32) * 6


def element(number: int) -> str:
    """An integer as 32 little-endian bytes of the field, hex."""
    return (number % ORDER).to_bytes(32, "little").hex()


def nearest(value: float, scale: int) -> int:
    """§5(2): to the nearest, halves away from zero."""
    exact = Context(prec=2000)
    return int(exact.multiply(Decimal(value), Decimal(2**scale)).to_integral_value(rounding=ROUND_HALF_UP))


def settings(**change: Any) -> dict[str, Any]:
    """What EZKL writes of a circuit with two inputs and one output, made up."""
    arguments = {
        "input_scale": 7,
        "param_scale": 7,
        "rebase_scale": None,
        "scale_rebase_multiplier": 1,
        "lookup_range": [-246, 190],
        "logrows": 9,
        "num_inner_cols": 2,
        "variables": [["batch_size", 1]],
        "input_visibility": "Public",
        "output_visibility": "Public",
        "param_visibility": "Fixed",
        "rebase_frac_zero_constants": False,
        "check_mode": "UNSAFE",
        "decomp_base": 256,
        "decomp_legs": 3,
        "bounded_log_lookup": False,
        "ignore_range_check_inputs_outputs": False,
        "disable_freivalds": False,
    }
    value = {
        "run_args": {**arguments, **change.pop("run_args", {})},
        "num_rows": 104,
        "total_assignments": 209,
        "einsum_params": {
            "equations": [["mk,kn->n", {"m": 1, "n": 1, "k": 2}], ["ab,ab->a", {"a": 1, "b": 2}]],
            "total_einsum_col_size": 0,
        },
        "model_instance_shapes": [[1, 2], [1, 1]],
        "model_output_scales": [14],
        "model_input_scales": [7],
        "required_lookups": [],
        "required_range_checks": [[-1, 1], [0, 255]],
        "version": "23.0.5",
        "timestamp": 1796021488353,
        "input_types": ["F32"],
        "output_types": ["F32"],
    }
    return {**value, **change}


def document(
    turn: Any, request: str, response: str, instances: list[str], made: bytes, **change: Any
) -> dict[str, Any]:
    """§5(3)."""
    value = {
        "type": "urn:holdfast:proof:v1",
        "run": turn.run,
        "system": "ezkl",
        "version": "23.0.5",
        "proof": PROOF.hex(),
        "instances": instances,
        "inputs": ["x"],
        "outputs": ["y"],
        "settings": base64.b64encode(made).decode(),
        "verification_key": base64.b64encode(KEY_OF_CIRCUIT).decode(),
        "srs": SRS,
        "document": "sent",
        "request": request,
        "response": response,
        "key": parts.pseudo_random_key(turn.run, turn.secret).hex(),
    }
    return {**value, **change}


def record(raw: bytes, salt: bytes) -> str:
    """§5(3)."""
    return hashlib.sha256(b"urn:holdfast:proof-record:v1" + b"\x00" + salt + raw).hexdigest()


def circuit(made: bytes) -> dict[str, str]:
    """§5(1)."""
    return {
        "settings": hashlib.sha256(made).hexdigest(),
        "verification_key": hashlib.sha256(KEY_OF_CIRCUIT).hexdigest(),
        "srs": "development",
    }


def raw_of(value: dict[str, Any]) -> bytes:
    """The document's bytes."""
    return jcs(value)
