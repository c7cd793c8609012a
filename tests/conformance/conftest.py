"""Options of the conformance run."""


def pytest_addoption(parser):
    parser.addoption("--client", default=None, help="the client to drive; ours without this")
    parser.addoption("--cases", default="some", choices=("all", "some"), help="all cases, or a few of each operation")
