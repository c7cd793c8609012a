"""What a run's durable closing record says of what it cost, read back: for a charge that the process did not live to
make (``till``)."""

from __future__ import annotations

from holdfast.core.statements import Execution, parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger, parse_closing
from holdfast.nodes.gateway.till import Closing


async def find_closing(indexer: Indexer, ledger: Ledger, run: str) -> Closing | None:
    """The closing of a run; None where it never opened, or its record is past its retention: then nobody can say any
    more what it used, and it costs nothing."""
    row = await indexer.run(run)
    if row is None or row.close_place is None:
        return None
    try:
        closing = parse_closing(ledger.read(row.close_place).record)
    except HoldfastError as error:
        if error.code != "run.expired":
            raise
        return None
    envelope = parse_envelope(closing.envelopes[1])
    body = parse_statement(envelope).body
    if not isinstance(body, Execution):
        raise MalformedError("records.damaged", "a closing record has a route and an execution statement")
    return Closing(run, envelope.digest, body.response, closing.usage)
