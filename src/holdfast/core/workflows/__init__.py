"""Workflows as values: what a definition says, when it starts, and what is to be done next (``spec/workflows.md``).

Pure. ``definitions`` reads what people write, ``build`` makes the same in a program; ``schedules`` counts times,
``values`` fills templates and ``rules`` decides; ``moves`` says what an execution does next by its journal alone, and
``replays`` puts a definition to a journal again. Doing any of it is ``holdfast.agents.workflows``.
"""
