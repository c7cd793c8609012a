"""OpenGradient's ``Alpha`` as its users call it: inference asked for on a chain; run by the interpreter that has it.

Reads one JSON object from standard input: ``rpc``, ``contract``, ``api``, ``key`` (of an account with coin) and
``calls``: a list of ``model``, ``mode`` and ``inputs``. Prints ``results``: of each call the transaction and the output
as nested lists with their types and shapes, or ``error`` and ``message``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import opengradient as og


def told(call: dict[str, Any], alpha: Any) -> dict[str, Any]:
    """What one call comes to."""
    inputs = {name: np.array(value) if isinstance(value, list) else value for name, value in call["inputs"].items()}
    try:
        result = alpha.infer(call["model"], og.InferenceMode[call["mode"]], inputs, max_retries=1)
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}
    output = {
        name: {"dtype": str(value.dtype), "shape": list(value.shape), "data": value.tolist()}
        for name, value in result.model_output.items()
    }
    return {"transaction": result.transaction_hash, "output": output}


def main() -> None:
    wanted = json.load(sys.stdin)
    alpha = og.Alpha(
        private_key=wanted["key"],
        rpc_url=wanted["rpc"],
        inference_contract_address=wanted["contract"],
        api_url=wanted["api"],
    )
    json.dump({"results": [told(call, alpha) for call in wanted["calls"]]}, sys.stdout)


if __name__ == "__main__":
    main()
