"""Puts content credentials into one image, or reads them: started by ``credentials_c2pa`` and by nobody else.

It is started by its path with ``python -I`` and an empty environment, imports nothing of Holdfast, and has no key: what
is to be signed it asks its parent for, a line out and a line in. Before it looks at the image, which a compiled library
parses, it gives up what that needs not (``_worker_bounds``): no file and no connection can be opened any more, so the
library fetches nothing whatever an image names.

In: a line of JSON (``act``, ``format``, ``size``, bounds; of ``embed`` also ``manifest``, ``chain`` and ``source``; of
``read`` also ``anchors``), then the image. Out: lines ``{"sign": base64}``, each answered by a line of base64, then one
of ``{"size"}`` with so many bytes behind it (of ``embed`` the image, of ``read`` the report), ``{"none": true}`` or
``{"error": text}``.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

_ANSWER = 3
"""The one descriptor beside the standard three: no other can be opened behind it."""
_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "builder": {"thumbnail": {"enabled": False}},
}


def _say(target: BinaryIO, value: dict[str, Any], data: bytes = b"") -> None:
    target.write(json.dumps(value).encode() + b"\n" + data)
    target.flush()


def _asking(target: BinaryIO) -> Callable[[bytes], bytes]:
    def sign(message: bytes) -> bytes:
        _say(target, {"sign": base64.b64encode(message).decode()})
        return base64.b64decode(sys.stdin.buffer.readline())

    return sign


def _embed(c2pa: Any, context: Any, head: dict[str, Any], data: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    builder = c2pa.Builder(head["manifest"], context)
    if _carries(c2pa, context, head["format"], data):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    else:
        builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType[head["source"]])
    made = io.BytesIO()
    with c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, head["chain"]) as signer:
        builder.sign(signer, head["format"], io.BytesIO(data), made)
    return made.getvalue()


def _carries(c2pa: Any, context: Any, kind: str, data: bytes) -> bool:
    """Whether an image has credentials. Some that cannot be read are some: building then fails, and they stay."""
    return c2pa.Reader.try_create(kind, io.BytesIO(data), context=context) is not None


def main() -> None:
    """Do one thing with one image."""
    os.dup2(1, _ANSWER)
    target = os.fdopen(_ANSWER, "wb")
    os.dup2(2, 1)  # whatever a library prints must not stand in the answer
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    head = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(head["size"])
    import c2pa  # noqa: PLC0415

    anchors = {"trust": {"trust_anchors": head["anchors"]}} if head.get("anchors") else {}
    context = c2pa.Context.from_dict({**_SETTINGS, **anchors})
    bounds = runpy.run_path(os.path.join(os.path.dirname(__file__), "_worker_bounds.py"))  # noqa: PTH118, PTH120
    bounds["give_up"](head["memory_bytes"], head["cpu_s"], _ANSWER + 1)
    try:
        if head["act"] == "embed":
            made = _embed(c2pa, context, head, data, _asking(target))
        else:
            reader = c2pa.Reader.try_create(head["format"], io.BytesIO(data), context=context)
            made = b"" if reader is None else reader.json().encode()
    except Exception as error:  # noqa: BLE001 (whatever the library raises, the answer is that it could not)
        _say(target, {"error": f"{type(error).__name__.lstrip('_')}: {error}"[:300]})
    else:
        _say(target, {"size": len(made)} if made else {"none": True}, made)
    with contextlib.suppress(OSError):
        target.close()
    os._exit(0)  # the library frees nothing that matters, and must not hang at the end


if __name__ == "__main__":
    main()
