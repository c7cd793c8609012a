"""What came before a run, by the words of agents.md §10(1) and (2): each pair of runs is asked about by itself."""

from __future__ import annotations

from typing import Any

Runs = dict[str, dict[str, Any]]


def path(runs: Runs, run: str) -> list[str]:
    """The agent runs that a run names as parents, one above the other, the nearest first."""
    row = runs[run]
    above = runs.get(row["parent"])
    if above is None or above["endpoint"] != "agent":
        return []
    if above["workspace"] != row["workspace"] or above["opened"] >= row["opened"]:
        return []
    return [row["parent"], *path(runs, row["parent"])]


def under(runs: Runs, run: str) -> list[dict[str, Any]]:
    """The agent runs that it came after what closed in, and before which place."""
    row = runs[run]
    if row["endpoint"] not in ("agent", "step"):
        return []
    found = []
    if row["endpoint"] == "agent" and row["closed"] is not None:
        found.append({"run": run, "before": row["closed"]})
    below = run
    for agent in path(runs, run):
        found.append({"run": agent, "before": runs[below]["opened"]})
        below = agent
    return found


def page(runs: Runs, run: str, after: int, most: int) -> dict[str, Any]:
    """One answer."""
    line = under(runs, run)
    told: list[dict[str, Any]] = []
    for other, row in runs.items():
        above = path(runs, other)
        if not line or row["closed"] is None or line[-1]["run"] not in above:
            continue
        if after < row["closed"] < max(item["before"] for item in line):
            whole = above[: above.index(line[-1]["run"]) + 1]
            told.append({"run": other, "under": whole[::-1], "place": row["closed"]})
    told.sort(key=lambda item: item["place"])
    return {"under": line, "children": told[:most], "more": len(told) > most}


def came_after(line: list[dict[str, Any]], children: list[dict[str, Any]]) -> list[str]:
    """The runs that it came after, of those that are told."""
    return [
        child["run"]
        for child in children
        if any(item["run"] in child["under"] and child["place"] < item["before"] for item in line)
    ]
