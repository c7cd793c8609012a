"""Looking into files before they are published, and comparing two artifacts (``spec/artifacts.md`` §6, §8).

Reads files in pieces, runs nothing of them, and names the file with whatever it refuses. All of it blocks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from holdfast.core.artifacts import Manifest
from holdfast.core.formats import (
    MAX_HEADER_BYTES,
    TensorInfo,
    distance_squared,
    is_number,
    read_gguf,
    read_safetensors,
    refuse_program,
    safetensors_header_bytes,
)
from holdfast.core.onnx_graph import Graph, Initialiser, compare_graphs, elements_fit, read_graph
from holdfast.core.onnx_model import check_model
from holdfast.errors import HoldfastError, RefusedError
from holdfast.nodes.hub.files import PIECE_BYTES, ModelFiles

_HEAD_BYTES = 16
MAX_GRAPH_BYTES = 256 << 20
"""Two ONNX files that are larger together are not compared by their graphs: both would lie in memory."""
FORMATS = {".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx"}
"""Endings of files that are looked into."""


def format_of(name: str) -> str | None:
    """The format that a file's name says, of those that are looked into."""
    return FORMATS.get("." + name.rsplit(".", 1)[-1].lower())


def inspect_file(files: ModelFiles, name: str, digest: str, size: int, onnx_bytes: int) -> None:
    """Look into one file. Raises ``model.*``, with the file's name in message and ``param``."""
    try:
        refuse_program(name, files.read(digest, 0, _HEAD_BYTES))
        kind = format_of(name)
        if kind in ("safetensors", "gguf"):
            tensors_of(files, name, digest, size)
        elif kind == "onnx":
            if size > onnx_bytes:
                raise RefusedError("model.size", f"an ONNX file has at most {onnx_bytes} bytes here")
            check_model(files.read(digest, 0, size))
    except HoldfastError as error:
        if error.code == "hub.unknown" or error.param == name:
            raise
        raise type(error)(error.code, f"{name!r}: {error.message}", hint=error.hint, param=name) from error


def tensors_of(files: ModelFiles, name: str, digest: str, size: int) -> list[TensorInfo]:
    """The tensors of a safetensors or GGUF file; none of another. Raises ``model.*`` or ``json.*``."""
    kind = format_of(name)
    if kind == "safetensors":
        head = files.read(digest, 0, safetensors_header_bytes(files.read(digest, 0, 8), size))
        return read_safetensors(head, size)
    if kind == "gguf":
        return read_gguf(files.read(digest, 0, min(size, MAX_HEADER_BYTES)), size)
    return []


# --- comparing --------------------------------------------------------------------------------------------------------


