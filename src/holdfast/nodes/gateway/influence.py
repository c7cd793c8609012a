"""What rows of memory, or admitted facts, did to an answer: a recorded run is asked again without some of them
(``spec/recall.md`` §7).

Whoever holds the run's capability asks. The document that was sent last is opened, blocks are left out of it, and the
same model is asked once more with the same parameters, and once as it was: where that answer differs from the original
too, chance alone moves this model, and no difference can be laid at anything's door. What comes back is shown beside
the original and is no evidence: nothing of it is signed, kept or logged. How often a run was asked again is kept: each
time is durable before a model is asked.

Not covered: models that give several choices (the first is compared), and what an answer is worth.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core import canonical
from holdfast.core.blocks import admitted_in, without_blocks
from holdfast.core.context import Block, add_context, context_of, parse_context
from holdfast.core.dialects import OPENAI_PATHS
from holdfast.core.dialects.openai import NAME as OPENAI
from holdfast.core.differences import compare_words
from holdfast.core.encoding import time_encode
from holdfast.core.memory import is_row_id
from holdfast.core.parts import pseudo_random_key
from holdfast.core.sealing import open_document
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import SENT_LAST, Ledger, parse_closing
from holdfast.nodes.gateway.request import parse_ask
from holdfast.nodes.gateway.turn import parse_opening
from holdfast.ports.clock import Clock
from holdfast.ports.run_index import RunRow

ADMIT_OFFERED = "admit-offered"
"""The rewrite of a run whose model could ask for admissions itself (``admission.md`` §8(6))."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
MOST = 4
"""How often one run is asked again: each time costs the upstream two answers, and nobody pays for them."""
NOTE = (
    "Asked again, and no proof: a model may answer otherwise each time. Where the control differs from the original, "
    "differences show nothing of what was left out."
)
"""What every answer says of itself."""


def parse_influence(body: bytes) -> tuple[str, ...] | None:
    """The body of such a request: nothing, for all rows (of a run without any, for all admissions), or ``{"without":
    [ROW or DIGEST, …]}``. Raises ``influence.request`` and ``json.*``."""
    value = canonical.decode(body) if body.strip() else {}
    rows = value.get("without") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not value.keys() <= {"without"}:
        raise _malformed("a request says at most what is left out")
    if "without" not in value:
        return None
    if not isinstance(rows, list) or not rows or len(set(map(str, rows))) != len(rows) or not all(map(_is_one, rows)):
        raise _malformed("without is a list of rows and admissions, each once")
    return tuple(rows)


