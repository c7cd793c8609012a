"""What ``holdfast hub diff`` shows, and running two models for it (``spec/artifacts.md`` §8, §9).

Names of files, tensors and operators come from models: they are shown as texts of others are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import clean_line, emit
from holdfast.core.keys import PublicKey

if TYPE_CHECKING:
    from holdfast.client.hub import HubClient
    from holdfast.client.probing import ProbedArtifact

MEMORY_BYTES, MODEL_BYTES, RUN_S = 2 << 30, 1 << 30, 60.0
"""What a model may take here beyond its size, how large it may be, and how long one item may run."""
_MOST = 40
"""Operators that are shown; ``--json`` has more."""


async def probe_artifacts(client: HubClient, before: str, after: str, keys: Sequence[PublicKey]) -> dict[str, Any]:
    """Fetch two artifacts, check every byte, run both on one probe, and say how far they are apart. Raises
    ``artifact.*``, ``probe.*``, ``model.*`` or ``infer.*``."""
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - the base install runs no model
    from holdfast.adapters.runtime_onnx import OnnxRuntime  # noqa: PLC0415
    from holdfast.client.probing import probe  # noqa: PLC0415
    from holdfast.core.probes import build_evaluation  # noqa: PLC0415

    runtime = OnnxRuntime(
        optimisation="basic", threads=1, memory_bytes=MEMORY_BYTES, model_bytes=MODEL_BYTES, run_s=RUN_S
    )
    with tempfile.TemporaryDirectory(prefix="holdfast-probe-") as folder:
        one = await _fetch(client, before, Path(folder) / "before", keys)
        other = await _fetch(client, after, Path(folder) / "after", keys)
    compared = await probe(runtime, one, other)
    return build_evaluation(before, after, compared, SystemClock().now())


async def _fetch(client: HubClient, artifact: str, folder: Path, keys: Sequence[PublicKey]) -> ProbedArtifact:
    from holdfast.client.probing import ENDING, ProbedArtifact  # noqa: PLC0415
    from holdfast.core.probes import PROBE_FILE  # noqa: PLC0415

    manifest = await client.pull(artifact, folder, keys)
    wanted = [file.name for file in manifest.files if file.name.endswith(ENDING) or file.name == PROBE_FILE]
    return ProbedArtifact(artifact, {name: (folder / name).read_bytes() for name in wanted})


# --- showing ----------------------------------------------------------------------------------------------------------


def show_difference(told: Mapping[str, Any]) -> None:
    """Files, tensors and graphs that differ."""
    if not told["comparable"]:
        emit("nobody shows the bytes of a declared artifact: there is nothing to compare")
        return
    changed = [file for file in told["files"] if file["change"] != "same"]
    if not changed:
        emit("the same files")
    graphs = {graph["file"]: graph["differs"] for graph in told.get("graphs", ())}
    for file in changed:
        emit(clean_line(f"{file['change']:<8} {file['name']}"))
        for tensor in told["tensors"]:
            if tensor["file"] == file["name"]:
                emit(clean_line(f"    {tensor['change']:<8} {tensor['name']}  {_tensor(tensor)}"))
        if file["name"] in graphs:
            _show_graph(graphs[file["name"]])


def _tensor(tensor: Mapping[str, Any]) -> str:
    shown = [f"{item['dtype']} {item['shape']}" for item in (tensor["before"], tensor["after"]) if item is not None]
    norm = tensor["norm_of_difference"]
    return " -> ".join(dict.fromkeys(shown)) + ("" if norm is None else f"  norm of the difference {norm}")


def _show_graph(differs: Mapping[str, Any] | None) -> None:
    if differs is None:
        emit("    its graph is larger than the hub compares")
        return
    words = {
        "opsets": "operator set",
        "inputs": "input",
        "outputs": "output",
        "functions": "function",
        "counts": "number of",
    }
    for kind, word in words.items():
        for item in differs[kind]:
            emit(clean_line(f"    {word} {item['name']}: {_or_none(item['before'])} -> {_or_none(item['after'])}"))
    for item in differs["operators"][:_MOST]:
        emit(clean_line(f"    {item['change']:<8} {_operator(item['after'] or item['before'])}{_attributes(item)}"))
    more = len(differs["operators"][_MOST:]) + differs["left_out"]
    if more:
        emit(f"    and {more} more operators")


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _operator(item: Mapping[str, Any]) -> str:
    return f"{item['operator']}({', '.join(item['inputs'])}) -> {', '.join(item['outputs'])}"


def _attributes(item: Mapping[str, Any]) -> str:
    """Attributes that changed, where the operator is in both."""
    if item["before"] is None or item["after"] is None:
        return ""
    one, other = item["before"]["attributes"], item["after"]["attributes"]
    changed = [
        f"{name} {_or_none(one.get(name))} -> {_or_none(other.get(name))}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    return f"  {'; '.join(changed)}" if changed else ""


def show_evaluation(found: Mapping[str, Any]) -> None:
    """How far answers are apart."""
    probe, conditions = found["probe"], found["conditions"]
    source = {"generated": "made up", "before": "of the first", "after": "of the second"}[probe["source"]]
    by = f"{conditions['runtime']} {conditions['version']}"
    emit(clean_line(f"{found['file']['name']} of both on {probe['items']} inputs, {source}, by {by}"))
    for output in found["outputs"]:
        emit(clean_line(f"    {output['name']}: {_apart(output)}"))
    for item in found["failed"]:
        emit(clean_line(f"    input {item['item']} failed: {_or_none(item['before'])} / {_or_none(item['after'])}"))


def _apart(output: Mapping[str, Any]) -> str:
    if not output["elements"]:
        return "of another type or shape"
    said = [f"{output['elements']} elements, share of equal ones {output['equal']}"]
    if output["max_abs"] is not None:
        said.append(f"greatest difference {output['max_abs']}, mean {output['mean_abs']}")
    if output["same_label"] is not None:
        said.append(f"share of equal labels {output['same_label']}")
    if output["other_shape"]:
        said.append(f"of another shape for {output['other_shape']} inputs")
    return "; ".join(said)
