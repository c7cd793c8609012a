"""Results of runs in the shapes of OpenGradient's Alpha clients (``spec/onchain.md`` §11).

Their numbers are ``value`` / 10^``decimals``; a reader makes each a float32 again. Not covered: their contracts'
layouts, which ``contracts/Alpha.vy`` has, and their precompiles.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.inference import Tensor, read_elements
from holdfast.errors import MalformedError, RefusedError


def show_result(response: bytes) -> bytes:
    """A response document (``inference.md`` §3) as what their node answers with: an array of one base64. Raises
    ``alpha.output`` for what their shape has no place for."""
    value = canonical.decode_exact(response)
    outputs = value["outputs"]
    if not isinstance(outputs, dict):
        raise RefusedError("alpha.output", "their answers have no place for a batch")
    output: dict[str, Any] = {"numbers": [], "strings": [], "jsons": [], "is_simulation_result": False}
    for name, tensor in outputs.items():
        shape = [int(size) for size in tensor["shape"]]
        elements = _elements(tensor, shape)
        if tensor["dtype"] == "string":
            output["strings"].append({"name": name, "values": elements, "shape": shape})
        else:
            output["numbers"].append({"name": name, "values": [_number(item) for item in elements], "shape": shape})
    return _wrap(_in_mode(value["mode"], output))


def parse_inference_id(text: str) -> bytes:
    """The id of a request as ``ModelInferenceEvent`` names it: a decimal number. Raises ``alpha.id``."""
    if not text.isascii() or not text.isdigit() or len(text) > 78 or int(text) >= 1 << 256:
        raise MalformedError("alpha.id", "an inference id is the decimal number that ModelInferenceEvent names")
    return int(text).to_bytes(32)


def show_nothing() -> bytes:
    """What makes their client say that there is no result."""
    return _wrap(None)


def _elements(tensor: dict[str, Any], shape: list[int]) -> list[Any]:
    if "base64" not in tensor:
        return list(tensor["data"])
    return list(read_elements(Tensor(tensor["dtype"], tuple(shape), b64_decode(tensor["base64"]))))


def _number(element: Any) -> dict[str, str]:
    """``value`` and ``decimals`` as their node writes them: decimal strings."""
    if isinstance(element, bool):
        element = int(element)
    number = Decimal(str(element))
    if not number.is_finite():
        raise RefusedError("alpha.output", "their numbers cannot say what is not finite")
    sign, digits, exponent = number.normalize().as_tuple()
    whole = int("".join(map(str, digits))) * (-1 if sign else 1)
    places = int(exponent)
    return {"value": str(whole * 10 ** max(places, 0)), "decimals": str(max(-places, 0))}


def _in_mode(mode: str, output: dict[str, Any]) -> dict[str, Any]:
    if mode == "VANILLA":
        return {"VanillaResult": {"model_output": output}}
    if mode == "ZKML":
        return {"ZkmlResult": {"model_output": output}}
    return {"TeeNodeResult": {"Response": {"VanillaResponse": {"model_output": output}}}}


def _wrap(result: dict[str, Any] | None) -> bytes:
    inner = b64_encode(canonical.encode({"InferenceResult": result}))
    return canonical.encode({"inference_results": [inner]})
