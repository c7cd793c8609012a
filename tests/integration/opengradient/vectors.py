"""OpenGradient's own hashes and checks over ``vectors/opengradient``; run by the interpreter that has the package.

Reads one JSON object from standard input: ``folder``. Prints one JSON object: for each case of a chat what their code
makes of it, a text or an id, or ``error`` and ``message``.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from opengradient.client.tee_verify import (
    build_inner_request,
    canonical_request_bytes,
    pem_from_der,
    response_content_for_hash,
    verify_response,
)


def told(folder: Path, run: list[str]) -> str:
    """What their code says of one case."""
    request, answer = (
        json.loads((folder / name).read_text("utf-8")) if (folder / name).exists() else {}
        for name in ("request.json", "answer.json")
    )
    match run[0]:
        case "opengradient-request":
            return canonical_request_bytes(build_inner_request(request)[1]).decode()
        case "opengradient-output":
            return str(response_content_for_hash(answer))
        case _:
            proof = verify_response(
                canonical_request=build_inner_request(request)[1],
                response_body=answer,
                response_content=response_content_for_hash(answer),
                signing_key_pem=pem_from_der(base64.b64decode((folder / "key.b64").read_text())),
            )
            return str(proof.tee_id).removeprefix("0x").lower()


def main() -> None:
    """Every case that their client has code for."""
    found: dict[str, Any] = {}
    for folder in sorted(Path(json.load(sys.stdin)["folder"]).iterdir()):
        run = json.loads((folder / "case.json").read_text("utf-8"))["run"]
        if "chat.completions" in run:
            try:
                found[folder.name] = told(folder, run)
            except Exception as error:
                found[folder.name] = {"error": type(error).__name__, "message": str(error)[:200]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
