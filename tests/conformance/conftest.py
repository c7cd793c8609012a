"""Options of the conformance run; known when ``tests/conformance`` is named on the command line."""


def pytest_addoption(parser):
    parser.addoption("--client", default=None, help="the client to drive; ours without this")
    parser.addoption("--cases", default="all", choices=("all", "some"), help="all cases, or a few of each operation")
