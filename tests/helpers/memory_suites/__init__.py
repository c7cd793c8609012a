"""What is tried against a memory node, suite by suite, made from a seed; tests want no harm, the bench prints counts.

``SUITES`` names each with what harm would be. A suite is a coroutine function of a folder, a seed and a count; the
variants of what it tries stand in its docstring. Each also counts what has to go on working (``Tally.controls``): a
node that answers nothing would come to no harm either.
"""

from __future__ import annotations

from tests.helpers.memory_suites.claims import contradiction, laundering, poisoning, self_citation, staleness
from tests.helpers.memory_suites.keeping import crashes, isolation, shredding, writers, wrong_key
from tests.helpers.memory_suites.tally import Suite

SUITES: dict[str, Suite] = {
    "laundering": laundering,
    "self-citation": self_citation,
    "staleness": staleness,
    "poisoning": poisoning,
    "contradiction": contradiction,
    "isolation": isolation,
    "shredding": shredding,
    "wrong-key": wrong_key,
    "crashes": crashes,
    "writers": writers,
}
