"""pymerkle's tree over entries of a log's size, run by ``log_append.py`` with the interpreter that has pymerkle.

In memory and without a disk, so it is asked for less than a log is. Prints one JSON line: entries a second of CPU, and
microseconds for one inclusion proof.
"""

from __future__ import annotations

import json
import sys
import time

from pymerkle import InmemoryTree  # type: ignore[import-not-found]

BATCH = 256


def main() -> None:
    """``peer_pymerkle.py ENTRIES SIZE``."""
    count, size = int(sys.argv[1]), int(sys.argv[2])
    entries = [b"%0*d" % (size, number) for number in range(count)]
    tree = InmemoryTree()
    began = time.process_time()
    for begin in range(0, count, BATCH):
        for entry in entries[begin : begin + BATCH]:
            tree.append_entry(entry)
        tree.get_state()
    appended = time.process_time() - began
    began = time.process_time()
    for index in range(1, 51):
        tree.prove_inclusion(index * (count // 51) + 1)
    proved = time.process_time() - began
    print(json.dumps({"entries": count / appended, "proof_us": proved / 50 * 1e6}))


if __name__ == "__main__":
    main()
