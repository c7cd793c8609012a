"""Mem0 in its local mode, as ``bench/memory.py`` asks it: started in an environment apart, with files to read.

Vectors come from the caller, so that both sides search the same ones; ``infer=False`` keeps what it is given as it is,
without a language model. Its store is Mem0's default, Qdrant in a folder.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("OPENAI_API_KEY", "none")

import numpy as np


class Given:
    """An embedder that looks vectors up."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.vectors = vectors

    def embed(self, text: str, _memory_action: str | None = None) -> list[float]:
        return self.vectors[text]

    def embed_batch(self, texts: list[str], _memory_action: str | None = None) -> list[list[float]]:
        return [self.vectors[text] for text in texts]


def main() -> None:
    """``mem0_peer.py FOLDER``: reads ``task.json`` and ``vectors.npy`` there, writes ``answer.json``."""
    from mem0 import Memory  # noqa: PLC0415 - after its settings

    folder = Path(sys.argv[1])
    os.environ["MEM0_DIR"] = str(folder / "mem0")
    task = json.loads((folder / "task.json").read_text("utf-8"))
    table = np.load(folder / "vectors.npy")
    vectors = {text: table[number].tolist() for number, text in enumerate(task["texts"])}
    memory = Memory.from_config(
        {
            "vector_store": {
                "provider": "qdrant",
                "config": {
                    "collection_name": "rows",
                    "path": str(folder / "qdrant"),
                    "embedding_model_dims": table.shape[1],
                    "on_disk": True,
                },
            },
            "history_db_path": str(folder / "history.db"),
        }
    )
    memory.embedding_model = Given(vectors)
    bulk, began_bulk, inserted = task["bulk"], time.perf_counter(), 0
    for start in range(0, len(bulk), 1000):
        if time.perf_counter() - began_bulk > task["bulk_s"]:
            break
        part = bulk[start : start + 1000]
        inserted += len(part)
        memory.vector_store.insert(
            vectors=[vectors[text] for text in part],
            payloads=[{"data": text, "user_id": "u", "hash": str(start + place)} for place, text in enumerate(part)],
            ids=[f"00000000-0000-4000-8000-{start + place:012d}" for place in range(len(part))],
        )
    bulk_s = time.perf_counter() - began_bulk
    adds, searches, found = [], [], []
    for text in task["adds"]:
        began = time.perf_counter()
        memory.add(text, user_id="u", infer=False)
        adds.append(time.perf_counter() - began)
    began_searches = time.perf_counter()
    for text in task["questions"]:
        if time.perf_counter() - began_searches > task["searches_s"]:
            break
        began = time.perf_counter()
        answer = _search(memory, text, task["most"])
        searches.append(time.perf_counter() - began)
        found.append([item["memory"] for item in answer["results"]])
    answer = {"adds": adds, "searches": searches, "found": found, "bulk": inserted, "bulk_s": bulk_s}
    (folder / "answer.json").write_text(json.dumps(answer), "utf-8")


def _search(memory: object, text: str, most: int) -> dict:
    try:
        return memory.search(text, filters={"user_id": "u"}, top_k=most, threshold=0.0)
    except TypeError:
        return memory.search(text, user_id="u", limit=most)


if __name__ == "__main__":
    main()
