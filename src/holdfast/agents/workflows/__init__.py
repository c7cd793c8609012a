"""Carrying workflows out (``spec/workflows.md``): what was written down decides what is done next.

``journal`` keeps executions in one SQLite file, ``engine`` moves one of them on until it sleeps or ends, ``asking`` and
``acts`` do what a move says, ``triggers`` starts executions and ``service`` runs everything until it is told to stop.
An execution that sleeps is a row. What is pure stands in ``holdfast.core.workflows``.
"""
