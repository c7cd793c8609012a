"""What the run of a case cost, from the case's own evidence: put together and checked here, not by the gateway.

Only what the case's bundle holds takes part: a check that needs more (the payload that was signed, the price card, the
chain) says that it cannot tell. The page of the run shows what the gateway adds.
"""

from __future__ import annotations

from holdfast.nodes.panel.payment_file import PaymentFile, parse_payment_file
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.dispute import Artefacts, dispute


def paid_of(appraisal: Appraisal) -> PaymentFile | None:
    """Both sides of the payment; None where no step of one is in the evidence."""
    file = parse_payment_file(dispute(appraisal, Artefacts()))
    return file if file.steps else None