class Influence:
    """See the module."""

    def __init__(self, ledger: Ledger, indexer: Indexer, catalog: Catalog, clock: Clock, *, timeout_s: float) -> None:
        self._ledger = ledger
        self._indexer = indexer
        self._catalog = catalog
        self._clock = clock
        self._timeout_s = timeout_s
        self._counting = asyncio.Lock()

    async def ask(self, row: RunRow, secret: bytes, without: Sequence[str] | None) -> Mapping[str, canonical.JSON]:
        """Ask again without some rows, or without all. Raises ``influence.*``, ``run.kept``, ``run.expired`` and what
        upstreams raise."""
        kept = self._ledger.read(row.open_place).record
        opening = parse_opening(kept.header)
        carried = opening.recall is not None or opening.admissions or ADMIT_OFFERED in opening.rewrites
        if not carried or row.close_place is None:
            raise UsageError("influence.none", "neither a row of memory nor an admission went before this run's model")
        closing = parse_closing(self._ledger.read(row.close_place).record)
        if len(kept.blobs) < 3 or not closing.sealed:
            raise UsageError("run.kept", "nothing of this run's content is kept, so nobody can ask it again")
        key = pseudo_random_key(row.run, secret)
        last = closing.sealed_sent
        if not last and not kept.blobs[2]:
            raise UsageError("influence.none", "the model of this run could ask for admissions, and asked for none")
        opened = open_document(key, SENT_LAST, last) if last else open_document(key, "sent", kept.blobs[2])
        sent = canonical.decode_exact(opened)
        context = context_of(sent["messages"])
        blocks = () if context is None else parse_context(context)
        rows = [block.attributes["row"] for block in blocks if block.kind == "memory"]
        facts = admitted_in(sent["messages"])
        left_out = (rows or facts) if without is None else list(without)
        if not left_out or not {*left_out} <= {*rows, *facts}:
            raise UsageError(
                "influence.row",
                "such a row or admission did not go before this run's model",
                hint=f"what did: {', '.join([*rows, *facts])}",
            )
        times = await self._count(row)
        request = parse_ask(
            opening.endpoint, open_document(key, "request", kept.blobs[0]), {}, default_model=None, settlement="batch"
        )
        offer = await self._catalog.find(request.model)
        if offer.upstream.dialect.name != OPENAI or any(item.startswith("dialect-") for item in opening.rewrites):
            raise UsageError(
                "influence.dialect",
                "only a document in OpenAI's shape can be asked again without rows",
                hint="what this model's upstream is sent has another shape",
            )
        changed = _without(sent, [block for block in blocks if block.attributes.get("row") not in left_out])
        changed["messages"] = without_blocks(changed["messages"], left_out)
        texts = [await self._text(offer.upstream, opening.endpoint, document) for document in (_whole(sent), changed)]
        original = _answer(open_document(key, "response", closing.sealed))
        control, answer = texts
        return {
            "run": row.run,
            "without": [*left_out],
            "original": original,
            "control": control,
            "answer": answer,
            "control_differs": control != original,
            "differences": await asyncio.to_thread(_differences, original, answer),
            "times": times,
            "most": MOST,
            "note": NOTE,
        }

    async def _count(self, row: RunRow) -> int:
        """Note one more time and say which it is. Raises ``influence.often``."""
        async with self._counting:
            known = await self._indexer.run(row.run) or row
            times = (known.asked_again or 0) + 1
            if times > MOST:
                raise RefusedError("influence.often", f"this run was asked again {MOST} times already", status=429)
            await self._ledger.asked_again(row.run, time_encode(self._clock.now()), times)
            self._indexer.changed(row.run, asked_again=times)
            return times

    async def _text(self, upstream: Any, endpoint: str, document: dict[str, Any]) -> str:
        body = canonical.encode_exact(document)
        found = await upstream.complete(OPENAI_PATHS[endpoint], body, timeout_s=self._timeout_s)
        return _answer(found.body)


def _is_one(value: object) -> bool:
    return isinstance(value, str) and (is_row_id(value) or _DIGEST.match(value) is not None)


def _whole(sent: dict[str, Any]) -> dict[str, Any]:
    """A document that asks for its answer in one piece."""
    return {name: item for name, item in sent.items() if name not in ("stream", "stream_options")}


def _without(sent: dict[str, Any], blocks: Sequence[Block]) -> dict[str, Any]:
    content = context_of(sent["messages"])
    if content is None:
        return _whole(sent)
    rest = [message for message in sent["messages"] if message != {"role": "user", "content": content}]
    return {**_whole(sent), "messages": add_context(rest, blocks) if blocks else rest}


def _answer(raw: bytes) -> str:
    """The text of the first choice; empty where there is none."""
    value = canonical.decode_exact(raw)
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def _differences(original: str, answer: str) -> list[canonical.JSON]:
    """What stands in one and not in the other, in order."""
    return [
        {"original": " ".join(piece.one.split()), "answer": " ".join(piece.other.split())}
        for piece in compare_words(original, answer)
        if not piece.same
    ]


def _malformed(message: str) -> MalformedError:
    return MalformedError("influence.request", message, hint='{"without": ["mem_…", "DIGEST OF AN ADMISSION"]}')
