"""OpenGradient's ``Alpha`` as its users run and read workflows; run by the interpreter that has it.

Reads one JSON object from standard input: ``rpc``, ``key`` (of an account with coin), ``contract`` (a workflow) and
``calls``: a list of ``run``, ``result``, ``history`` and ``new``. Prints ``results``: of each call the outputs as
nested lists and whether they are a simulation's, or ``error`` and ``message``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import opengradient as og


def shown(output: Any) -> dict[str, Any]:
    """A ``ModelOutput`` of theirs."""
    numbers = {name: {"shape": list(value.shape), "data": value.tolist()} for name, value in output.numbers.items()}
    return {"numbers": numbers, "simulated": output.is_simulation_result}


def told(call: str, alpha: Any, contract: str) -> Any:
    """What one call comes to."""
    try:
        if call == "run":
            return shown(alpha.run_workflow(contract))
        if call == "result":
            return shown(alpha.read_workflow_result(contract))
        if call == "history":
            return [shown(output) for output in alpha.read_workflow_history(contract, 5)]
        query = og.HistoricalInputQuery(
            base="ETH",
            quote="USD",
            total_candles=2,
            candle_duration_in_mins=30,
            order=og.CandleOrder.ASCENDING,
            candle_types=[og.CandleType.CLOSE],
        )
        return {"address": alpha.new_workflow("risk", query, "features")}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)[:300]}


def main() -> None:
    wanted = json.load(sys.stdin)
    alpha = og.Alpha(private_key=wanted["key"], rpc_url=wanted["rpc"])
    json.dump({"results": [told(call, alpha, wanted["contract"]) for call in wanted["calls"]]}, sys.stdout)


if __name__ == "__main__":
    main()
