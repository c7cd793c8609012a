"""The conformance client: one command for each operation of ``/vectors`` (``tests/conformance/PROTOCOL.md``).

``run`` takes a command line and answers with an exit code and one JSON object; ``__main__`` prints it. Exit codes: 0
accept, 1 reject (which includes malformed), 2 usage, 3 undecided. It holds no logic: each command parses its files and
calls one or two public functions of ``core`` and ``verifier``. Files are read here and nowhere below. One module holds
the commands of one subject.
"""
