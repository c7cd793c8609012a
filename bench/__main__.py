"""Run the measurements one after the other: ``python -m bench [NAME…]``. Each is a program with options of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = {
    "verify": "statements, bundles, appraisal",
    "attestation": "evidence of enclaves, against dcap-qvl",
    "opengradient": "answers as OpenGradient's client checks them, theirs and ours",
    "ohttp": "requests and chunks of the private path, against pyhpke",
    "walrus": "ids of Walrus blobs, against the official WebAssembly",
    "inference": "a run at an inference node, against bare ONNX Runtime",
    "data": "what a data node adds to a fetch, admissions verified",
    "zkml": "circuits made, proved and verified by EZKL",
    "relay": "what a relay adds to an answer",
    "gate": "decisions of the gate, appraisal of stored bundles",
    "wal_commit": "durable commits",
    "log_append": "the log",
    "full_node": "full nodes checking statements",
    "rounds_gas": "gas and bytes per run on chain",
    "asks_gas": "gas of runs that contracts ask for",
    "upstream_client": "HTTP clients for upstreams",
    "gateway": "the gateway against a bare pass-through, LiteLLM and itself unsigned",
    "streams": "streams that keep pace, with marks, against the same",
    "chat_page": "what the chat page's own checks cost in a browser, and what it weighs",
    "queue_page": "pages over many cases, from evidence to hand-over",
    "agent_pages": "an agent run of many steps, opened in the panel",
    "case_statistics": "counts by label and artifact, pages under filters",
    "facilitator": "payments verified and captured, against x402's own classes",
    "payments": "a paid turn beside an unpaid one",
    "hub": "models pushed and pulled, against the disk and loopback",
    "agent_steps": "what an agent's step costs above model and tool",
    "workflows": "steps and sleeping executions",
    "memory": "rows kept and found, against Mem0",
    "memory_suites": "what is tried against a memory node, and how often it did harm",
    "recall": "a case and everything that relied on it",
    "clear_latency": "from a final round to the webhook",
    "settlement": "from acknowledged to final, where it saturates, start-up, memory",
    "first_answer": "from a clean clone to the first settled and verified answer",
}
"""What there is, in the order in which it runs."""


def main() -> None:
    """Run those that are named, or all."""
    names = sys.argv[1:] or [name for name in BENCHES if (HERE / f"{name}.py").exists()]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"no such bench: {unknown[0]}; there are {', '.join(BENCHES)}")
    failed = []
    for name in names:
        print(f"\n== {name}: {BENCHES[name]}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode != 0:
            failed.append(name)
        print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