class Comparison:
    """Two artifacts, file by file and tensor by tensor. ``budget`` is how many bytes of tensors are read at most."""

    def __init__(self, files: ModelFiles, budget: int) -> None:
        self._files = files
        self._budget = budget

    def run(
        self, before: Manifest, sizes_before: tuple[int, ...], after: Manifest, sizes_after: tuple[int, ...]
    ) -> dict[str, Any]:
        """What differs: ``files``, of those that hold tensors ``tensors``, and of ONNX files ``graphs``."""
        one = {file.name: (file.digest, size) for file, size in zip(before.files, sizes_before, strict=True)}
        other = {file.name: (file.digest, size) for file, size in zip(after.files, sizes_after, strict=True)}
        listed = []
        tensors: list[dict[str, Any]] = []
        graphs: list[dict[str, Any]] = []
        for name in sorted({*one, *other}, key=lambda item: item.split("/")):
            left, right = one.get(name), other.get(name)
            listed.append({"name": name, "change": _change(left, right), "before": _file(left), "after": _file(right)})
            if left == right:
                continue
            tensors.extend(self._tensors(name, left, right))
            if format_of(name) == "onnx":
                graph, found = self._graphs(name, left, right)
                graphs.append(graph)
                tensors.extend(found)
        return {"files": listed, "tensors": tensors, "graphs": graphs}

    def _graphs(
        self, name: str, left: tuple[str, int] | None, right: tuple[str, int] | None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What differs between two ONNX files: their graphs, and their initialisers as tensors."""
        size = sum(found[1] for found in (left, right) if found is not None)
        if size > MAX_GRAPH_BYTES or not self._spend(size):
            return {"file": name, "differs": None}, []
        before, after = self._graph(left), self._graph(right)
        differs = compare_graphs(before, after)
        one, other = before.initialisers, after.initialisers
        tensors = [
            _initialisers(name, tensor, one.get(tensor), other.get(tensor))
            for tensor in sorted({*one, *other})
            if one.get(tensor) != other.get(tensor)
        ]
        return {"file": name, "differs": differs}, tensors

    def _graph(self, found: tuple[str, int] | None) -> Graph:
        if found is None:
            return Graph()
        data = self._files.read(found[0], 0, found[1])
        check_model(data)
        return read_graph(data)

    def _tensors(
        self, name: str, left: tuple[str, int] | None, right: tuple[str, int] | None
    ) -> Iterator[dict[str, Any]]:
        one = {} if left is None else {item.name: item for item in tensors_of(self._files, name, *left)}
        other = {} if right is None else {item.name: item for item in tensors_of(self._files, name, *right)}
        for tensor in sorted({*one, *other}):
            a, b = one.get(tensor), other.get(tensor)
            before = None if a is None or left is None else self._tensor(left[0], a)
            after = None if b is None or right is None else self._tensor(right[0], b)
            if before == after:
                continue
            norm = None
            if a is not None and b is not None and left is not None and right is not None:
                norm = self._norm(left[0], a, right[0], b)
            yield {
                "file": name, "name": tensor, "change": _change(before, after), "before": before, "after": after,
                "norm_of_difference": norm,
            }  # fmt: skip

    def _spend(self, size: int) -> bool:
        if size > self._budget:
            return False
        self._budget -= size
        return True

    def _tensor(self, digest: str, tensor: TensorInfo) -> dict[str, Any]:
        found = None
        if self._spend(tensor.size):
            running = hashlib.sha256()
            for piece in self._files.pieces(digest, tensor.offset, tensor.offset + tensor.size):
                running.update(piece)
            found = running.hexdigest()
        return {"dtype": tensor.dtype, "shape": list(tensor.shape), "sha256": found}

    def _norm(self, left: str, one: TensorInfo, right: str, other: TensorInfo) -> str | None:
        """The Euclidean norm of the difference, as a decimal; None where there is none, or it would cost too much."""
        same = (one.dtype, one.shape, one.size) == (other.dtype, other.shape, other.size)
        if not same or not is_number(one.dtype) or not self._spend(2 * one.size):
            return None
        total = math.fsum(
            distance_squared(one.dtype, a, b)
            for a, b in zip(
                self._files.pieces(left, one.offset, one.offset + one.size),
                self._files.pieces(right, other.offset, other.offset + other.size),
                strict=True,
            )
        )
        return f"{math.sqrt(total):.6g}"


def _initialisers(file: str, name: str, one: Initialiser | None, other: Initialiser | None) -> dict[str, Any]:
    """Two tensors of ONNX files that differ, or one that is only in one of them."""
    norm = None
    if one is not None and other is not None and _alike(one, other):
        norm = f"{math.sqrt(_distance(one, other)):.6g}"
    before, after = _initialiser(one), _initialiser(other)
    return {
        "file": file, "name": name, "change": _change(before, after), "before": before, "after": after,
        "norm_of_difference": norm,
    }  # fmt: skip


def _distance(one: Initialiser, other: Initialiser) -> float:
    """Sum of the squared differences, piece by piece: elements take more room than their bytes."""
    return math.fsum(
        distance_squared(one.dtype, one.data[place : place + PIECE_BYTES], other.data[place : place + PIECE_BYTES])
        for place in range(0, len(one.data), PIECE_BYTES)
    )


def _alike(one: Initialiser, other: Initialiser) -> bool:
    """Whether two tensors can be taken from each other."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and elements_fit(one) and elements_fit(other)


def _initialiser(tensor: Initialiser | None) -> dict[str, Any] | None:
    if tensor is None:
        return None
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "sha256": hashlib.sha256(tensor.data).hexdigest()}


def _change(before: object, after: object) -> str:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    return "same" if before == after else "changed"


def _file(found: tuple[str, int] | None) -> dict[str, Any] | None:
    return None if found is None else {"sha256": found[0], "bytes": found[1]}
